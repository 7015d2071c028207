//! What falls together: operators, their subnets, and the exact distribution under common shocks.
//!
//! ```text
//! operator ──┬── subnet ──┬── provider        the operator's shock takes all below it,
//!            │            └── provider        a subnet's shock all of the subnet,
//!            └── subnet ──── provider         and each provider is lost on its own besides
//! provider (of no group)
//! ```
//!
//! The groups must be a tree, or the exact distribution would cost time exponential in the crossings. Where a subnet
//! has providers of several operators, these operators are taken as one; a provider without an operator in the
//! subnet of one that has is taken as that operator's. This errs on the dark side only.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Candidate, ShockError, alive::Alive};

/// Names an operator or a subnet; the caller's own number, which only has to be the same for the same group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u64);

impl Group {
    /// Creates the name of the group with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// The chance that a whole group is lost at once between two repairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shocks {
    operator: f64,
    subnet: f64,
}

impl Shocks {
    /// No group is ever lost as one.
    pub const NONE: Self = Self { operator: 0.0, subnet: 0.0 };

    /// Creates the shocks with which all of an operator, and all of a subnet, are lost; each from 0 to below 1.
    pub fn new(operator: f64, subnet: f64) -> Result<Self, ShockError> {
        match [operator, subnet].into_iter().find(|shock| !(0.0..1.0).contains(shock)) {
            Some(shock) => Err(ShockError::Outside { shock }),
            None => Ok(Self { operator, subnet }),
        }
    }

    /// Returns the chance that all of an operator's providers are lost at once.
    pub const fn operator(self) -> f64 {
        self.operator
    }

    /// Returns the chance that all providers of a subnet are lost at once.
    pub const fn subnet(self) -> f64 {
        self.subnet
    }
}

/// Where a candidate hangs in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Its tree: all that shares an operator or a subnet with it, by the index of the first such candidate.
    root: usize,
    /// Its subnet, by the index of the first candidate in it.
    subnet: Option<usize>,
}

/// The tree of groups that some candidates form, with the losses that hang in it.
#[derive(Clone, Debug)]
pub(crate) struct Forest {
    places: Vec<Place>,
    losses: Vec<f64>,
    /// Of each candidate's root: whether it has an operator.
    operated: Vec<bool>,
    /// How many candidates the operator with most of them has.
    greatest: usize,
    shocks: Shocks,
}

impl Forest {
    /// Plants the tree of these candidates.
    pub(crate) fn of(candidates: &[Candidate], shocks: Shocks) -> Self {
        let mut roots: Vec<usize> = (0..candidates.len()).collect();
        let (mut operators, mut subnets) = (BTreeMap::new(), BTreeMap::new());
        for (i, candidate) in candidates.iter().enumerate() {
            let operator = candidate.operator().map(|group| *operators.entry(group).or_insert(i));
            let subnet = candidate.subnet().map(|group| *subnets.entry(group).or_insert(i));
            for other in [operator, subnet].into_iter().flatten() {
                let (a, b) = (top(&mut roots, other), top(&mut roots, i));
                roots[a.max(b)] = a.min(b);
            }
        }
        let mut operated = vec![false; candidates.len()];
        let places: Vec<Place> = (candidates.iter().enumerate())
            .map(|(i, candidate)| {
                let root = top(&mut roots, i);
                operated[root] |= candidate.operator().is_some();
                Place { root, subnet: candidate.subnet().map(|group| subnets[&group]) }
            })
            .collect();
        let losses = candidates.iter().map(|candidate| candidate.loss()).collect();
        let mut forest = Self { places, losses, operated, greatest: 0, shocks };
        forest.greatest = most((0..candidates.len()).map(|i| forest.owner(i)));
        forest
    }

    /// The tree that a candidate hangs in; two in one tree are never independent.
    pub(crate) fn root(&self, i: usize) -> usize {
        self.places[i].root
    }

    /// The subnet of a candidate, if it has one.
    pub(crate) fn subnet(&self, i: usize) -> Option<usize> {
        self.places[i].subnet
    }

    /// Whether nothing takes this candidate together with others.
    pub(crate) fn is_alone(&self, i: usize) -> bool {
        self.operator_shock(i) == 0.0 && self.subnet_shock(i) == 0.0
    }

