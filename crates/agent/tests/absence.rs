//! A host that is away is away from all of its contracts at once.

mod parts;

use fondaco_agent::auditing::{Audited, Kind, Outcome, audit};
use fondaco_agent::book::ContractRecord;
use fondaco_agent::{BookFile, Objects, Session};
use fondaco_contract::{Charge, State, Tab};
use fondaco_ledger::Voucher;
use fondaco_ports::Address;
use fondaco_ports::market::{Frame as _, Reason, Request, Response};
use fondaco_transport::Endpoint;
use fondaco_units::Bytes;
use parts::{At, BUYER, NOON, contract, events, key, listen, prices, terms};
use std::sync::Arc;

/// Answers how a contract stands, and nothing else.
async fn serve(host: Endpoint, record: ContractRecord) {
    let tab = Tab::default().after(&record.terms, Charge::Open).unwrap();
    let voucher = Voucher {
        currency: record.terms.prices.currency,
        hold: record.hold(),
        cumulative: tab.owed(&record.terms).unwrap(),
    };
    let voucher = Some(voucher.sign(&key(BUYER)));
    while let Some(connection) = host.accept().await {
        while let Ok(Some(mut stream)) = connection.accept().await {
            let frame = stream.recv_bytes(Request::FRAME_MAX).await.unwrap().unwrap();
            let answer = match Request::from_frame(&frame).unwrap() {
                Request::Status { .. } => {
                    Response::Status { tab, voucher, shards: 0, state: State::Open }
                }
                _ => Response::Refused { reason: Reason::Malformed },
            };
            stream.send_bytes(&answer.to_frame()).await.unwrap();
            stream.finish();
        }
    }
}

/// Three hosts are away, with one, two and ten contracts: each is silent under all of them, and stands the same after that.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_counts_one_absence_once() {
    let path = std::env::temp_dir().join(format!("fondaco-absence-{}", std::process::id()));
    let book = Arc::new(BookFile::open(&path).unwrap());
    let host = listen(1).await;
    let of =
        |seed, nonce, address| (seed, contract(terms(seed, &prices(seed), nonce), nonce, address));
    let mut records = vec![of(1, 1, host.address())];
    tokio::spawn(serve(host, records[0].1.clone()));
    let away = [(3, 1), (4, 2), (5, 10)];
    for (seed, count) in away {
        let nowhere = || Address::new(key(seed).entity(), []);
        records.extend((0..count).map(|nonce| of(seed, 100 + nonce, nowhere())));
    }
    let buyer = Endpoint::bind(&key(BUYER), None, &[]).await.unwrap();
    let mut sessions = std::collections::BTreeMap::new();
    for (seed, record) in &records {
        book.record_all(&events(record, *seed)).unwrap();
        let clock = Arc::new(At(NOON));
        let session = Session::new(key(BUYER), buyer.clone(), clock, record, Bytes::ZERO);
        sessions.insert(record.terms.id(), Arc::new(session));
    }
    let objects = Objects::new(Arc::clone(&book), sessions, None);
    for round in 1..=3 {
        let audited = audit(&objects, Kind::Sampled, 9, [round; 32], |_| ()).await.unwrap();
        let silent = |audited: &&Audited| matches!(audited.outcome, Outcome::Silent { .. });
        assert_eq!(audited.iter().filter(silent).count(), 13, "{audited:?}");
        let score = |seed: u8| {
            let provider = key(seed).entity();
            book.read(|book| book.record(provider).unwrap().score().millionths())
        };
        let expected = 1_000_000 - 1000 * u32::from(round);
        for (seed, count) in away {
            assert!(score(seed).abs_diff(expected) < 20, "{count}: {} {expected}", score(seed));
        }
    }
    std::fs::remove_file(&path).unwrap();
}
