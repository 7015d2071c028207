//! Which groups an audit asks for.

use crate::{GROUP, SIZE_MAX, ShardId};
use std::{collections::BTreeSet, ops::Range};

/// Under which the groups of a challenge are drawn.
const CHALLENGE: &str = "fondaco 2026 audit challenge v1";

/// What the provider cannot foresee, and from which the groups to be shown follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// 32 bytes of good entropy, drawn for this audit.
    pub nonce: [u8; 32],
}

impl Challenge {
    /// Draws `samples` distinct groups of a shard of `size` bytes, or all if it has no more; in order, as ranges of
    /// bytes. None for a shard longer than [`SIZE_MAX`].
    ///
    /// The draws are 64-bit words of BLAKE3's extended output over nonce and name, scaled by multiplication: no group is
    /// likelier than another by more than one part in 2³⁸. Distinctness is by Floyd's sampling (Bentley and Floyd 1987).
    pub fn ranges(&self, shard: ShardId, size: u64, samples: u32) -> Vec<Range<u64>> {
        if size > SIZE_MAX {
            return Vec::new();
        }
        let chosen = self.places(shard, size.div_ceil(GROUP).max(1), samples);
        chosen.into_iter().map(|group| group * GROUP..((group + 1) * GROUP).min(size)).collect()
    }

    /// Draws `samples` distinct numbers below `count`, or all if there are no more; in order. `of` is what they are of.
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
        fn groups_are_distinct_whole_and_of_the_shard(nonce: [u8; 32], size in 0..=SIZE_MAX, samples in 0..500_u32) {
            let challenge = Challenge { nonce };
            let ranges = challenge.ranges(ShardId::of(b"x"), size, samples);
            let groups = size.div_ceil(GROUP).max(1);
            prop_assert_eq!(ranges.len() as u64, groups.min(u64::from(samples)));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for range in &ranges {
                prop_assert_eq!(crate::groups_around(size, range), Some(range.clone()));
            }
            prop_assert_eq!(challenge.ranges(ShardId::of(b"x"), size, samples), ranges);
        }

        #[test]
        fn small_shards_are_audited_whole(nonce: [u8; 32], size in 0..200_000_u64) {
            let ranges = Challenge { nonce }.ranges(ShardId::of(b"x"), size, 20);
            prop_assert_eq!(ranges.iter().map(|range| range.end - range.start).sum::<u64>(), size);
        }
    }

    /// Over many challenges every group comes up about equally often: within five standard deviations.
    #[test]
    fn no_group_is_favoured() {
        let mut counts = [0_u32; 16];
        for round in 0..4000_u32 {
            let mut nonce = [0; 32];
            nonce[..4].copy_from_slice(&round.to_le_bytes());
            for range in (Challenge { nonce }).ranges(ShardId::of(b"x"), 16 * GROUP, 4) {
                counts[usize::try_from(range.start / GROUP).unwrap()] += 1;
            }
        }
        for count in counts {
            assert!((863..=1137).contains(&count), "{counts:?}");
        }
        let other = Challenge { nonce: [0; 32] }.ranges(ShardId::of(b"y"), SIZE_MAX, 4);
        assert_ne!(other, Challenge { nonce: [0; 32] }.ranges(ShardId::of(b"x"), SIZE_MAX, 4));
    }
}
