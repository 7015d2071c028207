//! What can go wrong with a history.

use std::{io, path::PathBuf};

use fondaco_store::journal::ReadError;

use super::rows::Broken;

/// Why a history could not be opened, added to or asked. Listed by precedence.
///
/// None of them touches the books: they are in the journal.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// It is damaged.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The store refused for another reason.
    #[error("{}: {detail}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What it said.
        detail: String,
    },
    /// A frame of the journal does not follow on what is indexed.
    #[error("the history has {wanted} records of the journal; it was given those from {found} on")]
    Gap {
        /// The record that comes next.
        wanted: u64,
        /// The first that was given.
        found: u64,
    },
    /// The journal is not the one that was indexed.
    #[error("the history is of another journal: they part before record {records}")]
    OtherJournal {
        /// How many records are indexed.
        records: u64,
    },
    /// The frame of the journal that has a command cannot be read.
    #[error("the journal cannot be read back: {0}")]
    Journal(#[from] ReadError),
    /// The thread that indexes did not start.
    #[error("the thread that keeps the history did not start: {detail}")]
    Thread {
        /// What the system said.
        detail: String,
    },
    /// The thread that indexes has ended.
    #[error("the history is no longer kept")]
    Stopped,
}

impl HistoryError {
    /// Returns whether the same can succeed later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Locked { .. } | Self::Disk { .. } | Self::Thread { .. } => true,
            Self::Journal(error) => error.is_transient(),
            Self::Damaged { .. }
            | Self::Store { .. }
            | Self::Gap { .. }
            | Self::OtherJournal { .. }
            | Self::Stopped => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "stop the other process",
            Self::Disk { .. } => "check the disk and the system log, then restart the issuer",
            Self::Damaged { .. } | Self::Gap { .. } | Self::OtherJournal { .. } => {
                "remove the history and restart the issuer: it is written anew from the journal"
            }
            Self::Store { .. } | Self::Stopped => "restart the issuer; its books are safe",
            Self::Journal(error) => error.hint(),
            Self::Thread { .. } => "free some memory, then restart the issuer",
        }
    }
}

/// Names the file in what the store says.
pub(super) fn of_store(path: &std::path::Path, error: impl Into<redb::Error>) -> HistoryError {
    let path = path.to_owned();
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => HistoryError::Locked { path },
        // So the store says that the file is none of its own.
        redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            HistoryError::Damaged { path, detail: source.to_string() }
        }
        redb::Error::Io(source) => HistoryError::Disk { path, source },
        error @ (redb::Error::Corrupted(_)
        | redb::Error::UpgradeRequired(_)
        | redb::Error::RepairAborted
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }
        | redb::Error::TableIsMultimap(_)) => {
            HistoryError::Damaged { path, detail: error.to_string() }
        }
        error => HistoryError::Store { path, detail: error.to_string() },
    }
}

/// Names the file in what a row does not say.
pub(super) fn of_row(path: &std::path::Path) -> impl Fn(Broken) -> HistoryError {
    let path = path.to_owned();
    move |Broken| HistoryError::Damaged { path: path.clone(), detail: "a row".to_owned() }
}
