//! A snapshot: what the owner of a journal was at one head of it, so that it need not be replayed from its beginning.
//!
//! ```text
//! | header 96: kind, head, length | body | digest |
//!
//! save:  .name.new, written and synced ──► renamed to name ──► folder synced
//! load:  sound ──► head and body;  missing ──► nothing;  else an error: replay the journal whole
//! ```
//!
//! # What always holds
//!
//! - After a crash there is the snapshot before or the new one, never a part of one.
//! - A body that is handed out is the one that was saved with this head, for this kind.
//! - A length is believed only if the file has it.
//!
//! # What is not here
//!
//! What is in the body, and whether the journal is still the one: [`Journal::open_at`](crate::Journal::open_at) says so. A
//! snapshot is a shortcut: it holds nothing that the journal does not.
//!
//! ```
//! use fondaco_store::{Journal, DiskFile, Kind, load_snapshot, save_snapshot};
//! # let folder = std::env::temp_dir().join(format!("fondaco-doc-snapshot-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! const SUMS: Kind = Kind::new(*b"sums\0\0\0\0", 1);
//! let (path, beside) = (folder.join("journal"), folder.join("snapshot"));
//! let mut sum = 0;
//! let mut journal = Journal::open(DiskFile::open(&path)?, SUMS, |_| Ok::<(), std::fmt::Error>(()))?;
//! for number in [5, 6] {
//!     sum += number;
//!     journal.append(&[[number]])?;
//! }
//! save_snapshot(&beside, SUMS, journal.head(), &[sum])?;
//! journal.append(&[[7]])?;
//! drop(journal);
//!
//! let (head, body) = load_snapshot(&beside, SUMS)?.ok_or("it was saved")?;
//! let mut sum = body[0];
//! Journal::open_at(DiskFile::open(&path)?, SUMS, head, |record| {
//!     sum += record[0];
//!     Ok::<(), std::fmt::Error>(())
//! })?;
//! assert_eq!(sum, 18);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use fondaco_codec::{DecodeError, Encode, Reader};
use fondaco_crypto::{Digest, Domain, Hasher};
use fondaco_ports::Disk;
use fondaco_units::Bytes;

use crate::{
    FileError, FileOperation, Head, Kind,
    file::{NewFile, Scratch},
};

const MAGIC: &[u8; 8] = b"\x89FONSNP\n";
const VERSION: u32 = 1;
const HEADER: usize = 96;
const TRAILER: usize = 32;
/// How much is read or written between two steps of the digest.
const PIECE: usize = 1 << 20;

const CHECK: Domain = Domain::new("fondaco 2026 snapshot header v1");
const WHOLE: Domain = Domain::new("fondaco 2026 snapshot v1");

/// Saves what the owner of a journal of this kind was at `head`, in place of the snapshot before.
///
/// When this returns `Ok` it is durable. One writer at a time; readers are not disturbed.
///
/// # Errors
///
/// The folder is missing or may not be written, or the disk is full or fails; the snapshot before stays.
pub fn save_snapshot(path: &Path, kind: Kind, head: Head, body: &[u8]) -> Result<(), FileError> {
    let mut file = NewFile::create(path, 0o600)?;
    lay_out(kind, head, body.len() as u64, of_slice(body), |piece| file.write(piece))?;
    file.persist()
}

/// A body on its way to become a snapshot, out of memory: in a file without a name, which is gone if the process ends.
///
/// The owner of a large state writes it here as fast as it can and goes on; [`Spill::save`], which syncs and takes its
/// time, is for another thread.
#[derive(Debug)]
pub struct Spill {
    path: PathBuf,
    scratch: Scratch,
}

impl Spill {
    /// Begins the body of the snapshot that will be at `path`. One at a time.
    ///
    /// # Errors
    ///
    /// The folder is missing or may not be written, or the disk fails.
    pub fn begin(path: &Path) -> Result<Self, FileError> {
        Ok(Self { path: path.to_owned(), scratch: Scratch::beside(path)? })
    }

    /// Adds to the body.
    ///
    /// # Errors
    ///
    /// The disk is full or fails.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), FileError> {
        self.scratch.write(piece)
    }

    /// Returns how long the body is.
    pub const fn bytes(&self) -> Bytes {
        Bytes::new(self.scratch.length())
    }

    /// Saves the snapshot with this body, as [`save_snapshot`] does.
    ///
    /// # Errors
    ///
    /// As [`save_snapshot`].
    pub fn save(self, kind: Kind, head: Head) -> Result<(), FileError> {
        let Self { path, scratch } = self;
        let mut file = NewFile::create(&path, 0o600)?;
        let from = |at, piece: &mut [u8]| scratch.read(at, piece);
        lay_out(kind, head, scratch.length(), from, |piece| file.write(piece))?;
        file.persist()
    }
}

