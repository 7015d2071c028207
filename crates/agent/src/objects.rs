//! Cut repository objects into shards on many hosts, and read them back from those that answer.
//!
//! ```text
//! put    object ──► n shards ──► one host each, in parallel, all acknowledged ──► the book ──► done
//! read   range ──► the data shards it touches ──► done
//!                    └── one is missing or lies ──► the same rows of any k shards ──► rebuilt
//! remake lost shards ──► window by window, the same rows of any k others ──► checked against the book
//! ```
//!
//! # What always holds
//!
//! - An object is reported as stored only after each of its n shards was, and the book has it on disk.
//! - Packs have the set's code; everything else needs half as many shards, so that it outlives them.
//! - What is read was checked against the shard's own name; who sent anything else is not asked again.

mod carrying;
mod failed;
mod meeting;
mod reading_on;
mod removing;
mod restorable;
mod telling;
mod unreadable;
mod waiting;

pub use carrying::CarryOver;
pub use failed::FailedHosts;
pub(crate) use reading_on::Renewing;
pub use reading_on::Renews;

use crate::AgentError;
use crate::auditing::is_silence;
use crate::book::{
    Book, Event, ObjectId, ObjectKind, ObjectRecord, SHARDS_MAX, Set, Stage as BookStage,
};
use crate::ending;
use crate::journal::BookFile;
use crate::session::{Put, Session};
use crate::tagging::{object_tag, subject};
use fondaco_audit::{ShardId, TagKey};
use fondaco_codec::{List, Text};
use fondaco_contract::{ContractId, Ending};
use fondaco_crypto::EntityId;
use fondaco_erasure::{Code, Layout, Piece};
use fondaco_ports::market::Reason;
use fondaco_units::{Amount, Bytes};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::Instant;
use waiting::{PATIENCE, SILENCE_MAX, in_time, is_full, is_unheard};

/// How often a shard is offered to a host that is busy, or comes and goes, and how long there is from one time to the next.
const PUT_PAUSES_SECONDS: [u64; 6] = [1, 2, 4, 8, 8, 8];

/// How long a host that was too slow is passed over.
const SLOW_SPAN: Duration = Duration::from_secs(30);

/// How much of a read that was not answered is asked for again.
const UNANSWERED_MAX: u64 = 1 << 20;

/// How many hosts are read from at once for one object.
const PIECES_AT_ONCE: usize = 16;

/// How many rows of a lost shard are made at once; each takes k bytes of memory.
const WINDOW_ROWS: u64 = 1 << 20;

/// What went over the wire since the program began.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of shards sent and acknowledged.
    pub sent: AtomicU64,
    /// Bytes of shards read and checked.
    pub received: AtomicU64,
    /// Objects stored.
    pub objects: AtomicU64,
    /// Reads that had to be rebuilt from other shards.
    pub rebuilt: AtomicU64,
}

/// How a host failed.
#[derive(Clone, Debug)]
struct Down {
    why: String,
    /// Whether it may do better: then it is asked again when nothing else is left.
    may_return: bool,
    /// Whether another host should be given what it was to have.
    replace: bool,
    /// Whether it is the hold that is used up.
    spent: bool,
    /// When it is to be tried again, if by itself.
    until: Option<Instant>,
}

