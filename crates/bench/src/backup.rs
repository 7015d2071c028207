//! `backup`: a folder backed up into a market of real processes, again unchanged, and restored, against restic.
//!
//! ```text
//! Fondaco   buyer ── QUIC, vouchers ──► 12 hosts, an issuer     n/k bytes are stored for each byte
//! restic    one process ──► a folder                            each byte is stored once
//! ```
//!
//! What Fondaco takes is what the processes of all parties take until they rest. The repository has restic's format on both
//! sides: compression, encryption and the derivation of the key are the same work. What is restored is compared byte for byte.

mod market;
mod quic;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fondaco_testkit::Rng;
use market::{Market, Moved, Peaks, Taken};
use quic::Way;
use serde_json::{Value, json};

use crate::{
    leftovers::Folder,
    processes::{self, Used},
    race::{Spread, digits},
    report::Report,
};

const HOSTS: usize = 12;
/// Each run takes half a minute.
const RUNS: usize = 3;
const NOISE: usize = 1_000_000_000;
const FILES: usize = 10;
const MB: f64 = 1e6;

/// What is done, in this order.
const PHASES: [&str; 3] = ["backup", UNCHANGED, "restore"];
/// It moves hardly anything.
const UNCHANGED: &str = "unchanged second backup";

const COST: [&str; 8] = [
    "what",
    "CPU s, Fondaco, all processes",
    "CPU s, restic",
    "ratio",
    "ratio for each byte moved",
    "MB moved, Fondaco : restic",
    "peak memory, MB, buyer : restic",
    "wall s, Fondaco : restic",
];
const SHARES: [&str; 6] = [
    "CPU s of",
    "the buyer",
    "all hosts",
    "the issuer",
    "QUIC alone, as many bytes, both ends",
    "its share of all",
];
const MEMORY: [&str; 5] =
    ["MB, at most", "the buyer", "the host that had most", "all hosts", "the issuer"];

/// What one phase took on our side.
#[derive(Clone, Copy)]
struct Ours {
    buyer: Used,
    services: Taken,
    moved: f64,
    quic: f64,
}

/// And on the other.
#[derive(Clone, Copy)]
struct Theirs {
    used: Used,
    moved: f64,
}

/// A run from an empty market to the restored folder.
struct Round {
    code: (u64, u64),
    ours: [Ours; PHASES.len()],
    theirs: Option<[Theirs; PHASES.len()]>,
    peaks: Peaks,
}

pub(crate) fn run(report: &Report) {
    let Some(program) = market::program() else {
        let why = "the command is not beside this program. Hint: cargo build --release -p fondaco";
        return report.skip("backup", why);
    };
    let version = Command::new("restic").arg("version").output();
    let has_restic = version.is_ok_and(|output| output.status.success());
    if !has_restic {
        report.skip("restic, beside which backups are measured", "it cannot be run");
    }
    let place = Folder::new("backup");
    let (noise, sources) = (place.file("noise"), place.file("sources"));
    copy_sources(&sources).expect("the sources of this program, and room for them");

    let runs = report.size(RUNS, 1);
    let title = format!(
        "Backups into a market of {HOSTS} hosts, and into a folder; by CPU time; median (min–max) of {runs} runs"
    );
    report.head(&title, &COST);
    let told = [("noise", noise), ("this source tree", sources)].map(|(what, folder)| {
        let rounds: Vec<Round> = (0..runs)
            .map(|run| {
                if what == "noise" {
                    write_noise(&folder, report.size(NOISE, NOISE / 50), run as u64)
                        .expect("room for noise");
                }
                report.progress(&format!("backing up {what}, run {} of {runs}", run + 1));
                round(&program, &place, &folder, has_restic)
            })
            .collect();
        let (k, n) = rounds[0].code;
        let what = format!("{what}, {} MB by {k} of {n}", digits(bytes_in(&folder) / MB));
        for (at, phase) in PHASES.iter().enumerate() {
            cost(report, &format!("{what}: {phase}"), &rounds, at);
        }
        (what, rounds)
    });
    report.head("Where that CPU time goes; medians", &SHARES);
    for (what, rounds) in &told {
        for (at, phase) in PHASES.iter().enumerate() {
            shares(report, &format!("{what}: {phase}"), rounds, at);
        }
    }
    report.head("What the processes had in memory; medians", &MEMORY);
    for (what, rounds) in &told {
        memory(report, what, rounds);
    }
}

