//! A gateway on a socket of its own, and a client that shares no code with it.

use crate::folder_store::FolderStore;
use fondaco_gateway::{Limits, Locks, Name, Server, Settings, Token};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// `x:` and the token of 16 bytes of 1, in base 64.
pub(crate) const SHOWN: &str =
    "Authorization: Basic eDowMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMTAxMDEwMQ==\r\n";

/// Far longer than anything should take: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) store: Arc<FolderStore>,
    pub(crate) address: SocketAddr,
    pub(crate) folder: Arc<TempDir>,
    stop: CancellationToken,
}

pub(crate) fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow_remote: false,
        names: vec!["own.example".to_owned()],
        token: Token::from_entropy([1; 16]),
        append_only: false,
        limits: Limits::default(),
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(settings(), Arc::new(tempfile::tempdir().unwrap())).await
    }

    pub(crate) async fn limited(limits: Limits) -> Self {
        Self::with(Settings { limits, ..settings() }, Arc::new(tempfile::tempdir().unwrap())).await
    }

    pub(crate) async fn with(settings: Settings, folder: Arc<TempDir>) -> Self {
        let store = Arc::new(FolderStore::new(&folder.path().join("store")));
        let locks = Locks::open(&folder.path().join("locks")).unwrap();
        let server = Server::bind(Arc::clone(&store), locks, settings).await.unwrap();
        let (address, stop) = (server.address(), CancellationToken::new());
        tokio::spawn(server.serve(stop.clone()));
        Self { store, address, folder, stop }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request with the token, and a body if it has one, over a connection of its own.
    pub(crate) async fn ask(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let mut head = format!("{line} HTTP/1.1\r\nHost: {}\r\n{SHOWN}{headers}", self.address);
        if !body.is_empty() || line.starts_with("POST") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "Connection: close\r\n\r\n";
        self.send(&[head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.ask(&format!("POST {path}"), "", body).await
    }

    /// Puts something into a folder under its name.
    pub(crate) async fn keep(&self, folder: &str, body: &[u8]) -> Name {
        let name = Name::of(body);
        let answer = self.post(&format!("/{folder}/{name}"), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        name
    }

    /// Sends bytes as they are, and reads what comes until the end.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        // It may have been answered and closed before all was sent.
        let _ = stream.write_all(bytes).await;
        read_answer(&mut stream).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 if there was none.
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            assert!(bytes.is_empty(), "{}", String::from_utf8_lossy(bytes));
            return Self { status: 0, headers: BTreeMap::new(), body: Vec::new() };
        };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(crate) fn length(&self) -> usize {
        self.header("content-length").parse().unwrap()
    }
}

/// Reads all that comes until the other side ends it.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // What came before a reset came all the same.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("no end");
    Answer::read(&bytes)
}

/// Waits until `holds`, which something else will bring about.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it does not come about");
}
