//! Go on with the contracts of the newest set that are fine, and open others in place of those that are not: a new set of both.
//!
//! ```text
//! the newest set ──► which contracts are fine? ──► room, and time? ──► one host for each other slot, as a repair chooses it
//!                                                     │                  └─ as durable as is wanted? ──► the set (saved)
//!                                                     └─ no: a whole new set ◄─────────── no
//! ```
//!
//! A slot keeps its number, so that what was sent to the others before is not sent to them again.

use super::{Opened, Opening, SlotWish, Wish, size_max};
use crate::book::{Book, Coding, ContractRecord, Event, For, Stage};
use crate::choosing::{Durability, Records, Rest, kept};
use crate::{AgentError, SET_TIME_LEFT_MIN};
use fondaco_codec::List;
use fondaco_contract::ContractId;
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_erasure::Code;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The room that a contract must have left at least to be worth keeping.
const ROOM_LEFT_MIN: Bytes = Bytes::new(16 << 20);

/// What the contracts of the newest set must be like to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// Whose contracts are not.
    pub without: &'a BTreeSet<EntityId>,
    /// What is to be stored at once, before it is cut.
    pub object: Bytes,
    /// How many epochs they must last yet.
    pub epochs: f64,
}

/// The newest set, and which of its contracts are kept.
struct Kept {
    code: Code,
    /// For each slot its contract, if that is kept.
    slots: Vec<Option<ContractRecord>>,
    /// When the last of them ends.
    until: Timestamp,
}

impl Kept {
    /// Finds those that are fine; or says why none are kept.
    fn of(
        book: &Book,
        wish: Wish,
        beside: &Beside<'_>,
        at: (CurrencyId, Timestamp),
    ) -> Result<Self, String> {
        let newest = book.set_count().checked_sub(1).and_then(|newest| book.set(newest));
        let set = newest.ok_or("there is no set yet")?;
        let code = set.code;
        let share = |bytes: Bytes| Bytes::new(bytes.get().div_ceil(u64::from(code.k())));
        let (currency, now) = at;
        let is_fine = |record: &&ContractRecord| {
            let (contract, provider) = (record.terms.id(), record.terms.prices.provider);
            record.stage == Stage::Open
                && record.terms.ends > now.after(SET_TIME_LEFT_MIN)
                && record.terms.prices.currency == currency
                && book.is_paid(provider)
                && !book.was_passed_on(contract)
                && !beside.without.contains(&provider)
        };
        let slots = set.contracts.iter().map(|&id| book.contract(id).filter(is_fine).cloned());
        let slots: Vec<Option<ContractRecord>> = slots.collect();
        let fine: Vec<&ContractRecord> = slots.iter().flatten().collect();
        if fine.len() == slots.len() {
            return Err("all contracts of the newest set are open".to_owned());
        }
        if fine.len() * 2 <= slots.len() {
            return Err(format!("only {} of {} contracts are fine", fine.len(), slots.len()));
        }
        let room_min = share(beside.object).checked_add(ROOM_LEFT_MIN).unwrap_or(Bytes::MAX);
        for record in &fine {
            let (terms, given) = (&record.terms, book.given(record.terms.id()));
            if terms.size_max < share(wish.bytes) || terms.size_max.saturating_sub(given) < room_min
            {
                let (host, size) = (terms.prices.provider.short(), terms.size_max);
                return Err(format!("{host}… has {given} in a contract for {size}"));
            }
            let epoch = terms.prices.epoch.milliseconds();
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss
            )]
            let span = (epoch as f64 * beside.epochs.max(0.0)) as u64; // saturates
            if terms.ends < now.after(Duration::from_milliseconds(span)) {
                return Err(format!("a contract ends {}", terms.ends));
            }
        }
        let until = fine.iter().map(|record| record.terms.ends).max().ok_or("none is fine")?;
        Ok(Self { code, slots, until })
    }
}

