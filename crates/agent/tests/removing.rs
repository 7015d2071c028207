//! Who removes an object asks all of its hosts at the same time: none answers before all are asked.

use fondaco_agent::book::{Coding, ContractRecord, Event, ObjectId, ObjectKind, Stage};
use fondaco_agent::{BookFile, Objects, Session};
use fondaco_audit::ShardId;
use fondaco_codec::List;
use fondaco_contract::{Deletion, PriceList, Terms};
use fondaco_crypto::{CurrencyId, Digest, SecretKey};
use fondaco_lcp::RequestId;
use fondaco_ports::market::{Frame as _, Reason, Request, Response};
use fondaco_ports::{Address, Clock};
use fondaco_transport::{Endpoint, Protocol};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Barrier;

const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);
const HOSTS: u8 = 5;

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

/// A contract of the buyer, key 99, with the host of this key.
fn contract(host: u8, address: Address) -> ContractRecord {
    let hour = Duration::from_seconds(3600);
    let prices = PriceList {
        provider: key(host).entity(),
        currency: CurrencyId::issued_by(key(98).entity()),
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
        terms: Terms::new(key(99).entity(), &list, size, NOON, hour, host.into()),
        address,
        hold_request: RequestId::new(host.into()),
        hold_max: Amount::new(1000),
        hold_expires: NOON,
        stage: Stage::Open,
    }
}

/// Deletes, or refuses, once all hosts were asked to.
async fn serve(host: Endpoint, seed: u8, refuses: bool, all: Arc<Barrier>) {
    while let Some(connection) = host.accept().await {
        while let Ok(Some(mut stream)) = connection.accept().await {
            let frame = stream.recv_bytes(Request::FRAME_MAX).await.unwrap().unwrap();
            let Request::Delete { contract, shard } = Request::from_frame(&frame).unwrap() else {
                panic!("nothing else is asked");
            };
            all.wait().await;
            let freed = Bytes::new(9);
            let deletion = Deletion { contract, shard: *shard.digest(), at: NOON, freed };
            let answer = match refuses {
                true => Response::Refused { reason: Reason::Failed },
                false => Response::Deleted { receipt: deletion.sign(&key(seed)) },
            };
            stream.send_bytes(&answer.to_frame()).await.unwrap();
            stream.finish();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_hosts_are_asked_at_the_same_time() {
    let path = std::env::temp_dir().join(format!("fondaco-removing-{}", std::process::id()));
    let book = Arc::new(BookFile::open(&path).unwrap());
    let (all, mut sessions) = (Arc::new(Barrier::new(HOSTS.into())), BTreeMap::new());
    let buyer = Endpoint::bind(&key(99), None, &[]).await.unwrap();
    for seed in 0..HOSTS {
        let loopback = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let host = Endpoint::bind(&key(seed), loopback, &[Protocol::Storage]).await.unwrap();
        let record = contract(seed, host.address());
        tokio::spawn(serve(host, seed, seed == 2, Arc::clone(&all)));
        let contract = record.terms.id();
        let intended = Event::ContractIntended {
            terms: record.terms,
            address: record.address.clone(),
            hold_request: record.hold_request,
            hold_max: record.hold_max,
            hold_expires: record.hold_expires,
        };
        let provider_signature = record.terms.sign_as_provider(&key(seed));
        let opened = Event::ContractOpened { contract, provider_signature };
        book.record_all(&[intended, opened]).unwrap();
        let session = Session::new(key(99), buyer.clone(), Arc::new(Noon), &record, Bytes::ZERO);
        sessions.insert(contract, Arc::new(session));
    }
    let contracts = List::new(sessions.keys().copied().collect()).unwrap();
    let object = ObjectId { kind: ObjectKind::Pack, name: Digest::of(b"an object") };
    let shards = List::new((0..HOSTS).map(|seed| ShardId::of(&[seed])).collect()).unwrap();
    book.record_all(&[
        Event::SetFormed { coding: Coding::Cauchy8, k: 2, contracts },
        Event::ObjectStored { object, length: Bytes::new(18), set: 0, shards },
    ])
    .unwrap();
    let objects = Objects::new(Arc::clone(&book), sessions, Some(0));
    let soon = std::time::Duration::from_secs(30);
    tokio::time::timeout(soon, objects.remove(object)).await.expect("one waits").unwrap();
    book.read(|book| {
        assert!(book.object(object).is_none());
        let deleted = book.contracts().map(|(contract, _)| book.deletions(contract).0);
        assert_eq!(deleted.sum::<u64>(), u64::from(HOSTS) - 1, "one refused");
    });
    std::fs::remove_file(&path).unwrap();
}
