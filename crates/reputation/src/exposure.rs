//! How much a provider is trusted with at once.
//!
//! ```text
//! newcomer ──good deal──► newcomer + part of its worth ──good deal──► … ──► ceiling
//!     ▲                                │
//!     └────────────bad deal────────────┘  at once, and half as much for each bad one that is remembered
//! ```
//!
//! Whoever runs away with what it is trusted with can come back as a newcomer under a new key. That must not pay: a
//! newcomer is trusted with less than a new identity costs, and a provider with no more on top of that than a part of
//! what it has honestly earned, all of which it would have to earn again.

use std::{error::Error, fmt};

use fondaco_codec::record;
use fondaco_units::Amount;

use crate::Share;

/// By which numbers trust grows and falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    newcomer: Amount,
    ceiling: Amount,
    growth: Share,
}

/// Why numbers are no limits. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitsError {
    /// A newcomer could take as much as a new identity costs, so running away and coming back would pay.
    Whitewashing {
        /// What a newcomer is trusted with.
        newcomer: Amount,
        /// What a new identity costs.
        identity: Amount,
    },
    /// The most that anybody is trusted with is less than what a newcomer is.
    CeilingBelowNewcomer {
        /// The ceiling.
        ceiling: Amount,
        /// What a newcomer is trusted with.
        newcomer: Amount,
    },
}

impl LimitsError {
    /// Returns whether the same numbers can be limits later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Whitewashing { .. } | Self::CeilingBelowNewcomer { .. } => false,
        }
    }
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whitewashing { newcomer, identity } => write!(
                f,
                "a newcomer trusted with {} units could run away and come back, since a new identity costs {}",
                newcomer.get(),
                identity.get()
            ),
            Self::CeilingBelowNewcomer { ceiling, newcomer } => write!(
                f,
                "at most {} units are less than the {} that a newcomer is trusted with",
                ceiling.get(),
                newcomer.get()
            ),
        }
    }
}

impl Error for LimitsError {}

impl Limits {
    /// Creates the limits under which a newcomer is trusted with `newcomer`, less than the `identity` that a new key
    /// costs its owner; everybody with at most `ceiling`; and a provider with `growth` of what its good deals were worth.
    pub fn new(
        newcomer: Amount,
        ceiling: Amount,
        growth: Share,
        identity: Amount,
    ) -> Result<Self, LimitsError> {
        if newcomer >= identity {
            Err(LimitsError::Whitewashing { newcomer, identity })
        } else if ceiling < newcomer {
            Err(LimitsError::CeilingBelowNewcomer { ceiling, newcomer })
        } else {
            Ok(Self { newcomer, ceiling, growth })
        }
    }
}

/// What a provider has earned of trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    earned: Amount,
    bad: u32,
}

record!(Exposure { earned, bad });

impl Exposure {
    /// The most bad deals that are counted: beyond it nothing is left anyhow.
    const BAD_MAX: u32 = 64;

    /// Nothing yet: a newcomer's.
    pub const NEWCOMER: Self = Self { earned: Amount::ZERO, bad: 0 };

    /// Takes in a deal that was kept to its end, worth `paid`. One good deal also makes up for one bad, and then earns
    /// nothing.
    pub fn good(&mut self, paid: Amount) {
        if self.bad > 0 {
            self.bad -= 1;
        } else {
            self.earned = self.earned.checked_add(paid).unwrap_or(Amount::MAX);
        }
    }

    /// Takes in a deal that was not kept: all that was earned is gone at once.
    pub fn bad(&mut self) {
        self.earned = Amount::ZERO;
        self.bad = self.bad.saturating_add(1).min(Self::BAD_MAX);
    }

    /// Returns how many deals that were not kept are remembered.
    pub const fn not_kept(&self) -> u32 {
        self.bad
    }

    /// Returns the most that the provider may be ahead by.
    pub fn cap(&self, limits: &Limits) -> Amount {
        if self.bad > 0 {
            return Amount::new(limits.newcomer.get().checked_shr(self.bad).unwrap_or(0));
        }
        let grown = Amount::new(limits.growth.of(self.earned.get()));
        limits.newcomer.checked_add(grown).unwrap_or(Amount::MAX).min(limits.ceiling)
    }
}
