//! What a buyer of storage asks of a provider, and what it answers.
//!
//! One request opens one stream; each message is one *frame*: the version, then the message. The transport states the
//! length of a frame and who sent it. Whatever costs anything carries the voucher that pays for it.
//!
//! ```text
//! buyer                                             provider
//! Prices ─────────────────────────────────────────► Prices
//! Open{terms, buyer_signature, voucher} ──────────► Opened
//! Put{contract, shard, size, epoch} ──────────────► Ready; Have: nothing to send, nothing charged; or Resume{at}
//!   Step{voucher, bytes} ─────────────────────────► Taken{at}
//!   the last Step, its voucher also for keeping ──► Stored
//! Get{contract, shard, offset, length, voucher} ──► Slice          an audit is a Get
//! Again{contract, shard, offset, length} ─────────► Slice          of a Get whose answer was lost; nothing is charged
//! Prove{contract, nonce, parts, voucher} ─────────► Proof          a deep audit
//! Advance{contract, voucher} ─────────────────────► Advanced       one more epoch
//! Renew{terms, buyer_signature, voucher} ─────────► Renewed        the shards are the new contract's
//! Delete ─────────────────────────────────────────► Deleted{receipt}
//! Close, Status, List ────────────────────────────► Closed, Status, Shards
//! Mark{mark} ─────────────────────────────────────► Marked         what to find everything by
//! Mine ───────────────────────────────────────────► Mine           the buyer's contracts and marks
//! Admit{mandate} ─────────────────────────────────► Admitted      another may look after what the buyer keeps
//! any of them ────────────────────────────────────► Refused{reason}
//! ```
//!
//! # What always holds
//!
//! - Every frame has a maximum length, stated here, and is decoded within it.
//! - A request repeated after its answer was lost gives the same answer and is charged at most for the bytes sent again.
//!
//! # What is not here
//!
//! How a provider decides (see `storage-host`), and how frames travel (see `transport`).
//!
//! ```
//! use fondaco_ports::market::{Frame, FrameError, Request, VERSION};
//! let frame = Request::Prices.to_frame();
//! assert_eq!(frame, [VERSION, 1]);
//! assert_eq!(Request::from_frame(&frame), Ok(Request::Prices));
//! assert_eq!(Request::from_frame(&[9, 1]), Err(FrameError::Version { found: 9 }));
//! ```

mod mark;
mod reason;

pub use mark::{Mark, SignedMark};
pub use reason::Reason;

use fondaco_audit::{PROOF_BYTES, ShardId, slice_len_max};
use fondaco_codec::{Decode, DecodeError, Encode, List, Reader, choice, put_bytes, record};
use fondaco_contract::{
    ContractId, READ_UNIT, STEP_LIMIT, SignedDeletion, SignedMandate, SignedPriceList, State, Tab,
    Terms,
};
use fondaco_crypto::Signature;
use fondaco_ledger::SignedVoucher;
use fondaco_units::{Amount, Bytes};

/// The first byte of every frame.
pub const VERSION: u8 = 1;

/// The most shards that one answer lists.
pub const LIST_MAX: usize = 1000;

/// The most contracts that one answer lists.
pub const MINE_MAX: usize = 256;

/// The most bytes of one [`Step`], whatever the provider's price list says.
#[allow(clippy::cast_possible_truncation)] // one mebibyte
pub const STEP_BYTES_MAX: usize = STEP_LIMIT.get() as usize;

/// The most bytes of one slice: of a step that begins inside a group, with its hashes.
#[allow(clippy::cast_possible_truncation)] // little more than one mebibyte
pub const SLICE_BYTES_MAX: usize = slice_len_max(STEP_LIMIT.get()) as usize;

/// The most blocks that one proof is about, and so the most shards.
pub const PROOF_SAMPLES_MAX: usize = 512;

/// How often one read is sent again: who asks more often than lines break wants a provider's uplink for nothing.
pub const AGAIN_MAX: u32 = 3;

/// What a proof is charged as: a read of its bytes, rounded up as reads are.
pub const PROOF_CHARGED: Bytes = Bytes::new((PROOF_BYTES as u64).next_multiple_of(READ_UNIT.get()));

/// A message that travels in a frame of its own.
pub trait Frame: Encode + Decode {
    /// The greatest length of a frame, in bytes.
    const FRAME_MAX: usize;
    /// The first byte of a frame.
    const VERSION: u8 = VERSION;

