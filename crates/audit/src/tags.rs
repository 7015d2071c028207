//! Tags: what an owner puts behind the data of a shard, so that short proofs show that it is kept.
//!
//! Data is cut into *blocks* of 7680 bytes, a block into 1024 *sectors* of 60 bits. For block *i* with sectors *m* there
//! are two tags, one for each *lane*: `σ = f(i) + Σ α_j · m_j` modulo 2⁶¹ − 1. The *coefficients* α belong to a
//! contract, the *masks* f to a contract and a [`Subject`]; both follow from the [`AuditKey`], and look random to all
//! who do not have it. This is the private scheme of Shacham and Waters, "Compact Proofs of Retrievability" (2008, §3.2).
//!
//! ```text
//! shard = data ‖ tags        tags = 16 bytes for each block: two elements, little-endian
//! AuditKey ──contract──► TagKey ──subject, length──► masks
//! ```
//!
//! # What always holds
//!
//! - Masks are used once: what shares a key and a subject must be the same data. Two texts under one mask would show
//!   a sum of coefficients, and with enough of these a keeper could make tags itself.
//! - The length of the data is part of the mask, so zeros at its end are not the same as none.
//!
//! # What is not here
//!
//! What a proof is, and why it convinces: see [`proof`](crate::proof).

use crate::field::{PAIR_BYTES, PRODUCTS_MAX, product, reduce, sectors};
use fondaco_crypto::{Digest, Domain, SecretKey};
use std::fmt;
use zeroize::Zeroizing;

/// Sectors of a block.
pub(crate) const SECTORS: usize = 1024;

/// How many independent tags a block has. One could be forged once in 2⁶¹ attempts, two once in 2¹²².
pub(crate) const LANES: usize = 2;

/// Bytes of data in a block.
pub const BLOCK: u64 = 7680;

/// Bytes of the tags of a block.
pub const TAG_BYTES: u64 = 16;

/// [`BLOCK`], for memory.
pub(crate) const BLOCK_BYTES: usize = SECTORS / 2 * PAIR_BYTES;

/// Bytes from which one element for each lane is made.
const MASK_BYTES: usize = 16 * LANES;

/// For how many blocks masks are made at once.
const MASKS_AHEAD: usize = 64;

const KEY: Domain = Domain::new("fondaco 2026 audit key v1");
const COEFFICIENTS: Domain = Domain::new("fondaco 2026 audit coefficients v1");
const MASKS: Domain = Domain::new("fondaco 2026 audit masks v1");

const _: () = assert!(BLOCK_BYTES as u64 == BLOCK, "a block is its sectors");

/// What makes and checks tags of all contracts of one owner.
///
/// It is derived from the owner's secret, and nothing else follows from it: who is given it can check proofs and tag
/// rebuilt shards, and can read nothing and sign nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct AuditKey(Zeroizing<[u8; 32]>);

impl AuditKey {
    /// Derives the audit key of an owner.
    pub fn of(owner: &SecretKey) -> Self {
        Self(owner.derive(KEY))
    }

    /// Takes over an audit key that was handed on.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the secret, to be handed on.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives what tags the shards of one contract.
    pub fn for_contract(&self, contract: &Digest) -> TagKey {
        let coefficients = Zeroizing::new(*Digest::derive(COEFFICIENTS, &*self.0).as_bytes());
        let masks = Zeroizing::new(*Digest::derive(MASKS, &*self.0).as_bytes());
        let mut words =
            blake3::Hasher::new_keyed(&coefficients).update(contract.as_bytes()).finalize_xof();
        let mut drawn = [[0; SECTORS]; LANES];
        for element in drawn.as_flattened_mut() {
            let mut word = [0; 16];
            words.fill(&mut word);
            *element = reduce(u128::from_le_bytes(word));
        }
        TagKey { contract: *contract, coefficients: Box::new(Zeroizing::new(drawn)), masks }
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

/// Names data under a contract, so that no two have the same masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject(Digest);

impl Subject {
    /// Takes over a digest that stands for the data and nothing else: of its content, or of a name that only it has.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }
}

/// What makes and checks the tags of one contract.
#[derive(Clone)]
pub struct TagKey {
    contract: Digest,
    coefficients: Box<Zeroizing<[[u64; SECTORS]; LANES]>>,
    masks: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagKey(of {:.8}…)", self.contract)
    }
}

impl TagKey {
    /// Returns the contract.
    pub const fn contract(&self) -> &Digest {
        &self.contract
    }

