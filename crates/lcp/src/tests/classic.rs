//! The dialect of 2003: a table for each repair, and all of them together under any schedule.

use super::{ALICE, BOB, CAROL, ISSUER, LATER, NOW, currency, entity, id, issuer_of, mint, units};
use crate::{
    classic::{Answer, Ask, AskBody, Fault},
    *,
};
use fondaco_codec::{Decode, Encode, List, Text};
use fondaco_ledger as ledger;
use fondaco_units::{Amount, Duration};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

fn query(counter: u32) -> Ask {
    Ask { counter, body: AskBody::Query }
}

fn transfer(counter: u32, to: usize, amount: u64) -> Ask {
    let order = Text::cut("bob1234567890");
    Ask { counter, body: AskBody::Transfer { to: entity(to), amount: units(amount), order } }
}

fn paid(fee: u64, balance: u64) -> Answer {
    Answer::Paid { fee: units(fee), balance: units(balance) }
}

fn fault(fault: Fault) -> Answer {
    Answer::Fault { fault }
}

/// Alice has 1000, of which no notice is told yet.
fn issuer() -> Issuer {
    let mut issuer = issuer_of(currency(5));
    let _ = issuer.handle(NOW, entity(ISSUER), &mint(1, ALICE, 1000));
    issuer
}

fn ask(issuer: &mut Issuer, connection: u64, ask: &Ask) -> Answer {
    issuer.handle_classic(NOW, entity(ALICE), connection, Amount::ZERO, ask).answer
}

fn told(answer: &Answer) -> Vec<u64> {
    let Answer::Told { deposits, .. } = answer else { panic!("{answer:?}") };
    deposits.as_slice().iter().map(|deposit| deposit.number).collect()
}

/// Repair 1: a notice is told until its holder speaks again.
#[test]
fn notices_go_with_the_next_message() {
    for next in [query(1), transfer(1, BOB, 1), transfer(1, BOB, 9999)] {
        let mut issuer = issuer();
        let first = ask(&mut issuer, 1, &query(0));
        assert_eq!(told(&first), [1]);
        let _ = issuer.handle(NOW, entity(ISSUER), &mint(2, ALICE, 7));
        assert_eq!(ask(&mut issuer, 1, &query(0)), first, "not a bit of it changes");
        assert!(issuer.deposits_wait(entity(ALICE), 0));
        let _ = ask(&mut issuer, 1, &next);
        let left = issuer.handle(
            NOW,
            entity(ALICE),
            &Request::Deposits { after: 0, wait: Duration::ZERO },
        );
        let Response::Deposits { list, more: false } = left.response else { panic!("{left:?}") };
        assert!(list.as_slice().iter().map(|deposit| deposit.number).eq([2]), "{next:?}");
    }
    // What is wrong in its counter or connection forgets nothing.
    let mut issuer = issuer();
    assert_eq!(told(&ask(&mut issuer, 5, &query(7))), [1]);
    for wrong in [(4, query(8)), (5, transfer(7, BOB, 1)), (5, query(6))] {
        assert!(matches!(ask(&mut issuer, wrong.0, &wrong.1), Answer::Fault { .. }));
        assert!(issuer.deposits_wait(entity(ALICE), 0));
    }
}

/// Repairs 2 and 5: the first answer is the answer, a fault too.
#[test]
fn a_duplicate_has_the_first_answer() {
    let short = ledger::Refusal::InsufficientFunds { available: units(1000), wanted: units(1001) };
    let refused = fault(Fault::Refused { refusal: short.into() });
    for (counter, amount, expected) in [(0, 10, paid(5, 985)), (3, 996, refused)] {
        let mut issuer = issuer();
        let message = transfer(counter, BOB, amount);
        let first = issuer.handle_classic(NOW, entity(ALICE), 1, Amount::ZERO, &message);
        assert_eq!(first.answer, expected);
        assert!(first.record.is_some(), "a fault consumes its counter, and is recorded");
        let _ = issuer.handle(NOW, entity(ISSUER), &mint(2, ALICE, 500));
        let before = issuer.clone();
        let again = issuer.handle_classic(LATER, entity(ALICE), 2, units(9), &message);
        assert_eq!(again, HandledClassic { answer: expected, record: None });
        let other = ask(&mut issuer, 2, &transfer(counter, CAROL, amount));
        assert_eq!(other, fault(Fault::OtherContent { counter }));
        assert!(issuer == before);
    }
}

