//! A gateway whose contracts are full says so, serves what is there, and goes on with new ones; one whose owner has no
//! money left opens none. One of whose hosts is away stores on others; one that nobody hears for a while blames none.

mod market;
mod parts;

use fondaco_agent::BookFile;
use fondaco_agent::book::ObjectKind;
use market::client::{Client, WISH, path};
use market::{Market, Noise, market};
use parts::{compare, failure, world};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn full_contracts_and_an_empty_wallet() {
    let mut market = market(4).await;
    let hosts = market.hosts_named();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let gateway = Client::start(&mut market, &[&["--size", "8M"], &hosts[..]].concat()).await;
    // A client may store packs before what opens them: a gateway that is started anew keeps them.
    let mut noise = Noise::new();
    let first = noise.bytes(8 << 20);
    assert_eq!(gateway.put(&first).0, 200);
    market.world.stop("buyer").await;
    let gateway = Client::start(&mut market, &[]).await;
    assert_eq!(gateway.ask("GET", &path(&first), b""), (200, first.clone()));
    gateway.begin(&mut noise);
    let (pack, (status, said)) = (0..40)
        .map(|_| {
            let pack = noise.bytes(8 << 20);
            let answer = gateway.put(&pack);
            (pack, answer)
        })
        .find(|(_, (status, _))| *status != 200)
        .expect("there is no end to what the contracts take");
    let said = String::from_utf8(said).unwrap();
    assert!(status == 507 && said.contains("--new-contracts --size"), "{status} {said}");
    assert_eq!(gateway.ask("HEAD", &path(&pack), b"").0, 404, "nothing half done");
    assert_eq!(gateway.ask("GET", &path(&first), b""), (200, first.clone()));
    market.world.stop("buyer").await;

    // All the money goes elsewhere: no contract can be opened, and what is there is served all the same.
    let payee = market.world.ask("payee", ["init", "--no-passphrase"]).await.unwrap();
    let payee = payee["entity"].as_str().unwrap();
    let left = market.world.ask("buyer", ["balance"]).await.unwrap();
    market.world.ask("buyer", ["pay", payee, left["available"].as_str().unwrap()]).await.unwrap();
    let contracts = market.world.run("buyer", ["contracts", "list"]).await.unwrap().len();
    let more = ["gateway", "restic", "--listen", "127.0.0.1:0", "--new-contracts", "--size", "8M"];
    let refused = market.world.run_to("buyer", more, 5).await.unwrap();
    let after = market.world.run("buyer", ["contracts", "list"]).await.unwrap().len();
    assert_eq!(after, contracts, "nothing was opened");
    let refused = refused.last().unwrap();
    let what = refused["error"].as_str().unwrap();
    assert!(what.contains("and you have 0.000000 TST"), "{refused}");
    let gateway = Client::start(&mut market, &[]).await;
    assert_eq!(gateway.ask("GET", &path(&first), b""), (200, first.clone()));
    assert_eq!(gateway.put(&pack).0, 507);
    market.world.stop("buyer").await;

    let buyer = market.world.ask("buyer", ["identity", "show"]).await.unwrap();
    let buyer = buyer["entity"].as_str().unwrap();
    market.world.ask("issuer", ["issuer", "mint", "10", "--to", buyer]).await.unwrap();
    let gateway = Client::start(&mut market, &["--new-contracts", "--size", "8M"]).await;
    assert_eq!(gateway.put(&pack).0, 200);
    for pack in [&first, &pack] {
        assert_eq!(gateway.ask("GET", &path(pack), b""), (200, pack.clone()));
    }
    market.world.end().await;
}

/// A backup makes no configuration where a client's objects wait for theirs, but for who says that they are to go.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_removes_nothing_that_a_client_stored_unless_it_is_told_to() {
    let mut market = market(4).await;
    market.write_noise(1);
    let hosts = market.hosts_named();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let gateway = Client::start(&mut market, &[&["--size", "20M"], &hosts[..]].concat()).await;
    let pack = Noise::new().bytes(1 << 20);
    assert_eq!(gateway.put(&pack).0, 200);
    market.world.stop("buyer").await;
    let refused = market.world.run_to("buyer", market.create_args(&[]), 1).await.unwrap();
    let refused = refused.last().unwrap();
    let said = format!("{} {}", refused["error"], refused["hint"]);
    assert!(
        said.contains("stored 1 object, and no configuration")
            && said.contains("--discard-unopened"),
        "{said}"
    );
    let gateway = Client::start(&mut market, &[]).await;
    assert_eq!(gateway.ask("GET", &path(&pack), b""), (200, pack.clone()));
    market.world.stop("buyer").await;

    let done = market.world.run("buyer", market.create_args(&["--discard-unopened"])).await;
    let done = done.unwrap();
    assert!(
        done.iter().any(|line| line["what"].to_string().contains("removed 1 object")),
        "{done:?}"
    );
    market.restored_equals_the_source("buyer", "restored").await;
    let gateway = Client::start(&mut market, &[]).await;
    assert_eq!(gateway.ask("HEAD", &path(&pack), b"").0, 404);
    market.world.end().await;
}

