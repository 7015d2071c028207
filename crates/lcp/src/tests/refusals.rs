//! Which refusal is given where several apply: the machine, the enum and the pages have one order.

use super::*;
use crate::classic::{Answer, Ask, AskBody, Fault};

/// The names in a column of the first table behind `head`.
fn column<'a>(page: &'a str, head: &str, at: usize) -> Vec<&'a str> {
    let (_, table) = page.split_once(head).unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|line| line.split('|').nth(at).unwrap().trim().trim_matches('`')).collect()
}

/// The name of a value: what `Debug` says first.
fn name(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric()).collect()
}

fn refusals_of_the_page() -> Vec<&'static str> {
    let page = include_str!("../../../../docs/formats/lcp2.md");
    column(page, "| tag | refusal, in order of precedence", 2)
}

fn position(order: &[&str], name: &str) -> usize {
    order.iter().position(|it| *it == name).unwrap_or_else(|| panic!("{name} is not on the page"))
}

#[test]
fn the_page_lists_refusals_as_the_code_does() {
    let source = include_str!("../refusal.rs");
    let (_, variants) = source.split_once("pub enum Refusal {").unwrap();
    let (variants, _) = variants.split_once("\nchoice!").unwrap();
    let declared = variants.lines().filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        line.starts_with(|first: char| first.is_ascii_uppercase()).then(|| name(line))
    });
    assert_eq!(declared.collect::<Vec<_>>(), refusals_of_the_page());
}

/// An issuer in which as much as possible is wrong at once: halted, and without room.
fn worst(mut issuer: Issuer) -> Issuer {
    issuer.set_full(true);
    issuer.halt();
    issuer
}

fn full(mut issuer: Issuer) -> Issuer {
    issuer.set_full(true);
    issuer
}

/// Carol's account went to the key 7.
fn rotated() -> Issuer {
    let mut issuer = issuer();
    let _ = issuer.handle(NOW, entity(ISSUER), &mint(7, CAROL, 50));
    let (old, new) = (entity(CAROL), entity(7));
    let rotation = Rotation { currency: currency(0).id, old, new };
    let (by_old, by_new) = (rotation.sign(&key(CAROL)), rotation.sign(&key(7)));
    let rotate = Request::Rotate { id: id(7), to: new, by_old, by_new };
    let done = issuer.handle(NOW, old, &rotate).response;
    assert_eq!(done, Response::Rotated { to: new });
    issuer
}

/// Bob's box is full.
fn full_box() -> Issuer {
    let mut issuer = issuer();
    let bank = entity(ISSUER);
    for number in 100..100 + DEPOSITS_WAITING_MAX as u128 {
        let minted = issuer.handle(NOW, bank, &mint(number, BOB, 1));
        assert!(matches!(minted.response, Response::Minted { .. }));
    }
    issuer
}