/// Repair 3: a newer connection shuts out the older ones.
#[test]
fn a_newer_connection_fences() {
    let mut issuer = issuer();
    let first = transfer(0, BOB, 10);
    assert_eq!(ask(&mut issuer, 8, &first), paid(5, 985), "retried on a new connection");
    assert_eq!(ask(&mut issuer, 8, &transfer(1, BOB, 20)), paid(5, 960));
    // The first try, which lingered, would run again: its bit is the other one.
    let late = issuer.handle_classic(NOW, entity(ALICE), 7, Amount::ZERO, &first);
    assert_eq!(late, HandledClassic { answer: fault(Fault::Fenced), record: None });
    assert_eq!(ask(&mut issuer, 8, &transfer(0, BOB, 30)), paid(5, 925));
    // Others have fences of their own.
    let bob = issuer.handle_classic(NOW, entity(BOB), 1, Amount::ZERO, &query(0));
    assert_eq!(told(&bob.answer), [1, 2, 3]);
}

/// A message may linger on the newest connection while an older one goes on: its bit would fit again.
#[test]
fn a_connection_is_fenced_by_older_ones_too() {
    let mut issuer = issuer();
    issuer.accepted_classic(8);
    let first = transfer(0, BOB, 10);
    assert_eq!(ask(&mut issuer, 7, &first), paid(5, 985), "sent on 8 too, where it lingers");
    assert_eq!(ask(&mut issuer, 7, &transfer(1, BOB, 20)), paid(5, 960));
    assert!(!issuer.classic_waits(entity(ALICE), 8, &query(0)));
    assert_eq!(ask(&mut issuer, 8, &first), fault(Fault::Fenced), "and comes too late");
    assert_eq!(ask(&mut issuer, 7, &transfer(0, BOB, 30)), paid(5, 925), "the last goes on");
    assert_eq!(ask(&mut issuer, 9, &transfer(1, BOB, 20)), paid(5, 900), "and a new one may");
    assert_eq!(ask(&mut issuer, 7, &transfer(0, BOB, 30)), fault(Fault::Fenced));
}

#[test]
fn counters_are_a_bit_or_a_number() {
    let stale = |last| fault(Fault::StaleCounter { last });
    let table: [(&[u32], u32, Option<Answer>); 10] = [
        (&[0], 1, None),
        (&[1], 0, None),
        (&[0, 1], 0, None),
        (&[1], 2, None),
        (&[0], 3398, None),
        (&[3398], 3399, None),
        (&[3398], 5000, None),
        (&[3398], 3397, Some(stale(3398))),
        // A late message could bear the bit.
        (&[1, 2], 0, Some(stale(2))),
        (&[u32::MAX], 1, Some(stale(u32::MAX))),
    ];
    for (before, counter, wrong) in table {
        let mut issuer = issuer();
        for counter in before {
            assert!(matches!(ask(&mut issuer, 1, &query(*counter)), Answer::Told { .. }));
        }
        let message = transfer(counter, BOB, 1);
        let handled = issuer.handle_classic(NOW, entity(ALICE), 1, Amount::ZERO, &message);
        assert_eq!(handled.record.is_some(), wrong.is_none());
        assert_eq!(handled.answer, wrong.unwrap_or(paid(5, 994)), "{before:?}, then {counter}");
    }
}

#[test]
fn the_surcharge_is_taken_once_and_never_for_nothing() {
    let mut issuer = issuer();
    let alice = entity(ALICE);
    let mut ask =
        |ask: &Ask, surcharge| issuer.handle_classic(NOW, alice, 1, units(surcharge), ask).answer;
    let fee_of = |answer: &Answer| match answer {
        Answer::Told { fee, balance, .. } | Answer::Paid { fee, balance } => {
            (fee.get(), balance.get())
        }
        Answer::Fault { fault } => panic!("{fault}"),
    };
    assert_eq!(fee_of(&ask(&query(0), 2)), (2, 998));
    assert_eq!(fee_of(&ask(&query(0), 2)), (2, 998), "again is free");
    assert_eq!(fee_of(&ask(&query(1), 2)), (0, 998), "nothing to tell");
    assert_eq!(fee_of(&ask(&transfer(0, BOB, 90), 3)), (8, 900));
    // Who is short is told all the same.
    let bob = issuer.handle_classic(NOW, entity(BOB), 1, units(91), &query(0)).answer;
    assert_eq!((told(&bob), fee_of(&bob)), (vec![1], (0, 90)));
    let bank = issuer.handle_classic(NOW, entity(ISSUER), 1, units(5), &transfer(0, BOB, 1)).answer;
    assert_eq!(fee_of(&bank), (0, 9), "the issuer's own are free");
    assert_eq!(issuer.ledger().account(entity(ISSUER)).available, units(9));
    let most = issuer.handle_classic(NOW, alice, 1, Amount::MAX, &transfer(1, BOB, 1)).answer;
    let short = ledger::Refusal::InsufficientFunds { available: units(900), wanted: Amount::MAX };
    assert_eq!(most, fault(Fault::Refused { refusal: short.into() }));
    assert_eq!(issuer.check(), Ok(()));
}

