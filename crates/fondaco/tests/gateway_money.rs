//! A gateway whose contracts are full says so, serves what is there, and goes on with new ones; one whose owner has no
//! money left opens none.
#![allow(dead_code, unreachable_pub)]

#[path = "../src/demo/compare.rs"]
mod compare;
#[path = "../src/failure.rs"]
mod failure;
mod market;
#[path = "../src/demo/world.rs"]
mod world;

use data_encoding::{BASE64, HEXLOWER};
use market::{Market, Noise, market};
use sha2::{Digest as _, Sha256};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The status and the body of an answer.
type Answer = (u16, Vec<u8>);

/// How a client reaches the gateway.
struct Client {
    address: String,
    token: String,
}

impl Client {
    /// Starts the gateway of the buyer.
    async fn start(market: &mut Market, more: &[&str]) -> Self {
        let args = [&["gateway", "restic", "--listen", "127.0.0.1:0"], more].concat();
        let address = market.world.start("buyer", args).await.unwrap();
        let url = market.world.told("buyer", "url").unwrap();
        let token = url.split_once("fondaco:").unwrap().1.split_once('@').unwrap().0.to_owned();
        Self { address, token }
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let user = BASE64.encode(format!("fondaco:{}", self.token).as_bytes());
        let (address, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {user}\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }

    fn put(&self, pack: &[u8]) -> Answer {
        self.ask("POST", &path(pack), pack)
    }
}

fn path(pack: &[u8]) -> String {
    format!("/data/{}", HEXLOWER.encode(&Sha256::digest(pack)))
}

#[tokio::test(flavor = "multi_thread")]
async fn full_contracts_and_an_empty_wallet() {
    let mut market = market(4).await;
    let hosts: Vec<String> = market
        .hosts
        .iter()
        .flat_map(|host| ["--host".to_owned(), market.world.address(host).unwrap().to_owned()])
        .collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let gateway = Client::start(&mut market, &[&["--size", "8M"], &hosts[..]].concat()).await;
    // What `restic init` sends; without it nothing else would be of use.
    let mut noise = Noise::new();
    let key = noise.bytes(400);
    let name = HEXLOWER.encode(&Sha256::digest(&key));
    assert_eq!(gateway.ask("POST", &format!("/keys/{name}"), &key).0, 200);
    assert_eq!(gateway.ask("POST", "/config", b"a configuration").0, 200);
    let first = noise.bytes(8 << 20);
    assert_eq!(gateway.put(&first).0, 200);
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
    let more = ["gateway", "restic", "--listen", "127.0.0.1:0", "--new-contracts", "--size", "8M"];
    let refused = market.world.run_to("buyer", more, 5).await.unwrap();
    let refused = refused.last().unwrap();
    let what = refused["error"].as_str().unwrap();
    assert!(what.contains("you have 0.000000 TST: nothing was opened"), "{refused}");
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
