//! Ask each host to prove, at places it could not foresee, that it keeps what it is paid for.
//!
//! A *sampled* audit numbers the groups (16 KiB) of the data of all shards under a contract, and a fresh nonce draws some. Each
//! is read as a restore would read it, one of sixteen as a whole step, so that a host cannot tell an audit from a
//! restore. A *deep* audit draws blocks of all shards that have tags, and one proof of 8 KiB is about up to 512 of them; now and
//! then it reads a whole step. A host that refuses to prove anything so, as it may, is sampled in the same round. Both first ask
//! for what was read under the contract and not answered (decision 34).
//!
//! ```text
//! nonce ──► places ──► ask ──► proven: on to the next        a deadline for each question
//!                       │ └──► not what it must be: caught
//!                       └────► silence: the same once more ──► silent, which alone proves nothing
//! ```
//!
//! A host that cannot be dialled was asked several times already: dialling repeats itself for some seconds. One that was
//! caught before is not asked, since it would have to be paid for the answer.

use crate::book::{Book, Event, Unanswered, Verdict};
use crate::objects::Objects;
use crate::session::Session;
use crate::tagging::subject;
use crate::{AgentError, ending};
use fondaco_audit::{Challenge, Part, Reading, ShardId, blocks};
use fondaco_codec::choice;
use fondaco_contract::{ContractId, Ending};
use fondaco_crypto::{Digest, Domain, EntityId, Hasher};
use fondaco_erasure::Layout;
use fondaco_ports::market::{PROOF_SAMPLES_MAX, Reason};
use fondaco_transport::TransportError;
use fondaco_units::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a host may take for the answer to one question: a slow disk has 512 places to look at.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How long to wait before the same is asked again.
const PAUSE: Duration = Duration::from_millis(500);

const NONCE: Domain = Domain::new("fondaco 2026 audit nonce v1");
const PROOF: Domain = Domain::new("fondaco 2026 audit evidence v1");

/// How an audit asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By reads, which anyone could check.
    Sampled,
    /// By one proof of many blocks, which the owner alone can check.
    Deep,
}
choice!(Kind { 1 => Sampled, 2 => Deep });

impl Kind {
    /// Returns how many places to ask for where nobody says: they find a loss of 10 % or of 1 % with 99 % certainty.
    pub const fn samples(self) -> u32 {
        match self {
            Self::Sampled => 44,
            Self::Deep => 460,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Sampled => "sampled",
            Self::Deep => "deep",
        })
    }
}

/// How an audit of one contract came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Which contract.
    pub contract: ContractId,
    /// Whose.
    pub provider: EntityId,
    /// How it was asked.
    pub kind: Kind,
    /// When it was done.
    pub at: Timestamp,
    /// What drew the places: of this contract alone, so that no host can foresee another's.
    pub nonce: [u8; 32],
    /// What it showed.
    pub outcome: Outcome,
    /// The digest of what was answered; zero for nothing.
    pub proof: Digest,
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
    /// It could not be asked, for a reason of our own: the hold is spent, the contract over, or the host was caught before.
    Unasked {
        /// Why.
        what: String,
        /// The same, for who is to do something about it.
        because: Because,
    },
    /// The host did not answer, twice, or claims to keep more than it was given; that alone proves nothing.
    Silent {
        /// What happened.
        what: String,
    },
}

/// Why a contract was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its hold is used up.
    Spent,
    /// Another has renewed it, whom its owner has entrusted with it.
    PassedOn,
    /// Nothing that its owner keeps may be read under it: a mandate was taken back, or the owner has removed all of it.
    Withdrawn,
    /// Nothing that is to be mended now: it is over, or full; its host was caught before; or something failed here.
    Other,
}

/// Audits every open contract at once, at `samples` places each, and calls `done` after each. Hosts caught are not
/// dealt with again. `nonce` must be fresh entropy.
pub async fn audit(
    objects: &Objects,
    kind: Kind,
    samples: u32,
    nonce: [u8; 32],
    done: impl FnMut(&Audited),
) -> Result<Vec<Audited>, AgentError> {
    audit_of(objects, |_| true, (kind, samples, nonce), done).await
}

