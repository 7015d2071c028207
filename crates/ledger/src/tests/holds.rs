//! What holds do in time, and where fees go.

use super::*;

#[test]
fn one_payer_opens_at_most_so_many_holds() {
    let mut ledger = Ledger::new(currency(), 7);
    ledger.mint(entity(ALICE), units(20_000)).unwrap();
    let expires = NOW.after(SECOND);
    for number in 0..HOLDS_PER_PAYER_MAX {
        open(&mut ledger, number.into(), 1, expires).unwrap();
    }
    let full = Err(Refusal::TooManyHolds { holds_max: HOLDS_PER_PAYER_MAX });
    assert_eq!(open(&mut ledger, 20_000, 1, expires), full);
    ledger.hold_void(entity(BOB), hold_id(7)).unwrap();
    open(&mut ledger, 20_000, 1, expires).unwrap();
    assert_eq!(ledger.check(), Ok(()));

    // Expiry is bounded for each call, ordered, and ends.
    let mut counts = Vec::new();
    let mut ids = Vec::new();
    while ledger.next_expiry().is_some_and(|due| due <= expires) {
        let expired = ledger.expire(expires).unwrap();
        counts.push(expired.len());
        ids.extend(expired.into_iter().map(|each| each.hold));
    }
    assert_eq!(counts.len(), HOLDS_PER_PAYER_MAX.div_ceil(1024) as usize);
    assert!(counts.iter().rev().skip(1).all(|count| *count == EXPIRED_PER_CALL_MAX));
    assert!(ids.is_sorted());
    let back = Account { available: units(20_000), held: Amount::ZERO };
    assert_eq!(ledger.account(entity(ALICE)), back);
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn a_hold_expires_at_its_moment_and_not_before() {
    let mut ledger = ledger();
    let expires = ledger.next_expiry().unwrap();
    let before = Timestamp::from_milliseconds(expires.milliseconds() - 1);
    assert_eq!(ledger.expire(before), Ok(Vec::new()));
    let mut posted = ledger.clone();
    assert!(
        posted
            .hold_post(before, entity(BOB), &voucher(1, 1).sign(&key(ALICE)), Amount::ZERO)
            .is_ok()
    );
    assert_eq!(ledger.expire(expires).unwrap().len(), 1);
    assert_eq!(ledger.account(entity(ALICE)), Account { available: units(970), held: units(0) });
}

#[test]
fn the_fee_goes_to_the_issuer_whoever_pays() {
    let mut ledger = Ledger::new(currency(), 7);
    ledger.mint(entity(ISSUER), units(10)).unwrap();
    // The issuer pays its fee to itself; it must have it all the same.
    let done = ledger.transfer(entity(ISSUER), entity(BOB), units(6), fee(4)).unwrap();
    assert_eq!(done.balance, units(4));
    assert_eq!(done.postings.as_slice().len(), 2);
    let done = ledger.transfer(entity(BOB), entity(ISSUER), units(5), fee(1)).unwrap();
    assert_eq!(done.balance, units(0));
    assert_eq!(ledger.redeem(entity(ISSUER), units(10)).unwrap().supply, units(0));
    assert_eq!(ledger.check(), Ok(()));
}

/// A hold is no way around the reserve: a voucher makes an account of no less than a transfer does.
#[test]
fn a_post_makes_an_account_only_over_the_reserve() {
    let carol = entity(CAROL);
    let post = |cumulative, reserve| {
        let mut ledger = ledger();
        let expires = NOW.after(Duration::from_seconds(10));
        let (id, order) = (hold_id(9), Digest::ZERO);
        ledger.hold_open(id, entity(ALICE), carol, units(50), order, expires, NOW).unwrap();
        let before = ledger.clone();
        let signed = voucher(9, cumulative).sign(&key(ALICE));
        let posted = ledger.hold_post(NOW, carol, &signed, units(reserve)).map(drop);
        assert!(posted.is_ok() || ledger == before, "a refusal changed the ledger");
        posted
    };
    let under = |reserve| Err(Refusal::UnderReserve { payee: carol, reserve: units(reserve) });
    for (cumulative, reserve, expected) in
        [(9, 10, under(10)), (10, 10, Ok(())), (1, 2, under(2)), (1, 0, Ok(()))]
    {
        assert_eq!(post(cumulative, reserve), expected, "{cumulative} of {reserve}");
    }
    // Who has an account is paid whatever it is.
    let mut ledger = ledger();
    let voucher = voucher(1, 1).sign(&key(ALICE));
    assert!(ledger.hold_post(NOW, entity(BOB), &voucher, units(99)).is_ok());
}
