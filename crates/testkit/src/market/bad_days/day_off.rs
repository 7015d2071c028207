//! A host whose clock is a day off, ahead or behind.
//!
//! Nobody opens a contract with it: its price lists are of another day. It does no wrong by that.

use crate::{Rng, VirtualClock};

/// How far off it is.
const DAY_MILLISECONDS: i64 = 86_400_000;

/// Runs with a clock a day off.
pub(in super::super) struct DayOff;

impl DayOff {
    /// Sets the clock of a host that is about to start.
    pub(in super::super) fn begin(clock: &VirtualClock, rng: &mut Rng) {
        clock.set_skew(if rng.chance(50) { DAY_MILLISECONDS } else { -DAY_MILLISECONDS });
    }
}
