//! Proofs: that any number of blocks of any shards of a contract are kept, in 8 KiB.
//!
//! For drawn blocks *i* with coefficients ν, the keeper adds up `μ_j = Σ ν_i · m_ij` for each sector *j*, and
//! `σ = Σ ν_i · σ_i` for each lane. The owner accepts if, in both lanes, `σ = Σ ν_i · f(i) + Σ α_j · μ_j`.
//!
//! # Why it convinces
//!
//! Both lanes are checked against the same μ. Let a keeper answer μ′ ≠ μ. Lane ℓ accepts only if it also states the σ′
//! with `σ′ − σ = Σ α^ℓ_j · (μ′_j − μ_j)`. What it knows of the coefficients are tags, each hidden by a mask of its own
//! (those are as good as random: BLAKE3 in keyed mode), so each lane's right-hand side is uniform to it: it guesses one
//! lane with chance 2⁻⁶¹, and, since the lanes' coefficients and masks are independent, both with 2⁻¹²². A refusal
//! tells it one value that the pair was not, so q attempts succeed with at most q · 2⁻¹²². Sending μ twice would add
//! nothing: a forgery must be the same wrong μ for both or is none.
//!
//! So what is accepted is `Σ ν_i · m_i`, right in all 1024 sectors. ν are from the same field and unforeseen: a keeper
//! that lacks a drawn block has that sum only if its ν happen to lie in one hyperplane, with chance 2⁻⁶¹ for each
//! challenge. That, not the forgery, is the weakest link; nobody gets 2⁶¹ challenges. Whether a lost block is drawn at
//! all is the business of [`samples_for`](crate::samples_for).
//!
//! Nonce, contract, shard, length and count of draws are what ν and places are derived from, and masks are those of one
//! contract and [`Subject`]: a proof is good for one question about these shards only.
//!
//! # What always holds
//!
//! - An honest keeper's proof is accepted.
//! - Any bytes can be checked: it takes time of the order of the draws, and never panics.
//!
//! ```
//! use fondaco_audit::{AuditKey, BLOCK, Part, ProofChallenge, Prover, ShardId, Subject};
//! # use fondaco_crypto::Digest;
//! # let contract = Digest::of(b"contract");
//! let key = AuditKey::from_bytes([7; 32]).for_contract(&contract);
//! let (data, subject) = (vec![5; 100_000], Subject::from_digest(Digest::of(b"subject")));
//! let mut bytes = data.clone();
//! bytes.extend(key.tags(subject, &data));
//! let shard = ShardId::of(&bytes);
//!
//! let challenge = ProofChallenge { nonce: [1; 32], contract };
//! let mut prover = Prover::default();
//! for draw in challenge.draws(shard, 100_000, 3) {
//!     let (from, tag) = ((draw.block * BLOCK) as usize, 100_000 + (draw.block * 16) as usize);
//!     let block = &bytes[from..100_000.min(from + BLOCK as usize)];
//!     prover.add(&draw, block, &bytes[tag..tag + 16]);
//! }
//! let part = Part { shard, subject, length: 100_000, samples: 3 };
//! key.check(&challenge.nonce, &[part], &prover.finish().to_bytes())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::{
    SIZE_MAX, ShardId,
    challenge::draw,
    field::{PAIR_BYTES, PRIME, PRODUCTS_MAX, product, reduce, sectors},
    tags::{BLOCK_BYTES, LANES, SECTORS, Subject, TagKey, blocks, mask, mask_at},
};
use fondaco_crypto::Digest;
use std::fmt;

/// Length of a proof in bytes: 1024 sums of sectors and two of tags.
pub const PROOF_BYTES: usize = 8 * (SECTORS + LANES);

/// Under which blocks and their coefficients are drawn.
const CHALLENGE: &str = "fondaco 2026 audit proof challenge v1";

/// What the keeper cannot foresee, and from which blocks and coefficients follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofChallenge {
    /// 32 bytes of good entropy, drawn for this question.
    pub nonce: [u8; 32],
    /// The contract that is asked about.
    pub contract: Digest,
}

/// One block that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Its number, from 0.
    pub block: u64,
    /// What its sectors and tags are multiplied by: not zero.
    coefficient: u64,
}

impl ProofChallenge {
    /// Draws `samples` distinct blocks of a shard with `length` bytes of data, or all if it has no more; in order. None
    /// for a shard longer than [`SIZE_MAX`].
    pub fn draws(&self, shard: ShardId, length: u64, samples: u32) -> Vec<Draw> {
        if length > SIZE_MAX {
            return Vec::new();
        }
        let mut words = blake3::Hasher::new_derive_key(CHALLENGE)
            .update(&self.nonce)
            .update(self.contract.as_bytes())
            .update(shard.digest().as_bytes())
            .update(&length.to_le_bytes())
            .update(&samples.to_le_bytes())
            .finalize_xof();
        let drawn = draw(&mut words, blocks(length), samples);
        let mut coefficient = || loop {
            let mut word = [0; 8];
            words.fill(&mut word);
            let element = u64::from_le_bytes(word) & PRIME;
            // Zero would ask for nothing; the prime is zero too.
            if element != 0 && element != PRIME {
                return element;
            }
        };
        drawn.into_iter().map(|block| Draw { block, coefficient: coefficient() }).collect()
    }
}

/// The keeper's side: adds up what was drawn.
#[derive(Clone)]
pub struct Prover {
    sectors: Vec<[u128; 2]>,
    tags: [u128; LANES],
    /// Products in each sum since it was reduced last.
    products: usize,
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prover")
    }
}

impl Default for Prover {
    fn default() -> Self {
        Self { sectors: vec![[0; 2]; SECTORS / 2], tags: [0; LANES], products: 0 }
    }
}

