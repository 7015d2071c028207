//! Why an issuer refuses a request.

use crate::RequestId;
use fondaco_codec::choice;
use fondaco_crypto::EntityId;
use fondaco_ledger as ledger;
use fondaco_units::{Amount, Timestamp};

/// Why an issuer refused a request. Listed by precedence: only the first that applies is reported. Nothing moved.
///
/// What was answered before comes before all that hinders new commands: to a halted ledger and a full disk, too. Only a
/// service whose books can be kept no longer says [`Halted`](Self::Halted) to everything, until its process ends: what it
/// has in memory may be more than is on its disk.
///
/// A hold that is not the asker's business is refused as one that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is in a version that is not spoken here. It was not read, and not remembered.
    #[error("the issuer speaks version {version} of the protocol")]
    Version {
        /// The version that is.
        version: u8,
    },

    /// The account has another key now, which may ask for all that this one asked for. Not remembered.
    #[error("the account has another key now, {to}")]
    Rotated {
        /// The key.
        to: EntityId,
    },

    /// This cannot be told or done here now: history and receipts are the issuer's service's to give. Not remembered.
    #[error("the issuer cannot answer this now")]
    Unavailable,

    /// This holder used the id for something else. What is asked here was not done and never will be.
    #[error("{id} was used before, with other content")]
    OtherContent {
        /// The id.
        id: RequestId,
    },

    /// The id is not over those that were forgotten, so that it cannot be told here whether it was used before. The
    /// issuer's history can. Not remembered.
    #[error("ids up to {floor} are forgotten here")]
    Forgotten {
        /// The greatest id of this holder that was forgotten.
        floor: RequestId,
    },

    /// The id is not over those that were forgotten, and the issuer's history does not have it: what is asked here was
    /// not done and never will be. The issuer's service says so; the core cannot. As the last word on this id it bears
    /// nothing that could change.
    #[error("nothing was done under this id, and nothing will be: it is too old")]
    Outdated,

    /// The issuer's books did not balance; it takes no commands until they are repaired. Not remembered.
    #[error("the issuer is halted: its books are being repaired")]
    Halted,

    /// The issuer's disk is full: it takes no commands until there is room again, and answers queries. Not remembered, and
    /// nothing was done.
    #[error("the issuer has no room left on its disk")]
    NoSpace,

    /// Only the issuer's own key may ask for this.
    #[error("only the issuer, {issuer}, may do this")]
    NotIssuer {
        /// Who may.
        issuer: EntityId,
    },

    /// The command came after the last moment that its holder had set.
    #[error("it was to be done by {open_by}; it is {now}")]
    TooLate {
        /// The last moment.
        open_by: Timestamp,
        /// What time it is.
        now: Timestamp,
    },

    /// Not both keys have signed the rotation.
    #[error("the rotation is not signed by both keys")]
    BadRotation,

    /// The fee is over what the payer agreed to.
    #[error("the fee is {} units, over the {} agreed to", .fee.get(), .fee_max.get())]
    FeeOverMax {
        /// What it costs.
        fee: Amount,
        /// What was agreed to.
        fee_max: Amount,
    },

    /// The payee has not acknowledged what it was paid before.
    #[error("{payee} has {deposits_max} deposits to acknowledge before it can be paid more")]
    DepositsFull {
        /// Who would be paid.
        payee: EntityId,
        /// The most that may wait.
        deposits_max: u64,
    },

    /// A deposit was acknowledged that has not arrived yet.
    #[error("deposits were acknowledged through {through}; the last that arrived is {last}")]
    DepositUnknown {
        /// The number acknowledged.
        through: u64,
        /// The greatest there is.
        last: u64,
    },

    /// The ledger refused.
    #[error("{refusal}")]
    Ledger {
        /// Why.
        refusal: ledger::Refusal,
    },
}
choice!(Refusal {
    1 => Version { version },
    2 => Unavailable,
    3 => OtherContent { id },
    4 => Forgotten { floor },
    5 => Outdated,
    6 => Halted,
    7 => Rotated { to },
    8 => NotIssuer { issuer },
    9 => TooLate { open_by, now },
    10 => BadRotation,
    11 => FeeOverMax { fee, fee_max },
    12 => DepositsFull { payee, deposits_max },
    13 => DepositUnknown { through, last },
    14 => Ledger { refusal },
    15 => NoSpace,
});

impl Refusal {
    /// Returns whether the same request, sent again unchanged, can have another answer later.
    ///
    /// A refused command is remembered with its refusal, so that almost none can: who was short of money and
    /// tries again with more draws a new id. Only what was not remembered is transient.
    //
    // Spelled out without `_`, so that a new refusal has to choose a side.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Version { .. }
            | Self::Unavailable
            | Self::Forgotten { .. }
            | Self::Halted
            | Self::NoSpace
            | Self::Rotated { .. }
            | Self::Ledger { refusal: ledger::Refusal::Halted } => true,
            Self::OtherContent { .. }
            | Self::Outdated
            | Self::NotIssuer { .. }
            | Self::TooLate { .. }
            | Self::BadRotation
            | Self::FeeOverMax { .. }
            | Self::DepositsFull { .. }
            | Self::DepositUnknown { .. }
            | Self::Ledger { .. } => false,
        }
    }
}

impl From<ledger::Refusal> for Refusal {
    fn from(refusal: ledger::Refusal) -> Self {
        match refusal {
            ledger::Refusal::Halted => Self::Halted,
            refusal => Self::Ledger { refusal },
        }
    }
}
