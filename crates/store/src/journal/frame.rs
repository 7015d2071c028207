//! What a journal's bytes mean: its file header and its frames. No disk here.

use std::{borrow::Cow, ops::Range, sync::LazyLock};

use fondaco_codec::{Encode, Reader};
use fondaco_crypto::{Digest, Domain, Hasher};
use memchr::memmem;

use super::{JournalError, Kind};

const CHAIN: Domain = Domain::new("fondaco 2026 journal chain v1");
const CHECK: Domain = Domain::new("fondaco 2026 journal header v1");

/// A domain is hashed once, not with each of the million small frames of a journal.
static CHAIN_HASHER: LazyLock<Hasher> = LazyLock::new(|| Hasher::new(CHAIN));
static CHECK_HASHER: LazyLock<Hasher> = LazyLock::new(|| Hasher::new(CHECK));

/// The version of the file's format, which every frame repeats.
pub(super) const VERSION: u32 = 2;
/// Length of the header of a file.
pub(super) const FILE_HEADER: usize = 40;
/// Length of the header of a frame.
pub(super) const FRAME_HEADER: usize = 68;
/// Length of the digest that ends a frame.
pub(super) const TRAILER: usize = 32;

const FILE_MAGIC: &[u8; 8] = b"\x89FONJRN\n";

/// Begins a frame, and stands nowhere else: no byte of it occurs in it twice, and payloads that
/// have its first seven bytes get another after them ([`stuff`]).
pub(super) const FRAME_MAGIC: &[u8; 8] = b"\x89Frame\r\x1a";
const MAGIC_FRONT: &[u8] = FRAME_MAGIC.split_at(7).0;

/// The longest record.
pub(super) const RECORD_MAX: usize = 2 << 20;
/// The most bytes of the records of a frame, with four for the length of each.
pub(super) const PAYLOAD_MAX: usize = 16 << 20;
/// The same on disk: one byte more for every seven, at worst.
const STUFFED_MAX: usize = PAYLOAD_MAX + PAYLOAD_MAX / 7;

static MAGIC_FINDER: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(FRAME_MAGIC));
static FRONT_FINDER: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(MAGIC_FRONT));

fn check(covered: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&CHECK_HASHER.clone().update(covered).finish().as_bytes()[..8]);
    check
}

/// What the first bytes of a file say.
pub(super) enum FileHeader {
    /// A journal of this format version and kind.
    Of { version: u32, kind: Kind },
    /// The magic of a journal, but its check does not hold.
    Broken,
    /// Something else.
    Foreign,
}

pub(super) fn file_header(kind: Kind) -> [u8; FILE_HEADER] {
    let mut out = Vec::with_capacity(FILE_HEADER);
    out.extend_from_slice(FILE_MAGIC);
    VERSION.encode(&mut out);
    kind.tag.encode(&mut out);
    kind.version.encode(&mut out);
    0_u64.encode(&mut out);
    let check = check(&out);
    out.extend_from_slice(&check);
    let mut header = [0; FILE_HEADER];
    header.copy_from_slice(&out);
    header
}

pub(super) fn parse_file_header(bytes: &[u8; FILE_HEADER]) -> FileHeader {
    let (covered, stated) = bytes.split_at(FILE_HEADER - 8);
    let ours = covered.starts_with(FILE_MAGIC);
    if check(covered) != stated || !ours {
        return if ours { FileHeader::Broken } else { FileHeader::Foreign };
    }
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&covered[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    let mut tag = [0; 8];
    tag.copy_from_slice(&covered[12..20]);
    FileHeader::Of { version: number(8), kind: Kind { tag, version: number(20) } }
}

/// The chain before the first frame: so that frames of one kind are none of another.
pub(super) fn chain_start(header: &[u8; FILE_HEADER]) -> Digest {
    Digest::derive(CHAIN, header)
}

/// The header of a frame whose check holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) version: u32,
    /// Length of the payload on disk.
    pub(super) payload: u32,
    pub(super) first_record: u64,
    pub(super) records: u32,
    /// The chain up to this frame.
    pub(super) prev: Digest,
}

