//! A host without an account that has earned less than its issuer opens one for: its voucher waits, and is paid.
#![allow(dead_code, unreachable_pub)]

#[path = "../src/failure.rs"]
mod failure;
#[path = "../src/demo/world.rs"]
mod world;

use fondaco_contract::{Charge, Tab, Terms};
use fondaco_crypto::SecretKey;
use fondaco_lcp as lcp;
use fondaco_ledger::{HoldId, HoldState, Voucher};
use fondaco_ports::market::{Frame as _, Reason, Request, Response};
use fondaco_ports::{Address, Clock as _};
use fondaco_store::SystemClock;
use fondaco_transport::{Connection, Endpoint, LcpClient, Protocol};
use fondaco_units::{Amount, Bytes, Duration};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;
use world::World;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

async fn ask(host: &Connection, request: &Request) -> Response {
    let mut stream = host.open().await.unwrap();
    stream.send_bytes(&request.to_frame()).await.unwrap();
    let frame = stream.recv_bytes(Response::FRAME_MAX).await.unwrap().unwrap();
    Response::from_frame(&frame).unwrap()
}

async fn state_of(issuer: &LcpClient, hold: HoldId) -> HoldState {
    match issuer.call(&lcp::Request::HoldInfo { hold }).await {
        Ok(lcp::Response::HoldInfo { info }) => info.state,
        other => panic!("{other:?}"),
    }
}

/// What the host says of its vouchers, once so many wait.
async fn waiting(world: &World, vouchers: u64) -> Value {
    let began = Instant::now();
    loop {
        let status = world.ask("host", ["status"]).await.unwrap();
        if status["wallet"]["waiting"] == vouchers {
            return status["wallet"].clone();
        }
        assert!(began.elapsed() < PATIENCE, "{status}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_under_the_reserve_waits_for_the_account() {
    let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", [&define[..], &["--account-reserve", "1"]].concat()).await.unwrap();
    let issuer = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let seller = world.ask("host", ["init", "--no-passphrase"]).await.unwrap();
    let seller = seller["entity"].as_str().unwrap().to_owned();
    world.ask("host", ["wallet", "add", &issuer]).await.unwrap();
    let path = world.home("host").join("shards");
    let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
    world.ask("host", [&sell[..], &["--open", "0.25"]].concat()).await.unwrap();
    let host = world.start("host", ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let key = SecretKey::from_bytes(&[7; 32]);
    let buyer = key.entity().to_string();
    world.ask("issuer", ["issuer", "mint", "100", "--to", &buyer]).await.unwrap();

    let (issuer, host): (Address, Address) = (issuer.parse().unwrap(), host.parse().unwrap());
    let endpoint = Endpoint::bind(&key, None, &[]).await.unwrap();
    let issuer = LcpClient::new(endpoint.clone(), issuer);
    let host = endpoint.connect(&host, Protocol::Storage).await.unwrap();
    let Response::Prices { list } = ask(&host, &Request::Prices).await else { panic!("no prices") };
    let (now, epoch) = (SystemClock.now(), list.prices.epoch.milliseconds());
    let period = Duration::from_milliseconds(2 * epoch);
    let terms = Terms::new(key.entity(), &list, Bytes::new(1 << 20), now, period, 1);
    let open = lcp::Request::HoldOpen {
        id: lcp::RequestId::new(1),
        payee: list.prices.provider,
        amount_max: Amount::new(5_000_000),
        order: *terms.id().digest(),
        expires: terms.ends.after(Duration::from_seconds(30 * 86_400)),
        open_by: terms.ends,
    };
    let opened = issuer.call(&open).await;
    let Ok(lcp::Response::HoldOpened { hold, .. }) = opened else { panic!("no hold") };
    let price = Tab::default().quote(&terms, Charge::Open).unwrap();
    assert_eq!(price, Amount::new(250_000), "less than the reserve");
    let currency = list.prices.currency;
    let voucher = Voucher { currency, hold, cumulative: price }.sign(&key);
    let buyer_signature = terms.sign_as_buyer(&key);
    let opened = ask(&host, &Request::Open { terms, buyer_signature, voucher }).await;
    assert!(matches!(opened, Response::Opened { .. }), "{opened:?}");

    // The host has no account, and this makes none: it keeps the voucher, and says why.
    let close = Request::Close { contract: terms.id() };
    for _ in 0..2 {
        let closed = ask(&host, &close).await;
        let unpaid = Response::Refused { reason: Reason::IssuerUnreachable };
        assert_eq!(closed, unpaid, "nothing is forfeited");
    }
    assert_eq!(state_of(&issuer, hold).await, HoldState::Open);
    let wallet = waiting(&world, 1).await;
    let why = wallet["waiting_why"].as_str().unwrap();
    assert!(why.starts_with("the issuer opens no account for less than 1"), "{why}");

    // Somebody pays it enough: now the voucher is worth what it says, to the unit.
    world.ask("issuer", ["issuer", "mint", "1", "--to", &seller]).await.unwrap();
    let began = Instant::now();
    while state_of(&issuer, hold).await == HoldState::Open {
        assert!(began.elapsed() < PATIENCE, "it is not posted again");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(state_of(&issuer, hold).await, HoldState::Posted { paid: price });
    assert_eq!(waiting(&world, 0).await["waiting_why"], Value::Null);
    assert_eq!(ask(&host, &close).await, Response::Closed { total: price, paid: price });
    let earned = world.ask("host", ["balance"]).await.unwrap();
    assert_eq!(earned["available"].as_str().unwrap().parse::<f64>().unwrap(), 1.25);
    world.end().await;
}
