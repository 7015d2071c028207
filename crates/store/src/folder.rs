//! A folder of blobs, each named by its digest: what a host keeps for others.
//!
//! A *blob* is written once and never changed. It may have several *parts*: its data, and what
//! belongs to it, such as the tree of hashes over it.
//!
//! ```text
//! root/.lock            held while the folder is open
//! root/incoming/17      being written; removed at opening
//! root/ab/cdef…         the data of the blob abcdef…
//! root/ab/cdef….tree    another part of it
//!
//! begin ──► Incoming ──┬── commit: sync the file, name it, sync its folder ──► there, durable
//!                      └── dropped, or a crash ──► as if it had never been
//! ```
//!
//! # What always holds
//!
//! - A blob that is there is whole, and stays so through a crash once `commit` has returned.
//! - One process at a time has the folder.
//!
//! # What is not here
//!
//! Whether the name is the digest of what was written: whoever commits has checked that, while the
//! bytes came in. Whether old bytes still are what they were: read them against their tree.
//!
//! ```
//! use fondaco_crypto::Digest;
//! use fondaco_store::{ContentFolder, Part};
//! # let root = std::env::temp_dir().join(format!("fondaco-doc-folder-{}", std::process::id()));
//! let folder = ContentFolder::open(&root)?;
//! let mut incoming = folder.begin()?;
//! incoming.write(b"hello ")?;
//! incoming.write(b"world")?;
//! let name = Digest::of(b"hello world");
//! incoming.commit(name, Part::DATA)?;
//! let mut buffer = [0; 5];
//! assert_eq!(folder.read_at(name, Part::DATA, 6, &mut buffer)?, 5);
//! assert_eq!(&buffer, b"world");
//! # drop(folder);
//! # std::fs::remove_dir_all(root)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use fondaco_crypto::Digest;
use fondaco_units::Bytes;

use crate::{FileError, FileOperation, file::sync_folder, file::sync_folder_of};

const LOCK: &str = ".lock";
const INCOMING: &str = "incoming";

/// Which part of a blob: how its file's name ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part([u8; 8]);

impl Part {
    /// The data itself.
    pub const DATA: Self = Self([0; 8]);

    /// Names another part by one to eight lowercase letters and digits.
    ///
    /// # Panics
    ///
    /// If it has others: a fault of the program, found at compile time where it is a constant.
    pub const fn new(suffix: &str) -> Self {
        match Self::parse(suffix.as_bytes()) {
            Some(part) => part,
            None => panic!("a part is named by one to eight lowercase letters and digits"),
        }
    }

    const fn parse(suffix: &[u8]) -> Option<Self> {
        let mut part = [0; 8];
        if suffix.is_empty() || suffix.len() > part.len() {
            return None;
        }
        let mut at = 0;
        while at < suffix.len() {
            if !(suffix[at].is_ascii_lowercase() || suffix[at].is_ascii_digit()) {
                return None;
            }
            part[at] = suffix[at];
            at += 1;
        }
        Some(Self(part))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.0.iter().take_while(|byte| **byte != 0);
        used.into_iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({self})")
    }
}

/// A folder of blobs named by their digests. See the [module](self) for what it keeps.
#[derive(Debug)]
pub struct ContentFolder {
    root: PathBuf,
    next: AtomicU64,
    is_read_only: bool,
    _lock: File,
}

