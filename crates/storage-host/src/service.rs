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
//! - After a failed flush nothing is answered any more: the service ends with the reason.
//!
//! Reads are metered in memory and flushed every second, and with every other event: a provider that loses power
//! loses the payment of a second of reads, its buyers nothing.

mod proving;

use crate::host::Begun;
use crate::{
    Answer, Closing, Event, Host, HostConfig, Opening, PutId, ReplayError, Settle, Stepped,
};
use fondaco_audit::{Outboard, ShardId, prove};
use fondaco_contract::ContractId;
use fondaco_crypto::{Digest, EntityId, SecretKey};
use fondaco_lcp as lcp;
use fondaco_ledger::{Hold, HoldId, HoldState};
use fondaco_ports::Clock;
use fondaco_ports::market::{Frame, FrameError, Payload, Reason, Request, Response, Step, VERSION};
use fondaco_store::{
    ContentFolder, DiskFile, FileError, Incoming, Journal, JournalError, Kind, OpenError, Part,
};
use fondaco_transport::{CloseReason, Connection, Endpoint, LcpClient, Stream, TransportError};
use fondaco_units::{Amount, Bytes};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{block_in_place, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// The kind of a storage host's journal, version 1.
const KIND: Kind = Kind::new(*b"host\0\0\0\0", 1);
/// The hashes that prove the parts of a shard, beside it.
const HASHES: Part = Part::new("bao");
/// The most events in one frame.
const BATCH_MAX: usize = 4096;
/// The most connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// The most connections of one peer.
const CONNECTIONS_PER_PEER_MAX: usize = 128;
/// The longest shard: no object is longer.
const SHARD_MAX: Bytes = Bytes::new(1 << 30);
/// How often reads are flushed and contracts looked at.
const TICK: Duration = Duration::from_secs(1);
/// How long others have the lock between two removals.
const REMOVAL_PAUSE: Duration = Duration::from_micros(500);
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
            Self::Empty { .. } => "mount the disk that they are on, then start the host again",
            Self::Halted(_) => "check the disk and the system log, then start the host again",
        }
    }
}

/// A provider of storage, ready to serve.
#[derive(Debug)]
pub struct HostService {
    shared: Arc<Shared>,
    failed: oneshot::Receiver<String>,
}

struct Shared {
    state: Mutex<State>,
    folder: ContentFolder,
    issuer: LcpClient,
    clock: Arc<dyn Clock>,
    /// Whether a round of settling is under way.
    settling: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).finish_non_exhaustive()
    }
}

struct State {
    host: Host,
    /// To the journal's thread: events go in under the lock, so in the order they happened.
    journal: mpsc::Sender<Entry>,
    /// What reads have come to, and the journal does not know yet.
    unsaved: BTreeMap<ContractId, Event>,
    /// Shards whose files are being named: they must not be removed meanwhile.
    arriving: BTreeMap<ShardId, u32>,
    /// Shards whose files may go, if nobody keeps them.
    unwanted: Vec<ShardId>,
    /// How many connections each peer has.
    peers: BTreeMap<EntityId, usize>,
}

struct Entry {
    /// Nothing, for who only waits until all that went before is durable.
    event: Option<Event>,
    durable: Option<oneshot::Sender<()>>,
}

/// What keeps an answer back until its event is durable.
type Durable = Option<oneshot::Receiver<()>>;

/// A put that ends without being committed is aborted, wherever its task stopped.
struct PutGuard<'a> {
    shared: &'a Shared,
    put: Option<PutId>,
}

impl Drop for PutGuard<'_> {
    fn drop(&mut self) {
        if let Some(put) = self.put {
            let mut state = self.shared.lock();
            if let Some(event) = state.host.put_abort(put) {
                state.unsaved.insert(event.contract(), event);
            }
        }
    }
}

/// A connection's place among those that may be open; given back when dropped.
struct Place {
    shared: Arc<Shared>,
    peer: EntityId,
}

