//! Loss as simulated, host by host and shock by shock, beside the exact formula: the table of `docs/durability.md`.
//!
//! `cargo test -p fondaco-placement --test durability -- --nocapture` prints it. The seed is fixed, so it is always the
//! same; each row fails if chance and formula differ by more than four standard errors.

#![allow(clippy::print_stdout, reason = "the table is for who runs this with --nocapture")]

use fondaco_placement::{Candidate, Goal, Group, Prior, Shocks, loss_under_shocks, place};

const TRIALS: u32 = 100_000;

/// A generator of chance from a seed: splitmix64.
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn happens(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }
}

/// A host: its loss, and the numbers of its operator and its subnet.
#[derive(Clone, Copy)]
struct Host(f64, Option<usize>, Option<usize>);

impl Host {
    fn candidate(self) -> Candidate {
        let group = |number: usize| Group::new(number as u64);
        let Self(loss, operator, subnet) = self;
        Candidate::new(loss, 1)
            .unwrap()
            .operated_by(operator.map(group))
            .in_subnet(subnet.map(group))
    }
}

/// How often fewer than `k` of the hosts live through an epoch.
fn simulated(hosts: &[Host], shocks: Shocks, k: u8, chance: &mut Chance) -> f64 {
    let groups = |of: fn(&Host) -> Option<usize>| {
        hosts.iter().filter_map(of).max().map_or(0, |greatest| greatest + 1)
    };
    let (operators, subnets) = (groups(|host| host.1), groups(|host| host.2));
    let mut lost = 0;
    for _ in 0..TRIALS {
        let gone: Vec<bool> = (0..operators).map(|_| chance.happens(shocks.operator())).collect();
        let cut: Vec<bool> = (0..subnets).map(|_| chance.happens(shocks.subnet())).collect();
        let alive = hosts
            .iter()
            .filter(|Host(loss, operator, subnet)| {
                let struck = operator.is_some_and(|o| gone[o]) || subnet.is_some_and(|s| cut[s]);
                !chance.happens(*loss) && !struck
            })
            .count();
        lost += u32::from(alive < usize::from(k));
    }
    f64::from(lost) / f64::from(TRIALS)
}

#[test]
fn what_is_lost_is_what_the_formula_says() {
    let of = |count: usize, host: &dyn Fn(usize) -> Host| (0..count).map(host).collect::<Vec<_>>();
    let (none, shocks) = (Shocks::NONE, |o, s| Shocks::new(o, s).unwrap());
    let rows: Vec<(&str, Vec<Host>, Shocks, u8)> = vec![
        ("A, which loses 0.25", of(1, &|_| Host(0.25, None, None)), none, 1),
        ("B and C, which lose 0.5 each", of(2, &|_| Host(0.5, None, None)), none, 1),
        ("6 hosts that lose 10 %", of(6, &|_| Host(0.1, None, None)), none, 3),
        (
            "20 hosts that lose 1 to 20 %",
            of(20, &|i| Host(0.01 * (i + 1) as f64, None, None)),
            none,
            16,
        ),
        (
            "6 hosts, 3 operators lost with 5 %",
            of(6, &|i| Host(0.1, Some(i / 2), None)),
            shocks(0.05, 0.0),
            3,
        ),
        (
            "30 hosts, 3 operators lost with 10 %",
            of(30, &|i| Host(0.02, Some(i / 10), None)),
            shocks(0.1, 0.0),
            10,
        ),
        (
            "30 hosts, 10 operators lost with 10 %",
            of(30, &|i| Host(0.02, Some(i / 3), None)),
            shocks(0.1, 0.0),
            20,
        ),
        (
            "12 hosts, 2 operators of 3 subnets each",
            of(12, &|i| Host(0.05, Some(i / 6), Some(i / 2))),
            shocks(0.02, 0.05),
            5,
        ),
        (
            "9 hosts, some in a subnet, some alone",
            of(9, &|i| Host(0.08, None, (i < 4).then_some(0))),
            shocks(0.0, 0.1),
            5,
        ),
    ];
    let mut chance = Chance(2026);
    println!("| hosts | k of n | exact loss | simulated | standard errors apart |");
    println!("|---|---|---:|---:|---:|");
    for (name, hosts, shocks, k) in rows {
        let candidates: Vec<Candidate> = hosts.iter().map(|host| host.candidate()).collect();
        let exact = loss_under_shocks(&candidates, shocks, k);
        let seen = simulated(&hosts, shocks, k, &mut chance);
        let error = (exact * (1.0 - exact) / f64::from(TRIALS)).sqrt();
        let apart = (seen - exact) / error;
        println!("| {name} | {k} of {} | {exact:.6} | {seen:.5} | {apart:+.1} |", hosts.len());
        assert!(apart.abs() < 4.0, "{name}: {seen} is not {exact}");
    }
}

/// The example of Turner and Ross, "theory for optimal selection": 0.25 = 0.5 × 0.5.
#[test]
fn b_and_c_together_are_worth_a() {
    let [a, b, c] = [0.25, 0.5, 0.5].map(|loss| Host(loss, None, None).candidate());
    assert_eq!(loss_under_shocks(&[a], Shocks::NONE, 1), 0.25);
    assert_eq!(loss_under_shocks(&[b, c], Shocks::NONE, 1), 0.25);
    let priced = |price: u64| Candidate::new(0.25, price).unwrap();
    let half = Candidate::new(0.5, 4).unwrap();
    let goal = Goal::new(0.75, 2, 0).unwrap();
    for (price_of_a, chosen) in [(7, vec![0]), (8, vec![1, 2]), (9, vec![1, 2])] {
        let placement = place(&[priced(price_of_a), half, half], goal).unwrap();
        assert_eq!(placement.providers, chosen, "A asks {price_of_a}");
    }
}

/// The best of many estimates are the luckiest: their means promise too much, upper quantiles do not.
#[test]
fn choosing_the_best_estimates_is_a_winners_curse() {
    let mut chance = Chance(7);
    let prior = Prior::new(0.02, 36.0).unwrap();
    let mut best: Vec<(f64, f64, f64)> = (0..500)
        .map(|_| {
            // True losses whose mean is the prior's; each host was seen for 25 epochs.
            let truth = -0.02 * (1.0 - chance.unit()).ln();
            let lost = (0..25).filter(|_| chance.happens(truth)).count() as f64;
            let estimate = prior.with(lost, 25.0 - lost).unwrap();
            (truth, lost / 25.0, estimate.upper(0.9))
        })
        .collect();
    best.sort_by(|a, b| a.1.total_cmp(&b.1));
    best.truncate(40);
    let mean = |of: fn(&(f64, f64, f64)) -> f64| best.iter().map(of).sum::<f64>() / 40.0;
    let (truth, counted, upper) = (mean(|h| h.0), mean(|h| h.1), mean(|h| h.2));
    println!("the 40 best of 500: counted {counted:.4}, true {truth:.4}, counted on {upper:.4}");
    assert!(counted < truth && truth < upper, "{counted} {truth} {upper}");
}