impl ContentFolder {
    /// Opens the folder at `root` for this process alone; creates it if it is missing, and removes
    /// what a crash left half written. One that may not be written to any more is opened as it is: what is in it can be read, and
    /// whatever is written fails.
    ///
    /// # Errors
    ///
    /// Another process has it open, it is not there and may not be made, or the disk fails.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, FileError> {
        let root = root.into();
        match Self::open_to_write(root.clone()) {
            Err(FileError::ReadOnly { .. }) if Self::is_at(&root) => {
                let lock = lock(&root, OpenOptions::new().read(true))?;
                Ok(Self { root, next: AtomicU64::new(0), is_read_only: true, _lock: lock })
            }
            opened => opened,
        }
    }

    fn open_to_write(root: PathBuf) -> Result<Self, FileError> {
        fs::create_dir_all(&root).map_err(at(&root, FileOperation::Create))?;
        sync_folder_of(&root).map_err(at(&root, FileOperation::Sync))?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let lock = lock(&root, options)?;
        let incoming = root.join(INCOMING);
        match fs::remove_dir_all(&incoming) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new(&incoming, FileOperation::Remove, error));
            }
            Ok(()) | Err(_) => {}
        }
        fs::create_dir(&incoming).map_err(at(&incoming, FileOperation::Create))?;
        // All at once: made when first needed, a folder could be used by one thread before another
        // has made its name durable.
        for shard in 0..=u8::MAX {
            let shard = root.join(format!("{shard:02x}"));
            match fs::create_dir(&shard) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(FileError::new(&shard, FileOperation::Create, error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        sync_folder(&root).map_err(at(&root, FileOperation::Sync))?;
        Ok(Self { root, next: AtomicU64::new(0), is_read_only: false, _lock: lock })
    }

    /// Returns whether there is such a folder at `root`, whoever has it open.
    pub fn is_at(root: &Path) -> bool {
        root.join(LOCK).exists()
    }

    /// Returns whether the folder is still there: the disk that it is on may have been taken away.
    pub fn is_there(&self) -> bool {
        Self::is_at(&self.root)
    }

    /// Returns whether it could not be written to when it was opened.
    pub const fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// Returns where the folder is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Begins a blob.
    ///
    /// # Errors
    ///
    /// The disk is full, may not be written, or fails.
    pub fn begin(&self) -> Result<Incoming, FileError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(INCOMING).join(number.to_string());
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(at(&path, FileOperation::Create))?;
        Ok(Incoming { file, path: Some(path), root: self.root.clone(), length: 0 })
    }

    /// Opens a part of a blob for reading.
    ///
    /// # Errors
    ///
    /// It is not there ([`FileError::Missing`]), or the disk fails.
    pub fn get(&self, name: Digest, part: Part) -> Result<Blob, FileError> {
        let path = path_of(&self.root, name, part);
        let file = File::open(&path).map_err(at(&path, FileOperation::Open))?;
        Ok(Blob { file, path })
    }

    /// Reads into `buffer` from `offset`; returns how many bytes were there, fewer only at the end.
    ///
    /// # Errors
    ///
    /// It is not there, or the disk fails.
    pub fn read_at(
        &self,
        name: Digest,
        part: Part,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, FileError> {
        self.get(name, part)?.read_at(offset, buffer)
    }

    /// Returns the length of a part of a blob; nothing if it is not there.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub fn length(&self, name: Digest, part: Part) -> Result<Option<Bytes>, FileError> {
        let path = path_of(&self.root, name, part);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(Bytes::new(metadata.len()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::new(&path, FileOperation::Inspect, error)),
        }
    }

    /// Returns whether a part of a blob is there.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub fn contains(&self, name: Digest, part: Part) -> Result<bool, FileError> {
        Ok(self.length(name, part)?.is_some())
    }

    /// Removes a part of a blob, durably; returns whether it was there.
    ///
    /// # Errors
    ///
    /// The disk may not be written, or fails.
    pub fn remove(&self, name: Digest, part: Part) -> Result<bool, FileError> {
        let path = path_of(&self.root, name, part);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(FileError::new(&path, FileOperation::Remove, error)),
        }
        sync_folder_of(&path).map_err(at(&path, FileOperation::Sync))?;
        Ok(true)
    }

    /// Lists every part of every blob, by name and then by part; files that are none are skipped.
    ///
    /// # Errors
    ///
    /// The disk fails; then the list goes on after the error with the next 256th of the names.
    pub fn list(&self) -> impl Iterator<Item = Result<(Digest, Part), FileError>> + use<> {
        let root = self.root.clone();
        (0..=u8::MAX).flat_map(move |shard| match list_shard(&root, shard) {
            Ok(found) => found.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    }
}

fn lock(root: &Path, options: &OpenOptions) -> Result<File, FileError> {
    let path = root.join(LOCK);
    let file = options.open(&path).map_err(at(&path, FileOperation::Create))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FileError::Locked { path: root.to_owned() }),
        Err(TryLockError::Error(source)) => Err(FileError::new(&path, FileOperation::Lock, source)),
    }
}

