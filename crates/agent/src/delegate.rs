//! Look after what another buyer keeps, while it is away.
//!
//! ```text
//! owner      entrust ──► file: mandate, audit key, where what lies ──► delegate      not the key that reads it
//! delegate   accept ──► a small contract with each host, which pays for reading what the owner keeps there
//!            watch ──► mandates shown; what ends soon is renewed in the delegate's name
//!            survey, repair, renew ──► as with what is its own
//!            hand_back ──► file: a mandate, and which slots it has ──► owner
//! owner      reclaim ──► renews in its own name what the delegate has come to keep
//! ```
//!
//! A delegate is an agent of its own: its book has the owner's sets, each slot under a contract of the delegate's. So audits
//! and repairs are the same as an owner's, and shards made anew are tagged with the owner's audit key.
//!
//! # What always holds
//!
//! - The delegate cannot read what it looks after: it has shards, and no key of the repository.
//! - It pays with its own money, under its own contracts; nothing is signed in the owner's name.
//! - It deletes nothing that is in the owner's name, and takes over only what would have ended within a quarter of an epoch, if
//!   the owner did not say more.
//! - Giving back moves no shard: the host that has it signs with the owner, and the delegate's contract is over by that.
//!
//! # What is not here
//!
//! How the files travel, and who pays the delegate: people do that.

mod file;

pub use file::{
    DELEGATE_FILE_BYTES_MAX, DelegateFileError, Entrusted, EntrustedObject, EntrustedSet,
    EntrustedSlot, HandedBack, HandedSlot,
};

use crate::book::{Book, ContractRecord, Event, ObjectId, ObjectRecord, Stage};
use crate::choosing::Rest;
use crate::opening::{Blame, Offer, Opening, SlotWish, good_now};
use crate::session::{admit, offer};
use crate::{Agent, AgentError, Wallet, entropy};
use fondaco_audit::AuditKey;
use fondaco_codec::List;
use fondaco_contract::{ContractId, Ending, Mandate, PriceList, READ_UNIT, SignedMandate, Takes};
use fondaco_crypto::{EntityId, Signature};
use fondaco_ports::Address;
use fondaco_ports::market::{Admitted, Reason};
use fondaco_units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The room in a contract that only pays for reading; one that keeps shards has more, [`SLACK`](crate::opening::SLACK) at least.
pub(crate) const WATCH_SIZE: Bytes = Bytes::new(1 << 20);

/// How long a host takes no other mandate of the same two.
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_secs(10);

/// How many times dearer or larger than agreed before something may be.
const DEARER_MAX: u64 = 4;

/// What a host may keep of an owner that the delegate was not told of.
const UNKNOWN_BYTES_MAX: Bytes = Bytes::new(1 << 30);

/// Of how many objects at least a part is read before a slot is taken back, if there are so many.
const PROVEN_MIN: usize = 16;

/// What accepting came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many contracts were opened.
    pub opened: usize,
    /// How many objects are looked after now.
    pub objects: usize,
}

/// What became of a slot that was looked at.
#[derive(Debug)]
pub struct Watched {
    /// Which set, and which slot of it.
    pub slot: (u32, u8),
    /// Whose host it is with.
    pub provider: EntityId,
    /// The contract that was renewed in the own name, if that was to be done; or what was in the way.
    pub taken: Result<Option<ContractId>, AgentError>,
}

/// A slot of a set, and where it is.
struct Place {
    set: u32,
    index: u8,
    address: Address,
}

impl Agent {
    /// Audits, and tags what is made anew, as the owner of this would.
    #[must_use]
    pub fn looking_after(self, entrusted: &Entrusted) -> Self {
        Self { audit_key: Some(AuditKey::from_bytes(entrusted.audit_key)), ..self }
    }

