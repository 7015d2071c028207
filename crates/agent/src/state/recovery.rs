//! Finding the book again with nothing but the key and the address of a host.

use super::{Note, SECRET, STATE_BYTES_MAX, State, open};
use crate::AgentError;
use crate::audit_log::{self, LogBefore, LogHead};
use crate::book::{Event, ObjectKind};
use crate::journal::BookFile;
use crate::session::{Session, mine};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_ports::market::{Mark, Mine};
use fondaco_ports::{Address, Clock};
use fondaco_transport::Endpoint;
use fondaco_units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a host may take to say what it keeps.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many hosts are asked at once.
const AT_ONCE: usize = 64;

/// How far a recovered book's numbers are above those of the book that it was made of: hosts that cannot be reached
/// now may have later ones.
const SEQUENCE_GAP: u64 = 1 << 16;

/// How far this machine's clock may be behind the one that the state was made by.
const CLOCK_BEHIND_MAX: fondaco_units::Duration = fondaco_units::Duration::from_seconds(300);

/// What a host may have been given after the state was made.
const UNKNOWN_BYTES_MAX: Bytes = Bytes::new(1 << 30);

/// What was found.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The number of the state.
    pub sequence: u64,
    /// When it was made.
    pub made: Timestamp,
    /// Its length.
    pub bytes: Bytes,
    /// Whose it was.
    pub from: EntityId,
    /// How many contracts there are, those that ended included.
    pub contracts: usize,
    /// How many objects.
    pub objects: usize,
    /// How many of them are snapshots.
    pub snapshots: usize,
    /// How far the audit log had come, if it was left behind: another has begun.
    pub left_behind: Option<LogHead>,
    /// What became of the log that was here.
    pub log: LogBefore,
    /// Texts of the application.
    pub notes: Vec<Note>,
    /// Hosts that were named, or are in the book, and could not help; and why.
    pub failed: Vec<(EntityId, String)>,
}

/// A state that a host says it has.
#[derive(Clone, Debug)]
struct Lead {
    address: Address,
    mine: Mine,
    mark: Mark,
}

/// Asking hosts, and what is known by now.
struct Search<'a> {
    key: &'a SecretKey,
    endpoint: &'a Endpoint,
    clock: &'a Arc<dyn Clock>,
    asked: BTreeSet<EntityId>,
    leads: Vec<Lead>,
    failed: BTreeMap<EntityId, String>,
}

