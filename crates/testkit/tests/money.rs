//! Money is conserved and everything happens once, whatever fails.
//!
//! `FONDACO_SEEDS` runs from `FONDACO_SEED` on; a failure prints the command that replays it.

use fondaco_testkit::{
    Seeds,
    money::{Planted, Report, run},
};

#[test]
fn money_is_conserved_and_all_happens_once() {
    let mut sum = Report::default();
    let seeds = Seeds::from_environment(300);
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        match run(seed, Planted::Nothing) {
            Ok(report) => {
                sum.executed += report.executed;
                sum.refused += report.refused;
                sum.posted += report.posted;
                sum.chains += report.chains;
                sum.changed += report.changed;
                sum.messages += report.messages;
                sum.restored += report.restored;
                sum.forgotten += report.forgotten;
                sum.crashes += report.crashes;
            }
            Err(violation) => panic!("{violation}\n{}", Seeds::replay(seed, "money")),
        }
    }
    // What never happens was not tested.
    if runs >= 20 {
        let Report { executed, refused, posted, crashes, .. } = sum;
        assert!(executed > 20 * runs && refused > 5 * runs && posted > runs / 2, "{sum:?}");
        let Report { chains, changed, messages, restored, forgotten, .. } = sum;
        assert!(chains > 2 * runs && changed > runs / 2 && messages > 5 * runs, "{sum:?}");
        assert!(crashes > 5 * runs && restored > runs && forgotten > runs, "{sum:?}");
    }
}

#[test]
fn a_seed_gives_the_same_run() {
    for seed in 0..3 {
        assert_eq!(run(seed, Planted::Nothing), run(seed, Planted::Nothing));
        assert_eq!(run(seed, Planted::ForgetsIds), run(seed, Planted::ForgetsIds));
    }
}

/// Each planted fault must be caught, most of the time: a check that catches none is none.
fn caught(planted: Planted) -> Vec<String> {
    (0..40).filter_map(|seed| run(seed, planted).err()).map(|violation| violation.what).collect()
}

#[test]
fn canary_an_issuer_that_answers_before_it_saves() {
    let caught = caught(Planted::AnswersBeforeSaving);
    assert!(caught.len() >= 35, "{}: {caught:#?}", caught.len());
}

#[test]
fn canary_an_issuer_whose_disk_lies() {
    let caught = caught(Planted::DiskLies);
    assert!(caught.len() >= 35, "{}: {caught:#?}", caught.len());
}

#[test]
fn canary_an_issuer_that_forgets_ids() {
    let caught = caught(Planted::ForgetsIds);
    assert!(caught.len() >= 35, "{}: {caught:#?}", caught.len());
}

#[test]
fn canary_a_holder_that_sends_before_it_saves() {
    let caught = caught(Planted::SendsBeforeSaving);
    assert!(caught.len() >= 30, "{}: {caught:#?}", caught.len());
}

#[test]
fn canary_an_issuer_that_keeps_no_fence() {
    let caught = caught(Planted::KeepsNoFence);
    assert!(caught.len() >= 3, "{}: {caught:#?}", caught.len());
    assert!(caught.iter().all(|what| what.contains("a client")), "{caught:#?}");
}

#[test]
fn canary_an_issuer_that_deletes_notices_when_it_has_told_them() {
    let caught = caught(Planted::DeletesWhenTold);
    assert!(caught.len() >= 10, "{}: {caught:#?}", caught.len());
}

#[test]
fn canary_an_issuer_that_does_half_a_batch() {
    let caught = caught(Planted::BreaksChains);
    assert!(caught.len() >= 25, "{}: {caught:#?}", caught.len());
    assert!(caught.iter().all(|what| what.contains("half done")), "{caught:#?}");
}

#[test]
fn canary_an_issuer_that_ignores_limits() {
    let caught = caught(Planted::IgnoresLimits);
    assert!(caught.len() >= 15, "{}: {caught:#?}", caught.len());
    assert!(caught.iter().all(|what| what.contains("takes")), "{caught:#?}");
}

#[test]
fn canary_a_snapshot_that_forgets_answers() {
    let caught = caught(Planted::SnapshotForgets);
    assert!(caught.len() >= 20, "{}: {caught:#?}", caught.len());
}
