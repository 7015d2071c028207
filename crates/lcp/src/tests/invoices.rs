//! Invoices: which deposit pays which, by table, and by whatever order deposits come in.

use super::units;
use crate::*;
use fondaco_codec::{Decode as _, Encode as _, Text};
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_units::{Amount, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SELLER: u8 = 9;

fn entity(seed: u8) -> EntityId {
    SecretKey::from_bytes(&[seed; 32]).entity()
}

fn of(seed: u8) -> CurrencyId {
    CurrencyId::issued_by(entity(seed))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_milliseconds(seconds * 1000)
}

/// What the seller asks for, as a start: 10 units of currency 1, from entity 2, made at 100 s and due at 200 s.
fn asked(nonce: u128) -> Invoice {
    Invoice {
        currency: of(1),
        payee: entity(SELLER),
        amount: units(10),
        payer: Some(entity(2)),
        made: at(100),
        due: at(200),
        purpose: Text::cut("two loaves"),
        nonce,
    }
}

fn signed(invoice: Invoice) -> SignedInvoice {
    invoice.sign(&SecretKey::from_bytes(&[SELLER; 32]))
}

fn paying(invoice: &Invoice, number: u64) -> Deposit {
    Deposit {
        number,
        payer: Some(entity(2)),
        amount: units(10),
        order: invoice.id().order(),
        at: at(150),
    }
}

#[test]
fn only_what_was_asked_for_pays() {
    type Change = fn(&mut Invoice, &mut CurrencyId, &mut Deposit);
    let from = Mismatch::Payer { asked: entity(2) };
    let other = Mismatch::Currency { asked: of(1), paid: of(3) };
    let less = Mismatch::Amount { asked: units(10), paid: units(9) };
    let late = Mismatch::Late { due: at(200) };
    let table: [(&str, Change, Option<Mismatch>); 12] = [
        ("all of it", |_, _, _| {}, None),
        ("at the last moment", |_, _, deposit| deposit.at = at(200), None),
        ("from anybody", |invoice, _, _| invoice.payer = None, None),
        ("spoofed with one unit", |_, _, deposit| deposit.amount = units(1), {
            Some(Mismatch::Amount { asked: units(10), paid: units(1) })
        }),
        ("a little less", |_, _, deposit| deposit.amount = units(9), Some(less)),
        ("more", |_, _, deposit| deposit.amount = units(11), {
            Some(Mismatch::Amount { asked: units(10), paid: units(11) })
        }),
        ("by a stranger", |_, _, deposit| deposit.payer = Some(entity(4)), Some(from)),
        ("minted", |_, _, deposit| deposit.payer = None, Some(from)),
        (
            "minted, from anybody",
            |invoice, _, deposit| (invoice.payer, deposit.payer) = (None, None),
            Some(Mismatch::Nobody),
        ),
        ("in another currency", |_, currency, _| *currency = of(3), Some(other)),
        ("late", |_, _, deposit| deposit.at = at(201), Some(late)),
        (
            "all wrong at once",
            |_, currency, deposit| {
                *currency = of(3);
                *deposit =
                    Deposit { payer: None, amount: units(9), at: at(300), ..deposit.clone() };
            },
            Some(other),
        ),
    ];
    for (case, change, expected) in table {
        let (mut invoice, mut currency) = (asked(7), of(1));
        let mut deposit = paying(&invoice, 1);
        change(&mut invoice, &mut currency, &mut deposit);
        deposit.order = invoice.id().order();
        let mut invoices = Invoices::new(entity(SELLER));
        invoices.make(signed(invoice.clone())).unwrap();
        let before = invoices.clone();
        let (verdict, record) = invoices.take(currency, &deposit);
        match expected {
            None => {
                assert_eq!(verdict, Verdict::Pays(invoice.clone()), "{case}");
                assert!(record.is_some(), "{case}");
                let paid = InvoiceState::Paid { by: deposit.clone() };
                assert_eq!(invoices.find(invoice.id()).unwrap().1, &paid, "{case}");
            }
            Some(mismatch) => {
                assert_eq!(verdict, Verdict::Astray(invoice.clone(), mismatch), "{case}");
                assert_eq!((record, &invoices), (None, &before), "{case}: nothing changed");
            }
        }
    }
}

#[test]
fn an_order_is_bound_to_all_that_was_agreed() {
    let first = asked(7);
    let changes: [fn(&mut Invoice); 8] = [
        |invoice| invoice.currency = of(3),
        |invoice| invoice.payee = entity(3),
        |invoice| invoice.amount = units(11),
        |invoice| invoice.payer = None,
        |invoice| invoice.made = at(101),
        |invoice| invoice.due = at(201),
        |invoice| invoice.purpose = Text::cut("three loaves"),
        |invoice| invoice.nonce = 8,
    ];
    for change in changes {
        let mut other = first.clone();
        change(&mut other);
        assert_ne!(other.id(), first.id(), "{other:?}");
        let forged = SignedInvoice { invoice: other, ..signed(first.clone()) };
        assert!(forged.verify().is_err(), "{forged:?}");
    }
    let order = first.id().order();
    assert_eq!(order.as_str().len(), 64);
    assert_eq!(order.as_str().parse(), Ok(first.id()));
    assert_eq!(
        signed(first.clone()),
        SignedInvoice::from_bytes(&signed(first).to_bytes()).unwrap()
    );
}

#[test]
fn the_same_notice_again_says_the_same_and_another_is_astray() {
    let (invoice, mut invoices) = (asked(1), Invoices::new(entity(SELLER)));
    invoices.make(signed(invoice.clone())).unwrap();
    let first = paying(&invoice, 4);
    let (_, record) = invoices.take(of(1), &first);
    assert!(record.is_some());
    assert_eq!(invoices.take(of(1), &first), (Verdict::Pays(invoice.clone()), None));
    let twice = Verdict::Astray(invoice.clone(), Mismatch::PaidAlready);
    assert_eq!(invoices.take(of(1), &paying(&invoice, 5)), (twice, None));
    assert_eq!(invoices.cancel(invoice.id()), Err(InvoicesError::Paid { id: invoice.id() }));

    let given_up = asked(2);
    invoices.make(signed(given_up.clone())).unwrap();
    let record = invoices.cancel(given_up.id()).unwrap();
    assert_eq!(invoices.cancel(given_up.id()), Ok(record), "harmless");
    let astray = Verdict::Astray(given_up.clone(), Mismatch::Cancelled);
    assert_eq!(invoices.take(of(1), &paying(&given_up, 6)), (astray, None));

    let stray = Deposit { order: Text::cut("bread"), ..paying(&invoice, 7) };
    assert_eq!(invoices.take(of(1), &stray), (Verdict::Unknown, None));
    let unknown = asked(3);
    assert_eq!(invoices.take(of(1), &paying(&unknown, 8)), (Verdict::Unknown, None));
    assert_eq!(invoices.cancel(unknown.id()), Err(InvoicesError::Unknown { id: unknown.id() }));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    let mut invoices = Invoices::new(entity(SELLER));
    invoices.make(signed(asked(0))).unwrap();
    let foreign = Invoice { payee: entity(3), ..asked(1) };
    let forged = SignedInvoice { invoice: asked(2), ..signed(asked(1)) };
    let table = [
        (
            foreign.clone().sign(&SecretKey::from_bytes(&[3; 32])),
            InvoicesError::Foreign { payee: entity(3) },
        ),
        (signed(foreign), InvoicesError::Foreign { payee: entity(3) }),
        (forged, InvoicesError::Foreign { payee: entity(SELLER) }),
        (signed(Invoice { amount: Amount::ZERO, ..asked(1) }), InvoicesError::Nothing),
        (signed(Invoice { due: at(100), ..asked(1) }), InvoicesError::Overdue { due: at(100) }),
        (signed(asked(0)), InvoicesError::Repeated { id: asked(0).id() }),
    ];
    let before = invoices.clone();
    for (invoice, expected) in table {
        assert_eq!(invoices.make(invoice), Err(expected));
        assert_eq!(invoices, before, "nothing changed");
    }
    assert!(
        Invoices::new(entity(SELLER))
            .replay(&[2, 1])
            .is_err_and(|error| { error == InvoicesError::Version { found: 2 } })
    );
}

#[test]
fn who_may_pay_and_who_may_not() {
    let table = [
        (of(1), 2, 150, Ok(())),
        (of(1), 2, 200, Ok(())),
        (of(3), SELLER, 300, Err(Unpayable::Currency { asked: of(1) })),
        (of(1), SELLER, 300, Err(Unpayable::Own)),
        (of(1), 4, 300, Err(Unpayable::Payer { asked: entity(2) })),
        (of(1), 2, 201, Err(Unpayable::Overdue { due: at(200) })),
    ];
    for (currency, holder, now, expected) in table {
        assert_eq!(asked(1).payable(currency, entity(holder), at(now)), expected);
    }
    let anybody = Invoice { payer: None, ..asked(1) };
    assert_eq!(anybody.payable(of(1), entity(4), at(150)), Ok(()));
}

#[test]
fn there_is_room_for_so_many() {
    // Checking so many signatures would take minutes: the bounds are reached by what is there already.
    let mut invoices = Invoices::new(entity(SELLER));
    let soon = Invoice { due: at(110), ..asked(0) };
    invoices.make(signed(soon.clone())).unwrap();
    invoices.fill_for_test(&signed(asked(1)), INVOICES_OPEN_MAX - 1);
    let full = InvoicesError::Full { most: INVOICES_OPEN_MAX };
    assert_eq!(invoices.make(signed(Invoice { made: at(110), ..asked(2) })), Err(full));
    assert!(full.is_transient());
    invoices.make(signed(Invoice { made: at(111), ..asked(2) })).unwrap();
    assert_eq!(invoices.find(soon.id()), None, "what was overdue for longest made room");
    let ids: Vec<_> = invoices.open().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), INVOICES_OPEN_MAX);
    for &id in &ids {
        invoices.cancel(id).unwrap();
    }
    assert_eq!((invoices.open().count(), invoices.done().count()), (0, INVOICES_DONE_MAX));
    assert_eq!(invoices.find(ids[0]), None, "the first done is forgotten first");
}

