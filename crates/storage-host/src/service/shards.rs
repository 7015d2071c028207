//! Shards on the disk: taking them in, step by step, reading them with their proofs, and removing them.
//!
//! ```text
//! put ──► steps ──► commit ──► stored
//!           │ the stream breaks
//!           ▼
//!         parked ──► Resume{at}: the buyer goes on, and pays for no step twice
//!           ├── the contract ends, or needs the room ──► given up: what was paid stays paid
//!           ├── an epoch was paid, and it does not go on ─► given up, the same: nobody pays for its keeping
//!           └── too many are parked ──► given up, and refunded
//! ```

use super::{
    HASHES, ServiceError, Shared, State, block_in_place, spawn_blocking, unreadable, wait,
};
use crate::host::{Begun, PUT_AGE_MAX};
use crate::{Answer, Host, PutId, Stepped};
use fondaco_audit::{Outboard, SIZE_MAX, ShardId, prove_at};
use fondaco_contract::ContractId;
use fondaco_crypto::{Digest, EntityId};
use fondaco_ports::market::{Frame as _, Payload, Reason, Response, Step};
use fondaco_store::{BlobRead, Blobs, Draft, FileError, Part};
use fondaco_transport::{Stream, TransportError};
use fondaco_units::{Bytes, Timestamp};
use std::io;
use std::time::Duration;
use tokio::time::Instant;

/// How long others have the lock between two removals.
pub(super) const REMOVAL_PAUSE: Duration = Duration::from_micros(500);
/// How many puts whose streams broke are kept at most, each with an open file: half as many as may be under way.
const PARKED_MAX: usize = 512;
/// How many of them under one contract: a buyer puts one shard after the other, and may have a few devices.
const PARKED_PER_CONTRACT_MAX: usize = 4;
/// How long one of them is kept once an epoch was paid for after it began: its buyer may go on with it, and has asked for it before.
const PARKED_OLD_MAX: Duration = Duration::from_secs(600);

/// What a put is of.
pub(super) type Key = (ContractId, ShardId);

/// A put whose stream broke.
pub(super) struct Parked {
    put: PutId,
    incoming: Box<dyn Draft>,
    since: Instant,
    /// Since when it lies here while an epoch was paid for that began after it.
    old_since: Option<Instant>,
}

impl Parked {
    pub(super) fn new(put: PutId, incoming: Box<dyn Draft>) -> Self {
        Self { put, incoming, since: Instant::now(), old_since: None }
    }

    /// Looks how many epochs it is old; returns whether it is kept no more.
    fn is_too_old(&mut self, age: u64, now: Instant) -> bool {
        if age == 0 {
            return false;
        }
        let since = *self.old_since.get_or_insert(now);
        age >= PUT_AGE_MAX || now.saturating_duration_since(since) >= PARKED_OLD_MAX
    }
}

/// Which put gives way to one that was parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One of the same contract: what it was charged stays paid.
    GivenUp(Key),
    /// One of any: what it was charged is taken back.
    Refunded(Key),
}

/// Says which gives way, of `all` and since when each is parked, now that one of `contract` is among them.
fn gives_way(
    all: impl Iterator<Item = (Key, Instant)> + Clone,
    contract: ContractId,
    own_max: usize,
    all_max: usize,
) -> Option<Way> {
    let own = all.clone().filter(|(key, _)| key.0 == contract);
    let oldest = |(key, _): (Key, Instant)| key;
    if own.clone().count() > own_max {
        own.min_by_key(|(_, since)| *since).map(oldest).map(Way::GivenUp)
    } else if all.clone().count() > all_max {
        all.min_by_key(|(_, since)| *since).map(oldest).map(Way::Refunded)
    } else {
        None
    }
}

impl State {
    /// Keeps a put whose stream broke. What its own contract has too much of is given up, and stays paid; for others it makes
    /// room at its host's cost, so that no buyer can believe that it was paid and thrown away.
    pub(super) fn park(&mut self, key: Key, put: Parked) {
        if let Some(before) = self.parked.insert(key, put) {
            self.host.put_refund(before.put);
        }
        let all = self.parked.iter().map(|(key, parked)| (*key, parked.since));
        match gives_way(all, key.0, PARKED_PER_CONTRACT_MAX, PARKED_MAX) {
            None => {}
            Some(Way::GivenUp(oldest)) => self.give_up(|of, _| *of == oldest),
            Some(Way::Refunded(oldest)) => {
                if let Some(parked) = self.parked.remove(&oldest) {
                    self.host.put_refund(parked.put);
                }
            }
        }
    }