    /// Whose a candidate is: the tree's if that has an operator, else its own.
    pub(crate) fn owner(&self, i: usize) -> usize {
        if self.operated[self.root(i)] { self.root(i) } else { i }
    }

    /// How many operators there are, those of one candidate included.
    pub(crate) fn operators(&self) -> usize {
        (0..self.places.len()).map(|i| self.owner(i)).collect::<BTreeSet<_>>().len()
    }

    /// How many candidates the operator with most of them has.
    pub(crate) const fn greatest(&self) -> usize {
        self.greatest
    }

    /// The shocks of this market.
    pub(crate) const fn shocks(&self) -> Shocks {
        self.shocks
    }

    fn operator_shock(&self, i: usize) -> f64 {
        if self.operated[self.places[i].root] { self.shocks.operator } else { 0.0 }
    }

    fn subnet_shock(&self, i: usize) -> f64 {
        if self.places[i].subnet.is_some() { self.shocks.subnet } else { 0.0 }
    }

    /// The probability that one candidate is lost, alone or with its groups.
    pub(crate) fn loss(&self, i: usize) -> f64 {
        let (loss, mut lost) = (self.losses[i], 0.0);
        for shock in [self.operator_shock(i), self.subnet_shock(i)] {
            lost += (1.0 - lost) * shock;
        }
        loss + (1.0 - loss) * lost
    }

    /// How many of these live, exactly.
    pub(crate) fn alive(&self, members: &[usize]) -> Alive {
        let (alone, mut grouped): (Vec<usize>, Vec<usize>) =
            members.iter().partition(|&&i| self.is_alone(i));
        let mut alive = Alive::of(alone.into_iter().map(|i| self.losses[i]));
        grouped.sort_by_key(|&i| (self.places[i], i));
        for tree in grouped.chunk_by(|&a, &b| self.root(a) == self.root(b)) {
            let mut whole = Alive::of([]);
            for subnet in tree.chunk_by(|&a, &b| self.subnet(a) == self.subnet(b)) {
                let mut part = Alive::of(subnet.iter().map(|&i| self.losses[i]));
                part.shock(self.subnet_shock(subnet[0]));
                whole.join(&part);
            }
            whole.shock(self.operator_shock(tree[0]));
            alive.join(&whole);
        }
        alive
    }

    /// How many of these the operator has that has most of them.
    pub(crate) fn most_in_one(&self, members: &[usize]) -> usize {
        most(members.iter().map(|&i| self.owner(i)))
    }
}

/// How often the most frequent number comes.
pub(crate) fn most(numbers: impl Iterator<Item = usize>) -> usize {
    let mut counts = BTreeMap::new();
    numbers.for_each(|number| *counts.entry(number).or_insert(0) += 1);
    counts.into_values().max().unwrap_or(0)
}

/// The root of a node, with the way to it made short.
fn top(roots: &mut [usize], mut node: usize) -> usize {
    while roots[node] != node {
        roots[node] = roots[roots[node]];
        node = roots[node];
    }
    node
}

/// Returns the most shards that one operator may hold of `n` of which `k` give the object back: as many as may be lost,
/// and fewer than `k`, so that no operator can make up the others' shards from its own; but always one.
pub const fn group_shards_max(k: u8, n: u8) -> u8 {
    let (spare, one_short) = (n.saturating_sub(k), k.saturating_sub(1));
    let least = if spare < one_short { spare } else { one_short };
    if least == 0 { 1 } else { least }
}

/// Returns the probability that fewer than `k` of these providers keep their shard, under the common shocks of
/// their operators and subnets; exact but for rounding.
pub fn loss_under_shocks(candidates: &[Candidate], shocks: Shocks, k: u8) -> f64 {
    let members: Vec<usize> = (0..candidates.len()).collect();
    Forest::of(candidates, shocks).alive(&members).below(k.into())
}

/// Returns how many of these providers are with the operator of the one at `index`, that one included: operators that share a
/// subnet are one, and a provider of which nothing is known is its own.
pub fn operator_shards(candidates: &[Candidate], index: usize) -> usize {
    let forest = Forest::of(candidates, Shocks::NONE);
    let owner = (index < candidates.len()).then(|| forest.owner(index));
    (0..candidates.len()).filter(|&i| Some(forest.owner(i)) == owner).count()
}
