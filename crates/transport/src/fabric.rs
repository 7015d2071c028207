//! A network in memory, for simulations: the same endpoints, connections and streams, without sockets.
//!
//! ```text
//! Fabric ── Endpoint::bind_on(fabric, key, …) ──► Endpoint ── as ever ──► Connection ──► Stream
//!    ├── Climate: how long each frame is under way, and how many break their connection
//!    ├── set_away, set_rate, cut, kill: what becomes of an entity's part of the network
//!    └── Tap: sees each frame when it is sent and when it has come
//! ```
//!
//! All time is tokio's. On a current-thread runtime whose clock is paused, a run takes as long as its computing, and
//! the same seed and the same calls give the same run.
//!
//! # What always holds
//!
//! - Frames of one stream come in order, whole and once, or the connection breaks; streams overtake each other.
//! - A dialled key is the key that answers, as with QUIC.
//! - A frame that breaks its connection may come in part, never changed.
//!
//! # What is not here
//!
//! Encryption, flow control, and the room for handshakes: those are QUIC's and are tested on sockets.

mod link;

pub(crate) use link::{Handle, RecvHalf, SendHalf};

use crate::{CONNECT_TIMEOUT, CloseReason, Connection, Protocol, TransportError};
use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use link::{End, Link};
use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

/// How long a connection without a sign of life lasts: as on sockets.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// What the network does to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Climate {
    /// The least time that a frame is under way.
    pub delay_min: Duration,
    /// The most.
    pub delay_max: Duration,
    /// How many of a million frames break their connection, and come in part or not at all.
    pub cuts_per_million: u32,
}

impl Climate {
    /// Nothing breaks, and nothing takes long.
    pub const FAIR: Self = Self {
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(20),
        cuts_per_million: 0,
    };
}

/// One frame on its way.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// Who sent it.
    pub from: EntityId,
    /// Who gets it.
    pub to: EntityId,
    /// The number of its connection, in order of dialling.
    pub connection: u64,
    /// The number of its stream on that connection.
    pub stream: u64,
    /// What is spoken.
    pub protocol: Protocol,
    /// The body of the frame.
    pub frame: &'a [u8],
}

/// Who watches a network.
pub trait Tap: Send + Sync {
    /// A frame was sent.
    fn sent(&self, passing: Passing<'_>);
    /// A frame has come, and was read.
    fn came(&self, passing: Passing<'_>);
}

/// A network in memory. Clones are the same network.
#[derive(Clone)]
pub struct Fabric(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
}

struct State {
    chance: u64,
    climate: Climate,
    listeners: BTreeMap<SocketAddr, Listener>,
    links: BTreeMap<u64, Arc<Link>>,
    next: u64,
    /// Who is away, and since which event.
    away: BTreeMap<EntityId, u64>,
    /// Bytes per second that an entity sends.
    rates: BTreeMap<EntityId, u64>,
    tap: Option<Arc<dyn Tap>>,
}

struct Listener {
    entity: EntityId,
    port: u64,
    protocols: Vec<Protocol>,
    queue: mpsc::Sender<Connection>,
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let (listeners, links) = (state.listeners.len(), state.links.len());
        f.debug_struct("Fabric").field("listeners", &listeners).field("links", &links).finish()
    }
}

/// What becomes of a frame.
pub(crate) struct Fate {
    /// When it, or its front, has come.
    pub(crate) arrives: Instant,
    /// How many of its bytes come before the connection breaks.
    pub(crate) cut: Option<usize>,
}

/// Later than all that is simulated.
pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400 * 365 * 25)
}

/// Whether a moment was made by [`far`].
pub(crate) fn is_far(at: Instant) -> bool {
    at > Instant::now() + Duration::from_secs(86_400 * 365)
}

impl State {
    /// The next 64 bits of chance: splitmix64 (Steele, Lea and Flood 2014).
    fn next_u64(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        let scaled = (u128::from(self.next_u64()) * u128::from(end)) >> 64;
        u64::try_from(scaled).unwrap_or(0)
    }

