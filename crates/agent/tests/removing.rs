//! Who removes an object asks all of its hosts at the same time: none answers before all are asked.

mod parts;

use fondaco_agent::book::{Coding, Event, ObjectId, ObjectKind};
use fondaco_agent::{BookFile, Objects, Session};
use fondaco_audit::ShardId;
use fondaco_codec::List;
use fondaco_contract::Deletion;
use fondaco_crypto::Digest;
use fondaco_ports::market::{Frame as _, Reason, Request, Response};
use fondaco_transport::Endpoint;
use fondaco_units::Bytes;
use parts::{At, BUYER, NOON, contract, events, key, listen, prices, terms};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Barrier;

/// The seeds of the hosts' keys.
const HOSTS: [u8; 5] = [11, 12, 13, 14, 15];

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
    let (all, mut sessions) = (Arc::new(Barrier::new(HOSTS.len())), BTreeMap::new());
    let buyer = Endpoint::bind(&key(BUYER), None, &[]).await.unwrap();
    for seed in HOSTS {
        let host = listen(seed).await;
        let record = contract(terms(seed, &prices(seed), 1), seed.into(), host.address());
        tokio::spawn(serve(host, seed, seed == HOSTS[2], Arc::clone(&all)));
        book.record_all(&events(&record, seed)).unwrap();
        let clock = Arc::new(At(NOON));
        let session = Session::new(key(BUYER), buyer.clone(), clock, &record, Bytes::ZERO);
        sessions.insert(record.terms.id(), Arc::new(session));
    }
    let contracts = List::new(sessions.keys().copied().collect()).unwrap();
    let object = ObjectId { kind: ObjectKind::Pack, name: Digest::of(b"an object") };
    let shards = List::new(HOSTS.map(|seed| ShardId::of(&[seed])).to_vec()).unwrap();
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
        assert_eq!(deleted.sum::<u64>(), HOSTS.len() as u64 - 1, "one refused");
    });
    std::fs::remove_file(&path).unwrap();
}
