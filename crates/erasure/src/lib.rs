//! Cut an object into k-of-n shards and rebuild it from any k.
//!
//! A *code* says how many *shards* an object is cut into (`n`) and how many of them are enough to have
//! it back (`k`). The first `k` are *data shards*: the object itself, cut in order; the others are
//! *parity*. A *row* is one byte position, the same in all shards.
//!
//! ```text
//!              rows ──► 0 1 2 3 ··········· shard_len
//! object bytes ──► data shard 0  │
//!                  data shard 1  │            zero padding after the object's end
//!                  ··· k         │
//!                  parity shard k│
//!                  ··· n         │
//!                              a row: coded alone, independent of its neighbours
//! ```
//!
//! The code is Reed and Solomon's over GF(2⁸), with the parity of a Cauchy matrix. The module `weights` has the formula,
//! which is part of the storage format; [`kernel`] has the arithmetic, for the processor that it finds.
//!
//! # What always holds
//!
//! - Any `k` distinct shards give every other back; `k − 1` say nothing about any other.
//! - A data shard is a piece of the object: while the data shards live, reading is copying.
//! - Rows are independent: rebuilding some of them takes only those of `k` shards, and costs only the shards asked for.
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
//! use fondaco_erasure::{Code, Layout, encode, rebuild};
//!
//! let object = b"ten Claire dollars for one megabyte".as_slice();
//! let code = Code::new(2, 3)?;
//! let shards = encode(Layout::new(code, object.len() as u64)?, object)?;
//!
//! // The host of shard 0 is gone.
//! let alive: Vec<(u8, &[u8])> = shards.iter().skip(1).collect();
//! let rebuilt = rebuild(code, &alive, 0)?;
//! assert_eq!(rebuilt[..object.len()], *object);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod code;
mod coding;
mod field;
#[allow(unsafe_code)] // the one place: SIMD, held to a twin in plain code
pub mod kernel;
mod layout;
mod shards;
mod weights;

pub use crate::{
    code::{Code, CodeError},
    coding::{encode, rebuild, rebuild_into},
    kernel::Kernel,
    layout::{BLOCK_BYTES, Layout, LayoutError, OBJECT_BYTES_MAX, Piece},
    shards::Shards,
};

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

    /// A shard's index is not below `n`.
    #[error("there is no shard {index} in a code of {code}")]
    ShardUnknown {
        /// The index given.
        index: u8,
        /// The code of the layout.
        code: Code,
    },

    /// A shard does not have as many bytes as the first that was given.
    #[error("shard {index} has {actual} bytes for {expected} rows")]
    ShardLength {
        /// Which shard.
        index: u8,
        /// Rows, by the first shard.
        expected: u64,
        /// Bytes that it has.
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
}

impl ErasureError {
    /// Returns whether the same rebuild can succeed later, when more shards have come.
    //
    // Spelled out without `_`, so that a new refusal has to choose a side.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::TooFewShards { .. } => true,
            Self::ObjectLength { .. }
            | Self::ShardUnknown { .. }
            | Self::ShardLength { .. }
            | Self::ShardTwice { .. } => false,
        }
    }
}
