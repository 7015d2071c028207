//! What an owner gives its delegate, and what it gets back, as files.
//!
//! ```text
//! fondaco entrusted v1                   fondaco handed back v2
//! base64 of the encoding, in lines of 76
//! ```
//!
//! What is handed back is signed by the delegate as a whole, with the owner's own mandate in it: so its owner needs to
//! remember of its delegates only the number of the last file of each. (Version 1 was signed in parts.)
//!
//! Who has the first can audit and read shards, which are encrypted; with its audit key a host could pretend to have what it
//! has lost. It is to be sent as one sends a letter, not posted on a wall.

use crate::book::{ObjectId, SHARDS_MAX};
use fondaco_audit::{ShardId, tagged_len};
use fondaco_codec::{Decode, DecodeError, Encode, List, record};
use fondaco_contract::{ContractId, SignedMandate, Terms};
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId, SecretKey, Signature};
use fondaco_erasure::{Code, Layout};
use fondaco_ports::Address;
use fondaco_units::{Bytes, Timestamp};

const HANDED_BACK: Domain = Domain::new("fondaco 2026 delegate handed back v1");

/// The longest file that is read.
pub const DELEGATE_FILE_BYTES_MAX: usize = 512 << 20;

/// The most sets, and the most objects of one, that a file tells of.
const SETS_MAX: usize = 1 << 10;
const OBJECTS_MAX: usize = 1 << 20;

/// The most slots that are given back at once.
const HANDED_MAX: usize = SETS_MAX * SHARDS_MAX;

/// What a delegate is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Entrusted {
    /// What it may do, until when.
    pub mandate: SignedMandate,
    /// With what it audits, and tags what it makes anew.
    pub audit_key: [u8; 32],
    /// What it looks after.
    pub sets: List<EntrustedSet, SETS_MAX>,
}
record!(Entrusted { mandate, audit_key, sets });

impl std::fmt::Debug for Entrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mandate, sets, .. } = self;
        f.debug_struct("Entrusted")
            .field("mandate", mandate)
            .field("sets", sets)
            .finish_non_exhaustive()
    }
}

/// A set, as its owner has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrustedSet {
    /// How many shards rebuild an object at most.
    pub k: u8,
    /// Where its shards are.
    pub slots: List<EntrustedSlot, SHARDS_MAX>,
    /// What lies in it.
    pub objects: List<EntrustedObject, OBJECTS_MAX>,
}
record!(EntrustedSet { k, slots, objects });

impl EntrustedSet {
    /// Returns the currency that its hosts are paid in.
    pub fn currency(&self) -> Option<CurrencyId> {
        Some(self.slots.as_slice().first()?.terms.prices.currency)
    }

    /// Returns how many bytes each slot has.
    pub fn share(&self) -> Bytes {
        let n = u8::try_from(self.slots.as_slice().len()).unwrap_or(u8::MAX);
        let of = |object: &EntrustedObject| {
            let layout = Layout::new(Code::new(object.k, n).ok()?, object.length.get()).ok()?;
            let length = layout.shard_len();
            Some(if object.tagged.is_some() { tagged_len(length) } else { length })
        };
        let shares = self.objects.as_slice().iter().filter_map(of);
        Bytes::new(shares.fold(0, u64::saturating_add))
    }
}

/// A slot of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrustedSlot {
    /// The contract that its shards are tagged under.
    pub origin: ContractId,
    /// What was agreed with its host last.
    pub terms: Terms,
    /// Where that is.
    pub address: Address,
}
record!(EntrustedSlot { origin, terms, address });

/// An object of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrustedObject {
    /// Its name.
    pub object: ObjectId,
    /// Its length.
    pub length: Bytes,
    /// How many shards rebuild it.
    pub k: u8,
    /// Its shards, in the order of the slots.
    pub shards: List<ShardId, SHARDS_MAX>,
    /// What they are tagged as, if they are.
    pub tagged: Option<Digest>,
}
record!(EntrustedObject { object, length, k, shards, tagged });

