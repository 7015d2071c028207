//! Ten thousand queries that wait at one issuer, each to be answered when its holder is paid, and no other.
//!
//! Over the network in memory: what is parked is in the production service, and needs no sockets.

use fondaco_codec::{List, Text};
use fondaco_crypto::SecretKey;
use fondaco_issuer::{IssuerConfig, IssuerService, PARKED_PER_HOLDER_MAX, WAIT_MAX, operator_key};
use fondaco_lcp::{RESPONSE_BYTES_MAX, Request, RequestId, Response, Step, StepResult};
use fondaco_store::SystemClock;
use fondaco_transport::{Climate, Connection, Endpoint, Fabric, LcpClient, Protocol};
use fondaco_units::{Amount, Duration as Span, Scale};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

/// As many holders as make ten thousand, of the most that each may have.
const HOLDERS: usize = 10_000 / PARKED_PER_HOLDER_MAX;
const POLLS: usize = HOLDERS * PARKED_PER_HOLDER_MAX;
const _: () = assert!(POLLS == 10_000);

/// How long a query asks to wait: as long as may be, and longer than all of this takes.
const WAIT: Span = WAIT_MAX;
/// How long anything may take that is to come at once: a busy machine is quicker, and nothing else comes within it.
const AT_ONCE: Duration = Duration::from_secs(20);

fn key(number: usize) -> SecretKey {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    SecretKey::from_bytes(&bytes)
}

/// Asks what came after this notice, and waits; the numbers of the notices told.
async fn poll(connection: &Connection, after: u64) -> Vec<u64> {
    let mut stream = connection.open().await.unwrap();
    stream.set_timeout(Duration::from_secs(600));
    stream.send_bytes(&Request::Deposits { after, wait: WAIT }.to_frame()).await.unwrap();
    stream.finish();
    let body = stream.recv_bytes(RESPONSE_BYTES_MAX).await.unwrap().unwrap();
    match Response::from_frame(&body).unwrap() {
        Response::Deposits { list, .. } => {
            list.as_slice().iter().map(|deposit| deposit.number).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_queries_wait_and_the_right_one_is_answered() {
    let folder = std::env::temp_dir().join(format!("fondaco-parked-{}", std::process::id()));
    let bank = SecretKey::from_bytes(&[0xbb; 32]);
    let scale = Scale::new(2).unwrap();
    let config = IssuerConfig::new("harbour crown", "HCR", scale, Amount::ZERO).unwrap();
    IssuerService::init(&folder, &bank, &config).unwrap();
    let service = IssuerService::open(&folder, &bank, Arc::new(SystemClock)).unwrap();
    let metrics = service.metrics();
    let fabric = Fabric::new(5);
    fabric.set_climate(Climate {
        delay_min: Duration::ZERO,
        delay_max: Duration::ZERO,
        ..Climate::FAIR
    });
    let endpoint = Endpoint::bind_on(&fabric, &bank, None, &[Protocol::Lcp2]).unwrap();
    let (address, shutdown) = (endpoint.address(), CancellationToken::new());
    let serving = tokio::spawn(service.serve(endpoint, shutdown.clone()));
    let bind = |key: &SecretKey| Endpoint::bind_on(&fabric, key, None, &[]).unwrap();
    let payer = key(HOLDERS);
    let operator = LcpClient::new(bind(&operator_key(&bank)), address.clone());
    let (id, to, amount) = (RequestId::new(1), payer.entity(), Amount::new(1_000_000));
    let minted = operator.call(&Request::Mint { id, to, amount }).await.unwrap();
    assert!(matches!(minted, Response::Minted { .. }), "{minted:?}");
    // All get an account by one command, and each a notice, its first.
    let client = LcpClient::new(bind(&payer), address.clone());
    let (order, amount, fee_max) = (Text::cut("x"), Amount::new(1), Amount::ZERO);
    let step =
        |holder| Step { to: key(holder).entity(), amount, order: order.clone(), linked: false };
    let steps = List::new((0..HOLDERS).map(step).collect()).unwrap();
    let paid = client.call(&Request::Batch { id: RequestId::new(1), fee_max, steps }).await;
    let Ok(Response::Batched { results, .. }) = paid else { panic!("{paid:?}") };
    assert!(results.as_slice().iter().all(|result| *result == StepResult::Paid));

    // One query of each holder waits for its second notice, and the others for one that never comes.
    let mut polls = JoinSet::new();
    let (mut connections, mut endpoints) = (Vec::new(), Vec::new());
    for holder in 0..HOLDERS {
        let endpoint = bind(&key(holder));
        let connection = endpoint.connect(&address, Protocol::Lcp2).await.unwrap();
        // With its endpoint a connection ends.
        endpoints.push(endpoint);
        for number in 0..PARKED_PER_HOLDER_MAX {
            let connection = connection.clone();
            let after = if number == 0 { 1 } else { u64::MAX };
            polls.spawn(async move { (holder, poll(&connection, after).await) });
        }
        connections.push(connection);
    }
    let all_wait = async {
        let wanted = format!("parked {POLLS}");
        while !metrics.text().lines().any(|line| line.ends_with(&wanted)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(40), all_wait).await.expect("all are parked");
    // Whoever has as many parked as may be is answered at once, with nothing.
    for connection in connections.iter().step_by(50) {
        let told = timeout(AT_ONCE, poll(connection, u64::MAX)).await;
        assert!(told.expect("there is no room").is_empty());
    }
    assert_eq!(polls.len(), POLLS);
    let first = timeout(Duration::from_millis(100), polls.join_next()).await;
    assert!(first.is_err(), "nobody was paid: {first:?}");

    // Each that is paid is told, and nobody else.
    for (round, holder) in [0, HOLDERS / 2, HOLDERS - 1].into_iter().enumerate() {
        let (id, to) = (RequestId::new(2 + round as u128), key(holder).entity());
        let pay = Request::Transfer { id, to, amount, fee_max, order: order.clone() };
        assert!(matches!(client.call(&pay).await, Ok(Response::Transferred { .. })));
        let told = timeout(AT_ONCE, polls.join_next()).await.expect("it is told");
        assert_eq!(told.unwrap().unwrap(), (holder, vec![2]));
    }
    assert_eq!(polls.len(), POLLS - 3);
    // Commands of others are not held up, and a service that stops lets all go.
    let balance = timeout(AT_ONCE, client.call(&Request::Balance)).await.expect("it is answered");
    assert!(matches!(balance, Ok(Response::Balance { .. })));
    shutdown.cancel();
    timeout(AT_ONCE, serving).await.expect("it stops").unwrap().unwrap();
    while let Some(ended) = polls.join_next().await {
        assert!(ended.unwrap().1.is_empty());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
