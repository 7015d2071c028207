//! What a book takes, and that it is made again from what the hosts kept.

use super::*;
use fondaco_codec::{Decode as _, Encode as _, List, Text};
use fondaco_contract::{Ending, Meter, PriceList, State, Tab, Terms};
use fondaco_crypto::{CurrencyId, SecretKey};
use fondaco_erasure::Layout;
use fondaco_lcp::RequestId;
use fondaco_ports::Address;
use fondaco_units::{Duration, Price};
use proptest::prelude::*;

pub(crate) fn terms(nonce: u128) -> Terms {
    let key = SecretKey::from_bytes(&[1; 32]);
    let prices = PriceList {
        provider: key.entity(),
        currency: CurrencyId::issued_by(key.entity()),
        open: Amount::new(1),
        store: Price::from_parts(2),
        write: Price::from_parts(3),
        read: Price::from_parts(4),
        capacity: Bytes::new(1 << 30),
        period_max: Duration::from_seconds(7200),
        epoch: Duration::from_seconds(3600),
        step_max: Bytes::new(1 << 18),
        issued: Timestamp::EPOCH,
        expires: Timestamp::from_milliseconds(9),
    };
    let span = Duration::from_seconds(3600);
    let size = Bytes::new(1 << 20);
    Terms::new(key.entity(), &prices.sign(&key), size, Timestamp::EPOCH, span, nonce)
}

/// Terms with a provider for each number.
pub(crate) fn terms_by(number: u8) -> Terms {
    let mut terms = terms(number.into());
    terms.prices.provider = SecretKey::from_bytes(&[number; 32]).entity();
    terms
}

pub(crate) fn intended_by(number: u8) -> Event {
    intended_as(terms_by(number))
}

pub(crate) fn opened_by(number: u8) -> Event {
    let provider_signature = Signature::from_bytes([5; 64]);
    Event::ContractOpened { contract: terms_by(number).id(), provider_signature }
}

pub(crate) fn intended(nonce: u128) -> Event {
    intended_as(terms(nonce))
}

fn intended_as(terms: Terms) -> Event {
    let nonce = terms.nonce;
    Event::ContractIntended {
        terms,
        address: Address::new(EntityId::from_bytes([7; 32]), ["127.0.0.1:1".parse().unwrap()]),
        hold_request: RequestId::new(nonce),
        hold_max: Amount::new(100),
        hold_expires: Timestamp::EPOCH,
    }
}

pub(crate) fn opened(nonce: u128) -> Event {
    let provider_signature = Signature::from_bytes([5; 64]);
    Event::ContractOpened { contract: terms(nonce).id(), provider_signature }
}

fn seen(nonce: u128, stored: u64) -> Event {
    let tab = Tab { stored: Bytes::new(stored), ..Tab::default() };
    Event::AccountSeen { contract: terms(nonce).id(), tab }
}

fn ended(nonce: u128) -> Event {
    let (tab, paid) = (Tab::default(), Amount::new(9));
    Event::ContractEnded { contract: terms(nonce).id(), tab, paid }
}

pub(crate) fn over(nonce: u128, why: Ending, kept: bool) -> Event {
    let state = State::ended(Timestamp::from_milliseconds(7), why);
    let (tab, paid) = (Some(Tab::default()), Some(Amount::new(9)));
    Event::ContractOver { contract: terms(nonce).id(), state, tab, paid, kept }
}

fn hold_closed(nonce: u128) -> Event {
    Event::HoldClosed { contract: terms(nonce).id(), paid: Amount::new(8) }
}

fn renewal_terms(nonce: u128) -> Terms {
    Terms { nonce: nonce + 100, ..terms(nonce) }.renewing(terms(nonce).id())
}

fn renewal_intended(nonce: u128) -> Event {
    let Event::ContractIntended { address, hold_request, hold_max, hold_expires, .. } =
        intended(nonce)
    else {
        unreachable!()
    };
    let terms = renewal_terms(nonce);
    Event::ContractIntended { terms, address, hold_request, hold_max, hold_expires }
}

fn renewed(nonce: u128) -> Event {
    Event::ContractRenewed {
        from: terms(nonce).id(),
        tab: Tab::default(),
        paid: Amount::new(9),
        to: renewal_terms(nonce).id(),
        provider_signature: Signature::from_bytes([5; 64]),
    }
}

pub(crate) fn set(k: u8, nonces: &[u128]) -> Event {
    let contracts = nonces.iter().map(|&nonce| terms(nonce).id()).collect();
    let contracts = List::new(contracts).unwrap();
    Event::SetFormed { coding: Coding::Cauchy8, k, contracts }
}