/// A closed account leaves a tombstone: its counter, and the last answer under it, are kept, also by a snapshot, and when
/// the account is opened again.
#[test]
fn a_counter_outlives_its_account() {
    let mut issuer = issuer();
    let (alice, last) = (entity(ALICE), transfer(7, BOB, 10));
    let first = ask(&mut issuer, 1, &last);
    assert_eq!(first, paid(5, 985));
    let close = Request::Close { id: id(9), forfeit_max: units(985) };
    let closed = issuer.handle(NOW, alice, &close).response;
    assert_eq!(closed, Response::Closed { forfeited: units(985) });
    let none = ledger::Refusal::UnknownAccount { holder: alice };
    let limit = Request::Accept { id: id(10), balance_max: units(1) };
    let answer = issuer.handle(NOW, alice, &limit).response;
    assert_eq!(answer, Response::Refused { refusal: none.into() }, "it is gone");

    let mut again = issuer.clone();
    let _ = again.handle(NOW, entity(ISSUER), &mint(3, ALICE, 500));
    for issuer in [issuer, again] {
        let restored = Issuer::restore(3, ANSWERS_BYTES_MAX, &issuer.snapshot()).unwrap();
        assert!(restored == issuer);
        for mut issuer in [issuer, restored] {
            let money = issuer.ledger().account(alice).available;
            assert_eq!(ask(&mut issuer, 2, &last), first, "the first answer again");
            let other = fault(Fault::OtherContent { counter: 7 });
            assert_eq!(ask(&mut issuer, 2, &transfer(7, BOB, 11)), other);
            for stale in [0, 1, 6] {
                let wrong = fault(Fault::StaleCounter { last: 7 });
                assert_eq!(ask(&mut issuer, 2, &transfer(stale, BOB, 10)), wrong);
            }
            assert_eq!(issuer.ledger().account(alice).available, money, "nothing is done twice");
        }
    }
}

/// The two dialects acknowledge the same notices; an answer of the one outlives the other's word.
#[test]
fn lcp_2_does_not_change_an_answer_of_2003() {
    let mut issuer = issuer();
    let first = ask(&mut issuer, 1, &query(0));
    let ack = Request::AckDeposits { id: id(9), through: 1 };
    assert_eq!(issuer.handle(NOW, entity(ALICE), &ack).response, Response::Acked);
    assert!(!issuer.deposits_wait(entity(ALICE), 0));
    assert_eq!(ask(&mut issuer, 1, &query(0)), first);
    let restored = Issuer::restore(3, ANSWERS_BYTES_MAX, &issuer.snapshot()).unwrap();
    assert!(restored == issuer);
    let mut restored = restored;
    assert_eq!(ask(&mut restored, 1, &query(0)), first);
}

#[test]
fn a_query_with_nothing_to_tell_can_be_parked() {
    let mut issuer = issuer();
    let alice = entity(ALICE);
    assert!(!issuer.classic_waits(alice, 1, &query(0)), "a notice waits");
    let _ = ask(&mut issuer, 2, &query(0));
    let table = [
        (alice, 2, query(1), true),
        (alice, 2, query(0), false),
        (alice, 1, query(1), false),
        (alice, 2, transfer(1, BOB, 1), false),
        (entity(CAROL), 9, query(4), true),
    ];
    for (who, connection, message, waits) in table {
        assert_eq!(issuer.classic_waits(who, connection, &message), waits, "{message:?}");
    }
    let _ = issuer.handle(NOW, entity(ISSUER), &mint(2, ALICE, 1));
    assert!(!issuer.classic_waits(alice, 2, &query(1)));
}

