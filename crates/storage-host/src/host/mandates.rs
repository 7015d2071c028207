//! Mandates: who may read what a buyer keeps, and take its contracts over before they end.
//!
//! A delegate pays for what it reads under a contract of its own, so that nothing is served unpaid, and its buyer's account
//! stays the buyer's.
//!
//! A mandate is about contracts that began before it was made, those that follow on them, and those that the buyer has
//! from the delegate. So who takes one back tells
//! the hosts of its open contracts, and is done: a host forgets mandates with the last contract of their giver, and what
//! began later no older mandate is about.

use super::{Answer, CLOCKS_APART_MAX, Contract, Host};
use crate::Event;
use fondaco_audit::ShardId;
use fondaco_codec::List;
use fondaco_contract::{ContractId, Mandate, SignedMandate};
use fondaco_crypto::{Digest, EntityId};
use fondaco_ports::market::{Admitted, MINE_MAX, Reason, Response};
use fondaco_units::{Bytes, Duration, Timestamp};

/// The most mandates of one buyer, and for one delegate.
pub const MANDATES_MAX: usize = 8;

/// How much later than the one before it a mandate must be made: each is journaled, and costs its buyer nothing.
const APART_MIN: Duration = Duration::from_seconds(10);

const FIRST: ContractId = ContractId::from_digest(Digest::ZERO);
const LEAST: EntityId = EntityId::from_bytes([0; 32]);
const GREATEST: EntityId = EntityId::from_bytes([0xff; 32]);

impl Host {
    /// Notes a mandate, unless a later one of the same two is known; lists the open contracts that it is about. A delegate that shows
    /// one that was taken back is refused: `NotYours`.
    pub fn admit(&mut self, now: Timestamp, peer: EntityId, signed: &SignedMandate) -> Answer {
        let mandate = signed.mandate;
        let decide = |host: &mut Self| {
            if peer != mandate.from && peer != mandate.to {
                return Err(Reason::NotYours);
            }
            signed.verify().map_err(|_| Reason::Unsigned)?;
            let (theirs, ours) = (mandate.issued, now);
            if theirs.since(ours) > CLOCKS_APART_MAX {
                return Err(Reason::Clock { theirs, ours });
            }
            let lines = host.open_of(now, &mandate);
            let first = lines.first().ok_or(Reason::UnknownContract)?;
            let contract = first.terms.id();
            let list = List::new(lines).ok_or(Reason::Failed)?;
            let response = Response::Admitted { list };
            match host.mandates.get(&(mandate.to, mandate.from)) {
                // Its giver must not believe that what it says now counts.
                Some(known) if *known != mandate && known.issued >= mandate.issued => {
                    match peer == mandate.from {
                        true => Err(Reason::Busy),
                        // It would pay for what it may not read.
                        false if !known.is_good(now) => Err(Reason::NotYours),
                        false => Ok(Answer::at_once(response)),
                    }
                }
                Some(known) if *known == mandate => Ok(Answer::at_once(response)),
                Some(known) if known.issued.after(APART_MIN) > mandate.issued => Err(Reason::Busy),
                None if host.mandates_of(mandate.from) >= MANDATES_MAX => Err(Reason::Busy),
                None if host.mandates_for(mandate.to) >= MANDATES_MAX => Err(Reason::Busy),
                _ => {
                    let last = host.admitted.get(&(mandate.to, mandate.from));
                    if last.is_some_and(|last| now < last.after(APART_MIN)) {
                        return Err(Reason::Busy);
                    }
                    host.admitted.insert((mandate.to, mandate.from), now);
                    host.happen(Event::Admitted { contract, mandate }, response)
                }
            }
        };
        decide(self).into()
    }

    fn mandates_of(&self, from: EntityId) -> usize {
        self.mandates.keys().filter(|(_, giver)| *giver == from).count()
    }

    fn mandates_for(&self, to: EntityId) -> usize {
        self.mandates.range((to, LEAST)..=(to, GREATEST)).count()
    }

