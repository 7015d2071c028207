//! What an audit reads: nothing that a restore would not read.
//!
//! Three requests are made of a drawn place, and all of them are ones that restores and repairs make:
//!
//! ```text
//! most places       ├──▒▒▒▒▒──┤                       some bytes of one group, as a small file or a tree of folders is read
//! 1 of 16, half     ├──────▒▒▒┼▒▒▒▒▒▒▒▒▒┼▒▒▒▒▒▒───┤   a whole step from anywhere, as a large file is
//!         and half  ├▒▒▒▒▒▒▒▒▒┼▒▒▒▒▒▒▒▒▒┼▒▒▒▒▒▒▒▒▒┤   a whole step of those of the shard, as all of it is
//! ```
//!
//! A provider proves whole groups, whatever is asked of them, so each of these shows the place that was drawn.

use crate::{
    Challenge, GROUP, ShardId,
    challenge::{below, draw},
    groups_around,
};
use blake3::OutputReader;
use std::ops::Range;

/// Under which the requests of an audit are drawn.
const READING: &str = "fondaco 2026 audit reading v1";

/// One place of so many is read as a whole step, and one of any that are fewer.
const STEP_EVERY: usize = 16;

/// How many bytes are read for each deep audit, over many of them.
const SELDOM_BYTES: u64 = 1024;

/// A range of one of several shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which of them.
    pub shard: usize,
    /// The bytes.
    pub range: Range<u64>,
}

impl Challenge {
    /// Draws what a sampled audit reads of shards with so many bytes each: `samples` distinct groups of all of them, or all
    /// if there are no more, in order. At least one in sixteen is read as a whole step of `step` bytes.
    ///
    /// The groups are those of [`Challenge::places`]; how each is read is drawn under a context of its own.
    pub fn readings(&self, of: ShardId, lengths: &[u64], samples: u32, step: u64) -> Vec<Reading> {
        let count = lengths.iter().map(|length| length.div_ceil(GROUP)).sum();
        let places = self.places(of, count, samples);
        let mut words = self.words(of);
        let steps = u32::try_from(places.len().div_ceil(STEP_EVERY)).unwrap_or(u32::MAX);
        let steps = draw(&mut words, places.len() as u64, steps);
        let drawn = (0..).zip(places).filter_map(|(number, place): (u64, u64)| {
            let (shard, group) = place_in(lengths, place)?;
            let range = match steps.contains(&number) {
                true => whole_step(&mut words, lengths[shard], group, step),
                false => within(&mut words, lengths[shard], group),
            };
            Some(Reading { shard, range })
        });
        drawn.collect()
    }

    /// Draws what a deep audit reads beside its proofs: a whole step now and then, so that it comes to a kilobyte for each
    /// audit, and mostly nothing.
    pub fn seldom(&self, of: ShardId, lengths: &[u64], step: u64) -> Option<Reading> {
        let count: u64 = lengths.iter().map(|length| length.div_ceil(GROUP)).sum();
        let mut words = self.words(of);
        let (shard, group) = place_in(lengths, below(&mut words, count))?;
        let range = whole_step(&mut words, lengths[shard], group, step);
        let sent = groups_around(lengths[shard], &range)?;
        let chance = (sent.end - sent.start).div_ceil(SELDOM_BYTES);
        (below(&mut words, chance) == 0).then_some(Reading { shard, range })
    }

    fn words(&self, of: ShardId) -> OutputReader {
        blake3::Hasher::new_derive_key(READING)
            .update(&self.nonce)
            .update(of.digest().as_bytes())
            .finalize_xof()
    }
}

/// Returns of which shard a place is, when the groups of all are numbered in turn, and which group of it.
fn place_in(lengths: &[u64], place: u64) -> Option<(usize, u64)> {
    let mut before = 0;
    for (shard, length) in lengths.iter().enumerate() {
        let groups = length.div_ceil(GROUP);
        if place < before + groups {
            return Some((shard, place - before));
        }
        before += groups;
    }
    None
}

/// Some bytes of a group.
fn within(words: &mut OutputReader, length: u64, group: u64) -> Range<u64> {
    let (start, end) = (group * GROUP, ((group + 1) * GROUP).min(length));
    let from = start + below(words, end - start);
    from..from + 1 + below(words, end - from)
}

