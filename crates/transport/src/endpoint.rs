//! This entity's sockets: dial, and be dialled.
//!
//! ```text
//!            ┌─ refused: HANDSHAKES_MAX under way, or its share of them
//! datagram ──┼─ told to prove its socket address: half as many under way
//!            └─ handshake task ──┬─ HANDSHAKE_TIMEOUT over, PROVED_TIMEOUT if proved ──► dropped
//!                                └─ complete ──► queue ──► accept()
//! ```

use crate::{
    CloseReason, Connection, Fabric, Protocol, STREAMS_MAX, TransportError,
    fabric::Port,
    handshakes::{Admission, HANDSHAKES_MAX, Handshakes, Network},
};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_ports::Address;
use iroh::{
    EndpointAddr, PublicKey, RelayMode, TransportAddr,
    endpoint::{
        BindError, BindOpts, ConnectError, ConnectWithOptsError, ConnectingError, Incoming,
        IncomingAddr, PortmapperConfig, QuicTransportConfig, VarInt, presets,
    },
};
use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tracing::{debug, warn};

/// How long [`Endpoint::connect`] tries.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a peer that dials may take over its handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take when its socket address is proved already: one more round trip, and room for lost packets.
pub const PROVED_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection without a sign of life for this long is lost.
const IDLE_TIMEOUT_MILLISECONDS: u32 = 15_000;
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What a peer may send unread on one stream.
//
// Not more: the QUIC library keeps what is unread in the pieces in which it came. Past 2,048 pieces on one stream it
// joins them, but not those that fill their packet, and if more than 1,024 are left it ends the whole connection with
// an internal error though no peer did wrong (noq-proto 1.4.0, `Assembler::insert`). A full packet carries at
// least 1,100 bytes, so bulk data never gets there within 1 MiB.
const STREAM_WINDOW_BYTES: VarInt = VarInt::from_u32(1 << 20);
/// What a peer may send unread on all streams of a connection, before its protocol is known.
const WINDOW_BYTES: VarInt = VarInt::from_u32(4 << 20);
/// What a peer may send unread on all streams of a storage connection.
pub(crate) const STORAGE_WINDOW_BYTES: VarInt = VarInt::from_u32(32 << 20);
/// What is kept of what was sent and is not yet acknowledged, for each connection.
const SEND_WINDOW_BYTES: u64 = 16 << 20;

/// This entity's sockets. Clones are the same endpoint; when the last is dropped without
/// [`close`](Self::close), peers learn of it only by their time-outs.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    way: Way,
    entity: EntityId,
    accepted: Mutex<mpsc::Receiver<Connection>>,
    /// Those that were bound beside it, and end with it.
    beside: SyncMutex<Vec<Endpoint>>,
}

/// What carries its connections.
#[derive(Debug)]
enum Way {
    Quic(Quic),
    Fabric(Port),
}

