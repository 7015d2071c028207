//! Choose the cheapest providers and code that reach a durability.
//!
//! A *candidate* is a provider that would keep one shard: it loses the shard before the next repair with
//! probability `loss`, and asks a `price` per byte. An object is cut by a *code* into `n` shards, any `k`
//! of which give it back; each of `n` candidates keeps one. A *goal* says how surely the object must survive.
//!
//! ```text
//! candidates ──► sets of at most shards_max ──► P[alive < k], exactly ──► least Σ price / k
//! record ──► Beta posterior ──► upper quantile = loss       groups ──► common shocks, and a limit per operator
//! ```
//!
//! An object byte costs Σ price / k, because each shard holds one k-th of the object. With `k` = 1 this is
//! the theory for optimal selection of Turner and Ross: losses multiply, 0.25 = 0.5 × 0.5, so two providers
//! that lose half are together worth one that loses a quarter, and a fair price is in proportion to −ln loss.
//!
//! Providers fall together: an *operator* that leaves takes all its providers with it, a *subnet* that is cut off all
//! that are in it. Each such *shock* has a chance of its own, and what is computed is exact under it (by the
//! tree that they form). With k = 10 of n = 30 that lose 2 %, the object is lost with 2.5·10⁻²⁹ if they are independent, and with
//! 10⁻² if one operator has all; so one operator holds at most [`group_shards_max`] shards.
//!
//! # What always holds
//!
//! - What a placement reports is exact: its survival is computed over all outcomes, not bounded or sampled, and its
//!   [`Assumptions`] say of which world that is true.
//! - No operator holds more than [`group_shards_max`] shards.
//! - Among at most [`EXACT_MAX`] candidates, no cheaper placement exists, and a goal is called unreachable only if it
//!   is. Among more, what is found meets the goal but may be dearer; and where candidates share operators,
//!   a goal may be called unreachable though a choice exists that no order of the search comes upon.
//! - The answer depends on the candidates and the goal only.
//!
//! # What is not here
//!
//! What is known of a provider (see `reputation`): here a record is two numbers. Cutting the object (see `erasure`).
//! Anything replicated: the logarithms used to rank candidates may differ between machines in the last bit.
//!
//! ```
//! use fondaco_placement::{Candidate, Goal, place};
//!
//! let (a, b, c) = (Candidate::new(0.25, 10)?, Candidate::new(0.5, 4)?, Candidate::new(0.5, 4)?);
//! let placement = place(&[a, b, c], Goal::new(0.75, 8, 0)?)?;
//! assert_eq!(placement.providers, [1, 2], "b and c are worth a, and cheaper");
//! assert_eq!((placement.k, placement.survive), (1, 0.75));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alive;
mod assumptions;
mod error;
mod estimate;
mod exact;
mod groups;
mod search;

use std::{cmp::Ordering, fmt};

use crate::groups::Forest;

pub use crate::{
    alive::loss_probability,
    assumptions::Assumptions,
    error::{CandidateError, EstimateError, GoalError, PlacementError, ShockError},
    estimate::{Estimate, Prior},
    groups::{Group, Shocks, group_shards_max, loss_under_shocks, operator_shards},
};

/// The most candidates that one call looks at.
pub const CANDIDATES_MAX: usize = 16_384;

/// The most candidates among which the cheapest placement is found for certain.
pub const EXACT_MAX: usize = 16;

/// A provider that would keep one shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    loss: f64,
    price: u64,
    operator: Option<Group>,
    subnet: Option<Group>,
}

impl Candidate {
    /// Creates a candidate that loses a shard between two repairs with probability `loss`, above 0 and
    /// below 1, and asks `price` per byte stored, in the one unit of all candidates.
    pub fn new(loss: f64, price: u64) -> Result<Self, CandidateError> {
        if loss > 0.0 && loss < 1.0 {
            Ok(Self { loss, price, operator: None, subnet: None })
        } else {
            Err(CandidateError::LossOutside { loss })
        }
    }

