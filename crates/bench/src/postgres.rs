//! PostgreSQL as an issuer: the same payments with the same promises, in the best SQL that we could write.
//!
//! ```text
//! Payment ──┬─► columns of 8,189 ──► pay_all(…), one transaction ──► balances
//!           └─► one of 32 connections ──► pay(…), one transaction ──► balance
//! ```
//!
//! What favours it: it is reached through a Unix socket without encryption, who asks is believed, requests are hashed before
//! the time is taken, columns are laid out before it too, accounts are never created on the way, and nobody acknowledges notices.

mod cluster;

use std::{error::Error, iter, sync::Arc, time::Instant};

use bytes::BytesMut;
use cluster::Cluster;
use fondaco_codec::Encode;
use fondaco_crypto::EntityId;
use tokio::{runtime, task::JoinSet};
use tokio_postgres::{
    Client, NoTls, Statement,
    types::{IsNull, ToSql, Type, accepts, to_sql_checked},
};

use crate::{
    race::{Peer, Sample, peer, timed},
    report::Report,
    town::{FEE, MINTED, NOW, Payment, Town},
};

const SCHEMA: &str = include_str!("postgres/schema.sql");

/// How many connections pay one by one.
pub(crate) const CONNECTIONS: usize = 32;

/// A running PostgreSQL with the accounts of a town.
pub(crate) struct Bank {
    holders: Vec<Vec<u8>>,
    client: Client,
    pay_all: Statement,
    tellers: Vec<Arc<Teller>>,
    runtime: runtime::Runtime,
    // Last, so that the connections are closed before it stops.
    cluster: Cluster,
}

/// A connection on which payments are made one by one.
struct Teller {
    client: Client,
    pay: Statement,
}

/// Sixteen bytes as PostgreSQL stores them with the least effort.
#[derive(Clone, Copy, Debug)]
struct Uuid([u8; 16]);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    accepts!(UUID);

    to_sql_checked!();
}

/// The arguments of one `pay_all`.
struct Columns<'a> {
    payers: Vec<&'a [u8]>,
    requests: Vec<Uuid>,
    contents: Vec<Uuid>,
    payees: Vec<&'a [u8]>,
    amounts: Vec<i64>,
    orders: Vec<&'a str>,
}

/// The arguments of one `pay`.
pub(crate) struct Order {
    payer: Vec<u8>,
    request: Uuid,
    content: Uuid,
    payee: Vec<u8>,
    amount: i64,
    order: String,
}

/// What the books say after some payments.
#[derive(Debug, PartialEq, Eq)]
struct Books {
    money: i64,
    transfers: i64,
    refused: i64,
    notices: i64,
}

impl Bank {
    /// Starts PostgreSQL and opens the accounts of `holders`; nothing, said loudly, where it cannot be had.
    pub(crate) fn open(report: &Report, holders: &[EntityId]) -> Option<Self> {
        let cluster = match Cluster::start() {
            Ok(cluster) => cluster,
            Err(why) => {
                report.skip("PostgreSQL", &why);
                return None;
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime of one thread");
        let mut connect = || runtime.block_on(connect(&cluster));
        let client = connect();
        runtime.block_on(client.batch_execute(SCHEMA)).expect("the schema fits this version");
        let prepare = |client: &Client, sql| {
            runtime.block_on(client.prepare(sql)).expect("a function of the schema")
        };
        let tellers = iter::repeat_with(&mut connect).take(CONNECTIONS).map(|client| {
            // Each statement of `pay` is by key, also while the tables are too small for the planner to think so.
            let by_key = client.batch_execute("SET enable_seqscan = off");
            runtime.block_on(by_key).expect("the server runs");
            let pay = prepare(&client, "SELECT * FROM pay($1, $2, $3, $4, $5, $6, $7, $8, $9)");
            Arc::new(Teller { client, pay })
        });
        let tellers = tellers.collect();
        let pay_all = prepare(&client, "SELECT * FROM pay_all($1, $2, $3, $4, $5, $6, $7, $8)");
        let holders = holders.iter().map(|holder| holder.as_bytes().to_vec()).collect();
        let bank = Self { holders, client, pay_all, tellers, runtime, cluster };
        bank.reset();
        bank.keeps_its_promises();
        report.progress(&format!("{} runs", bank.version()));
        Some(bank)
    }

    fn version(&self) -> String {
        let row = self.runtime.block_on(self.client.query_one("SHOW server_version", &[]));
        format!("PostgreSQL {}", row.expect("the server runs").get::<_, String>(0))
    }

    fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).expect("the server runs");
    }

