//! Two wallets pay one another, and the power goes in each single write and sync of each of the three journals: of the
//! issuer, of the payer and of the payee.
//!
//! Chance reaches the likely places of a crash; this reaches all of them, in a short run. The wallets are the agent's own,
//! the issuer is the production machine over the production journal, on a network in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fondaco_agent::{AgentError, Wallet};
use fondaco_codec::{List, Text};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_lcp::{
    Currency, Issuer, IssuerOptions, REQUEST_BYTES_MAX, Request, RequestId, Response, Step,
};
use fondaco_ledger::{HoldId, Voucher};
use fondaco_ports::{Address, Clock};
use fondaco_store::{Journal, Kind, OpenError};
use fondaco_testkit::{Rng, SimDisk, VirtualClock};
use fondaco_transport::{Connection, Endpoint, Fabric, LcpClient, Protocol};
use fondaco_units::{Amount, Scale, Timestamp};

const KIND: Kind = Kind::new(*b"issuer\0\0", 1);
const BEGIN: Timestamp = Timestamp::from_milliseconds(1_800_000_000_000);
const FEE: u64 = 1;
const MINTED: u64 = 1000;
/// How often somebody tries the same again, each time some seconds later.
const TRIES: u32 = 30;

/// Whose journal.
const ISSUER: usize = 0;
const PAYER: usize = 1;
const PAYEE: usize = 2;

/// Where something breaks.
#[derive(Clone, Copy, Debug)]
struct Fault {
    disk: usize,
    operation: u64,
    /// What becomes of the writes under way, and whether the power goes or one operation fails.
    seed: u64,
}

/// A fault of the program, which must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Nothing,
    /// The issuer answers, and saves what it did with the next request.
    AnswersBeforeSaving,
    /// The payer's disk says that it has saved what it has not.
    LyingDisk,
}

fn plan(disk: &SimDisk, place: usize, faults: &[Fault]) {
    for fault in faults.iter().filter(|fault| fault.disk == place) {
        let mut rng = Rng::new(fault.seed);
        match fault.seed % 4 {
            0 => disk.fail_in(fault.operation, &mut rng),
            _ => disk.power_off_in(fault.operation, &mut rng),
        }
    }
}

/// What the next process finds.
fn after(disk: &SimDisk, rng: &mut Rng) -> SimDisk {
    if disk.is_dead() || rng.chance(50) { disk.crash(rng) } else { disk.kill() }
}

/// The issuer. Clones are the same.
#[derive(Clone)]
struct Books(Arc<Shared>);

struct Shared {
    key: SecretKey,
    endpoint: Endpoint,
    fabric: Fabric,
    clock: VirtualClock,
    planted: Planted,
    state: Mutex<State>,
}

struct State {
    disk: SimDisk,
    up: Option<(Journal<SimDisk>, Issuer)>,
    rng: Rng,
    operations: u64,
    unsaved: Vec<Vec<u8>>,
    /// The records that it did not find again though it had answered.
    lost: Vec<String>,
}

