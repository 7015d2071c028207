//! Restores, forgetting and pruning that are killed at any moment, and files that change while they are read.
//!
//! The moments are drawn from `FONDACO_SEED`, or from 1; a failure says which they were.

mod market;
mod parts;

use market::{Market, Noise, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Moments at which something is killed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var("FONDACO_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or(1))
    }

    /// A moment within `span`, and now and then right at its beginning.
    fn within(&mut self, span: Duration) -> Duration {
        // Knuth, "The Art of Computer Programming", volume 2, section 3.3.4: MMIX's generator.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = (self.0 >> 33) as f64 / f64::from(1_u32 << 31);
        if part < 0.1 { Duration::from_millis(15) } else { span.mul_f64(part) }
    }
}

/// Runs a command of the buyer's, and kills it with SIGKILL after so long; whether it was still at work then.
fn killed(market: &Market, args: &[&str], after: Duration) -> bool {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fondaco"))
        .arg("--home")
        .arg(market.world.home("buyer"))
        .arg("--json")
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while began.elapsed() < after {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

/// How long the buyer takes for a command that succeeds, and what it says.
async fn timed(market: &Market, args: &[&str]) -> (Duration, Vec<Value>) {
    let began = Instant::now();
    let lines = market.world.run("buyer", args.iter().copied()).await.unwrap();
    (began.elapsed(), lines)
}

fn find<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().rev().find(|line| line["event"] == event).unwrap()
}

/// All that is stored is whole, and what was backed up last comes back as it is.
async fn is_whole(market: &Market, to: &str) {
    let checked = market.backup("buyer", &["check", "--read-data", "--no-cache"]).await;
    assert_eq!(find(&checked, "check")["errors"], Value::Array(Vec::new()));
    market.restored_equals_the_source("buyer", to).await;
    fs::remove_dir_all(market.world.home(to)).unwrap();
}

async fn backed_up(market: &Market) {
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_killed_is_finished_by_the_next() {
    let (market, mut moments) = (market(5).await, Moments::new());
    market.write_noise(6);
    fs::create_dir(market.source.join("folder")).unwrap();
    for number in 0..200 {
        fs::write(market.source.join(format!("folder/{number}")), format!("{number}")).unwrap();
    }
    backed_up(&market).await;
    let to = market.world.home("restored");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    let (calm, _) = timed(&market, &restore).await;
    compare::compare(&market.source, &to, None).unwrap();
    let mut cut = 0;
    for round in 0..4 {
        fs::remove_dir_all(&to).unwrap();
        let mut at = Vec::new();
        // Once, or several times, each of them over what the one before has left.
        for _ in 0..1 + round % 3 {
            let after = moments.within(calm);
            cut += u32::from(killed(&market, &restore, after));
            at.push(after);
        }
        market.world.run("buyer", restore).await.unwrap();
        let compared = compare::compare(&market.source, &to, None);
        assert!(compared.is_ok(), "killed after {at:?}: {compared:?}");
    }
    assert!(cut >= 3, "{cut} of 7 were killed at work");
    // Nothing that was stored is the worse for it.
    is_whole(&market, "again").await;
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_and_pruning_that_were_killed_leave_all_in_order() {
    let (mut market, mut moments) = (market(5).await, Moments::new());
    let mut noise = Noise::new();
    // So long they take on a quiet machine: most are killed at work.
    let calm = Duration::from_millis(700);
    let (mut cut, mut at) = (0, Vec::new());
    for round in 0..4 {
        // Two snapshots more, of which much is to go.
        for version in 0..2 {
            fs::write(market.source.join("changing"), noise.bytes(6 << 20)).unwrap();
            fs::write(market.source.join(format!("kept-{round}-{version}")), noise.bytes(1 << 20))
                .unwrap();
            backed_up(&market).await;
        }
        let both: &[&str] = &["backup", "forget", "--keep-last", "1", "--prune"];
        let (forget, prune): (&[&str], &[&str]) = (&both[..4], &["backup", "prune"]);
        for args in [[both, both, both], [forget, prune, prune], [both, forget, prune]][round % 3] {
            let after = moments.within(calm);
            cut += u32::from(killed(&market, args, after));
            at.push((args.join(" "), after));
            // In between, what is there is whole already.
            if round == 0 {
                is_whole(&market, "between").await;
            }
        }
        market.backup("buyer", &both[1..]).await;
        market.backup("buyer", &["prune"]).await;
        let left = market.backup("buyer", &["list"]).await;
        assert_eq!(left.len(), 1, "{at:?}: {left:?}");
        is_whole(&market, "restored").await;
    }
    assert!(cut >= 4, "{cut} of 12 were killed at work: {at:?}");

    // A new backup goes on from there; nothing was paid or held that is not in the books.
    fs::write(market.source.join("new"), noise.bytes(1 << 20)).unwrap();
    backed_up(&market).await;
    is_whole(&market, "restored").await;
    market.world.run("buyer", ["contracts", "end", "--yes"]).await.unwrap();
    let mut sum = 0.0;
    for who in market.hosts.iter().map(String::as_str).chain(["buyer"]) {
        let line = market.world.ask(who, ["balance"]).await.unwrap();
        assert_eq!(line["held"], "0.000000", "{who}");
        sum += line["available"].as_str().unwrap().parse::<f64>().unwrap();
    }
    assert!((sum - 100.0).abs() < 1e-9, "{sum}");
    market.world.stop("issuer").await;
    let audit = market.world.ask("issuer", ["issuer", "audit"]).await.unwrap();
    assert_eq!(audit["balanced"], true);
    market.world.end().await;
}

/// A file that grows, shrinks and changes while it is read is kept as some bytes that it had; all else is kept as it is,
/// and the next backup, in peace, has it too.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_harms_nothing() {
    let market = market(5).await;
    let mut noise = Noise::new();
    let still = noise.bytes(1 << 20);
    for number in 0..5 {
        fs::write(market.source.join(format!("still-{number}")), &still[number << 10..]).unwrap();
    }
    let growing = market.source.join("growing");
    fs::write(&growing, noise.bytes(8 << 20)).unwrap();
    let passing = market.source.join("passing");
    let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let changing = {
        let (stop, changes) = (Arc::clone(&stop), Arc::clone(&changes));
        let (growing, passing) = (growing.clone(), passing.clone());
        std::thread::spawn(move || {
            let mut file = fs::File::options().append(true).open(&growing).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let number = changes.fetch_add(1, Ordering::Relaxed);
                file.write_all(&noise.bytes(64 << 10)).unwrap();
                file.write_all_at(b"changed", number % 1000).unwrap_or_default();
                if number % 7 == 6 {
                    file.set_len(5 << 20).unwrap();
                }
                // This one comes and goes.
                if number % 2 == 0 {
                    fs::write(&passing, b"now here").unwrap();
                } else {
                    fs::remove_file(&passing).unwrap();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = fs::remove_file(&passing);
        })
    };
    for _ in 0..3 {
        let before = changes.load(Ordering::Relaxed);
        // What was gone when it was to be read is named, by code 1; nothing else is the matter.
        let lines =
            market.world.run_to_any("buyer", market.create_args(&[]), &[0, 1]).await.unwrap();
        let problems = find(&lines, "backup")["problems"].as_array().cloned().unwrap_or_default();
        for problem in &problems {
            assert!(problem.to_string().contains("passing"), "{problems:?}");
        }
        assert!(changes.load(Ordering::Relaxed) > before + 10, "it did not change");
    }
    stop.store(true, Ordering::Relaxed);
    changing.join().unwrap();
    let checked = market.backup("buyer", &["check", "--read-data", "--no-cache"]).await;
    assert_eq!(find(&checked, "check")["errors"], Value::Array(Vec::new()));
    let to = market.world.home("restored");
    market
        .backup("buyer", &["restore", "latest", "--no-cache", "--to", to.to_str().unwrap()])
        .await;
    for number in 0..5 {
        let restored = fs::read(to.join(format!("still-{number}"))).unwrap();
        assert_eq!(restored, still[number << 10..], "{number}");
    }
    assert!(fs::metadata(to.join("growing")).unwrap().len() >= 1 << 20);
    fs::remove_dir_all(&to).unwrap();
    // In peace the next backup has it as it is.
    backed_up(&market).await;
    is_whole(&market, "restored").await;
    market.world.end().await;
}
