//! Hosts of a backup come back on other ports, with the keys that they had: they are found, and the books follow.

mod market;
mod parts;

use market::client::{Client, path};
use market::{Market, Noise, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn find<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().rev().find(|line| line["event"] == event).unwrap()
}

fn socket(address: &str) -> &str {
    address.rsplit('@').next().unwrap()
}

fn moved(lines: &[Value]) -> usize {
    lines.iter().filter(|line| line["event"] == "moved").count()
}

/// What is said of a place that was named.
fn named<'a>(lines: &'a [Value], address: &str) -> &'a Value {
    let mut of = lines.iter().filter(|line| line["event"] == "named");
    of.find(|line| line["address"] == address).unwrap()
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

    /// Has these hosts move; returns the words that name where they are now.
    async fn all_move(&mut self, before: &BTreeMap<String, String>) -> Vec<String> {
        let mut named = Vec::new();
        for (host, old) in before {
            named.extend(["--host".to_owned(), self.moves(host, old).await]);
        }
        named
    }

    /// Where all hosts are.
    fn addresses(&self) -> BTreeMap<String, String> {
        let address = |host: &String| (host.clone(), self.world.address(host).unwrap().to_owned());
        self.hosts.iter().map(address).collect()
    }

    /// Restores by these arguments, and compares; returns what was said.
    async fn restored(&self, to: &str, more: &[&str]) -> Vec<Value> {
        let to = self.world.home(to);
        let restore = ["restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
        let lines = self.backup("buyer", &[&restore, more].concat()).await;
        compare::compare(&self.source, &to, None).unwrap();
        lines
    }

    /// The same; returns how many hosts were found elsewhere.
    async fn restores(&self, to: &str, more: &[&str]) -> usize {
        moved(&self.restored(to, more).await)
    }

    /// Has a stranger listen at a socket.
    async fn stranger_at(&mut self, socket: &str) {
        self.fresh_host("stranger").await;
        self.hosts.pop();
        self.world.stop("stranger").await;
        self.world.start("stranger", ["up", "--listen", socket]).await.unwrap();
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
    market.stranger_at(socket(old)).await;

    let to = market.world.home("nothing");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    assert!(market.world.run("buyer", restore).await.is_err(), "too few are where they were");
    let all: Vec<&str> = after.values().flat_map(|new| ["--host", new]).collect();
    // It takes one of them to read everything; what is said at the end is said of all, and all are known from then on.
    let said = market.restored("restored", &all).await;
    assert_eq!(moved(&said), before.len());
    let outcomes = after.values().map(|new| named(&said, new)["outcome"].as_str().unwrap());
    let outcomes: Vec<&str> = outcomes.collect();
    assert!(outcomes.contains(&"used"), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| ["used", "there"].contains(outcome)), "{outcomes:?}");
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
    let audited = market.world.run_to("buyer", ["audit", "--host", &wrong], 6).await.unwrap();
    let silent: Vec<&Value> = audited.iter().filter(|line| line["outcome"] == "silent").collect();
    assert_eq!(silent.len(), 1, "{audited:?}");
    assert_is_refused(named(&audited, &wrong));
    assert_eq!((market.hosts_toml(), market.booked(&new).await), (known.clone(), new.clone()));
    // Nor by a command that takes hosts for new contracts.
    let repair = ["backup", "repair", "--host", &wrong];
    let repaired = market.world.run_to_any("buyer", repair, &[0, 1]).await.unwrap();
    assert_is_refused(named(&repaired, &wrong));
    assert_eq!((market.hosts_toml(), market.booked(&new).await), (known, new));
    market.world.end().await;
}

fn assert_is_refused(named: &Value) {
    assert_eq!(named["outcome"], "not there", "{named}");
    assert!(named["why"].as_str().unwrap().contains("has another key"), "{named}");
    assert!(named["hint"].as_str().unwrap().contains("fondaco up"), "{named}");
}

/// A place is written down when its host's own key has answered there, and who named it wrongly is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_no_host_at_a_wrong_address() {
    let market = market(4).await;
    let one = market.world.address("host-0").unwrap().to_owned();
    let other = market.world.address("host-1").unwrap().to_owned();
    let wrong = format!("{}@{}", one.split('@').next().unwrap(), socket(&other));
    let source = market.source.to_str().unwrap().to_owned();
    let only = ["backup", "create", &source, "--host", &wrong];
    let said = market.world.run_to("buyer", only, 6).await.unwrap();
    assert_is_refused(named(&said, &wrong));
    let error = said.last().unwrap();
    assert!(error["error"].as_str().unwrap().starts_with("no host is where it was named\n"));
    assert!(!market.world.home("buyer").join("hosts.toml").exists());

    // The others do without it; it is asked for its prices where it was known, from the second time on.
    let mut rest: Vec<String> = market.create_args(&["--survive", "0.9"]);
    rest.iter_mut().filter(|word| **word == one).for_each(|word| word.clone_from(&wrong));
    fs::write(market.source.join("letter"), "dear all\n").unwrap();
    let said = market.world.run("buyer", rest.clone()).await.unwrap();
    assert_is_refused(named(&said, &wrong));
    assert_eq!(named(&said, &other)["outcome"], "there");
    assert_eq!(find(&said, "contracts")["n"], 3);
    assert!(market.hosts_toml().contains(&other) && !market.hosts_toml().contains(&one[..60]));
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
    assert!(market.hosts_toml().contains(&one));
    market.world.run("buyer", rest).await.unwrap();
    assert!(market.hosts_toml().contains(&one) && !market.hosts_toml().contains(&wrong));
    market.restores("restored", &[]).await;
    market.world.end().await;
}