fn audited(nonce: u128, quarters: u64, verdict: Verdict) -> Event {
    let at = Timestamp::from_milliseconds(quarters * 900_000);
    Event::Audited { contract: terms(nonce).id(), at, verdict }
}

fn object(name: u8) -> ObjectId {
    ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([name; 32]) }
}

fn stored(name: u8, set: u32, shards: usize) -> Event {
    let shards = List::new(vec![ShardId::of(&[name]); shards]).unwrap();
    Event::ObjectStored { object: object(name), length: Bytes::new(10), set, shards }
}

fn coded(name: u8, set: u32, k: u8, shards: usize) -> Event {
    let shards = List::new(vec![ShardId::of(&[name]); shards]).unwrap();
    Event::ObjectCoded { object: object(name), length: Bytes::new(10), set, k, shards }
}

fn tagged(name: u8, set: u32, shards: usize) -> Event {
    match stored(name, set, shards) {
        Event::ObjectStored { object, length, set, shards } => {
            let tagged = Digest::of(&[name]);
            Event::TaggedObjectStored { object, length, set, k: 1, shards, tagged }
        }
        other => other,
    }
}

fn promised(set: u32, survive: f64) -> Event {
    Event::SetPromised { set, survive: survive.to_bits() }
}

fn slot(set: u32, index: u8, nonce: u128) -> Event {
    Event::SlotIntended { set, index, contract: terms(nonce).id() }
}

fn replaced(set: u32, index: u8, nonce: u128) -> Event {
    Event::SlotReplaced { set, index, contract: terms(nonce).id() }
}

/// A set of one contract, another that is open, a third that is not; and what follows.
fn repairing(more: &[Event]) -> Vec<Event> {
    let before = [intended(1), intended(2), intended(3), opened(1), opened(2), set(1, &[1])];
    before.into_iter().chain(more.iter().cloned()).collect()
}

#[test]
fn a_slot_moves_with_all_that_it_holds() {
    let mut book = Book::default();
    let (old, new) = (terms(1).id(), terms(2).id());
    repairing(&[stored(1, 0, 1)]).iter().for_each(|event| book.apply(event).unwrap());
    assert_eq!((book.given(old).get(), book.given(new).get()), (64, 0));
    // While it is being repaired, the old contract has the slot; what is stored now is to go to both.
    for event in [slot(0, 0, 2), stored(2, 0, 1)] {
        book.apply(&event).unwrap();
    }
    assert_eq!(book.set(0).unwrap().contracts, [old]);
    assert_eq!((book.given(old).get(), book.given(new).get()), (128, 128));
    assert_eq!(book.repairs().collect::<Vec<_>>(), [(0, 0, new)]);
    assert_eq!(book.holding(), BTreeSet::from([old, new]));
    book.apply(&replaced(0, 0, 2)).unwrap();
    assert_eq!(book.set(0).unwrap().contracts, [new]);
    assert_eq!(book.holding(), BTreeSet::from([new]));
    assert_eq!(book.repairs().count(), 0);
    // As the hosts keep it.
    let mut kept = Book::default();
    book.events().iter().for_each(|event| kept.apply(event).unwrap());
    assert_eq!((kept.set(0), kept.given(new)), (book.set(0), book.given(new)));
}

fn giving_all(set: u32, bytes: u64) -> Event {
    Event::GivingAll { set, bytes: Bytes::new(bytes) }
}

fn giving(nonce: u128, bytes: u64) -> Event {
    Event::Giving { contract: terms(nonce).id(), bytes: Bytes::new(bytes) }
}

fn marked(nonce: u128, bytes: u64) -> Event {
    Event::StateMarked { contract: terms(nonce).id(), bytes: Bytes::new(bytes) }
}

fn deleted(nonce: u128, freed: u64) -> Event {
    let (contract, at) = (terms(nonce).id(), Timestamp::EPOCH);
    let freed = Bytes::new(freed);
    let deletion = fondaco_contract::Deletion { contract, shard: Digest::ZERO, at, freed };
    Event::ShardDeleted { receipt: deletion.sign(&SecretKey::from_bytes(&[1; 32])) }
}

