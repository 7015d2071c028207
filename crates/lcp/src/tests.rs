//! Rules as tables, bytes as pinned dumps; promises are in the simulation.

use crate::*;
use fondaco_codec::{Encode, List, Text};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_ledger::{self as ledger, Hold, HoldId, HoldState, Voucher};
use fondaco_units::{Amount, Duration, Scale, Timestamp};
use proptest::prelude::*;

mod classic;
mod commands;
mod invoices;
mod refusals;
mod simulation;

const ISSUER: usize = 0;
const ALICE: usize = 1;
const BOB: usize = 2;
const CAROL: usize = 3;
const NOW: Timestamp = Timestamp::from_milliseconds(1_000_000);
const LATER: Timestamp = Timestamp::from_milliseconds(1_010_000);

fn key(who: usize) -> SecretKey {
    SecretKey::from_bytes(&[u8::try_from(who + 1).unwrap(); 32])
}

/// The entities are asked for thousands of times; deriving a public key is slow.
fn entity(who: usize) -> EntityId {
    static ENTITIES: std::sync::OnceLock<Vec<EntityId>> = std::sync::OnceLock::new();
    ENTITIES.get_or_init(|| (0..8).map(|who| key(who).entity()).collect())[who]
}

fn units(units: u64) -> Amount {
    Amount::new(units)
}

fn currency(transfer_fee: u64) -> Currency {
    Currency {
        id: CurrencyId::issued_by(entity(ISSUER)),
        name: Text::cut("harbour crown"),
        symbol: Text::cut("HCR"),
        scale: Scale::new(2).unwrap(),
        transfer_fee: units(transfer_fee),
        full_handshake_fee: Amount::ZERO,
        account_reserve: Amount::ZERO,
    }
}

fn outbox_of_alice() -> Outbox {
    Outbox::new(currency(0).id, entity(ALICE))
}

fn issuer_of(currency: Currency) -> Issuer {
    Issuer::new(currency, IssuerOptions::default())
}

fn with_fee(mut issuer: Issuer, fee: u64) -> Issuer {
    issuer.currency.transfer_fee = units(fee);
    issuer
}

fn id(number: u128) -> RequestId {
    RequestId::new(number)
}

fn transfer(number: u128, to: usize, amount: u64) -> Request {
    let order = Text::cut("an order");
    Request::Transfer {
        id: id(number),
        to: entity(to),
        amount: units(amount),
        fee_max: units(5),
        order,
    }
}

fn mint(number: u128, to: usize, amount: u64) -> Request {
    Request::Mint { id: id(number), to: entity(to), amount: units(amount) }
}

fn open(number: u128, payee: usize, amount: u64) -> Request {
    let (payee, amount_max) = (entity(payee), units(amount));
    Request::HoldOpen {
        id: id(number),
        payee,
        amount_max,
        order: Digest::of(b"order"),
        expires: LATER,
        open_by: LATER,
    }
}

fn hold_of(payer: usize, number: u128) -> HoldId {
    HoldId::derive(currency(0).id, entity(payer), number)
}

fn post(number: u128, hold: HoldId, cumulative: u64) -> Request {
    let voucher = Voucher { currency: currency(0).id, hold, cumulative: units(cumulative) };
    Request::HoldPost { id: id(number), voucher: voucher.sign(&key(ALICE)) }
}

fn refused(refusal: impl Into<Refusal>) -> Response {
    Response::Refused { refusal: refusal.into() }
}

/// Alice has 1000 and has opened hold 1 of 100 for Bob.
fn issuer() -> Issuer {
    let mut issuer = issuer_of(currency(5));
    let minted = issuer.handle(NOW, entity(ISSUER), &mint(1, ALICE, 1000));
    assert_eq!(minted.response, Response::Minted { supply: units(1000) });
    let opened = issuer.handle(NOW, entity(ALICE), &open(1, BOB, 100));
    assert_eq!(opened.response, Response::HoldOpened { hold: hold_of(ALICE, 1), expires: LATER });
    issuer
}