/// Pins the bytes of a message of 2003, of its answer and of its record, whose fields `docs/formats/lcp2.md` names.
#[test]
fn the_bytes_of_a_message() {
    let [bank, alice, bob] =
        [0x11, 0x22, 0x33].map(|byte| fondaco_crypto::EntityId::from_bytes([byte; 32]));
    let currency =
        Currency { id: fondaco_crypto::CurrencyId::issued_by(bank), ..super::currency(5) };
    let mut issuer = issuer_of(currency);
    let _ = issuer.handle(NOW, bank, &Request::Mint { id: id(1), to: alice, amount: units(1000) });
    let body = AskBody::Transfer { to: bob, amount: units(100), order: Text::cut("tea") };
    let ask = Ask { counter: 3398, body };
    let handled = issuer.handle_classic(NOW, alice, 1, units(2), &ask);
    assert_eq!(handled.answer.to_bytes()[..], [&[1, 7][..], &[0; 7], &[0x7d, 3], &[0; 6]].concat());
    let ask_hex = format!("460d000001{}640000000000000003000000746561", "33".repeat(32));
    assert_eq!(super::hex(&ask.to_bytes()), ask_hex);
    let expected = format!(
        "0203e42a94a4933dad4640420f0000000000{}0500000000000000{}0200000000000000{}{ask_hex}",
        "22".repeat(32),
        "00".repeat(8),
        "496e7fbdaf0ee5bd",
    );
    assert_eq!(super::hex(&handled.record.unwrap()), expected);
}

#[derive(Clone, Debug)]
enum Event {
    /// The client wants something, if it waits for nothing.
    Want(Want),
    /// It sends what it waits for, perhaps again.
    Send,
    /// Its connection breaks; what was sent on the old one may still arrive.
    Reconnect,
    /// The next message of one of the connections arrives; the issuer may crash before it has saved.
    Arrive { pick: usize, crash: bool },
    /// An answer arrives.
    Answer { pick: usize },
    /// Somebody pays the client.
    Pay { amount: u64 },
    /// The issuer starts anew, from its journal or from a snapshot and the rest of it.
    Restart { from: Option<usize> },
    /// The client acknowledges in LCP/2 what it has been told.
    Ack,
}

#[derive(Clone, Copy, Debug)]
enum Want {
    Transfer { amount: u64 },
    Query,
}

/// A fault of the program, put in to see that the schedules catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    NoFence,
    /// As the draft has it: a repeated query is told what is left, after what was told before was deleted.
    ForgetsAnswers,
}

fn events() -> impl Strategy<Value = Event> {
    let crash = prop::bool::weighted(0.1);
    prop_oneof![
        4 => (0..150_u64).prop_map(|amount| Event::Want(Want::Transfer { amount })),
        3 => Just(Event::Want(Want::Query)),
        8 => Just(Event::Send),
        3 => Just(Event::Reconnect),
        12 => (any::<usize>(), crash).prop_map(|(pick, crash)| Event::Arrive { pick, crash }),
        7 => any::<usize>().prop_map(|pick| Event::Answer { pick }),
        3 => (1..90_u64).prop_map(|amount| Event::Pay { amount }),
        1 => proptest::option::of(any::<usize>()).prop_map(|from| Event::Restart { from }),
        1 => Just(Event::Ack),
    ]
}

struct World {
    planted: Planted,
    issuer: Issuer,
    disk: Vec<Vec<u8>>,
    /// How many records each has behind it.
    snapshots: Vec<(usize, Vec<u8>)>,
    numbers: bool,
    connection: u64,
    counter: u32,
    sequence: u64,
    pending: Option<(u64, Ask)>,
    /// What was sent on each connection and has not arrived, in order.
    wires: Vec<(u64, std::collections::VecDeque<(u64, Ask)>)>,
    answers: Vec<(u64, u64, Vec<u8>)>,
    /// By pen and paper.
    balance: u64,
    paid_in: u64,
    seen: std::collections::BTreeSet<u64>,
}

const FEE: u64 = 3;

fn issuer_that(planted: Planted) -> Issuer {
    let mut issuer = issuer_of(currency(FEE));
    issuer.forgets_answers = planted == Planted::ForgetsAnswers;
    issuer
}

type Outcome = Result<(), TestCaseError>;

