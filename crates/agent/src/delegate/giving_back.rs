//! Give back what a delegate has come to keep: the delegate names it, and the owner renews it in its own name.

use super::{
    Bounds, DelegateFileError, Entrusted, HandedBack, HandedSlot, Place, SignedHandedBack,
    UNKNOWN_BYTES_MAX, Watched, keeps, present,
};
use crate::book::{Book, ContractRecord, Event, ObjectRecord, Stage};
use crate::session::admit;
use crate::{Agent, AgentError, Wallet, entropy};
use fondaco_codec::List;
use fondaco_contract::{ContractId, Mandate, READ_UNIT, SignedMandate, Takes};
use fondaco_ports::Address;
use fondaco_units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Of how many objects at least a part is read before a slot is taken back, if there are so many.
const PROVEN_MIN: usize = 16;

impl Agent {
    /// Says, signed, what was taken over or made anew, for the owner to take back.
    ///
    /// # Errors
    ///
    /// There are more slots than a file has room for; or the journal failed.
    pub fn hand_back(
        &self,
        entrusted: &Entrusted,
        until: Timestamp,
    ) -> Result<SignedHandedBack, AgentError> {
        let (from, issued) = (self.key.entity(), self.clock.now());
        let (entrusted, owner) = (entrusted.mandate, entrusted.mandate.mandate.from);
        let mandate = Mandate { from, to: owner, takes: Takes::Always, issued, until };
        let slots = self.book.read(|book| {
            let sets = (0..book.set_count()).filter_map(|index| book.set(index));
            let slots = sets.flat_map(|set| set.origins.iter().zip(&set.contracts));
            let slots = slots.filter_map(|(&origin, &contract)| {
                let record = book.contract(contract)?;
                let is_given = record.stage == Stage::Open && keeps(record);
                is_given.then(|| HandedSlot { origin, contract, address: record.address.clone() })
            });
            slots.collect::<Vec<_>>()
        });
        let slots = List::new(slots)
            .ok_or_else(|| AgentError::Store("more slots than a file has room for".to_owned()))?;
        // By the clock, so that a delegate whose book is lost goes on with numbers that it has not used.
        let next = self.book.read(Book::handed).saturating_add(1);
        let sequence = next.max(issued.milliseconds());
        self.book.record(&Event::HandedBack { sequence })?;
        let mandate = mandate.sign(&self.key);
        Ok(HandedBack { entrusted, mandate, sequence, slots }.sign(&self.key))
    }

    /// Sees that this agent may take back by a file, and has by none that is later.
    ///
    /// # Errors
    ///
    /// All of [`DelegateFileError`] from `Unsigned` on.
    pub fn check_handed(&self, signed: &SignedHandedBack) -> Result<(), DelegateFileError> {
        let known = self.book.read(|book| book.reclaimed(signed.handed.delegate()));
        signed.check(self.key.entity(), self.clock.now(), known)
    }

    /// Renews in the own name, for `epochs`, what a delegate has come to keep. Repeating it does what is left.
    ///
    /// # Errors
    ///
    /// As [`check_handed`](Self::check_handed), before anything is changed. What one host refuses is told of that slot.
    pub async fn reclaim(
        &self,
        wallet: &Wallet,
        signed: &SignedHandedBack,
        epochs: u32,
    ) -> Result<Vec<Watched>, AgentError> {
        self.check_handed(signed).map_err(|error| AgentError::Invalid {
            what: error.to_string(),
            hint: error.hint().to_owned(),
        })?;
        let handed = &signed.handed;
        let (delegate, sequence) = (handed.delegate(), handed.sequence);
        if self.book.read(|book| book.reclaimed(delegate)) < sequence {
            self.book.record(&Event::Reclaimed { delegate, sequence })?;
        }
        let mut reclaimed = Vec::new();
        let mut of_origin: BTreeMap<ContractId, usize> = BTreeMap::new();
        for slot in handed.slots.as_slice() {
            // Sets that share a contract have slots of one origin, and both books have them in the same order.
            let nth = of_origin.entry(slot.origin).or_default();
            let places = self.book.read(|book| {
                // Of a set without objects the delegate was not told.
                let used: BTreeSet<u32> = book.objects().map(|(_, object)| object.set).collect();
                let mut places = book.slots_tagged_under(slot.origin);
                places.retain(|(set, _)| used.contains(set));
                places
            });
            let Some(&(set, index)) = places.get(*nth).or(places.last()) else { continue };
            *nth += 1;
            let place = Place { set, index, address: slot.address.clone() };
            let taken = self.reclaim_slot(wallet, &handed.mandate, slot, &place, epochs).await;
            let provider = slot.address.entity();
            reclaimed.push(Watched { slot: (set, index), provider, taken });
        }
        self.opening(wallet).close_strays(&[]).await?;
        Ok(reclaimed)
    }

