//! Where a contract stands.
//!
//! ```text
//! signed ──► Open ──┬── the buyer closes it ─────────────────────► Ended(Closed)
//!                   ├── its period is over ──────────────────────► Ended(Over)
//!                   ├── an epoch goes by that nobody paid for ───► Ended(Lapsed)
//!                   └── its money is about to go back to the buyer ► Ended(HoldOver)
//! ```
//!
//! An ended contract stays ended. From then on the provider may forget what it kept, once it has its money.

use crate::{Tab, Terms};
use fondaco_codec::choice;
use fondaco_units::Timestamp;
use std::fmt;

/// How many epochs a provider keeps what is no longer paid for, so that a late payment loses no data.
pub const GRACE_EPOCHS: u64 = 1;

/// Where a contract stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The provider keeps what it was given, and serves what is paid for.
    Open,
    /// Nothing is owed from then on but the bill so far.
    Ended {
        /// When.
        at: Timestamp,
        /// Why.
        why: Ending,
    },
}
choice!(State { 1 => Open, 2 => Ended { at, why } });

/// Why a contract ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The buyer closed it.
    Closed,
    /// Its period was over.
    Over,
    /// [`GRACE_EPOCHS`] went by that nobody paid for.
    Lapsed,
    /// The hold that pays for it was about to expire.
    HoldOver,
}
choice!(Ending { 1 => Closed, 2 => Over, 3 => Lapsed, 4 => HoldOver });

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed by the buyer",
            Self::Over => "its period is over",
            Self::Lapsed => "an epoch was not paid for",
            Self::HoldOver => "its hold is about to expire",
        })
    }
}

impl State {
    /// Returns whether the contract has ended.
    pub const fn has_ended(&self) -> bool {
        match self {
            Self::Open => false,
            Self::Ended { .. } => true,
        }
    }

    /// Ends the contract now, unless it has ended already.
    pub const fn end(self, at: Timestamp, why: Ending) -> Self {
        match self {
            Self::Open => Self::Ended { at, why },
            Self::Ended { .. } => self,
        }
    }

    /// Lets time pass: ends the contract if it is over or has lapsed at `now`. Repeating it does nothing.
    pub fn tick(self, terms: &Terms, tab: &Tab, now: Timestamp) -> Self {
        if now >= terms.ends {
            self.end(now, Ending::Over)
        } else if now >= terms.lapses_at(tab.epochs_paid) {
            self.end(now, Ending::Lapsed)
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{prices::tests::NOON, terms::tests::terms};
    use fondaco_units::Duration;

    #[test]
    fn contracts_end_once() {
        let terms = terms(); // epochs of an hour, for a fortnight
        let ended = |at, why| State::Ended { at, why };
        let hour = |hours: u64| NOON.after(Duration::from_seconds(3600 * hours));
        let table = [
            (State::Open, 1, hour(0), State::Open),
            (State::Open, 1, hour(1), State::Open),
            (State::Open, 1, hour(2), ended(hour(2), Ending::Lapsed)),
            (State::Open, 2, hour(2), State::Open),
            (State::Open, 336, hour(335), State::Open),
            (State::Open, 336, hour(336), ended(hour(336), Ending::Over)),
            (State::Open, 1, hour(336), ended(hour(336), Ending::Over)),
            (ended(hour(0), Ending::Closed), 1, hour(336), ended(hour(0), Ending::Closed)),
        ];
        for (before, epochs_paid, now, after) in table {
            let tab = Tab { epochs_paid, ..Tab::default() };
            assert_eq!(before.tick(&terms, &tab, now), after);
            assert_eq!(after.tick(&terms, &tab, now), after, "a tick repeated changed the state");
        }
        assert!(State::Open.end(NOON, Ending::Closed).has_ended());
    }
}
