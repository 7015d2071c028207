//! What a folder of blobs can do, on a disk or in memory.
//!
//! ```text
//! begin ──► Draft ── commit ──► there, durable ── get ──► BlobRead
//! ```
//!
//! [`ContentFolder`] is the one on a disk; simulations have one whose power goes.

use std::{fmt, io, path::Path};

use fondaco_crypto::Digest;
use fondaco_units::Bytes;

use crate::{Blob, ContentFolder, FileError, Incoming, Part, available};

/// Blobs named by their digests. What each does is said at [`ContentFolder`].
pub trait Blobs: fmt::Debug + Send + Sync {
    /// Returns where they are.
    fn path(&self) -> &Path;

    /// Returns how much more can be stored.
    fn available(&self) -> Result<Bytes, FileError>;

    /// Returns whether they are still there: the disk that they are on may have been taken away.
    fn is_there(&self) -> bool;

    /// Begins a blob.
    fn begin(&self) -> Result<Box<dyn Draft>, FileError>;

    /// Opens a part of a blob for reading.
    fn get(&self, name: Digest, part: Part) -> Result<Box<dyn BlobRead>, FileError>;

    /// Returns whether a part of a blob is there.
    fn contains(&self, name: Digest, part: Part) -> Result<bool, FileError>;

    /// Removes a part of a blob, durably; returns whether it was there.
    fn remove(&self, name: Digest, part: Part) -> Result<bool, FileError>;

    /// Lists every part of every blob, by name and then by part.
    fn list(&self) -> Box<dyn Iterator<Item = Result<(Digest, Part), FileError>>>;
}

/// A blob that is being written. Dropped without a commit, it is gone. What each does is said at [`Incoming`].
pub trait Draft: fmt::Debug + Send {
    /// Adds `bytes` at the end.
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError>;

    /// Returns how long it is so far.
    fn length(&self) -> Bytes;

    /// Reads back what was written, once, from the front.
    fn reader(&self) -> Box<dyn io::Read + '_>;

    /// Makes the blob durable under `name`.
    fn commit(self: Box<Self>, name: Digest, part: Part) -> Result<(), FileError>;
}

/// A part of a blob, open for reading. What each does is said at [`Blob`].
pub trait BlobRead: Send {
    /// Returns its length.
    fn length(&self) -> Result<Bytes, FileError>;

    /// Reads into `buffer` from `offset`; returns how many bytes were there, fewer only at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError>;
}

impl Blobs for ContentFolder {
    fn path(&self) -> &Path {
        Self::path(self)
    }

    fn available(&self) -> Result<Bytes, FileError> {
        available(Self::path(self))
    }

    fn is_there(&self) -> bool {
        Self::is_there(self)
    }

    fn begin(&self) -> Result<Box<dyn Draft>, FileError> {
        Ok(Box::new(Self::begin(self)?))
    }

    fn get(&self, name: Digest, part: Part) -> Result<Box<dyn BlobRead>, FileError> {
        Ok(Box::new(Self::get(self, name, part)?))
    }

    fn contains(&self, name: Digest, part: Part) -> Result<bool, FileError> {
        Self::contains(self, name, part)
    }

    fn remove(&self, name: Digest, part: Part) -> Result<bool, FileError> {
        Self::remove(self, name, part)
    }

    fn list(&self) -> Box<dyn Iterator<Item = Result<(Digest, Part), FileError>>> {
        Box::new(Self::list(self))
    }
}

impl Draft for Incoming {
    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        Self::write(self, bytes)
    }

    fn length(&self) -> Bytes {
        Self::length(self)
    }

    fn reader(&self) -> Box<dyn io::Read + '_> {
        Box::new(Self::reader(self))
    }

    fn commit(self: Box<Self>, name: Digest, part: Part) -> Result<(), FileError> {
        Self::commit(*self, name, part)
    }
}

impl BlobRead for Blob {
    fn length(&self) -> Result<Bytes, FileError> {
        Self::length(self)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        Self::read_at(self, offset, buffer)
    }
}