#[test]
fn the_first_refusal_that_applies_is_given() {
    let forgetful = || {
        let options = IssuerOptions { answers_bytes_max: 0, ..IssuerOptions::default() };
        let mut issuer = Issuer::new(currency(5), options);
        let _ = issuer.handle(NOW, entity(ISSUER), &mint(9, ALICE, 1000));
        let _ = issuer.handle(NOW, entity(ALICE), &transfer(9, BOB, 1));
        issuer
    };
    let dear = |number, to, amount| {
        let Request::Transfer { id, order, .. } = transfer(number, BOB, 1) else { unreachable!() };
        let (to, amount) = (entity(to), units(amount));
        Request::Transfer { id, to, amount, fee_max: units(4), order }
    };
    let late = |number| {
        let Request::HoldOpen { id, order, expires, .. } = open(number, BOB, 1) else {
            unreachable!()
        };
        let (payee, amount_max) = (entity(ALICE), units(0));
        let open_by = Timestamp::from_milliseconds(1);
        Request::HoldOpen { id, payee, amount_max, order, expires, open_by }
    };
    let unsigned = Request::Rotate {
        id: id(60),
        to: entity(ISSUER),
        by_old: key(BOB).sign(fondaco_crypto::Domain::new("test"), b""),
        by_new: key(BOB).sign(fondaco_crypto::Domain::new("test"), b""),
    };
    let history = Request::History { before: 0, count: 1 };
    let unknown = Request::AckDeposits { id: id(61), through: 99 };
    // Where, who, what; what applies beside what is given.
    let table: Vec<(&str, Issuer, usize, Request, &str)> = vec![
        ("history, of a key of before", worst(rotated()), CAROL, history.clone(), "Rotated"),
        ("all else, by a key of before", worst(rotated()), CAROL, transfer(7, BOB, 0), "Rotated"),
        ("history", worst(issuer()), ALICE, history, "Unavailable"),
        ("used, halted, full", worst(issuer()), ALICE, transfer(1, BOB, 0), "OtherContent"),
        ("forgotten, halted, full", worst(forgetful()), ALICE, transfer(9, BOB, 1), "Forgotten"),
        ("halted, full, not issuer", worst(issuer()), ALICE, mint(50, BOB, 0), "Halted"),
        ("full, not issuer", full(issuer()), ALICE, mint(50, BOB, 0), "NoSpace"),
        ("not issuer, zero", issuer(), ALICE, mint(50, BOB, 0), "NotIssuer"),
        ("late, zero, to oneself", issuer(), ALICE, late(51), "TooLate"),
        ("unsigned, to the issuer", issuer(), ALICE, unsigned, "BadRotation"),
        ("dear, full box, zero", full_box(), ALICE, dear(52, BOB, 0), "FeeOverMax"),
        ("full box, zero", full_box(), ALICE, transfer(53, BOB, 0), "DepositsFull"),
        ("more than arrived", issuer(), ALICE, unknown, "DepositUnknown"),
        ("zero, to oneself", issuer(), ALICE, transfer(54, ALICE, 0), "Ledger"),
    ];
    let (order, mut last) = (refusals_of_the_page(), 0);
    for (what, mut issuer, who, request, expected) in table {
        let handled = issuer.handle(NOW, entity(who), &request);
        let Response::Refused { refusal } = handled.response else {
            panic!("{what}: {:?}", handled.response)
        };
        assert_eq!(name(&format!("{refusal:?}")), expected, "{what}");
        let at = position(&order, expected);
        assert!(at >= last, "{what} stands before what it came behind");
        last = at;
    }
    // The version is looked at before all of that: nothing else was read.
    let other = Request::from_frame(&[9, 9, 9]);
    assert!(matches!(other, Err(FrameError::Version { .. })), "{other:?}");
}

/// What was answered before is answered again, whatever hinders what is new.
#[test]
fn known_answers_come_first() {
    let asked = [transfer(40, BOB, 10), transfer(41, BOB, 5000)];
    let mut issuer = issuer();
    let first: Vec<Response> =
        asked.iter().map(|asked| issuer.handle(NOW, entity(ALICE), asked).response).collect();
    let message = |counter| Ask {
        counter,
        body: AskBody::Transfer { to: entity(BOB), amount: units(3), order: Text::default() },
    };
    let told = issuer.handle_classic(NOW, entity(ALICE), 1, Amount::ZERO, &message(0)).answer;
    for mut issuer in [full(issuer.clone()), worst(issuer)] {
        let before = issuer.clone();
        for (asked, first) in asked.iter().zip(&first) {
            let again = issuer.handle(LATER, entity(ALICE), asked);
            assert_eq!(again, Handled { response: first.clone(), record: None });
        }
        let again = issuer.handle_classic(LATER, entity(ALICE), 1, Amount::ZERO, &message(0));
        assert_eq!(again, HandledClassic { answer: told.clone(), record: None });
        let new = issuer.handle_classic(LATER, entity(ALICE), 1, Amount::ZERO, &message(1));
        assert!(matches!(new.answer, Answer::Fault { .. }) && new.record.is_none());
        assert!(matches!(
            issuer.handle(NOW, entity(ALICE), &Request::Balance).response,
            Response::Balance { .. }
        ));
        assert!(issuer == before, "nothing changes");
    }
    let mut issuer = full(self::issuer());
    let refusal = issuer.handle(NOW, entity(ALICE), &transfer(40, BOB, 10)).response;
    assert_eq!(refusal, refused(Refusal::NoSpace));
    // With room again the same is done: it was not remembered as refused.
    issuer.set_full(false);
    let done = issuer.handle(NOW, entity(ALICE), &transfer(40, BOB, 10)).response;
    assert!(matches!(done, Response::Transferred { .. }), "{done:?}");
}