/// Whatever was cut off, a host has at most what is counted; and what it has no more is counted no longer.
#[test]
fn what_may_lie_with_a_host_is_counted_before_it_is_sent() {
    let share = 80;
    // What happened; the most that the host may have after it.
    let table = [
        (giving_all(0, share), share),
        // Both parts of one put: counted once.
        (tagged(3, 0, 1), share),
        // Stored again, also in a set that shares the contract: it is there once.
        (tagged(3, 0, 1), share),
        (set(1, &[1]), share),
        (tagged(3, 1, 1), share),
        // A put that a crash cut off.
        (giving_all(0, share), 2 * share),
        // The host was away when this was deleted, and then had it.
        (Event::ObjectRemoved { object: object(3) }, 2 * share),
        (deleted(1, share), share),
        (deleted(1, 0), share),
        // The book itself: the one before is dropped when the next is marked.
        (giving(1, 1000), share + 1000),
        (marked(1, 1000), share + 1000),
        (giving(1, 1100), share + 2100),
        (marked(1, 1100), share + 1100),
        (renewal_intended(1), share + 1100),
    ];
    let mut book = Book::default();
    [intended(1), opened(1), set(1, &[1])].iter().for_each(|event| book.apply(event).unwrap());
    for (event, most) in table {
        book.apply(&event).unwrap();
        assert_eq!(book.given(terms(1).id()).get(), most, "{event:?}");
    }
    book.apply(&renewed(1)).unwrap();
    assert_eq!(book.given(renewal_terms(1).id()).get(), share + 1100);
}

fn unanswered(nonce: u128, offset: u64) -> Event {
    let (contract, shard) = (terms(nonce).id(), ShardId::of(b"read"));
    Event::ReadUnanswered { contract, shard, offset: Bytes::new(offset), length: Bytes::new(9) }
}

/// A read that was not answered is remembered until an audit is passed, across a renewal too.
#[test]
fn an_unanswered_read_is_owed_until_it_was_proven() {
    let mut book = Book::default();
    let owed = |book: &Book, nonce| {
        let contract = if nonce == 0 { renewal_terms(1).id() } else { terms(nonce).id() };
        book.unanswered(contract).map(|read| read.offset.get())
    };
    for (event, first, renewed, other) in [
        (intended(1), None, None, None),
        (opened(1), None, None, None),
        (intended(2), None, None, None),
        (unanswered(1, 5), Some(5), None, None),
        (unanswered(2, 6), Some(5), None, Some(6)),
        (audited(1, 1, Verdict::Failed), Some(5), None, Some(6)),
        (renewal_intended(1), Some(5), None, Some(6)),
        (renewed(1), None, Some(5), Some(6)),
        (audited(2, 1, Verdict::Proven), None, Some(5), None),
    ] {
        book.apply(&event).unwrap();
        assert_eq!((owed(&book, 1), owed(&book, 0), owed(&book, 2)), (first, renewed, other));
    }
}

/// A shard with tags is longer, and its host may say so.
#[test]
fn tags_count_as_given() {
    let (mut with, mut without) = (Book::default(), Book::default());
    for event in [intended(1), opened(1), set(1, &[1])] {
        with.apply(&event).unwrap();
        without.apply(&event).unwrap();
    }
    with.apply(&tagged(3, 0, 1)).unwrap();
    without.apply(&stored(3, 0, 1)).unwrap();
    let contract = terms(1).id();
    assert_eq!(without.given(contract), Bytes::new(64));
    assert_eq!(with.given(contract), Bytes::new(80));
    let layout = Layout::new(with.set(0).unwrap().code, 10).unwrap();
    assert_eq!(with.object(object(3)).unwrap().shard_size(layout), 80);
    assert_eq!(without.object(object(3)).unwrap().shard_size(layout), 64);
    with.apply(&Event::AuditsLogged { entries: 2, link: Digest::of(b"x") }).unwrap();
    assert_eq!(with.audits(), LogHead { entries: 2, link: Some(Digest::of(b"x")) });
}

