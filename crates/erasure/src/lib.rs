//! Cut an object into k-of-n shards and rebuild it from any k.
//!
//! A *code* says how many *shards* an object is cut into (`n`) and how many of them are enough to have
//! it back (`k`). The first `k` are *data shards*: the object itself, cut in order; the others are
//! *parity*. A *row* is one byte position, the same in all shards; a *block* is 64 rows.
//!
//! ```text
//!              rows ──► 0 ········ 63 │ 64 ······ 127 │ ··· shard_len
//! object bytes ──► data shard 0       │               │
//!                  data shard 1       │               │          zero padding after the object's end
//!                  ··· k              │               │
//!                  parity shard k     │               │
//!                  ··· n              │               │
//!                                  block            block: coded alone, independent of its neighbours
//! ```
//!
//! # What always holds
//!
//! - Any `k` distinct shards give the whole object back; no `k − 1` do.
//! - A data shard is a piece of the object: while the data shards live, reading is copying.
//! - Blocks are independent: rebuilding some rows takes only those rows of `k` shards.
//! - The same object under the same code gives the same shards, on every machine and release: parity
//!   is stored for years, so a test holds the code to bytes committed with it.
//!
//! # What is not here
//!
//! Telling a false shard from a true one: a wrong byte that goes in comes out as another wrong byte, so
//! every shard is first checked against its root. Choosing `k` and `n` (see `placement`). Encryption:
//! data shards show the object to their hosts, so the object is sealed before it is cut.
//!
//! ```
//! use fondaco_erasure::{Code, ErasureCode, Layout, ReedSolomon};
//!
//! let object = b"ten Claire dollars for one megabyte".as_slice();
//! let layout = Layout::new(Code::new(2, 3)?, object.len() as u64)?;
//! let shards = ReedSolomon.encode(layout, object)?;
//!
//! // The host of shard 0 is gone.
//! let alive = [(2, shards[2].as_slice()), (1, shards[1].as_slice())];
//! let mut rebuilt = ReedSolomon.rebuild(layout, 0..layout.shard_len(), &alive)?.concat();
//! rebuilt.truncate(object.len());
//! assert_eq!(rebuilt, object);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod code;
mod layout;
mod reed_solomon;

use std::ops::Range;

pub use crate::{
    code::{Code, CodeError},
    layout::{BLOCK_BYTES, Layout, LayoutError, OBJECT_BYTES_MAX, Piece},
    reed_solomon::ReedSolomon,
};

/// Turns an object into shards, and shards into the object.
///
/// An implementation fixes the parity bytes, so two of them do not read each other's shards.
pub trait ErasureCode: Send + Sync {
    /// Cuts `object` into all `n` shards of its `layout`, in order of index.
    ///
    /// The shards take `n · shard_len` bytes of memory, beside the object.
    fn encode(&self, layout: Layout, object: &[u8]) -> Result<Vec<Vec<u8>>, ErasureError>;

    /// Returns what the `k` data shards hold in `rows`, from the same rows of any `k` shards or more.
    ///
    /// `rows` are whole blocks, as [`Piece::rows`] makes them. Each of `shards` is an index and the
    /// bytes of these rows only; their order does not matter, and those beyond need are not read.
    fn rebuild(
        &self,
        layout: Layout,
        rows: Range<u64>,
        shards: &[(u8, &[u8])],
    ) -> Result<Vec<Vec<u8>>, ErasureError>;
}

/// Why nothing was coded. Listed by precedence: only the first that applies is reported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// The object is not as long as its layout says.
    #[error("the layout is for an object of {expected} bytes; this one has {actual}")]
    ObjectLength {
        /// Bytes, by the layout.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },

    /// The row range is empty, or ends before it starts.
    #[error("rows {start} to {end} hold nothing")]
    RowsEmpty {
        /// The first row.
        start: u64,
        /// The row after the last.
        end: u64,
    },

    /// The row range cuts through a block of [`BLOCK_BYTES`].
    #[error("rows {start} to {end} are not whole blocks of {BLOCK_BYTES}")]
    RowsUnaligned {
        /// The first row.
        start: u64,
        /// The row after the last.
        end: u64,
    },

    /// The row range goes beyond the end of the shards.
    #[error("rows end at {end}; the shards have {shard_len}")]
    RowsOutside {
        /// The row after the last.
        end: u64,
        /// Rows in a shard.
        shard_len: u64,
    },

    /// A shard's index is not below `n`.
    #[error("there is no shard {index} in a code of {code}")]
    ShardUnknown {
        /// The index given.
        index: u8,
        /// The code of the layout.
        code: Code,
    },

    /// A shard does not hold as many bytes as rows were asked for.
    #[error("shard {index} gives {actual} bytes for {expected} rows")]
    ShardLength {
        /// Which shard.
        index: u8,
        /// Rows asked for.
        expected: u64,
        /// Bytes given.
        actual: u64,
    },

    /// A shard was given more than once.
    #[error("shard {index} is given twice")]
    ShardTwice {
        /// Which shard.
        index: u8,
    },

    /// Fewer than `k` shards were given.
    #[error("{shards} shards are too few for a code of {code}")]
    TooFewShards {
        /// Distinct shards given.
        shards: u8,
        /// The code of the layout.
        code: Code,
    },

    /// The coding library refused what passed every check above: a defect, never the caller's fault.
    #[error("the erasure code is broken: {0}")]
    Broken(String),
}

impl ErasureError {
    /// Returns whether the same rebuild can succeed later, when more shards have come.
    //
    // Spelled out without `_`, so that a new refusal has to choose a side.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::TooFewShards { .. } => true,
            Self::ObjectLength { .. }
            | Self::RowsEmpty { .. }
            | Self::RowsUnaligned { .. }
            | Self::RowsOutside { .. }
            | Self::ShardUnknown { .. }
            | Self::ShardLength { .. }
            | Self::ShardTwice { .. }
            | Self::Broken(_) => false,
        }
    }
}
