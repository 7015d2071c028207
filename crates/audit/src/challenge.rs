//! Which places an audit asks for.

use crate::ShardId;
use std::collections::BTreeSet;

/// Under which the groups of a challenge are drawn.
const CHALLENGE: &str = "fondaco 2026 audit challenge v1";

/// What the provider cannot foresee, and from which the groups to be shown follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// 32 bytes of good entropy, drawn for this audit.
    pub nonce: [u8; 32],
}

impl Challenge {
    /// Draws `samples` distinct numbers below `count`, or all if there are no more; in order. `of` is what they are of.
    ///
    /// The draws are 64-bit words of BLAKE3's extended output over nonce and name, scaled by multiplication: of the groups
    /// of a shard, none is likelier than another by more than one part in 2³⁸. Distinctness is by Floyd's sampling
    /// (Bentley and Floyd 1987).
    pub fn places(&self, of: ShardId, count: u64, samples: u32) -> BTreeSet<u64> {
        let mut words = blake3::Hasher::new_derive_key(CHALLENGE)
            .update(&self.nonce)
            .update(of.digest().as_bytes())
            .finalize_xof();
        draw(&mut words, count, samples)
    }
}

/// Draws `samples` distinct numbers below `count`, or all if there are no more; in order.
pub(crate) fn draw(words: &mut blake3::OutputReader, count: u64, samples: u32) -> BTreeSet<u64> {
    let mut chosen = BTreeSet::new();
    for last in count.saturating_sub(u64::from(samples))..count {
        let drawn = below(words, last + 1);
        if !chosen.insert(drawn) {
            chosen.insert(last);
        }
    }
    chosen
}

/// Draws a number below `bound`, or 0 of none.
pub(crate) fn below(words: &mut blake3::OutputReader, bound: u64) -> u64 {
    let mut word = [0; 8];
    words.fill(&mut word);
    let scaled = (u128::from(u64::from_le_bytes(word)) * u128::from(bound)) >> 64;
    u64::try_from(scaled).unwrap_or(0) // below `bound`, so it fits
}

/// Returns how many random samples find a lost `fraction` (of 1) of what is stored with probability `confidence`:
/// the least c with 1 − (1 − fraction)^c ≥ confidence. Without a fraction to find, or for certainty, it is `u32::MAX`.
pub fn samples_for(fraction: f64, confidence: f64) -> u32 {
    if confidence <= 0.0 {
        return 0;
    }
    if fraction >= 1.0 {
        return 1;
    }
    if fraction.is_nan() || fraction <= 0.0 || confidence.is_nan() || confidence >= 1.0 {
        return u32::MAX;
    }
    let samples = ((-confidence).ln_1p() / (-fraction).ln_1p()).ceil();
    // A float that is too large becomes the greatest integer.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let samples = samples as u32;
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_of_the_table() {
        let table = [
            (0.001, 0.99, 4603),
            (0.01, 0.99, 459),
            (0.05, 0.99, 90),
            (0.10, 0.99, 44),
            (1.0, 0.99, 1),
            (2.0, 0.5, 1),
            (0.01, 0.0, 0),
            (0.01, 1.0, u32::MAX),
            (0.0, 0.99, u32::MAX),
            (-1.0, 0.99, u32::MAX),
            (f64::NAN, 0.99, u32::MAX),
            (0.01, f64::NAN, u32::MAX),
            (1e-300, 0.99, u32::MAX),
        ];
        for (fraction, confidence, samples) in table {
            assert_eq!(samples_for(fraction, confidence), samples, "{fraction} {confidence}");
        }
    }

    proptest! {
        #[test]
        fn places_are_distinct_and_below_the_count(nonce: [u8; 32], count: u64, samples in 0..500_u32) {
            let challenge = Challenge { nonce };
            let places = challenge.places(ShardId::of(b"x"), count, samples);
            prop_assert_eq!(places.len() as u64, count.min(u64::from(samples)));
            prop_assert!(places.iter().all(|&place| place < count));
            prop_assert_eq!(challenge.places(ShardId::of(b"x"), count, samples), places);
        }

        #[test]
        fn few_places_are_audited_all(nonce: [u8; 32], count in 0..=20_u64) {
            let places = Challenge { nonce }.places(ShardId::of(b"x"), count, 20);
            prop_assert!(places.into_iter().eq(0..count));
        }
    }

    /// Over many challenges every place comes up about equally often: within five standard deviations.
    #[test]
    fn no_place_is_favoured() {
        let mut counts = [0_u32; 16];
        for round in 0..4000_u32 {
            let mut nonce = [0; 32];
            nonce[..4].copy_from_slice(&round.to_le_bytes());
            for place in (Challenge { nonce }).places(ShardId::of(b"x"), 16, 4) {
                counts[usize::try_from(place).unwrap()] += 1;
            }
        }
        for count in counts {
            assert!((863..=1137).contains(&count), "{counts:?}");
        }
        let challenge = Challenge { nonce: [0; 32] };
        let [one, other] = [b"x", b"y"].map(|of| challenge.places(ShardId::of(of), 1 << 26, 4));
        assert_ne!(one, other);
    }
}
