//! Tables for the rules, chance with a seed for what the numbers are to reach.

use fondaco_units::Amount;
use proptest::{collection::vec, prelude::*};

use super::*;

const POLICY: Policy = Policy::DEFAULT;

fn share(millionths: u32) -> Share {
    Share::from_millionths(millionths).unwrap()
}

/// A generator of chance from a seed: splitmix64.
struct Chance(u64);

impl Chance {
    fn happens(&mut self, millionths: u64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % 1_000_000 < millionths
    }
}

/// Audits a provider that fails so often until it comes to `standing`; returns after how many audits, if in `audits`.
fn audits_until(standing: Standing, failing: u64, audits: usize, seed: u64) -> Option<usize> {
    let (mut chance, mut record) = (Chance(seed), Record::new(&POLICY));
    (1..=audits).find(|_| {
        let failed = chance.happens(failing);
        let verdict = if failed { Verdict::Failed } else { Verdict::Proven };
        record.audited(&POLICY, verdict) >= standing
    })
}

#[test]
fn five_in_a_hundred_lost_are_caught_after_about_1500_audits() {
    let runs: Vec<_> =
        (0..401).map(|seed| audits_until(Standing::Replace, 50_000, 20_000, seed)).collect();
    let mut caught: Vec<usize> = runs.into_iter().flatten().collect();
    assert_eq!(caught.len(), 401, "all are caught");
    caught.sort_unstable();
    let median = caught[200];
    assert_eq!(median, 1_496, "as docs/durability.md says");
    // And each was warned, unpaid and repaired before, in this order.
    for seed in 0..20 {
        let at = |standing| audits_until(standing, 50_000, 20_000, seed).unwrap();
        let way = Standing::ALL[1..].iter().map(|&standing| at(standing)).collect::<Vec<_>>();
        assert!(way.is_sorted_by(|a, b| a < b), "seed {seed}: {way:?}");
    }
}

#[test]
fn two_in_a_hundred_lost_are_never_cut_off() {
    for seed in 0..100 {
        assert_eq!(audits_until(Standing::Repair, 20_000, 20_000, seed), None, "seed {seed}");
    }
}

#[test]
fn a_shorter_memory_needs_luck() {
    // λ = 0.95 with a cut at 0.6 misses for ever one that loses a fifth: why the memory is long.
    let policy = Policy {
        memory: share(950_000),
        start: Count::whole(20),
        ..Policy::new([800_000, 700_000, 650_000, 600_000].map(share), share(1_000)).unwrap()
    };
    let mut cut = 0;
    for seed in 0..100 {
        let (mut chance, mut record) = (Chance(seed), Record::new(&policy));
        let mut verdict = || if chance.happens(50_000) { Verdict::Failed } else { Verdict::Proven };
        cut +=
            usize::from((0..2000).any(|_| record.audited(&policy, verdict()) == Standing::Replace));
    }
    assert_eq!(cut, 0, "5 % is never caught");
}

#[test]
fn standings_worsen_at_thresholds_and_better_with_a_margin() {
    use Standing::*;
    for (before, score, after) in [
        (Good, 975_000, Good),
        (Good, 974_999, Warn),
        (Good, 967_999, StopPaying),
        (Good, 963_999, Repair),
        (Good, 959_999, Replace),
        (Warn, 975_000, Warn),
        (Warn, 977_999, Warn),
        (Warn, 978_000, Good),
        (StopPaying, 970_999, StopPaying),
        (StopPaying, 971_000, Warn),
        (StopPaying, 990_000, Good),
        (Repair, 966_999, Repair),
        (Replace, 962_999, Replace),
        (Replace, 963_000, Repair),
        (Replace, 1_000_000, Good),
    ] {
        assert_eq!(POLICY.standing(before, share(score)), after, "{before} at {score}");
    }
}

#[test]
fn numbers_that_are_no_policy_are_refused_by_name() {
    for (thresholds, margin, outcome) in [
        (
            [960, 970, 950, 940],
            1,
            "the scores to warn, stop paying, repair and replace must fall; these are 0.960000, 0.970000, 0.950000 and 0.940000",
        ),
        (
            [970, 970, 950, 940],
            1,
            "the scores to warn, stop paying, repair and replace must fall; these are 0.970000, 0.970000, 0.950000 and 0.940000",
        ),
        (
            [999, 970, 950, 940],
            2,
            "warned at 0.999000, with a margin of 0.002000, a provider could never be good again",
        ),
    ] {
        let refusal = Policy::new(thresholds.map(|t| share(t * 1000)), share(margin * 1000));
        assert_eq!(refusal.unwrap_err().to_string(), outcome);
    }
    assert_eq!(Share::from_millionths(1_000_001), None);
}

#[test]
fn who_was_caught_is_never_forgiven() {
    let mut record = Record::new(&POLICY);
    record.audited(&POLICY, Verdict::Caught);
    for _ in 0..10_000 {
        assert_eq!(record.audited(&POLICY, Verdict::Proven), Standing::Replace);
    }
    assert!(record.was_caught());
}

