//! Double entry: what a step moved, from which side to which.

use crate::HoldId;
use fondaco_codec::{choice, record};
use fondaco_crypto::EntityId;
use fondaco_units::Amount;

/// A place that money can leave and enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// What the issuer owes to all holders: money begins here and ends here.
    Liability,
    /// What an entity can spend.
    Available {
        /// Whose account it is.
        entity: EntityId,
    },
    /// What is set aside by one hold, in the account of its payer.
    Held {
        /// The hold.
        hold: HoldId,
    },
}
choice!(Side { 1 => Liability, 2 => Available { entity }, 3 => Held { hold } });

/// One movement of money: `amount` leaves the debited side and enters the credited one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Where the money came from.
    pub debit: Side,
    /// Where it went.
    pub credit: Side,
    /// How much; never zero.
    pub amount: Amount,
}
record!(Posting { debit, credit, amount });

/// What one step moved, in order: at most two postings, none of them of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Postings {
    pair: [Posting; 2],
    count: usize,
}

impl Postings {
    /// Keeps those of `pair` that move anything.
    pub(crate) fn new(pair: [Posting; 2]) -> Self {
        match pair.map(|posting| !posting.amount.is_zero()) {
            [true, true] => Self { pair, count: 2 },
            [true, false] => Self { pair, count: 1 },
            [false, true] => Self { pair: [pair[1], pair[0]], count: 1 },
            [false, false] => Self { pair, count: 0 },
        }
    }

    /// Keeps one posting.
    pub(crate) fn one(posting: Posting) -> Self {
        Self::new([posting, Posting { amount: Amount::ZERO, ..posting }])
    }

    /// Returns the postings.
    pub fn as_slice(&self) -> &[Posting] {
        &self.pair[..self.count]
    }
}
