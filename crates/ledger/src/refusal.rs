//! Why the ledger refuses a step.

use crate::{HOLD_SPAN_MAX, HoldId, HoldState, PAYWORD_LENGTH_MAX, PayWordError};
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

    /// A chain of transfers has none, or too many.
    #[error("a chain has 1 to {legs_max} transfers")]
    LegCount {
        /// How many it may have.
        legs_max: u32,
    },

    /// The anchor is of a chain without words, or with more than one may have.
    #[error("a chain has 1 to {length_max} words, not {length}")]
    AnchorLength {
        /// How many it has.
        length: u32,
        /// How many it may have.
        length_max: u32,
    },

    /// The chain has no such word.
    #[error("word {index} is none of the words 1 to {length}")]
    WordIndex {
        /// Which one it is said to be.
        index: u32,
        /// How many there are.
        length: u32,
    },

    /// What the word is worth does not fit 64 bits.
    #[error("{} units and {index} times {} are more than can be counted", .base.get(), .unit.get())]
    WordOverflow {
        /// What was owed before the first word.
        base: Amount,
        /// What each word adds.
        unit: Amount,
        /// Which word.
        index: u32,
    },

    /// The amount to move is zero. To give up a hold, void it.
    #[error("the amount is zero")]
    ZeroAmount,

    /// The account has another key now; by this one, nothing can be asked of it.
    #[error("this key was changed to {to}")]
    KeyRotated {
        /// The key of the account now.
        to: EntityId,
    },

    /// The issuer's account stays, under the key that names the currency.
    #[error("the account of the issuer, {issuer}, stays as it is")]
    IssuerStays {
        /// The issuer.
        issuer: EntityId,
    },

    /// There is no account to be changed.
    #[error("{holder} has no account")]
    UnknownAccount {
        /// Whose it would be.
        holder: EntityId,
    },

    /// The key has, or had, an account of its own, or was changed for another: it cannot become the key of an account.
    #[error("{holder} is known here already")]
    AccountExists {
        /// The key.
        holder: EntityId,
    },

    /// Payer and payee are the same.
    #[error("{holder} would pay itself")]
    SelfTransfer {
        /// Who it is.
        holder: EntityId,
    },

    /// The voucher or anchor is in another currency.
    #[error("this is in the currency of {}; this is the ledger of {}", .found.issuer(), .currency.issuer())]
    OtherCurrency {
        /// The currency of this ledger.
        currency: CurrencyId,
        /// The currency of the voucher or anchor.
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

    /// The voucher or word is worth more than the hold holds.
    #[error("{} units are asked for; {hold} holds {}", .cumulative.get(), .amount_max.get())]
    OverHold {
        /// The hold.
        hold: HoldId,
        /// What it is worth.
        cumulative: Amount,
        /// What is held.
        amount_max: Amount,
    },

    /// The payer of the hold did not sign this voucher or anchor.
    #[error("what was posted on {hold} is not signed by {payer}")]
    BadSignature {
        /// The hold.
        hold: HoldId,
        /// Who should have signed.
        payer: EntityId,
    },

    /// The word does not lead to the root in the anchor.
    #[error("word {index} is not of the chain on {hold}")]
    BadWord {
        /// The hold.
        hold: HoldId,
        /// Which word it is said to be.
        index: u32,
    },

    /// The payer has too many holds open.
    #[error("{holds_max} holds are open, as many as one payer may have")]
    TooManyHolds {
        /// How many it may have.
        holds_max: u32,
    },

    /// An account with open holds is not closed: money may come back into it.
    #[error("{holds_open} holds are open")]
    HoldsOpen {
        /// How many.
        holds_open: u32,
    },

    /// More is in the account than its holder gives up.
    #[error("{} units are left, and at most {} are given up", .available.get(), .forfeit_max.get())]
    NotEmpty {
        /// What is left.
        available: Amount,
        /// What the holder would give up.
        forfeit_max: Amount,
    },

    /// The payee has no account, and the amount is too small to make one.
    #[error("{payee} has no account; {} units at least make one", .reserve.get())]
    UnderReserve {
        /// Who would be paid.
        payee: EntityId,
        /// The least amount.
        reserve: Amount,
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

    /// The payee does not want to have so much.
    #[error("{payee} wants to have at most {} units", .balance_max.get())]
    OverLimit {
        /// Who would be paid.
        payee: EntityId,
        /// The most it wants to have, available and held.
        balance_max: Amount,
    },

    /// So many who have no account have set a limit that no other can be kept. Ask again later, or once there is an account.
    #[error("{limits_max} limits of keys without an account are kept, as many as can be")]
    LimitsFull {
        /// How many are kept.
        limits_max: u32,
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
    2 => LegCount { legs_max },
    3 => AnchorLength { length, length_max },
    4 => WordIndex { index, length },
    5 => WordOverflow { base, unit, index },
    6 => ZeroAmount,
    7 => KeyRotated { to },
    8 => IssuerStays { issuer },
    9 => UnknownAccount { holder },
    10 => AccountExists { holder },
    11 => SelfTransfer { holder },
    12 => OtherCurrency { currency, found },
    13 => ExpiryPast { expires, now },
    14 => ExpiryTooFar { expires, expires_max },
    15 => HoldExists { hold },
    16 => UnknownHold { hold },
    17 => WrongPayee { hold, payee },
    18 => HoldClosed { hold, state },
    19 => HoldExpired { hold, expires },
    20 => OverHold { hold, cumulative, amount_max },
    21 => BadSignature { hold, payer },
    22 => BadWord { hold, index },
    23 => TooManyHolds { holds_max },
    24 => HoldsOpen { holds_open },
    25 => NotEmpty { available, forfeit_max },
    26 => UnderReserve { payee, reserve },
    27 => InsufficientFunds { available, wanted },
    28 => SupplyOverflow { supply, wanted },
    29 => OverLimit { payee, balance_max },
    30 => BooksFull { accounts_max },
    31 => LimitsFull { limits_max },
});

impl Refusal {
    /// Why a word on `hold` is not paid.
    pub(crate) const fn of_payword(hold: HoldId, error: PayWordError) -> Self {
        match error {
            PayWordError::Length { length } => {
                Self::AnchorLength { length, length_max: PAYWORD_LENGTH_MAX }
            }
            PayWordError::Index { index, length } => Self::WordIndex { index, length },
            PayWordError::Overflow { base, unit, index } => {
                Self::WordOverflow { base, unit, index }
            }
            PayWordError::BadSignature { hold, payer } => Self::BadSignature { hold, payer },
            // The books know of no word before: whatever is not of this chain.
            PayWordError::NotNewer { index, .. } | PayWordError::BadWord { index } => {
                Self::BadWord { hold, index }
            }
        }
    }

    /// Returns whether the same step, asked of the ledger again unchanged, can succeed later.
    //
    // Spelled out without `_`, so that a new refusal has to choose a side.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Halted
            | Self::UnknownAccount { .. }
            | Self::ExpiryTooFar { .. }
            | Self::UnknownHold { .. }
            | Self::TooManyHolds { .. }
            | Self::HoldsOpen { .. }
            | Self::NotEmpty { .. }
            | Self::UnderReserve { .. }
            | Self::InsufficientFunds { .. }
            | Self::SupplyOverflow { .. }
            | Self::OverLimit { .. }
            | Self::LimitsFull { .. } => true,
            Self::LegCount { .. }
            | Self::AnchorLength { .. }
            | Self::WordIndex { .. }
            | Self::WordOverflow { .. }
            | Self::ZeroAmount
            | Self::KeyRotated { .. }
            | Self::IssuerStays { .. }
            | Self::AccountExists { .. }
            | Self::SelfTransfer { .. }
            | Self::OtherCurrency { .. }
            | Self::ExpiryPast { .. }
            | Self::HoldExists { .. }
            | Self::WrongPayee { .. }
            | Self::HoldClosed { .. }
            | Self::HoldExpired { .. }
            | Self::OverHold { .. }
            | Self::BadSignature { .. }
            | Self::BadWord { .. }
            | Self::BooksFull { .. } => false,
        }
    }
}
