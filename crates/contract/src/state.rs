//! Where a contract stands, and every way from there.
//!
//! ```text
//!            Cancel
//! Offered ──────────► Cancelled
//!    │ Sign
//!    ▼        Renew             End(Renewed)
//!  Open ◄───────────► Renewing ─────────────► Ended      its shards are the successor's
//!    │ │     KeepOn       │ Leave
//!    │ │                  ▼      End(Left)
//!    │ └───────────────► Ending ─────────────► Ended     at the date that was announced
//!    │        Leave
//!    ├── End(Closed, Over, HoldOver) ────────► Ended     also from Renewing and Ending
//!    └── End(Lapsed, Lost) ──────────────────► Defaulted also from Renewing and Ending
//! ```
//!
//! | state | comes by | waits for | survives a crash |
//! |---|---|---|---|
//! | Offered | the buyer saved terms, and asks for a hold | the provider's signature | in the buyer's book alone |
//! | Open | both signed | anything | both |
//! | Renewing | the buyer saved terms that name this contract | the provider's signature of those | in the buyer's book alone: the provider renews in one event |
//! | Ending | the provider announced a date | that date | in the provider's journal; the buyer hears it of any Status |
//! | Ended, Defaulted, Cancelled | see above | nothing | both |
//!
//! An ended contract stays as it ended first. From then on the provider may forget what it kept, once it has its money.

use crate::{ContractId, Tab, Terms};
use fondaco_codec::choice;
use fondaco_units::Timestamp;
use std::fmt;

/// How many epochs a provider keeps what is no longer paid for, so that a late payment loses no data.
pub const GRACE_EPOCHS: u64 = 1;

/// Where a contract stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The buyer made terms of a price list; nothing is owed.
    Offered,
    /// The provider keeps what it was given, and serves what is paid for.
    Open,
    /// As open; and a contract that takes its shards over is about to be signed.
    Renewing {
        /// Which that is.
        successor: ContractId,
    },
    /// The provider leaves: it takes nothing more, keeps and serves what it has until then.
    Ending {
        /// When.
        at: Timestamp,
    },
    /// Nothing is owed from then on but the bill so far.
    Ended {
        /// When.
        at: Timestamp,
        /// Why.
        why: Ending,
    },
    /// A side did not do what it signed; of the bill so far all is owed that was authorised.
    Defaulted {
        /// When.
        at: Timestamp,
        /// Which side.
        by: Side,
    },
    /// It never was signed by both.
    Cancelled {
        /// When it was given up.
        at: Timestamp,
    },
}
choice!(State {
    1 => Open,
    2 => Ended { at, why },
    3 => Offered,
    4 => Renewing { successor },
    5 => Ending { at },
    6 => Defaulted { at, by },
    7 => Cancelled { at },
});

/// A side of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Who pays.
    Buyer,
    /// Who serves.
    Provider,
}
choice!(Side { 1 => Buyer, 2 => Provider });

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
    /// Another contract took its shards over.
    Renewed,
    /// The provider left, at a date that it had announced.
    Left,
    /// The provider lost what it was to keep.
    Lost,
    /// It was given up before both had signed.
    Cancelled,
}
choice!(Ending {
    1 => Closed,
    2 => Over,
    3 => Lapsed,
    4 => HoldOver,
    5 => Renewed,
    6 => Left,
    7 => Lost,
    8 => Cancelled,
});

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed by the buyer",
            Self::Over => "its period is over",
            Self::Lapsed => "an epoch was not paid for",
            Self::HoldOver => "its hold is about to expire",
            Self::Renewed => "renewed by another",
            Self::Left => "its provider left, as announced",
            Self::Lost => "its provider lost the shards",
            Self::Cancelled => "it was never signed by both",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offered => f.write_str("offered"),
            Self::Open => f.write_str("open"),
            Self::Renewing { .. } => f.write_str("renewing"),
            Self::Ending { at } => write!(f, "ending: its provider leaves {at}"),
            Self::Ended { why, .. } => write!(f, "ended: {why}"),
            Self::Defaulted { by, .. } => write!(f, "defaulted: {}", by.breach()),
            Self::Cancelled { .. } => f.write_str("cancelled"),
        }
    }
}

impl Side {
    /// Returns what this side did when the contract defaulted by it.
    const fn breach(self) -> Ending {
        match self {
            Self::Buyer => Ending::Lapsed,
            Self::Provider => Ending::Lost,
        }
    }
}

