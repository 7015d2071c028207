//! What came with version 2: batches, limits, rotation, closing, words of hash chains, forgetting, snapshots, histories.

use super::*;
use crate::classic::{Ask, AskBody};
use fondaco_codec::Decode;
use fondaco_ledger::{Anchor, PayWordChain};

fn step(to: usize, amount: u64, linked: bool) -> Step {
    Step { to: entity(to), amount: units(amount), order: Text::cut("wages"), linked }
}

fn batch(number: u128, steps: Vec<Step>) -> Request {
    Request::Batch { id: id(number), fee_max: units(5), steps: List::new(steps).unwrap() }
}

fn done(issuer: &mut Issuer, who: usize, request: &Request) -> Response {
    issuer.handle(NOW, entity(who), request).response
}

fn available(issuer: &Issuer, who: usize) -> u64 {
    issuer.ledger().account(entity(who)).available.get()
}

/// Alice has 900 and pays 5 for each step.
#[test]
fn chains_are_done_whole_or_not_at_all() {
    let short = |available, wanted| StepResult::Refused {
        refusal: ledger::Refusal::InsufficientFunds {
            available: units(available),
            wanted: units(wanted),
        }
        .into(),
    };
    let zero = StepResult::Refused { refusal: ledger::Refusal::ZeroAmount.into() };
    let (paid, undone) = (StepResult::Paid, StepResult::Undone);
    let table = [
        ("nothing", vec![], vec![], 900, 0),
        ("one", vec![step(BOB, 10, false)], vec![paid], 885, 10),
        (
            "a chain that ends with the batch",
            vec![step(BOB, 10, true), step(BOB, 20, true)],
            vec![paid, paid],
            860,
            30,
        ),
        (
            "a chain that breaks at its end",
            vec![
                step(BOB, 500, true),
                step(CAROL, 9, true),
                step(BOB, 400, false),
                step(BOB, 1, false),
            ],
            vec![undone, undone, short(381, 405), paid],
            894,
            1,
        ),
        (
            "a chain that breaks at its beginning",
            vec![step(BOB, 0, true), step(BOB, 1, false)],
            vec![zero, undone],
            900,
            0,
        ),
        (
            "single steps break alone",
            vec![step(BOB, 890, false), step(BOB, 1, false), step(BOB, 0, false)],
            vec![paid, short(5, 6), zero],
            5,
            890,
        ),
    ];
    for (what, steps, results, left, arrived) in table {
        let mut issuer = issuer();
        let before = issuer.ledger().accounts();
        let notices = results.iter().filter(|result| **result == paid).count() as u64;
        let request = batch(9, steps);
        let handled = issuer.handle(NOW, entity(ALICE), &request);
        let results = List::new(results).unwrap();
        assert_eq!(handled.response, Response::Batched { balance: units(left), results }, "{what}");
        assert_eq!((available(&issuer, ALICE), available(&issuer, BOB)), (left, arrived), "{what}");
        let waiting = done(&mut issuer, BOB, &Request::Balance);
        let Response::Balance { deposits_waiting, .. } = waiting else { panic!("{waiting:?}") };
        assert_eq!(deposits_waiting, notices, "{what}");
        assert_eq!(issuer.ledger().accounts() - before, u64::from(notices > 0) * 2, "bob, fees");
        assert_eq!(issuer.handle(LATER, entity(ALICE), &request).record, None, "once");
        assert_eq!(issuer.check(), Ok(()));
    }
    let mut issuer = issuer();
    let request =
        Request::Batch { id: id(9), fee_max: units(4), steps: List::new(vec![]).unwrap() };
    let over = refused(Refusal::FeeOverMax { fee: units(5), fee_max: units(4) });
    assert_eq!(done(&mut issuer, ALICE, &request), over);
}

