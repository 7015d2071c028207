//! The shell around the core: sockets, files, the journal, and the issuer.
//!
//! ```text
//! streams ──► core (one lock) ──► event ──► journal thread: many events, one frame, one flush ──► answer
//!    │                                                                                             ▲
//!    └──► shard files: written, flushed and named before the core is told ─────────────────────────┘
//! ```
//!
//! # What always holds
//!
//! - A shard is acknowledged when its file, its hashes and the event that counts it are durable.
//! - A file that the core does not know is removed at the start; one it knows is removed only after the event
//!   that drops it is durable, and not while the same shard is on its way in.
//! - A voucher is posted when the end of its contract is durable.
//! - After a failed flush nothing is answered any more: the service ends with the reason.
//!
//! On a runtime of one thread the journal is a task and files are written in line: a simulation then replays to the byte.
//!
//! Reads are metered in memory and flushed every second, and with every other event: a provider that loses power
//! loses the payment of a second of reads, its buyers nothing.

mod money;
mod proving;
mod report;
mod shards;
#[cfg(test)]
mod tests;
mod waiting;

pub use report::{Counts, HostWatch, Report};
pub use waiting::Waits;

use crate::board::PriceBoard;
use crate::{Answer, Event, Host, HostConfig, Opening, Overview, ReplayError};
use fondaco_audit::{GROUP, ShardId};
use fondaco_contract::{ContractId, Terms};
use fondaco_crypto::{EntityId, SecretKey, Signature};
use fondaco_ledger::SignedVoucher;
use fondaco_ports::market::{Frame, FrameError, Reason, Request, Response, VERSION};
use fondaco_ports::{Clock, Disk};
use fondaco_store::{
    Blobs, ContentFolder, DiskFile, FileError, Journal, JournalError, Kind, OpenError, Part,
};
use fondaco_transport::{
    CloseReason, Connection, Endpoint, LcpClient, Stream, TransportError, seats::Shares,
};
use fondaco_units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// The kind of a storage host's journal, version 2: contracts can renew others.
const KIND: Kind = Kind::new(*b"host\0\0\0\0", 2);
/// The hashes that prove the parts of a shard, beside it.
const HASHES: Part = Part::new("bao");
/// The most events in one frame.
const BATCH_MAX: usize = 4096;
/// A journal with so many times the records that its state needs, and [`REWRITE_RECORDS_MIN`] besides, is written anew at a start.
const REWRITE_RATIO: u64 = 2;
const REWRITE_RECORDS_MIN: u64 = 16;
/// The most connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// The most connections of one peer.
const CONNECTIONS_PER_PEER_MAX: usize = 128;
/// The most reads and proofs from the disk at once; others wait their turn.
const READS_MAX: usize = 64;
/// How often reads are flushed and contracts looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long a step may take to come.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the service could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The journal cannot be opened.
    #[error("the host's journal: {0}")]
    Open(#[from] OpenError<ReplayError>),
    /// The journal failed; nothing was acknowledged after that.
    #[error("the host's journal: {0}")]
    Journal(#[from] JournalError),
    /// The folder of shards failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// None of the shards that are paid for is in the folder: most likely its disk is not mounted.
    #[error("{} has none of the {kept} shards that are paid for", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// How many shards should be in it.
        kept: u64,
    },
    /// The journal's thread ended.
    #[error("the host's journal has halted: {0}")]
    Halted(String),
}

impl ServiceError {
    /// Returns whether starting again can help.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Open(error) => error.is_transient(),
            Self::Journal(_) | Self::Empty { .. } | Self::Halted(_) => true,
            Self::File(error) => error.is_transient(),
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open(error) => error.hint(),
            Self::Journal(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Empty { .. } => {
                "mount the disk that they are on; if it is gone for good, `fondaco up --without-shards` gives those \
                 contracts up and gets the money for what was served"
            }
            Self::Halted(_) => "check the disk and the system log, then start the host again",
        }
    }
}

/// A provider of storage, ready to serve.
#[derive(Debug)]
pub struct HostService {
    shared: Arc<Shared>,
    failed: oneshot::Receiver<String>,
    tick: Duration,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    folder: Arc<dyn Blobs>,
    issuer: LcpClient,
    clock: Arc<dyn Clock>,
    /// How many bytes are to stay free on the disk.
    reserve: AtomicU64,
    /// When the service was opened.
    up_since: Timestamp,
    /// Whose turn it is to read.
    reads: Semaphore,
    /// Whether a round of settling is under way.
    settling: AtomicBool,
    /// Whether what is read is paid for and not served.
    refuses_reads: AtomicBool,
    serves_audits_only: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).finish_non_exhaustive()
    }
}

