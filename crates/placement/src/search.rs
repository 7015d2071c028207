//! The search for a cheap placement among many candidates.
//!
//! [`approach`] ranks the candidates in several orders, and for each order, each limit per operator and each `k`
//! takes the shortest prefix that is durable enough; then it improves the best of these by leaving out one provider,
//! replacing one by a cheaper one, or needing one shard more, as long as that helps.
//!
//! The orders are by price, by loss, and by price per *weight*: by Chernoff's bound a set with
//! Σ wᵢ ≥ −ln ε + θ·(k − 1) is durable enough, where wᵢ = −ln(lossᵢ + (1 − lossᵢ)·e^−θ), so for the right θ
//! the choice is a knapsack, and price per weight is what fills it well. At e^−θ = 0 the weight is −ln loss, the
//! paper's fair price; near 1 it is the chance to live. The bound only ranks: what is chosen is checked exactly.

use std::collections::BTreeMap;

use crate::{Candidate, Cost, Market, Placement, group_shards_max, preference};

/// How many prefixes, the cheapest first, are improved. With 32 the search missed the best of 11 candidates
/// 6 times in 300, with 64 3 times in 3000, with 128 never.
const IMPROVED_MAX: usize = 128;

/// How often one placement is improved. Each move makes it cheaper, so this only bounds the time.
const MOVES_MAX: usize = 64;

/// How many joiners are checked exactly for one leaver, where what they have in common with the others matters.
const TRIED_MAX: usize = 4;

/// The most shards of one operator that are tried.
const LIMITS: [usize; 14] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 36, 64, 127];

/// The safest placement that is known of, whatever it costs: for each limit per operator, those that lose least.
/// Where no two candidates have anything in common, there is none safer. None where too few operators are to be had.
pub(crate) fn safest(market: &Market<'_>) -> Option<Placement> {
    let mut best: Option<Placement> = None;
    for (limit, order) in limited(market, &by_loss(market)) {
        let mut providers = order;
        providers.truncate(market.goal.shards_max.into());
        let most = market.forest.most_in_one(&providers);
        let Some(k) = market.codes(providers.len(), most).next() else { continue };
        debug_assert!(most <= limit);
        let other = market.placement(providers, k);
        if best.as_ref().is_none_or(|best| other.loss < best.loss) {
            best = Some(other);
        }
    }
    best
}

