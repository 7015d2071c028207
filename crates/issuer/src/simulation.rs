//! The keeper through seeded faults: its batches, queries that wait, pace and what stands behind it, over the production
//! journal on a disk that fails. The thread around it is not here; all that it decides is.
//!
//! `FONDACO_SEEDS` runs from `FONDACO_SEED` on.

use crate::{
    IssuerError,
    history::Noted,
    keeper::{Behind, Job, Keeper, Message, QUEUE_MAX, Save, Saved, WAIT_MAX},
    known::Known,
    metrics::Metrics,
    pace::{self, Pace},
    parked::Parked,
};
use fondaco_codec::{List, Text};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_lcp::{
    Currency, EntryKind, Issuer, IssuerOptions, Movement, Refusal, Request, RequestId, Response,
    Step,
};
use fondaco_ports::Clock as _;
use fondaco_store::{Head, Journal, JournalError, Kind, OpenError};
use fondaco_testkit::{Rng, Seeds, SimClock, SimDisk};
use fondaco_units::{Amount, Bytes, Duration, Scale, Timestamp};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::{
    mpsc,
    oneshot::{self, error::TryRecvError},
};

const KIND: Kind = Kind::new(*b"issuer\0\0", 1);
const FEE: u64 = 2;
const TURNS: u64 = 150;
const BEGIN: Timestamp = Timestamp::from_milliseconds(1_800_000_000_000);

/// A fault of the program, which must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// Answers leave, and what they say is saved with the next batch.
    SavesLate,
    /// What stands behind the journal is not told of some of it.
    TellsLess,
    /// Strangers are not held to their pace.
    HasNoPace,
}

/// The journal, with little room ahead: a disk in memory is copied at each crash.
struct Saver {
    journal: Journal<SimDisk>,
    planted: Planted,
    late: Vec<Vec<u8>>,
}

impl Save for Saver {
    fn reserve(&mut self, _: Bytes) -> Result<bool, JournalError> {
        self.journal.reserve(Bytes::new(48 << 10))
    }

    fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError> {
        if self.planted != Planted::SavesLate {
            return Save::save(&mut self.journal, records);
        }
        let late = std::mem::replace(&mut self.late, records.to_vec());
        Save::save(&mut self.journal, &late)
    }

    fn head(&self) -> Head {
        Save::head(&self.journal)
    }
}

/// A history by hand: what the movements that were told come to.
#[derive(Debug, Default)]
struct Told {
    available: BTreeMap<EntityId, i128>,
    records: u64,
    frames: u64,
}

impl Told {
    fn add(&mut self, bank: EntityId, movement: &Movement) {
        use EntryKind::{
            Forfeited, HoldOpened, HoldPaid, HoldReceived, HoldReturned, Minted, Received,
            Redeemed, RotatedFrom, Sent,
        };
        let Movement { holder, kind, amount, fee, .. } = movement;
        let (amount, fee) = (i128::from(amount.get()), i128::from(fee.get()));
        let change = match kind {
            Sent | HoldOpened | Redeemed | Forfeited => -amount,
            Received | Minted | HoldReceived | HoldReturned => amount,
            HoldPaid | RotatedFrom => 0,
        };
        *self.available.entry(*holder).or_default() += change - fee;
        *self.available.entry(bank).or_default() += fee;
    }
}

struct Ears {
    told: Arc<Mutex<Told>>,
    bank: EntityId,
    planted: Planted,
}

impl Behind for Ears {
    fn saved(&mut self, saved: Saved<'_>) {
        let mut told = self.told.lock().unwrap();
        if self.planted == Planted::Nothing {
            assert_eq!(saved.frame.records.start, told.records, "nothing is left out");
            assert_eq!(saved.done.len() as u64, saved.frame.records.end - told.records);
        }
        (told.records, told.frames) = (saved.frame.records.end, told.frames + 1);
        let less = self.planted == Planted::TellsLess && told.frames.is_multiple_of(9);
        for Noted { movements, .. } in saved.done.iter().skip(usize::from(less)) {
            movements.iter().for_each(|movement| told.add(self.bank, movement));
        }
    }

