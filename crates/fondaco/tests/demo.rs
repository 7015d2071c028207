//! The demo as a user meets it: interrupted at any moment it leaves nothing, and with `--keep` it goes on.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it has everything.
    top: PathBuf,
}

/// Begins a small demo of a folder with one file.
fn begin(folder: &Path, more: &[&str]) -> Demo {
    fs::write(folder.join("letter"), b"dear all").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fondaco"))
        .arg("demo")
        .arg(folder)
        .args(["--hosts", "5"])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let named = "Everything else:";
    let line = lines.by_ref().map(Result::unwrap).find(|line| line.contains(named)).unwrap();
    let top = PathBuf::from(line.split(named).nth(1).unwrap().trim());
    Demo { child, lines, top }
}

/// Returns the processes with something of `top` on their command line.
fn processes(top: &Path) -> Vec<u32> {
    let top = top.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names_it = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(top)
    };
    pids.filter(names_it).collect()
}

fn wait_until_gone(top: &Path) {
    let began = Instant::now();
    while !processes(top).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?} still run", processes(top));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(name: &str, pids: &[u32]) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).args(pids.iter().map(u32::to_string));
    assert!(kill.status().unwrap().success());
}

#[test]
fn a_demo_that_is_interrupted_early_leaves_nothing() {
    interrupted(1..=5);
}

#[test]
fn a_demo_that_is_interrupted_late_leaves_nothing() {
    interrupted(6..=9);
}

/// Interrupts a demo in each of these steps.
fn interrupted(steps: RangeInclusive<u8>) {
    for step in steps {
        let signal_name = if step % 2 == 0 { "INT" } else { "TERM" };
        let is_kept = step == 2;
        let folder = tempfile::tempdir().unwrap();
        let mut demo = begin(folder.path(), &["--keep"][..usize::from(is_kept)]);
        let line = format!("{step} ");
        assert!(demo.lines.by_ref().map(Result::unwrap).any(|said| said.starts_with(&line)));
        // The last steps are soon done.
        if step < 8 {
            std::thread::sleep(Duration::from_millis(100));
        }
        if let Ok(None) = demo.child.try_wait() {
            signal(signal_name, &[demo.child.id()]);
        }
        let rest: Vec<String> = demo.lines.map(Result::unwrap).collect();
        let ended = demo.child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        let is_done = step >= 8 && ended.status.success();
        assert!(is_done || said.contains("interrupted"), "step {step}: {said}");
        assert!(is_done || ended.status.code() == Some(130), "step {step}: {}", ended.status);
        assert_eq!(processes(&demo.top), Vec::<u32>::new(), "step {step}");
        // What is kept is told.
        let is_told = rest.iter().any(|line| line.contains("left in"));
        assert_eq!((demo.top.exists(), is_told), (is_kept, is_kept), "step {step}: {rest:?}");
        let _ = fs::remove_dir_all(&demo.top);
    }
}

#[test]
fn a_demo_that_is_kept_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let demo = begin(folder.path(), &["--keep"]);
    let said: Vec<String> = demo.lines.map(Result::unwrap).collect();
    let ended = demo.child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{said:#?} {}", String::from_utf8_lossy(&ended.stderr));
    let pids: Vec<u32> = fs::read_to_string(demo.top.join("pids"))
        .unwrap()
        .lines()
        .map(|pid| pid.parse().unwrap())
        .collect();
    let mut running = processes(&demo.top);
    running.sort_unstable();
    let mut expected = pids.clone();
    expected.sort_unstable();
    assert_eq!(running, expected);

    // What it says to try works: hosts are found, and those that were caught are passed over.
    let fondaco = |words: &[&str]| {
        let home = demo.top.join("buyer");
        let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
        let output = command.arg("--home").arg(home).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    fondaco(&["backup", "create", folder.path().to_str().unwrap(), "--survive", "0.99"]);
    let to = demo.top.join("again");
    fondaco(&["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()]);
    assert_eq!(fs::read(to.join("letter")).unwrap(), b"dear all");

    signal("TERM", &pids);
    wait_until_gone(&demo.top);
    fs::remove_dir_all(&demo.top).unwrap();
}
