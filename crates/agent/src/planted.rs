//! Faults of this crate for a thread of a simulation, which must catch them. No program has them.

use fondaco_audit::{GROUP, Reading};
use std::cell::Cell;
use std::ops::Range;

thread_local! {
    static SKIPS_CHECKS: Cell<bool> = const { Cell::new(false) };
    static BELIEVES: Cell<bool> = const { Cell::new(false) };
    static AUDITS_APART: Cell<bool> = const { Cell::new(false) };
    static JUDGES_BY_READS: Cell<bool> = const { Cell::new(false) };
    static OVERLOOKS: Cell<bool> = const { Cell::new(false) };
    static FORGETS_LOSSES: Cell<bool> = const { Cell::new(false) };
    static FORGETS_STEPS: Cell<bool> = const { Cell::new(false) };
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

/// Has this thread's audits ask what no restore does, as they once did, or what restores do.
pub fn audit_apart(apart: bool) {
    AUDITS_APART.set(apart);
}

pub(crate) fn audits_apart() -> bool {
    AUDITS_APART.get()
}

/// Has this thread take for a failed audit, many times over, that a host kept a read waiting; or not.
pub fn judge_by_reads(judges: bool) {
    JUDGES_BY_READS.set(judges);
}

pub(crate) fn judges_by_reads() -> bool {
    JUDGES_BY_READS.get()
}

/// Has this thread pass over that a host did not answer an audit; or not.
pub fn overlook(overlooks: bool) {
    OVERLOOKS.set(overlooks);
}

pub(crate) fn overlooks() -> bool {
    OVERLOOKS.get()
}

/// Has this thread not write down what was paid for nothing; or write it down.
pub fn forget_losses(forgets: bool) {
    FORGETS_LOSSES.set(forgets);
}

pub(crate) fn forgets_losses() -> bool {
    FORGETS_LOSSES.get()
}

/// Has this thread not look at what a process before was killed with; or look at it.
pub fn forget_steps(forgets: bool) {
    FORGETS_STEPS.set(forgets);
}

pub(crate) fn forgets_steps() -> bool {
    FORGETS_STEPS.get()
}

/// Makes whole groups, tags and all, of what is to be read, if this thread's audits ask for those.
pub(crate) fn apart(readings: Vec<Reading>, size: impl Fn(usize) -> u64) -> Vec<Reading> {
    if !audits_apart() {
        return readings;
    }
    let whole = |Reading { shard, range }| {
        let start = range.start / GROUP * GROUP;
        Reading { shard, range: start..(start + GROUP).min(size(shard)) }
    };
    readings.into_iter().map(whole).collect()
}

/// Takes bytes out of a slice that is all of a short shard, if this thread does not check.
pub(crate) fn unchecked(size: u64, range: &Range<u64>, slice: &[u8]) -> Option<Vec<u8>> {
    let place = |at: u64| usize::try_from(at).ok();
    if !SKIPS_CHECKS.get() || place(size) != Some(slice.len()) {
        return None;
    }
    Some(slice.get(place(range.start)?..place(range.end)?)?.to_vec())
}