#[derive(Debug)]
struct Quic {
    quic: iroh::Endpoint,
    acceptor: AbortHandle,
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Endpoint {
    /// Binds sockets for the entity of `key` and starts to answer who dials it for one of `protocols`.
    ///
    /// With `listen`, exactly there; an unspecified address takes the same port of the other IP version too, if it
    /// can. Without, on a free port of every interface, as a client does. Runs on the tokio runtime that calls it.
    ///
    /// # Errors
    ///
    /// [`TransportError::PortInUse`], or [`TransportError::Bind`] for what else the system says.
    pub async fn bind(
        key: &SecretKey,
        listen: Option<SocketAddr>,
        protocols: &[Protocol],
    ) -> Result<Self, TransportError> {
        let anywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let socket = listen.unwrap_or(anywhere);
        let invalid = |error: &dyn std::fmt::Display| TransportError::Bind {
            socket,
            detail: error.to_string(),
        };
        let mut builder = iroh::Endpoint::builder(presets::Minimal)
            .secret_key(iroh::SecretKey::from_bytes(&key.to_bytes()))
            .relay_mode(RelayMode::Disabled)
            .portmapper_config(PortmapperConfig::Disabled)
            .transport_config(quic_limits())
            .alpns(protocols.iter().map(|protocol| protocol.alpn().to_vec()).collect())
            .clear_ip_transports()
            .bind_addr(socket)
            .map_err(|error| invalid(&error))?;
        if socket.ip().is_unspecified() {
            // A socket of IPv6 takes no IPv4 here, whatever the system's default is.
            let other = match socket.ip() {
                IpAddr::V4(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
                IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED.into(),
            };
            let other = SocketAddr::from((other, socket.port()));
            builder = builder
                .bind_addr_with_opts(other, BindOpts::default().set_is_required(false))
                .map_err(|error| invalid(&error))?;
        }
        let quic = builder.bind().await.map_err(|error| match &error {
            BindError::Sockets { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                TransportError::PortInUse { socket }
            }
            BindError::Sockets { source, .. } => invalid(source),
            other => invalid(other),
        })?;
        let (queue, accepted) = mpsc::channel(HANDSHAKES_MAX);
        let acceptor = tokio::spawn(answer(quic.clone(), queue)).abort_handle();
        let entity = key.entity();
        debug!(entity = %entity.short(), sockets = ?quic.bound_sockets(), "endpoint bound");
        let (accepted, way) = (Mutex::new(accepted), Way::Quic(Quic { quic, acceptor }));
        Ok(Self { inner: Arc::new(Inner { way, entity, accepted, beside: SyncMutex::default() }) })
    }

    /// Does what [`Endpoint::bind`] does, on a network in memory: without `listen`, at a socket of its own.
    ///
    /// # Errors
    ///
    /// [`TransportError::PortInUse`].
    pub fn bind_on(
        fabric: &Fabric,
        key: &SecretKey,
        listen: Option<SocketAddr>,
        protocols: &[Protocol],
    ) -> Result<Self, TransportError> {
        let (queue, accepted) = mpsc::channel(HANDSHAKES_MAX);
        let entity = key.entity();
        let way = Way::Fabric(fabric.bind(entity, listen, protocols, queue)?);
        let (accepted, beside) = (Mutex::new(accepted), SyncMutex::default());
        Ok(Self { inner: Arc::new(Inner { way, entity, accepted, beside }) })
    }

    /// Binds further sockets on the network of this one, to dial only. It knows nothing of where this one has dialled: an
    /// endpoint remembers each socket of an entity for a minute and dials it again beside any other, so that whoever is at
    /// an old socket now can end the attempt at a new one. It is closed with this one, or when it is found unused by the next
    /// call.
    ///
    /// # Errors
    ///
    /// [`TransportError::Bind`] for what the system says.
    pub async fn beside(&self, key: &SecretKey) -> Result<Self, TransportError> {
        let endpoint = match &self.inner.way {
            Way::Quic(_) => Box::pin(Self::bind(key, None, &[])).await?,
            Way::Fabric(port) => Self::bind_on(port.fabric(), key, None, &[])?,
        };
        let unused: Vec<_> = {
            let mut beside = self.inner.beside.lock().unwrap_or_else(PoisonError::into_inner);
            let unused = beside.extract_if(.., |endpoint| !endpoint.is_shared()).collect();
            beside.push(endpoint.clone());
            unused
        };
        for endpoint in unused {
            tokio::spawn(async move { endpoint.close_alone().await });
        }
        Ok(endpoint)
    }

    /// Ends it as a process that is killed, if it is on a network in memory: its peers learn of it by their time-outs.
    /// On sockets, only the end of the process does that, and this does nothing.
    pub fn kill(&self) {
        match &self.inner.way {
            Way::Fabric(port) => port.close(false),
            Way::Quic(_) => {}
        }
    }

    /// Returns who this endpoint is.
    pub fn entity(&self) -> EntityId {
        self.inner.entity
    }

    /// Returns where this endpoint can be dialled: the sockets it is bound to; for one bound to every
    /// interface, the addresses of this machine, the loopback address among them.
    pub fn address(&self) -> Address {
        // IPv4 first, since an address names few sockets; loopback before what many interfaces add.
        let quic = match &self.inner.way {
            Way::Quic(quic) => &quic.quic,
            Way::Fabric(port) => return Address::new(self.inner.entity, [port.socket()]),
        };
        let mut sockets = BTreeSet::new();
        let place = |socket: SocketAddr| (socket.is_ipv6(), !socket.ip().is_loopback(), socket);
        for socket in quic.bound_sockets() {
            match socket.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
                    sockets.insert(place((Ipv4Addr::LOCALHOST, socket.port()).into()));
                }
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                    sockets.insert(place((Ipv6Addr::LOCALHOST, socket.port()).into()));
                }
                _ => {
                    sockets.insert(place(socket));
                }
            }
        }
        let local = local_sockets(quic).into_iter();
        sockets.extend(local.filter(|socket| !is_link_local(socket.ip())).map(place));
        Address::new(self.inner.entity, sockets.into_iter().map(|(_, _, socket)| socket))
    }

    /// Dials the entity of `address` at all of its sockets at once.
    ///
    /// # Errors
    ///
    /// Whoever answers must hold the entity's key: else [`TransportError::WrongKey`], at once. After
    /// [`CONNECT_TIMEOUT`] without an answer, [`TransportError::Unreachable`].
    pub async fn connect(
        &self,
        address: &Address,
        protocol: Protocol,
    ) -> Result<Connection, TransportError> {
        let entity = address.entity();
        let unreachable = || TransportError::Unreachable { address: address.clone() };
        let id = PublicKey::from_bytes(entity.as_bytes())
            .map_err(|_| TransportError::BadKey { entity })?;
        if entity == self.inner.entity {
            return Err(TransportError::SelfDial { entity });
        }
        if address.sockets().is_empty() {
            return Err(TransportError::NoSocket { entity });
        }
        let quic = match &self.inner.way {
            Way::Quic(quic) => &quic.quic,
            Way::Fabric(port) => return port.connect(address, protocol).await,
        };
        let sockets = worth_dialling(quic, address.sockets()).map(TransportAddr::Ip);
        let target = EndpointAddr::from_parts(id, sockets);
        let connected = timeout(CONNECT_TIMEOUT, quic.connect(target, protocol.alpn())).await;
        let quic = match connected {
            Ok(Ok(quic)) => quic,
            Ok(Err(error)) => return Err(refused(address, protocol, error)),
            Err(_) => return Err(unreachable()),
        };
        Connection::new(quic).ok_or(TransportError::ProtocolRefused { peer: entity, protocol })
    }

    /// Waits for the next connection that a peer makes; `None` once the endpoint is closed.
    pub async fn accept(&self) -> Option<Connection> {
        loop {
            let connection = self.inner.accepted.lock().await.recv().await?;
            // It may have ended while it waited in the queue.
            if !connection.is_closed() {
                return Some(connection);
            }
        }
    }

    /// Returns whether there are clones of it.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    /// Closes every connection and the sockets; returns once the peers were told, or after some
    /// seconds. What is under way is dropped: see [`Sender::delivered`](crate::Sender::delivered).
    pub async fn close(&self) {
        let beside = {
            let mut beside = self.inner.beside.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *beside)
        };
        let mut closing: JoinSet<()> = beside
            .into_iter()
            .map(|endpoint| async move { endpoint.close_alone().await })
            .collect();
        self.close_alone().await;
        while closing.join_next().await.is_some() {}
    }

    async fn close_alone(&self) {
        match &self.inner.way {
            Way::Quic(quic) => quic.quic.close().await,
            Way::Fabric(port) => port.close(true),
        }
    }
}