    /// Writes the frame: version, then message.
    fn to_frame(&self) -> Vec<u8> {
        let mut frame = vec![Self::VERSION];
        self.encode(&mut frame);
        frame
    }

    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// The first that applies of [`FrameError`].
    fn from_frame(frame: &[u8]) -> Result<Self, FrameError> {
        if frame.len() > Self::FRAME_MAX {
            return Err(FrameError::Long { length: frame.len(), length_max: Self::FRAME_MAX });
        }
        match frame.split_first() {
            None => Err(FrameError::Empty),
            Some((&found, message)) if found == Self::VERSION => {
                Self::from_bytes(message).map_err(FrameError::Message)
            }
            Some((&found, _)) => Err(FrameError::Version { found }),
        }
    }
}

/// Why a frame is not a message. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than any message of its kind.
    #[error("a frame of {length} bytes is over the maximum of {length_max}")]
    Long {
        /// Its length in bytes.
        length: usize,
        /// The greatest length.
        length_max: usize,
    },
    /// The frame has no bytes.
    #[error("the frame is empty")]
    Empty,
    /// The frame is of another version.
    #[error("the frame is of version {found}, which is not spoken here")]
    Version {
        /// Its version.
        found: u8,
    },
    /// The frame holds no message of its kind.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

impl FrameError {
    /// Returns whether the same frame can be read later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Long { .. } | Self::Empty | Self::Version { .. } | Self::Message(_) => false,
        }
    }
}

/// Bytes of a shard, or of a slice: at most `MAX`.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload<const MAX: usize>(Vec<u8>);

impl<const MAX: usize> Payload<MAX> {
    /// Checks the length; returns nothing when it is over `MAX`.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX).then_some(Self(bytes))
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// Gives up the bytes.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl<const MAX: usize> std::fmt::Debug for Payload<MAX> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl<const MAX: usize> Encode for Payload<MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.0.len() + 4);
        put_bytes(out, &self.0);
    }
}

impl<const MAX: usize> Decode for Payload<MAX> {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.bytes(MAX)?.to_vec()))
    }
}

