//! `payments`: payments one by one over 32 connections, against PostgreSQL; then many at a time on each.
//!
//! The issuer is the real service, with its books on disk, in a process of its own. All holders are in this process,
//! each with its own key, socket and connection; both ends share the two cores.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use fondaco_crypto::SecretKey;
use fondaco_lcp::{Request, RequestId, Response};
use fondaco_transport::LcpClient;
use fondaco_units::Amount;
use serde_json::json;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    leftovers::Folder,
    postgres::{Bank, CONNECTIONS, Order},
    race::{Clock, Peer, Sample, Table, Unit, digits, peer, timed},
    report::{Bound, Goal, Report, Times},
    served::{Served, endpoint, issuer_key, keys},
    town::{FEE, MINTED, Payment, Town},
};

const ACCOUNTS: usize = 10_000;
/// How many payments of one connection are under way at once, where there may be many.
const STREAMS: usize = 64;

const BATCH: usize = 8189;
const FIRST_ID: u128 = 1 << 64;
const PAYERS_IN_BATCHES: usize = 4;

const ONE_BY_ONE: Goal = Goal {
    what: "payments one by one on 32 connections",
    bound: Bound::AtLeast(20_000.0),
    unit: "/s",
};
const LATENCY: Goal =
    Goal { what: "the slowest hundredth of these (p99)", bound: Bound::AtMost(10.0), unit: " ms" };
const MANY: Goal = Goal {
    what: "LCP/2 with 64 payments under way on each of 32 connections",
    bound: Bound::AtLeast(60_000.0),
    unit: "/s",
};

pub(crate) fn run(report: &Report) {
    let keys: Vec<SecretKey> = keys().take(ACCOUNTS).collect();
    let holders = keys.iter().map(SecretKey::entity).collect();
    let town = Town::of(issuer_key().entity(), holders);
    let folder = Folder::new("payments");
    let payers = Payers::of(Served::start(folder.path(), ACCOUNTS), &keys[..CONNECTIONS]);
    let bank = Bank::open(report, &town.holders);
    let before = files(folder.path());

    let each = report.size(1000, 20);
    let orders =
        bank.as_ref().map(|bank| shares(&town, each, |share| bank.orders(&town, share).into()));
    let (ours, theirs) = (RefCell::new(vec![]), RefCell::new(vec![]));
    let title = "Payments over 32 connections, one by one on each";
    let table = Table::begin(report, title, Clock::Wall, Unit::Things);
    let peers: Vec<Peer<'_>> = bank
        .iter()
        .zip(&orders)
        .map(|(bank, orders)| {
            let theirs = &theirs;
            peer("PostgreSQL, a function call for each", move || {
                let (sample, took) = bank.pay_each(orders);
                theirs.borrow_mut().push(took);
                sample
            })
        })
        .collect();
    let count = (CONNECTIONS * each) as u64;
    let round = || {
        let (sample, took) = payers.pay(&town, each, 1);
        ours.borrow_mut().push(took);
        sample
    };
    let row = table.row_of("LCP/2 over QUIC", count, round, peers);
    report.goal_of(ONE_BY_ONE, &row);
    latencies(report, &ours.into_inner(), &theirs.into_inner());

    let title = "Payments over 32 connections, 64 under way on each";
    let table = Table::begin(report, title, Clock::Wall, Unit::Things);
    let each = report.size(5000, 100);
    let count = (CONNECTIONS * each) as u64;
    let row = table.row_of("LCP/2 over QUIC", count, || payers.pay(&town, each, STREAMS).0, vec![]);
    report.goal_of(MANY, &row);
    space(report, folder.path(), &before, payers.paid());

    let batches = town.batches(PAYERS_IN_BATCHES, BATCH);
    let payments = batches.concat();
    let title = "Payments over 4 connections, each with one command for 8,189";
    let table = Table::begin(report, title, Clock::Wall, Unit::Things);
    let peers = bank.iter().map(|bank| bank.peer(&town, &payments, BATCH)).collect();
    let count = payments.len() as u64;
    table.row_of("LCP/2 over QUIC", count, || payers.pay_batches(&town, &batches), peers);
}