/// Finds the newest state of the owner of `key` that the hosts `named`, those `found` at brokers, or the hosts it names, have,
/// and makes the book in `folder` of it.
///
/// # Errors
///
/// There is a book in `folder` with something in it; no host has a state that can be read; the clock of this machine is
/// behind; or the disk failed. No book is left in the folder then.
pub async fn recover(
    folder: &Path,
    key: &SecretKey,
    endpoint: &Endpoint,
    clock: &Arc<dyn Clock>,
    (named, found): (&[Address], &[Address]),
) -> Result<Recovered, AgentError> {
    let path = folder.join("journal");
    if path.exists() {
        let book = BookFile::open(&path)?;
        let is_empty =
            book.read(|book| book.contracts().next().is_none() && book.objects().next().is_none());
        if !is_empty {
            return Err(AgentError::Invalid {
                what: format!(
                    "there is a book in {} already, with contracts in it",
                    folder.display()
                ),
                hint: "recover into a new home: `fondaco --home DIR …`".to_owned(),
            });
        }
    }
    let (asked, leads, failed) = Default::default();
    let mut search = Search { key, endpoint, clock, asked, leads, failed };
    // What a person named by hand is believed before what was found.
    let is_named = |host: EntityId| named.iter().any(|each| each.entity() == host);
    let found = found.iter().filter(|host| !is_named(host.entity()));
    let hosts: Vec<Address> = named.iter().chain(found).cloned().collect();
    search.ask(hosts.clone()).await;
    let mut best: Option<(State, Lead)> = None;
    while let Some((state, lead)) = search.next_newer(best.as_ref().map(|(state, _)| state)).await {
        // The state knows more hosts, and one of them may have a newer one.
        search.ask(others(&state)).await;
        best = Some((state, lead));
    }
    // That a stranger keeps nothing of ours is no failure.
    let ours: BTreeSet<EntityId> = match &best {
        Some((state, _)) => others(state).iter().map(Address::entity).collect(),
        None => BTreeSet::new(),
    };
    let asked = search.asked.len();
    let failed = search.failed.into_iter();
    let failed: Vec<(EntityId, String)> =
        failed.filter(|(host, _)| is_named(*host) || ours.contains(host)).collect();
    let Some((state, lead)) = best else {
        let told: Vec<String> =
            failed.iter().map(|(host, why)| format!("\n   {}: {why}", host.short())).collect();
        let others = match asked - failed.len() {
            0 => String::new(),
            count => format!("\n   nor did {count} that brokers told of"),
        };
        return Err(AgentError::Invalid {
            what: format!("no host gave back a state of {}{}{others}", key.entity(), told.concat()),
            hint: "name a host that you had a contract with, and that runs; is it the right key?"
                .to_owned(),
        });
    };
    let now = clock.now();
    if now.after(CLOCK_BEHIND_MAX) < state.made {
        return Err(AgentError::Invalid {
            what: format!("the clock shows {now}, and the state was made at {}", state.made),
            hint: "set the clock: what is named now must be named after all that was before"
                .to_owned(),
        });
    }
    // Before the book: one that is there is not recovered again, and it must find the log that it has noted.
    let noted = noted(&state);
    let (audits, log) = audit_log::recover(&folder.join("audits"), key, noted, now)?;
    write(folder, &path, &state, (&hosts, audits))?;
    let events = state.events.as_slice();
    let contracts = events.iter().filter(|event| matches!(event, Event::ContractIntended { .. }));
    let kinds: Vec<ObjectKind> = events.iter().filter_map(stored).collect();
    let snapshots = kinds.iter().filter(|kind| **kind == ObjectKind::Snapshot);
    Ok(Recovered {
        sequence: state.sequence,
        made: state.made,
        bytes: lead.mark.size,
        from: lead.address.entity(),
        contracts: contracts.count(),
        objects: kinds.len(),
        snapshots: snapshots.count(),
        left_behind: Some(noted).filter(|_| log != LogBefore::Kept && noted != LogHead::default()),
        log,
        notes: state.notes.clone().into_vec(),
        failed,
    })
}

/// The kind of the object that an event says is stored.
fn stored(event: &Event) -> Option<ObjectKind> {
    match event {
        Event::ObjectStored { object, .. }
        | Event::TaggedObjectStored { object, .. }
        | Event::ObjectCoded { object, .. } => Some(object.kind),
        _ => None,
    }
}

/// How far the audit log had come by the book.
fn noted(state: &State) -> LogHead {
    let mut noted = state.events.as_slice().iter().rev().filter_map(|event| match *event {
        Event::AuditsLogged { entries, link } => {
            Some(LogHead { entries, link: (entries > 0).then_some(link) })
        }
        _ => None,
    });
    noted.next().unwrap_or_default()
}

