//! A host that does not answer reads, though it is there.
//!
//! It is not proven a liar by that, but by every audit that it does it in, it is one that did not answer; an audit that it answers like
//! an honest host names nobody.

use super::{Act, Mischief};
use crate::Rng;

/// Takes shards and money, and answers no read.
pub(in super::super) struct SilentHost {
    rng: Rng,
    /// How often, of a hundred times.
    percent: u64,
}

impl SilentHost {
    pub(in super::super) fn new(rng: &mut Rng) -> Self {
        Self { percent: 5 + rng.below(96), rng: rng.fork() }
    }
}

impl Mischief for SilentHost {
    fn asked(&mut self, _: &mut Vec<u8>) -> Act {
        Act::Pass
    }

    fn answered(&mut self, _: &mut Vec<u8>, payload: bool) -> Act {
        if payload && self.rng.chance(self.percent) { Act::Fall } else { Act::Pass }
    }

    fn be_worst(&mut self) {
        self.percent = 100;
    }

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(Self { rng: self.rng.clone(), percent: self.percent })
    }
}
