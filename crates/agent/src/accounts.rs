//! Tell what contracts have come to, also while their hosts are silent.
//!
//! Each account that a host shows is written into the book. Of a host that is silent the last one counts, or what the book
//! tells of itself, whichever is more: a sum over contracts does not go down because one host does not answer.

use crate::book::{Book, Event, Stage};
use crate::{Agent, ContractStatus};
use fondaco_contract::{ContractId, Meter, Tab};
use fondaco_units::Bytes;

/// What is known of a contract's account without its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The account that its host showed last.
    pub seen: Option<Tab>,
    /// What objects tell of that lies under it, and the book itself.
    pub kept: Bytes,
    /// The most that can lie under it.
    pub given: Bytes,
}

impl Known {
    pub(crate) fn of(book: &Book, contract: ContractId) -> Self {
        let (seen, kept, given) = (book.seen(contract), book.kept(contract), book.given(contract));
        Self { seen, kept, given }
    }

    /// Returns what is kept, as far as is known.
    fn stored(self) -> Bytes {
        let seen = self.seen.map_or(Bytes::ZERO, |tab| tab.stored);
        seen.min(self.given).max(self.kept)
    }

    /// Returns what was used at least under a contract that both sides signed, and which took over what lay under another or
    /// did not.
    fn used(self, renews: bool) -> Meter {
        let seen = self.seen.map(|tab| tab.meter).unwrap_or_default();
        // What was taken over was not written again.
        let written = if renews { 0 } else { self.kept.get() };
        Meter {
            opened: true,
            written: seen.written.max(written),
            read: seen.read,
            byte_epochs: seen.byte_epochs.max(self.kept.get().into()),
        }
    }
}

impl ContractStatus {
    /// Returns whether its host was to say how it stands, and did not.
    pub fn is_silent(&self) -> bool {
        self.record.stage == Stage::Open && self.tab.is_none()
    }

    /// Returns what is kept: as its host says; or as far as is known, while it does not.
    pub fn stored(&self) -> Bytes {
        let known = || self.known.stored().min(self.record.terms.size_max);
        self.tab.map_or_else(known, |tab| tab.stored)
    }

    /// Returns what was used: as its host says, or said when the contract ended; or else at least, as far as is known.
    pub fn used(&self) -> Option<Meter> {
        match (self.tab, &self.record.stage) {
            (Some(tab), _) => Some(tab.meter),
            (None, Stage::Open) => Some(self.known.used(self.record.terms.renews.is_some())),
            (None, Stage::Ended(_)) => self.known.seen.map(|tab| tab.meter),
            (None, Stage::Intended) => None,
        }
    }
}

impl Agent {
    /// Writes down the accounts that hosts have just shown, and that are not those they showed last.
    pub(crate) fn note_accounts(&self, contracts: &[ContractStatus]) {
        let news = contracts.iter().filter_map(|status| {
            let is_news = status.record.stage == Stage::Open && status.tab != status.known.seen;
            let (contract, tab) = (status.contract, status.tab.filter(|_| is_news)?);
            Some(Event::AccountSeen { contract, tab })
        });
        let news: Vec<Event> = news.collect();
        if !news.is_empty()
            && let Err(error) = self.book().record_all(&news)
        {
            // What was asked for is known all the same.
            tracing::warn!(%error, "the accounts could not be written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_host_makes_nothing_less() {
        let tab = |written, byte_epochs, stored| {
            let meter = Meter { opened: true, written, read: 7, byte_epochs };
            Tab { meter, epochs_paid: 2, stored: Bytes::new(stored) }
        };
        // One line for each: the account seen last, what objects tell of, the most that was given, whether it renews another;
        // what is kept, what was written, bytes times epochs.
        let table = [
            (None, 0, 0, false, (0, 0, 0)),
            (None, 50, 900, false, (50, 50, 50)), // never 900, which counts what broke off
            (None, 50, 900, true, (50, 0, 50)),
            (Some(tab(40, 60, 30)), 20, 900, false, (30, 40, 60)),
            (Some(tab(40, 60, 30)), 90, 900, false, (90, 90, 90)),
            (Some(tab(40, 60, 30)), 90, 900, true, (90, 40, 90)),
            (Some(tab(40, 60, 30)), 20, 25, false, (25, 40, 60)),
        ];
        for (seen, kept, given, renews, expected) in table {
            let known = Known { seen, kept: Bytes::new(kept), given: Bytes::new(given) };
            let used = known.used(renews);
            let told = (known.stored().get(), used.written, used.byte_epochs);
            assert_eq!(told, expected, "{known:?} {renews}");
            assert_eq!((used.opened, used.read), (true, if seen.is_some() { 7 } else { 0 }));
        }
    }
}
