//! The most that a host can have of ours under a contract: what it is paid for keeping is never more (decision 1).
//!
//! Every byte is counted before it is sent, once at least, and only what its host signed that it has no more, or has
//! dropped by our mark, is counted no longer. So an honest host, whatever crashed, has at most so much. What is stored again where it
//! is adds nothing: a host that was to have it twice could claim to.

use super::{Book, ObjectId, ObjectRecord};
use fondaco_contract::ContractId;
use fondaco_crypto::Digest;
use fondaco_units::Bytes;
use std::collections::BTreeSet;

/// What may lie under a contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// Acknowledged as parts of objects, or to be: what a slot will hold when it is repaired.
    pub(super) stored: Bytes,
    /// What no object tells of: on its way, cut off, the book itself, or another's before.
    pub(super) begun: Bytes,
    /// How much of that is marked.
    pub(super) marked: Bytes,
}

impl Given {
    pub(super) fn begins(&mut self, bytes: Bytes) {
        self.begun = add(self.begun, bytes);
    }

    pub(super) fn will_have(&mut self, bytes: Bytes) {
        self.stored = add(self.stored, bytes);
    }

    /// What was begun is a part of an object now. In older books nothing was said before.
    pub(super) fn stored(&mut self, bytes: Bytes) {
        self.begun = self.begun.saturating_sub(bytes);
        self.will_have(bytes);
    }

    pub(super) fn freed(&mut self, bytes: Bytes) {
        let rest = bytes.saturating_sub(self.stored);
        self.stored = self.stored.saturating_sub(bytes);
        self.begun = self.begun.saturating_sub(rest);
    }

    pub(super) fn marked(&mut self, bytes: Bytes) {
        self.begun = self.begun.saturating_sub(self.marked);
        self.marked = bytes;
    }

    fn most(self) -> Bytes {
        add(self.stored, self.begun)
    }
}

fn add(one: Bytes, other: Bytes) -> Bytes {
    one.checked_add(other).unwrap_or(Bytes::MAX)
}

impl Book {
    /// Returns the contracts of a set under which an object lies already as it is tagged there: each has the same shard, once,
    /// however often it is stored.
    pub(crate) fn has_there(
        &self,
        object: ObjectId,
        set: u32,
        tagged: Option<Digest>,
    ) -> BTreeSet<ContractId> {
        let is_same = |old: &&ObjectRecord| tagged.is_some() && old.tagged == tagged;
        let (Some(old), Some(set)) = (self.object(object).filter(is_same), self.set(set)) else {
            return BTreeSet::new();
        };
        let slots = self.slots_of(old).zip(&set.contracts);
        slots.filter(|((had, _), has)| had == *has).map(|(_, has)| *has).collect()
    }

    /// Returns the most bytes that may lie under a contract: what was given or was about to be, and not deleted with a receipt.
    pub fn given(&self, contract: ContractId) -> Bytes {
        self.given.get(&contract).map_or(Bytes::ZERO, |given| given.most())
    }
}