impl FrameHeader {
    fn to_bytes(self) -> [u8; FRAME_HEADER] {
        let mut out = Vec::with_capacity(FRAME_HEADER);
        out.extend_from_slice(FRAME_MAGIC);
        self.version.encode(&mut out);
        self.payload.encode(&mut out);
        self.first_record.encode(&mut out);
        self.records.encode(&mut out);
        self.prev.encode(&mut out);
        let check = check(&out);
        out.extend_from_slice(&check);
        let mut header = [0; FRAME_HEADER];
        header.copy_from_slice(&out);
        header
    }

    /// Reads a header; nothing if `bytes` is too short, or magic or check do not hold.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (covered, stated) = bytes.get(..FRAME_HEADER)?.split_at(FRAME_HEADER - 8);
        if !covered.starts_with(FRAME_MAGIC) || check(covered) != stated {
            return None;
        }
        let mut input = Reader::new(&covered[FRAME_MAGIC.len()..]);
        Some(Self {
            version: u32::from_le_bytes(input.array().ok()?),
            payload: u32::from_le_bytes(input.array().ok()?),
            first_record: u64::from_le_bytes(input.array().ok()?),
            records: u32::from_le_bytes(input.array().ok()?),
            prev: Digest::from_bytes(input.array().ok()?),
        })
    }

    /// Whether the lengths are ones that [`encode`] writes.
    pub(super) const fn is_within_limits(&self) -> bool {
        let payload = self.payload as usize;
        // Every record takes four bytes at least.
        payload <= STUFFED_MAX && self.records > 0 && self.records as usize <= payload / 4
    }
}

/// Writes `records` as one frame after `prev` into `out`, whose bytes it replaces; returns the chain up to its end.
pub(super) fn encode(
    prev: Digest,
    first_record: u64,
    records: &[impl AsRef<[u8]>],
    out: &mut Vec<u8>,
) -> Result<Digest, JournalError> {
    let mut length = 0_usize;
    for (index, record) in records.iter().enumerate() {
        let bytes = record.as_ref().len();
        if bytes > RECORD_MAX {
            return Err(JournalError::RecordTooLong { index, bytes, bytes_max: RECORD_MAX });
        }
        length = length.saturating_add(4 + bytes);
    }
    if length > PAYLOAD_MAX {
        return Err(JournalError::FrameTooLong { bytes: length, bytes_max: PAYLOAD_MAX });
    }
    out.clear();
    out.reserve(FRAME_HEADER + length + TRAILER);
    out.resize(FRAME_HEADER, 0);
    for record in records {
        fondaco_codec::put_bytes(out, record.as_ref());
    }
    stuff(out, FRAME_HEADER);
    let within = "a payload of at most 16 MiB counts in 32 bits";
    let header = FrameHeader {
        version: VERSION,
        payload: u32::try_from(out.len() - FRAME_HEADER).expect(within),
        first_record,
        records: u32::try_from(records.len()).expect(within),
        prev,
    };
    out[..FRAME_HEADER].copy_from_slice(&header.to_bytes());
    let chain = chain_after(prev, out);
    out.extend_from_slice(chain.as_bytes());
    Ok(chain)
}

/// The chain after a frame: `covered` is its header and payload.
pub(super) fn chain_after(prev: Digest, covered: &[u8]) -> Digest {
    CHAIN_HASHER.clone().update(prev.as_bytes()).update(covered).finish()
}

/// The records of one frame, in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    input: Reader<'a>,
    /// Numbers of those that are left.
    left: Range<u64>,
}

impl<'a> Records<'a> {
    /// Takes a payload that is not stuffed any more; nothing if it is not just so many records. All is checked
    /// before the first record is handed out.
    pub(super) fn of(plain: &'a [u8], numbers: Range<u64>) -> Option<Self> {
        let mut input = Reader::new(plain);
        let whole = numbers.clone().all(|_| input.bytes(RECORD_MAX).is_ok()) && input.left() == 0;
        whole.then(|| Self { input: Reader::new(plain), left: numbers })
    }

    /// No record.
    pub(super) fn none() -> Self {
        Self { input: Reader::new(&[]), left: 0..0 }
    }