struct State {
    host: Host,
    /// To the journal's thread: events go in under the lock, so in the order they happened.
    journal: mpsc::UnboundedSender<Entry>,
    /// What reads have come to, and the journal does not know yet.
    unsaved: BTreeMap<ContractId, Event>,
    /// Shards whose files are being named: they must not be removed meanwhile.
    arriving: BTreeMap<ShardId, u32>,
    /// Shards whose files may go, if nobody keeps them.
    unwanted: Vec<ShardId>,
    /// How many connections each peer has.
    peers: Shares<EntityId>,
    /// Puts whose streams broke: their buyers may go on with them.
    parked: BTreeMap<shards::Key, shards::Parked>,
    /// Shards that are paid for, and were not on the disk when somebody looked.
    lost: BTreeSet<ShardId>,
    /// Vouchers that the issuer does not take yet.
    waiting: waiting::Waiting,
    counts: Counts,
}

struct Entry {
    /// Nothing, for who only waits until all that went before is durable.
    event: Option<Event>,
    durable: Option<oneshot::Sender<()>>,
}

/// What keeps an answer back until its event is durable.
type Durable = Option<oneshot::Receiver<()>>;

/// A connection's seat among those that may be open; given back when dropped.
struct Seat {
    shared: Arc<Shared>,
    peer: EntityId,
}