#[test]
fn the_greatest_batch_and_its_receipt_fit() {
    let order = Text::<64>::new("o".repeat(64)).unwrap();
    let one = Step { order, ..step(BOB, 1, false) };
    let mut issuer = issuer_of(currency(5));
    let request = batch(9, vec![one; STEPS_MAX]);
    assert!(request.to_frame().len() <= REQUEST_BYTES_MAX);
    let handled = issuer.handle(NOW, entity(ALICE), &request);
    assert!(handled.record.unwrap().len() <= RECORD_BYTES_MAX);
    // No refusal is longer than this one.
    let refusal = Refusal::from(ledger::Refusal::OtherCurrency {
        currency: currency(0).id,
        found: currency(0).id,
    });
    let results = List::new(vec![StepResult::Refused { refusal }; STEPS_MAX]).unwrap();
    let response = Response::Batched { balance: Amount::MAX, results };
    let receipt = Receipt {
        currency: currency(0).id,
        holder: entity(ALICE),
        at: NOW,
        request,
        response,
        record: 7,
        chain: Digest::of(b"all before"),
    };
    let receipt = Box::new(receipt.sign(&key(ISSUER)));
    let frame = Response::Receipt { receipt: receipt.clone() }.to_frame();
    assert!(frame.len() <= RESPONSE_BYTES_MAX, "{}", frame.len());
    let read = Response::from_frame(&frame).unwrap();
    assert_eq!(read, Response::Receipt { receipt });
}

#[test]
fn receipts_and_heads_are_their_issuers() {
    let receipt = Receipt {
        currency: currency(0).id,
        holder: entity(ALICE),
        at: NOW,
        request: transfer(1, BOB, 10),
        response: Response::Transferred { fee: units(5), balance: units(1) },
        record: 7,
        chain: Digest::of(b"all before"),
    };
    let signed = receipt.clone().sign(&key(ISSUER));
    assert!(signed.verify().is_ok());
    assert!(receipt.clone().sign(&key(BOB)).verify().is_err());
    let altered = Receipt { record: 8, ..receipt.clone() };
    assert!(SignedReceipt { receipt: altered, ..signed }.verify().is_err());
    let head = Head {
        currency: currency(0).id,
        records: 8,
        chain: Digest::of(b"all"),
        supply: units(1),
        at: NOW,
    };
    let signed_head = head.sign(&key(ISSUER));
    assert!(signed_head.verify().is_ok() && head.sign(&key(ALICE)).verify().is_err());
    assert!(SignedHead { head: Head { records: 9, ..head }, ..signed_head }.verify().is_err());

    // A receipt is of a command: not of a query, and not of a receipt, which would have no end.
    let query = Receipt { request: Request::Balance, ..receipt.clone() };
    assert!(Receipt::from_bytes(&query.to_bytes()).is_err());
    let within = Response::Receipt { receipt: Box::new(signed) };
    let nested = Receipt { response: within, ..receipt };
    assert!(Receipt::from_bytes(&nested.to_bytes()).is_err());
}

#[test]
fn who_takes_no_more_is_paid_no_more() {
    let mut issuer = issuer();
    let accept = |number, most| Request::Accept { id: id(number), balance_max: units(most) };
    let unknown = ledger::Refusal::UnknownAccount { holder: entity(BOB) };
    assert_eq!(done(&mut issuer, BOB, &accept(1, 50)), refused(unknown));
    let _ = done(&mut issuer, ALICE, &transfer(2, BOB, 40));
    assert_eq!(done(&mut issuer, BOB, &accept(2, 50)), Response::Accepted);
    let over = ledger::Refusal::OverLimit { payee: entity(BOB), balance_max: units(50) };
    assert_eq!(done(&mut issuer, ALICE, &transfer(3, BOB, 11)), refused(over));
    assert_eq!(done(&mut issuer, ISSUER, &mint(3, BOB, 11)), refused(over));
    // What it asks for itself arrives.
    let posted = done(&mut issuer, BOB, &post(3, hold_of(ALICE, 1), 30));
    assert_eq!(posted, Response::HoldPosted { paid: units(30), returned: units(70) });
    assert_eq!(done(&mut issuer, BOB, &accept(4, u64::MAX)), Response::Accepted);
    assert!(matches!(
        done(&mut issuer, ALICE, &transfer(4, BOB, 11)),
        Response::Transferred { .. }
    ));
}