impl Down {
    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// The objects of one buyer, on the hosts it has contracts with.
#[derive(Debug)]
pub struct Objects {
    book: Arc<BookFile>,
    sessions: BTreeMap<ContractId, Arc<Session>>,
    /// The contracts that follow on others since this was made: they are read under, and nothing else.
    following: Mutex<BTreeMap<ContractId, Arc<Session>>>,
    /// The set that new objects go to.
    writing: Option<u32>,
    /// Shards that hosts say they do not have: another's, who may have removed them.
    unknown: Mutex<BTreeSet<(ContractId, ShardId)>>,
    /// Contracts that failed this process, and how.
    down: Mutex<BTreeMap<ContractId, Down>>,
    /// Whether all of it is another's, who has it kept.
    of_another: bool,
    /// Contracts whose hosts are asked for nothing any more, by what the book says, and were to be.
    gone: Mutex<BTreeMap<ContractId, String>>,
    /// Contracts whose hosts have answered this process before they were sent anything.
    met: Mutex<BTreeSet<ContractId>>,
    /// The hosts that writes failed for.
    blamed: Mutex<FailedHosts>,
    /// Who showed that the book is an older copy: the number that it showed, and that of the book.
    older: Mutex<Option<(EntityId, u64, u64)>>,
    traffic: Arc<Traffic>,
    /// Whose turn it is: those who remove something share it, and who stores something anew has it alone.
    turn: RwLock<()>,
}

impl Objects {
    /// Brings a book together with a session for each of its contracts; new objects go to set `writing`.
    pub fn new(
        book: Arc<BookFile>,
        sessions: BTreeMap<ContractId, Arc<Session>>,
        writing: Option<u32>,
    ) -> Self {
        let (down, gone, unknown) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (met, blamed, older) = Default::default();
        let (following, traffic, turn) = (Mutex::default(), Arc::default(), RwLock::default());
        Self {
            book,
            sessions,
            following,
            writing,
            unknown,
            down,
            of_another: false,
            gone,
            met,
            blamed,
            older,
            traffic,
            turn,
        }
    }

    /// Returns whether it is another's that is read.
    pub(crate) const fn is_of_another(&self) -> bool {
        self.of_another
    }

    /// Reads what is another's.
    #[must_use]
    pub(crate) const fn of_another(mut self, of_another: bool) -> Self {
        self.of_another = of_another;
        self
    }

    /// Returns the counters of what went over the wire.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Returns what this process signed for, over what its hosts had before.
    pub fn spent(&self) -> Amount {
        let spent = self.all_sessions().into_iter().map(|session| session.spent());
        spent.fold(Amount::ZERO, |sum, one| sum.checked_add(one).unwrap_or(Amount::MAX))
    }

    /// Returns the hosts that this process found down or lying, and why.
    pub fn down(&self) -> BTreeMap<ContractId, String> {
        let down = self.down.lock().expect("no panic under this lock");
        down.iter().map(|(contract, down)| (*contract, down.why.clone())).collect()
    }

    /// Returns the hosts that failed this process, in whatever it was, so that no other slot is given to them.
    pub fn to_be_replaced(&self) -> BTreeSet<EntityId> {
        let down = self.down.lock().expect("no panic under this lock");
        let replace = down.iter().filter(|(_, down)| down.replace);
        replace.filter_map(|(contract, _)| Some(self.sessions.get(contract)?.provider())).collect()
    }

    /// Returns the names and lengths of the objects of a kind.
    pub fn list(&self, kind: ObjectKind) -> Vec<(ObjectId, Bytes)> {
        self.book.read(|book| {
            let of_kind = book.objects().filter(|(id, _)| id.kind == kind);
            of_kind.map(|(id, record)| (id, record.length)).collect()
        })
    }

    /// Stores an object: when this returns, each of its shards is on the disk of a host of its own.
    pub async fn put(&self, object: ObjectId, bytes: Vec<u8>) -> Result<(), AgentError> {
        self.put_or_blame(object, bytes, &mut FailedHosts::default()).await
    }

