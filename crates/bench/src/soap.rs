//! `soap`: the protocol of 2003, SOAP over TLS: payments on 64 connections that stay, handshakes, and queries that wait.
//!
//! The issuer is the real service, with its books on disk, in a process of its own; holders are in this one, each with its own
//! key and connection.

use std::{
    cell::Cell,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_issuer::WAIT_MAX;
use fondaco_lcp_wire::{ClientTls, SoapClient, soap::Reply};
use fondaco_testkit::Rng;
use fondaco_units::{Amount, Duration as Span, Scale};
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    leftovers::Folder,
    postgres::{Bank, CONNECTIONS as TELLERS, Order},
    race::{Clock, Peer, Sample, Table, Unit, peer, timed},
    report::{Bound, Goal, Report, Times},
    served::{Served, issuer_key, keys, raise_file_limit},
    town::{FEE, MINTED, Payees, Payment, Town},
};

const ACCOUNTS: usize = 10_000;
const CONNECTIONS: usize = 64;
const PAYMENTS_EACH: usize = 500;
/// How many handshakes are under way at once.
const DIALLING: usize = 8;
const HANDSHAKES_EACH: usize = 200;
const NOTICES: usize = 2000;
/// How long a query waits before it is asked again.
const WAIT: Span = WAIT_MAX;
/// How many messages a connection may send.
const COUNTERS: u32 = 100_000;
const SOON: Duration = Duration::from_secs(10);

const KEPT_ALIVE: Goal = Goal {
    what: "SOAP over TLS kept alive, payments one by one on 64 connections",
    bound: Bound::AtLeast(12_000.0),
    unit: "/s",
};
const RESUMED: Goal = Goal {
    what: "a resumed handshake: part of the speed of a full one",
    bound: Bound::AtLeast(1.6),
    unit: "",
};
const NOTICE: Goal = Goal {
    what: "a notice to one of 10,000 SOAP queries that wait, from the payment being sent (p99)",
    bound: Bound::AtMost(5.0),
    unit: " ms",
};

pub(crate) fn run(report: &Report) {
    raise_file_limit();
    let keys: Vec<SecretKey> = keys().take(ACCOUNTS + 1).collect();
    let folder = Folder::new("soap");
    let soap = Soap::new(Served::start(folder.path(), ACCOUNTS + 1));
    payments(report, &soap, &keys);
    handshakes(report, &soap, &keys);
    queries(report, &soap, &keys);
}

/// Payments one by one on connections that stay, against as many on those of PostgreSQL.
fn payments(report: &Report, soap: &Soap, keys: &[SecretKey]) {
    let holders = keys.iter().map(SecretKey::entity).collect();
    let town = Town::of(issuer_key().entity(), holders);
    let each = report.size(PAYMENTS_EACH, 20);
    let count = CONNECTIONS * each;
    let work = Work::new(&town, each);
    let bank = Bank::open(report, &town.holders);
    let payments = work.shares.concat();
    // As many payments: each of its fewer connections makes more.
    let orders = |bank: &Bank| -> Vec<Arc<[Order]>> {
        let shares = payments.chunks(count / TELLERS);
        shares.map(|share| bank.orders(&town, share).into()).collect()
    };
    let orders: Vec<_> = bank.iter().map(orders).collect();
    let peers: Vec<Peer<'_>> = bank
        .iter()
        .zip(&orders)
        .map(|(bank, orders)| {
            let name = "PostgreSQL, 32 connections, a function call for each";
            peer(name, move || bank.pay_each(orders).0)
        })
        .collect();
    let mut callers: Vec<Caller> = keys
        .iter()
        .zip(0..CONNECTIONS)
        .map(|caller| soap.runtime.block_on(soap.dial(caller)))
        .collect();
    let (mut runs, mut times) = (0, vec![]);
    let round = || {
        let (sample, took) = work.run(soap, &town, &mut callers);
        runs += 1;
        work.check(soap, &mut callers, runs);
        // The first run is to warm up.
        times.extend(if runs > 1 { took } else { vec![] });
        sample
    };
    let title = "Payments over 64 SOAP connections kept alive, one by one on each";
    let table = Table::begin(report, title, Clock::Wall, Unit::Things);
    let row = table.row_of("SOAP over TLS", count as u64, round, peers);
    report.goal_of(KEPT_ALIVE, &row);
    report.head("How long one of them takes, in milliseconds", &Times::COLUMNS);
    report.times("soap latency", "SOAP over TLS", &Times::of(times));
}

