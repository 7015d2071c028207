//! Make lost shards anew on other hosts, slot by slot, before too few are left.
//!
//! A *slot* is a place in a set: shard `i` of every object of the set lies under contract `i`. It is *lost* when its
//! provider was caught, its contract is over, its host answers neither a connection nor an audit, leaves before the contract
//! ends, or proved so few of its audits over time that its standing is to be repaired or replaced. In the last two cases it may
//! still be read, and is a source of what is made anew.
//!
//! ```text
//! survey   audit all ──► which slots are lost? ──► few enough: nothing to do
//!                            └──► r or fewer live ──► repair
//! repair   open one contract (saved) ──► SlotIntended (saved) ──► for each object: is it there?
//!            └─ no: any k others ──► the shard ──► is its name in the book? ──► put ──► all there: SlotReplaced (saved)
//! ```
//!
//! A crash before `SlotIntended` leaves a contract that is in no set, which the next run takes up or ends. After it, the
//! next run asks the new host for each shard first: what it has is neither read, nor sent, nor paid for again.
//!
//! # What always holds
//!
//! - Until every object has its shard there, the slot is the old contract's, and reads and audits go by that.
//! - A shard made anew has the name that the book has for it; anything else stops the repair.
//! - The hosts of a set are different providers.
//!
//! # What is not here
//!
//! Doing this by itself, again and again: the caller decides when. Which host is to take a slot (see `choosing::slot`).

use crate::auditing::{Audited, Kind, Outcome};
use crate::book::{Book, ContractRecord, Event, For, ObjectId, ObjectRecord, Stage};
use crate::choosing::{Durability, Records, Rest, kept, probability};
use crate::objects::{Objects, is_transient, put_patiently};
use crate::opening::{OpenedSlot, SLACK, SlotWish, size_max as room};
use crate::progress::{Progress, Quiet};
use crate::session::{Put, Session};
use crate::{Agent, AgentError, Wallet, ending};
use fondaco_audit::TagKey;
use fondaco_contract::{ContractId, State};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_erasure::Code;
use fondaco_ports::Address;
use fondaco_reputation::Standing;
use fondaco_units::{Amount, Bytes};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long a host may take to end a contract whose slot another has taken.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How a slot was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its provider was caught at a lie.
    Caught,
    /// Its contract is over, or came to nothing.
    Over,
    /// Its host does not answer now.
    Silent,
    /// Its host leaves before the contract ends. What it has can be read until then.
    Leaving,
    /// Its host proved too few of its audits. What it has can still be read.
    Standing,
}

impl Cause {
    /// Returns whether what the host has can still be read. Such a slot does not come back either, so it is not waited for.
    const fn is_readable(self) -> bool {
        match self {
            Self::Leaving | Self::Standing => true,
            Self::Caught | Self::Over | Self::Silent => false,
        }
    }

    /// Returns whether the host failed its contract: one that ends it in good order did not.
    const fn is_failure(self) -> bool {
        match self {
            Self::Caught | Self::Silent | Self::Standing => true,
            Self::Over | Self::Leaving => false,
        }
    }
}

/// A slot whose shards are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which slot.
    pub index: u8,
    /// Its contract.
    pub contract: ContractId,
    /// Whose.
    pub provider: EntityId,
    /// How it was lost.
    pub cause: Cause,
    /// The same in words.
    pub why: String,
}

/// A slot that lives with a host that stands worse than good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warned {
    /// Which slot.
    pub index: u8,
    /// Whose.
    pub provider: EntityId,
    /// What is done about it, and why.
    pub why: String,
}

/// How a set with objects stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The index of the set.
    pub set: u32,
    /// Its code.
    pub code: Code,
    /// The currency that its hosts are paid in.
    pub currency: CurrencyId,
    /// How surely an object was to survive an epoch when it was formed, if that is known.
    pub promised: Option<f64>,
    /// How many objects lie in it.
    pub objects: usize,
    /// The slots that are lost.
    pub lost: Vec<Lost>,
    /// The slots that live with hosts that are warned, or not paid any more.
    pub warned: Vec<Warned>,
    /// The slots that an earlier run began to repair, each with the contract that is to take it and still can.
    pub begun: BTreeMap<u8, ContractId>,
    /// How surely a pack survives an epoch with the slots that live.
    pub durability: Durability,
    /// Providers that do not answer now, in this set or elsewhere.
    silent: BTreeSet<EntityId>,
}

