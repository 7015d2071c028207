//! A host that takes a step with its voucher, and goes.
//!
//! It is not proven a liar by that, but by every audit that it does it in, it is one that did not answer; an audit that it answers like
//! an honest host names nobody.

use fondaco_ports::market::{Frame as _, Request};

use super::{Act, Mischief};
use crate::Rng;

/// Takes a step and goes.
pub(in super::super) struct StepTaker {
    rng: Rng,
    /// How often, of a hundred times.
    percent: u64,
    /// Whether the last frame was a step that it goes with.
    taken: bool,
}

impl StepTaker {
    pub(in super::super) fn new(rng: &mut Rng) -> Self {
        Self { percent: 5 + rng.below(96), rng: rng.fork(), taken: false }
    }
}

impl Mischief for StepTaker {
    fn asked(&mut self, frame: &mut Vec<u8>) -> Act {
        // A step is longer than any request; its service counts it before this goes.
        self.taken = frame.len() > Request::FRAME_MAX && self.rng.chance(self.percent);
        Act::Pass
    }

    fn answered(&mut self, _: &mut Vec<u8>, payload: bool) -> Act {
        let goes = payload && self.rng.chance(self.percent / 2);
        if std::mem::take(&mut self.taken) || goes { Act::Go } else { Act::Pass }
    }

    fn be_worst(&mut self) {
        self.percent = 200; // Of reads, half as often.
    }

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(Self { rng: self.rng.clone(), percent: self.percent, taken: false })
    }
}