impl Search<'_> {
    /// Asks hosts, [`AT_ONCE`] at a time and those not asked yet, for what they keep for us.
    async fn ask(&mut self, hosts: Vec<Address>) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut asking = JoinSet::new();
        for address in hosts {
            if !self.asked.insert(address.entity()) {
                continue;
            }
            let (endpoint, room) = (self.endpoint.clone(), Arc::clone(&room));
            asking.spawn(async move {
                let _turn = room.acquire().await;
                let found = timeout(PATIENCE, mine(&endpoint, &address)).await;
                (address, found)
            });
        }
        for (address, found) in asking.join_all().await {
            let provider = address.entity();
            let why = match found {
                Err(_) => "it did not answer".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(found)) => {
                    let leads = found.iter().filter_map(|mine| self.lead(&address, mine));
                    let before = self.leads.len();
                    let leads: Vec<Lead> = leads.collect();
                    self.leads.extend(leads);
                    if self.leads.len() > before {
                        continue;
                    }
                    "it keeps no state for this key".to_owned()
                }
            };
            self.failed.insert(provider, why);
        }
    }

    /// Believes a host as far as we have signed it once: terms by their digest, hold and shard.
    fn lead(&self, address: &Address, mine: &Mine) -> Option<Lead> {
        let signed = mine.mark?;
        let (mark, terms) = (signed.mark, &mine.terms);
        let is_ours = signed.verify(self.key.entity()).is_ok()
            && mark.contract == terms.id()
            && terms.buyer == self.key.entity()
            && terms.prices.provider == address.entity()
            && mark.size <= STATE_BYTES_MAX;
        is_ours.then(|| Lead { address: address.clone(), mine: *mine, mark })
    }

    /// Reads the newest state that is newer than `known`, from whichever host gives it.
    async fn next_newer(&mut self, known: Option<&State>) -> Option<(State, Lead)> {
        self.leads.sort_by_key(|lead| lead.mark.sequence);
        while let Some(lead) = self.leads.pop() {
            if known.is_some_and(|known| lead.mark.sequence <= known.sequence) {
                return None; // and so are all others
            }
            match self.read(&lead).await {
                Ok(state) => return Some((state, lead)),
                Err(why) => _ = self.failed.insert(lead.address.entity(), why),
            }
        }
        None
    }

    async fn read(&self, lead: &Lead) -> Result<State, String> {
        let (key, endpoint) = (self.key.clone(), self.endpoint.clone());
        let (clock, address) = (Arc::clone(self.clock), lead.address.clone());
        let session = Session::marked(key, endpoint, clock, address, &lead.mine, &lead.mark);
        let session = Arc::new(session);
        let size = lead.mark.size.get();
        let patience = PATIENCE + Duration::from_secs(size / super::RATE_MIN);
        let read = timeout(patience, session.read(lead.mark.shard, size, 0..size)).await;
        let blob = read.map_err(|_| "it took too long")?.map_err(|error| error.to_string())?;
        let state = open(&self.key.derive(SECRET), &blob).map_err(|error| error.to_string())?;
        if state.sequence == lead.mark.sequence {
            Ok(state)
        } else {
            Err("the state has another number than its mark".to_owned())
        }
    }
}

/// The hosts that a state names.
fn others(state: &State) -> Vec<Address> {
    let events = state.events.as_slice().iter();
    events
        .filter_map(|event| match event {
            Event::ContractIntended { address, .. } => Some(address.clone()),
            _ => None,
        })
        .collect()
}

/// Makes the book beside its place, and then gives it its name. Hosts named anew are where they were named.
fn write(
    folder: &Path,
    path: &Path,
    state: &State,
    (hosts, audits): (&[Address], LogHead),
) -> Result<(), AgentError> {
    let failed = |doing: &str, error: std::io::Error| {
        AgentError::Store(format!("cannot {doing} {}: {error}", path.display()))
    };
    let part = folder.join("journal.recovering");
    if part.exists() {
        std::fs::remove_file(&part).map_err(|error| failed("make", error))?;
    }
    let mut events = state.events.clone().into_vec();
    for event in &mut events {
        if let Event::ContractIntended { terms, address, .. } = event
            && let Some(named) = hosts.iter().find(|host| host.entity() == terms.prices.provider)
        {
            address.clone_from(named);
        }
    }
    events.push(Event::StateNumbered { sequence: state.sequence + SEQUENCE_GAP });
    if let LogHead { entries, link: Some(link) } = audits {
        events.push(Event::AuditsLogged { entries, link });
    }
    let (mut open, bytes) = (BTreeSet::new(), UNKNOWN_BYTES_MAX);
    for event in &events {
        match event {
            Event::ContractOpened { contract, .. } => open.insert(*contract),
            Event::ContractEnded { contract, .. } => open.remove(contract),
            _ => false,
        };
    }
    events.extend(open.into_iter().map(|contract| Event::Giving { contract, bytes }));
    BookFile::open(&part)?.record_all(&events)?;
    std::fs::rename(&part, path).map_err(|error| failed("name", error))?;
    let folder = std::fs::File::open(folder).map_err(|error| failed("save", error))?;
    folder.sync_all().map_err(|error| failed("save", error))
}
