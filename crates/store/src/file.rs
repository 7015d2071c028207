//! One file on a local disk, owned by one process, and small files replaced whole.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use fondaco_ports::{Content, Disk};
use fondaco_units::Bytes;
use rustix::fs::{Advice, fadvise, statvfs};

use crate::{FileError, FileOperation};

/// A file of the local file system, locked for this process alone.
///
/// Its [`io::Error`]s carry a [`FileError`], which names path and operation.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
    /// Whether a crash may yet bring back another file under this name: nothing more is written.
    is_unsettled: bool,
}

impl DiskFile {
    /// Opens the file at `path` for this process alone; creates it, durably and readable by its
    /// owner alone, if it is missing.
    ///
    /// # Errors
    ///
    /// Another process has it open ([`FileError::Locked`]), its folder is missing or may not be
    /// written, or the disk fails.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        let at = |operation| move |source| (operation, source);
        let open = || {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(&path).map_err(at(FileOperation::Create))?;
            match file.try_lock() {
                // Whoever had it may have put another in its place: that one is locked, and this one is nobody's.
                Ok(()) if !is_named(&file, &path).map_err(at(FileOperation::Inspect))? => {
                    return Ok(None);
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err((FileOperation::Lock, source)),
            }
            // Its name may be new, or left undurable by a process that died.
            sync_folder_of(&path).map_err(at(FileOperation::Sync))?;
            // After a failed sync some systems keep in memory, as if clean, what never reached
            // the disk. Made durable or dropped, what is read from here on is what the disk has.
            file.sync_all().map_err(at(FileOperation::Sync))?;
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
            Ok(Some(file))
        };
        match open() {
            Ok(Some(file)) => Ok(Self { file, path, is_unsettled: false }),
            Ok(None) => Err(FileError::Locked { path }),
            Err((operation, source)) => Err(FileError::new(&path, operation, source)),
        }
    }

    /// Opens the file at `path` for reading alone, though another process has it open and writes to it: without a
    /// lock. Whatever is written to it fails; what is synced is what the other has written.
    ///
    /// # Errors
    ///
    /// It is missing, or may not be read.
    pub fn read_only(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = path.into();
        match File::open(&path) {
            Ok(file) => Ok(Self { file, path, is_unsettled: false }),
            Err(source) => Err(FileError::new(&path, FileOperation::Open, source)),
        }
    }

    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, operation: FileOperation) -> impl FnOnce(io::Error) -> io::Error {
        move |source| FileError::new(&self.path, operation, source).into()
    }

    fn settled(&self) -> io::Result<()> {
        match self.is_unsettled {
            false => Ok(()),
            true => Err(io::Error::other("the name of this file could not be made durable")),
        }
    }
}

/// Whether this is the file that has the name now.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let (this, named) = (file.metadata()?, std::fs::metadata(path));
    match named {
        Ok(named) => Ok((this.dev(), this.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Disk for DiskFile {
    fn len(&self) -> io::Result<u64> {
        let metadata = self.file.metadata().map_err(self.failed(FileOperation::Inspect))?;
        Ok(metadata.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(FileOperation::Read)(error)),
            }
        }
        Ok(filled)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.settled()?;
        self.file.write_all_at(bytes, offset).map_err(self.failed(FileOperation::Write))
    }

    fn set_len(&mut self, length: u64) -> io::Result<()> {
        self.settled()?;
        self.file.set_len(length).map_err(self.failed(FileOperation::Write))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.settled()?;
        self.file.sync_data().map_err(self.failed(FileOperation::Sync))
    }

    fn replace(&mut self, content: &mut Content<'_>) -> io::Result<()> {
        self.settled()?;
        // Where it really is: a link to another disk stays one.
        let path = self.path.canonicalize().map_err(self.failed(FileOperation::Inspect))?;
        let mut new = NewFile::create(&path, 0o600)?;
        content(&mut new)?;
        // Locked before it has its name: nobody comes in between.
        new.lock()?;
        self.file = new.rename()?;
        self.is_unsettled = true;
        sync_folder_of(&path).map_err(self.failed(FileOperation::Sync))?;
        self.is_unsettled = false;
        Ok(())
    }
}

/// Replaces the file at `path` by `bytes`, durably: a crash leaves the old file or the new one.
///
/// `mode` is its permissions, such as `0o600`. One writer at a time.
///
/// # Errors
///
/// The folder is missing or may not be written, or the disk is full or fails; the old file stays.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let beside = beside(path);
    write_new(&beside, bytes, mode)?;
    std::fs::rename(&beside, path).map_err(|source| {
        let _ = std::fs::remove_file(&beside);
        FileError::new(path, FileOperation::Rename, source)
    })?;
    sync_folder_of(path).map_err(|source| FileError::new(path, FileOperation::Sync, source))
}

