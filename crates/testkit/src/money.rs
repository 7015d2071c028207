//! An issuer, its holders and some villains, on disks that crash and a network that loses.
//!
//! The issuer and the outboxes are the production machines, over production journals. Each machine
//! follows the rule of its crate: save first, then send.
//!
//! ```text
//! treasurer ─┐                  network                ┌─ journal on a SimDisk
//! holder ────┼──► lost, doubled, late, overtaken ──► issuer
//! twin ──────┤  (a second device of a holder, with the same key and a memory of its own)
//! client ────┤  (of 2003: two devices with one key, a counter of one bit)
//! villain ───┘
//!
//! chaos: crashes, kills, failing and full disks, foul weather
//!   └─► heal: fair weather, sound disks ──► drain: send what is pending until all is settled ──► check
//! ```
//!
//! # What is checked
//!
//! At every restart:
//!
//! - what is replayed is what was acknowledged, or that and the one frame whose outcome was not known.
//!
//! At every answer:
//!
//! - it is to a command its holder knows, and is the same as before.
//!
//! At the end, by books of its own that share no code with the ledger ([`oracle`]):
//!
//! - money is conserved, nobody has spent what it had not, no hold was paid twice or over its amount;
//! - every command of a holder was executed once or refused, and the device that gave it knows which, as the issuer does;
//!   a batch's chains were done whole or not at all; nobody was paid more than it takes;
//! - every message of 2003 was done once, in order, and its answer is what its client was told;
//! - every deposit was learnt once, by one of its payee's devices, or told at least once in the dialect of 2003;
//! - the issuer replayed anew, from its beginning or behind a snapshot, is the issuer that lives.
//!
//! # What is not here
//!
//! Damage at rest, which a journal refuses (see the tests of `store`), and an issuer that cheats.

mod client;
mod holder;
mod issuer;
pub mod oracle;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp::{Currency, RequestId, classic};
use fondaco_ledger::{PayWord, SignedAnchor, SignedVoucher};
use fondaco_units::{Amount, Duration, Scale, Timestamp};

use crate::{
    Rng, SimDisk, SimNetwork, Weather,
    villains::{DoubleSpender, Garbler, Impostor, Villain},
};
use client::ClassicNode;
use holder::HolderNode;
use issuer::IssuerNode;

/// Where a machine of the run can be reached.
pub type Place = usize;

/// Where the issuer is.
pub const ISSUER: Place = 0;

/// What goes over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// A request to the issuer, and which command it is: what a connection would tell.
    Ask {
        /// Whose key the channel has proved.
        by: EntityId,
        /// The command; nothing for a query.
        about: Option<RequestId>,
        /// The body of the frame.
        frame: Vec<u8>,
    },
    /// The issuer's answer.
    Answer {
        /// The command; nothing for a query.
        about: Option<RequestId>,
        /// The body of the frame.
        frame: Vec<u8>,
    },
    /// A message of 2003.
    Classic {
        /// Whose key the channel has proved.
        by: EntityId,
        /// The connection it comes on.
        connection: u64,
        /// Its place among all on this connection: what comes out of order is lost with its connection.
        sequence: u64,
        /// The message.
        ask: classic::Ask,
    },
    /// The answer to it, on the same connection.
    ClassicAnswer {
        /// The connection.
        connection: u64,
        /// The place of the message.
        sequence: u64,
        /// The answer.
        answer: classic::Answer,
    },
    /// A payer's voucher, to its payee.
    Voucher(Box<SignedVoucher>),
    /// A word of a payer's chain, to its payee.
    Word(Box<(SignedAnchor, PayWord)>),
}

