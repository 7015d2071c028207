//! Renewals, leaving, losing, newcomers, and receipts of deletion.

use super::*;
use fondaco_contract::Side;

/// Terms that follow on those of `fair`, and what pays for them.
struct Next {
    terms: Terms,
    hold: HoldId,
}

impl Next {
    fn of(fair: &Fair, now: Timestamp) -> Self {
        let list = fair.host.prices_for(now, fair.peer());
        let old = fair.contract();
        let begins = old.terms.paid_until(old.tab.epochs_paid);
        let span = Duration::from_seconds(36_000);
        let terms = Terms::new(fair.peer(), &list, Bytes::new(1 << 20), begins, span, 8)
            .renewing(fair.id());
        Self { terms, hold: HoldId::derive(config().currency, fair.peer(), 2) }
    }

    /// The account that a renewal begins with, when `stored` bytes are taken over.
    fn tab(&self, stored: u64) -> Tab {
        let store = Charge::Store { bytes: Bytes::new(stored), epochs: 1 };
        Tab::default().after(&self.terms, Charge::Open).unwrap().after(&self.terms, store).unwrap()
    }

    fn ask(&self, fair: &mut Fair, now: Timestamp, cumulative: Amount) -> Answer {
        let currency = self.terms.prices.currency;
        let voucher = Voucher { currency, hold: self.hold, cumulative }.sign(&fair.buyer);
        let signature = self.terms.sign_as_buyer(&fair.buyer);
        let hold = Hold {
            order: *self.terms.id().digest(),
            expires: self.terms.ends.after(Duration::from_seconds(86_400)),
            ..fair.issuer_says()
        };
        let peer = fair.peer();
        fair.host.renew_finish(now, peer, &self.terms, &signature, &voucher, Some(&hold))
    }
}

#[test]
fn a_renewal_takes_the_shards_over() {
    let mut fair = Fair::stocked();
    let mark = |fair: &Fair, sequence, name| {
        let (contract, hold, size) = (fair.id(), fair.hold, Bytes::new(40_000));
        let shard = shard(name);
        Mark { contract, hold, hold_max: HOLD, sequence, shard, size }.sign(&fair.buyer)
    };
    let marked = fair.host.mark(NOON, fair.peer(), &mark(&fair, 1, 1));
    assert_eq!(fair.note(&marked), Response::Marked { sequence: 1 });
    let (old, before) = (fair.id(), fair.contract().clone());
    let next = Next::of(&fair, seconds(60));
    assert_eq!(next.terms.begins, seconds(3600), "it begins when what is paid for ends");
    let owed = next.tab(80_000).owed(&next.terms).unwrap();
    let less = Amount::new(owed.get() - 1);
    let unpaid = refused(next.ask(&mut fair, seconds(60), less));
    assert_eq!(unpaid, Reason::Unpaid { owed, authorised: less });
    assert_eq!(*fair.contract(), before, "a refusal changed the contract");

    let answer = next.ask(&mut fair, seconds(60), owed);
    let Response::Renewed { provider_signature, tab } = fair.note(&answer) else {
        panic!("{answer:?}")
    };
    assert_eq!(next.terms.verify_provider(&provider_signature), Ok(()));
    assert_eq!(tab.meter, before.tab.meter, "the old account is as it was, to the unit");
    fair.check_replay();
    // Asked again, the answer is the same.
    let again = next.ask(&mut fair, seconds(61), owed);
    assert_eq!((again.event, again.response), (None, answer.response));

    // The old contract is over, its money is to be got, and its room is free.
    let refusal = fair.get(seconds(61), 1, 0, 100, &fair.voucher(HOLD));
    assert_eq!(refusal, Err(Reason::Ended { why: Ending::Renewed }));
    assert_eq!(fair.host.due(seconds(61)), [old]);
    assert_eq!(fair.host.free(), config().size.saturating_sub(next.terms.size_max));
    let total = before.total();
    let answer = fair.host.close_finish(old, total);
    assert_eq!(fair.note(&answer), Response::Closed { total, paid: total });
    assert_eq!(answer.remove, [], "its shards are another's now");

    // Under the new one nothing was written, all is there, and both accounts agree.
    (fair.terms, fair.hold, fair.tab) = (next.terms, next.hold, next.tab(80_000));
    assert_eq!(fair.contract().tab, fair.tab);
    assert_eq!(fair.contract().tab.meter.written, 0);
    let voucher = fair.pay(Charge::Read { bytes: Bytes::new(16_384) });
    assert_eq!(fair.get(seconds(3700), 2, 0, 100, &voucher), Ok(()));
    assert_eq!(fair.put(3, 100), Response::Stored);
    fair.check();
    fair.check_replay();
    // What was marked under the old one goes with the first mark under the new one.
    let marked = fair.host.mark(seconds(3700), fair.peer(), &mark(&fair, 2, 2));
    assert_eq!(fair.note(&marked), Response::Marked { sequence: 2 });
    assert_eq!(marked.remove, [shard(1)]);
    fair.check();
    fair.check_replay();
}

