//! The locks of restic: who works on the repository just now.
//!
//! Each is a file of some hundred bytes that is written when a command begins, renewed every few minutes, and removed
//! at its end. They are kept in a folder of this machine and never in the market: all clients of a repository come
//! through one gateway, since its journal admits one process at a time, and no host should be paid for a minute's note.
//!
//! # What always holds
//!
//! - A lock that was acknowledged is there after a crash of this process, until it is removed.
//! - There are at most [`LOCKS_MAX`], and all are in memory.

use crate::Name;
use fondaco_store::{FileError, write_atomic};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

/// How many locks there may be at once.
pub const LOCKS_MAX: usize = 1024;

/// The longest file that is taken for a lock.
const LOCK_BYTES_MAX: u64 = 64 << 10;

/// Why a lock could not be kept or removed. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum LocksError {
    /// There are too many.
    #[error("there are {LOCKS_MAX} locks, which is the most")]
    TooMany,
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] FileError),
    /// The folder or a file in it could not be read or removed.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LocksError {
    /// Returns whether the same can succeed later.
    pub const fn is_transient(&self) -> bool {
        match self {
            // Locks are removed by who made them.
            Self::TooMany => true,
            Self::Write(_) | Self::Folder { .. } => false,
        }
    }

    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::TooMany => "remove those of commands that died: `restic unlock`".to_owned(),
            Self::Write(error) => error.hint().to_string(),
            Self::Folder { .. } => "check who owns the folder, and the disk it is on".to_owned(),
        }
    }
}

/// The locks of one repository, in a folder of this machine; at most [`LOCKS_MAX`].
#[derive(Debug)]
pub struct Locks {
    folder: PathBuf,
    held: Mutex<BTreeMap<Name, Vec<u8>>>,
}

impl Locks {
    /// Opens or creates the locks in `folder`. A file that is no lock, or damaged, is left alone.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or read, or has more than [`LOCKS_MAX`] locks.
    pub fn open(folder: &Path) -> Result<Self, LocksError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| LocksError::Folder { path, source }
        };
        fs::create_dir_all(folder).map_err(at(folder))?;
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(at(folder))? {
            let entry = entry.map_err(at(folder))?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let path = entry.path();
            if entry.metadata().map_err(at(&path))?.len() > LOCK_BYTES_MAX {
                continue;
            }
            let content = fs::read(&path).map_err(at(&path))?;
            if Name::of(&content) != name {
                tracing::warn!(path = %path.display(), "a damaged lock is not one any more");
                continue;
            }
            if held.len() >= LOCKS_MAX {
                return Err(LocksError::TooMany);
            }
            held.insert(name, content);
        }
        Ok(Self { folder: folder.to_owned(), held: Mutex::new(held) })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Name, Vec<u8>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the names and lengths of all.
    pub fn list(&self) -> Vec<(Name, u64)> {
        self.held().iter().map(|(name, content)| (*name, content.len() as u64)).collect()
    }

    /// Returns the content of one.
    pub fn get(&self, name: Name) -> Option<Vec<u8>> {
        self.held().get(&name).cloned()
    }

    /// Keeps one, whose name was checked; it is on disk when this returns.
    ///
    /// # Errors
    ///
    /// There are too many, or the disk fails; nothing is changed.
    pub fn put(&self, name: Name, content: Vec<u8>) -> Result<(), LocksError> {
        let mut held = self.held();
        if held.contains_key(&name) {
            return Ok(());
        }
        if held.len() >= LOCKS_MAX {
            return Err(LocksError::TooMany);
        }
        write_atomic(&self.path(name), &content, 0o600)?;
        held.insert(name, content);
        Ok(())
    }

    /// Removes one; returns whether it was there.
    ///
    /// # Errors
    ///
    /// The disk fails; the lock stays.
    pub fn remove(&self, name: Name) -> Result<bool, LocksError> {
        let mut held = self.held();
        if !held.contains_key(&name) {
            return Ok(false);
        }
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(LocksError::Folder { path, source });
            }
            Ok(()) | Err(_) => {}
        }
        Ok(held.remove(&name).is_some())
    }

    fn path(&self, name: Name) -> PathBuf {
        self.folder.join(name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_outlives_the_process_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks");
        let name = Name::of(b"one");
        let locks = Locks::open(&path).unwrap();
        locks.put(name, b"one".to_vec()).unwrap();
        locks.put(name, b"one".to_vec()).unwrap();
        assert_eq!(locks.list(), [(name, 3)]);
        drop(locks);
        let locks = Locks::open(&path).unwrap();
        assert_eq!(locks.get(name).as_deref(), Some(&b"one"[..]));
        assert!(locks.remove(name).unwrap());
        assert!(!locks.remove(name).unwrap());
        drop(locks);
        assert_eq!(Locks::open(&path).unwrap().list(), []);
    }

    #[test]
    fn what_is_no_lock_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let damaged = folder.path().join(Name::of(b"whole").to_string());
        fs::write(&damaged, b"hal").unwrap();
        fs::write(folder.path().join("README"), b"hal").unwrap();
        let locks = Locks::open(folder.path()).unwrap();
        assert_eq!(locks.list(), []);
        assert!(damaged.exists());
        // A new one takes its place.
        locks.put(Name::of(b"whole"), b"whole".to_vec()).unwrap();
        assert_eq!(fs::read(&damaged).unwrap(), b"whole");
    }

    #[test]
    fn there_are_not_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks::open(folder.path()).unwrap();
        let contents: Vec<Vec<u8>> =
            (0..LOCKS_MAX as u64 + 1).map(|number| number.to_le_bytes().to_vec()).collect();
        for content in &contents[..LOCKS_MAX] {
            locks.held().insert(Name::of(content), content.clone());
        }
        let last = &contents[LOCKS_MAX];
        let error = locks.put(Name::of(last), last.clone()).unwrap_err();
        assert!(matches!(error, LocksError::TooMany));
        assert!(error.is_transient());
        assert_eq!(locks.list().len(), LOCKS_MAX);
    }
}