    fn closed(&mut self, _: &Issuer, _: Head) {}
}

/// One who asked, and waits for its answer.
struct Asked {
    holder: EntityId,
    request: Request,
    /// The latest moment of its answer.
    until: Timestamp,
    answer: oneshot::Receiver<Response>,
}

struct World {
    rng: Rng,
    clock: Arc<SimClock>,
    bank: SecretKey,
    holders: Vec<EntityId>,
    strangers: Vec<EntityId>,
    disk: SimDisk,
    up: Option<(Keeper, Parked<crate::keeper::Waiting>)>,
    told: Arc<Mutex<Told>>,
    planted: Planted,
    /// Each command and its first answer, if there was one.
    known: BTreeMap<(EntityId, RequestId), (Request, Option<Response>)>,
    asked: Vec<Asked>,
    pace: Pace,
    /// How many commands of a stranger were let through.
    let_through: BTreeMap<EntityId, u64>,
    report: Report,
}

/// What a run reached.
#[derive(Debug, Default)]
struct Report {
    answered: u64,
    again: u64,
    parked: u64,
    woken: u64,
    crashes: u64,
    halted: u64,
    full: u64,
    slowed: u64,
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

/// Whether this says nothing of what became of a command: of a stranger's older ones, only the history can.
const fn is_no_outcome(response: &Response) -> bool {
    use Refusal::{Forgotten, Halted, NoSpace};
    matches!(response, Response::Refused { refusal: Halted | NoSpace | Forgotten { .. } })
}

impl World {
    fn new(seed: u64, planted: Planted) -> Self {
        let mut rng = Rng::new(seed);
        let bank = SecretKey::from_bytes(&rng.array());
        let mut keys = |count| (0..count).map(|_| EntityId::from_bytes(rng.array())).collect();
        let (holders, strangers): (Vec<_>, _) = (keys(5), keys(1));
        Self {
            rng,
            clock: Arc::new(SimClock::new(BEGIN)),
            bank,
            holders,
            strangers,
            disk: SimDisk::new(),
            up: None,
            told: Arc::default(),
            planted,
            known: BTreeMap::new(),
            asked: Vec::new(),
            pace: Pace::default(),
            let_through: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Opens the books as a new process does.
    fn restart(&mut self) -> Result<(), String> {
        let bank = self.bank.entity();
        let currency = Currency {
            id: CurrencyId::issued_by(bank),
            name: Text::cut("crown"),
            symbol: Text::cut("C"),
            scale: Scale::default(),
            transfer_fee: Amount::new(FEE),
            full_handshake_fee: Amount::ZERO,
            account_reserve: Amount::ZERO,
        };
        let mut issuer = Issuer::new(currency, IssuerOptions::default());
        issuer.collect_movements(true);
        let opened = Journal::open(self.disk.clone(), KIND, |record| issuer.replay(record));
        let journal = match opened {
            Ok(journal) => journal,
            // The disk fails again: another time.
            Err(OpenError::Disk { .. }) => {
                self.go_down();
                return Ok(());
            }
            Err(error) => return Err(format!("it does not start: {error}")),
        };
        let mut told = Told { records: journal.head().records, ..Told::default() };
        issuer.drain_movements().iter().for_each(|movement| told.add(bank, movement));
        self.told = Arc::new(Mutex::new(told));
        let behind = Ears { told: Arc::clone(&self.told), bank, planted: self.planted };
        let keeper = Keeper {
            known: Known::of(&issuer),
            issuer,
            journal: Box::new(Saver { journal, planted: self.planted, late: Vec::new() }),
            clock: self.clock.clone(),
            key: self.bank.clone(),
            metrics: Metrics::default(),
            behind: Box::new(behind),
            past: None,
            former: mpsc::unbounded_channel().0,
            leaving: false,
            full_since: None,
        };
        self.up = Some((keeper, Parked::default()));
        Ok(())
    }

    fn go_down(&mut self) {
        self.report.crashes += 1;
        let power = self.disk.is_dead() || self.rng.chance(50);
        self.disk = if power { self.disk.crash(&mut self.rng) } else { self.disk.kill() };
        self.disk.set_capacity(u64::MAX);
        self.up = None;
        // Their connections end with the process.
        self.asked.clear();
    }

    fn request(&mut self, now: Timestamp) -> (EntityId, Request) {
        let rng = &mut self.rng;
        if rng.chance(15)
            && let Some(at) = (!self.known.is_empty()).then(|| rng.index(self.known.len()))
            && let Some(((holder, _), (request, _))) = self.known.iter().nth(at)
        {
            return (*holder, request.clone());
        }
        let id = RequestId::at(now, rng.array());
        let bank = self.bank.entity();
        let mut any = |list: &[EntityId]| list[rng.index(list.len())];
        let (holder, to, stranger) = (any(&self.holders), any(&self.holders), any(&self.strangers));
        let amount = Amount::new(rng.below(60));
        match rng.below(20) {
            0 | 1 => (bank, Request::Mint { id, to, amount }),
            2..=5 => {
                // Seldom longer than the keeper lets anybody wait: of one holder 16 queries wait at most.
                let most = if rng.chance(5) { 90_000 } else { 9000 };
                let wait = Duration::from_milliseconds(1 + rng.below(most));
                (holder, Request::Deposits { after: rng.below(12), wait })
            }
            6 => (holder, Request::Balance),
            7 => {
                let expires = now.after(Duration::from_milliseconds(1 + rng.below(3000)));
                let order = Digest::of(b"order");
                let open = Request::HoldOpen {
                    id,
                    payee: to,
                    amount_max: amount,
                    order,
                    expires,
                    open_by: expires,
                };
                (holder, open)
            }
            8 => (holder, Request::AckDeposits { id, through: rng.below(4) }),
            9 => {
                let order = Text::default();
                let step = |to| Step { to, amount, order: order.clone(), linked: true };
                let steps = List::new(vec![step(to), step(bank)]).unwrap();
                (holder, Request::Batch { id, fee_max: Amount::new(FEE), steps })
            }
            10..=12 => (stranger, Request::AcceptAhead { id, balance_max: amount }),
            _ => {
                let fee_max = Amount::new(FEE);
                (holder, Request::Transfer { id, to, amount, fee_max, order: Text::default() })
            }
        }
    }

    /// Whether the server lets it through to the keeper.
    fn may_ask(&mut self, known: &Known, holder: EntityId, request: &Request) -> bool {
        if request.id().is_none() || holder == self.bank.entity() {
            return true;
        }
        let since = self.clock.now().since(BEGIN).milliseconds();
        let since = std::time::Duration::from_millis(since);
        let tokens = pace::cost(request, request.to_frame().len());
        if known.contains(holder) {
            return self.pace.may_command(since, holder, tokens);
        }
        let may = self.planted == Planted::HasNoPace
            || self.pace.stranger_may_command(since, holder, None, tokens);
        match may {
            true if self.strangers.contains(&holder) => {
                *self.let_through.entry(holder).or_default() += 1;
            }
            true => {}
            false => self.report.slowed += 1,
        }
        may
    }

    fn turn(&mut self, chaos: bool) -> Result<(), String> {
        self.clock.advance(Duration::from_milliseconds(1 + self.rng.below(700)));
        let now = self.clock.now();
        if chaos && self.rng.chance(12) {
            match self.rng.below(10) {
                0..=4 => self.disk.power_off_in(self.rng.below(6), &mut self.rng),
                5 | 6 => self.disk.fail_in(self.rng.below(6), &mut self.rng),
                7 | 8 => self.disk.set_capacity(self.rng.below(64 << 10)),
                _ => self.go_down(),
            }
        }
        if self.up.is_none() {
            self.restart()?;
        }
        let Some((mut keeper, mut parked)) = self.up.take() else { return Ok(()) };
        let (queue, mut waiting) = mpsc::channel(QUEUE_MAX);
        for _ in 0..self.rng.below(8) {
            let (holder, request) = self.request(now);
            if !self.may_ask(&keeper.known.clone(), holder, &request) {
                continue;
            }
            if let Some(id) = request.id() {
                self.known.entry((holder, id)).or_insert((request.clone(), None));
            }
            let (answer, answered) = oneshot::channel();
            let until = now.after(request.wait().min(WAIT_MAX));
            let job = Box::new(Job { holder, request: request.clone(), answer });
            queue.try_send(Message::Job(job)).map_err(|error| error.to_string())?;
            self.asked.push(Asked { holder, request, until, answer: answered });
        }
        queue.try_send(Message::Tick).map_err(|error| error.to_string())?;
        drop(queue);
        match keeper.batches(&mut waiting, &mut parked) {
            Ok(()) => {
                self.hear(&keeper, now)?;
                self.compare(&keeper)?;
                self.report.full += u64::from(keeper.full_since.is_some());
                if keeper.full_since.is_some() && self.rng.chance(40) {
                    self.disk.set_capacity(u64::MAX);
                    keeper.full_since = None;
                }
                self.up = Some((keeper, parked));
            }
            Err(IssuerError::Journal(_)) => {
                self.report.halted += 1;
                // Nobody of this batch hears anything but that it is halted.
                for asked in &mut self.asked {
                    let halted = Response::Refused { refusal: Refusal::Halted };
                    let heard = asked.answer.try_recv();
                    check(heard.is_err() || heard.as_ref() == Ok(&halted), || {
                        format!("not saved, and answered: {heard:?}")
                    })?;
                }
                self.go_down();
            }
            Err(error) => return Err(format!("the books: {error}")),
        }
        Ok(())
    }

    /// Looks at each answer that left, and at those that did not.
    fn hear(&mut self, keeper: &Keeper, now: Timestamp) -> Result<(), String> {
        let mut waiting = Vec::new();
        for mut asked in std::mem::take(&mut self.asked) {
            let heard = asked.answer.try_recv();
            let Asked { holder, request, until, .. } = &asked;
            match heard {
                Ok(response) => {
                    self.report.answered += 1;
                    match request {
                        Request::Deposits { after, .. } => {
                            let Response::Deposits { list, .. } = &response else {
                                return Err(format!("{request:?}: {response:?}"));
                            };
                            let is_new = list.as_slice().iter().all(|each| each.number > *after);
                            check(is_new, || format!("{request:?}: {response:?}"))?;
                            let is_due = !list.as_slice().is_empty() || *until <= now;
                            check(is_due, || format!("{request:?} did not wait until {until}"))?;
                            self.report.woken += u64::from(!list.as_slice().is_empty());
                        }
                        request => self.first(*holder, request, &response)?,
                    }
                }
                Err(TryRecvError::Empty) => {
                    let Request::Deposits { after, .. } = request else {
                        return Err(format!("{request:?} has no answer"));
                    };
                    let told = keeper.issuer.deposits_wait(*holder, *after);
                    check(!told && *until > now, || format!("{request:?} waits in vain"))?;
                    self.report.parked += 1;
                    waiting.push(asked);
                }
                Err(TryRecvError::Closed) => return Err(format!("{request:?} was dropped")),
            }
        }
        self.asked = waiting;
        Ok(())
    }

    /// An answer to a command is its first, whatever happened since.
    fn first(
        &mut self,
        by: EntityId,
        request: &Request,
        response: &Response,
    ) -> Result<(), String> {
        let Some(id) = request.id() else { return Ok(()) };
        if is_no_outcome(response) {
            return Ok(());
        }
        let Some((_, known)) = self.known.get_mut(&(by, id)) else { return Ok(()) };
        match known {
            Some(known) => {
                self.report.again += 1;
                check(known == response, || format!("{request:?}: {known:?}, then {response:?}"))
            }
            None => {
                *known = Some(response.clone());
                Ok(())
            }
        }
    }

    /// What was told adds up to the books, and whom the books know may ask as one who is known.
    fn compare(&self, keeper: &Keeper) -> Result<(), String> {
        keeper.issuer.check().map_err(|error| error.to_string())?;
        let told = self.told.lock().map_err(|error| error.to_string())?;
        for (holder, account) in keeper.issuer.books() {
            let is_known = holder == self.bank.entity() || keeper.known.contains(holder);
            check(is_known, || format!("{holder} is not known"))?;
            let by_history = told.available.get(&holder).copied().unwrap_or_default();
            check(by_history == i128::from(account.available.get()), || {
                format!("{holder} has {account:?}, and {by_history} by its history")
            })?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        self.disk.heal();
        self.disk.set_capacity(u64::MAX);
        self.go_down();
        self.turn(false)?;
        let Some((keeper, _)) = &mut self.up else { return Err("it is down".to_owned()) };
        for ((holder, id), (request, known)) in &self.known {
            let again = keeper.issuer.handle(self.clock.now(), *holder, request);
            if is_no_outcome(&again.response) {
                continue;
            }
            let is_same = known.as_ref().is_none_or(|known| *known == again.response);
            check(is_same && (known.is_none() || again.record.is_none()), || {
                format!("{id}: {known:?}, and in the end {:?}", again.response)
            })?;
        }
        // A stranger's own bucket has 20 tokens, and 5 more each second; a limit takes 10.
        let seconds = self.clock.now().since(BEGIN).milliseconds() / 1000;
        for (stranger, count) in &self.let_through {
            let most = (20 + 5 * (seconds + 1)) / 10;
            check(*count <= most, || format!("{stranger} commanded {count} of {most} times"))?;
        }
        Ok(())
    }
}

fn run(seed: u64, planted: Planted) -> Result<Report, String> {
    let mut world = World::new(seed, planted);
    (0..TURNS).try_for_each(|_| world.turn(true))?;
    world.end()?;
    Ok(world.report)
}

#[test]
fn what_the_keeper_says_is_so_whatever_fails() {
    let seeds = Seeds::from_environment(60);
    let runs = seeds.end - seeds.start;
    let mut sum = Report::default();
    for seed in seeds {
        let report = run(seed, Planted::Nothing).unwrap_or_else(|what| {
            panic!("{what}\nFONDACO_SEED={seed} FONDACO_SEEDS=1 cargo test -p fondaco-issuer simulation")
        });
        let Report { answered, again, parked, woken, crashes, halted, full, slowed } = report;
        sum.answered += answered;
        sum.again += again;
        sum.parked += parked;
        sum.woken += woken;
        sum.crashes += crashes;
        sum.halted += halted;
        sum.full += full;
        sum.slowed += slowed;
    }
    // What never happens was not tested.
    if runs >= 20 {
        let Report { answered, again, parked, woken, crashes, halted, full, slowed } = sum;
        assert!(answered > 100 * runs && again > 10 * runs && parked > 20 * runs, "{sum:?}");
        assert!(woken > runs && crashes > 3 * runs && halted > runs, "{sum:?}");
        assert!(full > runs / 4 && slowed > runs, "{sum:?}");
    }
}

/// Each planted fault must be caught, most of the time: a check that catches none is none.
#[test]
fn canaries_of_the_keeper() {
    for (planted, least) in
        [(Planted::SavesLate, 15), (Planted::TellsLess, 18), (Planted::HasNoPace, 18)]
    {
        let caught = (0..20).filter_map(|seed| run(seed, planted).err());
        let caught: Vec<String> = caught.collect();
        assert!(caught.len() >= least, "{planted:?}, {}: {caught:#?}", caught.len());
    }
}