/// Who was never paid says what it takes, and is paid no more: also after a restart, by replay and by snapshot.
#[test]
fn who_has_no_account_is_paid_no_more_than_it_takes() {
    let mut issuer = issuer();
    let ahead = |number, most| Request::AcceptAhead { id: id(number), balance_max: units(most) };
    let until = NOW.after(ledger::LIMIT_SPAN);
    let said = done(&mut issuer, BOB, &ahead(1, 50));
    assert_eq!(said, Response::AcceptedAhead { until });
    // Asked again, it has its first answer, and is kept no longer for it.
    let late = NOW.after(Duration::from_seconds(9));
    let again = issuer.handle(late, entity(BOB), &ahead(1, 50));
    assert_eq!((again.response, again.record), (said, None));
    let over = ledger::Refusal::OverLimit { payee: entity(BOB), balance_max: units(50) };
    assert_eq!(done(&mut issuer, ALICE, &transfer(2, BOB, 51)), refused(over));
    assert_eq!(done(&mut issuer, ISSUER, &mint(2, BOB, 51)), refused(over));
    let snapshot = issuer.snapshot();
    let mut restored = Issuer::restore(5, crate::ANSWERS_BYTES_MAX, &snapshot).unwrap();
    assert_eq!(restored, issuer);
    assert_eq!(done(&mut restored, ALICE, &transfer(3, BOB, 51)), refused(over));
    let _ = done(&mut restored, ALICE, &transfer(4, BOB, 50));
    assert_eq!(done(&mut restored, ALICE, &transfer(5, BOB, 1)), refused(over));
    assert_eq!(done(&mut restored, BOB, &ahead(6, 51)), Response::Accepted);
    // When its time is over the next command finds it gone; the record replays so.
    let pay = transfer(7, BOB, 51);
    let mut twin = issuer.clone();
    let handled = issuer.handle(until, entity(ALICE), &pay);
    assert!(matches!(handled.response, Response::Transferred { .. }), "{:?}", handled.response);
    twin.replay(&handled.record.unwrap()).unwrap();
    assert_eq!(twin, issuer);
}

fn rotate(number: u128, old: usize, new: usize) -> Request {
    let rotation = Rotation { currency: currency(0).id, old: entity(old), new: entity(new) };
    let (by_old, by_new) = (rotation.sign(&key(old)), rotation.sign(&key(new)));
    Request::Rotate { id: id(number), to: entity(new), by_old, by_new }
}

