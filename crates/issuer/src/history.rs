//! The history of every account and the first answer to every command, found again by number and by id.
//!
//! The journal has all of it, in the order in which it happened; here it is put in order by account. An *entry* is one line of
//! an account's history, an *outcome* is where the answer to a command is. A *key* is named by a number; an account has
//! the number of its first key, so that its history stays its own when the key changes.
//!
//! ```text
//! keeper ─► journal, synced ─► Indexer::add ─► queue ─► thread "history" ─► commit, when somebody waits or a second passed:
//!    │                                           full? the keeper waits        visible ─► History::wait_through
//!    └─► answers leave                                                       every DURABLE_EVERY, and at the end: durable
//!
//! log       record ─► time, frame in the journal, answer, movements      one row for about sixty records
//! entries   account, number ─► record, movement                          one row for some hundreds
//! outcomes  account, id ─► record                                        one row for up to 184
//! ```
//!
//! # What always holds
//!
//! - What is visible is what the journal has up to [`History::through`], all of it and nothing else.
//! - An account's entries are numbered from 1 without a gap, in the order of the journal.
//! - After a crash it goes on from what was durable; nothing of it is lost that the journal has: it can be written anew
//!   from the journal alone. A file that is damaged, or something else, is moved aside, to be written anew.
//! - A receipt is given only for an answer that bears the mark that the journal has of it.
//!
//! # What is not here
//!
//! - Money. A history that fails stops no payment: it ends, and says so.
//! - Who may ask: the caller has authenticated the holder, by the key that the account has now.
//! - The refusals of strangers, who never had an account: whoever repeats such a command too late is not told the outcome,
//!   which moved nothing.
//! - Queries read from the disk: ask them from a thread that may wait.

mod error;
mod indexer;
mod keys;
mod reader;
mod rows;
mod seen;
mod tables;
mod writer;

#[cfg(test)]
mod tests;

pub use error::HistoryError;
pub use indexer::Indexer;
pub use reader::Outcome;
pub(crate) use seen::seen;

use std::{
    fmt, fs, io,
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use fondaco_crypto::{Digest, EntityId};
use fondaco_lcp::{Issuer, Movement, ReplayError, RequestId, Response};
use fondaco_store::Appended;
use fondaco_units::Timestamp;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use tokio::sync::watch;

use error::{of_row, of_store};
use indexer::Nudge;
use keys::Keys;
use tables::{
    ENTRIES, FORMAT, KEYS, LOG, META, META_FORMAT, META_THROUGH, OUTCOMES, read_key_row,
    read_through,
};

pub(crate) const FILE: &str = "history.redb";
const ASIDE: &str = "history.redb.damaged";

/// How much of the file is kept in memory by the store; the system keeps what it has room for.
const CACHE_BYTES: usize = 16 << 20;

/// How long [`History::wait_through`] waits.
pub const WAIT_MAX: Duration = Duration::from_secs(2);

/// How far a history has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Through {
    /// How many records of the journal it has; the number of the next one.
    pub records: u64,
    /// The journal's chain after them.
    pub chain: Digest,
}

/// One frame of the journal, as the history takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where the frame is.
    pub frame: Appended,
    /// One for each record of the frame, in order; the definition of the currency counts too.
    pub records: Vec<Noted>,
}

/// What one record of the journal has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// When, by the time of the books.
    pub at: Timestamp,
    /// The command and its first answer, if it was one.
    pub answered: Option<Answered>,
    /// What moved, as [`Issuer::drain_movements`] told it.
    pub movements: Vec<Movement>,
}

/// A command and its first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Who asked, by its key of then.
    pub holder: EntityId,
    /// The command.
    pub id: RequestId,
    /// What was answered.
    pub response: Response,
}

impl Noted {
    /// What a record that is no command has done, such as the definition of the currency: nothing.
    pub const fn nothing(at: Timestamp) -> Self {
        Self { at, answered: None, movements: Vec::new() }
    }

    /// Replays a record and notes what it has done. The issuer [collects movements](Issuer::collect_movements), and its
    /// memory of answers takes at least one.
    ///
    /// # Errors
    ///
    /// As [`Issuer::replay`].
    pub fn replayed(issuer: &mut Issuer, record: &[u8]) -> Result<Self, ReplayError> {
        let first = issuer.replay_answer(record)?;
        let answered = first.map(|first| Answered {
            holder: first.holder,
            id: first.id,
            response: first.response,
        });
        Ok(Self { at: issuer.last(), answered, movements: issuer.drain_movements() })
    }
}

/// How far the indexing has come, as those who wait are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    visible: Through,
    durable: Through,
    ended: bool,
}

struct Shared {
    path: PathBuf,
    database: Database,
    keys: RwLock<Keys>,
    progress: watch::Sender<Progress>,
    /// Why the indexing ended, if it failed.
    failure: Mutex<Option<String>>,
    nudge: Mutex<Option<Nudge>>,
    aside: Option<String>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "History({})", self.path.display())
    }
}

impl Shared {
    fn through(&self) -> Through {
        self.progress.borrow().visible
    }

    fn committed(&self, through: Through, durable: bool) {
        self.progress.send_modify(|progress| {
            progress.visible = through;
            if durable {
                progress.durable = through;
            }
        });
    }
}

/// The history of all accounts of one issuer. Clones are the same. See the [module](self) for what it keeps.
#[derive(Clone, Debug)]
pub struct History(Arc<Shared>);

