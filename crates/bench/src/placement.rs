//! `placement`: choose providers, against buying from the cheapest first and against trying everything.

use fondaco_placement::{Candidate, Cost, Goal, Group, Shocks, loss_probability, place};
use fondaco_testkit::Rng;

use crate::race::{Clock, Table, Unit, peer, timed_each};
use crate::report::Report;

const SURVIVE: f64 = 0.999_999;
const SHARDS_MAX: u8 = 40;
const LOST_MIN: u8 = 2;
const GIB: u64 = 1 << 30;

/// How many small markets are compared with brute force.
const SMALL_MARKETS: u64 = 10;

pub(crate) fn run(report: &Report) {
    small(report);
    large(report);
    grouped(report);
}

/// Against every set and every code, one after another.
fn small(report: &Report) {
    let goal = Goal::new(0.9999, 16, LOST_MIN).expect("a goal");
    let markets: Vec<Vec<Candidate>> = (0..SMALL_MARKETS).map(|seed| market(seed, 16)).collect();
    let gap = |candidates: &Vec<Candidate>| {
        let found = place(candidates, goal).expect("the market is good enough");
        let best = brute_force(candidates, goal).expect("so it is for the peer");
        price_of(found.cost) / best - 1.0
    };
    let worst = markets.iter().map(gap).fold(0.0, f64::max);
    let title = "Four nines among 16 candidates, losses of 0.5 to 10 %, prices of 50 to 150";
    let table = Table::begin(report, title, Clock::Cpu, Unit::Seconds);
    table.row(
        &format!("{SMALL_MARKETS} markets, at most {:.3} % above the least price", worst * 100.0),
        SMALL_MARKETS,
        || timed_each(&markets, |market| place(market, goal)),
        [peer("every set and code", || timed_each(&markets, |market| brute_force(market, goal)))],
    );
}

/// Against the cheapest first.
fn large(report: &Report) {
    let goal = Goal::new(SURVIVE, SHARDS_MAX, LOST_MIN).expect("a goal");
    let title = "Six nines in at most 40 shards, losses of 0.5 to 10 %, prices of 50 to 150";
    let table = Table::begin(report, title, Clock::Cpu, Unit::Seconds);
    for (count, calls) in [(80, 50), (1000, 20), (10_000, 5)] {
        let candidates = market(1, count);
        let found = place(&candidates, goal).expect("the market is good enough");
        let peers_price = cheapest_first(&candidates).expect("so it is for the peer");
        let price = price_of(found.cost) / peers_price;
        let (k, n) = (found.k, found.n());
        table.row(
            &format!("{count} candidates: {k} of {n}, at {price:.3} of the peer's price"),
            calls,
            || timed_each(0..calls, |_| place(&candidates, goal)),
            [peer("cheapest first", || timed_each(0..calls, |_| cheapest_first(&candidates)))],
        );
    }
}

/// The same with operators that may vanish, against the same without.
fn grouped(report: &Report) {
    let goal = Goal::new(SURVIVE, SHARDS_MAX, LOST_MIN).expect("a goal");
    let shocks = Shocks::new(0.01, 0.005).expect("chances");
    let title = "The same, each operator lost with 1 % and each subnet with 0.5 %";
    let table = Table::begin(report, title, Clock::Cpu, Unit::Seconds);
    for (count, operators, calls) in [(1000, 100, 5), (10_000, 500, 2)] {
        let alone = market(1, count);
        let candidates: Vec<Candidate> = (0..)
            .zip(&alone)
            .map(|(i, candidate)| {
                let operator = Group::new(i % operators);
                let subnet = Group::new(operators + i % (3 * operators));
                candidate.operated_by(Some(operator)).in_subnet(Some(subnet))
            })
            .collect();
        let found = place(&candidates, goal.under(shocks)).expect("the market is good enough");
        let free = place(&alone, goal).expect("so it is without shocks");
        let price = price_of(found.cost) / price_of(free.cost);
        let (k, n) = (found.k, found.n());
        table.row(
            &format!("{count} candidates of {operators} operators: {k} of {n}, at {price:.3} of the price"),
            calls,
            || timed_each(0..calls, |_| place(&candidates, goal.under(shocks))),
            [peer("no shocks", || timed_each(0..calls, |_| place(&alone, goal)))],
        );
    }
}

fn price_of(cost: Cost) -> f64 {
    cost.of(GIB) as f64 / GIB as f64
}

fn market(seed: u64, count: usize) -> Vec<Candidate> {
    let mut rng = Rng::new(seed);
    let mut candidate = || {
        let loss = 0.005 + rng.below(95_000) as f64 * 1e-6;
        Candidate::new(loss, 50 + rng.below(101)).expect("a probability")
    };
    (0..count).map(|_| candidate()).collect()
}

/// Tries every set with the greatest `k` that is safe enough; returns the least price of an object byte.
fn brute_force(candidates: &[Candidate], goal: Goal) -> Option<f64> {
    let mut best: Option<f64> = None;
    for set in 1_u32..1 << candidates.len() {
        let members = || (0..candidates.len()).filter(|i| set >> i & 1 == 1).map(|i| candidates[i]);
        // How many live, one provider after another.
        let mut alive = [0.0_f64; 17];
        alive[0] = 1.0;
        let (mut n, mut sum) = (0_usize, 0_u64);
        for member in members() {
            n += 1;
            sum += member.price();
            for lives in (0..=n).rev() {
                let kept = if lives > 0 { alive[lives - 1] * (1.0 - member.loss()) } else { 0.0 };
                alive[lives] = alive[lives] * member.loss() + kept;
            }
        }
        let mut lost = 0.0;
        for k in 1..=n.saturating_sub(goal.lost_min().into()) {
            lost += alive[k - 1];
            if 1.0 - lost < goal.survive() {
                break;
            }
            let price = sum as f64 / k as f64;
            best = Some(best.map_or(price, |best| best.min(price)));
        }
    }
    best
}

/// Takes the cheapest, then the next one, and so on, each time with the greatest `k` that is safe enough; returns
/// the least price of an object byte.
fn cheapest_first(candidates: &[Candidate]) -> Option<f64> {
    let mut by_price = candidates.to_vec();
    by_price.sort_by_key(|candidate| candidate.price());
    let (mut losses, mut sum, mut k) = (Vec::new(), 0, 1);
    let mut best: Option<f64> = None;
    for candidate in by_price.iter().take(SHARDS_MAX.into()) {
        losses.push(candidate.loss());
        sum += candidate.price();
        let safe = |k: u8| {
            usize::from(k + LOST_MIN) <= losses.len()
                && 1.0 - loss_probability(&losses, k) >= SURVIVE
        };
        while safe(k + 1) {
            k += 1;
        }
        if safe(k) {
            let price = sum as f64 / f64::from(k);
            best = Some(best.map_or(price, |best| best.min(price)));
        }
    }
    best
}