impl Health {
    /// Returns how many slots live.
    pub fn live(&self) -> u8 {
        let lost = u8::try_from(self.lost.len()).unwrap_or(u8::MAX);
        self.code.n().saturating_sub(lost)
    }

    /// Returns how many slots may live at most for a repair to be due.
    pub fn threshold(&self) -> u8 {
        threshold(self.code)
    }

    /// Returns whether a repair is due: one was begun, or few enough slots live; with `now`, one lost is enough. So is one
    /// that is lost by the standing of its host, or by its leaving: that does not come back, and is not to be waited for.
    pub fn is_due(&self, now: bool) -> bool {
        let is_final = self.lost.iter().any(|lost| lost.cause.is_readable());
        let is_low = now || is_final || self.live() <= self.threshold();
        !self.is_hopeless() && (!self.begun.is_empty() || (!self.lost.is_empty() && is_low))
    }

    /// Returns whether too few slots live for anything to be rebuilt, unless hosts return.
    pub fn is_hopeless(&self) -> bool {
        let readable = self.lost.iter().filter(|lost| lost.cause.is_readable()).count();
        usize::from(self.live()) + readable < usize::from(self.code.k())
    }
}

/// Returns how many slots may live at most for a repair to be due: half-way from n to k, always below n, and above k
/// where there is room.
pub(crate) fn threshold(code: Code) -> u8 {
    let spare = code.n() - code.k();
    (code.k() + (spare / 2).max(1)).min(code.n() - 1).max(code.k())
}

/// A slot that has another contract now.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// Which slot.
    pub index: u8,
    /// Whose it was.
    pub from: EntityId,
    /// Why it is not any more.
    pub why: String,
    /// Whose it is.
    pub to: EntityId,
    /// Under which contract.
    pub contract: ContractId,
}

/// What a repair of a set came to.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// The slots that have another contract now.
    pub replaced: Vec<Replaced>,
    /// Slots for which this did not work, and why. What was sent is found again by the next repair.
    pub problems: Vec<String>,
    /// What is as well as it can be, and not as it was to be.
    pub notes: Vec<String>,
    /// How many slots live.
    pub live: u8,
    /// How surely a pack survives an epoch with them.
    pub durability: Durability,
    /// What opening contracts cost.
    pub opening: Amount,
    /// The most that the contracts opened may cost.
    pub held: Amount,
}

/// Says which slots went to hosts that are the safest and not safe enough, if an object survives with less than was promised.
fn short_of_promise<'a>(
    slots: impl Iterator<Item = &'a Replaced>,
    promised: Option<f64>,
    survive: f64,
) -> Vec<String> {
    let Some(promised) = promised.filter(|promised| survive < *promised) else {
        return Vec::new();
    };
    let of = |one: &Replaced| {
        format!(
            "slot {} went to {}…, the safest of all that were asked: an object survives an epoch with {} now, and \
             {promised} was asked for",
            one.index,
            one.to.short(),
            probability(survive)
        )
    };
    slots.map(of).collect()
}

/// A slot that is being repaired.
struct Slot {
    index: u8,
    contract: ContractId,
    session: Arc<Session>,
    /// Whether an earlier run may have put something there.
    is_resumed: bool,
    failed: Option<AgentError>,
}

impl Slot {
    /// A slot that may have a part of what it should.
    fn resumed(index: u8, contract: ContractId, objects: &Objects) -> Option<Self> {
        let session = objects.sessions().get(&contract).cloned()?;
        Some(Self { index, contract, session, is_resumed: true, failed: None })
    }
}

