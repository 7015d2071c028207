//! Whatever is replayed or restored, an issuer's books balance, and what it refuses changes nothing.
#![no_main]

use fondaco_codec::{Decode, Reader, Text};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{Currency, Issuer, IssuerOptions, Outbox, Request, RequestId};
use fondaco_ledger::Ledger;
use fondaco_units::{Amount, Scale, Timestamp};
use libfuzzer_sys::fuzz_target;

fn issuer() -> Issuer {
    let bank = EntityId::from_bytes([1; 32]);
    let currency = Currency {
        id: CurrencyId::issued_by(bank),
        name: Text::cut("crown"),
        symbol: Text::cut("C"),
        scale: Scale::default(),
        transfer_fee: Amount::new(1),
        full_handshake_fee: Amount::ZERO,
        account_reserve: Amount::ZERO,
    };
    let mut issuer = Issuer::new(currency, IssuerOptions { seed: 0, answers_bytes_max: 4096 });
    for to in [2, 3] {
        let to = EntityId::from_bytes([to; 32]);
        let (id, amount) = (RequestId::new(to.as_bytes()[0].into()), Amount::new(1000));
        let _ = issuer.handle(Timestamp::EPOCH, bank, &Request::Mint { id, to, amount });
    }
    issuer
}

fuzz_target!(|input: (u8, u8, Vec<&[u8]>)| {
    let (kind, holder, parts) = input;
    match kind % 4 {
        0 => {
            let mut issuer = issuer();
            for record in parts {
                let before = issuer.clone();
                if issuer.replay(record).is_err() && !issuer.ledger().is_halted() {
                    assert!(issuer == before, "a refused record changes nothing");
                }
                assert!(issuer.ledger().is_halted() || issuer.check().is_ok());
            }
        }
        1 => {
            // Any command of anybody: what it made is replayed to the same.
            let (mut first, mut second) = (issuer(), issuer());
            let holder = EntityId::from_bytes([holder % 5; 32]);
            for bytes in parts {
                let Ok(request) = Request::decode(&mut Reader::new(bytes)) else { continue };
                let now = Timestamp::from_milliseconds(5);
                let handled = first.handle(now, holder, &request);
                if let Some(record) = handled.record {
                    second.replay(&record).expect("what was recorded is replayed");
                }
                assert!(first == second && first.check().is_ok());
                let snapshot = first.snapshot();
                assert!(Issuer::restore(7, 4096, &snapshot).is_ok_and(|found| found == first));
            }
        }
        2 => {
            for bytes in parts {
                if let Ok(found) = Issuer::restore(0, 4096, bytes) {
                    assert!(found.check().is_ok());
                }
                if let Ok(found) = Ledger::decode(&mut Reader::new(bytes), 0) {
                    assert!(found.check().is_ok());
                }
            }
        }
        _ => {
            let bank = EntityId::from_bytes([1; 32]);
            let mut outbox =
                Outbox::new(CurrencyId::issued_by(bank), EntityId::from_bytes([2; 32]));
            for record in parts {
                let _ = outbox.replay(record);
            }
        }
    }
});