    /// Says whose it is; a candidate of which that is not known is taken to be its own operator's.
    pub const fn operated_by(self, operator: Option<Group>) -> Self {
        Self { operator, ..self }
    }

    /// Says in which network it is; a candidate of which that is not known is taken to be in its own.
    pub const fn in_subnet(self, subnet: Option<Group>) -> Self {
        Self { subnet, ..self }
    }

    /// Returns the probability that it loses a shard between two repairs, common shocks apart.
    pub const fn loss(self) -> f64 {
        self.loss
    }

    /// Returns what it asks per byte stored.
    pub const fn price(self) -> u64 {
        self.price
    }

    /// Returns whose it is, if that is known.
    pub const fn operator(self) -> Option<Group> {
        self.operator
    }

    /// Returns in which network it is, if that is known.
    pub const fn subnet(self) -> Option<Group> {
        self.subnet
    }
}

/// What a placement has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    survive: f64,
    shards_max: u8,
    lost_min: u8,
    shocks: Shocks,
}

impl Goal {
    /// Creates the goal that an object survives from one repair to the next with probability `survive`, above
    /// 0 and below 1, in at most `shards_max` shards, any `lost_min` of which can be lost.
    ///
    /// `survive` is met to its last bit: it is compared with the placement's survival after rounding.
    pub fn new(survive: f64, shards_max: u8, lost_min: u8) -> Result<Self, GoalError> {
        if !(survive > 0.0 && survive < 1.0) {
            Err(GoalError::SurviveOutside { survive })
        } else if shards_max <= lost_min {
            Err(GoalError::TooFewShards { shards_max, lost_min })
        } else {
            Ok(Self { survive, shards_max, lost_min, shocks: Shocks::NONE })
        }
    }

    /// Counts with these common shocks; a new goal counts with none.
    pub const fn under(self, shocks: Shocks) -> Self {
        Self { shocks, ..self }
    }

    /// Returns the common shocks that are counted with.
    pub const fn shocks(self) -> Shocks {
        self.shocks
    }

    /// Returns the least probability that the object survives.
    pub const fn survive(self) -> f64 {
        self.survive
    }

    /// Returns the most shards that the object may be cut into.
    pub const fn shards_max(self) -> u8 {
        self.shards_max
    }

    /// Returns how many shards it must be possible to lose.
    pub const fn lost_min(self) -> u8 {
        self.lost_min
    }

    /// Returns whether an object lost with probability `loss` is safe enough.
    //
    // Not `loss <= 1 − survive`: 0.01 × 0.01 reaches 0.9999, though 1 − 0.9999 comes out below 0.0001.
    pub(crate) fn is_met(self, loss: f64) -> bool {
        1.0 - loss >= self.survive
    }

    /// Returns whether an object lost with about this probability may be safe enough, whichever way it was rounded.
    pub(crate) fn is_nearly_met(self, loss: f64) -> bool {
        1.0 - loss * (1.0 - 1e-9) >= self.survive
    }
}

/// What an object byte costs: the prices of all shards by `k`. Compared as the exact fraction it is.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    price_sum: u128,
    k: u8,
}

impl Cost {
    /// Creates the cost of shards that ask `price_sum` together and hold a `k`-th of the object each.
    pub(crate) fn new(price_sum: u128, k: u8) -> Self {
        Self { price_sum, k }
    }

    /// Returns the price of `bytes` bytes of an object, rounded up to a whole unit; at most `u128::MAX`.
    pub fn of(self, bytes: u64) -> u128 {
        self.price_sum.saturating_mul(bytes.into()).div_ceil(self.k.into())
    }
}

