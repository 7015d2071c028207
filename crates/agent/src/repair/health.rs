//! Which slots of each set are lost, and whether that is enough for a repair.

use crate::auditing::{Audited, Kind, Outcome};
use crate::book::{Book, Stage};
use crate::choosing::{Durability, Records};
use crate::objects::Objects;
use crate::{Agent, AgentError};
use fondaco_contract::{ContractId, State};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_erasure::Code;
use fondaco_reputation::Standing;
use std::collections::{BTreeMap, BTreeSet};

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
    pub(super) const fn is_failure(self) -> bool {
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
    pub(super) silent: BTreeSet<EntityId>,
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::tests::{intended, intended_by, opened, opened_by, set, terms, terms_by};
    use crate::book::{Event, ObjectId, ObjectKind};
    use fondaco_audit::ShardId;
    use fondaco_codec::List;
    use fondaco_contract::Tab;
    use fondaco_crypto::Digest;
    use fondaco_units::{Amount, Bytes};

    #[test]
    fn a_threshold_is_between_k_and_n() {
        // k, n, and the most that may live for a repair to be due.
        let table =
            [(1, 1, 1), (1, 2, 1), (2, 3, 2), (2, 4, 3), (2, 5, 3), (10, 30, 20), (40, 80, 60)];
        for (k, n, expected) in table {
            assert_eq!(threshold(Code::new(k, n).unwrap()), expected, "{k} of {n}");
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
