//! Holds: money set aside for one payee until it posts, voids, or time runs out.

use fondaco_codec::{Decode, DecodeError, Encode, Reader, choice, record};
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId, Hasher};
use fondaco_units::{Amount, Timestamp};
use std::{fmt, str::FromStr};

const HOLD_ID: Domain = Domain::new("fondaco 2026 hold id v1");

/// Names one hold. Both sides can derive it before the issuer has heard of it.
//
// No `From<Digest>`: an order is a digest too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(Digest);

impl HoldId {
    /// Takes over a digest that names a hold already.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    pub const fn digest(self) -> Digest {
        self.0
    }

    /// Derives the id of the hold that `payer` opens by its request `request_id`: nobody else can take that id first.
    pub fn derive(currency: CurrencyId, payer: EntityId, request_id: u128) -> Self {
        let mut hasher = Hasher::new(HOLD_ID);
        hasher.update(currency.issuer().as_bytes());
        hasher.update(payer.as_bytes());
        hasher.update(&request_id.to_le_bytes());
        Self(hasher.finish())
    }
}

impl fmt::Display for HoldId {
    /// Writes the one text form: `hold:` and 64 lowercase hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hold:{}", self.0)
    }
}

impl fmt::Debug for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HoldId({:.16}…)", self.0)
    }
}

/// The text is not `hold:` and 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hold is written `hold:` and 64 lowercase hex digits")]
pub struct ParseHoldIdError;

impl FromStr for HoldId {
    type Err = ParseHoldIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("hold:").ok_or(ParseHoldIdError)?;
        digits.parse().map(Self).map_err(|_| ParseHoldIdError)
    }
}

impl Encode for HoldId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for HoldId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Digest::decode(input).map(Self)
    }
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// The money is set aside. Begins with `hold_open`; waits for the payee, or for `expires`.
    Open,
    /// The payee posted a voucher and the rest went back. Nothing more can happen.
    Posted {
        /// What the payee got.
        paid: Amount,
    },
    /// The payee gave it up and all went back. Nothing more can happen.
    Voided,
    /// Time ran out and all went back. Nothing more can happen.
    Expired,
}
choice!(HoldState { 1 => Open, 2 => Posted { paid }, 3 => Voided, 4 => Expired });

impl fmt::Display for HoldState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Posted { paid } => write!(f, "posted, {} units paid", paid.get()),
            Self::Voided => f.write_str("voided"),
            Self::Expired => f.write_str("expired"),
        }
    }
}

/// A hold, open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Whose money it is, and who signs the vouchers.
    pub payer: EntityId,
    /// The only one that may post or void it.
    pub payee: EntityId,
    /// What was set aside: no more can be paid.
    pub amount_max: Amount,
    /// What it is for; the ledger does not read it.
    pub order: Digest,
    /// From this moment on it can no longer be posted.
    pub expires: Timestamp,
    /// Where it stands.
    pub state: HoldState,
}
record!(Hold { payer, payee, amount_max, order, expires, state });