/// A fault of the program, put in to see that the checks catch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// None: the production code as it is.
    Nothing,
    /// The issuer answers first and saves after.
    AnswersBeforeSaving,
    /// The issuer's disk says that it has saved, and has not.
    DiskLies,
    /// The issuer takes every command for a new one.
    ForgetsIds,
    /// Holders send first and save after.
    SendsBeforeSaving,
    /// The issuer lets a connection speak though a newer one has.
    KeepsNoFence,
    /// A connection that has spoken shuts out those that are older, and no newer one.
    FencesOlderOnly,
    /// The issuer deletes notices when it has told them: a query that is repeated is told nothing.
    DeletesWhenTold,
    /// The issuer does each step of a batch by itself, linked or not.
    BreaksChains,
    /// The issuer pays in whatever the payee would take.
    IgnoresLimits,
    /// What the issuer restores from a snapshot has the money, and no answers.
    SnapshotForgets,
    /// Holders take a command without an answer for one that was not done.
    TakesSilenceForNo,
    /// The issuer says of all that its core forgot that it was never done.
    HasNoHistory,
    /// The issuer believes which word of a chain one is, and payees say that theirs is the next.
    BelievesWords,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in the run's time.
    pub at: Timestamp,
    /// What is not as it must be.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} ms: {}", self.at.milliseconds(), self.what)
    }
}

/// What happened in a run that was as it must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands that were executed.
    pub executed: u64,
    /// Commands that were refused.
    pub refused: u64,
    /// Vouchers that were cashed.
    pub posted: u64,
    /// Words that were cashed.
    pub words: u64,
    /// Commands of holders with two devices.
    pub shared: u64,
    /// Chains of more than one step, done or not.
    pub chains: u64,
    /// Accounts that got another key, or were closed.
    pub changed: u64,
    /// Messages of 2003 that were taken up.
    pub messages: u64,
    /// Restarts behind a snapshot.
    pub restored: u64,
    /// Snapshots that were found damaged, by the disk or by a crash.
    pub damaged: u64,
    /// Commands that were settled by the issuer's history alone.
    pub forgotten: u64,
    /// Times that a machine lost its power, its process or its disk.
    pub crashes: u64,
}

impl Report {
    /// Adds another run.
    pub const fn add(&mut self, other: Self) {
        self.executed += other.executed;
        self.refused += other.refused;
        self.posted += other.posted;
        self.words += other.words;
        self.shared += other.shared;
        self.chains += other.chains;
        self.changed += other.changed;
        self.messages += other.messages;
        self.restored += other.restored;
        self.damaged += other.damaged;
        self.forgotten += other.forgotten;
        self.crashes += other.crashes;
    }
}

/// Who there is, as villains and holders know it.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The currency.
    pub currency: Currency,
    /// Whose each place is.
    pub entities: Vec<EntityId>,
    /// The places where somebody can be paid.
    pub payees: Vec<Place>,
}

impl Directory {
    /// Returns somebody that can be paid.
    pub fn any_payee(&self, rng: &mut Rng) -> EntityId {
        self.entities[*rng.pick(&self.payees).unwrap_or(&ISSUER)]
    }

    /// Returns where an entity is.
    pub fn place_of(&self, entity: EntityId) -> Option<Place> {
        (1..self.entities.len()).find(|place| self.entities[*place] == entity)
    }
}

struct World {
    now: Timestamp,
    rng: Rng,
    network: SimNetwork<Place, Wire>,
    directory: Directory,
    issuer: IssuerNode,
    /// The treasurer, who holds the issuer's key, is the first.
    holders: Vec<HolderNode>,
    clients: Vec<ClassicNode>,
    villains: Vec<Box<dyn Villain>>,
    crashes: u64,
}

const TURNS: u64 = 320;
const TURNS_TO_DRAIN: u64 = 2000;

