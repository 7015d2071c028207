use super::*;
use crate::tags::{AuditKey, BLOCK, tagged_len};
use proptest::{collection::vec, prelude::*, sample::Index};

/// The scheme once more, from its page in `docs/formats/audit.md` alone: bits one by one, products by doubling, masks by
/// reading their stream from the front. Slow, and with nothing in common but BLAKE3.
mod oracle {
    const P: u64 = 2_305_843_009_213_693_951;

    fn plus(a: u64, b: u64) -> u64 {
        let sum = a + b;
        if sum >= P { sum - P } else { sum }
    }

    fn times(a: u64, mut b: u64) -> u64 {
        let (mut sum, mut double) = (0, a);
        while b > 0 {
            if !b.is_multiple_of(2) {
                sum = plus(sum, double);
            }
            double = plus(double, double);
            b /= 2;
        }
        sum
    }

    /// Sixteen bytes, as a number modulo the prime, digit by digit.
    fn element(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |sum, &byte| plus(times(sum, 256), u64::from(byte)))
    }

    fn stream(key: [u8; 32], parts: &[&[u8]], length: usize) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(&key);
        parts.iter().for_each(|part| _ = hasher.update(part));
        let mut bytes = vec![0; length];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }

    fn sectors(block: &[u8]) -> Vec<u64> {
        let bit = |at: usize| block.get(at / 8).map_or(0, |byte| u64::from(byte >> (at % 8) & 1));
        (0..1024).map(|j| (0..60).map(|b| bit(60 * j + b) << b).sum()).collect()
    }

    pub(super) struct Owner {
        contract: [u8; 32],
        coefficients: Vec<Vec<u64>>,
        masks: [u8; 32],
    }

    impl Owner {
        pub(super) fn new(key: [u8; 32], contract: [u8; 32]) -> Self {
            let derived = blake3::derive_key("fondaco 2026 audit coefficients v1", &key);
            let words = stream(derived, &[&contract], 2 * 1024 * 16);
            let coefficients = words
                .chunks(1024 * 16)
                .map(|lane| lane.chunks(16).map(element).collect())
                .collect();
            let masks = blake3::derive_key("fondaco 2026 audit masks v1", &key);
            Self { contract, coefficients, masks }
        }

        fn masks(&self, subject: [u8; 32], length: u64) -> Vec<[u64; 2]> {
            let count = usize::try_from(length.div_ceil(7680)).unwrap();
            let parts: [&[u8]; 3] = [&self.contract, &subject, &length.to_le_bytes()];
            let bytes = stream(self.masks, &parts, 32 * count);
            bytes.chunks(32).map(|mask| [element(&mask[..16]), element(&mask[16..])]).collect()
        }

        pub(super) fn tags(&self, subject: [u8; 32], data: &[u8]) -> Vec<[u64; 2]> {
            let masks = self.masks(subject, data.len() as u64);
            data.chunks(7680)
                .zip(masks)
                .map(|(block, masks)| {
                    let sectors = sectors(block);
                    [0, 1].map(|lane| {
                        sectors
                            .iter()
                            .zip(&self.coefficients[lane])
                            .fold(masks[lane], |sum, (m, a)| plus(sum, times(*m, *a)))
                    })
                })
                .collect()
        }

        pub(super) fn accepts(
            &self,
            draws: &[([u8; 32], u64, usize, u64)], // subject, length, block, coefficient
            sectors: &[u64],
            tags: [u64; 2],
        ) -> bool {
            [0, 1].iter().all(|&lane| {
                let masks = draws.iter().fold(0, |sum, &(subject, length, block, nu)| {
                    plus(sum, times(nu, self.masks(subject, length)[block][lane]))
                });
                let sum = sectors
                    .iter()
                    .zip(&self.coefficients[lane])
                    .fold(masks, |sum, (mu, a)| plus(sum, times(*mu, *a)));
                sum == tags[lane]
            })
        }
    }
}

const KEY: [u8; 32] = [7; 32];
const NONCE: [u8; 32] = [9; 32];

