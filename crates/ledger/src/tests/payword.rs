//! Paywords: each is worth what its anchor says, to nobody else, once.

use super::*;
use crate::PayWordError as E;
use proptest::prelude::*;

fn chain(number: u128, base: u64, unit: u64, length: u32) -> PayWordChain {
    let (base, unit) = (units(base), units(unit));
    PayWordChain::new(&key(ALICE), currency(), hold_id(number), base, unit, length).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// Each word of a chain leads to its root, by any way, and no other word does.
    #[test]
    fn words_are_worth_their_index(length in 1..1200_u32, picks in prop::collection::vec(any::<prop::sample::Index>(), 1..8)) {
        let chain = chain(1, 10, 3, length);
        let signed = chain.anchor().sign(&key(ALICE));
        let mut meter = PayWordMeter::new(signed, entity(ALICE)).unwrap();
        let pick = |pick: &prop::sample::Index| (1..=length).nth(pick.index(length as usize)).unwrap();
        let mut picks: Vec<u32> = picks.iter().map(pick).collect();
        picks.sort_unstable();
        picks.dedup();
        for index in picks {
            let word = chain.word(index).unwrap();
            let worth = units(10 + 3 * u64::from(index));
            prop_assert_eq!(chain.anchor().check(&word), Ok(worth));
            prop_assert_eq!(meter.accept(&word), Ok(worth));
            prop_assert_eq!(meter.worth(), worth);
            prop_assert_eq!(meter.last(), Some(&word));
            for other in [index - 1, index + 1] {
                let lie = PayWord { index: other, ..word };
                prop_assert!(chain.anchor().check(&lie).is_err());
            }
            let kept = meter.clone().worth();
            let stale = E::NotNewer { index, last: index };
            prop_assert_eq!(meter.accept(&word), Err(stale));
            prop_assert_eq!(meter.worth(), kept);
        }
    }
}

#[test]
fn what_is_no_word_of_this_chain() {
    let chain = chain(1, 0, 1, 300);
    let signed = chain.anchor().sign(&key(ALICE));
    let mut meter = PayWordMeter::new(signed, entity(ALICE)).unwrap();
    let word = |index| chain.word(index).unwrap();
    assert_eq!(meter.accept(&word(257)), Ok(units(257)));
    let zero = Digest::ZERO;
    let table = [
        (PayWord { index: 0, word: chain.anchor().root }, E::Index { index: 0, length: 300 }),
        (PayWord { index: 301, word: zero }, E::Index { index: 301, length: 300 }),
        (word(256), E::NotNewer { index: 256, last: 257 }),
        (PayWord { index: 258, ..word(257) }, E::BadWord { index: 258 }),
        (PayWord { index: 300, word: zero }, E::BadWord { index: 300 }),
    ];
    for (word, error) in table {
        assert_eq!(meter.accept(&word), Err(error));
        assert!(!error.is_transient());
    }
    assert_eq!(meter.worth(), units(257));
    assert_eq!(chain.word(0), Err(E::Index { index: 0, length: 300 }));
    assert_eq!(chain.word(301), Err(E::Index { index: 301, length: 300 }));

    let terms = |unit, length| {
        let base = units(10);
        PayWordChain::new(&key(ALICE), currency(), hold_id(1), base, units(unit), length)
            .map(|chain| chain.anchor().root)
    };
    assert_eq!(terms(1, 0), Err(E::Length { length: 0 }));
    assert_eq!(terms(1, 65_537), Err(E::Length { length: 65_537 }));
    let overflow = |unit, index| E::Overflow { base: units(10), unit: units(unit), index };
    assert_eq!(terms(u64::MAX, 1), Err(overflow(u64::MAX, 1)));
    assert_eq!(terms(1 << 63, 2), Err(overflow(1 << 63, 2)));
    // Other terms, another chain: one chain under two anchors would pay twice.
    assert_ne!(terms(1, 5), terms(2, 5));
    assert_ne!(terms(1, 5), terms(1, 6));
    assert_eq!(terms(1, 5), terms(1, 5));

    let forged = chain.anchor().sign(&key(BOB));
    let refused = E::BadSignature { hold: hold_id(1), payer: entity(ALICE) };
    assert_eq!(PayWordMeter::new(forged, entity(ALICE)).unwrap_err(), refused);
    let endless = Anchor { length: 65_537, ..*chain.anchor() }.sign(&key(ALICE));
    let refused = PayWordMeter::new(endless, entity(ALICE)).unwrap_err();
    assert_eq!(refused, E::Length { length: 65_537 });
    assert_eq!(format!("{:?}", word(3)), "PayWord(3)");
}