/// Its old place is a stranger's, which is what `hosts.toml` has; it is found, and chosen where it is now.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_moved_is_chosen_by_the_command_that_finds_it() {
    let mut market = market(4).await;
    let broker = market.broker("broker").await;
    for host in market.hosts.clone() {
        market.show_at(&host, &broker).await;
    }
    let before = market.backed_up(&["--broker", &broker]).await;
    market.world.run("buyer", ["contracts", "end", "--yes"]).await.unwrap();
    let (host, old) = before.first_key_value().unwrap();
    let new = market.moves(host, old).await;
    market.stranger_at(socket(old)).await;
    market.are_shown(&broker, market.hosts.len() as u64).await;
    assert!(market.hosts_toml().contains(old));
    let made = market.world.run("buyer", ["backup", "create", market.source.to_str().unwrap()]);
    let made = made.await.unwrap();
    assert_eq!((find(&made, "contracts")["n"].as_u64(), moved(&made)), (Some(4), 1), "{made:?}");
    let contracts = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let open = |line: &&Value| line["stage"] == "open" && line["address"] == *new;
    assert_eq!(contracts.iter().filter(open).count(), 1, "{contracts:?}");
    assert!(market.hosts_toml().contains(&new) && !market.hosts_toml().contains(old));
    market.restores("restored", &[]).await;
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

/// A snapshot is mounted, and read from a host where it is now.
#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr)] // what cannot be shown here is said
async fn a_snapshot_is_mounted_from_hosts_that_moved() {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED: nothing can be mounted here (/dev/fuse)");
        return;
    }
    let mut market = market(4).await;
    let before = market.backed_up(&[]).await;
    let named = market.all_move(&before).await;
    let to = market.world.home("mounted");
    fs::create_dir(&to).unwrap();
    let mount = ["backup", "mount", "latest", to.to_str().unwrap(), "--no-cache"];
    let mount = mount.into_iter().map(str::to_owned).chain(named);
    market.world.start("buyer", mount).await.unwrap();
    let source = market.source.clone();
    let compared =
        tokio::task::spawn_blocking(move || compare::compare(&source, &to, None)).await.unwrap();
    market.world.stop("buyer").await;
    compared.unwrap();
    // What was named is known when it is over, also what nothing was read from.
    assert_eq!(market.restores("restored", &[]).await + market.audits(&[]).await, 0);
    market.world.end().await;
}

/// A gateway reads and stores where its hosts are now; what it is told wrongly, it says, and does without.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_serves_from_hosts_that_moved() {
    let mut market = market(4).await;
    let hosts = market.hosts_named();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let start = [&["--size", "8M"], &hosts[..]].concat();
    let gateway = Client::start(&mut market, &start).await;
    let mut noise = Noise::new();
    gateway.begin(&mut noise);
    let [first, second] = [(); 2].map(|()| noise.bytes(1 << 20));
    assert_eq!(gateway.put(&first).0, 200);
    market.world.stop("buyer").await;
    let before = market.addresses();
    let mut named = market.all_move(&before).await;
    // One is named at another's socket.
    let (wrong, right) = (named[1].clone(), socket(&named[3]).to_owned());
    named[1] = format!("{}@{right}", wrong.split('@').next().unwrap());
    let words: Vec<&str> = named.iter().map(String::as_str).collect();
    let gateway = Client::start(&mut market, &words).await;
    assert_eq!(gateway.ask("GET", &path(&first), b""), (200, first.clone()));
    assert!(!market.hosts_toml().contains(&named[1]) && market.hosts_toml().contains(&named[3]));
    market.world.stop("buyer").await;
    // To store, it needs them all.
    let gateway = Client::start(&mut market, &["--host", &wrong]).await;
    assert_eq!(gateway.put(&second).0, 200);
    assert_eq!(gateway.ask("GET", &path(&second), b""), (200, second.clone()));
    market.world.stop("buyer").await;
    for new in market.addresses().values() {
        assert!(market.hosts_toml().contains(new));
        assert_eq!(&market.booked(new).await, new);
    }
    market.world.end().await;
}

/// Nothing is named, and nobody is asked: the hosts say themselves where they are. Where the loopback interface has no multicast, this
/// fails in the crate `mdns` first, or is skipped there.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_moved_are_heard_on_the_local_network() {
    let mut market = market(4).await;
    let before = market.backed_up(&[]).await;
    for host in before.keys() {
        market.world.stop(host).await;
        let up = ["up", "--listen", "127.0.0.1:0", "--local"];
        market.world.start(host, up).await.unwrap();
    }
    let found = market.restores("restored", &["--local"]).await;
    assert!(found > 0);
    assert_eq!(found + market.audits(&["--local"]).await, before.len());
    assert_eq!(market.restores("restored-again", &[]).await, 0);
    market.world.end().await;
}