/// What a buyer asks. It opens a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // one for each stream, and soon taken apart
pub enum Request {
    /// What do you sell, and at what price?
    Prices,
    /// Sign a contract. Asked again, it is answered as before.
    Open {
        /// What was agreed.
        terms: Terms,
        /// The buyer's signature of them.
        buyer_signature: Signature,
        /// Pays for opening, and names the hold that pays for all that follows: one whose order is the contract's id.
        voucher: SignedVoucher,
    },
    /// Where does the contract stand?
    Status {
        /// Which.
        contract: ContractId,
    },
    /// Which shards do you keep?
    List {
        /// Under which contract.
        contract: ContractId,
        /// Only those after this one, in order of their names.
        after: Option<ShardId>,
    },
    /// Keep a shard. After [`Response::Ready`], its bytes follow in [`Step`]s.
    Put {
        /// Under which contract.
        contract: ContractId,
        /// Its name.
        shard: ShardId,
        /// Its size.
        size: Bytes,
        /// The epoch from which on it will be paid for, from 0: the present one by the buyer's clock.
        epoch: u64,
    },
    /// Send a part of a shard, proved.
    Get {
        /// Under which contract.
        contract: ContractId,
        /// Of which shard.
        shard: ShardId,
        /// From where.
        offset: Bytes,
        /// How much: at most a step.
        length: Bytes,
        /// Pays for [`read_charged`](fondaco_contract::read_charged) bytes.
        voucher: SignedVoucher,
    },
    /// Keep everything for one more epoch.
    Advance {
        /// Under which contract.
        contract: ContractId,
        /// Pays for it.
        voucher: SignedVoucher,
    },
    /// Keep a shard no longer.
    Delete {
        /// Under which contract.
        contract: ContractId,
        /// Which.
        shard: ShardId,
    },
    /// End the contract and take what is owed. Asked again, it is answered as before.
    Close {
        /// Which.
        contract: ContractId,
    },
    /// Which open contracts do I have with you? For who has lost its book.
    Mine {
        /// Only those after this one, in order of their ids.
        after: Option<ContractId>,
    },
    /// Remember a shard that you keep, instead of the one marked before, which is deleted.
    Mark {
        /// Under which contract, and which.
        mark: SignedMark,
    },
    /// Sign a contract that takes over the shards of the one its terms renew, which ends by that. Asked again, it is
    /// answered as before.
    Renew {
        /// What was agreed.
        terms: Terms,
        /// The buyer's signature of them.
        buyer_signature: Signature,
        /// Pays for opening and for the first epoch of what is taken over; names the hold for all that follows.
        voucher: SignedVoucher,
    },
    /// Prove that blocks of shards are kept: those that `nonce` draws, with a
    /// [`ProofChallenge`](fondaco_audit::ProofChallenge) of this contract.
    Prove {
        /// Under which contract.
        contract: ContractId,
        /// What the provider could not foresee.
        nonce: [u8; 32],
        /// Of which shards: at least one, in order of their names, each once.
        parts: List<ProvePart, PROOF_SAMPLES_MAX>,
        /// Pays for [`PROOF_CHARGED`] bytes read.
        voucher: SignedVoucher,
    },
    /// Send again what the Get asked for that was counted last under this contract, and whose answer was lost: nothing is
    /// charged, [`AGAIN_MAX`] times.
    Again {
        /// Under which contract.
        contract: ContractId,
        /// Of which shard.
        shard: ShardId,
        /// From where.
        offset: Bytes,
        /// How much.
        length: Bytes,
    },
    /// Let a delegate do what its mandate says, and tell what it is about. Either of the two it names may ask.
    Admit {
        /// The mandate; one that came later already stays instead.
        mandate: SignedMandate,
    },
}
choice!(Request {
    1 => Prices,
    2 => Open { terms, buyer_signature, voucher },
    3 => Status { contract },
    4 => List { contract, after },
    5 => Put { contract, shard, size, epoch },
    6 => Get { contract, shard, offset, length, voucher },
    7 => Advance { contract, voucher },
    8 => Delete { contract, shard },
    9 => Close { contract },
    13 => Renew { terms, buyer_signature, voucher },
    23 => Mine { after },
    24 => Mark { mark },
    10 => Prove { contract, nonce, parts, voucher },
    25 => Admit { mandate },
    26 => Again { contract, shard, offset, length },
});

impl Frame for Request {
    /// A [`Request::Prove`] at its longest; all others have less than 1024 bytes.
    const FRAME_MAX: usize = 1024 + 34 * PROOF_SAMPLES_MAX;
}

/// A shard of a [`Request::Prove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvePart {
    /// Its name.
    pub shard: ShardId,
    /// How many of its blocks to draw: at least one, and with those of all others at most [`PROOF_SAMPLES_MAX`].
    pub samples: u16,
}
record!(ProvePart { shard, samples });

/// The next bytes of a shard that is being put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pays for writing them; with the last bytes, also for keeping the shard.
    pub voucher: SignedVoucher,
    /// The bytes: at most a step, and at least one.
    pub bytes: Payload<STEP_BYTES_MAX>,
}
record!(Step { voucher, bytes });

impl Frame for Step {
    const FRAME_MAX: usize = STEP_BYTES_MAX + 160;
}

/// One line of a list of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The shard's name.
    pub shard: ShardId,
    /// Its size.
    pub size: Bytes,
}
record!(Listed { shard, size });

/// One line of a list of contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mine {
    /// What was agreed.
    pub terms: Terms,
    /// The buyer's highest mark under it.
    pub mark: Option<SignedMark>,
}
record!(Mine { terms, mark });

/// One line of a list of contracts under a mandate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What was agreed.
    pub terms: Terms,
    /// The account as the provider keeps it.
    pub tab: Tab,
}
record!(Admitted { terms, tab });