/// The voucher of the old contract is posted as it was when it was renewed.
#[test]
fn reads_under_way_when_a_contract_is_renewed_are_not_served() {
    let mut fair = Fair::stocked();
    let (old, before) = (fair.id(), fair.contract().clone());
    let plan = fair.begin_to_read(NOON);
    let answer = Next::of(&fair, NOON).ask(&mut fair, NOON, HOLD);
    assert!(matches!(fair.note(&answer), Response::Renewed { .. }));
    let closing = fair.host.close_due(NOON, old).unwrap();
    assert_eq!(closing.settle, Settle::Post(before.voucher));
    assert_eq!(fair.host.get_commit(&plan), Err(Reason::Ended { why: Ending::Renewed }));
    assert_eq!(fair.contract().total(), before.total());
    fair.check_replay();
}

type Edit = fn(&mut Next);

#[test]
fn what_does_not_follow_is_no_renewal() {
    let wrong = Reason::WrongRenewal { begins_max: seconds(3600), size_min: Bytes::new(80_000) };
    let table: &[(&str, Edit, Reason)] = &[
        ("a gap", |next| next.terms.begins = seconds(3601), wrong),
        ("too small", |next| next.terms.size_max = Bytes::new(79_999), wrong),
        (
            "too large",
            |next| next.terms.size_max = Bytes::new(4 << 20),
            Reason::NoRoom { free: Bytes::new(1 << 20), wanted: Bytes::new(3 << 20) },
        ),
        ("of nothing", |next| next.terms.renews = None, Reason::Malformed),
        (
            "of another",
            |next| next.terms.renews = Some(ContractId::from_digest(Digest::ZERO)),
            Reason::UnknownContract,
        ),
        (
            "without end",
            |next| next.terms.ends = next.terms.begins,
            Reason::TermsRefused {
                why: TermsError::Period { period: Duration::ZERO, period_max: config().period_max },
            },
        ),
    ];
    for (name, edit, reason) in table {
        let mut fair = Fair::stocked();
        let mut next = Next::of(&fair, NOON);
        edit(&mut next);
        assert_eq!(refused(next.ask(&mut fair, NOON, HOLD)), *reason, "{name}");
        fair.check_replay();
    }
    // Nor does one renew by opening, nor what has ended.
    let mut fair = Fair::stocked();
    let next = Next::of(&fair, NOON);
    fair.terms = next.terms;
    assert_eq!(refused(fair.open(&fair.voucher(HOLD), None)), Reason::Malformed);
    let late = refused(next.ask(&mut fair, seconds(7200), HOLD));
    assert_eq!(late, Reason::Ended { why: Ending::Lapsed });
}