    /// Gives each account what it had at first, and leaves nothing behind that would slow the next run down.
    fn reset(&self) {
        self.execute("TRUNCATE accounts, fees, transfers");
        let open = "INSERT INTO accounts SELECT place - 1, holder, $2, 0 FROM unnest($1::bytea[]) WITH ORDINALITY AS h (holder, place)";
        let minted = whole(MINTED.get());
        let opened = self.runtime.block_on(self.client.execute(open, &[&self.holders, &minted]));
        assert_eq!(opened.expect("the server runs"), self.holders.len() as u64);
        self.execute("INSERT INTO fees SELECT slot, 0 FROM generate_series(0, 63) AS slot");
        // Each alone: neither can be part of a transaction.
        // Not the transfers: of a table known to be empty it would plan to read all, and go on so when it has grown.
        self.execute("VACUUM ANALYZE accounts, fees");
        self.execute("CHECKPOINT");
    }

    fn books(&self) -> Books {
        let sql = "SELECT (SELECT sum(available) FROM accounts)::bigint + (SELECT sum(collected) FROM fees)::bigint,
            (SELECT count(*) FROM transfers), (SELECT count(*) FROM transfers WHERE notice IS NULL),
            (SELECT sum(notices) FROM accounts)::bigint";
        let row = self.runtime.block_on(self.client.query_one(sql, &[])).expect("the server runs");
        let [money, transfers, refused, notices] = [0, 1, 2, 3].map(|column| row.get(column));
        Books { money, transfers, refused, notices }
    }

    /// Checks that so many payments were made, none refused, each with its notice, and that no money came or went.
    fn check(&self, payments: usize) {
        let money = whole(MINTED.get()) * whole(self.holders.len() as u64);
        let transfers = whole(payments as u64);
        let expected = Books { money, transfers, refused: 0, notices: transfers };
        assert_eq!(self.books(), expected, "what PostgreSQL did");
    }

    /// A canary: a payment that repeats, one without cover and one of other content, alone and among others.
    fn keeps_its_promises(&self) {
        let (a, b) = (&self.holders[0], &self.holders[1]);
        let minted = whole(MINTED.get());
        let columns = |first: u8, amounts: [i64; 3], contents: [u8; 3]| Columns {
            payers: vec![a, b, a],
            requests: [first, first, first + 1].map(|n| Uuid([n; 16])).to_vec(),
            contents: contents.map(|n| Uuid([n; 16])).to_vec(),
            payees: vec![b, a, b],
            amounts: amounts.to_vec(),
            orders: vec!["x"; 3],
        };
        let pay = |columns: &Columns<'_>| self.runtime.block_on(self.pay_columns(columns));
        let all = columns(1, [10, 5, 20], [1, 2, 3]);
        let first = pay(&all).expect("covered");
        let fee = whole(FEE.get());
        let after = minted - 10 - fee;
        assert_eq!(first.0, [after, minted + 10 - 5 - fee, after + 5 - 20 - fee]);
        assert_eq!(first.1, [false; 3]);
        assert_eq!(pay(&all).expect("repeated"), first, "the first answers");
        let last = first.0[2];
        let poor = pay(&columns(3, [minted * 2, 1, 1], [4; 3])).expect("answered");
        assert_eq!(poor.1, [true, false, false], "no cover");
        assert_eq!(poor.0[2], last + 1 - 1 - fee);
        assert!(
            pay(&columns(1, [10, 5, 20], [9; 3])).is_err(),
            "another content under the same id"
        );
        let books = self.books();
        assert_eq!((books.transfers, books.refused, books.notices), (6, 1, 5));
        assert_eq!(books.money, minted * whole(self.holders.len() as u64));
    }

