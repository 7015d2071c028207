//! What a buyer must not forget: its contracts, which shards lie where, and what is half done.
//!
//! ```text
//! contract   ContractIntended ──► ContractOpened ──► ContractOver ──► HoldClosed: what it paid, as the issuer says
//!                    └──────────────────────────────────► ContractOver (never opened)
//!            PassedOnSince: its provider has renewed it with a delegate, whose file tells how
//! object     ObjectStored, ObjectCoded ──► ObjectRemoved
//! renewal    ContractIntended (it names the old one) ──► ContractRenewed: the old one is over, the new one open in its place
//! shard      ShardDeleted: the provider's receipt, kept for good
//! backup     BackupStarted ──► BackupFinished
//! state      StateNumbered: the book itself is about to be kept by the hosts
//! slot       SlotTagged; SlotIntended ──► SlotReplaced
//!                 └─────────► SlotIntended anew, or ContractOver of the contract it was meant for
//! provider   Audited, ContractLost, ProviderDistrusted ──► its record (`fondaco_reputation`); OperatorSaid; HostMoved
//! bytes      Giving, GivingAll ──► all that may lie under a contract; less by ShardDeleted and StateMarked
//! set        SetFormed ──► SetPromised: what a repair is to keep to
//! audit      AuditsLogged: how far the audit log has come
//! read       ReadUnanswered ──► Audited, proven: it was asked again, and answered
//! delegate   HandedBack, Reclaimed: the numbers of the files by which slots are given back
//! account    AccountSeen ──► AccountSeen anew, or the end of the contract, if its last account is known then
//! ```
//!
//! Every event is in the journal before what it speaks of is relied upon. A crash after
//! `ContractIntended` finds the request ids and terms again, so that the hold and the contract are
//! asked for once more, and given once. A crash between two objects loses none that was recorded; a
//! crash after `BackupStarted` tells the next run to look for packs that no index names.
//!
//! # What always holds
//!
//! - Replaying the events gives the same book; an event that does not fit is refused and changes nothing.
//! - An object names its [`Set`], which keeps its code; its shard `i` lies under contract `i` of it, slot `i`. Sets may share
//!   contracts, each tagged under the same origin in all of them. A slot changes
//!   its contract by renewal, which moves all shards at once, or by repair: in one event, after every object of the set has
//!   its shard under the new one.

mod accounts;
mod event;
mod giving;
mod holds;
mod keeping;
mod records;
mod sharing;
mod unanswered;

pub use event::{Coding, Event, ObjectId, ObjectKind, SHARDS_MAX, Verdict};
pub use holds::{For, HoldsBefore};
pub use records::{ContractRecord, End, ObjectRecord, Set, Stage};
mod standing;

use crate::audit_log::LogHead;
use crate::losses::{AskedPut, BegunPut, Loss};
use fondaco_audit::ShardId;
use fondaco_contract::{ContractId, Ending, Label, State, Tab};
use fondaco_crypto::{Digest, EntityId, Signature};
use fondaco_erasure::Code;
use fondaco_reputation::{Exposure, Policy, Record, Verdict as Judged};
use fondaco_units::{Amount, Bytes, Timestamp};
use giving::Given;
use std::collections::{BTreeMap, BTreeSet};
pub use unanswered::Unanswered;

/// By which numbers providers are judged.
const POLICY: Policy = Policy::DEFAULT;

/// Why an event does not fit a book. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The event speaks of a contract that the book does not have, or has already.
    #[error("{contract} is not where the event says")]
    Contract {
        /// Which contract.
        contract: ContractId,
    },
    /// The event speaks of a set that the book does not have, or of one that is no set.
    #[error("set {set} is not as the event says")]
    Set {
        /// Which set.
        set: u32,
    },
    /// The event speaks of a slot that the set does not have, or of a contract that is not the one to take it.
    #[error("slot {index} of set {set} is not as the event says")]
    Slot {
        /// Which set.
        set: u32,
        /// Which slot.
        index: u8,
    },
}