fn failed(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

impl World {
    fn new(planted: Planted, numbers: bool) -> Self {
        let (disk, snapshots, wires, answers, seen) = Default::default();
        let mut world = Self {
            planted,
            issuer: issuer_that(planted),
            disk,
            snapshots,
            numbers,
            connection: 1,
            counter: 1,
            sequence: 0,
            pending: None,
            wires,
            answers,
            balance: 0,
            paid_in: 0,
            seen,
        };
        world.pay(300);
        world
    }

    fn pay(&mut self, amount: u64) {
        self.paid_in += 1;
        self.balance += amount;
        let request = mint(u128::from(self.paid_in), ALICE, amount);
        let handled = self.issuer.handle(NOW, entity(ISSUER), &request);
        self.disk.extend(handled.record);
    }

    fn want(&mut self, want: Want) {
        if self.pending.is_some() {
            return;
        }
        self.counter = if self.numbers { self.counter + 1 } else { 1 - self.counter };
        self.sequence += 1;
        let ask = match want {
            Want::Transfer { amount } => transfer(self.counter, BOB, amount),
            Want::Query => query(self.counter),
        };
        self.pending = Some((self.sequence, ask));
    }

    fn send(&mut self) {
        let Some(pending) = &self.pending else { return };
        let connection = self.connection;
        match self.wires.last_mut() {
            Some((known, wire)) if *known == connection => wire.push_back(pending.clone()),
            _ => self.wires.push((connection, [pending.clone()].into())),
        }
    }

    fn arrive(&mut self, pick: usize, crash: bool) -> Outcome {
        self.wires.retain(|(_, wire)| !wire.is_empty());
        if self.wires.is_empty() {
            return Ok(());
        }
        let place = pick % self.wires.len();
        let (connection, wire) = &mut self.wires[place];
        let Some((sequence, ask)) = wire.pop_front() else { return Ok(()) };
        let fence = if self.planted == Planted::NoFence { u64::MAX } else { *connection };
        let connection = *connection;
        let alice = entity(ALICE);
        let handled = self.issuer.handle_classic(NOW, alice, fence, Amount::ZERO, &ask);
        if crash {
            return self.restart(None);
        }
        self.disk.extend(handled.record);
        self.answers.push((connection, sequence, handled.answer.to_bytes()));
        Ok(())
    }

    fn answer(&mut self, pick: usize) -> Outcome {
        if self.answers.is_empty() {
            return Ok(());
        }
        let (connection, sequence, bytes) = self.answers.swap_remove(pick % self.answers.len());
        let waits = self.pending.as_ref().is_some_and(|(known, _)| *known == sequence);
        if !waits || connection != self.connection {
            return Ok(());
        }
        let Some((_, ask)) = self.pending.take() else { return Ok(()) };
        match (Answer::from_bytes(&bytes).map_err(failed)?, ask.body) {
            (Answer::Paid { fee, .. }, AskBody::Transfer { amount, .. }) => {
                self.balance = (self.balance.checked_sub(amount.get() + fee.get()))
                    .ok_or_else(|| failed("it paid more than it has"))?;
            }
            (Answer::Told { deposits, .. }, AskBody::Query) => {
                self.seen.extend(deposits.as_slice().iter().map(|deposit| deposit.number));
            }
            (Answer::Fault { fault: Fault::Refused { .. } }, AskBody::Transfer { .. }) => {}
            (answer, body) => return Err(failed(format!("{body:?} was answered {answer:?}"))),
        }
        Ok(())
    }

    fn restart(&mut self, from: Option<usize>) -> Outcome {
        let snapshot = from.and_then(|pick| self.snapshots.get(pick % self.snapshots.len().max(1)));
        let (mut issuer, done) = match snapshot {
            Some((done, snapshot)) => {
                let restored = Issuer::restore(9, ANSWERS_BYTES_MAX, snapshot);
                let mut restored = restored.map_err(failed)?;
                restored.forgets_answers = self.planted == Planted::ForgetsAnswers;
                (restored, *done)
            }
            None => (issuer_that(self.planted), 0),
        };
        for record in &self.disk[done..] {
            issuer.replay(record).map_err(failed)?;
        }
        let mut whole = issuer_that(self.planted);
        for record in &self.disk {
            whole.replay(record).map_err(failed)?;
        }
        prop_assert!(whole == issuer, "the snapshot and the rest are not the whole");
        prop_assert_eq!(whole.snapshot(), issuer.snapshot());
        self.issuer = issuer;
        // Connections do not outlive the issuer; nor does what is on them.
        self.connection += 1;
        self.wires.clear();
        self.answers.clear();
        Ok(())
    }

    fn run(&mut self, event: &Event) -> Outcome {
        match *event {
            Event::Want(want) => self.want(want),
            Event::Send => self.send(),
            Event::Reconnect => self.connection += 1,
            Event::Arrive { pick, crash } => self.arrive(pick, crash)?,
            Event::Answer { pick } => self.answer(pick)?,
            Event::Pay { amount } => {
                self.pay(amount);
                self.snapshots.push((self.disk.len(), self.issuer.snapshot()));
            }
            Event::Restart { from } => self.restart(from)?,
            Event::Ack => {
                // It has these; those between may be on their way.
                let through = (1..).take_while(|number| self.seen.contains(number)).count() as u64;
                let ack =
                    Request::AckDeposits { id: id(1 << 50 | self.disk.len() as u128), through };
                self.disk.extend(self.issuer.handle(NOW, entity(ALICE), &ack).record);
            }
        }
        Ok(())
    }

    /// The wires are quiet, and nothing more is lost; late messages of broken connections still come.
    fn settle(&mut self) -> Outcome {
        for _ in 0..4 {
            self.want(Want::Query);
            while self.pending.is_some() {
                self.send();
                for place in (0..self.wires.len()).rev() {
                    self.arrive(place, false)?;
                }
                while !self.answers.is_empty() {
                    self.answer(0)?;
                }
            }
        }
        let account = self.issuer.ledger().account(entity(ALICE));
        prop_assert_eq!(account.available.get(), self.balance, "by pen and paper");
        prop_assert!(self.seen.iter().copied().eq(1..=self.paid_in), "a notice was lost");
        prop_assert_eq!(self.issuer.check(), Ok(()));
        Ok(())
    }
}

fn simulate(schedule: &[Event], numbers: bool, planted: Planted) -> Outcome {
    let mut world = World::new(planted, numbers);
    for event in schedule {
        world.run(event)?;
    }
    world.settle()?;
    world.restart(None)
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(256) })]

    #[test]
    fn messages_are_done_once_and_notices_told(schedule in vec(events(), 0..200), numbers: bool) {
        simulate(&schedule, numbers, Planted::Nothing)?;
    }
}

