//! Opening a journal: read what is sound, cut what was torn, refuse what is damaged.

use std::io;

use fondaco_crypto::Digest;
use fondaco_ports::Disk;
use fondaco_units::Bytes;

use super::{
    Appended, Head, Journal, JournalError, Kind, OpenError, Operation, PIECE, Records, STEP_FIRST,
    error::failed,
    frame::{self, FILE_HEADER, FRAME_HEADER, FileHeader, FrameHeader, TRAILER, VERSION},
    is_step, zero,
};

/// How much is read at once while replaying.
const WINDOW: usize = 4 << 20;

/// Keeps what is about to be cut off: where it begins, and its bytes.
pub(super) type Keep<'a> = &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

pub(super) fn open<D: Disk, E>(
    mut disk: D,
    kind: Kind,
    start: Option<Head>,
    records_min: u64,
    keep: Option<Keep<'_>>,
    visit: impl FnMut(&Appended, &mut Records<'_>) -> Result<(), E>,
) -> Result<Journal<D>, OpenError<E>> {
    // What is read here may be in the system's memory only, left there by a process that died
    // before its own sync. Nothing may be built on it before it is durable.
    disk.sync().map_err(failed(Operation::Sync, 0))?;
    let mut length = disk.len().map_err(failed(Operation::Length, 0))?;
    let first = start_of(kind);
    let start = start.unwrap_or(first);
    match begun(&disk, length, kind)? {
        Begun::Yes => {}
        Begun::Never if start != first => {
            return Err(OpenError::Short { wanted: start.bytes.get() });
        }
        Begun::Never if records_min > 0 => {
            return Err(OpenError::Fewer { wanted: records_min, found: 0 });
        }
        Begun::Never => {
            begin(&mut disk, &frame::file_header(kind))?;
            length = STEP_FIRST;
        }
    }
    meets(&disk, length, first, start)?;
    let head = read_frames(&mut Window::new(&disk, length), start, visit)?;
    // Damage with sound frames behind it is named as such.
    let torn = torn_end(&disk, length, head)?;
    // Before anything is cut off: what looks torn may be what was acknowledged.
    if head.records < records_min {
        return Err(OpenError::Fewer { wanted: records_min, found: head.records });
    }
    if let Some(end) = torn {
        let at = head.bytes.get();
        if let Some(keep) = keep {
            let mut bytes = vec![0; short(end - at, usize::MAX)];
            read(&disk, at, &mut bytes)?;
            keep(at, &bytes).map_err(failed(Operation::Write, at))?;
        }
        zero(&mut disk, at, end)?;
    }
    Ok(Journal { disk, kind, head, length, halted: false, scratch: Vec::new() })
}

/// Reads all frames, and changes nothing; returns how far they come, and how many bytes of a torn one follow.
pub(super) fn look<E>(
    disk: &impl Disk,
    kind: Kind,
    visit: impl FnMut(&Appended, &mut Records<'_>) -> Result<(), E>,
) -> Result<(Head, Bytes), OpenError<E>> {
    let length = disk.len().map_err(failed(Operation::Length, 0))?;
    let first = start_of(kind);
    if let Begun::Never = begun(disk, length, kind)? {
        return Ok((first, Bytes::ZERO));
    }
    let head = read_frames(&mut Window::new(disk, length), first, visit)?;
    let end = torn_end(disk, length, head)?.unwrap_or(head.bytes.get());
    Ok((head, Bytes::new(end - head.bytes.get())))
}

/// The head of a journal without a frame.
pub(super) fn start_of(kind: Kind) -> Head {
    Head {
        records: 0,
        frames: 0,
        chain: frame::chain_start(&frame::file_header(kind)),
        bytes: Bytes::new(FILE_HEADER as u64),
    }
}

/// Whether a frame ends at `start` that has its chain. Without this, what is appended behind a journal that is too short
/// would leave a hole.
fn meets<E>(disk: &impl Disk, length: u64, first: Head, start: Head) -> Result<(), OpenError<E>> {
    if start == first {
        return Ok(());
    }
    let at = start.bytes.get();
    let least = (FILE_HEADER + FRAME_HEADER + TRAILER) as u64;
    if at < least || start.records == 0 || start.frames == 0 {
        return Err(OpenError::OtherChain { at });
    }
    if at > length {
        return Err(OpenError::Short { wanted: at });
    }
    let mut trailer = [0; TRAILER];
    read(disk, at - TRAILER as u64, &mut trailer)?;
    match trailer {
        _ if trailer == *start.chain.as_bytes() => Ok(()),
        // A journal's end is followed by zeros.
        [0, .., 0] if trailer == [0; TRAILER] => Err(OpenError::Short { wanted: at }),
        _ => Err(OpenError::OtherChain { at }),
    }
}

pub(super) enum Begun {
    Yes,
    Never,
}

/// Whether the file is a journal of this kind, or one whose beginning a crash cut short.
pub(super) fn begun<E>(disk: &impl Disk, length: u64, kind: Kind) -> Result<Begun, OpenError<E>> {
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
    window: &mut Window<'_, impl Disk>,
    start: Head,
    mut visit: impl FnMut(&Appended, &mut Records<'_>) -> Result<(), E>,
) -> Result<Head, OpenError<E>> {
    let mut head = start;
    while let Next::Whole { bytes, next } = next_frame(window, head, start)? {
        let damaged =
            || OpenError::Damaged { at: head.bytes.get(), record: head.records, later: None };
        let payload = &bytes[FRAME_HEADER..bytes.len() - TRAILER];
        let plain = frame::unstuff(payload).ok_or_else(damaged)?;
        let numbers = head.records..next.records;
        let mut records = Records::of(&plain, numbers.clone()).ok_or_else(damaged)?;
        let frame = Appended { at: head.bytes, records: numbers, chain: next.chain };
        if let Err(source) = visit(&frame, &mut records) {
            let record = records.number().saturating_sub(1).max(head.records);
            return Err(OpenError::Replay { record, source });
        }
        head = next;
    }
    Ok(head)
}

/// What stands where a frame could be.
pub(super) enum Next<'a> {
    /// A whole frame: its bytes, and the head after it.
    Whole { bytes: &'a [u8], next: Head },
    /// No frame, or one that is not whole.
    End,
}

/// Reads the frame that follows `head`. `start` is where reading began: there, what does not follow is no damage, but
/// another journal.
pub(super) fn next_frame<'w, E>(
    window: &'w mut Window<'_, impl Disk>,
    head: Head,
    start: Head,
) -> Result<Next<'w>, OpenError<E>> {
    let at = head.bytes.get();
    let damaged = OpenError::Damaged { at, record: head.records, later: None };
    let left = window.length - at;
    let header = window.get(at, FRAME_HEADER)?;
    let Some(frame) = FrameHeader::parse(header) else {
        // Frames are written into zeros that are there already, never over the end.
        return if header.len() == FRAME_HEADER || header.iter().all(|byte| *byte == 0) {
            Ok(Next::End)
        } else {
            Err(damaged)
        };
    };
    if frame.version != VERSION {
        return Err(OpenError::Version { found: frame.version, known: VERSION });
    }
    // A header whose check holds was written so. What does not fit in it is no torn write.
    if frame.prev != head.chain || frame.first_record != head.records {
        let other = head == start && head.frames > 0;
        return Err(if other { OpenError::OtherChain { at } } else { damaged });
    }
    let whole = FRAME_HEADER + frame.payload as usize + TRAILER;
    if !frame.is_within_limits() || whole as u64 > left {
        return Err(damaged);
    }
    let bytes = window.get(at, whole)?;
    let (covered, trailer) = bytes.split_at(whole - TRAILER);
    let chain: Digest = frame::chain_after(head.chain, covered);
    if chain.as_bytes() != trailer {
        return Ok(Next::End);
    }
    let next = Head {
        records: head.records + u64::from(frame.records),
        frames: head.frames + 1,
        chain,
        bytes: Bytes::new(at + whole as u64),
    };
    Ok(Next::Whole { bytes, next })
}

/// A part of the file in memory, moved along it: large reads, each byte read once.
pub(super) struct Window<'a, D> {
    disk: &'a D,
    /// Length of the file.
    pub(super) length: u64,
    /// Offset in the file of the first byte of `bytes`.
    start: u64,
    bytes: Vec<u8>,
    filled: usize,
}