/// Returns how every set with objects stands, when these contracts are gone.
fn health(
    book: &Book,
    gone: &BTreeMap<ContractId, (Cause, String)>,
) -> Result<Vec<Health>, AgentError> {
    let records = Records::of(book);
    let provider =
        |contract: ContractId| book.contract(contract).map(|record| record.terms.prices.provider);
    let why = |contract: ContractId| {
        let over = |what: &str| Some((Cause::Over, what.to_owned()));
        let Some(record) = book.contract(contract) else { return over("it is unknown") };
        let provider = record.terms.prices.provider;
        if let Some(why) = book.distrusted(provider) {
            return Some((Cause::Caught, format!("it was caught: {why}")));
        }
        match record.stage {
            Stage::Open => gone.get(&contract).cloned().or_else(|| {
                let is_lost = book.standing(provider) >= Standing::Repair;
                let why = book.standing_in_words(provider).filter(|_| is_lost)?;
                Some((Cause::Standing, why))
            }),
            Stage::Intended => over("its contract was never signed"),
            Stage::Ended { .. } if !book.was_signed(contract) => {
                over("no contract with it came about")
            }
            Stage::Ended { .. } => over("its contract has ended"),
        }
    };
    let is_there = |cause: Cause| cause == Cause::Leaving;
    let silent = gone.iter().filter(|(_, (cause, _))| !is_there(*cause));
    let silent: BTreeSet<EntityId> = silent.filter_map(|(&gone, _)| provider(gone)).collect();
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for (_, object) in book.objects() {
        *counts.entry(object.set).or_default() += 1;
    }
    let of_set = |(index, objects): (u32, usize)| {
        let set = book.set(index)?;
        let first = book.contract(*set.contracts.first()?)?;
        let lost = (0..).zip(&set.contracts).filter_map(|(index, &contract)| {
            let (provider, (cause, why)) = (provider(contract)?, why(contract)?);
            Some(Lost { index, contract, provider, cause, why })
        });
        let lost: Vec<Lost> = lost.collect();
        let warned = (0..).zip(&set.contracts).filter_map(|(index, &contract)| {
            let provider = provider(contract).filter(|_| why(contract).is_none())?;
            Some(Warned { index, provider, why: book.standing_in_words(provider)? })
        });
        let begun =
            book.repairs().filter(|&(set, _, contract)| set == index && why(contract).is_none());
        let indices = lost.iter().map(|lost| lost.index).collect();
        let durability = Durability::of_set(book, &records, (index, set.code), &indices);
        Some(durability.map(|durability| Health {
            set: index,
            code: set.code,
            currency: first.terms.prices.currency,
            promised: book.promised(index),
            objects,
            lost,
            warned: warned.collect(),
            begun: begun.map(|(_, index, contract)| (index, contract)).collect(),
            durability,
            silent: silent.clone(),
        }))
    };
    counts.into_iter().filter_map(of_set).collect()
}

impl Agent {
    /// Audits every open contract at `samples` places, and says how every set with objects stands.
    ///
    /// # Errors
    ///
    /// A host still serves a contract that is over by this machine's clock; or the journal failed.
    pub async fn survey(&self, objects: &Objects, samples: u32) -> Result<Vec<Health>, AgentError> {
        let audited = self.audit(objects, Kind::Sampled, samples, |_| ()).await?;
        self.survey_after(objects, audited).await
    }

    /// Says how every set with objects stands, by an audit that was made just now.
    ///
    /// # Errors
    ///
    /// As [`Agent::survey`].
    pub async fn survey_after(
        &self,
        objects: &Objects,
        audits: Vec<Audited>,
    ) -> Result<Vec<Health>, AgentError> {
        let mut gone = BTreeMap::new();
        // Each host said so when it was asked for its account.
        for (&contract, session) in objects.sessions() {
            if let Some(State::Ending { at }) = session.stands().await {
                gone.insert(contract, (Cause::Leaving, format!("its host leaves {at}")));
            }
        }
        for contract in self.over().await? {
            gone.insert(contract, (Cause::Over, "its contract is over".to_owned()));
        }
        // A delegate is told by its owner's file.
        if self.audit_key.is_none() {
            let now = self.clock.now();
            for contract in self.book.read(|book| book.passed_on_for_long(now)) {
                let why = "its host says that another has renewed it, who has not handed it back";
                gone.insert(contract, (Cause::Over, why.to_owned()));
            }
        }
        for audited in audits {
            if let Outcome::Silent { what } = audited.outcome {
                let why = format!("it does not answer: {what}");
                gone.insert(audited.contract, (Cause::Silent, why));
            }
        }
        self.book.read(|book| health(book, &gone))
    }

