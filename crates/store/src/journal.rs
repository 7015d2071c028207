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
//! - One that is [written anew](Journal::rewrite) is the old one or the new one after a crash, whole.
//!
//! # What is not here
//!
//! Search, and what could take the place of the records: that is their owners'. A [snapshot](crate::snapshot) is a shortcut of
//! its owner's: [`Journal::open_at`] starts behind it. What is trusted of the disk is in `docs/formats/store.md`; so is the one loss that cannot be seen: the very
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

mod copy;
mod error;
mod frame;
mod read;
mod recovery;

pub use copy::{CopyError, copy_journal};
pub use error::{JournalError, OpenError, Operation};
pub use frame::Records;
pub use read::{Frame, ReadError, read_frame};

use std::{fmt, io::ErrorKind, ops::Range};

use fondaco_crypto::Digest;
use fondaco_ports::Disk;
use fondaco_units::Bytes;

use error::failed;

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

    /// Takes over a tag that was read, whatever is in it.
    pub(crate) const fn of(tag: [u8; 8], version: u32) -> Self {
        Self { tag, version }
    }

    pub(crate) const fn tag(self) -> [u8; 8] {
        self.tag
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

/// Where one frame is, and what the journal was when it was durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where it begins in the file: what [`read_frame`] asks for.
    pub at: Bytes,
    /// The numbers of its records.
    pub records: Range<u64>,
    /// The digest of the whole journal up to its end.
    pub chain: Digest,
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
    /// Where frames are put together.
    scratch: Vec<u8>,
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
        Self::open_with(disk, kind, None, each(replay))
    }

    /// Opens the journal as [`Journal::open`] does, and hands a torn end to `keep` before it is cut off: where it begins, and its
    /// bytes. Nobody can tell it from a last frame that was damaged at rest: that way nothing is lost of either.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`]; and `keep` fails ([`OpenError::Disk`]). Nothing was cut off then.
    pub fn open_keeping<E>(
        disk: D,
        kind: Kind,
        mut keep: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
        replay: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        recovery::open(disk, kind, None, 0, Some(&mut keep), each(replay))
    }

    /// Opens the journal of this kind on `disk` behind `head`, which a snapshot has from [`Journal::head`], and hands
    /// every record after it to `replay`.
    ///
    /// What is before `head` is not read, but for the file's header and the digest that ends the frame before: damage there
    /// is found by [`Journal::open`] alone. From there on all is as with `open`.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`]; and the journal ends before `head` ([`OpenError::Short`]), or is not the one that `head` was
    /// of ([`OpenError::OtherChain`]). Either shows that acknowledged records were lost or that another copy was put in place:
    /// [`Journal::open`] may open it, and forgets them; let a person decide. The number of frames that `head` states is believed.
    pub fn open_at<E>(
        disk: D,
        kind: Kind,
        head: Head,
        replay: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        Self::open_with(disk, kind, Some(head), each(replay))
    }

    /// Opens the journal as [`Journal::open`] does, or behind `start` as [`Journal::open_at`] does, and hands each frame to
    /// `visit`, with where it is. What `visit` leaves of the records is passed over.
    ///
    /// # Errors
    ///
    /// As those two. A refusal of `visit` is told with the number of the record that it took last.
    pub fn open_with<E>(
        disk: D,
        kind: Kind,
        start: Option<Head>,
        visit: impl FnMut(&Appended, &mut Records<'_>) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        recovery::open(disk, kind, start, 0, None, visit)
    }

    /// Opens the journal as [`Journal::open_with`] does, if it has at least `records_min` records: as many as were
    /// acknowledged, for all that is known elsewhere.
    ///
    /// A last frame that was damaged at rest looks like one that was torn before it was acknowledged. Who knows how many
    /// records there were keeps it from being cut off.
    ///
    /// # Errors
    ///
    /// As [`Journal::open_with`]; and there are fewer ([`OpenError::Fewer`]). Nothing was changed then.
    pub fn open_through<E>(
        disk: D,
        kind: Kind,
        start: Option<Head>,
        records_min: u64,
        visit: impl FnMut(&Appended, &mut Records<'_>) -> Result<(), E>,
    ) -> Result<Self, OpenError<E>> {
        recovery::open(disk, kind, start, records_min, None, visit)
    }

    /// Hands each frame of the journal on `disk` to `visit` and changes nothing, not even a torn end. Returns how far the
    /// journal comes, and how many bytes of a torn frame follow.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`].
    pub fn look<E>(
        disk: &D,
        kind: Kind,
        visit: impl FnMut(&Appended, &mut Records<'_>) -> Result<(), E>,
    ) -> Result<(Head, Bytes), OpenError<E>> {
        recovery::look(disk, kind, visit)
    }

    /// Appends `records` as one frame: when this returns `Ok`, all of them are durable. Returns where they are.
    ///
    /// With no records it does nothing, and returns the end of the journal.
    ///
    /// # Errors
    ///
    /// Records that are too long, alone or together, are refused and change nothing. After a
    /// failure of the disk the journal is halted, and whether the records are in it is not known
    /// before it is opened anew: then either all of them are or none.
    pub fn append(&mut self, records: &[impl AsRef<[u8]>]) -> Result<Appended, JournalError> {
        if self.halted {
            return Err(JournalError::Halted);
        }
        let Head { records: first, chain, bytes, frames } = self.head;
        if records.is_empty() {
            return Ok(Appended { at: bytes, records: first..first, chain });
        }
        let frame = &mut self.scratch;
        let chain = frame::encode(chain, first, records, frame)?;
        let at = bytes.get();
        let end = at + frame.len() as u64;
        // Halted until the opposite is known: a panic of the disk must not leave it open.
        self.halted = true;
        let (disk, length) = (&mut self.disk, self.length);
        if end > length {
            self.length = grow(disk, length, end)?;
        }
        disk.write_at(at, frame).map_err(failed(Operation::Write, at))?;
        disk.sync().map_err(failed(Operation::Sync, at))?;
        self.halted = false;
        let next = first + records.len() as u64;
        self.head = Head { records: next, frames: frames + 1, chain, bytes: Bytes::new(end) };
        Ok(Appended { at: bytes, records: first..next, chain })
    }

    /// Sees to it that frames which take up `bytes` have room in the file, zeros made durable, so that [`Journal::append`]
    /// does not find the disk full. Returns whether they have; if not, nothing changed.
    ///
    /// # Errors
    ///
    /// The disk fails otherwise. The journal is halted then.
    pub fn reserve(&mut self, bytes: Bytes) -> Result<bool, JournalError> {
        if self.halted {
            return Err(JournalError::Halted);
        }
        let end = self.head.bytes.get().saturating_add(bytes.get());
        if end <= self.length {
            return Ok(true);
        }
        self.halted = true;
        match grow(&mut self.disk, self.length, end) {
            Ok(length) => self.length = length,
            // What a failed sync has done nobody knows, whatever it says.
            Err(JournalError::Disk {
                operation: Operation::Grow | Operation::Write,
                source,
                ..
            }) if is_full(&source) => {
                // The zeros that did fit are given back: others need the rest of the disk, too.
                self.disk.set_len(self.length).map_err(failed(Operation::Grow, self.length))?;
                self.halted = false;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        self.halted = false;
        Ok(true)
    }

    /// Writes the journal anew: `records`, which lead to the same, in the place of all that it has. They are numbered from 0,
    /// and the chain begins anew: a head that was kept of it is of another journal then.
    ///
    /// # Errors
    ///
    /// Halted, a record that is too long, or the disk fails. The journal is as it was then, or takes nothing more until
    /// it is opened anew: whole, as it was or as it was to be.
    pub fn rewrite(
        &mut self,
        records: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), JournalError> {
        if self.halted {
            return Err(JournalError::Halted);
        }
        let (kind, frame, mut records) = (self.kind, &mut self.scratch, records.into_iter());
        let (mut head, mut length, mut refused) = (recovery::start_of(kind), 0, None);
        let done = self.disk.replace(&mut |out| {
            out.write_all(&frame::file_header(kind))?;
            loop {
                let batch = batch(&mut records);
                if batch.is_empty() {
                    break;
                }
                head.chain =
                    frame::encode(head.chain, head.records, &batch, frame).map_err(|error| {
                        refused = Some(error);
                        ErrorKind::InvalidInput
                    })?;
                out.write_all(frame)?;
                head.records += batch.len() as u64;
                head.frames += 1;
                head.bytes = Bytes::new(head.bytes.get() + frame.len() as u64);
            }
            length = step_to(STEP_FIRST, head.bytes.get());
            write_zeros(length - head.bytes.get(), |zeros| out.write_all(zeros))
        });
        done.map_err(|error| refused.unwrap_or_else(|| failed(Operation::Write, 0)(error)))?;
        (self.head, self.length) = (head, length);
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

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Makes a visitor of frames of one of records.
fn each<E>(
    mut replay: impl FnMut(&[u8]) -> Result<(), E>,
) -> impl FnMut(&Appended, &mut Records<'_>) -> Result<(), E> {
    move |_, records| records.try_for_each(&mut replay)
}

/// Takes as many records as make a frame of a piece, or one that is longer.
fn batch(records: &mut impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < PIECE
        && let Some(record) = records.next()
    {
        bytes += record.len();
        batch.push(record);
    }
    batch
}

/// Writes `left` zeros, piece by piece.
fn write_zeros<E>(mut left: u64, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let zeros = vec![0; PIECE];
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        write(&zeros[..piece])?;
        left -= piece as u64;
    }
    Ok(())
}

/// The first length at or above `length`, itself one, that reaches `end`.
fn step_to(length: u64, end: u64) -> u64 {
    let mut longer = length;
    while longer < end {
        longer += longer.min(STEP_MAX);
    }
    longer
}

/// Lengthens the file to the first step that reaches `end`, in zeros, made durable.
fn grow(disk: &mut impl Disk, length: u64, end: u64) -> Result<u64, JournalError> {
    let longer = step_to(length, end);
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
    let mut at = from;
    write_zeros(to - from, |zeros| {
        disk.write_at(at, zeros).map_err(failed(Operation::Write, at))?;
        at += zeros.len() as u64;
        Ok(())
    })?;
    disk.sync().map_err(failed(Operation::Sync, from))
}