#[test]
fn answers_to_commands() {
    let hold = hold_of(ALICE, 1);
    let unknown = || refused(ledger::Refusal::UnknownHold { hold });
    let not_issuer = || refused(Refusal::NotIssuer { issuer: entity(ISSUER) });
    let short = |available, wanted| {
        let (available, wanted) = (units(available), units(wanted));
        refused(ledger::Refusal::InsufficientFunds { available, wanted })
    };
    let fee_max_4 = Request::Transfer {
        id: id(9),
        to: entity(BOB),
        amount: units(0),
        fee_max: units(4),
        order: Text::default(),
    };
    let table = [
        (
            "pay",
            ALICE,
            transfer(9, BOB, 10),
            Response::Transferred { fee: units(5), balance: units(885) },
        ),
        (
            "pay all",
            ALICE,
            transfer(9, BOB, 895),
            Response::Transferred { fee: units(5), balance: units(0) },
        ),
        ("pay without the fee", ALICE, transfer(9, BOB, 896), short(900, 901)),
        (
            "agree to less",
            ALICE,
            fee_max_4,
            refused(Refusal::FeeOverMax { fee: units(5), fee_max: units(4) }),
        ),
        ("the issuer is broke but pays no fee", ISSUER, transfer(9, BOB, 1), short(0, 1)),
        ("mint by another", ALICE, mint(9, ALICE, 0), not_issuer()),
        ("mint", ISSUER, mint(9, BOB, 5), Response::Minted { supply: units(1005) }),
        ("redeem by another", ALICE, Request::Redeem { id: id(9), amount: units(0) }, not_issuer()),
        ("redeem too much", ISSUER, Request::Redeem { id: id(9), amount: units(1) }, short(0, 1)),
        (
            "post",
            BOB,
            post(9, hold, 30),
            Response::HoldPosted { paid: units(30), returned: units(70) },
        ),
        ("post by a stranger", CAROL, post(9, hold, 30), unknown()),
        (
            "post by the payer",
            ALICE,
            post(9, hold, 30),
            refused(ledger::Refusal::WrongPayee { hold, payee: entity(BOB) }),
        ),
        ("void by a stranger", CAROL, Request::HoldVoid { id: id(9), hold }, unknown()),
        (
            "void",
            BOB,
            Request::HoldVoid { id: id(9), hold },
            Response::HoldVoided { returned: units(100) },
        ),
        ("acknowledge", ALICE, Request::AckDeposits { id: id(9), through: 1 }, Response::Acked),
        (
            "acknowledge nothing",
            CAROL,
            Request::AckDeposits { id: id(9), through: 0 },
            Response::Acked,
        ),
        (
            "acknowledge the future",
            ALICE,
            Request::AckDeposits { id: id(9), through: 2 },
            refused(Refusal::DepositUnknown { through: 2, last: 1 }),
        ),
    ];
    for (what, who, request, expected) in table {
        let mut issuer = issuer();
        let first = issuer.handle(NOW, entity(who), &request);
        assert_eq!(first.response, expected, "{what}");
        assert!(first.record.is_some(), "{what}: refusals are recorded too");
        // Whatever happens in between, the answer stays, byte for byte.
        let _ = issuer.handle(NOW, entity(ISSUER), &mint(77, ALICE, 500));
        let _ = issuer.handle(NOW, entity(ISSUER), &mint(78, ISSUER, 500));
        let before = issuer.clone();
        let again = issuer.handle(LATER, entity(who), &request);
        assert_eq!(again, Handled { response: expected, record: None }, "{what}, again");
        // The same id for something else is refused, and by another holder it is another command.
        let other = transfer(9, CAROL, 1);
        assert_eq!(
            issuer.handle(LATER, entity(who), &other),
            Handled { response: refused(Refusal::OtherContent { id: id(9) }), record: None },
            "{what}, other content"
        );
        assert!(issuer == before, "{what}: what was answered before changes nothing");
        assert!(issuer.handle(LATER, entity(7), &other).record.is_some());
        assert_eq!(issuer.check(), Ok(()));
    }
}

