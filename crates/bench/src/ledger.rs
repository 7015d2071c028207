//! `ledger`: transfers at an issuer, in memory, made durable, and recovered.

use std::{
    convert::Infallible,
    env,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process,
};

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{Currency, Issuer, IssuerOptions, Request, RequestId, Response};
use fondaco_ledger::{Ledger, Terms};
use fondaco_ports::Disk;
use fondaco_store::{DiskFile, Journal, Kind};
use fondaco_testkit::Rng;
use fondaco_units::{Amount, Scale, Timestamp};

use crate::race::{Clock, Sample, Table, Unit, peer, timed};

const ACCOUNTS: usize = 10_000;
const TRANSFERS: usize = 200_000;
const FEE: Amount = Amount::new(1);
const NOW: Timestamp = Timestamp::from_milliseconds(1_800_000_000_000);
const BENCH: Kind = Kind::new(*b"bench\0\0\0", 1);

pub(crate) fn run() {
    let town = Town::founded();
    in_memory(&town);
    let folder = Folder::new();
    durable(&town, &folder);
    recovery(&town, &folder);
}

type Command = (EntityId, Request);

/// An issuer whose accounts have money, and what its holders will ask.
struct Town {
    currency: Currency,
    issuer: Issuer,
    /// The journal so far: a mint for each account.
    minted: Vec<Vec<u8>>,
    transfers: Vec<Command>,
}

impl Town {
    fn founded() -> Self {
        let mut rng = Rng::new(1);
        let bank = EntityId::from_bytes(rng.array());
        let currency = Currency {
            id: CurrencyId::issued_by(bank),
            name: Text::cut("harbour crown"),
            symbol: Text::cut("HCR"),
            scale: Scale::new(2).expect("two decimals"),
            transfer_fee: FEE,
            full_handshake_fee: Amount::ZERO,
            account_reserve: Amount::ZERO,
        };
        let holders: Vec<_> = (0..ACCOUNTS).map(|_| EntityId::from_bytes(rng.array())).collect();
        let mut issuer = Issuer::new(currency.clone(), IssuerOptions::default());
        let mints = holders.iter().map(|to| {
            let id = request_id(&mut rng);
            (bank, Request::Mint { id, to: *to, amount: Amount::new(1_000_000) })
        });
        let minted = records(&mut issuer, &mints.collect::<Vec<_>>());
        let transfers = (0..TRANSFERS).map(|_| {
            let payer = rng.index(ACCOUNTS);
            let payee = (payer + 1 + rng.index(ACCOUNTS - 1)) % ACCOUNTS;
            let amount = Amount::new(1 + rng.below(100));
            let order = Text::cut(&format!("{:016x}", rng.next_u64()));
            let (id, to) = (request_id(&mut rng), holders[payee]);
            (holders[payer], Request::Transfer { id, to, amount, fee_max: FEE, order })
        });
        let transfers = transfers.collect();
        Self { currency, issuer, minted, transfers }
    }
}

fn request_id(rng: &mut Rng) -> RequestId {
    RequestId::new(u128::from_le_bytes(rng.array()))
}

/// Handles each command; what is to be saved before it is answered.
fn records(issuer: &mut Issuer, commands: &[Command]) -> Vec<Vec<u8>> {
    let mut record = |(holder, request): &Command| {
        let handled = issuer.handle(NOW, *holder, request);
        assert!(!matches!(handled.response, Response::Refused { .. }), "money enough for all");
        handled.record.expect("a command that was not handled before")
    };
    commands.iter().map(&mut record).collect()
}

/// Against the books alone: no ids, answers, notices or records.
fn in_memory(town: &Town) {
    let title = "Transfers among 10,000 accounts, in memory";
    let table = Table::begin(title, Clock::Cpu, Unit::Things);
    table.row(
        "`Issuer::handle`",
        TRANSFERS as u64,
        || handle_all(town, &town.transfers),
        [peer("`Ledger::transfer` alone", || {
            let mut ledger: Ledger = town.issuer.ledger().clone();
            timed(|| {
                for (from, request) in &town.transfers {
                    let Request::Transfer { to, amount, fee_max, .. } = request else { continue };
                    let terms = Terms { fee: *fee_max, reserve: Amount::ZERO };
                    ledger.transfer(*from, *to, *amount, terms).expect("money enough for all");
                }
            })
        })],
    );
}

fn handle_all(town: &Town, commands: &[Command]) -> Sample {
    let mut issuer = town.issuer.clone();
    timed(|| commands.chunks(1024).for_each(|batch| drop(records(&mut issuer, batch))))
}

/// Against what the disk allows: as many bytes, one write and one fdatasync for each batch, into durable zeros.
fn durable(town: &Town, folder: &Folder) {
    let title = "Transfers among 10,000 accounts, durable";
    let table = Table::begin(title, Clock::Wall, Unit::Things);
    let (path, bare) = (folder.file("journal"), folder.file("bare"));
    for (batch, batches) in [(1, 500), (64, 200), (1024, 64), (8189, 24)] {
        let commands = &town.transfers[..batch * batches];
        let frames = save(town, commands, batch, &path).1;
        let bytes = frames.iter().sum::<usize>() / commands.len();
        table.row(
            &format!("batches of {batch}, {bytes} B a transfer"),
            commands.len() as u64,
            || save(town, commands, batch, &path).0,
            [peer("write + fdatasync", || write_bare(&bare, &frames))],
        );
    }
}

/// Handles and appends batch by batch into a new journal; also returns the length of each frame.
fn save(town: &Town, commands: &[Command], batch: usize, path: &Path) -> (Sample, Vec<usize>) {
    let _ = fs::remove_file(path);
    let mut journal = begin(path);
    let mut issuer = town.issuer.clone();
    let mut ends = vec![journal.head().bytes.get()];
    let sample = timed(|| {
        for batch in commands.chunks(batch) {
            journal.append(&records(&mut issuer, batch)).expect("the disk works");
            ends.push(journal.head().bytes.get());
        }
    });
    issuer.check().expect("the books balance");
    let length = |pair: &[u64]| usize::try_from(pair[1] - pair[0]).expect("a frame is in memory");
    (sample, ends.windows(2).map(length).collect())
}

fn begin(path: &Path) -> Journal<DiskFile> {
    let disk = DiskFile::open(path).expect("a file in our own folder");
    Journal::open(disk, BENCH, |_| Ok::<(), Infallible>(())).expect("a new journal")
}

fn write_bare(path: &Path, frames: &[usize]) -> Sample {
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
            let written = file.write_all_at(&bytes[..*frame], at);
            written.and_then(|()| file.sync_data()).expect("the disk works");
            at += *frame as u64;
        }
    })
}

/// Against reading the file, reading it as a journal, and handling the same commands for the first time.
fn recovery(town: &Town, folder: &Folder) {
    let path = folder.file("recovery");
    let mut issuer = town.issuer.clone();
    let mut journal = begin(&path);
    let transferred = records(&mut issuer, &town.transfers);
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
    let title = "Recovery of 10,000 mints and 200,000 transfers";
    let table = Table::begin(title, Clock::Wall, Unit::Things);
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

/// A folder beside this program, on the disk that has it, which goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let program = env::current_exe().expect("a program has a path");
        let path = program.with_file_name(format!("bench-{}", process::id()));
        fs::create_dir_all(&path).expect("a folder beside the program");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