/// What can happen to a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Both have signed, and the hold is there.
    Sign,
    /// The buyer gave it up, or the provider refused it for good.
    Cancel {
        /// When.
        at: Timestamp,
    },
    /// The buyer asks for a contract that takes this one's shards over.
    Renew {
        /// Which.
        successor: ContractId,
    },
    /// The renewal came to nothing.
    KeepOn,
    /// The provider announces that it leaves. It may put that off, never bring it forward.
    Leave {
        /// When.
        at: Timestamp,
    },
    /// It ends.
    End {
        /// When.
        at: Timestamp,
        /// Why.
        why: Ending,
    },
}

/// Why an input does not fit a state; the state is then unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Both must have signed first.
    #[error("the contract is not signed by both yet")]
    Unsigned,
    /// It was signed by both, so it cannot be signed or given up.
    #[error("the contract is signed by both")]
    Signed,
    /// The provider leaves at that date.
    #[error("the provider leaves {at}")]
    Leaving {
        /// When.
        at: Timestamp,
    },
    /// No renewal is under way.
    #[error("no renewal of the contract is under way")]
    NotRenewing,
    /// The provider did not announce that it would have left by now.
    #[error("the provider has not announced that it leaves by now")]
    NotAnnounced,
    /// Nothing can happen to it any more.
    #[error("the contract has ended: {why}")]
    Over {
        /// Why.
        why: Ending,
    },
}

impl StateError {
    /// Returns whether the same input can fit later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Unsigned | Self::NotRenewing | Self::NotAnnounced => true,
            Self::Signed | Self::Leaving { .. } | Self::Over { .. } => false,
        }
    }
}

impl State {
    /// Lets something happen. Ending again what has ended changes nothing, and is no error.
    ///
    /// # Errors
    ///
    /// The input does not fit; see the drawing.
    pub fn step(self, input: Input) -> Result<Self, StateError> {
        match (self, input) {
            (Self::Offered, Input::Sign) => Ok(Self::Open),
            (
                Self::Offered,
                Input::Cancel { at } | Input::End { at, why: Ending::Closed | Ending::Cancelled },
            ) => Ok(Self::Cancelled { at }),
            (
                Self::Offered,
                Input::Renew { .. } | Input::KeepOn | Input::Leave { .. } | Input::End { .. },
            ) => Err(StateError::Unsigned),

            (
                Self::Open | Self::Renewing { .. } | Self::Ending { .. },
                Input::Sign | Input::Cancel { .. } | Input::End { why: Ending::Cancelled, .. },
            ) => Err(StateError::Signed),
            (
                Self::Open | Self::Renewing { .. } | Self::Ending { .. },
                Input::End {
                    at,
                    why:
                        why @ (Ending::Closed
                        | Ending::Over
                        | Ending::HoldOver
                        | Ending::Lapsed
                        | Ending::Lost),
                },
            ) => Ok(Self::ended(at, why)),

            (Self::Open | Self::Renewing { .. }, Input::Renew { successor }) => {
                Ok(Self::Renewing { successor })
            }
            (Self::Open | Self::Renewing { .. }, Input::Leave { at }) => Ok(Self::Ending { at }),
            (Self::Open | Self::Renewing { .. }, Input::End { why: Ending::Left, .. }) => {
                Err(StateError::NotAnnounced)
            }
            (Self::Renewing { .. }, Input::KeepOn) => Ok(Self::Open),
            (Self::Renewing { .. }, Input::End { at, why: Ending::Renewed }) => {
                Ok(Self::ended(at, Ending::Renewed))
            }
            (Self::Open, Input::KeepOn | Input::End { why: Ending::Renewed, .. }) => {
                Err(StateError::NotRenewing)
            }

            (Self::Ending { at }, Input::Leave { at: later }) if later >= at => {
                Ok(Self::Ending { at: later })
            }
            (Self::Ending { at }, Input::End { at: now, why: Ending::Left }) if now >= at => {
                Ok(Self::ended(now, Ending::Left))
            }
            (Self::Ending { .. }, Input::End { why: Ending::Left, .. }) => {
                Err(StateError::NotAnnounced)
            }
            (
                Self::Ending { at },
                Input::Leave { .. }
                | Input::Renew { .. }
                | Input::KeepOn
                | Input::End { why: Ending::Renewed, .. },
            ) => Err(StateError::Leaving { at }),

            (
                Self::Ended { .. } | Self::Defaulted { .. } | Self::Cancelled { .. },
                Input::End { .. },
            ) => Ok(self),
            (
                Self::Ended { why, .. },
                Input::Sign
                | Input::Cancel { .. }
                | Input::Renew { .. }
                | Input::KeepOn
                | Input::Leave { .. },
            ) => Err(StateError::Over { why }),
            (
                Self::Defaulted { by, .. },
                Input::Sign
                | Input::Cancel { .. }
                | Input::Renew { .. }
                | Input::KeepOn
                | Input::Leave { .. },
            ) => Err(StateError::Over { why: by.breach() }),
            (
                Self::Cancelled { .. },
                Input::Sign
                | Input::Cancel { .. }
                | Input::Renew { .. }
                | Input::KeepOn
                | Input::Leave { .. },
            ) => Err(StateError::Over { why: Ending::Cancelled }),
        }
    }

