//! A buyer: the production agent over disks in memory, killed and started again at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use fondaco_agent::auditing::{Audited, Kind, audit};
use fondaco_agent::book::{Book, ObjectId, ObjectKind, Stage};
use fondaco_agent::delegate::Entrusted;
use fondaco_agent::progress::Quiet;
use fondaco_agent::{Agent, AgentError, BookFile, Objects, Trust, Wallet, Wish};
use fondaco_crypto::{Digest, EntityId, SecretKey};
use fondaco_ports::Address;
use fondaco_transport::{Endpoint, Fabric, LcpClient};
use fondaco_units::Bytes;
use tokio::time::Instant;

use super::oracle::Ended;
use crate::{Rng, SimDisk, VirtualClock};

/// How many bytes the longest object has.
pub(super) const OBJECT_MAX: u64 = 150_000;

/// How often a put goes on with new contracts.
const TRIES_MAX: u32 = 4;

/// What lives in one process of the buyer.
pub(super) struct Process {
    endpoint: Endpoint,
    pub(super) agent: Agent,
    wallet: Wallet,
    pub(super) objects: Objects,
}

impl Process {
    pub(super) const fn wallet(&self) -> &Wallet {
        &self.wallet
    }
}

/// A buyer, its disks, and what it was promised.
pub(super) struct Buyer {
    key: SecretKey,
    fabric: Fabric,
    issuer: Address,
    pub(super) clock: VirtualClock,
    disks: Disks,
    /// How often its machine was started.
    boots: u64,
    hosts: Vec<Address>,
    wish: Wish,
    trust: Trust,
    /// What it looks after for another, if anything.
    pub(super) entrusted: Option<Entrusted>,
    /// The bytes of everything it ever tried to store.
    pub(super) bytes: BTreeMap<ObjectId, Vec<u8>>,
    /// What was acknowledged, and not removed or ended since.
    pub(super) stored: BTreeSet<ObjectId>,
    pub(super) crashes: u64,
    /// How the process before this one ended.
    pub(super) ended: Ended,
    rng: Rng,
    next: u64,
}

/// Its disks. Clones are handles of the same ones.
#[derive(Clone)]
pub(super) struct Disks {
    book: SimDisk,
    outbox: SimDisk,
    /// Beside the book: the steps that are open.
    steps: SimDisk,
}

impl Disks {
    /// The process ends, and nothing is written any more: how the next one finds them.
    fn left(&self, ended: Ended, rng: &mut Rng) -> Self {
        let mut left = |disk: &SimDisk| match ended {
            Ended::InOrder => disk.clone(),
            Ended::Killed => disk.kill(),
            Ended::PowerCut { .. } => disk.crash(rng),
        };
        let Self { book, outbox, steps } = self;
        Self { book: left(book), outbox: left(outbox), steps: left(steps) }
    }
}

impl Disks {
    /// The process is killed now, or its power cut.
    pub(super) fn dies(&self, is_killed: bool, rng: &mut Rng) -> (Ended, Self) {
        let power_cut = Ended::PowerCut { at: Some(Instant::now()) };
        let ended = if is_killed { Ended::Killed } else { power_cut };
        (ended, self.left(ended, rng))
    }
}

/// What a buyer is made of.
pub(super) struct Plan {
    pub(super) key: SecretKey,
    pub(super) issuer: Address,
    pub(super) hosts: Vec<Address>,
    pub(super) wish: Wish,
    pub(super) trust: Trust,
    pub(super) lying_disk: bool,
}

impl Buyer {
    pub(super) fn new(plan: Plan, fabric: &Fabric, clock: VirtualClock, rng: Rng) -> Self {
        let Plan { key, issuer, hosts, wish, trust, lying_disk } = plan;
        let disk = || if lying_disk { SimDisk::lying() } else { SimDisk::new() };
        Self {
            key,
            fabric: fabric.clone(),
            issuer,
            clock,
            disks: Disks { book: disk(), outbox: disk(), steps: disk() },
            boots: 0,
            hosts,
            wish,
            trust,
            entrusted: None,
            bytes: BTreeMap::new(),
            stored: BTreeSet::new(),
            crashes: 0,
            ended: Ended::InOrder,
            rng,
            next: 0,
        }
    }

    pub(super) fn entity(&self) -> EntityId {
        self.key.entity()
    }