    /// Returns the number of the record that is next, from 0 at the journal's first.
    pub const fn number(&self) -> u64 {
        self.left.start
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left.next()?;
        self.input.bytes(RECORD_MAX).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

/// Puts a zero after every occurrence of the first seven bytes of [`FRAME_MAGIC`] behind `from`, so that no
/// record, whoever wrote it, can look like the front of a frame when a search meets it.
fn stuff(out: &mut Vec<u8>, from: usize) {
    let Some(first) = FRONT_FINDER.find(&out[from..]) else { return };
    let plain = out.split_off(from + first);
    let mut rest = &plain[..];
    while let Some(at) = FRONT_FINDER.find(rest) {
        let (front, after) = rest.split_at(at + MAGIC_FRONT.len());
        out.extend_from_slice(front);
        out.push(0);
        rest = after;
    }
    out.extend_from_slice(rest);
}

/// Takes out what [`stuff`] has put in; nothing if it is not what `stuff` makes.
pub(super) fn unstuff(payload: &[u8]) -> Option<Cow<'_, [u8]>> {
    if FRONT_FINDER.find(payload).is_none() {
        return Some(Cow::Borrowed(payload));
    }
    let mut out = Vec::with_capacity(payload.len());
    let mut rest = payload;
    while let Some(at) = FRONT_FINDER.find(rest) {
        let (front, after) = rest.split_at(at + MAGIC_FRONT.len());
        out.extend_from_slice(front);
        let (stuffed, after) = after.split_first()?;
        if *stuffed != 0 {
            return None;
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    Some(Cow::Owned(out))
}

/// Finds the first [`FRAME_MAGIC`].
pub(super) fn find_magic(bytes: &[u8]) -> Option<usize> {
    MAGIC_FINDER.find(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// Bytes in which the magic, its front and parts of it are frequent.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(FRAME_MAGIC.to_vec()),
            Just(MAGIC_FRONT.to_vec()),
            Just(FRAME_MAGIC[..3].to_vec()),
            Just(vec![0]),
            vec(any::<u8>(), 0..4),
        ];
        vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn stuffed(plain: &[u8]) -> Vec<u8> {
        // What stands before is left alone.
        let mut out = [MAGIC_FRONT, plain].concat();
        stuff(&mut out, MAGIC_FRONT.len());
        out.split_off(MAGIC_FRONT.len())
    }

    proptest! {
        #[test]
        fn stuffing_is_undone_and_leaves_no_magic(plain in hostile()) {
            let stuffed = stuffed(&plain);
            prop_assert!(find_magic(&stuffed).is_none());
            prop_assert!(stuffed.len() <= plain.len() + plain.len() / 7);
            prop_assert_eq!(unstuff(&stuffed), Some(plain.into()));
        }

        #[test]
        fn any_bytes_are_unstuffed_or_refused(bytes in hostile()) {
            if let Some(plain) = unstuff(&bytes) {
                prop_assert_eq!(stuffed(&plain), bytes, "one payload has one form");
            }
        }

        #[test]
        fn records_come_back(records in vec(hostile(), 1..6), first: u32) {
            let (prev, first) = (Digest::of(b"prev"), u64::from(first));
            let mut frame = b"what was before".to_vec();
            let chain = encode(prev, first, &records, &mut frame).unwrap();
            let header = FrameHeader::parse(&frame).unwrap();
            prop_assert!(header.is_within_limits());
            prop_assert_eq!(header.first_record, first);
            let (covered, trailer) = frame.split_at(frame.len() - TRAILER);
            prop_assert_eq!(chain_after(prev, covered), chain);
            prop_assert_eq!(trailer, chain.as_bytes());
            let plain = unstuff(&covered[FRAME_HEADER..]).unwrap();
            let numbers = first..first + u64::from(header.records);
            let found: Vec<_> = Records::of(&plain, numbers).unwrap().collect();
            prop_assert_eq!(found, records);
        }

        #[test]
        fn other_counts_are_no_records(records in vec(hostile(), 1..6), other in 0_u64..8) {
            let mut frame = Vec::new();
            encode(Digest::ZERO, 0, &records, &mut frame).unwrap();
            let plain = unstuff(&frame[FRAME_HEADER..frame.len() - TRAILER]).unwrap();
            prop_assert_eq!(Records::of(&plain, 0..other).is_some(), other == records.len() as u64);
        }
    }
}
