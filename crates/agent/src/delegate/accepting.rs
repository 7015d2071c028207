//! Take over the care of what is another's: contracts of one's own that pay for reading, and a book that has the owner's sets.
//!
//! ```text
//! ask all hosts of a set at once ──► k answer? ──► open one contract after the other ──► k signed? ──► the set (saved)
//!                                      └─ no: nothing is opened                            └─ no: taken up by the next run
//! ```
//!
//! The slot of a host that does not answer, or refuses, has a contract that was never asked for: it counts as lost, so that a
//! repair gives it to another host, unless this one is back before.

use super::{
    Entrusted, EntrustedObject, EntrustedSet, EntrustedSlot, WATCH_SIZE, keeps, not_dearer,
};
use crate::book::{Book, Coding, ContractRecord, Event, For, ObjectId, Stage};
use crate::choosing::Rest;
use crate::opening::SlotWish;
use crate::session::offer_of;
use crate::{Agent, AgentError, Wallet, entropy};
use fondaco_codec::List;
use fondaco_contract::{ContractId, SignedPriceList, Tab, Terms};
use fondaco_crypto::EntityId;
use fondaco_units::{Amount, Bytes};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::JoinSet;

/// What accepting came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many contracts were opened.
    pub opened: usize,
    /// How many objects are looked after now.
    pub objects: usize,
    /// The slots that could not be taken care of yet.
    pub left_out: Vec<LeftOut>,
}

/// A slot whose host does not answer, or refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which set, and which slot of it.
    pub slot: (u32, u8),
    /// Whose host it is.
    pub provider: EntityId,
    /// What was in the way.
    pub why: String,
}

/// What became of the hosts of some slots.
#[derive(Default)]
struct Round {
    opened: BTreeMap<u8, ContractId>,
    left_out: BTreeMap<u8, (EntityId, String)>,
}

impl Round {
    /// Sees that at least `needed` slots are not left out.
    fn has(&self, needed: usize, of: usize) -> Result<(), AgentError> {
        let left = of.saturating_sub(self.left_out.len());
        if left >= needed {
            return Ok(());
        }
        let why =
            self.left_out.values().map(|(host, why)| format!("\n   {}…: {why}", host.short()));
        let why: String = why.collect();
        Err(AgentError::Placement {
            what: format!(
                "{left} of {of} hosts of a set can be dealt with, and {needed} are needed to rebuild what they keep{why}"
            ),
            hint: "run the same again when more of them are there: what was opened is not opened twice"
                .to_owned(),
        })
    }
}

impl Agent {
    /// Takes over the care of what is in the file, with contracts of its own that pay for reading; what was accepted before
    /// is brought up to date. `self` must be [looking after](Self::looking_after) it. Repeating it does what is left.
    ///
    /// # Errors
    ///
    /// The file is for somebody else, or its mandate is over; so many hosts of a set cannot be reached, or refuse, that the
    /// others cannot rebuild what they keep: sets that can be taken care of are, before that is told.
    pub async fn accept(
        &self,
        wallet: &Wallet,
        entrusted: &Entrusted,
    ) -> Result<Accepted, AgentError> {
        let (mut accepted, mut short) = (Accepted::default(), None);
        self.check_mandate(entrusted.mandate.mandate)?;
        self.check_not_withdrawn(entrusted).await?;
        let is_paid = |set: &&EntrustedSet| set.currency() == Some(wallet.currency());
        for set in entrusted.sets.as_slice().iter().filter(is_paid) {
            match self.accept_set(wallet, set, &mut accepted).await {
                Err(error @ AgentError::Placement { .. }) => short = short.or(Some(error)),
                done => done?,
            }
        }
        short.map_or(Ok(accepted), Err)
    }

    async fn accept_set(
        &self,
        wallet: &Wallet,
        set: &EntrustedSet,
        accepted: &mut Accepted,
    ) -> Result<(), AgentError> {
        let (index, round) = match self.set_of(set) {
            Some(index) => (index, self.follow(wallet, index, set).await?),
            None => self.take_set(wallet, set).await?,
        };
        accepted.opened += round.opened.len();
        let left_out = |(at, (provider, why))| LeftOut { slot: (index, at), provider, why };
        accepted.left_out.extend(round.left_out.into_iter().map(left_out));
        accepted.objects += self.take_objects(index, set)?;
        // What is new is not yet where this agent keeps a slot itself.
        let kept = self.book.read(|book| {
            let contracts = book.set(index).map(|set| set.contracts.clone());
            let slots = contracts.unwrap_or_default().into_iter().zip(0_u8..);
            let slots = slots.map(|(contract, index)| (index, contract));
            let is_kept = |&(_, contract): &(u8, ContractId)| {
                book.contract(contract)
                    .is_some_and(|record| record.stage == Stage::Open && keeps(record))
            };
            slots.filter(is_kept).collect::<Vec<_>>()
        });
        if kept.is_empty() {
            return Ok(());
        }
        for (at, error) in self.complete_each(index, &kept).await? {
            let Some(record) = self.slot_record(index, at) else { continue };
            let (slot, provider) = ((index, at), record.terms.prices.provider);
            let why = format!("what is new was not brought to it: {error}");
            accepted.left_out.push(LeftOut { slot, provider, why });
        }
        Ok(())
    }

