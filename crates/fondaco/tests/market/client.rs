//! A client of the owner's gateway, as bare as can be.

use super::{Market, Noise};
use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest as _, Sha256};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The status and the body of an answer.
pub(crate) type Answer = (u16, Vec<u8>);

/// What a gateway is told that is to open contracts, with fewer than all of five hosts.
pub(crate) const WISH: [&str; 4] = ["--size", "8M", "--survive", "0.99"];

/// How a client reaches the gateway.
pub(crate) struct Client {
    address: String,
    token: String,
}

impl Client {
    /// Starts the gateway of the buyer.
    pub(crate) async fn start(market: &mut Market, more: &[&str]) -> Self {
        Self::start_of(market, "buyer", more).await
    }

    /// Starts the gateway of a home.
    pub(crate) async fn start_of(market: &mut Market, home: &str, more: &[&str]) -> Self {
        let args = [&["gateway", "restic", "--listen", "127.0.0.1:0"], more].concat();
        let address = market.world.start(home, args).await.unwrap();
        let url = market.world.told(home, "url").unwrap();
        let token = url.split_once("fondaco:").unwrap().1.split_once('@').unwrap().0.to_owned();
        Self { address, token }
    }

    /// Starts the gateway of the buyer as one that opens contracts, and goes on with others if hosts fail; stores a pack by it.
    pub(crate) async fn with_a_pack(market: &mut Market, noise: &mut Noise) -> (Self, Vec<u8>) {
        let hosts = market.hosts_named();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        let gateway = Self::start(market, &[&WISH[..], &hosts].concat()).await;
        gateway.begin(noise);
        let pack = noise.bytes(1 << 20);
        assert_eq!(gateway.put(&pack).0, 200);
        (gateway, pack)
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.try_ask(method, path, body).expect("an answer")
    }

    /// The answer; nothing if the gateway dies before it is sent.
    pub(crate) fn try_ask(&self, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
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
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        Some((status, answer[end + 4..].to_vec()))
    }

    /// Sends what `restic init` does; without it nothing else would be of use.
    pub(crate) fn begin(&self, noise: &mut Noise) {
        let key = noise.bytes(400);
        let name = HEXLOWER.encode(&Sha256::digest(&key));
        assert_eq!(self.ask("POST", &format!("/keys/{name}"), &key).0, 200);
        assert_eq!(self.ask("POST", "/config", b"a configuration").0, 200);
    }

    pub(crate) fn put(&self, pack: &[u8]) -> Answer {
        self.ask("POST", &path(pack), pack)
    }
}

pub(crate) fn path(pack: &[u8]) -> String {
    path_in("data", pack)
}

/// Where an object of some kind is.
pub(crate) fn path_in(folder: &str, content: &[u8]) -> String {
    format!("/{folder}/{}", HEXLOWER.encode(&Sha256::digest(content)))
}
