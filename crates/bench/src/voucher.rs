//! `voucher`: how many a core signs and verifies, against the same key over a bare digest.

use fondaco_crypto::{CurrencyId, Domain, SecretKey};
use fondaco_ledger::{HoldId, Voucher};
use fondaco_units::Amount;

use crate::race::{Clock, Table, Unit, peer, timed_each};

const BARE: Domain = Domain::new("fondaco 2026 bench v1");
const COUNT: u64 = 5000;

pub(crate) fn run() {
    let payer = SecretKey::from_bytes(&[1; 32]);
    let entity = payer.entity();
    let currency = CurrencyId::issued_by(SecretKey::from_bytes(&[2; 32]).entity());
    let hold = HoldId::derive(currency, entity, 3);
    let voucher = |units| Voucher { currency, hold, cumulative: Amount::new(units) };
    let body = |number: u64| {
        let mut body = [0; 32];
        body[..8].copy_from_slice(&number.to_le_bytes());
        body
    };
    let table = Table::begin("Vouchers on one core", Clock::Cpu, Unit::Things);
    table.row(
        "sign",
        COUNT,
        || timed_each(0..COUNT, |units| voucher(units).sign(&payer)),
        [peer("Ed25519 over 32 bytes", || {
            timed_each(0..COUNT, |units| payer.sign(BARE, &body(units)))
        })],
    );
    let vouchers: Vec<_> = (0..COUNT).map(|units| voucher(units).sign(&payer)).collect();
    let bodies: Vec<_> = (0..COUNT).map(|n| (body(n), payer.sign(BARE, &body(n)))).collect();
    table.row(
        "verify",
        COUNT,
        || timed_each(&vouchers, |voucher| assert!(voucher.verify(entity).is_ok())),
        [peer("Ed25519 over 32 bytes", || {
            timed_each(&bodies, |(body, signature)| {
                assert!(entity.verify(BARE, body, signature).is_ok());
            })
        })],
    );
}
