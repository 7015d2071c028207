//! What a restore does where it cannot write, and without what it is asked for.
#![allow(dead_code, unreachable_pub)]

#[path = "../src/demo/compare.rs"]
mod compare;
#[path = "../src/failure.rs"]
mod failure;
mod market;
#[path = "../src/demo/world.rs"]
mod world;

use market::{Market, market};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

impl Market {
    /// Runs a command that is to fail; returns its last line.
    async fn fails(&self, args: &[&str], code: i32) -> Value {
        let args = ["backup"].iter().chain(args);
        self.world.run_to("buyer", args.copied(), code).await.unwrap().pop().unwrap()
    }
}

/// What is named and is not there has its own exit code, and what shows what is there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told() {
    let market = market(4).await;
    fs::create_dir(market.source.join("docs")).unwrap();
    fs::write(market.source.join("docs/one"), b"dear all").unwrap();
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let to = market.world.home("none").join("at").join("all");
    let into = ["--to", to.to_str().unwrap()];
    let table: [(&[&str], &str); 6] = [
        (&["restore", "latest", "nope"], "backup ls"),
        (&["restore", "latest", "docs/one/nope"], "backup ls"),
        (&["restore", "zzzz"], "backup list"),
        (&["ls", "zzzz"], "backup list"),
        (&["diff", "latest", "latest~7"], "backup list"),
        (&["forget", "zzzz"], "backup list"),
    ];
    for (args, hint) in table {
        let into: &[&str] = if args[0] == "restore" { &into } else { &[] };
        let failed = market.fails(&[args, into].concat(), 3).await;
        assert!(failed["hint"].as_str().unwrap().contains(hint), "{failed}");
        assert!(!failed["error"].as_str().unwrap().contains("kind:"), "{failed}");
    }
    market.world.end().await;
}

fn fondaco(home: &Path, to: &Path) -> String {
    let program = env!("CARGO_BIN_EXE_fondaco");
    let (home, to) = (home.display(), to.display());
    format!("exec {program} --home {home} --json backup restore latest --no-cache --to {to}")
}

/// Runs a line of a shell that is to end with 1; returns the last line that it wrote.
fn told(program: &mut Command) -> Value {
    let output = program.stdin(Stdio::null()).output().unwrap();
    let (out, complaint) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    assert_eq!(output.status.code(), Some(1), "{} {complaint}", String::from_utf8_lossy(&out));
    assert!(!complaint.contains("panicked"), "{complaint}");
    let text = String::from_utf8(out).unwrap() + &complaint;
    let last = text.lines().rev().find(|line| line.contains("\"error\"")).unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{text}"))
}

#[allow(clippy::print_stderr)] // what cannot be shown here is said
fn can_mount() -> bool {
    let can = Command::new("unshare").args(["-rm", "true"]).output();
    let can = can.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("SKIPPED: no mounts of one's own can be had here (unshare -rm)");
    }
    can
}

/// A disk that fills up, and a limit on the length of files, are told in words, with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_written_is_told() {
    let market = market(4).await;
    market.write_noise(2);
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let home = market.world.home("buyer");
    let place = |name: &str| -> PathBuf { market.world.home(name) };
    let no_internals = |failed: &Value| {
        let error = failed["error"].as_str().unwrap();
        assert!(error.starts_with("cannot write below "), "{error}");
        for word in ["Os {", "unwrap", "rustic", "kind"] {
            assert!(!error.contains(word), "{error}");
        }
    };

    // In blocks of 512 bytes: less than a file, and more than any of the buyer's own.
    let line = format!("ulimit -f 6000; {}", fondaco(&home, &place("short")));
    let failed = told(Command::new("sh").args(["-c", &line]));
    no_internals(&failed);
    assert!(failed["hint"].as_str().unwrap().contains("ulimit -f"), "{failed}");

    if can_mount() {
        for (options, hint) in [("size=3m", "free some space"), ("size=64m,ro", "can be written")] {
            let to = place("full");
            fs::create_dir_all(&to).unwrap();
            let line = format!(
                "mount -t tmpfs -o {options} none {} && {}",
                to.display(),
                fondaco(&home, &to)
            );
            let failed = told(Command::new("unshare").args(["-rm", "sh", "-c", &line]));
            no_internals(&failed);
            assert!(failed["hint"].as_str().unwrap().contains(hint), "{failed}");
        }
    }
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