/// The sockets of this machine at which this endpoint is bound, as far as they are known.
fn local_sockets(quic: &iroh::Endpoint) -> Vec<SocketAddr> {
    quic.addr().ip_addrs().copied().collect()
}

/// Leaves out loopback sockets of a peer that is, by its other sockets, on another machine: behind them is
/// another process of this machine, whose wrong key would end the attempt.
fn worth_dialling(
    quic: &iroh::Endpoint,
    sockets: &[SocketAddr],
) -> impl Iterator<Item = SocketAddr> + use<> {
    let (loopback, mut rest): (Vec<_>, Vec<_>) =
        sockets.iter().copied().partition(|socket| socket.ip().is_loopback());
    let own: BTreeSet<_> = local_sockets(quic).iter().map(SocketAddr::ip).collect();
    let only_loopback = own.iter().all(IpAddr::is_loopback);
    if rest.is_empty() || only_loopback || rest.iter().any(|socket| own.contains(&socket.ip())) {
        rest.extend(loopback);
    }
    rest.into_iter()
}
/// The limits of the QUIC state machine.
fn quic_limits() -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MILLISECONDS).into()))
        .keep_alive_interval(KEEP_ALIVE)
        .stream_receive_window(STREAM_WINDOW_BYTES)
        .receive_window(WINDOW_BYTES)
        .send_window(SEND_WINDOW_BYTES)
        .build()
}

