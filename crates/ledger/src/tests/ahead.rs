//! Limits that are set before there is an account.

use super::*;
use fondaco_codec::Reader;

const DAVE: usize = 4;

fn accept(ledger: &mut Ledger, who: usize, most: u64) -> Result<Option<Timestamp>, Refusal> {
    ledger.accept_ahead(entity(who), units(most), NOW)
}

fn restored(ledger: &Ledger) -> Ledger {
    Ledger::decode(&mut Reader::new(&bytes(ledger)), 9).unwrap()
}

#[test]
fn the_first_payment_keeps_to_a_limit_set_ahead() {
    let (carol, until) = (entity(CAROL), NOW.after(LIMIT_SPAN));
    let over = Refusal::OverLimit { payee: carol, balance_max: units(50) };
    let mut fresh = ledger();
    assert_eq!(accept(&mut fresh, CAROL, 50), Ok(Some(until)));
    assert_eq!((fresh.index_of(carol), fresh.balance_max(carol)), (None, units(50)));
    for mut ledger in [restored(&fresh), fresh] {
        let before = bytes(&ledger);
        assert_eq!(ledger.mint(carol, units(51)), Err(over));
        let legs = [(ALICE, BOB, 1), (ALICE, CAROL, 20), (ALICE, CAROL, 31)];
        let legs = legs.map(|(from, to, amount)| Leg {
            from: entity(from),
            to: entity(to),
            amount: units(amount),
            terms: fee(0),
        });
        // The account that its chain made is gone again, and the limit is there.
        let refused = LegRefused { leg: 2, refusal: over };
        assert_eq!(ledger.transfer_linked(&legs), Err(refused));
        assert_eq!((bytes(&ledger), ledger.check()), (before, Ok(())));

        ledger.transfer(entity(ALICE), carol, units(50), fee(0)).unwrap();
        assert_eq!(ledger.mint(carol, units(1)), Err(over));
        // It is the account's own limit now, which no time ends.
        ledger.forget_limits(until);
        assert_eq!(ledger.mint(carol, units(1)), Err(over));
        assert_eq!(accept(&mut ledger, CAROL, 60), Ok(None));
        ledger.mint(carol, units(10)).unwrap();
        assert_eq!(restored(&ledger), ledger);
    }
}

#[test]
fn a_limit_set_ahead_is_forgotten_in_time_and_kept_when_asked_for_again() {
    let (carol, dave) = (entity(CAROL), entity(DAVE));
    let mut ledger = ledger();
    accept(&mut ledger, CAROL, 0).unwrap();
    accept(&mut ledger, DAVE, 0).unwrap();
    let later = NOW.after(SECOND);
    let again = ledger.accept_ahead(dave, units(7), later).unwrap();
    assert_eq!(again, Some(later.after(LIMIT_SPAN)));
    let mut ledger = restored(&ledger);
    ledger.forget_limits(NOW.after(LIMIT_SPAN));
    assert_eq!([carol, dave].map(|who| ledger.balance_max(who)), [Amount::MAX, units(7)]);
    // To ask for none forgets the one there is.
    assert_eq!(ledger.accept_ahead(dave, Amount::MAX, later), Ok(None));
    let mut never = super::ledger();
    never.forget_limits(later);
    assert_eq!(bytes(&ledger), bytes(&never));
}

/// Keys cost nothing: however many ask, so much is kept, and of whoever was told so.
#[test]
fn a_crowd_drives_no_limit_out() {
    let mut ledger = ledger();
    let full = Err(Refusal::LimitsFull { limits_max: LIMITS_AHEAD_MAX });
    accept(&mut ledger, CAROL, 5).unwrap();
    let crowd = 10..100;
    let kept = crowd.filter(|who| match accept(&mut ledger, *who, 5) {
        Ok(until) => until.is_some(),
        refused => {
            assert_eq!(refused, full);
            false
        }
    });
    assert_eq!(kept.count(), LIMITS_AHEAD_MAX as usize - 1);
    assert_eq!(ledger.balance_max(entity(CAROL)), units(5));
    let before = bytes(&ledger);
    assert_eq!(accept(&mut ledger, DAVE, 5), full);
    assert_eq!(bytes(&ledger), before);
    // Those who are kept may change theirs, and those with an account need no room.
    assert!(accept(&mut ledger, CAROL, 6).unwrap().is_some());
    assert_eq!(accept(&mut ledger, BOB, 6), Ok(None));
    ledger.forget_limits(NOW.after(LIMIT_SPAN));
    assert!(accept(&mut ledger, DAVE, 5).unwrap().is_some());
}

#[test]
fn whose_account_a_limit_is_of() {
    let mut ledger = ledger();
    let [alice, bob, carol, dave] = [ALICE, BOB, CAROL, DAVE].map(entity);
    // By an old key nothing is asked; what is cashed by the payee itself opens an account over its limit.
    ledger.rotate(bob, dave).unwrap();
    assert_eq!(accept(&mut ledger, BOB, 5), Err(Refusal::KeyRotated { to: dave }));
    let order = Digest::ZERO;
    let expires = NOW.after(SECOND);
    ledger.hold_open(hold_id(9), alice, carol, units(40), order, expires, NOW).unwrap();
    accept(&mut ledger, CAROL, 5).unwrap();
    ledger.hold_post(NOW, carol, &voucher(9, 40).sign(&key(ALICE)), Amount::ZERO).unwrap();
    assert_eq!(ledger.account(carol).available, units(40));
    assert_eq!(ledger.balance_max(carol), units(5));
    // A limit ends with its account; one that was closed can set another for the next.
    ledger.close(carol, units(40)).unwrap();
    assert_eq!(ledger.balance_max(carol), Amount::MAX);
    assert!(accept(&mut ledger, CAROL, 3).unwrap().is_some());
    let over = Refusal::OverLimit { payee: carol, balance_max: units(3) };
    assert_eq!(ledger.mint(carol, units(4)), Err(over));
    let mut ledger = restored(&ledger);
    assert_eq!(ledger.mint(carol, units(4)), Err(over));
    ledger.mint(carol, units(3)).unwrap();
    assert_eq!((ledger.balance_max(carol), ledger.check()), (units(3), Ok(())));
    ledger.halt();
    assert_eq!(accept(&mut ledger, CAROL, 3), Err(Refusal::Halted));
}

#[test]
fn limits_out_of_order_are_not_taken_back() {
    let mut ledger = ledger();
    accept(&mut ledger, CAROL, 5).unwrap();
    accept(&mut ledger, DAVE, 5).unwrap();
    let mut limits = Vec::new();
    ledger.accounts.ahead.encode(&mut limits);
    let decode = |bytes: &[u8]| crate::ahead::Ahead::decode(&mut Reader::new(bytes));
    assert_eq!(decode(&limits).as_ref(), Ok(&ledger.accounts.ahead));
    let (first, second) = limits[8..].split_at((limits.len() - 8) / 2);
    assert!(decode(&[&limits[..8], second, first].concat()).is_err());
    assert!(decode(&[&limits[..8], first, first].concat()).is_err());
    let many: Vec<u8> = (0..=LIMITS_AHEAD_MAX)
        .flat_map(|number| [&[u8::try_from(number).unwrap(); 32][..], &first[32..]].concat())
        .collect();
    let count = u64::from(LIMITS_AHEAD_MAX) + 1;
    assert!(decode(&[&count.to_le_bytes(), &many[..]].concat()).is_err());
    for length in 0..limits.len() {
        assert!(decode(&limits[..length]).is_err());
    }
}
