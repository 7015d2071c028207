//! What holders ask and the issuer answers.

use crate::{DEPOSITS_PER_PAGE_MAX, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Refusal, VERSION};
use fondaco_codec::{Decode, DecodeError, Encode, List, Reader, Text, choice, record};
use fondaco_crypto::{CurrencyId, Digest, EntityId};
use fondaco_ledger::{Hold, HoldId, SignedVoucher};
use fondaco_units::{Amount, Scale, Timestamp};
use std::{fmt, str::FromStr};

/// Names one command of one holder, which draws it at random: two draws never meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// Takes over 128 bits that the caller drew at random.
    pub const fn new(random: u128) -> Self {
        Self(random)
    }

    /// Returns the bits.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for RequestId {
    /// Writes the one text form: `request:` and 32 lowercase hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request:{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The text is not `request:` and 32 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is written `request:` and 32 lowercase hex digits")]
pub struct ParseRequestIdError;

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("request:").ok_or(ParseRequestIdError)?;
        let lowercase = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != 32 || !lowercase {
            return Err(ParseRequestIdError);
        }
        u128::from_str_radix(digits, 16).map(Self).map_err(|_| ParseRequestIdError)
    }
}

impl Encode for RequestId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for RequestId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u128::decode(input).map(Self)
    }
}

/// What an issuer says of its currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency {
    /// The currency; its issuer's key.
    pub id: CurrencyId,
    /// Its name, for people. Nobody vouches that it is the only one of this name.
    pub name: Text<64>,
    /// Its sign or short name, for people.
    pub symbol: Text<12>,
    /// How many decimals people see.
    pub scale: Scale,
    /// What a transfer costs its payer, on top of the amount. The issuer's own are free.
    pub transfer_fee: Amount,
}
record!(Currency { id, name, symbol, scale, transfer_fee });

/// The notice that money arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Its place among all of this holder, from 1, without gaps.
    pub number: u64,
    /// Who paid; nobody when it was minted.
    pub payer: Option<EntityId>,
    /// What arrived.
    pub amount: Amount,
    /// What the payer said it is for; of a hold, its order in 64 hex digits; of a mint, nothing.
    pub order: Text<64>,
    /// When it arrived, by the issuer's clock.
    pub at: Timestamp,
}
record!(Deposit { number, payer, amount, order, at });

/// What a holder asks. Those with an `id` are commands, the others are queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What currency is this?
    Describe,
    /// What do I have?
    Balance,
    /// Where does this hold stand?
    HoldInfo {
        /// The hold; the asker is its payer, its payee or the issuer.
        hold: HoldId,
    },
    /// What arrived?
    Deposits {
        /// Only those with a greater number; 0 for all that wait.
        after: u64,
    },
    /// Pay.
    Transfer {
        /// The command.
        id: RequestId,
        /// Who is paid.
        to: EntityId,
        /// What arrives there.
        amount: Amount,
        /// The greatest fee, on top of the amount, that the payer agrees to.
        fee_max: Amount,
        /// What it is for: the payee draws it at random for one order.
        order: Text<64>,
    },
    /// Make money. The issuer's own key only.
    Mint {
        /// The command.
        id: RequestId,
        /// Who gets it.
        to: EntityId,
        /// How much.
        amount: Amount,
    },
    /// Take money of the issuer's own account out of the supply. The issuer's own key only.
    Redeem {
        /// The command.
        id: RequestId,
        /// How much.
        amount: Amount,
    },
    /// Set money aside for a payee. The hold's id is `HoldId::derive(currency, payer, id)`.
    HoldOpen {
        /// The command.
        id: RequestId,
        /// Who may post it.
        payee: EntityId,
        /// What is set aside.
        amount_max: Amount,
        /// What it is for.
        order: Digest,
        /// When it goes back by itself.
        expires: Timestamp,
    },
    /// Cash a voucher, once for each hold. No fee.
    HoldPost {
        /// The command.
        id: RequestId,
        /// The highest voucher that the payee has.
        voucher: SignedVoucher,
    },
    /// Give a hold up. Its payee only.
    HoldVoid {
        /// The command.
        id: RequestId,
        /// The hold.
        hold: HoldId,
    },
    /// These notices are saved here; forget them there.
    AckDeposits {
        /// The command.
        id: RequestId,
        /// The greatest number acknowledged.
        through: u64,
    },
}
choice!(Request {
    1 => Describe,
    2 => Balance,
    3 => HoldInfo { hold },
    4 => Deposits { after },
    16 => Transfer { id, to, amount, fee_max, order },
    17 => Mint { id, to, amount },
    18 => Redeem { id, amount },
    19 => HoldOpen { id, payee, amount_max, order, expires },
    20 => HoldPost { id, voucher },
    21 => HoldVoid { id, hold },
    22 => AckDeposits { id, through },
});

