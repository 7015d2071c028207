//! How fast holders may command: a bucket of tokens for each, and one for all strangers together.
//!
//! A bucket is kept as the moment at which it is full again (the *generic cell rate algorithm*, ITU-T I.371), so
//! that one that is full need not be kept at all. Time is counted from any fixed moment.

use fondaco_crypto::EntityId;
use std::{collections::BTreeMap, mem, time::Duration};

/// What one stranger may command: 20 at once, then 5 a second.
const STRANGER: Rate = Rate::new(5, 20);

/// What all strangers together may command.
const STRANGERS: Rate = Rate::new(200, 200);

/// What a holder known to the books may command.
const KNOWN: Rate = Rate::new(50_000, 50_000);

/// The most buckets kept of strangers, and of known holders. Those longest unused are forgotten: they are full.
const BUCKETS_MAX: usize = 8192;

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug)]
struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    const fn new(per_second: u32, burst: u32) -> Self {
        Self { interval: Duration::from_nanos(1_000_000_000 / per_second as u64), burst }
    }

    /// Takes a token from the bucket that is full at `full`: when it is full then, or nothing if it is empty.
    fn take(self, full: Duration, now: Duration) -> Option<Duration> {
        let full = full.max(now).saturating_add(self.interval);
        (full.saturating_sub(now) <= self.interval.saturating_mul(self.burst)).then_some(full)
    }
}

/// The buckets that are not full.
#[derive(Debug, Default)]
struct Buckets {
    young: BTreeMap<EntityId, Duration>,
    /// What `young` was before it last had half of [`BUCKETS_MAX`].
    old: BTreeMap<EntityId, Duration>,
}

impl Buckets {
    fn get(&self, holder: EntityId) -> Duration {
        self.young.get(&holder).or_else(|| self.old.get(&holder)).copied().unwrap_or_default()
    }

    fn set(&mut self, holder: EntityId, full: Duration) {
        if self.young.len() >= BUCKETS_MAX / 2 && !self.young.contains_key(&holder) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(holder, full);
    }
}

/// How fast holders commanded of late.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    known: Buckets,
    strangers: Buckets,
    all_strangers: Duration,
}

impl Pace {
    /// Returns whether `holder` may command now, and counts it if so.
    pub(crate) fn may_command(&mut self, now: Duration, holder: EntityId, known: bool) -> bool {
        let (buckets, rate) =
            if known { (&mut self.known, KNOWN) } else { (&mut self.strangers, STRANGER) };
        let Some(full) = rate.take(buckets.get(holder), now) else { return false };
        if !known {
            let Some(all) = STRANGERS.take(self.all_strangers, now) else { return false };
            self.all_strangers = all;
        }
        buckets.set(holder, full);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> EntityId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        EntityId::from_bytes(bytes)
    }

    const fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// How many of `tries` commands of one holder at one time are let through.
    fn through(pace: &mut Pace, now: u64, holder: u32, known: bool, tries: u32) -> usize {
        let now = milliseconds(now);
        (0..tries).filter(|_| pace.may_command(now, key(holder), known)).count()
    }

    #[test]
    fn one_holder() {
        let mut pace = Pace::default();
        // When, who, whether known, how many tries, how many of them go through.
        for (now, holder, known, tries, expected) in [
            (0, 1, false, 30, 20),
            (0, 2, false, 1, 1),
            (199, 1, false, 30, 0),
            (200, 1, false, 30, 1),
            (1200, 1, false, 30, 5),
            (1200, 3, true, 60_000, 50_000),
            (1201, 3, true, 60_000, 50),
            // Known now: what it did as a stranger is not held against it.
            (1201, 1, true, 60_000, 50_000),
            (9_999_999, 1, false, 30, 20),
        ] {
            let found = through(&mut pace, now, holder, known, tries);
            assert_eq!(found, expected, "{holder} at {now}");
        }
    }

    #[test]
    fn all_strangers_together_and_none_that_is_known() {
        let mut pace = Pace::default();
        let crowd = |pace: &mut Pace, now, from: u32| -> usize {
            (from..from + 1000).map(|number| through(pace, now, number, false, 1)).sum()
        };
        assert_eq!(crowd(&mut pace, 0, 0), 200);
        assert_eq!(crowd(&mut pace, 0, 5000), 0);
        assert_eq!(through(&mut pace, 0, 9999, true, 100), 100);
        assert_eq!(crowd(&mut pace, 500, 10_000), 100);
        // Who was stopped by the others has lost nothing of its own.
        assert_eq!(through(&mut pace, 3000, 5000, false, 30), 20);
    }

    #[test]
    fn buckets_are_bounded_and_those_in_use_stay() {
        let mut buckets = Buckets::default();
        let mine = Duration::MAX;
        for number in 1..100_000 {
            buckets.set(key(0), mine);
            buckets.set(key(number), milliseconds(number.into()));
            assert!(buckets.young.len() + buckets.old.len() <= BUCKETS_MAX);
            assert_eq!(buckets.get(key(0)), mine);
        }
        assert_eq!(buckets.get(key(1)), Duration::ZERO, "forgotten");
    }
}