/// Backs `folder` up, twice, and restores it, on both sides.
fn round(program: &Path, place: &Folder, folder: &Path, has_restic: bool) -> Round {
    let own = Folder::at(place.file("market"));
    let market = Market::start(program.to_owned(), own.path(), HOSTS);
    let named = folder.to_string_lossy();
    let create = [&["backup", "create", &named][..], &market.hosts()].concat();
    let restored = own.file("restored");
    let restore = ["backup", "restore", "latest", "--to", &restored.to_string_lossy()];

    let (first, lines) = ours(&market, &create);
    let opened = lines.iter().find(|line| line["event"] == "contracts").expect("it tells the code");
    let code = ["k", "n"].map(|name| opened[name].as_u64().expect("a number"));
    let (second, lines) = ours(&market, &create);
    let added = lines.iter().find_map(|line| line["added"].as_u64());
    assert!(added.is_some_and(|added| added < 1 << 20), "unchanged, but {added:?} bytes are new");
    let (back, _) = ours(&market, &restore);
    compare(folder, &restored);
    let peaks = market.peaks();
    drop((market, own));
    let theirs = has_restic.then(|| theirs(&Folder::at(place.file("restic")), folder));
    Round { code: (code[0], code[1]), ours: [first, second, back], theirs, peaks }
}

/// Runs a command of the buyer, and waits until the hosts have done what follows from it.
fn ours(market: &Market, words: &[&str]) -> (Ours, Vec<Value>) {
    let (moved, before) = (market.moved(), market.rested());
    let (lines, buyer) = market.buy(words);
    let after = market.rested();
    let Moved { written, read } = market.moved();
    let (written, read) = (written - moved.written, read - moved.read);
    let alone = |bytes: u64, way| if bytes > 0 { quic::alone(bytes, HOSTS, way) } else { 0.0 };
    let quic = alone(written, Way::There) + alone(read, Way::Back);
    let services =
        Taken { hosts: after.hosts - before.hosts, issuer: after.issuer - before.issuer };
    (Ours { buyer, services, moved: (written + read) as f64, quic }, lines)
}

/// The same by restic, with a repository in this folder.
fn theirs(place: &Folder, folder: &Path) -> [Theirs; PHASES.len()] {
    let (repository, restored) = (place.file("repository"), place.file("restored"));
    let restic = |words: &[&str]| {
        let before = bytes_in(&repository);
        let mut command = Command::new("restic");
        command.args(words).current_dir(folder).env("RESTIC_PASSWORD", "restic's own");
        command.env("RESTIC_REPOSITORY", &repository).env("RESTIC_CACHE_DIR", place.file("cache"));
        command.env_remove("RESTIC_PASSWORD_FILE").env_remove("RESTIC_REPOSITORY_FILE");
        let (status, used) = processes::run(command.stdin(Stdio::null()).stdout(Stdio::null()));
        assert!(status.success(), "restic {}: {status}", words.join(" "));
        Theirs { used, moved: bytes_in(&repository) - before }
    };
    restic(&["init"]);
    let first = restic(&["backup", "."]);
    let second = restic(&["backup", "."]);
    let back = restic(&["restore", "latest", "--target", &restored.to_string_lossy()]);
    compare(folder, &restored);
    // It reads what it has.
    [first, second, Theirs { moved: first.moved, ..back }]
}

impl Ours {
    fn cpu(self) -> f64 {
        self.buyer.cpu + self.services.hosts + self.services.issuer
    }
}

/// Reports what one phase cost on both sides.
fn cost(report: &Report, what: &str, rounds: &[Round], at: usize) {
    let own = |of: fn(Ours) -> f64| Spread::of(rounds.iter().map(|round| of(round.ours[at])));
    let (cpu, wall) = (own(Ours::cpu), own(|ours| ours.buyer.wall));
    let (peak, moved) = (own(|ours| ours.buyer.peak), own(|ours| ours.moved));
    let pairs: Vec<(Ours, Theirs)> =
        rounds.iter().filter_map(|round| Some((round.ours[at], round.theirs?[at]))).collect();
    let mut cells = vec![what.to_owned(), show(cpu)];
    let mut value = json!({
        "table": "backup", "what": what, "runs": rounds.len(), "k": rounds[0].code.0, "n": rounds[0].code.1,
        "fondaco": { "cpu_seconds": cpu.value(), "wall_seconds": wall.value(), "peak": peak.value(), "moved": moved.value() },
    });
    if pairs.is_empty() {
        let [moved, peak] = [moved, peak].map(|bytes| digits(bytes.median / MB));
        cells.extend(["", "", ""].map(str::to_owned));
        cells.extend([moved, peak, digits(wall.median)]);
        return report.row(&cells, &value);
    }
    let both = |of: fn(Ours, Theirs) -> f64| Spread::of(pairs.iter().map(|(a, b)| of(*a, *b)));
    let their = |of: fn(Theirs) -> f64| Spread::of(pairs.iter().map(|(_, theirs)| of(*theirs)));
    let (their_cpu, their_wall) = (their(|it| it.used.cpu), their(|it| it.used.wall));
    let (their_peak, their_moved) = (their(|it| it.used.peak), their(|it| it.moved));
    let ratio = both(|ours, theirs| theirs.used.cpu / ours.cpu());
    let each = both(|ours, theirs| (theirs.used.cpu / theirs.moved) / (ours.cpu() / ours.moved));
    let is_moved = PHASES[at] != UNCHANGED;
    let bytes =
        |a: Spread, b: Spread| format!("{} : {}", digits(a.median / MB), digits(b.median / MB));
    cells.extend([
        show(their_cpu),
        format!("**{}** ({}–{})", digits(ratio.median), digits(ratio.min), digits(ratio.max)),
        if is_moved { show(each) } else { String::new() },
        bytes(moved, their_moved),
        format!("{} = {}", bytes(peak, their_peak), digits(their_peak.median / peak.median)),
        format!("{} : {}", digits(wall.median), digits(their_wall.median)),
    ]);
    value["peer"] = json!({
        "name": "restic", "cpu_seconds": their_cpu.value(), "wall_seconds": their_wall.value(),
        "peak": their_peak.value(), "moved": their_moved.value(), "ratio": ratio.value(),
        "ratio_for_each_byte": if is_moved { each.value() } else { Value::Null },
    });
    report.row(&cells, &value);
}

