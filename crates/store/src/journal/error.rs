//! What can go wrong with a journal.

use std::{fmt, io};

use super::Kind;

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Asking for the length.
    Length,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Lengthening.
    Grow,
    /// Making durable.
    Sync,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "asking the length of",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Grow => "lengthening",
            Self::Sync => "syncing",
        })
    }
}

pub(super) fn failed(operation: Operation, at: u64) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Disk { operation, at, source }
}

/// Why a journal did not take records. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed before; nothing more is taken until the journal is opened anew.
    #[error("the journal is halted, because its disk failed before")]
    Halted,
    /// A record is over [`Journal::RECORD_BYTES_MAX`](super::Journal::RECORD_BYTES_MAX).
    #[error("record {index} has {bytes} bytes, over the maximum of {bytes_max}")]
    RecordTooLong {
        /// Which of the records given, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// The records together are over [`Journal::FRAME_BYTES_MAX`](super::Journal::FRAME_BYTES_MAX).
    #[error("the records take up {bytes} bytes, over the maximum of {bytes_max} at once")]
    FrameTooLong {
        /// What they would take up.
        bytes: usize,
        /// The most allowed.
        bytes_max: usize,
    },
    /// The disk failed now. The journal is halted.
    #[error("{operation} the journal at byte {at} failed: {source}")]
    Disk {
        /// What was asked of it.
        operation: Operation,
        /// Offset in the file.
        at: u64,
        /// What it answered.
        source: io::Error,
    },
}

impl JournalError {
    /// Returns whether the same records can be taken by the same journal later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Halted
            | Self::RecordTooLong { .. }
            | Self::FrameTooLong { .. }
            | Self::Disk { .. } => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Halted => "restart the service: what it had acknowledged is safe",
            Self::RecordTooLong { .. } => "split the record",
            Self::FrameTooLong { .. } => "append fewer records at once",
            Self::Disk { source, .. } => disk_hint(source),
        }
    }
}

pub(super) fn disk_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space on that disk, then restart the service"
        }
        io::ErrorKind::ReadOnlyFilesystem => "make the disk writable, then restart the service",
        _ => "check the disk and the system log, then restart the service",
    }
}

/// Why a journal was not opened. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// The disk failed.
    #[error("{operation} the journal at byte {at} failed: {source}")]
    Disk {
        /// What was asked of it.
        operation: Operation,
        /// Offset in the file.
        at: u64,
        /// What it answered.
        source: io::Error,
    },
    /// The file is something else.
    #[error("the file is not a journal")]
    Foreign,
    /// The file or a frame in it is of another version of the format, most likely a newer one.
    #[error("the journal has format version {found}; this program knows version {known}")]
    Version {
        /// The version found.
        found: u32,
        /// The version known.
        known: u32,
    },
    /// The journal is another one, or its records are of another version.
    #[error("this is the journal of ({found}), not of ({wanted})")]
    Kind {
        /// What it is.
        found: Kind,
        /// What it should be.
        wanted: Kind,
    },
    /// The file is shorter or longer than a journal can be: something cut it, or wrote to its end.
    #[error("the journal's file has {length} bytes, which no journal has")]
    Length {
        /// Length found.
        length: u64,
    },
    /// The journal ends before the head behind which it was to be opened: it has lost what it had acknowledged, or is
    /// an older copy.
    #[error("the journal ends before byte {wanted}, up to which a snapshot of it is")]
    Short {
        /// Where it should go on.
        wanted: u64,
    },
    /// The journal is not the one whose head was given, or one of the two is damaged.
    #[error("up to byte {at} this is not the journal that the snapshot was taken of")]
    OtherChain {
        /// Where they should meet.
        at: u64,
    },
    /// The journal has fewer records than were acknowledged, as its owner knows: the last are damaged, or gone.
    #[error("the journal has {found} sound records, of {wanted} that were acknowledged")]
    Fewer {
        /// How many were acknowledged, at least.
        wanted: u64,
        /// How many are there and sound.
        found: u64,
    },
    /// Part of what was acknowledged is not what was written.
    #[error(
        "the journal is damaged at byte {at}: record {record} and those after it are unreadable"
    )]
    Damaged {
        /// Offset of the first bytes that do not fit.
        at: u64,
        /// The number of the first record that cannot be had, from 0.
        record: u64,
        /// Offset of an intact frame after it, which shows that this is no torn end.
        later: Option<u64>,
    },
    /// The journal is sound, but its owner refuses a record.
    #[error("record {record} of the journal is refused: {source}")]
    Replay {
        /// The number of the record, from 0.
        record: u64,
        /// The owner's reason.
        source: E,
    },
}

impl<E> OpenError<E> {
    /// Returns whether the same file can be opened later: only if it was the disk that failed.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Disk { .. } => true,
            Self::Foreign
            | Self::Version { .. }
            | Self::Kind { .. }
            | Self::Length { .. }
            | Self::Short { .. }
            | Self::OtherChain { .. }
            | Self::Fewer { .. }
            | Self::Damaged { .. }
            | Self::Replay { .. } => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disk { source, .. } => disk_hint(source),
            Self::Foreign => "name the right file, or move this one away to begin a new journal",
            Self::Version { .. } => "use the version of the program that wrote it, or a newer one",
            Self::Kind { .. } => "name the file of this service: each has its own",
            Self::Short { .. } | Self::OtherChain { .. } => {
                "find the newest sound copy of the journal; only if this is it, remove the snapshot"
            }
            Self::Length { .. } | Self::Fewer { .. } | Self::Damaged { .. } => {
                "keep this file, check the disk, and put the newest sound copy in its place; \
                 nothing was changed"
            }
            Self::Replay { .. } => "use the version of the program that wrote it",
        }
    }
}

impl<E> From<JournalError> for OpenError<E> {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Disk { operation, at, source } => Self::Disk { operation, at, source },
            // Opening appends nothing.
            JournalError::Halted
            | JournalError::RecordTooLong { .. }
            | JournalError::FrameTooLong { .. } => Self::Disk {
                operation: Operation::Write,
                at: 0,
                source: io::Error::other(error.to_string()),
            },
        }
    }
}