/// What a delegate gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedBack {
    /// The owner's mandate, under which the delegate came to keep them.
    pub entrusted: SignedMandate,
    /// With what the owner takes the contracts over.
    pub mandate: SignedMandate,
    /// A number that is higher than in every file that the delegate has handed back before.
    pub sequence: u64,
    /// The slots that the delegate has come to keep.
    pub slots: List<HandedSlot, HANDED_MAX>,
}
record!(HandedBack { entrusted, mandate, sequence, slots });

/// A [`HandedBack`] with its delegate's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHandedBack {
    /// What was signed.
    pub handed: HandedBack,
    /// The delegate's, under `fondaco 2026 delegate handed back v1`.
    pub signature: Signature,
}
record!(SignedHandedBack { handed, signature });

/// A slot that a delegate has come to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedSlot {
    /// Which: the contract that its shards are tagged under.
    pub origin: ContractId,
    /// Under which contract of the delegate's it is kept.
    pub contract: ContractId,
    /// Where.
    pub address: Address,
}
record!(HandedSlot { origin, contract, address });

impl Entrusted {
    const HEAD: &str = "fondaco entrusted v1";

    /// Writes the file.
    pub fn to_text(&self) -> String {
        to_text(Self::HEAD, &self.to_bytes())
    }

    /// Reads the file, and checks its mandate.
    ///
    /// # Errors
    ///
    /// The first that applies of [`DelegateFileError`].
    pub fn from_text(text: &[u8]) -> Result<Self, DelegateFileError> {
        let read = Self::from_bytes(&from_text(Self::HEAD, text)?)?;
        read.mandate.verify().map_err(|_| DelegateFileError::Unsigned)?;
        let is_whole = |set: &EntrustedSet| {
            let n = set.slots.as_slice().len();
            let fits = |object: &EntrustedObject| {
                object.shards.as_slice().len() == n && (1..=set.k).contains(&object.k)
            };
            usize::from(set.k) <= n && set.k > 0 && set.objects.as_slice().iter().all(fits)
        };
        match read.sets.as_slice().iter().all(is_whole) {
            true => Ok(read),
            false => Err(DelegateFileError::Set),
        }
    }
}

impl HandedBack {
    /// Signs it; `key` must be the delegate's.
    pub fn sign(self, key: &SecretKey) -> SignedHandedBack {
        SignedHandedBack { signature: key.sign(HANDED_BACK, &self.to_bytes()), handed: self }
    }

    /// Returns whose file it is.
    pub const fn delegate(&self) -> EntityId {
        self.mandate.mandate.from
    }
}

impl SignedHandedBack {
    const HEAD: &str = "fondaco handed back v2";

    /// Writes the file.
    pub fn to_text(&self) -> String {
        to_text(Self::HEAD, &self.to_bytes())
    }

    /// Reads the file, and checks all that is signed in it.
    ///
    /// # Errors
    ///
    /// The first that applies of [`DelegateFileError`], up to `Altered`.
    pub fn from_text(text: &[u8]) -> Result<Self, DelegateFileError> {
        let read = Self::from_bytes(&from_text(Self::HEAD, text)?)?;
        read.verify()?;
        Ok(read)
    }

    fn verify(&self) -> Result<(), DelegateFileError> {
        let Self { handed, signature } = self;
        for mandate in [&handed.entrusted, &handed.mandate] {
            mandate.verify().map_err(|_| DelegateFileError::Unsigned)?;
        }
        let by = handed.delegate();
        by.verify(HANDED_BACK, &handed.to_bytes(), signature)
            .map_err(|_| DelegateFileError::Altered { by })
    }

    /// Sees that `owner` may take back by it at `now`, which has taken back by the file of the number `known` of the same
    /// delegate before.
    ///
    /// # Errors
    ///
    /// The first that applies of [`DelegateFileError`].
    pub fn check(
        &self,
        owner: EntityId,
        now: Timestamp,
        known: u64,
    ) -> Result<(), DelegateFileError> {
        self.verify()?;
        let HandedBack { entrusted, mandate, sequence, .. } = &self.handed;
        let (entrusted, mandate) = (entrusted.mandate, mandate.mandate);
        if mandate.to != owner {
            return Err(DelegateFileError::NotForYou { to: mandate.to });
        }
        if entrusted.from != owner {
            return Err(DelegateFileError::OtherOwner { from: entrusted.from });
        }
        if entrusted.to != mandate.from {
            return Err(DelegateFileError::OtherDelegate { by: mandate.from, named: entrusted.to });
        }
        // One that is over when it is made takes back those before it.
        if !entrusted.is_good(entrusted.issued) {
            return Err(DelegateFileError::GaveNothing);
        }
        if !mandate.is_good(now) {
            return Err(DelegateFileError::Over { until: mandate.until });
        }
        if *sequence < known {
            return Err(DelegateFileError::Older { sequence: *sequence, known });
        }
        Ok(())
    }
}

