//! Why an issuer does not run, or no longer.

use fondaco_codec::DecodeError;
use fondaco_crypto::EntityId;
use fondaco_lcp::ReplayError;
use fondaco_lcp_wire::StartError;
use fondaco_ledger::Imbalance;
use fondaco_store::{CopyError, FileError, JournalError, OpenError};
use std::path::PathBuf;

/// Why an issuer does not run, or no longer. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A file could not be had: [`FileError::Locked`] when another process keeps these books.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is an issuer in this folder already.
    #[error("{} has the books of a currency already", folder.display())]
    AlreadyThere {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no issuer in this folder.
    #[error("{} has no books of a currency", folder.display())]
    NoIssuer {
        /// The folder.
        folder: PathBuf,
    },
    /// The journal is damaged, or is something else.
    #[error(transparent)]
    Open(#[from] OpenError<RecordError>),
    /// Records that were acknowledged are gone: what stands behind the journal was made of more than it has, or of
    /// others.
    #[error(
        "the journal has {found} records; the file `{behind}` was made of {known} that it does not have all of: \
         acknowledged records are lost"
    )]
    Lost {
        /// What knows it: the snapshot or the history.
        behind: &'static str,
        /// Of how many that was made.
        known: u64,
        /// How many there are.
        found: u64,
    },
    /// The books could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The text of the books could not be written.
    #[error("the books could not be written out: {source}")]
    Export {
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal is of the currency of another key.
    #[error("these are the books of {found}, not of {wanted}")]
    OtherKey {
        /// Whose they are.
        found: EntityId,
        /// Whose key was given.
        wanted: EntityId,
    },
    /// The books do not balance.
    #[error("the books do not balance: {0}")]
    Books(#[from] Imbalance),
    /// The core halted itself while it served.
    #[error("the ledger halted itself: its books do not balance")]
    Halted,
    /// Records could not be saved. Nobody was told of what they say.
    #[error("the issuer is halted, because its journal took no more: {0}")]
    Journal(#[from] JournalError),
    /// A socket of the dialect of 2003 could not be had.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {detail}")]
    Entropy {
        /// What it said.
        detail: String,
    },
    /// The thread that keeps the books did not start.
    #[error("the thread that keeps the books did not start: {detail}")]
    Thread {
        /// What the system said.
        detail: String,
    },
    /// The thread that keeps the books ended by a fault of this program.
    #[error("the thread that keeps the books died")]
    KeeperDied,
}

impl IssuerError {
    /// Returns whether opening the same books again can succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::File(error) => error.is_transient(),
            Self::Open(error) => error.is_transient(),
            Self::Copy(error) => error.is_transient(),
            Self::Start(error) => error.is_transient(),
            Self::Export { .. }
            | Self::Journal(_)
            | Self::Entropy { .. }
            | Self::Thread { .. }
            | Self::KeeperDied => true,
            Self::AlreadyThere { .. }
            | Self::Lost { .. }
            | Self::NoIssuer { .. }
            | Self::OtherKey { .. }
            | Self::Books(_)
            | Self::Halted => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File(error) => error.hint(),
            Self::AlreadyThere { .. } => "start it, or name another folder for another currency",
            Self::NoIssuer { .. } => "check the path, or create the currency first",
            Self::Open(error) => error.hint(),
            Self::Copy(error) => error.hint(),
            Self::Export { .. } => "check where it is written to, and run it again",
            Self::Start(_) => "choose another socket with --soap and --http, or `none`",
            Self::Entropy { .. } => "start it again on a healthy machine",
            Self::Lost { .. } => {
                "put the right journal back; to go on without what is lost, move the file named away"
            }
            Self::OtherKey { .. } => "give the key with which the currency was created",
            Self::Books(_) | Self::Halted => {
                "keep a copy of the folder, do not serve from it, and report it: this is a fault of the program"
            }
            Self::Journal(error) => error.hint(),
            Self::Thread { .. } => "free some memory, then start it again",
            Self::KeeperDied => "start it again: what it had acknowledged is safe; and report it",
        }
    }
}

/// Why a record of the journal is refused. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The first record does not define a currency.
    #[error("the first record defines no currency: {0}")]
    Definition(DecodeError),
    /// The definition is in another version.
    #[error(
        "the definition is in version {found}, kind {kind}; this program reads version 2, kind 0"
    )]
    Version {
        /// The version found.
        found: u8,
        /// The kind of record found.
        kind: u8,
    },
    /// A later record does not fit.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// What it did could not be written out; the record itself is sound.
    #[error("what the record did could not be written out")]
    Unwritten,
}

impl RecordError {
    /// Returns whether the same record can be accepted later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Definition(_) | Self::Version { .. } => false,
            Self::Replay(error) => error.is_transient(),
            Self::Unwritten => true,
        }
    }
}