fn contract() -> Digest {
    Digest::of(b"contract")
}

fn tag_key() -> TagKey {
    AuditKey::from_bytes(KEY).for_contract(&contract())
}

/// Bytes without a period that blocks could share.
fn data_of(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

/// A shard as its keeper has it and its owner knows it.
#[derive(Clone, Debug)]
struct Kept {
    part: Part,
    bytes: Vec<u8>,
}

fn keep(key: &TagKey, length: usize, seed: u8, samples: u32) -> Kept {
    let mut bytes = data_of(length, seed);
    let subject = Subject::from_digest(Digest::of(&[seed]));
    bytes.extend(key.tags(subject, &bytes));
    let shard = ShardId::of(&bytes);
    Kept { part: Part { shard, subject, length: length as u64, samples }, bytes }
}

/// What the keeper answers, from whatever bytes it has.
fn prove(nonce: [u8; 32], kept: &[Kept]) -> Vec<u8> {
    let challenge = ProofChallenge { nonce, contract: contract() };
    let mut prover = Prover::default();
    for Kept { part, bytes } in kept {
        let length = usize::try_from(part.length).unwrap();
        let (data, tags) = bytes.split_at(length);
        for draw in challenge.draws(part.shard, part.length, part.samples) {
            let at = usize::try_from(draw.block).unwrap();
            let end = length.min((at + 1) * BLOCK_BYTES);
            prover.add(&draw, &data[at * BLOCK_BYTES..end], &tags[16 * at..16 * at + 16]);
        }
    }
    prover.finish().to_bytes()
}

fn parts(kept: &[Kept]) -> Vec<Part> {
    kept.iter().map(|kept| kept.part).collect()
}

fn lengths() -> impl Strategy<Value = usize> {
    let near =
        (0..4_usize, 0..3_usize).prop_map(|(n, off)| (n * BLOCK_BYTES + off).saturating_sub(1));
    prop_oneof![1..40_000_usize, near.prop_map(|length| length.max(1))]
}

fn shards() -> impl Strategy<Value = Vec<Kept>> {
    vec((lengths(), 1..6_u32), 1..4).prop_map(|shards| {
        let key = tag_key();
        let shard = |(seed, (length, samples))| keep(&key, length, seed, samples);
        (0_u8..).zip(shards).map(shard).collect()
    })
}

proptest! {
    #[test]
    fn an_honest_proof_is_accepted(kept in shards(), nonce: [u8; 32]) {
        let proof = prove(nonce, &kept);
        prop_assert_eq!(proof.len(), PROOF_BYTES);
        prop_assert_eq!(tag_key().check(&nonce, &parts(&kept), &proof), Ok(()));
    }

    /// Any bit of a drawn block or of its tags: a keeper that changed or lost it cannot answer.
    #[test]
    fn a_damaged_block_is_found(mut kept in shards(), which: Index, at: Index, bit in 0..8_u32) {
        let kept_one = which.get(&kept).clone();
        let index = which.index(kept.len());
        kept[index].part.samples = u32::MAX; // all of it is drawn
        kept[index].bytes[at.index(kept_one.bytes.len())] ^= 1 << bit;
        let proof = prove(NONCE, &kept);
        prop_assert_eq!(tag_key().check(&NONCE, &parts(&kept), &proof), Err(ProofError::Wrong));
    }

    /// Every byte of a proof counts, and it answers one question: not another nonce, shard, number of draws or length.
    #[test]
    fn a_changed_question_or_answer_is_refused(kept in shards(), at in 0..PROOF_BYTES, bit in 0..8_u32, which: Index) {
        let key = tag_key();
        let proof = prove(NONCE, &kept);
        let mut changed = proof.clone();
        changed[at] ^= 1 << bit;
        prop_assert!(key.check(&NONCE, &parts(&kept), &changed).is_err());
        prop_assert!(key.check(&NONCE, &parts(&kept), &proof[..at]).is_err());
        prop_assert!(key.check(&[8; 32], &parts(&kept), &proof).is_err());
        let index = which.index(kept.len());
        let other = |change: fn(&mut Part)| {
            let mut parts = parts(&kept);
            change(&mut parts[index]);
            key.check(&NONCE, &parts, &proof)
        };
        prop_assert!(other(|part| part.shard = ShardId::of(b"other")).is_err());
        prop_assert!(other(|part| part.subject = Subject::from_digest(Digest::of(b"other"))).is_err());
        prop_assert!(other(|part| part.samples += 1).is_err());
        prop_assert!(other(|part| part.length += 1).is_err());
        let stranger = AuditKey::from_bytes(KEY).for_contract(&Digest::of(b"other"));
        prop_assert!(stranger.check(&NONCE, &parts(&kept), &proof).is_err());
        // The same nonce, tags and shards under a contract that took them over: the old proof is none.
        let renewed = Digest::of(b"renewed");
        prop_assert!(key.check_under(&renewed, &NONCE, &parts(&kept), &proof).is_err());
        let stranger = AuditKey::from_bytes([8; 32]).for_contract(&contract());
        prop_assert!(stranger.check(&NONCE, &parts(&kept), &proof).is_err());
    }

    /// Tags of one shard, or of one block, do not serve another.
    #[test]
    fn swapped_blocks_are_found(length in 2 * BLOCK_BYTES..5 * BLOCK_BYTES, seed: u8) {
        let key = tag_key();
        let kept = keep(&key, length, seed, u32::MAX);
        let (one, other) = (0..BLOCK_BYTES, BLOCK_BYTES..2 * BLOCK_BYTES);
        let mut swapped = kept.clone();
        swapped.bytes[one.clone()].copy_from_slice(&kept.bytes[other.clone()]);
        swapped.bytes[other].copy_from_slice(&kept.bytes[one]);
        let proof = prove(NONCE, std::slice::from_ref(&swapped));
        prop_assert_eq!(key.check(&NONCE, &[kept.part], &proof), Err(ProofError::Wrong));
        // With the tags swapped too, as if the blocks had only changed their places.
        let tags: Vec<u8> = kept.bytes[length..length + 32].to_vec();
        swapped.bytes[length..length + 16].copy_from_slice(&tags[16..]);
        swapped.bytes[length + 16..length + 32].copy_from_slice(&tags[..16]);
        let proof = prove(NONCE, std::slice::from_ref(&swapped));
        prop_assert_eq!(key.check(&NONCE, &[kept.part], &proof), Err(ProofError::Wrong));
        // The same bytes as another shard of the contract: its tags are not good for this one.
        let twin = Kept { part: Part { subject: Subject::from_digest(Digest::ZERO), ..kept.part }, ..kept };
        let proof = prove(NONCE, std::slice::from_ref(&twin));
        prop_assert_eq!(key.check(&NONCE, &[twin.part], &proof), Err(ProofError::Wrong));
    }

    #[test]
    fn garbage_is_refused(bytes in vec(any::<u8>(), 0..PROOF_BYTES + 9), nonce: [u8; 32], length: u64, samples in 0..99_u32) {
        let part = Part { shard: ShardId::of(b"x"), subject: Subject::from_digest(Digest::ZERO), length, samples };
        prop_assert!(tag_key().check(&nonce, &[part], &bytes).is_err());
        let mut whole = bytes;
        whole.resize(PROOF_BYTES, 0x11);
        whole.chunks_mut(8).for_each(|element| element[7] &= 0x1f);
        prop_assert!(tag_key().check(&nonce, &[part], &whole).is_err());
    }
}

/// Both sides against the oracle: tags, honest proofs, and sums that were tampered with.
#[test]
fn the_oracle_agrees() {
    let key = tag_key();
    let owner = oracle::Owner::new(KEY, *contract().as_bytes());
    let mut draws = Vec::new();
    let mut kept = Vec::new();
    for (seed, length) in (0..).zip([1, 64, 7680, 7681, 30_001]) {
        let shard = keep(&key, length, seed, 3);
        let subject = *Digest::of(&[seed]).as_bytes();
        let tags = owner.tags(subject, &shard.bytes[..length]);
        let ours: Vec<u64> = shard.bytes[length..]
            .chunks(8)
            .map(|tag| u64::from_le_bytes(tag.try_into().unwrap()))
            .collect();
        assert_eq!(tags.as_flattened(), ours, "{length}");
        let challenge = ProofChallenge { nonce: NONCE, contract: contract() };
        for draw in challenge.draws(shard.part.shard, length as u64, 3) {
            let block = usize::try_from(draw.block).unwrap();
            draws.push((subject, length as u64, block, draw.coefficient));
        }
        kept.push(shard);
    }
    let proof = Proof::from_bytes(&prove(NONCE, &kept)).unwrap();
    assert!(owner.accepts(&draws, &proof.sectors, proof.tags));
    assert_eq!(key.check(&NONCE, &parts(&kept), &proof.to_bytes()), Ok(()));
    for at in [0, 1, 511, 1023] {
        let mut wrong = proof.clone();
        wrong.sectors[at] = (wrong.sectors[at] + 1) % PRIME;
        assert!(!owner.accepts(&draws, &wrong.sectors, wrong.tags));
        assert_eq!(key.check(&NONCE, &parts(&kept), &wrong.to_bytes()), Err(ProofError::Wrong));
    }
}

/// The planted fault: a keeper that lost ten blocks of a hundred is found as often as the table of samples says, and one
/// that lost none is never accused.
#[test]
fn the_canary_is_caught_as_often_as_promised() {
    let key = tag_key();
    let honest = keep(&key, 100 * BLOCK_BYTES, 1, 44);
    let mut faulty = honest.clone();
    faulty.bytes[50 * BLOCK_BYTES..60 * BLOCK_BYTES].fill(0);
    let mut caught = 0;
    for round in 0..100 {
        let nonce = [round; 32];
        let check = |kept: &Kept| {
            key.check(&nonce, &[honest.part], &prove(nonce, std::slice::from_ref(kept)))
        };
        assert_eq!(check(&honest), Ok(()));
        caught += u32::from(check(&faulty) == Err(ProofError::Wrong));
    }
    // 10 % lost and 44 samples: 99 % at least.
    assert!(caught >= 95, "{caught}");
}

/// Many draws of the greatest sectors and tags that are no elements: sums must not overflow.
#[test]
fn the_largest_sums_fit() {
    let length = 1000 * BLOCK;
    let challenge = ProofChallenge { nonce: NONCE, contract: contract() };
    let mut prover = Prover::default();
    let draws = challenge.draws(ShardId::of(b"x"), length, 1000);
    assert_eq!(draws.len(), 1000);
    for draw in &draws {
        prover.add(draw, &[0xff; BLOCK_BYTES], &[0xff; 16]);
    }
    let sum =
        draws.iter().fold(0, |sum, draw| (sum + u128::from(draw.coefficient)) % u128::from(PRIME));
    let expected = (sum * ((1 << 60) - 1)) % u128::from(PRIME);
    let proof = prover.finish();
    assert!(proof.sectors.iter().all(|sector| u128::from(*sector) == expected));
}

/// The example of `docs/formats/audit.md`: a change of it is a new version.
#[test]
fn the_format_is_pinned() {
    let kept = keep(&tag_key(), 10_000, 3, 2);
    assert_eq!(kept.bytes.len() as u64, tagged_len(10_000));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        hex(&kept.bytes[10_000..]),
        "9107ff92aebfec1ed560a7be5049820e22d60673de0b3d0ced1e10442e43930f"
    );
    let proof = prove(NONCE, std::slice::from_ref(&kept));
    assert_eq!(
        Digest::of(&proof).to_string(),
        "f505fc1088ded9a5634ebdb20d5650532a912604cc4ce06026c813c4b26f9bc8"
    );
    let mut high = proof;
    high[PROOF_BYTES - 1] = 0x20;
    assert_eq!(Proof::from_bytes(&high), Err(ProofError::Element { at: PROOF_BYTES - 8 }));
}