/// All providers with contracts, one for each contract.
async fn providers(market: &Market) -> Vec<String> {
    let contracts = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let provider = |line: &Value| line["provider"].as_str().unwrap().to_owned();
    contracts.iter().map(provider).collect()
}

/// As `backup create` does: under one new contract beside those of the hosts that are there, and what must not be lost goes there, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_away_keeps_nothing_from_being_stored() {
    let mut market = market(5).await;
    let mut noise = Noise::new();
    let (_, first) = Client::with_a_pack(&mut market, &mut noise).await;
    let [second, third] = [(); 2].map(|()| noise.bytes(1 << 20));
    market.world.stop("buyer").await;
    let before = providers(&market).await;
    let away = market.host_of(&before[0]);
    market.world.kill(&away).await.unwrap();

    let gateway = Client::start(&mut market, &WISH).await;
    // Two at once find the same, and open one set.
    let packs = std::thread::scope(|scope| {
        let puts = [&second, &third].map(|pack| scope.spawn(|| gateway.put(pack).0));
        puts.map(|put| put.join().unwrap())
    });
    assert_eq!(packs, [200, 200]);
    for pack in [&first, &second, &third] {
        assert_eq!(gateway.ask("GET", &path(pack), b""), (200, pack.clone()));
    }
    assert_eq!(gateway.ask("GET", "/config", b"").1, b"a configuration");
    market.world.stop("buyer").await;
    let after = providers(&market).await;
    let new: Vec<&String> = after.iter().filter(|who| !before.contains(who)).collect();
    assert_eq!((new.len(), after.len()), (1, before.len() + 1), "one contract: {after:?}");
    market.world.end().await;
}

/// When all fail at once nobody is to blame: once they are back, only who then fails is replaced; and none has lost what it keeps.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_all_bars_none() {
    let mut market = market(5).await;
    let mut noise = Noise::new();
    let (gateway, first) = Client::with_a_pack(&mut market, &mut noise).await;
    let second = noise.bytes(1 << 20);
    let mut places = Vec::new();
    for host in market.hosts.clone() {
        let (entity, socket) = market.world.address(&host).unwrap().split_once('@').unwrap();
        places.push((entity.to_owned(), socket.to_owned()));
        market.world.stop(&host).await;
    }
    let (status, said) = gateway.put(&second);
    assert_eq!(status, 503, "{}", String::from_utf8_lossy(&said));
    assert_eq!(gateway.ask("HEAD", &path(&second), b"").0, 404);

    let away = places[0].0.clone();
    for (host, (_, socket)) in market.hosts.clone().iter().zip(&places).skip(1) {
        market.world.start(host, ["up", "--listen", socket]).await.unwrap();
    }
    let (status, said) = gateway.put(&second);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&said));
    for pack in [&first, &second] {
        assert_eq!(gateway.ask("GET", &path(pack), b""), (200, pack.clone()));
    }
    market.world.stop("buyer").await;

    let book = BookFile::open(&market.world.home("buyer").join("agent/journal")).unwrap();
    book.read(|book| {
        assert_eq!(book.set_count(), 2);
        let new = &book.set(1).unwrap().contracts;
        let old = &book.set(0).unwrap().contracts;
        let kept = new.iter().filter(|contract| old.contains(contract)).count();
        assert_eq!(kept + 1, new.len(), "all others are kept");
        for (contract, record) in book.contracts() {
            let is_away = record.terms.prices.provider.to_string() == away;
            assert!(!(is_away && new.contains(&contract)), "{contract}");
            assert!(!book.is_lost(contract), "{contract}");
        }
        let small = book.objects().filter(|(id, _)| id.kind != ObjectKind::Pack);
        assert!(small.map(|(_, record)| record.set).eq([1, 1]), "not all was carried over");
    });
    market.world.end().await;
}