/// Writes the same into a file that is empty, and syncs it. The caller keeps the snapshot before until this returned
/// `Ok`.
///
/// # Errors
///
/// The disk is full or fails: what is in the file is no snapshot.
pub fn write_snapshot(disk: &mut impl Disk, kind: Kind, head: Head, body: &[u8]) -> io::Result<()> {
    let mut at = 0;
    lay_out(kind, head, body.len() as u64, of_slice(body), |piece| {
        disk.write_at(at, piece)?;
        at += piece.len() as u64;
        io::Result::Ok(())
    })?;
    disk.sync()
}

/// Fills pieces from a body in memory.
fn of_slice<E>(body: &[u8]) -> impl Fn(u64, &mut [u8]) -> Result<(), E> {
    move |at, piece| {
        let at = usize::try_from(at).unwrap_or(body.len());
        piece.copy_from_slice(&body[at..at + piece.len()]);
        Ok(())
    }
}

/// Hands out the bytes of a snapshot, in pieces; `read` fills a piece with the body from an offset on.
fn lay_out<E>(
    kind: Kind,
    head: Head,
    length: u64,
    read: impl Fn(u64, &mut [u8]) -> Result<(), E>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let header = header(kind, head, length);
    let mut whole = Hasher::new(WHOLE);
    whole.update(&header);
    write(&header)?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let left = usize::try_from(length - at).unwrap_or(PIECE);
        piece.truncate(left);
        read(at, &mut piece)?;
        whole.update(&piece);
        write(&piece)?;
        at += piece.len() as u64;
    }
    write(whole.finish().as_bytes())
}

/// Loads the snapshot at `path`, which must be of this kind; nothing if there is none.
///
/// # Errors
///
/// It is another kind's, of another version or damaged, or the disk fails. Whoever has the journal can replay it whole.
pub fn load_snapshot(path: &Path, kind: Kind) -> Result<Option<(Head, Vec<u8>)>, SnapshotError> {
    let at = |operation| move |source| FileError::new(path, operation, source);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(FileOperation::Open)(error).into()),
    };
    let size = file.metadata().map_err(at(FileOperation::Inspect))?.len();
    read(&mut file, size, path, kind).map(Some)
}

/// Reads a snapshot from a file of a disk; `path` is what it is called in errors.
///
/// # Errors
///
/// As [`load_snapshot`].
pub fn read_snapshot(
    disk: &impl Disk,
    path: &Path,
    kind: Kind,
) -> Result<(Head, Vec<u8>), SnapshotError> {
    let inspected = |source| FileError::new(path, FileOperation::Inspect, source);
    let size = disk.len().map_err(inspected)?;
    read(&mut DiskReader { disk, at: 0 }, size, path, kind)
}

/// A disk's file, from its front.
struct DiskReader<'a, D> {
    disk: &'a D,
    at: u64,
}

impl<D: Disk> Read for DiskReader<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.disk.read_at(self.at, buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Reads a file of this size.
fn read(
    file: &mut impl Read,
    size: u64,
    path: &Path,
    kind: Kind,
) -> Result<(Head, Vec<u8>), SnapshotError> {
    let at = |operation| move |source| FileError::new(path, operation, source);
    let path_of = || path.to_owned();
    let mut header = [0; HEADER];
    let there = usize::try_from(size).map_or(HEADER, |size| size.min(HEADER));
    file.read_exact(&mut header[..there]).map_err(at(FileOperation::Read))?;
    let header_of = match parse(&header) {
        Parsed::Sound(header) => header,
        Parsed::Version(found) => {
            return Err(SnapshotError::Version { path: path_of(), found, known: VERSION });
        }
        Parsed::Broken => return Err(SnapshotError::Damaged { path: path_of() }),
        Parsed::Foreign => return Err(SnapshotError::Foreign { path: path_of() }),
    };
    if header_of.kind != kind {
        let found = header_of.kind;
        return Err(SnapshotError::Kind { path: path_of(), found, wanted: kind });
    }
    let wanted = header_of.length.saturating_add((HEADER + TRAILER) as u64);
    if size != wanted {
        return Err(SnapshotError::Length { path: path_of(), found: size, wanted });
    }
    let too_large = || SnapshotError::Memory { path: path_of(), bytes: Bytes::new(size) };
    let length = usize::try_from(header_of.length).map_err(|_| too_large())?;
    let mut body = Vec::new();
    body.try_reserve_exact(length).map_err(|_| too_large())?;
    let mut whole = Hasher::new(WHOLE);
    whole.update(&header);
    while body.len() < length {
        let from = body.len();
        body.resize(length.min(from + PIECE), 0);
        file.read_exact(&mut body[from..]).map_err(at(FileOperation::Read))?;
        whole.update(&body[from..]);
    }
    let mut trailer = [0; TRAILER];
    file.read_exact(&mut trailer).map_err(at(FileOperation::Read))?;
    if whole.finish().as_bytes() != &trailer {
        return Err(SnapshotError::Damaged { path: path_of() });
    }
    Ok((header_of.head, body))
}

fn check(covered: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&Digest::derive(CHECK, covered).as_bytes()[..8]);
    check
}

