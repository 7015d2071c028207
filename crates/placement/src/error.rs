//! Why nothing was placed.

use std::{error::Error, fmt};

use crate::CANDIDATES_MAX;

/// Why a provider is no candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CandidateError {
    /// The loss is no probability above 0 and below 1.
    LossOutside {
        /// The loss given.
        loss: f64,
    },
}

impl CandidateError {
    /// Returns whether the same numbers can be a candidate later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::LossOutside { .. } => false,
        }
    }
}

impl fmt::Display for CandidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LossOutside { loss } => {
                write!(f, "a provider's loss is above 0 and below 1; this one is {loss}")
            }
        }
    }
}

impl Error for CandidateError {}

/// Why a chance of common loss is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ShockError {
    /// The chance is below 0, or 1 or above, or no number.
    Outside {
        /// The chance given.
        shock: f64,
    },
}

impl ShockError {
    /// Returns whether the same number can be a shock later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Outside { .. } => false,
        }
    }
}

impl fmt::Display for ShockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside { shock } => {
                write!(
                    f,
                    "a group is lost with a probability from 0 to below 1; this one is {shock}"
                )
            }
        }
    }
}

impl Error for ShockError {}

/// Why something is no estimate of a loss. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EstimateError {
    /// A mean loss is not above 0 and below 1.
    MeanOutside {
        /// The mean given.
        mean: f64,
    },
    /// What was counted is negative, beyond a million, or no number.
    CountOutside {
        /// The count given.
        count: f64,
    },
}

impl EstimateError {
    /// Returns whether the same numbers can be an estimate later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::MeanOutside { .. } | Self::CountOutside { .. } => false,
        }
    }
}

impl fmt::Display for EstimateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MeanOutside { mean } => {
                write!(f, "a mean loss is above 0 and below 1; this one is {mean}")
            }
            Self::CountOutside { count } => {
                write!(f, "epochs are counted from 0 to a million; {count} is no such count")
            }
        }
    }
}

impl Error for EstimateError {}

/// Why a goal is none. Listed by precedence: only the first that applies is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GoalError {
    /// The survival is no probability above 0 and below 1.
    SurviveOutside {
        /// The survival given.
        survive: f64,
    },

    /// As many shards must be expendable as there may be, or more.
    TooFewShards {
        /// The most shards allowed.
        shards_max: u8,
        /// How many of them must be expendable.
        lost_min: u8,
    },
}

impl GoalError {
    /// Returns whether the same numbers can be a goal later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::SurviveOutside { .. } | Self::TooFewShards { .. } => false,
        }
    }
}

impl fmt::Display for GoalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SurviveOutside { survive } => {
                write!(f, "a survival is above 0 and below 1; this one is {survive}")
            }
            Self::TooFewShards { shards_max, lost_min } => {
                write!(f, "of at most {shards_max} shards, {lost_min} cannot be lost")
            }
        }
    }
}

impl Error for GoalError {}

/// Why nothing was placed. Listed by precedence: only the first that applies is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PlacementError {
    /// There are more than [`CANDIDATES_MAX`] candidates.
    TooManyCandidates {
        /// How many were given.
        candidates: usize,
    },

    /// There are too few candidates to lose `lost_min` shards and have one left.
    TooFewCandidates {
        /// How many were given.
        candidates: usize,
        /// How many the goal needs at least.
        needed: u8,
    },

    /// All candidates are of so few operators that what one of them may not hold leaves no code.
    TooFewOperators {
        /// How many candidates were given.
        candidates: usize,
        /// Of how many operators.
        operators: usize,
        /// How many operators are enough.
        needed: u8,
    },

    /// No choice among these candidates is durable enough; this is the best that can be reached.
    Unreachable {
        /// How many shards give the object back.
        k: u8,
        /// How many shards there are.
        n: u8,
        /// The probability that the object survives.
        survive: f64,
        /// The probability asked for.
        goal: f64,
    },
}

impl PlacementError {
    /// Returns whether the same goal can be reached later, when other providers are on offer.
    //
    // Spelled out without `_`, so that a new refusal has to choose a side.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::TooFewCandidates { .. }
            | Self::TooFewOperators { .. }
            | Self::Unreachable { .. } => true,
            Self::TooManyCandidates { .. } => false,
        }
    }
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyCandidates { candidates } => {
                write!(f, "{candidates} candidates; at most {CANDIDATES_MAX} are looked at")
            }
            Self::TooFewCandidates { candidates, needed } => {
                write!(f, "{candidates} candidates; the goal needs at least {needed}")
            }
            Self::TooFewOperators { candidates, operators, needed } => {
                let s = if *operators == 1 { "" } else { "s" };
                write!(f, "{candidates} candidates of {operators} operator{s}; {needed} would do")
            }
            Self::Unreachable { k, n, survive, goal } => {
                write!(f, "a survival of {goal} is out of reach; {k} of {n} reaches {survive}")
            }
        }
    }
}

impl Error for PlacementError {}