#[test]
fn a_provider_leaves_with_notice() {
    let mut fair = Fair::stocked();
    let (peer, id) = (fair.peer(), fair.id());
    // It would leave in a minute: an epoch of an hour is the least notice, and one begun is kept to its end.
    let events = fair.host.leave(seconds(600), seconds(660));
    assert_eq!(events, [Event::Leaving { contract: id, at: seconds(7200) }]);
    fair.journal.extend(events.iter().map(Event::to_record));
    assert_eq!(fair.host.leave(seconds(601), seconds(660)), [], "said once");
    fair.check_replay();
    let Response::Status { state, .. } = fair.host.status(seconds(700), peer, id) else { panic!() };
    assert_eq!(state, State::Ending { at: seconds(7200) });

    // It takes nothing more, and serves what it has.
    let put = fair.host.put_begin(seconds(700), peer, id, shard(5), Bytes::new(1), 0);
    assert_eq!(put, Err(Reason::Leaving { at: seconds(7200) }));
    let renewal = Next::of(&fair, seconds(700)).ask(&mut fair, seconds(700), HOLD);
    assert_eq!(refused(renewal), Reason::Leaving { at: seconds(7200) });
    let voucher = fair.pay(Charge::Advance);
    let answer = fair.host.advance(seconds(3600), peer, id, &voucher);
    assert_eq!(fair.note(&answer), Response::Advanced { epochs_paid: 2 });
    let voucher = fair.pay(Charge::Read { bytes: Bytes::new(16_384) });
    assert_eq!(fair.get(seconds(7199), 1, 0, 100, &voucher), Ok(()));
    let refusal = fair.get(seconds(7200), 1, 0, 100, &voucher);
    assert_eq!(refusal, Err(Reason::Ended { why: Ending::Left }));
    assert_eq!(fair.host.due(seconds(7200)), [id]);
    let closing = fair.host.close_due(seconds(7200), id).unwrap();
    fair.journal.extend(closing.event.map(|event| event.to_record()));
    fair.check_replay();
}

#[test]
fn who_leaves_signs_nothing_that_lasts_longer() {
    let config = HostConfig { leaves: Some(seconds(20_000)), ..config() };
    let mut fair = Fair::new();
    fair.host = Host::new(SecretKey::from_bytes(&[1; 32]), config);
    let list = fair.host.prices(NOON);
    assert_eq!(list.prices.period_max, Duration::from_seconds(20_000));
    assert_eq!(fair.host.prices(seconds(19_000)).prices.capacity, Bytes::ZERO);
    let voucher = fair.pay(Charge::Open);
    let hold = fair.issuer_says();
    let refusal = refused(fair.open(&voucher, Some(&hold)));
    assert_eq!(refusal, Reason::Leaving { at: seconds(20_000) });
    // Said while it serves, it is no other.
    fair.host.set_leaves(seconds(30_000));
    assert_eq!(fair.host.prices(NOON).prices.period_max, Duration::from_seconds(30_000));
}

#[test]
fn what_is_lost_is_a_default_of_the_provider() {
    let mut fair = Fair::stocked();
    let id = fair.id();
    let events = fair.host.lose(NOON);
    assert_eq!(events, [Event::Ended { contract: id, at: NOON, why: Ending::Lost }]);
    fair.journal.extend(events.iter().map(Event::to_record));
    assert_eq!(fair.contract().state, State::Defaulted { at: NOON, by: Side::Provider });
    assert_eq!(fair.host.lose(NOON), []);
    assert_eq!(fair.host.due(NOON), [id], "what was served is posted");
    fair.check_replay();
    // Without shards there is nothing to lose.
    assert_eq!(Fair::opened().host.lose(NOON), []);
}

