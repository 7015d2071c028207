//! Slices: a part of a shard with the hashes that join it to the root.

use crate::{
    Outboard, ShardId,
    shard::{SIZE_MAX, pair_at, tree},
};
use bao_tree::{
    ChunkNum, ChunkRanges,
    io::{BaoContentItem, DecodeError, sync::DecodeResponseIter, sync::truncate_ranges},
    iter::BaoChunk,
};
use std::{io, ops::Range};

/// The shortest part of a shard that can be proved: 16 KiB.
pub const GROUP: u64 = 16 << 10;

/// How many hashes can lie above one group of the longest shard.
const DEPTH_MAX: u64 = (SIZE_MAX / GROUP).ilog2() as u64;

/// Returns the groups that `range` touches, whole, as a range of bytes; nothing if it reaches past the end of the
/// shard, or is empty while the shard is not.
pub fn groups_around(size: u64, range: &Range<u64>) -> Option<Range<u64>> {
    let empty = range.start >= range.end;
    if size > SIZE_MAX || range.end > size || (empty && *range != (0..size)) {
        return None;
    }
    Some(range.start / GROUP * GROUP..range.end.next_multiple_of(GROUP).min(size))
}

/// The same as chunks of Bao; the last group is open-ended, so that its end is proved to be the end.
fn chunks_of(groups: &Range<u64>, size: u64) -> ChunkRanges {
    let start = ChunkNum::full_chunks(groups.start);
    if groups.end == size {
        ChunkRanges::from(start..)
    } else {
        ChunkRanges::from(start..ChunkNum::full_chunks(groups.end))
    }
}

/// Returns the greatest length in bytes of a slice of a range of `length` bytes, wherever it begins.
pub const fn slice_len_max(length: u64) -> u64 {
    let groups = length.div_ceil(GROUP).saturating_add(1);
    // On each level, the hashes that cover the range, and at most two that only join it to the rest.
    groups.saturating_mul(GROUP + 64).saturating_add(64 * 2 * DEPTH_MAX)
}

/// Reads from memory, for [`prove`].
pub fn bytes_at(bytes: &[u8]) -> impl Fn(u64, &mut [u8]) -> io::Result<()> + '_ {
    |offset, buffer| {
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|start| bytes.get(start..start.checked_add(buffer.len())?));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Makes the slice of `range` of the shard that `outboard` belongs to. `read_exact_at` fills a buffer from an offset.
///
/// Nothing is checked: of damaged bytes it makes a slice that will be refused.
///
/// # Errors
///
/// The range is not of the shard, or reading failed.
pub fn prove(
    read_exact_at: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    outboard: &Outboard,
    range: Range<u64>,
) -> Result<Vec<u8>, ProveError> {
    prove_at(outboard.size(), bytes_at(outboard.as_bytes()), read_exact_at, range)
}

/// As [`prove`], of a shard of `size` bytes whose outboard is read where it lies: only the hashes that the slice has, 64 bytes
/// at a time.
///
/// # Errors
///
/// The range is not of the shard, or reading failed.
pub fn prove_at(
    size: u64,
    read_hashes_at: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    read_exact_at: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    range: Range<u64>,
) -> Result<Vec<u8>, ProveError> {
    let groups =
        groups_around(size, &range).ok_or(ProveError::Range { range: range.clone(), size })?;
    let chunks = chunks_of(&groups, size);
    let capacity = slice_len_max(groups.end - groups.start);
    let mut slice = Vec::with_capacity(usize::try_from(capacity).unwrap_or(0));
    let chunks = truncate_ranges(&chunks, size);
    for item in tree(size).ranges_pre_order_chunks_iter_ref(chunks, 0) {
        match item {
            BaoChunk::Parent { node, .. } => {
                let from =
                    pair_at(size, node).ok_or(io::Error::from(io::ErrorKind::InvalidData))?;
                let at = slice.len();
                slice.resize(at + 64, 0);
                read_hashes_at(from, &mut slice[at..])?;
            }
            BaoChunk::Leaf { start_chunk, size, .. } => {
                let at = slice.len();
                slice.resize(at + size, 0);
                read_exact_at(start_chunk.to_bytes(), &mut slice[at..])?;
            }
        }
    }
    Ok(slice)
}