impl Seat {
    /// Takes a seat, if there is one left for this peer.
    fn take(shared: &Arc<Shared>, peer: EntityId) -> Option<Self> {
        let mut state = shared.lock();
        let peers = &mut state.peers;
        if peers.all() >= CONNECTIONS_MAX || peers.of(&peer) >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        peers.take(peer);
        drop(state);
        Some(Self { shared: Arc::clone(shared), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.lock().peers.give_back(&self.peer);
    }
}

impl HostService {
    /// Opens the host whose journal is in `folder` and whose shards are in `shards`; both are locked for this process.
    ///
    /// With `without_shards`, a host none of whose shards is there any more gives up the contracts that they were for, and
    /// goes on: what it had served until then is posted.
    pub fn open(
        folder: &Path,
        shards: &Path,
        key: SecretKey,
        config: HostConfig,
        clock: Arc<dyn Clock>,
        issuer: LcpClient,
        without_shards: bool,
    ) -> Result<Self, ServiceError> {
        let disk = DiskFile::open(folder.join("journal"))?;
        let shards = |kept| {
            if kept > 0 && !without_shards && !ContentFolder::is_at(shards) {
                // Before anything is made there: it may be where a disk is mounted.
                return Err(ServiceError::Empty { folder: shards.to_owned(), kept });
            }
            let folder = ContentFolder::open(shards)?;
            if folder.is_read_only() {
                let path = shards.display();
                tracing::error!(%path, "may not be written: what is there is served, and nothing new is taken");
            }
            Ok(Arc::new(folder) as Arc<dyn Blobs>)
        };
        Self::open_with(Box::new(disk), shards, key, config, clock, issuer, without_shards)
    }

    /// Opens the host whose journal is on `disk` and whose shards are in `shards`.
    pub fn open_on(
        disk: Box<dyn Disk>,
        shards: Arc<dyn Blobs>,
        key: SecretKey,
        config: HostConfig,
        clock: Arc<dyn Clock>,
        issuer: LcpClient,
    ) -> Result<Self, ServiceError> {
        Self::open_with(disk, |_| Ok(shards), key, config, clock, issuer, false)
    }

    /// The journal goes first: what it does not let in must not touch the shards.
    fn open_with(
        disk: Box<dyn Disk>,
        shards: impl FnOnce(u64) -> Result<Arc<dyn Blobs>, ServiceError>,
        key: SecretKey,
        config: HostConfig,
        clock: Arc<dyn Clock>,
        issuer: LcpClient,
        without_shards: bool,
    ) -> Result<Self, ServiceError> {
        let mut host = Host::new(key, config);
        let mut journal = Journal::open(disk, KIND, |record| host.replay(record))?;
        shorten(&host, &mut journal);
        let now = clock.now();
        let kept = host.shards().count() as u64;
        let folder = shards(kept)?;
        let empty = || ServiceError::Empty { folder: folder.path().to_owned(), kept };
        let mut lost = shards::remove_unknown(&host, &*folder)?;
        let mut events = Vec::new();
        if kept > 0 && lost.len() as u64 == kept {
            if !without_shards {
                return Err(empty());
            }
            events.extend(host.lose(now));
            lost.clear();
        }
        if let Some(at) = config.leaves {
            events.extend(host.leave(now, at));
        }
        if !events.is_empty() {
            journal.append(&events.iter().map(Event::to_record).collect::<Vec<_>>())?;
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let (tell_failed, failed) = oneshot::channel();
        if has_threads() {
            std::thread::Builder::new()
                .name("host-journal".to_owned())
                .spawn(move || {
                    if let Err(error) = write_journal(journal, receiver) {
                        let _ = tell_failed.send(error.to_string());
                    }
                })
                .map_err(|error| ServiceError::Halted(error.to_string()))?;
        } else {
            tokio::spawn(async move {
                if let Err(error) = write_journal_here(journal, receiver).await {
                    let _ = tell_failed.send(error.to_string());
                }
            });
        }
        let state = State {
            host,
            journal: sender,
            unsaved: BTreeMap::new(),
            arriving: BTreeMap::new(),
            unwanted: Vec::new(),
            peers: Shares::default(),
            parked: BTreeMap::new(),
            lost: lost.into_iter().collect(),
            waiting: waiting::Waiting::default(),
            counts: Counts::default(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            folder,
            issuer,
            clock,
            reserve: AtomicU64::new(config.reserve.get()),
            up_since: now,
            reads: Semaphore::new(READS_MAX),
            settling: AtomicBool::new(false),
            refuses_reads: AtomicBool::new(false),
            serves_audits_only: AtomicBool::new(false),
        });
        Ok(Self { shared, failed, tick: TICK })
    }

    /// Sets how often reads are flushed and contracts looked at, instead of every second.
    pub const fn set_tick(&mut self, tick: Duration) {
        self.tick = tick;
    }

    /// Makes it a cheat, for trying a market out: it takes the vouchers for reads and audits, counts them as served, and
    /// says that it is busy.
    pub fn refuse_reads(&mut self) {
        self.shared.refuses_reads.store(true, Ordering::Relaxed);
    }

    /// Makes it a cheat, for trying a market out: it answers proofs and reads of a part of one group, as audits once were, and
    /// breaks off all others.
    pub fn serve_audits_only(&mut self) {
        self.shared.serves_audits_only.store(true, Ordering::Relaxed);
    }

    /// Returns where the prices are read and moved while it serves.
    pub fn price_board(&self) -> PriceBoard {
        PriceBoard::new(Arc::clone(&self.shared))
    }

    /// Adds up what the journal in `folder` says, for a host that does not run and on whose disk so much is free.
    pub fn overview(
        folder: &Path,
        key: SecretKey,
        config: HostConfig,
        now: Timestamp,
        disk_free: Option<Bytes>,
    ) -> Result<Overview, ServiceError> {
        let disk = DiskFile::open(folder.join("journal"))?;
        let mut host = Host::new(key, config);
        Journal::open(disk, KIND, |record| host.replay(record))?;
        host.set_disk(disk_free);
        Ok(host.overview(now))
    }

    /// Returns what can be asked how the service fares, while it serves.
    pub fn watch(&self) -> HostWatch {
        HostWatch::new(&self.shared)
    }

    /// Serves who dials `endpoint` until `stop` is cancelled, or the journal fails.
    pub async fn serve(
        self,
        endpoint: Endpoint,
        stop: CancellationToken,
    ) -> Result<(), ServiceError> {
        let Self { shared, mut failed, tick } = self;
        let mut tick = tokio::time::interval(tick);
        let ended = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                why = &mut failed => break Err(ServiceError::Halted(why.unwrap_or_default())),
                connection = endpoint.accept() => {
                    let Some(connection) = connection else { break Ok(()) };
                    let Some(seat) = Seat::take(&shared, connection.peer()) else {
                        connection.close(CloseReason::Busy);
                        continue;
                    };
                    tokio::spawn(async move {
                        seat.shared.serve_connection(connection).await;
                    });
                }
                _ = tick.tick() => {
                    shared.expire_parked();
                    shared.flush();
                    tokio::spawn(Arc::clone(&shared).settle_due());
                }
            }
        };
        endpoint.close().await;
        if ended.is_ok() {
            shared.save_all().await;
        }
        ended
    }
}

/// Writes the journal anew where most of it is what led to the present state: it is replayed at each start.
fn shorten(host: &Host, journal: &mut Journal<Box<dyn Disk>>) {
    let needed = host.events().count() as u64;
    if journal.head().records <= needed.saturating_mul(REWRITE_RATIO) + REWRITE_RECORDS_MIN {
        return;
    }
    if let Err(error) = journal.rewrite(host.events().map(|event| event.to_record())) {
        // That it is long is no reason not to serve; if the disk is one, the next event tells.
        tracing::warn!(%error, "the journal could not be written anew");
    }
}

/// Writes events as they come, as many as wait at once.
fn write_journal(
    mut journal: Journal<Box<dyn Disk>>,
    mut entries: mpsc::UnboundedReceiver<Entry>,
) -> Result<(), JournalError> {
    while let Some(first) = entries.blocking_recv() {
        write_batch(&mut journal, first, &mut entries)?;
    }
    Ok(())
}

/// The same as a task.
async fn write_journal_here(
    mut journal: Journal<Box<dyn Disk>>,
    mut entries: mpsc::UnboundedReceiver<Entry>,
) -> Result<(), JournalError> {
    while let Some(first) = entries.recv().await {
        write_batch(&mut journal, first, &mut entries)?;
    }
    Ok(())
}

fn write_batch(
    journal: &mut Journal<Box<dyn Disk>>,
    first: Entry,
    entries: &mut mpsc::UnboundedReceiver<Entry>,
) -> Result<(), JournalError> {
    let more = std::iter::from_fn(|| entries.try_recv().ok());
    let batch: Vec<Entry> = std::iter::once(first).chain(more.take(BATCH_MAX - 1)).collect();
    let records: Vec<Vec<u8>> =
        batch.iter().filter_map(|entry| Some(entry.event?.to_record())).collect();
    journal.append(&records)?;
    for durable in batch.into_iter().filter_map(|entry| entry.durable) {
        let _ = durable.send(());
    }
    Ok(())
}

/// Returns whether this runtime has threads beside this one.
fn has_threads() -> bool {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    !matches!(flavor, Ok(RuntimeFlavor::CurrentThread))
}

/// Does what may take a while, letting other tasks go on where there are threads for it.
fn block_in_place<T>(work: impl FnOnce() -> T) -> T {
    if has_threads() { tokio::task::block_in_place(work) } else { work() }
}

/// The same, on another thread where there is one; nothing if it failed.
async fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if has_threads() { tokio::task::spawn_blocking(work).await.ok() } else { Some(work()) }
}

