//! Accounts that open, are limited, close, and change their keys.

use super::*;

/// Old keys and new ones, and one that closed.
const DAVE: usize = 4;
const DAVE_NEW: usize = 5;
const ERIN: usize = 6;

/// As [`ledger`]; Dave has 50 under a new key, Erin closed, Bob wants no more than 100, the issuer has 5.
fn town() -> Ledger {
    let mut ledger = ledger();
    ledger.mint(entity(DAVE), units(50)).unwrap();
    ledger.mint(entity(ERIN), units(5)).unwrap();
    ledger.rotate(entity(DAVE), entity(DAVE_NEW)).unwrap();
    assert_eq!(ledger.close(entity(ERIN), units(5)).unwrap().forfeited, units(5));
    ledger.accept(entity(BOB), units(100)).unwrap();
    assert_eq!(ledger.check(), Ok(()));
    ledger
}

#[test]
fn refusals_of_accounts_come_in_order_of_precedence() {
    use Refusal::*;
    let [issuer, alice, bob, carol, dave, dave_new, erin] =
        [ISSUER, ALICE, BOB, CAROL, DAVE, DAVE_NEW, ERIN].map(entity);
    let far = NOW.after(SECOND);
    let rotated = Err(KeyRotated { to: dave_new });
    let terms = Terms { fee: units(1), reserve: units(10) };
    let pay = |from, to, amount| town().transfer(from, to, units(amount), terms).map(drop);
    let close = |holder, forfeit_max| town().close(holder, units(forfeit_max)).map(drop);
    let rotate = |old, new| town().rotate(old, new).map(drop);
    let open = |payer, payee, expires| {
        let order = Digest::ZERO;
        town().hold_open(hold_id(9), payer, payee, units(60), order, expires, NOW).map(drop)
    };
    let nobody = Err(UnknownAccount { holder: carol });
    let stays = Err(IssuerStays { issuer });
    let small = |payee| Err(UnderReserve { payee, reserve: units(10) });
    let over = |payee| Err(OverLimit { payee, balance_max: units(100) });
    let short = |available, wanted| {
        Err(InsufficientFunds { available: units(available), wanted: units(wanted) })
    };
    let table: Vec<precedence::Row> = vec![
        ("pay 0 by an old key", pay(dave, dave, 0), Err(ZeroAmount)),
        ("pay by an old key", pay(dave, dave, 1), rotated),
        ("pay one's old key", pay(dave_new, dave, 99), Err(SelfTransfer { holder: dave_new })),
        ("pay a stranger too little", pay(dave_new, carol, 9), small(carol)),
        ("pay a closed one too little", pay(dave_new, erin, 9), small(erin)),
        ("pay a stranger", pay(dave_new, carol, 10), Ok(())),
        ("pay a closed one", pay(dave_new, erin, 10), Ok(())),
        ("pay one that is there", pay(dave_new, alice, 1), Ok(())),
        ("pay an old key", pay(alice, dave, 1), Ok(())),
        ("pay what one has not, over a limit", pay(dave_new, bob, 71), short(50, 72)),
        ("pay over a limit", pay(alice, bob, 71), over(bob)),
        ("pay up to a limit", pay(alice, bob, 70), Ok(())),
        ("mint over a limit", town().mint(bob, units(71)).map(drop), over(bob)),
        ("mint a stranger too little", town().mint(carol, units(1)).map(drop), Ok(())),
        ("redeem by an old key", town().redeem(dave, units(1)).map(drop), rotated),
        ("redeem by a closed one", town().redeem(erin, units(1)).map(drop), short(0, 1)),
        ("open by an old key", open(dave, dave, NOW), rotated),
        (
            "open for one's old key",
            open(dave_new, dave, NOW),
            Err(SelfTransfer { holder: dave_new }),
        ),
        ("open over the balance", open(dave_new, bob, far), short(50, 60)),
        ("open over a limit of the payee", open(alice, bob, far), Ok(())),
        ("void by an old key", town().hold_void(dave, hold_id(9)).map(drop), rotated),
        ("accept by an old key", town().accept(dave, units(0)), rotated),
        ("accept by a stranger", town().accept(carol, units(0)), nobody),
        ("accept less than one has", town().accept(alice, units(0)), Ok(())),
        ("close by an old key", close(dave, 0), rotated),
        ("close the issuer", close(issuer, 0), stays),
        ("close a stranger", close(carol, 0), nobody),
        ("close twice", close(erin, 0), Err(UnknownAccount { holder: erin })),
        ("close with holds", close(alice, 0), Err(HoldsOpen { holds_open: 1 })),
        (
            "close with money",
            close(bob, 29),
            Err(NotEmpty { available: units(30), forfeit_max: units(29) }),
        ),
        ("close", close(bob, 30), Ok(())),
        ("rotate by an old key", rotate(dave, alice), rotated),
        ("rotate the issuer", rotate(issuer, alice), stays),
        ("rotate a stranger", rotate(carol, alice), nobody),
        ("rotate to an account", rotate(alice, bob), Err(AccountExists { holder: bob })),
        ("rotate to itself", rotate(alice, alice), Err(AccountExists { holder: alice })),
        ("rotate to an old key", rotate(dave_new, dave), Err(AccountExists { holder: dave })),
        ("rotate to a closed one", rotate(alice, erin), Err(AccountExists { holder: erin })),
        ("rotate", rotate(alice, carol), Ok(())),
        ("rotate again", rotate(dave_new, carol), Ok(())),
    ];
    for (what, got, expected) in table {
        assert_eq!(got, expected, "{what}");
    }
    let mut halted = town();
    halted.halt();
    let leg = Leg { from: alice, to: bob, amount: units(0), terms };
    assert_eq!(halted.accept(dave, units(0)), Err(Halted));
    assert_eq!(halted.close(dave, units(0)), Err(Halted));
    assert_eq!(halted.rotate(dave, dave), Err(Halted));
    assert_eq!(halted.transfer_linked(&[]), Err(LegRefused { leg: 0, refusal: Halted }));
    assert_eq!(halted.transfer_linked(&[leg]), Err(LegRefused { leg: 0, refusal: Halted }));
}