    async fn pay_columns(
        &self,
        columns: &Columns<'_>,
    ) -> Result<(Vec<i64>, Vec<bool>), tokio_postgres::Error> {
        let Columns { payers, requests, contents, payees, amounts, orders } = columns;
        let (at, fee) = (whole(NOW.milliseconds()), whole(FEE.get()));
        let arguments: [&(dyn ToSql + Sync); 8] =
            [&at, payers, requests, contents, payees, amounts, &fee, orders];
        let row = self.client.query_one(&self.pay_all, &arguments).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    fn columns<'a>(&'a self, town: &Town, payments: &'a [Payment]) -> Columns<'a> {
        let holder = |place: usize| &self.holders[place][..];
        Columns {
            payers: payments.iter().map(|each| holder(each.payer)).collect(),
            requests: payments.iter().map(|each| Uuid(each.id.get().to_be_bytes())).collect(),
            contents: payments.iter().map(|each| content(town, each)).collect(),
            payees: payments.iter().map(|each| holder(each.payee)).collect(),
            amounts: payments.iter().map(|each| whole(each.amount.get())).collect(),
            orders: payments.iter().map(|each| each.order.as_str()).collect(),
        }
    }

    /// PostgreSQL as a peer: these payments, so many in one transaction.
    pub(crate) fn peer<'a>(
        &'a self,
        town: &'a Town,
        payments: &'a [Payment],
        batch: usize,
    ) -> Peer<'a> {
        let batches: Vec<_> =
            payments.chunks(batch).map(|batch| self.columns(town, batch)).collect();
        peer("PostgreSQL, a function call for each batch", move || {
            self.reset();
            let cpu = self.cluster.cpu_seconds();
            let sample = timed(|| {
                for columns in &batches {
                    let answers = self.runtime.block_on(self.pay_columns(columns));
                    let (balances, _) = answers.expect("the server runs");
                    assert_eq!(balances.len(), columns.amounts.len(), "an answer for each");
                }
            });
            let sample = sample.with_cpu(self.cluster.cpu_seconds() - cpu);
            self.check(payments.len());
            sample
        })
    }

    /// What these payments, already made or made now, take up for each: tables with indexes, and the log.
    pub(crate) fn footprint(&self, town: &Town, payments: &[Payment], batch: usize) -> (f64, f64) {
        self.reset();
        let log = "SELECT pg_current_wal_insert_lsn() - '0/0'";
        let log = || self.number(&format!("SELECT ({log})::bigint"));
        let before = log();
        for batch in payments.chunks(batch) {
            let columns = self.columns(town, batch);
            self.runtime.block_on(self.pay_columns(&columns)).expect("the server runs");
        }
        let log = log() - before;
        let tables = self.number("SELECT pg_total_relation_size('transfers')");
        let count = payments.len() as f64;
        (tables / count, log / count)
    }

    fn number(&self, sql: &str) -> f64 {
        let row = self.runtime.block_on(self.client.query_one(sql, &[])).expect("the server runs");
        row.get::<_, i64>(0) as f64
    }

    /// Lays out payments for [`Bank::pay_each`].
    pub(crate) fn orders(&self, town: &Town, payments: &[Payment]) -> Vec<Order> {
        let order = |payment: &Payment| Order {
            payer: self.holders[payment.payer].clone(),
            request: Uuid(payment.id.get().to_be_bytes()),
            content: content(town, payment),
            payee: self.holders[payment.payee].clone(),
            amount: whole(payment.amount.get()),
            order: payment.order.as_str().to_owned(),
        };
        payments.iter().map(order).collect()
    }

    /// Makes each connection pay its own orders, one after the other; also how long each took, in seconds.
    pub(crate) fn pay_each(&self, orders: &[Arc<[Order]>]) -> (Sample, Vec<f64>) {
        self.reset();
        let cpu = self.cluster.cpu_seconds();
        let mut took = Vec::new();
        let sample = timed(|| {
            let mut tellers = JoinSet::new();
            for (slot, (teller, orders)) in (0..).zip(self.tellers.iter().zip(orders)) {
                let work = pay_own(Arc::clone(teller), slot, Arc::clone(orders));
                tellers.spawn_on(work, self.runtime.handle());
            }
            took = self.runtime.block_on(tellers.join_all()).concat();
        });
        let sample = sample.with_cpu(self.cluster.cpu_seconds() - cpu);
        self.check(orders.iter().map(|orders| orders.len()).sum());
        (sample, took)
    }
}

async fn pay_own(teller: Arc<Teller>, slot: i32, orders: Arc<[Order]>) -> Vec<f64> {
    let (at, fee) = (whole(NOW.milliseconds()), whole(FEE.get()));
    let mut took = Vec::with_capacity(orders.len());
    for Order { payer, request, content, payee, amount, order } in &*orders {
        let since = Instant::now();
        let arguments: [&(dyn ToSql + Sync); 9] =
            [&slot, &at, payer, request, content, payee, amount, &fee, order];
        let row = teller.client.query_one(&teller.pay, &arguments).await.expect("the server runs");
        assert!(!row.get::<_, bool>(1), "covered");
        took.push(since.elapsed().as_secs_f64());
    }
    took
}

async fn connect(cluster: &Cluster) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host_path(cluster.socket_folder()).user(cluster::USER).dbname("postgres");
    let (client, connection) = config.connect(NoTls).await.expect("the server runs");
    // It ends with its client.
    tokio::spawn(connection);
    client
}

/// Half of the digest of what is asked, by which a repeated request is known.
fn content(town: &Town, payment: &Payment) -> Uuid {
    let digest = blake3::hash(&town.command(payment).1.to_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_bytes()[..16]);
    Uuid(half)
}

/// PostgreSQL has no unsigned integers.
fn whole(value: u64) -> i64 {
    i64::try_from(value).expect("a small number")
}
