//! Hosts die under a gateway that serves: it goes on with others soon, and what must not be lost goes there, while clients
//! remove some of it, though the gateway is killed in the middle, and later where it cannot be read at first.

mod market;
mod parts;

use fondaco_agent::BookFile;
use fondaco_agent::book::ObjectKind;
use market::client::{Client, WISH, path, path_in};
use market::{Market, Noise, market};
use parts::{compare, failure, world};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What may be waited for at most.
const PATIENCE: Duration = Duration::from_secs(120);

/// The buyer's book as it is now, though the gateway has it.
fn book(market: &Market) -> BookFile {
    let copy = market.world.home("book");
    std::fs::copy(market.world.home("buyer").join("agent/journal"), &copy).unwrap();
    BookFile::open(&copy).unwrap()
}

/// How many small objects lie in older sets, and how many in the newest.
fn small(book: &BookFile) -> (usize, usize) {
    book.read(|book| {
        let newest = book.set_count() - 1;
        let small = book.objects().filter(|(id, _)| id.kind != ObjectKind::Pack);
        let (new, old): (Vec<_>, Vec<_>) = small.partition(|(_, record)| record.set == newest);
        (old.len(), new.len())
    })
}

async fn wait_until(market: &Market, what: &str, is_so: impl Fn(&BookFile) -> bool) {
    let began = Instant::now();
    while !is_so(&book(market)) {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A gateway that stores on new contracts where it must; and a host that it stores to.
async fn served(market: &mut Market) -> (Client, String) {
    let hosts = market.hosts_named();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let start = [&WISH[..], &hosts[..]].concat();
    Client::start(market, &start).await;
    market.world.stop("buyer").await;
    let contracts = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let host = market.host_of(contracts[0]["provider"].as_str().unwrap());
    (Client::start(market, &start).await, host)
}

/// A write that comes just when a host has died is answered within half a minute, by way of others.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_died_does_not_hold_a_write_up_for_long() {
    let mut market = market(5).await;
    let (gateway, victim) = served(&mut market).await;
    let mut noise = Noise::new();
    gateway.begin(&mut noise);
    let [first, second] = [(); 2].map(|()| noise.bytes(1 << 20));
    assert_eq!(gateway.put(&first).0, 200);
    market.world.kill(&victim).await.unwrap();
    let began = Instant::now();
    assert_eq!(gateway.put(&second).0, 200);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    for pack in [&first, &second] {
        assert_eq!(gateway.ask("GET", &path(pack), b""), (200, pack.clone()));
    }
    market.world.end().await;
}

/// What a client removes while all is carried over is not there again, not even when the gateway is killed halfway; and the next
/// one goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_while_it_is_carried_over_stays_removed() {
    let mut market = market(5).await;
    let (gateway, victim) = served(&mut market).await;
    let gateway = Arc::new(gateway);
    let mut noise = Noise::new();
    gateway.begin(&mut noise);
    let snapshots: Vec<Vec<u8>> = (0..80).map(|_| noise.bytes(400)).collect();
    let at = |snapshot: &[u8]| path_in("snapshots", snapshot);
    let ask_of_all = |method: &str, all: &[Vec<u8>]| {
        std::thread::scope(|scope| {
            for part in all.chunks(all.len().div_ceil(4)) {
                let gateway = &gateway;
                scope.spawn(move || {
                    for each in part {
                        let body: &[u8] = if method == "POST" { each } else { b"" };
                        assert_eq!(gateway.ask(method, &at(each), body).0, 200, "{method}");
                    }
                });
            }
        });
    };
    ask_of_all("POST", &snapshots);
    // Whether the book is the newest was asked a moment ago: what is removed next does not wait for that.
    let one = noise.bytes(400);
    for (method, body) in [("POST", &one[..]), ("DELETE", b"")] {
        assert_eq!(gateway.ask(method, &at(&one), body).0, 200, "{method}");
    }
    let [first, second] = [(); 2].map(|()| noise.bytes(1 << 20));
    assert_eq!(gateway.put(&first).0, 200);
    market.world.kill(&victim).await.unwrap();
    let (client, pack) = (Arc::clone(&gateway), second.clone());
    let put = std::thread::spawn(move || client.try_ask("POST", &path(&pack), &pack));
    let begins = |book: &BookFile| small(book).1 >= 3 && book.read(|book| book.set_count()) == 2;
    wait_until(&market, "nothing is carried over", begins).await;

    let (gone, kept) = snapshots.split_at(16);
    ask_of_all("DELETE", gone);
    let (old, new) = small(&book(&market));
    assert!(old > 0 && new > 0, "it was not halfway: {old} and {new}");
    market.world.kill("buyer").await.unwrap();
    assert_eq!(put.join().unwrap(), None, "what must not be lost goes first");
    let (old, new) = small(&book(&market));
    assert!(old > 0 && new > 0 && old + new == 2 + kept.len(), "{old} and {new}");

    let gateway = Client::start(&mut market, &[]).await;
    assert_eq!(small(&book(&market)), (0, 2 + kept.len()));
    for snapshot in gone {
        assert_eq!(gateway.ask("HEAD", &at(snapshot), b"").0, 404);
    }
    for snapshot in kept {
        assert_eq!(gateway.ask("GET", &at(snapshot), b""), (200, snapshot.clone()));
    }
    assert_eq!(gateway.put(&second).0, 200);
    for pack in [&first, &second] {
        assert_eq!(gateway.ask("GET", &path(pack), b""), (200, pack.clone()));
    }
    market.world.end().await;
}