fn path_of(root: &Path, name: Digest, part: Part) -> PathBuf {
    let name = name.to_string();
    let (shard, rest) = name.split_at(2);
    let file = if part == Part::DATA { rest.to_owned() } else { format!("{rest}.{part}") };
    root.join(shard).join(file)
}

fn list_shard(root: &Path, shard: u8) -> Result<Vec<(Digest, Part)>, FileError> {
    let shard = format!("{shard:02x}");
    let path = root.join(&shard);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::new(&path, FileOperation::Read, error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(&path, FileOperation::Read))?;
        let file = entry.file_name();
        let Some((rest, part)) = file.to_str().and_then(parse_name) else { continue };
        if let Ok(name) = format!("{shard}{rest}").parse() {
            found.push((name, part));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn parse_name(file: &str) -> Option<(&str, Part)> {
    match file.split_once('.') {
        None => Some((file, Part::DATA)),
        Some((rest, suffix)) => Some((rest, Part::parse(suffix.as_bytes())?)),
    }
}

fn at(path: &Path, operation: FileOperation) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::new(path, operation, source)
}

/// A blob that is being written. Dropped without [`Incoming::commit`], it is gone.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    /// Where it is until it is named.
    path: Option<PathBuf>,
    root: PathBuf,
    length: u64,
}

impl Incoming {
    /// Adds `bytes` at the end.
    ///
    /// # Errors
    ///
    /// The disk is full ([`FileError::Full`]) or fails; then drop this blob.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.write_at(self.length, bytes)
    }

    /// Writes `bytes` at `offset`; what is left out reads as zeros.
    ///
    /// # Errors
    ///
    /// As [`Incoming::write`].
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|source| FileError::new(&self.place(), FileOperation::Write, source))?;
        self.length = self.length.max(offset.saturating_add(bytes.len() as u64));
        Ok(())
    }

    /// Returns how long it is so far.
    pub const fn length(&self) -> Bytes {
        Bytes::new(self.length)
    }

    /// Reads back what was written, once, from the front.
    pub fn reader(&self) -> impl io::Read + '_ {
        // Writes are positioned, so the file's own position is still at its beginning.
        io::BufReader::with_capacity(256 << 10, &self.file)
    }

    /// Makes the blob durable under `name`; takes the place of one that is there already.
    ///
    /// # Errors
    ///
    /// The disk is full or fails: the blob may be there or not, but not in part.
    pub fn commit(mut self, name: Digest, part: Part) -> Result<(), FileError> {
        let from = self.place();
        self.file.sync_all().map_err(at(&from, FileOperation::Sync))?;
        let to = path_of(&self.root, name, part);
        let shard = to.parent().unwrap_or(&self.root);
        fs::rename(&from, &to).map_err(at(&to, FileOperation::Rename))?;
        self.path = None;
        sync_folder(shard).map_err(at(shard, FileOperation::Sync))
    }

    fn place(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| self.root.join(INCOMING))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now is removed at the next opening.
            let _ = fs::remove_file(path);
        }
    }
}

/// A part of a blob, open for reading; removing the blob does not disturb it.
#[derive(Debug)]
pub struct Blob {
    file: File,
    path: PathBuf,
}

impl Blob {
    /// Returns its length.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub fn length(&self) -> Result<Bytes, FileError> {
        let metadata = self.file.metadata().map_err(at(&self.path, FileOperation::Inspect))?;
        Ok(Bytes::new(metadata.len()))
    }

    /// Reads into `buffer` from `offset`; returns how many bytes were there, fewer only at the end.
    ///
    /// # Errors
    ///
    /// The disk fails.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::new(&self.path, FileOperation::Read, error)),
            }
        }
        Ok(filled)
    }
}
