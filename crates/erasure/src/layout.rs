//! Where each byte of an object lies among its data shards.

use std::ops::Range;

use crate::Code;

/// The longest object that is cut as one: 1 GiB. A longer one is stored as several.
pub const OBJECT_BYTES_MAX: u64 = 1 << 30;

/// What the length of a shard is a multiple of: a line of the cache, so that where an object begins at one, each of its
/// shards does.
pub const BLOCK_BYTES: u64 = 64;

/// How one object lies in its shards: data shard `i` holds the object's bytes from `i · shard_len` up
/// to the next shard's first; what lies beyond the object's end is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    code: Code,
    object_len: u64,
    shard_len: u64,
}

/// A part of an object range that lies in one data shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// The data shard's index.
    pub shard: u8,
    /// The bytes within that shard; never empty.
    pub range: Range<u64>,
}

impl Layout {
    /// Lays out an object of `object_len` bytes, which may be zero.
    ///
    /// A shard is as long as the `k`-th part of the object, rounded up to whole blocks, at least one.
    pub fn new(code: Code, object_len: u64) -> Result<Self, LayoutError> {
        if object_len > OBJECT_BYTES_MAX {
            return Err(LayoutError::ObjectTooLong { object_len });
        }
        let part = object_len.div_ceil(code.k().into());
        Ok(Self { code, object_len, shard_len: part.max(1).next_multiple_of(BLOCK_BYTES) })
    }

    /// Returns the code that the object is cut by.
    pub const fn code(self) -> Code {
        self.code
    }

    /// Returns the length of the object, in bytes.
    pub const fn object_len(self) -> u64 {
        self.object_len
    }

    /// Returns the length of every shard, in bytes: a multiple of [`BLOCK_BYTES`], and not zero.
    pub const fn shard_len(self) -> u64 {
        self.shard_len
    }

    /// Finds where `len` bytes of the object from `offset` on lie, in order; no piece if `len` is zero.
    pub fn locate(self, offset: u64, len: u64) -> Result<Vec<Piece>, LayoutError> {
        let end = offset
            .checked_add(len)
            .filter(|&end| end <= self.object_len)
            .ok_or(LayoutError::OutsideObject { offset, len, object_len: self.object_len })?;
        let piece = |shard: u8| {
            let base = u64::from(shard) * self.shard_len;
            let range = offset.max(base)..end.min(base + self.shard_len);
            (!range.is_empty())
                .then(|| Piece { shard, range: range.start - base..range.end - base })
        };
        Ok((0..self.code.k()).filter_map(piece).collect())
    }
}

/// Why a layout refused. Listed by precedence: only the first that applies is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The object is longer than [`OBJECT_BYTES_MAX`].
    #[error("an object has at most {OBJECT_BYTES_MAX} bytes; this one has {object_len}")]
    ObjectTooLong {
        /// The length asked for, in bytes.
        object_len: u64,
    },

    /// The range goes beyond the end of the object.
    #[error("{len} bytes from {offset} on go beyond an object of {object_len}")]
    OutsideObject {
        /// Where the range starts, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        len: u64,
        /// How long the object is, in bytes.
        object_len: u64,
    },
}

impl LayoutError {
    /// Returns whether the same request can succeed later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::ObjectTooLong { .. } | Self::OutsideObject { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(k: u8, n: u8, object_len: u64) -> Layout {
        Layout::new(Code::new(k, n).unwrap(), object_len).unwrap()
    }

    #[test]
    fn a_shard_is_the_kth_part_in_whole_blocks() {
        for (k, object_len, shard_len) in [
            (1, 0, 64),
            (5, 0, 64),
            (5, 1, 64),
            (5, 320, 64),
            (5, 321, 128),
            (1, 64, 64),
            (1, 65, 128),
            (255, OBJECT_BYTES_MAX, 4_210_816),
            (1, OBJECT_BYTES_MAX, OBJECT_BYTES_MAX),
        ] {
            assert_eq!(layout(k, 255, object_len).shard_len(), shard_len, "{object_len} by {k}");
        }
        let object_len = OBJECT_BYTES_MAX + 1;
        let refused = Layout::new(Code::new(1, 1).unwrap(), object_len);
        assert_eq!(refused, Err(LayoutError::ObjectTooLong { object_len }));
    }

    #[test]
    fn a_range_is_found_in_its_shards() {
        let layout = layout(3, 5, 300); // Shards of 128 bytes; the last data shard has 44.
        let outside =
            |offset, len| Err(LayoutError::OutsideObject { offset, len, object_len: 300 });
        for (offset, len, outcome) in [
            (0, 0, Ok(vec![])),
            (300, 0, Ok(vec![])),
            (0, 1, Ok(vec![(0, 0..1)])),
            (100, 28, Ok(vec![(0, 100..128)])),
            (128, 1, Ok(vec![(1, 0..1)])),
            (127, 130, Ok(vec![(0, 127..128), (1, 0..128), (2, 0..1)])),
            (0, 300, Ok(vec![(0, 0..128), (1, 0..128), (2, 0..44)])),
            (0, 301, outside(0, 301)),
            (301, 0, outside(301, 0)),
            (u64::MAX, 1, outside(u64::MAX, 1)),
        ] {
            let found = layout.locate(offset, len);
            let pairs =
                |pieces: Vec<Piece>| pieces.into_iter().map(|p| (p.shard, p.range)).collect();
            assert_eq!(found.map(pairs), outcome, "{len} from {offset}");
        }
    }

    proptest! {
        /// The pieces of a range are its bytes: all of them, each once, in order, within the shards.
        #[test]
        fn pieces_tile_the_range(k in 1..=255_u8, object_len in 0..100_000_u64, cut: (u16, u16)) {
            let layout = layout(k, 255, object_len);
            let offset = object_len * u64::from(cut.0) / u64::from(u16::MAX);
            let len = (object_len - offset) * u64::from(cut.1) / u64::from(u16::MAX);
            let mut at = offset;
            for Piece { shard, range } in layout.locate(offset, len).unwrap() {
                prop_assert!(shard < k && !range.is_empty() && range.end <= layout.shard_len());
                prop_assert_eq!(u64::from(shard) * layout.shard_len() + range.start, at);
                at += range.end - range.start;
            }
            prop_assert_eq!(at, offset + len);
        }
    }
}
