//! A small market of processes: contracts are renewed, a provider leaves, another loses its disk, and each tells how it fares.

#[path = "market/noise.rs"]
mod noise;
mod parts;

use noise::Noise;
use parts::{compare, failure, world};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use world::World;

const HOSTS: [&str; 3] = ["ann", "bob", "eve"];

struct Market {
    world: World,
    source: PathBuf,
}

/// An issuer, three hosts with epochs of an hour, and a buyer who has backed a file up with all of them.
async fn market() -> Market {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_fondaco"));
    let mut world = World::new(program, false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", define).await.unwrap();
    let issuer = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let buyer = world.ask("buyer", ["init", "--no-passphrase"]).await.unwrap();
    world.ask("buyer", ["wallet", "add", &issuer]).await.unwrap();
    let buyer = buyer["entity"].as_str().unwrap();
    world.ask("issuer", ["issuer", "mint", "100", "--to", buyer]).await.unwrap();
    for name in HOSTS {
        world.ask(name, ["init", "--no-passphrase"]).await.unwrap();
        world.ask(name, ["wallet", "add", &issuer]).await.unwrap();
        let path = world.home(name).join("shards");
        let path = path.to_str().unwrap();
        let sell = ["sell", "storage", "--size", "1G", "--epoch", "1", "--path", path];
        world.ask(name, sell).await.unwrap();
        world.start(name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
    }
    let source = world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), Noise::new().bytes(300_000)).unwrap();
    let market = Market { world, source };
    market.backup(&[]).await;
    market
}

impl Market {
    async fn backup(&self, more: &[&str]) -> Vec<Value> {
        let source = self.source.to_str().unwrap();
        let mut args = vec!["backup", "create", source, "--survive", "0.9998"];
        for name in HOSTS {
            args.extend(self.world.address(name).into_iter().flat_map(|at| ["--host", at]));
        }
        args.extend(more);
        self.world.run("buyer", args).await.unwrap()
    }

    async fn contracts(&self) -> Vec<Value> {
        self.world.run("buyer", ["contracts", "list"]).await.unwrap()
    }

    async fn restored_equals_the_source(&self) {
        let to = self.world.home("restored");
        drop(std::fs::remove_dir_all(&to));
        let args = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
        self.world.ask("buyer", args).await.unwrap();
        compare::compare(&self.source, &to, None).unwrap();
    }