#[test]
fn a_key_is_changed_and_all_goes_on() {
    let mut ledger = ledger();
    let (alice, bob) = (entity(ALICE), entity(BOB));
    let [alice_new, alice_newest, bob_new] = [7, 8, 9].map(entity);
    let (had, at, supply) = (ledger.account(alice), ledger.index_of(alice), ledger.supply());
    let accounts = ledger.accounts();
    let done = ledger.rotate(alice, alice_new).unwrap();
    let [Posting { debit, credit, amount }] = done.postings.as_slice() else { panic!("one") };
    assert_eq!(*debit, Side::Available { entity: alice });
    assert_eq!((*credit, *amount), (Side::Available { entity: alice_new }, had.available));
    ledger.rotate(alice_new, alice_newest).unwrap();
    ledger.rotate(bob, bob_new).unwrap();
    for key in [alice, alice_new, alice_newest] {
        assert_eq!(ledger.account(key), had);
        assert_eq!(ledger.index_of(key), at);
        assert_eq!(ledger.current_key(key), alice_newest);
    }
    assert_eq!((ledger.accounts(), ledger.supply()), (accounts, supply));
    assert!(ledger.books().all(|(holder, _)| holder != alice && holder != alice_new));

    // Money sent to any of its keys arrives; the hold that the first key opened is posted by its payee's new key, against
    // the first key's signature, and what is left comes back.
    ledger.mint(alice, units(1)).unwrap();
    ledger.mint(alice_new, units(1)).unwrap();
    let signed = voucher(1, 40).sign(&key(ALICE));
    let newer = voucher(1, 40).sign(&key(8));
    assert_eq!(
        ledger.hold_post(NOW, bob, &signed, Amount::ZERO),
        Err(Refusal::KeyRotated { to: bob_new })
    );
    let refused = Refusal::BadSignature { hold: hold_id(1), payer: alice };
    assert_eq!(ledger.hold_post(NOW, bob_new, &newer, Amount::ZERO), Err(refused));
    let done = ledger.hold_post(NOW, bob_new, &signed, Amount::ZERO).unwrap();
    assert_eq!((done.payer, done.paid, done.returned), (alice_newest, units(40), units(60)));
    let now = Account { available: units(932), held: units(0) };
    assert_eq!(ledger.account(alice_newest), now);
    assert_eq!(ledger.account(bob), Account { available: units(70), held: units(0) });
    assert_eq!(ledger.check(), Ok(()));

    // Closed, its old keys still lead to it.
    ledger.close(alice_newest, Amount::MAX).unwrap();
    assert_eq!(ledger.account(alice), Account::default());
    assert_eq!(ledger.index_of(alice), at);
    assert_eq!(ledger.accounts(), accounts, "the issuer has one now");
    ledger.mint(alice, units(3)).unwrap();
    assert_eq!(ledger.account(alice_newest).available, units(3));
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn a_limit_is_for_what_others_pay() {
    let mut ledger = ledger();
    let (alice, bob) = (entity(ALICE), entity(BOB));
    ledger.accept(alice, units(0)).unwrap();
    ledger.accept(bob, units(0)).unwrap();
    assert_eq!(ledger.balance_max(bob), units(0));
    // A post by the payee itself, and what comes back of it.
    ledger.hold_post(NOW, bob, &voucher(1, 40).sign(&key(ALICE)), Amount::ZERO).unwrap();
    assert_eq!(ledger.account(bob).available, units(70));
    assert_eq!(ledger.account(alice).available, units(930));
    // What is held counts.
    ledger.accept(alice, units(931)).unwrap();
    open(&mut ledger, 5, 100, NOW.after(SECOND)).unwrap();
    ledger.mint(alice, units(1)).unwrap();
    let over = Refusal::OverLimit { payee: alice, balance_max: units(931) };
    assert_eq!(ledger.mint(alice, units(1)), Err(over));
    // A fee is no payment to the issuer.
    ledger.mint(entity(ISSUER), units(1)).unwrap();
    ledger.accept(entity(ISSUER), units(0)).unwrap();
    ledger.accept(bob, Amount::MAX).unwrap();
    ledger.transfer(alice, bob, units(1), fee(1)).unwrap();
    assert_eq!(ledger.account(entity(ISSUER)).available, units(2));
    // A limit ends with its account.
    ledger.close(bob, Amount::MAX).unwrap();
    ledger.mint(bob, units(1)).unwrap();
    assert_eq!(ledger.balance_max(bob), Amount::MAX);
}

#[test]
fn linked_transfers_are_all_or_none() {
    let [issuer, alice, bob, carol, dave, erin] =
        [ISSUER, ALICE, BOB, CAROL, DAVE, ERIN].map(entity);
    let leg = |from, to, amount| Leg { from, to, amount: units(amount), terms: fee(1) };
    // Carol and Dave have what those before them paid; Dave and the issuer get accounts; Erin's opens again.
    let good = [
        leg(alice, carol, 100),
        leg(carol, dave, 50),
        leg(dave, bob, 20),
        leg(bob, erin, 49),
        leg(erin, issuer, 48),
    ];
    let fresh = || {
        let mut ledger = ledger();
        ledger.mint(erin, units(1)).unwrap();
        ledger.close(erin, units(1)).unwrap();
        ledger.redeem(issuer, units(1)).unwrap();
        ledger
    };
    let mut linked = fresh();
    linked.transfer_linked(&good).unwrap();
    let mut single = fresh();
    for each in &good {
        let done = single.transfer(each.from, each.to, each.amount, each.terms).unwrap();
        assert_eq!(single.postings(each), done.postings);
    }
    assert_eq!(linked, single);
    assert_eq!(linked.check(), Ok(()));

    let (fresh, without_issuer) = (fresh(), ledger());
    for bad in [leg(carol, bob, 100), leg(alice, alice, 1), leg(alice, bob, 0)] {
        for place in 0..=good.len() {
            for start in [&fresh, &without_issuer] {
                let mut legs = good.to_vec();
                legs.insert(place, bad);
                let mut ledger = start.clone();
                assert_eq!(ledger.transfer_linked(&legs).unwrap_err().leg, place);
                assert_eq!(bytes(&ledger), bytes(start));
                assert_eq!(ledger.accounts(), start.accounts());
                assert_eq!((ledger.check(), ledger.index_of(dave)), (Ok(()), None));
                // The keys that were taken away can come back.
                ledger.mint(dave, units(1)).unwrap();
                assert_eq!(ledger.check(), Ok(()));
            }
        }
    }
    let count = |legs: usize| {
        let legs = vec![leg(alice, bob, 0); legs];
        ledger().transfer_linked(&legs).unwrap_err().refusal
    };
    let refused = Refusal::LegCount { legs_max: 8192 };
    assert_eq!([count(0), count(8193), count(8192)], [refused, refused, Refusal::ZeroAmount]);
}

#[test]
fn the_books_are_full() {
    let mut ledger = ledger();
    let full = Refusal::BooksFull { accounts_max: ACCOUNTS_MAX };
    for number in ledger.indexes()..ACCOUNTS_MAX as usize {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        ledger.mint(EntityId::from_bytes(key), units(1)).unwrap();
    }
    let before = bytes(&ledger);
    let (alice, carol) = (entity(ALICE), entity(CAROL));
    assert_eq!(ledger.mint(carol, units(1)), Err(full));
    assert_eq!(ledger.transfer(alice, carol, units(1), fee(0)), Err(full));
    assert_eq!(ledger.rotate(alice, carol), Err(full));
    assert_eq!(bytes(&ledger), before);
    assert!(
        ledger.transfer(alice, entity(BOB), units(1), fee(1)).is_ok(),
        "the issuer has its place"
    );
    assert_eq!(ledger.check(), Ok(()));
}

#[test]
fn strangers_leave_nothing_behind() {
    let mut ledger = ledger();
    let before = bytes(&ledger);
    let (carol, bob) = (entity(CAROL), entity(BOB));
    assert!(ledger.transfer(carol, bob, units(1), fee(0)).is_err());
    assert!(ledger.redeem(carol, units(1)).is_err());
    assert!(ledger.accept(carol, units(1)).is_err());
    assert!(ledger.close(carol, units(1)).is_err());
    assert!(ledger.rotate(carol, entity(9)).is_err());
    assert!(ledger.hold_void(carol, hold_id(1)).is_err());
    assert_eq!(ledger.index_of(carol), None);
    assert_eq!(bytes(&ledger), before);
    assert_eq!(ledger.index_of(entity(ISSUER)), Some(AccountIndex::ISSUER));
    assert_eq!(ledger.books().map(|(holder, _)| holder).collect::<Vec<_>>(), [entity(ALICE), bob]);
}
