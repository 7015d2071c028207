//! A host was away, and a set keeps the contracts of the others: what lies in both is repaired in both, and taken over and given
//! back once.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;

fn all<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

async fn run(market: &Market, who: &str, args: &[&str]) -> Vec<Value> {
    market.world.run(who, args.iter().copied()).await.unwrap()
}

async fn contracts(market: &Market) -> Vec<Value> {
    run(market, "buyer", &["contracts", "list"]).await
}

/// Two sets of n that have n - 1 contracts in common, since one host was away for a backup; the hosts of these.
async fn of_two_sets(market: &mut Market) -> Vec<String> {
    market.write_noise(3);
    run_create(market, &["--survive", "0.99"]).await;
    let before = contracts(market).await;
    let hosts: Vec<String> =
        before.iter().map(|line| market.host_of(line["provider"].as_str().unwrap())).collect();
    let socket = market.world.address(&hosts[0]).unwrap().rsplit('@').next().unwrap().to_owned();
    market.world.stop(&hosts[0]).await;
    market.write_noise(4);
    let made = again(market).await;
    assert_eq!(all(&made, "contracts")[0]["kept"], hosts.len() - 1, "{made:?}");
    assert_eq!(contracts(market).await.len(), before.len() + 1);
    market.world.start(&hosts[0], ["up", "--listen", &socket]).await.unwrap();
    hosts[1..].to_vec()
}

/// Hosts are known by now.
async fn again(market: &Market) -> Vec<Value> {
    let source = market.source.to_str().unwrap();
    run(market, "buyer", &["backup", "create", source, "--survive", "0.99"]).await
}

async fn run_create(market: &Market, more: &[&str]) -> Vec<Value> {
    market.world.run("buyer", market.create_args(more)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_two_sets_is_replaced_in_both() {
    let mut market = market(5).await;
    let shared = of_two_sets(&mut market).await;
    let lost = market.world.address(&shared[0]).unwrap().split('@').next().unwrap().to_owned();
    market.world.kill(&shared[0]).await.unwrap();
    let fresh = market.fresh_host("fresh").await;
    let repaired = run(&market, "buyer", &["backup", "repair", "--now", "--host", &fresh]).await;
    let repaired = all(&repaired, "repaired");
    assert_eq!(repaired.len(), 2, "{repaired:?}");
    for set in &repaired {
        assert_eq!(set["replaced"].as_array().unwrap().len(), 1, "{set}");
    }
    let deep = market.audit("buyer", &["--deep"]).await;
    for line in deep.iter().filter(|line| line["outcome"].is_string()) {
        // Nothing lies any more under the contract that was the other's.
        let is_fine = line["outcome"] == "proven" || line["outcome"] == "unasked";
        assert!(is_fine || line["provider"] == lost.as_str(), "{line}");
    }
    let looked = run(&market, "buyer", &["backup", "repair", "--now"]).await;
    assert!(all(&looked, "repaired").is_empty(), "{looked:?}");
    market.restored_equals_the_source("buyer", "restored").await;
    again(&market).await;
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_of_two_sets_is_taken_over_and_given_back() {
    let mut market = market(5).await;
    let n = of_two_sets(&mut market).await.len() + 1;
    let made = market.world.ask("friend", ["init", "--no-passphrase"]).await.unwrap();
    let to = made["entity"].as_str().unwrap().to_owned();
    market.world.ask("friend", ["wallet", "add", &market.issuer]).await.unwrap();
    market.world.ask("issuer", ["issuer", "mint", "100", "--to", &to]).await.unwrap();
    let path = |name: &str| market.world.home(name).to_str().unwrap().to_owned();
    let (file, handed) = (path("entrusted"), path("handed"));
    run(&market, "buyer", &["delegate", "entrust", &to, "--out", &file, "--take-over"]).await;
    run(&market, "friend", &["delegate", "accept", &file]).await;

    let tend = ["delegate", "tend", "--now", "--epochs", "2"];
    let tended = run(&market, "friend", &tend).await;
    assert_eq!(all(&tended, "taken_over").len(), n + 1, "{tended:?}");
    let is_whole = |lines: &[Value]| {
        let sets = all(lines, "health");
        sets.len() == 2 && sets.iter().all(|set| set["live"] == set["n"])
    };
    assert!(is_whole(&tended), "{tended:?}");
    let again = run(&market, "friend", &tend).await;
    assert!(all(&again, "taken_over").is_empty() && is_whole(&again), "{again:?}");
    let deep = run(&market, "friend", &["audit", "--deep"]).await;
    let proven = deep.iter().filter(|line| line["outcome"] == "proven").count();
    assert_eq!(proven, n + 1, "{deep:?}");

    run(&market, "friend", &["delegate", "hand-back", "--out", &handed]).await;
    let reclaim = ["delegate", "reclaim", &handed, "--epochs", "2"];
    let reclaimed = run(&market, "buyer", &reclaim).await;
    assert_eq!(all(&reclaimed, "reclaimed").len(), 2 * n, "{reclaimed:?}");
    let again = run(&market, "buyer", &reclaim).await;
    assert!(all(&again, "reclaimed").is_empty(), "{again:?}");
    let is_open = |line: &&Value| line["state"] == "open";
    assert_eq!(contracts(&market).await.iter().filter(is_open).count(), n + 1);
    let deep = run(&market, "buyer", &["audit", "--deep"]).await;
    let proven = deep.iter().filter(|line| line["outcome"] == "proven").count();
    assert_eq!(proven, n + 1, "{deep:?}");
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