    /// Returns whether the contract has ended, in whatever way.
    pub const fn has_ended(&self) -> bool {
        self.why().is_some()
    }

    /// Returns why the contract has ended; nothing if it has not.
    pub const fn why(&self) -> Option<Ending> {
        match self {
            Self::Offered | Self::Open | Self::Renewing { .. } | Self::Ending { .. } => None,
            Self::Ended { why, .. } => Some(*why),
            Self::Defaulted { by, .. } => Some(by.breach()),
            Self::Cancelled { .. } => Some(Ending::Cancelled),
        }
    }

    /// Returns when the contract ended; nothing if it has not.
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Offered | Self::Open | Self::Renewing { .. } | Self::Ending { .. } => None,
            Self::Ended { at, .. } | Self::Defaulted { at, .. } | Self::Cancelled { at } => {
                Some(*at)
            }
        }
    }

    /// Returns the state of a contract that ended so.
    pub const fn ended(at: Timestamp, why: Ending) -> Self {
        match why {
            Ending::Closed | Ending::Over | Ending::HoldOver | Ending::Renewed | Ending::Left => {
                Self::Ended { at, why }
            }
            Ending::Lapsed => Self::Defaulted { at, by: Side::Buyer },
            Ending::Lost => Self::Defaulted { at, by: Side::Provider },
            Ending::Cancelled => Self::Cancelled { at },
        }
    }

    /// Ends the contract now, if it can end so; one that has ended stays as it is.
    #[must_use]
    pub fn end(self, at: Timestamp, why: Ending) -> Self {
        self.step(Input::End { at, why }).unwrap_or(self)
    }

    /// Lets time pass: ends the contract if it is over, left or lapsed at `now`. Repeating it does nothing.
    #[must_use]
    pub fn tick(self, terms: &Terms, tab: &Tab, now: Timestamp) -> Self {
        if now >= terms.ends {
            return self.end(now, Ending::Over);
        }
        match self {
            Self::Ending { at } if now >= at => self.end(now, Ending::Left),
            _ if now >= terms.lapses_at(tab.epochs_paid) => self.end(now, Ending::Lapsed),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{prices::tests::NOON, terms::tests::terms};
    use fondaco_codec::{Decode as _, Encode as _};
    use fondaco_crypto::Digest;
    use fondaco_units::Duration;

    fn hour(hours: u64) -> Timestamp {
        NOON.after(Duration::from_seconds(3600 * hours))
    }

    fn successor(name: u8) -> ContractId {
        ContractId::from_digest(Digest::from_bytes([name; 32]))
    }

    /// Every state with every input, at 5 o'clock; one that leaves does so at 4.
    ///
    /// A row is a state, a column an input. `=` is the same state; in capitals a refusal: Unsigned, Signed, Leaving,
    /// Not renewing, nOt announced, oVer.
    const TABLE: &str = "
        .         sign cancel renew keep_on leave closed over lapsed hold_over renewed left lost cancelled
        offered   open canc   U     U       U     canc   U    U      U         U       U    U    canc
        open      S    S      renew N       leave closed over buyer  hold_over N       O    prov S
        renewing  S    S      renew open    leave closed over buyer  hold_over renewed O    prov S
        ending    S    S      L     L       leave closed over buyer  hold_over L       left prov S
        ended     V    V      V     V       V     =      =    =      =         =       =    =    =
        defaulted V    V      V     V       V     =      =    =      =         =       =    =    =
        cancelled V    V      V     V       V     =      =    =      =         =       =    =    =
    ";

    #[test]
    fn every_state_with_every_input() {
        let at = hour(5);
        let state = |name: &str| match name {
            "offered" => State::Offered,
            "open" => State::Open,
            "renewing" => State::Renewing { successor: successor(1) },
            "ending" => State::Ending { at: hour(4) },
            "ended" => State::Ended { at: hour(1), why: Ending::Over },
            "defaulted" => State::Defaulted { at: hour(1), by: Side::Buyer },
            "cancelled" => State::Cancelled { at: hour(1) },
            other => panic!("no state {other}"),
        };
        let ending = |name: &str| match name {
            "closed" => Ending::Closed,
            "over" => Ending::Over,
            "lapsed" => Ending::Lapsed,
            "hold_over" => Ending::HoldOver,
            "renewed" => Ending::Renewed,
            "left" => Ending::Left,
            "lost" => Ending::Lost,
            "cancelled" => Ending::Cancelled,
            other => panic!("no ending {other}"),
        };
        let input = |name: &str| match name {
            "sign" => Input::Sign,
            "cancel" => Input::Cancel { at },
            "renew" => Input::Renew { successor: successor(2) },
            "keep_on" => Input::KeepOn,
            "leave" => Input::Leave { at: hour(6) },
            why => Input::End { at, why: ending(why) },
        };
        let lines: Vec<Vec<&str>> = TABLE
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|line| !line.is_empty())
            .collect();
        let mut pairs = 0;
        for line in &lines[1..] {
            assert_eq!(line.len(), lines[0].len(), "{line:?}");
            let before = state(line[0]);
            for (name, cell) in lines[0].iter().zip(line).skip(1) {
                let why = before.why().unwrap_or(Ending::Over);
                let expected = match *cell {
                    "=" => Ok(before),
                    "U" => Err(StateError::Unsigned),
                    "S" => Err(StateError::Signed),
                    "L" => Err(StateError::Leaving { at: hour(4) }),
                    "N" => Err(StateError::NotRenewing),
                    "O" => Err(StateError::NotAnnounced),
                    "V" => Err(StateError::Over { why }),
                    "open" => Ok(State::Open),
                    "canc" => Ok(State::Cancelled { at }),
                    "renew" => Ok(State::Renewing { successor: successor(2) }),
                    "leave" => Ok(State::Ending { at: hour(6) }),
                    "buyer" => Ok(State::Defaulted { at, by: Side::Buyer }),
                    "prov" => Ok(State::Defaulted { at, by: Side::Provider }),
                    why => Ok(State::Ended { at, why: ending(why) }),
                };
                let after = before.step(input(name));
                assert_eq!(after, expected, "{} {name}", line[0]);
                if let Ok(after) = after {
                    assert_eq!(State::from_bytes(&after.to_bytes()), Ok(after));
                    assert_eq!(after.has_ended(), after.ended_at().is_some());
                }
                pairs += 1;
            }
        }
        assert_eq!(pairs, 7 * 13);
    }

    #[test]
    fn a_date_is_put_off_and_never_brought_forward() {
        let ending = State::Ending { at: hour(4) };
        let leaving = Err(StateError::Leaving { at: hour(4) });
        assert_eq!(ending.step(Input::Leave { at: hour(3) }), leaving);
        assert_eq!(ending.step(Input::Leave { at: hour(4) }), Ok(ending));
        let early = Input::End { at: hour(3), why: Ending::Left };
        assert_eq!(ending.step(early), Err(StateError::NotAnnounced));
    }

    #[test]
    fn contracts_end_once() {
        let terms = terms(); // epochs of an hour, for a fortnight
        let ended = |at, why| State::Ended { at, why };
        let lapsed = |at| State::Defaulted { at, by: Side::Buyer };
        let ending = State::Ending { at: hour(2) };
        let table = [
            (State::Open, 1, hour(0), State::Open),
            (State::Open, 1, hour(1), State::Open),
            (State::Open, 1, hour(2), lapsed(hour(2))),
            (State::Open, 2, hour(2), State::Open),
            (State::Open, 336, hour(335), State::Open),
            (State::Open, 336, hour(336), ended(hour(336), Ending::Over)),
            (State::Open, 1, hour(336), ended(hour(336), Ending::Over)),
            (ending, 1, hour(1), ending),
            (ending, 1, hour(2), ended(hour(2), Ending::Left)),
            (ending, 1, hour(336), ended(hour(336), Ending::Over)),
            (ended(hour(0), Ending::Closed), 1, hour(336), ended(hour(0), Ending::Closed)),
        ];
        for (before, epochs_paid, now, after) in table {
            let tab = Tab { epochs_paid, ..Tab::default() };
            assert_eq!(before.tick(&terms, &tab, now), after);
            assert_eq!(after.tick(&terms, &tab, now), after, "a tick repeated changed the state");
        }
        assert!(State::Open.end(NOON, Ending::Closed).has_ended());
        assert_eq!(State::Open.end(NOON, Ending::Left), State::Open);
    }
}