#[test]
fn answers_to_queries() {
    let hold = hold_of(ALICE, 1);
    let info = Hold {
        payer: entity(ALICE),
        payee: entity(BOB),
        amount_max: units(100),
        order: Digest::of(b"order"),
        expires: LATER,
        state: HoldState::Open,
    };
    let unknown = |hold| refused(ledger::Refusal::UnknownHold { hold });
    let none = || Response::Deposits { list: List::new(vec![]).unwrap(), more: false };
    let deposit =
        Deposit { number: 1, payer: None, amount: units(1000), order: Text::default(), at: NOW };
    let list = List::new(vec![deposit]).unwrap();
    let balance = |available, held, deposits_waiting| Response::Balance {
        available: units(available),
        held: units(held),
        deposits_waiting,
    };
    let described = Response::Described {
        currency: currency(5),
        limits: Limits::remembering(ANSWERS_BYTES_MAX),
        supply: units(1000),
        accounts: 1,
        head: None,
    };
    let other = hold_of(BOB, 1);
    let table = [
        (CAROL, Request::Describe, described),
        (ALICE, Request::Balance, balance(900, 100, 1)),
        (CAROL, Request::Balance, balance(0, 0, 0)),
        (ALICE, Request::HoldInfo { hold }, Response::HoldInfo { info }),
        (BOB, Request::HoldInfo { hold }, Response::HoldInfo { info }),
        (ISSUER, Request::HoldInfo { hold }, Response::HoldInfo { info }),
        (CAROL, Request::HoldInfo { hold }, unknown(hold)),
        (ALICE, Request::HoldInfo { hold: other }, unknown(other)),
        (
            ALICE,
            Request::Deposits { after: 0, wait: Duration::ZERO },
            Response::Deposits { list, more: false },
        ),
        (ALICE, Request::Deposits { after: 1, wait: Duration::ZERO }, none()),
        (ALICE, Request::Deposits { after: u64::MAX, wait: Duration::ZERO }, none()),
        (CAROL, Request::Deposits { after: 0, wait: Duration::ZERO }, none()),
    ];
    let mut issuer = issuer();
    let before = issuer.clone();
    for (who, request, expected) in table {
        let handled = issuer.handle(LATER, entity(who), &request);
        assert_eq!(handled, Handled { response: expected, record: None }, "{request:?} by {who}");
    }
    assert!(issuer == before);
}

#[test]
fn a_post_and_a_transfer_are_noticed_with_their_order() {
    let mut issuer = issuer();
    let _ = issuer.handle(NOW, entity(BOB), &post(1, hold_of(ALICE, 1), 30));
    let _ = issuer.handle(LATER, entity(ALICE), &transfer(2, BOB, 10));
    let page = issuer
        .handle(LATER, entity(BOB), &Request::Deposits { after: 0, wait: Duration::ZERO })
        .response;
    let Response::Deposits { list, more: false } = page else { panic!("{page:?}") };
    let deposit = |number, amount, order: &str, at| Deposit {
        number,
        payer: Some(entity(ALICE)),
        amount: units(amount),
        order: Text::new(order).unwrap(),
        at,
    };
    let order = Digest::of(b"order").to_string();
    assert_eq!(list.as_slice(), [deposit(1, 30, &order, NOW), deposit(2, 10, "an order", LATER)]);
}

/// Due holds expire before a command is applied, at the command's time, and by the tick.
#[test]
fn time_frees_holds_and_never_goes_back() {
    let mut issuer = issuer();
    let mut ticked = issuer.clone();
    assert_eq!(ticked.tick(NOW), None);
    assert!(ticked.tick(LATER).is_some());
    assert_eq!(ticked.tick(LATER), None);
    assert_eq!(ticked.ledger().account(entity(ALICE)).available, units(1000));

    let all = issuer.handle(LATER, entity(ALICE), &transfer(9, BOB, 995));
    assert_eq!(all.response, Response::Transferred { fee: units(5), balance: units(0) });
    // The clock is set back; the hold that would have been open then is closed all the same.
    let late = issuer.handle(NOW, entity(BOB), &post(1, hold_of(ALICE, 1), 1)).response;
    let (hold, state) = (hold_of(ALICE, 1), HoldState::Expired);
    assert_eq!(late, refused(ledger::Refusal::HoldClosed { hold, state }));
    assert_eq!(issuer.last(), LATER);
}

