//! The search for the cheapest placement.
//!
//! [`exhaust`] tries every set. [`approach`] ranks the candidates in several orders, and for each order and
//! `k` takes the shortest prefix that is durable enough; then it improves the best of these by leaving out
//! one provider, or replacing one by a cheaper one, as long as that helps.
//!
//! The orders are by price, by loss, and by price per *weight*: by Chernoff's bound a set with
//! Σ wᵢ ≥ −ln ε + θ·(k − 1) is durable enough, where wᵢ = −ln(lossᵢ + (1 − lossᵢ)·e^−θ), so for the right θ
//! the choice is a knapsack, and price per weight is what fills it well. At e^−θ = 0 the weight is −ln loss, the
//! paper's fair price; near 1 it is the chance to live. The bound only ranks: what is chosen is checked exactly.

use std::cmp::Ordering;

use crate::{Candidate, Cost, Goal, Placement, alive::Alive};

/// How many prefixes, the cheapest first, are improved. With 32 the search missed the best of 11 candidates
/// 6 times in 300, with 64 3 times in 3000, with 128 never; 255 shards among 4096 then take half a second.
const IMPROVED_MAX: usize = 128;

/// How often one placement is improved. Each move makes it cheaper, so this only bounds the time.
const MOVES_MAX: usize = 64;

/// The safest placement there is, whatever it costs: replicas on the providers that lose least.
pub(crate) fn safest(candidates: &[Candidate], goal: Goal) -> Placement {
    let mut providers = order_by(candidates, |candidate| candidate.loss);
    providers.truncate(goal.shards_max.into());
    placement(candidates, providers, 1)
}

/// Returns the best of all placements that meet the goal, of which `best` is one.
pub(crate) fn exhaust(candidates: &[Candidate], goal: Goal, mut best: Placement) -> Placement {
    for set in 1_u32..1 << candidates.len() {
        if set.count_ones() > goal.shards_max.into() {
            continue;
        }
        let providers: Vec<_> = (0..candidates.len()).filter(|i| set >> i & 1 == 1).collect();
        for k in codes(providers.len(), goal) {
            let other = placement(candidates, providers.clone(), k);
            if goal.is_met(other.loss) && preference(&other, &best).is_lt() {
                best = other;
            }
        }
    }
    best
}

/// Returns a good placement that meets the goal, no worse than `safest`, which does.
pub(crate) fn approach(candidates: &[Candidate], goal: Goal, safest: Placement) -> Placement {
    let orders = orders(candidates);
    let mut found: Vec<(Cost, u8, &[usize])> = Vec::new();
    for order in &orders {
        let (mut alive, mut price_sum, mut reached) = (Alive::of([]), 0, 0);
        for (n, &i) in (1..=goal.shards_max.into()).zip(order) {
            alive.add(candidates[i].loss);
            price_sum += u128::from(candidates[i].price);
            // What one `k` reaches, every smaller one does: only those above are reached for the first time.
            for k in codes(n, goal).skip(reached.into()) {
                if !goal.is_met(alive.below(k.into())) {
                    break;
                }
                found.push((Cost::new(price_sum, k), k, &order[..n]));
                reached = k;
            }
        }
    }
    found.sort_by_key(|&(cost, ..)| cost);
    found.dedup();
    found
        .into_iter()
        .take(IMPROVED_MAX)
        .map(|(_, k, prefix)| placement(candidates, prefix.to_vec(), k))
        .map(|start| improve(candidates, goal, start))
        .filter(|end| goal.is_met(end.loss)) // Rounding may differ from the prefix's order of adding.
        .fold(safest, |best, other| if preference(&other, &best).is_lt() { other } else { best })
}

/// Leaves out or replaces one provider at a time, each time by the move that saves most.
fn improve(candidates: &[Candidate], goal: Goal, mut current: Placement) -> Placement {
    let by_price = order_by(candidates, |candidate| candidate.price as f64);
    for _ in 0..MOVES_MAX {
        let Some(next) = best_move(candidates, goal, &current, &by_price)
            .filter(|next| goal.is_met(next.loss) && preference(next, &current).is_lt())
        else {
            break;
        };
        current = next;
    }
    current
}

