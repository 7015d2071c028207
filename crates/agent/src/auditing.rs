//! Ask each host to prove, at places it could not foresee, that it keeps what it is paid for.
//!
//! The groups (16 KiB) of all shards under a contract are numbered, and a fresh nonce draws some. Each is
//! read like any other range, so that a host cannot tell an audit from a restore.

use crate::AgentError;
use crate::book::{Book, Event, Verdict};
use crate::objects::Objects;
use crate::session::Session;
use fondaco_audit::{Challenge, GROUP, ShardId};
use fondaco_contract::ContractId;
use fondaco_crypto::EntityId;
use fondaco_erasure::Layout;
use fondaco_ports::market::Reason;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How an audit of one contract came out.
#[derive(Clone, Debug)]
pub struct Audited {
    /// Which contract.
    pub contract: ContractId,
    /// Whose.
    pub provider: EntityId,
    /// What it showed.
    pub outcome: Outcome,
}

/// What an audit showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every place asked for was proven.
    Proven {
        /// How many places.
        samples: usize,
    },
    /// A place was not what it must be, or the host admits that it is lost.
    Caught {
        /// What was wrong.
        what: String,
    },
    /// It could not be asked, for a reason of our own: the hold is spent, or the contract over.
    Unasked {
        /// Why.
        what: String,
    },
    /// The host did not answer, twice; that alone proves nothing.
    Silent {
        /// What happened.
        what: String,
    },
}

/// Audits every open contract at once, at `samples` places each. Hosts caught are not dealt with again.
pub async fn audit(
    objects: &Objects,
    samples: u32,
    nonce: [u8; 32],
) -> Result<Vec<Audited>, AgentError> {
    let mut audits = JoinSet::new();
    for (&contract, session) in objects.sessions() {
        let shards = objects.book().read(|book| shards(book, contract));
        let session = Arc::clone(session);
        audits.spawn(async move {
            let result = challenge(&session, &shards, samples, nonce).await;
            (contract, session, result)
        });
    }
    let mut audited = Vec::new();
    while let Some(done) = audits.join_next().await {
        let (contract, session, result) =
            done.map_err(|error| AgentError::Store(format!("a task failed: {error}")))?;
        let outcome = match result {
            Ok(samples) => Outcome::Proven { samples },
            Err(
                error @ (AgentError::HoldSpent { .. }
                | AgentError::ContractFull { .. }
                | AgentError::Provider { reason: Reason::Ended { .. }, .. }),
            ) => {
                objects.note_failure(contract, &session, &error)?;
                Outcome::Unasked { what: error.to_string() }
            }
            Err(error) => {
                objects.note_failure(contract, &session, &error)?;
                match error {
                    AgentError::Caught { what, .. } => Outcome::Caught { what },
                    // Nothing of the host's: our own disk failed.
                    AgentError::Store(what) => Outcome::Unasked { what },
                    other => Outcome::Silent { what: other.to_string() },
                }
            }
        };
        audited.push(Audited { contract, provider: session.provider(), outcome });
    }
    audited.sort_by_key(|audited| audited.contract);
    note_verdicts(objects, &audited)?;
    Ok(audited)
}

/// Puts into the book how the audits came out. If no host answers at all, it is more likely that this machine is cut off than
/// that all of them are: then nobody's silence counts.
fn note_verdicts(objects: &Objects, audited: &[Audited]) -> Result<(), AgentError> {
    let answers = |outcome: &Outcome| match outcome {
        Outcome::Proven { .. } | Outcome::Caught { .. } => true,
        Outcome::Unasked { .. } | Outcome::Silent { .. } => false,
    };
    let connected = audited.iter().any(|audited| answers(&audited.outcome));
    for Audited { contract, outcome, .. } in audited {
        let verdict = match outcome {
            Outcome::Proven { samples } => (*samples > 0).then_some(Verdict::Proven),
            Outcome::Silent { .. } => connected.then_some(Verdict::Failed),
            // A lie is in the book already, and what was not asked says nothing.
            Outcome::Caught { .. } | Outcome::Unasked { .. } => None,
        };
        if let (Some(verdict), Some(session)) = (verdict, objects.sessions().get(contract)) {
            let at = session.now();
            objects.book().record(&Event::Audited { contract: *contract, at, verdict })?;
        }
    }
    Ok(())
}

/// Lists the shards that lie under a contract, with their lengths.
fn shards(book: &Book, contract: ContractId) -> Vec<(ShardId, u64)> {
    book.objects()
        .filter_map(|(_, object)| {
            let set = book.set(object.set)?;
            let index = set.contracts.iter().position(|&other| other == contract)?;
            let layout = Layout::new(object.code, object.length.get()).ok()?;
            Some((*object.shards.get(index)?, layout.shard_len()))
        })
        .collect()
}

async fn challenge(
    session: &Session,
    shards: &[(ShardId, u64)],
    samples: u32,
    nonce: [u8; 32],
) -> Result<usize, AgentError> {
    if shards.is_empty() {
        session.standing().await?;
    }
    let groups: u64 = shards.iter().map(|(_, size)| size.div_ceil(GROUP)).sum();
    // One draw over all groups, numbered as if the shards were one.
    let all = ShardId::of(session.contract().digest().as_bytes());
    let places = Challenge { nonce }.ranges(all, groups * GROUP, samples);
    let places: Vec<u64> =
        places.into_iter().filter(|_| groups > 0).map(|place| place.start / GROUP).collect();
    let (mut shard, mut before) = (shards.iter(), 0);
    let mut present = shard.next();
    for &place in &places {
        // Places are in order, and so are shards: both are walked once.
        while let Some((_, size)) = present
            && place >= before + size.div_ceil(GROUP)
        {
            before += size.div_ceil(GROUP);
            present = shard.next();
        }
        let Some(&(name, size)) = present else { break };
        let start = (place - before) * GROUP;
        let range = start..(start + GROUP).min(size);
        let read = match session.read(name, size, range.clone()).await {
            // Silence is asked again with the same question before it counts.
            Err(AgentError::Transport(error)) if error.is_transient() => {
                session.read(name, size, range).await
            }
            read => read,
        };
        read?;
    }
    Ok(places.len())
}