#[test]
fn the_first_fault_that_applies_is_given() {
    let pay = |counter, to: usize, amount| Ask {
        counter,
        body: AskBody::Transfer { to: entity(to), amount: units(amount), order: Text::default() },
    };
    // Alice has spoken on connection 8 under the counter 5.
    let spoken = |mut issuer: Issuer| {
        issuer.accepted_classic(8);
        let query = Ask { counter: 5, body: AskBody::Query };
        let _ = issuer.handle_classic(NOW, entity(ALICE), 8, Amount::ZERO, &query);
        issuer
    };
    let alice = || spoken(issuer());
    let of_before = || {
        let mut issuer = rotated();
        issuer.accepted_classic(8);
        worst(issuer)
    };
    // Carol has no account, and needs 50 to get one; Bob takes 1.
    let poor = || {
        let currency = Currency { account_reserve: units(50), ..currency(5) };
        let mut issuer = issuer_of(currency);
        for (number, who, amount) in [(1, ALICE, 60), (2, BOB, 50)] {
            let _ = issuer.handle(NOW, entity(ISSUER), &mint(number, who, amount));
        }
        let limit = Request::Accept { id: id(1), balance_max: units(51) };
        assert_eq!(issuer.handle(NOW, entity(BOB), &limit).response, Response::Accepted);
        let _ = issuer.handle(NOW, entity(ALICE), &transfer(2, ISSUER, 53));
        spoken(issuer)
    };
    let table: Vec<(&str, Issuer, usize, u64, Ask, &str)> = vec![
        ("a key of before, fenced, halted", of_before(), CAROL, 7, pay(5, BOB, 0), "KeyRotated"),
        ("fenced, used, halted", worst(alice()), ALICE, 7, pay(5, BOB, 0), "Fenced"),
        ("used, halted, full", worst(alice()), ALICE, 8, pay(5, BOB, 0), "OtherContent"),
        ("stale, halted, full", worst(alice()), ALICE, 8, pay(4, BOB, 0), "StaleCounter"),
        ("halted, full, zero", worst(alice()), ALICE, 8, pay(6, BOB, 0), "Halted"),
        ("full, zero", full(alice()), ALICE, 8, pay(6, BOB, 0), "NoSpace"),
        ("full box, zero", spoken(full_box()), ALICE, 8, pay(6, BOB, 0), "DepositsFull"),
        ("zero, to oneself", alice(), ALICE, 8, pay(6, ALICE, 0), "ZeroAmount"),
        ("to oneself, too much", alice(), ALICE, 8, pay(6, ALICE, 9999), "SelfTransfer"),
        ("under the reserve, too much", poor(), ALICE, 8, pay(6, CAROL, 40), "UnderReserve"),
        ("too much, over the limit", poor(), ALICE, 8, pay(6, BOB, 40), "InsufficientFunds"),
        ("over the limit", alice_and_bobs_limit(), ALICE, 8, pay(6, BOB, 40), "OverLimit"),
    ];
    let page = include_str!("../../../../docs/formats/lcp2003.md");
    let order = column(page, "Of the issuer's books, in order of precedence", 1);
    let mut last = 0;
    for (what, mut issuer, who, connection, ask, expected) in table {
        let handled = issuer.handle_classic(NOW, entity(who), connection, Amount::ZERO, &ask);
        let Answer::Fault { fault } = handled.answer else {
            panic!("{what}: {:?}", handled.answer)
        };
        let given = match fault {
            Fault::Refused { refusal: Refusal::Rotated { .. } } => "KeyRotated".to_owned(),
            Fault::Refused { refusal: Refusal::Ledger { refusal } } => {
                name(&format!("{refusal:?}"))
            }
            Fault::Refused { refusal } => name(&format!("{refusal:?}")),
            fault => name(&format!("{fault:?}")),
        };
        assert_eq!(given, expected, "{what}");
        let at = position(&order, expected);
        assert!(at >= last, "{what} stands before what it came behind");
        last = at;
    }
}

/// Alice has enough, and Bob takes 1 more at most.
fn alice_and_bobs_limit() -> Issuer {
    let mut issuer = issuer();
    let _ = issuer.handle(NOW, entity(ISSUER), &mint(2, BOB, 50));
    let limit = Request::Accept { id: id(1), balance_max: units(51) };
    assert_eq!(issuer.handle(NOW, entity(BOB), &limit).response, Response::Accepted);
    issuer
}