/// What a provider answers, to a request or a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::Prices`].
    Prices {
        /// What is sold.
        list: SignedPriceList,
    },
    /// To [`Request::Open`].
    Opened {
        /// The provider's signature of the terms.
        provider_signature: Signature,
    },
    /// To [`Request::Status`].
    Status {
        /// The account as the provider keeps it.
        tab: Tab,
        /// The highest voucher it has.
        voucher: Option<SignedVoucher>,
        /// How many shards it keeps.
        shards: u32,
        /// Where the contract stands.
        state: State,
    },
    /// To [`Request::List`]; when the list is full, ask again after its last.
    Shards {
        /// Shards in order of their names.
        list: List<Listed, LIST_MAX>,
    },
    /// To [`Request::Put`]: send the bytes. For a shard without bytes, the answer is `Stored` at once.
    Ready,
    /// To [`Request::Put`]: it is kept already, and nothing is charged.
    Have,
    /// To a [`Step`] that was not the last.
    Taken {
        /// Up to where.
        at: Bytes,
    },
    /// To the last [`Step`]: the shard is whole, durable, and what its name says.
    Stored,
    /// To [`Request::Get`] and [`Request::Again`].
    Slice {
        /// To be given to [`check`](fondaco_audit::check) with the range that was asked for.
        bytes: Payload<SLICE_BYTES_MAX>,
    },
    /// To [`Request::Advance`].
    Advanced {
        /// How many epochs are paid for, from the beginning.
        epochs_paid: u64,
    },
    /// To [`Request::Delete`], also of a shard that was not kept.
    Deleted {
        /// The provider's word for it, which the buyer keeps.
        receipt: SignedDeletion,
    },
    /// To [`Request::Close`].
    Closed {
        /// The total of the bill.
        total: Amount,
        /// What the issuer paid out.
        paid: Amount,
    },
    /// To anything.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// To [`Request::Mine`]; when the list is full, ask again after its last.
    Mine {
        /// The contracts, in order of their ids.
        list: List<Mine, MINE_MAX>,
    },
    /// To [`Request::Mark`].
    Marked {
        /// The highest there is: another than was sent, if that came too late.
        sequence: u64,
    },
    /// To [`Request::Renew`].
    Renewed {
        /// The provider's signature of the terms.
        provider_signature: Signature,
        /// The account of the contract that was renewed, as it ended.
        tab: Tab,
    },
    /// To [`Request::Put`] of a shard of which steps were taken before a stream broke: send the bytes from there on.
    Resume {
        /// From where.
        at: Bytes,
    },
    /// To [`Request::Prove`].
    Proof {
        /// To be given to [`TagKey::check`](fondaco_audit::TagKey::check) with what was asked.
        bytes: Payload<PROOF_BYTES>,
    },
    /// To [`Request::Admit`].
    Admitted {
        /// The open contracts of who gave the mandate, in order of their ids; those after the last that fits are left out.
        list: List<Admitted, MINE_MAX>,
    },
}
choice!(Response {
    1 => Prices { list },
    2 => Opened { provider_signature },
    3 => Status { tab, voucher, shards, state },
    4 => Shards { list },
    5 => Ready,
    6 => Have,
    7 => Taken { at },
    8 => Stored,
    9 => Slice { bytes },
    10 => Advanced { epochs_paid },
    12 => Closed { total, paid },
    13 => Refused { reason },
    14 => Proof { bytes },
    17 => Deleted { receipt },
    18 => Renewed { provider_signature, tab },
    19 => Resume { at },
    27 => Mine { list },
    28 => Marked { sequence },
    29 => Admitted { list },
});

impl Frame for Response {
    const FRAME_MAX: usize = SLICE_BYTES_MAX + 16;
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_contract::{Deletion, Ending, Mandate, Meter, PriceList, Takes};
    use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
    use fondaco_ledger::{HoldId, Voucher};
    use fondaco_units::{Duration, Price, Timestamp};
    use proptest::{collection::vec, prelude::*};

    const SIGNATURE: Signature = Signature::from_bytes([0x55; 64]);

    fn contract() -> ContractId {
        ContractId::from_digest(Digest::from_bytes([0xcc; 32]))
    }

    fn shard() -> ShardId {
        ShardId::from_digest(Digest::from_bytes([0x5a; 32]))
    }

    fn voucher() -> SignedVoucher {
        let voucher = Voucher {
            currency: CurrencyId::issued_by(EntityId::from_bytes([0xcd; 32])),
            hold: HoldId::from_digest(Digest::from_bytes([0x40; 32])),
            cumulative: Amount::new(1050),
        };
        SignedVoucher { voucher, signature: SIGNATURE }
    }

    fn mark() -> SignedMark {
        let hold = voucher().voucher.hold;
        let (hold_max, sequence, size) = (Amount::new(7), 8, Bytes::new(9));
        let mark = Mark { contract: contract(), hold, hold_max, sequence, shard: shard(), size };
        SignedMark { mark, signature: SIGNATURE }
    }