fn to_text(head: &str, bytes: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(bytes);
    let mut text = String::with_capacity(head.len() + body.len() / 76 * 77 + 80);
    text.push_str(head);
    text.push('\n');
    for line in body.as_bytes().chunks(76) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text
}

fn from_text(head: &'static str, text: &[u8]) -> Result<Vec<u8>, DelegateFileError> {
    if text.len() > DELEGATE_FILE_BYTES_MAX {
        return Err(DelegateFileError::TooLong { length: text.len() });
    }
    let foreign = DelegateFileError::Foreign { head };
    let text = std::str::from_utf8(text).map_err(|_| foreign.clone())?;
    let (first, body) = text.split_once('\n').ok_or_else(|| foreign.clone())?;
    if first.trim_end() != head {
        return Err(foreign);
    }
    let body: String = body.lines().map(str::trim).collect();
    data_encoding::BASE64.decode(body.as_bytes()).map_err(|_| DelegateFileError::Text)
}

/// Why a text is no file of a delegate, or none for who reads it. Listed by precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelegateFileError {
    /// It is longer than any.
    #[error("the file has {length} bytes, the most is {DELEGATE_FILE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is something else, or of another version.
    #[error("the file does not begin with the line `{head}`")]
    Foreign {
        /// The line with which it should begin.
        head: &'static str,
    },
    /// It was damaged on its way.
    #[error("the file is damaged: it is not base64")]
    Text,
    /// It was damaged, or cut short.
    #[error("the file is damaged: {0}")]
    Encoding(#[from] DecodeError),
    /// The mandate is not its giver's.
    #[error("the mandate in the file is not signed by whom it names")]
    Unsigned,
    /// A set is none.
    #[error("the file tells of a set that cannot be")]
    Set,
    /// It was damaged, or changed by somebody.
    #[error("the file is damaged or was changed: it is not what {}… has signed", by.short())]
    Altered {
        /// Whose it says it is.
        by: EntityId,
    },
    /// It is for another to take back by.
    #[error("the file is for {}…, and not for you", to.short())]
    NotForYou {
        /// For whom.
        to: EntityId,
    },
    /// The delegate looked after what is another's.
    #[error("the file is of what {}… has entrusted, and not you", from.short())]
    OtherOwner {
        /// Whose.
        from: EntityId,
    },
    /// It is signed by another than the mandate in it was for.
    #[error("the file is of {}…, and your mandate in it is for {}…", by.short(), named.short())]
    OtherDelegate {
        /// Who signed it.
        by: EntityId,
        /// Who was to look after it.
        named: EntityId,
    },
    /// The mandate in it let nobody do anything.
    #[error(
        "your mandate in the file takes back those before it, and lets nobody keep anything for you"
    )]
    GaveNothing,
    /// It came too late.
    #[error("the file was good until {until}")]
    Over {
        /// Until when.
        until: Timestamp,
    },
    /// A later one has come already.
    #[error(
        "the file has the number {sequence}, and you have taken back by number {known} of the same delegate"
    )]
    Older {
        /// Its number.
        sequence: u64,
        /// The number of the last.
        known: u64,
    },
}

