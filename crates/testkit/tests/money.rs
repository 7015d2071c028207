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
                sum.crashes += report.crashes;
            }
            Err(violation) => panic!("{violation}\n{}", Seeds::replay(seed, "money")),
        }
    }
    // What never happens was not tested.
    if runs >= 20 {
        let Report { executed, refused, posted, crashes } = sum;
        assert!(executed > 20 * runs && refused > 5 * runs && posted > runs / 2, "{sum:?}");
        assert!(crashes > 5 * runs, "{sum:?}");
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