    async fn reclaim_slot(
        &self,
        wallet: &Wallet,
        mandate: &SignedMandate,
        slot: &HandedSlot,
        place: &Place,
        epochs: u32,
    ) -> Result<Option<ContractId>, AgentError> {
        let Place { set, index, address } = place;
        let Some(own) = self.slot_record(*set, *index) else { return Ok(None) };
        if own.terms.renews == Some(slot.contract) && own.stage == Stage::Open {
            return Ok(None);
        }
        if let Some(contract) = self.taken_for_another_set(slot.contract) {
            if self.still_keeps(&own).await {
                return Ok(None);
            }
            self.is_another_host(*set, *index, address)?;
            // Some of it may be new to the host.
            let bytes = self.book.read(|book| book.set_share(*set));
            self.book.record(&Event::Giving { contract, bytes })?;
            self.complete(*set, &[(*index, contract)]).await?;
            self.prove(*set, *index, contract).await?;
            self.book.record(&Event::SlotTaken { set: *set, index: *index, contract })?;
            return Ok(Some(contract));
        }
        let begun = self.book.read(|book| {
            let mut repairs = book.repairs();
            let begun = repairs.find(|(of, at, _)| (of, at) == (set, index)).map(|(.., id)| id);
            begun.filter(|id| {
                book.contract(*id).is_some_and(|record| record.terms.renews == Some(slot.contract))
            })
        });
        let contract = match begun {
            Some(contract) => contract,
            None => match self.finish_taking(*set, *index).await? {
                Some(contract) => contract,
                None => {
                    // What is kept under a contract of our own is not given for what somebody says.
                    if self.still_keeps(&own).await {
                        return Ok(None);
                    }
                    self.is_another_host(*set, *index, address)?;
                    let lines = admit(&self.finder, address, mandate).await?;
                    let line = present(&lines, slot.contract).filter(|line| {
                        line.tab.stored > Bytes::ZERO
                            && line.terms.prices.currency == wallet.currency()
                    });
                    let Some(line) = line else { return Ok(None) };
                    let given = self.book.read(|book| book.given(own.terms.id()));
                    let bounds = Bounds {
                        prices: own.terms.prices,
                        size_max: own.terms.size_max,
                        stored_max: given.checked_add(UNKNOWN_BYTES_MAX).unwrap_or(Bytes::MAX),
                    };
                    self.take_over_from(wallet, place, line, &bounds, (epochs, None)).await?
                }
            },
        };
        // What was stored since the delegate was told is not there yet; until it is, the slot is the old contract's.
        self.complete(*set, &[(*index, contract)]).await?;
        self.prove(*set, *index, contract).await?;
        self.book.record(&Event::SlotReplaced { set: *set, index: *index, contract })?;
        Ok(Some(contract))
    }

    /// Returns the contract that has renewed this one already, in a slot of another set.
    fn taken_for_another_set(&self, handed: ContractId) -> Option<ContractId> {
        self.book.read(|book| {
            let mut all = book.contracts();
            let found = all.find(|(contract, record)| {
                record.stage == Stage::Open
                    && record.terms.renews == Some(handed)
                    && book.is_in_a_set(*contract)
            });
            found.map(|(contract, _)| contract)
        })
    }

    /// Asks whether a contract is open, and its host there.
    async fn still_keeps(&self, record: &ContractRecord) -> bool {
        if record.stage != Stage::Open || record.terms.ends <= self.clock.now() {
            return false;
        }
        let session = self.session(record, Bytes::ZERO);
        session.standing().await.is_ok()
            && session.stands().await.is_some_and(|stands| !stands.has_ended())
    }

    /// Sees that no other slot of the set is with the same provider.
    fn is_another_host(&self, set: u32, index: u8, address: &Address) -> Result<(), AgentError> {
        let provider = address.entity();
        let is_there = self.book.read(|book| {
            let slots = book.set(set).map(|set| set.contracts.clone()).unwrap_or_default();
            let others = slots.iter().zip(0_u8..).filter(|(_, at)| *at != index);
            others
                .filter_map(|(contract, _)| book.contract(*contract))
                .any(|record| record.terms.prices.provider == provider)
        });
        match is_there {
            false => Ok(()),
            true => Err(AgentError::Invalid {
                what: format!("{}… has another slot of the same set", provider.short()),
                hint: "let `fondaco backup repair` give the slot to another".to_owned(),
            }),
        }
    }

    /// Reads a part of some objects under a contract that is to take a slot: what its host has is proven, not believed.
    async fn prove(&self, set: u32, index: u8, contract: ContractId) -> Result<(), AgentError> {
        let objects: Vec<ObjectRecord> = self.book.read(|book| {
            let of_set = book.objects().filter(|(_, record)| record.set == set);
            of_set.map(|(_, record)| record.clone()).collect()
        });
        let session = self.book.read(|book| {
            book.contract(contract).map(|record| self.session_in(book, contract, record))
        });
        let Some(session) = session else { return Ok(()) };
        let step = (objects.len() / PROVEN_MIN).max(1);
        let skipped = usize::from(entropy::random::<1>()?[0]) % step;
        for record in objects.iter().skip(skipped).step_by(step) {
            let size = record.share().get();
            let at = u64::from_le_bytes(entropy::random()?) % size.max(1) / READ_UNIT.get();
            let start = at * READ_UNIT.get();
            let range = start..(start + READ_UNIT.get()).min(size);
            session.read(record.shards[usize::from(index)], size, range).await?;
        }
        Ok(())
    }
}