/// Alice becomes Carol: money, hold, notices, answers and floor go with her.
#[test]
fn an_account_gets_another_key() {
    let mut issuer = issuer();
    let pay = transfer(2, BOB, 10);
    let first = done(&mut issuer, ALICE, &pay);
    // The new key has been heard before.
    let early = done(&mut issuer, CAROL, &transfer(3, BOB, 1));
    assert!(matches!(early, Response::Refused { .. }));
    let rotation = rotate(9, ALICE, CAROL);
    let to = entity(CAROL);
    assert_eq!(done(&mut issuer, ALICE, &rotation), Response::Rotated { to });

    let gone = || refused(Refusal::Rotated { to });
    for request in [Request::Balance, transfer(4, BOB, 1), pay.clone(), rotate(8, ALICE, BOB)] {
        let handled = issuer.handle(NOW, entity(ALICE), &request);
        assert_eq!(handled, Handled { response: gone(), record: None }, "{request:?}");
    }
    assert!(Refusal::Rotated { to }.is_transient(), "its new key can ask");
    let described = done(&mut issuer, ALICE, &Request::Describe);
    assert!(matches!(described, Response::Described { .. }));
    assert_eq!(done(&mut issuer, ALICE, &rotation), Response::Rotated { to }, "told again");
    assert_eq!(done(&mut issuer, CAROL, &rotation), Response::Rotated { to });

    assert_eq!(done(&mut issuer, CAROL, &pay), first, "answered under the old key");
    assert_eq!(done(&mut issuer, CAROL, &transfer(3, BOB, 1)), early, "and under the new one");
    let balance =
        Response::Balance { available: units(885), held: units(100), deposits_waiting: 1 };
    assert_eq!(done(&mut issuer, CAROL, &Request::Balance), balance);
    let hold = hold_of(ALICE, 1);
    let info = done(&mut issuer, CAROL, &Request::HoldInfo { hold });
    assert!(matches!(info, Response::HoldInfo { .. }));
    let _ = done(&mut issuer, BOB, &transfer(5, ALICE, 2));
    assert_eq!(available(&issuer, CAROL), 887, "the old key is still paid");
    let posted = done(&mut issuer, BOB, &post(6, hold, 30));
    assert_eq!(posted, Response::HoldPosted { paid: units(30), returned: units(70) });
    assert_eq!(available(&issuer, CAROL), 957);

    let exists = ledger::Refusal::AccountExists { holder: entity(BOB) };
    assert_eq!(done(&mut issuer, CAROL, &rotate(10, CAROL, BOB)), refused(exists));
    let Request::Rotate { by_old, by_new, .. } = rotate(11, CAROL, 7) else { unreachable!() };
    let mixed = [
        Request::Rotate { id: id(11), to: entity(7), by_old: by_new, by_new: by_old },
        Request::Rotate { id: id(12), to: entity(6), by_old, by_new },
        rotate(13, ALICE, CAROL),
    ];
    for request in mixed {
        assert_eq!(done(&mut issuer, CAROL, &request), refused(Refusal::BadRotation));
    }
    let restored = Issuer::restore(1, ANSWERS_BYTES_MAX, &issuer.snapshot()).unwrap();
    assert!(restored == issuer);
}

/// What a key asks for that is gone is never answered; what cannot have been done before is settled all the same.
#[test]
fn what_came_too_late_for_a_key_is_not_pending_for_ever() {
    let to = entity(CAROL);
    let gone = Refusal::Rotated { to };
    let mut outbox = outbox_of_alice();
    let mut records = Vec::new();
    for request in [transfer(1, BOB, 10), rotate(9, ALICE, CAROL), transfer(3, BOB, 10)] {
        records.push(outbox.prepare(request).unwrap());
    }
    let not_yet = |number| Err(OutboxError::NotYet { id: id(number), refusal: gone });
    assert_eq!(outbox.settle(id(1), &refused(gone)), not_yet(1), "it may have been done before");
    assert!(!outbox.is_after_rotation(id(3)), "nothing was heard of the rotation");
    records.push(outbox.settle(id(9), &Response::Rotated { to }).unwrap());
    records.push(outbox.prepare(transfer(2, BOB, 10)).unwrap());
    // The third may have been done before the rotation was.
    for (number, expected) in [(1, false), (9, false), (2, true), (3, false), (5, false)] {
        assert_eq!(outbox.is_after_rotation(id(number)), expected, "{number}");
    }
    let settled = outbox.gone(id(2), to).unwrap();
    assert_eq!(outbox.gone(id(2), to), Ok(settled.clone()), "again is harmless");
    assert_eq!(outbox.gone(id(9), to), Err(OutboxError::OtherOutcome { id: id(9) }));
    assert_eq!(outbox.gone(id(5), to), Err(OutboxError::Unknown { id: id(5) }));
    assert_eq!(outbox.outcome(id(2)), Some(&refused(gone)));
    assert_eq!(outbox.pending().map(|(id, _)| id.get()).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(outbox.untold().count(), 0);

    records.push(settled);
    let mut replayed = outbox_of_alice();
    records.iter().for_each(|record| replayed.replay(record).unwrap());
    assert_eq!(replayed, outbox);
}

/// The snapshot of many accounts comes in pieces of about a mebibyte, and is one all the same.
#[test]
fn a_large_snapshot_comes_in_pieces() {
    let mut issuer = issuer();
    for number in 0..30_000_u32 {
        let mut holder = [9; 32];
        holder[..4].copy_from_slice(&number.to_le_bytes());
        let (to, amount) = (EntityId::from_bytes(holder), units(5));
        let mint = Request::Mint { id: id(1000 + u128::from(number)), to, amount };
        assert!(issuer.handle(NOW, entity(ISSUER), &mint).record.is_some());
    }
    let mut pieces = vec![];
    issuer
        .snapshot_in_pieces(|piece| {
            pieces.push(piece.to_vec());
            Ok::<(), ()>(())
        })
        .unwrap();
    assert!(pieces.len() > 4, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.len() < (1 << 20) + 1000));
    assert!(Issuer::restore(1, ANSWERS_BYTES_MAX, &pieces.concat()).unwrap() == issuer);
    let failed =
        issuer.snapshot_in_pieces(|piece| if piece.len() > 100 { Err("full") } else { Ok(()) });
    assert_eq!(failed, Err("full"));
}

