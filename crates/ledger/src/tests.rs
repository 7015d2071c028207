//! Rules as tables, promises as properties, and a planted fault for each thing the recount looks at.

mod accounts;
mod ahead;
mod canaries;
mod formats;
mod holds;
mod payword;
mod precedence;
mod schedules;
mod snapshot;

use crate::*;
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_units::{Amount, Duration, Timestamp};

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

fn fee(fee: u64) -> Terms {
    Terms { fee: units(fee), reserve: Amount::ZERO }
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
    ledger.hold_post(NOW, entity(BOB), &voucher(2, 30).sign(&key(ALICE)), Amount::ZERO).unwrap();
    open(&mut ledger, 3, 100, NOW.after(SECOND)).unwrap();
    ledger.hold_void(entity(BOB), hold_id(3)).unwrap();
    ledger
}

/// Everything that a ledger says of itself.
fn bytes(ledger: &Ledger) -> Vec<u8> {
    let mut bytes = Vec::new();
    ledger.encode(&mut bytes);
    bytes
}
