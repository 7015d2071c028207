//! `restart`: how long an issuer with 10 million transfers takes to open its books, in a process of its own.

use std::{fs, io::Read, path::Path, time::Instant};

use fondaco_issuer::SNAPSHOT_RECORDS;
use fondaco_lcp::{Issuer, IssuerOptions, Request, RequestId};
use fondaco_store::{DiskFile, Journal, load_snapshot, save_snapshot};
use serde_json::json;

use crate::{
    leftovers::Folder,
    processes::{memory, number, numbers, say},
    race::{Spread, digits},
    report::{Bound, Goal, Report, number as written},
    town::{BENCH, Command, Payees, Town, begin, records},
};

const ACCOUNTS: usize = 10_000;
const TRANSFERS: usize = 10_000_000;
const BATCH: usize = 8192;
/// How many notices a holder lets wait before it acknowledges them.
const NOTICES: u64 = 64;
const RUNS: usize = 3;

const RESTART: Goal =
    Goal { what: "restart with 10 million transfers", bound: Bound::AtMost(5.0), unit: " s" };

/// How the books are opened, by the name under which the process is told.
const CASES: [(&str, &str); 3] = [
    ("replay", "replay of the whole journal"),
    ("last", "from a snapshot of the last moment"),
    ("behind", "from a snapshot, and replay of a million records after it"),
];

pub(crate) fn run(report: &Report) {
    let transfers = report.size(TRANSFERS, 50_000);
    let runs = report.size(RUNS, 1);
    let folder = Folder::new("restart");
    let path = folder.file("journal");
    report.progress(&format!("writing {transfers} transfers"));
    write(&path, transfers);
    let title = format!("Restart after {transfers} transfers; median (min–max) of {runs} runs");
    report.head(&title, &["what", "seconds", "reading the file, s", "ratio", "memory, MB"]);
    for (case, what) in CASES {
        let ran: Vec<_> =
            (0..runs).map(|_| numbers("restart", &[case, &path.to_string_lossy()])).collect();
        let of = |name: &str| Spread::of(ran.iter().map(|ran| number(ran, name)));
        let (took, read, peak) = (of("seconds"), of("read"), of("peak"));
        let ratio = read.median / took.median;
        let cells = [
            what.to_owned(),
            format!("{} ({}–{})", digits(took.median), digits(took.min), digits(took.max)),
            digits(read.median),
            format!("**{}**", digits(ratio)),
            written(peak.median / 1e6),
        ];
        let value = json!({
            "table": "restart", "what": what, "transfers": transfers, "seconds": took.median, "seconds_min": took.min,
            "seconds_max": took.max, "seconds_reading": read.median, "peak": peak.median,
        });
        report.row(&cells, &value);
        if case == CASES[CASES.len() - 1].0 {
            report.goal(RESTART, took.median, &[("reading the file", ratio)]);
        }
    }
}

/// Writes a journal of mints and so many transfers, with what else their holders ask.
fn write(path: &Path, transfers: usize) {
    let town = Town::founded(ACCOUNTS);
    let mut issuer = town.issuer.clone();
    let mut journal = begin(path);
    for batch in town.minted.chunks(BATCH) {
        journal.append(batch).expect("the disk works");
    }
    // Of each holder: how many notices there were, and how many of them it knows.
    let mut notices = vec![(1_u64, 0_u64); ACCOUNTS];
    let mut payments = town.drawn(Payees::Any).take(transfers).peekable();
    let mut ids = ACCOUNTS as u128;
    let mut id = || {
        ids += 1;
        RequestId::new(ids)
    };
    // A service that is killed is as far behind as this.
    let save = |name: &str, issuer: &Issuer, journal: &Journal<DiskFile>| {
        let saved =
            save_snapshot(&path.with_extension(name), BENCH, journal.head(), &issuer.snapshot());
        saved.expect("the disk works");
    };
    let behind = transfers.saturating_sub(usize::try_from(SNAPSHOT_RECORDS).unwrap_or(usize::MAX));
    let (mut done, mut is_saved) = (0, false);
    while payments.peek().is_some() {
        if done >= behind && !is_saved {
            save("behind", &issuer, &journal);
            is_saved = true;
        }
        done += BATCH;
        let mut batch: Vec<Command> = Vec::with_capacity(BATCH + 256);
        for mut payment in payments.by_ref().take(BATCH) {
            payment.id = id();
            batch.push(town.command(&payment));
            let (told, known) = &mut notices[payment.payee];
            *told += 1;
            if *told - *known >= NOTICES {
                *known = *told;
                let ack = Request::AckDeposits { id: id(), through: *told };
                batch.push((town.holders[payment.payee], ack));
            }
        }
        journal.append(&records(&mut issuer, &batch)).expect("the disk works");
    }
    issuer.check().expect("the books balance");
    save("last", &issuer, &journal);
}

/// Opens the books in this process, and says how long that took.
pub(crate) fn inside(arguments: &[String]) {
    let [case, path] = arguments else { panic!("a case and a path") };
    let path = Path::new(path);
    // What is in memory of the file is dropped by opening it: so both read the disk.
    let disk = || DiskFile::open(path).expect("the journal is there");
    drop(disk());
    let since = Instant::now();
    read(path);
    say("read", since.elapsed().as_secs_f64());
    let since = Instant::now();
    let (head, mut issuer) = match &**case {
        "replay" => {
            let currency = Town::founded(2).currency;
            (None, Issuer::new(currency, IssuerOptions::default()))
        }
        name => {
            let loaded = load_snapshot(&path.with_extension(name), BENCH);
            let (head, body) = loaded.expect("a sound snapshot").expect("it is there");
            let IssuerOptions { seed, answers_bytes_max } = IssuerOptions::default();
            let issuer = Issuer::restore(seed, answers_bytes_max, &body);
            (Some(head), issuer.expect("a sound snapshot"))
        }
    };
    let disk = disk();
    let replay = |record: &[u8]| issuer.replay(record);
    let journal = match head {
        None => Journal::open(disk, BENCH, replay),
        Some(head) => Journal::open_at(disk, BENCH, head, replay),
    };
    let journal = journal.expect("a sound journal");
    issuer.check().expect("the books balance");
    say("seconds", since.elapsed().as_secs_f64());
    say("records", journal.head().records as f64);
    say("peak", memory().1);
}

/// Reads a file once, to nowhere.
fn read(path: &Path) {
    let mut file = fs::File::open(path).expect("the journal is there");
    let mut piece = vec![0; 1 << 20];
    while file.read(&mut piece).expect("the disk works") > 0 {}
}
