//! Rules as tables, promises as properties, and a planted fault for each thing the recount looks at.

use crate::{
    accounts::{Role, Slot},
    *,
};
use fondaco_codec::{Decode, Encode};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_units::{Amount, Duration, Timestamp};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use std::collections::{BTreeMap, BTreeSet};

const ISSUER: usize = 0;
const ALICE: usize = 1;
const BOB: usize = 2;
const CAROL: usize = 3;
const NOW: Timestamp = Timestamp::from_milliseconds(1_000_000);
const SECOND: Duration = Duration::from_seconds(1);

fn key(who: usize) -> SecretKey {
    SecretKey::from_bytes(&[u8::try_from(who + 1).unwrap(); 32])
}

fn entity(who: usize) -> EntityId {
    key(who).entity()
}

fn currency() -> CurrencyId {
    CurrencyId::issued_by(entity(ISSUER))
}

fn units(units: u64) -> Amount {
    Amount::new(units)
}

fn hold_id(number: u128) -> HoldId {
    HoldId::derive(currency(), entity(ALICE), number)
}

fn voucher(number: u128, cumulative: u64) -> Voucher {
    Voucher { currency: currency(), hold: hold_id(number), cumulative: units(cumulative) }
}

fn open(
    ledger: &mut Ledger,
    number: u128,
    amount: u64,
    expires: Timestamp,
) -> Result<Opened, Refusal> {
    let (payer, payee) = (entity(ALICE), entity(BOB));
    ledger.hold_open(hold_id(number), payer, payee, units(amount), Digest::ZERO, expires, NOW)
}

/// Alice has 1000, of which hold 1 holds 100 for Bob for ten seconds; holds 2, 3 and 4 are posted, voided, expired.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(currency(), 7);
    ledger.mint(entity(ALICE), units(1000)).unwrap();
    open(&mut ledger, 4, 1, NOW.after(SECOND)).unwrap();
    assert_eq!(ledger.expire(NOW.after(SECOND)).unwrap().len(), 1);
    open(&mut ledger, 1, 100, NOW.after(Duration::from_seconds(10))).unwrap();
    open(&mut ledger, 2, 100, NOW.after(SECOND)).unwrap();
    ledger.hold_post(NOW, entity(BOB), &voucher(2, 30).sign(&key(ALICE))).unwrap();
    open(&mut ledger, 3, 100, NOW.after(SECOND)).unwrap();
    ledger.hold_void(entity(BOB), hold_id(3)).unwrap();
    ledger
}

/// A step, what it gave, and what it should give.
type Row = (&'static str, Result<(), Refusal>, Result<(), Refusal>);

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
    let posting = |now, by, signed: SignedVoucher| ledger().hold_post(now, by, &signed).map(drop);
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
            ledger().transfer(alice, alice, units(0), units(0)).map(drop),
            Err(ZeroAmount),
        ),
        (
            "transfer to oneself",
            ledger().transfer(alice, alice, units(9999), units(0)).map(drop),
            Err(SelfTransfer { holder: alice }),
        ),
        ("transfer all", ledger().transfer(alice, bob, units(869), units(1)).map(drop), Ok(())),
        (
            "transfer without the fee",
            ledger().transfer(alice, bob, units(870), units(1)).map(drop),
            Err(short(871)),
        ),
        (
            "transfer over 64 bits",
            ledger().transfer(alice, bob, units(u64::MAX), units(1)).map(drop),
            Err(short(u64::MAX)),
        ),
        (
            "transfer by a stranger",
            ledger().transfer(carol, bob, units(1), units(0)).map(drop),
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
    assert_eq!(halted.transfer(alice, bob, units(0), units(0)), Err(Halted));
    assert_eq!(open(&mut halted, 9, 0, NOW), Err(Halted));
    assert_eq!(halted.hold_post(NOW, bob, &signed(1, 1)), Err(Halted));
    assert_eq!(halted.hold_void(bob, id(1)), Err(Halted));
    assert_eq!(halted.expire(late), Err(Halted));
    assert_eq!(halted.check(), Err(Imbalance::Halted));
    assert!(Halted.is_transient() && !closed(3, HoldState::Voided).unwrap_err().is_transient());
}

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
    assert!(posted.hold_post(before, entity(BOB), &voucher(1, 1).sign(&key(ALICE))).is_ok());
    assert_eq!(ledger.expire(expires).unwrap().len(), 1);
    assert_eq!(ledger.account(entity(ALICE)), Account { available: units(970), held: units(0) });
}

