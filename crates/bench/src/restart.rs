//! `restart`: how long an issuer with 10 million transfers takes to open its books, in a process of its own.

use std::{fs, io::Read, path::Path, sync::Arc, time::Instant};

use fondaco_issuer::{IssuerConfig, IssuerService, SNAPSHOT_RECORDS};
use fondaco_lcp::{Issuer, IssuerOptions, Request, RequestId};
use fondaco_store::{DiskFile, Journal, Kind, SystemClock, load_snapshot, save_snapshot};
use fondaco_units::Scale;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    leftovers::Folder,
    processes::{memory, number, numbers, say},
    race::{Spread, digits},
    report::{Bound, Goal, Report, number as written},
    served::{endpoint, issuer_key},
    town::{Command, FEE, Payees, Town, currency, records},
};

/// The journals and snapshots of real issuers.
const ISSUER: Kind = Kind::new(*b"issuer\0\0", 2);

const ACCOUNTS: usize = 10_000;
const TRANSFERS: usize = 10_000_000;
const BATCH: usize = 8192;
/// How many notices a holder lets wait before it acknowledges them.
const NOTICES: u64 = 64;
const RUNS: usize = 3;

const RESTART: Goal =
    Goal { what: "restart with 10 million transfers", bound: Bound::AtMost(5.0), unit: " s" };

/// How the books are opened, by the name under which the process is told. The first time that the service is opened, its history
/// takes in a million records; after that it has them, as one has that was killed.
const CASES: [(&str, &str); 5] = [
    ("replay", "replay of the whole journal, without a history"),
    ("last", "from a snapshot of the last moment, without a history"),
    ("snapshot", "from a snapshot, and replay of a million records after it, without a history"),
    ("lagging", "the service, its snapshot and its history a million records behind"),
    ("service", "the service, its snapshot a million records behind, its history not"),
];

pub(crate) fn run(report: &Report) {
    let transfers = report.size(TRANSFERS, 50_000);
    let folder = Folder::new("restart");
    report.progress(&format!("writing {transfers} transfers"));
    write(folder.path(), transfers);
    let title = format!("Restart after {transfers} transfers; median (min–max)");
    report.head(
        &title,
        &["what", "runs", "seconds", "reading the journal, s", "ratio", "memory, MB"],
    );
    for (case, what) in CASES {
        let runs = if case == "lagging" { 1 } else { report.size(RUNS, 1) };
        let ran: Vec<_> = (0..runs)
            .map(|_| numbers("restart", &[case, &folder.path().to_string_lossy()]))
            .collect();
        let of = |name: &str| Spread::of(ran.iter().map(|ran| number(ran, name)));
        let (took, read, peak) = (of("seconds"), of("read"), of("peak"));
        let ratio = read.median / took.median;
        let cells = [
            what.to_owned(),
            runs.to_string(),
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
        if case == "service" {
            report.goal(RESTART, took.median, &[("reading the journal", ratio)]);
        }
    }
    report.head("Disk, for each transfer", &["what", "bytes"]);
    let length = |path: &Path| fs::metadata(path).map_or(0, |data| data.len());
    let journal = length(&folder.file("journal"));
    let all: u64 = sizes(folder.path());
    for (what, bytes) in [("the journal", journal), ("history and snapshots", all - journal)] {
        let each = bytes as f64 / transfers as f64;
        let value = json!({ "table": "disk", "what": what, "bytes": each });
        report.row(&[what.to_owned(), digits(each)], &value);
    }
}

/// The bytes of all files below a folder.
fn sizes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("our own folder").map_while(Result::ok);
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => sizes(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Writes the books of a real issuer with so many transfers, and with what else their holders ask. The service kept them
/// until a million records before the end.
fn write(folder: &Path, transfers: usize) {
    let key = issuer_key();
    let scale = Scale::new(2).expect("two decimals");
    let config = IssuerConfig::new("harbour crown", "HCR", scale, FEE).expect("a currency");
    IssuerService::init(folder, &key, &config).expect("an empty folder");
    let town = Town::of(key.entity(), Town::founded(ACCOUNTS).holders);
    let mut issuer = town.issuer.clone();
    let mut journal = open(folder);
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
    let behind = transfers.saturating_sub(usize::try_from(SNAPSHOT_RECORDS).unwrap_or(usize::MAX));
    let (mut done, mut is_served) = (0, false);
    while payments.peek().is_some() {
        if done >= behind && !is_served {
            drop(journal);
            serve(folder);
            journal = open(folder);
            is_served = true;
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
    let saved = save_snapshot(&folder.join("last"), ISSUER, journal.head(), &issuer.snapshot());
    saved.expect("the disk works");
}

/// Opens the journal without a look at its records.
fn open(folder: &Path) -> Journal<DiskFile> {
    let disk = DiskFile::open(folder.join("journal")).expect("a file in our own folder");
    Journal::open(disk, ISSUER, |_| Ok::<(), std::convert::Infallible>(())).expect("sound")
}

/// Lets the service write its history and a snapshot.
fn serve(folder: &Path) {
    let service = IssuerService::open(folder, &issuer_key(), Arc::new(SystemClock));
    let service = service.expect("sound books");
    Runtime::new().expect("a runtime").block_on(async {
        let stop = CancellationToken::new();
        stop.cancel();
        service.serve(endpoint(&issuer_key()).await, stop).await.expect("the issuer served");
    });
}

/// Opens the books in this process, and says how long that took.
pub(crate) fn inside(arguments: &[String]) {
    let [case, folder] = arguments else { panic!("a case and a folder") };
    let folder = Path::new(folder);
    let path = folder.join("journal");
    // What is in memory of the file is dropped by opening it: so both read the disk.
    let disk = || DiskFile::open(&path).expect("the journal is there");
    drop(disk());
    let since = Instant::now();
    read(&path);
    say("read", since.elapsed().as_secs_f64());
    drop(disk());
    let since = Instant::now();
    if ["lagging", "service"].contains(&&**case) {
        let service = IssuerService::open(folder, &issuer_key(), Arc::new(SystemClock));
        let service = service.expect("sound books");
        say("seconds", since.elapsed().as_secs_f64());
        say("peak", memory().1);
        return drop(service);
    }
    let name = if case == "last" { "last" } else { "snapshot" };
    let start = (case != "replay").then(|| {
        let loaded = load_snapshot(&folder.join(name), ISSUER);
        let (head, body) = loaded.expect("a sound snapshot").expect("it is there");
        let IssuerOptions { seed, answers_bytes_max } = IssuerOptions::default();
        let issuer = Issuer::restore(seed, answers_bytes_max, &body);
        (head, issuer.expect("a sound snapshot"))
    });
    let (head, issuer) = start.unzip();
    let mut is_defined = issuer.is_some();
    let new = || Issuer::new(currency(issuer_key().entity()), IssuerOptions::default());
    let mut issuer = issuer.unwrap_or_else(new);
    let replay = |record: &[u8]| {
        if !is_defined {
            is_defined = true;
            return Ok(());
        }
        issuer.replay(record)
    };
    let journal = match head {
        None => Journal::open(disk(), ISSUER, replay),
        Some(head) => Journal::open_at(disk(), ISSUER, head, replay),
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
