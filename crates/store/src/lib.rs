//! Keep journals, files and keys durably on a local disk.
//!
//! - [`Journal`]: an append-only log of opaque records, atomic and durable by the frame.
//! - [`save_snapshot`] and [`load_snapshot`]: what its owner was at some head of its journal.
//! - [`copy_journal`]: a copy of a journal in use.
//! - [`DiskFile`]: one file, locked for this process; [`write_atomic`] replaces a small one whole.
//! - [`ContentFolder`]: a folder of blobs, each named by its digest; [`Blobs`] is what it can do, on a disk or in memory.
//! - [`read_key`] and [`save_key`]: the file of an entity's secret key, sealed with a [`Passphrase`]; [`Words`]: the key on paper.
//! - [`SystemClock`]: the time as this machine believes; [`boot`]: which start of it this is.
//!
//! # What always holds
//!
//! - What was said to be durable is: the file is synced, and the folder that names it.
//! - Errors name the path and what was being done, and have a hint for people.
//!
//! # What is not here
//!
//! What the bytes mean. Simulated disks are in `testkit`. Formats, and what is trusted of the
//! disk, are in `docs/formats/store.md`. The example is at [`journal`].

mod blobs;
mod boot;
mod clock;
mod error;
mod file;
pub mod folder;
pub mod journal;
pub mod key;
pub mod snapshot;

pub use blobs::{BlobRead, Blobs, Draft};
pub use boot::boot;
pub use clock::SystemClock;
pub use error::{FileError, FileOperation};
pub use file::{DiskFile, available, write_atomic};
pub use folder::{Blob, ContentFolder, Incoming, Part};
pub use journal::{
    Appended, CopyError, Head, Journal, JournalError, Kind, OpenError, copy_journal, read_frame,
};
pub use key::{
    KeyError, KeyFile, Passphrase, PassphraseError, SealedKey, Words, WordsError, read_key,
    reseal_key, save_key,
};
pub use snapshot::{
    SnapshotError, Spill, load_snapshot, read_snapshot, save_snapshot, write_snapshot,
};