impl Prover {
    /// Adds a block that was drawn, which may be shorter at the end of the data, and its 16 bytes of tags.
    ///
    /// Nothing is checked: of damaged bytes follows a proof that will be refused.
    pub fn add(&mut self, draw: &Draw, block: &[u8], tags: &[u8]) {
        if self.products + 1 >= PRODUCTS_MAX {
            self.reduce();
        }
        self.products += 1;
        let block = &block[..block.len().min(BLOCK_BYTES)];
        let (pairs, rest) = block.as_chunks::<PAIR_BYTES>();
        let mut last = [0; PAIR_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        let pairs = pairs.iter().chain((!rest.is_empty()).then_some(&last));
        for (sum, pair) in self.sectors.iter_mut().zip(pairs) {
            let [low, high] = sectors(pair);
            sum[0] += product(draw.coefficient, low);
            sum[1] += product(draw.coefficient, high);
        }
        for (sum, tag) in self.tags.iter_mut().zip(tags.as_chunks::<8>().0) {
            // What lies on a disk need not be an element.
            let tag = reduce(u128::from(u64::from_le_bytes(*tag)));
            *sum = reduce(*sum + product(draw.coefficient, tag)).into();
        }
    }

    fn reduce(&mut self) {
        for sum in self.sectors.as_flattened_mut().iter_mut().chain(&mut self.tags) {
            *sum = u128::from(reduce(*sum));
        }
        self.products = 1;
    }

    /// Returns the proof of all that was added.
    pub fn finish(mut self) -> Proof {
        self.reduce();
        Proof {
            sectors: self.sectors.as_flattened().iter().map(|sum| reduce(*sum)).collect(),
            tags: self.tags.map(reduce),
        }
    }
}

/// That blocks are kept. See the [module](self).
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// μ: 1024 elements.
    sectors: Vec<u64>,
    /// σ, for each lane.
    tags: [u64; LANES],
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({:016x}, {:016x})", self.tags[0], self.tags[1])
    }
}

impl Proof {
    /// Writes the proof: each element in little-endian order, those of the sectors first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.sectors.iter().chain(&self.tags).flat_map(|element| element.to_le_bytes()).collect()
    }

    /// Reads a proof.
    ///
    /// # Errors
    ///
    /// [`ProofError::Length`] and [`ProofError::Element`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() != PROOF_BYTES {
            return Err(ProofError::Length { length: bytes.len() });
        }
        let elements = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let mut elements: Vec<u64> = elements.collect();
        if let Some(at) = elements.iter().position(|element| *element >= PRIME) {
            return Err(ProofError::Element { at: 8 * at });
        }
        let tags = elements.split_off(SECTORS);
        Ok(Self { sectors: elements, tags: std::array::from_fn(|lane| tags[lane]) })
    }
}

/// One shard that is asked about, as its owner knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub shard: ShardId,
    /// What its data was tagged as.
    pub subject: Subject,
    /// How many bytes of it are data.
    pub length: u64,
    /// How many blocks of it are drawn.
    pub samples: u32,
}

impl TagKey {
    /// Checks that `proof` answers the question about `parts` of this contract that `nonce` makes.
    ///
    /// # Errors
    ///
    /// The first that applies of [`ProofError`].
    pub fn check(&self, nonce: &[u8; 32], parts: &[Part], proof: &[u8]) -> Result<(), ProofError> {
        self.check_under(self.contract(), nonce, parts, proof)
    }

    /// As [`TagKey::check`], for shards that were tagged under this contract and are asked about under another, which took
    /// them over.
    ///
    /// # Errors
    ///
    /// As [`TagKey::check`].
    pub fn check_under(
        &self,
        contract: &Digest,
        nonce: &[u8; 32],
        parts: &[Part],
        proof: &[u8],
    ) -> Result<(), ProofError> {
        let proof = Proof::from_bytes(proof)?;
        let challenge = ProofChallenge { nonce: *nonce, contract: *contract };
        let mut expected = [0; LANES];
        let add = |sum: &mut u64, more: u128| *sum = reduce(u128::from(*sum) + more);
        for part in parts {
            let mut masks = self.masks(part.subject, part.length);
            for draw in challenge.draws(part.shard, part.length, part.samples) {
                let mut bytes = [0; 16 * LANES];
                masks.set_position(mask_at(draw.block));
                masks.fill(&mut bytes);
                for (sum, mask) in expected.iter_mut().zip(mask(&bytes)) {
                    add(sum, product(draw.coefficient, mask));
                }
            }
        }
        for (sum, coefficients) in expected.iter_mut().zip(self.coefficients()) {
            for (sectors, coefficients) in proof.sectors.chunks(32).zip(coefficients.chunks(32)) {
                let products = sectors.iter().zip(coefficients).map(|(a, b)| product(*a, *b));
                add(sum, products.sum()); // 32 products of elements fit
            }
        }
        if expected == proof.tags { Ok(()) } else { Err(ProofError::Wrong) }
    }
}

/// Why a proof is refused. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is not as long as a proof.
    #[error("a proof has {PROOF_BYTES} bytes, this has {length}")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// A number in it is not below the prime.
    #[error("the proof has no number of its field at byte {at}")]
    Element {
        /// Where.
        at: usize,
    },
    /// What it says does not fit the tags: some of the blocks drawn, or their tags, are not what was stored.
    #[error("the proof does not fit what was stored")]
    Wrong,
}

impl ProofError {
    /// Returns whether the same proof can be taken later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Length { .. } | Self::Element { .. } | Self::Wrong => false,
        }
    }
}

#[cfg(test)]
mod tests;