#[test]
fn the_fee_goes_to_the_issuer_whoever_pays() {
    let mut ledger = Ledger::new(currency(), 7);
    ledger.mint(entity(ISSUER), units(10)).unwrap();
    // The issuer pays its fee to itself; it must have it all the same.
    let done = ledger.transfer(entity(ISSUER), entity(BOB), units(6), units(4)).unwrap();
    assert_eq!(done.balance, units(4));
    assert_eq!(done.postings.as_slice().len(), 2);
    let done = ledger.transfer(entity(BOB), entity(ISSUER), units(5), units(1)).unwrap();
    assert_eq!(done.balance, units(0));
    assert_eq!(ledger.redeem(entity(ISSUER), units(10)).unwrap().supply, units(0));
    assert_eq!(ledger.check(), Ok(()));
}

fn slot(ledger: &mut Ledger, who: usize) -> &mut Slot {
    let at = ledger.index_of(entity(who)).unwrap();
    ledger.accounts.at_mut(at)
}

/// Each thing that the recount looks at, broken once by hand.
#[test]
fn canary_the_recount_finds_planted_faults() {
    type Plant = fn(&mut Ledger);
    let alice = |ledger: &mut Ledger, change: fn(&mut Account)| {
        change(&mut slot(ledger, ALICE).account);
    };
    let (payer, held) = (entity(ALICE), units(100));
    let plants: [(Plant, Imbalance); 14] = [
        (
            |ledger| ledger.issued += 1,
            Imbalance::Supply { supply: units(1001), found: units(1000) },
        ),
        (
            |ledger| ledger.redeemed += 1,
            Imbalance::Supply { supply: units(999), found: units(1000) },
        ),
        // A sum that would be right again if it wrapped at 64 bits.
        (
            |ledger| {
                let account = Account { available: Amount::MAX, held: units(1) };
                ledger.accounts.add(Slot { account, ..Slot::closed(entity(9)) });
            },
            Imbalance::Supply { supply: units(1000), found: Amount::MAX },
        ),
        (
            |ledger| assert!(ledger.holds.remove(&hold_id(1)).is_some()),
            Imbalance::Held { payer, held, found: units(0) },
        ),
        (
            |ledger| ledger.holds.get_mut(&hold_id(1)).unwrap().amount_max = units(101),
            Imbalance::Held { payer, held, found: units(101) },
        ),
        (
            |ledger| ledger.holds.get_mut(&hold_id(3)).unwrap().state = HoldState::Open,
            Imbalance::Held { payer, held, found: units(200) },
        ),
        (
            |ledger| slot(ledger, ALICE).role = Role::Account { holds_open: 0 },
            Imbalance::Held { payer, held, found: held },
        ),
        (|ledger| slot(ledger, BOB).key = entity(9), Imbalance::Index { key: entity(9) }),
        (|ledger| slot(ledger, ALICE).role = Role::Closed, Imbalance::Index { key: payer }),
        (
            |ledger| {
                let of = ledger.index_of(entity(ALICE)).unwrap();
                slot(ledger, BOB).role = Role::Alias { of };
            },
            Imbalance::Index { key: entity(BOB) },
        ),
        (|ledger| ledger.accounts.open += 1, Imbalance::Index { key: entity(ISSUER) }),
        (|ledger| ledger.accounts.table.clear(), Imbalance::Index { key: entity(ISSUER) }),
        (|ledger| ledger.due.clear(), Imbalance::Queue { hold: hold_id(1) }),
        (
            |ledger| assert!(ledger.due.insert((NOW, hold_id(3)))),
            Imbalance::Queue { hold: hold_id(3) },
        ),
    ];
    for (plant, imbalance) in plants {
        let mut ledger = ledger();
        assert_eq!(ledger.check(), Ok(()));
        plant(&mut ledger);
        assert_eq!(ledger.check(), Err(imbalance));
    }
    let mut shifted = ledger();
    alice(&mut shifted, |account| {
        *account = Account { available: units(869), held: units(101) };
    });
    let found = Imbalance::Held { payer, held: units(101), found: units(100) };
    assert_eq!(shifted.check(), Err(found));

    // A step that cannot be posted halts the ledger instead of making the fault worse, and never panics.
    let mut robbed = ledger();
    alice(&mut robbed, |account| account.held = units(99));
    assert_eq!(robbed.hold_void(entity(BOB), hold_id(1)), Err(Refusal::Halted));
    assert!(robbed.is_halted());
    let mut overfull = ledger();
    alice(&mut overfull, |account| account.available = Amount::MAX);
    assert_eq!(overfull.mint(entity(ALICE), units(1)), Err(Refusal::Halted));
}