impl BookError {
    /// Returns whether the same event can fit later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Contract { .. } | Self::Set { .. } | Self::Slot { .. } => false,
        }
    }
}

/// What a buyer knows. See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    contracts: BTreeMap<ContractId, ContractRecord>,
    sets: Vec<Set>,
    objects: BTreeMap<ObjectId, ObjectRecord>,
    /// What may lie under each contract.
    given: BTreeMap<ContractId, Given>,
    distrusted: BTreeMap<EntityId, String>,
    /// What providers signed, so that it can be told again.
    signatures: BTreeMap<ContractId, Signature>,
    /// The number under which the book was given to the hosts last.
    sequence: u64,
    records: BTreeMap<EntityId, Record>,
    /// Until when each contract was proven to be kept.
    proven: BTreeMap<ContractId, Timestamp>,
    lost: BTreeSet<ContractId>,
    exposures: BTreeMap<EntityId, Exposure>,
    unfinished: bool,
    /// The contracts that are to take slots, by set and index.
    repairs: BTreeMap<(u32, u8), ContractId>,
    /// The contracts that renew another's for slots, and may not be signed yet.
    takings: BTreeMap<(u32, u8), ContractId>,
    /// The contracts that were, or are, to take lost slots.
    for_slots: BTreeSet<ContractId>,
    /// How many receipts for deletions there are of each contract, and how many bytes they freed. The receipts lie in the journal.
    deletions: BTreeMap<ContractId, (u64, Bytes)>,
    /// What was paid for nothing under each contract.
    losses: BTreeMap<ContractId, Loss>,
    cuts: BTreeMap<ContractId, BegunPut>,
    audits: LogHead,
    /// A read that was not answered under each contract, since it was proven last.
    unanswered: BTreeMap<ContractId, Unanswered>,
    /// The account of each contract that its provider showed last.
    seen: BTreeMap<ContractId, Tab>,
    /// How many epochs each provider has acknowledged, after the first.
    epochs_paid: BTreeMap<ContractId, u64>,
    /// The contracts that providers have renewed with others, by their word, and when they first said so.
    passed_on: BTreeMap<ContractId, Timestamp>,
    /// Until when a mandate was given, to each.
    entrusted: BTreeMap<EntityId, Timestamp>,
    /// How surely objects of each set were to survive, as the bits of a double.
    promises: BTreeMap<u32, u64>,
    operators: BTreeMap<EntityId, Label>,
    /// The number under which something was handed back to its owner last.
    handed: u64,
    /// By which number of each delegate something was taken back last.
    reclaimed: BTreeMap<EntityId, u64>,
}

