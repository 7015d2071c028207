//! The listener and its connections.

use crate::{
    Limits, Locks, Store, Token,
    patient::Patient,
    respond::{Shared, respond},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// How much of a body is read from the socket at once.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// Where a gateway listens, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The TCP socket.
    pub listen: SocketAddr,
    /// Whether that may be reached from other machines.
    pub allow_remote: bool,
    /// The host names that clients may call this machine by, beside its IP addresses and `localhost`.
    pub names: Vec<String>,
    /// What a client must show.
    pub token: Token,
    /// Whether nothing but locks may be removed.
    pub append_only: bool,
    /// What is allowed at most.
    pub limits: Limits,
}

/// Why a gateway does not listen. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The socket can be reached from other machines.
    #[error(
        "{listen} can be reached from other machines, and what passes there can be read on the way"
    )]
    Remote {
        /// Which.
        listen: SocketAddr,
    },
    /// The socket could not be had.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StartError {
    /// Returns whether the same start can succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Remote { .. } => false,
            Self::Listen { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
        }
    }

    /// Returns what to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Remote { .. } => {
                "listen on 127.0.0.1 and come by ssh -L or a VPN; if the network is yours alone, say --allow-remote"
            }
            Self::Listen { .. } => {
                "choose another socket with --listen; port 0 lets the system choose"
            }
        }
    }
}

/// A gateway that listens, and serves when it is told to.
pub struct Server<S> {
    shared: Arc<Shared<S>>,
    listener: TcpListener,
    address: SocketAddr,
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl<S: Store> Server<S> {
    /// Listens; clients that come early wait.
    ///
    /// # Errors
    ///
    /// The socket is not this machine's alone, though that was not allowed, or cannot be had.
    pub async fn bind(store: Arc<S>, locks: Locks, settings: Settings) -> Result<Self, StartError> {
        let Settings { listen, allow_remote, names, token, append_only, limits } = settings;
        if !listen.ip().to_canonical().is_loopback() && !allow_remote {
            return Err(StartError::Remote { listen });
        }
        let failed = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared::new(store, locks, token, append_only, names, limits));
        Ok(Self { shared, listener, address })
    }

    /// Returns where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then finishes the answers that are under way, within limits.
    pub async fn serve(self, stop: CancellationToken) {
        let seats = Arc::new(Semaphore::new(self.shared.limits.connections));
        let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (tcp, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: give connections time to end.
                    warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
                debug!(%peer, "refused a connection: too many");
                continue;
            };
            let (shared, stop, abort) = (Arc::clone(&self.shared), stop.clone(), abort.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = connection(shared, tcp, stop) => {}
                    () = abort.cancelled() => {}
                }
                drop(seat);
            });
        }
        tasks.close();
        if timeout(self.shared.limits.stop_timeout, tasks.wait()).await.is_err() {
            debug!("some connections did not end by themselves");
        }
        abort.cancel();
    }
}

/// Answers the requests of one connection until a side ends it.
async fn connection<S: Store>(shared: Arc<Shared<S>>, tcp: TcpStream, stop: CancellationToken) {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%error, "a connection cannot be told to send at once");
    }
    let limits = shared.limits;
    let is_known = AtomicBool::new(false);
    let service = service_fn(|request| {
        let (shared, is_known) = (&shared, &is_known);
        async move { Ok::<_, Infallible>(respond(shared, is_known, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        .max_buf_size(BUFFER_BYTES_MAX.max(limits.header_bytes))
        .max_header_size(limits.header_bytes)
        .max_headers(limits.header_lines)
        .half_close(false)
        .serve_connection(TokioIo::new(Patient::new(tcp, limits.stall_timeout)), service);
    let mut connection = pin!(connection);
    let mut stranger = pin!(sleep(limits.stranger_timeout));
    let (mut is_ending, mut is_judged) = (false, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection ended");
                }
                return;
            }
            () = stranger.as_mut(), if !is_judged => {
                if !is_known.load(Ordering::Relaxed) {
                    debug!("a connection did not show the token in time");
                    return;
                }
                is_judged = true;
            }
            () = stop.cancelled(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
