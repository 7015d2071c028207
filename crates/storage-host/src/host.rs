//! The core of a provider of storage: it decides, and touches neither disk, network nor clock.
//!
//! A request that waits for something outside is in two parts, with the outside between them. An [`Answer`] says what to
//! make durable first, what to send, and which files nobody needs any more.
//!
//! ```text
//! open_begin ── ask the issuer for the hold ── open_finish
//! put_begin ── put_step, write bytes … ── hash, sync ── put_commit      or put_abort, wherever it broke
//! get_begin ── read and prove ── get_commit       prove_begin ── add blocks up ── prove_commit
//! close_begin, due ── post the voucher, or void the hold ── close_finish
//! renew_begin ── ask the issuer for the hold ── renew_finish
//! get_again, advance, delete, mark, mine, admit, status, list, prices: at once
//! leave, lose: all contracts at once
//! ```
//!
//! # What always holds
//!
//! - What a contract owes is at most what its highest voucher authorises, and once it has ended what the voucher that is
//!   posted does: nothing is served unpaid.
//! - The same events give the same host: a crash loses at most puts that were not committed, and the reads and proofs of
//!   the last second, each with what it was charged.
//! - A refusal changes nothing; only [`Host::put_commit`] of wrong bytes keeps what writing them cost.
//! - The room sold is never more than the room there is; nor, when it is sold, than the disk has beside its reserve.
//!
//! # What is not here
//!
//! Files, frames and the issuer: the shell has them. It calls under one lock, journals events in the order it got them,
//! and answers when they are durable.
//!
//! ```
//! use fondaco_storage_host::{Host, HostConfig};
//! # use fondaco_crypto::{CurrencyId, SecretKey};
//! # use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
//! # let key = SecretKey::from_bytes(&[1; 32]);
//! # let (now, currency) = (Timestamp::EPOCH, CurrencyId::issued_by(key.entity()));
//! let host = Host::new(key, HostConfig {
//!     currency,
//!     open: Amount::new(10),
//!     store: Price::from_parts(5),
//!     write: Price::from_parts(100),
//!     read: Price::from_parts(400),
//!     size: Bytes::new(200 << 30),
//!     period_max: Duration::from_seconds(90 * 86_400),
//!     epoch: Duration::from_seconds(86_400),
//!     step_max: Bytes::new(256 << 10),
//!     newcomer: Bytes::new(20 << 30),
//!     reserve: Bytes::new(1 << 30),
//!     leaves: None,
//! });
//! let list = host.prices(now);
//! assert_eq!(list.verify(now), Ok(()));
//! assert_eq!(list.prices.capacity, host.free());
//! ```

mod again;
mod contract;
mod mandates;
mod marks;
mod overview;
mod pace;
mod prove;
mod renew;
mod room;
mod serve;

pub use mandates::MANDATES_MAX;
pub use overview::Overview;

#[cfg(test)]
mod tests;

pub use prove::{PROOFS_PER_EPOCH_MAX, ProvePlan, ProveShard};

use again::LastRead;
use contract::{Contract, check_hold};

use crate::{Event, ReplayError};
use fondaco_audit::ShardId;
use fondaco_codec::List;
use fondaco_contract::{Charge, ContractId, Ending, Factor, Input, Mandate, State, Tab, Terms};
use fondaco_crypto::{CurrencyId, EntityId, SecretKey, Signature};
use fondaco_ledger::{Hold, HoldId, SignedVoucher};
use fondaco_ports::market::{LIST_MAX, Listed, Reason, Response};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How long before a hold expires its voucher is posted, at most; a quarter of what the hold has left, if that is less.
const POST_MARGIN_MAX: Duration = Duration::from_seconds(6 * 3600);
/// How long an ended and paid contract is remembered at least, to answer its buyer.
const MEMORY: Duration = Duration::from_seconds(7 * 86_400);
/// How far a buyer's clock may be off before that is what it is told: below it, its terms are early or late.
const CLOCKS_APART_MAX: Duration = Duration::from_seconds(3600);
/// The most contracts at once, the remembered ones included.
const CONTRACTS_MAX: usize = 1 << 16;
/// The most shards of one contract.
const SHARDS_MAX: u32 = 1 << 17;
/// The longest shard: no object is longer.
const SHARD_MAX: Bytes = Bytes::new(1 << 30);
/// The most puts at once, in all and of one contract.
const PUTS_MAX: usize = 1024;
const PUTS_PER_CONTRACT_MAX: usize = 64;
/// How many epochs may begin, and be paid for, while a put takes no whole step: with the second it ends.
pub const PUT_AGE_MAX: u64 = 2;

