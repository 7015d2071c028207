//! A villain: a host that says it has deleted a shard, and signs something else, or nothing.

use fondaco_agent::book::{ContractRecord, Stage};
use fondaco_agent::{AgentError, Session};
use fondaco_audit::ShardId;
use fondaco_codec::{Decode as _, Encode as _};
use fondaco_contract::{ContractId, Deletion, PriceList, SignedDeletion, Terms};
use fondaco_crypto::{CurrencyId, Digest, SecretKey};
use fondaco_lcp::RequestId;
use fondaco_ports::market::{Frame as _, Reason, Request, Response};
use fondaco_store::SystemClock;
use fondaco_transport::{Endpoint, Protocol};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn terms() -> Terms {
    let price = Price::of(Amount::new(3), Bytes::new(1024)).unwrap();
    let prices = PriceList {
        provider: key(1).entity(),
        currency: CurrencyId::issued_by(key(9).entity()),
        open: Amount::new(1),
        store: price,
        write: price,
        read: price,
        capacity: Bytes::new(1 << 30),
        period_max: Duration::from_seconds(86_400),
        epoch: Duration::from_seconds(3600),
        step_max: Bytes::new(1 << 14),
        issued: NOON,
        expires: NOON.after(Duration::from_seconds(3600)),
    };
    let day = Duration::from_seconds(86_400);
    Terms::new(key(2).entity(), &prices.sign(&key(1)), Bytes::new(1 << 20), NOON, day, 1)
}

fn shard() -> ShardId {
    ShardId::of(b"the shard")
}

fn deletion() -> Deletion {
    Deletion { contract: terms().id(), shard: *shard().digest(), at: NOON, freed: Bytes::new(9) }
}

/// What is answered, one after the other: each is wrong in another way, but the last.
fn answers() -> Vec<(&'static str, Response)> {
    let own = |deletion: Deletion| Response::Deleted { receipt: deletion.sign(&key(1)) };
    let altered = |at: usize| {
        let mut bytes = deletion().sign(&key(1)).to_bytes();
        bytes[at] ^= 1;
        Response::Deleted { receipt: SignedDeletion::from_bytes(&bytes).unwrap() }
    };
    let other_contract = ContractId::from_digest(Digest::of(b"another"));
    let length = deletion().to_bytes().len();
    vec![
        ("of another shard", own(Deletion { shard: Digest::of(b"another"), ..deletion() })),
        ("of another contract", own(Deletion { contract: other_contract, ..deletion() })),
        ("by another key", Response::Deleted { receipt: deletion().sign(&key(3)) }),
        ("by the buyer", Response::Deleted { receipt: deletion().sign(&key(2)) }),
        ("with another time", altered(length - 16)),
        ("with other bytes freed", altered(length - 1)),
        ("with another signature", altered(length)),
        ("with the end of it altered", altered(length + 63)),
        ("no receipt", Response::Stored),
        ("a refusal", Response::Refused { reason: Reason::Malformed }),
        ("right", own(deletion())),
    ]
}

async fn serve(endpoint: Endpoint, next: Arc<AtomicUsize>) {
    while let Some(connection) = endpoint.accept().await {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            while let Ok(Some(mut stream)) = connection.accept().await {
                let frame = stream.recv_bytes(Request::FRAME_MAX).await.unwrap().unwrap();
                let asked = Request::from_frame(&frame).unwrap();
                let wanted = Request::Delete { contract: terms().id(), shard: shard() };
                assert_eq!(asked, wanted);
                let (_, answer) = answers().swap_remove(next.load(Ordering::SeqCst));
                stream.send_bytes(&answer.to_frame()).await.unwrap();
                stream.finish();
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_receipt_of_a_deletion_is_refused() {
    let next = Arc::new(AtomicUsize::new(0));
    let loopback = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let host = Endpoint::bind(&key(1), loopback, &[Protocol::Storage]).await.unwrap();
    let record = ContractRecord {
        terms: terms(),
        address: host.address(),
        hold_request: RequestId::new(1),
        hold_max: Amount::new(1_000_000),
        hold_expires: NOON,
        stage: Stage::Open,
    };
    tokio::spawn(serve(host, Arc::clone(&next)));
    let buyer = Endpoint::bind(&key(2), None, &[]).await.unwrap();
    let session = Session::new(key(2), buyer, Arc::new(SystemClock), &record, Bytes::ZERO);
    let all = answers();
    for (place, (what, _)) in all.iter().enumerate() {
        next.store(place, Ordering::SeqCst);
        let answer = session.delete(shard()).await;
        match *what {
            "right" => assert_eq!(answer.unwrap(), deletion().sign(&key(1))),
            "a refusal" => {
                assert!(matches!(answer, Err(AgentError::Provider { .. })), "{answer:?}");
            }
            _ => {
                let Err(AgentError::Misanswer { peer, .. }) = answer else {
                    panic!("{what}: {answer:?}")
                };
                assert_eq!(peer, key(1).entity());
            }
        }
    }
}
