//! What the steps hand back.

use crate::{HoldId, Postings};
use fondaco_crypto::EntityId;
use fondaco_units::Amount;

/// Money was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The supply, now.
    pub supply: Amount,
    /// What moved.
    pub postings: Postings,
}

/// Money was taken back by its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// The supply, now.
    pub supply: Amount,
    /// What moved.
    pub postings: Postings,
}

/// Money went from one holder to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transferred {
    /// What the payer can spend, now.
    pub balance: Amount,
    /// What moved.
    pub postings: Postings,
}

/// Money was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What moved.
    pub postings: Postings,
}

/// A hold was paid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Whose hold it was, by its key of now.
    pub payer: EntityId,
    /// What the payee got.
    pub paid: Amount,
    /// What went back to the payer.
    pub returned: Amount,
    /// What moved.
    pub postings: Postings,
}

/// A hold was given up by its payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voided {
    /// Whose hold it was, by its key of now.
    pub payer: EntityId,
    /// What went back to the payer.
    pub returned: Amount,
    /// What moved.
    pub postings: Postings,
}

/// A hold's time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The hold.
    pub hold: HoldId,
    /// Whose hold it was, by its key of now.
    pub payer: EntityId,
    /// What went back to the payer.
    pub returned: Amount,
    /// What moved.
    pub postings: Postings,
}

/// An account is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// What the issuer got of it.
    pub forfeited: Amount,
    /// What moved.
    pub postings: Postings,
}

/// An account has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// What moved: all that is available, from the old key to the new one.
    pub postings: Postings,
}
