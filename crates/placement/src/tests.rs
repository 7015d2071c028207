//! Tables for the rules; a brute force that shares no code with the search for the promises.

use proptest::{collection::vec, prelude::*};

use super::*;

fn candidates(list: &[(f64, u64)]) -> Vec<Candidate> {
    list.iter().map(|&(loss, price)| Candidate::new(loss, price).unwrap()).collect()
}

/// The probability that fewer than `k` shards live, added up over all outcomes, one by one.
fn loss_by_outcomes(losses: &[f64], k: u8) -> f64 {
    (0_u32..1 << losses.len())
        .filter(|alive| alive.count_ones() < k.into())
        .map(|alive| {
            let chance =
                |(i, loss): (usize, &f64)| if alive >> i & 1 == 1 { 1.0 - loss } else { *loss };
            losses.iter().enumerate().map(chance).product::<f64>()
        })
        .sum()
}

/// The least price per object byte of all sets and codes that meet the goal, as a float.
fn least_cost(candidates: &[Candidate], goal: Goal) -> Option<f64> {
    let mut least: Option<f64> = None;
    for set in 1_u32..1 << candidates.len() {
        let members = || (0..candidates.len()).filter(|i| set >> i & 1 == 1).map(|i| candidates[i]);
        let losses: Vec<f64> = members().map(Candidate::loss).collect();
        let price = members().map(Candidate::price).sum::<u64>() as f64;
        for k in (1..=u8::MAX).take(losses.len()) {
            let allowed = losses.len() <= goal.shards_max().into()
                && losses.len() - usize::from(k) >= goal.lost_min().into();
            if allowed && 1.0 - loss_by_outcomes(&losses, k) >= goal.survive() {
                let cost = price / f64::from(k);
                least = Some(least.map_or(cost, |least| least.min(cost)));
            }
        }
    }
    least
}