/// Checks that `slice` is the one of `range` of a shard of `size` bytes, and returns exactly the bytes of `range`.
///
/// # Errors
///
/// The first that applies of [`AuditError`].
pub fn check(
    shard: ShardId,
    size: u64,
    range: Range<u64>,
    slice: &[u8],
) -> Result<Vec<u8>, AuditError> {
    let groups =
        groups_around(size, &range).ok_or(AuditError::Range { range: range.clone(), size })?;
    let length = slice.len() as u64;
    if length > slice_len_max(groups.end - groups.start) {
        return Err(AuditError::Long { length });
    }
    let chunks = chunks_of(&groups, size);
    let root = blake3::Hash::from(*shard.digest().as_bytes());
    let mut rest = slice;
    let mut bytes = Vec::with_capacity(slice.len());
    for item in DecodeResponseIter::new(root, tree(size), &mut rest, &chunks) {
        match item.map_err(refusal)? {
            BaoContentItem::Parent(_) => {}
            BaoContentItem::Leaf(leaf) => bytes.extend_from_slice(&leaf.data),
        }
    }
    if !rest.is_empty() {
        return Err(AuditError::Long { length });
    }
    // Both are within one group, or the range was refused above; the lengths agree since every leaf was checked.
    let from = usize::try_from(range.start - groups.start).unwrap_or(usize::MAX);
    let to = usize::try_from(range.end - groups.start).unwrap_or(usize::MAX);
    bytes.truncate(to);
    bytes.drain(..from.min(bytes.len()));
    Ok(bytes)
}

fn refusal(error: DecodeError) -> AuditError {
    match error {
        DecodeError::ParentHashMismatch(_) => AuditError::WrongHash,
        DecodeError::LeafHashMismatch(chunk) => AuditError::WrongBytes { at: chunk.to_bytes() },
        DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) | DecodeError::Io(_) => {
            AuditError::Short
        }
    }
}

/// Why a slice is refused. Listed by precedence; of the last three, the first met on the way down the tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The range is not of the shard, or empty, or the shard is longer than [`SIZE_MAX`].
    #[error("bytes {range:?} are no part of a shard of {size} bytes")]
    Range {
        /// The range asked for.
        range: Range<u64>,
        /// The size of the shard.
        size: u64,
    },
    /// The slice goes on after its end.
    #[error("a slice of {length} bytes is longer than the range it is of")]
    Long {
        /// Its length in bytes.
        length: u64,
    },
    /// The slice ends before its end.
    #[error("the slice is cut short")]
    Short,
    /// A hash does not join to the root: the slice is of another shard, or the outboard is damaged.
    #[error("a hash of the slice does not join to the shard's name")]
    WrongHash,
    /// The bytes of a group are not those that were stored.
    #[error("the bytes from {at} are not those of the shard")]
    WrongBytes {
        /// Offset of the group.
        at: u64,
    },
}

impl AuditError {
    /// Returns whether the same slice can be taken later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Range { .. }
            | Self::Long { .. }
            | Self::Short
            | Self::WrongHash
            | Self::WrongBytes { .. } => false,
        }
    }
}

/// Why a slice cannot be made. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The range is not of the shard, or empty.
    #[error("bytes {range:?} are no part of a shard of {size} bytes")]
    Range {
        /// The range asked for.
        range: Range<u64>,
        /// The size of the shard.
        size: u64,
    },
    /// The shard's bytes could not be read: its keeper has lost them, or its disk is failing.
    #[error("reading the shard: {0}")]
    Read(#[from] io::Error),
}

