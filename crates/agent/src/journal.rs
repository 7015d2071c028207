//! The agent's book on disk, and the steps that are open beside it.

use crate::AgentError;
use crate::book::{Book, BookError, Event, Stage};
use crate::losses::{BegunPut, Loss};
use crate::steps::{Left, OpenSteps, Slot};
use fondaco_codec::{Decode as _, DecodeError, Encode as _};
use fondaco_contract::ContractId;
use fondaco_crypto::Digest;
use fondaco_ports::Disk;
use fondaco_store::{DiskFile, Journal, Kind, OpenError};
use std::io;
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
pub struct BookFile {
    inner: Mutex<Inner>,
    steps: Mutex<OpenSteps>,
}

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
    /// Opens or creates the book at `path`. What the process before was killed with is in it then.
    pub fn open(path: &Path) -> Result<Self, AgentError> {
        let mut steps = path.as_os_str().to_owned();
        steps.push(".steps");
        let steps = OpenSteps::at(steps.into());
        Self::replay(Box::new(DiskFile::open(path)?), steps).map_err(|error| {
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

    /// Opens or creates the book on `disk`, whose open steps are on another, of a machine that was started as `boot` says.
    pub fn open_on(
        disk: Box<dyn Disk>,
        steps: Box<dyn Disk>,
        boot: Option<Digest>,
    ) -> Result<Self, AgentError> {
        let steps = OpenSteps::on(steps, boot);
        Self::replay(disk, steps).map_err(|error| AgentError::Store(error.to_string()))
    }

    fn replay(disk: Box<dyn Disk>, mut steps: OpenSteps) -> Result<Self, OpenError<ReplayError>> {
        let mut book = Book::default();
        let journal = Journal::open(disk, KIND, |record| {
            let event = Event::from_bytes(record)?;
            Ok::<_, ReplayError>(book.apply(&event)?)
        })?;
        let left = steps.left();
        let file = Self { inner: Mutex::new(Inner { book, journal }), steps: Mutex::new(steps) };
        // Without room to write it down, what is stored can be read all the same.
        if let Err(error) = left.map_err(step_error).and_then(|left| file.take(&left)) {
            tracing::warn!(%error, "the steps that were open could not be written down");
        }
        Ok(file)
    }

    /// Writes down what the process before was killed with, as one does that ends in order.
    fn take(&self, left: &Left) -> Result<(), AgentError> {
        #[cfg(feature = "simulation")]
        if crate::planted::is(crate::planted::Fault::ForgetsSteps) {
            return self.steps().taken(left).map_err(step_error);
        }
        let events: Vec<Event> = self.read(|book| {
            let is_open = |contract| {
                book.contract(contract).is_some_and(|record| record.stage == Stage::Open)
            };
            let of = left.steps.iter().filter(|(contract, _)| is_open(*contract));
            let news = of.filter(|(contract, loss)| book.loss(*contract) != *loss);
            let puts = left.puts.iter().filter(|(contract, _)| {
                // What is known better is not asked for.
                let is_known = left.steps.iter().any(|(known, _)| known == contract);
                #[cfg(feature = "simulation")]
                let is_known = is_known || crate::planted::is(crate::planted::Fault::ForgetsPuts);
                is_open(*contract) && !is_known && book.loss(*contract).put.is_none()
            });
            news.map(|&(contract, loss)| Event::LossKept { contract, loss })
                .chain(puts.map(|&(contract, put)| Event::PutCut { contract, put }))
                .collect()
        });
        self.record_all(&events)?;
        self.steps().taken(left).map_err(step_error)
    }

    fn steps(&self) -> std::sync::MutexGuard<'_, OpenSteps> {
        self.steps.lock().expect("no panic under this lock")
    }

    /// Writes down what is open under a contract, if it is anything: a process that is killed leaves it to the next. Nothing is
    /// flushed, unless what it takes the place of was.
    pub(crate) fn note_step(
        &self,
        slot: &mut Option<Slot>,
        contract: ContractId,
        open: Option<Loss>,
    ) -> Result<(), AgentError> {
        self.steps().write(slot, contract, open).map_err(step_error)
    }

    /// Has what is open under a contract outlive a power cut, too.
    pub(crate) fn settle_step(
        &self,
        slot: &mut Option<Slot>,
        contract: ContractId,
        open: Loss,
    ) -> Result<(), AgentError> {
        self.steps().settle(slot, contract, open).map_err(step_error)
    }

    /// Writes down that a put of several steps begins; a power cut leaves that.
    pub(crate) fn begin_put(
        &self,
        slot: &mut Option<Slot>,
        contract: ContractId,
        put: BegunPut,
    ) -> Result<(), AgentError> {
        self.steps().begin_put(slot, contract, put).map_err(step_error)
    }

    /// A put is not under way any more.
    pub(crate) fn end_put(&self, slot: &mut Option<Slot>) -> Result<(), AgentError> {
        self.steps().end_put(slot).map_err(step_error)
    }

    /// Sees that a power cut leaves no put that has ended.
    pub(crate) fn flush_steps(&self) -> Result<(), AgentError> {
        self.steps().flush().map_err(step_error)
    }

    /// Looks something up.
    pub fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.inner.lock().expect("no panic under this lock").book)
    }

    /// Writes an event into the book; it is on disk when this returns.
    pub fn record(&self, event: &Event) -> Result<(), AgentError> {
        self.record_all(std::slice::from_ref(event))
    }

    /// Writes events into the book; they are on disk when this returns. Few of them come at once, many some at a time.
    pub fn record_all(&self, events: &[Event]) -> Result<(), AgentError> {
        let mut inner = self.inner.lock().expect("no panic under this lock");
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

fn step_error(error: io::Error) -> AgentError {
    let what = format!("the steps that are open: {error}");
    match error.kind() {
        io::ErrorKind::IsADirectory => AgentError::Damaged {
            path: "agent/journal.steps".to_owned(),
            what,
            hint: "a folder lies where that file goes: move it away, and run this again",
        },
        _ => AgentError::Store(what),
    }
}
