//! Sending again what was counted and did not arrive: a line that breaks costs its buyer nothing.
//!
//! The host counts a read when it has the slice in hand, and cannot know whether it arrives. So it sends the read that it
//! counted last under a contract again, a few times, and charges nothing: the buyer gets no byte that it did not pay for.

use super::{Host, ReadPlan};
use crate::Event;
use fondaco_audit::ShardId;
use fondaco_contract::{ContractId, Tab};
use fondaco_crypto::EntityId;
use fondaco_ledger::SignedVoucher;
use fondaco_ports::market::{AGAIN_MAX, Reason};
use fondaco_units::{Bytes, Timestamp};
use std::ops::Range;

/// A read that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastRead {
    shard: ShardId,
    offset: Bytes,
    length: Bytes,
    /// How often it was sent again, by this process.
    again: u32,
}

impl LastRead {
    pub(super) const fn new(shard: ShardId, offset: Bytes, length: Bytes) -> Self {
        Self { shard, offset, length, again: 0 }
    }

    /// The event that it was counted by; only the account goes on.
    pub(super) const fn event(
        &self,
        contract: ContractId,
        tab: Tab,
        voucher: SignedVoucher,
    ) -> Event {
        let Self { shard, offset, length, again: _ } = *self;
        Event::Read { contract, tab, voucher, shard, offset, length }
    }
}

impl ReadPlan {
    /// The event that counts it. A proof is not sent again, so that what it draws stays what it was paid for.
    pub(super) fn event(&self, tab: Tab, voucher: SignedVoucher) -> Event {
        let (contract, shard) = (self.contract, self.shard);
        let offset = Bytes::new(self.range.start);
        let length = Bytes::new(self.range.end - self.range.start);
        match self.is_proof {
            false => Event::Read { contract, tab, voucher, shard, offset, length },
            true => Event::Metered { contract, tab, voucher },
        }
    }
}

impl Host {
    /// Returns what to read and send again, which is charged nothing. A host that was started anew has forgotten how often it
    /// did so, and not what it counted.
    ///
    /// # Errors
    ///
    /// About the contract; `NotAgain`, `UnknownShard`.
    pub fn get_again(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
        shard: ShardId,
        offset: Bytes,
        length: Bytes,
    ) -> Result<Range<u64>, Reason> {
        let refused = Reason::NotAgain { again_max: AGAIN_MAX };
        let contract = self.open_contract(now, peer, id)?;
        let is_it =
            |read: &LastRead| (read.shard, read.offset, read.length) == (shard, offset, length);
        let again = contract.read.filter(is_it).ok_or(refused)?.again;
        if again >= AGAIN_MAX {
            return Err(refused);
        }
        self.readable(now, contract, shard)?;
        if let Some(read) = self.contracts.get_mut(&id).and_then(|contract| contract.read.as_mut())
        {
            read.again += 1;
        }
        Ok(offset.get()..offset.get() + length.get()) // within the shard, since it was served
    }
}