/// One step of a random schedule, of four entities and eight holds, so that they meet often.
#[derive(Clone, Debug)]
enum Step {
    Mint { to: usize, amount: u64 },
    Redeem { from: usize, amount: u64 },
    Transfer { from: usize, to: usize, amount: u64, fee: u64 },
    Open { number: u128, payer: usize, payee: usize, amount: u64, span: u64 },
    Post { number: u128, by: usize, signer: usize, cumulative: u64 },
    Void { number: u128, by: usize },
    Wait { span: u64 },
}

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..300_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn steps() -> impl Strategy<Value = Step> {
    let (who, number) = (0..4_usize, 0..8_u128);
    prop_oneof![
        2 => (who.clone(), amounts()).prop_map(|(to, amount)| Step::Mint { to, amount }),
        1 => (who.clone(), amounts()).prop_map(|(from, amount)| Step::Redeem { from, amount }),
        4 => (who.clone(), who.clone(), amounts(), prop_oneof![Just(0), 0..5_u64, Just(u64::MAX)])
            .prop_map(|(from, to, amount, fee)| Step::Transfer { from, to, amount, fee }),
        4 => (number.clone(), who.clone(), who.clone(), amounts(), 0..600_u64).prop_map(
            |(number, payer, payee, amount, span)| Step::Open { number, payer, payee, amount, span }
        ),
        6 => (number.clone(), who.clone(), who.clone(), prop_oneof![3 => 1..50_u64, 1 => amounts()])
            .prop_map(|(number, by, signer, cumulative)| Step::Post { number, by, signer, cumulative }),
        2 => (number, who).prop_map(|(number, by)| Step::Void { number, by }),
        2 => (0..60_u64).prop_map(|span| Step::Wait { span }),
    ]
}

