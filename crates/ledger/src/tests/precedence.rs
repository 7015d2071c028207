//! Which refusal is given, of holds and of money.

use super::*;

/// A step, what it gave, and what it should give.
pub(super) type Row = (&'static str, Result<(), Refusal>, Result<(), Refusal>);

#[test]
fn refusals_come_in_order_of_precedence() {
    use Refusal::*;
    let (alice, bob, carol) = (entity(ALICE), entity(BOB), entity(CAROL));
    let far = NOW.after(HOLD_SPAN_MAX);
    let too_far = far.after(Duration::from_milliseconds(1));
    let opening = |number, payee, amount, expires| {
        let order = Digest::ZERO;
        ledger()
            .hold_open(hold_id(number), alice, payee, units(amount), order, expires, NOW)
            .map(drop)
    };
    let posting = |now, by, signed: SignedVoucher| {
        ledger().hold_post(now, by, &signed, Amount::ZERO).map(drop)
    };
    let signed = |number, cumulative| voucher(number, cumulative).sign(&key(ALICE));
    let forged = |number, cumulative| voucher(number, cumulative).sign(&key(BOB));
    let foreign = Voucher { currency: CurrencyId::issued_by(bob), ..voucher(9, 0) };
    let other = foreign.currency;
    let id = hold_id;
    let late = NOW.after(Duration::from_seconds(10));
    let closed = |number, state| Err(HoldClosed { hold: id(number), state });
    let short = |wanted| InsufficientFunds { available: units(870), wanted: units(wanted) };

    let table: Vec<Row> = vec![
        ("mint 0", ledger().mint(alice, units(0)).map(drop), Err(ZeroAmount)),
        ("mint what fits", ledger().mint(alice, units(u64::MAX - 1000)).map(drop), Ok(())),
        (
            "mint more",
            ledger().mint(alice, units(u64::MAX - 999)).map(drop),
            Err(SupplyOverflow { supply: units(1000), wanted: units(u64::MAX - 999) }),
        ),
        ("redeem 0", ledger().redeem(alice, units(0)).map(drop), Err(ZeroAmount)),
        ("redeem more", ledger().redeem(alice, units(871)).map(drop), Err(short(871))),
        (
            "transfer 0",
            ledger().transfer(alice, alice, units(0), fee(0)).map(drop),
            Err(ZeroAmount),
        ),
        (
            "transfer to oneself",
            ledger().transfer(alice, alice, units(9999), fee(0)).map(drop),
            Err(SelfTransfer { holder: alice }),
        ),
        ("transfer all", ledger().transfer(alice, bob, units(869), fee(1)).map(drop), Ok(())),
        (
            "transfer without the fee",
            ledger().transfer(alice, bob, units(870), fee(1)).map(drop),
            Err(short(871)),
        ),
        (
            "transfer over 64 bits",
            ledger().transfer(alice, bob, units(u64::MAX), fee(1)).map(drop),
            Err(short(u64::MAX)),
        ),
        (
            "transfer by a stranger",
            ledger().transfer(carol, bob, units(1), fee(0)).map(drop),
            Err(InsufficientFunds { available: units(0), wanted: units(1) }),
        ),
        ("open 0", opening(1, alice, 0, NOW), Err(ZeroAmount)),
        ("open for oneself", opening(1, alice, 9999, NOW), Err(SelfTransfer { holder: alice })),
        (
            "open in the past",
            opening(1, bob, 9999, NOW),
            Err(ExpiryPast { expires: NOW, now: NOW }),
        ),
        (
            "open for too long",
            opening(1, bob, 9999, too_far),
            Err(ExpiryTooFar { expires: too_far, expires_max: far }),
        ),
        ("open twice", opening(1, bob, 9999, far), Err(HoldExists { hold: id(1) })),
        ("open a closed one", opening(2, bob, 9999, far), Err(HoldExists { hold: id(2) })),
        ("open over the balance", opening(9, bob, 871, far), Err(short(871))),
        ("open", opening(9, bob, 870, far), Ok(())),
        ("post 0", posting(late, carol, foreign.sign(&key(BOB))), Err(ZeroAmount)),
        (
            "post another currency",
            posting(late, carol, Voucher { cumulative: units(1), ..foreign }.sign(&key(BOB))),
            Err(OtherCurrency { currency: currency(), found: other }),
        ),
        ("post unknown", posting(late, carol, forged(9, 101)), Err(UnknownHold { hold: id(9) })),
        (
            "post by another",
            posting(late, carol, forged(2, 101)),
            Err(WrongPayee { hold: id(2), payee: bob }),
        ),
        (
            "post by the payer",
            posting(NOW, alice, signed(1, 1)),
            Err(WrongPayee { hold: id(1), payee: bob }),
        ),
        (
            "post again",
            posting(late, bob, forged(2, 101)),
            closed(2, HoldState::Posted { paid: units(30) }),
        ),
        ("post a voided one", posting(NOW, bob, signed(3, 1)), closed(3, HoldState::Voided)),
        ("post an expired one", posting(NOW, bob, signed(4, 1)), closed(4, HoldState::Expired)),
        (
            "post late",
            posting(late, bob, forged(1, 101)),
            Err(HoldExpired { hold: id(1), expires: late }),
        ),
        (
            "post over the hold",
            posting(NOW, bob, forged(1, 101)),
            Err(OverHold { hold: id(1), cumulative: units(101), amount_max: units(100) }),
        ),
        (
            "post forged",
            posting(NOW, bob, forged(1, 100)),
            Err(BadSignature { hold: id(1), payer: alice }),
        ),
        (
            "post what was signed for another hold",
            posting(NOW, bob, SignedVoucher { voucher: voucher(1, 5), ..signed(2, 5) }),
            Err(BadSignature { hold: id(1), payer: alice }),
        ),
        ("post", posting(NOW, bob, signed(1, 100)), Ok(())),
        (
            "void unknown",
            ledger().hold_void(carol, id(9)).map(drop),
            Err(UnknownHold { hold: id(9) }),
        ),
        (
            "void by another",
            ledger().hold_void(alice, id(2)).map(drop),
            Err(WrongPayee { hold: id(2), payee: bob }),
        ),
        ("void again", ledger().hold_void(bob, id(3)).map(drop), closed(3, HoldState::Voided)),
        ("void", ledger().hold_void(bob, id(1)).map(drop), Ok(())),
    ];
    for (what, got, expected) in table {
        assert_eq!(got, expected, "{what}");
    }

    let mut halted = ledger();
    halted.halt();
    assert_eq!(halted.mint(alice, units(0)), Err(Halted));
    assert_eq!(halted.redeem(alice, units(0)), Err(Halted));
    assert_eq!(halted.transfer(alice, bob, units(0), fee(0)), Err(Halted));
    assert_eq!(open(&mut halted, 9, 0, NOW), Err(Halted));
    assert_eq!(halted.hold_post(NOW, bob, &signed(1, 1), Amount::ZERO), Err(Halted));
    assert_eq!(halted.hold_void(bob, id(1)), Err(Halted));
    assert_eq!(halted.expire(late), Err(Halted));
    assert_eq!(halted.check(), Err(Imbalance::Halted));
    assert!(Halted.is_transient() && !closed(3, HoldState::Voided).unwrap_err().is_transient());
}