/// The same, of those contracts alone for which `is_asked` says so.
pub(crate) async fn audit_of(
    objects: &Objects,
    is_asked: impl Fn(ContractId) -> bool,
    (kind, samples, nonce): (Kind, u32, [u8; 32]),
    mut done: impl FnMut(&Audited),
) -> Result<Vec<Audited>, AgentError> {
    let mut audits = JoinSet::new();
    for (&contract, session) in objects.sessions().iter().filter(|(id, _)| is_asked(**id)) {
        let (shards, unanswered) =
            objects.book().read(|book| (shards(book, contract), book.unanswered(contract)));
        let session = Arc::clone(session);
        let nonce = *Hasher::new(NONCE)
            .update(&nonce)
            .update(contract.digest().as_bytes())
            .finish()
            .as_bytes();
        let caught =
            objects.book().read(|book| book.distrusted(session.provider()).map(str::to_owned));
        audits.spawn(async move {
            let mut evidence = Evidence::default();
            let mut asked = Asked { kind, samples, nonce, unanswered };
            let result = match caught {
                Some(why) => {
                    let what = format!("it was caught before: {why}");
                    Ok(Outcome::Unasked { what, because: Because::Other })
                }
                None => put_to(&session, &shards, &mut asked, &mut evidence).await,
            };
            // What it keeps it proves; what it wants to be paid for is another thing.
            let result = match (result, session.is_believed().await) {
                (Ok(Outcome::Proven { .. }), Err(error)) => Err(error),
                (result, _) => result,
            };
            (contract, session, nonce, evidence, asked.kind, result)
        });
    }
    let mut audited = Vec::new();
    while let Some(joined) = audits.join_next().await {
        let (contract, session, nonce, evidence, kind, result) =
            joined.map_err(|error| AgentError::Store(format!("a task failed: {error}")))?;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(
                error @ (AgentError::HoldSpent { .. }
                | AgentError::ContractFull { .. }
                | AgentError::Provider { reason: Reason::Ended { .. }, .. }),
            ) => {
                objects.note_failure(contract, &session, &error).await?;
                let is_renewed = ending::over(&error) == Some(Ending::Renewed);
                let is_excuse = is_renewed
                    && !objects.is_of_another()
                    && !objects.book().read(|book| book.may_be_passed_on(contract));
                let hint = error.hint().map(|hint| format!(": {hint}")).unwrap_or_default();
                let what = format!("{error}{hint}");
                if is_excuse {
                    let what =
                        format!("{what}; and nobody was entrusted with it: it counts as lost");
                    Outcome::Silent { what }
                } else {
                    let because = match error {
                        AgentError::HoldSpent { .. } => Because::Spent,
                        _ if is_renewed => Because::PassedOn,
                        _ => Because::Other,
                    };
                    Outcome::Unasked { what, because }
                }
            }
            // Another's: its owner may have removed it.
            Err(error @ AgentError::Provider { reason: Reason::UnknownShard, .. })
                if !session.keeps() =>
            {
                Outcome::Unasked { what: error.to_string(), because: Because::Withdrawn }
            }
            Err(error) => {
                objects.note_failure(contract, &session, &error).await?;
                match error {
                    AgentError::Caught { what, .. } => Outcome::Caught { what },
                    // Nothing of the host's: our own disk failed.
                    AgentError::Store(what) => Outcome::Unasked { what, because: Because::Other },
                    other => Outcome::Silent { what: other.to_string() },
                }
            }
        };
        let (provider, at, proof) = (session.provider(), session.now(), evidence.digest());
        let one = Audited { contract, provider, kind, at, nonce, outcome, proof };
        done(&one);
        audited.push(one);
    }
    audited.sort_by_key(|audited| audited.contract);
    note_verdicts(objects, &audited)?;
    objects.heed_standings();
    Ok(audited)
}