impl Books {
    fn start(fabric: &Fabric, clock: &VirtualClock, faults: &[Fault], planted: Planted) -> Self {
        let key = SecretKey::from_bytes(&[1; 32]);
        let endpoint = Endpoint::bind_on(fabric, &key, None, &[Protocol::Lcp2]).unwrap();
        let disk = SimDisk::new();
        plan(&disk, ISSUER, faults);
        let rng = Rng::new(faults.iter().map(|fault| fault.seed).sum());
        let (unsaved, lost) = (Vec::new(), Vec::new());
        let state = Mutex::new(State { disk, up: None, rng, operations: 0, unsaved, lost });
        let (fabric, clock) = (fabric.clone(), clock.clone());
        let books = Self(Arc::new(Shared { key, endpoint, fabric, clock, planted, state }));
        books.reopen();
        let serving = books.clone();
        tokio::spawn(async move {
            while let Some(connection) = serving.0.endpoint.accept().await {
                tokio::spawn(serving.clone().connection(connection));
            }
        });
        books
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn currency(&self) -> CurrencyId {
        CurrencyId::issued_by(self.0.key.entity())
    }

    fn issuer(&self) -> Issuer {
        let currency = Currency {
            id: self.currency(),
            name: Text::cut("crown of the run"),
            symbol: Text::cut("CRN"),
            scale: Scale::new(2).unwrap(),
            transfer_fee: Amount::new(FEE),
            full_handshake_fee: Amount::ZERO,
            account_reserve: Amount::ZERO,
        };
        Issuer::new(currency, IssuerOptions::default())
    }

    fn reopen(&self) {
        let mut state = self.state();
        for _ in 0..TRIES {
            let mut issuer = self.issuer();
            match Journal::open(state.disk.clone(), KIND, |record| issuer.replay(record)) {
                Ok(journal) => {
                    state.up = Some((journal, issuer));
                    return;
                }
                Err(OpenError::Disk { .. }) => {}
                Err(error) => state.lost.push(format!("the issuer does not start: {error}")),
            }
            self.go_down(&mut state);
        }
    }

    fn go_down(&self, state: &mut State) {
        let State { disk, rng, .. } = &mut *state;
        let found = after(disk, rng);
        state.operations += state.disk.operations();
        state.disk = found;
        state.up = None;
        state.unsaved.clear();
        self.0.fabric.cut(self.0.key.entity());
    }

    async fn connection(self, connection: Connection) {
        let peer = connection.peer();
        while let Ok(Some(mut stream)) = connection.accept().await {
            let books = self.clone();
            tokio::spawn(async move {
                let Ok(Some(frame)) = stream.recv_bytes(REQUEST_BYTES_MAX).await else { return };
                let Ok(request) = Request::from_frame(&frame) else { return };
                if let Some(response) = books.handle(peer, &request) {
                    // Who asked may be gone.
                    let _ = stream.send_bytes(&response.to_frame()).await;
                }
            });
        }
    }

    /// Answers when what changed is saved; nothing when the machine is down, or goes down.
    fn handle(&self, holder: EntityId, request: &Request) -> Option<Response> {
        let mut state = self.state();
        let now = self.0.clock.now();
        let State { up, unsaved, .. } = &mut *state;
        let (journal, issuer) = up.as_mut()?;
        let mut records = std::mem::take(unsaved);
        while let Some(record) = issuer.tick(now) {
            records.push(record);
        }
        let handled = issuer.handle(now, holder, request);
        match self.0.planted {
            Planted::AnswersBeforeSaving => unsaved.extend(handled.record),
            Planted::Nothing | Planted::LyingDisk => records.extend(handled.record),
        }
        if !records.is_empty() && journal.append(&records).is_err() {
            self.go_down(&mut state);
            drop(state);
            let books = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                books.reopen();
            });
            return None;
        }
        Some(handled.response)
    }
}

/// Somebody with a wallet, whose program is started again each time that it ended.
struct Holder {
    key: SecretKey,
    fabric: Fabric,
    issuer: Address,
    clock: VirtualClock,
    disk: SimDisk,
    rng: Rng,
    operations: u64,
    /// The payments that the owner was shown.
    shown: BTreeSet<RequestId>,
    process: Option<(Endpoint, Wallet)>,
}