    /// The contracts of a buyer.
    fn contracts_of(&self, buyer: EntityId) -> impl Iterator<Item = &Contract> {
        let ids = self.by_buyer.range((buyer, FIRST)..);
        let of_buyer = ids.take_while(move |(owner, _)| *owner == buyer);
        of_buyer.filter_map(|(_, id)| self.contracts.get(id))
    }

    /// The open contracts that a mandate is about, as many as an answer has room for.
    fn open_of(&self, now: Timestamp, mandate: &Mandate) -> Vec<Admitted> {
        let open = self.contracts_of(mandate.from).filter(|one| is_open_to(mandate, one, now));
        let lines = open.map(|Contract { terms, tab, .. }| Admitted { terms: *terms, tab: *tab });
        lines.take(MINE_MAX).collect()
    }

    /// The size of a shard that is kept under a contract, or under one of a buyer that has the contract's buyer as a delegate.
    pub(super) fn readable(
        &self,
        now: Timestamp,
        contract: &Contract,
        shard: ShardId,
    ) -> Result<Bytes, Reason> {
        if let Some(&size) = contract.shards.get(&shard) {
            return Ok(size);
        }
        let to = contract.terms.buyer;
        if !self.references.contains_key(&shard) {
            return Err(Reason::UnknownShard);
        }
        let given = self.mandates.range((to, LEAST)..=(to, GREATEST));
        given
            .filter(|(_, mandate)| mandate.is_good(now))
            .find_map(|(&(_, from), mandate)| {
                let open = self.contracts_of(from).filter(|one| is_open_to(mandate, one, now));
                open.filter_map(|one| one.shards.get(&shard)).next().copied()
            })
            .ok_or(Reason::UnknownShard)
    }

    /// The contract that `peer` is to renew: its own, or one that it may take over.
    pub(super) fn renewable(
        &self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
    ) -> Result<&Contract, Reason> {
        let contract = self.contracts.get(&id).ok_or(Reason::UnknownContract)?;
        let terms = &contract.terms;
        if terms.buyer == peer {
            return self.open_contract(now, peer, id);
        }
        let mandate = self.mandates.get(&(peer, terms.buyer));
        let may_take = |mandate: &Mandate| {
            is_about(mandate, contract) && mandate.may_take(terms, contract.tab.epochs_paid, now)
        };
        match mandate.is_some_and(may_take) {
            true => self.open_contract(now, terms.buyer, id),
            false => Err(Reason::NotYours),
        }
    }

    /// Forgets the mandates of who has no contract any more. A mandate that is over is kept until then: it must not be
    /// followed by an older one. After that an older one is about nothing.
    pub(super) fn forget_mandates(&mut self) {
        let contracts = &self.contracts;
        self.by_buyer.retain(|(_, id)| contracts.contains_key(id));
        let by_buyer = &self.by_buyer;
        let has_any = |buyer| {
            by_buyer.range((buyer, FIRST)..).next().is_some_and(|(owner, _)| *owner == buyer)
        };
        self.mandates.retain(|(_, from), _| has_any(*from));
        self.admitted.retain(|(_, from), _| has_any(*from));
    }

    /// The events that lead to the mandates there are, after those of all contracts.
    pub(super) fn mandate_events(&self) -> impl Iterator<Item = Event> + '_ {
        self.mandates.values().filter_map(|&mandate| {
            let contract = self.contracts_of(mandate.from).next()?.terms.id();
            Some(Event::Admitted { contract, mandate })
        })
    }
}

/// Whether a contract began before a mandate was made, both by the buyer's clock; or was taken back from the delegate.
fn is_about(mandate: &Mandate, contract: &Contract) -> bool {
    contract.since <= mandate.issued || contract.had_by == Some(mandate.to)
}

fn is_open_to(mandate: &Mandate, contract: &Contract, now: Timestamp) -> bool {
    is_about(mandate, contract) && !contract.state_at(now).has_ended()
}