    pub(super) fn start(&self) -> Result<Process, String> {
        let failed = |error: AgentError| format!("the buyer does not start: {error}");
        let endpoint = Endpoint::bind_on(&self.fabric, &self.key, None, &[])
            .expect("every port has a socket of its own");
        let Disks { book, outbox, steps } = self.disks.clone();
        let boot = Some(Digest::of(&self.boots.to_le_bytes()));
        let book = BookFile::open_on(Box::new(book), Box::new(steps), boot).map_err(failed)?;
        let client = LcpClient::new(endpoint.clone(), self.issuer.clone());
        let nowhere = Path::new("/nonexistent");
        let wallet = Wallet::open_on(Box::new(outbox), nowhere, client);
        let wallet = wallet.map_err(failed)?;
        let clock = Arc::new(self.clock.clone());
        let agent = Agent::with_book(book, self.key.clone(), endpoint.clone(), clock);
        let agent = agent.with_trust(self.trust);
        let agent = match &self.entrusted {
            Some(entrusted) => agent.looking_after(entrusted),
            None => agent,
        };
        let objects = agent.objects();
        Ok(Process { endpoint, agent, wallet, objects })
    }

    /// Loses its power, and its process.
    pub(super) fn crash(&mut self, process: Process) {
        let ended = Ended::PowerCut { at: None };
        let left = self.disks.left(ended, &mut self.rng);
        self.is_killed(process, ended, left);
    }

    /// Its process was killed, or its machine lost its power, and this is on its disks.
    pub(super) fn is_killed(&mut self, process: Process, ended: Ended, left: Disks) {
        process.endpoint.kill();
        drop(process);
        self.finds(ended, left);
    }

    /// What is not durable may be gone.
    pub(super) fn lose_power(&mut self) {
        let ended = Ended::PowerCut { at: None };
        let left = self.disks.left(ended, &mut self.rng);
        self.finds(ended, left);
    }

    fn finds(&mut self, ended: Ended, left: Disks) {
        self.crashes += 1;
        self.boots += u64::from(matches!(ended, Ended::PowerCut { .. }));
        (self.ended, self.disks) = (ended, left);
    }

    pub(super) fn disks(&self) -> Disks {
        self.disks.clone()
    }

    /// Ends its process in order.
    pub(super) async fn stop(&mut self, process: Process) {
        process.endpoint.close().await;
        for session in process.objects.sessions().values() {
            // A step that was under way is noted when its task knows that it has no connection any more.
            session.stands().await;
        }
        self.ended = Ended::InOrder;
    }

    pub(super) fn is_dead(&self) -> bool {
        let Disks { book, outbox, steps } = &self.disks;
        [book, outbox, steps].into_iter().any(SimDisk::is_dead)
    }

    pub(super) fn power_off_in(&mut self, operations: u64) {
        let Disks { book, outbox, steps } = &self.disks;
        let disk = match self.rng.below(10) {
            0..=4 => book,
            5..=7 => outbox,
            _ => steps,
        };
        disk.power_off_in(operations, &mut self.rng);
    }

    pub(super) fn heal(&self) {
        self.disks.book.heal();
        self.disks.outbox.heal();
        self.disks.steps.heal();
    }

    /// Makes up an object.
    pub(super) fn any_object(&mut self) -> (ObjectId, Vec<u8>) {
        let longest = usize::try_from(OBJECT_MAX).unwrap_or(1);
        let most = *self.rng.pick(&[1, 2, 100, 20_000, 20_000, longest]).unwrap_or(&1);
        let mut bytes = vec![0; self.rng.index(most + 1)];
        self.rng.fill(&mut bytes);
        let kinds = [ObjectKind::Pack, ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot];
        let kind = *self.rng.pick(&kinds).unwrap_or(&ObjectKind::Pack);
        self.next += 1;
        let object = ObjectId { kind, name: Digest::of(&self.next.to_le_bytes()) };
        self.bytes.insert(object, bytes.clone());
        (object, bytes)
    }

    /// The longest that a shard of an object can be, with its tags.
    pub(super) const fn share_max(length: u64) -> u64 {
        2 * length + 4096
    }

    /// The most that any slot can have of all that was ever to be stored.
    pub(super) fn share_of_all(&self) -> u64 {
        self.bytes.values().map(|bytes| Self::share_max(bytes.len() as u64)).sum()
    }