/// Reports who took what of it.
fn shares(report: &Report, what: &str, rounds: &[Round], at: usize) {
    let median =
        |of: fn(Ours) -> f64| Spread::of(rounds.iter().map(|round| of(round.ours[at]))).median;
    let numbers = [
        median(|ours| ours.buyer.cpu),
        median(|ours| ours.services.hosts),
        median(|ours| ours.services.issuer),
        median(|ours| ours.quic),
        median(|ours| ours.quic / ours.cpu()),
    ];
    let mut cells = vec![what.to_owned()];
    cells.extend(numbers[..4].iter().map(|seconds| digits(*seconds)));
    cells.push(format!("{:.0} %", numbers[4] * 100.0));
    let [buyer, hosts, issuer, quic, share] = numbers;
    let value = json!({
        "table": "backup, parties", "what": what, "buyer": buyer, "hosts": hosts, "issuer": issuer,
        "quic_alone": quic, "quic_share": share,
    });
    report.row(&cells, &value);
}

/// Reports how much memory each party had in use at most, in all phases.
fn memory(report: &Report, what: &str, rounds: &[Round]) {
    let median = |of: fn(&Round) -> f64| Spread::of(rounds.iter().map(of)).median;
    let numbers = [
        median(|round| round.ours.iter().map(|ours| ours.buyer.peak).fold(0.0, f64::max)),
        median(|round| round.peaks.host),
        median(|round| round.peaks.hosts),
        median(|round| round.peaks.issuer),
    ];
    let mut cells = vec![what.to_owned()];
    cells.extend(numbers.iter().map(|bytes| digits(bytes / MB)));
    let [buyer, host, hosts, issuer] = numbers;
    let value = json!({
        "table": "backup, memory", "what": what, "buyer": buyer, "host": host, "hosts": hosts, "issuer": issuer,
    });
    report.row(&cells, &value);
}

fn show(Spread { min, median, max }: Spread) -> String {
    format!("{} ({}–{})", digits(median), digits(min), digits(max))
}

/// Writes files that neither compress nor repeat, other ones for each seed.
fn write_noise(folder: &Path, bytes: usize, seed: u64) -> io::Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    let mut rng = Rng::new(seed);
    let mut noise = vec![0; bytes / FILES];
    for number in 0..FILES {
        rng.fill(&mut noise);
        fs::write(folder.join(format!("noise-{number}")), &noise)?;
    }
    Ok(())
}

/// Copies the crates and documents of this repository.
fn copy_sources(to: &Path) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    ["crates", "docs"].iter().try_for_each(|name| copy(&root.join(name), &to.join(name)))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = (entry?, to);
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&path, &to)?;
        } else if kind.is_file() {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.file_name().into()).collect();
    names.sort();
    names
}

/// The bytes of all files below a folder; none if there is no such folder.
fn bytes_in(folder: &Path) -> f64 {
    let size = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(data) if data.is_dir() => bytes_in(&path),
        data => data.map_or(0.0, |data| data.len() as f64),
    };
    names(folder).into_iter().map(|name| size(folder.join(name))).sum()
}

/// Panics at the first difference between two folders of files and folders.
fn compare(one: &Path, other: &Path) {
    assert_eq!(names(one), names(other), "in {} and {}", one.display(), other.display());
    for name in names(one) {
        let (one, other) = (one.join(&name), other.join(&name));
        if one.is_dir() {
            compare(&one, &other);
        } else {
            let [one_bytes, other_bytes] =
                [&one, &other].map(|path| fs::read(path).expect("a file that can be read"));
            assert!(one_bytes == other_bytes, "{} differs", other.display());
        }
    }
}