#[test]
fn newcomers_start_small_and_grow_by_paying() {
    let mut fair = Fair::stocked();
    let (peer, id) = (fair.peer(), fair.id());
    // 1 of 2 MiB is taken; a stranger may have the other 2 of all 4, and nobody more than is free.
    assert_eq!(fair.host.room(peer), Bytes::new(1 << 20));
    let stranger = EntityId::from_bytes([8; 32]);
    assert_eq!(fair.host.prices_for(NOON, stranger).prices.capacity, Bytes::new(2 << 20));
    assert_eq!(fair.host.prices(NOON).prices.capacity, Bytes::new(3 << 20));
    let list = fair.host.prices(NOON); // a list made for nobody names all that is free
    let (size, span) = (Bytes::new(2 << 20), Duration::from_seconds(36_000));
    let greedy = Terms::new(peer, &list, size, NOON, span, 9);
    let signature = greedy.sign_as_buyer(&fair.buyer);
    let begin =
        |fair: &Fair| fair.host.open_begin(NOON, peer, &greedy, &signature, &fair.voucher(HOLD));
    let refusal = Reason::Newcomer { allowed: Bytes::new(1 << 20), wanted: size };
    assert_eq!(begin(&fair), Err(refusal));

    let _ = fair.host.close_begin(NOON, peer, id).unwrap();
    let half = Amount::new(fair.contract().total().get() / 2);
    let mut cheated = fair.host.clone();
    let _ = cheated.close_finish(id, half);
    assert_eq!(cheated.trusted(peer), Bytes::new(2 << 20), "half a payment is no record");
    let total = fair.contract().total();
    let _ = fair.host.close_finish(id, total);
    assert_eq!(fair.host.trusted(peer), Bytes::new((2 << 20) + 2 * 80_000));
    assert!(matches!(begin(&fair), Ok(Opening::Ask(_))));
}

/// Room that was promised and not used earns nothing, however large it was: opening it costs next to nothing.
#[test]
fn a_buyer_is_known_by_what_was_kept_for_it() {
    type Deeds = fn(&mut Fair);
    let advance = |fair: &mut Fair| {
        let voucher = fair.pay(Charge::Advance);
        let answer = fair.host.advance(NOON, fair.peer(), fair.id(), &voucher);
        assert!(matches!(fair.note(&answer), Response::Advanced { .. }));
    };
    let table: &[(&str, Deeds, u64, u64)] = &[
        ("opened", |_| {}, 0, 0),
        ("an epoch is paid for, and nothing is kept", |_| {}, 1, 0),
        ("kept for an epoch", |fair| _ = fair.put(1, 40_000), 0, 40_000),
        ("kept for three", |fair| _ = fair.put(1, 40_000), 2, 40_000),
        (
            "kept for one of two",
            |fair| {
                assert_eq!(fair.put(1, 40_000), Response::Stored);
                let _ = fair.host.delete(NOON, fair.peer(), fair.id(), shard(1));
                fair.tab.delete(Bytes::new(40_000));
            },
            1,
            20_000,
        ),
        (
            "put again and again",
            |fair| {
                for _ in 0..30 {
                    assert_eq!(fair.put(1, 40_000), Response::Stored);
                    let _ = fair.host.delete(NOON, fair.peer(), fair.id(), shard(1));
                    fair.tab.delete(Bytes::new(40_000));
                }
            },
            0,
            1 << 20,
        ),
    ];
    for (name, deeds, advances, kept) in table {
        let mut fair = Fair::opened();
        let (peer, id) = (fair.peer(), fair.id());
        deeds(&mut fair);
        (0..*advances).for_each(|_| advance(&mut fair));
        let _ = fair.host.close_begin(NOON, peer, id).unwrap();
        let total = fair.contract().total();
        let _ = fair.host.close_finish(id, total);
        assert_eq!(fair.host.trusted(peer), Bytes::new((2 << 20) + 2 * kept), "{name}");
    }
}

#[test]
fn a_clock_a_day_off_is_refused_by_name() {
    let mut fair = Fair::new();
    let voucher = fair.pay(Charge::Open);
    for day in [seconds(86_400), Timestamp::from_milliseconds(NOON.milliseconds() - 86_400_000)] {
        let signature = fair.terms.sign_as_buyer(&fair.buyer);
        let peer = fair.peer();
        let begun = fair.host.open_begin(day, peer, &fair.terms, &signature, &voucher);
        assert_eq!(begun, Err(Reason::Clock { theirs: NOON, ours: day }));
    }
}