    fn delay(&mut self) -> Duration {
        let Climate { delay_min, delay_max, .. } = self.climate;
        let span = u64::try_from(delay_max.saturating_sub(delay_min).as_millis()).unwrap_or(0);
        delay_min + Duration::from_millis(self.below(span + 1))
    }

    fn links_of(&self, entity: EntityId) -> Vec<Arc<Link>> {
        self.links.values().filter(|link| link.ends.contains(&entity)).cloned().collect()
    }
}

impl Fabric {
    /// Creates a network without entities, whose chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            chance: seed,
            climate: Climate::FAIR,
            listeners: BTreeMap::new(),
            links: BTreeMap::new(),
            next: 1,
            away: BTreeMap::new(),
            rates: BTreeMap::new(),
            tap: None,
        };
        Self(Arc::new(Shared { state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `tap` see every frame from now on.
    pub fn set_tap(&self, tap: Arc<dyn Tap>) {
        self.state().tap = Some(tap);
    }

    /// Changes what happens to frames that are sent from now on.
    pub fn set_climate(&self, climate: Climate) {
        self.state().climate = climate;
    }

    /// Lets an entity send so many bytes in a second on each stream; `None` for no limit.
    pub fn set_rate(&self, entity: EntityId, bytes_per_second: Option<u64>) {
        let mut state = self.state();
        match bytes_per_second {
            Some(rate) => state.rates.insert(entity, rate.max(1)),
            None => state.rates.remove(&entity),
        };
    }

    /// Takes an entity off the network, or brings it back. Nobody can dial it meanwhile; its connections stand still and
    /// are lost after 15 seconds. Runs on the tokio runtime that calls it.
    pub fn set_away(&self, entity: EntityId, away: bool) {
        let mut state = self.state();
        let links = state.links_of(entity);
        if !away {
            if state.away.remove(&entity).is_some() {
                let arrives = Instant::now() + state.delay();
                drop(state);
                links.iter().for_each(|link| link.release(arrives));
            }
        } else if !state.away.contains_key(&entity) {
            let event = state.next;
            state.next += 1;
            state.away.insert(entity, event);
            drop(state);
            let fabric = self.clone();
            tokio::spawn(async move {
                sleep(IDLE_TIMEOUT).await;
                let still = fabric.state().away.get(&entity) == Some(&event);
                if still {
                    links.iter().for_each(|link| link.lose(Instant::now(), "timed out"));
                }
            });
        }
    }

    /// Breaks all connections of an entity at once.
    pub fn cut(&self, entity: EntityId) {
        let links = self.state().links_of(entity);
        links.iter().for_each(|link| link.lose(Instant::now(), "cut"));
    }

    // --- endpoints -------------------------------------------------------------------------------------

    pub(crate) fn bind(
        &self,
        entity: EntityId,
        listen: Option<SocketAddr>,
        protocols: &[Protocol],
        queue: mpsc::Sender<Connection>,
    ) -> Result<Port, TransportError> {
        let mut state = self.state();
        let port = state.next;
        state.next += 1;
        let [.., a, b, c] = port.to_be_bytes();
        let socket = listen.unwrap_or_else(|| (Ipv4Addr::new(10, a, b, c), 4433).into());
        if state.listeners.contains_key(&socket) {
            return Err(TransportError::PortInUse { socket });
        }
        let protocols = protocols.to_vec();
        state.listeners.insert(socket, Listener { entity, port, protocols, queue });
        drop(state);
        Ok(Port { fabric: self.clone(), number: port, socket, entity })
    }
}

/// What an endpoint has of a fabric.
#[derive(Debug)]
pub(crate) struct Port {
    fabric: Fabric,
    number: u64,
    socket: SocketAddr,
    entity: EntityId,
}

/// What a dial meets.
enum Met {
    Nobody,
    Refused(TransportError),
    Link(Arc<Link>, mpsc::Sender<Connection>),
}

impl Port {
    pub(crate) const fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    pub(crate) const fn socket(&self) -> SocketAddr {
        self.socket
    }

    pub(crate) async fn connect(
        &self,
        address: &Address,
        protocol: Protocol,
    ) -> Result<Connection, TransportError> {
        let delay = self.fabric.state().delay();
        sleep(delay * 2).await; // one round trip
        match self.meet(address, protocol) {
            Met::Refused(error) => Err(error),
            Met::Nobody => {
                sleep(CONNECT_TIMEOUT.saturating_sub(delay * 2)).await;
                Err(TransportError::Unreachable { address: address.clone() })
            }
            Met::Link(link, queue) => {
                let accepted = Connection::on_fabric(Handle::new(&link, 1), self.entity, protocol);
                let busy = TransportError::Busy { peer: address.entity() };
                queue.try_send(accepted).map_err(|_| busy)?;
                Ok(Connection::on_fabric(Handle::new(&link, 0), address.entity(), protocol))
            }
        }
    }

    fn meet(&self, address: &Address, protocol: Protocol) -> Met {
        let mut state = self.fabric.state();
        let own = |listener: &Listener| listener.port == self.number;
        if !state.listeners.values().any(own) {
            return Met::Refused(TransportError::EndpointClosed);
        }
        let there = |socket| {
            let listener: &Listener = state.listeners.get(socket)?;
            let is_away = |entity| state.away.contains_key(&entity);
            (!is_away(listener.entity) && !is_away(self.entity)).then_some(listener)
        };
        let Some(listener) = address.sockets().iter().find_map(there) else { return Met::Nobody };
        if listener.entity != address.entity() {
            return Met::Refused(TransportError::WrongKey { address: address.clone() });
        }
        if !listener.protocols.contains(&protocol) {
            let peer = address.entity();
            return Met::Refused(TransportError::ProtocolRefused { peer, protocol });
        }
        let (queue, ports) = (listener.queue.clone(), [self.number, listener.port]);
        let number = state.next;
        state.next += 1;
        let ends = [self.entity, address.entity()];
        let link = Arc::new(Link::new(self.fabric.clone(), number, ends, ports, protocol));
        state.links.insert(number, Arc::clone(&link));
        Met::Link(link, queue)
    }

    /// Closes in order, or, when `told` is not set, as a process that is killed: its peers learn of it by their time-outs.
    pub(crate) fn close(&self, told: bool) {
        let mut state = self.fabric.state();
        state.listeners.retain(|_, listener| listener.port != self.number);
        let of_port = |link: &&Arc<Link>| link.ports.contains(&self.number);
        let links: Vec<_> = state.links.values().filter(of_port).cloned().collect();
        let delay = if told { state.delay() } else { IDLE_TIMEOUT };
        drop(state);
        for link in links {
            let side = usize::from(link.ports[0] != self.number);
            let end = match told {
                true => End::Remote(CloseReason::Done),
                false => End::Lost("timed out"),
            };
            link.end(side, End::Local, Instant::now());
            link.end(1 - side, end, Instant::now() + delay);
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.close(false);
    }
}

impl Fabric {
    /// Decides what becomes of a frame of so many bytes; `busy` is when the one before it has come.
    pub(crate) fn fate(&self, from: EntityId, to: EntityId, length: usize, busy: Instant) -> Fate {
        let mut state = self.state();
        let delay = state.delay();
        let cuts = u64::from(state.climate.cuts_per_million);
        let cut = (cuts > 0 && state.below(1_000_000) < cuts)
            .then(|| usize::try_from(state.below(length as u64 + 1)).unwrap_or(0));
        if state.away.contains_key(&from) || state.away.contains_key(&to) {
            return Fate { arrives: far(), cut: None };
        }
        let mut arrives = busy.max(Instant::now() + delay);
        if let Some(rate) = state.rates.get(&from) {
            arrives += Duration::from_secs((length as u64).div_ceil(*rate));
        }
        Fate { arrives, cut }
    }

    pub(crate) fn delay(&self) -> Duration {
        self.state().delay()
    }

    pub(crate) fn forget(&self, number: u64) {
        let link = self.state().links.remove(&number);
        drop(link); // not under the lock
    }

    pub(crate) fn tap(&self) -> Option<Arc<dyn Tap>> {
        self.state().tap.clone()
    }
}