/// Puts into the book how the audits came out. Those of one host count as one, each for its part: it is away from all of its
/// contracts at once. If no host answers at all, it is more likely that this machine is cut off than that all of them are: then
/// nobody's silence counts.
fn note_verdicts(objects: &Objects, audited: &[Audited]) -> Result<(), AgentError> {
    let answers = |outcome: &Outcome| match outcome {
        Outcome::Proven { .. } | Outcome::Caught { .. } => true,
        Outcome::Unasked { .. } | Outcome::Silent { .. } => false,
    };
    let connected = audited.iter().any(|audited| answers(&audited.outcome));
    let verdict = |outcome: &Outcome| {
        match outcome {
            Outcome::Proven { samples } => (*samples > 0).then_some(Verdict::Proven),
            #[cfg(feature = "simulation")]
            Outcome::Silent { .. } if crate::planted::is(crate::planted::Fault::Overlooks) => None,
            Outcome::Silent { .. } => connected.then_some(Verdict::Failed),
            // A lie is in the book already, and what was not asked says nothing.
            Outcome::Caught { .. } | Outcome::Unasked { .. } => None,
        }
    };
    let judged = audited.iter().filter_map(|audited| Some((audited, verdict(&audited.outcome)?)));
    let judged: Vec<(&Audited, Verdict)> = judged.collect();
    let mut counts: BTreeMap<EntityId, u32> = BTreeMap::new();
    for (audited, _) in &judged {
        *counts.entry(audited.provider).or_default() += 1;
    }
    for (Audited { contract, provider, .. }, verdict) in judged {
        let Some(session) = objects.sessions().get(contract) else { continue };
        let (contract, at) = (*contract, session.now());
        objects.book().record(&match counts.get(provider) {
            Some(&of) if of > 1 => Event::AuditedAmong { contract, at, verdict, of },
            _ => Event::Audited { contract, at, verdict },
        })?;
    }
    Ok(())
}

/// A shard that lies under a contract.
#[derive(Clone, Copy, Debug)]
struct Shard {
    name: ShardId,
    /// Its size, with its tags.
    size: u64,
    /// Its size without them: no restore reads any.
    length: u64,
    /// What it is asked about in a deep audit, if it has tags.
    part: Option<Part>,
}

/// Lists the shards that lie under a contract.
fn shards(book: &Book, contract: ContractId) -> Vec<Shard> {
    book.objects()
        .filter_map(|(_, object)| {
            let mut slots = (0..).zip(book.slots_of(object));
            let (index, (_, name)) = slots.find(|(_, (other, _))| *other == contract)?;
            let layout = Layout::new(object.code, object.length.get()).ok()?;
            let (size, length) = (object.shard_size(layout), layout.shard_len());
            let part = object.tagged.map(|tag| Part {
                shard: name,
                subject: subject(&tag, index),
                length,
                samples: 0,
            });
            Some(Shard { name, size, length, part })
        })
        .collect()
}

/// What was answered so far.
#[derive(Debug, Default)]
struct Evidence(Option<Hasher>);

impl Evidence {
    fn add(&mut self, answer: &[u8]) {
        self.0.get_or_insert_with(|| Hasher::new(PROOF)).update(answer);
    }

    fn digest(&self) -> Digest {
        self.0.as_ref().map_or(Digest::ZERO, Hasher::finish)
    }
}

/// Asks in time, and once more the same if there is no answer; but for a host that nobody was found at.
async fn ask<T, F>(provider: EntityId, question: impl Fn() -> F) -> Result<T, AgentError>
where
    F: Future<Output = Result<T, AgentError>>,
{
    match in_time(provider, question()).await {
        Err(error) if is_silence(&error) => {
            tokio::time::sleep(PAUSE).await;
            in_time(provider, question()).await
        }
        answer => answer,
    }
}