#[test]
fn deletions_are_signed() {
    let mut fair = Fair::stocked();
    let (peer, id, provider) = (fair.peer(), fair.id(), fair.host.provider());
    for (at, freed) in [(7, 40_000), (8, 0)] {
        let answer = fair.host.delete(seconds(at), peer, id, shard(1));
        let Response::Deleted { receipt } = fair.note(&answer) else { panic!("{answer:?}") };
        assert_eq!(receipt.verify(provider), Ok(()));
        let expected = fondaco_contract::Deletion {
            contract: id,
            shard: *shard(1).digest(),
            at: seconds(at),
            freed: Bytes::new(freed),
        };
        assert_eq!(receipt.deletion, expected);
    }
}

#[test]
fn a_put_goes_on_where_it_broke() {
    let mut fair = Fair::opened();
    let (peer, id) = (fair.peer(), fair.id());
    let put = fair.begin(1, 10_000);
    let voucher = fair.pay(Charge::Write { bytes: Bytes::new(STEP) });
    let _ = fair.host.put_step(NOON, put, &voucher, STEP).unwrap();
    let found = fair.host.put_resume(NOON, peer, id, shard(1), Bytes::new(10_000), 0);
    assert_eq!(found, Ok(Some((put, Bytes::new(STEP)))));
    for (name, size) in [(1, 9999), (2, 10_000)] {
        let none = fair.host.put_resume(NOON, peer, id, shard(name), Bytes::new(size), 0);
        assert_eq!(none, Ok(None));
    }
    let stranger = EntityId::from_bytes([8; 32]);
    let other = fair.host.put_resume(NOON, stranger, id, shard(1), Bytes::new(10_000), 0);
    assert_eq!(other, Err(Reason::NotYours));
}

/// A crash forgets the bytes of a put under way, and what was paid for them: in what is durable, they are not counted yet.
#[test]
fn what_a_put_under_way_was_charged_is_durable_when_it_ends() {
    let mut fair = Fair::stocked();
    let before = fair.contract().tab.meter.written;
    let put = fair.begin(7, 10_000);
    let voucher = fair.pay(Charge::Write { bytes: Bytes::new(STEP) });
    let _ = fair.host.put_step(NOON, put, &voucher, STEP).unwrap();
    assert_eq!(fair.contract().tab.meter.written, before + STEP, "its buyer is shown it");
    let other = fair.begin(8, 0);
    let answer = fair.host.put_commit(NOON, other, shard(8));
    let Some(Event::Stored { tab, .. }) = answer.event else { panic!("{answer:?}") };
    assert_eq!(tab.meter.written, before);
    let kept = fair.host.events().filter_map(|event| match event {
        Event::Metered { tab, .. } => Some(tab.meter.written),
        _ => None,
    });
    assert_eq!(kept.collect::<Vec<_>>(), [before]);
    // Given up, it stays paid; or its host gives it back.
    let mut refunding = fair.host.clone();
    let Some(Event::Metered { tab, .. }) = fair.host.put_abort(put) else { panic!("not metered") };
    assert_eq!(tab.meter.written, before + STEP);
    refunding.put_refund(put);
    let Response::Status { tab, .. } = refunding.status(NOON, fair.peer(), fair.id()) else {
        panic!("no status")
    };
    assert_eq!(tab.meter.written, before);
    assert!(refunding.is_open(NOON, fair.id()));
}