    /// The coefficients of each lane.
    pub(crate) fn coefficients(&self) -> &[[u64; SECTORS]; LANES] {
        &self.coefficients
    }

    /// The stream of masks: 32 bytes for each block.
    pub(crate) fn masks(&self, subject: Subject, length: u64) -> blake3::OutputReader {
        blake3::Hasher::new_keyed(&self.masks)
            .update(self.contract.as_bytes())
            .update(subject.0.as_bytes())
            .update(&length.to_le_bytes())
            .finalize_xof()
    }

    /// Makes the tags of `data`, to be put behind it.
    pub fn tags(&self, subject: Subject, data: &[u8]) -> Vec<u8> {
        let mut tagger = Tagger::new(self, subject, data.len() as u64);
        tagger.update(data);
        tagger.tags
    }

    /// `Σ α_j · m_j` of a whole block, for each lane.
    fn sums(&self, block: &[[u8; PAIR_BYTES]]) -> [u64; LANES] {
        // Both sectors of a pair have a sum of their own, which hides the time that an addition takes.
        const RUN: usize = PRODUCTS_MAX / 2;
        let [one, two] = self.coefficients();
        let (one, two) = (one.as_chunks::<2>().0, two.as_chunks::<2>().0);
        let mut sums = [0_u128; LANES];
        for ((pairs, one), two) in block.chunks(RUN).zip(one.chunks(RUN)).zip(two.chunks(RUN)) {
            let mut run = [0_u128; 2 * LANES];
            for ((pair, a), b) in pairs.iter().zip(one).zip(two) {
                let [low, high] = sectors(pair);
                run[0] += product(a[0], low);
                run[1] += product(a[1], high);
                run[2] += product(b[0], low);
                run[3] += product(b[1], high);
            }
            sums[0] += u128::from(reduce(run[0])) + u128::from(reduce(run[1]));
            sums[1] += u128::from(reduce(run[2])) + u128::from(reduce(run[3]));
        }
        sums.map(reduce)
    }
}

/// One element for each lane, from the bytes of a stream.
pub(crate) fn mask(bytes: &[u8; MASK_BYTES]) -> [u64; LANES] {
    let (lanes, _) = bytes.as_chunks::<16>();
    std::array::from_fn(|lane| reduce(u128::from_le_bytes(lanes[lane])))
}

/// Where the mask of a block is in its stream.
pub(crate) const fn mask_at(block: u64) -> u64 {
    block * MASK_BYTES as u64
}

/// Makes tags as the data comes, in pieces of any length; it keeps a block at most.
pub struct Tagger<'a> {
    key: &'a TagKey,
    masks: blake3::OutputReader,
    ahead: Vec<[u8; MASK_BYTES]>,
    length: u64,
    given: u64,
    /// The beginning of the next block.
    rest: Vec<u8>,
    tags: Vec<u8>,
}

impl fmt::Debug for Tagger<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tagger({} of {} bytes)", self.given, self.length)
    }
}

