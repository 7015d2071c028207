//! A host that was sent the beginning of a shard, and says that it has nothing of it.
//!
//! Its buyer sends it anew, and would pay for it anew. Nobody can prove it a liar: it is paid no more once that costs more than may be lost.

use fondaco_ports::market::{Frame as _, Response};

use super::{Act, Mischief};
use crate::Rng;

/// Denies what it has of a put that broke off.
pub(in super::super) struct DenyingHost {
    rng: Rng,
    /// How often, of a hundred times.
    percent: u64,
}

impl DenyingHost {
    pub(in super::super) fn new(rng: &mut Rng) -> Self {
        Self { percent: 5 + rng.below(96), rng: rng.fork() }
    }
}

impl Mischief for DenyingHost {
    fn asked(&mut self, _: &mut Vec<u8>) -> Act {
        Act::Pass
    }

    fn answered(&mut self, frame: &mut Vec<u8>, payload: bool) -> Act {
        let denies = !payload && matches!(Response::from_frame(frame), Ok(Response::Resume { .. }));
        if denies && self.rng.chance(self.percent) {
            *frame = Response::Ready.to_frame();
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