/// Returns a good placement that meets the goal, if one was found.
pub(crate) fn approach(market: &Market<'_>) -> Option<Placement> {
    let Market { candidates, forest, goal } = *market;
    let orders: Vec<Vec<usize>> = (orders(market).iter())
        .flat_map(|order| limited(market, order))
        .map(|(_, order)| order)
        .collect();
    let mut found: Vec<(Cost, u8, &[usize])> = Vec::new();
    for order in &orders {
        let (mut price_sum, mut reached, mut counts, mut most) = (0, 0, BTreeMap::new(), 0);
        let mut alone = forest.alive(&[]);
        for (n, &i) in (1..=goal.shards_max.into()).zip(order) {
            price_sum += u128::from(candidates[i].price);
            let count: &mut usize = counts.entry(forest.owner(i)).or_default();
            *count += 1;
            most = most.max(*count);
            // Without common shocks one more is added at once.
            let alive = if order[..n].iter().all(|&i| forest.is_alone(i)) {
                alone.add(candidates[i].loss);
                alone.clone()
            } else {
                forest.alive(&order[..n])
            };
            // What one `k` reaches, every smaller one does: only those above are reached for the first time.
            let before = reached;
            for k in market.codes(n, most).skip_while(|&k| k <= before) {
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
    let by_price = order_by(market, |i| candidates[i].price as f64);
    let safest = safest(market).filter(|safest| goal.is_met(safest.loss));
    found
        .into_iter()
        .take(IMPROVED_MAX)
        .map(|(_, k, prefix)| market.placement(prefix.to_vec(), k))
        .map(|start| improve(market, &by_price, start))
        .filter(|end| goal.is_met(end.loss)) // Rounding may differ from the prefix's order of adding.
        .fold(safest, |best, other| match best {
            Some(best) if preference(&other, &best).is_ge() => Some(best),
            _ => Some(other),
        })
}

/// Takes the best of a few kinds of moves, as long as one helps.
fn improve(market: &Market<'_>, by_price: &[usize], mut current: Placement) -> Placement {
    let helps = |next: &Placement, current: &Placement| {
        market.goal.is_met(next.loss) && preference(next, current).is_lt()
    };
    for _ in 0..MOVES_MAX {
        let most = market.forest.most_in_one(&current.providers);
        let more = (market.codes(current.providers.len(), most).find(|&k| k > current.k))
            .map(|k| market.placement(current.providers.clone(), k))
            .filter(|next| helps(next, &current));
        let next = more
            .or_else(|| best_move(market, &current, by_price).filter(|next| helps(next, &current)));
        let Some(next) = next else { break };
        current = next;
    }
    current
}

/// Finds the one provider to leave out or replace that saves most.
fn best_move(market: &Market<'_>, current: &Placement, by_price: &[usize]) -> Option<Placement> {
    let Market { candidates, forest, goal } = *market;
    let k = usize::from(current.k);
    let n = u8::try_from(current.providers.len()).unwrap_or(u8::MAX);
    let limit = usize::from(group_shards_max(current.k, n));
    let mut chosen = vec![false; candidates.len()];
    let mut counts = vec![0_usize; candidates.len()];
    for &i in &current.providers {
        chosen[i] = true;
        counts[forest.owner(i)] += 1;
    }
    let mut best: Option<(u64, usize, Option<usize>)> = None;
    for (place, &leaver) in current.providers.iter().enumerate() {
        let price = candidates[leaver].price;
        let most_saved = best.map_or(0, |(most, ..)| most);
        if price <= most_saved && best.is_some() {
            continue;
        }
        let mut rest = current.providers.clone();
        rest.remove(place);
        let alive = forest.alive(&rest);
        let (one_short, short) = (alive.below(k - 1), alive.below(k));
        let most = forest.most_in_one(&rest);
        let expendable = market.codes(rest.len(), most).any(|code| code == current.k);
        let (saved, joiner) = if expendable && goal.is_met(short) {
            (price, None)
        } else {
            // With one more provider, fewer than k live if it fails and fewer than k of the rest live, or
            // it lives and fewer than k − 1 of the rest do.
            let meets = |i: usize| {
                let loss = forest.loss(i);
                goal.is_met(loss * short + (1.0 - loss) * one_short)
            };
            let leaves = forest.owner(leaver);
            let has_room = |i: usize| {
                let owner = forest.owner(i);
                counts[owner] - usize::from(owner == leaves) < limit
            };
            // That is exact if the joiner has nothing in common with the rest; else it is checked.
            let joins = |i: usize| {
                forest.is_alone(i)
                    || goal.is_met(forest.alive(&[rest.as_slice(), &[i]].concat()).below(k))
            };
            let joiner = by_price
                .iter()
                .copied()
                .take_while(|&i| candidates[i].price < price - most_saved)
                .filter(|&i| !chosen[i] && has_room(i) && meets(i))
                .take(TRIED_MAX)
                .find(|&i| joins(i));
            let Some(joiner) = joiner else { continue };
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
    Some(market.placement(providers, current.k))
}

/// The order without those that are too many of their operator, for each limit that makes a difference.
fn limited(market: &Market<'_>, order: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let greatest = market.forest.greatest().min(usize::from(market.goal.shards_max / 2)).max(1);
    let limits = LIMITS.into_iter().filter(|&limit| limit <= greatest);
    limits
        .map(|limit| {
            let mut counts = vec![0_usize; order.len()];
            let within = |&i: &usize| {
                let count = &mut counts[market.forest.owner(i)];
                *count += 1;
                *count <= limit
            };
            let wanted = market.goal.shards_max.into();
            (limit, order.iter().copied().filter(within).take(wanted).collect())
        })
        .collect()
}

/// The orders in which prefixes are taken.
fn orders(market: &Market<'_>) -> Vec<Vec<usize>> {
    let by_weight = |halvings: i32| {
        let shrink = if halvings > 24 { 0.0 } else { 0.5_f64.powi(halvings) }; // e^−θ
        order_by(market, move |i| {
            let loss = market.forest.loss(i);
            let weight = -(loss + (1.0 - loss) * shrink).ln();
            // A weight can round to zero.
            market.candidates[i].price as f64 / weight.max(f64::MIN_POSITIVE)
        })
    };
    let by_price = order_by(market, |i| market.candidates[i].price as f64);
    [by_price, by_loss(market)].into_iter().chain((1..=25).map(by_weight)).collect()
}

fn by_loss(market: &Market<'_>) -> Vec<usize> {
    order_by(market, |i| market.forest.loss(i))
}

/// The candidates' indices by this key, then by loss, then as given.
fn order_by(market: &Market<'_>, key: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut keyed: Vec<(f64, f64, usize)> = (market.candidates.iter().enumerate())
        .map(|(i, candidate): (usize, &Candidate)| (key(i), candidate.loss, i))
        .collect();
    keyed
        .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    keyed.into_iter().map(|(.., i)| i).collect()
}