    /// Repairs the lost slots of a set, and those that an earlier run began with. `budget` is the most that all
    /// contracts opened for this may cost.
    ///
    /// # Errors
    ///
    /// No slot could be given to another host; too few shards of an object can be read; what was made is not what the
    /// book has; or the journal failed. Whatever comes, the same again goes on from there.
    pub async fn repair(
        &self,
        objects: &mut Objects,
        wallet: &Wallet,
        hosts: &[Address],
        health: &Health,
        budget: Option<Amount>,
        progress: &dyn Progress,
    ) -> Result<Repaired, AgentError> {
        let mut repaired = Repaired {
            replaced: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            live: health.live(),
            durability: health.durability,
            opening: Amount::ZERO,
            held: Amount::ZERO,
        };
        self.heed_budget(wallet, budget).await;
        let before = self.book.read(Book::holds_before);
        let (mut slots, mut short) = (Vec::new(), Vec::new());
        for (&index, &contract) in &health.begun {
            slots.extend(Slot::resumed(index, contract, objects));
        }
        for lost in health.lost.iter().filter(|lost| !health.begun.contains_key(&lost.index)) {
            let held = self.book.read(|book| book.held_since(&before));
            let left = budget.map(|budget| budget.saturating_sub(held));
            let taken = slots.iter().map(|slot| (slot.index, slot.contract)).collect();
            let opened = self.open_for(objects, wallet, hosts, (health, &taken), lost, left).await;
            let OpenedSlot { record, is_short_of_promise } = match opened {
                Ok(opened) => opened,
                // Those that there are hosts for are better than none.
                Err(error @ AgentError::Placement { .. }) if !slots.is_empty() => {
                    repaired.problems.push(format!("slot {}: {error}", lost.index));
                    break;
                }
                Err(error) => return Err(error),
            };
            let add = |sum: Amount, more| sum.checked_add(more).unwrap_or(Amount::MAX);
            repaired.opening = add(repaired.opening, record.terms.prices.open);
            repaired.held = add(repaired.held, record.hold_max);
            let (set, index, contract) = (health.set, lost.index, record.terms.id());
            if is_short_of_promise {
                short.push(index);
            }
            self.book.record(&Event::SlotIntended { set, index, contract })?;
            let session = self.book.read(|book| self.session_in(book, contract, &record));
            objects.admit(contract, Arc::clone(&session));
            slots.push(Slot { index, contract, session, is_resumed: false, failed: None });
        }
        if repaired.held > Amount::ZERO {
            // What is wanted is in the book by now; what an earlier run opened and did not come to use is not.
            let away: Vec<ContractRecord> = self.book.read(|book| {
                let records = book.contracts().map(|(_, record)| record);
                let of = |record: &&ContractRecord| {
                    health.silent.contains(&record.terms.prices.provider)
                };
                records.filter(of).cloned().collect()
            });
            self.opening(wallet).close_strays(&away).await?;
        }
        self.fill(objects, health.set, &mut slots, progress).await?;
        for slot in slots {
            self.take_over(objects, health, slot, &mut repaired).await?;
        }
        let is_replaced = |index: u8| repaired.replaced.iter().any(|one| one.index == index);
        let lost = health.lost.iter().map(|lost| lost.index).filter(|&index| !is_replaced(index));
        let (lost, set) = (lost.collect(), (health.set, health.code));
        repaired.durability =
            self.book.read(|book| Durability::of_set(book, &Records::of(book), set, &lost))?;
        // Not before: what was feared of a slot while others were empty is not what is true of the set now.
        let short = repaired.replaced.iter().filter(|one| short.contains(&one.index));
        repaired.notes = short_of_promise(short, health.promised, repaired.durability.survive);
        Ok(repaired)
    }