/// How long the issuer may take to write what stands behind its journal.
const BEHIND: Duration = Duration::from_secs(5);

/// What each file in a folder takes up on the disk, in bytes.
fn files(folder: &Path) -> BTreeMap<String, f64> {
    let entries = fs::read_dir(folder).expect("the issuer's folder").map_while(Result::ok);
    let size = |entry: fs::DirEntry| {
        let blocks = entry.metadata().ok()?.blocks();
        Some((entry.file_name().to_string_lossy().into_owned(), blocks as f64 * 512.0))
    };
    entries.filter_map(size).collect()
}

/// How much the issuer's files have grown for each of so many payments.
fn space(report: &Report, folder: &Path, before: &BTreeMap<String, f64>, payments: u64) {
    thread::sleep(BEHIND);
    let title = format!("What the issuer's files have grown by, for each of {payments} payments");
    report.head(&title, &["file", "bytes"]);
    let mut all = 0.0;
    for (name, size) in files(folder) {
        let grown = (size - before.get(&name).unwrap_or(&0.0)) / payments as f64;
        all += grown;
        report.row(
            &[name.clone(), digits(grown)],
            &json!({ "table": "files", "file": name, "bytes": grown }),
        );
    }
    report.row(
        &["**all**".to_owned(), digits(all)],
        &json!({ "table": "files", "file": null, "bytes": all }),
    );
}

/// What each connection is to pay, laid out by `lay_out`.
fn shares(
    town: &Town,
    each: usize,
    lay_out: impl Fn(&[Payment]) -> Arc<[Order]>,
) -> Vec<Arc<[Order]>> {
    let payments = town.batches(CONNECTIONS, each);
    payments.iter().map(|share| lay_out(share)).collect()
}

/// The middle and the end of the times that single payments took, of all runs but the first.
fn latencies(report: &Report, ours: &[Vec<f64>], theirs: &[Vec<f64>]) {
    report.head("How long one of them takes, in milliseconds", &Times::COLUMNS);
    let mut tails = vec![];
    for (what, runs) in [("Fondaco", ours), ("PostgreSQL", theirs)] {
        let Some((_, runs)) = runs.split_first() else { continue };
        let times = Times::of(runs.concat());
        report.times("latency", what, &times);
        tails.push(times.p99);
    }
    match tails[..] {
        [ours, theirs] => report.goal(LATENCY, ours, &[("PostgreSQL", theirs / ours)]),
        [ours] => report.goal(LATENCY, ours, &[]),
        _ => {}
    }
}

/// The holders that pay, each on its connection.
struct Payers {
    served: Served,
    runtime: Runtime,
    clients: Vec<LcpClient>,
    /// What each holder was paid so far, less what it paid: it says what balances must be.
    moved: RefCell<BTreeMap<usize, i128>>,
    ids: Cell<u128>,
}