#[test]
fn an_account_is_closed_and_opened_again() {
    let close = |number, most| Request::Close { id: id(number), forfeit_max: units(most) };
    let mut issuer = issuer();
    let open = ledger::Refusal::HoldsOpen { holds_open: 1 };
    assert_eq!(done(&mut issuer, ALICE, &close(2, u64::MAX)), refused(open));
    let _ = done(&mut issuer, BOB, &Request::HoldVoid { id: id(2), hold: hold_of(ALICE, 1) });
    let _ = done(&mut issuer, ALICE, &transfer(3, BOB, 990));
    let left = ledger::Refusal::NotEmpty { available: units(5), forfeit_max: units(4) };
    assert_eq!(done(&mut issuer, ALICE, &close(4, 4)), refused(left));
    let closed = Response::Closed { forfeited: units(5) };
    assert_eq!(done(&mut issuer, ALICE, &close(5, 5)), closed);
    assert_eq!(done(&mut issuer, ALICE, &close(5, 5)), closed, "told again");
    assert_eq!(issuer.ledger().accounts(), 2);
    let gone = ledger::Refusal::UnknownAccount { holder: entity(ALICE) };
    assert_eq!(done(&mut issuer, ALICE, &close(6, 5)), refused(gone));
    let _ = done(&mut issuer, BOB, &transfer(1, ALICE, 7));
    assert_eq!(done(&mut issuer, ALICE, &close(5, 5)), closed, "and not done again");
    let balance = Response::Balance { available: units(7), held: units(0), deposits_waiting: 2 };
    assert_eq!(done(&mut issuer, ALICE, &Request::Balance), balance);
}

#[test]
fn a_word_of_a_hash_chain_is_cashed_once() {
    let mut issuer = issuer();
    let hold = hold_of(ALICE, 1);
    let (currency, base, unit) = (currency(0).id, units(10), units(2));
    let chain = PayWordChain::new(&key(ALICE), currency, hold, base, unit, 16).unwrap();
    let anchor: Anchor = *chain.anchor();
    let request = |number, by| Request::HoldPostWord {
        id: id(number),
        anchor: anchor.sign(&key(by)),
        word: chain.word(5).unwrap(),
    };
    let forged = ledger::Refusal::BadSignature { hold, payer: entity(ALICE) };
    assert_eq!(done(&mut issuer, BOB, &request(1, BOB)), refused(forged));
    let stranger = ledger::Refusal::UnknownHold { hold };
    assert_eq!(done(&mut issuer, CAROL, &request(1, ALICE)), refused(stranger));
    let paid = Response::HoldPosted { paid: units(20), returned: units(80) };
    let right = request(2, ALICE);
    assert_eq!(done(&mut issuer, BOB, &right), paid);
    assert_eq!(done(&mut issuer, BOB, &right), paid, "told again");
    let closed = ledger::Refusal::HoldClosed { hold, state: HoldState::Posted { paid: units(20) } };
    assert_eq!(done(&mut issuer, BOB, &request(3, ALICE)), refused(closed));
    let mut outbox = Outbox::new(currency, entity(BOB));
    outbox.prepare(right).unwrap();
    let wrong = Response::HoldPosted { paid: units(21), returned: units(79) };
    assert_eq!(outbox.settle(id(2), &wrong), Err(OutboxError::DoesNotFit { id: id(2) }));
    assert!(outbox.settle(id(2), &paid).is_ok());
}

