//! A host that wants to be paid for keeping more than it was given.
//!
//! It is named, as one whose audit failed, when it claims more than it may have been given. Below that nobody can know it: what was
//! cut off on its way, it may have or not.

use fondaco_ports::market::{Frame as _, Response};
use fondaco_units::Bytes;

use super::{Act, Mischief};
use crate::Rng;

/// Claims more than it has.
pub(in super::super) struct InflatingHost {
    rng: Rng,
    /// How often, of a hundred times.
    percent: u64,
    /// By how many bytes: from much less than a shard to half of what was believed once.
    more: u64,
}

impl InflatingHost {
    pub(in super::super) fn new(rng: &mut Rng) -> Self {
        let more = 1 << (8 + rng.below(22));
        Self { percent: 5 + rng.below(96), more, rng: rng.fork() }
    }
}

impl Mischief for InflatingHost {
    fn asked(&mut self, _: &mut Vec<u8>) -> Act {
        Act::Pass
    }

    fn answered(&mut self, frame: &mut Vec<u8>, _: bool) -> Act {
        if let Ok(Response::Status { mut tab, voucher, shards, state }) =
            Response::from_frame(frame)
            && self.rng.chance(self.percent)
        {
            tab.stored = tab.stored.checked_add(Bytes::new(self.more)).unwrap_or(tab.stored);
            *frame = Response::Status { tab, voucher, shards, state }.to_frame();
        }
        Act::Pass
    }

    fn be_worst(&mut self) {
        self.percent = 100;
    }

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(Self { rng: self.rng.clone(), percent: self.percent, more: self.more })
    }
}