    fn mandate() -> SignedMandate {
        let (from, to) = (EntityId::from_bytes([2; 32]), EntityId::from_bytes([3; 32]));
        let (issued, until) = (Timestamp::from_milliseconds(4), Timestamp::from_milliseconds(5));
        let mandate = Mandate { from, to, takes: Takes::AtEnd, issued, until };
        SignedMandate { mandate, signature: SIGNATURE }
    }

    fn terms() -> Terms {
        let size = Bytes::new(1 << 16);
        let buyer = EntityId::from_bytes([2; 32]);
        Terms::new(buyer, &list(), size, Timestamp::EPOCH, Duration::ZERO, 1)
    }

    fn list() -> SignedPriceList {
        let key = SecretKey::from_bytes(&[1; 32]);
        PriceList {
            provider: key.entity(),
            currency: voucher().voucher.currency,
            open: Amount::new(1),
            store: Price::from_parts(2),
            write: Price::from_parts(3),
            read: Price::from_parts(4),
            capacity: Bytes::new(5),
            period_max: Duration::from_seconds(6),
            epoch: Duration::from_seconds(7),
            step_max: Bytes::new(8),
            issued: Timestamp::EPOCH,
            expires: Timestamp::from_milliseconds(9),
        }
        .sign(&key)
    }

    fn requests() -> Vec<Request> {
        let (contract, shard, voucher, size) =
            (contract(), shard(), voucher(), Bytes::new(1 << 16));
        vec![
            Request::Prices,
            Request::Open { terms: terms(), buyer_signature: SIGNATURE, voucher },
            Request::Status { contract },
            Request::List { contract, after: Some(shard) },
            Request::List { contract, after: None },
            Request::Put { contract, shard, size, epoch: 3 },
            Request::Get { contract, shard, offset: size, length: size, voucher },
            Request::Advance { contract, voucher },
            Request::Delete { contract, shard },
            Request::Close { contract },
            Request::Renew {
                terms: terms().renewing(contract),
                buyer_signature: SIGNATURE,
                voucher,
            },
            Request::Mine { after: Some(contract) },
            Request::Mine { after: None },
            Request::Mark { mark: mark() },
            Request::Prove {
                contract,
                nonce: [3; 32],
                parts: List::new(vec![ProvePart { shard, samples: 1 }; PROOF_SAMPLES_MAX]).unwrap(),
                voucher,
            },
            Request::Admit { mandate: mandate() },
            Request::Again { contract, shard, offset: size, length: size },
        ]
    }

    fn responses() -> Vec<Response> {
        let tab = Tab {
            meter: Meter { opened: true, written: 1, read: 2, byte_epochs: 3 },
            ..Tab::default()
        };
        let state = State::Ended { at: Timestamp::EPOCH, why: Ending::Closed };
        let listed = Listed { shard: shard(), size: Bytes::new(1 << 16) };
        let receipt = Deletion {
            contract: contract(),
            shard: *shard().digest(),
            at: Timestamp::EPOCH,
            freed: Bytes::new(1 << 16),
        }
        .sign(&SecretKey::from_bytes(&[1; 32]));
        let mut all = vec![
            Response::Prices { list: list() },
            Response::Opened { provider_signature: SIGNATURE },
            Response::Status { tab, voucher: Some(voucher()), shards: 7, state },
            Response::Shards { list: List::new(vec![listed; LIST_MAX]).unwrap() },
            Response::Ready,
            Response::Have,
            Response::Taken { at: Bytes::new(1 << 16) },
            Response::Stored,
            Response::Slice { bytes: Payload::new(vec![6; SLICE_BYTES_MAX]).unwrap() },
            Response::Advanced { epochs_paid: 2 },
            Response::Deleted { receipt },
            Response::Renewed { provider_signature: SIGNATURE, tab },
            Response::Resume { at: Bytes::new(1 << 18) },
            Response::Closed { total: Amount::new(9), paid: Amount::new(8) },
            Response::Mine {
                list: List::new(vec![Mine { terms: terms(), mark: Some(mark()) }; MINE_MAX])
                    .unwrap(),
            },
            Response::Marked { sequence: 3 },
            Response::Proof { bytes: Payload::new(vec![6; PROOF_BYTES]).unwrap() },
            Response::Admitted {
                list: List::new(vec![Admitted { terms: terms(), tab }; MINE_MAX]).unwrap(),
            },
        ];
        all.extend(reason::tests::reasons().map(|reason| Response::Refused { reason }));
        all
    }