#[test]
fn a_hold_is_not_opened_too_late() {
    let Request::HoldOpen { id, payee, amount_max, order, expires, .. } = open(9, BOB, 5) else {
        unreachable!()
    };
    let by = |open_by| Request::HoldOpen { id, payee, amount_max, order, expires, open_by };
    let late = Timestamp::from_milliseconds(NOW.milliseconds() - 1);
    let mut issuer = issuer();
    let too_late = refused(Refusal::TooLate { open_by: late, now: NOW });
    assert_eq!(done(&mut issuer, ALICE, &by(late)), too_late);
    assert_eq!(done(&mut issuer, ALICE, &by(late)), too_late, "for ever");
    let Request::HoldOpen { id, .. } = open(10, BOB, 5) else { unreachable!() };
    let request = Request::HoldOpen { id, payee, amount_max, order, expires, open_by: NOW };
    assert!(matches!(done(&mut issuer, ALICE, &request), Response::HoldOpened { .. }));
}

/// Room for 20 answers or so.
fn forgetful() -> Issuer {
    let options = IssuerOptions { seed: 7, answers_bytes_max: 2000 };
    let mut issuer = Issuer::new(currency(0), options);
    let _ = issuer.handle(NOW, entity(ISSUER), &mint(1, ALICE, 100_000));
    issuer
}

#[test]
fn what_was_forgotten_is_not_done_again() {
    let mut issuer = forgetful();
    let mut records = vec![];
    // An id that is left out, so that it was never used.
    let ids = || (1..=100_u128).filter(|number| *number != 50);
    for number in ids() {
        let handled = issuer.handle(NOW, entity(ALICE), &transfer(number, BOB, 1));
        records.extend(handled.record);
    }
    let before = issuer.clone();
    let mut forgotten = 0;
    for number in ids().chain([50]) {
        let handled = issuer.handle(NOW, entity(ALICE), &transfer(number, BOB, 1));
        assert_eq!(handled.record, None);
        match handled.response {
            Response::Transferred { .. } => {}
            Response::Refused { refusal: refusal @ Refusal::Forgotten { floor } } => {
                forgotten += 1;
                assert!(id(number) <= floor && refusal.is_transient());
            }
            response => panic!("{response:?}"),
        }
    }
    assert!((70..90).contains(&forgotten), "{forgotten}");
    assert!(issuer == before && available(&issuer, BOB) == 99);
    // The floor is one holder's own.
    assert!(matches!(done(&mut issuer, BOB, &transfer(1, ALICE, 1)), Response::Transferred { .. }));
    // With another memory, the same journal is replayed to the same books.
    for answers_bytes_max in [0, 200, 2000, ANSWERS_BYTES_MAX] {
        let mut other = Issuer::new(currency(0), IssuerOptions { seed: 1, answers_bytes_max });
        let minted = other.handle(NOW, entity(ISSUER), &mint(1, ALICE, 100_000));
        assert!(minted.record.is_some());
        records.iter().for_each(|record| other.replay(record).unwrap());
        assert_eq!(available(&other, BOB), 99);
        assert_eq!(other == before, answers_bytes_max == 2000);
        let restored = Issuer::restore(4, answers_bytes_max, &other.snapshot()).unwrap();
        assert!(restored == other);
    }
}

