//! Reads that were not answered: who answers audits and not reads is asked the very same by its next audit.
//!
//! One for each contract is enough to be found by, and is kept until an audit that asked for it was passed.

use super::Book;
use fondaco_audit::ShardId;
use fondaco_contract::ContractId;
use fondaco_units::Bytes;

/// A read that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Of which shard.
    pub shard: ShardId,
    /// From where.
    pub offset: Bytes,
    /// How many bytes.
    pub length: Bytes,
}

impl Book {
    /// Returns a read that was not answered under a contract since it was proven last, if there was one.
    pub fn unanswered(&self, contract: ContractId) -> Option<Unanswered> {
        self.unanswered.get(&contract).copied()
    }
}