#[test]
fn events_must_fit() {
    let contract = terms(1).id();
    let table: Vec<(Vec<Event>, Result<(), BookError>)> = vec![
        (vec![intended(1)], Ok(())),
        (vec![intended(1), intended(1)], Err(BookError::Contract { contract })),
        (vec![opened(1)], Err(BookError::Contract { contract })),
        (vec![intended(1), opened(1)], Ok(())),
        (vec![intended(1), opened(1), opened(1)], Err(BookError::Contract { contract })),
        (vec![intended(1), ended(1)], Ok(())),
        (vec![intended(1), opened(1), ended(1)], Ok(())),
        (vec![intended(1), ended(1), opened(1)], Err(BookError::Contract { contract })),
        (vec![intended(1), ended(1), ended(1)], Err(BookError::Contract { contract })),
        (vec![intended(1), over(1, Ending::Lost, false)], Ok(())),
        (vec![over(1, Ending::Lost, false)], Err(BookError::Contract { contract })),
        (
            vec![intended(1), ended(1), over(1, Ending::Lost, false)],
            Err(BookError::Contract { contract }),
        ),
        (
            vec![
                intended(1),
                Event::ContractOver {
                    contract,
                    state: State::Open,
                    tab: None,
                    paid: None,
                    kept: false,
                },
            ],
            Err(BookError::Contract { contract }),
        ),
        (vec![intended(1), opened(1), hold_closed(1)], Err(BookError::Contract { contract })),
        (vec![intended(1), opened(1), ended(1), hold_closed(1)], Ok(())),
        (
            repairing(&[slot(0, 0, 2), over(2, Ending::Lost, false), replaced(0, 0, 2)]),
            Err(BookError::Slot { set: 0, index: 0 }),
        ),
        (vec![set(1, &[1])], Err(BookError::Contract { contract })),
        (vec![intended(1), set(1, &[])], Err(BookError::Set { set: 0 })),
        (vec![intended(1), set(2, &[1])], Err(BookError::Set { set: 0 })),
        (vec![intended(1), set(0, &[1])], Err(BookError::Set { set: 0 })),
        (vec![intended(1), set(1, &[1]), stored(1, 0, 1)], Ok(())),
        (vec![intended(1), set(1, &[1]), stored(1, 0, 2)], Err(BookError::Set { set: 0 })),
        (vec![intended(1), set(1, &[1]), stored(1, 1, 1)], Err(BookError::Set { set: 1 })),
        (vec![intended(1), intended(2), set(2, &[1, 2]), coded(1, 0, 1, 2)], Ok(())),
        (
            vec![intended(1), intended(2), set(2, &[1, 2]), coded(1, 0, 3, 2)],
            Err(BookError::Set { set: 0 }),
        ),
        (
            vec![intended(1), intended(2), set(2, &[1, 2]), coded(1, 0, 0, 2)],
            Err(BookError::Set { set: 0 }),
        ),
        (vec![intended(1), set(1, &[1]), tagged(1, 0, 1)], Ok(())),
        (vec![intended(1), set(1, &[1]), tagged(1, 0, 2)], Err(BookError::Set { set: 0 })),
        (vec![Event::ObjectRemoved { object: object(1) }], Ok(())),
        (vec![giving(1, 9)], Err(BookError::Contract { contract })),
        (vec![intended(1), giving(1, 9), marked(1, 9)], Ok(())),
        (vec![marked(1, 9)], Err(BookError::Contract { contract })),
        (vec![giving_all(0, 9)], Err(BookError::Set { set: 0 })),
        (vec![audited(1, 5, Verdict::Proven)], Err(BookError::Contract { contract })),
        (vec![intended(1), audited(1, 5, Verdict::Failed)], Ok(())),
        (vec![unanswered(1, 5)], Err(BookError::Contract { contract })),
        (vec![intended(1), unanswered(1, 5)], Ok(())),
        (vec![Event::ContractLost { contract }], Err(BookError::Contract { contract })),
        (vec![intended(1), Event::ContractLost { contract }], Ok(())),
        (vec![Event::ContractPassedOn { contract }], Err(BookError::Contract { contract })),
        (vec![intended(1), Event::ContractPassedOn { contract }], Ok(())),
        (
            vec![Event::PassedOnSince { contract, at: Timestamp::EPOCH }],
            Err(BookError::Contract { contract }),
        ),
        (vec![seen(1, 9)], Err(BookError::Contract { contract })),
        (vec![intended(1), opened(1), seen(1, 9), seen(1, 8)], Ok(())),
        (vec![intended(1), opened(1), renewal_intended(1), renewed(1)], Ok(())),
        (vec![intended(1), renewal_intended(1), renewed(1)], Err(BookError::Contract { contract })),
        (
            vec![intended(1), opened(1), renewed(1)],
            Err(BookError::Contract { contract: renewal_terms(1).id() }),
        ),
        (
            vec![intended(1), opened(1), renewal_intended(1), renewed(1), renewed(1)],
            Err(BookError::Contract { contract }),
        ),
        (repairing(&[promised(0, 0.999)]), Ok(())),
        (repairing(&[promised(1, 0.999)]), Err(BookError::Set { set: 1 })),
        (repairing(&[promised(0, 1.0)]), Err(BookError::Set { set: 0 })),
        (repairing(&[promised(0, f64::NAN)]), Err(BookError::Set { set: 0 })),
        (repairing(&[slot(0, 0, 2)]), Ok(())),
        (repairing(&[slot(1, 0, 2)]), Err(BookError::Set { set: 1 })),
        (repairing(&[slot(0, 1, 2)]), Err(BookError::Slot { set: 0, index: 1 })),
        (repairing(&[slot(0, 0, 1)]), Err(BookError::Slot { set: 0, index: 0 })),
        (repairing(&[slot(0, 0, 3)]), Err(BookError::Contract { contract: terms(3).id() })),
        (repairing(&[slot(0, 0, 2), slot(0, 0, 2)]), Err(BookError::Slot { set: 0, index: 0 })),
        (
            repairing(&[ended(2), slot(0, 0, 2)]),
            Err(BookError::Contract { contract: terms(2).id() }),
        ),
        (repairing(&[replaced(0, 0, 2)]), Err(BookError::Slot { set: 0, index: 0 })),
        (repairing(&[slot(0, 0, 2), replaced(0, 0, 2)]), Ok(())),
        (
            repairing(&[slot(0, 0, 2), set(1, &[2])]),
            Err(BookError::Contract { contract: terms(2).id() }),
        ),
        (repairing(&[slot(0, 0, 2), replaced(0, 1, 2)]), Err(BookError::Slot { set: 0, index: 1 })),
        (repairing(&[slot(0, 0, 2), replaced(0, 0, 1)]), Err(BookError::Slot { set: 0, index: 0 })),
        (
            repairing(&[slot(0, 0, 2), replaced(0, 0, 2), replaced(0, 0, 2)]),
            Err(BookError::Slot { set: 0, index: 0 }),
        ),
        // A contract that ended takes nothing any more.
        (
            repairing(&[slot(0, 0, 2), ended(2), replaced(0, 0, 2)]),
            Err(BookError::Slot { set: 0, index: 0 }),
        ),
    ];
    for (events, expected) in table {
        let mut book = Book::default();
        let (last, before) = events.split_last().unwrap();
        before.iter().for_each(|event| book.apply(event).unwrap());
        assert_eq!(book.apply(last), expected, "{events:?}");
    }
}