    /// Finds the set that has the same slots.
    pub(super) fn set_of(&self, set: &EntrustedSet) -> Option<u32> {
        let origins = || set.slots.as_slice().iter().map(|slot| slot.origin);
        self.book.read(|book| {
            (0..book.set_count()).find(|&index| {
                book.set(index).is_some_and(|own| origins().eq(own.origins.iter().copied()))
            })
        })
    }

    /// Opens a contract with each host of a set that answers, and puts them together; the others have one that was never asked for.
    async fn take_set(
        &self,
        wallet: &Wallet,
        set: &EntrustedSet,
    ) -> Result<(u32, Round), AgentError> {
        let slots: Vec<(u8, &EntrustedSlot)> = (0..).zip(set.slots.as_slice()).collect();
        let round = self.open_all(wallet, &slots, set.share(), usize::from(set.k)).await?;
        let (mut contracts, mut never) = (Vec::new(), Vec::new());
        for (index, slot) in slots {
            contracts.push(match round.opened.get(&index) {
                Some(contract) => *contract,
                None => {
                    let record = self.never_asked_for(slot)?;
                    let (contract, tab, paid) = (record.terms.id(), Tab::default(), Amount::ZERO);
                    never.extend([record.intended(), Event::ContractEnded { contract, tab, paid }]);
                    contract
                }
            });
        }
        let contracts = List::new(contracts)
            .ok_or_else(|| AgentError::Store("a set of more slots than any has".to_owned()))?;
        let index = self.book.read(Book::set_count);
        // At once: a set whose slots are not known would not be found again, and all of it be opened twice.
        let mut events = vec![Event::SetFormed { coding: Coding::Cauchy8, k: set.k, contracts }];
        events.extend((0..).zip(set.slots.as_slice()).map(|(number, slot)| {
            let origin = slot.origin;
            Event::SlotTagged { set: index, index: number, origin }
        }));
        self.book.record_all(&never)?;
        self.book.record_all(&events)?;
        Ok((index, round))
    }

    /// The contract of a slot whose host does not answer: in the book alone.
    fn never_asked_for(&self, slot: &EntrustedSlot) -> Result<ContractRecord, AgentError> {
        let EntrustedSlot { terms, address, .. } = slot;
        let list = SignedPriceList { prices: terms.prices, signature: terms.prices_signature };
        let (now, nonce) = (self.clock.now(), u128::from_le_bytes(entropy::random()?));
        let span = terms.ends.since(now);
        let terms = Terms::new(self.key.entity(), &list, WATCH_SIZE, now, span, nonce);
        Ok(ContractRecord {
            terms,
            address: address.clone(),
            hold_request: entropy::request_id(&*self.clock)?,
            hold_max: Amount::ZERO,
            hold_expires: terms.ends,
            stage: Stage::Intended,
        })
    }

    /// Opens contracts with hosts that the owner has moved slots to since, and with those that did not answer before.
    async fn follow(
        &self,
        wallet: &Wallet,
        set: u32,
        entrusted: &EntrustedSet,
    ) -> Result<Round, AgentError> {
        let (mut wanted, mut live) = (Vec::new(), 0);
        for (slot, index) in entrusted.slots.as_slice().iter().zip(0_u8..) {
            let Some(record) = self.slot_record(set, index) else { continue };
            // What it has made anew itself, its owner may not know of yet.
            let is_own = keeps(&record) && !self.was_taken(&record).await?;
            let is_same = record.terms.prices.provider == slot.terms.prices.provider;
            let is_open = record.stage == Stage::Open && record.terms.ends > self.clock.now();
            if is_open && (is_own || (is_same && !keeps(&record))) {
                live += 1;
            } else if !self.is_filled(set, index) {
                wanted.push((index, slot));
            }
        }
        let needed = usize::from(entrusted.k).saturating_sub(live);
        let round = self.open_all(wallet, &wanted, entrusted.share(), needed).await?;
        for (&index, &contract) in &round.opened {
            self.replace(set, index, contract)?;
        }
        Ok(round)
    }

    /// Whether a repair has begun to fill a slot: what it has sent there is not to be lost.
    pub(super) fn is_filled(&self, set: u32, index: u8) -> bool {
        self.book.read(|book| book.repairs().any(|(of, at, _)| (of, at) == (set, index)))
    }

