//! What is held for contracts, by which a budget goes down.
//!
//! ```text
//! intended ──► open: held until it is over ──► what it paid
//!     ├──► no answer: its host may have signed      ┐ idle: the issuer keeps the hold until it expires, or its
//!     └──► refused for good, after the hold was made ┘ payee voids it; the payer cannot
//! ```

use super::{Book, ContractRecord, End, Stage};
use crate::delegate::WATCH_SIZE;
use fondaco_contract::{ContractId, State};
use fondaco_crypto::CurrencyId;
use fondaco_units::{Amount, Timestamp};
use std::collections::BTreeSet;

/// What a contract was to be for: by that later budgets know whether its hold counts against them while it is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// What is kept already: renewals, takeovers among them, and contracts that only pay for reading. Counts against every sum.
    Kept,
    /// A lost slot: counts against the sums of repairs.
    Slot,
    /// A new set: counts against the sums of those who store.
    Set,
}

/// The contracts that were open when something began.
#[derive(Clone, Debug, Default)]
pub struct HoldsBefore {
    open: BTreeSet<ContractId>,
}

impl Book {
    /// Returns which contracts are open, to be compared with those of [later](Self::held_since).
    pub fn holds_before(&self) -> HoldsBefore {
        let open = self.contracts.iter().filter(|(_, record)| record.stage == Stage::Open);
        HoldsBefore { open: open.map(|(contract, _)| *contract).collect() }
    }

    /// Returns the most that is held for what was opened since. What was tried and did not come about is [counted](Self::idle) by
    /// whoever has a budget, whenever it was tried.
    pub fn held_since(&self, before: &HoldsBefore) -> Amount {
        let opened = self.contracts.iter().filter(|(contract, record)| {
            record.stage == Stage::Open && !before.open.contains(*contract)
        });
        sum(opened.map(|(_, record)| record.hold_max))
    }

    /// Returns what a contract was to be for.
    pub(crate) fn is_for(&self, record: &ContractRecord) -> For {
        if record.terms.renews.is_some() || record.terms.size_max <= WATCH_SIZE {
            For::Kept
        } else if self.for_slots.contains(&record.terms.id()) {
            For::Slot
        } else {
            For::Set
        }
    }

    /// Returns the most that is held for contracts that were to be for this and did not come about: whoever said what such may cost
    /// meant these, too, however often it is said.
    pub fn idle(&self, of: For, currency: CurrencyId, now: Timestamp) -> Amount {
        self.idle_where(now, |record| {
            self.is_for(record) == of && record.terms.prices.currency == currency
        })
    }

    /// Returns the most that is held in vain, but for these contracts, and counts against a sum for what is to be `of` this.
    pub(crate) fn idle_beside(
        &self,
        chosen: &BTreeSet<ContractId>,
        of: For,
        currency: CurrencyId,
        now: Timestamp,
    ) -> Amount {
        self.idle_where(now, |record| {
            let kind = self.is_for(record);
            let counts = kind == For::Kept || kind == of;
            let is_paid_so = record.terms.prices.currency == currency;
            counts && is_paid_so && !chosen.contains(&record.terms.id())
        })
    }

    /// Returns the most that is held for those of the contracts that did not come about for which `is_it` says so.
    pub(crate) fn idle_where(
        &self,
        now: Timestamp,
        is_it: impl Fn(&ContractRecord) -> bool,
    ) -> Amount {
        let idle = self.contracts.values().filter(|record| is_idle(record, now) && is_it(record));
        sum(idle.map(|record| record.hold_max))
    }

    /// Returns the most that is held for a contract: nothing if it is over, but for a hold that is idle.
    pub(crate) fn held_for(&self, contract: ContractId, now: Timestamp) -> Amount {
        self.contracts.get(&contract).map_or(Amount::ZERO, |record| match record.stage {
            Stage::Open => record.hold_max,
            _ if is_idle(record, now) => record.hold_max,
            Stage::Intended | Stage::Ended(_) => Amount::ZERO,
        })
    }
}

/// Whether there may be a hold at the issuer, and no contract. A host that withholds its answer may have signed.
fn is_idle(record: &ContractRecord, now: Timestamp) -> bool {
    let may_be_held = match record.stage {
        Stage::Intended => true,
        Stage::Open => false,
        Stage::Ended(End { state, settled, .. }) => {
            !settled && matches!(state, Some(State::Cancelled { .. }))
        }
    };
    may_be_held && record.hold_expires > now
}