#[test]
fn the_longest_chain() {
    let chain = chain(1, 0, 1, PAYWORD_LENGTH_MAX);
    let last = chain.word(PAYWORD_LENGTH_MAX).unwrap();
    assert_eq!(chain.anchor().check(&last), Ok(units(65_536)));
    assert_eq!(chain.anchor().check(&chain.word(1).unwrap()), Ok(units(1)));
}

#[test]
fn refusals_of_words_come_in_order_of_precedence() {
    use Refusal::*;
    let (bob, carol) = (entity(BOB), entity(CAROL));
    let late = NOW.after(Duration::from_seconds(10));
    let chain = |number, base| chain(number, base, 10, 10);
    let post = |now, by, chain: &PayWordChain, signer, index| {
        let word = chain.word(index).unwrap_or(PayWord { index, word: Digest::ZERO });
        ledger()
            .hold_post_word(now, by, &chain.anchor().sign(&key(signer)), &word, Amount::ZERO)
            .map(drop)
    };
    let post_anchor = |anchor: Anchor, index| {
        let word = PayWord { index, word: Digest::ZERO };
        ledger().hold_post_word(late, carol, &anchor.sign(&key(BOB)), &word, Amount::ZERO).map(drop)
    };
    let anchor = *chain(9, 0).anchor();
    let other = CurrencyId::issued_by(bob);
    let empty = Anchor { length: 0, ..anchor };
    let over = Anchor { unit: Amount::MAX, ..anchor };
    let nothing = Anchor { unit: units(0), ..anchor };
    let foreign = Anchor { currency: other, ..anchor };
    let id = hold_id;
    let bad = Digest::of(b"another");
    let spoilt = Anchor { root: bad, ..*chain(1, 0).anchor() }.sign(&key(ALICE));
    let word = chain(1, 0).word(10).unwrap();
    let table = [
        (post_anchor(empty, 0), Err(AnchorLength { length: 0, length_max: 65_536 })),
        (post_anchor(anchor, 0), Err(WordIndex { index: 0, length: 10 })),
        (post_anchor(anchor, 11), Err(WordIndex { index: 11, length: 10 })),
        (post_anchor(over, 2), Err(WordOverflow { base: units(0), unit: Amount::MAX, index: 2 })),
        (post_anchor(nothing, 1), Err(ZeroAmount)),
        (post_anchor(foreign, 1), Err(OtherCurrency { currency: currency(), found: other })),
        (post_anchor(anchor, 1), Err(UnknownHold { hold: id(9) })),
        (post(late, carol, &chain(2, 99), BOB, 10), Err(WrongPayee { hold: id(2), payee: bob })),
        (
            post(late, bob, &chain(2, 99), BOB, 10),
            Err(HoldClosed { hold: id(2), state: HoldState::Posted { paid: units(30) } }),
        ),
        (post(late, bob, &chain(1, 99), BOB, 10), Err(HoldExpired { hold: id(1), expires: late })),
        (
            post(NOW, bob, &chain(1, 1), BOB, 10),
            Err(OverHold { hold: id(1), cumulative: units(101), amount_max: units(100) }),
        ),
        (
            post(NOW, bob, &chain(1, 0), BOB, 10),
            Err(BadSignature { hold: id(1), payer: entity(ALICE) }),
        ),
        (
            ledger().hold_post_word(NOW, bob, &spoilt, &word, Amount::ZERO).map(drop),
            Err(BadWord { hold: id(1), index: 10 }),
        ),
    ];
    for (number, (got, expected)) in table.into_iter().enumerate() {
        assert_eq!(got, expected, "{number}");
    }
    let mut ledger = ledger();
    let signed = chain(1, 5).anchor().sign(&key(ALICE));
    let chain = chain(1, 5);
    let done =
        ledger.hold_post_word(NOW, bob, &signed, &chain.word(3).unwrap(), Amount::ZERO).unwrap();
    assert_eq!((done.paid, done.returned, done.payer), (units(35), units(65), entity(ALICE)));
    let again = ledger.hold_post_word(NOW, bob, &signed, &chain.word(4).unwrap(), Amount::ZERO);
    assert_eq!(
        again,
        Err(HoldClosed { hold: id(1), state: HoldState::Posted { paid: units(35) } })
    );
    assert_eq!(ledger.check(), Ok(()));
}
