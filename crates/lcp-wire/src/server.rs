//! Two listeners: TLS for the service, plain HTTP for its descriptions alone.
//!
//! ```text
//! accept ─► Seats (in all, per network) ─► handshake, 10 s ─► who? revoked? ─► HTTP/1.1, each phase in its time ─► respond
//!              └─ full: closed at once        └─ refused: alert, and what still comes is read away
//! ```
//!
//! Each connection has a number that rises with the order in which connections were accepted: `lcp::classic` shuts out
//! a holder's other connections by it.

mod connection;
mod phases;
mod respond;
mod seats;

use crate::{Accounts, Identity, tls::ServerTls, wsdl};
use fondaco_crypto::EntityId;
use fondaco_units::Scale;
use seats::Seats;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Where the service is, below its address.
pub const SERVICE_PATH: &str = "/AccountService";

/// How long [`Server::stop`] waits for answers that are being written.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// What a server allows at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all, of both listeners.
    pub connections: usize,
    /// Connections of one network: an IPv4 /24 or an IPv6 /56.
    pub connections_per_network: usize,
    /// Handshakes under way.
    pub handshakes: usize,
    /// Handshakes under way of one network.
    pub handshakes_per_network: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long a request may take to arrive, from its first byte to its last.
    pub request_timeout: Duration,
    /// How long an answer may take to be taken in.
    pub answer_timeout: Duration,
    /// How long a connection may have nothing to say.
    pub idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_network: 1024,
            handshakes: 1024,
            handshakes_per_network: 128,
            handshake_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// Where a server listens, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the service is served, over TLS.
    pub soap: SocketAddr,
    /// Where the descriptions are served, over plain HTTP.
    pub http: Option<SocketAddr>,
    /// The `https` URL that the descriptions name; by default the socket address of the service.
    pub url: Option<String>,
    /// The address of the machine that the descriptions name where there is no `url`; by default that of `soap`.
    pub host: Option<IpAddr>,
    /// Other addresses at which it can be reached, for its certificate to name.
    pub addresses: Vec<IpAddr>,
    /// What is allowed at most.
    pub limits: Limits,
}

impl Settings {
    /// Listens at `soap` alone, within the default limits.
    pub fn at(soap: SocketAddr) -> Self {
        Self {
            soap,
            http: None,
            url: None,
            host: None,
            addresses: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// A socket could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {socket}: {source}")]
pub struct StartError {
    /// Which.
    pub socket: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl StartError {
    /// Returns whether the same start can succeed later.
    pub fn is_transient(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// An issuer's service of 2003. Dropped without [`stop`](Self::stop), it stops at once.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    soap: SocketAddr,
    http: Option<SocketAddr>,
    tasks: TaskTracker,
}

/// What all connections share.
pub(crate) struct Shared {
    tls: ServerTls,
    accounts: Arc<dyn Accounts>,
    scale: Scale,
    limits: Limits,
    pages: Pages,
    seats: Arc<Mutex<Seats>>,
    next_connection: AtomicU64,
    open: Mutex<HashMap<EntityId, BTreeMap<u64, CancellationToken>>>,
    /// Finish what is under way, and begin nothing.
    stop: CancellationToken,
    /// Drop everything.
    abort: CancellationToken,
}

/// The descriptions, as they are served.
struct Pages {
    encoded: String,
    literal: String,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the sockets of `settings` and serves the accounts of a currency of `scale`, as `identity`.
    ///
    /// Runs on the tokio runtime that calls it.
    ///
    /// # Errors
    ///
    /// A socket cannot be had.
    pub async fn start(
        identity: Identity,
        scale: Scale,
        accounts: Arc<dyn Accounts>,
        settings: Settings,
    ) -> Result<Self, StartError> {
        let soap = bind(settings.soap).await?;
        let http = match settings.http {
            None => None,
            Some(socket) => Some(bind(socket).await?),
        };
        let at = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
        let soap_address = at(&soap, settings.soap);
        let http_address = http.as_ref().zip(settings.http).map(|(it, asked)| at(it, asked));
        // The port is known only now, if the system chose it.
        let host = settings.host.unwrap_or(soap_address.ip());
        let seen = SocketAddr::new(host, soap_address.port());
        let url = settings.url.unwrap_or_else(|| format!("https://{seen}{SERVICE_PATH}"));
        let shared = Arc::new(Shared {
            tls: ServerTls::new(identity),
            accounts,
            scale,
            limits: settings.limits,
            pages: Pages { encoded: wsdl::encoded(&url), literal: wsdl::literal(&url) },
            seats: Arc::new(Mutex::new(Seats::new(settings.limits))),
            next_connection: AtomicU64::new(1),
            open: Mutex::default(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(listen(Arc::clone(&shared), soap, tasks.clone(), Kind::Soap));
        if let Some(http) = http {
            tasks.spawn(listen(Arc::clone(&shared), http, tasks.clone(), Kind::Descriptions));
        }
        tasks.close();
        Ok(Self { shared, soap: soap_address, http: http_address, tasks })
    }

    /// Returns where the service is served.
    pub const fn soap_address(&self) -> SocketAddr {
        self.soap
    }

    /// Returns where the descriptions are served over plain HTTP.
    pub const fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Shuts `holder` out, for as long as this server lives: its sessions are forgotten, its connections cut, its next
    /// handshakes refused.
    pub fn revoke(&self, holder: EntityId) {
        // In this order: a connection that is just being made finds either the mark, or is found here.
        self.shared.tls.sessions().revoke(holder);
        let open = self.shared.open().remove(&holder).unwrap_or_default();
        open.values().for_each(CancellationToken::cancel);
    }

    /// Returns how many connections are open now.
    pub fn connections(&self) -> usize {
        self.shared.seats.lock().unwrap_or_else(PoisonError::into_inner).taken()
    }

    /// Stops: accepts no more, answers what is being asked (parked queries with what there is), closes each connection
    /// after its answer, and after some seconds all that are left.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            debug!("some connections did not end by themselves");
        }
        // Dropping ends the rest.
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.abort.cancel();
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<EntityId, BTreeMap<u64, CancellationToken>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn bind(socket: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(socket).await.map_err(|source| StartError { socket, source })
}

/// What a listener serves.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Soap,
    Descriptions,
}

/// Accepts connections until the server stops.
async fn listen(shared: Arc<Shared>, listener: TcpListener, tasks: TaskTracker, kind: Kind) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let (tcp, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: give connections time to end.
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let number = shared.next_connection.fetch_add(1, Ordering::SeqCst);
        let Some(seat) = seats::take(&shared.seats, peer.ip()) else {
            debug!(%peer, "refused a connection: too many");
            continue;
        };
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            let abort = shared.abort.clone();
            let served = async {
                match kind {
                    Kind::Soap => connection::soap(shared, ready(tcp), number, seat).await,
                    Kind::Descriptions => connection::plain(shared, ready(tcp), seat).await,
                }
            };
            tokio::select! {
                () = served => {}
                () = abort.cancelled() => {}
            }
        });
    }
}

/// An answer is one small write: it goes at once.
fn ready(tcp: TcpStream) -> TcpStream {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%error, "a connection cannot be told to send at once");
    }
    tcp
}