/// Whoever goes on in the next epoch keeps the shard from then on, and pays for no epoch that it was not there.
#[test]
fn a_put_that_goes_on_in_the_next_epoch_is_paid_for_from_then_on() {
    let mut fair = Fair::opened();
    let (peer, id, size) = (fair.peer(), fair.id(), 2 * STEP);
    let put = fair.begin(1, size);
    let voucher = fair.pay(Charge::Write { bytes: Bytes::new(STEP) });
    let _ = fair.host.put_step(NOON, put, &voucher, STEP).unwrap();
    let later = seconds(3600);
    let mut resume =
        |epoch| fair.host.put_resume(later, peer, id, shard(1), Bytes::new(size), epoch);
    let there = Ok(Some((put, Bytes::new(STEP))));
    assert_eq!(resume(1), there, "who asks has not paid for the epoch yet");
    assert_eq!(resume(3), Err(Reason::WrongEpoch { epoch: 1 }));
    let voucher = fair.pay(Charge::Advance);
    let answer = fair.host.advance(later, peer, id, &voucher);
    assert_eq!(fair.note(&answer), Response::Advanced { epochs_paid: 2 });
    assert_eq!(fair.host.put_age(later, put), 1);
    let found = fair.host.put_resume(later, peer, id, shard(1), Bytes::new(size), 1);
    assert_eq!(found, there);
    let _ = fair.pay(Charge::Write { bytes: Bytes::new(STEP) });
    let voucher = fair.pay(Charge::Store { bytes: Bytes::new(size), epochs: 1 });
    let _ = fair.host.put_step(later, put, &voucher, STEP).unwrap();
    let answer = fair.host.put_commit(later, put, shard(1));
    assert_eq!(fair.note(&answer), Response::Stored);
    assert_eq!(fair.contract().tab.meter.byte_epochs, u128::from(size));
    fair.check();
    fair.check_replay();
}

#[test]
fn the_overview_adds_up() {
    let mut fair = Fair::stocked();
    let all = fair.host.overview(NOON);
    assert_eq!((all.open, all.ending, all.buyers, all.shards), (1, 0, 1, 2));
    assert_eq!(all.kept, Bytes::new(80_000));
    assert_eq!(all.sold.get() + all.free.get(), all.size.get());
    assert_eq!(all.unposted, fair.contract().total());
    assert_eq!(all.ends_first, Some((fair.id(), fair.terms.ends)));
    assert_eq!(all.next_posting, Some(seconds(7200)), "it lapses then, if nobody pays");
    let (peer, id, total) = (fair.peer(), fair.id(), fair.contract().total());
    let _ = fair.host.close_begin(NOON, peer, id).unwrap();
    let ended = fair.host.overview(NOON);
    assert_eq!((ended.open, ended.unposted_ended, ended.next_posting), (0, 1, Some(NOON)));
    let _ = fair.host.close_finish(id, total);
    let paid = fair.host.overview(NOON);
    assert_eq!((paid.unposted, paid.paid, paid.next_posting), (Amount::ZERO, total, None));
}

/// What a put has is kept for nothing: it takes no step any more once a second epoch was paid for, and is busy until it is parked.
#[test]
fn a_put_that_is_two_epochs_old_takes_nothing() {
    let mut fair = Fair::opened();
    let (peer, id) = (fair.peer(), fair.id());
    let put = fair.begin(1, 6 * STEP);
    assert_eq!(fair.host.put_age(seconds(9999), put), 0, "what is not paid for does not count");
    let again = fair.host.put_begin(seconds(3600), peer, id, shard(1), Bytes::new(6 * STEP), 1);
    assert_eq!(
        again,
        Err(Reason::Busy),
        "and not Late, which is said where there is nothing of it"
    );
    // Whole steps have it kept on; a byte does not.
    for (epoch, length, age, expected) in [
        (0, STEP, 0, true),
        (1, STEP, 1, true),
        (2, STEP, 1, true),
        (3, 1, 1, true),
        (4, STEP, 2, false),
    ] {
        let now = seconds(3600 * epoch);
        if epoch > 0 {
            let voucher = fair.pay(Charge::Advance);
            let answer = fair.host.advance(now, peer, id, &voucher);
            assert_eq!(fair.note(&answer), Response::Advanced { epochs_paid: epoch + 1 });
        }
        assert_eq!(fair.host.put_age(now, put), age, "{epoch}");
        let voucher = fair.pay(Charge::Write { bytes: Bytes::new(length) });
        let before = fair.contract().tab;
        let stepped = fair.host.put_step(now, put, &voucher, length);
        match stepped {
            Ok(_) => assert!(expected),
            Err(reason) => assert_eq!((reason, expected), (Reason::WrongEpoch { epoch }, false)),
        }
        assert_eq!(fair.contract().tab != before, expected, "a refusal changes nothing");
    }
}
