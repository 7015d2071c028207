//! Opening a journal: read what is sound, cut what was torn, refuse what is damaged.

use std::io;

use fondaco_crypto::Digest;
use fondaco_ports::Disk;
use fondaco_units::Bytes;

use super::{
    Head, Journal, JournalError, Kind, OpenError, Operation, PIECE, STEP_FIRST, failed,
    frame::{
        self, FILE_HEADER, FRAME_HEADER, FRAME_MAGIC, FileHeader, FrameHeader, TRAILER, VERSION,
    },
    is_step, zero,
};

pub(super) fn open<D: Disk, E>(
    mut disk: D,
    kind: Kind,
    replay: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Journal<D>, OpenError<E>> {
    // What is read here may be in the system's memory only, left there by a process that died
    // before its own sync. Nothing may be built on it before it is durable.
    disk.sync().map_err(failed(Operation::Sync, 0))?;
    let header = frame::file_header(kind);
    let mut length = disk.len().map_err(failed(Operation::Length, 0))?;
    match begun(&disk, length, kind)? {
        Begun::Yes => {}
        Begun::Never => {
            begin(&mut disk, &header)?;
            length = STEP_FIRST;
        }
    }
    let start = Head {
        records: 0,
        frames: 0,
        chain: frame::chain_start(&header),
        bytes: Bytes::new(FILE_HEADER as u64),
    };
    let head = read_frames(&disk, length, start, replay)?;
    if let Some(end) = torn_end(&disk, length, head)? {
        zero(&mut disk, head.bytes.get(), end)?;
    }
    Ok(Journal { disk, kind, head, length, halted: false })
}

enum Begun {
    Yes,
    Never,
}

/// Whether the file is a journal of this kind, or one whose beginning a crash cut short.
fn begun<E>(disk: &impl Disk, length: u64, kind: Kind) -> Result<Begun, OpenError<E>> {
    if length == 0 {
        return Ok(Begun::Never);
    }
    let mut bytes = [0; FILE_HEADER];
    read(disk, 0, &mut bytes[..short(length, FILE_HEADER)])?;
    match frame::parse_file_header(&bytes) {
        FileHeader::Of { version, .. } if version != VERSION => {
            Err(OpenError::Version { found: version, known: VERSION })
        }
        FileHeader::Of { kind: found, .. } if found != kind => {
            Err(OpenError::Kind { found, wanted: kind })
        }
        FileHeader::Of { .. } if !is_step(length) => Err(OpenError::Length { length }),
        FileHeader::Of { .. } => Ok(Begun::Yes),
        // The header is written once the length is durable, and before anything else is.
        FileHeader::Broken | FileHeader::Foreign
            if length == STEP_FIRST && is_zero(disk, FILE_HEADER as u64, length)? =>
        {
            Ok(Begun::Never)
        }
        FileHeader::Broken => Err(OpenError::Damaged { at: 0, record: 0, later: None }),
        FileHeader::Foreign => Err(OpenError::Foreign),
    }
}

/// Begins a journal: the length, then the header, then the zeros, each made durable before the next.
fn begin(disk: &mut impl Disk, header: &[u8; FILE_HEADER]) -> Result<(), JournalError> {
    disk.set_len(STEP_FIRST).map_err(failed(Operation::Grow, 0))?;
    disk.sync().map_err(failed(Operation::Sync, 0))?;
    disk.write_at(0, header).map_err(failed(Operation::Write, 0))?;
    disk.sync().map_err(failed(Operation::Sync, 0))?;
    zero(disk, FILE_HEADER as u64, STEP_FIRST)
}

/// Replays frames until one is not whole; returns how far it came.
fn read_frames<E>(
    disk: &impl Disk,
    length: u64,
    mut head: Head,
    mut replay: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Head, OpenError<E>> {
    let mut bytes = Vec::new();
    loop {
        let at = head.bytes.get();
        let damaged = OpenError::Damaged { at, record: head.records, later: None };
        let mut header = [0; FRAME_HEADER];
        let there = short(length - at, FRAME_HEADER);
        read(disk, at, &mut header[..there])?;
        let Some(frame) = FrameHeader::parse(&header) else {
            // Frames are written into zeros that are there already, never over the end.
            return if there == FRAME_HEADER || header == [0; FRAME_HEADER] {
                Ok(head)
            } else {
                Err(damaged)
            };
        };
        if frame.version != VERSION {
            return Err(OpenError::Version { found: frame.version, known: VERSION });
        }
        // A header whose check holds was written so. What does not fit in it is no torn write.
        let fits = frame.prev == head.chain && frame.first_record == head.records;
        let payload = frame.payload as usize;
        let whole = FRAME_HEADER + payload + TRAILER;
        if !fits || !frame.is_within_limits() || whole as u64 > length - at {
            return Err(damaged);
        }
        bytes.resize(payload + TRAILER, 0);
        read(disk, at + FRAME_HEADER as u64, &mut bytes)?;
        let (payload, trailer) = bytes.split_at(payload);
        let chain: Digest = frame::chain_after(head.chain, &header, payload);
        if chain.as_bytes() != trailer {
            return Ok(head);
        }
        match frame::each_record(payload, frame.records, &mut replay) {
            Ok(Some(())) => {}
            Ok(None) => return Err(damaged),
            Err((index, source)) => {
                return Err(OpenError::Replay { record: head.records + u64::from(index), source });
            }
        }
        head = Head {
            records: head.records + u64::from(frame.records),
            frames: head.frames + 1,
            chain,
            bytes: Bytes::new(at + whole as u64),
        };
    }
}

/// Looks at what follows the last whole frame: returns where its last byte that is not zero ends.
///
/// A torn end is one frame, so it has one mark, at its front, and nothing behind the end that its header states.
/// Anything else in there shows that the bytes are no torn end but damage.
fn torn_end<E>(disk: &impl Disk, length: u64, head: Head) -> Result<Option<u64>, OpenError<E>> {
    let start = head.bytes.get();
    let mut header = [0; FRAME_HEADER];
    let there = short(length - start, FRAME_HEADER);
    read(disk, start, &mut header[..there])?;
    let stated_end = FrameHeader::parse(&header)
        .map(|frame| start + (FRAME_HEADER + frame.payload as usize + TRAILER) as u64);
    let mut end = None;
    let mut piece = vec![0; PIECE + FRAME_HEADER];
    let zeros = vec![0; PIECE + FRAME_HEADER];
    let mut at = start;
    while at < length {
        // Pieces overlap by a header, so that none hides on an edge.
        let there = short(length - at, piece.len());
        let piece = &mut piece[..there];
        read(disk, at, piece)?;
        // Compared whole, because most often there is nothing else, and much of it.
        if *piece == zeros[..there] {
            at += PIECE as u64;
            continue;
        }
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            end = Some(at + last as u64 + 1);
        }
        let mut from = 0;
        while let Some(found) = frame::find(&piece[from..], FRAME_MAGIC) {
            from += found;
            let later = at + from as u64;
            // The one at `start` itself was found wanting already. No payload has the mark in it.
            if later > start {
                let later = Some(later);
                return Err(OpenError::Damaged { at: start, record: head.records, later });
            }
            from += 1;
        }
        at += PIECE as u64;
    }
    if end > stated_end && stated_end.is_some() {
        return Err(OpenError::Damaged { at: start, record: head.records, later: None });
    }
    Ok(end)
}

fn is_zero(disk: &impl Disk, from: u64, to: u64) -> Result<bool, JournalError> {
    let (mut piece, zeros) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = from;
    while at < to {
        let there = short(to - at, PIECE);
        read(disk, at, &mut piece[..there])?;
        if piece[..there] != zeros[..there] {
            return Ok(false);
        }
        at += there as u64;
    }
    Ok(true)
}

/// Fills `buffer` from `at`.
fn read(disk: &impl Disk, at: u64, buffer: &mut [u8]) -> Result<(), JournalError> {
    let mut filled = 0;
    while filled < buffer.len() {
        let from = at + filled as u64;
        match disk.read_at(from, &mut buffer[filled..]) {
            Ok(0) => {
                let source = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(failed(Operation::Read, from)(source));
            }
            Ok(count) => filled += count,
            Err(source) => return Err(failed(Operation::Read, from)(source)),
        }
    }
    Ok(())
}

fn short(left: u64, most: usize) -> usize {
    usize::try_from(left).map_or(most, |left| left.min(most))
}
