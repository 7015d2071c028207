//! The agent's book on disk.

use crate::AgentError;
use crate::book::{Book, BookError, Event};
use fondaco_codec::{Decode as _, DecodeError, Encode as _};
use fondaco_ports::Disk;
use fondaco_store::{DiskFile, Journal, Kind, OpenError};
use std::path::Path;
use std::sync::Mutex;

/// The kind of an agent's journal, version 2: contracts can renew others.
const KIND: Kind = Kind::new(*b"agent\0\0\0", 2);

/// What to do with a journal that is damaged.
const RECOVER: &str = "put a sound copy of it back; or move it aside, and `fondaco backup recover --host ADDRESS`, or --broker ADDRESS, \
                       makes it anew of what the hosts keep";

/// The most events that are written at once.
const BATCH_MAX: usize = 500;

/// Why a record of the journal is no event of this book. Listed by precedence.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Book(#[from] BookError),
}

/// A [`Book`] whose every event is on disk before it counts. One process at a time may hold it.
#[derive(Debug)]
pub struct BookFile(Mutex<Inner>);

struct Inner {
    book: Book,
    journal: Journal<Box<dyn Disk>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("book", &self.book).finish_non_exhaustive()
    }
}

impl BookFile {
    /// Opens or creates the book at `path`.
    pub fn open(path: &Path) -> Result<Self, AgentError> {
        Self::replay(Box::new(DiskFile::open(path)?)).map_err(|error| {
            let path = path.display().to_string();
            match error {
                OpenError::Disk { .. } => {
                    AgentError::Store(format!("{path}: {error}; {}", error.hint()))
                }
                OpenError::Version { .. } | OpenError::Replay { .. } => {
                    AgentError::Damaged { path, what: error.to_string(), hint: error.hint() }
                }
                error => AgentError::Damaged { path, what: error.to_string(), hint: RECOVER },
            }
        })
    }

    /// Opens or creates the book on `disk`.
    pub fn open_on(disk: Box<dyn Disk>) -> Result<Self, AgentError> {
        Self::replay(disk).map_err(|error| AgentError::Store(error.to_string()))
    }

    fn replay(disk: Box<dyn Disk>) -> Result<Self, OpenError<ReplayError>> {
        let mut book = Book::default();
        let journal = Journal::open(disk, KIND, |record| {
            let event = Event::from_bytes(record)?;
            Ok::<_, ReplayError>(book.apply(&event)?)
        })?;
        Ok(Self(Mutex::new(Inner { book, journal })))
    }

    /// Looks something up.
    pub fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.0.lock().expect("no panic under this lock").book)
    }

    /// Writes an event into the book; it is on disk when this returns.
    pub fn record(&self, event: &Event) -> Result<(), AgentError> {
        self.record_all(std::slice::from_ref(event))
    }

    /// Writes events into the book; they are on disk when this returns. Few of them come at once, many some at a time.
    pub fn record_all(&self, events: &[Event]) -> Result<(), AgentError> {
        let mut inner = self.0.lock().expect("no panic under this lock");
        let Inner { book, journal } = &mut *inner;
        for events in events.chunks(BATCH_MAX) {
            // An event that does not fit must not reach the disk, so it is applied first. Where the disk
            // then fails, the book is ahead of it, but the journal takes nothing more and nobody is told.
            for event in events {
                book.apply(event).map_err(|error| AgentError::Store(error.to_string()))?;
            }
            let records: Vec<Vec<u8>> = events.iter().map(Event::to_bytes).collect();
            journal
                .append(&records)
                .map_err(|error| AgentError::Store(format!("the agent's journal: {error}")))?;
        }
        Ok(())
    }
}