#[test]
fn a_full_box_refuses_transfers_and_mints_but_no_posts() {
    let mut issuer = issuer_of(currency(0));
    let bank = entity(ISSUER);
    for number in 0..DEPOSITS_WAITING_MAX as u128 {
        let minted = issuer.handle(NOW, bank, &mint(number, BOB, 1));
        assert!(matches!(minted.response, Response::Minted { .. }));
    }
    let full = || refused(Refusal::DepositsFull { payee: entity(BOB), deposits_max: 100_000 });
    assert_eq!(issuer.handle(NOW, bank, &mint(u128::MAX, BOB, 1)).response, full());
    let _ = issuer.handle(NOW, bank, &mint(u128::MAX - 1, ALICE, 100));
    assert_eq!(issuer.handle(NOW, entity(ALICE), &transfer(1, BOB, 1)).response, full());
    assert_eq!(issuer.ledger().account(entity(ALICE)).available, units(100));
    let _ = issuer.handle(NOW, entity(ALICE), &open(2, BOB, 10));
    let posted = issuer.handle(NOW, entity(BOB), &post(1, hold_of(ALICE, 2), 1)).response;
    assert_eq!(posted, Response::HoldPosted { paid: units(1), returned: units(9) });

    // All notices come, in pages, and acknowledging opens the box again.
    let (mut after, mut pages) = (0, 0);
    loop {
        let page = issuer
            .handle(NOW, entity(BOB), &Request::Deposits { after, wait: Duration::ZERO })
            .response;
        let Response::Deposits { list, more } = page else { panic!("{page:?}") };
        for deposit in list.as_slice() {
            assert_eq!(deposit.number, after + 1);
            after += 1;
        }
        pages += 1;
        if !more {
            break;
        }
    }
    assert_eq!((after, pages), (100_001, 391));
    let _ = issuer.handle(NOW, entity(BOB), &Request::AckDeposits { id: id(2), through: 100_000 });
    let paid = issuer.handle(NOW, entity(ALICE), &transfer(3, BOB, 1)).response;
    assert!(matches!(paid, Response::Transferred { .. }));
    let page = issuer
        .handle(NOW, entity(BOB), &Request::Deposits { after: 5, wait: Duration::ZERO })
        .response;
    let Response::Deposits { list, more: false } = page else { panic!("{page:?}") };
    assert!(list.as_slice().iter().map(|deposit| deposit.number).eq(100_001..=100_002));
}

#[test]
fn a_halted_issuer_repeats_itself_and_does_nothing_new() {
    let mut issuer = issuer();
    issuer.halt();
    let again = issuer.handle(NOW, entity(ISSUER), &mint(1, ALICE, 1000));
    assert_eq!(again.response, Response::Minted { supply: units(1000) });
    let new = issuer.handle(LATER, entity(ALICE), &transfer(2, BOB, 1));
    assert_eq!(new, Handled { response: refused(Refusal::Halted), record: None });
    assert!(Refusal::Halted.is_transient());
    assert_eq!(issuer.tick(LATER), None);
    assert!(issuer.check().is_err());
}

