//! The book itself, kept by the hosts that it is about: so that the key alone gets everything back.
//!
//! ```text
//! save      number it (saved) ──► seal ──► to each host: put the blob, mark it ──► it drops the one before
//! recover   one host ──► "which contracts are mine?" ──► the highest mark ──► read, open ──► ask the other hosts in it
//!           ──► the newest of all ──► the book, written beside, then named
//! ```
//!
//! A blob is a shard like any other, whole on each host, and paid for like any other. What tells it apart is the
//! [mark](fondaco_ports::market::Mark) that the host keeps for its contract. See `docs/formats/state.md`.
//!
//! # What always holds
//!
//! - Hosts see ciphertext, its length and a number. Another key opens nothing; an altered blob opens not at all.
//! - A number is on disk before it is used, and never used for two states of one book.
//! - A host has the old blob until it has the new one; then it has the new one alone.
//! - Nothing a host says is paid for unless this key has signed that it is so: terms, hold and shard are in the mark.
//!
//! # What is not here
//!
//! Wallets: what an issuer knows of its holder, the issuer tells the same key again. Their addresses travel as
//! [`Note`]s of the application.

mod newest;
mod recovery;
mod sealing;

pub use recovery::{Recovered, recover};

use crate::book::{Event, Stage};
use crate::objects::Objects;
use crate::session::Session;
use crate::{Agent, AgentError, entropy};
use fondaco_audit::ShardId;
use fondaco_codec::{List, Text, record};
use fondaco_crypto::{Domain, EntityId};
use fondaco_units::{Bytes, Timestamp};
use sealing::{open, seal};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest blob; about 90,000 objects on ten hosts.
pub const STATE_BYTES_MAX: Bytes = Bytes::new(32 << 20);

/// The secret that blobs are sealed under, derived from the owner's key.
const SECRET: Domain = Domain::new("fondaco 2026 state secret v1");

/// The most events of a state; each has at least 34 bytes.
const EVENTS_MAX: usize = 1 << 20;
/// The most notes, and the longest.
const NOTES_MAX: usize = 16;
const NOTE_BYTES_MAX: usize = 1 << 16;

/// How long a host may take for its part, whatever the length; and at least how many bytes a second it must take.
const HOST_PATIENCE: Duration = Duration::from_secs(10);
const RATE_MIN: u64 = 64 << 10;
/// How long it may take while others wait for the host, too.
const TURN_PATIENCE: Duration = Duration::from_secs(600);

/// A text that travels with the book: a file of settings, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its name.
    pub name: Text<64>,
    /// What it says.
    pub text: Text<NOTE_BYTES_MAX>,
}
record!(Note { name, text });

/// What is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// The number it was given.
    sequence: u64,
    /// When it was made: no command was named later, so none named after now can be taken for an old one.
    made: Timestamp,
    notes: List<Note, NOTES_MAX>,
    events: List<Event, EVENTS_MAX>,
}
record!(State { sequence, made, notes, events });

/// How keeping the state went.
#[derive(Clone, Debug)]
pub struct StateReport {
    /// Its number.
    pub sequence: u64,
    /// How long it is.
    pub bytes: Bytes,
    /// Which hosts have it now.
    pub hosts: Vec<EntityId>,
    /// Which have not, and why.
    pub failed: Vec<(EntityId, String)>,
    /// The highest number that one of them has, if that is higher: the book is an older copy.
    pub newer: Option<u64>,
}

impl Agent {
    /// Gives the book, with `notes`, to every host with an open contract; nothing is done while there is none.
    ///
    /// # Errors
    ///
    /// The book is over [`STATE_BYTES_MAX`], or its journal failed. Hosts that fail are in the report.
    pub async fn save_state(
        &self,
        objects: &Objects,
        notes: Vec<Note>,
    ) -> Result<Option<StateReport>, AgentError> {
        self.save_state_within(objects, notes, HOST_PATIENCE).await
    }

    /// As [`Agent::save_state`], while other shards are put to the same hosts: the book waits its turn. A put that is cut off
    /// is a loss that is counted against its host, which has done nothing wrong here.
    ///
    /// # Errors
    ///
    /// As [`Agent::save_state`].
    pub async fn save_state_meanwhile(
        &self,
        objects: &Objects,
        notes: Vec<Note>,
    ) -> Result<Option<StateReport>, AgentError> {
        self.save_state_within(objects, notes, TURN_PATIENCE).await
    }