impl Book {
    /// Writes an event into the book; a refusal changes nothing.
    pub fn apply(&mut self, event: &Event) -> Result<(), BookError> {
        match event {
            Event::ContractIntended { terms, address, hold_request, hold_max, hold_expires } => {
                let contract = terms.id();
                if self.contracts.contains_key(&contract) {
                    return Err(BookError::Contract { contract });
                }
                let record = ContractRecord {
                    terms: *terms,
                    address: address.clone(),
                    hold_request: *hold_request,
                    hold_max: *hold_max,
                    hold_expires: *hold_expires,
                    stage: Stage::Intended,
                };
                self.contracts.insert(contract, record);
            }
            Event::ContractOpened { contract, provider_signature } => {
                self.step(*contract, |stage| (stage == Stage::Intended).then_some(Stage::Open))?;
                self.signatures.insert(*contract, *provider_signature);
            }
            Event::ContractEnded { contract, tab, paid } => {
                let ContractRecord { terms, stage, .. } = self.known(*contract)?;
                let end = End::of_old(*stage, terms, *tab, *paid);
                self.end(*contract, end, true)?;
            }
            Event::ContractOver { contract, state, tab, paid, kept } => {
                let contract = *contract;
                if !state.has_ended() {
                    return Err(BookError::Contract { contract });
                }
                let (state, tab, paid, settled) = (Some(*state), *tab, *paid, false);
                self.end(contract, End { state, tab, paid, settled }, *kept)?;
            }
            Event::HoldClosed { contract, paid } => self.step(*contract, |stage| match stage {
                Stage::Ended(end) => {
                    Some(Stage::Ended(End { paid: Some(*paid), settled: true, ..end }))
                }
                Stage::Intended | Stage::Open => None,
            })?,
            Event::SetFormed { coding: Coding::Cauchy8, k, contracts } => {
                let contracts = contracts.as_slice();
                let refused = BookError::Set { set: self.set_count() };
                let n = u8::try_from(contracts.len()).map_err(|_| refused)?;
                let code = Code::new(*k, n).map_err(|_| refused)?;
                for &contract in contracts {
                    let is_promised = self.repairs.values().any(|intended| *intended == contract);
                    if is_promised || !self.contracts.contains_key(&contract) {
                        return Err(BookError::Contract { contract });
                    }
                }
                let contracts = contracts.to_vec();
                self.sets.push(Set { code, origins: contracts.clone(), contracts });
            }
            Event::ObjectStored { object, length, set, shards } => {
                let k = self.set(*set).map_or(0, |set| set.code.k());
                self.store(*object, *length, *set, k, shards.as_slice(), None)?;
            }
            Event::TaggedObjectStored { object, length, set, k, shards, tagged } => {
                self.store(*object, *length, *set, *k, shards.as_slice(), Some(*tagged))?;
            }
            Event::ObjectCoded { object, length, set, k, shards } => {
                self.store(*object, *length, *set, *k, shards.as_slice(), None)?;
            }
            Event::SlotIntended { set, index, contract } => {
                self.intend_slot(*set, *index, *contract)?;
            }
            Event::SlotReplaced { set, index, contract } => {
                let refused = BookError::Slot { set: *set, index: *index };
                if self.repairs.get(&(*set, *index)) != Some(contract) {
                    return Err(refused);
                }
                let slots = self.sets.get_mut(*set as usize).map(|set| &mut set.contracts);
                let slot = slots.and_then(|slots| slots.get_mut(usize::from(*index)));
                *slot.ok_or(refused)? = *contract;
                self.repairs.remove(&(*set, *index));
            }
            Event::StateNumbered { sequence } => self.sequence = self.sequence.max(*sequence),
            Event::ObjectRemoved { object } => {
                self.objects.remove(object);
            }
            Event::BackupStarted => self.unfinished = true,
            Event::BackupFinished => self.unfinished = false,
            Event::ProviderDistrusted { provider, why } => {
                if !self.distrusted.contains_key(provider) {
                    self.distrusted.insert(*provider, why.as_str().to_owned());
                    self.record_mut(*provider).audited(&POLICY, Judged::Caught);
                    self.exposures.entry(*provider).or_default().bad();
                }
                let open = self.contracts.iter().filter(|(_, record)| {
                    record.terms.prices.provider == *provider && record.stage == Stage::Open
                });
                let open: Vec<ContractId> = open.map(|(contract, _)| *contract).collect();
                open.into_iter().for_each(|contract| self.lose(*provider, contract));
            }
            Event::Audited { contract, at, verdict } => {
                self.audited(*contract, *at, *verdict, 1)?;
            }
            Event::AuditedAmong { contract, at, verdict, of } => {
                self.audited(*contract, *at, *verdict, *of)?;
            }
            Event::ReadUnanswered { contract, shard, offset, length } => {
                self.known(*contract)?;
                let read = Unanswered { shard: *shard, offset: *offset, length: *length };
                self.unanswered.insert(*contract, read);
            }
            Event::ContractPassedOn { contract } => {
                self.known(*contract)?;
                self.passed_on.entry(*contract).or_insert(Timestamp::EPOCH);
            }
            Event::PassedOnSince { contract, at } => {
                self.known(*contract)?;
                self.passed_on.entry(*contract).or_insert(*at);
            }
            Event::Entrusted { to, until } => {
                let last = self.entrusted.entry(*to).or_insert(*until);
                *last = (*last).max(*until);
            }
            Event::AccountSeen { contract, tab } => {
                self.known(*contract)?;
                self.seen.insert(*contract, *tab);
            }
            Event::EpochsPaid { contract, epochs } => {
                self.known(*contract)?;
                let known = self.epochs_paid.entry(*contract).or_default();
                *known = (*known).max(*epochs);
            }
            Event::ContractLost { contract } => {
                let provider = self.known(*contract)?.terms.prices.provider;
                self.lose(provider, *contract);
            }
            Event::SlotTaken { set, index, contract } => {
                self.known(*contract)?;
                let refused = BookError::Set { set: *set };
                let slots = &mut self.sets.get_mut(*set as usize).ok_or(refused)?.contracts;
                *slots.get_mut(usize::from(*index)).ok_or(refused)? = *contract;
            }
            Event::SlotTagged { set, index, origin } => {
                let refused = BookError::Slot { set: *set, index: *index };
                let set = self.sets.get_mut(*set as usize).ok_or(refused)?;
                *set.origins.get_mut(usize::from(*index)).ok_or(refused)? = *origin;
            }
            Event::ForSlot { contract } => {
                self.known(*contract)?;
                self.for_slots.insert(*contract);
            }
            Event::SlotTaking { set, index, contract } => {
                self.known(*contract)?;
                self.takings.insert((*set, *index), *contract);
            }
            Event::TrustKept { provider, record, exposure } => {
                replace(&mut self.records, *provider, *record);
                replace(&mut self.exposures, *provider, *exposure);
            }
            Event::ProofKept { contract, proven, lost } => {
                self.known(*contract)?;
                replace(&mut self.proven, *contract, *proven);
                if *lost {
                    self.lost.insert(*contract);
                } else {
                    self.lost.remove(contract);
                }
            }
            Event::ShardDeleted { receipt } => {
                let freed = receipt.deletion.freed;
                let contract = receipt.deletion.contract;
                self.given.entry(contract).and_modify(|given| given.freed(freed));
                self.seen.entry(contract).and_modify(|tab| tab.delete(freed));
                if self.contracts.contains_key(&contract) {
                    let (count, bytes) = self.deletions.entry(contract).or_default();
                    *count = count.saturating_add(1);
                    *bytes = bytes.checked_add(freed).unwrap_or(Bytes::MAX);
                }
            }
            Event::DeletionsCounted { contract, count, bytes } => {
                self.known(*contract)?;
                self.deletions.insert(*contract, (*count, *bytes));
            }
            Event::Giving { contract, bytes } => {
                self.known(*contract)?;
                self.given.entry(*contract).or_default().begins(*bytes);
            }
            Event::GivingAll { set, bytes } => {
                let set = self.sets.get(*set as usize).ok_or(BookError::Set { set: *set })?;
                for contract in &set.contracts {
                    self.given.entry(*contract).or_default().begins(*bytes);
                }
            }
            Event::StateMarked { contract, bytes } => {
                self.known(*contract)?;
                self.given.entry(*contract).or_default().marked(*bytes);
            }
            Event::GivenKept { contract, given, giving, marked } => {
                self.known(*contract)?;
                let kept = Given { stored: *given, begun: *giving, marked: *marked };
                self.given.insert(*contract, kept);
            }
            Event::ContractRenewed { from, tab, paid, to, provider_signature } => {
                let stage = |contract| self.contract(contract).map(|record| record.stage);
                if stage(*from) != Some(Stage::Open) {
                    return Err(BookError::Contract { contract: *from });
                }
                let follows = |record: &ContractRecord| record.terms.renews == Some(*from);
                if stage(*to) != Some(Stage::Intended) || !self.contract(*to).is_some_and(follows) {
                    return Err(BookError::Contract { contract: *to });
                }
                let is_promised = self.repairs.values().any(|intended| intended == from);
                if is_promised && self.holding().contains(to) {
                    return Err(BookError::Contract { contract: *to });
                }
                // Its buyer asked for the prices of the other just before.
                let at = self.known(*to)?.terms.prices.issued;
                let state = Some(State::ended(at, Ending::Renewed));
                let (tab, paid) = (Some(*tab), Some(*paid));
                let ended = Stage::Ended(End { state, tab, paid, settled: false });
                self.step(*from, |_| Some(ended))?;
                self.step(*to, |_| Some(Stage::Open))?;
                let slots = self.sets.iter_mut().flat_map(|set| &mut set.contracts);
                for contract in slots.chain(self.repairs.values_mut()) {
                    if contract == from {
                        *contract = *to;
                    }
                }
                if let Some(given) = self.given.remove(from) {
                    self.given.insert(*to, given);
                }
                self.seen.remove(from);
                self.epochs_paid.remove(from);
                self.cuts.remove(from);
                if let Some(read) = self.unanswered.remove(from) {
                    self.unanswered.insert(*to, read);
                }
                if let (Some(loss), Some(tab), Some(paid)) = (self.losses.remove(from), tab, paid) {
                    let (old, new) =
                        (self.known(*from)?.terms.prices, self.known(*to)?.terms.prices);
                    self.lost(*to, loss.carried(&old, (&tab, paid), &new));
                }
                self.signatures.insert(*to, *provider_signature);
                let provider = self.known(*from)?.terms.prices.provider;
                self.was_kept(provider, *from, paid.unwrap_or_default());
            }
            Event::LossNoted { contract, lost } => {
                self.losses.insert(*contract, Loss::of(*lost));
            }
            Event::PutLossKept { contract, lost, behind, broke, put } => {
                let (lost, behind, broke, put) = (*lost, *behind, *broke, *put);
                // A step of it may have been under way, and be lost.
                let grown = put.map(|_| lost);
                let loss = Loss { lost, behind, broke, put, grown, ..Loss::default() };
                self.lost(*contract, loss);
            }
            Event::ReadLossKept { contract, lost, behind, broke, put, read } => {
                let (lost, behind, broke, put, read) = (*lost, *behind, *broke, *put, *read);
                let grown = put.map(|_| lost);
                let loss = Loss { lost, behind, broke, put, read, grown, ..Loss::default() };
                self.lost(*contract, loss);
            }
            Event::AskedLossKept { contract, lost, behind, broke, put, read, until } => {
                let (lost, behind, broke, put, read) = (*lost, *behind, *broke, *put, *read);
                // The epoch that it was asked before may be any.
                let asked = until.map(|until| AskedPut { until, epochs: 0, wanted: false });
                let grown = put.map(|_| lost);
                let loss = Loss { lost, behind, broke, put, read, asked, grown, freed: 0 };
                self.lost(*contract, loss);
            }
            Event::LossKept { contract, loss } => self.lost(*contract, *loss),
            Event::PutCut { contract, put } => {
                self.cuts.insert(*contract, *put);
            }
            Event::SetPromised { set, survive } => {
                let probability = f64::from_bits(*survive);
                if self.set(*set).is_none() || !(probability > 0.0 && probability < 1.0) {
                    return Err(BookError::Set { set: *set });
                }
                self.promises.insert(*set, *survive);
            }
            Event::OperatorSaid { provider, operator } => {
                self.operators.insert(*provider, operator.clone());
            }
            Event::HostMoved { address } => {
                let provider = address.entity();
                let of = |record: &&mut ContractRecord| record.terms.prices.provider == provider;
                for record in self.contracts.values_mut().filter(of) {
                    record.address = address.clone();
                }
            }
            Event::HandedBack { sequence } => self.handed = self.handed.max(*sequence),
            Event::Reclaimed { delegate, sequence } => {
                let known = self.reclaimed.entry(*delegate).or_default();
                *known = (*known).max(*sequence);
            }
            Event::AuditsLogged { entries, link } => {
                let link = (*entries > 0).then_some(*link);
                self.audits = LogHead { entries: *entries, link };
            }
        }
        Ok(())
    }

