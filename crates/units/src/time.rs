//! Moments and spans of time, as agreed or as told by the caller: this crate never asks a clock.

use crate::encoded_as_integer;
use std::fmt;

/// A moment: milliseconds since 1970-01-01T00:00:00 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);
encoded_as_integer!(Timestamp);

impl Timestamp {
    /// 1970-01-01T00:00:00 UTC.
    pub const EPOCH: Self = Self(0);

    /// Creates the moment `milliseconds` after 1970-01-01T00:00:00 UTC.
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00 UTC.
    pub const fn milliseconds(self) -> u64 {
        self.0
    }

    /// Returns the moment `span` later; the last moment when that does not fit.
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// Returns how long ago `earlier` was; zero when it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// Writes the date and time in UTC, to the second: `2026-11-21T14:05:09Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Days to civil date: the algorithm of H. Hinnant, "chrono-Compatible Low-Level Date
        // Algorithms", section civil_from_days, for days after 1970 only.
        let z = days + 719_468;
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);
encoded_as_integer!(Duration);

impl Duration {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// Creates a span of `milliseconds`.
    pub const fn from_milliseconds(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Creates a span of `seconds`; the longest span when that does not fit.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds.
    pub const fn milliseconds(self) -> u64 {
        self.0
    }

    /// Returns how many whole spans of `part` fit, and one more if anything is left; `part` is at least a millisecond.
    pub const fn div_ceil(self, part: Self) -> u64 {
        self.0.div_ceil(if part.0 == 0 { 1 } else { part.0 })
    }
}

impl fmt::Display for Duration {
    /// Writes the span for people: `250 ms`, `12 s`, `90 min`, `48 h`, `30 d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self.0 / 1000 {
            0 => (self.0, "ms"),
            1..120 => (self.0 / 1000, "s"),
            120..7200 => (self.0 / 60_000, "min"),
            7200..172_800 => (self.0 / 3_600_000, "h"),
            _ => (self.0 / 86_400_000, "d"),
        };
        write!(f, "{count} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_058_011_200, "2003-07-12T12:00:00Z"),
            (1_795_269_909, "2026-11-21T14:05:09Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in table {
            assert_eq!(Timestamp::from_milliseconds(seconds * 1000).to_string(), text);
        }
    }

    #[test]
    fn spans_are_shown_for_people() {
        for (seconds, text) in
            [(12, "12 s"), (5400, "90 min"), (172_799, "47 h"), (2_592_000, "30 d")]
        {
            assert_eq!(Duration::from_seconds(seconds).to_string(), text);
        }
        assert_eq!(Duration::from_seconds(10).div_ceil(Duration::from_seconds(4)), 3);
    }
}