    /// Begins a put. Puts that broke give way, if the contract's room or number of puts is used up by them, and then is not any
    /// more: for what has no room all the same they are kept.
    pub(super) fn begin(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        key: Key,
        size: Bytes,
        epoch: u64,
    ) -> Result<Begun, Reason> {
        let (contract, shard) = key;
        let begun = self.host.put_begin(now, peer, contract, shard, size, epoch);
        let is_crowded = matches!(
            begun,
            Err(Reason::Busy | Reason::OverSize { .. } | Reason::TooManyShards { .. })
        );
        if !is_crowded || self.host.is_putting(contract, shard) {
            return begun;
        }
        let own = self.parked.iter().filter(|((of, _), _)| *of == contract);
        let parked: Vec<PutId> = own.map(|(_, parked)| parked.put).collect();
        let fits = |gone: &[PutId]| self.host.fits_without(contract, size, gone);
        if fits(&[]) || !fits(&parked) {
            return begun;
        }
        self.give_up(|(of, _), _| *of == contract);
        self.host.put_begin(now, peer, contract, shard, size, epoch)
    }

    /// Gives up the parked puts of a contract that ends: what was paid for them stays paid.
    pub(super) fn give_up_of(&mut self, contract: ContractId) {
        self.give_up(|(of, _), _| *of == contract);
        self.flush();
    }

    /// Gives up the parked puts that are kept for nothing for too long.
    pub(super) fn give_up_old(&mut self, today: Timestamp, now: Instant) {
        let host = &self.host;
        let old = self.parked.iter_mut();
        let old: Vec<Key> = old
            .filter_map(|(key, put)| {
                put.is_too_old(host.put_age(today, put.put), now).then_some(*key)
            })
            .collect();
        self.give_up(|of, _| old.contains(of));
    }

    /// Gives up the parked puts that are `wanted`.
    fn give_up(&mut self, wanted: impl Fn(&Key, &Parked) -> bool) {
        let given_up: Vec<Parked> = self
            .parked
            .extract_if(.., |key, parked| wanted(key, parked))
            .map(|(_, put)| put)
            .collect();
        for parked in &given_up {
            if let Some(event) = self.host.put_abort(parked.put) {
                self.unsaved.insert(event.contract(), event);
            }
        }
    }
}

/// A put that ends without being committed is parked, or refunded where not even its bytes are known; wherever its task
/// stopped.
struct PutGuard<'a> {
    shared: &'a Shared,
    key: Key,
    put: Option<PutId>,
    incoming: Option<Box<dyn Draft>>,
}

impl Drop for PutGuard<'_> {
    fn drop(&mut self) {
        let Some(put) = self.put else { return };
        let mut state = self.shared.lock();
        match self.incoming.take().filter(|incoming| incoming.length() > Bytes::ZERO) {
            Some(incoming) => {
                state.park(self.key, Parked::new(put, incoming));
            }
            None => state.host.put_refund(put),
        }
    }
}

/// Removes what a crash left between the naming of a file and its event; returns the shards that are missing.
pub(super) fn remove_unknown(
    host: &Host,
    folder: &dyn Blobs,
) -> Result<Vec<ShardId>, ServiceError> {
    for entry in folder.list() {
        let (name, part) = entry?;
        if !host.keeps(ShardId::from_digest(name)) {
            match folder.remove(name, part) {
                // It stays for as long as the disk may not be written to: no reason not to serve the others.
                Err(FileError::ReadOnly { .. }) => {}
                removed => drop(removed?),
            }
        }
    }
    let mut missing = Vec::new();
    for shard in host.shards() {
        if !folder.contains(*shard.digest(), Part::DATA)? {
            missing.push(shard);
            tracing::error!(%shard, "a shard that is paid for is not in the folder");
        }
    }
    Ok(missing)
}

impl Shared {
    /// Removes the files of a shard that nobody keeps any more; returns whether there may be more.
    pub(super) fn remove_file(&self) -> bool {
        // Under the lock, so that the shard cannot come back between the question and the removal; and one
        // at a time, with pauses, so that nobody waits long.
        let mut state = self.lock();
        let Some(shard) = state.unwanted.pop() else { return false };
        if !state.host.keeps(shard) && !state.arriving.contains_key(&shard) {
            for part in [Part::DATA, HASHES] {
                if let Err(error) = self.folder.remove(*shard.digest(), part) {
                    tracing::warn!(%error, "a shard was not removed; it will be at the next start");
                }
            }
        }
        true
    }

