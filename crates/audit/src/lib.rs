//! Prove and check that a provider still holds a shard.
//!
//! A *shard* is named by the BLAKE3 root of its bytes. The hashes above its *groups* of 16 KiB, the *outboard*, let
//! its keeper prove any part of it: a *slice* is that part with the hashes that join it to the root. Whoever knows the
//! name and size can check it. An audit is a read of a few groups that the keeper could not foresee.
//!
//! Their owner can ask for more with less: it puts *tags* behind the data, and then one *proof* of 8 KiB shows any number
//! of blocks at once. Only who has the *audit key* can check it. That is a *deep audit*; see [`tags`] and [`proof`].
//!
//! ```text
//! owner                                        provider
//! Challenge{nonce}.readings(of, sizes, …) ───► prove(bytes, outboard, range)
//! check(shard, size, range, slice) ◄────────── slice
//!
//! tags behind the data ──────────────────────► kept as one shard
//! ProofChallenge{nonce, contract} ───────────► draws, of each shard asked for
//! TagKey::check(challenge, parts, proof) ◄──── Prover::finish
//! ```
//!
//! # What always holds
//!
//! - What [`check`] returns are the bytes that were stored, or BLAKE3 is broken.
//! - Checking anything takes time and memory of the order of the range asked for, and never panics.
//! - Proving does not check: a damaged shard gives a slice that will be refused.
//!
//! # What is not here
//!
//! Randomness (the nonce is an argument), deadlines, and what follows from a failed audit (see `reputation`).
//!
//! The tree, its hashes and slices are those of Bao (O'Connor 2019) with chunk groups, by `bao-tree`.
//!
//! ```
//! use fondaco_audit::{Challenge, Outboard, bytes_at, check, prove};
//! let bytes = vec![7; 1 << 20];
//! let (shard, outboard) = Outboard::of(&bytes);
//! let step = 1 << 18;
//! for reading in (Challenge { nonce: [1; 32] }).readings(shard, &[1 << 20], 3, step) {
//!     let slice = prove(bytes_at(&bytes), &outboard, reading.range.clone())?;
//!     let length = reading.range.end - reading.range.start;
//!     assert_eq!(check(shard, 1 << 20, reading.range, &slice)?.len() as u64, length);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod challenge;
mod field;
pub mod proof;
mod reading;
mod shard;
mod slice;
pub mod tags;

pub use challenge::{Challenge, samples_for};
pub use proof::{Draw, PROOF_BYTES, Part, Proof, ProofChallenge, ProofError, Prover};
pub use reading::Reading;
pub use shard::{Outboard, OutboardError, ParseShardIdError, SIZE_MAX, ShardId};
pub use slice::{
    AuditError, GROUP, ProveError, bytes_at, check, groups_around, prove, prove_at, slice_len_max,
};
pub use tags::{
    AuditKey, BLOCK, Subject, TAG_BYTES, TagError, TagKey, Tagger, blocks, data_len, tagged_len,
};