/// What is sold, and at what price. See [`PriceList`](fondaco_contract::PriceList) for what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// In which currency to be paid.
    pub currency: CurrencyId,
    /// The price of a contract.
    pub open: Amount,
    /// The price of a byte kept through an epoch.
    pub store: Price,
    /// The price of a byte in.
    pub write: Price,
    /// The price of a byte out.
    pub read: Price,
    /// All the room there is.
    pub size: Bytes,
    /// The longest contract.
    pub period_max: Duration,
    /// How long an epoch is.
    pub epoch: Duration,
    /// The most bytes of one step.
    pub step_max: Bytes,
    /// The most room that a buyer without paid contracts may have.
    pub newcomer: Bytes,
    /// What is to stay free on the disk, whatever was sold.
    pub reserve: Bytes,
    /// When the provider stops, if it has announced that.
    pub leaves: Option<Timestamp>,
}

/// What the shell is to do, in this order: make the event durable, send the response, remove the files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Answer {
    /// What to make durable first, if anything changed.
    pub event: Option<Event>,
    /// What to send then.
    pub response: Response,
    /// Shards that no contract has any more. Ask [`Host::keeps`] again, under the lock, before removing their files:
    /// they may have been put anew.
    pub remove: Vec<ShardId>,
}

impl Answer {
    fn at_once(response: Response) -> Self {
        Self { event: None, response, remove: Vec::new() }
    }

    fn after(event: Event, response: Response) -> Self {
        Self { event: Some(event), response, remove: Vec::new() }
    }
}

impl From<Result<Self, Reason>> for Answer {
    fn from(result: Result<Self, Reason>) -> Self {
        result.unwrap_or_else(|reason| Self::at_once(Response::Refused { reason }))
    }
}

/// What to do about a request to open a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
#[allow(clippy::large_enum_variant)] // one for each opening, and soon sent
pub enum Opening {
    /// It was opened before: this is the answer.
    Known(Response),
    /// Ask the issuer for this hold, then [`Host::open_finish`].
    Ask(HoldId),
}

/// What to do about a request to put a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Begun {
    /// It is kept already: answer [`Response::Have`].
    Have,
    /// Answer [`Response::Ready`] and take steps.
    Ready(PutId),
    /// It has no bytes: [`Host::put_commit`] at once.
    Empty(PutId),
}

/// Names a put that is under way, until it is committed or aborted. It is never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PutId(u64);

/// What to do about a step that is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Stepped {
    /// Write its bytes and answer [`Response::Taken`].
    More {
        /// Up to where.
        at: Bytes,
    },
    /// Write its bytes, sync and hash the whole, and [`Host::put_commit`].
    Whole,
}

/// A read that is paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPlan {
    /// Under which contract.
    pub contract: ContractId,
    /// Of which shard.
    pub shard: ShardId,
    /// What to prove of it.
    pub range: Range<u64>,
    charge: Charge,
    is_proof: bool,
    voucher: SignedVoucher,
}

/// An ended contract whose money is to be got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Closing {
    /// What to make durable first, if it has ended just now.
    pub event: Option<Event>,
    /// What to do then.
    pub settle: Settle,
}

/// How to get the money of an ended contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// Post this at the issuer, then [`Host::close_finish`] with what it paid.
    Post(SignedVoucher),
    /// Nothing was earned: void the hold at the issuer, then [`Host::close_finish`] with nothing.
    Void(HoldId),
    /// All is done: this is the answer.
    Done(Response),
}

/// A shard on its way in.
#[derive(Clone, Copy, Debug)]
struct Put {
    contract: ContractId,
    shard: ShardId,
    size: Bytes,
    /// From which epoch it will be paid for.
    epoch: u64,
    /// In which epoch it began, or took its last whole step: what is there of it is kept for nothing since.
    moved: u64,
    /// How many bytes came in.
    taken: u64,
}

impl Put {
    /// What keeping the shard will cost, once all epochs paid for so far are counted.
    const fn charge(&self, tab: &Tab) -> Charge {
        Charge::Store { bytes: self.size, epochs: tab.epochs_paid.saturating_sub(self.epoch) }
    }
}

