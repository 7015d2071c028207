//! `placement`: choose providers, against buying from the cheapest first.

use fondaco_placement::{Candidate, Goal, loss_probability, place};
use fondaco_testkit::Rng;

use crate::race::{Clock, Table, Unit, peer, timed_each};
use crate::report::Report;

const SURVIVE: f64 = 0.999_999;
const SHARDS_MAX: u8 = 40;
const LOST_MIN: u8 = 2;
const GIB: u64 = 1 << 30;

pub(crate) fn run(report: &Report) {
    let goal = Goal::new(SURVIVE, SHARDS_MAX, LOST_MIN).expect("a goal");
    let title = "Six nines in at most 40 shards, losses of 0.5 to 10 %, prices of 50 to 150";
    let table = Table::begin(report, title, Clock::Cpu, Unit::Seconds);
    for (count, calls) in [(8, 2000), (80, 50), (1000, 20)] {
        let candidates = market(count);
        let found = place(&candidates, goal).expect("the market is good enough");
        let peers_price = cheapest_first(&candidates).expect("so it is for the peer");
        let price = found.cost.of(GIB) as f64 / GIB as f64 / peers_price;
        let (k, n) = (found.k, found.n());
        table.row(
            &format!("{count} candidates: {k} of {n}, at {price:.3} of the peer's price"),
            calls,
            || timed_each(0..calls, |_| place(&candidates, goal)),
            [peer("cheapest first", || timed_each(0..calls, |_| cheapest_first(&candidates)))],
        );
    }
}

fn market(count: usize) -> Vec<Candidate> {
    let mut rng = Rng::new(1);
    let mut candidate = || {
        let loss = 0.005 + rng.below(95_000) as f64 * 1e-6;
        Candidate::new(loss, 50 + rng.below(101)).expect("a probability")
    };
    (0..count).map(|_| candidate()).collect()
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