#[test]
fn a_book_knows_where_things_lie() {
    let mut book = Book::default();
    for event in [
        intended(1),
        intended(2),
        opened(1),
        opened(2),
        set(1, &[1, 2]),
        Event::BackupStarted,
        stored(3, 0, 2),
        stored(4, 0, 2),
        Event::ObjectRemoved { object: object(3) },
    ] {
        book.apply(&event).unwrap();
    }
    assert!(book.unfinished());
    assert_eq!(book.object(object(3)), None);
    assert_eq!(book.object(object(4)).unwrap().shards.len(), 2);
    assert_eq!(book.set(0).unwrap().code.to_string(), "1 of 2");
    book.apply(&Event::BackupFinished).unwrap();
    assert!(!book.unfinished());
}

#[test]
fn a_book_judges_by_what_was_proven_and_lost() {
    let provider = terms(1).prices.provider;
    let mut book = Book::default();
    let losses = |book: &Book| {
        let (lost, lived) = book.record(provider).unwrap().losses();
        (lost.get(), lived.get())
    };
    let near = |found: (f64, f64), wanted: (f64, f64)| {
        assert!(
            (found.0 - wanted.0).abs() < 0.02 && (found.1 - wanted.1).abs() < 0.02,
            "{found:?}"
        );
    };
    for event in [intended(1), opened(1), intended(2), opened(2)] {
        book.apply(&event).unwrap();
    }
    assert_eq!(book.record(provider), None);
    // Half an epoch of one is proven; asked for again, or by a clock that went back, it counts once.
    for (quarters, lived) in [(2, 0.5), (2, 0.5), (1, 0.5), (4, 1.0), (9, 1.0)] {
        book.apply(&audited(1, quarters, Verdict::Proven)).unwrap();
        near(losses(&book), (0.0, lived));
    }
    book.apply(&audited(1, 3, Verdict::Failed)).unwrap();
    near(losses(&book), (0.0, 1.0));
    let lost = Event::ContractLost { contract: terms(1).id() };
    for _ in 0..2 {
        book.apply(&lost).unwrap();
        near(losses(&book), (1.0, 0.99));
    }
    // A deal that was kept earns trust, one that was not takes it all.
    let share = fondaco_reputation::Share::ONE;
    let limit = Amount::new;
    let limits = fondaco_reputation::Limits::new(limit(10), limit(99), share, limit(11)).unwrap();
    let cap = |book: &Book| book.exposure(provider).cap(&limits).get();
    assert_eq!(cap(&book), 5);
    for (event, earned) in [(ended(1), 5), (intended(3), 5), (opened(3), 5), (ended(3), 10)] {
        book.apply(&event).unwrap();
        assert_eq!(cap(&book), earned, "{event:?}");
    }
    let why = Text::cut("it lied");
    book.apply(&Event::ProviderDistrusted { provider, why }).unwrap();
    assert!(cap(&book) < 5);
    near(losses(&book), (1.99, 0.98));
    assert_eq!(book.record(provider).unwrap().standing(), fondaco_reputation::Standing::Replace);
}

