//! Faults of this crate for a thread of a simulation, which must catch them. No program has them.

use fondaco_audit::{GROUP, Reading};
use std::cell::Cell;
use std::ops::Range;

/// What a thread does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It takes slices as they come.
    SkipsChecks,
    /// It pays for keeping whatever a host says that it keeps.
    Believes,
    /// Its audits ask what no restore does, as they once did.
    AuditsApart,
    /// It takes for a failed audit, many times over, that a host kept a read waiting.
    JudgesByReads,
    /// It passes over that a host did not answer an audit.
    Overlooks,
    /// It does not write down what was paid for nothing.
    ForgetsLosses,
    /// It does not look at what a process before was killed with.
    ForgetsSteps,
    /// It does not look at the puts that its machine lost its power in.
    ForgetsPuts,
}

thread_local! {
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Has this thread do that, or nothing wrong.
pub fn plant(fault: Option<Fault>) {
    FAULT.set(fault);
}

/// Returns whether this thread does that.
pub(crate) fn is(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// Makes whole groups, tags and all, of what is to be read, if this thread's audits ask for those.
pub(crate) fn apart(readings: Vec<Reading>, size: impl Fn(usize) -> u64) -> Vec<Reading> {
    if !is(Fault::AuditsApart) {
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
    if !is(Fault::SkipsChecks) || place(size) != Some(slice.len()) {
        return None;
    }
    Some(slice.get(place(range.start)?..place(range.end)?)?.to_vec())
}
