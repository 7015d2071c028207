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

mod accepting;
mod file;
mod giving_back;
mod withdrawn;

pub use accepting::{Accepted, LeftOut};
pub use file::{
    DELEGATE_FILE_BYTES_MAX, DelegateFileError, Entrusted, EntrustedObject, EntrustedSet,
    EntrustedSlot, HandedBack, HandedSlot, SignedHandedBack,
};

use crate::book::{Book, ContractRecord, Event, ObjectRecord, Stage};
use crate::opening::{Blame, Offer, Opening, good_now};
use crate::session::{admit, offer_of};
use crate::{Agent, AgentError, Wallet};
use fondaco_audit::AuditKey;
use fondaco_codec::List;
use fondaco_contract::{ContractId, Ending, Mandate, PriceList, Takes};
use fondaco_crypto::{EntityId, Signature};
use fondaco_ports::Address;
use fondaco_ports::market::{Admitted, Reason};
use fondaco_units::{Amount, Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The room in a contract that only pays for reading; one that keeps shards has more, [`SLACK`](crate::opening::SLACK) at least.
pub(crate) const WATCH_SIZE: Bytes = Bytes::new(1 << 20);

/// How long a host takes no other mandate of the same two, and a little more, since its clock is not ours.
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(10_500);

/// How often it is waited for that long: once is enough, unless the delegate shows another mandate meanwhile.
const BUSY_PAUSES_MAX: u32 = 3;

/// How many times dearer or larger than agreed before something may be.
const DEARER_MAX: u64 = 4;

/// What a host may keep of an owner that the delegate was not told of.
const UNKNOWN_BYTES_MAX: Bytes = Bytes::new(1 << 30);

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
        // Before anybody has it: a host that then says that another has renewed a contract may be right.
        self.book.record(&Event::Entrusted { to, until })?;
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
        let stands = session.stands().await;
        let Some(state) = stands.filter(|stands| stands.why() == Some(Ending::Renewed)) else {
            return Ok(false);
        };
        let contract = record.terms.id();
        // Its own renewal, of which it has not heard yet.
        if self.book.read(|book| !book.renewals(contract).is_empty()) {
            return Ok(false);
        }
        let (tab, paid, kept) = (Some(tab), Some(paid), true);
        self.book.record(&Event::ContractOver { contract, state, tab, paid, kept })?;
        Ok(true)
    }

    /// Shows the mandate to every host, and renews in the own name what it lets be taken over, for `epochs`; all that is opened
    /// for it may cost at most `budget`.
    ///
    /// # Errors
    ///
    /// The mandate is not good for this agent, or the journal failed. A host that cannot be reached is no error of all.
    pub async fn watch(
        &self,
        wallet: &Wallet,
        entrusted: &Entrusted,
        epochs: u32,
        budget: Option<Amount>,
    ) -> Result<Vec<Watched>, AgentError> {
        self.check_mandate(entrusted.mandate.mandate)?;
        self.check_not_withdrawn(entrusted).await?;
        self.heed_budget(wallet, budget).await;
        let before = self.book.read(Book::holds_before);
        let mut watched = Vec::new();
        let is_paid = |set: &&EntrustedSet| set.currency() == Some(wallet.currency());
        for set in entrusted.sets.as_slice().iter().filter(is_paid) {
            let Some(own) = self.set_of(set) else { continue };
            for (slot, index) in set.slots.as_slice().iter().zip(0..) {
                let provider = slot.terms.prices.provider;
                let (of, at) = ((set, slot), (own, index));
                let held = self.book.read(|book| book.held_since(&before));
                let left = budget.map(|budget| budget.saturating_sub(held));
                let taken = self.watch_slot(wallet, entrusted, of, at, (epochs, left)).await;
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
        (epochs, budget): (u32, Option<Amount>),
    ) -> Result<Option<ContractId>, AgentError> {
        let Some(record) = self.slot_record(own, index) else { return Ok(None) };
        let place = Place { set: own, index, address: record.address.clone() };
        let is_kept = keeps(&record);
        if is_kept && !self.was_taken(&record).await? {
            return Ok(None);
        }
        if let Some(contract) = self.finish_taking(own, index).await? {
            self.give_slots(entrusted, slot, (own, index), contract)?;
            return Ok(Some(contract));
        }
        let mandate = &entrusted.mandate;
        let lines = match admit(&self.finder, &place.address, mandate).await {
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
            self.watch_anew(wallet, set, slot, place, (line, budget)).await?;
            return Ok(None);
        }
        let now = self.clock.now();
        let is_due = mandate.mandate.may_take(&line.terms, line.tab.epochs_paid, now);
        if !is_due || line.tab.stored == Bytes::ZERO {
            // It did not answer when this was accepted, and is back before a repair.
            let is_unsigned = !self.book.read(|book| book.was_signed(record.terms.id()));
            if is_unsigned && !self.is_filled(own, index) {
                self.watch_anew(wallet, set, slot, place, (line, budget)).await?;
            }
            return Ok(None);
        }
        let bounds = Bounds {
            prices: slot.terms.prices,
            size_max: slot.terms.size_max,
            stored_max: set.share().checked_add(UNKNOWN_BYTES_MAX).unwrap_or(Bytes::MAX),
        };
        let contract = self.take_over_from(wallet, &place, line, &bounds, (epochs, budget)).await?;
        self.give_slots(entrusted, slot, (own, index), contract)?;
        Ok(Some(contract))
    }

    /// Gives a slot to the contract that was taken over for it; and at once the slots of other sets that the owner had under the same
    /// contract, since what lies there is the delegate's now.
    fn give_slots(
        &self,
        entrusted: &Entrusted,
        slot: &EntrustedSlot,
        (set, index): (u32, u8),
        contract: ContractId,
    ) -> Result<(), AgentError> {
        let mut events = vec![Event::SlotReplaced { set, index, contract }];
        for other in entrusted.sets.as_slice() {
            let of = other.slots.as_slice().iter().zip(0_u8..);
            let at = of.filter(|(other, _)| other.terms.id() == slot.terms.id());
            let Some((at, own)) = at.map(|(_, at)| at).next().zip(self.set_of(other)) else {
                continue;
            };
            let is_watched = self.slot_record(own, at).is_some_and(|record| !keeps(&record));
            if (own, at) != (set, index) && is_watched && !self.is_filled(own, at) {
                events.push(Event::SlotTaken { set: own, index: at, contract });
            }
        }
        self.book.record_all(&events)
    }

    /// Gives a slot that its owner keeps to a contract that pays for reading.
    async fn watch_anew(
        &self,
        wallet: &Wallet,
        set: &EntrustedSet,
        slot: &EntrustedSlot,
        place: Place,
        (line, budget): (&Admitted, Option<Amount>),
    ) -> Result<(), AgentError> {
        let Place { set: own, index, address } = place;
        let list = offer_of(&self.finder, &address).await?;
        let slot = EntrustedSlot { origin: slot.origin, terms: line.terms, address };
        match self.open_watch(wallet, &slot, &list, set.share(), budget).await? {
            Ok(record) => self.replace(own, index, record.terms.id()),
            Err(why) => Err(AgentError::Placement {
                what: format!(
                    "{}… is not paid for reading: {why}",
                    line.terms.prices.provider.short()
                ),
                hint: "the next round tries again".to_owned(),
            }),
        }
    }

    /// Tells every host that has an open contract that `to` may do nothing for this agent any more. Before it waits for hosts
    /// that take no mandate yet, `waiting` is told how many they are, and for how long.
    pub async fn revoke(
        &self,
        to: EntityId,
        waiting: impl Fn(usize, std::time::Duration),
    ) -> BTreeMap<EntityId, Result<(), AgentError>> {
        let hosts: BTreeMap<EntityId, Address> = self.book.read(|book| {
            let open = book.contracts().filter(|(_, record)| record.stage == Stage::Open);
            open.map(|(_, record)| (record.address.entity(), record.address.clone())).collect()
        });
        let mut told = self.tell_over(to, &hosts).await;
        let is_busy = |answer: &Result<(), AgentError>| {
            matches!(answer, Err(AgentError::Provider { reason: Reason::Busy, .. }))
        };
        for _ in 0..BUSY_PAUSES_MAX {
            let mut busy = hosts.clone();
            busy.retain(|host, _| told.get(host).is_some_and(is_busy));
            if busy.is_empty() {
                break;
            }
            waiting(busy.len(), BUSY_PAUSE);
            tokio::time::sleep(BUSY_PAUSE).await;
            told.extend(self.tell_over(to, &busy).await);
        }
        told
    }

    /// Tells hosts so, by a mandate that is made now: what was made soon after the one that they know they never take.
    async fn tell_over(
        &self,
        to: EntityId,
        hosts: &BTreeMap<EntityId, Address>,
    ) -> BTreeMap<EntityId, Result<(), AgentError>> {
        let (from, issued) = (self.key.entity(), self.clock.now());
        let over = Mandate { from, to, takes: Takes::AtEnd, issued, until: issued };
        let over = over.sign(&self.key);
        let mut told = BTreeMap::new();
        for (provider, address) in hosts {
            told.insert(*provider, admit(&self.finder, address, &over).await.map(drop));
        }
        told
    }

    /// Renews another's contract in the own name, each step saved first.
    async fn take_over_from(
        &self,
        wallet: &Wallet,
        place: &Place,
        line: &Admitted,
        bounds: &Bounds,
        (epochs, budget): (u32, Option<Amount>),
    ) -> Result<ContractId, AgentError> {
        bounds.hold(line)?;
        let opening = self.opening(wallet);
        let (from, provider) = (line.terms.id(), line.terms.prices.provider);
        let begun =
            self.book.read(|book| book.renewals(from).first().map(|&record| record.clone()));
        let paid_until = line.terms.paid_until(line.tab.epochs_paid);
        let is_good = |record: &ContractRecord| {
            opening.now < record.terms.prices.expires && record.terms.begins == paid_until
        };
        let record = match begun.filter(is_good) {
            Some(record) => record,
            None => self.intend_to_take(&opening, &place.address, line, bounds, epochs).await?,
        };
        self.within(budget, &record)?;
        let contract = record.terms.id();
        if self.book.read(|book| book.contract(contract).is_none()) {
            self.book.record_all(&[
                record.intended(),
                Event::SlotTaking { set: place.set, index: place.index, contract },
            ])?;
        }
        // What another gave is what the host says, within the bounds; what it says later is no more.
        let stored = line.tab.stored;
        let bytes = stored.saturating_sub(self.book.read(|book| book.given(contract)));
        if bytes > Bytes::ZERO {
            self.book.record(&Event::Giving { contract, bytes })?;
        }
        match opening.secure_hold(&record).await {
            Ok(()) => {}
            Err(Blame::Host(error) | Blame::Other(error)) => return Err(error),
        }
        let signed = self.session(&record, stored).renew(stored).await;
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
        let list = offer_of(&self.finder, address).await?;
        good_now(&list, opening.now).map_err(refused)?;
        not_dearer(&list.prices, &bounds.prices)?;
        let list = opening.fits(provider, list, epochs).map_err(refused)?;
        let offer = Offer { address: self.finder.now_at(address), list, operator: None };
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
pub(crate) fn not_dearer(new: &PriceList, old: &PriceList) -> Result<(), AgentError> {
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
            hint: "let the slot be repaired elsewhere, or agree to it: `fondaco contracts renew`"
                .to_owned(),
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