impl Ord for Cost {
    fn cmp(&self, other: &Self) -> Ordering {
        // Cannot overflow: a sum of at most 255 prices of 64 bits, times 8 bits.
        (self.price_sum * u128::from(other.k)).cmp(&(other.price_sum * u128::from(self.k)))
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cost {}

impl fmt::Display for Cost {
    /// Writes the fraction, not reduced: `40/5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.price_sum, self.k)
    }
}

/// Which candidates keep the shards, and how many of them are enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// How many shards give the object back.
    pub k: u8,
    /// The candidates that keep one shard each, by their index, ascending; `n` is their number.
    pub providers: Vec<usize>,
    /// The probability that the object survives to the next repair: `1 − loss`, rounded once.
    pub survive: f64,
    /// The probability that it does not, to full precision even where `survive` rounds to 1.
    pub loss: f64,
    /// What an object byte costs.
    pub cost: Cost,
    /// Of which world this is true.
    pub assumptions: Assumptions,
}

impl Placement {
    /// Returns how many shards the object is cut into.
    pub fn n(&self) -> u8 {
        // Cannot saturate: the goal's `shards_max` is a `u8`.
        u8::try_from(self.providers.len()).unwrap_or(u8::MAX)
    }
}

/// Chooses the providers and the code that reach `goal` at the least cost; among equals the safest, then the
/// one on the most providers, then the one of the earliest candidates.
pub fn place(candidates: &[Candidate], goal: Goal) -> Result<Placement, PlacementError> {
    let needed = goal.lost_min + 1; // Cannot overflow: below `shards_max`.
    if candidates.len() > CANDIDATES_MAX {
        return Err(PlacementError::TooManyCandidates { candidates: candidates.len() });
    }
    if candidates.len() < needed.into() {
        return Err(PlacementError::TooFewCandidates { candidates: candidates.len(), needed });
    }
    let forest = Forest::of(candidates, goal.shocks);
    let market = Market { candidates, forest: &forest, goal };
    let mut best = search::approach(&market);
    if candidates.len() <= EXACT_MAX {
        best = exact::search(&market, best);
    }
    best.ok_or_else(|| {
        let Some(safest) = search::safest(&market) else {
            let (candidates, operators) = (candidates.len(), forest.operators());
            return PlacementError::TooFewOperators { candidates, operators, needed };
        };
        let Placement { k, survive, .. } = safest;
        PlacementError::Unreachable { k, n: safest.n(), survive, goal: goal.survive }
    })
}

/// What a search looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Market<'a> {
    candidates: &'a [Candidate],
    forest: &'a Forest,
    goal: Goal,
}

impl Market<'_> {
    /// Works out what a choice is worth, always in the order of the candidates, so that it rounds in one way.
    fn placement(&self, mut providers: Vec<usize>, k: u8) -> Placement {
        providers.sort_unstable();
        let loss = self.forest.alive(&providers).below(k.into());
        let price_sum = providers.iter().map(|&i| u128::from(self.candidates[i].price)).sum();
        let cost = Cost::new(price_sum, k);
        let assumptions = Assumptions::of(self.candidates, self.forest, &providers, k);
        Placement { k, providers, survive: 1.0 - loss, loss, cost, assumptions }
    }

    /// The numbers of needed shards that the goal allows for `n`, of which no operator has more than `most`.
    fn codes(&self, n: usize, most: usize) -> impl Iterator<Item = u8> + use<> {
        let (least, spare) = if most > 1 { (most + 1, most) } else { (1, 0) };
        let spare = spare.max(self.goal.lost_min.into());
        (1..=u8::MAX).take(n.saturating_sub(spare)).skip(least - 1)
    }
}

/// Orders placements, the better one first. Only the same choice is equal.
fn preference(a: &Placement, b: &Placement) -> Ordering {
    (a.cost.cmp(&b.cost))
        .then(a.loss.total_cmp(&b.loss))
        .then(b.providers.len().cmp(&a.providers.len()))
        .then_with(|| a.providers.cmp(&b.providers))
        .then(a.k.cmp(&b.k))
}

#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod tests;
