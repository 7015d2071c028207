//! An append-only log of opaque records: what a service must never forget.
//!
//! A *record* is bytes of its owner. A *frame* is the records of one [`Journal::append`]: they
//! become durable together or not at all. Each frame carries the digest of all before it, the
//! *chain*. The file grows ahead of its frames in zeroed steps, so that making a frame durable
//! need not write the file's length too.
//!
//! ```text
//! | file header | frame | frame | … | frame | 0 0 0 … 0 |
//!                                     ^ torn? cut at open   ^ the next frame goes here
//!
//! append:  grow, sync (seldom) ──► write one frame ──► sync ──► Ok: durable
//!                    │                    │              │
//!                    └── an error ────────┴──────────────┴──► halted, until it is opened anew
//! ```
//!
//! # What always holds
//!
//! - What [`Journal::append`] has returned `Ok` for is replayed by every later [`Journal::open`],
//!   in order, once, with nothing between.
//! - What it has returned an error for may be replayed or not, but all of it or nothing of it.
//! - What is replayed is durable: `open` makes it so before it hands out the first record.
//! - A torn last frame is cut off; an invalid frame with another one after it is damage, and
//!   `open` refuses to guess: it changes nothing and says where.
//! - A refused journal is as it was.
//!
//! # What is not here
//!
//! Snapshots, compaction and search: their owners keep them beside the journal. What is trusted
//! of the disk is in `docs/formats/store.md`; so is the one loss that cannot be seen: the very
//! last frame, damaged at rest, looks like one that was torn before it was acknowledged.
//!
//! ```
//! use fondaco_store::{DiskFile, Journal, Kind};
//! # let folder = std::env::temp_dir().join(format!("fondaco-doc-journal-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! const NOTES: Kind = Kind::new(*b"notes\0\0\0", 1);
//! let path = folder.join("notes.journal");
//! let nothing = |_: &[u8]| -> Result<(), std::convert::Infallible> { unreachable!("a new journal") };
//! let mut journal = Journal::open(DiskFile::open(&path)?, NOTES, nothing)?;
//! journal.append(&["first", "second"])?;
//! drop(journal);
//!
//! let mut records = Vec::new();
//! let journal = Journal::open(DiskFile::open(&path)?, NOTES, |record| {
//!     records.push(String::from_utf8(record.to_vec())?);
//!     Ok::<(), std::string::FromUtf8Error>(())
//! })?;
//! assert_eq!(records, ["first", "second"]);
//! assert_eq!(journal.head().records, 2);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod frame;
mod recovery;

use std::{fmt, io};

use fondaco_crypto::Digest;
use fondaco_ports::Disk;
use fondaco_units::Bytes;

/// The first length of a file.
const STEP_FIRST: u64 = 64 << 10;
/// The most by which a file grows ahead of its frames.
const STEP_MAX: u64 = 4 << 20;
/// How much is written or read at once where it does not matter.
const PIECE: usize = 256 << 10;

/// Which journal a file is, so that no service replays another's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    tag: [u8; 8],
    version: u32,
}

impl Kind {
    /// Names a journal by up to eight ASCII characters, filled up with zeros, and the version of
    /// what its records mean.
    ///
    /// # Panics
    ///
    /// If the tag is empty or has other characters: a fault of the program, found at compile time
    /// where the kind is a constant.
    pub const fn new(tag: [u8; 8], version: u32) -> Self {
        let mut at = 0;
        while at < tag.len() {
            assert!(tag[at].is_ascii_graphic() || (at > 0 && tag[at] == 0), "not a tag");
            at += 1;
        }
        Self { tag, version }
    }

    /// Returns the version of what the records mean.
    pub const fn version(self) -> u32 {
        self.version
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = self.tag.split(|byte| *byte == 0).next().unwrap_or_default();
        write!(f, "{}, version {}", tag.escape_ascii(), self.version)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({self})")
    }
}

/// How far a journal has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many records it has; the number of the next one.
    pub records: u64,
    /// How many frames they came in.
    pub frames: u64,
    /// The digest of all of it, in order.
    pub chain: Digest,
    /// What it takes up, without the zeros ahead.
    pub bytes: Bytes,
}

/// An append-only log of opaque records. See the [module](self) for what it keeps.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    disk: D,
    kind: Kind,
    head: Head,
    /// Length of the file: zeros from `head.bytes` to here, made durable.
    length: u64,
    halted: bool,
}