proptest! {
    /// Whatever comes in whatever order, doubled and after crashes: at most one deposit pays each invoice, it is all that
    /// was asked, and the records tell the same story.
    #[test]
    fn one_deposit_pays_and_the_records_tell_it(
        steps in proptest::collection::vec((0..4_u128, 0..6_u8, 0..4_u64, any::<bool>()), 1..60),
    ) {
        let (mut invoices, mut records) = (Invoices::new(entity(SELLER)), Vec::new());
        let mut paid: BTreeMap<u128, Deposit> = BTreeMap::new();
        for (nonce, what, number, crash) in steps {
            let invoice = asked(nonce);
            let mut deposit = paying(&invoice, number);
            match what {
                0 => records.extend(invoices.make(signed(invoice.clone())).ok()),
                1 => records.extend(invoices.cancel(invoice.id()).ok()),
                2 => deposit.amount = units(number),
                3 => deposit.payer = Some(entity(4)),
                _ => {}
            }
            if what > 1 {
                let (verdict, record) = invoices.take(of(1), &deposit);
                if let Verdict::Pays(found) = &verdict {
                    prop_assert_eq!(found, &invoice);
                    prop_assert!(found.paid_by(of(1), &deposit).is_ok());
                    let first = paid.entry(nonce).or_insert_with(|| deposit.clone());
                    prop_assert_eq!(&*first, &deposit);
                }
                records.extend(record);
            }
            if crash {
                let mut again = Invoices::new(entity(SELLER));
                for record in &records {
                    again.replay(record).unwrap();
                }
                prop_assert_eq!(&again, &invoices);
            }
        }
    }

    /// No record panics, and none that is refused changes anything.
    #[test]
    fn records_of_invoices_are_taken_or_refused(
        version in 0..3_u8, kind in 0..5_u8, bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut invoices = Invoices::new(entity(SELLER));
        invoices.make(signed(asked(1))).unwrap();
        let before = invoices.clone();
        let record = [&[version, kind], bytes.as_slice()].concat();
        if invoices.replay(&record).is_err() {
            prop_assert_eq!(invoices, before);
        }
    }
}