    /// Reads a part of a shard with its proof. What the disk gives is not checked: the buyer will.
    pub(super) fn slice<const MAX: usize>(
        &self,
        shard: ShardId,
        range: std::ops::Range<u64>,
    ) -> Result<Payload<MAX>, Reason> {
        let damaged = |error: FileError| {
            tracing::error!(%shard, %error, "a shard that is paid for cannot be read");
            match error {
                FileError::Missing { .. } if self.folder.is_there() => {
                    self.lock().lost.insert(shard);
                    Reason::Damaged
                }
                // The whole folder is gone, or there are too many open files: it may be read another time.
                _ => Reason::Failed,
            }
        };
        let name = *shard.digest();
        let data = self.folder.get(name, Part::DATA).map_err(damaged)?;
        let hashes = self.folder.get(name, HASHES).map_err(damaged)?;
        let length = hashes.length().map_err(damaged)?.get();
        let size = data.length().map_err(damaged)?.get();
        if size > SIZE_MAX || length != Outboard::len_for(size) {
            return Err(Reason::Damaged);
        }
        // Of the hashes only those that the slice has: all of them are 4 MiB for a GiB, and a byte is charged as 16 KiB.
        let slice = prove_at(size, exactly(&*hashes), exactly(&*data), range).map_err(|error| {
            tracing::error!(%shard, %error, "a shard that is paid for cannot be proved");
            Reason::Failed
        })?;
        Payload::new(slice).ok_or(Reason::Failed)
    }