impl Payers {
    fn of(served: Served, keys: &[SecretKey]) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let clients = runtime.block_on(async {
            let mut clients = vec![];
            for key in keys {
                let client = LcpClient::new(endpoint(key).await, served.address().clone());
                client.call(&Request::Balance).await.expect("the issuer runs");
                clients.push(client);
            }
            clients
        });
        Self { served, runtime, clients, moved: RefCell::default(), ids: Cell::new(FIRST_ID) }
    }

    /// Makes each connection pay so many times, so many at once; also how long each took, in seconds.
    fn pay(&self, town: &Town, each: usize, at_once: usize) -> (Sample, Vec<f64>) {
        let shares = town.batches(CONNECTIONS, each);
        let mut work = vec![];
        for (payer, share) in shares.iter().enumerate() {
            let requests = share.iter().map(|payment| {
                let Request::Transfer { to, amount, fee_max, order, .. } = town.command(payment).1
                else {
                    unreachable!("a payment is asked for by a transfer")
                };
                self.ids.set(self.ids.get() + 1);
                self.move_money(payer, -i128::from(amount.get() + FEE.get()));
                self.move_money(payment.payee, amount.get().into());
                let id = RequestId::new(self.ids.get());
                Request::Transfer { id, to, amount, fee_max, order }
            });
            // The next one is taken from the end.
            let mut requests: Vec<Request> = requests.collect();
            requests.reverse();
            work.push(Arc::new(Mutex::new(requests)));
        }
        let cpu = self.served.cpu_seconds();
        let mut took = vec![];
        let sample = timed(|| {
            let mut tasks = JoinSet::new();
            for (client, work) in self.clients.iter().zip(&work) {
                for _ in 0..at_once {
                    let work = pay_from(client.clone(), Arc::clone(work));
                    tasks.spawn_on(work, self.runtime.handle());
                }
            }
            took = self.runtime.block_on(tasks.join_all()).concat();
        });
        let sample = sample.with_cpu(self.served.cpu_seconds() - cpu);
        assert_eq!(took.len(), CONNECTIONS * each, "an answer for each");
        self.check(town);
        (sample, took)
    }

    /// Makes each of the first connections pay its batch in one command.
    fn pay_batches(&self, town: &Town, batches: &[Vec<Payment>]) -> Sample {
        let mut commands = vec![];
        for (batch, client) in batches.iter().zip(&self.clients) {
            self.ids.set(self.ids.get() + 1);
            for Payment { payer, payee, amount, .. } in batch {
                self.move_money(*payer, -i128::from(amount.get() + FEE.get()));
                self.move_money(*payee, amount.get().into());
            }
            commands.push((client.clone(), town.batch(RequestId::new(self.ids.get()), batch).1));
        }
        let cpu = self.served.cpu_seconds();
        let sample = timed(|| {
            let mut tasks = JoinSet::new();
            for (client, request) in commands {
                let work = async move {
                    let answer = client.call(&request).await;
                    assert!(matches!(answer, Ok(Response::Batched { .. })), "{answer:?}");
                };
                tasks.spawn_on(work, self.runtime.handle());
            }
            self.runtime.block_on(tasks.join_all());
        });
        let sample = sample.with_cpu(self.served.cpu_seconds() - cpu);
        self.check(town);
        sample
    }

    /// How many payments were made so far.
    fn paid(&self) -> u64 {
        u64::try_from(self.ids.get() - FIRST_ID).expect("not so many")
    }

    fn move_money(&self, holder: usize, amount: i128) {
        *self.moved.borrow_mut().entry(holder).or_default() += amount;
    }

    /// Checks what the payers have, and that no money came or went.
    fn check(&self, town: &Town) {
        for (holder, client) in self.clients.iter().enumerate() {
            let answer = self.runtime.block_on(client.call(&Request::Balance));
            let Ok(Response::Balance { available, .. }) = answer else { panic!("{answer:?}") };
            let moved = self.moved.borrow().get(&holder).copied().unwrap_or_default();
            assert_eq!(i128::from(available.get()), i128::from(MINTED.get()) + moved);
        }
        let answer = self.runtime.block_on(self.clients[0].call(&Request::Describe));
        let Ok(Response::Described { supply, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(supply, Amount::new(MINTED.get() * town.holders.len() as u64));
    }
}

async fn pay_from(client: LcpClient, work: Arc<Mutex<Vec<Request>>>) -> Vec<f64> {
    let mut took = vec![];
    loop {
        let next = work.lock().expect("nobody panicked").pop();
        let Some(request) = next else { return took };
        let since = Instant::now();
        let answer = client.call(&request).await;
        assert!(matches!(answer, Ok(Response::Transferred { .. })), "{answer:?}");
        took.push(since.elapsed().as_secs_f64());
    }
}
