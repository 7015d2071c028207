//! How fast one may go: buckets of tokens that fill at a rate.
//!
//! A bucket is kept as the moment at which it is full again (the *generic cell rate algorithm*, ITU-T I.371), so
//! that one that is full need not be kept at all. Time is counted from any fixed moment.
//!
//! ```
//! use fondaco_transport::pace::{Buckets, Rate};
//! use std::time::Duration;
//!
//! const CALM: Rate = Rate::new(5, 2);
//! let mut buckets = Buckets::<&str, 64>::default();
//! let mut may = |milliseconds| {
//!     let now = Duration::from_millis(milliseconds);
//!     let full = CALM.take(buckets.get(&"alice"), now, 1);
//!     full.map(|full| buckets.set("alice", full)).is_some()
//! };
//! assert_eq!([0, 0, 0, 199, 200].map(&mut may), [true, true, false, false, true]);
//! ```

use std::{collections::BTreeMap, mem, time::Duration};

/// So many tokens a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// Creates a rate; neither number is less than one.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        let burst = if burst == 0 { 1 } else { burst };
        Self { interval: Duration::from_nanos(1_000_000_000 / per_second as u64), burst }
    }

    /// Takes tokens from the bucket that is full at `full`: when it is full then, or nothing if it has not as many.
    /// Nothing costs more than a full bucket has.
    pub fn take(self, full: Duration, now: Duration, tokens: usize) -> Option<Duration> {
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX).clamp(1, self.burst);
        let full = full.max(now).saturating_add(self.interval.saturating_mul(tokens));
        (full.saturating_sub(now) <= self.interval.saturating_mul(self.burst)).then_some(full)
    }
}

/// The buckets that are not full, `MAX` at most. Those longest unused are forgotten: they are full.
#[derive(Debug)]
pub struct Buckets<K, const MAX: usize> {
    young: BTreeMap<K, Duration>,
    /// What `young` was before it last had half of `MAX`.
    old: BTreeMap<K, Duration>,
}

impl<K, const MAX: usize> Default for Buckets<K, MAX> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new() }
    }
}

impl<K: Ord, const MAX: usize> Buckets<K, MAX> {
    /// Returns when the bucket of `key` is full.
    pub fn get(&self, key: &K) -> Duration {
        self.young.get(key).or_else(|| self.old.get(key)).copied().unwrap_or_default()
    }

    /// Says when the bucket of `key` is full.
    pub fn set(&mut self, key: K, full: Duration) {
        if self.young.len() >= MAX / 2 && !self.young.contains_key(&key) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, full);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken() {
        let rate = Rate::new(10, 4);
        // When the bucket is full, the time, how many are taken; when it is full then. All in milliseconds.
        for (full, now, tokens, expected) in [
            (0, 1000, 1, Some(1100)),
            (0, 1000, 0, Some(1100)),
            (0, 1000, 4, Some(1400)),
            (0, 1000, usize::MAX, Some(1400)),
            (1001, 1000, 4, None),
            (1300, 1000, 1, Some(1400)),
            (1301, 1000, 1, None),
            (u64::MAX, 1000, 1, None),
        ] {
            let [full, now] = [full, now].map(Duration::from_millis);
            let found = rate.take(full, now, tokens);
            assert_eq!(found, expected.map(Duration::from_millis), "{full:?} {now:?} {tokens}");
        }
        assert_eq!(Rate::new(0, 0), Rate::new(1, 1));
    }

    #[test]
    fn buckets_are_bounded_and_those_in_use_stay() {
        const MAX: usize = 8192;
        let mut buckets = Buckets::<u64, MAX>::default();
        for number in 1..50_000 {
            buckets.set(0, Duration::MAX);
            buckets.set(number, Duration::from_millis(number));
            assert!(buckets.young.len() + buckets.old.len() <= MAX);
            assert_eq!(buckets.get(&0), Duration::MAX);
        }
        assert_eq!(buckets.get(&1), Duration::ZERO, "forgotten");
    }
}
