//! The real issuer, with its books on disk, in a process of its own.

use std::{
    io::{BufRead, BufReader},
    iter,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use fondaco_crypto::{EntityId, SecretKey};
use fondaco_issuer::{IssuerConfig, IssuerService};
use fondaco_lcp::{Request, RequestId, Response};
use fondaco_lcp_wire::{Limits, Settings};
use fondaco_ports::Address;
use fondaco_store::SystemClock;
use fondaco_testkit::Rng;
use fondaco_transport::{Endpoint, Protocol};
use fondaco_units::Scale;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::{io::AsyncReadExt, runtime::Runtime, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    leftovers::Started,
    processes,
    town::{FEE, MINTED},
};

/// An issuer that runs; it ends with this value.
pub(crate) struct Served {
    process: Started,
    address: Address,
    soap_address: SocketAddr,
}

impl Served {
    /// Issues a currency in this folder and gives the first of [`keys`] accounts with money.
    pub(crate) fn start(folder: &Path, accounts: usize) -> Self {
        let mut command =
            processes::inside("issuer", &[&folder.to_string_lossy(), &accounts.to_string()]);
        let child = command.spawn().expect("this program starts");
        let mut process = Started::new(child, Signal::TERM);
        let said = process.child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let mut line = || lines.next().expect("the issuer says where it is");
        let address = line().parse().expect("an address");
        let soap_address = line().parse().expect("a socket");
        Self { process, address, soap_address }
    }

    /// Where it is over QUIC.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Where it is over TLS.
    pub(crate) const fn soap_address(&self) -> SocketAddr {
        self.soap_address
    }

    /// The CPU time that the issuer used so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        processes::cpu_seconds(self.process.child.id())
    }
}

pub(crate) fn issuer_key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

/// The keys of holders, the same in each process.
pub(crate) fn keys() -> impl Iterator<Item = SecretKey> {
    let mut rng = Rng::new(5);
    iter::repeat_with(move || SecretKey::from_bytes(&rng.array()))
}

/// A connection for each of many holders takes more files than a process has by default.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).expect("as many as are allowed");
}

/// The sockets of one holder, or of the issuer.
pub(crate) async fn endpoint(key: &SecretKey) -> Endpoint {
    let listen = Some("127.0.0.1:0".parse().expect("an address"));
    Endpoint::bind(key, listen, &[Protocol::Lcp2]).await.expect("a free port")
}

/// What [`Served`] starts: it says where it is, and serves until nobody holds its standard input any more.
#[allow(clippy::print_stdout, reason = "the process that started it reads this")]
pub(crate) fn inside(arguments: &[String]) {
    let [folder, accounts] = arguments else { panic!("a folder and a number of accounts") };
    let accounts: usize = accounts.parse().expect("a number of accounts");
    raise_file_limit();
    let (folder, key) = (Path::new(folder), issuer_key());
    let scale = Scale::new(2).expect("two decimals");
    let config = IssuerConfig::new("harbour crown", "HCR", scale, FEE).expect("a currency");
    IssuerService::init(folder, &key, &config).expect("an empty folder");
    let service = IssuerService::open(folder, &key, Arc::new(SystemClock)).expect("new books");
    let handle = service.handle();
    Runtime::new().expect("a runtime").block_on(async {
        let endpoint = endpoint(&key).await;
        let (address, stop) = (endpoint.address(), CancellationToken::new());
        let soap = Settings {
            // All come from one address, and some of them wait for others.
            limits: Limits {
                connections_per_network: Limits::default().connections,
                idle_timeout: Duration::from_secs(600),
                ..Limits::default()
            },
            ..Settings::at("127.0.0.1:0".parse().expect("a socket"))
        };
        let serving = service.start(endpoint, Some(soap)).await.expect("a free port");
        let soap_address = serving.soap_address().expect("it is served");
        let serving = tokio::spawn(serving.run(stop.clone()));
        let holders: Vec<EntityId> = keys().take(accounts).map(|key| key.entity()).collect();
        let mut mints = JoinSet::new();
        for (to, id) in holders.into_iter().zip(1..) {
            let (handle, id) = (handle.clone(), RequestId::new(id));
            mints.spawn(async move { handle.call(Request::Mint { id, to, amount: MINTED }).await });
        }
        for answer in mints.join_all().await {
            assert!(matches!(answer, Ok(Response::Minted { .. })), "{answer:?}");
        }
        println!("{address}\n{soap_address}");
        let mut nothing = [0; 1];
        let _ = tokio::io::stdin().read(&mut nothing).await;
        stop.cancel();
        serving.await.expect("no panic").expect("the issuer served");
    });
}