#[test]
fn records_that_cannot_be_ours_are_refused() {
    let mut live = issuer_of(currency(5));
    let bank = entity(ISSUER);
    let first = live.handle(LATER, bank, &mint(1, ALICE, 1000)).record.unwrap();
    let second = live.handle(LATER, entity(ALICE), &transfer(1, BOB, 10)).record.unwrap();
    let old = issuer_of(currency(5)).handle(NOW, bank, &mint(2, ALICE, 1)).record.unwrap();
    let patched = |at: usize, byte: u8| {
        let mut record = second.clone();
        record[at] ^= byte;
        record
    };
    let foreign = Currency { id: CurrencyId::issued_by(entity(BOB)), ..currency(5) };
    let foreign = issuer_of(foreign).handle(LATER, entity(BOB), &mint(1, BOB, 1)).record.unwrap();
    let query = [&second[..74], &Request::Balance.to_bytes()].concat();
    let tick = {
        let mut idle = first[..18].to_vec();
        idle[1] = 2;
        [idle, vec![1, 0, 0, 0, 0, 0, 0, 0]].concat()
    };
    let diverged = Err(ReplayError::Diverged { now: LATER });
    let repeated = Err(ReplayError::Repeated { holder: bank, id: id(1) });
    let decode = |record: &[u8]| {
        let error = issuer_of(currency(5)).replay(record).unwrap_err();
        assert!(matches!(error, ReplayError::Decode { .. }), "{error}");
    };
    for length in 0..second.len() {
        decode(&second[..length]);
    }
    decode(&[&second[..], &[0]].concat());
    decode(&patched(1, 4));
    let table = [
        ("the next one", second.clone(), Ok(())),
        ("another version", patched(0, 3), Err(ReplayError::Version { found: 1 })),
        ("another currency", foreign, Err(ReplayError::OtherCurrency)),
        ("an older one", old, Err(ReplayError::BackInTime { now: NOW, last: LATER })),
        ("a query", query, Err(ReplayError::NotACommand)),
        ("the same again", first.clone(), repeated),
        ("another holder", patched(20, 1), diverged),
        ("another fee", patched(50, 1), diverged),
        ("another answer", patched(68, 1), diverged),
        ("a tick that did nothing", tick, diverged),
    ];
    for (what, record, expected) in table {
        let mut issuer = issuer_of(currency(9));
        issuer.replay(&first).unwrap();
        let before = issuer.clone();
        assert_eq!(issuer.replay(&record), expected, "{what}");
        match expected {
            Ok(()) => assert!(with_fee(issuer, 5) == live, "{what}"),
            Err(ReplayError::Diverged { .. }) => {
                assert_eq!(issuer.replay(&second), Err(ReplayError::Halted), "{what}");
            }
            Err(_) => assert!(issuer == before, "{what}"),
        }
    }
}

#[test]
fn what_an_outbox_takes() {
    let done = |fee| Response::Transferred { fee: units(fee), balance: units(1) };
    let mut outbox = outbox_of_alice();
    assert_eq!(outbox.prepare(Request::Balance), Err(OutboxError::NotACommand));
    let record = outbox.prepare(transfer(1, BOB, 10)).unwrap();
    assert_eq!(outbox.prepare(transfer(1, BOB, 10)), Ok(record.clone()), "again is harmless");
    assert_eq!(outbox.prepare(transfer(1, BOB, 11)), Err(OutboxError::OtherContent { id: id(1) }));
    outbox.prepare(transfer(0, BOB, 10)).unwrap();
    let pending =
        |outbox: &Outbox| -> Vec<u128> { outbox.pending().map(|(id, _)| id.get()).collect() };
    assert_eq!(pending(&outbox), [1, 0], "in order of preparation");

    let halted = Refusal::Halted;
    let old = Refusal::Version { version: 3 };
    let no = ledger::Refusal::ZeroAmount;
    let fit = |response: Response| (id(1), response);
    let refusals = [
        ((id(5), done(5)), OutboxError::Unknown { id: id(5) }),
        (fit(Response::Acked), OutboxError::DoesNotFit { id: id(1) }),
        (fit(done(6)), OutboxError::DoesNotFit { id: id(1) }),
        (fit(refused(halted)), OutboxError::NotYet { id: id(1), refusal: halted }),
        (fit(refused(old)), OutboxError::NotYet { id: id(1), refusal: old }),
    ];
    for ((id, response), error) in refusals {
        let before = outbox.clone();
        assert_eq!(outbox.settle(id, &response), Err(error));
        assert!(outbox == before);
    }
    let settled = outbox.settle(id(1), &done(5)).unwrap();
    assert_eq!(outbox.settle(id(1), &done(5)), Ok(settled.clone()), "again is harmless");
    assert_eq!(outbox.settle(id(1), &done(4)), Err(OutboxError::OtherOutcome { id: id(1) }));
    assert_eq!(outbox.outcome(id(1)), Some(&done(5)));
    assert_eq!((pending(&outbox), outbox.outcome(id(0))), (vec![0], None));
    outbox.settle(id(0), &refused(no)).unwrap();
    assert_eq!(outbox.outcome(id(0)), Some(&refused(no)));

    let mut replayed = outbox_of_alice();
    assert_eq!(replayed.replay(&settled), Err(OutboxError::Unknown { id: id(1) }));
    assert_eq!(replayed.replay(&[9]), Err(OutboxError::Version { found: 9 }));
    assert!(matches!(
        replayed.replay(&record[1..]),
        Err(OutboxError::Decode { .. } | OutboxError::Version { .. })
    ));
    assert!(matches!(replayed.replay(&record[..9]), Err(OutboxError::Decode { .. })));
    for record in [&record, &record, &settled, &settled] {
        replayed.replay(record).unwrap();
    }
    assert_eq!(replayed.outcome(id(1)), Some(&done(5)));
}

