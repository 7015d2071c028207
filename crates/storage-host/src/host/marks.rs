//! Marks: what a buyer that has lost its book finds everything by.

use super::{Answer, Contract, Host};
use crate::Event;
use fondaco_audit::ShardId;
use fondaco_codec::List;
use fondaco_contract::ContractId;
use fondaco_crypto::EntityId;
use fondaco_ports::market::{MINE_MAX, Mine, Reason, Response, SignedMark};
use fondaco_units::Timestamp;

impl Contract {
    /// The mark, if it is of this contract and not of the one that it renews.
    pub(super) fn own_mark(&self) -> Option<SignedMark> {
        self.mark.filter(|mark| mark.mark.contract == self.terms.id())
    }

    /// Takes over a mark; returns the shard marked before, which goes with its mark.
    pub(super) fn marked(&mut self, mark: &SignedMark) -> Option<ShardId> {
        let before = self.mark.replace(*mark)?.mark.shard;
        if before == mark.mark.shard {
            return None;
        }
        let size = self.shards.remove(&before)?;
        self.tab.delete(size);
        Some(before)
    }
}

impl Host {
    /// Remembers which shard a buyer finds everything by. One that came too late changes nothing, and is told which is
    /// the highest; so is one that came before.
    pub fn mark(&mut self, now: Timestamp, peer: EntityId, mark: &SignedMark) -> Answer {
        let decide = |host: &mut Self| {
            let mark_new = mark.mark;
            let contract = host.open_contract(now, peer, mark_new.contract)?;
            mark.verify(peer).map_err(|_| Reason::Unsigned)?;
            if let Some(known) = contract.mark
                && known.mark.sequence >= mark_new.sequence
            {
                let sequence = known.mark.sequence;
                return Ok(Answer::at_once(Response::Marked { sequence }));
            }
            let size = *contract.shards.get(&mark_new.shard).ok_or(Reason::UnknownShard)?;
            if size != mark_new.size {
                return Err(Reason::WrongSize { size });
            }
            host.pace(now, mark_new.contract)?;
            let sequence = mark_new.sequence;
            host.happen(Event::Marked { mark: *mark }, Response::Marked { sequence })
        };
        decide(self).into()
    }

    /// Lists the open contracts of a buyer, with their marks.
    pub fn mine(&self, now: Timestamp, peer: EntityId, after: Option<ContractId>) -> Response {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = self.contracts.range((after.map_or(Unbounded, Excluded), Unbounded));
        let mine = range
            .map(|(_, contract)| contract)
            .filter(|contract| contract.terms.buyer == peer && !contract.state_at(now).has_ended())
            .map(|contract| Mine { terms: contract.terms, mark: contract.own_mark() });
        match List::new(mine.take(MINE_MAX).collect()) {
            Some(list) => Response::Mine { list },
            None => Response::Refused { reason: Reason::Failed },
        }
    }
}