    /// Stores an object as [`put`](Self::put) does, and adds to `blame` which hosts it failed for.
    pub async fn put_or_blame(
        &self,
        object: ObjectId,
        bytes: Vec<u8>,
        blame: &mut FailedHosts,
    ) -> Result<(), AgentError> {
        let Some(index) = self.writing else {
            return Err(AgentError::Invalid {
                what: "there are no contracts to store anything under".to_owned(),
                hint: "run `fondaco backup create FOLDER --host ADDRESS …`".to_owned(),
            });
        };
        let set = self.set(index)?;
        let code = code(set.code, object.kind);
        let length = Bytes::of(&bytes);
        let layout = layout(code, length, object)?;
        self.meet(&set, blame).await?;
        let number = self.book.read(|book| book.tagged_as(index));
        let tagged = object_tag(object, &bytes, number, code);
        // Before the first byte: what a host has, and may be paid for keeping, is never more than the book knows of.
        let share =
            ObjectRecord { length, set: index, code, shards: Vec::new(), tagged: Some(tagged) }
                .share();
        let there = self.book.read(|book| book.has_there(object, index, Some(tagged)));
        let giving = match there.is_empty() {
            true => vec![Event::GivingAll { set: index, bytes: share }],
            false => {
                let fresh = set.contracts.iter().filter(|contract| !there.contains(contract));
                fresh.map(|&contract| Event::Giving { contract, bytes: share }).collect()
            }
        };
        self.book.record_all(&giving)?;
        self.heed_given();
        let shards = fondaco_erasure::encode(layout, bytes)
            .map_err(|error| AgentError::Store(format!("cannot cut {}: {error}", show(object))))?;
        let shards = Arc::new(shards);
        let mut names = vec![None; set.contracts.len()];
        let mut puts = JoinSet::new();
        for (number, contract) in (0..code.n()).zip(&set.contracts) {
            let session = self.session(*contract)?;
            let (traffic, shards) = (self.traffic(), Arc::clone(&shards));
            puts.spawn(async move {
                let shard = shards.get(number).expect("the code has this shard");
                let tags = session.tag_key().tags(subject(&tagged, number), shard);
                let mut whole = Vec::with_capacity(shard.len() + tags.len());
                whole.extend_from_slice(shard);
                whole.extend(tags);
                // A slow host must not keep the object in memory beside what it waits for.
                drop(shards);
                let shard = whole;
                let index = usize::from(number);
                let name = ShardId::of(&shard);
                let put = put_patiently(&session, name, &shard).await;
                if matches!(put, Ok(Put::Stored)) {
                    traffic.sent.fetch_add(shard.len() as u64, Ordering::Relaxed);
                }
                (index, put.map(|_| name))
            });
        }
        drop(shards);
        let mut failed = None;
        while let Some(done) = puts.join_next().await {
            let (index, put) =
                done.map_err(|error| AgentError::Store(format!("a task failed: {error}")))?;
            match put {
                Ok(name) => names[index] = Some(name),
                Err(error) => {
                    self.blame(set.contracts[index], &error, blame).await?;
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let shards: Vec<ShardId> = names.into_iter().flatten().collect();
        let shards = List::new(shards).expect("a code has at most SHARDS_MAX shards");
        let k = code.k();
        let stored = Event::TaggedObjectStored { object, length, set: index, k, shards, tagged };
        self.book.record(&stored)?;
        self.traffic.objects.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Reads `range` of an object; its shards may be where they were put or have to be made up from others.
    pub async fn read(&self, object: ObjectId, range: Range<u64>) -> Result<Vec<u8>, AgentError> {
        let record =
            self.book.read(|book: &Book| book.object(object).cloned()).ok_or_else(|| {
                AgentError::Invalid {
                    what: format!("there is no {}", show(object)),
                    hint: "run `fondaco backup create` once, or restore the agent's folder"
                        .to_owned(),
                }
            })?;
        let set = self.set(record.set)?;
        let layout = layout(record.code, record.length, object)?;
        let pieces = layout
            .locate(range.start, range.end.saturating_sub(range.start))
            .map_err(|error| AgentError::Store(format!("{}: {error}", show(object))))?;
        // Each is with another host.
        let reads =
            pieces.into_iter().map(|piece| self.read_piece(object, &record, &set, layout, piece));
        let mut reads = futures_util::stream::iter(reads).buffered(PIECES_AT_ONCE);
        let mut bytes = Vec::new();
        while let Some(piece) = reads.next().await {
            bytes.extend(piece?);
        }
        Ok(bytes)
    }

    async fn read_piece(
        &self,
        object: ObjectId,
        record: &ObjectRecord,
        set: &Set,
        layout: Layout,
        piece: Piece,
    ) -> Result<Vec<u8>, AgentError> {
        let Piece { shard, ref range } = piece;
        let mut direct = pin!(self.read_shard(record, set, layout, shard, range.clone(), false));
        match self.in_time(set.contracts[usize::from(shard)], direct.as_mut()).await {
            Some(read) => {
                if let Some(bytes) = read? {
                    return Ok(bytes);
                }
                self.rebuild(object, record, set, layout, &piece).await
            }
            // A slow host is raced by all the others; if they win, it is not waited for again.
            None => tokio::select! {
                biased;
                read = direct.as_mut() => match read? {
                    Some(bytes) => Ok(bytes),
                    None => self.rebuild(object, record, set, layout, &piece).await,
                },
                rebuilt = self.rebuild(object, record, set, layout, &piece) => match rebuilt {
                    Ok(bytes) => {
                        let contract = set.contracts[usize::from(shard)];
                        self.note_slow(contract, record.shards[usize::from(shard)], range);
                        Ok(bytes)
                    }
                    Err(error) => direct.await?.ok_or(error),
                },
            },
        }
    }

    /// Makes rows of a shard up from the same rows of any k others.
    async fn rebuild(
        &self,
        object: ObjectId,
        record: &ObjectRecord,
        set: &Set,
        layout: Layout,
        piece: &Piece,
    ) -> Result<Vec<u8>, AgentError> {
        let Piece { shard, ref range } = *piece;
        self.traffic.rebuilt.fetch_add(1, Ordering::Relaxed);
        let known =
            self.known_rows(object, record, set, layout, (&[shard], &[]), range.clone()).await?;
        rebuilt(object, record, &known, shard)
    }

    /// Makes shards of an object anew from any k of the others, in the order asked for, each with the tags that the key of its
    /// slot makes; each is what the book says it is.
    ///
    /// # Errors
    ///
    /// Fewer than k others can be read; or what they make is not what the book has.
    pub(crate) async fn remake(
        &self,
        object: ObjectId,
        record: &ObjectRecord,
        lost: &[(u8, &TagKey)],
    ) -> Result<Vec<Vec<u8>>, AgentError> {
        let set = self.set(record.set)?;
        let layout = layout(record.code, record.length, object)?;
        let indices: Vec<u8> = lost.iter().map(|(index, _)| *index).collect();
        // One that is replaced for its standing alone has it still, and is better than none.
        let has_it = |index: &u8| self.is_readable(set.contracts[usize::from(*index)]);
        let gone: Vec<u8> = indices.iter().copied().filter(|index| !has_it(index)).collect();
        let mut shards = vec![Vec::new(); lost.len()];
        let mut start = 0;
        while start < layout.shard_len() {
            let rows = start..(start + WINDOW_ROWS).min(layout.shard_len());
            let known = self
                .known_rows(object, record, &set, layout, (&gone, &indices), rows.clone())
                .await?;
            for (shard, &index) in shards.iter_mut().zip(&indices) {
                shard.extend_from_slice(&rebuilt(object, record, &known, index)?);
            }
            start = rows.end;
        }
        for (shard, &(index, key)) in shards.iter_mut().zip(lost) {
            if let Some(tagged) = record.tagged {
                let tags = key.tags(subject(&tagged, index), shard);
                shard.extend(tags);
            }
            let (made, expected) = (ShardId::of(shard), record.shards[usize::from(index)]);
            if made != expected {
                return Err(AgentError::Store(format!(
                    "shard {index} of {}, made of {} others that are what the book says, is {made}, and the book says \
                     {expected}: the book is not of one piece",
                    show(object),
                    record.code.k()
                )));
            }
        }
        Ok(shards)
    }

    /// Returns the same rows of any k shards, each with its index: none of those that are lost, and of those that come last
    /// no more than it takes.
    async fn known_rows(
        &self,
        object: ObjectId,
        record: &ObjectRecord,
        set: &Set,
        layout: Layout,
        (lost, last): (&[u8], &[u8]),
        rows: Range<u64>,
    ) -> Result<Vec<(u8, Vec<u8>)>, AgentError> {
        let all = (0..record.code.n()).filter(|other| !lost.contains(other));
        let mut others: Vec<u8> = all.collect();
        others.sort_by_key(|other| last.contains(other));
        let needed = usize::from(record.code.k());
        let mut found: Vec<(u8, Vec<u8>)> = Vec::with_capacity(needed);
        let mut slow = Vec::new();
        // As many at once as are still needed: one that fails, or is slow, is replaced by the next.
        // Those that were slow come last, and are then waited for.
        let mut waiting = others.into_iter();
        let mut patient = false;
        while found.len() < needed {
            let mut batch: Vec<u8> = waiting.by_ref().take(needed - found.len()).collect();
            if batch.is_empty() && !patient {
                // The last round: those that were slow, and those that failed but may do better.
                patient = true;
                let known: Vec<u8> = found.iter().map(|(index, _)| *index).collect();
                slow.clear();
                batch = (0..record.code.n())
                    .filter(|other| !lost.contains(other) && !known.contains(other))
                    .collect();
            }
            if batch.is_empty() {
                let known: Vec<u8> = found.iter().map(|(index, _)| *index).collect();
                return Err(self.unreadable(object, record, set, &known));
            }
            let mut reads: FuturesUnordered<_> = batch
                .into_iter()
                .map(|other| {
                    let read = self.read_shard(record, set, layout, other, rows.clone(), patient);
                    let contract = set.contracts[usize::from(other)];
                    async move {
                        let mut read = pin!(read);
                        let done = match patient {
                            true => Some(read.await),
                            false => self.in_time(contract, read.as_mut()).await,
                        };
                        (other, done)
                    }
                })
                .collect();
            while let Some((other, read)) = reads.next().await {
                match read {
                    Some(read) => found.extend(read?.map(|bytes| (other, bytes))),
                    None => slow.push(other),
                }
                if found.len() >= needed {
                    break; // Who has not answered yet is not waited for.
                }
            }
        }
        for other in slow {
            let other = usize::from(other);
            self.note_slow(set.contracts[other], record.shards[other], &rows);
        }
        Ok(found)
    }

    /// Reads rows of one shard; nothing when its host is down, refuses or lies, which is remembered. With `again`, a
    /// host that failed but may do better is asked once more.
    async fn read_shard(
        &self,
        record: &ObjectRecord,
        set: &Set,
        layout: Layout,
        shard: u8,
        rows: Range<u64>,
        again: bool,
    ) -> Result<Option<Vec<u8>>, AgentError> {
        let contract = set.contracts[usize::from(shard)];
        let down = self.down.lock().expect("no panic under this lock").get(&contract).cloned();
        let down = down.filter(|down| !down.is_over());
        if down.is_some_and(|down| !(again && down.may_return)) {
            return Ok(None);
        }
        // A contract that has ended keeps nothing any more.
        let session = self.reading(contract);
        let is_trusted = |session: &Arc<Session>| {
            self.book.read(|book| book.distrusted(session.provider()).is_none())
        };
        let Some(session) = session.filter(is_trusted) else {
            self.note_gone(contract);
            return Ok(None);
        };
        let name = record.shards[usize::from(shard)];
        match session.read(name, record.shard_size(layout), rows.clone()).await {
            Ok(bytes) => {
                self.traffic.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(Some(bytes))
            }
            Err(error) => {
                if matches!(error, AgentError::Provider { reason: Reason::UnknownShard, .. }) {
                    let mut unknown = self.unknown.lock().expect("no panic under this lock");
                    unknown.insert((contract, name));
                }
                if is_silence(&error) || matches!(error, AgentError::Misanswer { .. }) {
                    self.note_unanswered(contract, name, &rows);
                }
                self.note_failure(contract, &session, &error).await?;
                Ok(None)
            }
        }
    }

    /// Waits for a read for as long as its host answers some read now and then; nothing if it does not.
    async fn in_time<T>(
        &self,
        contract: ContractId,
        read: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let session = self.reading(contract);
        in_time(|| session.as_ref().map_or(0, |session| session.answers()), read).await
    }

    /// Remembers that a host was too slow, for a while.
    fn note_slow(&self, contract: ContractId, shard: ShardId, rows: &Range<u64>) {
        let why = format!("a host said nothing for {} s", PATIENCE.as_secs());
        let until = Some(Instant::now() + SLOW_SPAN);
        let (may_return, replace, spent) = (true, false, false);
        let down = Down { why, may_return, replace, spent, until };
        self.down.lock().expect("no panic under this lock").insert(contract, down);
        self.note_unanswered(contract, shard, rows);
    }

    /// Writes down that a host did not answer a read, so that the next audit asks for the same, and waits for it as audits do.
    /// What was read is not held up by a book that cannot be written to.
    fn note_unanswered(&self, contract: ContractId, shard: ShardId, rows: &Range<u64>) {
        let length = Bytes::new((rows.end - rows.start).min(UNANSWERED_MAX));
        if length == Bytes::ZERO || self.book.read(|book| book.unanswered(contract).is_some()) {
            return;
        }
        #[cfg(feature = "simulation")]
        if crate::planted::is(crate::planted::Fault::JudgesByReads) {
            let at = fondaco_units::Timestamp::EPOCH;
            let failed = Event::Audited { contract, at, verdict: crate::book::Verdict::Failed };
            drop(self.book.record_all(&vec![failed; 40]));
        }
        let offset = Bytes::new(rows.start);
        let noted = self.book.record(&Event::ReadUnanswered { contract, shard, offset, length });
        if let Err(error) = noted {
            tracing::warn!(%contract, %error, "that a host did not answer is not written down");
        }
    }

    /// Whether so many hosts say that they have nothing of an object that the others cannot rebuild it.
    pub(crate) fn is_removed(&self, record: &ObjectRecord) -> bool {
        let unknown = self.unknown.lock().expect("no panic under this lock");
        let is_without = |slot: &(ContractId, ShardId)| unknown.contains(slot);
        let without = self.book.read(|book| book.slots_of(record).filter(is_without).count());
        without + usize::from(record.code.k()) > record.shards.len()
    }

    /// Remembers that a host failed: for this process, or for good when it was caught.
    pub(crate) async fn note_failure(
        &self,
        contract: ContractId,
        session: &Session,
        error: &AgentError,
    ) -> Result<(), AgentError> {
        tracing::warn!(provider = %session.provider(), %error, "a host failed");
        if matches!(error, AgentError::Unpaid { .. }) {
            return Ok(()); // It is ours not to pay it; what it has is read from it all the same.
        }
        if matches!(error, AgentError::Provider { reason: Reason::UnknownShard, .. }) {
            return Ok(()); // Its owner, whose delegate we are, has removed it.
        }
        // One that says that it was renewed has signed another, which we have not heard of yet: it is not over, and its objects
        // are not forgotten. Where nobody was entrusted with it, its slot is to be repaired at once.
        let is_renewed = ending::over(error) == Some(Ending::Renewed);
        if let AgentError::OlderBook { provider, newest, ours } = *error {
            let mut older = self.older.lock().expect("no panic under this lock");
            *older = Some((provider, newest, ours));
        }
        let over = ending::over(error);
        let (may_return, until) = (is_transient(error), None);
        let replace = failed::replaces(error);
        let spent = matches!(error, AgentError::HoldSpent { .. });
        let down = Down { why: error.to_string(), may_return, replace, spent, until };
        self.down.lock().expect("no panic under this lock").insert(contract, down);
        let is_open = |book: &Book| {
            book.contract(contract).is_some_and(|record| record.stage == BookStage::Open)
        };
        if let Some(why) = over.filter(|_| !is_renewed)
            && self.book.read(is_open)
        {
            // Its host says so, and keeps nothing any more: a lie would cost it what it has of ours.
            ending::note_over(&self.book, session, why).await?;
        }
        if is_renewed && !self.book.read(|book| book.was_passed_on(contract)) {
            // The host forgets the old contract in time, and must not be blamed for it.
            self.book.record(&Event::PassedOnSince { contract, at: session.now() })?;
        }
        if let AgentError::Caught { provider, what } = error {
            let why = Text::cut(what);
            self.book.record(&Event::ProviderDistrusted { provider: *provider, why })?;
            self.heed_standings();
        }
        Ok(())
    }

    /// Lets the sessions know whose keeping is paid for, as the book has it now.
    pub(crate) fn heed_standings(&self) {
        self.book.read(|book| {
            self.all_sessions()
                .iter()
                .for_each(|session| session.pay(book.is_paid(session.provider())));
        });
    }

    /// Lets the sessions know how much their hosts can have, as the book has it now.
    pub(crate) fn heed_given(&self) {
        self.book.read(|book| {
            self.all_sessions()
                .iter()
                .for_each(|session| session.gives(book.given(session.contract())));
        });
    }

    /// Returns whether something may yet be read under a contract.
    fn is_readable(&self, contract: ContractId) -> bool {
        let is_down = self.down.lock().expect("no panic under this lock").contains_key(&contract);
        let Some(session) = self.sessions.get(&contract).filter(|_| !is_down) else { return false };
        self.book.read(|book| book.distrusted(session.provider()).is_none())
    }

    /// Takes up the session of a contract that was opened after this was made.
    pub(crate) fn admit(&mut self, contract: ContractId, session: Arc<Session>) {
        self.sessions.insert(contract, session);
    }

    /// Returns the sessions, by contract.
    pub const fn sessions(&self) -> &BTreeMap<ContractId, Arc<Session>> {
        &self.sessions
    }

    /// Returns the book.
    pub fn book(&self) -> &BookFile {
        &self.book
    }

    fn set(&self, index: u32) -> Result<Set, AgentError> {
        self.book
            .read(|book| book.set(index).cloned())
            .ok_or_else(|| AgentError::Store(format!("the agent's journal has no set {index}")))
    }

    fn session(&self, contract: ContractId) -> Result<Arc<Session>, AgentError> {
        self.sessions
            .get(&contract)
            .cloned()
            .ok_or_else(|| AgentError::Store(format!("the agent's journal has no {contract}")))
    }
}

/// Makes rows of one shard of those of k others.
fn rebuilt(
    object: ObjectId,
    record: &ObjectRecord,
    known: &[(u8, Vec<u8>)],
    shard: u8,
) -> Result<Vec<u8>, AgentError> {
    let known: Vec<(u8, &[u8])> =
        known.iter().map(|(index, bytes)| (*index, bytes.as_slice())).collect();
    fondaco_erasure::rebuild(record.code, &known, shard)
        .map_err(|error| AgentError::Store(format!("cannot rebuild {}: {error}", show(object))))
}

/// Returns an object's name for people.
pub(crate) fn show(object: ObjectId) -> String {
    let kind = match object.kind {
        ObjectKind::Config => return "the repository's configuration".to_owned(),
        ObjectKind::Key => "key",
        ObjectKind::Snapshot => "snapshot",
        ObjectKind::Index => "index",
        ObjectKind::Pack => "pack",
    };
    format!("{kind} {:.8}", object.name)
}

/// Returns the code of an object: without its configuration, keys, indexes and snapshots a repository is lost whatever is
/// left of its packs, and they are small, so half as many shards rebuild one.
fn code(set: Code, kind: ObjectKind) -> Code {
    match kind {
        ObjectKind::Pack => set,
        ObjectKind::Config | ObjectKind::Key | ObjectKind::Snapshot | ObjectKind::Index => {
            Code::new(set.k().div_ceil(2), set.n()).unwrap_or(set)
        }
    }
}

fn layout(code: Code, length: Bytes, object: ObjectId) -> Result<Layout, AgentError> {
    Layout::new(code, length.get())
        .map_err(|error| AgentError::Store(format!("cannot cut {}: {error}", show(object))))
}

pub(crate) fn is_transient(error: &AgentError) -> bool {
    match error {
        AgentError::Transport(error) => error.is_transient(),
        AgentError::Provider { reason, .. } => reason.is_transient(),
        _ => false,
    }
}

pub(crate) async fn put_patiently(
    session: &Session,
    shard: ShardId,
    bytes: &[u8],
) -> Result<Put, AgentError> {
    patiently(session, || session.put(shard, bytes)).await
}

/// Asks a host again and again for a while, if it may do better.
async fn patiently<T, F>(session: &Session, ask: impl Fn() -> F) -> Result<T, AgentError>
where
    F: Future<Output = Result<T, AgentError>>,
{
    let mut pauses = PUT_PAUSES_SECONDS.into_iter().map(Duration::from_secs);
    let mut silent: Option<Instant> = None;
    loop {
        let began = Instant::now();
        match ask().await {
            Err(error) if is_transient(&error) && !is_full(&error) => {
                let before = silent.unwrap_or(began);
                let since = session.heard().map_or(before, |heard| heard.max(before));
                silent = is_unheard(&error).then_some(since);
                if silent.is_some_and(|since| since.elapsed() >= SILENCE_MAX) {
                    return Err(error);
                }
                let Some(pause) = pauses.next() else { return Err(error) };
                tracing::info!(provider = %session.provider(), %error, "a host is away; trying again");
                // Dialling in vain took its time, and was a pause.
                let pause = pause.saturating_sub(began.elapsed());
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
    }
}

const _: () = assert!(SHARDS_MAX == u8::MAX as usize, "shards are numbered in a byte");
