//! The cheapest placement among few candidates, for certain: branch and bound.
//!
//! Candidates are taken or left one by one. A branch is cut off where
//!
//! - *dominance*: a candidate is taken though another, no dearer, no likelier to be lost, and with no more in common
//!   with others, was left: exchanging them is no worse;
//! - *reach*: not even with all that remain, and no shock, is the goal met;
//! - *cost*: for each `k` the goal needs at least as many shards as if they were on the best candidates without a
//!   shock; even with the cheapest of those that remain, that is dearer than what is known.

use crate::{Cost, Market, Placement, alive::Alive, groups::most, preference};

/// Returns the best of all placements that meet the goal; `best` is one, if one is known.
pub(crate) fn search(market: &Market<'_>, best: Option<Placement>) -> Option<Placement> {
    let (candidates, forest) = (market.candidates, market.forest);
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| {
        let (a_, b_) = (candidates[a], candidates[b]);
        let weighed = |loss: f64, price: u64| price as f64 / -loss.ln();
        (weighed(a_.loss(), a_.price()).total_cmp(&weighed(b_.loss(), b_.price())))
            .then(a_.loss().total_cmp(&b_.loss()))
            .then(a.cmp(&b))
    });
    let dominates = |a: usize, b: usize| {
        let (a_, b_) = (candidates[a], candidates[b]);
        let alike = forest.root(a) == forest.root(b) && forest.subnet(a) == forest.subnet(b);
        let free = a_.operator().is_none() && a_.subnet().is_none();
        let better = a_.price() <= b_.price() && a_.loss() <= b_.loss();
        let same = a_.price() == b_.price() && a_.loss() == b_.loss();
        // Among equals in all, the earlier one.
        better && (alike || free) && (!same || a < b)
    };
    // A dominating candidate comes first: its price per weight is no more; among equals its loss is, or its index.
    let dominators = (0..order.len())
        .map(|at| (0..at).filter(|&before| dominates(order[before], order[at])).collect())
        .collect();
    let mut losses: Vec<f64> = candidates.iter().map(|candidate| candidate.loss()).collect();
    losses.sort_by(f64::total_cmp);
    losses.truncate(market.goal.shards_max.into());
    let needed = (1..=losses.len())
        .map(|k| {
            (k..=losses.len()).find(|&n| {
                n - k >= market.goal.lost_min.into()
                    && market.goal.is_nearly_met(Alive::of(losses[..n].iter().copied()).below(k))
            })
        })
        .map_while(|n| n)
        .collect();
    let mut search =
        Search { market, order, dominators, needed, taken: Vec::new(), left: Vec::new(), best };
    search.branch(0);
    search.best
}

struct Search<'a> {
    market: &'a Market<'a>,
    /// The candidates, in the order in which they are decided on.
    order: Vec<usize>,
    /// For each place in the order, the places before it of candidates that dominate it.
    dominators: Vec<Vec<usize>>,
    /// For `k` − 1, the least `n` that could do.
    needed: Vec<usize>,
    /// What was decided: the candidates taken.
    taken: Vec<usize>,
    /// Whether the candidate at each place so far was left.
    left: Vec<bool>,
    best: Option<Placement>,
}

impl Search<'_> {
    /// Decides on the candidate at place `at` and on all after it.
    fn branch(&mut self, at: usize) {
        if at == self.order.len() || !self.may_improve(at) {
            return;
        }
        let dominated = self.dominators[at].iter().any(|&before| self.left[before]);
        if !dominated && self.taken.len() < self.market.goal.shards_max.into() {
            self.taken.push(self.order[at]);
            self.left.push(false);
            self.weigh();
            self.branch(at + 1);
            self.left.pop();
            self.taken.pop();
        }
        self.left.push(true);
        self.branch(at + 1);
        self.left.pop();
    }

    /// Compares the taken, under every code that they and the goal allow, with the best so far.
    fn weigh(&mut self) {
        let market = self.market;
        let mut members = self.taken.clone();
        members.sort_unstable();
        let most = most(members.iter().map(|&i| market.forest.owner(i)));
        let alive = market.forest.alive(&members);
        let price_sum = members.iter().map(|&i| u128::from(market.candidates[i].price())).sum();
        for k in market.codes(members.len(), most) {
            if !market.goal.is_met(alive.below(k.into())) {
                break;
            }
            let dearer = self.best.as_ref().is_some_and(|best| best.cost < Cost::new(price_sum, k));
            if !dearer {
                let other = market.placement(members.clone(), k);
                if self.best.as_ref().is_none_or(|best| preference(&other, best).is_lt()) {
                    self.best = Some(other);
                }
            }
        }
    }

    /// Whether any choice that takes what is taken, and some of those from `at` on, can be as good as the best.
    fn may_improve(&self, at: usize) -> bool {
        let market = self.market;
        let rest = &self.order[at..];
        let all = self.taken.iter().chain(rest).map(|&i| market.candidates[i].loss());
        let reach = Alive::of(all);
        let price = |i: &usize| u128::from(market.candidates[*i].price());
        let mut cheapest: Vec<u128> = rest.iter().map(price).collect();
        cheapest.sort_unstable();
        let mut sums = vec![self.taken.iter().map(price).sum::<u128>()];
        for price in cheapest {
            sums.push(sums[sums.len() - 1] + price);
        }
        (1..=u8::MAX).zip(&self.needed).any(|(k, &needed)| {
            let more = needed.saturating_sub(self.taken.len());
            more < sums.len()
                && market.goal.is_nearly_met(reach.below(k.into()))
                && self.best.as_ref().is_none_or(|best| Cost::new(sums[more], k) <= best.cost)
        })
    }
}