    fn store(
        &mut self,
        object: ObjectId,
        length: Bytes,
        set: u32,
        k: u8,
        shards: &[ShardId],
        tagged: Option<Digest>,
    ) -> Result<(), BookError> {
        let refused = BookError::Set { set };
        let contracts = &self.sets.get(set as usize).ok_or(refused)?.contracts;
        let n = u8::try_from(shards.len()).map_err(|_| refused)?;
        let code = Code::new(k, n).map_err(|_| refused)?;
        if contracts.len() != shards.len() {
            return Err(refused);
        }
        let shards = shards.to_vec();
        let record = ObjectRecord { length, set, code, shards, tagged };
        let share = record.share();
        let there = self.has_there(object, set, tagged);
        for &contract in contracts.iter().filter(|contract| !there.contains(contract)) {
            self.given.entry(contract).or_default().stored(share);
        }
        // Those that are to take slots of the set have it among what they are to hold.
        let is_among = !there.is_empty() && self.object(object).is_some_and(|old| old.set == set);
        if !is_among {
            for (_, &contract) in self.repairs.range((set, 0)..=(set, u8::MAX)) {
                self.given.entry(contract).or_default().will_have(share);
            }
        }
        self.objects.insert(object, record);
        Ok(())
    }

    /// Notes which contract is to take a slot. All that the slot will hold counts as given to it from now on: a crash
    /// later, it may have any part of that.
    fn intend_slot(&mut self, set: u32, index: u8, contract: ContractId) -> Result<(), BookError> {
        let refused = BookError::Slot { set, index };
        let record = self.contracts.get(&contract).ok_or(BookError::Contract { contract })?;
        if record.stage != Stage::Open {
            return Err(BookError::Contract { contract });
        }
        let slots = &self.sets.get(set as usize).ok_or(BookError::Set { set })?.contracts;
        if usize::from(index) >= slots.len() {
            return Err(refused);
        }
        let is_taken = self.sets.iter().any(|set| set.contracts.contains(&contract))
            || self.repairs.values().any(|intended| *intended == contract);
        if is_taken {
            return Err(refused);
        }
        let share = self.set_share(set);
        self.given.entry(contract).or_default().will_have(share);
        self.repairs.insert((set, index), contract);
        Ok(())
    }

