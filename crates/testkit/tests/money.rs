//! Money is conserved and everything happens once, whatever fails.
//!
//! `FONDACO_SEEDS` runs from `FONDACO_SEED` on; a failure prints the command that replays it.

use fondaco_testkit::{
    Seeds,
    money::{Planted, Report, run},
};

#[test]
fn money_is_conserved_and_all_happens_once() {
    let seeds = Seeds::from_environment(300);
    let runs = seeds.end - seeds.start;
    let run_one = |seed| run(seed, Planted::Nothing);
    let sum = Seeds::run_all(seeds, "money", run_one, Report::add);
    // What never happens was not tested.
    if runs >= 20 {
        let Report { executed, refused, posted, crashes, .. } = sum;
        assert!(executed > 20 * runs && refused > 5 * runs && posted > runs / 2, "{sum:?}");
        let Report { chains, changed, messages, restored, forgotten, .. } = sum;
        assert!(chains > 2 * runs && changed > runs / 2 && messages > 5 * runs, "{sum:?}");
        assert!(crashes > 5 * runs && restored > runs && forgotten > runs, "{sum:?}");
        assert!(sum.damaged > runs / 4, "{sum:?}");
        assert!(sum.words > runs / 2 && sum.shared > 10 * runs, "{sum:?}");
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
    assert!(caught.len() >= 4, "{}: {caught:#?}", caught.len());
}

/// Rarer: a message lingers on the newest connection, and older ones go on.
#[test]
fn canary_an_issuer_that_fences_older_connections_only() {
    let caught = (0..400).filter(|seed| run(*seed, Planted::FencesOlderOnly).is_err());
    assert!(caught.count() >= 1);
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
}

#[test]
fn canary_an_issuer_that_ignores_limits() {
    let caught = caught(Planted::IgnoresLimits);
    let paid = caught.iter().filter(|what| what.contains("takes")).count();
    assert!(paid >= 10, "{paid}: {caught:#?}");
}

#[test]
fn canary_a_snapshot_that_forgets_answers() {
    let caught = caught(Planted::SnapshotForgets);
    assert!(caught.len() >= 20, "{}: {caught:#?}", caught.len());
}

/// Money, answers and signatures are all right then: only the chain tells.
#[test]
fn canary_an_issuer_that_believes_which_word_it_is() {
    let caught = caught(Planted::BelievesWords);
    let words = caught.iter().filter(|what| what.contains("a word was cashed wrongly")).count();
    assert!(words >= 8, "{words}: {caught:#?}");
}

/// "Not paid" is believed of what was paid: by the end each such command is found.
#[test]
fn canary_a_holder_that_takes_silence_for_no() {
    let caught = caught(Planted::TakesSilenceForNo);
    let misled = caught.iter().filter(|what| what.contains("its holder does not know it")).count();
    assert!(misled >= 30, "{misled}: {caught:#?}");
}

/// What the core forgot and nobody else knows gets a second outcome, which its holder hears.
#[test]
fn canary_an_issuer_without_its_history() {
    let caught = caught(Planted::HasNoHistory);
    let misled = caught.iter().filter(|what| what.contains("differently before")).count();
    assert!(misled >= 12, "{misled}: {caught:#?}");
}
