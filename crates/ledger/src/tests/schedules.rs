//! Random schedules of all steps: money is conserved, a refusal changes nothing, a snapshot is the ledger.

use super::*;
use fondaco_codec::Reader;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use std::collections::{BTreeMap, BTreeSet};

/// How many keys there are: more than those that begin, so that some are left to be changed for.
const KEYS: usize = 10;

/// One step of a random schedule, of few entities and eight holds, so that they meet often.
#[derive(Clone, Debug)]
enum Step {
    Mint { to: usize, amount: u64 },
    Redeem { from: usize, amount: u64 },
    Transfer { from: usize, to: usize, amount: u64, terms: (u64, u64) },
    Linked { legs: Vec<(usize, usize, u64)>, terms: (u64, u64) },
    Open { number: u128, payer: usize, payee: usize, amount: u64, span: u64 },
    Post { number: u128, by: usize, signer: usize, cumulative: u64 },
    Word { number: u128, signer: usize, base: u64, index: u32 },
    Void { number: u128, by: usize },
    Accept { holder: usize, balance_max: u64 },
    AcceptAhead { holder: usize, balance_max: u64 },
    Close { holder: usize, forfeit_max: u64 },
    Rotate { old: usize, new: usize },
    Wait { span: u64 },
}

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..300_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn terms() -> impl Strategy<Value = (u64, u64)> {
    (prop_oneof![Just(0), 0..5_u64, Just(u64::MAX)], 0..100_u64)
}

fn steps() -> impl Strategy<Value = Step> {
    let (who, number) = (0..4_usize, 0..8_u128);
    let leg = (0..6_usize, 0..KEYS, 0..150_u64);
    prop_oneof![
        3 => (0..6_usize, amounts()).prop_map(|(to, amount)| Step::Mint { to, amount }),
        1 => (who.clone(), amounts()).prop_map(|(from, amount)| Step::Redeem { from, amount }),
        4 => (who.clone(), 0..KEYS, amounts(), terms())
            .prop_map(|(from, to, amount, terms)| Step::Transfer { from, to, amount, terms }),
        3 => (vec(leg, 0..5), terms()).prop_map(|(legs, terms)| Step::Linked { legs, terms }),
        4 => (number.clone(), who.clone(), who.clone(), amounts(), 0..600_u64).prop_map(
            |(number, payer, payee, amount, span)| Step::Open { number, payer, payee, amount, span }
        ),
        5 => (number.clone(), who.clone(), who.clone(), prop_oneof![3 => 1..50_u64, 1 => amounts()])
            .prop_map(|(number, by, signer, cumulative)| Step::Post { number, by, signer, cumulative }),
        3 => (number.clone(), who.clone(), 0..50_u64, 0..6_u32)
            .prop_map(|(number, signer, base, index)| Step::Word { number, signer, base, index }),
        2 => (number, who.clone()).prop_map(|(number, by)| Step::Void { number, by }),
        1 => (who.clone(), amounts())
            .prop_map(|(holder, balance_max)| Step::Accept { holder, balance_max }),
        2 => (0..KEYS, prop_oneof![1..300_u64, Just(u64::MAX)])
            .prop_map(|(holder, balance_max)| Step::AcceptAhead { holder, balance_max }),
        1 => (0..KEYS, amounts()).prop_map(|(holder, forfeit_max)| Step::Close { holder, forfeit_max }),
        1 => (who, 4..KEYS).prop_map(|(old, new)| Step::Rotate { old, new }),
        2 => (0..60_u64).prop_map(|span| Step::Wait { span }),
    ]
}

