//! Hosts that a person named: whether they are there, asked of those only that were not dealt with there anyway.

use super::{Finder, Found};
use crate::Agent;
use crate::journal::BookFile;
use fondaco_ports::Address;
use fondaco_transport::{CloseReason, TransportError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What is known of a host at the place that a person named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was dealt with there.
    Used,
    /// Its own key answers there; nothing else was asked of it.
    There,
    /// It was not found there.
    Not {
        /// What was there instead.
        why: TransportError,
    },
}

/// Hosts that a person named, of which it is to be said what became of them. The book stays open for as long as this is kept.
#[derive(Debug)]
pub struct Named {
    pub(super) finder: Arc<Finder>,
    pub(super) book: Arc<BookFile>,
    pub(super) hosts: Vec<Address>,
}

impl Named {
    /// Returns where they were named.
    pub fn hosts(&self) -> &[Address] {
        &self.hosts
    }

    /// Returns whether there is a contract with this host.
    pub fn is_ours(&self, host: &Address) -> bool {
        self.book.read(|book| {
            let mut of = book.contracts().map(|(_, record)| record.terms.prices.provider);
            of.any(|provider| provider == host.entity())
        })
    }

    /// Returns what is known of each that `wanted` takes, in the order named; those that were not dealt with there are dialled,
    /// all at once, and for so long at most. The book has those with a contract where they answered, from then on.
    pub async fn ask(
        &self,
        wanted: impl Fn(&Address) -> bool,
        limit: Duration,
    ) -> Vec<(Address, Answer)> {
        let mut asking = JoinSet::new();
        for (index, place) in self.hosts.iter().enumerate().filter(|(_, place)| wanted(place)) {
            let (finder, place) = (Arc::clone(&self.finder), place.clone());
            asking.spawn(async move {
                let late = TransportError::Unreachable { address: place.clone() };
                let found = timeout(limit, finder.look_at(&place)).await.unwrap_or(Err(late));
                (index, place, found)
            });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(index, ..)| *index);
        let used = |place: &Address| self.finder.was_used(place);
        // One that answers at two places is where it was dealt with, or at the first that was named.
        let mut settled: BTreeSet<_> = answers.iter().map(|(_, place, _)| place).cloned().collect();
        settled.retain(used);
        let mut settled: BTreeSet<_> = settled.iter().map(Address::entity).collect();
        let told = answers.into_iter().map(|(_, place, found)| {
            let answer = match found {
                _ if used(&place) => Answer::Used,
                Err(why) => Answer::Not { why },
                Ok(found) => {
                    if settled.insert(place.entity()) && self.finder.is_elsewhere(&place) {
                        self.finder.note(&found);
                    }
                    Answer::There
                }
            };
            (place, answer)
        });
        told.collect()
    }
}

impl Finder {
    /// Sees whether the key of a place answers there, unless that is known.
    async fn look_at(&self, place: &Address) -> Result<Found, TransportError> {
        let known = self.known(place);
        if known.place == *place && (self.was_used(place) || self.was_found(place)) {
            return Ok(known);
        }
        let endpoint = match self.is_elsewhere(place) || self.was_found_at_all(place) {
            true => self.endpoint.beside(&self.key).await?,
            false => self.endpoint.clone(),
        };
        let found = Found { place: place.clone(), endpoint };
        found.dial().await?.close(CloseReason::Done);
        Ok(found)
    }

    /// Whether the book has the host at another place.
    pub(super) fn is_elsewhere(&self, place: &Address) -> bool {
        self.book.upgrade().is_some_and(|book| {
            book.read(|book| {
                let mut of = book.contracts().map(|(_, record)| &record.address);
                of.any(|known| known.entity() == place.entity() && known != place)
            })
        })
    }

    fn was_found(&self, place: &Address) -> bool {
        let found = self.found.lock().expect("no panic under this lock");
        found.get(&place.entity()).is_some_and(|found| found.place == *place)
    }

    fn was_found_at_all(&self, place: &Address) -> bool {
        self.found.lock().expect("no panic under this lock").contains_key(&place.entity())
    }

    /// Whether this process has dealt with a host there.
    fn was_used(&self, place: &Address) -> bool {
        self.used.lock().expect("no panic under this lock").contains(place)
    }
}

impl Agent {
    /// Takes note of hosts that a person named.
    pub fn named(&self, hosts: Vec<Address>) -> Named {
        Named { finder: Arc::clone(&self.finder), book: Arc::clone(&self.book), hosts }
    }
}
