//! A host that knows no broker prices itself by its neighbours, and its status says where that brings it. One that serves hears of
//! other prices.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

/// Has a host sell at other terms from now on, and serve.
async fn sell(market: &mut Market, host: &str, terms: &[&str], up: &[&str]) {
    market.world.stop(host).await;
    let path = market.world.home(host).join("shards");
    let args = ["sell", "storage", "--size", "2G", "--path", path.to_str().unwrap()];
    // Keeping is all that costs something, so that the places go by it.
    let free = ["--open", "0", "--write", "0", "--read", "0"];
    market.world.ask(host, [&args[..], &free, terms].concat()).await.unwrap();
    let args = [&["up", "--listen", "127.0.0.1:0"][..], up].concat();
    market.world.start(host, args).await.unwrap();
}

/// The status of a host, once it is as wanted.
async fn status(market: &Market, host: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = market.world.ask(host, ["status"]).await.unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < DEADLINE, "{status}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The screen that people see.
fn screen(market: &Market, host: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    let output = command.arg("--home").arg(market.world.home(host)).arg("status").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// Where the loopback interface has no multicast, this fails in the crate `mdns` first, or is skipped there.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_brokers_follows_its_neighbours() {
    let mut market = market(3).await;
    sell(&mut market, "host-0", &["--store", "0.02"], &["--local"]).await;
    sell(&mut market, "host-1", &["--store", "0.05"], &["--local"]).await;
    // It has seen that the other is there, or is found by it.
    status(&market, "host-1", |status| status["rank"]["of"] == 2).await;

    let follow = ["--store", "0.1", "--auto-price", "--price-floor", "0.01"];
    sell(&mut market, "host-2", &follow, &["--local"]).await;
    let followed = status(&market, "host-2", |status| status["rank"]["of"] == 3).await;
    // The cheaper half of two is one, and 1 % below that is the first place.
    assert_eq!(followed["rank"]["rank"], 1, "{followed}");
    let store: f64 = followed["rank"]["store"].as_str().unwrap().parse().unwrap();
    assert!((0.0190..0.02).contains(&store), "{store}");
    let shown = screen(&market, "host-2");
    assert!(shown.contains("Rank       1 of 3, at 0.01"), "{shown}");

    // With nobody in sight it says so, and serves at what is written.
    sell(&mut market, "host-2", &follow, &[]).await;
    let alone = status(&market, "host-2", |status| status["running"] == true).await;
    assert!(alone["rank"].is_null(), "{alone}");
    let shown = screen(&market, "host-2");
    assert!(shown.contains("Rank       not known"), "{shown}");
    market.world.end().await;
}

/// Reads, deep audits, and what is taken in are told apart.
#[tokio::test(flavor = "multi_thread")]
async fn audits_are_counted_apart_from_reads() {
    let market = market(4).await;
    market.write_noise(1);
    let args = market.create_args(&["--survive", "0.99"]);
    market.world.run("buyer", args).await.unwrap();
    let before = status(&market, "host-0", |status| status["served"]["puts"] != 0).await;
    assert_eq!(before["served"]["proofs"], 0, "{before}");
    assert!(before["served"]["last_proof"].is_null(), "{before}");
    market.world.run("buyer", ["audit", "--deep"]).await.unwrap();
    let proved = status(&market, "host-0", |status| status["served"]["proofs"] == 1).await;
    assert!(proved["served"]["last_proof"].is_string(), "{proved}");
    // Now and then a deep audit reads a step too, and that is a read.
    let reads = |status: &Value| status["served"]["reads"].as_u64().unwrap();
    assert!(reads(&proved) - reads(&before) <= 1, "{before} {proved}");
    assert!(screen(&market, "host-0").contains("1 deep audits proved, the last 2"));
    market.world.run("buyer", ["audit"]).await.unwrap();
    let sampled = status(&market, "host-0", |status| reads(status) > reads(&proved));
    assert_eq!(sampled.await["served"]["proofs"], 1);
    market.world.end().await;
}

/// What is said of one of the hosts by a dry run, and by what its contract costs.
async fn quoted(market: &Market, host: &str) -> (Value, Value) {
    let entity = market.world.address(host).unwrap().split('@').next().unwrap().to_owned();
    let of = |lines: Vec<Value>, event: &str| {
        let is_it = |line: &Value| line["event"] == event && line["provider"] == entity.as_str();
        lines.into_iter().find(is_it).unwrap()
    };
    let dry = market.create_args(&["--survive", "0.99", "--dry-run"]);
    let quote = of(market.world.run("buyer", dry).await.unwrap(), "quote");
    (quote, of(market.backup("buyer", &["cost"]).await, "contract-cost"))
}

/// The service goes on: new contracts are asked for by what was said last, and those that are signed cost what they did.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_serves_hears_of_other_prices_and_brokers() {
    let mut market = market(4).await;
    market.write_noise(1);
    market.world.run("buyer", market.create_args(&["--survive", "0.99"])).await.unwrap();
    let contracts = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let host = &market.host_of(contracts[0]["provider"].as_str().unwrap());
    let broker = market.broker("broker").await;
    let (_, cost) = quoted(&market, host).await;
    let pid = market.world.pid(host);
    let path = market.world.home(host).join("shards");
    let sell = ["sell", "storage", "--path", path.to_str().unwrap()];
    let terms = ["--size", "3G", "--store", "0.001", "--broker", &broker];
    market.world.ask(host, [&sell[..], &terms].concat()).await.unwrap();
    market.are_shown(&broker, 1).await;
    let (quote, same) = quoted(&market, host).await;
    assert!(quote["store"].as_str().unwrap().starts_with("0.00100"), "{quote}");
    let capacity = quote["capacity"].as_u64().unwrap();
    assert!(capacity > 1 << 30, "it had no more than that before: {quote}");
    assert_eq!(cost["per_epoch"], same["per_epoch"], "what is signed stays as it was");

    // Less room than is sold is none, and what is kept is served. The broker shows it no more.
    market.world.ask(host, [&sell[..], &["--size", "1M"]].concat()).await.unwrap();
    let began = Instant::now();
    loop {
        let (quote, _) = quoted(&market, host).await;
        let shown = market.world.ask("buyer", ["broker", "status", &broker]).await.unwrap();
        if quote["chosen"] == false && shown["offers"] == 0 {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{quote} {shown}");
    }
    let audited = market.world.run("buyer", ["audit"]).await.unwrap();
    let audits: Vec<_> = audited.iter().filter(|line| line["event"] == "audit").collect();
    assert_eq!(audits.len(), contracts.len());
    assert!(audits.iter().all(|line| line["outcome"] == "proven"), "{audits:?}");

    // Another folder is for the next start, and nothing of what was said with it is heard before.
    let elsewhere = market.world.home("elsewhere");
    let moved = ["sell", "storage", "--size", "3G", "--path", elsewhere.to_str().unwrap()];
    market.world.ask(host, moved).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(quoted(&market, host).await.0["chosen"], false);
    assert_eq!(market.world.pid(host), pid);
    market.world.end().await;
}