    /// Takes a shard in, step by step, or goes on where a stream broke. Nothing is returned when the journal has failed.
    pub(super) async fn put(
        &self,
        peer: EntityId,
        stream: &mut Stream,
        contract: ContractId,
        shard: ShardId,
        size: Bytes,
        epoch: u64,
    ) -> Result<Option<Response>, TransportError> {
        let refused = |reason| Ok(Some(Response::Refused { reason }));
        let key = (contract, shard);
        let mut guard = match self.take_up(peer, key, size, epoch) {
            Err(reason) => return refused(reason),
            Ok(Some(parked)) => PutGuard {
                shared: self,
                key,
                put: Some(parked.put),
                incoming: Some(parked.incoming),
            },
            Ok(None) => match self.begin(peer, key, size, epoch) {
                Err(reason) => return refused(reason),
                Ok(Begun::Have) => {
                    // It may have been stored a moment ago, and not be durable yet.
                    let durable = self.lock().barrier();
                    return Ok(wait(Some(durable)).await.map(|()| Response::Have));
                }
                Ok(Begun::Ready(put) | Begun::Empty(put)) => {
                    PutGuard { shared: self, key, put: Some(put), incoming: None }
                }
            },
        };
        let Some(put) = guard.put else { return refused(Reason::Failed) };
        // What is there of a put is told whether or not there is room for the rest of it.
        let begins = guard.incoming.is_none();
        if let Some(reason) = begins.then(|| self.has_space(size).err()).flatten() {
            return refused(reason);
        }
        let at = guard.incoming.as_ref().map_or(Bytes::ZERO, |incoming| incoming.length());
        if begins {
            match block_in_place(|| self.folder.begin()) {
                Ok(incoming) => guard.incoming = Some(incoming),
                Err(error) => return refused(failed(&error)),
            }
        }
        if size > Bytes::ZERO {
            let ready = if at == Bytes::ZERO { Response::Ready } else { Response::Resume { at } };
            stream.send_bytes(&ready.to_frame()).await?;
        }
        while let Some(incoming) = guard.incoming.as_mut().filter(|put| put.length() < size) {
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
                guard.incoming = None; // what was written of it is not known
                return refused(failed(&error));
            }
            if let Stepped::More { at } = stepped {
                stream.send_bytes(&Response::Taken { at }.to_frame()).await?;
            }
        }
        let Some(incoming) = guard.incoming.take() else { return refused(Reason::Failed) };
        *self.lock().arriving.entry(shard).or_default() += 1;
        let committed = self.commit(shard, incoming).await;
        let (answer, durable) = {
            let mut state = self.lock();
            let answer = match committed {
                // The disk's fault, so that nobody pays for it.
                Err(reason) => {
                    state.host.put_refund(put);
                    Answer {
                        event: None,
                        response: Response::Refused { reason },
                        remove: Vec::new(),
                    }
                }
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
        if matches!(answer.response, Response::Stored) {
            self.lock().counts.put(self.clock.now(), size);
        } else {
            // The file may have been named already; if nobody keeps it, it goes.
            self.lock().unwanted.push(shard);
        }
        Ok(Some(answer.response))
    }

    fn begin(&self, peer: EntityId, key: Key, size: Bytes, epoch: u64) -> Result<Begun, Reason> {
        self.lock().begin(self.clock.now(), peer, key, size, epoch)
    }

    /// Finds a put whose stream broke, and takes it from where it was laid.
    fn take_up(
        &self,
        peer: EntityId,
        key: Key,
        size: Bytes,
        epoch: u64,
    ) -> Result<Option<Parked>, Reason> {
        let mut state = self.lock();
        state.give_up_old(self.clock.now(), Instant::now());
        if !state.parked.contains_key(&key) {
            return Ok(None);
        }
        let found = state.host.put_resume(self.clock.now(), peer, key.0, key.1, size, epoch)?;
        Ok(found.and_then(|_| state.parked.remove(&key)))
    }

    /// Gives up the puts that broke under contracts that are over, and those that are too old.
    pub(super) fn expire_parked(&self) {
        let now = self.clock.now();
        let mut state = self.lock();
        let over = |state: &State, contract| !state.host.is_open(now, contract);
        let over: Vec<ContractId> =
            state.parked.keys().map(|key| key.0).filter(|&id| over(&state, id)).collect();
        state.give_up(|(of, _), _| over.contains(of));
        state.give_up_old(now, Instant::now());
    }

    /// Looks that the disk has room for a shard, and keeps its reserve.
    fn has_space(&self, size: Bytes) -> Result<(), Reason> {
        // If the system does not tell, writing will.
        let Ok(free) = self.folder.available() else { return Ok(()) };
        let reserve = self.reserve();
        if free < size {
            return Err(Reason::DiskFull);
        }
        if free.saturating_sub(size) < reserve {
            return Err(Reason::Reserve { free, reserve });
        }
        Ok(())
    }

    /// Hashes the bytes, and names them durably if they are those of `shard`; returns what they are.
    async fn commit(&self, shard: ShardId, incoming: Box<dyn Draft>) -> Result<ShardId, Reason> {
        let hashed = spawn_blocking(move || {
            let length = incoming.length().get();
            let hashed = Outboard::read(incoming.reader(), length);
            (incoming, hashed)
        });
        let (incoming, hashed) = hashed.await.ok_or(Reason::Failed)?;
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
}

/// Reads a part of a blob whole.
fn exactly(blob: &dyn BlobRead) -> impl Fn(u64, &mut [u8]) -> io::Result<()> + '_ {
    move |offset, buffer| match blob.read_at(offset, buffer) {
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn failed(error: &FileError) -> Reason {
    tracing::error!(%error, "a shard cannot be stored");
    match error {
        FileError::Full { .. } => Reason::DiskFull,
        FileError::ReadOnly { .. } => Reason::ReadOnly,
        _ => Reason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who parks many drives out its own, and pays for them; others are driven out at the host's cost.
    #[test]
    fn a_contract_drives_out_its_own_first() {
        let contract = |name: u8| ContractId::from_digest(Digest::from_bytes([name; 32]));
        let began = Instant::now();
        // Contract and shard, the oldest first.
        let parked = |all: &[(u8, u8)]| -> Vec<(Key, Instant)> {
            let at = |since: u64| began + Duration::from_secs(since);
            let key = |(of, name): (u8, u8)| (contract(of), ShardId::of(&[name]));
            (0..).zip(all).map(|(since, each)| (key(*each), at(since))).collect()
        };
        let key = |of, name| (contract(of), ShardId::of(&[name]));
        for (all, newest, expected) in [
            (&[(1, 1)][..], 1, None),
            (&[(2, 9), (1, 1), (1, 2)], 1, None),
            (&[(2, 9), (1, 1), (1, 2), (1, 3)], 1, Some(Way::GivenUp(key(1, 1)))),
            (&[(2, 9), (3, 1), (1, 2), (1, 3), (4, 1)], 4, Some(Way::Refunded(key(2, 9)))),
            (&[(2, 9), (1, 1), (1, 2), (3, 3), (1, 4)], 1, Some(Way::GivenUp(key(1, 1)))),
        ] {
            let parked = parked(all);
            assert_eq!(gives_way(parked.iter().copied(), contract(newest), 2, 4), expected);
        }
    }
}
