//! Look for a host that is not where it was: it has another port or IP address, and the same key.
//!
//! ```text
//! where the book says ──► no answer in HEAD_START, or another's ──► a search, one for each provider, in a task of its own
//!        │                                                             │ what a person named, what else the book has
//!        │                                                             ▼ nowhere there: each broker, Find{provider}
//!        └──► connected, whichever answers first ◄── the book is told ◄── dialled, and the key has answered
//! ```
//!
//! # What always holds
//!
//! - A place is believed when the host's own key has answered there, and written down only then.
//! - Each place is dialled by itself, never together with the one that was known, and from an endpoint that knows of no
//!   other place of that host: at its old socket may be somebody else, whose wrong key would end the attempt.
//! - A search goes on when the read that began it is given up, and is the only one of its provider. After one in vain there is
//!   none for [`REST`](searches::REST), so that a host that is gone costs its brokers little.
//! - Brokers are asked by a key that is thrown away, and only of a host that does not answer.
//!
//! # What is not here
//!
//! What becomes of a host that is nowhere: `auditing` and `repair`.

mod named;
mod searches;

pub use named::{Answer, Named};

use crate::discovery::{BROKERS_MAX, whereabouts};
use crate::journal::BookFile;
use crate::{Agent, AgentError, book::Event, entropy};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_ports::{Address, Clock};
use fondaco_transport::{CloseReason, Connection, Endpoint, Protocol, TransportError};
use searches::{Searches, leads, may_be_elsewhere};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// How long a host is dialled where it was before it is looked for elsewhere, too: less than a read waits for a silent host.
const HEAD_START: Duration = Duration::from_millis(500);

/// What a search came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// A host's own key has answered at another address than the one that was known; the book has it by now.
    Found {
        /// Whose, and where.
        at: &'a Address,
    },
    /// A host is not where a person said, or where it was heard of.
    NotThere {
        /// Whose, and where.
        at: &'a Address,
        /// What was there instead.
        why: &'a TransportError,
    },
}

/// Who is told what searches come upon.
pub type Told = Arc<dyn Fn(News<'_>) + Send + Sync>;

/// Where hosts are looked for that are not where they were.
#[derive(Clone, Default)]
pub struct Seek {
    /// Addresses that a person named, or that were heard of; several of one host, and of strangers, too.
    pub hosts: Vec<Address>,
    /// Brokers to be asked where the addresses do not help.
    pub brokers: Vec<Address>,
    /// Who is told.
    pub told: Option<Told>,
}

impl std::fmt::Debug for Seek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hosts, brokers, told: _ } = self;
        f.debug_struct("Seek").field("hosts", hosts).field("brokers", brokers).finish()
    }
}

/// What one waits on who looks for a host: nothing yet, or where it was found, or that it was not.
type Wait = watch::Receiver<Option<Option<Found>>>;

/// Where a host was found, and from which endpoint it is dialled there.
#[derive(Clone, Debug)]
struct Found {
    place: Address,
    endpoint: Endpoint,
}

impl Found {
    async fn dial(&self) -> Result<Connection, TransportError> {
        self.endpoint.connect(&self.place, Protocol::Storage).await
    }
}

/// Dials hosts, and looks for those that are not where they were.
#[derive(Debug)]
pub(crate) struct Finder {
    key: SecretKey,
    endpoint: Endpoint,
    /// Not held by it: a search that goes on must not keep the next command from opening the book.
    book: Weak<BookFile>,
    clock: Arc<dyn Clock>,
    seek: Seek,
    began: Instant,
    searches: Mutex<Searches<Wait>>,
    /// Where hosts were found.
    found: Mutex<BTreeMap<EntityId, Found>>,
    /// Where hosts were dealt with.
    used: Mutex<BTreeSet<Address>>,
    /// By what brokers are asked.
    nobody: OnceCell<Endpoint>,
}

