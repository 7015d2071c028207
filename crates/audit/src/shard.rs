//! Shards by name, and the hashes above their groups.

use bao_tree::{BaoTree, BlockSize, TreeNode, io::sync};
use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use fondaco_crypto::Digest;
use std::{fmt, io, str::FromStr};

/// The longest shard: one tebibyte, far below where an offset could wrap.
pub const SIZE_MAX: u64 = 1 << 40;

/// 16 chunks of 1024 bytes.
const BLOCK: BlockSize = BlockSize::from_chunk_log(4);

/// The shape of the tree above a shard of `size` bytes.
pub(crate) fn tree(size: u64) -> BaoTree {
    BaoTree::new(size, BLOCK)
}

/// Names a shard: the BLAKE3 root of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(Digest);

impl ShardId {
    /// Takes over the BLAKE3 root of a shard.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// Returns the BLAKE3 root.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }

    /// Names the shard with these `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Digest::of(bytes))
    }
}

impl fmt::Display for ShardId {
    /// Writes the one text form: `shard:` and 64 lowercase hex digits; with `{:.8}`, the first eight of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shard:")?;
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardId({self:.16}…)")
    }
}

/// The text is not `shard:` and 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a shard is written `shard:` and 64 lowercase hex digits")]
pub struct ParseShardIdError;

impl FromStr for ShardId {
    type Err = ParseShardIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("shard:").ok_or(ParseShardIdError)?;
        digits.parse().map(Self).map_err(|_| ParseShardIdError)
    }
}

impl Encode for ShardId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for ShardId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Digest::decode(input).map(Self)
    }
}

/// The hashes above the groups of one shard: 64 bytes for each group but one, in post-order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboard {
    size: u64,
    hashes: Vec<u8>,
}

impl Outboard {
    /// Names a shard and keeps the hashes that prove its parts.
    ///
    /// # Panics
    ///
    /// If `bytes` are longer than [`SIZE_MAX`], which no memory holds.
    pub fn of(bytes: &[u8]) -> (ShardId, Self) {
        Self::read(bytes, bytes.len() as u64).expect("reading memory does not fail")
    }

    /// As [`Outboard::of`], of the next `size` bytes that `from` gives, keeping no more than a group in memory.
    ///
    /// # Errors
    ///
    /// Those of `from`, and `InvalidInput` when `size` is over [`SIZE_MAX`].
    pub fn read(from: impl io::Read, size: u64) -> io::Result<(ShardId, Self)> {
        if size > SIZE_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut hashes = Vec::new();
        let root = sync::outboard_post_order(from, tree(size), &mut hashes)?;
        Ok((ShardId(Digest::from_bytes(root.into())), Self { size, hashes }))
    }

    /// Returns how long the outboard of a shard of `size` bytes is.
    pub fn len_for(size: u64) -> u64 {
        tree(size).outboard_size()
    }

    /// Takes back the hashes of a shard of `size` bytes. Whether they are right is not checked: who checks a slice will.
    ///
    /// # Errors
    ///
    /// The size is over [`SIZE_MAX`], or the length is not [`Outboard::len_for`] it.
    pub fn from_bytes(size: u64, hashes: Vec<u8>) -> Result<Self, OutboardError> {
        if size > SIZE_MAX {
            return Err(OutboardError::Size { size });
        }
        let (length, wanted) = (hashes.len() as u64, Self::len_for(size));
        if length != wanted {
            return Err(OutboardError::Length { length, wanted });
        }
        Ok(Self { size, hashes })
    }

    /// Returns the hashes, to be kept beside the shard.
    pub fn as_bytes(&self) -> &[u8] {
        &self.hashes
    }

    /// Returns the size of the shard in bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

/// Returns where the outboard of a shard of `size` bytes has the hashes of the two halves below `node`: 64 bytes.
pub(crate) fn pair_at(size: u64, node: TreeNode) -> Option<u64> {
    tree(size).post_order_offset(node)?.value().checked_mul(64)
}

/// Why bytes are no outboard. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboardError {
    /// The shard is longer than [`SIZE_MAX`].
    #[error("a shard of {size} bytes is over the maximum of {SIZE_MAX}")]
    Size {
        /// Its size in bytes.
        size: u64,
    },
    /// There are too few or too many hashes for the size.
    #[error("{length} bytes of hashes, where the shard has {wanted}")]
    Length {
        /// Length found, in bytes.
        length: u64,
        /// Length wanted, in bytes.
        wanted: u64,
    },
}

impl OutboardError {
    /// Returns whether the same bytes can be an outboard later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Size { .. } | Self::Length { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn outboards_have_one_length() {
        let table = [
            (0, 0),
            (1, 0),
            (16_384, 0),
            (16_385, 64),
            (32_768, 64),
            (32_769, 128),
            (1 << 20, 63 * 64),
        ];
        for (size, length) in table {
            let bytes = vec![1; usize::try_from(size).unwrap()];
            let (shard, outboard) = Outboard::of(&bytes);
            assert_eq!(shard.digest().as_bytes(), blake3::hash(&bytes).as_bytes());
            assert_eq!(outboard.as_bytes().len() as u64, length);
            assert_eq!(Outboard::from_bytes(size, outboard.as_bytes().to_vec()), Ok(outboard));
            let longer = Outboard::from_bytes(size, vec![0; usize::try_from(length).unwrap() + 1]);
            assert_eq!(longer, Err(OutboardError::Length { length: length + 1, wanted: length }));
        }
        assert_eq!(
            Outboard::from_bytes(u64::MAX, vec![]),
            Err(OutboardError::Size { size: u64::MAX })
        );
        assert!(Outboard::read(&b"short"[..], 6).is_err());
    }

    proptest! {
        #[test]
        fn shard_ids_survive_their_text_form(digest: [u8; 32]) {
            let id = ShardId(Digest::from_bytes(digest));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
