//! `transfers`: durable transfers in batches of 8,189, against PostgreSQL and against what disk and hash allow.

use fondaco_lcp::{Request, RequestId, Response, StepResult};
use serde_json::json;

use crate::{
    ledger::write_bare,
    leftovers::Folder,
    postgres::Bank,
    race::{Clock, Outcome, Peer, Sample, Table, Unit, digits, peer, timed_each},
    report::{Bound, Goal, Report},
    town::{Command, NOW, Payees, Payment, Town},
};

const ACCOUNTS: usize = 10_000;
/// What TigerBeetle takes at once, so that figures can be laid side by side.
const BATCH: usize = 8189;
const BATCHES: usize = 24;

const DURABLE: Goal = Goal {
    what: "durable transfers, in batches of 8,189 among 10,000 accounts",
    bound: Bound::AtLeast(250_000.0),
    unit: "/s",
};
const HOT: Goal = Goal {
    what: "the same, all to one payee: part of the speed of any to any",
    bound: Bound::AtLeast(0.95),
    unit: "",
};
const BYTES: Goal =
    Goal { what: "disk for a transfer, in the journal", bound: Bound::AtMost(200.0), unit: " B" };

pub(crate) fn run(report: &Report) {
    let town = Town::founded(ACCOUNTS);
    let folder = Folder::new("transfers");
    let bank = Bank::open(report, &town.holders);
    let batches = report.size(BATCHES, 2);
    let any = Work::new(&town, batches, Payees::Any);
    let one = Work::new(&town, batches, Payees::One);
    let count = (batches * BATCH) as u64;
    let (path, bare) = (folder.file("journal"), folder.file("bare"));

    let title = "Transfers among 10,000 accounts, durable, in batches of 8,189";
    let table = Table::begin(report, title, Clock::Wall, Unit::Things);
    let frames = town.save(&any.batches, &path).1;
    let bytes = frames.iter().sum::<usize>();
    let what = format!("any to any, {} B a transfer", bytes as u64 / count);
    let mut peers = limits(&bare, &frames);
    peers.extend(bank.as_ref().map(|bank| bank.peer(&town, &any.payments, BATCH)));
    let row = table.row_of(&what, count, || town.save(&any.batches, &path).0, peers);
    report.goal_of(DURABLE, &row);

    let mut peers = vec![peer("any to any", || town.save(&any.batches, &path).0)];
    peers.extend(bank.as_ref().map(|bank| bank.peer(&town, &one.payments, BATCH)));
    let row = table.row_of("all to one payee", count, || town.save(&one.batches, &bare).0, peers);
    report.goal(HOT, row.peers[0].1.median, &[]);

    batch_commands(report, &town, &table, bank.as_ref(), &folder);

    let postgres = bank.as_ref().map(|bank| bank.footprint(&town, &any.payments, BATCH));
    space(report, bytes as f64 / count as f64, postgres);
}

/// What is paid, and as it is asked for.
struct Work {
    payments: Vec<Payment>,
    batches: Vec<Vec<Command>>,
}

impl Work {
    fn new(town: &Town, batches: usize, payees: Payees) -> Self {
        let payments = town.payments(batches * BATCH, payees);
        let batches = payments.chunks(BATCH).enumerate().map(|(number, batch)| {
            let mut commands: Vec<Command> = Vec::with_capacity(BATCH + 1);
            // So many notices may not wait: the payee acknowledges those of the batches before, and of its mint.
            if payees == Payees::One {
                let id = RequestId::new(u128::MAX - (BATCHES - number) as u128);
                let through = (1 + number * BATCH) as u64;
                commands.push((town.holders[0], Request::AckDeposits { id, through }));
            }
            commands.extend(batch.iter().map(|payment| town.command(payment)));
            commands
        });
        let batches = batches.collect();
        Self { payments, batches }
    }
}

/// What no journal of these frames can beat.
fn limits<'a>(path: &'a std::path::Path, frames: &'a [usize]) -> Vec<Peer<'a>> {
    let bytes = vec![0x5a; frames.iter().copied().max().unwrap_or(0)];
    let hash = move || timed_each(frames, |frame| blake3::hash(&bytes[..*frame]));
    vec![
        peer("write + fdatasync", || write_bare(path, frames, false)),
        peer("BLAKE3 of the same bytes", hash),
        peer("BLAKE3 + write + fdatasync", || write_bare(path, frames, true)),
    ]
}

/// The same transfers, each 8,189 of them asked for by one payer in one command.
fn batch_commands(
    report: &Report,
    town: &Town,
    table: &Table<'_>,
    bank: Option<&Bank>,
    folder: &Folder,
) {
    let batches = town.batches(report.size(BATCHES, 2), BATCH);
    let commands: Vec<Vec<Command>> = batches
        .iter()
        .zip(1..)
        .map(|(batch, id)| vec![town.batch(RequestId::new(id), batch)])
        .collect();
    let payments = batches.concat();
    let what = "one `Batch` command for each 8,189";
    all_are_paid(town, &commands[0][0]);
    let path = folder.file("batches");
    let ours = || -> Sample { town.save(&commands, &path).0 };
    let peers: Vec<Peer<'_>> = bank.iter().map(|bank| bank.peer(town, &payments, BATCH)).collect();
    let _: Outcome = table.row_of(what, payments.len() as u64, ours, peers);
}

/// Checks that a batch is answered as paid, step by step: a batch is no refusal when one of its steps is.
fn all_are_paid(town: &Town, (holder, request): &Command) {
    let answer = town.issuer.clone().handle(NOW, *holder, request).response;
    let Response::Batched { results, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(results.as_slice(), [StepResult::Paid; BATCH]);
}

/// What a transfer takes up; of PostgreSQL, its tables with their indexes, and its log.
fn space(report: &Report, bytes: f64, postgres: Option<(f64, f64)>) {
    report.head("Bytes on disk for a transfer", &["what", "bytes", "ratio to Fondaco"]);
    let mut rows = vec![("Fondaco: the journal", bytes)];
    if let Some((tables, log)) = postgres {
        rows.push(("PostgreSQL: table and indexes", tables));
        rows.push(("PostgreSQL: its log, until the next checkpoint", log));
    }
    for (what, value) in &rows {
        let cells = [(*what).to_owned(), digits(*value), digits(value / bytes)];
        report.row(&cells, &json!({ "table": "space", "what": what, "bytes": value }));
    }
    let ratios: Vec<(&str, f64)> =
        rows.iter().skip(1).map(|(what, value)| (*what, value / bytes)).collect();
    report.goal(BYTES, bytes, &ratios);
}