    /// Writes down what a delegate needs to know of everything that is stored.
    ///
    /// # Errors
    ///
    /// There are more objects than a file has room for.
    pub fn entrust(
        &self,
        to: EntityId,
        takes: Takes,
        until: Timestamp,
    ) -> Result<Entrusted, AgentError> {
        let (from, issued) = (self.key.entity(), self.clock.now());
        let mandate = Mandate { from, to, takes, issued, until }.sign(&self.key);
        let too_much = || AgentError::Invalid {
            what: "there is more in the book than one delegate can be told".to_owned(),
            hint: "forget old snapshots and prune, then try again".to_owned(),
        };
        let sets = self.book.read(|book| {
            let used: BTreeSet<u32> = book.objects().map(|(_, object)| object.set).collect();
            used.into_iter().map(|index| entrusted_set(book, index)).collect::<Option<Vec<_>>>()
        });
        let sets = sets.and_then(List::new).ok_or_else(too_much)?;
        Ok(Entrusted { mandate, audit_key: *AuditKey::of(&self.key).expose(), sets })
    }

    /// Sees that what is entrusted is for this agent, and still is.
    ///
    /// # Errors
    ///
    /// The file is for somebody else, or its mandate is over.
    pub fn check(&self, entrusted: &Entrusted) -> Result<(), AgentError> {
        self.check_mandate(entrusted.mandate.mandate)
    }

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

    fn check_mandate(&self, mandate: Mandate) -> Result<(), AgentError> {
        let invalid =
            |what: String, hint: &str| AgentError::Invalid { what, hint: hint.to_owned() };
        if mandate.to != self.key.entity() {
            return Err(invalid(
                format!("this file is for {}…, and not for you", mandate.to.short()),
                "the owner names your key with `fondaco delegate entrust ENTITY`",
            ));
        }
        if !mandate.is_good(self.clock.now()) {
            return Err(invalid(
                format!("its mandate was good until {}", mandate.until),
                "ask its owner for a new one",
            ));
        }
        Ok(())
    }