    fn known(&self, contract: ContractId) -> Result<&ContractRecord, BookError> {
        self.contracts.get(&contract).ok_or(BookError::Contract { contract })
    }

    fn record_mut(&mut self, provider: EntityId) -> &mut Record {
        self.records.entry(provider).or_insert_with(|| Record::new(&POLICY))
    }

    /// Ends a contract that has not ended, and counts it as kept if it was.
    fn end(&mut self, contract: ContractId, end: End, kept: bool) -> Result<(), BookError> {
        let ended = Stage::Ended(end);
        self.step(contract, |stage| (!matches!(stage, Stage::Ended(_))).then_some(ended))?;
        self.repairs.retain(|_, intended| *intended != contract);
        self.epochs_paid.remove(&contract);
        if end.tab.is_some() {
            self.seen.remove(&contract);
        }
        if kept {
            let provider = self.known(contract)?.terms.prices.provider;
            self.was_kept(provider, contract, end.paid.unwrap_or_default());
        }
        Ok(())
    }

    /// Counts a deal that came to its end as kept, unless it was not.
    fn was_kept(&mut self, provider: EntityId, contract: ContractId, paid: Amount) {
        let kept = !self.is_lost(contract) && self.distrusted(provider).is_none();
        if kept && !paid.is_zero() {
            self.exposures.entry(provider).or_default().good(paid);
        }
    }