/// Runs one seed.
///
/// # Errors
///
/// Something was not as it must be.
pub fn run(seed: u64, planted: Planted) -> Result<Report, Violation> {
    let mut world = World::new(seed, planted);
    let done = world.chaos().and_then(|()| world.drain()).and_then(|()| world.check());
    done.map_err(|what| Violation { at: world.now, what })
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut rng = Rng::new(seed);
        let bank = SecretKey::from_bytes(&rng.array());
        let currency = Currency {
            id: CurrencyId::issued_by(bank.entity()),
            name: Text::cut("crown of the run"),
            symbol: Text::cut("CRN"),
            scale: Scale::new(2).unwrap_or_default(),
            transfer_fee: Amount::new(rng.below(3)),
            full_handshake_fee: Amount::new(rng.below(3)),
            account_reserve: Amount::new(if rng.chance(50) { 0 } else { rng.below(10) }),
        };
        let mut entities = vec![bank.entity()];
        let mut holders = Vec::new();
        for number in 0..3 + rng.below(3) {
            let key = if number == 0 { bank.clone() } else { SecretKey::from_bytes(&rng.array()) };
            entities.push(key.entity());
            let place = entities.len() - 1;
            let is_first = number == 0;
            holders.push(HolderNode::new(place, key, currency.id, is_first, planted, rng.fork()));
        }
        if rng.chance(50) {
            let first = 1 + rng.index(holders.len() - 1);
            let twin = holders[first].twin(entities.len(), rng.fork());
            entities.push(twin.entity());
            holders.push(twin);
        }
        let mut clients = Vec::new();
        for _ in 0..1 + rng.below(2) {
            let key = SecretKey::from_bytes(&rng.array());
            entities.push(key.entity());
            clients.push(ClassicNode::new(entities.len() - 1, key.entity(), rng.fork()));
        }
        let mut villains: Vec<Box<dyn Villain>> = Vec::new();
        if rng.chance(70) {
            villains.push(Box::new(DoubleSpender::new(&mut rng)));
        }
        if rng.chance(50) {
            villains.push(Box::new(Impostor::new(&mut rng)));
        }
        if rng.chance(50) {
            villains.push(Box::new(Garbler::new(&mut rng)));
        }
        let mut payees: Vec<Place> = (1..entities.len()).collect();
        for villain in &mut villains {
            let first = entities.len();
            entities.extend(villain.devices());
            villain.placed(first);
            payees.push(first);
        }
        let disk = if planted == Planted::DiskLies { SimDisk::lying() } else { SimDisk::new() };
        let mut issuer = IssuerNode::new(currency.clone(), disk, planted, rng.fork());
        let weather = Weather::any(&mut rng);
        if planted == Planted::BelievesWords {
            issuer.forge_for(holders.iter().flat_map(HolderNode::keys).cloned());
        }
        Self {
            now: Timestamp::from_milliseconds(1_800_000_000_000),
            network: SimNetwork::new(weather, rng.fork()),
            directory: Directory { currency, entities, payees },
            issuer,
            holders,
            clients,
            villains,
            rng,
            crashes: 0,
        }
    }

    fn chaos(&mut self) -> Result<(), String> {
        for _ in 0..TURNS {
            self.now = self.now.after(Duration::from_milliseconds(1 + self.rng.below(40)));
            if self.rng.chance(1) {
                self.network.set_weather(Weather::any(&mut self.rng));
            }
            self.harm();
            self.turn(true)?;
        }
        Ok(())
    }

    /// Plans a fault of a disk, or brings a machine down at once.
    fn harm(&mut self) {
        let rng = &mut self.rng;
        if !rng.chance(12) {
            return;
        }
        let place = rng.index(1 + 2 * self.holders.len());
        let disk = match self.holders.get(place) {
            Some(holder) => holder.disk().clone(),
            // The issuer as often as all others together.
            None => self.issuer.disk().clone(),
        };
        match rng.below(10) {
            0..=5 => disk.power_off_in(rng.below(8), rng),
            6 | 7 => disk.fail_in(rng.below(8), rng),
            8 => disk.set_capacity((100 << 10) + rng.below(100 << 10)),
            _ => match self.holders.get_mut(place) {
                Some(holder) => holder.go_down(),
                None => self.issuer.go_down(),
            },
        }
    }

    fn turn(&mut self, chaos: bool) -> Result<(), String> {
        self.deliver()?;
        let mut sent = Vec::new();
        if self.issuer.is_up() {
            self.issuer.tick(self.now)?;
        } else if !chaos || self.rng.chance(30) {
            self.crashes += 1;
            self.issuer.restart()?;
        }
        for holder in &mut self.holders {
            if holder.is_up() {
                holder.turn(self.now, &self.directory, chaos, &mut sent)?;
            } else if !chaos || self.rng.chance(30) {
                self.crashes += 1;
                holder.restart()?;
            }
        }
        for client in &mut self.clients {
            client.turn(&mut self.issuer, &self.directory, chaos, &mut sent);
        }
        if chaos {
            for villain in &mut self.villains {
                villain.turn(self.now, &self.directory, &mut self.rng, &mut sent);
            }
        }
        for (from, to, wire) in sent {
            self.network.send(self.now, from, to, wire);
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), String> {
        let mut asked = Vec::new();
        while let Some(delivery) = self.network.receive(self.now) {
            match delivery.to {
                ISSUER => asked.push(delivery),
                to if to <= self.holders.len() => {
                    self.holders[to - 1].hear(delivery.message)?;
                }
                to if to <= self.holders.len() + self.clients.len() => {
                    self.clients[to - 1 - self.holders.len()].hear(delivery.message)?;
                }
                to => {
                    let villain = |villain: &&mut Box<dyn Villain>| villain.is_at(to);
                    if let Some(villain) = self.villains.iter_mut().find(villain) {
                        villain.hear(to, delivery.message);
                    }
                }
            }
        }
        // As a service does it: what came together is saved together, and then answered.
        while !asked.is_empty() {
            let batch = asked.split_off(asked.len().saturating_sub(1 + self.rng.index(8)));
            for (to, wire) in self.issuer.serve(self.now, batch)? {
                self.network.send(self.now, ISSUER, to, wire);
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), String> {
        self.network.set_weather(Weather::FAIR);
        self.issuer.heal();
        self.holders.iter_mut().for_each(HolderNode::heal);
        for _ in 0..TURNS_TO_DRAIN {
            self.now = self.now.after(Duration::from_milliseconds(25));
            self.turn(false)?;
            if self.unrest().next().is_none() {
                // All holds come to their end.
                self.now = self.now.after(Duration::from_seconds(86_400));
                return self.issuer.tick(self.now);
            }
        }
        let unrest: Vec<String> = self.unrest().collect();
        Err(format!("the machines do not come to rest: {}", unrest.join("; ")))
    }

    /// What is left to be sent or learnt.
    fn unrest(&self) -> impl Iterator<Item = String> + '_ {
        let holders = self.holders.iter().filter_map(HolderNode::unrest);
        let clients = self.clients.iter().filter_map(|client| client.unrest(&self.issuer));
        let mut learnt = BTreeMap::<EntityId, BTreeSet<u64>>::new();
        for holder in &self.holders {
            learnt.entry(holder.entity()).or_default().extend(holder.learnt());
        }
        let unlearnt = learnt.into_iter().filter_map(|(entity, known)| {
            let (arrived, known) = (self.issuer.deposits_of(entity), known.len());
            (arrived != known)
                .then(|| format!("{entity} has learnt of {known} of {arrived} deposits"))
        });
        holders.chain(clients).chain(unlearnt)
    }

    fn check(&mut self) -> Result<Report, String> {
        self.issuer.check_replay()?;
        let holders: Vec<oracle::Holder<'_>> =
            self.holders.iter().map(HolderNode::for_oracle).collect();
        let clients: Vec<oracle::Client<'_>> =
            self.clients.iter().map(ClassicNode::for_oracle).collect();
        let (live, log) = (self.issuer.live()?, self.issuer.log());
        let mut report = oracle::check(self.now, live, log, &holders, &clients)?;
        report.crashes = self.crashes;
        let twins = self.holders.iter().filter(|holder| holder.has_twin());
        report.shared = twins.map(|twin| twin.for_oracle().ids.len() as u64).sum();
        (report.restored, report.damaged, report.forgotten) = self.issuer.counts();
        Ok(report)
    }
}
