//! `ledger`: transfers at an issuer, in memory, made durable in batches of several sizes, and recovered.

use std::{fs::OpenOptions, os::unix::fs::FileExt, path::Path};

use fondaco_lcp::{Issuer, IssuerOptions, Request};
use fondaco_ledger::{Ledger, Terms};
use fondaco_ports::Disk;
use fondaco_store::{DiskFile, Journal};
use fondaco_testkit::Rng;
use fondaco_units::Amount;

use crate::{
    leftovers::Folder,
    race::{Clock, Sample, Table, Unit, peer, timed},
    report::Report,
    town::{BENCH, Command, Payees, Town, begin, records},
};

const ACCOUNTS: usize = 10_000;
const TRANSFERS: usize = 200_000;

pub(crate) fn run(report: &Report) {
    let town = Town::founded(ACCOUNTS);
    let payments = town.payments(report.size(TRANSFERS, 10_000), Payees::Any);
    let transfers: Vec<Command> = payments.iter().map(|payment| town.command(payment)).collect();
    let folder = Folder::new("ledger");
    in_memory(report, &town, &transfers);
    durable(report, &town, &transfers, &folder);
    recovery(report, &town, &transfers, &folder);
}

/// Against the books alone: no ids, answers, notices or records.
fn in_memory(report: &Report, town: &Town, transfers: &[Command]) {
    let title = "Transfers among 10,000 accounts, in memory";
    let table = Table::begin(report, title, Clock::Cpu, Unit::Things);
    table.row(
        "`Issuer::handle`",
        transfers.len() as u64,
        || {
            let mut issuer = town.issuer.clone();
            timed(|| transfers.chunks(1024).for_each(|batch| drop(records(&mut issuer, batch))))
        },
        [peer("`Ledger::transfer` alone", || {
            let mut ledger: Ledger = town.issuer.ledger().clone();
            timed(|| {
                for (from, request) in transfers {
                    let Request::Transfer { to, amount, fee_max, .. } = request else { continue };
                    let terms = Terms { fee: *fee_max, reserve: Amount::ZERO };
                    ledger.transfer(*from, *to, *amount, terms).expect("money enough for all");
                }
            })
        })],
    );
}

/// Against what the disk allows: as many bytes, one write and one fdatasync for each batch, into durable zeros.
fn durable(report: &Report, town: &Town, transfers: &[Command], folder: &Folder) {
    let title = "Transfers among 10,000 accounts, durable";
    let table = Table::begin(report, title, Clock::Wall, Unit::Things);
    let (path, bare) = (folder.file("journal"), folder.file("bare"));
    for (batch, batches) in [(1, 500), (64, 200), (1024, 64)] {
        let commands = &transfers[..(batch * batches).min(transfers.len())];
        let batches: Vec<Vec<Command>> = commands.chunks(batch).map(<[Command]>::to_vec).collect();
        let frames = town.save(&batches, &path).1;
        let bytes = frames.iter().sum::<usize>() / commands.len();
        table.row(
            &format!("batches of {batch}, {bytes} B a transfer"),
            commands.len() as u64,
            || town.save(&batches, &path).0,
            [peer("write + fdatasync", || write_bare(&bare, &frames, false))],
        );
    }
}

/// Writes frames of these lengths, each made durable, into a file that has durable zeros; hashes each first, if told to.
pub(crate) fn write_bare(path: &Path, frames: &[usize], hash: bool) -> Sample {
    let longest = frames.iter().copied().max().unwrap_or(0);
    let mut bytes = vec![0; longest];
    Rng::new(2).fill(&mut bytes);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let file = options.open(path).expect("a file in our own folder");
    let zeros = vec![0; frames.iter().sum()];
    file.write_all_at(&zeros, 0).and_then(|()| file.sync_all()).expect("the disk works");
    timed(|| {
        let mut at = 0;
        for frame in frames {
            let frame = &mut bytes[..*frame];
            if hash {
                let digest = blake3::hash(frame);
                frame[..32].copy_from_slice(digest.as_bytes());
            }
            let written = file.write_all_at(frame, at);
            written.and_then(|()| file.sync_data()).expect("the disk works");
            at += frame.len() as u64;
        }
    })
}

/// Against reading the file, reading it as a journal, and handling the same commands for the first time.
fn recovery(report: &Report, town: &Town, transfers: &[Command], folder: &Folder) {
    let path = folder.file("recovery");
    let mut issuer = town.issuer.clone();
    let mut journal = begin(&path);
    let transferred = records(&mut issuer, transfers);
    for batch in town.minted.chunks(1024).chain(transferred.chunks(1024)) {
        journal.append(batch).expect("the disk works");
    }
    let head = journal.head();
    drop((journal, transferred));
    let length = usize::try_from(head.bytes.get()).expect("it was in memory just now");
    let open = || DiskFile::open(&path).expect("a file in our own folder");
    let recover = || {
        let mut issuer = Issuer::new(town.currency.clone(), IssuerOptions::default());
        let journal = Journal::open(open(), BENCH, |record| issuer.replay(record));
        assert_eq!(journal.expect("what was saved just now").head(), head);
        issuer
    };
    assert!(recover() == issuer, "the same books and answers");
    let title = format!("Recovery of {ACCOUNTS} mints and {} transfers", transfers.len());
    let table = Table::begin(report, &title, Clock::Wall, Unit::Things);
    table.row(
        "open and replay",
        head.records,
        || timed(recover),
        [
            peer("read the file", || {
                timed(|| {
                    let mut bytes = vec![0; length];
                    assert_eq!(open().read_at(0, &mut bytes).expect("the disk works"), length);
                    bytes
                })
            }),
            peer("open, without replay", || timed(|| begin(&path))),
        ],
    );
}