    /// Counts a contract as lost, once.
    fn lose(&mut self, provider: EntityId, contract: ContractId) {
        if self.lost.insert(contract) {
            self.record_mut(provider).lost(&POLICY);
            self.exposures.entry(provider).or_default().bad();
        }
    }

    fn step(
        &mut self,
        contract: ContractId,
        next: impl FnOnce(Stage) -> Option<Stage>,
    ) -> Result<(), BookError> {
        let refused = BookError::Contract { contract };
        let record = self.contracts.get_mut(&contract).ok_or(refused)?;
        record.stage = next(record.stage).ok_or(refused)?;
        Ok(())
    }

    /// Returns how many receipts for deleted shards of a contract there are, and how many bytes they freed.
    pub fn deletions(&self, contract: ContractId) -> (u64, Bytes) {
        self.deletions.get(&contract).copied().unwrap_or_default()
    }

    fn lost(&mut self, contract: ContractId, loss: Loss) {
        self.cuts.remove(&contract);
        if loss == Loss::default() {
            self.losses.remove(&contract);
        } else {
            self.losses.insert(contract, loss);
        }
    }

    /// Returns what is known of what was paid for nothing under a contract.
    pub fn loss(&self, contract: ContractId) -> Loss {
        self.losses.get(&contract).copied().unwrap_or_default()
    }