#[test]
fn epochs_are_counted_and_forgotten() {
    let mut record = Record::new(&POLICY);
    assert_eq!(record.losses(), (Count::ZERO, Count::ZERO));
    (0..4).for_each(|_| record.lived(&POLICY, Count::fraction(1, 4)));
    let (lost, lived) = record.losses();
    assert!(lost.is_zero() && (lived.get() - 0.996).abs() < 0.001, "{lived:?}");
    record.lost(&POLICY);
    assert_eq!(record.losses().0, Count::ONE);
    // With a memory of 0.99 a record comes to weigh at most a hundred epochs, and an old loss fades.
    (0..2000).for_each(|_| record.lived(&POLICY, Count::ONE));
    let (lost, lived) = record.losses();
    assert!(lost.get() < 1e-6 && (lived.get() - 100.0).abs() < 0.01, "{lived:?}");
}

#[test]
fn exposure_grows_with_good_deals_and_falls_at_once() {
    let amount = Amount::new;
    let limits = Limits::new(amount(100), amount(1000), share(250_000), amount(101)).unwrap();
    let mut exposure = Exposure::NEWCOMER;
    assert_eq!(exposure.cap(&limits), amount(100));
    for (paid, cap) in [(400, 200), (400, 300), (4000, 1000), (u64::MAX, 1000)] {
        exposure.good(amount(paid));
        assert_eq!(exposure.cap(&limits), amount(cap));
    }
    exposure.bad();
    assert_eq!(exposure.cap(&limits), amount(50));
    exposure.bad();
    assert_eq!(exposure.cap(&limits), amount(25));
    for cap in [50, 100, 200] {
        exposure.good(amount(400));
        assert_eq!(exposure.cap(&limits), amount(cap));
    }
    assert_eq!((exposure.not_kept(), Exposure::NEWCOMER.not_kept()), (0, 0));
    (0..1000).for_each(|_| exposure.bad());
    assert_eq!(exposure.not_kept(), 64);
    for (parts, rounded) in [(0, 0), (499, 0), (500, 1), (1499, 1), (2500, 3)] {
        assert_eq!(Count::fraction(parts, 1000).rounded(), rounded);
    }
    assert_eq!(exposure.cap(&limits), Amount::ZERO);
}

#[test]
fn limits_under_which_running_away_would_pay_are_refused() {
    let limits = |newcomer, ceiling, identity| {
        let amount = Amount::new;
        Limits::new(amount(newcomer), amount(ceiling), Share::ONE, amount(identity))
            .map(drop)
            .map_err(|refusal| refusal.to_string())
    };
    assert_eq!(limits(99, 99, 100), Ok(()));
    assert_eq!(
        limits(100, 10, 100),
        Err("a newcomer trusted with 100 units could run away and come back, since a new identity costs 100".to_owned())
    );
    assert_eq!(
        limits(99, 98, 100),
        Err("at most 98 units are less than the 99 that a newcomer is trusted with".to_owned())
    );
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        20 => Just(Verdict::Proven),
        5 => Just(Verdict::Failed),
        1 => Just(Verdict::Caught),
    ]
}

proptest! {
    /// Better verdicts never make a worse record, and what is caught stays so.
    #[test]
    fn a_better_provider_never_stands_worse(verdicts in vec(verdict(), 0..300), mended in 0..300_usize) {
        let mut better = verdicts.clone();
        if let Some(verdict) = better.get_mut(mended) {
            *verdict = Verdict::Proven;
        }
        let of = |verdicts: &[Verdict]| {
            let mut record = Record::new(&POLICY);
            verdicts.iter().for_each(|&verdict| { record.audited(&POLICY, verdict); });
            record
        };
        let (worse, better) = (of(&verdicts), of(&better));
        prop_assert!(better.score() >= worse.score());
        prop_assert!(better.standing() <= worse.standing());
        let is_caught = verdicts.contains(&Verdict::Caught);
        prop_assert_eq!(worse.was_caught(), is_caught);
        prop_assert!(!is_caught || worse.standing() == Standing::Replace);
    }

    /// The score is the recurrence of floating numbers to within its rounding.
    #[test]
    fn scores_are_the_beta_reputation(verdicts in vec(any::<bool>(), 0..2000)) {
        let (mut alpha, mut beta) = (1000.0_f64, 0.0_f64);
        let mut record = Record::new(&POLICY);
        for proven in verdicts {
            let v = if proven { 1.0 } else { -1.0 };
            alpha = 0.999 * alpha + (1.0 + v) / 2.0;
            beta = 0.999 * beta + (1.0 - v) / 2.0;
            record.audited(&POLICY, if proven { Verdict::Proven } else { Verdict::Failed });
        }
        let score = f64::from(record.score().millionths()) / 1e6;
        prop_assert!((score - alpha / (alpha + beta)).abs() < 2e-6);
    }

    /// Whatever deals come: running away never gains more than what it costs to come back and earn it again.
    #[test]
    fn a_cap_never_exceeds_what_it_cost_to_earn(
        deals in vec(prop_oneof![4 => (1..10_000_u64).prop_map(Some), 1 => Just(None)], 0..60), growth in 0..=1_000_000_u32,
    ) {
        let limits = Limits::new(Amount::new(99), Amount::new(5_000), share(growth), Amount::new(100)).unwrap();
        let mut exposure = Exposure::NEWCOMER;
        let mut honest = 0;
        for deal in deals {
            let before = exposure.cap(&limits);
            match deal {
                Some(paid) => { exposure.good(Amount::new(paid)); honest += paid; prop_assert!(exposure.cap(&limits) >= before); }
                None => { exposure.bad(); honest = 0; prop_assert!(exposure.cap(&limits) < Amount::new(99)); }
            }
            prop_assert!(exposure.cap(&limits).get() < 100 + honest && exposure.cap(&limits).get() <= 5_000);
        }
    }
}
