//! What is to be done about a provider, and at which score.

use fondaco_codec::choice;
use std::{error::Error, fmt};

use crate::{Count, Share};

/// What is to be done about a provider. Each includes what those before it say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing: it is dealt with.
    Good,
    /// Say so to it and to the owner; give it nothing new.
    Warn,
    /// Pay it no further epoch until it proves again what it keeps.
    StopPaying,
    /// Rebuild what it keeps elsewhere, while it may still be read.
    Repair,
    /// Count what it keeps as lost; end its contracts.
    Replace,
}

choice!(Standing { 1 => Good, 2 => Warn, 3 => StopPaying, 4 => Repair, 5 => Replace });

impl Standing {
    /// Every standing, the best first.
    pub const ALL: [Self; 5] =
        [Self::Good, Self::Warn, Self::StopPaying, Self::Repair, Self::Replace];
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Warn => "warned",
            Self::StopPaying => "unpaid",
            Self::Repair => "being repaired",
            Self::Replace => "replaced",
        })
    }
}

/// By which numbers providers are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) memory: Share,
    pub(crate) epoch_memory: Share,
    pub(crate) start: Count,
    /// Below which score a provider comes to warn, stop paying, repair, replace.
    pub(crate) thresholds: [Share; 4],
    pub(crate) margin: Share,
}

/// Why numbers are no policy. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// The thresholds do not fall from warning to replacing.
    Unordered {
        /// The thresholds given.
        thresholds: [Share; 4],
    },
    /// With the margin, a provider that was warned could never be good again.
    NoWayBack {
        /// The score at which it is warned.
        warn: Share,
        /// The margin.
        margin: Share,
    },
}

impl PolicyError {
    /// Returns whether the same numbers can be a policy later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Unordered { .. } | Self::NoWayBack { .. } => false,
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unordered { thresholds: [warn, stop, repair, replace] } => write!(
                f,
                "the scores to warn, stop paying, repair and replace must fall; these are {warn}, {stop}, {repair} and {replace}"
            ),
            Self::NoWayBack { warn, margin } => {
                write!(
                    f,
                    "warned at {warn}, with a margin of {margin}, a provider could never be good again"
                )
            }
        }
    }
}

impl Error for PolicyError {}

impl Policy {
    /// What is used unless the owner says otherwise.
    ///
    /// With λ = 0.999 and a start of 1000 good audits, a provider that fails 5 % of its audits is replaced after about
    /// 1,500 of them, and one that fails 2 % never; see the tests. A shorter memory would need luck.
    pub const DEFAULT: Self = Self {
        memory: Share::known(999_000),
        epoch_memory: Share::known(990_000),
        start: Count::whole(1000),
        thresholds: [
            Share::known(975_000),
            Share::known(968_000),
            Share::known(964_000),
            Share::known(960_000),
        ],
        margin: Share::known(3_000),
    };

    /// Creates a policy that differs from [`Policy::DEFAULT`] in its `thresholds`, the scores below which a provider is
    /// warned, paid no more, repaired and replaced, and in the `margin` above them at which it is forgiven.
    pub fn new(thresholds: [Share; 4], margin: Share) -> Result<Self, PolicyError> {
        let warn = thresholds[0];
        if !thresholds.is_sorted_by(|a, b| a > b) {
            Err(PolicyError::Unordered { thresholds })
        } else if u64::from(warn.millionths()) + u64::from(margin.millionths())
            > u64::from(Share::ONE.millionths())
        {
            Err(PolicyError::NoWayBack { warn, margin })
        } else {
            Ok(Self { thresholds, margin, ..Self::DEFAULT })
        }
    }

    /// Returns the standing that follows `before` at this score. It worsens at a threshold, and betters only when the
    /// score is the margin above it, so that it does not change to and fro.
    pub(crate) fn standing(&self, before: Standing, score: Share) -> Standing {
        let below = |threshold: &Share| score < *threshold;
        let worse = Standing::ALL[self.thresholds.iter().filter(|t| below(t)).count()];
        let far_below = |threshold: &Share| {
            score.millionths() < threshold.millionths().saturating_add(self.margin.millionths())
        };
        let forgiven = Standing::ALL[self.thresholds.iter().filter(|t| far_below(t)).count()];
        worse.max(before.min(forgiven))
    }
}