fn sum(amounts: impl IntoIterator<Item = Amount>) -> Amount {
    let add = |sum: Amount, more| sum.checked_add(more).unwrap_or(Amount::MAX);
    amounts.into_iter().fold(Amount::ZERO, add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Event;
    use crate::book::tests::{intended, opened, terms};
    use fondaco_codec::{Decode as _, Encode as _};
    use fondaco_contract::{Tab, Terms};
    use fondaco_crypto::Signature;
    use fondaco_units::Bytes;

    const NOW: Timestamp = Timestamp::from_milliseconds(1);
    const EXPIRES: Timestamp = Timestamp::from_milliseconds(100);

    fn renewing(nonce: u128, of: u128) -> (ContractId, Event) {
        let terms = terms(nonce).renewing(terms(of).id());
        (terms.id(), tried(terms))
    }

    fn tried(terms: Terms) -> Event {
        let Event::ContractIntended { address, hold_request, hold_max, .. } = intended(1) else {
            unreachable!("it is one");
        };
        let hold_expires = EXPIRES;
        Event::ContractIntended { terms, address, hold_request, hold_max, hold_expires }
    }

    fn refused(contract: ContractId) -> Event {
        let (state, tab) = (State::Cancelled { at: NOW }, Some(Tab::default()));
        Event::ContractOver { contract, state, tab, paid: Some(Amount::ZERO), kept: false }
    }

    /// What becomes of a renewal: what counts against every budget, and what a command that began before it has held.
    #[test]
    fn a_hold_counts_until_the_issuer_has_it_no_more() {
        let (contract, renewal) = renewing(2, 1);
        let currency = terms(1).prices.currency;
        let mut book = Book::default();
        [intended(1), opened(1)].iter().for_each(|event| book.apply(event).unwrap());
        let before = book.holds_before();
        let held = |book: &Book, now| {
            (
                book.idle(For::Kept, currency, now).get(),
                book.held_since(&before).get(),
                book.held_for(contract, now).get(),
            )
        };
        assert_eq!(held(&book, NOW), (0, 0, 0));
        book.apply(&renewal).unwrap();
        assert_eq!(held(&book, NOW), (100, 0, 100), "its host may have signed");
        let mut signed = book.clone();
        let provider_signature = Signature::from_bytes([5; 64]);
        let (from, tab, paid) = (terms(1).id(), Tab::default(), Amount::ZERO);
        let event = Event::ContractRenewed { from, tab, paid, to: contract, provider_signature };
        signed.apply(&event).unwrap();
        assert_eq!(held(&signed, NOW), (0, 100, 100));
        book.apply(&refused(contract)).unwrap();
        assert_eq!(held(&book, NOW), (100, 0, 100), "it refused, and the hold is there");
        let bytes: Vec<Vec<u8>> = book.events().iter().map(|event| event.to_bytes()).collect();
        let mut kept = Book::default();
        bytes.iter().for_each(|bytes| kept.apply(&Event::from_bytes(bytes).unwrap()).unwrap());
        assert_eq!(held(&kept, NOW), (100, 0, 100), "also in the book that the hosts kept");
        assert_eq!(held(&book, EXPIRES), (0, 0, 0), "it expires");
        book.apply(&Event::HoldClosed { contract, paid: Amount::ZERO }).unwrap();
        assert_eq!(held(&book, NOW), (0, 0, 0), "the issuer has it no more");
    }

    /// What was to take a slot counts for repairs, and what was to be of a set for those who store, also as hosts keep the book.
    #[test]
    fn what_is_no_renewal_counts_for_its_like() {
        let mut book = Book::default();
        let before = book.holds_before();
        [large(1), large(2), large(3)].iter().for_each(|event| book.apply(event).unwrap());
        let contract = |nonce| Terms { size_max: Bytes::new(2 << 20), ..terms(nonce) }.id();
        assert!(book.apply(&Event::ForSlot { contract: contract(9) }).is_err(), "it is not known");
        book.apply(&Event::ForSlot { contract: contract(2) }).unwrap();
        let bytes: Vec<Vec<u8>> = book.events().iter().map(|event| event.to_bytes()).collect();
        let mut kept = Book::default();
        bytes.iter().for_each(|bytes| kept.apply(&Event::from_bytes(bytes).unwrap()).unwrap());
        let currency = terms(1).prices.currency;
        for book in [&book, &kept] {
            let idle =
                [For::Kept, For::Slot, For::Set].map(|of| book.idle(of, currency, NOW).get());
            assert_eq!(idle, [0, 100, 200]);
        }
        assert_eq!(book.held_since(&before), Amount::ZERO, "nothing was opened");
    }

    /// One that keeps more than is only read.
    fn large(nonce: u128) -> Event {
        tried(Terms { size_max: Bytes::new(2 << 20), ..terms(nonce) })
    }
}