    /// Returns a put under a contract that was under way when the power was cut, if nothing has been asked of its host since.
    pub fn cut(&self, contract: ContractId) -> Option<BegunPut> {
        self.cuts.get(&contract).copied()
    }

    /// Returns the contracts that were to renew `contract` and of which it is not known whether they did; the latest first.
    pub fn renewals(&self, contract: ContractId) -> Vec<&ContractRecord> {
        let is_one = |record: &&ContractRecord| {
            record.terms.renews == Some(contract) && record.stage == Stage::Intended
        };
        let mut found: Vec<_> = self.contracts.values().filter(is_one).collect();
        found.sort_by_key(|record| std::cmp::Reverse(record.terms.prices.issued));
        found
    }

    /// Returns a contract.
    pub fn contract(&self, contract: ContractId) -> Option<&ContractRecord> {
        self.contracts.get(&contract)
    }

    /// Returns whether a contract's provider ever signed it, as far as this book has heard.
    pub fn was_signed(&self, contract: ContractId) -> bool {
        self.signatures.contains_key(&contract)
    }

    /// Returns every contract, by id.
    pub fn contracts(&self) -> impl Iterator<Item = (ContractId, &ContractRecord)> {
        self.contracts.iter().map(|(id, record)| (*id, record))
    }

    /// Returns the slots that are being repaired, by set and index, each with the contract that is to take it.
    pub fn repairs(&self) -> impl Iterator<Item = (u32, u8, ContractId)> {
        self.repairs.iter().map(|(&(set, index), &contract)| (set, index, contract))
    }

    /// Returns the contract that was to renew another's for a slot, if it is in no slot yet.
    pub fn taking(&self, set: u32, index: u8) -> Option<&ContractRecord> {
        let contract = self.takings.get(&(set, index))?;
        let record = self.contract(*contract)?;
        let is_over = matches!(record.stage, Stage::Ended { .. });
        (!is_over && !self.holding().contains(contract)).then_some(record)
    }

    /// Returns every contract that holds shards, or is to.
    pub fn holding(&self) -> BTreeSet<ContractId> {
        let slots = self.sets.iter().flat_map(|set| &set.contracts);
        slots.chain(self.repairs.values()).copied().collect()
    }

    /// Returns a set.
    pub fn set(&self, set: u32) -> Option<&Set> {
        self.sets.get(set as usize)
    }

    /// Returns which contract the slot of this one, or the one that it is to take, had first.
    pub fn origin(&self, contract: ContractId) -> ContractId {
        let intended = self.repairs.iter().filter_map(|(&(set, index), intended)| {
            let origin = self.set(set)?.origins.get(usize::from(index))?;
            Some((intended, origin))
        });
        let slots = self.sets.iter().flat_map(|set| set.contracts.iter().zip(&set.origins));
        let found = slots.chain(intended).find(|(found, _)| **found == contract);
        found.map_or(contract, |(_, origin)| *origin)
    }