    /// Opens a contract that pays for reading with the host of each slot that can be dealt with. With fewer than `needed` of
    /// them nothing is opened, as far as can be known before.
    async fn open_all(
        &self,
        wallet: &Wallet,
        slots: &[(u8, &EntrustedSlot)],
        share: Bytes,
        needed: usize,
    ) -> Result<Round, AgentError> {
        let (mut round, mut lists) = (Round::default(), BTreeMap::new());
        let mut asking = JoinSet::new();
        for &(index, slot) in slots {
            let (finder, address) = (Arc::clone(&self.finder), slot.address.clone());
            asking.spawn(async move { (index, offer_of(&finder, &address).await) });
        }
        let asked: BTreeMap<u8, _> = asking.join_all().await.into_iter().collect();
        for ((index, list), (_, slot)) in asked.into_iter().zip(slots) {
            match list {
                Ok(list) => drop(lists.insert(index, list)),
                Err(error) => {
                    let left_out = (slot.terms.prices.provider, error.to_string());
                    round.left_out.insert(index, left_out);
                }
            }
        }
        round.has(needed, slots.len())?;
        for &(index, slot) in slots {
            let Some(list) = lists.get(&index) else { continue };
            match self.open_watch(wallet, slot, list, share, None).await? {
                Ok(record) => drop(round.opened.insert(index, record.terms.id())),
                Err(why) => {
                    round.left_out.insert(index, (slot.terms.prices.provider, why));
                }
            }
        }
        round.has(needed, slots.len())?;
        Ok(round)
    }

    /// Opens a contract that pays for reading `share` bytes twice, until the owner's ends, with a host that asks for this, within
    /// a budget if there is one; or says what of the host's is in the way.
    pub(crate) async fn open_watch(
        &self,
        wallet: &Wallet,
        slot: &EntrustedSlot,
        list: &SignedPriceList,
        share: Bytes,
        budget: Option<Amount>,
    ) -> Result<Result<ContractRecord, String>, AgentError> {
        let not = BTreeSet::new();
        let until = slot.terms.ends;
        let (size_max, rest) = (WATCH_SIZE, Rest::of_no_set()?);
        let (reads, of) = (share, For::Kept);
        let wish = SlotWish { size_max, until, not: &not, budget, reads, rest, of };
        let hosts = [self.finder.now_at(&slot.address)];
        if let Err(error) = not_dearer(&list.prices, &slot.terms.prices) {
            return Ok(Err(error.to_string()));
        }
        let opened = self.opening(wallet).try_slot(&hosts, &wish).await?;
        Ok(opened.map(|opened| opened.record).map_err(|passed_over| {
            let why = passed_over.into_iter().map(|(_, why)| why);
            why.collect::<Vec<_>>().join("; ")
        }))
    }

    /// Writes down the objects that are new in a set, and forgets those that its owner has removed; returns how many there are.
    fn take_objects(&self, set: u32, entrusted: &EntrustedSet) -> Result<usize, AgentError> {
        let objects = entrusted.objects.as_slice();
        let named: BTreeSet<ObjectId> = objects.iter().map(|object| object.object).collect();
        let (known, gone) = self.book.read(|book| {
            let of_set = book.objects().filter(|(_, record)| record.set == set);
            of_set.map(|(id, _)| id).partition::<BTreeSet<_>, _>(|id| named.contains(id))
        });
        for object in gone {
            self.book.record(&Event::ObjectRemoved { object })?;
        }
        for new in objects.iter().filter(|object| !known.contains(&object.object)) {
            let EntrustedObject { object, length, k, shards, tagged } = new.clone();
            self.book.record(&match tagged {
                Some(tagged) => {
                    Event::TaggedObjectStored { object, length, set, k, shards, tagged }
                }
                None => Event::ObjectCoded { object, length, set, k, shards },
            })?;
        }
        Ok(objects.len())
    }

    /// Gives a slot to a contract that is open, at once: one that is meant for a slot and not in it would be opened again.
    pub(crate) fn replace(
        &self,
        set: u32,
        index: u8,
        contract: ContractId,
    ) -> Result<(), AgentError> {
        self.book.record_all(&[
            Event::SlotIntended { set, index, contract },
            Event::SlotReplaced { set, index, contract },
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_hosts_are_those_that_rebuild() {
        let host = |index: u8| EntityId::from_bytes([index; 32]);
        // How many slots are asked for, those left out, how many are needed, and whether that will do.
        let table: &[(usize, &[u8], usize, bool)] = &[
            (4, &[], 2, true),
            (4, &[0], 2, true),
            (4, &[0, 3], 2, true),
            (4, &[0, 1, 3], 2, false),
            (1, &[0], 0, true), // the others live already
            (1, &[0], 1, false),
            (0, &[], 0, true),
            (0, &[], 1, false),
        ];
        for &(of, left_out, needed, expected) in table {
            let left_out = left_out.iter().map(|&at| (at, (host(at), "it is away".to_owned())));
            let round = Round { left_out: left_out.collect(), ..Round::default() };
            let enough = round.has(needed, of);
            assert_eq!(enough.is_ok(), expected, "{of} {needed} {:?}", round.left_out);
            if let Err(error) = enough {
                let away = error.to_string().matches("it is away").count();
                assert_eq!(away, round.left_out.len(), "each is named: {error}");
            }
        }
    }
}