fn is_caught(planted: Planted, numbers: bool) -> bool {
    let config =
        Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(96) };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let found =
        runner.run(&vec(events(), 100..200), |schedule| simulate(&schedule, numbers, planted));
    matches!(found, Err(TestError::Fail(..)))
}

#[test]
fn canary_a_missing_fence_is_caught() {
    assert!(!is_caught(Planted::Nothing, false));
    assert!(is_caught(Planted::NoFence, false));
    // Numbers need none.
    assert!(!is_caught(Planted::NoFence, true));
}

#[test]
fn canary_a_duplicate_that_is_done_again_is_caught() {
    assert!(is_caught(Planted::ForgetsAnswers, false));
    // And by what was told and deleted: a query is answered, the answer is lost, and it is asked again.
    let (crash, pick) = (false, 0);
    let schedule = [
        Event::Want(Want::Query),
        Event::Send,
        Event::Arrive { pick, crash },
        Event::Reconnect,
        Event::Send,
        Event::Arrive { pick, crash },
    ];
    simulate(&schedule, false, Planted::Nothing).unwrap();
    let error = simulate(&schedule, false, Planted::ForgetsAnswers).unwrap_err().to_string();
    assert!(error.contains("a notice was lost"), "{error}");
}

#[test]
fn an_answer_has_all_that_is_told() {
    let mut issuer = issuer_of(currency(0));
    for number in 0..300 {
        let _ = issuer.handle(NOW, entity(ISSUER), &mint(number, ALICE, 1));
    }
    assert_eq!(told(&ask(&mut issuer, 1, &query(0))), Vec::from_iter(1..=256));
    assert_eq!(told(&ask(&mut issuer, 1, &query(1))), Vec::from_iter(257..=300));
    let empty =
        Answer::Told { deposits: List::new(vec![]).unwrap(), fee: units(0), balance: units(300) };
    assert_eq!(ask(&mut issuer, 1, &query(0)), empty);
}