/// How a contract ended, what was used and what was paid is told as it was learnt, and after the hosts kept the book, too.
#[test]
fn an_end_is_told_as_it_was() {
    let tab = Tab { stored: Bytes::new(3), ..Tab::default() };
    let contract = terms(1).id();
    let lost = State::ended(Timestamp::from_milliseconds(7), Ending::Lost);
    let told = |tab, paid| Event::ContractOver { contract, state: lost, tab, paid, kept: false };
    let old = |meter, paid| Event::ContractEnded {
        contract,
        tab: Tab { meter, ..Tab::default() },
        paid: Amount::new(paid),
    };
    let (used, unused) = (Meter { opened: true, ..Meter::default() }, Meter::default());
    let closed = State::ended(terms(1).ends, Ending::Closed);
    let cancelled = State::Cancelled { at: terms(1).begins };
    let nine = Some(Amount::new(9));
    let tab_of = |meter| Some(Tab { meter, ..Tab::default() });
    // What happened after both had signed, or before; when and why it ended, the account, what was paid, who says so.
    type Line = (bool, Vec<Event>, Option<State>, Option<Tab>, Option<Amount>, bool);
    let table: Vec<Line> = vec![
        (true, vec![told(Some(tab), nine)], Some(lost), Some(tab), nine, false),
        (true, vec![told(None, None)], Some(lost), None, None, false),
        (
            true,
            vec![told(None, None), hold_closed(1)],
            Some(lost),
            None,
            Some(Amount::new(8)),
            true,
        ),
        (true, vec![old(used, 9)], Some(closed), tab_of(used), nine, false),
        // As journals of before say of one of which its host said no more: not that it was never signed.
        (true, vec![old(unused, 0)], None, None, None, false),
        (true, vec![old(unused, 0), hold_closed(1)], None, None, Some(Amount::new(8)), true),
        (false, vec![old(unused, 0)], Some(cancelled), tab_of(unused), Some(Amount::ZERO), false),
        (
            true,
            vec![over(1, Ending::Renewed, true)],
            Some(State::ended(Timestamp::from_milliseconds(7), Ending::Renewed)),
            tab_of(unused),
            nine,
            false,
        ),
    ];
    for (is_signed, events, state, tab, paid, settled) in table {
        let mut book = Book::default();
        book.apply(&intended(1)).unwrap();
        if is_signed {
            book.apply(&opened(1)).unwrap();
        }
        events.iter().for_each(|event| book.apply(event).unwrap());
        let mut kept = Book::default();
        book.events().iter().for_each(|event| kept.apply(event).unwrap());
        for book in [book, kept] {
            let expected = Stage::Ended(End { state, tab, paid, settled });
            assert_eq!(book.contract(contract).unwrap().stage, expected, "{events:?}");
        }
    }
}

/// A host is trusted with more for a deal that it kept to its end, and for no other.
#[test]
fn only_what_was_kept_earns_trust() {
    let provider = terms(1).prices.provider;
    for (event, earned) in [
        (ended(1), true),
        (over(1, Ending::Over, true), true),
        (over(1, Ending::Over, false), false),
        (over(1, Ending::Lost, false), false),
    ] {
        let mut book = Book::default();
        [intended(1), opened(1)].iter().for_each(|event| book.apply(event).unwrap());
        let before = book.exposure(provider);
        book.apply(&event).unwrap();
        assert_eq!(book.exposure(provider) != before, earned, "{event:?}");
    }
}

#[test]
fn a_renewed_contract_takes_the_old_ones_place() {
    let mut book = Book::default();
    let begun = [
        intended(1),
        intended(2),
        opened(1),
        opened(2),
        set(1, &[1, 2]),
        stored(3, 0, 2),
        renewal_intended(1),
    ];
    begun.iter().for_each(|event| book.apply(event).unwrap());
    let (old, new, other) = (terms(1).id(), renewal_terms(1).id(), terms(2).id());
    let given = book.given(old);
    assert!(given > Bytes::ZERO);
    assert_eq!(book.renewals(old).len(), 1);
    book.apply(&renewed(1)).unwrap();
    assert_eq!(book.set(0).unwrap().contracts, [new, other]);
    assert_eq!((book.origin(new), book.origin(other)), (old, other), "tagged as before");
    assert_eq!((book.given(old), book.given(new)), (Bytes::ZERO, given));
    assert_eq!(book.contract(new).unwrap().stage, Stage::Open);
    assert!(matches!(book.contract(old).unwrap().stage, Stage::Ended { .. }));
    assert!(book.renewals(old).is_empty());
    assert_eq!(book.object(object(3)).unwrap().shards.len(), 2, "nothing moved");
}