    /// Opens a contract like the lost one, with a provider that has nothing of this set.
    async fn open_for(
        &self,
        objects: &Objects,
        wallet: &Wallet,
        hosts: &[Address],
        (health, taken): (&Health, &BTreeMap<u8, ContractId>),
        lost: &Lost,
        budget: Option<Amount>,
    ) -> Result<OpenedSlot, AgentError> {
        let mut not = objects.to_be_replaced();
        not.extend(&health.silent);
        let (size_max, until) = self.book.read(|book| {
            let intended = book.repairs().filter(|(set, ..)| *set == health.set);
            let intended = intended.map(|(.., contract)| contract);
            let slots = book.set(health.set).map(|set| set.contracts.clone()).unwrap_or_default();
            let records = slots
                .iter()
                .copied()
                .chain(intended)
                .filter_map(|contract| Some((contract, book.contract(contract)?.terms)));
            let (mut size_max, mut until) = (None, None);
            for (contract, terms) in records {
                not.insert(terms.prices.provider);
                if contract == lost.contract {
                    // A delegate's is too small for what another keeps there.
                    let (had, given) = (terms.size_max, book.given(contract));
                    size_max = Some(if had < given.max(SLACK) { room(given) } else { had });
                }
                if !health.lost.iter().any(|lost| lost.contract == contract) {
                    until = until.max(Some(terms.ends));
                }
            }
            (size_max, until)
        });
        let (Some(size_max), Some(until)) = (size_max, until) else {
            let what = format!("set {} has no contract {}", health.set, lost.contract);
            return Err(AgentError::Store(what));
        };
        let rest = self.rest(health, taken, lost)?;
        let reads = Bytes::ZERO;
        let of = For::Slot;
        let wish = SlotWish { size_max, until, not: &not, budget, reads, rest, of };
        self.opening(wallet).open_slot(hosts, &wish).await
    }

    /// Returns what of a set stays as it is while a slot of it is filled: the slots that live, and those that were filled
    /// since.
    fn rest(
        &self,
        health: &Health,
        taken: &BTreeMap<u8, ContractId>,
        lost: &Lost,
    ) -> Result<Rest, AgentError> {
        let is_lost = |index: u8| health.lost.iter().any(|lost| lost.index == index);
        self.book.read(|book| {
            let records = Records::of(book);
            let slots = book.set(health.set).map(|set| set.contracts.as_slice());
            let (mut members, mut missing) = (Vec::new(), 0);
            for (index, &contract) in (0..).zip(slots.unwrap_or_default()) {
                let of = match taken.get(&index) {
                    Some(&taken) => taken,
                    None if index == lost.index => continue,
                    None if is_lost(index) => {
                        missing += 1;
                        continue;
                    }
                    None => contract,
                };
                let Some(record) = book.contract(of) else { continue };
                let operator = book.operator(record.terms.prices.provider);
                members.push(kept(&record.address, operator, &records)?);
            }
            let (code, promised) = (health.code, health.promised);
            Ok(Rest { code, kept: members, missing, promised })
        })
    }