/// All hosts of the older contracts are away. What is new is stored all the same; and when they are back, what must not be lost
/// goes to the newest contracts without anybody's doing.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_keeps_nothing_from_being_stored() {
    let mut market = market(3).await;
    let (gateway, _) = served(&mut market).await;
    let mut noise = Noise::new();
    gateway.begin(&mut noise);
    let [gone, kept, again] = [(); 3].map(|()| noise.bytes(400));
    let [first, second] = [(); 2].map(|()| noise.bytes(1 << 20));
    let at = |snapshot: &[u8]| path_in("snapshots", snapshot);
    for snapshot in [&gone, &kept, &again] {
        assert_eq!(gateway.ask("POST", &at(snapshot), snapshot).0, 200);
    }
    assert_eq!(gateway.put(&first).0, 200);
    market.world.stop("buyer").await;
    let old: Vec<(String, String)> = market
        .hosts
        .clone()
        .into_iter()
        .map(|host| {
            let socket = market.world.address(&host).unwrap().split_once('@').unwrap().1.to_owned();
            (host, socket)
        })
        .collect();
    let mut start: Vec<String> = WISH.map(str::to_owned).into();
    start.push("--new-contracts".to_owned());
    for number in 0..3 {
        start.extend(["--host".to_owned(), market.fresh_host(&format!("fresh-{number}")).await]);
    }
    for (host, _) in &old {
        market.world.kill(host).await.unwrap();
    }

    let start: Vec<&str> = start.iter().map(String::as_str).collect();
    let gateway = Client::start(&mut market, &start).await;
    assert_eq!(gateway.ask("GET", "/config", b"").0, 503);
    let began = Instant::now();
    assert_eq!(gateway.put(&second).0, 200);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(gateway.ask("GET", &path(&second), b""), (200, second.clone()));
    assert_eq!(gateway.ask("DELETE", &at(&gone), b"").0, 200);
    assert_eq!(small(&book(&market)), (4, 0));
    // What is sent again, and cannot be had back now, is not taken as stored: it goes to the newest contracts.
    assert_eq!(gateway.ask("POST", &at(&again), &again).0, 200);
    assert_eq!(gateway.put(&first).0, 200);
    for (path, content) in [(at(&again), &again), (path(&first), &first)] {
        assert_eq!(gateway.ask("GET", &path, b""), (200, content.clone()));
    }
    assert_eq!(small(&book(&market)), (3, 1));

    for (host, socket) in &old {
        market.world.start(host, ["up", "--listen", socket]).await.unwrap();
    }
    wait_until(&market, "not all is carried over", |book| small(book) == (0, 4)).await;
    for (host, _) in &old {
        market.world.kill(host).await.unwrap();
    }
    assert_eq!(gateway.ask("GET", "/config", b""), (200, b"a configuration".to_vec()));
    assert_eq!(gateway.ask("GET", &at(&kept), b""), (200, kept));
    assert_eq!(gateway.ask("HEAD", &at(&gone), b"").0, 404);
    market.world.end().await;
}