/// Providers as a market has them: from nearly sure to nearly hopeless, at unrelated prices.
fn market(size: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Candidate>> {
    let loss = prop_oneof![3 => 0.001..0.2, 1 => 1e-6..0.999];
    let candidate =
        (loss, 0..1000_u64).prop_map(|(loss, price)| Candidate::new(loss, price).unwrap());
    vec(candidate, size)
}

fn goal() -> impl Strategy<Value = Goal> {
    let survive =
        prop_oneof![0.01..1.0, (0.0..9.0).prop_map(|nines| 1.0 - 0.1_f64.powf(nines + 0.01))];
    (survive, 1..=9_u8, 0..=3_u8).prop_filter_map("a goal", |(survive, shards_max, lost_min)| {
        Goal::new(survive, shards_max, lost_min).ok()
    })
}

/// What every placement must be, however it was found.
fn assert_sound(placement: &Placement, candidates: &[Candidate], goal: Goal) {
    let Placement { k, providers, survive, loss, cost, assumptions: _ } = placement;
    assert!(providers.is_sorted_by(|a, b| a < b), "a provider keeps two shards");
    assert!(providers.len() <= goal.shards_max().into());
    assert!(*k >= 1 && placement.n() - k >= goal.lost_min());
    let losses: Vec<f64> = providers.iter().map(|&i| candidates[i].loss()).collect();
    assert_eq!(*loss, loss_probability(&losses, *k));
    assert_eq!(*survive, 1.0 - loss);
    assert!(*survive >= goal.survive());
    let price_sum = providers.iter().map(|&i| u128::from(candidates[i].price())).sum();
    assert_eq!(*cost, Cost::new(price_sum, *k));
}

#[test]
fn two_that_lose_half_are_worth_one_that_loses_a_quarter() {
    assert_eq!(loss_probability(&[0.25], 1), 0.25);
    assert_eq!(loss_probability(&[0.5, 0.5], 1), 0.25);
    let goal = Goal::new(0.75, 2, 0).unwrap();
    for (price_of_a, chosen) in [(7, vec![0]), (8, vec![1, 2]), (9, vec![1, 2])] {
        let market = candidates(&[(0.25, price_of_a), (0.5, 4), (0.5, 4)]);
        assert_eq!(place(&market, goal).unwrap().providers, chosen, "A asks {price_of_a}");
    }
}

#[test]
fn small_tails_are_exact() {
    let mixed = vec![0.3, 0.01, 0.2, 0.0005, 0.07];
    // The outcomes were computed in exact fractions.
    for (losses, k, outcome) in [
        (vec![], 0, 0.0),
        (vec![], 1, 1.0),
        (vec![0.1; 3], 0, 0.0),
        (vec![0.1; 3], 2, 0.028),
        (vec![0.1; 3], 4, 1.0),
        (vec![0.02; 30], 10, 2.522_633_626_995_838_3e-29),
        (vec![0.01; 80], 29, 2.208_243_978_707_502_7e-83),
        (vec![0.5; 255], 20, 4.112_297_477_587_321e-49),
        (vec![0.001; 20], 1, 1e-60),
        (vec![1e-9; 30], 3, 4.349_999_991_6e-250),
        (mixed.clone(), 1, 2.1e-8),
        (mixed.clone(), 2, 4.4491e-5),
        (mixed.clone(), 3, 0.005_066_751),
        (mixed.clone(), 4, 0.090_722_941),
        (mixed, 5, 0.484_665_796),
    ] {
        let loss = loss_probability(&losses, k);
        assert!((loss - outcome).abs() <= 1e-13 * outcome, "{k} of {}: {loss:e}", losses.len());
    }
}

#[test]
fn a_goal_written_in_decimals_is_met_by_decimals() {
    for (loss, n, survive) in [(0.01, 2, 0.9999), (0.1, 3, 0.999), (0.001, 3, 0.999_999_999)] {
        let market = vec![Candidate::new(loss, 1).unwrap(); n];
        assert_eq!(
            place(&market, Goal::new(survive, 8, 0).unwrap()).map(|p| p.survive),
            Ok(survive)
        );
    }
}

#[test]
fn ties_go_to_the_safer_then_to_the_wider_then_to_the_earlier() {
    for (market, survive, k, chosen) in [
        (vec![(0.1, 5), (0.05, 5)], 0.5, 1, vec![1]), // Either alone, or both as 2 of 2.
        (vec![(0.3, 0), (0.2, 0)], 0.5, 1, vec![0, 1]), // Where nothing costs, safety decides.
        (vec![(0.25, 4), (0.5, 2), (0.5, 2)], 0.75, 1, vec![1, 2]),
        (vec![(0.1, 5), (0.1, 5)], 0.5, 1, vec![0]),
    ] {
        let placement = place(&candidates(&market), Goal::new(survive, 4, 0).unwrap()).unwrap();
        assert_eq!((placement.k, placement.providers), (k, chosen));
    }
}

#[test]
fn lost_min_asks_for_parity_that_probability_would_not() {
    let market = vec![Candidate::new(1e-6, 1).unwrap(); 8];
    for (lost_min, k) in [(1, 7), (3, 5), (7, 1)] {
        let placement = place(&market, Goal::new(0.99, 8, lost_min).unwrap()).unwrap();
        assert_eq!((placement.k, placement.n()), (k, 8), "{lost_min} may be lost");
    }
}

#[test]
fn refusals_come_in_order_of_precedence() {
    use PlacementError::*;

    let of = |loss, count| vec![Candidate::new(loss, 1).unwrap(); count];
    for (market, survive, lost_min, outcome) in [
        (of(0.9, 16_385), 0.999_999, 3, TooManyCandidates { candidates: 16_385 }),
        (of(0.9, 3), 0.999_999, 3, TooFewCandidates { candidates: 3, needed: 4 }),
        (vec![], 0.5, 0, TooFewCandidates { candidates: 0, needed: 1 }),
        (of(0.5, 9), 0.99, 3, Unreachable { k: 1, n: 4, survive: 0.9375, goal: 0.99 }),
        (of(0.5, 99), 0.99, 3, Unreachable { k: 1, n: 4, survive: 0.9375, goal: 0.99 }),
    ] {
        let refusal = place(&market, Goal::new(survive, 4, lost_min).unwrap()).unwrap_err();
        assert_eq!(refusal, outcome);
        assert_eq!(refusal.is_transient(), !matches!(refusal, TooManyCandidates { .. }));
    }
}

#[test]
fn numbers_that_are_no_probabilities_are_refused() {
    for loss in [0.0, 1.0, -0.1, 1.1, f64::INFINITY] {
        assert_eq!(Candidate::new(loss, 1), Err(CandidateError::LossOutside { loss }));
        assert_eq!(Goal::new(loss, 1, 1), Err(GoalError::SurviveOutside { survive: loss }));
    }
    assert!(Candidate::new(f64::NAN, 1).is_err() && Goal::new(f64::NAN, 1, 0).is_err());
    for (shards_max, lost_min) in [(0, 0), (3, 3), (3, 4), (255, 255)] {
        let refusal = Goal::new(0.5, shards_max, lost_min);
        assert_eq!(refusal, Err(GoalError::TooFewShards { shards_max, lost_min }));
    }
}

#[test]
fn costs_are_fractions() {
    for (a, b, outcome) in [
        ((2, 2), (1, 1), Ordering::Equal),
        ((10, 3), (7, 2), Ordering::Less),
        ((0, 1), (0, 9), Ordering::Equal),
        ((u128::from(u64::MAX) * 255, 254), (u128::from(u64::MAX) * 255, 255), Ordering::Greater),
    ] {
        assert_eq!(Cost::new(a.0, a.1).cmp(&Cost::new(b.0, b.1)), outcome);
    }
    assert_eq!((Cost::new(10, 3).of(1), Cost::new(10, 3).of(1000)), (4, 3334));
    assert_eq!(Cost::new(40, 5).to_string(), "40/5");
}

/// How good the search is where it is not exhaustive, on markets small enough to know the best.
///
/// The market is the worst for it: few providers, so that each is a large part of the bill. The figures in
/// the assertion are what it reaches, with little to spare: it fails when the search gets worse.
#[test]
fn the_search_is_nearly_always_optimal() {
    let mut seed = 1_u64;
    let mut random_bits = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let unit = |bits| bits as f64 / (1_u64 << 31) as f64;
    let (mut optimal, mut gap_max, cases) = (0, 0.0_f64, 100);
    for _ in 0..cases {
        let provider = |_| {
            let loss = 0.001 * 300_f64.powf(unit(random_bits()));
            Candidate::new(loss, 50 + random_bits() % 100).unwrap()
        };
        let market: Vec<_> = (0..16).map(provider).collect();
        let goal = Goal::new(1.0 - 0.1_f64.powf(1.0 + 5.0 * unit(random_bits())), 16, 1).unwrap();
        let forest = Forest::of(&market, goal.shocks());
        let whole = Market { candidates: &market, forest: &forest, goal };
        let found = search::approach(&whole).unwrap();
        let best = exact::search(&whole, None).unwrap();
        assert_sound(&found, &market, goal);
        optimal += usize::from(found.cost == best.cost);
        gap_max = gap_max.max(found.cost.of(1 << 40) as f64 / best.cost.of(1 << 40) as f64 - 1.0);
    }
    assert!(optimal * 100 >= 98 * cases && gap_max < 0.01, "{optimal} of {cases}, worst {gap_max}");
}

#[test]
fn a_large_market_is_placed() {
    let provider = |i: u64| {
        let loss = 0.002 * (1 + i * 7919 % 100) as f64;
        Candidate::new(loss, 500 + i * 104_729 % 1000).unwrap()
    };
    let market: Vec<_> = (0..10_000).map(provider).collect();
    let goal = Goal::new(0.999_999_999_99, 80, 10).unwrap();
    let placement = place(&market, goal).unwrap();
    assert_sound(&placement, &market, goal);
    assert!(
        placement.cost < Cost::new(1000, 1),
        "{} for {} of {}",
        placement.cost,
        placement.k,
        placement.n()
    );
}

proptest! {
    /// The recurrence agrees with adding up all 2^n outcomes, to the last digits of the smallest tail.
    #[test]
    fn loss_probability_is_the_sum_over_all_outcomes(losses in vec(1e-6..0.999, 0..12), k in 0..14_u8) {
        let (loss, outcome) = (loss_probability(&losses, k), loss_by_outcomes(&losses, k));
        prop_assert!((loss - outcome).abs() <= 1e-12 * outcome, "{} is not {}", loss, outcome);
    }

    /// Needing more shards never makes an object safer; one more shard, or a better one, never less safe.
    #[test]
    fn loss_probability_is_monotone(losses in vec(1e-6..0.999, 1..40), k in 1..40_u8, other in 1e-6..0.999) {
        let loss = loss_probability(&losses, k);
        let slack = 1e-12 * loss;
        prop_assert!((0.0..=1.0).contains(&loss));
        prop_assert!(loss_probability(&losses, k - 1) <= loss + slack);
        let more = [losses.as_slice(), &[other]].concat();
        prop_assert!(loss_probability(&more, k) <= loss + slack);
        let mut better = losses;
        better[0] = better[0].min(other);
        prop_assert!(loss_probability(&better, k) <= loss + slack);
    }

    /// Among few candidates nothing cheaper exists, and what is called unreachable is.
    #[test]
    fn few_candidates_are_placed_at_the_least_cost(market in market(0..=8), goal in goal()) {
        let least = least_cost(&market, goal);
        match place(&market, goal) {
            Ok(placement) => {
                assert_sound(&placement, &market, goal);
                let cost = placement.cost.price_sum as f64 / f64::from(placement.cost.k);
                prop_assert_eq!(Some(cost), least);
            }
            Err(refusal) => prop_assert_eq!(least, None, "{}", refusal),
        }
    }

    /// However many candidates: a placement is what it says, or the goal is out of reach.
    #[test]
    fn many_candidates_are_placed_soundly(market in market(13..=60), goal in goal()) {
        match place(&market, goal) {
            Ok(placement) => assert_sound(&placement, &market, goal),
            Err(refusal) => {
                let unreachable = matches!(refusal, PlacementError::Unreachable { .. });
                prop_assert!(unreachable, "{}", refusal);
            }
        }
    }

    /// One more candidate never makes it dearer, nor does a lower goal.
    #[test]
    fn more_choice_never_costs_more(market in market(2..=9), goal in goal()) {
        if let Ok(few) = place(&market[1..], goal) {
            let lower = Goal { survive: goal.survive * 0.9, ..goal };
            prop_assert!(place(&market, goal).unwrap().cost <= few.cost);
            prop_assert!(place(&market[1..], lower).unwrap().cost <= few.cost);
        }
    }
}