    /// Stores an object, as the command does: with new contracts where those there are will not do. Returns how often it
    /// was tried.
    pub(super) async fn put(
        &self,
        process: &mut Process,
        object: ObjectId,
        bytes: &[u8],
    ) -> Result<u32, AgentError> {
        let mut hosts = self.hosts.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            if process.agent.usable_set().is_none() || tries > 1 {
                process.wallet.resume().await?;
                process.agent.open_contracts(&process.wallet, &hosts, self.wish).await?;
                process.objects = process.agent.objects();
            }
            match process.objects.put(object, bytes.to_vec()).await {
                Ok(()) => return Ok(tries),
                Err(error) if tries < TRIES_MAX => {
                    let is_our_own = matches!(error, AgentError::Store(_));
                    let gone = process.objects.failed_writes();
                    hosts.retain(|host| !gone.contains(&host.entity()));
                    if is_our_own || hosts.is_empty() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads a part of something that was acknowledged; whether the bytes are the right ones.
    pub(super) async fn read(
        &self,
        process: &Process,
        object: ObjectId,
        from: u64,
        to: u64,
    ) -> Result<bool, AgentError> {
        let bytes = process.objects.read(object, from..to).await?;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        Ok(self.bytes[&object].get(place(from)..place(to)) == Some(bytes.as_slice()))
    }

    pub(super) async fn audit(
        &self,
        process: &Process,
        samples: u32,
        nonce: [u8; 32],
    ) -> Result<Vec<Audited>, AgentError> {
        audit(&process.objects, Kind::Sampled, samples, nonce, |_| ()).await
    }

    /// Renews what ends within so many epochs; how many were, and why others were not.
    pub(super) async fn renew(
        &self,
        process: &mut Process,
        within: f64,
        epochs: u32,
    ) -> Result<(u64, Vec<String>), AgentError> {
        process.wallet.resume().await?;
        let renewals = process.agent.renew(&process.wallet, within, epochs, None).await;
        process.objects = process.agent.objects();
        let (done, failed): (Vec<_>, Vec<_>) =
            renewals?.into_iter().partition(|renewal| renewal.outcome.is_ok());
        let why = failed.iter().map(|renewal| format!("{:?}", renewal.outcome)).collect();
        Ok((done.len() as u64, why))
    }

    /// Writes down renewals that a crash cut off, as every command does first.
    pub(super) async fn finish_renewals(&self, process: &mut Process) -> Result<(), AgentError> {
        let unfinished = |book: &Book| {
            book.contracts()
                .any(|(id, record)| record.stage == Stage::Open && !book.renewals(id).is_empty())
        };
        if process.agent.book().read(unfinished) {
            process.agent.finish_renewals().await?;
            process.objects = process.agent.objects();
        }
        Ok(())
    }

    /// Audits, and gives the slots that are lost to others; how many it gave, and what was in the way.
    pub(super) async fn repair(
        &self,
        process: &mut Process,
        audited: Vec<Audited>,
        now: bool,
    ) -> Result<(u64, Vec<String>), AgentError> {
        let Process { agent, wallet, objects, .. } = process;
        wallet.resume().await?;
        let (mut given, mut problems) = (0, Vec::new());
        for health in agent.survey_after(objects, audited).await? {
            if !health.is_due(now) {
                continue;
            }
            let done = agent.repair(objects, wallet, &self.hosts, &health, None, &Quiet).await;
            match done {
                Ok(repaired) => {
                    given += repaired.replaced.len() as u64;
                    problems.extend(repaired.problems);
                }
                Err(error @ AgentError::Store(_)) => return Err(error),
                Err(error) => problems.push(error.to_string()),
            }
        }
        *objects = agent.objects();
        Ok((given, problems))
    }

    /// Ends all contracts: nothing is kept any more.
    pub(super) async fn end(&self, process: &mut Process) -> Vec<Result<(), AgentError>> {
        let ended = process.agent.end_contracts().await;
        // A command of its own: the next one asks hosts anew.
        process.objects = process.agent.objects();
        ended.into_iter().map(|(_, result)| result.map(drop)).collect()
    }

    /// Settles what was never answered.
    pub(super) async fn resume(&self, process: &Process) -> Result<usize, AgentError> {
        process.wallet.resume().await
    }

    /// How many contracts of an object's set are open as the buyer knows, and whose they are; and how many it needs.
    pub(super) fn where_is(&self, process: &Process, object: ObjectId) -> Option<Place> {
        process.agent.book().read(|book| {
            let record = book.object(object)?;
            let set = book.set(record.set)?;
            let shards = set.contracts.iter().zip(&record.shards).filter_map(|(id, shard)| {
                let contract = book.contract(*id)?;
                let open = contract.stage == Stage::Open;
                open.then_some((*id, contract.terms.prices.provider, *shard.digest()))
            });
            Some(Place { needed: usize::from(set.code.k()), shards: shards.collect() })
        })
    }

    pub(super) fn wish_bytes() -> Bytes {
        Bytes::new(1 << 20)
    }
}

/// Where an object lies.
pub(super) struct Place {
    /// How many shards rebuild it.
    pub(super) needed: usize,
    /// Under which contract, with whom, and the shard's name.
    pub(super) shards: Vec<(fondaco_contract::ContractId, EntityId, Digest)>,
}
