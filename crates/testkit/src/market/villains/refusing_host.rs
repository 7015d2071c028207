//! A host that takes the voucher for a read, and says that it is busy.

use fondaco_ports::market::{Frame as _, Reason, Response};

use super::{Act, Mischief};
use crate::Rng;

/// Refuses what it was paid for.
pub(in super::super) struct RefusingHost {
    rng: Rng,
    /// How often, of a hundred times.
    percent: u64,
}

impl RefusingHost {
    pub(in super::super) fn new(rng: &mut Rng) -> Self {
        Self { percent: 5 + rng.below(96), rng: rng.fork() }
    }
}

impl Mischief for RefusingHost {
    fn asked(&mut self, _: &mut Vec<u8>) -> Act {
        Act::Pass
    }

    fn answered(&mut self, frame: &mut Vec<u8>, payload: bool) -> Act {
        // Its service has counted the read by now.
        if payload && self.rng.chance(self.percent) {
            *frame = Response::Refused { reason: Reason::Busy }.to_frame();
        }
        Act::Pass
    }

    fn be_worst(&mut self) {
        self.percent = 100;
    }

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(Self { rng: self.rng.clone(), percent: self.percent })
    }
}