/// One handshake that was admitted; given back when dropped.
struct Slot {
    handshakes: Arc<SyncMutex<Handshakes>>,
    network: Option<Network>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).leave(self.network);
    }
}

/// Takes handshakes and runs each in a task of its own, until the endpoint is closed.
async fn answer(quic: iroh::Endpoint, queue: mpsc::Sender<Connection>) {
    let handshakes = Arc::new(SyncMutex::new(Handshakes::default()));
    while let Some(incoming) = quic.accept().await {
        let network = network(&quic, &incoming);
        let proved = incoming.remote_addr_validated();
        let admission =
            handshakes.lock().unwrap_or_else(PoisonError::into_inner).enter(network, proved);
        match admission {
            Admission::Refused => {
                debug!("refused a connection: too many handshakes");
                incoming.refuse();
            }
            Admission::ProveFirst => {
                if incoming.retry().is_err() {
                    warn!("a socket address could not be asked to prove itself");
                }
            }
            Admission::Admitted => {
                let slot = Slot { handshakes: Arc::clone(&handshakes), network };
                tokio::spawn(shake_hands(incoming, queue.clone(), slot));
            }
        }
    }
}

/// Returns whose share who dials takes; nobody's, when it is on this machine.
fn network(quic: &iroh::Endpoint, incoming: &Incoming) -> Option<Network> {
    // There is no other way than IP here, but the enum may grow.
    let IncomingAddr::Ip(socket) = incoming.remote_addr() else { return None };
    let network = Network::of(socket.ip())?;
    // Who dials an endpoint of every interface on its own machine may come from another of its addresses than loopback.
    let ip = socket.ip().to_canonical();
    (!quic.addr().ip_addrs().any(|own| own.ip() == ip)).then_some(network)
}

async fn shake_hands(incoming: Incoming, queue: mpsc::Sender<Connection>, slot: Slot) {
    let allowed = if incoming.remote_addr_validated() { PROVED_TIMEOUT } else { HANDSHAKE_TIMEOUT };
    match timeout(allowed, incoming).await {
        Ok(Ok(quic)) => {
            let Some(connection) = Connection::new(quic.clone()) else {
                quic.close(CloseReason::Misbehaved.code(), b"");
                return;
            };
            let connection = connection.dialled_from(slot.network.map(Network::ip));
            // The slot is kept until the connection is taken: a service that does not accept bounds its queue.
            tokio::select! {
                // The endpoint is gone, and the connection with it.
                _ = queue.send(connection.clone()) => {}
                _ = connection.closed() => {}
            }
        }
        Ok(Err(error)) => debug!(%error, "a handshake failed"),
        Err(_) => debug!("a handshake took too long"),
    }
}

/// Sorts why a connection did not come about.
fn refused(address: &Address, protocol: Protocol, error: ConnectError) -> TransportError {
    let peer = address.entity();
    let failed = |error: &dyn std::fmt::Display| TransportError::Handshake {
        peer,
        detail: error.to_string(),
    };
    match error {
        ConnectError::Connection { source, .. }
        | ConnectError::Connecting {
            source: ConnectingError::ConnectionError { source, .. },
            ..
        } => TransportError::handshake(address, protocol, source),
        ConnectError::Connect { source: ConnectWithOptsError::EndpointClosed { .. }, .. } => {
            TransportError::EndpointClosed
        }
        ConnectError::Connect { source: ConnectWithOptsError::SelfConnect { .. }, .. } => {
            TransportError::SelfDial { entity: peer }
        }
        ConnectError::Connect { source: ConnectWithOptsError::NoAddress { .. }, .. } => {
            TransportError::Unreachable { address: address.clone() }
        }
        // The enums of iroh may grow.
        other => failed(&other),
    }
}

/// Returns whether `ip` means something only together with an interface.
const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