impl State {
    /// Gives an event to the journal; the receiver tells when it is durable.
    fn save(&self, event: Event) -> oneshot::Receiver<()> {
        let (durable, receiver) = oneshot::channel();
        // When the journal's thread is gone the sender is dropped, and the receiver says so.
        let _ = self.journal.send(Entry { event: Some(event), durable: Some(durable) });
        receiver
    }

    /// Returns what tells when all events so far are durable: for an answer that follows from one of them.
    fn barrier(&self) -> oneshot::Receiver<()> {
        let (durable, receiver) = oneshot::channel();
        let _ = self.journal.send(Entry { event: None, durable: Some(durable) });
        receiver
    }

    fn flush(&mut self) {
        for event in std::mem::take(&mut self.unsaved).into_values() {
            let _ = self.journal.send(Entry { event: Some(event), durable: None });
        }
    }
}

impl Shared {
    /// Looks at the core, or changes what no journal has to know, at the present time.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Host, Timestamp) -> T) -> T {
        let now = self.clock.now();
        look(&mut self.lock().host, now)
    }

    /// Does what [`Shared::with`] does when the core has heard what is free on the disk.
    pub(crate) fn with_disk<T>(&self, look: impl FnOnce(&mut Host, Timestamp) -> T) -> T {
        let free = self.folder.available().ok();
        self.with(|host, now| {
            host.set_disk(free);
            look(host, now)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The core never panics on what a peer sends; if it did, its state would not be trusted.
        self.state.lock().expect("the core panicked; the host must be restarted")
    }

    /// What is to stay free on the disk.
    fn reserve(&self) -> Bytes {
        Bytes::new(self.reserve.load(Ordering::Relaxed))
    }

    /// Sells by another configuration from now on; contracts keep their terms.
    pub(crate) fn sell(&self, config: HostConfig) {
        self.reserve.store(config.reserve.get(), Ordering::Relaxed);
        self.lock().host.set_config(config);
    }

    /// Takes nothing new from now on that lasts longer, and tells every contract.
    pub(crate) fn leave(&self, at: Timestamp) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.host.set_leaves(at);
        for event in state.host.leave(now, at) {
            // Nobody waits for it: a start after a crash announces the same again.
            drop(state.save(event));
        }
    }

    fn flush(&self) {
        self.lock().flush();
    }

    /// Makes durable all that is not yet, at the end.
    async fn save_all(&self) {
        let durable: Vec<_> = {
            let mut state = self.lock();
            let events = std::mem::take(&mut state.unsaved);
            events.into_values().map(|event| state.save(event)).collect()
        };
        for durable in durable {
            let _ = durable.await;
        }
    }

    async fn serve_connection(self: &Arc<Self>, connection: Connection) {
        let peer = connection.peer();
        loop {
            match connection.accept().await {
                Ok(Some(stream)) => {
                    let shared = Arc::clone(self);
                    tokio::spawn(async move {
                        if let Err(error) = shared.serve_stream(peer, stream).await {
                            tracing::debug!(peer = %peer.short(), %error, "a stream ended early");
                        }
                    });
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(peer = %peer.short(), %error, "a connection ended");
                    return;
                }
            }
        }
    }

    async fn serve_stream(&self, peer: EntityId, mut stream: Stream) -> Result<(), TransportError> {
        stream.set_timeout(STEP_TIMEOUT);
        let Some(frame) = stream.recv_bytes(Request::FRAME_MAX).await? else { return Ok(()) };
        let response = match Request::from_frame(&frame) {
            Err(error) => Some(Response::Refused { reason: unreadable(error) }),
            Ok(Request::Put { contract, shard, size, epoch }) => {
                self.put(peer, &mut stream, contract, shard, size, epoch).await?
            }
            Ok(request) => self.answer(peer, request).await,
        };
        // Without a response the journal has failed: silence is the only honest answer.
        if let Some(response) = response {
            if let Response::Refused { reason } = &response {
                self.lock().counts.refused(reason);
            }
            stream.send_bytes(&response.to_frame()).await?;
            stream.finish();
        }
        Ok(())
    }

    async fn answer(&self, peer: EntityId, request: Request) -> Option<Response> {
        let now = self.clock.now();
        match request {
            Request::Prices => {
                let list = self.with_disk(|host, now| host.prices_for(now, peer));
                Some(Response::Prices { list })
            }
            Request::Open { terms, buyer_signature, voucher } => {
                self.sign(peer, &terms, &buyer_signature, &voucher, false).await
            }
            Request::Renew { terms, buyer_signature, voucher } => {
                self.sign(peer, &terms, &buyer_signature, &voucher, true).await
            }
            Request::Status { contract } => Some(self.lock().host.status(now, peer, contract)),
            Request::List { contract, after } => Some(self.lock().host.list(peer, contract, after)),
            Request::Mine { after } => {
                let (mine, durable) = {
                    let state = self.lock();
                    (state.host.mine(now, peer, after), state.barrier())
                };
                wait(Some(durable)).await.map(|()| mine)
            }
            Request::Mark { mark } => self.decide(|host| host.mark(now, peer, &mark)).await,
            Request::Admit { mandate } => self.decide(|host| host.admit(now, peer, &mandate)).await,
            Request::Put { .. } => Some(Response::Refused { reason: Reason::Malformed }),
            Request::Get { offset, length, .. } | Request::Again { offset, length, .. }
                if self.serves_audits_only.load(Ordering::Relaxed)
                    && offset.get() % GROUP + length.get() > GROUP =>
            {
                None
            }
            Request::Get { contract, shard, offset, length, voucher } => {
                // Closed only with the service.
                let _turn = self.reads.acquire().await.ok()?;
                let now = self.clock.now();
                let plan = self
                    .lock()
                    .host
                    .get_begin(now, peer, contract, shard, offset, length, &voucher);
                let plan = match plan {
                    Ok(plan) => plan,
                    Err(reason) => return Some(Response::Refused { reason }),
                };
                let slice = match block_in_place(|| self.slice(shard, plan.range.clone())) {
                    Ok(slice) => slice,
                    Err(reason) => return Some(Response::Refused { reason }),
                };
                let mut state = self.lock();
                match state.host.get_commit(&plan) {
                    Ok(event) => state.unsaved.insert(contract, event),
                    Err(reason) => return Some(Response::Refused { reason }),
                };
                if self.refuses_reads.load(Ordering::Relaxed) {
                    return Some(Response::Refused { reason: Reason::Busy });
                }
                state.counts.read(now, length);
                Some(Response::Slice { bytes: slice })
            }
            Request::Again { contract, shard, offset, length } => {
                let _turn = self.reads.acquire().await.ok()?;
                let now = self.clock.now();
                let range = self.lock().host.get_again(now, peer, contract, shard, offset, length);
                let again = range.and_then(|range| block_in_place(|| self.slice(shard, range)));
                Some(match again {
                    Ok(_) if self.refuses_reads.load(Ordering::Relaxed) => {
                        Response::Refused { reason: Reason::Busy }
                    }
                    Ok(bytes) => Response::Slice { bytes },
                    Err(reason) => Response::Refused { reason },
                })
            }
            Request::Prove { contract, nonce, parts, voucher } => {
                let _turn = self.reads.acquire().await.ok()?;
                Some(self.prove(peer, contract, nonce, parts.as_slice(), &voucher))
            }
            Request::Advance { contract, voucher } => {
                self.decide(|host| host.advance(now, peer, contract, &voucher)).await
            }
            Request::Delete { contract, shard } => {
                self.decide(|host| host.delete(now, peer, contract, shard)).await
            }
            Request::Close { contract } => {
                match self.end(|host| host.close_begin(now, peer, contract)) {
                    Err(reason) => Some(Response::Refused { reason }),
                    Ok(ended) => self.settle(contract, ended).await,
                }
            }
        }
    }

    /// Signs a contract, or one that renews another, when the issuer has said what its hold is.
    async fn sign(
        &self,
        peer: EntityId,
        terms: &Terms,
        signature: &Signature,
        voucher: &SignedVoucher,
        renews: bool,
    ) -> Option<Response> {
        let begun = self.with_disk(|host, now| {
            if renews {
                host.renew_begin(now, peer, terms, signature, voucher)
            } else {
                host.open_begin(now, peer, terms, signature, voucher)
            }
        });
        let hold = match begun {
            Err(reason) => return Some(Response::Refused { reason }),
            Ok(Opening::Known(response)) => {
                let durable = self.lock().barrier();
                wait(Some(durable)).await?;
                return Some(response);
            }
            Ok(Opening::Ask(hold)) => match self.ask_hold(hold).await {
                Ok(hold) => hold,
                Err(reason) => return Some(Response::Refused { reason }),
            },
        };
        let now = self.clock.now();
        let signed = self.decide(|host| {
            if renews {
                host.renew_finish(now, peer, terms, signature, voucher, hold.as_ref())
            } else {
                host.open_finish(now, peer, terms, signature, voucher, hold.as_ref())
            }
        });
        let signed = signed.await;
        if let (Some(Response::Renewed { .. }), Some(from)) = (&signed, terms.renews) {
            self.lock().give_up_of(from);
        }
        signed
    }

    /// Lets the core decide, and gives back its answer when what it changed is durable; nothing if it cannot be.
    async fn decide(&self, decide: impl FnOnce(&mut Host) -> Answer) -> Option<Response> {
        let (Answer { response, remove, .. }, durable) = {
            let mut state = self.lock();
            let answer = decide(&mut state.host);
            // Without an event of its own, the answer may follow from one that is not durable yet.
            let durable = match answer.event {
                Some(event) => state.save(event),
                None => state.barrier(),
            };
            (answer, Some(durable))
        };
        wait(durable).await?;
        self.lock().unwanted.extend(remove);
        Some(response)
    }
}

/// Waits for an event to be durable; nothing if it never will be.
async fn wait(durable: Durable) -> Option<()> {
    match durable {
        None => Some(()),
        Some(durable) => durable.await.ok(),
    }
}

fn unreadable(error: FrameError) -> Reason {
    match error {
        FrameError::Version { .. } => Reason::Version { spoken: VERSION },
        FrameError::Long { .. } | FrameError::Empty | FrameError::Message(_) => Reason::Malformed,
    }
}