/// A payment that was made is untold until somebody says so; one that was refused is not to be told again.
#[test]
fn an_outbox_knows_what_was_not_told() {
    let pay = |number| Request::Transfer {
        id: id(number),
        to: entity(BOB),
        amount: units(7),
        fee_max: units(0),
        order: Text::default(),
    };
    let mut outbox = outbox_of_alice();
    let mut journal: Vec<Vec<u8>> = (1..=3).map(|n| outbox.prepare(pay(n)).unwrap()).collect();
    assert_eq!(outbox.tell(id(1)), Err(OutboxError::Unknown { id: id(1) }), "it is pending");
    let paid = Response::Transferred { fee: units(0), balance: units(1) };
    let refusal = ledger::Refusal::ZeroAmount.into();
    journal.push(outbox.settle(id(1), &paid).unwrap());
    journal.push(outbox.settle(id(2), &Response::Refused { refusal }).unwrap());
    let untold = |outbox: &Outbox| outbox.untold().map(|(id, _)| *id).collect::<Vec<_>>();
    assert_eq!(untold(&outbox), [id(1)]);
    journal.push(outbox.tell(id(1)).unwrap());
    assert_eq!(untold(&outbox), []);
    let mut again = outbox_of_alice();
    journal.iter().for_each(|record| again.replay(record).unwrap());
    assert_eq!(again, outbox);
}

#[test]
fn an_outbox_has_a_most() {
    let mut outbox = outbox_of_alice();
    for number in 0..PENDING_MAX as u128 {
        outbox.prepare(transfer(number, BOB, 1)).unwrap();
    }
    let full = Err(OutboxError::Full { pending_max: PENDING_MAX });
    assert_eq!(outbox.prepare(transfer(u128::MAX, BOB, 1)), full);
    outbox.settle(id(5), &refused(ledger::Refusal::ZeroAmount)).unwrap();
    assert!(outbox.prepare(transfer(u128::MAX, BOB, 1)).is_ok());
}