impl<'a, D: Disk> Window<'a, D> {
    pub(super) const fn new(disk: &'a D, length: u64) -> Self {
        Self { disk, length, start: 0, bytes: Vec::new(), filled: 0 }
    }

    /// Forgets what it has read.
    pub(super) fn forget(&mut self) {
        self.filled = 0;
    }

    /// Returns `length` bytes from `at`, fewer only at the end of the file.
    fn get(&mut self, at: u64, length: usize) -> Result<&[u8], JournalError> {
        let length = short(self.length.saturating_sub(at), length);
        let end = at + length as u64;
        if at < self.start || end > self.start + self.filled as u64 {
            self.move_to(at, length)?;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(&self.bytes[from..from + length])
    }

    /// Fills the window from `at`, with `least` bytes.
    fn move_to(&mut self, at: u64, least: usize) -> Result<(), JournalError> {
        let wanted = short(self.length - at, WINDOW.max(least));
        let kept = match at.checked_sub(self.start).map(usize::try_from) {
            Some(Ok(from)) if from < self.filled => {
                self.bytes.copy_within(from..self.filled, 0);
                self.filled - from
            }
            _ => 0,
        };
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        (self.start, self.filled) = (at, 0);
        read(self.disk, at + kept as u64, &mut self.bytes[kept..wanted])?;
        self.filled = wanted;
        Ok(())
    }
}

/// Looks at what follows the last whole frame: returns where its last byte that is not zero ends.
///
/// A torn end is one frame, so it has one mark, at its front, and nothing behind the end that its header states.
/// Anything else in there shows that the bytes are no torn end but damage.
pub(super) fn torn_end<E>(
    disk: &impl Disk,
    length: u64,
    head: Head,
) -> Result<Option<u64>, OpenError<E>> {
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
        while let Some(found) = frame::find_magic(&piece[from..]) {
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
pub(super) fn read(disk: &impl Disk, at: u64, buffer: &mut [u8]) -> Result<(), JournalError> {
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
