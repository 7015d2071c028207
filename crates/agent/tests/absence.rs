//! A host that is away is away from all of its contracts at once.

use fondaco_agent::auditing::{Audited, Kind, Outcome, audit};
use fondaco_agent::book::{ContractRecord, Event, Stage};
use fondaco_agent::{BookFile, Objects, Session};
use fondaco_contract::{Charge, PriceList, State, Tab, Terms};
use fondaco_crypto::{CurrencyId, SecretKey};
use fondaco_lcp::RequestId;
use fondaco_ledger::Voucher;
use fondaco_ports::market::{Frame as _, Reason, Request, Response};
use fondaco_ports::{Address, Clock};
use fondaco_transport::{Endpoint, Protocol};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
use std::net::SocketAddr;
use std::sync::Arc;

const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        NOON
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

/// A contract of the buyer, key 2, with the host of this key.
fn contract(host: u8, nonce: u128, address: Address) -> ContractRecord {
    let hour = Duration::from_seconds(3600);
    let prices = PriceList {
        provider: key(host).entity(),
        currency: CurrencyId::issued_by(key(9).entity()),
        open: Amount::new(1),
        store: Price::from_parts(1),
        write: Price::from_parts(1),
        read: Price::from_parts(1),
        capacity: Bytes::new(1 << 30),
        period_max: Duration::from_seconds(86_400),
        epoch: hour,
        step_max: Bytes::new(1 << 14),
        issued: NOON,
        expires: NOON.after(hour),
    };
    let (list, size) = (prices.sign(&key(host)), Bytes::new(1 << 20));
    ContractRecord {
        terms: Terms::new(key(2).entity(), &list, size, NOON, hour, nonce),
        address,
        hold_request: RequestId::new(nonce),
        hold_max: Amount::new(1000),
        hold_expires: NOON,
        stage: Stage::Open,
    }
}

/// Answers how a contract stands, and nothing else.
async fn serve(host: Endpoint, record: ContractRecord) {
    let tab = Tab::default().after(&record.terms, Charge::Open).unwrap();
    let voucher = Voucher {
        currency: record.terms.prices.currency,
        hold: record.hold(),
        cumulative: tab.owed(&record.terms).unwrap(),
    };
    let voucher = Some(voucher.sign(&key(2)));
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
    let loopback = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let host = Endpoint::bind(&key(1), loopback, &[Protocol::Storage]).await.unwrap();
    let mut records = vec![contract(1, 1, host.address())];
    tokio::spawn(serve(host, records[0].clone()));
    let away = [(3, 1), (4, 2), (5, 10)];
    for (seed, count) in away {
        let nowhere = || Address::new(key(seed).entity(), []);
        let of = (0..count).map(|nonce| contract(seed, 100 + nonce, nowhere()));
        records.extend(of);
    }
    let buyer = Endpoint::bind(&key(2), None, &[]).await.unwrap();
    let mut sessions = std::collections::BTreeMap::new();
    for (number, record) in (0_u128..).zip(&records) {
        let (terms, id) = (record.terms, record.terms.id());
        book.record_all(&[
            Event::ContractIntended {
                terms,
                address: record.address.clone(),
                hold_request: RequestId::new(number),
                hold_max: record.hold_max,
                hold_expires: record.hold_expires,
            },
            Event::ContractOpened {
                contract: id,
                provider_signature: terms.sign_as_provider(&key(1)),
            },
        ])
        .unwrap();
        let session = Session::new(key(2), buyer.clone(), Arc::new(Noon), record, Bytes::ZERO);
        sessions.insert(id, Arc::new(session));
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