    /// Brings the shards of every object of a set to the slots that have not got them.
    async fn fill(
        &self,
        objects: &Objects,
        set: u32,
        slots: &mut [Slot],
        progress: &dyn Progress,
    ) -> Result<(), AgentError> {
        // The configuration and keys come first: without them all else is worth nothing.
        let all: Vec<(ObjectId, ObjectRecord)> = self.book.read(|book| {
            let of_set = book.objects().filter(|(_, record)| record.set == set);
            of_set.map(|(object, record)| (object, record.clone())).collect()
        });
        let stage = progress.begin("repairing");
        stage.set_length(all.iter().map(|(_, record)| record.share().get()).sum());
        for (object, record) in &all {
            let mut missing = Vec::new();
            for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.failed.is_none()) {
                let name = record.shards[usize::from(slot.index)];
                // A host that cannot say is offered the shard, and tried for longer.
                let is_there = slot.is_resumed
                    && matches!(slot.session.has(name, record.share()).await, Ok(true));
                if !is_there {
                    missing.push(at);
                }
            }
            if !missing.is_empty() {
                objects.heed_given();
                let lost: Vec<(u8, &TagKey)> = missing
                    .iter()
                    .map(|&at| (slots[at].index, slots[at].session.tag_key()))
                    .collect();
                let shards = match objects.remake(*object, record, &lost).await {
                    // Its owner has removed it since.
                    Err(AgentError::Unreadable { .. })
                        if self.audit_key.is_some() && objects.is_removed(record) =>
                    {
                        self.book.record(&Event::ObjectRemoved { object: *object })?;
                        continue;
                    }
                    shards => shards?,
                };
                let mut puts: FuturesUnordered<_> = missing
                    .into_iter()
                    .zip(&shards)
                    .map(|(at, shard)| {
                        let slot = &slots[at];
                        let name = record.shards[usize::from(slot.index)];
                        let session = Arc::clone(&slot.session);
                        async move { (at, shard, put_patiently(&session, name, shard).await) }
                    })
                    .collect();
                while let Some((at, shard, put)) = puts.next().await {
                    match put {
                        Ok(Put::Stored) => {
                            let sent = shard.len() as u64;
                            objects.traffic().sent.fetch_add(sent, Ordering::Relaxed);
                        }
                        Ok(Put::Had) => {}
                        Err(error) => {
                            let slot = &mut slots[at];
                            objects.note_failure(slot.contract, &slot.session, &error).await?;
                            slot.failed = Some(error);
                        }
                    }
                }
            }
            if slots.iter().all(|slot| slot.failed.is_some()) {
                break;
            }
            stage.spent(spent(objects, slots));
            stage.advance(record.share().get());
        }
        stage.finish();
        Ok(())
    }

    /// Brings what is missing of a set to contracts that have a part of it; the first failure of any.
    pub(crate) async fn complete(
        &self,
        set: u32,
        contracts: &[(u8, ContractId)],
    ) -> Result<(), AgentError> {
        let failed = self.complete_each(set, contracts).await?;
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// The same; returns the slots for which it failed.
    pub(crate) async fn complete_each(
        &self,
        set: u32,
        contracts: &[(u8, ContractId)],
    ) -> Result<Vec<(u8, AgentError)>, AgentError> {
        let objects = self.objects();
        let slots = contracts.iter().map(|&(index, at)| Slot::resumed(index, at, &objects));
        let mut slots: Vec<Slot> = slots.flatten().collect();
        self.fill(&objects, set, &mut slots, &Quiet).await?;
        Ok(slots.into_iter().filter_map(|slot| Some((slot.index, slot.failed?))).collect())
    }

    /// Gives a slot to its new contract, and ends the old one if its host still answers.
    async fn take_over(
        &self,
        objects: &Objects,
        health: &Health,
        slot: Slot,
        repaired: &mut Repaired,
    ) -> Result<(), AgentError> {
        let Slot { index, contract, session, failed, .. } = slot;
        let to = session.provider();
        if let Some(error) = failed {
            repaired
                .problems
                .push(format!("slot {index}, which {} was to take: {error}", to.short()));
            // A host that is away may return. One that can take no more never fills the slot, so another is to.
            if !is_transient(&error) {
                self.end(contract, &session).await?;
            }
            return Ok(());
        }
        let old = self.book.read(|book| {
            let set = book.set(health.set)?;
            let old = *set.contracts.get(usize::from(index))?;
            Some((old, book.contract(old)?.clone()))
        });
        let Some((old, record)) = old else {
            return Err(AgentError::Store(format!("set {} has no slot {index}", health.set)));
        };
        let lost = health.lost.iter().find(|lost| lost.index == index);
        let mut events = vec![Event::SlotReplaced { set: health.set, index, contract }];
        let is_its_fault = lost.is_some_and(|lost| lost.cause.is_failure());
        if is_its_fault && !self.book.read(|book| book.is_lost(old)) {
            // So that the next choice counts with it.
            events.push(Event::ContractLost { contract: old });
        }
        self.book.record_all(&events)?;
        if lost.is_some() {
            repaired.live = repaired.live.saturating_add(1);
        }
        let why = lost.map_or_else(
            || "it was away when its replacement began".to_owned(),
            |lost| lost.why.clone(),
        );
        let from = record.terms.prices.provider;
        repaired.replaced.push(Replaced { index, from, why, to, contract });
        // Another set may have it yet.
        if !health.silent.contains(&from)
            && !self.book.read(|book| book.is_in_a_set(old))
            && let Some(session) = objects.sessions().get(&old)
        {
            self.end(old, session).await?;
        }
        Ok(())
    }

    /// Ends a contract, so that the rest of its hold returns; a host that does not answer keeps it until it expires.
    pub(crate) async fn end(
        &self,
        contract: ContractId,
        session: &Session,
    ) -> Result<(), AgentError> {
        let is_open =
            |book: &Book| book.contract(contract).is_some_and(|record| record.stage == Stage::Open);
        if !self.book.read(is_open) {
            return Ok(()); // Its host said so before.
        }
        match timeout(CLOSE_PATIENCE, session.close()).await {
            Ok(Ok(closed)) => ending::note_closed(&self.book, session, closed),
            Ok(Err(error)) => match ending::over(&error) {
                Some(why) => ending::note_over(&self.book, session, why).await,
                None => {
                    tracing::info!(%error, "a contract that holds nothing could not be ended");
                    Ok(())
                }
            },
            Err(_) => Ok(()),
        }
    }
}

