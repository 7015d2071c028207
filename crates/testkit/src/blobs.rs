//! A folder of blobs in memory, whose power goes.
//!
//! ```text
//! begin ──► draft: lost with the power ── commit ──► durable, whole
//! ```
//!
//! # What always holds
//!
//! - A blob that was committed is there after a crash; one that was not is not. One whose commit met the crash is either.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fondaco_crypto::Digest;
use fondaco_store::{BlobRead, Blobs, Draft, FileError, FileOperation, Part};
use fondaco_units::Bytes;

use crate::Rng;
use tokio::sync::Notify;

/// A folder of blobs in memory; clones are handles of the same one. See the module head.
#[derive(Clone, Debug, Default)]
pub struct SimBlobs(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<(Digest, Part), Arc<Vec<u8>>>,
    /// What is left for others to fill, and not given to anybody yet.
    room: Option<u64>,
    is_dead: bool,
    /// Let so many commits and removals pass, and the power go in the next one, done or not.
    power_off_in: Option<(u64, bool)>,
    lies: bool,
    /// What was committed since the disk began to lie.
    unsure: Vec<(Digest, Part)>,
}

impl SimBlobs {
    /// Creates an empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty folder on a disk whose syncs return before anything is durable.
    pub fn lying() -> Self {
        let blobs = Self::default();
        blobs.state().lies = true;
        blobs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `operations` more commits and removals pass, and the power go in the next one.
    pub fn power_off_in(&self, operations: u64, rng: &mut Rng) {
        self.state().power_off_in = Some((operations, rng.chance(50)));
    }

    /// Leaves room for so many bytes more; `None` for no limit.
    pub fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// Takes back what is planned.
    pub fn heal(&self) {
        let mut state = self.state();
        state.power_off_in = None;
        state.room = None;
    }

    /// Returns whether the power is off.
    pub fn is_dead(&self) -> bool {
        self.state().is_dead
    }

    /// Waits until the power is off.
    pub async fn off(&self) {
        while !self.is_dead() {
            self.1.notified().await;
        }
    }

    /// Returns how many blobs there are.
    pub fn count(&self) -> usize {
        self.state().blobs.keys().filter(|(_, part)| *part == Part::DATA).count()
    }

    /// Returns whether there is data of this name.
    pub fn has(&self, name: Digest) -> bool {
        self.state().blobs.contains_key(&(name, Part::DATA))
    }

    /// Loses the data of some blobs, as a bad disk does; returns which.
    pub fn lose(&self, percent: u64, rng: &mut Rng) -> Vec<Digest> {
        let mut state = self.state();
        let names = state.blobs.keys().filter(|(_, part)| *part == Part::DATA);
        let lost: Vec<_> = names.filter(|_| rng.chance(percent)).copied().collect();
        for key in &lost {
            state.blobs.remove(key);
        }
        lost.into_iter().map(|(name, _)| name).collect()
    }

    fn act(&self, operation: FileOperation, act: impl FnOnce(&mut State)) -> Result<(), FileError> {
        let done = self.state().act(operation, act);
        if self.is_dead() {
            self.1.notify_one();
        }
        done
    }

    /// The power goes: returns the folder as it is found afterwards. All handles are dead.
    #[must_use]
    pub fn crash(&self, rng: &mut Rng) -> Self {
        let mut state = self.state();
        state.is_dead = true;
        let mut blobs = state.blobs.clone();
        for key in &state.unsure {
            if rng.chance(70) {
                blobs.remove(key);
            }
        }
        let (room, lies) = (state.room, state.lies);
        let state = State { blobs, room, lies, ..State::default() };
        Self(Arc::new(Mutex::new(state)), Arc::default())
    }
}

impl State {
    fn alive(&self, operation: FileOperation) -> Result<(), FileError> {
        if self.is_dead { Err(dead(operation)) } else { Ok(()) }
    }

