//! A host whose answers to reads end too soon.
//!
//! It is not proven a liar by that, but by every audit that it does it in, it is one that did not answer; an audit that it answers like
//! an honest host names nobody.

use super::{Act, Mischief};
use crate::Rng;

/// Cuts its answers short.
pub(in super::super) struct TruncatingHost {
    rng: Rng,
    /// How often, of a hundred times.
    percent: u64,
}

impl TruncatingHost {
    pub(in super::super) fn new(rng: &mut Rng) -> Self {
        Self { percent: 5 + rng.below(96), rng: rng.fork() }
    }
}

impl Mischief for TruncatingHost {
    fn asked(&mut self, _: &mut Vec<u8>) -> Act {
        Act::Pass
    }

    fn answered(&mut self, frame: &mut Vec<u8>, payload: bool) -> Act {
        if payload && self.rng.chance(self.percent) {
            let kept = self.rng.index(frame.len());
            frame.truncate(kept);
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
