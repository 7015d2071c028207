//! Everything that can go wrong between holders and an issuer, at random: requests and answers lost, doubled and
//! reordered, either side crashing before or after it saved.
//!
//! The oracle knows nothing of the issuer's memory. It takes what the outboxes were told in the end, executes each
//! intent once, with pen and paper, and compares the balances and the notices: an intent that was executed twice,
//! or not at all and said to be, does not add up.

use super::{NOW, currency, entity, issuer_of, key};
use crate::*;
use fondaco_codec::{Encode, Text};
use fondaco_crypto::Digest;
use fondaco_ledger::{HoldId, Voucher};
use fondaco_units::{Amount, Duration, Timestamp};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use std::collections::BTreeMap;

const HOLDERS: usize = 4;
const FEE: u64 = 3;

#[derive(Clone, Debug)]
enum Intent {
    Transfer { to: usize, amount: u64, fee_max: u64 },
    Mint { to: usize, amount: u64 },
    Redeem { amount: u64 },
    Open { payee: usize, amount: u64, span: u64 },
    Post { hold: usize, cumulative: u64 },
    Void { hold: usize },
    Ack,
}

#[derive(Clone, Debug)]
enum Event {
    /// A holder wants something. It may crash before it has saved that.
    Prepare {
        who: usize,
        intent: Intent,
        crash: bool,
    },
    /// A holder sends one of its pending commands, perhaps for the tenth time.
    Send {
        who: usize,
        pick: usize,
    },
    /// A request on the wire arrives; `keep` leaves a copy to arrive again; the issuer may crash before it has saved.
    Arrive {
        pick: usize,
        keep: bool,
        crash: bool,
    },
    /// An answer on the wire arrives; the holder may crash before it has saved.
    Answer {
        pick: usize,
        keep: bool,
        crash: bool,
    },
    Lose {
        pick: usize,
    },
    IssuerCrashes,
    HolderCrashes {
        who: usize,
    },
    /// A holder reads its notices.
    Poll {
        who: usize,
    },
    Wait {
        span: u64,
        tick: bool,
    },
    /// The issuer's clock stands wrong for one request.
    ClockBack {
        span: u64,
    },
}

