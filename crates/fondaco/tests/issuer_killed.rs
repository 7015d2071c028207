//! Kill the real issuer with SIGKILL, over and over, while holders pay: what it acknowledged stays, nothing is doubled.
#![allow(dead_code, unreachable_pub)]

#[path = "../src/failure.rs"]
mod failure;
#[path = "../src/demo/world.rs"]
mod world;

use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{Request, RequestId, Response};
use fondaco_ports::Address;
use fondaco_transport::{Endpoint, LcpClient};
use fondaco_units::Amount;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use world::World;

/// How often the issuer is killed.
const KILLS: u32 = 8;
/// How many holders pay at once.
const PAYERS: u8 = 6;
/// How long a payer waits for an answer before it gives up: a busy machine answers sooner, and a killed issuer never.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many answers there must be between one kill and the next, where traffic is to be met.
const ANSWERS: u64 = 20;
/// How long they may take: a machine on which nobody is answered for so long is not fit for this test.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const FUNDS: u64 = 1_000_000;

/// What one payer did: each payment, and the answer if there was one.
type Paid = BTreeMap<RequestId, (Request, Option<Response>)>;

fn payee() -> EntityId {
    SecretKey::from_bytes(&[99; 32]).entity()
}

async fn client(key: &SecretKey, issuer: &Address) -> LcpClient {
    LcpClient::new(Endpoint::bind(key, None, &[]).await.unwrap(), issuer.clone())
}

/// Pays one unit after another until told to stop. What had no answer is left as it is.
async fn pay(
    key: SecretKey,
    issuer: Address,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Paid {
    let client = client(&key, &issuer).await;
    let mut paid = Paid::new();
    let mut number = u128::from(key.entity().as_bytes()[0]) << 64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let id = RequestId::new(number);
        let (amount, fee_max) = (Amount::new(1), Amount::ZERO);
        let order = Text::cut(&number.to_string());
        let transfer = Request::Transfer { id, to: payee(), amount, fee_max, order };
        let called = tokio::time::timeout(PATIENCE, client.call(&transfer)).await;
        let answer = called.ok().and_then(Result::ok);
        let away = answer.is_none();
        answered.fetch_add(u64::from(!away), Ordering::Relaxed);
        paid.insert(id, (transfer, answer));
        if away {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    paid
}

/// Waits until `more` further payments were answered.
async fn traffic(answered: &AtomicU64, more: u64) {
    let goal = answered.load(Ordering::Relaxed) + more;
    let flowing = async {
        while answered.load(Ordering::Relaxed) < goal {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ANSWERS_WITHIN, flowing).await.expect("the issuer answers nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_stays_and_nothing_is_doubled() {
    let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "0"];
    world.ask("issuer", define).await.unwrap();
    let address = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let socket = address.rsplit('@').next().unwrap().to_owned();
    let issuer: Address = address.parse().unwrap();
    let keys: Vec<_> = (1..=PAYERS).map(|seed| SecretKey::from_bytes(&[seed; 32])).collect();
    for key in &keys {
        let (funds, entity) = (FUNDS.to_string(), key.entity().to_string());
        world.ask("issuer", ["issuer", "mint", &funds, "--to", &entity]).await.unwrap();
    }

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let payers: Vec<_> = keys
        .iter()
        .map(|key| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(pay(key.clone(), issuer.clone(), stop, answered))
        })
        .collect();
    for kill in 0..KILLS {
        // Now late in its life, now early: one kill meets traffic, the next meets recovery.
        if kill % 2 == 0 {
            traffic(&answered, ANSWERS).await;
        } else {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        world.kill("issuer").await.unwrap();
        let up = ["issuer", "up", "--listen", &socket];
        world.start("issuer", up).await.unwrap();
    }
    traffic(&answered, ANSWERS).await;
    stop.store(true, Ordering::Relaxed);

    let (mut done, mut acknowledged, mut doubtful) = (0, 0, 0);
    for (key, payer) in keys.iter().zip(payers) {
        let paid = payer.await.unwrap();
        let client = client(key, &issuer).await;
        let mut spent = 0;
        for (transfer, answer) in paid.into_values() {
            // Asked again, the same answer; or now the first one, where none had come.
            let again = client.call(&transfer).await.unwrap();
            match answer {
                Some(answer) => {
                    assert_eq!(again, answer, "an acknowledged payment has another answer");
                    acknowledged += 1;
                }
                None => doubtful += 1,
            }
            assert!(matches!(again, Response::Transferred { .. }), "{again:?}");
            spent += 1;
        }
        let balance = client.call(&Request::Balance).await.unwrap();
        let Response::Balance { available, .. } = balance else { panic!("{balance:?}") };
        assert_eq!(available.get(), FUNDS - spent, "a payment was lost or doubled");
        done += spent;
    }
    assert!(acknowledged > 0 && doubtful > 0, "{acknowledged} with, {doubtful} without an answer");
    let client = client(&SecretKey::from_bytes(&[99; 32]), &issuer).await;
    let balance = client.call(&Request::Balance).await.unwrap();
    let Response::Balance { available, deposits_waiting, .. } = balance else {
        panic!("{balance:?}")
    };
    assert_eq!((available.get(), deposits_waiting), (done, done), "a notice for each payment");
    world.stop("issuer").await;
    let audit = world.ask("issuer", ["issuer", "audit"]).await.unwrap();
    assert_eq!(audit["balanced"], true);
    world.end().await;
}