    /// Returns how many sets there are; the newest is the one before this number.
    pub fn set_count(&self) -> u32 {
        u32::try_from(self.sets.len()).unwrap_or(u32::MAX)
    }

    /// Returns where an object lies.
    pub fn object(&self, object: ObjectId) -> Option<&ObjectRecord> {
        self.objects.get(&object)
    }

    /// Returns every object, by kind and name.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectId, &ObjectRecord)> {
        self.objects.iter().map(|(id, record)| (*id, record))
    }

    /// Returns what a provider was caught at, if it was.
    pub fn distrusted(&self, provider: EntityId) -> Option<&str> {
        self.distrusted.get(&provider).map(String::as_str)
    }

    /// Returns the number under which the book was given to the hosts last; 0 before the first time.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns the number under which something was handed back to its owner last; 0 before the first time.
    pub const fn handed(&self) -> u64 {
        self.handed
    }

    /// Returns by which number of a delegate something was taken back last; 0 before the first time.
    pub fn reclaimed(&self, delegate: EntityId) -> u64 {
        self.reclaimed.get(&delegate).copied().unwrap_or_default()
    }

    /// Returns what is known of a provider, if anything was ever seen of it.
    pub fn record(&self, provider: EntityId) -> Option<&Record> {
        self.records.get(&provider)
    }

    /// Returns every provider of which something was seen, and what is known of it.
    pub fn records(&self) -> impl Iterator<Item = (EntityId, &Record)> {
        self.records.iter().map(|(provider, record)| (*provider, record))
    }

    /// Returns what a provider has earned of trust.
    pub fn exposure(&self, provider: EntityId) -> Exposure {
        self.exposures.get(&provider).copied().unwrap_or_default()
    }

    /// Returns whether its provider said that it has renewed a contract with another, whom this book does not know.
    pub fn was_passed_on(&self, contract: ContractId) -> bool {
        self.passed_on.contains_key(&contract)
    }

    /// Returns whether a provider may have renewed a contract with another: this book intends a renewal of it, or has given a
    /// mandate that was good while there was the contract. Anything else that a provider says of it is an excuse. What it said before
    /// mandates were in the book is believed.
    pub fn may_be_passed_on(&self, contract: ContractId) -> bool {
        if self.passed_on.get(&contract) == Some(&Timestamp::EPOCH) {
            return true;
        }
        let began = self.contract(contract).map(|record| record.terms.begins);
        let is_given = |began: Timestamp| self.entrusted.values().any(|until| *until > began);
        !self.renewals(contract).is_empty() || began.is_some_and(is_given)
    }

    /// Returns the contracts of slots that providers say to have renewed with others, whom nobody has heard of for an epoch since; at
    /// once where nobody may have.
    pub fn passed_on_for_long(&self, now: Timestamp) -> BTreeSet<ContractId> {
        let holding = self.holding();
        let is_long = |(contract, since): &(&ContractId, &Timestamp)| {
            let is_due = |record: &ContractRecord| {
                let is_late = since.after(record.terms.prices.epoch) <= now;
                let is_known = **since != Timestamp::EPOCH;
                record.stage == Stage::Open
                    && (!self.may_be_passed_on(**contract) || (is_known && is_late))
            };
            holding.contains(*contract) && self.contract(**contract).is_some_and(is_due)
        };
        self.passed_on.iter().filter(is_long).map(|(contract, _)| *contract).collect()
    }

    /// Returns whether what was kept under a contract counts as lost.
    pub fn is_lost(&self, contract: ContractId) -> bool {
        self.lost.contains(&contract)
    }

    /// Returns how far the audit log had come.
    pub const fn audits(&self) -> LogHead {
        self.audits
    }

    /// Returns whether a backup began and did not finish.
    pub const fn unfinished(&self) -> bool {
        self.unfinished
    }
}

/// Puts a value in, or takes it out.
fn replace<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