impl<'a> Tagger<'a> {
    /// Begins with data of `length` bytes in all.
    pub fn new(key: &'a TagKey, subject: Subject, length: u64) -> Self {
        let masks = key.masks(subject, length);
        Self { key, masks, ahead: Vec::new(), length, given: 0, rest: Vec::new(), tags: Vec::new() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.given += bytes.len() as u64;
        if !self.rest.is_empty() {
            let taken = bytes.len().min(BLOCK_BYTES - self.rest.len());
            let (now, later) = bytes.split_at(taken);
            self.rest.extend_from_slice(now);
            bytes = later;
            if self.rest.len() == BLOCK_BYTES {
                let block = std::mem::take(&mut self.rest);
                self.add(&block);
            }
        }
        let mut blocks = bytes.chunks_exact(BLOCK_BYTES);
        for block in &mut blocks {
            self.add(block);
        }
        self.rest.extend_from_slice(blocks.remainder());
        if self.given == self.length && !self.rest.is_empty() {
            let mut block = std::mem::take(&mut self.rest);
            block.resize(BLOCK_BYTES, 0);
            self.add(&block);
        }
    }

    fn add(&mut self, block: &[u8]) {
        if self.ahead.is_empty() {
            let mut ahead = vec![[0; MASK_BYTES]; MASKS_AHEAD];
            self.masks.fill(ahead.as_flattened_mut());
            ahead.reverse();
            self.ahead = ahead;
        }
        let masks = mask(&self.ahead.pop().unwrap_or_default());
        let sums = self.key.sums(block.as_chunks().0);
        for (mask, sum) in masks.into_iter().zip(sums) {
            let tag = reduce(u128::from(mask) + u128::from(sum));
            self.tags.extend_from_slice(&tag.to_le_bytes());
        }
    }

    /// Returns the tags of all that was given.
    ///
    /// # Errors
    ///
    /// It was not as long as was said.
    pub fn finish(self) -> Result<Vec<u8>, TagError> {
        let Self { length, given, tags, .. } = self;
        if given == length { Ok(tags) } else { Err(TagError { given, length }) }
    }
}

/// The data is not as long as was said; the tags would be worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given} bytes were tagged, where {length} were announced")]
pub struct TagError {
    given: u64,
    length: u64,
}

/// Returns how many blocks data of `length` bytes has.
pub const fn blocks(length: u64) -> u64 {
    length.div_ceil(BLOCK)
}

/// Returns the size of a shard: data of `length` bytes and its tags.
pub const fn tagged_len(length: u64) -> u64 {
    length.saturating_add(blocks(length).saturating_mul(TAG_BYTES))
}

/// Returns how many bytes of a shard of `size` bytes are data; nothing if no data with its tags has that size.
pub const fn data_len(size: u64) -> Option<u64> {
    let length = size.saturating_sub(size.div_ceil(BLOCK + TAG_BYTES) * TAG_BYTES);
    if tagged_len(length) == size { Some(length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn sizes_of_shards_with_tags() {
        let table = [
            (0, 0, 0),
            (1, 1, 17),
            (64, 1, 80),
            (7679, 1, 7695),
            (7680, 1, 7696),
            (7681, 2, 7713),
            (15_360, 2, 15_392),
        ];
        for (length, count, size) in table {
            assert_eq!((blocks(length), tagged_len(length)), (count, size));
            assert_eq!(data_len(size), Some(length));
        }
        for size in [1, 16, 7697, 7712, 15_393, 15_408] {
            assert_eq!(data_len(size), None, "{size}");
        }
    }

    #[test]
    fn the_key_is_hidden_and_handed_on() {
        let key = AuditKey::of(&SecretKey::from_bytes(&[7; 32]));
        assert_eq!(AuditKey::from_bytes(*key.expose()), key);
        assert_ne!(AuditKey::of(&SecretKey::from_bytes(&[8; 32])), key);
        assert_ne!(key.expose(), &[7; 32]);
        assert_eq!(format!("{key:?}"), "AuditKey(…)");
        let tagging = key.for_contract(&Digest::from_bytes([0xab; 32]));
        assert_eq!(format!("{tagging:?}"), "TagKey(of abababab…)");
    }

    proptest! {
        #[test]
        fn sizes_are_told_apart(length in 0..1_u64 << 42) {
            prop_assert_eq!(data_len(tagged_len(length)), Some(length));
        }

        /// However the data comes, its tags are the same; if it ends early or goes on, there are none.
        #[test]
        fn pieces_do_not_matter(pieces in vec(0..20_000_usize, 0..6), more in 1..9_u64) {
            let key = AuditKey::from_bytes([1; 32]).for_contract(&Digest::ZERO);
            let subject = Subject::from_digest(Digest::of(b"subject"));
            let data: Vec<u8> = (0..=250).cycle().take(pieces.iter().sum()).collect();
            let length = data.len() as u64;
            let feed = |length: u64| {
                let mut tagger = Tagger::new(&key, subject, length);
                let mut rest = &data[..];
                for piece in &pieces {
                    tagger.update(&rest[..*piece]);
                    rest = &rest[*piece..];
                }
                tagger.finish()
            };
            let tags = key.tags(subject, &data);
            prop_assert_eq!(tags.len() as u64 + length, tagged_len(length));
            prop_assert_eq!(feed(length), Ok(tags));
            prop_assert!(feed(length + more).is_err());
        }
    }
}
