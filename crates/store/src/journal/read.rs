//! One frame of a journal, read back by where it is.

use std::{convert::Infallible, io, ops::Range};

use fondaco_ports::Disk;
use fondaco_units::Bytes;

use super::{
    Appended, Kind, OpenError, Operation, Records,
    error::{disk_hint, failed},
    frame::{self, FILE_HEADER, FRAME_HEADER, FileHeader, FrameHeader, TRAILER, VERSION},
    recovery::read,
};
use crate::journal::JournalError;

/// A frame, whole in memory: at most [`Journal::FRAME_BYTES_MAX`](super::Journal::FRAME_BYTES_MAX).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it is.
    pub appended: Appended,
    plain: Vec<u8>,
}

impl Frame {
    /// Returns its records, in order.
    pub fn records(&self) -> Records<'_> {
        let numbers = self.appended.records.clone();
        Records::of(&self.plain, numbers).unwrap_or_else(Records::none)
    }

    /// Returns the record of this number, counted from the journal's first, if it is in this frame.
    pub fn record(&self, number: u64) -> Option<&[u8]> {
        let Range { start, end } = self.appended.records;
        let index = number.checked_sub(start).filter(|_| number < end)?;
        self.records().nth(usize::try_from(index).ok()?)
    }
}

/// Reads the frame that begins at `at` of the journal of this kind on `disk`, which another may have open and append to:
/// give a [`DiskFile::read_only`](crate::DiskFile::read_only).
///
/// The file's kind, the frame's own check and its digest are verified: it is a frame as it was appended. What is not
/// verified is the chain before it: compare `appended.chain` with the one you know.
///
/// # Errors
///
/// The disk fails, holds something else, or no sound frame begins there.
pub fn read_frame(disk: &impl Disk, kind: Kind, at: Bytes) -> Result<Frame, ReadError> {
    let at = at.get();
    let length = disk.len().map_err(failed(Operation::Length, at))?;
    let mut header = [0; FILE_HEADER];
    if length < FILE_HEADER as u64 {
        return Err(ReadError::Foreign);
    }
    read(disk, 0, &mut header)?;
    match frame::parse_file_header(&header) {
        FileHeader::Of { version, .. } if version != VERSION => {
            return Err(ReadError::Version { found: version, known: VERSION });
        }
        FileHeader::Of { kind: found, .. } if found != kind => {
            return Err(ReadError::Kind { found, wanted: kind });
        }
        FileHeader::Of { .. } => {}
        FileHeader::Broken | FileHeader::Foreign => return Err(ReadError::Foreign),
    }
    let left = length.saturating_sub(at);
    if at < FILE_HEADER as u64 || left < FRAME_HEADER as u64 {
        return Err(ReadError::NoFrame { at });
    }
    let mut header = [0; FRAME_HEADER];
    read(disk, at, &mut header)?;
    let header_of = FrameHeader::parse(&header).ok_or(ReadError::NoFrame { at })?;
    let whole = FRAME_HEADER + header_of.payload as usize + TRAILER;
    if header_of.version != VERSION {
        return Err(ReadError::Version { found: header_of.version, known: VERSION });
    }
    let damaged = || ReadError::Damaged { at };
    let end = header_of.first_record.checked_add(u64::from(header_of.records));
    // Before room is made for it.
    let (true, Some(end)) = (header_of.is_within_limits() && whole as u64 <= left, end) else {
        return Err(damaged());
    };
    let mut bytes = vec![0; whole];
    read(disk, at, &mut bytes)?;
    let (covered, trailer) = bytes.split_at(whole - TRAILER);
    let chain = frame::chain_after(header_of.prev, covered);
    if chain.as_bytes() != trailer || !covered.starts_with(&header) {
        return Err(damaged());
    }
    let plain = frame::unstuff(&covered[FRAME_HEADER..]).ok_or_else(damaged)?.into_owned();
    let records = header_of.first_record..end;
    Records::of(&plain, records.clone()).ok_or_else(damaged)?;
    Ok(Frame { appended: Appended { at: Bytes::new(at), records, chain }, plain })
}

/// Why a frame was not read. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
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
    /// The file is something else, or its header is damaged.
    #[error("the file is not a journal")]
    Foreign,
    /// The file or the frame is of another version of the format.
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
    /// No frame begins there, or its header is damaged.
    #[error("no frame of the journal begins at byte {at}")]
    NoFrame {
        /// Offset in the file.
        at: u64,
    },
    /// The frame is not what was written, or is being written.
    #[error("the frame of the journal at byte {at} is damaged")]
    Damaged {
        /// Offset in the file.
        at: u64,
    },
}

impl ReadError {
    /// Returns whether the same frame can be read later: only if it was the disk that failed.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Disk { .. } => true,
            Self::Foreign
            | Self::Version { .. }
            | Self::Kind { .. }
            | Self::NoFrame { .. }
            | Self::Damaged { .. } => false,
        }
    }

    /// Returns what to do next, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Disk { source, .. } => disk_hint(source),
            Self::Foreign | Self::Kind { .. } => "name the file of this service: each has its own",
            Self::Version { .. } => "use the version of the program that wrote it, or a newer one",
            Self::NoFrame { .. } | Self::Damaged { .. } => {
                "check the disk; if the journal opens, rebuild what was taken from it"
            }
        }
    }
}

impl From<JournalError> for ReadError {
    fn from(error: JournalError) -> Self {
        match OpenError::<Infallible>::from(error) {
            OpenError::Disk { operation, at, source } => Self::Disk { operation, at, source },
            // Reading from a disk fails in no other way.
            _ => Self::Foreign,
        }
    }
}