    fn step(length: usize) -> Step {
        Step { voucher: voucher(), bytes: Payload::new(vec![7; length]).unwrap() }
    }

    fn survives<T: Frame + PartialEq + std::fmt::Debug>(message: &T) {
        let frame = message.to_frame();
        assert!(frame.len() <= T::FRAME_MAX, "{message:?} takes {} bytes", frame.len());
        assert_eq!(T::from_frame(&frame).as_ref(), Ok(message));
        let (mut newer, mut longer) = (frame.clone(), frame.clone());
        newer[0] = 2;
        assert_eq!(T::from_frame(&newer), Err(FrameError::Version { found: 2 }));
        longer.push(0);
        assert!(T::from_frame(&longer).is_err());
        assert!(T::from_frame(&frame[..frame.len() - 1]).is_err());
    }

    #[test]
    fn the_largest_of_each_message_fits_its_frame() {
        requests().iter().for_each(survives);
        responses().iter().for_each(survives);
        survives(&step(0));
        survives(&step(STEP_BYTES_MAX));
        assert!(Payload::<STEP_BYTES_MAX>::new(vec![0; STEP_BYTES_MAX + 1]).is_none());
        let length = Response::FRAME_MAX + 1;
        let long = FrameError::Long { length, length_max: Response::FRAME_MAX };
        assert_eq!(Response::from_frame(&vec![VERSION; length]), Err(long));
        assert_eq!(Request::from_frame(&[]), Err(FrameError::Empty));
        assert_eq!(Response::FRAME_MAX, 1_072_464); // as docs/formats/market.md says
        assert_eq!((Request::FRAME_MAX, PROOF_BYTES), (18_432, 8208));
    }

    /// The hexdump of `docs/formats/market.md`: a change of it is a new version.
    #[test]
    fn the_format_is_pinned() {
        let dump = concat!(
            "01",                                                               // version
            "06",                                                               // Get
            "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", // contract
            "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a", // shard
            "0000010000000000",                                                 // offset: 65536
            "0040000000000000",                                                 // length: 16384
            "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", // voucher: currency
            "4040404040404040404040404040404040404040404040404040404040404040", // voucher: hold
            "1a04000000000000", // voucher: 1050 in all
            "55555555555555555555555555555555555555555555555555555555555555555555",
            "555555555555555555555555555555555555555555555555555555555555", // its signature
        );
        let get = Request::Get {
            contract: contract(),
            shard: shard(),
            offset: Bytes::new(1 << 16),
            length: Bytes::new(1 << 14),
            voucher: voucher(),
        };
        let hex: String = get.to_frame().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, dump);
        // Every other message, by the digest of all of them.
        let mut hasher =
            fondaco_crypto::Hasher::new(fondaco_crypto::Domain::new("fondaco 2026 test market v1"));
        requests().iter().for_each(|each| _ = hasher.update(&each.to_frame()));
        responses().iter().for_each(|each| _ = hasher.update(&each.to_frame()));
        hasher.update(&step(5).to_frame());
        assert_eq!(
            hasher.finish().to_string(),
            "77e03ac80377a0d61a51f45a9fe0dab4344b5e9583d38a80a25cb43e29cfd67b"
        );
    }

    /// Contracts are metered in the units that audits can prove.
    #[test]
    fn a_unit_of_reading_is_a_group() {
        assert_eq!(fondaco_contract::READ_UNIT.get(), fondaco_audit::GROUP);
        assert_eq!(PROOF_CHARGED, fondaco_contract::READ_UNIT);
    }

    proptest! {
        #[test]
        fn any_frame_is_a_message_or_refused(frame in vec(prop_oneof![any::<u8>(), 0..14_u8], 0..600)) {
            let _ = (Request::from_frame(&frame), Response::from_frame(&frame), Step::from_frame(&frame));
            let versioned = [&[VERSION], &frame[..]].concat();
            if let Ok(request) = Request::from_frame(&versioned) {
                prop_assert_eq!(request.to_frame(), versioned);
            } else if let Ok(response) = Response::from_frame(&versioned) {
                prop_assert_eq!(response.to_frame(), versioned);
            }
        }
    }
}