/// What was seen of an account goes with what its provider signs, and with the contract when its last account is known.
#[test]
fn an_account_seen_is_kept_until_the_last() {
    let (old, new) = (terms(1).id(), renewal_terms(1).id());
    let begun = [intended(1), opened(1), seen(1, 50), deleted(1, 20)];
    let mut book = Book::default();
    begun.iter().for_each(|event| book.apply(event).unwrap());
    assert_eq!(book.seen(old).map(|tab| tab.stored), Some(Bytes::new(30)));
    let mut again = Book::default();
    book.events().iter().for_each(|event| again.apply(event).unwrap());
    assert_eq!(again.seen(old), book.seen(old), "hosts keep it");
    let mut silent = book.clone();
    let state = State::ended(Timestamp::from_milliseconds(7), Ending::Over);
    let untold = Event::ContractOver { contract: old, state, tab: None, paid: None, kept: false };
    silent.apply(&untold).unwrap();
    assert!(silent.seen(old).is_some(), "nobody knows better");
    for last in [&[over(1, Ending::Closed, true)][..], &[renewal_intended(1), renewed(1)]] {
        let mut book = book.clone();
        last.iter().for_each(|event| book.apply(event).unwrap());
        assert_eq!((book.seen(old), book.seen(new)), (None, None));
    }
}

/// What lies under a contract is what its objects and its mark tell of, not what was ever begun.
#[test]
fn what_is_kept_is_what_objects_tell_of() {
    let mut book = Book::default();
    let begun = [intended(1), opened(1), intended(2), opened(2), set(1, &[1, 2]), stored(3, 0, 2)];
    let more = [giving(1, 900), marked(1, 9)];
    begun.iter().chain(&more).for_each(|event| book.apply(event).unwrap());
    let share = book.object(object(3)).unwrap().share();
    let kept = |book: &Book, nonce| book.kept(terms(nonce).id());
    assert_eq!(kept(&book, 1), share.checked_add(Bytes::new(9)).unwrap());
    assert_eq!(kept(&book, 2), share);
    book.apply(&Event::ObjectRemoved { object: object(3) }).unwrap();
    assert_eq!((kept(&book, 1), kept(&book, 2)), (Bytes::new(9), Bytes::ZERO));
}

fn events() -> impl Strategy<Value = Event> {
    let nonce = 0..3_u128;
    prop_oneof![
        nonce.clone().prop_map(intended),
        nonce.clone().prop_map(opened),
        nonce.clone().prop_map(ended),
        (nonce.clone(), any::<bool>()).prop_map(|(nonce, kept)| over(nonce, Ending::Left, kept)),
        nonce.clone().prop_map(hold_closed),
        nonce.clone().prop_map(renewal_intended),
        nonce.clone().prop_map(renewed),
        (0..3_u8, proptest::collection::vec(nonce, 0..3)).prop_map(|(k, of)| set(k, &of)),
        (0..4_u8, 0..2_u32, 0..3_usize).prop_map(|(name, set, n)| stored(name, set, n)),
        (0..4_u8, 0..2_u32, 0..3_usize).prop_map(|(name, set, n)| tagged(name, set, n)),
        (0..4_u8).prop_map(|name| Event::ObjectRemoved { object: object(name) }),
        (0..4_u8, 0..2_u32, 0..3_u8, 0..3_usize)
            .prop_map(|(name, set, k, n)| coded(name, set, k, n)),
        (0..9_u64).prop_map(|sequence| Event::StateNumbered { sequence }),
        (0..3_u64).prop_map(|entries| Event::AuditsLogged { entries, link: Digest::ZERO }),
        (0..2_u32, 0..3_u8, 0..3_u128).prop_map(|(set, index, of)| slot(set, index, of)),
        (0..2_u32, 0..3_u8, 0..3_u128).prop_map(|(set, index, of)| replaced(set, index, of)),
        (0..2_u32, 0..99_u64).prop_map(|(set, bytes)| giving_all(set, bytes)),
        (0..3_u128, 0..99_u64).prop_map(|(of, bytes)| giving(of, bytes)),
        (0..3_u128, 0..99_u64).prop_map(|(of, bytes)| marked(of, bytes)),
        (0..3_u128, 0..99_u64).prop_map(|(of, bytes)| deleted(of, bytes)),
        (0..3_u128, 0..99_u64).prop_map(|(of, offset)| unanswered(of, offset)),
        Just(Event::BackupStarted),
        Just(Event::BackupFinished),
        (0..3_u128, 0..9_u64, any::<bool>()).prop_map(|(nonce, quarters, proven)| {
            audited(nonce, quarters, if proven { Verdict::Proven } else { Verdict::Failed })
        }),
        (0..3_u128).prop_map(|nonce| Event::ContractLost { contract: terms(nonce).id() }),
        (0..3_u128).prop_map(|nonce| Event::ContractPassedOn { contract: terms(nonce).id() }),
        (0..3_u128, 0..9_u64).prop_map(|(nonce, at)| Event::PassedOnSince {
            contract: terms(nonce).id(),
            at: Timestamp::from_milliseconds(at),
        }),
        (0..3_u8, 0..9_u64).prop_map(|(to, until)| Event::Entrusted {
            to: EntityId::from_bytes([to; 32]),
            until: Timestamp::from_milliseconds(until),
        }),
        (0..3_u128, 0..99_u64).prop_map(|(nonce, stored)| seen(nonce, stored)),
        (0..3_u128, 0..9_u64)
            .prop_map(|(nonce, epochs)| Event::EpochsPaid { contract: terms(nonce).id(), epochs }),
        (0..3_u128, 1..4_u32).prop_map(|(nonce, of)| Event::AuditedAmong {
            contract: terms(nonce).id(),
            at: Timestamp::EPOCH,
            verdict: Verdict::Failed,
            of,
        }),
        (0..2_u32, 0..3_u8).prop_map(|(set, tenths)| promised(set, f64::from(tenths) / 2.0)),
        (0..2_u8).prop_map(|number| Event::OperatorSaid {
            provider: terms_by(number + 1).prices.provider,
            operator: "claire".parse().unwrap(),
        }),
        any::<bool>().prop_map(|first| Event::ProviderDistrusted {
            provider: terms(1).prices.provider,
            why: Text::cut(if first { "it lied" } else { "it lied again" }),
        }),
    ]
}