    async fn save_state_within(
        &self,
        objects: &Objects,
        notes: Vec<Note>,
        patience: Duration,
    ) -> Result<Option<StateReport>, AgentError> {
        let now = self.clock.now();
        let sessions = self.state_sessions(objects, now);
        if sessions.is_empty() {
            return Ok(None);
        }
        let sequence = self.book.read(|book| book.sequence()) + 1;
        self.book.record(&Event::StateNumbered { sequence })?;
        let events = self.book.read(|book| book.events());
        let too_long = || AgentError::Invalid {
            what: format!("the agent's book is over the {STATE_BYTES_MAX} that hosts keep of it"),
            hint: "back up HOME/agent by other means; `fondaco backup prune` makes it shorter"
                .to_owned(),
        };
        let state = State {
            sequence,
            made: now,
            notes: List::new(notes).ok_or_else(too_long)?,
            events: List::new(events).ok_or_else(too_long)?,
        };
        let blob = seal(&self.key.derive(SECRET), entropy::random()?, &state)?;
        let bytes = Bytes::of(&blob);
        if bytes > STATE_BYTES_MAX {
            return Err(too_long());
        }
        let giving = sessions.iter().map(|session| session.contract());
        let giving: Vec<Event> = giving.map(|contract| Event::Giving { contract, bytes }).collect();
        self.book.record_all(&giving)?;
        objects.heed_given();
        let patience = patience + Duration::from_secs(bytes.get() / RATE_MIN);
        let (shard, blob) = (ShardId::of(&blob), Arc::new(blob));
        let mut saving = JoinSet::new();
        for session in sessions {
            let blob = Arc::clone(&blob);
            saving.spawn(async move {
                let done = timeout(patience, give(&session, shard, &blob, sequence)).await;
                let done =
                    done.unwrap_or_else(|_| Err(NotGiven::Failed("it took too long".to_owned())));
                (session, done)
            });
        }
        let (hosts, failed, newer) = (Vec::new(), Vec::new(), None);
        let mut report = StateReport { sequence, bytes, hosts, failed, newer };
        let mut marked = Vec::new();
        for (session, done) in saving.join_all().await {
            let (provider, contract) = (session.provider(), session.contract());
            match done {
                Ok(()) => {
                    report.hosts.push(provider);
                    marked.push(Event::StateMarked { contract, bytes });
                }
                Err(why) => {
                    if let NotGiven::Newer { highest, .. } = why {
                        report.newer = report.newer.max(Some(highest));
                    }
                    report.failed.push((provider, why.to_string()));
                }
            }
        }
        self.book.record_all(&marked)?;
        objects.heed_given();
        Ok(Some(report))
    }

    /// For each provider, the session of the contract with it that ends last.
    fn state_sessions(&self, objects: &Objects, now: Timestamp) -> Vec<Arc<Session>> {
        let mut sessions: BTreeMap<EntityId, (Timestamp, Arc<Session>)> = BTreeMap::new();
        self.book.read(|book| {
            for (contract, record) in book.contracts() {
                let (provider, ends) = (record.terms.prices.provider, record.terms.ends);
                let Some(session) = objects.reading(contract) else { continue };
                let is_open = record.stage == Stage::Open && ends > now;
                if !is_open || !book.is_paid(provider) {
                    continue;
                }
                if sessions.get(&provider).is_none_or(|(other, _)| *other < ends) {
                    sessions.insert(provider, (ends, session));
                }
            }
        });
        sessions.into_values().map(|(_, session)| session).collect()
    }
}

/// Why a host has not taken a state.
#[derive(Debug, thiserror::Error)]
enum NotGiven {
    #[error(
        "it has state {highest}, and this is {sequence}: another machine works with the same key"
    )]
    Newer { highest: u64, sequence: u64 },
    #[error("{0}")]
    Failed(String),
}

/// Gives a blob to one host, and has it marked there.
async fn give(
    session: &Session,
    shard: ShardId,
    blob: &[u8],
    sequence: u64,
) -> Result<(), NotGiven> {
    let failed = |error: AgentError| NotGiven::Failed(error.to_string());
    // The books come after all else, and the next command brings them again.
    if let Some(why) = session.away() {
        return Err(failed(why.into()));
    }
    session.put(shard, blob).await.map_err(failed)?;
    let highest = session.mark(shard, Bytes::of(blob), sequence).await.map_err(failed)?;
    if highest == sequence {
        return Ok(());
    }
    // Nobody will ask for it; what it costs to keep should end.
    drop(session.delete(shard).await);
    Err(NotGiven::Newer { highest, sequence })
}