/// Finds the one provider to leave out or replace that saves most.
fn best_move(
    candidates: &[Candidate],
    goal: Goal,
    current: &Placement,
    by_price: &[usize],
) -> Option<Placement> {
    let k = usize::from(current.k);
    let mut chosen = vec![false; candidates.len()];
    current.providers.iter().for_each(|&i| chosen[i] = true);
    let mut best: Option<(u64, usize, Option<usize>)> = None;
    for (place, &leaver) in current.providers.iter().enumerate() {
        let mut rest = current.providers.clone();
        rest.remove(place);
        let alive = Alive::of(rest.iter().map(|&i| candidates[i].loss));
        let (one_short, short) = (alive.below(k - 1), alive.below(k));
        let price = candidates[leaver].price;
        let expendable = codes(rest.len(), goal).any(|code| code == current.k);
        let (saved, joiner) = if expendable && goal.is_met(short) {
            (price, None)
        } else {
            // With one more provider, fewer than k live if it fails and fewer than k of the rest live, or
            // it lives and fewer than k − 1 of the rest do.
            let meets = |loss: f64| goal.is_met(loss * short + (1.0 - loss) * one_short);
            let Some(joiner) = by_price
                .iter()
                .copied()
                .take_while(|&i| candidates[i].price < price)
                .find(|i| !chosen[*i] && meets(candidates[*i].loss))
            else {
                continue;
            };
            (price - candidates[joiner].price, Some(joiner))
        };
        if best.is_none_or(|(most, ..)| saved > most) {
            best = Some((saved, place, joiner));
        }
    }
    let (_, place, joiner) = best?;
    let mut providers = current.providers.clone();
    providers.remove(place);
    providers.extend(joiner);
    Some(placement(candidates, providers, current.k))
}

/// The numbers of needed shards that `n` shards and the goal allow.
fn codes(n: usize, goal: Goal) -> impl Iterator<Item = u8> {
    (1..=u8::MAX).take(n.saturating_sub(goal.lost_min.into()))
}

/// Works out what a choice is worth, always in the order of the candidates, so that it rounds in one way.
fn placement(candidates: &[Candidate], mut providers: Vec<usize>, k: u8) -> Placement {
    providers.sort_unstable();
    let loss = Alive::of(providers.iter().map(|&i| candidates[i].loss)).below(k.into());
    let price_sum = providers.iter().map(|&i| u128::from(candidates[i].price)).sum();
    Placement { k, providers, survive: 1.0 - loss, loss, cost: Cost::new(price_sum, k) }
}

/// Orders placements, the better one first. Only the same choice is equal.
fn preference(a: &Placement, b: &Placement) -> Ordering {
    (a.cost.cmp(&b.cost))
        .then(a.loss.total_cmp(&b.loss))
        .then(b.providers.len().cmp(&a.providers.len()))
        .then_with(|| a.providers.cmp(&b.providers))
        .then(a.k.cmp(&b.k))
}

/// The orders in which prefixes are taken.
fn orders(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    let by_weight = |halvings: i32| {
        let shrink = if halvings > 24 { 0.0 } else { 0.5_f64.powi(halvings) }; // e^−θ
        order_by(candidates, move |&Candidate { loss, price }| {
            let weight = -(loss + (1.0 - loss) * shrink).ln();
            price as f64 / weight.max(f64::MIN_POSITIVE) // A weight can round to zero.
        })
    };
    let by_price = order_by(candidates, |candidate| candidate.price as f64);
    let by_loss = order_by(candidates, |candidate| candidate.loss);
    [by_price, by_loss].into_iter().chain((1..=25).map(by_weight)).collect()
}

/// The candidates' indices by this key, then by loss, then as given.
fn order_by(candidates: &[Candidate], key: impl Fn(&Candidate) -> f64) -> Vec<usize> {
    let mut order: Vec<_> = (0..candidates.len()).collect();
    let keys: Vec<_> =
        candidates.iter().map(|candidate| (key(candidate), candidate.loss)).collect();
    order.sort_by(|&a, &b| {
        let ((key_a, loss_a), (key_b, loss_b)) = (keys[a], keys[b]);
        key_a.total_cmp(&key_b).then(loss_a.total_cmp(&loss_b))
    });
    order
}