#[test]
fn the_largest_messages_fit_their_frames() {
    let order = Text::<64>::new("o".repeat(64)).unwrap();
    let request = Request::Transfer {
        id: id(u128::MAX),
        to: entity(BOB),
        amount: Amount::MAX,
        fee_max: Amount::MAX,
        order: order.clone(),
    };
    let (payer, at) = (Some(entity(ALICE)), Timestamp::from_milliseconds(u64::MAX));
    let deposit = Deposit { number: u64::MAX, payer, amount: Amount::MAX, order, at };
    let list = List::new(vec![deposit; DEPOSITS_PER_PAGE_MAX]).unwrap();
    let response = Response::Deposits { list, more: true };
    assert_eq!(request.to_frame().len(), 134);
    // A post is longer: it bears a signature.
    assert_eq!(post(1, hold_of(ALICE, 1), 1).to_frame().len(), 154);
    assert_eq!(response.to_frame().len(), 32_007);
    assert!(response.to_frame().len() <= RESPONSE_BYTES_MAX);
    assert_eq!(Response::from_frame(&response.to_frame()), Ok(response));

    let long = vec![VERSION; REQUEST_BYTES_MAX + 1];
    let (length, length_max) = (long.len(), REQUEST_BYTES_MAX);
    assert_eq!(Request::from_frame(&long), Err(FrameError::TooLong { length, length_max }));
    assert_eq!(Request::from_frame(&[1, 200]), Err(FrameError::Version { found: 1 }));
    assert!(matches!(Request::from_frame(&[]), Err(FrameError::Decode { .. })));
    assert!(matches!(Request::from_frame(&[VERSION, 1, 0]), Err(FrameError::Decode { .. })));
}

proptest! {
    /// Whatever bytes arrive, they are refused or they are the one encoding of what they say.
    #[test]
    fn frames_are_canonical(tag in 0..29_u8, bytes in proptest::collection::vec(0..20_u8, 0..180)) {
        let frame = [&[VERSION, tag], bytes.as_slice()].concat();
        for length in 0..=frame.len() {
            if let Ok(request) = Request::from_frame(&frame[..length]) {
                prop_assert_eq!(request.to_frame(), &frame[..length]);
            }
            if let Ok(response) = Response::from_frame(&frame[..length]) {
                prop_assert_eq!(response.to_frame(), &frame[..length]);
            }
        }
    }

    /// Whatever is read from a disk, an issuer and an outbox take it or refuse it.
    #[test]
    fn records_are_taken_or_refused(kind in 0..3_u8, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let record = [&[2, kind], bytes.as_slice()].concat();
        prop_assert!(issuer_of(currency(0)).replay(&record).is_err());
        let _ = outbox_of_alice().replay(&record);
    }

    #[test]
    fn request_ids_survive_their_text_form(random: u128) {
        prop_assert_eq!(id(random).to_string().parse(), Ok(id(random)));
        prop_assert!(id(random).to_string().to_uppercase().parse::<RequestId>().is_err());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pins the bytes that `docs/formats/lcp2.md` shows.
#[test]
fn the_bytes_of_a_transfer() {
    let bank = EntityId::from_bytes([0x11; 32]);
    let alice = EntityId::from_bytes([0x22; 32]);
    let bob = EntityId::from_bytes([0x33; 32]);
    let currency = Currency { id: CurrencyId::issued_by(bank), ..currency(5) };
    let mut issuer = issuer_of(currency);
    let _ = issuer.handle(NOW, bank, &Request::Mint { id: id(1), to: alice, amount: units(1000) });
    let request = Request::Transfer {
        id: id(2),
        to: bob,
        amount: units(100),
        fee_max: units(5),
        order: Text::cut("tea"),
    };
    let frame = request.to_frame();
    let (bob, alice_hex) = ("33".repeat(32), "22".repeat(32));
    let request_hex = format!(
        "10{}{bob}64000000000000000500000000000000{}",
        "02000000000000000000000000000000", "03000000746561"
    );
    assert_eq!(hex(&frame), format!("02{request_hex}"));
    let handled = issuer.handle(NOW, alice, &request);
    assert_eq!(hex(&handled.response.to_frame()), "021005000000000000007f03000000000000");
    let record = handled.record.unwrap();
    let (journal, answer) = ("e42a94a4933dad46", "2084c280ae5d2572");
    let prices = "05000000000000000000000000000000";
    let expected = format!("0201{journal}40420f0000000000{alice_hex}{prices}{answer}{request_hex}");
    assert_eq!(hex(&record), expected);
}