    /// Does something to a name, unless the power goes before; it may go after.
    fn act(
        &mut self,
        operation: FileOperation,
        act: impl FnOnce(&mut Self),
    ) -> Result<(), FileError> {
        self.alive(operation)?;
        match &mut self.power_off_in {
            Some((0, done)) => {
                let done = *done;
                self.is_dead = true;
                if done {
                    act(self);
                }
                Err(dead(operation))
            }
            Some((left, _)) => {
                *left -= 1;
                act(self);
                Ok(())
            }
            None => {
                act(self);
                Ok(())
            }
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from("simulated")
}

fn dead(operation: FileOperation) -> FileError {
    let source = io::Error::other("the power of this simulated disk is off");
    FileError::Other { path: path(), operation, source }
}

impl Blobs for SimBlobs {
    fn path(&self) -> &Path {
        Path::new("simulated")
    }

    fn available(&self) -> Result<Bytes, FileError> {
        Ok(Bytes::new(self.state().room.unwrap_or(u64::MAX)))
    }

    fn is_there(&self) -> bool {
        true
    }

    fn begin(&self) -> Result<Box<dyn Draft>, FileError> {
        self.state().alive(FileOperation::Create)?;
        Ok(Box::new(SimDraft { folder: self.clone(), bytes: Vec::new() }))
    }

    fn get(&self, name: Digest, part: Part) -> Result<Box<dyn BlobRead>, FileError> {
        let state = self.state();
        state.alive(FileOperation::Open)?;
        match state.blobs.get(&(name, part)) {
            Some(bytes) => Ok(Box::new(SimBlob(Arc::clone(bytes)))),
            None => Err(FileError::Missing { path: path(), operation: FileOperation::Open }),
        }
    }

    fn contains(&self, name: Digest, part: Part) -> Result<bool, FileError> {
        let state = self.state();
        state.alive(FileOperation::Inspect)?;
        Ok(state.blobs.contains_key(&(name, part)))
    }

    fn remove(&self, name: Digest, part: Part) -> Result<bool, FileError> {
        let mut there = false;
        self.act(FileOperation::Remove, |state| {
            there = state.blobs.remove(&(name, part)).is_some();
        })?;
        Ok(there)
    }

    fn list(&self) -> Box<dyn Iterator<Item = Result<(Digest, Part), FileError>>> {
        let state = self.state();
        match state.alive(FileOperation::Read) {
            Err(error) => Box::new(std::iter::once(Err(error))),
            Ok(()) => {
                let names: Vec<_> = state.blobs.keys().copied().map(Ok).collect();
                Box::new(names.into_iter())
            }
        }
    }
}

#[derive(Debug)]
struct SimDraft {
    folder: SimBlobs,
    bytes: Vec<u8>,
}

impl Draft for SimDraft {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let mut state = self.folder.state();
        state.alive(FileOperation::Write)?;
        if let Some(room) = &mut state.room {
            let length = bytes.len() as u64;
            match room.checked_sub(length) {
                Some(left) => *room = left,
                None => {
                    return Err(FileError::Full { path: path(), operation: FileOperation::Write });
                }
            }
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn length(&self) -> Bytes {
        Bytes::of(&self.bytes)
    }

    fn reader(&self) -> Box<dyn io::Read + '_> {
        Box::new(self.bytes.as_slice())
    }

    fn commit(self: Box<Self>, name: Digest, part: Part) -> Result<(), FileError> {
        let bytes = Arc::new(self.bytes);
        self.folder.act(FileOperation::Rename, |state| {
            if state.lies {
                state.unsure.push((name, part));
            }
            state.blobs.insert((name, part), bytes);
        })
    }
}

struct SimBlob(Arc<Vec<u8>>);

impl BlobRead for SimBlob {
    fn length(&self) -> Result<Bytes, FileError> {
        Ok(Bytes::of(&self.0))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.0.get(from..).unwrap_or_default();
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(blobs: &SimBlobs, text: &str) -> Result<(), FileError> {
        let mut draft = blobs.begin()?;
        draft.write(text.as_bytes())?;
        draft.commit(Digest::of(text.as_bytes()), Part::DATA)
    }

    #[test]
    fn what_was_committed_is_there_after_a_crash() {
        let blobs = SimBlobs::new();
        let mut rng = Rng::new(1);
        put(&blobs, "kept").unwrap();
        blobs.power_off_in(0, &mut rng);
        assert!(put(&blobs, "met the crash").is_err());
        assert!(put(&blobs, "after").is_err() && blobs.is_dead());
        let found = blobs.crash(&mut rng);
        assert!(found.has(Digest::of(b"kept")) && !found.has(Digest::of(b"after")));
        found.set_room(Some(3));
        assert!(matches!(put(&found, "more"), Err(FileError::Full { .. })));
        put(&found, "lit").unwrap();
        assert_eq!(found.lose(100, &mut rng).len(), found.count() + 2);
    }

    #[test]
    fn a_lying_disk_forgets() {
        let lost = |seed| {
            let blobs = SimBlobs::lying();
            put(&blobs, "kept").unwrap();
            !blobs.crash(&mut Rng::new(seed)).has(Digest::of(b"kept"))
        };
        assert!((0..20).any(lost) && !(0..20).all(lost));
    }
}
