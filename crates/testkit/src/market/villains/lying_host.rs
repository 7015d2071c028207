//! A host that keeps what it was given, and answers reads with other bytes.

use super::{Act, Mischief};
use crate::Rng;

/// Answers with wrong bytes.
pub(in super::super) struct LyingHost {
    rng: Rng,
    /// How often, of a hundred times.
    percent: u64,
}

impl LyingHost {
    pub(in super::super) fn new(rng: &mut Rng) -> Self {
        Self { percent: 5 + rng.below(96), rng: rng.fork() }
    }
}

impl Mischief for LyingHost {
    fn asked(&mut self, _: &mut Vec<u8>) -> Act {
        Act::Pass
    }

    fn answered(&mut self, frame: &mut Vec<u8>, payload: bool) -> Act {
        if payload && self.rng.chance(self.percent) && frame.len() > 6 {
            // Behind the version, the tag and the length.
            let at = 6 + self.rng.index(frame.len() - 6);
            frame[at] ^= 1 << self.rng.below(8);
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