#[test]
fn strangers_are_few_and_flood_nobody() {
    let mut issuer = forgetful();
    let first = transfer(5, BOB, 1);
    let first_answer = done(&mut issuer, ALICE, &first);
    let stranger = |number: usize| {
        let mut key = [0xee; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        EntityId::from_bytes(key)
    };
    let at = |number: usize| RequestId::at(NOW, [u8::try_from(number % 200).unwrap(); 10]);
    let pay = |number: usize| Request::AckDeposits { id: at(number), through: 0 };
    for number in 0..STRANGERS_MAX {
        let answer = issuer.handle(NOW, stranger(number), &pay(number)).response;
        assert_eq!(answer, Response::Acked);
    }
    assert_eq!(done(&mut issuer, ALICE, &first), first_answer, "strangers take nobody's room");
    let handled = issuer.handle(NOW, stranger(0), &pay(0));
    assert_eq!(handled, Handled { response: Response::Acked, record: None }, "remembered");
    // One more, later, and the one that was not heard for longest makes room.
    let _ = issuer.handle(
        LATER,
        stranger(STRANGERS_MAX),
        &Request::Accept { id: RequestId::at(LATER, [0; 10]), balance_max: units(0) },
    );
    let floor = RequestId::at(NOW, [0xff; 10]);
    let gone = refused(Refusal::Forgotten { floor });
    assert_eq!(issuer.handle(LATER, stranger(0), &pay(0)).response, gone);
    assert_eq!(issuer.handle(LATER, stranger(1), &pay(1)).response, Response::Acked);
    // Also when it has got an account since.
    let _ = issuer.handle(
        LATER,
        entity(ALICE),
        &Request::Transfer {
            id: id(6),
            to: stranger(0),
            amount: units(9),
            fee_max: units(0),
            order: Text::default(),
        },
    );
    assert_eq!(issuer.handle(LATER, stranger(0), &pay(0)).response, gone);
    let new = Request::Close { id: RequestId::at(LATER, [0; 10]), forfeit_max: units(9) };
    let closed = issuer.handle(LATER, stranger(0), &new).response;
    assert_eq!(closed, Response::Closed { forfeited: units(9) });
    let restored = Issuer::restore(4, 2000, &issuer.snapshot()).unwrap();
    assert!(restored == issuer);
}

/// A stranger's answers go with it into its account.
#[test]
fn a_stranger_that_is_paid_is_answered_as_before() {
    let mut issuer = issuer();
    let short = done(&mut issuer, BOB, &transfer(1, ALICE, 5));
    assert!(matches!(short, Response::Refused { .. }));
    let query = Ask { counter: 0, body: AskBody::Query };
    let asked = issuer.handle_classic(NOW, entity(BOB), 1, units(0), &query);
    assert!(asked.record.is_some());
    let posted = done(&mut issuer, BOB, &post(2, hold_of(ALICE, 1), 50));
    assert!(matches!(posted, Response::HoldPosted { .. }));
    assert_eq!(done(&mut issuer, BOB, &transfer(1, ALICE, 5)), short, "though it could pay now");
    assert_eq!(done(&mut issuer, BOB, &post(2, hold_of(ALICE, 1), 50)), posted);
    let again = issuer.handle_classic(NOW, entity(BOB), 1, units(0), &query);
    assert_eq!(again, HandledClassic { answer: asked.answer, record: None });
}

#[test]
fn histories_are_told_from_both_sides() {
    let mut issuer = issuer_of(currency(5));
    issuer.collect_movements(true);
    let bank = entity(ISSUER);
    let mut records = vec![issuer.handle(NOW, bank, &mint(1, ALICE, 1000)).record];
    let mut ask =
        |now, who, request: &Request| records.push(issuer.handle(now, entity(who), request).record);
    ask(NOW, ALICE, &open(1, BOB, 100));
    ask(NOW, ALICE, &transfer(2, BOB, 10));
    ask(
        NOW,
        ALICE,
        &batch(3, vec![step(BOB, 1, true), step(BOB, 0, false), step(CAROL, 2, false)]),
    );
    ask(NOW, BOB, &post(4, hold_of(ALICE, 1), 30));
    ask(NOW, ALICE, &open(5, CAROL, 7));
    ask(LATER, ALICE, &rotate(6, ALICE, 6));
    ask(LATER, BOB, &transfer(7, ALICE, 1));
    ask(LATER, CAROL, &Request::Close { id: id(8), forfeit_max: units(2) });
    ask(LATER, ISSUER, &Request::Redeem { id: id(9), amount: units(3) });
    let movements = issuer.drain_movements();
    let told: Vec<_> = movements
        .iter()
        .map(|line| {
            let who = |entity_id| (0..8).find(|who| entity(*who) == entity_id).unwrap();
            let id = line.id.map_or(0, RequestId::get);
            (
                who(line.holder),
                line.kind,
                line.counterparty.map(who),
                line.amount.get(),
                line.fee.get(),
                id,
            )
        })
        .collect();
    use EntryKind::*;
    let expected = [
        (ALICE, Minted, None, 1000, 0, 1),
        (ALICE, HoldOpened, Some(BOB), 100, 0, 1),
        (ALICE, Sent, Some(BOB), 10, 5, 2),
        (BOB, Received, Some(ALICE), 10, 0, 2),
        (ALICE, Sent, Some(CAROL), 2, 5, 3),
        (CAROL, Received, Some(ALICE), 2, 0, 3),
        (ALICE, HoldPaid, Some(BOB), 30, 0, 4),
        (BOB, HoldReceived, Some(ALICE), 30, 0, 4),
        (ALICE, HoldReturned, Some(BOB), 70, 0, 4),
        (ALICE, HoldOpened, Some(CAROL), 7, 0, 5),
        (ALICE, HoldReturned, Some(CAROL), 7, 0, 0),
        (6, RotatedFrom, Some(ALICE), 0, 0, 6),
        (BOB, Sent, Some(6), 1, 5, 7),
        (6, Received, Some(BOB), 1, 0, 7),
        (CAROL, Forfeited, Some(ISSUER), 2, 0, 8),
        (ISSUER, Received, Some(CAROL), 2, 0, 8),
        (ISSUER, Redeemed, None, 3, 0, 9),
    ];
    assert_eq!(told, expected);
    assert_eq!(movements[1].order.as_str(), Digest::of(b"order").to_string());
    assert_eq!(movements[2].order.as_str(), "an order");
    // A replay tells the same.
    let mut replayed = issuer_of(currency(5));
    replayed.collect_movements(true);
    records.into_iter().flatten().for_each(|record| replayed.replay(&record).unwrap());
    assert_eq!(replayed.drain_movements(), movements);
    assert_eq!(replayed.drain_movements(), []);
    assert!(replayed == issuer);
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let mut issuer = issuer();
    let _ = done(&mut issuer, CAROL, &transfer(1, BOB, 1));
    let _ = done(&mut issuer, ALICE, &transfer(2, BOB, 1));
    let query = Ask { counter: 0, body: AskBody::Query };
    let _ = issuer.handle_classic(NOW, entity(BOB), 1, units(0), &query);
    let snapshot = issuer.snapshot();
    let restore = |bytes: &[u8]| Issuer::restore(1, ANSWERS_BYTES_MAX, bytes);
    assert!(restore(&snapshot).unwrap() == issuer);
    let other = [&[9], &snapshot[1..]].concat();
    assert_eq!(restore(&other).unwrap_err(), SnapshotError::Version { found: 9 });
    for length in 0..snapshot.len() {
        assert!(restore(&snapshot[..length]).is_err(), "cut at {length}");
    }
    assert!(restore(&[&snapshot[..], &[0]].concat()).is_err());
    // What was changed is refused, or another snapshot: never a fault.
    for at in 0..snapshot.len() {
        for bit in [1, 128] {
            let mut changed = snapshot.clone();
            changed[at] ^= bit;
            if let Ok(restored) = restore(&changed) {
                assert!(restored.snapshot() == changed, "at {at}");
            }
        }
    }
}

#[test]
fn ids_sort_by_time() {
    let at =
        |milliseconds, random| RequestId::at(Timestamp::from_milliseconds(milliseconds), random);
    assert_eq!(
        at(0x0123_4567_89ab, [0xcd; 10]).to_string(),
        "request:0123456789abcdcdcdcdcdcdcdcdcdcd"
    );
    assert!(at(1, [0xff; 10]) < at(2, [0; 10]));
}