/// What each connection pays in one run.
struct Work {
    shares: Vec<Vec<Payment>>,
    /// What one run leaves each payer less of.
    spent: Vec<u64>,
}

impl Work {
    fn new(town: &Town, each: usize) -> Self {
        let mut drawn = town.drawn(Payees::Any);
        // Payees are none of the payers, so that balances only fall.
        let fit = |payment: &Payment| payment.payee >= CONNECTIONS;
        let own = |payer: usize| -> Vec<Payment> {
            let own = drawn.by_ref().filter(fit).take(each);
            own.map(|payment| Payment { payer, ..payment }).collect()
        };
        let shares: Vec<Vec<Payment>> = (0..CONNECTIONS).map(own).collect();
        let spent = |share: &Vec<Payment>| share.iter().map(|it| it.amount.get() + FEE.get()).sum();
        let spent = shares.iter().map(spent).collect();
        Self { shares, spent }
    }

    /// Pays; also how long each payment took, in seconds.
    fn run(&self, soap: &Soap, town: &Town, callers: &mut Vec<Caller>) -> (Sample, Vec<f64>) {
        let payments = |share: &Vec<Payment>| -> Vec<(EntityId, Amount, Text<64>)> {
            share.iter().map(|it| (town.holders[it.payee], it.amount, it.order.clone())).collect()
        };
        let work: Vec<_> = callers.drain(..).zip(self.shares.iter().map(payments)).collect();
        let cpu = soap.served.cpu_seconds();
        let mut done = vec![];
        let sample = timed(|| {
            let mut tasks = JoinSet::new();
            for (caller, payments) in work {
                tasks.spawn_on(caller.pay_all(payments), soap.runtime.handle());
            }
            done = soap.runtime.block_on(tasks.join_all());
        });
        let sample = sample.with_cpu(soap.served.cpu_seconds() - cpu);
        done.sort_by_key(|(caller, _)| caller.place);
        let mut took = vec![];
        for (caller, own) in done {
            callers.push(caller);
            took.extend(own);
        }
        (sample, took)
    }

    /// Checks what each payer has left after so many runs.
    fn check(&self, soap: &Soap, callers: &mut [Caller], runs: u64) {
        for (caller, spent) in callers.iter_mut().zip(&self.spent) {
            let told = soap.runtime.block_on(caller.query(Span::ZERO));
            assert_eq!(told.1, Amount::new(MINTED.get() - spent * runs), "what is left");
        }
    }
}

/// Full handshakes against resumed ones, each with one message that is refused before the accounts are asked.
fn handshakes(report: &Report, soap: &Soap, keys: &[SecretKey]) {
    let each = report.size(HANDSHAKES_EACH, 5);
    let dial_all = |resumed: bool| {
        let cpu = soap.served.cpu_seconds();
        let mut tasks = JoinSet::new();
        let sample = timed(|| {
            for key in &keys[..DIALLING] {
                let work = dial_often(key.clone(), soap.served.soap_address(), each, resumed);
                tasks.spawn_on(work, soap.runtime.handle());
            }
            soap.runtime.block_on(tasks.join_all());
        });
        sample.with_cpu(soap.served.cpu_seconds() - cpu)
    };
    let title = "Handshakes, eight under way, each with one message";
    let table = Table::begin(report, title, Clock::Wall, Unit::Things);
    let count = (DIALLING * each) as u64;
    let full = peer("a full one", || dial_all(false));
    let row = table.row("a resumed one", count, || dial_all(true), [full]);
    report.goal(RESUMED, row.peers[0].1.median, &[]);
}

/// Makes connection after connection. Of those that are to be resumed, the first cannot be.
async fn dial_often(key: SecretKey, address: SocketAddr, count: usize, resumed: bool) {
    let mut tls = tls(&key);
    for number in 0..count {
        if !resumed {
            tls = self::tls(&key);
        }
        let mut client = connect(&tls, address).await;
        assert_eq!(client.is_resumed(), resumed && number > 0);
        // With the answer come the tickets for the next.
        client.post(b"").await.expect("an answer");
    }
}

/// Payments, one after the other, each to one of many whose queries wait.
fn queries(report: &Report, soap: &Soap, keys: &[SecretKey]) {
    let (payer, payees) = keys.split_last().expect("there are some");
    let payees = &payees[..report.size(ACCOUNTS, 100)];
    let notices = report.size(NOTICES, 50);
    report.progress(&format!("dialling {} connections", payees.len()));
    let took = soap.runtime.block_on(pay_those_who_wait(soap, payer, payees, notices));
    let count = payees.len();
    let title = format!(
        "From sending a payment to its notice, one of {count} SOAP queries that wait, in milliseconds"
    );
    report.head(&title, &Times::COLUMNS);
    let times = Times::of(took);
    report.times("soap queries", "SOAP over TLS", &times);
    report.goal(NOTICE, times.p99, &[]);
}