impl ProveError {
    /// Returns whether the same can be tried later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Range { .. } | Self::Read(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*, sample::Index};

    /// Bytes without a period that groups could share.
    fn bytes_of(size: u64, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(size).unwrap()];
        blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn sizes() -> impl Strategy<Value = u64> {
        let near = |step: u64| {
            (0..12_u64, 0..3_u64).prop_map(move |(n, off)| (n * step + off).saturating_sub(1))
        };
        prop_oneof![0..200_000_u64, near(GROUP), near(1024), Just(0), Just(1)]
    }

    /// A shard and a range of it.
    fn cases() -> impl Strategy<Value = (Vec<u8>, Range<u64>)> {
        (sizes(), any::<u8>(), any::<(Index, Index)>()).prop_map(|(size, seed, (from, to))| {
            let pick =
                |index: Index, below: u64| index.index(usize::try_from(below).unwrap()) as u64;
            let range = if size == 0 {
                0..0
            } else {
                let start = pick(from, size);
                start..start + 1 + pick(to, size - start)
            };
            (bytes_of(size, seed), range)
        })
    }

    fn part(bytes: &[u8], range: &Range<u64>) -> Vec<u8> {
        bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
    }

    proptest! {
        #[test]
        fn an_honest_slice_is_accepted((bytes, range) in cases()) {
            let (shard, outboard) = Outboard::of(&bytes);
            prop_assert_eq!(*shard.digest().as_bytes(), <[u8; 32]>::from(blake3::hash(&bytes)));
            let slice = prove(bytes_at(&bytes), &outboard, range.clone()).unwrap();
            prop_assert!(slice.len() as u64 <= slice_len_max(range.end - range.start));
            let size = bytes.len() as u64;
            prop_assert_eq!(check(shard, size, range.clone(), &slice), Ok(part(&bytes, &range)));
        }

        /// Any byte of the slice changed, one left out or added, or another shard's name or size: refused.
        #[test]
        fn a_changed_slice_is_refused((bytes, range) in cases(), at: Index, flip in 1..=255_u8) {
            let (shard, outboard) = Outboard::of(&bytes);
            let size = bytes.len() as u64;
            let slice = prove(bytes_at(&bytes), &outboard, range.clone()).unwrap();
            let longer = [&slice[..], &[flip]].concat();
            prop_assert!(check(shard, size, range.clone(), &longer).is_err());
            prop_assert!(check(ShardId::of(&longer), size, range.clone(), &slice).is_err());
            if !slice.is_empty() {
                let mut changed = slice.clone();
                changed[at.index(slice.len())] ^= flip;
                prop_assert!(check(shard, size, range.clone(), &changed).is_err());
                prop_assert!(check(shard, size, range, &slice[..at.index(slice.len())]).is_err());
            }
        }

        /// A provider that kept the hashes and not the bytes cannot answer.
        #[test]
        fn a_damaged_byte_is_found((bytes, range) in cases(), at: Index, flip in 1..=255_u8) {
            prop_assume!(!bytes.is_empty());
            let (shard, outboard) = Outboard::of(&bytes);
            let size = bytes.len() as u64;
            let mut damaged = bytes;
            let place = range.start + at.index(usize::try_from(range.end - range.start).unwrap()) as u64;
            damaged[usize::try_from(place).unwrap()] ^= flip;
            let slice = prove(bytes_at(&damaged), &outboard, range.clone()).unwrap();
            let refusal = check(shard, size, range, &slice);
            prop_assert_eq!(refusal, Err(AuditError::WrongBytes { at: place / GROUP * GROUP }));
        }

        #[test]
        fn garbage_is_refused_and_bounded(shard: [u8; 32], size: u64, range: (u64, u64), slice in vec(any::<u8>(), 0..40_000)) {
            let shard = ShardId::from_digest(fondaco_crypto::Digest::from_bytes(shard));
            prop_assert!(check(shard, size, range.0..range.1, &slice).is_err());
            let size = size % (SIZE_MAX + 1);
            let start = range.0 % size.max(1);
            prop_assert!(check(shard, size, start..size.min(start + 1 + range.1 % 100_000), &slice).is_err());
        }
    }

