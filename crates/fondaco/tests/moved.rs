//! Hosts of a backup come back on other ports, with the keys that they had: they are found, and the books follow.
#![allow(dead_code, unreachable_pub)]

#[path = "../src/demo/compare.rs"]
mod compare;
#[path = "../src/failure.rs"]
mod failure;
mod market;
#[path = "../src/demo/world.rs"]
mod world;

use market::{Market, market};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;

fn find<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().rev().find(|line| line["event"] == event).unwrap()
}

fn socket(address: &str) -> &str {
    address.rsplit('@').next().unwrap()
}

fn moved(lines: &[Value]) -> usize {
    lines.iter().filter(|line| line["event"] == "moved").count()
}

impl Market {
    /// Backs something up; returns the hosts without which it cannot be read, each with its address.
    async fn backed_up(&self, more: &[&str]) -> BTreeMap<String, String> {
        fs::write(self.source.join("letter"), "kept by hosts that move\n".repeat(1000)).unwrap();
        self.write_noise(1);
        let made = self.world.run("buyer", self.create_args(more)).await.unwrap();
        let set = find(&made, "contracts");
        let [k, n] = ["k", "n"].map(|name| usize::try_from(set[name].as_u64().unwrap()).unwrap());
        let contracts = self.world.run("buyer", ["contracts", "list"]).await.unwrap();
        assert_eq!(contracts.len(), n);
        let needed = contracts.iter().take(n - k + 1).map(|line| {
            let host = self.host_of(line["provider"].as_str().unwrap());
            let address = self.world.address(&host).unwrap().to_owned();
            (host, address)
        });
        needed.collect()
    }

    /// Has a host stop, and serve on another port; returns its new address.
    async fn moves(&mut self, host: &str, before: &str) -> String {
        self.world.stop(host).await;
        let now = self.world.start(host, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
        assert_ne!(now, before);
        now
    }

    /// Restores by these arguments, compares, and returns how many hosts were found elsewhere.
    async fn restores(&self, to: &str, more: &[&str]) -> usize {
        let to = self.world.home(to);
        let restore = ["restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
        let lines = self.backup("buyer", &[&restore, more].concat()).await;
        compare::compare(&self.source, &to, None).unwrap();
        moved(&lines)
    }

    /// Audits all hosts, which are there, by these arguments; returns how many were found elsewhere.
    async fn audits(&self, more: &[&str]) -> usize {
        let lines = self.world.run("buyer", [&["audit"], more].concat()).await.unwrap();
        let mut audited = lines.iter().filter(|line| line["event"] == "audit");
        assert!(audited.all(|line| line["outcome"] == "proven"), "{lines:?}");
        moved(&lines)
    }

    fn hosts_toml(&self) -> String {
        fs::read_to_string(self.world.home("buyer").join("hosts.toml")).unwrap()
    }

    /// Where the buyer's book has a host.
    async fn booked(&self, entity: &str) -> String {
        let contracts = self.world.run("buyer", ["contracts", "list"]).await.unwrap();
        let is_it = |line: &&Value| entity.starts_with(line["provider"].as_str().unwrap());
        contracts.iter().find(is_it).unwrap()["address"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_moved_are_reached_where_they_are_named_and_remembered() {
    let mut market = market(4).await;
    let before = market.backed_up(&[]).await;
    let mut after = BTreeMap::new();
    for (host, old) in &before {
        after.insert(host.clone(), market.moves(host, old).await);
    }
    // At the old socket of one there is a stranger now.
    let (first, old) = before.first_key_value().unwrap();
    market.fresh_host("stranger").await;
    market.world.stop("stranger").await;
    let stranger = ["up", "--listen", socket(old)];
    market.world.start("stranger", stranger).await.unwrap();

    let to = market.world.home("nothing");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    assert!(market.world.run("buyer", restore).await.is_err(), "too few are where they were");
    let named: Vec<&str> = after.values().flat_map(|new| ["--host", new]).collect();
    // It takes one of them to read everything; an audit asks all.
    let found = market.restores("restored", &named).await;
    assert!(found > 0);
    assert_eq!(found + market.audits(&named).await, before.len());
    for (host, new) in &after {
        assert!(market.hosts_toml().contains(new) && !market.hosts_toml().contains(&before[host]));
        assert_eq!(&market.booked(new).await, new);
    }
    // Nothing need be named any more, by any command.
    assert_eq!(market.restores("restored-again", &[]).await, 0);
    assert_eq!(market.audits(&[]).await, 0);

    // One is gone, and named where the stranger is: nobody believes that, and nobody writes it down.
    market.world.kill(first).await.unwrap();
    let new = after[first].clone();
    let wrong = format!("{}@{}", new.split('@').next().unwrap(), socket(old));
    let known = market.hosts_toml();
    let audited = market.world.run("buyer", ["audit", "--host", &wrong]).await.unwrap();
    let silent: Vec<&Value> = audited.iter().filter(|line| line["outcome"] == "silent").collect();
    assert_eq!(silent.len(), 1, "{audited:?}");
    assert_eq!((market.hosts_toml(), market.booked(&new).await), (known, new));
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_moved_are_found_by_a_broker_that_is_remembered() {
    let mut market = market(4).await;
    let broker = market.broker("broker").await;
    for host in market.hosts.clone() {
        market.show_at(&host, &broker).await;
    }
    let before = market.backed_up(&["--broker", &broker]).await;
    let mut after = BTreeMap::new();
    for (host, old) in &before {
        after.insert(host.clone(), market.moves(host, old).await);
    }
    market.are_shown(&broker, market.hosts.len() as u64).await;
    let found = market.restores("restored", &[]).await;
    assert!(found > 0);
    assert_eq!(found + market.audits(&[]).await, before.len());
    for new in after.values() {
        assert!(market.hosts_toml().contains(new));
        assert_eq!(&market.booked(new).await, new);
    }
    market.world.kill("broker").await.unwrap();
    assert_eq!(market.restores("restored-again", &[]).await, 0, "the broker is needed no more");
    market.world.end().await;
}