/// A deposit of which a query told.
struct Arrival {
    place: usize,
    order: String,
    at: Instant,
}

async fn pay_those_who_wait(
    soap: &Soap,
    payer: &SecretKey,
    payees: &[SecretKey],
    notices: usize,
) -> Vec<f64> {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for (first, part) in (0..).step_by(DIALLING).zip(payees.chunks(DIALLING)) {
        let dialling: JoinSet<Caller> =
            part.iter().zip(first..).map(|each| soap.dial(each)).collect();
        for caller in dialling.join_all().await {
            tasks.spawn(tell(caller, arrived.clone()));
        }
    }
    // What arrived before is told at once. When nothing more is, all wait.
    while timeout(Duration::from_secs(2), arrivals.recv()).await.is_ok() {}
    let mut payer = soap.dial((payer, payees.len())).await;
    let mut rng = Rng::new(9);
    let mut took = vec![];
    for number in 0..notices {
        let place = rng.index(payees.len());
        let order = format!("notice {number}");
        let since = Instant::now();
        let pay = payer.pay(payees[place].entity(), Amount::new(1), Text::cut(&order));
        let (_, arrival) = tokio::join!(pay, timeout(SOON, arrivals.recv()));
        let arrival = arrival.ok().flatten().expect("a notice of the payment");
        assert_eq!((arrival.place, &arrival.order), (place, &order), "to whom it was paid");
        took.push((arrival.at - since).as_secs_f64());
        // Until the payee waits again.
        sleep(Duration::from_millis(2)).await;
    }
    took
}

/// Tells of each deposit when it is told, for ever.
async fn tell(mut caller: Caller, arrived: mpsc::UnboundedSender<Arrival>) {
    loop {
        let (deposits, _) = caller.query(WAIT).await;
        let at = Instant::now();
        for (_, order) in deposits {
            if arrived.send(Arrival { place: caller.place, order, at }).is_err() {
                return;
            }
        }
    }
}

/// A holder on its connection.
struct Caller {
    client: SoapClient,
    counter: u32,
    /// Its place among those who call.
    place: usize,
}

impl Caller {
    async fn pay(&mut self, to: EntityId, amount: Amount, order: Text<64>) {
        self.counter += 1;
        let reply = self.client.transfer(self.counter, to, amount, order).await;
        assert!(matches!(reply, Ok(Reply::Paid { .. })), "{reply:?}");
    }

    /// Pays all of these; also how long each took, in seconds.
    async fn pay_all(mut self, payments: Vec<(EntityId, Amount, Text<64>)>) -> (Self, Vec<f64>) {
        let mut took = Vec::with_capacity(payments.len());
        for (to, amount, order) in payments {
            let since = Instant::now();
            self.pay(to, amount, order).await;
            took.push(since.elapsed().as_secs_f64());
        }
        (self, took)
    }

    /// What arrived, and what can be spent.
    async fn query(&mut self, wait: Span) -> (Vec<(Amount, String)>, Amount) {
        self.counter += 1;
        match self.client.query(self.counter, wait).await {
            Ok(Reply::Told { deposits, balance, .. }) => (deposits, balance),
            other => panic!("{other:?}"),
        }
    }
}

/// The issuer, and the runtime of those who call it.
struct Soap {
    runtime: Runtime,
    served: Served,
    /// From where on counters are new to all.
    counters: Cell<u32>,
}

impl Soap {
    fn new(served: Served) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        Self { runtime, served, counters: Cell::new(COUNTERS) }
    }

    /// Dials as the holder of `key`; each time with greater counters.
    fn dial(
        &self,
        (key, place): (&SecretKey, usize),
    ) -> impl Future<Output = Caller> + Send + use<> {
        let (tls, address) = (tls(key), self.served.soap_address());
        let counter = self.counters.get();
        self.counters.set(counter + COUNTERS);
        async move { Caller { client: connect(&tls, address).await, counter, place } }
    }
}

async fn connect(tls: &ClientTls, address: SocketAddr) -> SoapClient {
    SoapClient::connect(tls, address, scale()).await.expect("the server runs")
}

fn tls(key: &SecretKey) -> ClientTls {
    ClientTls::new(key, issuer_key().entity())
}

fn scale() -> Scale {
    Scale::new(2).expect("two decimals")
}