fn header(kind: Kind, head: Head, length: u64) -> [u8; HEADER] {
    let mut out = Vec::with_capacity(HEADER);
    out.extend_from_slice(MAGIC);
    VERSION.encode(&mut out);
    kind.tag().encode(&mut out);
    kind.version().encode(&mut out);
    head.records.encode(&mut out);
    head.frames.encode(&mut out);
    head.chain.encode(&mut out);
    head.bytes.get().encode(&mut out);
    length.encode(&mut out);
    let check = check(&out);
    out.extend_from_slice(&check);
    let mut header = [0; HEADER];
    header.copy_from_slice(&out);
    header
}

struct Header {
    kind: Kind,
    head: Head,
    length: u64,
}

enum Parsed {
    Sound(Header),
    /// The check holds, and the version is another one.
    Version(u32),
    Broken,
    Foreign,
}

fn parse(bytes: &[u8; HEADER]) -> Parsed {
    let (covered, stated) = bytes.split_at(HEADER - 8);
    if !covered.starts_with(MAGIC) {
        return Parsed::Foreign;
    }
    // Another version may check otherwise: its number stands in the same place in all of them.
    let fields = || -> Result<(u32, Header), DecodeError> {
        let mut input = Reader::new(&covered[MAGIC.len()..]);
        let version = u32::from_le_bytes(input.array()?);
        let (tag, kind_version) = (input.array()?, u32::from_le_bytes(input.array()?));
        let records = u64::from_le_bytes(input.array()?);
        let frames = u64::from_le_bytes(input.array()?);
        let chain = Digest::from_bytes(input.array()?);
        let bytes = Bytes::new(u64::from_le_bytes(input.array()?));
        let length = u64::from_le_bytes(input.array()?);
        let kind = Kind::of(tag, kind_version);
        let head = Head { records, frames, chain, bytes };
        Ok((version, Header { kind, head, length }))
    };
    match fields() {
        Ok(_) if check(covered) != stated => Parsed::Broken,
        Ok((version, _)) if version != VERSION => Parsed::Version(version),
        Ok((_, header)) => Parsed::Sound(header),
        Err(_) => Parsed::Broken,
    }
}

/// Why a snapshot was not loaded. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is something else.
    #[error("{} is not a snapshot", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is of another version of the format, most likely a newer one.
    #[error("{} has format version {found}; this program knows version {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The version known.
        known: u32,
    },
    /// It is a snapshot of something else, or its body is of another version.
    #[error("{} is a snapshot of ({found}), not of ({wanted})", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: Kind,
        /// What it should be.
        wanted: Kind,
    },
    /// The file is shorter or longer than it says.
    #[error("{} has {found} bytes, and should have {wanted}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length that its header states.
        wanted: u64,
    },
    /// This machine has no memory for it.
    #[error("{} has {bytes}, for which there is no memory", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: Bytes,
    },
    /// It is not what was saved.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl SnapshotError {
    /// Returns whether the same file can be loaded later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::File(error) => error.is_transient(),
            Self::Memory { .. } => true,
            Self::Foreign { .. }
            | Self::Version { .. }
            | Self::Kind { .. }
            | Self::Length { .. }
            | Self::Damaged { .. } => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File(error) => error.hint(),
            Self::Memory { .. } => "use a machine with more memory",
            Self::Foreign { .. } | Self::Kind { .. } => "move this file away",
            Self::Version { .. } => {
                "use the version of the program that wrote it, or move it away: the journal has all \
                 that it has"
            }
            Self::Length { .. } | Self::Damaged { .. } => {
                "check the disk; the journal has all that it has"
            }
        }
    }
}