    /// Finds the set that has the same slots.
    fn set_of(&self, set: &EntrustedSet) -> Option<u32> {
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

    /// The contract of a slot.
    fn slot_record(&self, set: u32, index: u8) -> Option<ContractRecord> {
        self.book.read(|book| {
            let contract = book.set(set)?.contracts.get(usize::from(index))?;
            book.contract(*contract).cloned()
        })
    }

    /// Asks whether another has taken a contract over; that it has is written down. A host that does not answer has not said so.
    async fn was_taken(&self, record: &ContractRecord) -> Result<bool, AgentError> {
        if record.stage != Stage::Open {
            return Ok(true);
        }
        let session = self.session(record, Bytes::ZERO);
        let Ok((tab, paid)) = session.standing().await else { return Ok(false) };
        let why = session.stands().await.and_then(|stands| stands.why());
        if why != Some(Ending::Renewed) {
            return Ok(false);
        }
        let contract = record.terms.id();
        // Its own renewal, of which it has not heard yet.
        if self.book.read(|book| !book.renewals(contract).is_empty()) {
            return Ok(false);
        }
        self.book.record(&Event::ContractEnded { contract, tab, paid })?;
        Ok(true)
    }

    /// Opens a contract that pays for reading `share` bytes twice, until the owner's ends.
    async fn open_watch(
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

    /// Shows the mandate to every host, and renews in the own name what it lets be taken over, for `epochs`.
    ///
    /// # Errors
    ///
    /// The mandate is not good for this agent, or the journal failed. A host that cannot be reached is no error of all.
    pub async fn watch(
        &self,
        wallet: &Wallet,
        entrusted: &Entrusted,
        epochs: u32,
    ) -> Result<Vec<Watched>, AgentError> {
        self.check_mandate(entrusted.mandate.mandate)?;
        let mut watched = Vec::new();
        let is_paid = |set: &&EntrustedSet| set.currency() == Some(wallet.currency());
        for set in entrusted.sets.as_slice().iter().filter(is_paid) {
            let Some(own) = self.set_of(set) else { continue };
            for (slot, index) in set.slots.as_slice().iter().zip(0..) {
                let provider = slot.terms.prices.provider;
                let (of, at) = ((set, slot), (own, index));
                let taken = self.watch_slot(wallet, entrusted, of, at, epochs).await;
                watched.push(Watched { slot: at, provider, taken });
            }
        }
        self.opening(wallet).close_strays(&[]).await?;
        Ok(watched)
    }

    async fn watch_slot(
        &self,
        wallet: &Wallet,
        entrusted: &Entrusted,
        (set, slot): (&EntrustedSet, &EntrustedSlot),
        (own, index): (u32, u8),
        epochs: u32,
    ) -> Result<Option<ContractId>, AgentError> {
        let Some(record) = self.slot_record(own, index) else { return Ok(None) };
        let place = Place { set: own, index, address: record.address.clone() };
        let is_kept = keeps(&record);
        if is_kept && !self.was_taken(&record).await? {
            return Ok(None);
        }
        if let Some(contract) = self.finish_taking(own, index).await? {
            self.book.record(&Event::SlotReplaced { set: own, index, contract })?;
            return Ok(Some(contract));
        }
        let mandate = &entrusted.mandate;
        let lines = match admit(&self.endpoint, &place.address, mandate).await {
            Ok(lines) => lines,
            Err(AgentError::Provider { reason: Reason::UnknownContract, .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        if !is_kept && lines.iter().all(|line| line.tab.stored == Bytes::ZERO) {
            // The owner has nothing there any more: the slot is lost, unless the owner gave it to another and has not said so.
            self.end(record.terms.id(), &self.session(&record, Bytes::ZERO)).await?;
            return Ok(None);
        }
        let taken_back = || {
            let is_it = |line: &&Admitted| line.terms.renews == Some(record.terms.id());
            lines.iter().find(is_it)
        };
        let Some(line) = present(&lines, slot.terms.id()).or_else(taken_back) else {
            return Ok(None);
        };
        if is_kept {
            // The owner has it again, and may be gone again: reading is to be paid for.
            let (origin, address) = (slot.origin, place.address);
            let slot = EntrustedSlot { origin, terms: line.terms, address };
            let record = self.open_watch(wallet, &slot, set.share()).await?;
            self.replace(own, index, record.terms.id())?;
            return Ok(None);
        }
        let now = self.clock.now();
        let is_due = mandate.mandate.may_take(&line.terms, line.tab.epochs_paid, now);
        if !is_due || line.tab.stored == Bytes::ZERO {
            return Ok(None);
        }
        let bounds = Bounds {
            prices: slot.terms.prices,
            size_max: slot.terms.size_max,
            stored_max: set.share().checked_add(UNKNOWN_BYTES_MAX).unwrap_or(Bytes::MAX),
        };
        let contract = self.take_over_from(wallet, &place, line, &bounds, epochs).await?;
        self.book.record(&Event::SlotReplaced { set: own, index, contract })?;
        Ok(Some(contract))
    }

    /// Tells every host that has an open contract that `to` may do nothing for this agent any more.
    pub async fn revoke(&self, to: EntityId) -> Vec<(EntityId, Result<(), AgentError>)> {
        let (from, issued) = (self.key.entity(), self.clock.now());
        let over = Mandate { from, to, takes: Takes::AtEnd, issued, until: issued };
        let over = over.sign(&self.key);
        let hosts: BTreeMap<EntityId, Address> = self.book.read(|book| {
            let open = book.contracts().filter(|(_, record)| record.stage == Stage::Open);
            open.map(|(_, record)| (record.address.entity(), record.address.clone())).collect()
        });
        let mut told = Vec::new();
        for (provider, address) in &hosts {
            told.push((*provider, admit(&self.endpoint, address, &over).await.map(drop)));
        }
        let is_busy = |answer: &Result<(), AgentError>| {
            matches!(answer, Err(AgentError::Provider { reason: Reason::Busy, .. }))
        };
        // A host takes one mandate at a time, and the one that is taken back may just have come.
        if told.iter().any(|(_, answer)| is_busy(answer)) {
            tokio::time::sleep(BUSY_PAUSE).await;
            for (provider, answer) in told.iter_mut().filter(|(_, answer)| is_busy(answer)) {
                *answer = admit(&self.endpoint, &hosts[provider], &over).await.map(drop);
            }
        }
        told
    }

    /// Says what was taken over or made anew, for the owner to take back.
    ///
    /// # Errors
    ///
    /// There are more slots than a file has room for.
    pub fn hand_back(&self, owner: EntityId, until: Timestamp) -> Result<HandedBack, AgentError> {
        let (from, issued) = (self.key.entity(), self.clock.now());
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
        Ok(HandedBack { mandate: mandate.sign(&self.key), slots })
    }

    /// Renews in the own name, for `epochs`, what a delegate has come to keep. Repeating it does what is left.
    ///
    /// # Errors
    ///
    /// The mandate is not for this agent, or is over. What one host refuses is told of that slot.
    pub async fn reclaim(
        &self,
        wallet: &Wallet,
        handed: &HandedBack,
        epochs: u32,
    ) -> Result<Vec<Watched>, AgentError> {
        self.check_mandate(handed.mandate.mandate)?;
        let mut reclaimed = Vec::new();
        for slot in handed.slots.as_slice() {
            let found = self.book.read(|book| {
                (0..book.set_count()).find_map(|set| {
                    let origins = &book.set(set)?.origins;
                    let at = origins.iter().position(|origin| *origin == slot.origin)?;
                    Some((set, u8::try_from(at).ok()?))
                })
            });
            let Some((set, index)) = found else { continue };
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
                    let lines = admit(&self.endpoint, address, mandate).await?;
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
                    self.take_over_from(wallet, place, line, &bounds, epochs).await?
                }
            },
        };
        // What was stored since the delegate was told is not there yet; until it is, the slot is the old contract's.
        self.complete(*set, &[(*index, contract)]).await?;
        self.prove(*set, *index, contract).await?;
        self.book.record(&Event::SlotReplaced { set: *set, index: *index, contract })?;
        Ok(Some(contract))
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

    /// Renews another's contract in the own name, each step saved first.
    async fn take_over_from(
        &self,
        wallet: &Wallet,
        place: &Place,
        line: &Admitted,
        bounds: &Bounds,
        epochs: u32,
    ) -> Result<ContractId, AgentError> {
        bounds.hold(line)?;
        let opening = self.opening(wallet);
        let (from, provider) = (line.terms.id(), line.terms.prices.provider);
        let begun =
            self.book.read(|book| book.renewals(from).first().map(|&record| record.clone()));
        let record = match begun.filter(|record| opening.now < record.terms.prices.expires) {
            Some(record) => record,
            None => self.intend_to_take(&opening, &place.address, line, bounds, epochs).await?,
        };
        let contract = record.terms.id();
        if self.book.read(|book| book.contract(contract).is_none()) {
            self.book.record_all(&[
                record.intended(),
                Event::SlotTaking { set: place.set, index: place.index, contract },
            ])?;
        }
        match opening.secure_hold(&record).await {
            Ok(()) => {}
            Err(Blame::Host(error) | Blame::Other(error)) => return Err(error),
        }
        let signed = self.session(&record, line.tab.stored).renew(line.tab.stored).await;
        if let Err(AgentError::Provider { reason, .. }) = &signed
            && !reason.is_transient()
        {
            opening.give_up(record.terms.id())?;
        }
        let (provider_signature, _) = signed?;
        self.take_into(place.set, place.index, contract, provider_signature)?;
        tracing::debug!(provider = %provider.short(), %contract, "a contract was taken over");
        Ok(contract)
    }

    async fn intend_to_take(
        &self,
        opening: &Opening<'_>,
        address: &Address,
        line: &Admitted,
        bounds: &Bounds,
        epochs: u32,
    ) -> Result<ContractRecord, AgentError> {
        let provider = line.terms.prices.provider;
        let refused = |what| AgentError::Misanswer { peer: provider, what };
        if provider != address.entity() {
            return Err(refused("it tells of another's contract".to_owned()));
        }
        let list = offer(&self.endpoint, address).await?;
        good_now(&list, opening.now).map_err(refused)?;
        not_dearer(&list.prices, &bounds.prices)?;
        let list = opening.fits(provider, list, epochs).map_err(refused)?;
        let offer = Offer { address: address.clone(), list, operator: None };
        let renews = (line.terms.id(), line.terms.paid_until(line.tab.epochs_paid));
        opening.intend(&offer, line.terms.size_max, epochs, Some(renews), Bytes::ZERO)
    }

    /// Asks the host whether it signed what a crash cut off; returns the contract that it signed, which is intended for the
    /// slot then.
    async fn finish_taking(&self, set: u32, index: u8) -> Result<Option<ContractId>, AgentError> {
        let begun = self.book.read(|book| book.taking(set, index).cloned());
        let Some(record) = begun else { return Ok(None) };
        let contract = record.terms.id();
        match self.session(&record, Bytes::ZERO).renew(Bytes::ZERO).await {
            Ok((provider_signature, _)) => {
                self.take_into(set, index, contract, provider_signature)?;
                Ok(Some(contract))
            }
            Err(_) => Ok(None),
        }
    }

    /// Writes down, at once, that a contract is signed and for which slot: it is never one that nobody wants.
    fn take_into(
        &self,
        set: u32,
        index: u8,
        contract: ContractId,
        provider_signature: Signature,
    ) -> Result<(), AgentError> {
        self.book.record_all(&[
            Event::ContractOpened { contract, provider_signature },
            Event::SlotIntended { set, index, contract },
        ])
    }

    fn replace(&self, set: u32, index: u8, contract: ContractId) -> Result<(), AgentError> {
        self.book.record(&Event::SlotIntended { set, index, contract })?;
        self.book.record(&Event::SlotReplaced { set, index, contract })
    }
}

/// Whether shards are kept under a contract of a delegate, and not only read.
fn keeps(record: &ContractRecord) -> bool {
    record.terms.size_max > WATCH_SIZE
}

/// What a contract that is taken over may come to.
struct Bounds {
    prices: PriceList,
    size_max: Bytes,
    stored_max: Bytes,
}

impl Bounds {
    fn hold(&self, line: &Admitted) -> Result<(), AgentError> {
        let (size, stored) = (line.terms.size_max, line.tab.stored);
        if size.get() / DEARER_MAX <= self.size_max.get() && stored <= self.stored_max {
            return Ok(());
        }
        Err(AgentError::Invalid {
            what: format!(
                "{stored} are said to be kept in a contract for {size}, which is more than is known of"
            ),
            hint: "a newer file of its owner tells more: `fondaco delegate entrust`".to_owned(),
        })
    }
}

/// Refuses prices that are many times those that were agreed on before.
fn not_dearer(new: &PriceList, old: &PriceList) -> Result<(), AgentError> {
    let pairs = [
        (new.open.get(), old.open.get()),
        (new.store.parts(), old.store.parts()),
        (new.write.parts(), old.write.parts()),
        (new.read.parts(), old.read.parts()),
    ];
    match pairs.iter().all(|(new, old)| *new <= old.saturating_mul(DEARER_MAX)) {
        true => Ok(()),
        false => Err(AgentError::Invalid {
            what: format!(
                "{}… asks for more than {DEARER_MAX} times what its contract was made for",
                new.provider.short()
            ),
            hint: "let the slot be repaired elsewhere, or talk to its owner".to_owned(),
        }),
    }
}

/// The contract itself, or one that follows on it, as far as its host tells.
fn present(lines: &[Admitted], contract: ContractId) -> Option<&Admitted> {
    let by_renewed: BTreeMap<ContractId, &Admitted> =
        lines.iter().filter_map(|line| Some((line.terms.renews?, line))).collect();
    lines
        .iter()
        .find(|line| line.terms.id() == contract)
        .or_else(|| by_renewed.get(&contract).copied())
}

fn entrusted_set(book: &Book, index: u32) -> Option<EntrustedSet> {
    let set = book.set(index)?;
    let slots = set.origins.iter().zip(&set.contracts).map(|(&origin, contract)| {
        let record = book.contract(*contract)?;
        Some(EntrustedSlot { origin, terms: record.terms, address: record.address.clone() })
    });
    let slots = List::new(slots.collect::<Option<Vec<_>>>()?)?;
    let of_set = book.objects().filter(|(_, record)| record.set == index);
    let objects = of_set.map(|(object, record)| {
        let ObjectRecord { length, code, shards, tagged, .. } = record.clone();
        let shards = List::new(shards)?;
        Some(EntrustedObject { object, length, k: code.k(), shards, tagged })
    });
    let objects = List::new(objects.collect::<Option<Vec<_>>>()?)?;
    Some(EntrustedSet { k: set.code.k(), slots, objects })
}
