//! Faults of this crate for a thread of a simulation, which must catch them. No program has them.

use std::cell::Cell;
use std::ops::Range;

thread_local! {
    static SKIPS_CHECKS: Cell<bool> = const { Cell::new(false) };
    static BELIEVES: Cell<bool> = const { Cell::new(false) };
}

/// Has this thread take slices as they come, or check them again.
pub fn skip_checks(skips: bool) {
    SKIPS_CHECKS.set(skips);
}

/// Has this thread pay for keeping whatever a host says that it keeps, or no more.
pub fn believe(believes: bool) {
    BELIEVES.set(believes);
}

pub(crate) fn believes() -> bool {
    BELIEVES.get()
}

/// Takes bytes out of a slice that is all of a short shard, if this thread does not check.
pub(crate) fn unchecked(size: u64, range: &Range<u64>, slice: &[u8]) -> Option<Vec<u8>> {
    let place = |at: u64| usize::try_from(at).ok();
    if !SKIPS_CHECKS.get() || place(size) != Some(slice.len()) {
        return None;
    }
    Some(slice.get(place(range.start)?..place(range.end)?)?.to_vec())
}