fn intents() -> impl Strategy<Value = Intent> {
    let (who, amount) = (0..HOLDERS, 0..120_u64);
    prop_oneof![
        6 => (who.clone(), amount.clone(), prop_oneof![4 => Just(FEE), 1 => Just(FEE - 1)])
            .prop_map(|(to, amount, fee_max)| Intent::Transfer { to, amount, fee_max }),
        3 => (who.clone(), amount.clone()).prop_map(|(to, amount)| Intent::Mint { to, amount }),
        1 => amount.clone().prop_map(|amount| Intent::Redeem { amount }),
        4 => (who, amount, 0..6000_u64)
            .prop_map(|(payee, amount, span)| Intent::Open { payee, amount, span }),
        4 => (any::<usize>(), 0..60_u64).prop_map(|(hold, cumulative)| Intent::Post { hold, cumulative }),
        2 => any::<usize>().prop_map(|hold| Intent::Void { hold }),
        1 => Just(Intent::Ack),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let (who, pick) = (0..HOLDERS, any::<usize>());
    let rare = || prop::bool::weighted(0.1);
    prop_oneof![
        8 => (who.clone(), intents(), rare())
            .prop_map(|(who, intent, crash)| Event::Prepare { who, intent, crash }),
        14 => (who.clone(), pick).prop_map(|(who, pick)| Event::Send { who, pick }),
        20 => (pick, prop::bool::weighted(0.3), rare())
            .prop_map(|(pick, keep, crash)| Event::Arrive { pick, keep, crash }),
        8 => (pick, any::<bool>(), rare())
            .prop_map(|(pick, keep, crash)| Event::Answer { pick, keep, crash }),
        2 => pick.prop_map(|pick| Event::Lose { pick }),
        1 => Just(Event::IssuerCrashes),
        1 => who.clone().prop_map(|who| Event::HolderCrashes { who }),
        2 => who.prop_map(|who| Event::Poll { who }),
        2 => (0..150_u64, any::<bool>()).prop_map(|(span, tick)| Event::Wait { span, tick }),
        1 => (0..300_u64).prop_map(|span| Event::ClockBack { span }),
    ]
}

struct Holder {
    outbox: Outbox,
    disk: Vec<Vec<u8>>,
    /// Notices that it saved.
    seen: Vec<Deposit>,
    drawn: u128,
}

struct World {
    now: Timestamp,
    issuer: Issuer,
    disk: Vec<Vec<u8>>,
    holders: Vec<Holder>,
    requests: Vec<(usize, Vec<u8>)>,
    answers: Vec<(usize, RequestId, Vec<u8>)>,
    holds: Vec<(usize, HoldId, usize)>,
}

fn outbox(who: usize) -> Outbox {
    Outbox::new(currency(FEE).id, entity(who))
}

type Outcome = Result<(), TestCaseError>;

impl World {
    fn new(forgets_answers: bool) -> Self {
        let mut issuer = issuer_of(currency(FEE));
        issuer.forgets_answers = forgets_answers;
        let holder =
            |who| Holder { outbox: outbox(who), disk: Vec::new(), seen: Vec::new(), drawn: 0 };
        let holders = (0..HOLDERS).map(holder).collect();
        let (disk, requests, answers, holds) = Default::default();
        let mut world = Self { now: NOW, issuer, disk, holders, requests, answers, holds };
        // Without money to begin with, hardly anything but refusals would be simulated.
        for to in 0..HOLDERS {
            let intent = Intent::Mint { to, amount: 500 };
            world.run(&Event::Prepare { who: 0, intent, crash: false }).expect("prepared");
            world.run(&Event::Send { who: 0, pick: 0 }).expect("sent");
            world.arrive(0, false, false).expect("minted");
            world.answer(0, false, false).expect("settled");
        }
        world
    }

    fn restart_issuer(&mut self) -> Outcome {
        // The fee of today is not the fee of then: a replay must not look at it.
        let mut issuer = issuer_of(currency(FEE + 40));
        issuer.forgets_answers = self.issuer.forgets_answers;
        for record in &self.disk {
            prop_assert!(record.len() <= RECORD_BYTES_MAX);
            issuer.replay(record).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
        self.issuer = super::with_fee(issuer, FEE);
        Ok(())
    }

    fn restart_holder(&mut self, who: usize) -> Outcome {
        let mut outbox = outbox(who);
        for record in &self.holders[who].disk {
            prop_assert!(record.len() <= RECORD_BYTES_MAX);
            outbox.replay(record).map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
        self.holders[who].outbox = outbox;
        Ok(())
    }

    fn request(&mut self, who: usize, intent: &Intent) -> Option<Request> {
        let holder = &mut self.holders[who];
        // Ids of different holders meet on purpose: they are counted for each holder.
        holder.drawn += 1;
        let id = RequestId::new(holder.drawn);
        let hold_at =
            |pick: usize| (!self.holds.is_empty()).then(|| self.holds[pick % self.holds.len()]);
        Some(match *intent {
            Intent::Transfer { to, amount, fee_max } => Request::Transfer {
                id,
                to: entity(to),
                amount: Amount::new(amount),
                fee_max: Amount::new(fee_max),
                order: Text::cut("an order"),
            },
            Intent::Mint { to, amount } => {
                Request::Mint { id, to: entity(to), amount: Amount::new(amount) }
            }
            Intent::Redeem { amount } => Request::Redeem { id, amount: Amount::new(amount) },
            Intent::Open { payee, amount, span } => {
                let hold = HoldId::derive(currency(FEE).id, entity(who), id.get());
                self.holds.push((who, hold, payee));
                Request::HoldOpen {
                    id,
                    payee: entity(payee),
                    amount_max: Amount::new(amount),
                    order: Digest::of(b"order"),
                    expires: self.now.after(Duration::from_milliseconds(span)),
                    open_by: self.now.after(Duration::from_milliseconds(span)),
                }
            }
            Intent::Post { hold, cumulative } => {
                let (payer, hold, _) = hold_at(hold)?;
                let voucher = Voucher {
                    currency: currency(FEE).id,
                    hold,
                    cumulative: Amount::new(cumulative),
                };
                Request::HoldPost { id, voucher: voucher.sign(&key(payer)) }
            }
            Intent::Void { hold } => Request::HoldVoid { id, hold: hold_at(hold)?.1 },
            Intent::Ack => Request::AckDeposits {
                id,
                through: holder.seen.last().map_or(0, |deposit| deposit.number),
            },
        })
    }

    fn run(&mut self, event: &Event) -> Outcome {
        match *event {
            Event::Prepare { who, ref intent, crash } => {
                // Posts and voids are mostly asked by who may.
                let who = match intent {
                    Intent::Post { hold, .. } | Intent::Void { hold }
                        if hold % 8 != 0 && !self.holds.is_empty() =>
                    {
                        self.holds[hold % self.holds.len()].2
                    }
                    Intent::Mint { .. } | Intent::Redeem { .. } if who != 1 => 0,
                    _ => who,
                };
                let Some(request) = self.request(who, intent) else { return Ok(()) };
                let record = self.holders[who].outbox.prepare(request);
                let record = record.map_err(|error| TestCaseError::fail(error.to_string()))?;
                if crash {
                    return self.restart_holder(who);
                }
                self.holders[who].disk.push(record);
            }
            Event::Send { who, pick } => {
                let pending: Vec<_> = self.holders[who].outbox.pending().collect();
                if !pending.is_empty() {
                    let (_, request) = pending[pick % pending.len()];
                    self.requests.push((who, request.to_frame()));
                }
            }
            Event::Arrive { pick, keep, crash } => return self.arrive(pick, keep, crash),
            Event::Answer { pick, keep, crash } => return self.answer(pick, keep, crash),
            Event::Lose { pick } => {
                if !self.requests.is_empty() {
                    self.requests.swap_remove(pick % self.requests.len());
                }
            }
            Event::IssuerCrashes => {
                let before = self.issuer.clone();
                self.restart_issuer()?;
                prop_assert!(before == self.issuer, "the replayed issuer is another one");
            }
            Event::HolderCrashes { who } => {
                let before = self.holders[who].outbox.clone();
                self.restart_holder(who)?;
                prop_assert_eq!(&before, &self.holders[who].outbox);
            }
            Event::Poll { who } => while self.poll(who)? {},
            Event::Wait { span, tick } => {
                self.now = self.now.after(Duration::from_milliseconds(span));
                if tick {
                    self.disk.extend(self.issuer.tick(self.now));
                }
            }
            Event::ClockBack { span } => {
                let now = Timestamp::from_milliseconds(self.now.milliseconds() - span);
                let right = std::mem::replace(&mut self.now, now);
                self.arrive(0, true, false)?;
                self.now = right;
            }
        }
        Ok(())
    }

    fn arrive(&mut self, pick: usize, keep: bool, crash: bool) -> Outcome {
        if self.requests.is_empty() {
            return Ok(());
        }
        let place = pick % self.requests.len();
        let (who, frame) = match keep {
            true => self.requests[place].clone(),
            false => self.requests.swap_remove(place),
        };
        let request = Request::from_frame(&frame).expect("it was written here");
        let last = self.issuer.last();
        let handled = self.issuer.handle(self.now, entity(who), &request);
        prop_assert!(self.issuer.last() >= last);
        if crash {
            // Applied, perhaps, but neither saved nor answered.
            return self.restart_issuer();
        }
        self.disk.extend(handled.record);
        let id = request.id().expect("only commands are sent here");
        self.answers.push((who, id, handled.response.to_frame()));
        Ok(())
    }

    fn answer(&mut self, pick: usize, keep: bool, crash: bool) -> Outcome {
        if self.answers.is_empty() {
            return Ok(());
        }
        let place = pick % self.answers.len();
        let (who, id, frame) = match keep {
            true => self.answers[place].clone(),
            false => self.answers.swap_remove(place),
        };
        let response = Response::from_frame(&frame).expect("it was written here");
        let record = self.holders[who].outbox.settle(id, &response);
        let record = record.map_err(|error| TestCaseError::fail(error.to_string()))?;
        if crash {
            return self.restart_holder(who);
        }
        self.holders[who].disk.push(record);
        Ok(())
    }

    /// Reads one page of notices; whether there are more.
    fn poll(&mut self, who: usize) -> Result<bool, TestCaseError> {
        let after = self.holders[who].seen.last().map_or(0, |deposit| deposit.number);
        let handled = self.issuer.handle(
            self.now,
            entity(who),
            &Request::Deposits { after, wait: Duration::ZERO },
        );
        prop_assert!(handled.record.is_none());
        let Response::Deposits { list, more } = handled.response else {
            return Err(TestCaseError::fail("no deposits"));
        };
        self.holders[who].seen.extend(list.into_vec());
        Ok(more)
    }

    /// Lets every holder learn every outcome, and every hold end; then adds up.
    fn settle_all(&mut self) -> Outcome {
        for who in 0..HOLDERS {
            self.restart_holder(who)?;
            let pending: Vec<Request> =
                self.holders[who].outbox.pending().map(|(_, request)| request.clone()).collect();
            for request in pending {
                self.requests = vec![(who, request.to_frame())];
                self.answers.clear();
                self.arrive(0, false, false)?;
                self.answer(0, false, false)?;
            }
            prop_assert_eq!(self.holders[who].outbox.pending().count(), 0);
        }
        self.now = self.now.after(Duration::from_seconds(86_400));
        while let Some(record) = self.issuer.tick(self.now) {
            self.disk.push(record);
        }
        for who in 0..HOLDERS {
            while self.poll(who)? {}
        }
        self.add_up()
    }

    fn add_up(&self) -> Outcome {
        let mut balances = [0_i128; HOLDERS];
        let mut arrived = [0_i128; HOLDERS];
        let of = |amount: Amount| i128::from(amount.get());
        let place = |entity_id| (0..HOLDERS).find(|who| entity(*who) == entity_id).expect("known");
        let mut pay = |from: Option<usize>, to: Option<usize>, amount: Amount, fee: Amount| {
            if let Some(from) = from {
                balances[from] -= of(amount) + of(fee);
                balances[0] += of(fee);
            }
            if let Some(to) = to {
                balances[to] += of(amount);
                arrived[to] += of(amount);
            }
        };
        for (who, holder) in self.holders.iter().enumerate() {
            for number in 1..=holder.drawn {
                let id = RequestId::new(number);
                let Some(request) = holder.outbox.request(id) else { continue };
                match (request, holder.outbox.outcome(id)) {
                    (_, None) => return Err(TestCaseError::fail("an outcome is not known")),
                    (
                        Request::Transfer { to, amount, .. },
                        Some(Response::Transferred { fee, .. }),
                    ) => {
                        pay(Some(who), Some(place(*to)), *amount, *fee);
                    }
                    (Request::Mint { to, amount, .. }, Some(Response::Minted { .. })) => {
                        pay(None, Some(place(*to)), *amount, Amount::ZERO);
                    }
                    (Request::Redeem { amount, .. }, Some(Response::Redeemed { .. })) => {
                        pay(Some(who), None, *amount, Amount::ZERO);
                    }
                    (
                        Request::HoldPost { voucher, .. },
                        Some(Response::HoldPosted { paid, .. }),
                    ) => {
                        let known = self.holds.iter().find(|hold| hold.1 == voucher.voucher.hold);
                        let payer = known.expect("it was opened here").0;
                        pay(Some(payer), Some(who), *paid, Amount::ZERO);
                    }
                    // A hold that was opened and not posted is back with its payer by now.
                    (_, Some(_)) => {}
                }
            }
        }
        for who in 0..HOLDERS {
            let account = self.issuer.ledger().account(entity(who));
            prop_assert!(account.held.is_zero());
            prop_assert_eq!(
                of(account.available),
                balances[who],
                "holder {} by pen and paper",
                who
            );
            let seen = &self.holders[who].seen;
            prop_assert!(seen.iter().map(|deposit| deposit.number).eq(1..=seen.len() as u64));
            let noticed: i128 = seen.iter().map(|deposit| of(deposit.amount)).sum();
            prop_assert_eq!(noticed, arrived[who], "the notices of holder {}", who);
        }
        prop_assert_eq!(self.issuer.check(), Ok(()));
        Ok(())
    }
}

fn simulate(schedule: &[Event], forgets_answers: bool) -> Outcome {
    simulated(schedule, forgets_answers).map(drop)
}

fn simulated(schedule: &[Event], forgets_answers: bool) -> Result<World, TestCaseError> {
    let mut world = World::new(forgets_answers);
    for event in schedule {
        world.run(event)?;
        prop_assert_eq!(world.issuer.check(), Ok(()));
    }
    world.settle_all()?;
    let live = world.issuer.clone();
    world.restart_issuer()?;
    prop_assert!(live == world.issuer, "the replayed issuer is another one");
    Ok(world)
}

fn fixed_runner(cases: u32) -> TestRunner {
    let config =
        Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(cases) };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// The schedules are worth running: each command is executed in many of them, and refused in many.
#[test]
fn the_schedules_reach_every_outcome() {
    let reached = std::cell::RefCell::new(BTreeMap::<u8, (u32, u32)>::new());
    let outcome = fixed_runner(64).run(&vec(events(), 100..160), |schedule| {
        let world = simulated(&schedule, false)?;
        for holder in &world.holders {
            for number in 1..=holder.drawn {
                let id = RequestId::new(number);
                let Some(request) = holder.outbox.request(id) else { continue };
                let mut reached = reached.borrow_mut();
                let (done, refused) = reached.entry(request.to_bytes()[0]).or_default();
                match holder.outbox.outcome(id) {
                    Some(Response::Refused { .. }) => *refused += 1,
                    Some(_) => *done += 1,
                    None => {}
                }
            }
        }
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    let reached = reached.into_inner();
    assert!(reached.keys().copied().eq(16..=22), "{reached:?}");
    // Nobody acknowledges what it has not seen, so that alone is never refused.
    let enough =
        |(tag, counts): (&u8, &(u32, u32))| counts.0 >= 10 && (*tag == 22 || counts.1 >= 10);
    assert!(reached.iter().all(enough), "{reached:?}");
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(512) })]

    #[test]
    fn each_intent_is_executed_once_whatever_is_lost(schedule in vec(events(), 0..160)) {
        simulate(&schedule, false)?;
    }
}

/// The same schedules against an issuer that forgets whom it answered: the simulation must notice.
#[test]
fn canary_an_issuer_that_forgets_is_caught() {
    let found =
        fixed_runner(64).run(&vec(events(), 100..160), |schedule| simulate(&schedule, true));
    assert!(matches!(found, Err(TestError::Fail(..))), "{found:?}");

    // And by its money, not only by an answer that changed: one transfer, sent twice, answered once.
    let mint = Intent::Mint { to: 1, amount: 100 };
    let transfer = Intent::Transfer { to: 2, amount: 10, fee_max: FEE };
    let (send, arrive) =
        (|who| Event::Send { who, pick: 0 }, |keep| Event::Arrive { pick: 0, keep, crash: false });
    let answer = || Event::Answer { pick: 0, keep: false, crash: false };
    let schedule = [
        Event::Prepare { who: 0, intent: mint, crash: false },
        send(0),
        arrive(false),
        answer(),
        Event::Prepare { who: 1, intent: transfer, crash: false },
        send(1),
        arrive(true),
        arrive(false),
        answer(),
    ];
    simulate(&schedule, false).unwrap();
    let reason = simulate(&schedule, true).unwrap_err().to_string();
    assert!(reason.contains("by pen and paper"), "{reason}");
}
