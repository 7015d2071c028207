//! The book as hosts keep it: the fewest events that make it again, instead of all that led to it.

use super::giving::Given;
use super::{Book, Coding, End, Event, ObjectRecord, Stage, Unanswered};
use crate::audit_log::LogHead;
use fondaco_codec::{List, Text};
use fondaco_contract::Tab;
use fondaco_crypto::Digest;
use fondaco_units::Amount;
use std::collections::BTreeSet;

impl Book {
    /// Returns events that lead to a book like this one: as it is kept by the hosts.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (&contract, record) in &self.contracts {
            events.push(Event::ContractIntended {
                terms: record.terms,
                address: record.address.clone(),
                hold_request: record.hold_request,
                hold_max: record.hold_max,
                hold_expires: record.hold_expires,
            });
            if let Some(&provider_signature) = self.signatures.get(&contract) {
                events.push(Event::ContractOpened { contract, provider_signature });
            }
            if let Stage::Ended(End { state, tab, paid, settled }) = record.stage {
                events.push(match state {
                    // What is known of the provider is told as a whole.
                    Some(state) => Event::ContractOver { contract, state, tab, paid, kept: false },
                    None => {
                        let (tab, paid) = (Tab::default(), Amount::ZERO);
                        Event::ContractEnded { contract, tab, paid }
                    }
                });
                if let Some(paid) = paid.filter(|_| settled) {
                    events.push(Event::HoldClosed { contract, paid });
                }
            }
        }
        events.extend(self.for_slots.iter().map(|&contract| Event::ForSlot { contract }));
        for (number, set) in (0..).zip(&self.sets) {
            let contracts = List::new(set.origins.clone()).expect("a set that was read");
            let (coding, k) = (Coding::Cauchy8, set.code.k());
            events.push(Event::SetFormed { coding, k, contracts });
            for (index, (&contract, origin)) in (0..).zip(set.contracts.iter().zip(&set.origins)) {
                if contract != *origin {
                    events.push(Event::SlotTaken { set: number, index, contract });
                }
            }
        }
        for (&object, record) in &self.objects {
            let &ObjectRecord { length, set, code, tagged, .. } = record;
            let shards = List::new(record.shards.clone()).expect("an object that was read");
            let k = code.k();
            events.push(match tagged {
                Some(tagged) => {
                    Event::TaggedObjectStored { object, length, set, k, shards, tagged }
                }
                None => Event::ObjectCoded { object, length, set, k, shards },
            });
        }
        // The receipts themselves would soon be longer than all else: a removed object has one of each of its hosts.
        let deletions = self.deletions.iter();
        events.extend(deletions.map(|(&contract, &(count, bytes))| Event::DeletionsCounted {
            contract,
            count,
            bytes,
        }));
        for (&set, &survive) in &self.promises {
            events.push(Event::SetPromised { set, survive });
        }
        for (&provider, operator) in &self.operators {
            events.push(Event::OperatorSaid { provider, operator: operator.clone() });
        }
        let losses = self.losses.iter();
        events.extend(losses.map(|(&contract, &loss)| Event::LossKept { contract, loss }));
        let cuts = self.cuts.iter();
        events.extend(cuts.map(|(&contract, &put)| Event::PutCut { contract, put }));
        for (&(set, index), &contract) in &self.repairs {
            events.push(Event::SlotIntended { set, index, contract });
        }
        // After all that counts what is given.
        for (&contract, given) in
            self.given.iter().filter(|(id, _)| self.contracts.contains_key(id))
        {
            let &Given { stored: given, begun: giving, marked } = given;
            events.push(Event::GivenKept { contract, given, giving, marked });
        }
        for (&provider, why) in &self.distrusted {
            events.push(Event::ProviderDistrusted { provider, why: Text::cut(why) });
        }
        let providers: BTreeSet<_> = self.records.keys().chain(self.exposures.keys()).collect();
        for &provider in providers {
            let record = self.records.get(&provider).copied();
            let exposure = self.exposures.get(&provider).copied();
            events.push(Event::TrustKept { provider, record, exposure });
        }
        for &contract in self.contracts.keys() {
            let (proven, lost) = (self.proven.get(&contract).copied(), self.is_lost(contract));
            events.push(Event::ProofKept { contract, proven, lost });
        }
        for (&contract, &Unanswered { shard, offset, length }) in &self.unanswered {
            events.push(Event::ReadUnanswered { contract, shard, offset, length });
        }
        let seen = self.seen.iter();
        events.extend(seen.map(|(&contract, &tab)| Event::AccountSeen { contract, tab }));
        let epochs = self.epochs_paid.iter();
        events.extend(epochs.map(|(&contract, &epochs)| Event::EpochsPaid { contract, epochs }));
        let passed_on = self.passed_on.iter();
        events.extend(passed_on.map(|(&contract, &at)| Event::PassedOnSince { contract, at }));
        let entrusted = self.entrusted.iter();
        events.extend(entrusted.map(|(&to, &until)| Event::Entrusted { to, until }));
        if self.unfinished {
            events.push(Event::BackupStarted);
        }
        if self.audits != LogHead::default() {
            let link = self.audits.link.unwrap_or(Digest::ZERO);
            events.push(Event::AuditsLogged { entries: self.audits.entries, link });
        }
        if self.handed > 0 {
            events.push(Event::HandedBack { sequence: self.handed });
        }
        for (&delegate, &sequence) in &self.reclaimed {
            events.push(Event::Reclaimed { delegate, sequence });
        }
        if self.sequence > 0 {
            events.push(Event::StateNumbered { sequence: self.sequence });
        }
        events
    }
}
