//! Let contracts whose holds are used up be followed by others: for who has said what that may cost, and need not be there.
//!
//! ```text
//! a read, or an audit ──► HoldSpent ──► used_up ──► renew_used_up, within a budget ──► read_under_new: read and audited again
//! ```
//!
//! What is agreed to anew is what was agreed to before: the same host and the same end, an epoch at least, and prices that are not
//! many times what they were. A contract that only pays for reading, as delegates have, has nothing to hand on: another is opened
//! in its place. Decision 37.

use super::{Renewal, Renewed, Span};
use crate::book::{Book, ContractRecord, Event, For, Stage};
use crate::delegate::{EntrustedSlot, WATCH_SIZE};
use crate::session::offer_of;
use crate::{Agent, AgentError, Objects, Wallet};
use fondaco_contract::ContractId;
use fondaco_units::{Amount, Bytes};

impl Agent {
    /// Returns the contracts with a slot whose holds `objects` found to be used up. Those of hosts that were caught are not among
    /// them.
    pub fn used_up(&self, objects: &Objects) -> Vec<ContractRecord> {
        let (found, now) = (objects.used_up(), self.clock.now());
        self.book.read(|book| {
            let records = found.into_iter().filter_map(|contract| book.contract(contract));
            let goes_on = records.filter(|record| {
                let (contract, provider) = (record.terms.id(), record.terms.prices.provider);
                let has_shards = book.given(contract) > Bytes::ZERO || self.only_reads(record);
                let is_open = record.stage == Stage::Open && record.terms.ends > now;
                is_open
                    && has_shards
                    && slot_of(book, contract).is_some()
                    && book.distrusted(provider).is_none()
            });
            goes_on.cloned().collect()
        })
    }

    /// Renews what is [used up](Self::used_up) and paid in the wallet's currency; all that may cost at most `budget`.
    ///
    /// # Errors
    ///
    /// The journal failed. What is in the way of one contract is said of it, and the others are renewed.
    pub async fn renew_used_up(
        &self,
        wallet: &Wallet,
        objects: &Objects,
        mut budget: Amount,
    ) -> Result<Vec<Renewal>, AgentError> {
        self.heed_budget(wallet, Some(budget)).await;
        let opening = self.opening(wallet);
        let mut renewals = Vec::new();
        let mut used_up = self.used_up(objects);
        used_up.retain(|old| old.terms.prices.currency == wallet.currency());
        self.put_those_who_refused_last(&mut used_up);
        for old in used_up {
            let renewal = match self.only_reads(&old) {
                true => self.watch_on(wallet, objects, &old, budget).await,
                false => self.renew_one(&opening, &old, Span::AsAgreed, Some(budget)).await,
            };
            budget = budget.saturating_sub(renewal.opened());
            renewals.push(renewal);
        }
        Ok(renewals)
    }

    /// Lets objects be read under the contracts that follow on others: each pair is of one and of that which follows on it.
    pub fn read_under_new(&self, objects: &mut Objects, renewed: &[(ContractId, ContractId)]) {
        for &(from, to) in renewed {
            let session = self.book.read(|book| {
                let record = book.contract(to)?;
                Some(self.session_in(book, to, record))
            });
            if let Some(session) = session {
                objects.follow(from, to, session);
            }
        }
    }

    /// The same for objects that are being read meanwhile: they are read on under what follows.
    pub fn read_on(&self, objects: &Objects, renewed: &[(ContractId, ContractId)]) {
        for &(from, to) in renewed {
            let session = self.book.read(|book| {
                let record = book.contract(to)?;
                Some(self.session_in(book, to, record))
            });
            if let Some(session) = session {
                objects.read_on(from, session);
            }
        }
    }

    /// Whether a contract of a delegate pays for reading what its owner keeps there, and for nothing else.
    fn only_reads(&self, record: &ContractRecord) -> bool {
        self.audit_key.is_some() && record.terms.size_max <= WATCH_SIZE
    }

