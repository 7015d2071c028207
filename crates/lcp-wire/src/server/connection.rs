//! One connection: its handshake, and then HTTP/1.1, each phase in its time.

use super::{
    Shared,
    phases::{Phases, Timed},
    respond,
    seats::Seat,
};
use crate::tls::{Debt, holder_of};
use fondaco_crypto::EntityId;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use std::{
    io,
    net::IpAddr,
    pin::pin,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// What a request's header may weigh.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// How many lines it may have.
const HEADER_LINES_MAX: usize = 64;

/// Who is at the other end of a TLS connection.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) holder: EntityId,
    /// Where it dialled from; nothing if it is gone already.
    pub(super) from: Option<IpAddr>,
    pub(super) connection: u64,
    pub(super) debt: Debt,
}

/// Serves one connection of the TLS listener.
pub(super) async fn soap(shared: Arc<Shared>, tcp: TcpStream, number: u64, mut seat: Seat) {
    // Boxed, so that its room is given back before a query is parked.
    let Some((stream, guest)) = Box::pin(shake_hands(&shared, tcp, number)).await else { return };
    seat.shaken_hands();
    let cut = CancellationToken::new();
    let entry = Entry::new(&shared, &guest, &cut);
    // After the entry: a revocation finds either the entry, or has left its mark before this.
    if shared.tls.sessions().is_revoked(&guest.holder) {
        return;
    }
    // Boxed, because a future has room for each place that a value is moved through.
    http(&shared, Box::new(stream), Some(Arc::new(guest)), cut).await;
    drop((entry, seat));
}

/// Serves one connection of the plain listener.
pub(super) async fn plain(shared: Arc<Shared>, tcp: TcpStream, mut seat: Seat) {
    seat.shaken_hands();
    http(&shared, tcp, None, CancellationToken::new()).await;
}

/// The mark of an open connection, by which a revocation finds it; taken away when dropped.
struct Entry {
    shared: Arc<Shared>,
    holder: EntityId,
    connection: u64,
}

impl Entry {
    fn new(shared: &Arc<Shared>, guest: &Guest, cut: &CancellationToken) -> Self {
        let (holder, connection) = (guest.holder, guest.connection);
        shared.open().entry(holder).or_default().insert(connection, cut.clone());
        Self { shared: Arc::clone(shared), holder, connection }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.holder) {
            own.remove(&self.connection);
            if own.is_empty() {
                open.remove(&self.holder);
            }
        }
    }
}

/// Learns who is there; nobody when the handshake fails, of which the peer is told by an alert.
async fn shake_hands(
    shared: &Shared,
    tcp: TcpStream,
    number: u64,
) -> Option<(TlsStream<TcpStream>, Guest)> {
    let from = tcp.peer_addr().ok().map(|peer| peer.ip());
    let deadline = Instant::now() + shared.limits.handshake_timeout;
    let mut acceptor = pin!(LazyConfigAcceptor::new(Acceptor::default(), tcp));
    let start = match timeout_at(deadline, acceptor.as_mut()).await {
        Ok(Ok(start)) => start,
        Ok(Err(error)) => {
            refused(number, &error);
            if let Some(tcp) = acceptor.take_io() {
                read_away(tcp).await;
            }
            return None;
        }
        Err(_) => {
            debug!(connection = number, "a handshake did not begin in time");
            return None;
        }
    };
    let (config, view) = match shared.tls.configure(&start.client_hello()) {
        Ok(configured) => configured,
        Err(error) => {
            debug!(connection = number, %error, "no configuration for a handshake");
            return None;
        }
    };
    let accepted = timeout_at(deadline, start.into_stream(config).into_fallible()).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, tcp))) => {
            refused(number, &error);
            read_away(tcp).await;
            return None;
        }
        Err(_) => {
            debug!(connection = number, "a handshake took too long");
            return None;
        }
    };
    let (_, tls) = stream.get_ref();
    let shown = tls.peer_certificates().and_then(|shown| shown.first());
    let proved = shown.and_then(|it| holder_of(it, view.policy().holder_is_raw).ok());
    match view.seen() {
        // rustls restores the peer of a resumed session without asking a verifier: whom the session was kept for,
        // and whom it is resumed as, must be one.
        Some(seen) if proved == Some(seen.holder) => {
            debug!(connection = number, holder = %seen.holder.short(), kind = ?tls.handshake_kind(), "a holder is here");
            let guest = Guest { holder: seen.holder, from, connection: number, debt: seen.debt };
            Some((stream, guest))
        }
        _ => {
            debug!(connection = number, "a session is not of who it says");
            None
        }
    }
}

/// Notes why a handshake failed.
fn refused(connection: u64, error: &io::Error) {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(_)) => {
            debug!(connection, %error, "no TLS on the TLS port");
        }
        _ => debug!(connection, %error, "a handshake failed"),
    }
}

/// Closes a socket so that the peer can read the alert that was sent.
async fn read_away(mut tcp: TcpStream) {
    let reading = async {
        let mut space = [0; 1024];
        let mut bytes = 0;
        if tcp.shutdown().await.is_err() {
            return;
        }
        while let Ok(read @ 1..) = tcp.read(&mut space).await {
            bytes += read;
            if bytes > HEADER_BYTES_MAX * 4 {
                return;
            }
        }
    };
    // Whether it ended by itself does not matter: nothing more is owed.
    let _ = timeout(Duration::from_millis(500), reading).await;
}

/// Answers requests until one side ends the connection, or it is cut.
async fn http<IO>(shared: &Arc<Shared>, io: IO, guest: Option<Arc<Guest>>, cut: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let phases = Arc::<Phases>::default();
    let io = TokioIo::new(Timed::new(io, Arc::clone(&phases), shared.limits));
    let service = service_fn(|request| {
        respond::respond(Arc::clone(shared), guest.clone(), Arc::clone(&phases), request)
    });
    let connection = http1::Builder::new()
        .half_close(false)
        // The phases have the time.
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADER_LINES_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut is_ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "a connection ended");
                }
                return;
            }
            () = shared.stop.cancelled(), if !is_ending => {
                is_ending = true;
                phases.end();
                connection.as_mut().graceful_shutdown();
            }
            () = cut.cancelled() => return,
        }
    }
}