/// Runs one step; what it posted, or why not.
///
/// Whoever asks, asks by its key of now when its number is even: else old keys would stop every schedule.
fn run(ledger: &mut Ledger, now: &mut Timestamp, step: &Step) -> Result<Vec<Posting>, Refusal> {
    let list = |postings: Postings| postings.as_slice().to_vec();
    let terms = |(fee, reserve)| Terms { fee: units(fee), reserve: units(reserve) };
    let books = ledger.clone();
    let asks = |who: usize| match who % 2 {
        0 => books.current_key(entity(who)),
        _ => entity(who),
    };
    // The schedule does not know the parties of a hold: half of the time, by who may, signed by who must.
    let parties = |number, signer: usize, by: usize| {
        let known = books.hold(hold_id(number)).filter(|_| signer.is_multiple_of(2));
        let right = (0..KEYS).find(|who| known.is_some_and(|hold| entity(*who) == hold.payer));
        let by = known.map_or(asks(by), |hold| books.current_key(hold.payee));
        (key(right.unwrap_or(signer)), by)
    };
    match *step {
        Step::Mint { to, amount } => {
            ledger.mint(entity(to), units(amount)).map(|done| list(done.postings))
        }
        Step::Redeem { from, amount } => {
            ledger.redeem(asks(from), units(amount)).map(|done| list(done.postings))
        }
        Step::Transfer { from, to, amount, terms: asked } => ledger
            .transfer(asks(from), entity(to), units(amount), terms(asked))
            .map(|done| list(done.postings)),
        Step::Linked { ref legs, terms: asked } => {
            let leg = |(from, to, amount): &(usize, usize, u64)| {
                let (from, to, amount) = (asks(*from), entity(*to), units(*amount));
                Leg { from, to, amount, terms: terms(asked) }
            };
            let legs: Vec<Leg> = legs.iter().map(leg).collect();
            ledger.transfer_linked(&legs).map_err(|refused| refused.refusal)?;
            Ok(legs.iter().flat_map(|leg| list(ledger.postings(leg))).collect())
        }
        Step::Open { number, payer, payee, amount, span } => {
            let (id, expires) = (hold_id(number), now.after(Duration::from_milliseconds(span)));
            let (payer, payee, amount) = (asks(payer), entity(payee), units(amount));
            ledger
                .hold_open(id, payer, payee, amount, Digest::ZERO, expires, *now)
                .map(|done| list(done.postings))
        }
        Step::Post { number, by, signer, cumulative } => {
            let (signer, by) = parties(number, signer, by);
            let signed = voucher(number, cumulative).sign(&signer);
            ledger.hold_post(*now, by, &signed, Amount::ZERO).map(|done| list(done.postings))
        }
        Step::Word { number, signer, base, index } => {
            let (signer, by) = parties(number, signer, BOB);
            let (hold, base, unit) = (hold_id(number), units(base), units(7));
            let chain = PayWordChain::new(&signer, currency(), hold, base, unit, 5).unwrap();
            let word = chain.word(index).unwrap_or(PayWord { index, word: Digest::ZERO });
            let signed = chain.anchor().sign(&signer);
            ledger
                .hold_post_word(*now, by, &signed, &word, Amount::ZERO)
                .map(|done| list(done.postings))
        }
        Step::Void { number, by } => {
            let (_, by) = parties(number, by, by);
            ledger.hold_void(by, hold_id(number)).map(|done| list(done.postings))
        }
        Step::Accept { holder, balance_max } => {
            ledger.accept(asks(holder), units(balance_max)).map(|()| Vec::new())
        }
        Step::AcceptAhead { holder, balance_max } => {
            ledger.accept_ahead(asks(holder), units(balance_max), *now).map(|_| Vec::new())
        }
        Step::Close { holder, forfeit_max } => {
            ledger.close(asks(holder), units(forfeit_max)).map(|done| list(done.postings))
        }
        Step::Rotate { old, new } => {
            ledger.rotate(asks(old), entity(new)).map(|done| list(done.postings))
        }
        Step::Wait { span } => {
            *now = now.after(Duration::from_milliseconds(span));
            let expired = ledger.expire(*now)?;
            Ok(expired.into_iter().flat_map(|each| list(each.postings)).collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Money is conserved, a refusal changes nothing, a hold pays at most once.
    ///
    /// The oracle shares nothing with the ledger: it adds up the postings of all steps, side by side, and
    /// knows neither accounts nor holds. Compared after every step.
    #[test]
    fn any_schedule_keeps_the_promises(schedule in vec(steps(), 0..80)) {
        let mut ledger = Ledger::new(currency(), 7);
        let mut now = NOW;
        let mut sides: BTreeMap<Side, i128> = BTreeMap::new();
        let mut emptied: BTreeSet<HoldId> = BTreeSet::new();
        for step in &schedule {
            let before = ledger.clone();
            match run(&mut ledger, &mut now, step) {
                Err(refusal) => {
                    prop_assert_eq!(&ledger, &before, "{} changed the ledger", refusal);
                    prop_assert_eq!(bytes(&ledger), bytes(&before));
                }
                Ok(postings) => {
                    let mut left = BTreeSet::new();
                    for Posting { debit, credit, amount } in postings {
                        prop_assert!(!amount.is_zero());
                        *sides.entry(debit).or_default() -= i128::from(amount.get());
                        *sides.entry(credit).or_default() += i128::from(amount.get());
                        if let Side::Held { hold } = debit {
                            left.insert(hold);
                        }
                    }
                    prop_assert!(emptied.is_disjoint(&left), "a hold paid twice");
                    emptied.append(&mut left);
                }
            }
            prop_assert_eq!(ledger.check(), Ok(()));
            let side = |side| sides.get(&side).copied().unwrap_or(0);
            prop_assert_eq!(sides.values().sum::<i128>(), 0);
            prop_assert_eq!(side(Side::Liability), -i128::from(ledger.supply().get()));
            let books: BTreeMap<_, _> = ledger.books().collect();
            prop_assert_eq!(books.len() as u64, ledger.accounts());
            for who in 0..KEYS {
                let entity = entity(who);
                let available = books.get(&entity).map_or(Amount::ZERO, |account| account.available);
                prop_assert_eq!(side(Side::Available { entity }), i128::from(available.get()));
            }
            for (id, hold) in ledger.holds() {
                let held = if hold.state == HoldState::Open { hold.amount_max } else { Amount::ZERO };
                prop_assert_eq!(side(Side::Held { hold: id }), i128::from(held.get()));
            }
        }
    }

    /// The same steps give the same books, whatever was refused between them, and whatever the seed.
    #[test]
    fn refused_steps_leave_no_trace(schedule in vec(steps(), 0..60), seed: u64) {
        let (mut all, mut now) = (Ledger::new(currency(), 7), NOW);
        let (mut accepted, mut then) = (Ledger::new(currency(), seed), NOW);
        for step in &schedule {
            if run(&mut all, &mut now, step).is_ok() {
                prop_assert!(run(&mut accepted, &mut then, step).is_ok());
            }
        }
        prop_assert_eq!(bytes(&all), bytes(&accepted));
        prop_assert_eq!(all, accepted);
    }

    /// A ledger that was saved goes on as if it had not been; what is altered or cut off is refused.
    #[test]
    fn a_snapshot_is_the_ledger(
        schedule in vec(steps(), 0..60),
        after in vec(steps(), 0..20),
        seed: u64,
        place: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        let (mut ledger, mut now) = (Ledger::new(currency(), 7), NOW);
        for step in &schedule {
            let _ = run(&mut ledger, &mut now, step);
        }
        let saved = bytes(&ledger);
        let mut input = Reader::new(&saved);
        let mut back = Ledger::decode(&mut input, seed).unwrap();
        prop_assert_eq!(input.left(), 0);
        prop_assert_eq!(&back, &ledger);
        let mut then = now;
        for step in &after {
            prop_assert_eq!(run(&mut back, &mut then, step), run(&mut ledger, &mut now, step));
        }
        prop_assert_eq!(&back, &ledger);

        let at = place.index(saved.len());
        prop_assert!(Ledger::decode(&mut Reader::new(&saved[..at]), seed).is_err());
        let mut altered = saved;
        altered[at] ^= 1 << bit;
        prop_assert!(Ledger::decode(&mut Reader::new(&altered), seed).is_err());
    }
}

/// The schedules are worth running: holds end in each of their ways, a second post is tried on those that ended, and
/// accounts open, close, open again and change their keys, some of them within a chain that is undone.
#[test]
fn the_schedules_reach_every_end() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let reached = std::cell::RefCell::new(BTreeMap::<&str, u32>::new());
    let run_all = |schedule: Vec<Step>| {
        let (mut ledger, mut now) = (Ledger::new(currency(), 7), NOW);
        let mut closed = BTreeSet::new();
        for step in &schedule {
            let count = |what| *reached.borrow_mut().entry(what).or_default() += 1;
            let before = ledger.clone();
            let done = run(&mut ledger, &mut now, step);
            match (step, &done) {
                (_, Err(Refusal::HoldClosed { state: HoldState::Posted { .. }, .. })) => {
                    count("posted twice");
                }
                (_, Err(Refusal::OverLimit { .. })) => count("over a limit"),
                (_, Err(Refusal::UnderReserve { .. })) => count("under the reserve"),
                (_, Err(Refusal::KeyRotated { .. })) => count("asked by an old key"),
                (Step::Close { holder, .. }, Ok(_)) => {
                    closed.insert(ledger.current_key(entity(*holder)));
                    count("closed");
                }
                (Step::Rotate { old, .. }, Ok(_)) => {
                    count("rotated");
                    if ledger.account(entity(*old)).held > Amount::ZERO {
                        count("rotated with holds");
                    }
                }
                (Step::Word { .. }, Ok(_)) => count("posted by word"),
                (Step::Post { .. }, Ok(_)) => count("posted by voucher"),
                (Step::Linked { legs, .. }, Ok(_)) if legs.len() > 1 => count("linked"),
                (Step::Linked { legs, .. }, Err(_)) => {
                    let mut alone = before.clone();
                    let first =
                        Step::Linked { legs: legs[..legs.len().min(1)].to_vec(), terms: (0, 0) };
                    if run(&mut alone, &mut now, &first).is_ok()
                        && alone.accounts() > before.accounts()
                    {
                        count("undone with a new account");
                    }
                }
                _ => {}
            }
            if closed.iter().any(|key| ledger.books().any(|(holder, _)| holder == *key)) {
                closed.retain(|key| !ledger.books().any(|(holder, _)| holder == *key));
                count("opened again");
            }
        }
        for (_, hold) in ledger.holds() {
            let what = match hold.state {
                HoldState::Open => "open",
                HoldState::Posted { .. } => "posted",
                HoldState::Voided => "voided",
                HoldState::Expired => "expired",
            };
            *reached.borrow_mut().entry(what).or_default() += 1;
        }
        Ok(())
    };
    let outcome = TestRunner::new_with_rng(config, rng).run(&vec(steps(), 60..80), run_all);
    assert!(outcome.is_ok(), "{outcome:?}");
    let reached = reached.borrow();
    assert!(reached.len() == 16 && reached.values().all(|count| *count >= 5), "{reached:?}");
}