async fn in_time<T>(
    provider: EntityId,
    answer: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    let late = AgentError::Late { provider, seconds: DEADLINE.as_secs() };
    timeout(DEADLINE, answer).await.unwrap_or(Err(late))
}

/// Whether the same is worth asking again at once.
pub(crate) fn is_silence(error: &AgentError) -> bool {
    match error {
        AgentError::Transport(TransportError::Unreachable { .. }) => false,
        AgentError::Transport(error) => error.is_transient(),
        AgentError::Late { .. } => true,
        AgentError::Provider { reason, .. } => matches!(reason, Reason::Busy | Reason::Failed),
        _ => false,
    }
}

/// What is asked of a host.
#[derive(Clone, Copy, Debug)]
struct Asked {
    kind: Kind,
    samples: u32,
    nonce: [u8; 32],
    unanswered: Option<Unanswered>,
}

async fn put_to(
    session: &Arc<Session>,
    shards: &[Shard],
    asked: &mut Asked,
    evidence: &mut Evidence,
) -> Result<Outcome, AgentError> {
    let Asked { kind, samples, nonce, unanswered } = *asked;
    if let Some(read) = unanswered {
        ask_again(session, shards, read, evidence).await?;
    }
    match kind {
        Kind::Sampled => sample(session, shards, samples, nonce, evidence).await,
        Kind::Deep => match dig(session, shards, samples, nonce, evidence).await {
            // It has the right to, and says nothing about what it keeps by that: so that is asked otherwise.
            Err(AgentError::Provider {
                reason: Reason::TooManyProofs { .. } | Reason::Version { .. } | Reason::Malformed,
                ..
            }) => {
                asked.kind = Kind::Sampled;
                sample(session, shards, Kind::Sampled.samples(), nonce, evidence).await
            }
            done => done,
        },
    }
}

/// Asks for what was not answered, step by step as it was asked then; nothing if the shard is not kept any more.
async fn ask_again(
    session: &Arc<Session>,
    shards: &[Shard],
    read: Unanswered,
    evidence: &mut Evidence,
) -> Result<(), AgentError> {
    #[cfg(feature = "simulation")]
    if crate::planted::is(crate::planted::Fault::AuditsApart) {
        return Ok(());
    }
    let Some(shard) = shards.iter().find(|shard| shard.name == read.shard) else { return Ok(()) };
    let mut start = read.offset.get();
    let end = start.saturating_add(read.length.get()).min(shard.size);
    while start < end {
        let step = start..end.min(start.saturating_add(session.step_max().get().max(1)));
        start = step.end;
        let read = || session.read(shard.name, shard.size, step.clone());
        evidence.add(&ask(session.provider(), read).await?);
    }
    Ok(())
}

async fn sample(
    session: &Arc<Session>,
    shards: &[Shard],
    samples: u32,
    nonce: [u8; 32],
    evidence: &mut Evidence,
) -> Result<Outcome, AgentError> {
    let lengths: Vec<u64> = shards.iter().map(|shard| shard.length).collect();
    let step = session.step_max().get();
    let readings =
        Challenge { nonce }.readings(all_under(session.contract()), &lengths, samples, step);
    #[cfg(feature = "simulation")]
    let readings = crate::planted::apart(readings, |shard| shards[shard].size);
    if readings.is_empty() {
        // Nothing can be asked about what it keeps; that it is there, and knows the contract, can.
        is_there(session).await?;
    }
    for reading in &readings {
        evidence.add(&read(session, shards, reading).await?);
    }
    Ok(Outcome::Proven { samples: readings.len() })
}

/// Sees that a host of which nothing can be asked is there, and that the contract goes on: an empty one lapses unnoticed, and its
/// host, which forgets it in time, is not to blame.
async fn is_there(session: &Session) -> Result<(), AgentError> {
    let provider = session.provider();
    ask(provider, || session.standing()).await?;
    match session.stands().await.and_then(|stands| stands.why()) {
        Some(why) => Err(AgentError::Provider { provider, reason: Reason::Ended { why } }),
        None => Ok(()),
    }
}