    /// Asks a host how it fares until it says what is wanted.
    async fn status(&self, who: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let status = self.world.ask(who, ["status"]).await.unwrap();
            if wanted(&status) {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{status}");
            // The issuer paces who asks it too often, and each status asks for the balance.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Ends all contracts, and adds up every book: nothing was made, lost, or left held.
    async fn settled(mut self) {
        self.world.run("buyer", ["contracts", "end", "--yes"]).await.unwrap();
        for who in HOSTS {
            let left = |status: &Value, what| status["contracts"][what] != 0;
            self.status(who, |status| !left(status, "open") && !left(status, "unposted_ended"))
                .await;
        }
        let mut sum = 0.0;
        for who in HOSTS.into_iter().chain(["buyer"]) {
            let line = self.world.ask(who, ["balance"]).await.unwrap();
            assert_eq!(line["held"], "0.000000", "{who}");
            sum += line["available"].as_str().unwrap().parse::<f64>().unwrap();
        }
        assert!((sum - 100.0).abs() < 1e-9, "{sum}");
        self.world.stop("issuer").await;
        let audit = self.world.ask("issuer", ["issuer", "audit"]).await.unwrap();
        assert_eq!(audit["balanced"], Value::Bool(true));
        self.world.end().await;
    }
}

fn all(lines: &[Value], event: &str) -> Vec<Value> {
    lines.iter().filter(|line| line["event"] == event).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn contracts_are_renewed_without_sending_a_byte() {
    let market = market().await;
    let before = market.contracts().await;
    assert_eq!(before.len(), HOSTS.len());
    assert!(before.iter().all(|line| line["state"] == "open"), "{before:?}");

    let lines = market.world.run("buyer", ["contracts", "renew", "--epochs", "3"]).await.unwrap();
    assert_eq!(all(&lines, "renewed").len(), HOSTS.len(), "{lines:?}");
    let after = market.contracts().await;
    let new: Vec<_> = after.iter().filter(|line| line["state"] == "open").collect();
    assert_eq!((after.len(), new.len()), (2 * HOSTS.len(), HOSTS.len()), "{after:?}");
    for line in &new {
        // What is written is the state that names the new contracts.
        let written = line["written"].as_u64().unwrap();
        assert!(written < 10_000, "shards stay where they are: {line}");
        assert!(line["byte_epochs"].as_u64().unwrap() > 0, "and are paid for");
        let old = before.iter().find(|old| old["contract"] == line["renews"]).unwrap();
        assert_eq!(old["provider"], line["provider"]);
    }
    market.restored_equals_the_source().await;
    // What was tagged under the old contracts is proven under the new ones.
    let proven = market.world.run("buyer", ["audit", "--deep"]).await.unwrap();
    let is_proven = |line: &&Value| line["outcome"] == "proven";
    assert_eq!(proven.iter().filter(is_proven).count(), HOSTS.len(), "{proven:?}");

    // A backup goes on under them, and renews those that end soon enough to be named.
    std::fs::write(market.source.join("more"), b"after the renewal").unwrap();
    let lines = market.backup(&[]).await;
    assert!(all(&lines, "renewed").is_empty() && all(&lines, "contracts").is_empty(), "{lines:?}");
    let lines = market.backup(&["--renew-within", "4"]).await;
    assert_eq!(all(&lines, "renewed").len(), HOSTS.len(), "{lines:?}");
    market.restored_equals_the_source().await;

    // What one host says of all this: the first two contracts are paid out, the third is open.
    let earned = |status: &Value| {
        status["contracts"]["open"] == 1
            && status["contracts"]["unposted_ended"] == 0
            && status["wallet"]["available"].as_str().is_some_and(|sum| sum != "0.000000")
    };
    let status = market.status("ann", earned).await;
    assert_eq!(status["running"], true);
    assert_eq!(status["contracts"]["buyers"], 1);
    assert!(status["served"]["reads"].as_u64().unwrap() > 0, "{status}");
    assert!(status["served"]["puts"].as_u64().unwrap() > 0, "{status}");
    assert_ne!(status["wallet"]["unposted"], "0.000000");
    assert_eq!(status["disk"]["shards_lost"], 0);
    market.settled().await;
}

/// Whatever is not renewed is named with the reason, in the currency, and the exit code says so.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_renewed_is_told() {
    let mut market = market().await;
    let said = |lines: &[Value]| lines.last().unwrap()["error"].as_str().unwrap().to_owned();
    let poor = ["contracts", "renew", "--budget", "0.000001 TST"];
    let lines = market.world.run_to("buyer", poor, 5).await.unwrap();
    let failed = all(&lines, "not_renewed");
    assert_eq!(failed.len(), HOSTS.len(), "{lines:?}");
    for line in &failed {
        let why = line["why"].as_str().unwrap();
        assert!(why.ends_with("of the budget 0.000001 TST are left"), "{why}");
        assert!(line["code"] == 5 && line["hint"].is_string(), "{line}");
    }
    assert!(said(&lines).starts_with("3 of 3 contracts were not renewed: it may cost up to 0.0"));
    let monthly = ["contracts", "renew", "--budget", "5 TST/month"];
    assert!(said(&market.world.run_to("buyer", monthly, 2).await.unwrap()).contains("for once"));

    let ann = market.world.address("ann").unwrap().to_owned();
    let (entity, socket) = ann.split_once('@').unwrap();
    market.world.kill("ann").await.unwrap();
    let lines = market.world.run_to("buyer", ["contracts", "renew"], 6).await.unwrap();
    assert_eq!(all(&lines, "renewed").len(), 2, "{lines:?}");
    assert!(said(&lines).starts_with("1 of 3 contracts was not renewed"), "{lines:?}");
    assert!(ann.starts_with(all(&lines, "not_renewed")[0]["provider"].as_str().unwrap()));
    market.world.start("ann", ["up", "--listen", socket]).await.unwrap();

    // There is no money any more.
    let left = market.world.ask("buyer", ["balance"]).await.unwrap();
    let left = left["available"].as_str().unwrap();
    market.world.ask("buyer", ["pay", entity, left]).await.unwrap();
    let lines = market.world.run_to("buyer", ["contracts", "renew"], 5).await.unwrap();
    let told = said(&lines);
    // What hosts have posted meanwhile may have come back: not enough.
    let sums: Vec<f64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [.., wanted, had] = sums[..] else { panic!("{told}") };
    assert!(told.contains("TST, and you have") && !told.contains("units"), "{told}");
    assert!(had < wanted, "{told}");
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_leaves_and_another_loses_its_disk() {
    let mut market = market().await;
    // Ann announces that she leaves; her buyers hear it, and can read on.
    market.world.ask("ann", ["sell", "stop", "--in", "2h"]).await.unwrap();
    let ann = market.world.address("ann").unwrap().to_owned();
    let socket = ann.rsplit('@').next().unwrap().to_owned();
    market.world.stop("ann").await;
    let offline = market.status("ann", |_| true).await;
    assert_eq!((&offline["running"], &offline["contracts"]["open"]), (&false.into(), &1.into()));
    assert!(offline["leaves"].is_string(), "{offline}");
    market.world.start("ann", ["up", "--listen", &socket]).await.unwrap();
    let of = |lines: &[Value], address: &str| {
        let is = |line: &&Value| address.starts_with(line["provider"].as_str().unwrap());
        lines.iter().find(is).unwrap()["state"].as_str().unwrap().to_owned()
    };
    let lines = market.contracts().await;
    // The only epoch of the contract is over before that, so nothing ends early.
    assert_eq!(of(&lines, &ann), "open");
    let lines = market.world.run("buyer", ["contracts", "renew"]).await.unwrap();
    let failed = all(&lines, "not_renewed");
    assert_eq!(failed.len(), 0, "an hour more ends before she leaves: {lines:?}");
    let four = ["contracts", "renew", "--epochs", "4"];
    let lines = market.world.run_to("buyer", four, 1).await.unwrap();
    let failed = all(&lines, "not_renewed");
    assert_eq!(failed.len(), 1, "four do not: {lines:?}");

    // Bob's disk is gone. He is told so, and how to get what he earned all the same.
    let bob = market.world.address("bob").unwrap().to_owned();
    let socket = bob.rsplit('@').next().unwrap().to_owned();
    market.world.stop("bob").await;
    let shards = market.world.home("bob").join("shards");
    std::fs::rename(&shards, market.world.home("bob").join("unmounted")).unwrap();
    let failure = market.world.start("bob", ["up", "--listen", &socket]).await.unwrap_err();
    assert!(failure.to_string().contains(shards.to_str().unwrap()), "{failure}");
    assert!(!shards.exists(), "nothing is made where a disk is to be mounted");
    let again = ["up", "--listen", &socket, "--without-shards"];
    market.world.start("bob", again).await.unwrap();
    let paid = |status: &Value| {
        status["contracts"]["unposted_ended"] == 0 && status["contracts"]["open"] == 0
    };
    let status = market.status("bob", paid).await;
    assert_ne!(status["wallet"]["available"], "0.000000", "{status}");
    let lines = market.contracts().await;
    let lost = lines.iter().any(|line| {
        bob.starts_with(line["provider"].as_str().unwrap())
            && line["state"] == "defaulted: its provider lost the shards"
    });
    assert!(lost, "{lines:?}");
    market.restored_equals_the_source().await;
    market.settled().await;
}

/// What a host that is silent was seen to keep and to be owed counts on, also under a contract that took over another's shards.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_host_makes_no_bill_less() {
    let mut market = market().await;
    market.world.run("buyer", ["contracts", "renew", "--epochs", "3"]).await.unwrap();
    let made = market.backup(&[]).await;
    let made = &all(&made, "backup")[0];
    assert_eq!((&made["owed_is_least"], &made["silent"]), (&false.into(), &serde_json::json!([])));
    let cost = ["backup", "cost"];
    let before = market.world.run("buyer", cost).await.unwrap();
    let bob = market.world.address("bob").unwrap().split('@').next().unwrap().to_owned();
    market.world.kill("bob").await.unwrap();
    let after = market.world.run("buyer", cost).await.unwrap();
    let (was, is) = (&all(&before, "cost")[0], &all(&after, "cost")[0]);
    for sum in ["stored", "per_month", "owed", "held"] {
        assert_eq!(is[sum], was[sum], "{sum}: {is}");
    }
    assert_eq!((&was["owed_is_least"], &is["owed_is_least"]), (&false.into(), &true.into()));
    assert_eq!(is["silent"], serde_json::json!([bob]), "{is}");
    let of_bob = all(&after, "contract-cost").into_iter().find(|line| line["provider"] == *bob);
    let of_bob = of_bob.unwrap();
    assert_eq!((&of_bob["answers"], &of_bob["owed_is_least"]), (&false.into(), &true.into()));
    assert_ne!(of_bob["owed"], "0.000000", "{of_bob}");
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_announces_that_it_leaves_is_replaced_while_it_can_be_read() {
    let mut market = market().await;
    // The contracts that follow last longer than Ann stays.
    market.world.run("buyer", ["contracts", "renew", "--epochs", "4"]).await.unwrap();
    let ann = market.world.address("ann").unwrap().to_owned();
    // She says so while she serves, and is heard.
    market.world.ask("ann", ["sell", "stop", "--in", "2h"]).await.unwrap();
    let told = |status: &Value| status["contracts"]["ending"] == 1;
    market.status("ann", told).await;
    market.world.ask("dan", ["init", "--no-passphrase"]).await.unwrap();
    let issuer = market.world.address("issuer").unwrap().to_owned();
    market.world.ask("dan", ["wallet", "add", &issuer]).await.unwrap();
    let path = market.world.home("dan").join("shards");
    let path = path.to_str().unwrap();
    let sell = ["sell", "storage", "--size", "1G", "--epoch", "1", "--path", path];
    market.world.ask("dan", sell).await.unwrap();
    let dan = market.world.start("dan", ["up", "--listen", "127.0.0.1:0"]).await.unwrap();

    // All slots live, so that without her word nothing would be due.
    let lines = market.world.run("buyer", ["backup", "repair", "--host", &dan]).await.unwrap();
    let health = &all(&lines, "health")[0];
    assert_eq!(health["due"], true, "{health}");
    assert!(health["lost"][0]["why"].as_str().unwrap().contains("leaves"), "{health}");
    let done = &all(&lines, "repaired")[0];
    let replaced = done["replaced"].as_array().unwrap();
    assert_eq!(replaced.len(), 1, "{done}");
    assert!(ann.starts_with(replaced[0]["from"].as_str().unwrap()), "{done}");
    assert!(dan.starts_with(replaced[0]["to"].as_str().unwrap()), "{done}");
    // She can go, and nothing is missed.
    market.world.stop("ann").await;
    let lines = market.world.run("buyer", ["backup", "repair"]).await.unwrap();
    assert_eq!(all(&lines, "health")[0]["lost"], Value::Array(Vec::new()), "{lines:?}");
    market.restored_equals_the_source().await;
    market.world.end().await;
}