/// What was signed for to those who have shards and to those who get them.
fn spent(objects: &Objects, slots: &[Slot]) -> Amount {
    let is_new = |slot: &&Slot| !objects.sessions().contains_key(&slot.contract);
    let new = slots.iter().filter(is_new).map(|slot| slot.session.spent());
    new.fold(objects.spent(), |sum, one| sum.checked_add(one).unwrap_or(Amount::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::ObjectKind;
    use crate::book::tests::{intended, intended_by, opened, opened_by, set, terms, terms_by};
    use fondaco_audit::ShardId;
    use fondaco_codec::List;
    use fondaco_contract::Tab;
    use fondaco_crypto::Digest;

    #[test]
    fn a_threshold_is_between_k_and_n() {
        // k, n, and the most that may live for a repair to be due.
        let table =
            [(1, 1, 1), (1, 2, 1), (2, 3, 2), (2, 4, 3), (2, 5, 3), (10, 30, 20), (40, 80, 60)];
        for (k, n, expected) in table {
            assert_eq!(threshold(Code::new(k, n).unwrap()), expected, "{k} of {n}");
        }
    }

    /// One line for each: what was promised, what it came to; what is said, with the figure that the report shows.
    #[test]
    fn a_note_has_the_durability_of_the_set_as_it_is() {
        let provider = EntityId::from_bytes([1; 32]);
        let slot = Replaced {
            index: 2,
            from: provider,
            why: "it was lost".to_owned(),
            to: provider,
            contract: terms(1).id(),
        };
        for (promised, survive, expected) in [
            (None, 0.5, None),
            (Some(0.999), 0.9995, None),
            (Some(0.999), 0.999, None),
            (Some(0.9999), 0.998_412, Some("an epoch with 0.9984 now, and 0.9999 was asked for")),
        ] {
            let said = short_of_promise([&slot].into_iter(), promised, survive);
            assert_eq!(said.len(), usize::from(expected.is_some()), "{said:?}");
            assert!(said.iter().all(|one| one.starts_with("slot 2 went to ")), "{said:?}");
            assert!(said.iter().all(|one| one.contains(expected.unwrap())), "{said:?}");
        }
    }

    /// Three hosts of four answer no audit any more: what that comes to, step by step.
    #[test]
    fn who_proves_too_little_loses_its_slot_and_is_read_from() {
        let mut book = Book::default();
        let contracts = (1..=4).flat_map(|nonce| [intended_by(nonce), opened_by(nonce)]);
        let formed = Event::SetFormed {
            coding: crate::book::Coding::Cauchy8,
            k: 2,
            contracts: List::new((1..=4).map(|nonce| terms_by(nonce).id()).collect()).unwrap(),
        };
        let shards = List::new(vec![ShardId::of(&[1]); 4]).unwrap();
        let object = ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([1; 32]) };
        let stored = Event::ObjectStored { object, length: Bytes::new(10), set: 0, shards };
        contracts.chain([formed, stored]).for_each(|event| book.apply(&event).unwrap());
        let audited = |nonce| Event::Audited {
            contract: terms_by(nonce).id(),
            at: fondaco_units::Timestamp::EPOCH,
            verdict: crate::book::Verdict::Failed,
        };
        // After so many audits without an answer: slots lost, slots warned, whether a repair is due, whether it is hopeless.
        let table: [(u32, usize, usize, bool, bool); 5] = [
            (25, 0, 0, false, false),
            (8, 0, 3, false, false), // warned, then unpaid
            (3, 0, 3, false, false),
            (1, 3, 0, true, false), // they can still be read
            (9, 3, 0, true, false),
        ];
        for (audits, lost, warned, is_due, is_hopeless) in table {
            for nonce in (1..=3).flat_map(|nonce| vec![nonce; audits as usize]) {
                book.apply(&audited(nonce)).unwrap();
            }
            let found = &health(&book, &BTreeMap::new()).unwrap()[0];
            assert_eq!((found.lost.len(), found.warned.len()), (lost, warned), "{found:?}");
            assert_eq!((found.is_due(false), found.is_hopeless()), (is_due, is_hopeless));
            assert!(found.lost.iter().all(|lost| lost.cause == Cause::Standing), "{found:?}");
        }
        // Gone besides, they are as lost as others.
        let away = |nonce| (terms_by(nonce).id(), (Cause::Silent, "it is away".to_owned()));
        assert!(health(&book, &[away(1), away(2), away(3)].into()).unwrap()[0].is_hopeless());
    }

    #[test]
    fn what_is_lost_and_when_it_is_due() {
        let object = ObjectId { kind: ObjectKind::Pack, name: Digest::from_bytes([1; 32]) };
        let shards = List::new(vec![ShardId::of(&[1]); 4]).unwrap();
        let stored = Event::ObjectStored { object, length: Bytes::new(10), set: 0, shards };
        let mut before = Book::default();
        let contracts = (1..=6).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        let more = [set(2, &[1, 2, 3, 4]), set(1, &[6]), stored];
        contracts.chain(more).for_each(|event| before.apply(&event).unwrap());
        let id = |nonce| terms(nonce).id();
        let ended = |nonce| {
            let (tab, paid) = (Tab::default(), Amount::ZERO);
            Event::ContractEnded { contract: id(nonce), tab, paid }
        };
        let begun = || Event::SlotIntended { set: 0, index: 1, contract: id(5) };
        // What happened, and who does not answer; the slots lost, those begun, whether a repair is due, whether with `now`.
        type Line<'a> = (&'a [Event], &'a [u128], &'a [u8], &'a [u8], bool, bool);
        let table: &[Line<'_>] = &[
            (&[], &[], &[], &[], false, false),
            (&[], &[6], &[], &[], false, false), // a set without objects
            (&[], &[2], &[1], &[], true, true),
            (&[ended(1)], &[2], &[0, 1], &[], true, true),
            (&[ended(1)], &[2, 3], &[0, 1, 2], &[], false, false), // too few are left
            (&[begun()], &[2], &[1], &[1], true, true),
            (&[begun()], &[], &[], &[1], true, true), // it returned
            (&[begun()], &[2, 5], &[1], &[], true, true), // the new one is gone, too
            (&[begun(), ended(5)], &[], &[], &[], false, false),
        ];
        for (events, silent, lost, open, due, due_now) in table {
            let mut book = before.clone();
            events.iter().for_each(|event| book.apply(event).unwrap());
            let away = || (Cause::Silent, "it is away".to_owned());
            let gone = silent.iter().map(|&nonce| (id(nonce), away())).collect();
            let found = health(&book, &gone).unwrap();
            assert_eq!(found.len(), 1, "only sets with objects count");
            let indices: Vec<u8> = found[0].lost.iter().map(|lost| lost.index).collect();
            let begun: Vec<u8> = found[0].begun.keys().copied().collect();
            assert_eq!((&indices[..], &begun[..]), (*lost, *open), "{events:?} {silent:?}");
            assert_eq!(
                (found[0].is_due(false), found[0].is_due(true)),
                (*due, *due_now),
                "{events:?} {silent:?}"
            );
        }
        // Who leaves is replaced at once, is read from for as long as too few others live, and does not count as away.
        let leaves = |nonce| (id(nonce), (Cause::Leaving, "its host leaves".to_owned()));
        for leaving in [vec![2], vec![2, 3], vec![1, 2, 3, 4]] {
            let gone = leaving.iter().map(|&nonce| leaves(nonce)).collect();
            let found = &health(&before, &gone).unwrap()[0];
            assert_eq!(found.lost.len(), leaving.len());
            assert!(found.is_due(false) && !found.is_hopeless(), "{found:?}");
            assert!(found.silent.is_empty(), "{found:?}");
        }
        // All contracts of this test are of one provider.
        let provider = terms(1).prices.provider;
        let why = fondaco_codec::Text::cut("it lied");
        before.apply(&Event::ProviderDistrusted { provider, why }).unwrap();
        assert_eq!(health(&before, &BTreeMap::new()).unwrap()[0].lost.len(), 4);
        assert!(health(&before, &BTreeMap::new()).unwrap()[0].is_hopeless());
    }
}
