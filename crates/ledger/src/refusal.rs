//! Why the ledger refuses a step.

use crate::{HOLD_SPAN_MAX, HoldId, HoldState};
use fondaco_codec::choice;
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_units::{Amount, Timestamp};

/// Why the ledger refused a step. Listed by precedence: only the first that applies is reported. It changed nothing.
///
/// Amounts are in smallest units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The books were found not to balance; nothing moves until they are repaired.
    #[error("the ledger is halted: its books do not balance")]
    Halted,

    /// The amount to move is zero. To give up a hold, void it.
    #[error("the amount is zero")]
    ZeroAmount,

    /// The account has another key now; by this one, nothing can be asked of it.
    #[error("this key was changed to {to}")]
    KeyRotated {
        /// The key of the account now.
        to: EntityId,
    },

    /// Payer and payee are the same.
    #[error("{holder} would pay itself")]
    SelfTransfer {
        /// Who it is.
        holder: EntityId,
    },

    /// The voucher is in another currency.
    #[error("the voucher is in the currency of {}; this is the ledger of {}", .found.issuer(), .currency.issuer())]
    OtherCurrency {
        /// The currency of this ledger.
        currency: CurrencyId,
        /// The currency of the voucher.
        found: CurrencyId,
    },

    /// The hold would expire at once.
    #[error("the hold would expire at {expires}; it is {now}")]
    ExpiryPast {
        /// The expiry that was asked for.
        expires: Timestamp,
        /// What time it is.
        now: Timestamp,
    },

    /// The hold would be open for too long.
    #[error(
        "the hold would expire at {expires}; the latest is {expires_max}, {HOLD_SPAN_MAX} from now"
    )]
    ExpiryTooFar {
        /// The expiry that was asked for.
        expires: Timestamp,
        /// The latest allowed now.
        expires_max: Timestamp,
    },

    /// There is a hold of this id already, open or closed.
    #[error("{hold} exists already")]
    HoldExists {
        /// The id.
        hold: HoldId,
    },

    /// There never was a hold of this id.
    #[error("{hold} is unknown")]
    UnknownHold {
        /// The id.
        hold: HoldId,
    },

    /// Only the payee may post or void a hold.
    #[error("{hold} is for {payee} alone")]
    WrongPayee {
        /// The hold.
        hold: HoldId,
        /// Who may.
        payee: EntityId,
    },

    /// The hold was posted, voided or expired before.
    #[error("{hold} is closed: {state}")]
    HoldClosed {
        /// The hold.
        hold: HoldId,
        /// How it was closed.
        state: HoldState,
    },

    /// The time of the hold is over, though the ledger has not closed it yet.
    #[error("{hold} could be posted before {expires} only")]
    HoldExpired {
        /// The hold.
        hold: HoldId,
        /// When its time was over.
        expires: Timestamp,
    },

    /// The voucher says more than the hold holds.
    #[error("the voucher is for {} units; {hold} holds {}", .cumulative.get(), .amount_max.get())]
    OverHold {
        /// The hold.
        hold: HoldId,
        /// What the voucher says.
        cumulative: Amount,
        /// What is held.
        amount_max: Amount,
    },

    /// The payer of the hold did not sign this voucher.
    #[error("the voucher on {hold} is not signed by {payer}")]
    BadSignature {
        /// The hold.
        hold: HoldId,
        /// Who should have signed.
        payer: EntityId,
    },

    /// The payer has too many holds open.
    #[error("{holds_max} holds are open, as many as one payer may have")]
    TooManyHolds {
        /// How many it may have.
        holds_max: u32,
    },

    /// The payer has less than amount and fee together.
    #[error("{} units are wanted, fee included; {} are available", .wanted.get(), .available.get())]
    InsufficientFunds {
        /// What the payer can spend.
        available: Amount,
        /// Amount and fee; the greatest amount when the sum does not fit.
        wanted: Amount,
    },

    /// The supply would not fit 64 bits.
    #[error("{} units cannot be added to a supply of {}", .wanted.get(), .supply.get())]
    SupplyOverflow {
        /// The supply.
        supply: Amount,
        /// What was to be added.
        wanted: Amount,
    },

    /// No more accounts can be kept. Accounts that are there are served on.
    #[error("{accounts_max} accounts are kept, as many as can be")]
    BooksFull {
        /// How many can be kept, closed ones and keys of before included.
        accounts_max: u32,
    },
}
choice!(Refusal {
    1 => Halted,
    2 => ZeroAmount,
    3 => KeyRotated { to },
    4 => SelfTransfer { holder },
    5 => OtherCurrency { currency, found },
    6 => ExpiryPast { expires, now },
    7 => ExpiryTooFar { expires, expires_max },
    8 => HoldExists { hold },
    9 => UnknownHold { hold },
    10 => WrongPayee { hold, payee },
    11 => HoldClosed { hold, state },
    12 => HoldExpired { hold, expires },
    13 => OverHold { hold, cumulative, amount_max },
    14 => BadSignature { hold, payer },
    15 => TooManyHolds { holds_max },
    16 => InsufficientFunds { available, wanted },
    17 => SupplyOverflow { supply, wanted },
    18 => BooksFull { accounts_max },
});

impl Refusal {
    /// Returns whether the same step, asked of the ledger again unchanged, can succeed later.
    //
    // Spelled out without `_`, so that a new refusal has to choose a side.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Halted
            | Self::ExpiryTooFar { .. }
            | Self::UnknownHold { .. }
            | Self::TooManyHolds { .. }
            | Self::InsufficientFunds { .. }
            | Self::SupplyOverflow { .. } => true,
            Self::ZeroAmount
            | Self::KeyRotated { .. }
            | Self::SelfTransfer { .. }
            | Self::OtherCurrency { .. }
            | Self::ExpiryPast { .. }
            | Self::HoldExists { .. }
            | Self::WrongPayee { .. }
            | Self::HoldClosed { .. }
            | Self::HoldExpired { .. }
            | Self::OverHold { .. }
            | Self::BadSignature { .. }
            | Self::BooksFull { .. } => false,
        }
    }
}
