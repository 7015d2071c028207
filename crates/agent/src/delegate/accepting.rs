//! Take over the care of what is another's: contracts of one's own that pay for reading, and a book that has the owner's sets.

use super::{
    Entrusted, EntrustedObject, EntrustedSet, EntrustedSlot, WATCH_SIZE, keeps, not_dearer,
};
use crate::book::{Book, ContractRecord, Event, ObjectId, Stage};
use crate::choosing::Rest;
use crate::opening::SlotWish;
use crate::session::offer;
use crate::{Agent, AgentError, Wallet};
use fondaco_codec::List;
use fondaco_contract::ContractId;
use fondaco_units::Bytes;
use std::collections::BTreeSet;

/// What accepting came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many contracts were opened.
    pub opened: usize,
    /// How many objects are looked after now.
    pub objects: usize,
}

impl Agent {
    /// Takes over the care of what is in the file, with contracts of its own that pay for reading; what was accepted before
    /// is brought up to date. `self` must be [looking after](Self::looking_after) it.
    ///
    /// # Errors
    ///
    /// The file is for somebody else, or its mandate is over; a host of it cannot be reached, or refuses.
    pub async fn accept(
        &self,
        wallet: &Wallet,
        entrusted: &Entrusted,
    ) -> Result<Accepted, AgentError> {
        let mut accepted = Accepted::default();
        self.check_mandate(entrusted.mandate.mandate)?;
        let is_paid = |set: &&EntrustedSet| set.currency() == Some(wallet.currency());
        for set in entrusted.sets.as_slice().iter().filter(is_paid) {
            let index = match self.set_of(set) {
                Some(index) => {
                    accepted.opened += self.follow(wallet, index, set).await?;
                    index
                }
                None => {
                    accepted.opened += set.slots.as_slice().len();
                    self.take_set(wallet, set).await?
                }
            };
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
            if !kept.is_empty() {
                self.complete(index, &kept).await?;
            }
        }
        Ok(accepted)
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

    /// Opens a contract with each host of a set, and puts them together.
    async fn take_set(&self, wallet: &Wallet, set: &EntrustedSet) -> Result<u32, AgentError> {
        let mut contracts: Vec<ContractId> = Vec::new();
        for slot in set.slots.as_slice() {
            contracts.push(self.open_watch(wallet, slot, set.share()).await?.terms.id());
        }
        let contracts = List::new(contracts)
            .ok_or_else(|| AgentError::Store("a set of more slots than any has".to_owned()))?;
        let index = self.book.read(Book::set_count);
        self.book.record(&Event::SetFormed {
            coding: crate::book::Coding::Cauchy8,
            k: set.k,
            contracts,
        })?;
        for (slot, number) in set.slots.as_slice().iter().zip(0..) {
            let origin = slot.origin;
            self.book.record(&Event::SlotTagged { set: index, index: number, origin })?;
        }
        Ok(index)
    }

    /// Opens contracts with hosts that the owner has moved slots to since; returns how many.
    async fn follow(
        &self,
        wallet: &Wallet,
        set: u32,
        entrusted: &EntrustedSet,
    ) -> Result<usize, AgentError> {
        let mut opened = 0;
        for (slot, index) in entrusted.slots.as_slice().iter().zip(0_u8..) {
            let Some(record) = self.slot_record(set, index) else { continue };
            // What it has made anew itself, its owner may not know of yet.
            let is_own = keeps(&record) && !self.was_taken(&record).await?;
            let is_same = record.terms.prices.provider == slot.terms.prices.provider;
            let is_open = record.stage == Stage::Open && record.terms.ends > self.clock.now();
            if is_open && (is_own || (is_same && !keeps(&record))) {
                continue;
            }
            let record = self.open_watch(wallet, slot, entrusted.share()).await?;
            self.replace(set, index, record.terms.id())?;
            opened += 1;
        }
        Ok(opened)
    }

    /// Opens a contract that pays for reading `share` bytes twice, until the owner's ends.
    pub(super) async fn open_watch(
        &self,
        wallet: &Wallet,
        slot: &EntrustedSlot,
        share: Bytes,
    ) -> Result<ContractRecord, AgentError> {
        let not = BTreeSet::new();
        let until = slot.terms.ends;
        let (size_max, budget, rest) = (WATCH_SIZE, None, Rest::of_no_set()?);
        let wish = SlotWish { size_max, until, not: &not, budget, reads: share, rest };
        let hosts = std::slice::from_ref(&slot.address);
        let list = offer(&self.endpoint, &slot.address).await?;
        not_dearer(&list.prices, &slot.terms.prices)?;
        Ok(self.opening(wallet).open_slot(hosts, &wish).await?.record)
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

    pub(super) fn replace(
        &self,
        set: u32,
        index: u8,
        contract: ContractId,
    ) -> Result<(), AgentError> {
        self.book.record(&Event::SlotIntended { set, index, contract })?;
        self.book.record(&Event::SlotReplaced { set, index, contract })
    }
}
