//! What can go wrong with a file or folder.

use std::{fmt, io, path::Path, path::PathBuf};

/// What was being done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileOperation {
    /// Creating it.
    Create,
    /// Opening it.
    Open,
    /// Taking its lock.
    Lock,
    /// Reading it.
    Read,
    /// Writing to it.
    Write,
    /// Making it durable.
    Sync,
    /// Giving it its name.
    Rename,
    /// Removing it.
    Remove,
    /// Asking about it.
    Inspect,
}

impl fmt::Display for FileOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "creating",
            Self::Open => "opening",
            Self::Lock => "locking",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Sync => "syncing",
            Self::Rename => "naming",
            Self::Remove => "removing",
            Self::Inspect => "inspecting",
        })
    }
}

/// Why something could not be done with a file or folder. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// The file or folder.
        path: PathBuf,
    },
    /// It is not there.
    #[error("{operation} {} failed: it does not exist", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        operation: FileOperation,
    },
    /// The disk, or this user's part of it, is full.
    #[error("{operation} {} failed: the disk is full", path.display())]
    Full {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        operation: FileOperation,
    },
    /// The disk is mounted read-only, or the folder may not be written by this user.
    #[error("{operation} {} failed: it may not be written", path.display())]
    ReadOnly {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        operation: FileOperation,
    },
    /// Anything else.
    #[error("{operation} {} failed: {source}", path.display())]
    Other {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        operation: FileOperation,
        /// What the system answered.
        source: io::Error,
    },
}

impl FileError {
    /// Sorts an answer of the system.
    pub(crate) fn new(path: &Path, operation: FileOperation, source: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let path = path.to_owned();
        let writes = match operation {
            FileOperation::Create
            | FileOperation::Write
            | FileOperation::Sync
            | FileOperation::Rename
            | FileOperation::Remove => true,
            FileOperation::Open
            | FileOperation::Lock
            | FileOperation::Read
            | FileOperation::Inspect => false,
        };
        match source.kind() {
            Kind::NotFound => Self::Missing { path, operation },
            Kind::StorageFull | Kind::QuotaExceeded => Self::Full { path, operation },
            Kind::ReadOnlyFilesystem => Self::ReadOnly { path, operation },
            Kind::PermissionDenied if writes => Self::ReadOnly { path, operation },
            _ => Self::Other { path, operation, source },
        }
    }

    /// Returns whether the same can succeed later, when somebody has made room or let go.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Locked { .. } | Self::Full { .. } => true,
            Self::Missing { .. } | Self::ReadOnly { .. } | Self::Other { .. } => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "stop the other process, or give this one another folder",
            Self::Missing { .. } => "check the path, or create it",
            Self::Full { .. } => "free some space on that disk, or offer less of it",
            Self::ReadOnly { .. } => "let this user write there, or name another folder",
            Self::Other { .. } => "check the disk, the path and the system log",
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Locked { .. } => io::ErrorKind::WouldBlock,
            Self::Missing { .. } => io::ErrorKind::NotFound,
            Self::Full { .. } => io::ErrorKind::StorageFull,
            Self::ReadOnly { .. } => io::ErrorKind::ReadOnlyFilesystem,
            Self::Other { source, .. } => source.kind(),
        }
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        Self::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileOperation::{Create, Open, Read, Write};
    use rustix::io::Errno;

    #[test]
    fn answers_of_the_system_are_sorted() {
        let table = [
            (Create, Errno::NOENT, "creating /a failed: it does not exist", false),
            (Write, Errno::NOSPC, "writing /a failed: the disk is full", true),
            (Write, Errno::DQUOT, "writing /a failed: the disk is full", true),
            (Write, Errno::ROFS, "writing /a failed: it may not be written", false),
            (Create, Errno::ACCESS, "creating /a failed: it may not be written", false),
            (Open, Errno::ACCESS, "opening /a failed: Permission denied (os error 13)", false),
            (Read, Errno::IO, "reading /a failed: Input/output error (os error 5)", false),
        ];
        for (operation, errno, text, is_transient) in table {
            let error = FileError::new(Path::new("/a"), operation, errno.into());
            assert_eq!((error.to_string().as_str(), error.is_transient()), (text, is_transient));
            let outer = io::Error::from(error);
            assert_eq!(outer.to_string(), text, "an error of a disk still names its path");
        }
        let full = FileError::new(Path::new("/a"), Write, Errno::NOSPC.into());
        assert_eq!(io::Error::from(full).kind(), io::ErrorKind::StorageFull);
    }
}