impl DelegateFileError {
    /// Returns whether the same file can be read later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::TooLong { .. }
            | Self::Foreign { .. }
            | Self::Text
            | Self::Encoding(_)
            | Self::Unsigned
            | Self::Set
            | Self::Altered { .. }
            | Self::NotForYou { .. }
            | Self::OtherOwner { .. }
            | Self::OtherDelegate { .. }
            | Self::GaveNothing
            | Self::Over { .. }
            | Self::Older { .. } => false,
        }
    }

    /// Returns the next thing to do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TooLong { .. }
            | Self::Foreign { .. }
            | Self::Text
            | Self::Encoding(_)
            | Self::Unsigned
            | Self::Set
            | Self::Altered { .. } => "have it sent again",
            Self::NotForYou { .. } | Self::OtherOwner { .. } => {
                "the identity that it is for is named with --identity"
            }
            Self::OtherDelegate { .. } | Self::GaveNothing => {
                "take back by a file of whom you named with `fondaco delegate entrust`"
            }
            Self::Over { .. } | Self::Older { .. } => {
                "have the delegate make a new one: `fondaco delegate hand-back --out FILE`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::ObjectKind;
    use crate::book::tests::terms;
    use fondaco_contract::{Mandate, Takes};

    fn mandate() -> Mandate {
        let from = SecretKey::from_bytes(&[1; 32]).entity();
        let (to, issued) = (EntityId::from_bytes([2; 32]), Timestamp::EPOCH);
        Mandate { from, to, takes: Takes::AtEnd, issued, until: Timestamp::from_milliseconds(9) }
    }

    fn entrusted() -> Entrusted {
        let address: Address = format!("{}@192.0.2.7:4433", mandate().from).parse().unwrap();
        let slot = |nonce| {
            let terms = terms(nonce);
            EntrustedSlot { origin: terms.id(), terms, address: address.clone() }
        };
        let object = EntrustedObject {
            object: ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([3; 32]) },
            length: Bytes::new(10),
            k: 1,
            shards: List::new(vec![ShardId::of(&[1]), ShardId::of(&[2])]).unwrap(),
            tagged: None,
        };
        let slots = List::new(vec![slot(1), slot(2)]).unwrap();
        let set = EntrustedSet { k: 2, slots, objects: List::new(vec![object]).unwrap() };
        Entrusted {
            mandate: mandate().sign(&SecretKey::from_bytes(&[1; 32])),
            audit_key: [7; 32],
            sets: List::new(vec![set]).unwrap(),
        }
    }

    #[test]
    fn a_file_comes_back_as_it_was_written() {
        let text = entrusted().to_text();
        assert!(text.starts_with("fondaco entrusted v1\n"));
        assert!(text.lines().all(|line| line.len() <= 76));
        assert_eq!(Entrusted::from_text(text.as_bytes()), Ok(entrusted()));
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(Entrusted::from_text(crlf.as_bytes()), Ok(entrusted()));
        assert_eq!(entrusted().sets.as_slice()[0].share(), Bytes::new(64), "a row of the code");
        assert!(!format!("{:?}", entrusted()).contains("7, 7"), "the audit key is a secret");
        let slot = &entrusted().sets.as_slice()[0].slots.as_slice()[0].clone();
        let handed = HandedSlot {
            origin: slot.origin,
            contract: slot.terms.id(),
            address: slot.address.clone(),
        };
        let handed = HandedBack { slots: List::new(vec![handed]).unwrap(), ..handed_back() };
        let handed = handed.sign(&key(2));
        assert!(handed.to_text().starts_with("fondaco handed back v2\n"));
        assert_eq!(SignedHandedBack::from_text(handed.to_text().as_bytes()), Ok(handed));
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    /// A mandate of one for another.
    fn given(from: u8, to: u8, issued: u64, until: u64) -> SignedMandate {
        let [issued, until] = [issued, until].map(Timestamp::from_milliseconds);
        let (of, to) = (key(from).entity(), key(to).entity());
        Mandate { from: of, to, takes: Takes::Always, issued, until }.sign(&key(from))
    }

    /// What 2 hands back to 1.
    fn handed_back() -> HandedBack {
        let (entrusted, mandate) = (given(1, 2, 5, 9), given(2, 1, 20, 90));
        HandedBack { entrusted, mandate, sequence: 7, slots: List::new(vec![]).unwrap() }
    }

    #[test]
    fn who_takes_back_by_which_file() {
        use DelegateFileError as No;
        let ids = [1, 2, 3].map(|seed| key(seed).entity());
        let [owner, delegate, other] = ids;
        let good = handed_back();
        let made = |entrusted, mandate| HandedBack { entrusted, mandate, ..good.clone() };
        let (mine, back) = (good.entrusted, good.mandate);
        // What it is, who signed it, when it comes, the number of the last one, and what comes of it.
        let table = [
            (good.clone(), 2, 89, 0, Ok(())),
            (good.clone(), 2, 89, 7, Ok(())), // the same goes on
            (good.clone(), 3, 89, 0, Err(No::Altered { by: delegate })),
            (made(mine, given(2, 3, 20, 90)), 2, 89, 0, Err(No::NotForYou { to: other })),
            (made(given(3, 2, 5, 9), back), 2, 89, 0, Err(No::OtherOwner { from: other })),
            // Another delegate, with a mandate that was not its own.
            (
                made(mine, given(3, 1, 20, 90)),
                3,
                89,
                0,
                Err(No::OtherDelegate { by: other, named: delegate }),
            ),
            (made(given(1, 2, 5, 5), back), 2, 89, 0, Err(No::GaveNothing)),
            (good.clone(), 2, 90, 8, Err(No::Over { until: Timestamp::from_milliseconds(90) })),
            (good.clone(), 2, 89, 8, Err(No::Older { sequence: 7, known: 8 })),
        ];
        for (handed, by, now, known, expected) in table {
            let signed = handed.sign(&key(by));
            let now = Timestamp::from_milliseconds(now);
            assert_eq!(signed.check(owner, now, known), expected);
        }
        let mut forged = good.clone();
        forged.entrusted.mandate.until = Timestamp::from_milliseconds(99);
        assert_eq!(forged.sign(&key(2)).check(owner, back.mandate.issued, 0), Err(No::Unsigned));
    }

    #[test]
    fn a_file_that_was_changed_anywhere_is_none() {
        let slot = entrusted().sets.as_slice()[0].slots.as_slice()[0].clone();
        let contract = slot.terms.id();
        let slot = HandedSlot { origin: slot.origin, contract, address: slot.address };
        let slots = List::new(vec![slot]).unwrap();
        let signed = HandedBack { slots, ..handed_back() }.sign(&key(2));
        let whole = signed.to_bytes();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let text = to_text(SignedHandedBack::HEAD, &bytes);
            assert!(SignedHandedBack::from_text(text.as_bytes()).is_err(), "byte {at}");
        }
        for length in 0..whole.len() {
            let text = to_text(SignedHandedBack::HEAD, &whole[..length]);
            assert!(SignedHandedBack::from_text(text.as_bytes()).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        type Edit = fn(&mut Entrusted);
        let edited = |edit: Edit| {
            let mut edited = entrusted();
            edit(&mut edited);
            edited.to_text().into_bytes()
        };
        let text = entrusted().to_text();
        let foreign = DelegateFileError::Foreign { head: "fondaco entrusted v1" };
        let signed = |edited: &mut Entrusted, k: u8, of: u8| {
            let mut set = edited.sets.as_slice()[0].clone();
            let mut object = set.objects.as_slice()[0].clone();
            (set.k, object.k) = (k, of);
            set.objects = List::new(vec![object]).unwrap();
            edited.sets = List::new(vec![set]).unwrap();
        };
        let mut sets = Vec::new();
        for (k, of) in [(0, 0), (3, 1), (1, 2), (2, 0)] {
            let mut edited = entrusted();
            signed(&mut edited, k, of);
            sets.push((edited.to_text().into_bytes(), DelegateFileError::Set));
        }
        let table = [
            (b"".to_vec(), foreign.clone()),
            (vec![0xff; 40], foreign.clone()),
            (text.replace("v1", "v2").into_bytes(), foreign.clone()),
            (text.replace('\n', " ").into_bytes(), foreign),
            (text.replacen('A', "!", 1).into_bytes(), DelegateFileError::Text),
            (
                edited(|file| file.mandate.mandate.until = Timestamp::EPOCH),
                DelegateFileError::Unsigned,
            ),
            (
                edited(|file| file.mandate.mandate.to = file.mandate.mandate.from),
                DelegateFileError::Unsigned,
            ),
        ];
        for (text, expected) in table.into_iter().chain(sets) {
            assert_eq!(Entrusted::from_text(&text), Err(expected));
        }
        // Cut anywhere, it is no file.
        for length in 0..text.len() - 1 {
            assert!(Entrusted::from_text(&text.as_bytes()[..length]).is_err(), "{length}");
        }
    }
}