impl Opening<'_> {
    /// Opens contracts in place of those of the newest set that are not fine, and makes a new set of them and the others. Where
    /// that would have too little room or time, or would not be as durable as is wished, a whole new set is opened.
    pub async fn open_beside(
        &self,
        hosts: &[Address],
        wish: Wish,
        beside: &Beside<'_>,
    ) -> Result<Opened, AgentError> {
        let at = (self.currency, self.now);
        let kept = self.book.read(|book| Kept::of(book, wish, beside, at));
        let opened = match kept {
            Ok(kept) => self.fill_up(hosts, wish, beside, &kept).await?,
            Err(why) => Err(why),
        };
        match opened {
            Ok(opened) => Ok(opened),
            Err(why) => {
                tracing::info!(why, "the contracts of the newest set are not kept");
                self.open(hosts, wish).await
            }
        }
    }

    /// Opens a contract for each slot that has none; or says why that will not do. What was opened then is taken up, or ended, by
    /// what comes next.
    async fn fill_up(
        &self,
        hosts: &[Address],
        wish: Wish,
        beside: &Beside<'_>,
        kept: &Kept,
    ) -> Result<Result<Opened, String>, AgentError> {
        let Kept { code, ref slots, until } = *kept;
        let size_max = size_max(Bytes::new(wish.bytes.get().div_ceil(u64::from(code.k()))));
        let mut filled: BTreeMap<usize, ContractRecord> = BTreeMap::new();
        let before = self.book.read(Book::holds_before);
        for (index, _) in slots.iter().enumerate().filter(|(_, slot)| slot.is_none()) {
            let there = slots.iter().flatten().chain(filled.values());
            let mut not = beside.without.clone();
            not.extend(there.map(|record| record.terms.prices.provider));
            let rest = self.rest_of(kept, &filled, wish.survive)?;
            let held = self.book.read(|book| book.held_since(&before));
            let budget = wish.budget.map(|budget| budget.saturating_sub(held));
            let (reads, of) = (Bytes::ZERO, For::Set);
            let wish = SlotWish { size_max, until, not: &not, budget, reads, rest, of };
            match self.try_slot(hosts, &wish).await? {
                Ok(opened) => drop(filled.insert(index, opened.record)),
                Err(passed_over) => {
                    let why =
                        passed_over.iter().map(|(host, why)| format!("{}: {why}", host.short()));
                    let why: Vec<String> = why.collect();
                    return Ok(Err(format!("no host can take slot {index}: {}", why.join("; "))));
                }
            }
        }
        let opened: Vec<&ContractRecord> = filled.values().collect();
        let held = opened.iter().fold(Amount::ZERO, |sum, record| {
            sum.checked_add(record.hold_max).unwrap_or(Amount::MAX)
        });
        let kept_count = slots.iter().flatten().count();
        let contracts = slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.as_ref().or_else(|| filled.get(&index)).map(|record| record.terms.id())
        });
        let contracts: Vec<ContractId> = contracts.collect();
        let set = self.form(code, contracts, wish.survive)?;
        // What an earlier run opened, and nobody wants.
        self.close_strays(&[]).await?;
        let durability = self.book.read(|book| {
            Durability::of_set(book, &Records::of(book), (set, code), &BTreeSet::new())
        })?;
        let passed_over = Vec::new();
        Ok(Ok(Opened { code, durability, kept: kept_count, held, size_max, passed_over }))
    }

    /// What is there beside the next slot that is filled.
    fn rest_of(
        &self,
        Kept { code, slots, .. }: &Kept,
        filled: &BTreeMap<usize, ContractRecord>,
        survive: f64,
    ) -> Result<Rest, AgentError> {
        self.book.read(|book| {
            let records = Records::of(book);
            let there = slots.iter().flatten().chain(filled.values());
            let members = there.map(|record| {
                kept(&record.address, book.operator(record.terms.prices.provider), &records)
            });
            let members = members.collect::<Result<Vec<_>, _>>()?;
            let missing = slots.len().saturating_sub(members.len() + 1);
            Ok(Rest { code: *code, kept: members, missing, promised: Some(survive) })
        })
    }

    /// Makes contracts the newest set; those that are in another have there the tag key that they have here.
    fn form(
        &self,
        code: Code,
        contracts: Vec<ContractId>,
        survive: f64,
    ) -> Result<u32, AgentError> {
        let set = self.book.read(Book::set_count);
        let tagged = self.book.read(|book| {
            let of = (0..).zip(&contracts).filter_map(|(index, &contract)| {
                let origin = book.origin(contract);
                (origin != contract).then_some(Event::SlotTagged { set, index, origin })
            });
            of.collect::<Vec<Event>>()
        });
        let contracts = List::new(contracts).expect("n is a byte");
        let mut events = vec![Event::SetFormed { coding: Coding::Cauchy8, k: code.k(), contracts }];
        events.extend(tagged);
        events.push(Event::SetPromised { set, survive: survive.to_bits() });
        self.book.record_all(&events)?;
        Ok(set)
    }
}