/// After so many bytes a long file is synced while it is written. All at the end, on one disk with a journal, would
/// keep that one's syncs waiting for seconds.
const SYNC_EVERY: u64 = 16 << 20;

/// A long file that gets its name when it is complete and durable; else it is gone.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
    beside: PathBuf,
    unsynced: u64,
    is_done: bool,
}

impl NewFile {
    /// Begins the file that will be at `path`. `mode` is its permissions. One writer at a time.
    pub(crate) fn create(path: &Path, mode: u32) -> Result<Self, FileError> {
        let beside = beside(path);
        let file = create_new(&beside, mode)?;
        Ok(Self { file, path: path.to_owned(), beside, unsynced: 0, is_done: false })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let path = &self.beside;
        let at = |operation| move |source| FileError::new(path, operation, source);
        self.file.write_all(bytes).map_err(at(FileOperation::Write))?;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY {
            self.file.sync_data().map_err(at(FileOperation::Sync))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Locks it for this process alone.
    fn lock(&self) -> Result<(), FileError> {
        let failed = |source| FileError::new(&self.beside, FileOperation::Lock, source);
        self.file.try_lock().map_err(|error| failed(error.into()))
    }

    /// Makes it durable and gives it its name, which another file may have had until now.
    pub(crate) fn persist(self) -> Result<(), FileError> {
        let path = self.path.clone();
        self.rename()?;
        sync_folder_of(&path).map_err(|source| FileError::new(&path, FileOperation::Sync, source))
    }

    /// Makes it durable and gives it its name, which is not durable yet.
    fn rename(mut self) -> Result<File, FileError> {
        let at = |path: &Path, operation| {
            let path = path.to_owned();
            move |source| FileError::new(&path, operation, source)
        };
        self.file.sync_all().map_err(at(&self.beside, FileOperation::Sync))?;
        let file = self.file.try_clone().map_err(at(&self.beside, FileOperation::Open))?;
        std::fs::rename(&self.beside, &self.path).map_err(at(&self.path, FileOperation::Rename))?;
        self.is_done = true;
        Ok(file)
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::write(self, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

/// A file without a name, for what is too much for memory: it is gone with this, or with the process.
#[derive(Debug)]
pub(crate) struct Scratch {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Scratch {
    /// Creates it on the disk that has `path`. One at a time.
    pub(crate) fn beside(path: &Path) -> Result<Self, FileError> {
        let mut path = beside(path);
        path.as_mut_os_string().push(".scratch");
        let file = create_new(&path, 0o600)?;
        std::fs::remove_file(&path)
            .map_err(|source| FileError::new(&path, FileOperation::Remove, source))?;
        Ok(Self { file, path, length: 0 })
    }

    /// Adds to it. Nothing of it is synced.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file
            .write_all_at(bytes, self.length)
            .map_err(|source| FileError::new(&self.path, FileOperation::Write, source))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` with what is there from `offset` on.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FileError> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|source| FileError::new(&self.path, FileOperation::Read, source))
    }
}

/// The name under which a file is written before it gets its own.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// Writes a whole file and makes its bytes durable, though not its name.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let at = |operation| move |source| FileError::new(path, operation, source);
    let mut file = create_new(path, mode)?;
    let written = file
        .write_all(bytes)
        .map_err(at(FileOperation::Write))
        .and_then(|()| file.sync_all().map_err(at(FileOperation::Sync)));
    written.inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}

/// Creates a file, in place of what a crash may have left.
fn create_new(path: &Path, mode: u32) -> Result<File, FileError> {
    let at = |operation| move |source| FileError::new(path, operation, source);
    // A left-over of a crash may have other permissions: never write into it.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at(FileOperation::Remove)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode);
    options.open(path).map_err(at(FileOperation::Create))
}

/// Makes the names in the folder of `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        Some(_) | None => sync_folder(Path::new(".")),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns how much more this user can store on the disk that has `path`.
///
/// # Errors
///
/// The path is missing, or the system does not tell.
pub fn available(path: &Path) -> Result<Bytes, FileError> {
    let stat = statvfs(path)
        .map_err(|errno| FileError::new(path, FileOperation::Inspect, errno.into()))?;
    Ok(Bytes::new(stat.f_bavail.saturating_mul(stat.f_frsize)))
}