impl Finder {
    /// Creates what dials from `endpoint`, which is that of `key`.
    pub(crate) fn new(
        key: SecretKey,
        endpoint: Endpoint,
        book: &Arc<BookFile>,
        clock: Arc<dyn Clock>,
        seek: Seek,
    ) -> Self {
        let (began, searches, found) = (Instant::now(), Mutex::default(), Mutex::default());
        let (book, nobody, used) = (Arc::downgrade(book), OnceCell::new(), Mutex::default());
        Self { key, endpoint, book, clock, seek, began, searches, found, used, nobody }
    }

    /// Returns where a host is, as far as this process knows: `address`, if it was not found elsewhere.
    pub(crate) fn now_at(&self, address: &Address) -> Address {
        self.known(address).place
    }

    fn known(&self, address: &Address) -> Found {
        let found =
            self.found.lock().expect("no panic under this lock").get(&address.entity()).cloned();
        found.unwrap_or_else(|| Found { place: address.clone(), endpoint: self.endpoint.clone() })
    }

    /// Dials a host for its storage, where it was or wherever it is found.
    ///
    /// # Errors
    ///
    /// Of the dial at the address that was known.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        address: &Address,
    ) -> Result<Connection, TransportError> {
        let known = self.known(address);
        let mut dial = pin!(self.dial(&known));
        if self.seek.brokers.is_empty() && self.leads(&known.place).is_empty() {
            return dial.await;
        }
        let failed = match timeout(HEAD_START, dial.as_mut()).await {
            Ok(Err(error)) if may_be_elsewhere(&error) => Some(error),
            Ok(done) => return done,
            Err(_) => None,
        };
        let Some(wait) = self.search(&known.place) else {
            return match failed {
                Some(error) => Err(error),
                None => dial.await,
            };
        };
        let mut search = pin!(ended(wait));
        let failed = match failed {
            Some(error) => error,
            None => tokio::select! {
                biased;
                done = dial.as_mut() => match done {
                    Err(error) if may_be_elsewhere(&error) => error,
                    done => return done,
                },
                found = search.as_mut() => return match found {
                    Some(found) => self.dial(&found).await,
                    None => dial.await,
                },
            },
        };
        match search.await {
            Some(found) => self.dial(&found).await,
            None => Err(failed),
        }
    }

    async fn dial(&self, at: &Found) -> Result<Connection, TransportError> {
        let connection = at.dial().await?;
        self.used.lock().expect("no panic under this lock").insert(at.place.clone());
        Ok(connection)
    }

    /// Returns where else a host may be that was dialled in vain: what a person named before what the book has.
    fn leads(&self, tried: &Address) -> Vec<Address> {
        let booked = self.book.upgrade().map(|book| {
            book.read(|book| {
                let of = book.contracts().map(|(_, record)| &record.address);
                let of = of.filter(|place| place.entity() == tried.entity() && *place != tried);
                of.cloned().collect::<Vec<_>>()
            })
        });
        leads(tried, self.seek.hosts.iter().chain(booked.iter().flatten()))
    }

    /// Has a host looked for, if it is not yet, and was not in vain a short while ago.
    fn search(self: &Arc<Self>, tried: &Address) -> Option<Wait> {
        let (provider, now) = (tried.entity(), self.began.elapsed());
        let mut searches = self.searches.lock().expect("no panic under this lock");
        searches.join(provider, now, || {
            let (end, wait) = watch::channel(None);
            let (finder, tried) = (Arc::clone(self), tried.clone());
            tokio::spawn(async move {
                let found = finder.look_for(&tried).await;
                if let Some(found) = &found {
                    finder.note(found);
                }
                let now = finder.began.elapsed();
                let mut searches = finder.searches.lock().expect("no panic under this lock");
                searches.ended(provider, now, found.is_some());
                drop(searches);
                end.send_replace(Some(found));
            });
            wait
        })
    }

    async fn look_for(self: &Arc<Self>, tried: &Address) -> Option<Found> {
        let provider = tried.entity();
        let leads = self.leads(tried);
        tracing::debug!(provider = %provider.short(), leads = leads.len(), "a host is looked for");
        let mut dialled: BTreeSet<Address> = leads.iter().cloned().collect();
        dialled.insert(tried.clone());
        let mut dials: JoinSet<Option<Found>> = JoinSet::new();
        for lead in leads {
            let finder = Arc::clone(self);
            dials.spawn(async move { finder.reached(lead, finder.seek.told.as_ref()).await });
        }
        if let Some(found) = first(&mut dials).await {
            return Some(found);
        }
        if self.seek.brokers.is_empty() {
            return None;
        }
        let nobody = self
            .nobody()
            .await
            .inspect_err(|error| tracing::info!(%error, "brokers cannot be asked where a host is"));
        let (nobody, now) = (nobody.ok()?, self.clock.now());
        let dialled = Arc::new(Mutex::new(dialled));
        for broker in self.seek.brokers.iter().take(BROKERS_MAX) {
            let (nobody, broker) = (nobody.clone(), broker.clone());
            let (finder, dialled) = (Arc::clone(self), Arc::clone(&dialled));
            dials.spawn(async move {
                let told = whereabouts(&nobody, &broker, provider, now).await.inspect_err(
                    |error| tracing::info!(broker = %broker.entity().short(), %error, "a broker did not say where a host is"),
                );
                let place = told.ok()??;
                // Another broker may have said the same, and the host may be where it was, and silent.
                let is_new = dialled.lock().expect("no panic under this lock").insert(place.clone());
                if is_new { finder.reached(place, None).await } else { None }
            });
        }
        first(&mut dials).await
    }

    /// Dials a place, from an endpoint that knows of no other; returns it if the key that it is to be the place of answers.
    async fn reached(&self, place: Address, told: Option<&Told>) -> Option<Found> {
        let endpoint = self.endpoint.beside(&self.key).await;
        let endpoint =
            endpoint.inspect_err(|error| tracing::warn!(%error, "no socket to look from"));
        let found = Found { place, endpoint: endpoint.ok()? };
        match found.dial().await {
            Ok(connection) => {
                connection.close(CloseReason::Done);
                Some(found)
            }
            Err(error) => {
                tracing::info!(%error, "a host is not there either");
                if let Some(told) = told {
                    told(News::NotThere { at: &found.place, why: &error });
                }
                None
            }
        }
    }

    /// Returns an endpoint of nobody in particular: brokers need not know whose data a host keeps.
    async fn nobody(&self) -> Result<&Endpoint, AgentError> {
        let bind = || async {
            let key = SecretKey::from_bytes(&entropy::random()?);
            Ok(self.endpoint.beside(&key).await?)
        };
        self.nobody.get_or_try_init(bind).await
    }

    /// Writes down where a host is, whose key has answered there.
    fn note(&self, found: &Found) {
        let place = &found.place;
        let provider = place.entity();
        tracing::info!(provider = %provider.short(), %place, "a host was found at another address");
        let mut places = self.found.lock().expect("no panic under this lock");
        places.insert(provider, found.clone());
        drop(places);
        let Some(book) = self.book.upgrade() else { return };
        let moved = Event::HostMoved { address: place.clone() };
        if self.is_elsewhere(place)
            && let Err(error) = book.record(&moved)
        {
            // It is used all the same; whatever comes next fails by the same journal, and says so.
            tracing::warn!(%error, "where a host is now was not written down");
        }
        if let Some(told) = &self.seek.told {
            told(News::Found { at: place });
        }
    }
}

/// Waits for the first place at which a host was reached, and lets go of the others; nothing if it is at none.
async fn first(dials: &mut JoinSet<Option<Found>>) -> Option<Found> {
    while let Some(done) = dials.join_next().await {
        if let Ok(Some(found)) = done {
            dials.abort_all();
            return Some(found);
        }
    }
    None
}

/// Waits until a search has ended.
async fn ended(mut wait: Wait) -> Option<Found> {
    wait.wait_for(Option::is_some).await.ok().and_then(|found| found.clone().flatten())
}

impl Agent {
    /// Looks there for hosts that are not where they were; only where the book has another address, if nothing is said.
    #[must_use]
    pub fn seeking(self, seek: Seek) -> Self {
        let (key, endpoint) = (self.key.clone(), self.endpoint.clone());
        let clock = Arc::clone(&self.clock);
        let finder = Arc::new(Finder::new(key, endpoint, &self.book, clock, seek));
        Self { finder, ..self }
    }
}

#[cfg(test)]
mod tests;