proptest! {
    /// A refusal changes nothing, and what the journal keeps makes the same book again.
    #[test]
    fn replay_gives_the_same_book(schedule in proptest::collection::vec(events(), 0..40)) {
        let (mut book, mut journal) = (Book::default(), Vec::new());
        for event in schedule {
            let before = book.clone();
            match book.apply(&event) {
                Ok(()) => journal.push(event.to_bytes()),
                Err(_) => prop_assert_eq!(&book, &before),
            }
        }
        let mut again = Book::default();
        for record in journal {
            again.apply(&Event::from_bytes(&record).unwrap()).unwrap();
        }
        prop_assert_eq!(&again, &book);
        // As the hosts keep it.
        let mut kept = Book::default();
        book.events().iter().for_each(|event| kept.apply(event).unwrap());
        for contract in book.contracts.keys() {
            prop_assert_eq!(kept.deletions(*contract), book.deletions(*contract));
            prop_assert_eq!(kept.given(*contract), book.given(*contract));
        }
        kept.given.clone_from(&book.given);
        prop_assert_eq!(kept, book);
    }
}

/// A host that moved has one address under all its contracts, those that are over too, and in the book that hosts keep.
#[test]
fn a_host_that_moved_moves_in_all_its_contracts() {
    let [old, new] = ["127.0.0.1:1", "127.0.0.1:2"].map(|socket| socket.parse().unwrap());
    let provider = terms(1).prices.provider;
    let mut book = Book::default();
    let events = [intended(1), opened(1), intended(2), opened(2), ended(2), intended_by(9)];
    events.iter().for_each(|event| book.apply(event).unwrap());
    let stranger = Address::new(EntityId::from_bytes([3; 32]), [new]);
    let before = book.clone();
    book.apply(&Event::HostMoved { address: stranger }).unwrap();
    assert!(book == before, "nobody has a contract there");
    let address = Address::new(provider, [new]);
    let moved = Event::HostMoved { address: address.clone() };
    assert_eq!(Event::from_bytes(&moved.to_bytes()), Ok(moved.clone()));
    for _ in 0..2 {
        book.apply(&moved).unwrap();
        let at = |book: &Book, terms: &Terms| book.contract(terms.id()).unwrap().address.clone();
        assert_eq!(
            [at(&book, &terms(1)), at(&book, &terms(2))],
            [address.clone(), address.clone()]
        );
        assert_eq!(at(&book, &terms_by(9)).sockets(), [old]);
    }
    let mut kept = Book::default();
    book.events().iter().for_each(|event| kept.apply(event).unwrap());
    assert_eq!(kept.contract(terms(1).id()).unwrap().address, address);
}
