//! What a book keeps of a contract, a set and an object.

use super::Event;
use fondaco_audit::{ShardId, tagged_len};
use fondaco_contract::{ContractId, Tab, Terms};
use fondaco_crypto::Digest;
use fondaco_erasure::{Code, Layout};
use fondaco_lcp::RequestId;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Timestamp};

/// Where a contract stands, as its buyer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Saved, and perhaps asked for.
    Intended,
    /// Signed by both sides.
    Open,
    /// Over.
    Ended {
        /// What was used.
        tab: Tab,
        /// What was paid for it.
        paid: Amount,
    },
}

/// A contract, as its buyer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractRecord {
    /// The terms.
    pub terms: Terms,
    /// Where the provider is.
    pub address: Address,
    /// The id of the request that opens the hold.
    pub hold_request: RequestId,
    /// The most that the hold may pay.
    pub hold_max: Amount,
    /// When the hold expires.
    pub hold_expires: Timestamp,
    /// Where it stands.
    pub stage: Stage,
}

impl ContractRecord {
    /// Returns the event that it is intended.
    pub(crate) fn intended(&self) -> Event {
        Event::ContractIntended {
            terms: self.terms,
            address: self.address.clone(),
            hold_request: self.hold_request,
            hold_max: self.hold_max,
            hold_expires: self.hold_expires,
        }
    }
}

/// The contracts that together hold the shards of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The code: as many shards as there are contracts.
    pub code: Code,
    /// The contract for each shard.
    pub contracts: Vec<ContractId>,
    /// The contract that each slot had first: what its shards are tagged under, whoever keeps them now.
    pub origins: Vec<ContractId>,
}

/// Where an object lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    /// Its length.
    pub length: Bytes,
    /// The index of its set.
    pub set: u32,
    /// Its code, which may need fewer shards than the set's.
    pub code: Code,
    /// Its shards, in the order of the set's contracts.
    pub shards: Vec<ShardId>,
    /// What its shards are tagged as, if there are tags behind them.
    pub tagged: Option<Digest>,
}

impl ObjectRecord {
    /// Returns how long each shard is, with its tags if it has some.
    pub const fn shard_size(&self, layout: Layout) -> u64 {
        shard_size(layout, self.tagged.is_some())
    }
}

/// Returns how long each shard of an object is.
const fn shard_size(layout: Layout, is_tagged: bool) -> u64 {
    if is_tagged { tagged_len(layout.shard_len()) } else { layout.shard_len() }
}

impl ObjectRecord {
    /// Returns how long each of its shards is, with its tags if it has some.
    pub fn share(&self) -> Bytes {
        let layout = Layout::new(self.code, self.length.get());
        Bytes::new(layout.map_or(0, |layout| self.shard_size(layout)))
    }
}