    /// Opens another contract that pays for reading in place of one, and ends that.
    async fn watch_on(
        &self,
        wallet: &Wallet,
        objects: &Objects,
        old: &ContractRecord,
        budget: Amount,
    ) -> Renewal {
        let (from, provider) = (old.terms.id(), old.terms.prices.provider);
        let outcome = self.open_next_watch(wallet, objects, old, budget).await;
        // Also what an earlier run left half opened.
        let of_it = |book: &Book, record: &ContractRecord| {
            let terms = &record.terms;
            terms.prices.provider == provider
                && terms.prices.currency == old.terms.prices.currency
                && terms.renews.is_none()
                && book.is_for(record) == For::Kept
        };
        let now = self.clock.now();
        let idle = self.book.read(|book| book.idle_where(now, |record| of_it(book, record)));
        let held = outcome.as_ref().map_or(idle, |renewed| renewed.held);
        Renewal { from, provider, held, outcome }
    }

    async fn open_next_watch(
        &self,
        wallet: &Wallet,
        objects: &Objects,
        old: &ContractRecord,
        budget: Amount,
    ) -> Result<Renewed, AgentError> {
        let (from, provider) = (old.terms.id(), old.terms.prices.provider);
        let not_there = || AgentError::Store(format!("{from} has no slot"));
        let (set, index, origin, share) = self
            .book
            .read(|book| {
                let (set, index) = slot_of(book, from)?;
                let of_set = book.objects().filter(|(_, object)| object.set == set);
                let share = of_set.fold(Bytes::ZERO, |sum, (_, object)| {
                    sum.checked_add(object.share()).unwrap_or(Bytes::MAX)
                });
                Some((set, index, book.origin(from), share))
            })
            .ok_or_else(not_there)?;
        let list = offer_of(&self.finder, &old.address).await?;
        let slot = EntrustedSlot { origin, terms: old.terms, address: old.address.clone() };
        let opened = self.open_watch(wallet, &slot, &list, share, Some(budget)).await?;
        let record = opened.map_err(|why| AgentError::Placement {
            what: format!("{}… is not paid for reading: {why}", provider.short()),
            hint: "raise the budget, or let the slot be repaired elsewhere".to_owned(),
        })?;
        let to = record.terms.id();
        self.carry_losses(objects, old, &record).await?;
        self.replace(set, index, to)?;
        if let Some(session) = objects.sessions().get(&from)
            && let Err(error) = self.end(from, session).await
        {
            // What is open and in its slot serves, however the old one ends.
            tracing::info!(%error, "a contract that was followed by another could not be ended");
        }
        Ok(Renewed { to, held: record.hold_max, ends: record.terms.ends })
    }
}

impl Agent {
    /// Has what was lost under a contract be lost under the one that follows it; less what it earned by the account that its host
    /// showed last.
    async fn carry_losses(
        &self,
        objects: &Objects,
        old: &ContractRecord,
        to: &ContractRecord,
    ) -> Result<(), AgentError> {
        let (from, contract) = (old.terms.id(), to.terms.id());
        let (tab, paid) = match objects.sessions().get(&from) {
            Some(session) => session.account().await,
            None => <_>::default(),
        };
        let loss = self.book.read(|book| book.loss(from));
        let loss = loss.carried(&old.terms.prices, (&tab, paid), &to.terms.prices);
        if loss.lost == 0 {
            return Ok(());
        }
        self.book.record(&Event::LossKept { contract, loss })
    }
}

/// Returns the first slot of a contract that no repair has begun to give to another.
fn slot_of(book: &Book, contract: ContractId) -> Option<(u32, u8)> {
    (0..book.set_count()).find_map(|set| {
        let index = book.set(set)?.contracts.iter().position(|&other| other == contract)?;
        let slot = (set, u8::try_from(index).ok()?);
        let is_given_up = book.repairs().any(|(set, index, _)| (set, index) == slot);
        (!is_given_up).then_some(slot)
    })
}
