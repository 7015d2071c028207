//! A buyer who knows no host finds some: brokers, hosts and buyer are processes of their own.

mod parts;

use parts::{compare, failure, world};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use world::World;

const HOSTS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(30);

struct Market {
    world: World,
    issuer: String,
    brokers: Vec<String>,
    /// Each with the price of a GiB and epoch that it asks.
    hosts: Vec<(String, String)>,
}

/// An issuer, two brokers, hosts that post at both, and a buyer with money who knows none of them.
async fn market() -> Market {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_fondaco"));
    let mut world = World::new(program, false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", define).await.unwrap();
    let up = ["issuer", "up", "--listen", "127.0.0.1:0", "--soap", "none", "--http", "none"];
    let issuer = world.start("issuer", up).await.unwrap();
    let buyer = world.ask("buyer", ["init", "--no-passphrase"]).await.unwrap();
    let buyer = buyer["entity"].as_str().unwrap();
    world.ask("buyer", ["wallet", "add", &issuer]).await.unwrap();
    world.ask("issuer", ["issuer", "mint", "100", "--to", buyer]).await.unwrap();
    let mut brokers = Vec::new();
    for name in ["broker-1", "broker-2"] {
        world.ask(name, ["init", "--no-passphrase"]).await.unwrap();
        let up = ["broker", "up", "--listen", "127.0.0.1:0"];
        brokers.push(world.start(name, up).await.unwrap());
    }
    let mut market = Market { world, issuer, brokers, hosts: Vec::new() };
    for number in 1..=HOSTS {
        let name = format!("host-{number}");
        let store = format!("0.0{number}0000");
        market.offer(&name, &["--store", &store]).await;
        market.hosts.push((name, store));
    }
    market
}

impl Market {
    /// Has `name` sell at both brokers, and serve.
    async fn offer(&mut self, name: &str, args: &[&str]) {
        self.world.ask(name, ["init", "--no-passphrase"]).await.unwrap();
        self.world.ask(name, ["wallet", "add", &self.issuer]).await.unwrap();
        let path = self.world.home(name).join("shards");
        let mut sell = vec!["sell", "storage", "--size", "2G", "--path", path.to_str().unwrap()];
        sell.extend(["--broker", &self.brokers[0], "--broker", &self.brokers[1]]);
        if !args.contains(&"--operator") {
            sell.extend(["--region", "eu-south", "--operator", name]);
        }
        sell.extend(args);
        self.world.ask(name, sell).await.unwrap();
        self.world.start(name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
    }

    /// Has a newcomer with money serve a gateway, which finds its hosts by `find`.
    async fn gateway_opens_contracts(&mut self, who: &str, find: &[&str]) {
        let buyer = self.world.ask(who, ["init", "--no-passphrase"]).await.unwrap();
        self.world.ask(who, ["wallet", "add", &self.issuer]).await.unwrap();
        let mint = ["issuer", "mint", "10", "--to", buyer["entity"].as_str().unwrap()];
        self.world.ask("issuer", mint).await.unwrap();
        let up = ["gateway", "restic", "--listen", "127.0.0.1:0"];
        let size = ["--size", "20M", "--survive", "0.99"];
        self.world.start(who, [&up[..], &size, find].concat()).await.unwrap();
        self.world.stop(who).await;
        let contracts = self.world.run(who, ["contracts", "list"]).await.unwrap();
        let stores = |line: &Value| line["written"].as_u64().unwrap() > 0;
        assert!(contracts.len() > 1 && contracts.iter().all(stores), "{contracts:?}");
    }

    /// Waits until a broker shows what `enough` wants to see; returns the offers.
    async fn offers(&self, broker: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let lines = self.world.run("buyer", ["offers", "--broker", broker]).await.unwrap();
            if enough(&lines) {
                return lines;
            }
            assert!(began.elapsed() < DEADLINE, "{lines:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn of<'a>(lines: &'a [Value], field: &str) -> Vec<&'a str> {
    lines.iter().map(|line| line[field].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_who_knows_only_brokers_backs_up_and_restores() {
    let mut market = market().await;
    let [first, second] = [0, 1].map(|index| market.brokers[index].clone());

    // Every host is shown at both, the cheapest first, with what it says of itself.
    for broker in [&first, &second] {
        let lines = market.offers(broker, |lines| lines.len() == HOSTS).await;
        let prices: Vec<&str> = market.hosts.iter().map(|(_, price)| price.as_str()).collect();
        assert_eq!(of(&lines, "store"), prices);
        assert_eq!(of(&lines, "operator"), ["host-1", "host-2", "host-3"]);
        assert_eq!(of(&lines, "region"), ["eu-south"; HOSTS]);
        for (index, line) in lines.iter().enumerate() {
            let address = market.world.address(&market.hosts[index].0).unwrap();
            assert_eq!(line["address"].as_str(), Some(address));
            assert_eq!(line["rank"].as_u64(), Some(index as u64 + 1));
        }
    }

    // One broker dies; the other is enough.
    market.world.kill("broker-1").await.unwrap();
    let source = market.world.home("source");
    std::fs::create_dir_all(source.join("folder")).unwrap();
    std::fs::write(source.join("folder/file"), b"found by a broker").unwrap();
    let backup = ["backup", "create", source.to_str().unwrap(), "--survive", "0.99"];
    let brokers = ["--broker", &first, "--broker", &second];
    // Twelve epochs are the most that these hosts take, and it is said.
    let long = [&backup[..], &brokers, &["--epochs", "13"]].concat();
    let refused = market.world.run_to("buyer", long, 3).await.unwrap();
    let error = refused.last().unwrap();
    let said = "3 hosts would do, and do not take contracts of 13 epochs";
    assert_eq!(error["error"], said, "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--epochs"), "{error}");
    let lines = market.world.run("buyer", [&backup[..], &brokers].concat()).await.unwrap();
    let found = lines.iter().find(|line| line["event"] == "found").unwrap();
    assert_eq!(
        (found["brokers"].as_u64(), found["answered"].as_u64(), found["hosts"].as_u64()),
        (Some(2), Some(1), Some(HOSTS as u64)),
        "{found}"
    );
    let to = market.world.home("restored");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    market.world.ask("buyer", restore).await.unwrap();
    compare::compare(&source, &to, None).unwrap();

    // A gateway finds its hosts the same way; the books that it keeps with them are stored there.
    let find = [&brokers[..], &["--region", "eu-south"]].concat();
    market.gateway_opens_contracts("shop", &find).await;

    // A host that stops in good order is gone at once; one that is killed, when its ask expires.
    market.world.stop("host-1").await;
    market.world.kill("host-3").await.unwrap();
    let lines = market.offers(&second, |lines| lines.len() == 2).await;
    assert_eq!(of(&lines, "operator"), ["host-2", "host-3"]);

    // The broker that died comes back without asks, and says so; it serves on.
    let socket = first.rsplit('@').next().unwrap().to_owned();
    market.world.start("broker-1", ["broker", "up", "--listen", &socket]).await.unwrap();
    let status = market.world.ask("buyer", ["broker", "status", &first]).await.unwrap();
    assert_eq!((status["event"].as_str(), status["offers"].as_u64()), (Some("broker"), Some(0)));
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_follows_the_others_finds_its_price() {
    let mut market = market().await;
    let broker = market.brokers[1].clone();
    market.offers(&broker, |lines| lines.len() == HOSTS).await;
    // It would ask ten times as much as the cheapest; the cheaper half of the others is at 0.01 and 0.02.
    let dear = ["--auto-price", "--store", "0.1", "--price-floor", "0.012"];
    market.offer("host-4", &dear).await;
    let lines = market.offers(&broker, |lines| lines.len() == HOSTS + 1).await;
    let place = lines.iter().position(|line| line["operator"] == "host-4").unwrap();
    let store: f64 = lines[place]["store"].as_str().unwrap().parse().unwrap();
    assert!((0.012..0.1).contains(&store), "{store}");
    assert!(place <= 1, "{lines:?}");
    market.world.end().await;
}

/// Where the loopback interface has no multicast, this fails in the crate `mdns` first, or is skipped there.
#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_found_without_an_address() {
    let mut market = market().await;
    // One host and one broker announce themselves; the broker knows two more hosts, and the host is no guest of it.
    market.world.kill("broker-1").await.unwrap();
    let socket = market.brokers[1].rsplit('@').next().unwrap().to_owned();
    market.world.stop("broker-2").await;
    for (name, _) in &market.hosts {
        market.world.stop(name).await;
    }
    market.world.start("broker-2", ["broker", "up", "--listen", &socket, "--local"]).await.unwrap();
    for (name, _) in &market.hosts[1..] {
        market.world.start(name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
    }
    let (alone, _) = market.hosts[0].clone();
    let path = market.world.home(&alone).join("shards");
    let sell = ["sell", "storage", "--size", "2G", "--store", "0.01"];
    let sell = [&sell[..], &["--path", path.to_str().unwrap()]].concat();
    market.world.ask(&alone, sell).await.unwrap();
    market.world.start(&alone, ["up", "--listen", "127.0.0.1:0", "--local"]).await.unwrap();
    let began = Instant::now();
    loop {
        let found = market.world.run("buyer", ["offers", "--local"]).await.unwrap_or_default();
        if found.len() == HOSTS {
            assert_eq!(of(&found, "store"), ["0.010000", "0.020000", "0.030000"]);
            let address = market.world.address(&alone);
            assert_eq!(found[0]["address"].as_str(), address, "it was asked itself");
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{found:?}");
    }
    let source = market.world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), b"kept by neighbours").unwrap();
    let backup = ["backup", "create", source.to_str().unwrap(), "--survive", "0.99", "--local"];
    market.world.run("buyer", backup).await.unwrap();
    let to = market.world.home("restored");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    market.world.ask("buyer", restore).await.unwrap();
    compare::compare(&source, &to, None).unwrap();
    market.gateway_opens_contracts("shop", &["--local"]).await;

    // A host of the backup is gone. One that comes to the network takes its place.
    let contracts = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let provider = contracts[0]["provider"].as_str().unwrap();
    let is_it = |(name, _): &&(String, String)| {
        market.world.address(name).is_some_and(|address| address.starts_with(provider))
    };
    let gone = market.hosts.iter().find(is_it).unwrap().0.clone();
    market.world.kill(&gone).await.unwrap();
    market.world.ask("fresh", ["init", "--no-passphrase"]).await.unwrap();
    market.world.ask("fresh", ["wallet", "add", &market.issuer]).await.unwrap();
    let path = market.world.home("fresh").join("shards");
    let sell = ["sell", "storage", "--size", "2G", "--path", path.to_str().unwrap()];
    market.world.ask("fresh", sell).await.unwrap();
    let fresh = market.world.start("fresh", ["up", "--listen", "127.0.0.1:0", "--local"]).await;
    let fresh = fresh.unwrap();
    let began = Instant::now();
    loop {
        let found = market.world.run("buyer", ["offers", "--local"]).await.unwrap();
        if found.iter().any(|line| line["address"] == fresh.as_str()) {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{found:?}");
    }
    let repair = ["backup", "repair", "--now", "--local"];
    let lines = market.world.run("buyer", repair).await.unwrap();
    let repaired = lines.iter().find(|line| line["event"] == "repaired").unwrap();
    let took_over = repaired["replaced"][0]["to"].as_str().unwrap();
    assert!(fresh.starts_with(took_over), "{repaired}");
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_brokers_hosts_serve_and_buyers_are_told() {
    let mut market = market().await;
    for name in ["broker-1", "broker-2"] {
        market.world.kill(name).await.unwrap();
    }
    let source = market.world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), b"named by hand").unwrap();
    let source = source.to_str().unwrap();
    let brokers = ["--broker", &market.brokers[0], "--broker", &market.brokers[1]];
    let failure = market
        .world
        .run_to("buyer", [&["backup", "create", source], &brokers[..]].concat(), 6)
        .await;
    let lines = failure.unwrap();
    let told = lines.iter().find_map(|line| line["error"].as_str()).unwrap();
    assert!(told.contains("no broker answered"), "{told}");
    // Hosts named by hand need no broker, and a host that starts without one serves.
    let name = market.hosts[0].0.clone();
    market.world.stop(&name).await;
    market.world.start(&name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let mut args = vec![
        "backup".to_owned(),
        "create".to_owned(),
        source.to_owned(),
        "--survive=0.99".to_owned(),
    ];
    for (host, _) in &market.hosts {
        args.extend(["--host".to_owned(), market.world.address(host).unwrap().to_owned()]);
    }
    market.world.run("buyer", args).await.unwrap();
    market.world.end().await;
}

/// Four hosts of one operator are the cheapest by far, and get no more than may be lost with it; a region leaves them out.
#[tokio::test(flavor = "multi_thread")]
async fn one_operator_gets_only_so_many_shards_and_a_region_is_chosen() {
    let mut market = market().await;
    let broker = market.brokers[1].clone();
    for name in ["big-1", "big-2", "big-3", "big-4"] {
        let cheap = ["--store", "0.001", "--operator", "bigco", "--region", "us-east"];
        market.offer(name, &cheap).await;
    }
    market.offers(&broker, |lines| lines.len() == HOSTS + 4).await;
    let source = market.world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), b"not all in one basket").unwrap();
    let create =
        ["backup", "create", source.to_str().unwrap(), "--broker", &broker, "--survive", "0.99"];
    let lines = market.world.run("buyer", [&create[..], &["--dry-run"]].concat()).await.unwrap();
    let code = lines.iter().find(|line| line["event"] == "dry-run").unwrap();
    let [k, n] = ["k", "n"].map(|name| usize::try_from(code[name].as_u64().unwrap()).unwrap());
    let chosen: Vec<&str> = lines
        .iter()
        .filter(|line| line["event"] == "quote" && line["chosen"] == true)
        .map(|line| line["address"].as_str().unwrap())
        .collect();
    assert_eq!(chosen.len(), n, "{lines:?}");
    let is_big = |address: &&&str| {
        ["big-1", "big-2", "big-3", "big-4"]
            .iter()
            .any(|big| market.world.address(big) == Some(**address))
    };
    let big = chosen.iter().filter(is_big).count();
    assert!(
        (1..=(n - k).min(k.saturating_sub(1)).max(1)).contains(&big),
        "{big} of {n}, {k} needed"
    );

    let region = ["--region", "us-east"];
    let of_region = [&["offers", "--broker", &broker][..], &region].concat();
    assert_eq!(market.world.run("buyer", of_region).await.unwrap().len(), 4);
    // Where nobody stands, and where nobody is paid so, it is said which brokers were asked, and what did not fit.
    let nowhere = [&create[..], &["--region", "eu-north"]].concat();
    let refused = market.world.run_to("buyer", nowhere, 3).await.unwrap().pop().unwrap();
    let told = refused["error"].as_str().unwrap();
    assert!(told.contains("7 hosts would do") && told.contains("eu-north"), "{refused}");
    assert!(told.contains(&format!("asked: {}", &broker[..11])), "{refused}");
    assert!(refused["hint"].as_str().unwrap().contains("--region"), "{refused}");
    let here = [&create[..], &["--region", "eu-south"]].concat();
    let lines = market.world.run("buyer", here).await.unwrap();
    let found = lines.iter().find(|line| line["event"] == "found").unwrap();
    assert_eq!(found["hosts"].as_u64(), Some(HOSTS as u64), "{found}");
    market.world.end().await;
}
