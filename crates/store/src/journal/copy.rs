//! A copy of a journal that is in use.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
};

use fondaco_ports::Disk;
use fondaco_units::Bytes;

use super::{
    Head, Kind, OpenError, Operation, STEP_FIRST,
    error::failed,
    frame,
    recovery::{Begun, Next, Window, begun, next_frame, start_of, torn_end},
    step_to, write_zeros,
};
use crate::{DiskFile, FileError, file::NewFile};

/// Copies the journal of this kind at `from` to `to`, durably, though another process has it open and appends to it: it
/// needs no lock and writes nothing there. Every frame, and the chain, is verified on the way; `progress` is told how many
/// bytes are copied, of about how many.
///
/// The copy has every frame that was acknowledged before this was called, some or all of those that came after, each of them
/// whole and durable in the original, and opens as a journal. It gets its name when it is complete.
///
/// # Errors
///
/// There is something at `to` already, the journal at `from` is missing, another one, never begun, or damaged, or a disk fails.
/// Nothing is left at `to` then.
pub fn copy_journal(
    from: &Path,
    to: &Path,
    kind: Kind,
    progress: impl FnMut(Bytes, Bytes),
) -> Result<Head, CopyError> {
    let in_the_way = || CopyError::Exists { path: to.to_owned() };
    if to.symlink_metadata().is_ok() {
        return Err(in_the_way());
    }
    let mut source = DiskFile::read_only(from)?;
    let mut copy = NewFile::create(to, 0o600)?;
    let head = copy_frames(&source, from, &mut copy, kind, progress)?;
    // What its owner has not acknowledged yet may be in the copy: a crash must not leave it there alone.
    let journal = |source| CopyError::Journal { path: from.to_owned(), source };
    source.sync().map_err(failed(Operation::Sync, 0)).map_err(|error| journal(error.into()))?;
    let ahead = step_to(STEP_FIRST, head.bytes.get()) - head.bytes.get();
    write_zeros(ahead, |zeros| copy.write(zeros))?;
    if to.symlink_metadata().is_ok() {
        return Err(in_the_way());
    }
    copy.persist()?;
    Ok(head)
}

fn copy_frames(
    source: &DiskFile,
    from: &Path,
    copy: &mut NewFile,
    kind: Kind,
    mut progress: impl FnMut(Bytes, Bytes),
) -> Result<Head, CopyError> {
    let journal = |source| CopyError::Journal { path: from.to_owned(), source };
    let length = length_of(source).map_err(journal)?;
    match begun(source, length, kind).map_err(journal)? {
        Begun::Yes => {}
        Begun::Never => return Err(CopyError::NotBegun { path: from.to_owned() }),
    }
    copy.write(&frame::file_header(kind))?;
    let start = start_of(kind);
    let mut head = start;
    let mut window = Window::new(source, length);
    // What comes after the length of the beginning was written since: somebody who appends fast is not chased for ever.
    while head.bytes.get() < length {
        let found = match next_frame::<Infallible>(&mut window, head, start) {
            Ok(Next::Whole { bytes, next }) => Some((bytes, next)),
            // It may have been written since the window was filled, or while it was.
            Ok(Next::End) | Err(_) => {
                last_look(source, &mut window, head, start).map_err(journal)?
            }
        };
        let Some((bytes, next)) = found else { break };
        copy.write(bytes)?;
        head = next;
        progress(head.bytes, Bytes::new(length.max(head.bytes.get())));
    }
    Ok(head)
}

fn length_of(source: &DiskFile) -> Result<u64, OpenError<Infallible>> {
    Ok(source.len().map_err(failed(Operation::Length, 0))?)
}

type Found<'w> = Option<(&'w [u8], Head)>;

/// Reads the frame that follows `head` anew; nothing if the journal ends there.
fn last_look<'w>(
    source: &DiskFile,
    window: &'w mut Window<'_, DiskFile>,
    head: Head,
    start: Head,
) -> Result<Found<'w>, OpenError<Infallible>> {
    let mut suspect = None;
    loop {
        window.forget();
        let length = length_of(source)?;
        window.length = length;
        match next_frame::<Infallible>(window, head, start) {
            Ok(Next::Whole { .. }) => break,
            // The file may have grown between the two looks at it: then this says nothing.
            Err(OpenError::Damaged { .. }) if length_of(source)? != length => continue,
            Err(error) => return Err(error),
            Ok(Next::End) => {}
        }
        // A frame after one that is not whole is damage, unless both were written in this moment: whoever sees the later one
        // and then looks again sees all of the earlier.
        if let Some(error) = suspect {
            return Err(error);
        }
        match torn_end(source, length, head) {
            Ok(_) => return Ok(None),
            Err(error @ OpenError::Damaged { .. }) => suspect = Some(error),
            Err(error) => return Err(error),
        }
    }
    // From the window: it was whole a moment ago.
    match next_frame(window, head, start)? {
        Next::Whole { bytes, next } => Ok(Some((bytes, next))),
        Next::End => Ok(None),
    }
}

/// Why a journal was not copied. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is something where the copy is to be.
    #[error("{} exists already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is a file, but no journal was ever begun in it.
    #[error("{} has no journal yet", path.display())]
    NotBegun {
        /// The file.
        path: PathBuf,
    },
    /// The journal cannot be read.
    #[error("{}: {source}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenError<Infallible>,
    },
}

impl CopyError {
    /// Returns whether the same copy can succeed later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Exists { .. } => false,
            Self::File(error) => error.is_transient(),
            Self::NotBegun { .. } => true,
            Self::Journal { source, .. } => source.is_transient(),
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "name another file, or move that one away",
            Self::File(error) => error.hint(),
            Self::NotBegun { .. } => "start the service that keeps it first",
            Self::Journal { source, .. } => source.hint(),
        }
    }
}