impl Place {
    /// Takes a place, if there is one left for this peer.
    fn take(shared: &Arc<Shared>, peer: EntityId) -> Option<Self> {
        let mut state = shared.lock();
        let all: usize = state.peers.values().sum();
        let of_peer = state.peers.get(&peer).copied().unwrap_or_default();
        if all >= CONNECTIONS_MAX || of_peer >= CONNECTIONS_PER_PEER_MAX {
            return None;
        }
        state.peers.insert(peer, of_peer + 1);
        drop(state);
        Some(Self { shared: Arc::clone(shared), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let left = state.peers.remove(&self.peer).unwrap_or_default().saturating_sub(1);
        if left > 0 {
            state.peers.insert(self.peer, left);
        }
    }
}

/// A round of settling under way.
struct Round<'a>(&'a AtomicBool);

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl HostService {
    /// Opens the host whose journal is in `folder` and whose shards are in `shards`; both are locked for this process.
    pub fn open(
        folder: &Path,
        shards: &Path,
        key: SecretKey,
        config: HostConfig,
        clock: Arc<dyn Clock>,
        issuer: LcpClient,
    ) -> Result<Self, ServiceError> {
        let disk = DiskFile::open(folder.join("journal"))?;
        let mut host = Host::new(key, config);
        let journal = Journal::open(disk, KIND, |record| host.replay(record))?;
        let folder = ContentFolder::open(shards)?;
        remove_unknown(&host, &folder)?;
        let (sender, receiver) = mpsc::channel();
        let (tell_failed, failed) = oneshot::channel();
        std::thread::Builder::new()
            .name("host-journal".to_owned())
            .spawn(move || {
                if let Err(error) = write_journal(journal, &receiver) {
                    let _ = tell_failed.send(error.to_string());
                }
            })
            .map_err(|error| ServiceError::Halted(error.to_string()))?;
        let state = State {
            host,
            journal: sender,
            unsaved: BTreeMap::new(),
            arriving: BTreeMap::new(),
            unwanted: Vec::new(),
            peers: BTreeMap::new(),
        };
        let settling = AtomicBool::new(false);
        let shared = Arc::new(Shared { state: Mutex::new(state), folder, issuer, clock, settling });
        Ok(Self { shared, failed })
    }

    /// Serves who dials `endpoint` until `stop` is cancelled, or the journal fails.
    pub async fn serve(
        self,
        endpoint: Endpoint,
        stop: CancellationToken,
    ) -> Result<(), ServiceError> {
        let Self { shared, mut failed } = self;
        let mut tick = tokio::time::interval(TICK);
        let ended = loop {
            tokio::select! {
                connection = endpoint.accept() => {
                    let Some(connection) = connection else { break Ok(()) };
                    let Some(place) = Place::take(&shared, connection.peer()) else {
                        connection.close(CloseReason::Busy);
                        continue;
                    };
                    tokio::spawn(async move {
                        place.shared.serve_connection(connection).await;
                    });
                }
                _ = tick.tick() => {
                    shared.flush();
                    tokio::spawn(Arc::clone(&shared).settle_due());
                }
                () = stop.cancelled() => break Ok(()),
                why = &mut failed => break Err(ServiceError::Halted(why.unwrap_or_default())),
            }
        };
        endpoint.close().await;
        if ended.is_ok() {
            shared.save_all().await;
        }
        ended
    }
}

/// Removes what a crash left between the naming of a file and its event.
fn remove_unknown(host: &Host, folder: &ContentFolder) -> Result<(), ServiceError> {
    for entry in folder.list() {
        let (name, part) = entry?;
        if !host.keeps(ShardId::from_digest(name)) {
            folder.remove(name, part)?;
        }
    }
    let (mut kept, mut missing) = (0_u64, 0_u64);
    for shard in host.shards() {
        kept += 1;
        if !folder.contains(*shard.digest(), Part::DATA)? {
            missing += 1;
            tracing::error!(%shard, "a shard that is paid for is not in the folder");
        }
    }
    if kept > 0 && missing == kept {
        return Err(ServiceError::Empty { folder: folder.path().to_owned(), kept });
    }
    Ok(())
}

/// Writes events as they come, as many as wait at once.
fn write_journal(
    mut journal: Journal<DiskFile>,
    entries: &mpsc::Receiver<Entry>,
) -> Result<(), JournalError> {
    while let Ok(first) = entries.recv() {
        let batch: Vec<Entry> =
            std::iter::once(first).chain(entries.try_iter().take(BATCH_MAX - 1)).collect();
        let records: Vec<Vec<u8>> =
            batch.iter().filter_map(|entry| Some(entry.event?.to_record())).collect();
        journal.append(&records)?;
        for durable in batch.into_iter().filter_map(|entry| entry.durable) {
            let _ = durable.send(());
        }
    }
    Ok(())
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
    fn lock(&self) -> MutexGuard<'_, State> {
        // The core never panics on what a peer sends; if it did, its state would not be trusted.
        self.state.lock().expect("the core panicked; the host must be restarted")
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
            stream.send_bytes(&response.to_frame()).await?;
            stream.finish();
        }
        Ok(())
    }

    async fn answer(&self, peer: EntityId, request: Request) -> Option<Response> {
        let now = self.clock.now();
        match request {
            Request::Prices => Some(Response::Prices { list: self.lock().host.prices(now) }),
            Request::Open { terms, buyer_signature, voucher } => {
                let begun =
                    self.lock().host.open_begin(now, peer, &terms, &buyer_signature, &voucher);
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
                self.decide(|host| {
                    host.open_finish(now, peer, &terms, &buyer_signature, &voucher, hold.as_ref())
                })
                .await
            }
            Request::Status { contract } => Some(self.lock().host.status(now, peer, contract)),
            Request::List { contract, after } => Some(self.lock().host.list(peer, contract, after)),
            Request::Put { .. } => Some(Response::Refused { reason: Reason::Malformed }),
            Request::Get { contract, shard, offset, length, voucher } => {
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
                Some(Response::Slice { bytes: slice })
            }
            Request::Prove { contract, nonce, parts, voucher } => {
                Some(self.prove(peer, contract, nonce, parts.as_slice(), &voucher))
            }
            Request::Advance { contract, voucher } => {
                self.decide(|host| host.advance(now, peer, contract, &voucher)).await
            }
            Request::Delete { contract, shard } => {
                self.decide(|host| host.delete(now, peer, contract, shard)).await
            }
            Request::Close { contract } => {
                let closing = self.lock().host.close_begin(now, peer, contract);
                match closing {
                    Err(reason) => Some(Response::Refused { reason }),
                    Ok(closing) => self.settle(contract, closing).await,
                }
            }
        }
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

    /// Removes the files of shards that nobody keeps any more.
    fn remove_files(&self) {
        loop {
            // Under the lock, so that the shard cannot come back between the question and the removal; and one
            // at a time, with pauses, so that nobody waits long.
            let mut state = self.lock();
            let Some(shard) = state.unwanted.pop() else { return };
            if !state.host.keeps(shard) && !state.arriving.contains_key(&shard) {
                for part in [Part::DATA, HASHES] {
                    if let Err(error) = self.folder.remove(*shard.digest(), part) {
                        tracing::warn!(%error, "a shard was not removed; it will be at the next start");
                    }
                }
            }
            drop(state);
            std::thread::sleep(REMOVAL_PAUSE);
        }
    }

    // --- shards ------------------------------------------------------------------------------------

    /// Reads a part of a shard with its proof. What the disk gives is not checked: the buyer will.
    fn slice<const MAX: usize>(
        &self,
        shard: ShardId,
        range: std::ops::Range<u64>,
    ) -> Result<Payload<MAX>, Reason> {
        let damaged = |error: FileError| {
            tracing::error!(%shard, %error, "a shard that is paid for cannot be read");
            match error {
                FileError::Missing { .. } => Reason::Damaged,
                // Too many open files, say: it may be read another time.
                _ => Reason::Failed,
            }
        };
        let name = *shard.digest();
        let data = self.folder.get(name, Part::DATA).map_err(damaged)?;
        let hashes = self.folder.get(name, HASHES).map_err(damaged)?;
        let length = hashes.length().map_err(damaged)?.get();
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| Reason::Damaged)?];
        hashes.read_at(0, &mut bytes).map_err(damaged)?;
        let size = data.length().map_err(damaged)?.get();
        let outboard = Outboard::from_bytes(size, bytes).map_err(|_| Reason::Damaged)?;
        let read = |offset, buffer: &mut [u8]| match data.read_at(offset, buffer) {
            Ok(read) if read == buffer.len() => Ok(()),
            Ok(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Err(std::io::Error::other(error)),
        };
        let slice = prove(read, &outboard, range).map_err(|error| {
            tracing::error!(%shard, %error, "a shard that is paid for cannot be proved");
            Reason::Failed
        })?;
        Payload::new(slice).ok_or(Reason::Failed)
    }

    /// Takes a shard in, step by step. Nothing is returned when the journal has failed.
    async fn put(
        &self,
        peer: EntityId,
        stream: &mut Stream,
        contract: ContractId,
        shard: ShardId,
        size: Bytes,
        epoch: u64,
    ) -> Result<Option<Response>, TransportError> {
        let refused = |reason| Ok(Some(Response::Refused { reason }));
        if size > SHARD_MAX {
            return refused(Reason::OverSize { size, size_max: SHARD_MAX });
        }
        let begun =
            self.lock().host.put_begin(self.clock.now(), peer, contract, shard, size, epoch);
        let put = match begun {
            Err(reason) => return refused(reason),
            Ok(Begun::Have) => {
                // It may have been stored a moment ago, and not be durable yet.
                let durable = self.lock().barrier();
                return Ok(wait(Some(durable)).await.map(|()| Response::Have));
            }
            Ok(Begun::Ready(put) | Begun::Empty(put)) => put,
        };
        let mut guard = PutGuard { shared: self, put: Some(put) };
        let free = fondaco_store::available(self.folder.path());
        if free.is_ok_and(|free| free < size) {
            return refused(Reason::DiskFull);
        }
        let mut incoming = match block_in_place(|| self.folder.begin()) {
            Ok(incoming) => incoming,
            Err(error) => return refused(failed(&error)),
        };
        if size > Bytes::ZERO {
            stream.send_bytes(&Response::Ready.to_frame()).await?;
        }
        while incoming.length() < size {
            let Some(frame) = stream.recv_bytes(Step::FRAME_MAX).await? else { return Ok(None) };
            let step = match Step::from_frame(&frame) {
                Ok(step) => step,
                Err(error) => return refused(unreadable(error)),
            };
            let bytes = step.bytes.as_slice();
            let length = bytes.len() as u64;
            let stepped = self.lock().host.put_step(self.clock.now(), put, &step.voucher, length);
            let stepped = match stepped {
                Ok(stepped) => stepped,
                Err(reason) => return refused(reason),
            };
            if let Err(error) = block_in_place(|| incoming.write(bytes)) {
                return refused(failed(&error));
            }
            if let Stepped::More { at } = stepped {
                stream.send_bytes(&Response::Taken { at }.to_frame()).await?;
            }
        }
        *self.lock().arriving.entry(shard).or_default() += 1;
        let committed = self.commit(shard, incoming).await;
        let (answer, durable) = {
            let mut state = self.lock();
            let answer = match committed {
                Err(reason) => Answer {
                    event: state.host.put_abort(put),
                    response: Response::Refused { reason },
                    remove: Vec::new(),
                },
                Ok(content) => state.host.put_commit(self.clock.now(), put, content),
            };
            guard.put = None;
            let durable = answer.event.map(|event| state.save(event));
            if let Some(count) = state.arriving.get_mut(&shard) {
                *count -= 1;
                if *count == 0 {
                    state.arriving.remove(&shard);
                }
            }
            (answer, durable)
        };
        if wait(durable).await.is_none() {
            return Ok(None);
        }
        if !matches!(answer.response, Response::Stored) {
            // The file may have been named already; if nobody keeps it, it goes.
            self.lock().unwanted.push(shard);
        }
        Ok(Some(answer.response))
    }

    /// Hashes the bytes, and names them durably if they are those of `shard`; returns what they are.
    async fn commit(&self, shard: ShardId, incoming: Incoming) -> Result<ShardId, Reason> {
        let hashed = spawn_blocking(move || {
            let length = incoming.length().get();
            let hashed = Outboard::read(incoming.reader(), length);
            (incoming, hashed)
        });
        let (incoming, hashed) = hashed.await.map_err(|_| Reason::Failed)?;
        let (content, outboard) = hashed.map_err(|error| {
            tracing::error!(%error, "a shard cannot be read back");
            Reason::Failed
        })?;
        if content != shard {
            return Ok(content);
        }
        let name: Digest = *shard.digest();
        block_in_place(|| {
            let mut hashes = self.folder.begin()?;
            hashes.write(outboard.as_bytes())?;
            hashes.commit(name, HASHES)?;
            incoming.commit(name, Part::DATA)
        })
        .map_err(|error: FileError| failed(&error))?;
        Ok(content)
    }

    // --- money -------------------------------------------------------------------------------------

    /// Asks the issuer for a hold; nothing if it knows of none.
    async fn ask_hold(&self, hold: HoldId) -> Result<Option<Hold>, Reason> {
        match self.issuer.call(&lcp::Request::HoldInfo { hold }).await {
            Ok(lcp::Response::HoldInfo { info }) => Ok(Some(info)),
            Ok(lcp::Response::Refused { refusal }) if refusal.is_transient() => {
                Err(Reason::IssuerUnreachable)
            }
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(%error, "the issuer cannot be asked");
                Err(Reason::IssuerUnreachable)
            }
        }
    }

    /// Posts the vouchers of contracts that have ended, or whose holds are about to.
    async fn settle_due(self: Arc<Self>) {
        if self.settling.swap(true, Ordering::AcqRel) {
            return; // The last round is still waiting for the issuer.
        }
        let _round = Round(&self.settling);
        let shared = Arc::clone(&self);
        let _ = spawn_blocking(move || shared.remove_files()).await;
        self.settle_all().await;
    }

    async fn settle_all(&self) {
        let now = self.clock.now();
        let due = {
            let mut state = self.lock();
            state.host.forget(now);
            state.host.due(now)
        };
        for contract in due {
            let closing = self.lock().host.close_due(now, contract);
            if let Ok(closing) = closing
                && self.settle(contract, closing).await.is_none()
            {
                return;
            }
        }
    }

    /// Gets the money of a contract that has ended. A hold is closed once, whatever the command is called: asked again,
    /// after a crash too, the issuer says how it was closed.
    async fn settle(&self, contract: ContractId, closing: Closing) -> Option<Response> {
        let durable = closing.event.map(|event| self.lock().save(event));
        wait(durable).await?;
        let (hold, request) = match closing.settle {
            Settle::Done(response) => {
                let durable = self.lock().barrier();
                wait(Some(durable)).await?;
                return Some(response);
            }
            Settle::Post(voucher) => {
                let hold = voucher.voucher.hold;
                (hold, lcp::Request::HoldPost { id: self.request_id(hold), voucher })
            }
            Settle::Void(hold) => {
                (hold, lcp::Request::HoldVoid { id: self.request_id(hold), hold })
            }
        };
        let unreachable = Some(Response::Refused { reason: Reason::IssuerUnreachable });
        let paid = match self.issuer.call(&request).await {
            Err(error) => {
                tracing::warn!(%contract, %error, "the issuer cannot be reached; the voucher will be posted later");
                return unreachable;
            }
            Ok(lcp::Response::HoldPosted { paid, .. }) => paid,
            Ok(lcp::Response::HoldVoided { .. }) => Amount::ZERO,
            Ok(lcp::Response::Refused { refusal }) if refusal.is_transient() => return unreachable,
            // Refused for good: what the issuer says of the hold is what this contract earned.
            Ok(other) => match self.ask_hold(hold).await {
                Err(_) => return unreachable,
                Ok(Some(Hold { state: HoldState::Posted { paid }, .. })) => paid,
                Ok(_) => {
                    tracing::error!(%contract, ?other, "the hold of a contract was lost");
                    Amount::ZERO
                }
            },
        };
        self.decide(|host| host.close_finish(contract, paid)).await
    }

    /// The id of a command on a hold: of now, so that it is over all that the issuer may have forgotten, and of no
    /// other hold.
    fn request_id(&self, hold: HoldId) -> lcp::RequestId {
        const DOMAIN: fondaco_crypto::Domain =
            fondaco_crypto::Domain::new("fondaco 2026 host request v1");
        let digest = Digest::derive(DOMAIN, hold.digest().as_bytes());
        let mut own = [0; 10];
        own.copy_from_slice(&digest.as_bytes()[..10]);
        lcp::RequestId::at(self.clock.now(), own)
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

fn failed(error: &FileError) -> Reason {
    tracing::error!(%error, "a shard cannot be stored");
    match error {
        FileError::Full { .. } => Reason::DiskFull,
        _ => Reason::Failed,
    }
}