impl<D: Disk> Journal<D> {
    /// The longest record.
    pub const RECORD_BYTES_MAX: Bytes = Bytes::new(frame::RECORD_MAX as u64);
    /// The most that the records of one [`Journal::append`] take up, with four bytes for each.
    pub const FRAME_BYTES_MAX: Bytes = Bytes::new(frame::PAYLOAD_MAX as u64);

    /// Opens the journal of this kind on `disk`, or begins one if the disk is empty, and hands
    /// every record to `replay`, in order.
    ///
    /// # Errors
    ///
    /// The disk fails, holds something else or a damaged journal, or `replay` refuses a record.
    /// Nothing was changed then, but for a journal that was never begun; records may already have
    /// been handed to `replay`: throw away what it built.
    pub fn open<E>(
        disk: D,
        kind: Kind,
        replay: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        recovery::open(disk, kind, replay)
    }

    /// Appends `records` as one frame: when this returns `Ok`, all of them are durable.
    ///
    /// With no records it does nothing.
    ///
    /// # Errors
    ///
    /// Records that are too long, alone or together, are refused and change nothing. After a
    /// failure of the disk the journal is halted, and whether the records are in it is not known
    /// before it is opened anew: then either all of them are or none.
    pub fn append(&mut self, records: &[impl AsRef<[u8]>]) -> Result<(), JournalError> {
        if self.halted {
            return Err(JournalError::Halted);
        }
        if records.is_empty() {
            return Ok(());
        }
        let (frame, chain) = frame::encode(self.head.chain, self.head.records, records)?;
        let at = self.head.bytes.get();
        let end = at + frame.len() as u64;
        // Halted until the opposite is known: a panic of the disk must not leave it open.
        self.halted = true;
        let (disk, length) = (&mut self.disk, self.length);
        if end > length {
            self.length = grow(disk, length, end)?;
        }
        disk.write_at(at, &frame).map_err(failed(Operation::Write, at))?;
        disk.sync().map_err(failed(Operation::Sync, at))?;
        self.halted = false;
        self.head = Head {
            records: self.head.records + records.len() as u64,
            frames: self.head.frames + 1,
            chain,
            bytes: Bytes::new(end),
        };
        Ok(())
    }

    /// Returns how far the journal has come: what is acknowledged, and what was found at opening.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Returns which journal this is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns whether the disk has failed, so that nothing more can be appended.
    pub const fn is_halted(&self) -> bool {
        self.halted
    }

    /// Gives up the disk.
    pub fn into_disk(self) -> D {
        self.disk
    }
}

/// Lengthens the file to the first step that reaches `end`, in zeros, made durable.
fn grow(disk: &mut impl Disk, length: u64, end: u64) -> Result<u64, JournalError> {
    let mut longer = length;
    while longer < end {
        longer += longer.min(STEP_MAX);
    }
    // The length goes first and alone: so a crash leaves a step's length, and a file of any other
    // length was cut by something else.
    disk.set_len(longer).map_err(failed(Operation::Grow, length))?;
    disk.sync().map_err(failed(Operation::Sync, length))?;
    zero(disk, length, longer)?;
    Ok(longer)
}

/// Whether a file can have this length, as [`grow`] makes it.
const fn is_step(length: u64) -> bool {
    let doubled = length >= STEP_FIRST && length <= STEP_MAX && length.is_power_of_two();
    doubled || (length > STEP_MAX && length.is_multiple_of(STEP_MAX))
}

/// Writes zeros from `from` to `to`, made durable.
fn zero(disk: &mut impl Disk, from: u64, to: u64) -> Result<(), JournalError> {
    let zeros = vec![0; PIECE];
    let mut at = from;
    while at < to {
        let piece = usize::try_from(to - at).unwrap_or(PIECE).min(PIECE);
        disk.write_at(at, &zeros[..piece]).map_err(failed(Operation::Write, at))?;
        at += piece as u64;
    }
    disk.sync().map_err(failed(Operation::Sync, from))
}

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

fn failed(operation: Operation, at: u64) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Disk { operation, at, source }
}

/// Why a journal did not take records. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk failed before; nothing more is taken until the journal is opened anew.
    #[error("the journal is halted, because its disk failed before")]
    Halted,
    /// A record is over [`Journal::RECORD_BYTES_MAX`].
    #[error("record {index} has {bytes} bytes, over the maximum of {bytes_max}")]
    RecordTooLong {
        /// Which of the records given, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// The records together are over [`Journal::FRAME_BYTES_MAX`].
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

fn disk_hint(source: &io::Error) -> &'static str {
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
            Self::Length { .. } | Self::Damaged { .. } => {
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