impl History {
    /// Opens the history in `folder`, for this process alone; begins one if there is none. A file that is damaged, or
    /// something else, is moved aside, and [`History::set_aside`] tells why: it is then written anew, as is a new one, from
    /// the journal's first record on.
    ///
    /// # Errors
    ///
    /// Another process has it open, or the disk fails.
    pub fn open(folder: &Path) -> Result<Self, HistoryError> {
        match Self::open_file(folder, None) {
            Err(error @ HistoryError::Damaged { .. }) => {
                Self::move_aside(folder)?;
                Self::open_file(folder, Some(error.to_string()))
            }
            opened => opened,
        }
    }

    /// Moves the history in `folder` aside, in place of the one that was moved there before.
    ///
    /// # Errors
    ///
    /// The disk fails. That there is none is no error.
    fn move_aside(folder: &Path) -> Result<(), HistoryError> {
        match fs::rename(folder.join(FILE), folder.join(ASIDE)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(HistoryError::Disk { path: folder.join(FILE), source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn open_file(folder: &Path, aside: Option<String>) -> Result<Self, HistoryError> {
        let path = folder.join(FILE);
        let disk = |source| HistoryError::Disk { path: path.clone(), source };
        // What is in it is its holders' business alone.
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).map_err(disk)?;
        let open = || {
            let database = Database::builder().set_cache_size(CACHE_BYTES).create(&path);
            let database = database.map_err(|error| of_store(&path, error))?;
            let (keys, through) = read_state(&path, &database)?;
            Ok((database, keys, through))
        };
        // Some damage is found by assertions of the store: no reason to keep the issuer down.
        let opened = catch_unwind(AssertUnwindSafe(open));
        let (database, keys, through) = opened.unwrap_or_else(|_| {
            Err(HistoryError::Damaged { path: path.clone(), detail: "the store".to_owned() })
        })?;
        let progress = Progress { visible: through, durable: through, ended: true };
        Ok(Self(Arc::new(Shared {
            path,
            database,
            keys: RwLock::new(keys),
            progress: watch::Sender::new(progress),
            failure: Mutex::new(None),
            nudge: Mutex::new(None),
            aside,
        })))
    }

    /// Returns why the file that was here before was moved aside when this was opened, if it was.
    pub fn set_aside(&self) -> Option<&str> {
        self.0.aside.as_deref()
    }

    /// Returns how far it has come, visibly. Nothing of it is of another journal only if that journal had this chain at
    /// this record: whoever opens the journal compares.
    pub fn through(&self) -> Through {
        self.0.through()
    }

    /// Returns how far it has come, durably: a snapshot of the books that is further must not take the journal's place,
    /// because the journal is not replayed from before it. See [`Indexer::sync`].
    pub fn durable_through(&self) -> Through {
        self.0.progress.borrow().durable
    }

    /// Returns why it is no longer kept, if the indexing has failed.
    pub fn failure(&self) -> Option<String> {
        self.0.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the record of this number is visible, for [`WAIT_MAX`] at most; returns whether it is. What was given to
    /// [`Indexer::add`] before this was called is made visible at once.
    pub async fn wait_through(&self, record: u64) -> bool {
        let mut progress = self.0.progress.subscribe();
        if progress.borrow().visible.records > record {
            return true;
        }
        if let Some(nudge) = &*self.0.nudge.lock().unwrap_or_else(PoisonError::into_inner) {
            nudge.commit();
        }
        let reached = |progress: &Progress| progress.visible.records > record || progress.ended;
        let waited = tokio::time::timeout(WAIT_MAX, progress.wait_for(reached)).await;
        waited.is_ok_and(|found| found.is_ok_and(|found| found.visible.records > record))
    }
}

/// Reads what is kept in memory, and sees that all tables are there; a new file gets them.
fn read_state(path: &Path, database: &Database) -> Result<(Keys, Through), HistoryError> {
    let damaged =
        |detail: &str| HistoryError::Damaged { path: path.to_owned(), detail: detail.to_owned() };
    let state = || -> Result<Result<(Keys, Through), HistoryError>, redb::Error> {
        let mut write = database.begin_write()?;
        write.set_quick_repair(true);
        let through = {
            let mut meta = write.open_table(META)?;
            let format = meta.get(META_FORMAT)?.map(|format| format.value().to_vec());
            match format {
                None if meta.is_empty()? => {
                    meta.insert(META_FORMAT, FORMAT.to_le_bytes().as_slice())?;
                }
                Some(format) if format == FORMAT.to_le_bytes() => {}
                Some(_) | None => return Ok(Err(damaged("it is in another format"))),
            }
            let through = meta.get(META_THROUGH)?.map(|row| read_through(row.value()));
            through.unwrap_or(Ok(Through { records: 0, chain: Digest::ZERO }))
        };
        let through = match through.map_err(of_row(path)) {
            Ok(through) => through,
            Err(error) => return Ok(Err(error)),
        };
        write.open_table(LOG)?;
        write.open_table(ENTRIES)?;
        write.open_table(OUTCOMES)?;
        write.open_table(KEYS)?;
        write.commit()?;
        let mut keys = Keys::default();
        for row in database.begin_read()?.open_table(KEYS)?.iter()? {
            let (number, row) = row?;
            let (key, account) = read_key_row(row.value());
            let next = keys.len() as u64 == u64::from(number.value());
            if !next || keys.number(key).is_some() || keys.add(key, Some(account)).is_none() {
                return Ok(Err(damaged("its keys are not in order")));
            }
        }
        Ok(Ok((keys, through)))
    };
    state().map_err(|error| of_store(path, error))?
}
