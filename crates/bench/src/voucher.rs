//! `voucher`: how many vouchers and PayWords a core signs and verifies, against the same key over a bare digest.

use ed25519_dalek::{Signature, VerifyingKey, verify_batch};
use fondaco_codec::Encode;
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId, SecretKey};
use fondaco_ledger::{
    HoldId, PAYWORD_LENGTH_MAX, PayWord, PayWordChain, PayWordMeter, SignedVoucher, Voucher,
};
use fondaco_units::Amount;

use crate::{
    race::{Clock, Table, Unit, peer, timed, timed_each},
    report::{Bound, Goal, Report},
};

const BARE: Domain = Domain::new("fondaco 2026 bench v1");
/// Under which vouchers are signed: here for those that check many signatures at once.
const VOUCHER: Domain = Domain::new("fondaco 2026 voucher v1");
const COUNT: usize = 5120;
const BATCH: usize = 128;

const VOUCHERS: Goal = Goal {
    what: "vouchers verified in batches of 128, on one core",
    bound: Bound::AtLeast(25_000.0),
    unit: "/s",
};
const PAYWORDS: Goal =
    Goal { what: "PayWords verified, on one core", bound: Bound::AtLeast(2_000_000.0), unit: "/s" };

pub(crate) fn run(report: &Report) {
    let payer = SecretKey::from_bytes(&[1; 32]);
    let entity = payer.entity();
    let currency = CurrencyId::issued_by(SecretKey::from_bytes(&[2; 32]).entity());
    let hold = HoldId::derive(currency, entity, 3);
    vouchers(report, &payer, currency, hold);
    paywords(report, &payer, currency, hold);
}

fn vouchers(report: &Report, payer: &SecretKey, currency: CurrencyId, hold: HoldId) {
    let (entity, count) = (payer.entity(), report.size(COUNT, BATCH) as u64);
    let voucher = |units| Voucher { currency, hold, cumulative: Amount::new(units) };
    let body = |number: u64| {
        let mut body = [0; 32];
        body[..8].copy_from_slice(&number.to_le_bytes());
        body
    };
    let table = Table::begin(report, "Vouchers on one core", Clock::Cpu, Unit::Things);
    table.row(
        "sign",
        count,
        || timed_each(0..count, |units| voucher(units).sign(payer)),
        [peer("Ed25519 over 32 bytes", || {
            timed_each(0..count, |units| payer.sign(BARE, &body(units)))
        })],
    );
    let vouchers: Vec<_> = (0..count).map(|units| voucher(units).sign(payer)).collect();
    let bodies: Vec<_> = (0..count).map(|n| (body(n), payer.sign(BARE, &body(n)))).collect();
    let one_by_one = || timed_each(&vouchers, |voucher| assert!(voucher.verify(entity).is_ok()));
    table.row(
        "verify",
        count,
        one_by_one,
        [peer("Ed25519 over 32 bytes", || {
            timed_each(&bodies, |(body, signature)| {
                assert!(entity.verify(BARE, body, signature).is_ok());
            })
        })],
    );
    let row = table.row(
        "verify 128 of one payer together",
        count,
        || timed_each(vouchers.chunks(BATCH), |batch| assert!(all_are_signed(batch, entity))),
        [peer("verify", one_by_one)],
    );
    report.goal_of(VOUCHERS, &row);
}

/// Whether all of these are `payer`'s; if not, it does not say which, and each is to be verified alone.
fn all_are_signed(vouchers: &[SignedVoucher], payer: EntityId) -> bool {
    let digests: Vec<Digest> =
        vouchers.iter().map(|signed| Digest::derive(VOUCHER, &signed.voucher.to_bytes())).collect();
    let messages: Vec<&[u8]> = digests.iter().map(|digest| &digest.as_bytes()[..]).collect();
    let signatures: Vec<Signature> =
        vouchers.iter().map(|signed| Signature::from_bytes(signed.signature.as_bytes())).collect();
    let key = VerifyingKey::from_bytes(payer.as_bytes());
    key.and_then(|key| verify_batch(&messages, &signatures, &vec![key; vouchers.len()])).is_ok()
}

fn paywords(report: &Report, payer: &SecretKey, currency: CurrencyId, hold: HoldId) {
    let length = PAYWORD_LENGTH_MAX;
    let unit = Amount::new(1);
    let made = || {
        let chain = PayWordChain::new(payer, currency, hold, Amount::ZERO, unit, length);
        chain.expect("a chain of this length")
    };
    let chain = made();
    let signed = chain.anchor().sign(payer);
    let words: Vec<PayWord> =
        (1..=length).map(|index| chain.word(index).expect("a word of this chain")).collect();
    let bare = || timed_each(&words, |word| blake3::hash(word.word.as_bytes()));
    let table = Table::begin(report, "PayWords on one core", Clock::Cpu, Unit::Things);
    table.row("make a chain", length.into(), || timed(made), [peer("BLAKE3 of 32 bytes", bare)]);
    let row = table.row(
        "verify each word",
        length.into(),
        || {
            let mut meter = PayWordMeter::new(signed, payer.entity()).expect("signed just now");
            let sample = timed_each(&words, |word| assert!(meter.accept(word).is_ok()));
            assert_eq!(meter.worth(), Amount::new(length.into()));
            sample
        },
        [peer("BLAKE3 of 32 bytes", bare)],
    );
    report.goal_of(PAYWORDS, &row);
}