async fn read(
    session: &Arc<Session>,
    shards: &[Shard],
    Reading { shard, range }: &Reading,
) -> Result<Vec<u8>, AgentError> {
    let shard = &shards[*shard];
    ask(session.provider(), || session.read(shard.name, shard.size, range.clone())).await
}

async fn dig(
    session: &Arc<Session>,
    shards: &[Shard],
    samples: u32,
    nonce: [u8; 32],
    evidence: &mut Evidence,
) -> Result<Outcome, AgentError> {
    let provider = session.provider();
    let parts: Vec<Part> = shards.iter().filter_map(|shard| shard.part).collect();
    if parts.is_empty() {
        let what = "nothing that it keeps has tags".to_owned();
        return Ok(Outcome::Unasked { what, because: Because::Other });
    }
    let counts: Vec<u64> = parts.iter().map(|part| blocks(part.length)).collect();
    let places = places(session.contract(), &counts, samples, nonce);
    if places.iter().all(Vec::is_empty) {
        is_there(session).await?;
    }
    let asked = parts.iter().zip(&places).map(|(part, places)| (part, places.len()));
    let mut proven = 0;
    for (round, parts) in (0_u32..).zip(rounds(asked)) {
        // A nonce for each question: what the places of the first show must not foretell the next.
        let nonce =
            *Hasher::new(NONCE).update(&nonce).update(&round.to_le_bytes()).finish().as_bytes();
        let proof = ask(provider, || session.prove(nonce, &parts)).await?;
        evidence.add(&proof);
        session
            .tag_key()
            .check_under(session.contract().digest(), &nonce, &parts, &proof)
            .map_err(|error| {
                let what = format!("it was paid to keep blocks, and proves otherwise: {error}");
                AgentError::Caught { provider, what }
            })?;
        proven += parts.iter().map(|part| part.samples as usize).sum::<usize>();
    }
    let lengths: Vec<u64> = shards.iter().map(|shard| shard.length).collect();
    let (all, step) = (all_under(session.contract()), session.step_max().get());
    if let Some(reading) = (Challenge { nonce }).seldom(all, &lengths, step) {
        evidence.add(&read(session, shards, &reading).await?);
    }
    Ok(Outcome::Proven { samples: proven })
}

/// Makes questions of at most [`PROOF_SAMPLES_MAX`] blocks, each about shards in the order of their names.
fn rounds<'a>(asked: impl Iterator<Item = (&'a Part, usize)>) -> Vec<Vec<Part>> {
    let (mut rounds, mut left) = (Vec::new(), 0);
    let mut round: BTreeMap<ShardId, Part> = BTreeMap::new();
    for (part, mut samples) in asked {
        while samples > 0 {
            if left == 0 || round.contains_key(&part.shard) {
                rounds.push(std::mem::take(&mut round));
                left = PROOF_SAMPLES_MAX;
            }
            let now = samples.min(left);
            let of_these = u32::try_from(now).unwrap_or(0); // at most PROOF_SAMPLES_MAX
            round.insert(part.shard, Part { samples: of_these, ..*part });
            (samples, left) = (samples - now, left - now);
        }
    }
    rounds.push(round);
    let full = rounds.into_iter().filter(|round| !round.is_empty());
    full.map(|round| round.into_values().collect()).collect()
}

/// What all shards under a contract are challenged as.
fn all_under(contract: ContractId) -> ShardId {
    ShardId::of(contract.digest().as_bytes())
}