/// Runs one step; what it posted, or why not.
fn run(ledger: &mut Ledger, now: &mut Timestamp, step: &Step) -> Result<Vec<Posting>, Refusal> {
    let list = |postings: Postings| postings.as_slice().to_vec();
    match *step {
        Step::Mint { to, amount } => {
            ledger.mint(entity(to), units(amount)).map(|done| list(done.postings))
        }
        Step::Redeem { from, amount } => {
            ledger.redeem(entity(from), units(amount)).map(|done| list(done.postings))
        }
        Step::Transfer { from, to, amount, fee } => ledger
            .transfer(entity(from), entity(to), units(amount), units(fee))
            .map(|done| list(done.postings)),
        Step::Open { number, payer, payee, amount, span } => {
            let (id, expires) = (hold_id(number), now.after(Duration::from_milliseconds(span)));
            let (payer, payee, amount) = (entity(payer), entity(payee), units(amount));
            ledger
                .hold_open(id, payer, payee, amount, Digest::ZERO, expires, *now)
                .map(|done| list(done.postings))
        }
        Step::Post { number, by, signer, cumulative } => {
            // Half of the time by who may, signed by who must: the schedule does not know the parties of a hold.
            let known = ledger.hold(hold_id(number)).filter(|_| signer % 2 == 0);
            let payer = known.map(|hold| hold.payer);
            let right = (0..4).find(|who| Some(entity(*who)) == payer);
            let by = known.map_or(entity(by), |hold| hold.payee);
            let signed = voucher(number, cumulative).sign(&key(right.unwrap_or(signer)));
            ledger.hold_post(*now, by, &signed).map(|done| list(done.postings))
        }
        Step::Void { number, by } => {
            let known = ledger.hold(hold_id(number)).filter(|_| by % 2 == 0);
            let by = known.map_or(entity(by), |hold| hold.payee);
            ledger.hold_void(by, hold_id(number)).map(|done| list(done.postings))
        }
        Step::Wait { span } => {
            *now = now.after(Duration::from_milliseconds(span));
            let expired = ledger.expire(*now)?;
            Ok(expired.into_iter().flat_map(|each| list(each.postings)).collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Money is conserved, a refusal changes nothing, a hold pays at most once.
    ///
    /// The oracle shares nothing with the ledger: it adds up the postings of all steps, side by side, and
    /// knows neither accounts nor holds. Compared after every step.
    #[test]
    fn any_schedule_keeps_the_promises(schedule in vec(steps(), 0..80)) {
        let mut ledger = Ledger::new(currency(), 7);
        let mut now = NOW;
        let mut sides: BTreeMap<Side, i128> = BTreeMap::new();
        let mut emptied: BTreeSet<HoldId> = BTreeSet::new();
        for step in &schedule {
            let before = ledger.clone();
            match run(&mut ledger, &mut now, step) {
                Err(refusal) => prop_assert_eq!(&ledger, &before, "{} changed the ledger", refusal),
                Ok(postings) => {
                    let mut left = BTreeSet::new();
                    for Posting { debit, credit, amount } in postings {
                        prop_assert!(!amount.is_zero());
                        *sides.entry(debit).or_default() -= i128::from(amount.get());
                        *sides.entry(credit).or_default() += i128::from(amount.get());
                        if let Side::Held { hold } = debit {
                            left.insert(hold);
                        }
                    }
                    prop_assert!(emptied.is_disjoint(&left), "a hold paid twice");
                    emptied.append(&mut left);
                }
            }
            prop_assert_eq!(ledger.check(), Ok(()));
            let side = |side| sides.get(&side).copied().unwrap_or(0);
            prop_assert_eq!(sides.values().sum::<i128>(), 0);
            prop_assert_eq!(side(Side::Liability), -i128::from(ledger.supply().get()));
            for (entity, account) in ledger.books() {
                prop_assert_eq!(side(Side::Available { entity }), i128::from(account.available.get()));
            }
            for (id, hold) in ledger.holds() {
                let held = if hold.state == HoldState::Open { hold.amount_max } else { Amount::ZERO };
                prop_assert_eq!(side(Side::Held { hold: id }), i128::from(held.get()));
            }
        }
    }

    /// The same steps give the same books, whatever was refused between them.
    #[test]
    fn refused_steps_leave_no_trace(schedule in vec(steps(), 0..60)) {
        let (mut all, mut now) = (Ledger::new(currency(), 7), NOW);
        let (mut accepted, mut then) = (Ledger::new(currency(), 7), NOW);
        for step in &schedule {
            if run(&mut all, &mut now, step).is_ok() {
                prop_assert!(run(&mut accepted, &mut then, step).is_ok());
            }
        }
        prop_assert_eq!(all, accepted);
    }

    #[test]
    fn hold_ids_survive_their_text_form(digest: [u8; 32]) {
        let id = HoldId::from_digest(Digest::from_bytes(digest));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(HoldId::from_bytes(&id.to_bytes()), Ok(id));
    }

    /// Whatever bytes arrive, they are refused or they are the one encoding of what they say.
    #[test]
    fn encodings_are_canonical(bytes in vec(any::<u8>(), 0..120), tag in 0..20_u8) {
        let tagged = [&[tag], bytes.as_slice()].concat();
        for length in 0..tagged.len() {
            if let Ok(refusal) = Refusal::from_bytes(&tagged[..length]) {
                prop_assert_eq!(refusal.to_bytes(), &tagged[..length]);
            }
            if let Ok(posting) = Posting::from_bytes(&tagged[..length]) {
                prop_assert_eq!(posting.to_bytes(), &tagged[..length]);
            }
        }
    }

    /// Any bit of a signed voucher that is changed is found.
    #[test]
    fn a_changed_voucher_is_refused(cumulative: u64, bit in 0..136 * 8_usize) {
        let mut bytes = voucher(1, cumulative).sign(&key(ALICE)).to_bytes();
        prop_assert_eq!(bytes.len(), 136);
        prop_assert!(SignedVoucher::from_bytes(&bytes).unwrap().verify(entity(ALICE)).is_ok());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(SignedVoucher::from_bytes(&bytes).unwrap().verify(entity(ALICE)).is_err());
    }
}

/// The schedules are worth running: holds end in each of their ways, and a second post is tried on those that ended.
#[test]
fn the_schedules_reach_every_end_of_a_hold() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let reached = std::cell::RefCell::new([0_u32; 4]);
    let run_all = |schedule: Vec<Step>| {
        let (mut ledger, mut now) = (Ledger::new(currency(), 7), NOW);
        for step in &schedule {
            if let Err(Refusal::HoldClosed { state: HoldState::Posted { .. }, .. }) =
                run(&mut ledger, &mut now, step)
            {
                reached.borrow_mut()[3] += 1;
            }
        }
        for (_, hold) in ledger.holds() {
            match hold.state {
                HoldState::Open => {}
                HoldState::Posted { .. } => reached.borrow_mut()[0] += 1,
                HoldState::Voided => reached.borrow_mut()[1] += 1,
                HoldState::Expired => reached.borrow_mut()[2] += 1,
            }
        }
        Ok(())
    };
    let outcome = TestRunner::new_with_rng(config, rng).run(&vec(steps(), 60..80), run_all);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(reached.borrow().iter().all(|count| *count >= 10), "{reached:?}");
}

#[test]
fn hold_ids_have_one_text_form() {
    let text = hold_id(1).to_string();
    assert_eq!(text.parse(), Ok(hold_id(1)));
    for wrong in [&text[5..], &text.to_uppercase(), &text[..68], &format!("{text}0"), "hold:"] {
        assert_eq!(wrong.parse::<HoldId>(), Err(ParseHoldIdError), "{wrong}");
    }
    assert_ne!(hold_id(1), HoldId::derive(currency(), entity(BOB), 1));
    assert_ne!(hold_id(1), HoldId::derive(CurrencyId::issued_by(entity(BOB)), entity(ALICE), 1));
}

/// Pins the bytes that `docs/formats/ledger.md` shows.
#[test]
fn the_bytes_of_a_signed_voucher() {
    let signed = Voucher {
        currency: CurrencyId::issued_by(EntityId::from_bytes([0x11; 32])),
        hold: HoldId::from_digest(Digest::from_bytes([0x22; 32])),
        cumulative: units(1050),
    }
    .sign(&SecretKey::from_bytes(&[7; 32]));
    let hex: String = signed.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = "1aeb1f601da6eca1a5518c9446889ee100331a1a91aad419b014fa3298a623e8\
                     d606de05af92cc008e42369d3c86b9733a783a1d25c9250932d4c5e1ef4e1600";
    let expected = format!("{}{}1a04000000000000{signature}", "11".repeat(32), "22".repeat(32));
    assert_eq!(hex, expected);
}