/// A provider of storage. See the [module](self) for the order of calls.
#[derive(Clone, Debug)]
pub struct Host {
    key: SecretKey,
    config: HostConfig,
    /// By what the prices of `config` are multiplied now.
    factor: Factor,
    /// What is free on the disk, as it was told last.
    disk: Option<Bytes>,
    contracts: BTreeMap<ContractId, Contract>,
    /// How many contracts have each shard.
    references: BTreeMap<ShardId, u32>,
    puts: BTreeMap<PutId, Put>,
    put_next: u64,
    /// What each buyer has had kept, and paid for in full.
    known: BTreeMap<EntityId, Bytes>,
    /// How many proofs of a contract were begun, in which epoch.
    proofs: BTreeMap<ContractId, (u64, u32)>,
    /// Until when the free records of a contract are spent.
    paced: BTreeMap<ContractId, Timestamp>,
    /// By delegate, then buyer.
    mandates: BTreeMap<(EntityId, EntityId), Mandate>,
    /// When one of the two was journaled last, by this process.
    admitted: BTreeMap<(EntityId, EntityId), Timestamp>,
    /// The contracts of each buyer.
    by_buyer: BTreeSet<(EntityId, ContractId)>,
}

impl Host {
    /// Creates a provider without contracts; [`Host::replay`] its journal next.
    pub const fn new(key: SecretKey, config: HostConfig) -> Self {
        Self {
            key,
            config,
            factor: Factor::ONE,
            disk: None,
            contracts: BTreeMap::new(),
            references: BTreeMap::new(),
            puts: BTreeMap::new(),
            put_next: 0,
            known: BTreeMap::new(),
            proofs: BTreeMap::new(),
            paced: BTreeMap::new(),
            mandates: BTreeMap::new(),
            admitted: BTreeMap::new(),
            by_buyer: BTreeSet::new(),
        }
    }

    /// Returns who it is.
    pub fn provider(&self) -> EntityId {
        self.key.entity()
    }

    /// Returns whether a contract is open at `now`.
    pub fn is_open(&self, now: Timestamp, id: ContractId) -> bool {
        self.contracts.get(&id).is_some_and(|contract| !contract.state_at(now).has_ended())
    }

    /// Returns whether any contract has `shard`.
    pub fn keeps(&self, shard: ShardId) -> bool {
        self.references.contains_key(&shard)
    }

