//! A villain: a host that says it has deleted a shard, and signs something else, or nothing.

mod parts;

use fondaco_agent::{AgentError, Session};
use fondaco_audit::ShardId;
use fondaco_codec::{Decode as _, Encode as _};
use fondaco_contract::{ContractId, Deletion, SignedDeletion, Terms};
use fondaco_crypto::Digest;
use fondaco_ports::market::{Frame as _, Reason, Request, Response};
use fondaco_store::SystemClock;
use fondaco_transport::Endpoint;
use fondaco_units::Bytes;
use parts::{BUYER, NOON, contract, key, listen, prices};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn terms() -> Terms {
    parts::terms(1, &prices(1), 1)
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
        ("by the buyer", Response::Deleted { receipt: deletion().sign(&key(BUYER)) }),
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
    let host = listen(1).await;
    let record = contract(terms(), 1, host.address());
    tokio::spawn(serve(host, Arc::clone(&next)));
    let buyer = Endpoint::bind(&key(BUYER), None, &[]).await.unwrap();
    let session = Session::new(key(BUYER), buyer, Arc::new(SystemClock), &record, Bytes::ZERO);
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
