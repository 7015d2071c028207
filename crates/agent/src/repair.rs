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

mod filling;
mod health;

pub(crate) use health::threshold;
pub use health::{Cause, Health, Lost, Warned};

use crate::book::{Book, ContractRecord, Event, For, Stage};
use crate::choosing::{Durability, Records, Rest, kept, probability};
use crate::objects::{Objects, is_transient};
use crate::opening::{OpenedSlot, SLACK, SlotWish, size_max as room};
use crate::progress::Progress;
use crate::session::Session;
use crate::{Agent, AgentError, Wallet, ending};
use filling::Slot;
use fondaco_contract::ContractId;
use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How long a host may take to end a contract whose slot another has taken.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

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

impl Agent {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::terms;

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
}