    #[test]
    fn ranges_outside_the_shard_are_refused() {
        let (shard, outboard) = Outboard::of(&[1; 40_000]);
        let table = [
            (0..40_000, Some(0..40_000)),
            (0..1, Some(0..16_384)),
            (16_383..16_385, Some(0..32_768)),
            (32_768..32_769, Some(32_768..40_000)),
            (0..0, None),
            (5..5, None),
            (40_000..40_000, None),
            (39_999..40_001, None),
            (u64::MAX..u64::MAX, None),
            (Range { start: 7, end: 3 }, None),
        ];
        for (range, groups) in table {
            assert_eq!(groups_around(40_000, &range), groups);
            let proof = prove(|_, _| Ok(()), &outboard, range.clone());
            assert_eq!(proof.is_err(), groups.is_none(), "{range:?}");
            if groups.is_none() {
                let refused = AuditError::Range { range: range.clone(), size: 40_000 };
                assert_eq!(check(shard, 40_000, range, &[]), Err(refused));
            }
        }
        assert_eq!(check(ShardId::of(b""), 0, 0..0, &[]), Ok(vec![]));
        assert_eq!(check(shard, 0, 0..0, &[]), Err(AuditError::WrongBytes { at: 0 }));
        assert_eq!(check(shard, SIZE_MAX, 0..GROUP, &[0; 64]), Err(AuditError::WrongHash));
        assert_eq!(check(shard, SIZE_MAX, 0..GROUP, &[0; 63]), Err(AuditError::Short));
        assert!(matches!(check(shard, SIZE_MAX + 1, 0..GROUP, &[]), Err(AuditError::Range { .. })));
        assert!(matches!(prove(bytes_at(&[1; 9]), &outboard, 0..1), Err(ProveError::Read(_))));
    }

    /// Of the 4 MiB of hashes of a shard of 1 GiB, those on the way to what is read, and no others.
    #[test]
    fn only_the_hashes_of_the_slice_are_read() {
        for (range, pairs) in [
            (5..6, 16),
            ((1 << 30) - 1..1 << 30, 16),
            (0..256 << 10, 12 + 15),
            (16_383..16_385, 16),
            (32_767..32_769, 17),
        ] {
            let read = std::cell::RefCell::new(Vec::new());
            let hashes = |offset: u64, buffer: &mut [u8]| {
                assert!(offset + 64 <= Outboard::len_for(1 << 30));
                read.borrow_mut().push((offset, buffer.len()));
                Ok(())
            };
            let slice = prove_at(1 << 30, hashes, |_, _| Ok(()), range.clone()).unwrap();
            let read = read.into_inner();
            assert!(read.iter().all(|(_, length)| *length == 64), "{range:?}");
            let unique: std::collections::BTreeSet<_> = read.iter().collect();
            assert_eq!((read.len(), unique.len()), (pairs, pairs), "{range:?}");
            assert_eq!(slice.len() as u64 % GROUP, pairs as u64 * 64 % GROUP, "{range:?}");
        }
    }

    /// One group of a shard of 1 GiB: 16 KiB and the 16 pairs of hashes above it.
    #[test]
    fn a_proof_is_seventeen_kilobytes() {
        let hashes = vec![0; usize::try_from(Outboard::len_for(1 << 30)).unwrap()];
        let outboard = Outboard::from_bytes(1 << 30, hashes).unwrap();
        let slice = prove(|_, _| Ok(()), &outboard, 5 * GROUP..6 * GROUP).unwrap();
        assert_eq!(slice.len(), 16_384 + 16 * 64);
    }
}