/// What the issuer answers: the case that bears the request's name, or a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To `Describe`.
    Described {
        /// The currency.
        currency: Currency,
        /// How much of it there is.
        supply: Amount,
        /// How many accounts there are.
        accounts: u64,
    },
    /// To `Balance`.
    Balance {
        /// What the holder can spend.
        available: Amount,
        /// What its open holds have set aside.
        held: Amount,
        /// How many notices wait for it.
        deposits_waiting: u64,
    },
    /// To `HoldInfo`.
    HoldInfo {
        /// The hold and where it stands.
        info: Hold,
    },
    /// To `Deposits`.
    Deposits {
        /// The notices, by number.
        list: List<Deposit, DEPOSITS_PER_PAGE_MAX>,
        /// Whether there are more after these.
        more: bool,
    },
    /// To `Transfer`.
    Transferred {
        /// What it cost, on top of the amount.
        fee: Amount,
        /// What the payer could spend when it was done.
        balance: Amount,
    },
    /// To `Mint`.
    Minted {
        /// The supply when it was done.
        supply: Amount,
    },
    /// To `Redeem`.
    Redeemed {
        /// The supply when it was done.
        supply: Amount,
    },
    /// To `HoldOpen`.
    HoldOpened {
        /// The hold.
        hold: HoldId,
        /// When it goes back by itself.
        expires: Timestamp,
    },
    /// To `HoldPost`.
    HoldPosted {
        /// What the payee got.
        paid: Amount,
        /// What went back to the payer.
        returned: Amount,
    },
    /// To `HoldVoid`.
    HoldVoided {
        /// What went back to the payer.
        returned: Amount,
    },
    /// To `AckDeposits`.
    Acked,
    /// To any: no, and nothing moved.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}
choice!(Response {
    1 => Described { currency, supply, accounts },
    2 => Balance { available, held, deposits_waiting },
    3 => HoldInfo { info },
    4 => Deposits { list, more },
    16 => Transferred { fee, balance },
    17 => Minted { supply },
    18 => Redeemed { supply },
    19 => HoldOpened { hold, expires },
    20 => HoldPosted { paid, returned },
    21 => HoldVoided { returned },
    22 => Acked,
    255 => Refused { refusal },
});

/// Why a frame body is no message. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is longer than such a message can be; nothing of it was read.
    #[error("the frame is of {length} bytes, of {length_max} at most")]
    TooLong {
        /// Its length.
        length: usize,
        /// The most.
        length_max: usize,
    },
    /// It is in another version. To a request, answer [`Refusal::Version`].
    #[error("the frame is in version {found}; this is version {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// It is no encoding.
    #[error("the frame is no message: {error}")]
    Decode {
        /// Where, and why not.
        error: DecodeError,
    },
}

impl FrameError {
    /// Returns whether the same bytes, read again, can succeed: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::TooLong { .. } | Self::Version { .. } | Self::Decode { .. } => false,
        }
    }
}

impl Request {
    /// Returns the id of a command; nothing of a query.
    pub const fn id(&self) -> Option<RequestId> {
        match self {
            Self::Describe | Self::Balance | Self::HoldInfo { .. } | Self::Deposits { .. } => None,
            Self::Transfer { id, .. }
            | Self::Mint { id, .. }
            | Self::Redeem { id, .. }
            | Self::HoldOpen { id, .. }
            | Self::HoldPost { id, .. }
            | Self::HoldVoid { id, .. }
            | Self::AckDeposits { id, .. } => Some(*id),
        }
    }

    /// Returns the frame body: the version and the encoding.
    pub fn to_frame(&self) -> Vec<u8> {
        to_frame(self)
    }

    /// Reads a frame body.
    ///
    /// # Errors
    ///
    /// It is too long, of another version, or no request.
    pub fn from_frame(body: &[u8]) -> Result<Self, FrameError> {
        from_frame(body, REQUEST_BYTES_MAX)
    }
}

impl Response {
    /// Returns the frame body: the version and the encoding.
    pub fn to_frame(&self) -> Vec<u8> {
        to_frame(self)
    }

    /// Reads a frame body.
    ///
    /// # Errors
    ///
    /// It is too long, of another version, or no response.
    pub fn from_frame(body: &[u8]) -> Result<Self, FrameError> {
        from_frame(body, RESPONSE_BYTES_MAX)
    }
}

fn to_frame(message: &impl Encode) -> Vec<u8> {
    let mut body = vec![VERSION];
    message.encode(&mut body);
    body
}

fn from_frame<T: Decode>(body: &[u8], length_max: usize) -> Result<T, FrameError> {
    if body.len() > length_max {
        return Err(FrameError::TooLong { length: body.len(), length_max });
    }
    let mut input = Reader::new(body);
    let decode = |error| FrameError::Decode { error };
    match u8::decode(&mut input).map_err(decode)? {
        VERSION => {
            let message = T::decode(&mut input).map_err(decode)?;
            input.finish().map_err(decode)?;
            Ok(message)
        }
        found => Err(FrameError::Version { found }),
    }
}