/// A whole step that touches a group: from anywhere, or one of those that the shard is cut into.
fn whole_step(words: &mut OutputReader, length: u64, group: u64, step: u64) -> Range<u64> {
    let step = step.clamp(1, length.max(1));
    let (start, end) = (group * GROUP, ((group + 1) * GROUP).min(length));
    let from = if below(words, 2) == 0 {
        let first = (start + 1).saturating_sub(step);
        let last = (end - 1).min(length - step);
        first + below(words, last - first + 1)
    } else {
        // One that begins in the group, where steps are shorter than groups.
        (start + below(words, end - start)) / step * step
    };
    from..(from + step).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const STEP: u64 = 1 << 18;

    fn any() -> ShardId {
        ShardId::of(b"any")
    }

    fn is_within(range: &Range<u64>) -> bool {
        range.start / GROUP == (range.end - 1) / GROUP
    }

    proptest! {
        /// Each place is shown once, by a range of its shard; one in sixteen by a whole step, which may be as long as the shard.
        #[test]
        fn places_are_read_as_a_restore_reads(
            nonce: [u8; 32], lengths in vec(0..2_000_000_u64, 0..8), samples in 0..80_u32, step in 12..19_u32,
        ) {
            let step = 1 << step;
            let challenge = Challenge { nonce };
            let readings = challenge.readings(any(), &lengths, samples, step);
            let count = lengths.iter().map(|length| length.div_ceil(GROUP)).sum();
            let places = challenge.places(any(), count, samples);
            prop_assert_eq!(readings.len(), places.len());
            for (Reading { shard, range }, place) in readings.iter().zip(places) {
                let (expected, group) = place_in(&lengths, place).unwrap();
                prop_assert_eq!(*shard, expected);
                prop_assert!(range.start < range.end && range.end <= lengths[*shard]);
                let shown = groups_around(lengths[*shard], range).unwrap();
                prop_assert!((shown.start..shown.end).contains(&(group * GROUP)));
            }
            let is_step = |reading: &&Reading| {
                let (Range { start, end }, length) = (reading.range.clone(), lengths[reading.shard]);
                end - start == step.min(length) || (start.is_multiple_of(step) && end == length)
            };
            prop_assert!(readings.iter().filter(is_step).count() >= readings.len().div_ceil(STEP_EVERY));
        }

        #[test]
        fn a_deep_audit_reads_a_whole_step_of_a_shard(
            nonce: [u8; 32], lengths in vec(0..2_000_000_u64, 0..8), step in 12..19_u32,
        ) {
            let step = 1 << step;
            if let Some(Reading { shard, range }) = (Challenge { nonce }).seldom(any(), &lengths, step) {
                let length = lengths[shard];
                prop_assert!(range.end <= length && range.end > range.start);
                prop_assert!(range.end - range.start == step.min(length) || range.end == length);
            }
        }
    }

    /// A provider that answers only what lies in one group is found by the first audit.
    #[test]
    fn every_audit_of_long_shards_reads_more_than_a_group() {
        for samples in [1, 2, 16, 44] {
            for seed in 0..100 {
                let nonce = [seed; 32];
                let readings =
                    (Challenge { nonce }).readings(any(), &[1 << 20, 1 << 22], samples, STEP);
                let whole = readings.iter().filter(|reading| !is_within(&reading.range)).count();
                assert_eq!(whole, (samples as usize).div_ceil(STEP_EVERY), "{samples} {seed}");
            }
        }
    }

    /// Both kinds of whole steps come, and what is read of one group begins and ends anywhere in it.
    #[test]
    fn all_kinds_of_readings_come() {
        let (mut aligned, mut anywhere, mut odd) = (0, 0, 0);
        for seed in 0..100 {
            let nonce = [seed; 32];
            for Reading { range, .. } in (Challenge { nonce }).readings(any(), &[1 << 24], 16, STEP)
            {
                match (is_within(&range), range.start.is_multiple_of(STEP)) {
                    (true, _) => odd += u32::from(!range.start.is_multiple_of(GROUP)),
                    (false, true) => aligned += 1,
                    (false, false) => anywhere += 1,
                }
            }
        }
        assert_eq!(aligned + anywhere, 100);
        assert!(aligned > 25 && anywhere > 25 && odd > 1400, "{aligned} {anywhere} {odd}");
    }

    /// With the proof of 8208 bytes, a deep audit comes to less than 10 KB, whatever its provider's steps are.
    #[test]
    fn deep_audits_read_a_kilobyte_each_on_average() {
        for step in [1 << 12, 1 << 16, 1 << 18, 1 << 20] {
            let lengths = [1 << 24, 100_000, 5];
            let audits: u64 = 20_000;
            let mut sent = 0;
            for seed in 0..audits {
                let mut nonce = [0; 32];
                nonce[..8].copy_from_slice(&seed.to_le_bytes());
                if let Some(Reading { shard, range }) =
                    (Challenge { nonce }).seldom(any(), &lengths, step)
                {
                    let groups = groups_around(lengths[shard], &range).unwrap();
                    sent += groups.end - groups.start;
                }
            }
            assert!(sent > 0 && sent / audits < 1500, "{step}: {}", sent / audits);
        }
    }

    #[test]
    fn the_format_is_pinned() {
        let challenge = Challenge { nonce: [7; 32] };
        let readings = challenge.readings(any(), &[100_000, 3_000_000], 4, 1 << 16);
        let ranges: Vec<_> = readings.iter().map(|one| (one.shard, one.range.clone())).collect();
        let expected = vec![
            (1, 103_564..104_728),
            (1, 623_708..631_995),
            (1, 2_164_968..2_165_976),
            (1, 2_499_725..2_565_261),
        ];
        assert_eq!(ranges, expected);
    }
}