/// Draws `samples` places of shards that have so many each, as if they were one; returns those of each.
fn places(contract: ContractId, counts: &[u64], samples: u32, nonce: [u8; 32]) -> Vec<Vec<u64>> {
    let all = all_under(contract);
    let count: u64 = counts.iter().sum();
    // Places are in order, and so are shards: both are walked once.
    let mut drawn = Challenge { nonce }.places(all, count, samples).into_iter().peekable();
    let mut before = 0;
    let mut of_shard = |count: u64| {
        let mut places = Vec::new();
        while let Some(place) = drawn.next_if(|place| *place < before + count) {
            places.push(place - before);
        }
        before += count;
        places
    };
    counts.iter().map(|count| of_shard(*count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_audit::Subject;
    use proptest::{collection::vec, prelude::*};

    fn contract() -> ContractId {
        ContractId::from_digest(Digest::ZERO)
    }

    /// Silence is contained: the same is asked once more, and only then it counts. All else counts at once.
    #[test]
    fn silence_is_asked_again() {
        let provider = EntityId::from_bytes([1; 32]);
        let refused = |reason| AgentError::Provider { provider, reason };
        let late = || AgentError::Late { provider, seconds: 60 };
        let lie = || AgentError::Caught { provider, what: "a lie".to_owned() };
        let address = fondaco_ports::Address::new(provider, []);
        let nobody = || AgentError::from(TransportError::Unreachable { address: address.clone() });
        type Answers = Vec<Result<u8, AgentError>>;
        let table: Vec<(Answers, Result<u8, String>, usize)> = vec![
            (vec![Ok(7)], Ok(7), 1),
            (vec![Err(late()), Ok(7)], Ok(7), 2),
            (vec![Err(refused(Reason::Busy)), Ok(7)], Ok(7), 2),
            (vec![Err(late()), Err(late()), Ok(7)], Err(late().to_string()), 2),
            (vec![Err(nobody()), Ok(7)], Err(nobody().to_string()), 1), // dialled for seconds
            (vec![Err(late()), Err(lie()), Ok(7)], Err(lie().to_string()), 2),
            (vec![Err(lie()), Ok(7)], Err(lie().to_string()), 1),
            (
                vec![Err(refused(Reason::Damaged)), Ok(7)],
                Err(refused(Reason::Damaged).to_string()),
                1,
            ),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for (answers, outcome, asked) in table {
            let count = answers.len();
            let answers = std::cell::RefCell::new(answers.into_iter());
            let question = || std::future::ready(answers.borrow_mut().next().unwrap());
            let answer = runtime.block_on(ask(provider, question));
            assert_eq!(answer.map_err(|error| error.to_string()), outcome);
            assert_eq!(count - answers.borrow().len(), asked);
        }
    }

    proptest! {
        /// As many places as there are or were asked for, each of its shard and once.
        #[test]
        fn places_are_of_their_shards(counts in vec(0..50_u64, 0..20), samples in 0..300_u32, nonce: [u8; 32]) {
            let places = places(contract(), &counts, samples, nonce);
            let all: u64 = counts.iter().sum();
            prop_assert_eq!(places.len(), counts.len());
            prop_assert_eq!(places.iter().map(Vec::len).sum::<usize>() as u64, all.min(samples.into()));
            for (places, count) in places.iter().zip(counts) {
                prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(places.iter().all(|place| *place < count));
            }
        }

        /// Questions have what a provider takes, and together ask for all.
        #[test]
        fn questions_are_whole(samples in vec(0..1500_usize, 0..12)) {
            let part = |name: u8| Part {
                shard: ShardId::of(&[name]),
                subject: Subject::from_digest(Digest::ZERO),
                length: 1 << 30,
                samples: 0,
            };
            let parts: Vec<Part> = (0..12).map(part).collect();
            let rounds = rounds(parts.iter().zip(samples.iter().copied()));
            let mut asked = 0;
            for round in &rounds {
                let sum: u32 = round.iter().map(|part| part.samples).sum();
                prop_assert!(sum > 0 && sum as usize <= PROOF_SAMPLES_MAX);
                prop_assert!(round.iter().all(|part| part.samples > 0));
                prop_assert!(round.windows(2).all(|pair| pair[0].shard < pair[1].shard));
                asked += sum as usize;
            }
            prop_assert_eq!(asked, samples.iter().sum::<usize>());
        }
    }
}