impl Holder {
    /// Runs `what` until it succeeds: after a failed write in a new process, after a silent issuer in this one.
    async fn until<T>(
        &mut self,
        what: &str,
        act: impl AsyncFn(&Wallet, &VirtualClock) -> Result<T, AgentError>,
    ) -> Result<T, String> {
        let mut last = String::new();
        for _ in 0..TRIES {
            if self.process.is_none()
                && let Err(error) = self.start()
            {
                last = error;
                self.end();
                continue;
            }
            let Some((_, wallet)) = &self.process else { continue };
            match act(wallet, &self.clock).await {
                Ok(done) => return Ok(done),
                Err(AgentError::Store(error)) => {
                    last = error;
                    self.end();
                }
                Err(AgentError::Transport(error)) => {
                    last = error.to_string();
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                Err(error) => return Err(format!("{what}: {error}")),
            }
        }
        Err(format!("{what}: never done: {last}"))
    }

    fn start(&mut self) -> Result<(), String> {
        let endpoint = Endpoint::bind_on(&self.fabric, &self.key, None, &[]).unwrap();
        let client = LcpClient::new(endpoint.clone(), self.issuer.clone());
        let disk = Box::new(self.disk.clone());
        match Wallet::open_on(disk, Path::new("/nonexistent"), client) {
            Ok(wallet) => {
                self.process = Some((endpoint, wallet));
                Ok(())
            }
            Err(error) => {
                endpoint.kill();
                Err(error.to_string())
            }
        }
    }

    fn end(&mut self) {
        if let Some((endpoint, _)) = self.process.take() {
            endpoint.kill();
        }
        self.operations += self.disk.operations();
        self.disk = after(&self.disk, &mut self.rng);
    }

    /// Pays as the command does: it shows the owner the payment, and takes note that it did. Shown one that he has seen,
    /// since the note was lost, he asks for another.
    async fn pay(&mut self, to: EntityId, amount: u64, order: &str) -> Result<(), String> {
        loop {
            let id = self
                .until(order, async |wallet, clock| {
                    wallet.resume().await?;
                    let (amount, fee_max) = (Amount::new(amount), Amount::new(FEE));
                    Ok(wallet.pay(clock, to, amount, fee_max, Text::cut(order)).await?.id)
                })
                .await?;
            if let Some((_, wallet)) = &self.process
                && wallet.told(id).is_err()
            {
                self.end();
            }
            if self.shown.insert(id) {
                return Ok(());
            }
        }
    }

    /// Sends a command of a program that remembers what it asked.
    async fn submit(&mut self, what: &str, request: Request) -> Result<Response, String> {
        self.until(what, async |wallet, _| {
            wallet.resume().await?;
            wallet.submit(request.clone()).await
        })
        .await
    }
}

fn id(number: u8) -> RequestId {
    RequestId::at(BEGIN, [number; 10])
}

/// Runs it all; how many writes and syncs each disk had.
async fn run(faults: &[Fault], planted: Planted) -> Result<[u64; 3], String> {
    let fabric = Fabric::new(7);
    let clock = VirtualClock::new(BEGIN);
    let books = Books::start(&fabric, &clock, faults, planted);
    let holder = |place: usize, disk: SimDisk| {
        plan(&disk, place, faults);
        Holder {
            key: SecretKey::from_bytes(&[u8::try_from(place).unwrap() + 10; 32]),
            fabric: fabric.clone(),
            issuer: books.0.endpoint.address(),
            clock: clock.clone(),
            disk,
            rng: Rng::new(faults.iter().map(|fault| fault.seed).sum::<u64>() + 1),
            operations: 0,
            shown: BTreeSet::new(),
            process: None,
        }
    };
    let disk = if planted == Planted::LyingDisk { SimDisk::lying() } else { SimDisk::new() };
    let mut alice = holder(PAYER, disk);
    let mut bob = holder(PAYEE, SimDisk::new());
    let (payer, payee) = (alice.key.entity(), bob.key.entity());

    let mint = Request::Mint { id: id(1), to: payer, amount: Amount::new(MINTED) };
    let mut minted = false;
    for _ in 0..TRIES {
        minted = matches!(books.handle(books.0.key.entity(), &mint), Some(Response::Minted { .. }));
        if minted {
            break;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    if !minted {
        return Err("nothing was minted".to_owned());
    }

    alice.pay(payee, 10, "one").await?;
    alice.pay(payee, 20, "two").await?;
    // The same again is another payment.
    alice.pay(payee, 10, "one").await?;
    let steps = [(5, "three", true), (6, "four", false)].map(|(amount, order, linked)| Step {
        to: payee,
        amount: Amount::new(amount),
        order: Text::cut(order),
        linked,
    });
    let steps = List::new(steps.to_vec()).unwrap();
    let batch = Request::Batch { id: id(2), fee_max: Amount::new(FEE), steps };
    alice.submit("the batch", batch).await?;
    let open = Request::HoldOpen {
        id: id(3),
        payee,
        amount_max: Amount::new(100),
        order: Digest::from_bytes([5; 32]),
        expires: BEGIN.after(fondaco_units::Duration::from_milliseconds(3_600_000)),
        open_by: BEGIN.after(fondaco_units::Duration::from_milliseconds(3_000_000)),
    };
    alice.submit("the hold", open).await?;
    let currency = books.currency();
    let hold = HoldId::derive(currency, payer, id(3).get());
    let voucher = Voucher { currency, hold, cumulative: Amount::new(30) }.sign(&alice.key);
    bob.submit("the voucher", Request::HoldPost { id: id(4), voucher }).await?;
    bob.submit("the limit", Request::Accept { id: id(5), balance_max: Amount::new(500) }).await?;

    // Notices come until they are acknowledged, and each is one arrival.
    let mut notices = BTreeMap::new();
    for round in 0..10 {
        let list = bob
            .until("the notices", async |wallet, _| {
                let ask = Request::Deposits { after: 0, wait: fondaco_units::Duration::ZERO };
                match wallet.ask(&ask).await? {
                    Response::Deposits { list, .. } => Ok(list.into_vec()),
                    other => panic!("no notices: {other:?}"),
                }
            })
            .await?;
        let Some(last) = list.last() else { break };
        let ack = Request::AckDeposits { id: id(20 + round), through: last.number };
        for notice in list {
            if let Some(before) = notices.insert(notice.number, notice.clone())
                && before != notice
            {
                return Err(format!("notice {} was another one before", notice.number));
            }
        }
        bob.submit("the acknowledgement", ack).await?;
    }
    alice.pay(payee, 7, "five").await?;

    // All of them lose their power once more, and are asked.
    for holder in [&mut alice, &mut bob] {
        holder.disk.heal();
        holder.end();
        let open = holder
            .until("the end", async |wallet, _| {
                wallet.resume().await?;
                Ok(wallet.pending())
            })
            .await?;
        if open != 0 {
            return Err(format!("{open} outcomes stay unknown"));
        }
    }
    let mut state = books.state();
    let before = state.up.as_ref().map(|(_, issuer)| issuer.clone());
    state.disk.heal();
    books.go_down(&mut state);
    drop(state);
    books.reopen();
    let state = books.state();
    if let Some(lost) = state.lost.first() {
        return Err(lost.clone());
    }
    let (_, issuer) = state.up.as_ref().ok_or("the issuer is down")?;
    if before.as_ref() != Some(issuer) {
        return Err("the issuer replayed is not the issuer that lived".to_owned());
    }
    issuer.check().map_err(|error| error.to_string())?;
    let paid = [10, 20, 10, 5, 6, 30, 7];
    let arrived: u64 = paid.iter().sum();
    let fees = FEE * 6;
    let ledger = issuer.ledger();
    let has = |entity| ledger.account(entity).available.get();
    let found = [has(payer), has(payee), has(books.0.key.entity()), ledger.supply().get()];
    let wanted = [MINTED - arrived - fees, arrived, fees, MINTED];
    if found != wanted {
        return Err(format!("the books have {found:?} in place of {wanted:?}"));
    }
    let told: Vec<_> = notices.values().map(|notice| notice.amount.get()).collect();
    if told != paid[..6] {
        return Err(format!("the payee was told of {told:?}"));
    }
    let issuers = state.operations + state.disk.operations();
    let of = |holder: &Holder| holder.operations + holder.disk.operations();
    Ok([issuers, of(&alice), of(&bob)])
}

fn run_alone(faults: &[Fault], planted: Planted) -> Result<[u64; 3], String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let mut chance = Rng::new(11);
    fondaco_agent::entropy::repeat(Some(Box::new(move |bytes| chance.fill(bytes))));
    let done = runtime.block_on(run(faults, planted));
    fondaco_agent::entropy::repeat(None);
    done
}

/// All operations that a run without faults has, and some after them, which only a run with restarts has.
fn operations() -> Vec<(usize, u64)> {
    let counts = run_alone(&[], Planted::Nothing).unwrap();
    assert!(counts.iter().all(|count| *count >= 12), "{counts:?}");
    (0..3).flat_map(|disk| (0..counts[disk] + 4).map(move |operation| (disk, operation))).collect()
}

#[test]
fn each_write_may_be_the_last() {
    for (disk, operation) in operations() {
        for seed in 0..16 {
            let fault = Fault { disk, operation, seed };
            run_alone(&[fault], Planted::Nothing)
                .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        }
    }
}

/// The one is down while the other goes down.
#[test]
fn two_writes_may_be_the_last() {
    let operations = operations();
    for (place, (disk, operation)) in operations.iter().copied().enumerate() {
        for (other, of_other) in operations[place + 1..].iter().copied() {
            if disk == other {
                continue;
            }
            let seed = operation * 31 + of_other;
            let first = Fault { disk, operation, seed };
            let second = Fault { disk: other, operation: of_other, seed: seed / 3 };
            run_alone(&[first, second], Planted::Nothing)
                .unwrap_or_else(|error| panic!("{first:?} and {second:?}: {error}"));
        }
    }
}

/// What a planted fault leads to is told as what it is, by some of the runs.
#[test]
fn planted_faults_are_found() {
    for (planted, disk, told) in [
        (Planted::AnswersBeforeSaving, ISSUER, "the issuer replayed is not the issuer that lived"),
        (Planted::LyingDisk, PAYER, "the books have"),
    ] {
        let at = operations().into_iter().filter(|(of, _)| *of == disk);
        let mut faults = at
            .flat_map(|(disk, operation)| (0..8).map(move |seed| Fault { disk, operation, seed }));
        let found = faults
            .any(|fault| run_alone(&[fault], planted).is_err_and(|error| error.contains(told)));
        assert!(found, "{planted:?}");
    }
}