    /// Returns every shard that some contract has: what else lies on the disk may go.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.references.keys().copied()
    }

    // --- the journal -------------------------------------------------------------------------------

    /// Replays one record of the journal.
    ///
    /// # Errors
    ///
    /// All of [`ReplayError`]: the journal is not of this provider, or of another version.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), ReplayError> {
        self.apply(&Event::from_record(record)?).map(|_| ())
    }

    /// Returns events that lead to the present state, for a journal written anew. Puts under way are not in them.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let of_contracts = self.contracts.iter().flat_map(|(id, contract)| {
            let Contract {
                terms,
                amount_max,
                expires,
                voucher,
                tab,
                shards,
                state,
                paid,
                read,
                mark,
                since,
                had_by,
            } = contract;
            let id = *id;
            let (amount_max, expires, voucher, tab) = (*amount_max, *expires, *voucher, *tab);
            let opened = Event::Opened { terms: *terms, voucher, amount_max, expires };
            let tab = self.durable_tab(id, tab);
            let metered = match read {
                Some(read) => read.event(id, tab, voucher),
                None => Event::Metered { contract: id, tab, voucher },
            };
            let stored = shards.iter().map(move |(shard, size)| Event::Stored {
                contract: id,
                shard: *shard,
                size: *size,
                tab,
                voucher,
            });
            let ended = Event::of_end(id, state);
            let leaving = match *state {
                State::Ending { at } => Some(Event::Leaving { contract: id, at }),
                _ => None,
            };
            let posted = paid.map(|paid| Event::Posted { contract: id, paid });
            let marked = mark.map(|mark| match mark.mark.contract == id {
                true => Event::Marked { mark },
                false => Event::HadMark { contract: id, mark },
            });
            let follows = *since != terms.begins || had_by.is_some();
            let (at, had_by) = (*since, *had_by);
            let began = follows.then_some(Event::Began { contract: id, at, had_by });
            let after = began.into_iter().chain(leaving).chain(ended).chain(posted);
            [opened, metered].into_iter().chain(stored).chain(marked).chain(after)
        });
        of_contracts.chain(self.mandate_events())
    }

    /// Lets an event happen; returns the shards that no contract has after it. The only way anything durable changes.
    fn apply(&mut self, event: &Event) -> Result<Vec<ShardId>, ReplayError> {
        if let Event::Opened { terms, voucher, amount_max, expires } = event {
            self.by_buyer.insert((terms.buyer, terms.id()));
            self.contracts.entry(terms.id()).or_insert_with(|| Contract {
                terms: *terms,
                amount_max: *amount_max,
                expires: *expires,
                voucher: *voucher,
                tab: Tab::default().after(terms, Charge::Open).unwrap_or_default(),
                shards: BTreeMap::new(),
                state: State::Open,
                paid: None,
                read: None,
                mark: None,
                since: terms.begins,
                had_by: None,
            });
            return Ok(Vec::new());
        }
        if let Event::Renewed { from, at, terms, voucher, amount_max, expires } = event {
            self.take_over(*from, *at, terms, voucher, *amount_max, *expires)?;
            return Ok(Vec::new());
        }
        let id = event.contract();
        let contract = self.contracts.get_mut(&id).ok_or(ReplayError::Unopened { contract: id })?;
        let mut dropped = Vec::new();
        match event {
            Event::Opened { .. } | Event::Renewed { .. } => {} // above
            Event::Stored { shard, size, tab, voucher, .. } => {
                if contract.shards.insert(*shard, *size).is_none() {
                    contract.tab.stored =
                        contract.tab.stored.checked_add(*size).unwrap_or(Bytes::MAX);
                    *self.references.entry(*shard).or_default() += 1;
                }
                contract.raise(tab, voucher);
            }
            Event::Metered { tab, voucher, .. } => contract.raise(tab, voucher),
            Event::Read { tab, voucher, shard, offset, length, .. } => {
                contract.raise(tab, voucher);
                contract.read = Some(LastRead::new(*shard, *offset, *length));
            }
            Event::Deleted { shard, .. } => {
                if let Some(size) = contract.shards.remove(shard) {
                    contract.tab.delete(size);
                    dropped.push(*shard);
                }
            }
            Event::Admitted { mandate, .. } => {
                let known = self.mandates.entry((mandate.to, mandate.from)).or_insert(*mandate);
                if known.issued < mandate.issued {
                    *known = *mandate;
                }
            }
            Event::Began { at, had_by, .. } => {
                (contract.since, contract.had_by) = (*at, *had_by);
            }
            Event::Marked { mark } => dropped.extend(contract.marked(mark)),
            Event::HadMark { mark, .. } => contract.mark = Some(*mark),
            Event::Ended { at, why, .. } => {
                if !contract.state.has_ended() {
                    contract.state = State::ended(*at, *why);
                }
            }
            Event::Leaving { at, .. } => {
                contract.state =
                    contract.state.step(Input::Leave { at: *at }).unwrap_or(contract.state);
            }
            Event::Posted { paid, .. } => {
                if contract.paid.is_none() && !paid.is_zero() && *paid >= contract.total() {
                    let known = self.known.entry(contract.terms.buyer).or_default();
                    *known = known.checked_add(contract.kept()).unwrap_or(Bytes::MAX);
                }
                contract.paid = Some(*paid);
                contract.tab.stored = Bytes::ZERO;
                dropped.extend(std::mem::take(&mut contract.shards).into_keys());
            }
        }
        dropped.retain(|shard| {
            let left = self.references.get(shard).map_or(0, |count| count.saturating_sub(1));
            if left > 0 {
                self.references.insert(*shard, left);
            } else {
                self.references.remove(shard);
            }
            left == 0
        });
        Ok(dropped)
    }

    /// Lets an event happen that was just decided, and answers.
    fn happen(&mut self, event: Event, response: Response) -> Result<Answer, Reason> {
        // Deciding found the contract; were it gone, this host would be broken and must promise nothing.
        let remove = self.apply(&event).map_err(|_| Reason::Failed)?;
        Ok(Answer { remove, ..Answer::after(self.durable(event), response) })
    }

    /// The contract, if it is this buyer's.
    fn contract_of(&self, peer: EntityId, id: ContractId) -> Result<&Contract, Reason> {
        let contract = self.contracts.get(&id).ok_or(Reason::UnknownContract)?;
        if contract.terms.buyer == peer { Ok(contract) } else { Err(Reason::NotYours) }
    }

    /// The contract, if it is this buyer's and open at `now`.
    fn open_contract(
        &self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
    ) -> Result<&Contract, Reason> {
        let contract = self.contract_of(peer, id)?;
        match contract.state_at(now).why() {
            None => Ok(contract),
            Some(why) => Err(Reason::Ended { why }),
        }
    }

    // --- opening and closing -----------------------------------------------------------------------

    /// Checks all about terms that can be checked without the issuer.
    ///
    /// # Errors
    ///
    /// `NotYours`, `NotProvider`, `Ended`, `Malformed`, `Clock`, all about terms, `Unsigned`, `Leaving`, `NoRoom`,
    /// `Newcomer`, `Busy`.
    pub fn open_begin(
        &self,
        now: Timestamp,
        peer: EntityId,
        terms: &Terms,
        buyer_signature: &Signature,
        voucher: &SignedVoucher,
    ) -> Result<Opening, Reason> {
        if peer != terms.buyer {
            return Err(Reason::NotYours);
        }
        if terms.prices.provider != self.provider() {
            return Err(Reason::NotProvider);
        }
        if self.contracts.contains_key(&terms.id()) {
            self.open_contract(now, peer, terms.id())?;
            return Ok(Opening::Known(self.opened(terms)));
        }
        if terms.renews.is_some() {
            return Err(Reason::Malformed);
        }
        let (theirs, ours) = (terms.begins, now);
        if theirs.since(ours).max(ours.since(theirs)) > CLOCKS_APART_MAX {
            return Err(Reason::Clock { theirs, ours });
        }
        self.check_terms(now, terms, buyer_signature)?;
        let (free, wanted) = (self.free(), terms.size_max);
        if wanted > free {
            return Err(Reason::NoRoom { free, wanted });
        }
        let allowed = self.trusted(peer);
        if wanted > allowed {
            return Err(Reason::Newcomer { allowed, wanted });
        }
        Ok(Opening::Ask(voucher.voucher.hold))
    }

    /// Checks what all terms must have.
    fn check_terms(
        &self,
        now: Timestamp,
        terms: &Terms,
        buyer_signature: &Signature,
    ) -> Result<(), Reason> {
        terms.check(now)?;
        terms.verify_buyer(buyer_signature).map_err(|_| Reason::Unsigned)?;
        if let Some(at) = self.config.leaves.filter(|at| terms.ends > *at) {
            return Err(Reason::Leaving { at });
        }
        if self.contracts.len() >= CONTRACTS_MAX {
            return Err(Reason::Busy);
        }
        Ok(())
    }

    /// Signs a contract, given the hold that its voucher names, as the issuer knows it.
    //
    // Those of `open_begin` again, since time went by between them, and the hold.
    pub fn open_finish(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        terms: &Terms,
        buyer_signature: &Signature,
        voucher: &SignedVoucher,
        hold: Option<&Hold>,
    ) -> Answer {
        self.open(now, peer, terms, buyer_signature, voucher, hold).into()
    }

    fn open(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        terms: &Terms,
        buyer_signature: &Signature,
        voucher: &SignedVoucher,
        hold: Option<&Hold>,
    ) -> Result<Answer, Reason> {
        match self.open_begin(now, peer, terms, buyer_signature, voucher)? {
            Opening::Known(response) => return Ok(Answer::at_once(response)),
            Opening::Ask(_) => {}
        }
        let (amount_max, expires) = check_hold(terms, voucher, hold)?;
        Tab::default().admit(terms, Charge::Open, voucher.voucher.cumulative)?;
        let event = Event::Opened { terms: *terms, voucher: *voucher, amount_max, expires };
        let response = self.opened(terms);
        self.happen(event, response)
    }

    fn opened(&self, terms: &Terms) -> Response {
        Response::Opened { provider_signature: terms.sign_as_provider(&self.key) }
    }

    /// Ends a contract because its buyer says so.
    ///
    /// # Errors
    ///
    /// `UnknownContract`, `NotYours`.
    pub fn close_begin(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        id: ContractId,
    ) -> Result<Closing, Reason> {
        let ended = self.contract_of(peer, id)?.state_at(now).end(now, Ending::Closed);
        self.end(id, ended)
    }

    /// Returns the contracts that have ended by `now`, noted or not, and whose money is still to be got; those whose
    /// holds expire first, first. Give each to [`Host::close_due`]; those that fail come again.
    pub fn due(&self, now: Timestamp) -> Vec<ContractId> {
        let is_due =
            |contract: &Contract| contract.paid.is_none() && contract.state_at(now).has_ended();
        let mut due: Vec<_> = self
            .contracts
            .iter()
            .filter(|(_, contract)| is_due(contract))
            .map(|(id, contract)| (contract.expires, *id))
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// Ends a contract that is due.
    ///
    /// # Errors
    ///
    /// `UnknownContract`, and `Busy` if it has not ended.
    pub fn close_due(&mut self, now: Timestamp, id: ContractId) -> Result<Closing, Reason> {
        let contract = self.contracts.get(&id).ok_or(Reason::UnknownContract)?;
        let state = contract.state_at(now);
        if state.has_ended() { self.end(id, state) } else { Err(Reason::Busy) }
    }

    /// Notes the end, if that is new, and says how to get the money.
    fn end(&mut self, id: ContractId, ended: State) -> Result<Closing, Reason> {
        let contract = self.contracts.get(&id).ok_or(Reason::UnknownContract)?;
        let event = if contract.state.has_ended() { None } else { Event::of_end(id, &ended) };
        let voucher = contract.voucher;
        let settle = match contract.paid {
            Some(paid) => Settle::Done(Response::Closed { total: contract.total(), paid }),
            None if voucher.voucher.cumulative.is_zero() => Settle::Void(voucher.voucher.hold),
            None => Settle::Post(voucher),
        };
        if let Some(event) = &event {
            self.apply(event).map_err(|_| Reason::Failed)?;
        }
        Ok(Closing { event, settle })
    }

    /// Forgets the shards of an ended contract, since its money was paid out: `paid`, which is nothing if the hold is lost.
    pub fn close_finish(&mut self, id: ContractId, paid: Amount) -> Answer {
        let finish = |host: &mut Self| {
            let contract = host.contracts.get(&id).ok_or(Reason::UnknownContract)?;
            let total = contract.total();
            match (contract.state.has_ended(), contract.paid) {
                (false, _) => Err(Reason::Busy), // it was never ended: forget nothing
                (true, Some(paid)) => Ok(Answer::at_once(Response::Closed { total, paid })),
                (true, None) => host
                    .happen(Event::Posted { contract: id, paid }, Response::Closed { total, paid }),
            }
        };
        finish(self).into()
    }

    /// Forgets contracts that were paid and ended a week ago; of those that ended before their time, and not by their buyer,
    /// a week after that time, as long as they are not very many: who does not know of it would take a host for a liar that
    /// knows nothing of a contract which should go on. Repeating it does nothing; it need not be journaled.
    pub fn forget(&mut self, now: Timestamp) {
        let are_few = self.contracts.len() < CONTRACTS_MAX / 2;
        self.contracts.retain(|_, contract| {
            let Some(at) = contract.state.ended_at() else { return true };
            let is_news = contract.state.why() != Some(Ending::Closed);
            let from = if is_news && are_few { at.max(contract.terms.ends) } else { at };
            contract.paid.is_none() || now < from.after(MEMORY)
        });
        self.proofs.retain(|id, _| self.contracts.contains_key(id));
        self.paced.retain(|_, even| now < *even);
        self.forget_mandates();
    }

    // --- looking -----------------------------------------------------------------------------------

    /// Says where a contract stands.
    pub fn status(&self, now: Timestamp, peer: EntityId, id: ContractId) -> Response {
        match self.contract_of(peer, id) {
            Err(reason) => Response::Refused { reason },
            Ok(contract) => Response::Status {
                tab: contract.tab,
                voucher: Some(contract.voucher),
                shards: u32::try_from(contract.shards.len()).unwrap_or(u32::MAX),
                state: contract.state_at(now),
            },
        }
    }

    /// Lists the shards of a contract.
    pub fn list(&self, peer: EntityId, id: ContractId, after: Option<ShardId>) -> Response {
        use std::ops::Bound::{Excluded, Unbounded};
        let shards = |contract: &Contract| {
            let range = contract.shards.range((after.map_or(Unbounded, Excluded), Unbounded));
            let line = |(shard, size): (&ShardId, &Bytes)| Listed { shard: *shard, size: *size };
            List::new(range.take(LIST_MAX).map(line).collect()).ok_or(Reason::Failed)
        };
        match self.contract_of(peer, id).and_then(shards) {
            Err(reason) => Response::Refused { reason },
            Ok(list) => Response::Shards { list },
        }
    }
}
