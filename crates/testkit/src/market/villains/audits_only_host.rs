//! A host that answers what looks like an audit, and no other read.
//!
//! It tells them apart by what audits once asked for, and no restore does: one whole group, with the tags behind the data. A
//! *lenient* one answers whatever lies in one group. Audits ask what restores ask, so the one is named by any audit, and the other by
//! any that reads a long shard by a whole step, or asks again for a read that it did not answer. One that has
//! short shards only may do no wrong: there is nothing that it would not answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fondaco_audit::{GROUP, ShardId};
use fondaco_ports::market::{Frame as _, Request};

use super::{Act, Mischief};
use crate::Rng;

/// The shortest step that a host of a run has.
const STEP_MIN: u64 = 4096;

/// Answers audits alone.
#[derive(Clone)]
pub(in super::super) struct AuditsOnlyHost {
    lenient: bool,
    /// How often it answers all the same, of a hundred times.
    percent: u64,
    rng: Rng,
    /// How long each shard is, with its tags. All its hands know it.
    sizes: Arc<Mutex<BTreeMap<ShardId, u64>>>,
}

impl AuditsOnlyHost {
    pub(in super::super) fn new(lenient: bool, rng: &mut Rng) -> Self {
        Self { lenient, percent: rng.below(60), rng: rng.fork(), sizes: Arc::default() }
    }

    fn looks_like_an_audit(&self, shard: ShardId, offset: u64, length: u64) -> bool {
        if self.lenient {
            return offset % GROUP + length <= GROUP;
        }
        let sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, end) = (*sizes.get(&shard).unwrap_or(&u64::MAX), offset + length);
        // Where steps are short, a group was asked for in several.
        let is_whole = |at: u64| at.is_multiple_of(STEP_MIN);
        offset % GROUP + length <= GROUP && is_whole(offset) && (is_whole(end) || end == size)
    }
}

impl Mischief for AuditsOnlyHost {
    fn asked(&mut self, frame: &mut Vec<u8>) -> Act {
        match Request::from_frame(frame) {
            Ok(Request::Put { shard, size, .. }) => {
                let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
                sizes.insert(shard, size.get());
                Act::Pass
            }
            Ok(
                Request::Get { shard, offset, length, .. }
                | Request::Again { shard, offset, length, .. },
            ) if !self.looks_like_an_audit(shard, offset.get(), length.get())
                && !self.rng.chance(self.percent) =>
            {
                Act::Fall
            }
            _ => Act::Pass,
        }
    }

    fn answered(&mut self, _: &mut Vec<u8>, _: bool) -> Act {
        Act::Pass
    }

    fn be_worst(&mut self) {
        self.percent = 0;
    }

    fn twin(&self) -> Box<dyn Mischief> {
        Box::new(self.clone())
    }
}
