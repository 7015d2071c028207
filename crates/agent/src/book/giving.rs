//! The most that a host can have of ours under a contract: what it is paid for keeping is never more (decision 1).
//!
//! Every byte is counted before it is sent, once at least, and only what its host signed that it has no more, or has
//! dropped by our mark, is counted no longer. So an honest host, whatever crashed, has at most so much.

use super::Book;
use fondaco_contract::ContractId;
use fondaco_units::Bytes;

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
    /// Returns the most bytes that may lie under a contract: what was given or was about to be, and not deleted with a receipt.
    pub fn given(&self, contract: ContractId) -> Bytes {
        self.given.get(&contract).map_or(Bytes::ZERO, |given| given.most())
    }
}
