//! What a journal's bytes mean: its file header and its frames. No disk here.

use fondaco_codec::{Encode, Reader};
use fondaco_crypto::{Digest, Domain, Hasher};

use super::{JournalError, Kind};

const CHAIN: Domain = Domain::new("fondaco 2026 journal chain v1");
const CHECK: Domain = Domain::new("fondaco 2026 journal header v1");

/// The version of the file's format, which every frame repeats.
pub(super) const VERSION: u32 = 1;
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
pub(super) const RECORD_MAX: usize = 1 << 20;
/// The most bytes of the records of a frame, with four for the length of each.
pub(super) const PAYLOAD_MAX: usize = 16 << 20;
/// The same on disk: one byte more for every seven, at worst.
const STUFFED_MAX: usize = PAYLOAD_MAX + PAYLOAD_MAX / 7;

fn check(covered: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&Digest::derive(CHECK, covered).as_bytes()[..8]);
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

/// Writes `records` as one frame after `prev`; returns it with the chain up to its end.
pub(super) fn encode(
    prev: Digest,
    first_record: u64,
    records: &[impl AsRef<[u8]>],
) -> Result<(Vec<u8>, Digest), JournalError> {
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
    let mut plain = Vec::with_capacity(length);
    for record in records {
        fondaco_codec::put_bytes(&mut plain, record.as_ref());
    }
    let payload = stuff(plain);
    let within = "a payload of at most 16 MiB counts in 32 bits";
    let header = FrameHeader {
        version: VERSION,
        payload: u32::try_from(payload.len()).expect(within),
        first_record,
        records: u32::try_from(records.len()).expect(within),
        prev,
    };
    let header = header.to_bytes();
    let chain = chain_after(prev, &header, &payload);
    let mut frame = Vec::with_capacity(FRAME_HEADER + payload.len() + TRAILER);
    frame.extend_from_slice(&header);
    frame.extend_from_slice(&payload);
    frame.extend_from_slice(chain.as_bytes());
    Ok((frame, chain))
}

/// The chain after the frame of this header and payload.
pub(super) fn chain_after(prev: Digest, header: &[u8], payload: &[u8]) -> Digest {
    Hasher::new(CHAIN).update(prev.as_bytes()).update(header).update(payload).finish()
}

/// Hands each record of a payload to `each`; `Ok(None)` if the payload is not `count` records.
pub(super) fn each_record<E>(
    payload: &[u8],
    count: u32,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<Option<()>, (u32, E)> {
    let Some(plain) = unstuff(payload) else { return Ok(None) };
    // All is checked before the first record is handed out.
    let whole = |mut input: Reader<'_>| {
        (0..count).all(|_| input.bytes(RECORD_MAX).is_ok()) && input.left() == 0
    };
    let mut input = Reader::new(&plain);
    if !whole(input.clone()) {
        return Ok(None);
    }
    for index in 0..count {
        let Ok(record) = input.bytes(RECORD_MAX) else { return Ok(None) };
        each(record).map_err(|error| (index, error))?;
    }
    Ok(Some(()))
}

/// Puts a zero after every occurrence of the first seven bytes of [`FRAME_MAGIC`], so that no
/// record, whoever wrote it, can look like the front of a frame when a search meets it.
fn stuff(plain: Vec<u8>) -> Vec<u8> {
    if find(&plain, MAGIC_FRONT).is_none() {
        return plain;
    }
    let mut out = Vec::with_capacity(plain.len() + plain.len() / 7);
    let mut rest = &plain[..];
    while let Some(at) = find(rest, MAGIC_FRONT) {
        let (front, after) = rest.split_at(at + MAGIC_FRONT.len());
        out.extend_from_slice(front);
        out.push(0);
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

fn unstuff(payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len());
    let mut rest = payload;
    while let Some(at) = find(rest, MAGIC_FRONT) {
        let (front, after) = rest.split_at(at + MAGIC_FRONT.len());
        out.extend_from_slice(front);
        let (stuffed, after) = after.split_first()?;
        if *stuffed != 0 {
            return None;
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// Finds the first occurrence of `what`, which begins with the byte 0x89 and has it nowhere else.
pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|byte| *byte == what[0])?;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
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

    proptest! {
        #[test]
        fn stuffing_is_undone_and_leaves_no_magic(plain in hostile()) {
            let stuffed = stuff(plain.clone());
            prop_assert!(find(&stuffed, FRAME_MAGIC).is_none());
            prop_assert!(stuffed.len() <= plain.len() + plain.len() / 7);
            prop_assert_eq!(unstuff(&stuffed), Some(plain));
        }

        #[test]
        fn any_bytes_are_unstuffed_or_refused(bytes in hostile()) {
            if let Some(plain) = unstuff(&bytes) {
                prop_assert_eq!(stuff(plain), bytes, "one payload has one form");
            }
        }

        #[test]
        fn records_come_back(records in vec(hostile(), 1..6), first: u64) {
            let prev = Digest::of(b"prev");
            let (frame, chain) = encode(prev, first, &records).unwrap();
            let header = FrameHeader::parse(&frame).unwrap();
            prop_assert!(header.is_within_limits());
            prop_assert_eq!(header.first_record, first);
            let payload = &frame[FRAME_HEADER..frame.len() - TRAILER];
            prop_assert_eq!(chain_after(prev, &frame[..FRAME_HEADER], payload), chain);
            let mut found = Vec::new();
            let ended: Result<_, (u32, ())> = each_record(payload, header.records, |record| {
                found.push(record.to_vec());
                Ok(())
            });
            prop_assert_eq!(ended, Ok(Some(())));
            prop_assert_eq!(found, records);
        }
    }
}
