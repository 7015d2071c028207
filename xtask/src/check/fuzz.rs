//! Feed every decoder what nobody would write, for a short while, guided by coverage (libFuzzer).
//!
//! The targets are the programs of `fuzz/`, a workspace of its own. Each starts from its seeds in `fuzz/corpus/TARGET`,
//! knows the words of `fuzz/words/TARGET`, if there are any,
//! and goes on with what earlier runs found, in `target/fuzz/corpus/TARGET`. An input that fails is kept in
//! `target/fuzz/failed`, and the failure prints the command that replays it.

use std::{fs, path::Path, time::Duration};

use super::Done;
use crate::{
    shell::{self, Failed},
    workspace::{Workspace, root},
};

/// How long each target runs, in seconds; `FONDACO_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 8;

/// How long over its time a target may take before it is ended.
const GRACE: Duration = Duration::from_secs(60);

/// Coverage as libFuzzer wants it, in flags that a stable compiler takes.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

/// The one target that its flags are for: build scripts must not have them.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds the targets and runs each of them.
pub(super) fn step(workspace: &Workspace) -> Result<Done, Failed> {
    if std::env::consts::ARCH != "x86_64" {
        return Ok(Done::Skipped { why: format!("the fuzz targets are built for {TRIPLE}") });
    }
    let home = workspace.target.join("fuzz");
    let manifest = root().join("fuzz/Cargo.toml");
    let mut build = shell::command("cargo build --release --locked --target");
    build.arg(TRIPLE).arg("--manifest-path").arg(&manifest);
    build.env("CARGO_TARGET_DIR", &home).env("RUSTFLAGS", FLAGS);
    shell::run(build)?;
    let seconds = std::env::var("FONDACO_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    for target in targets(&root().join("fuzz/targets")) {
        run(&home, &target, seconds)?;
    }
    Ok(Done::Passed)
}

/// The names of the targets, in order.
fn targets(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |path: &Path| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned());
    let mut names: Vec<String> = entries.filter_map(|entry| name(&entry.path())).collect();
    names.sort();
    names
}

fn run(home: &Path, target: &str, seconds: u64) -> Result<(), Failed> {
    let (found, failed) = (home.join("corpus").join(target), home.join("failed"));
    // What a target writes stays with what it found.
    let scratch = home.join("scratch");
    let _ = fs::remove_dir_all(&scratch);
    for folder in [&found, &failed, &scratch] {
        let made = fs::create_dir_all(folder);
        made.map_err(|error| Failed {
            command: format!("mkdir {}", folder.display()),
            why: error.to_string(),
        })?;
    }
    let program = home.join(TRIPLE).join("release").join(target);
    let mut fuzz = shell::command(&program.to_string_lossy());
    fuzz.env("TMPDIR", &scratch)
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=70000", "-verbosity=0"])
        // Nobody reads what it says while it runs: of much, the pipe would be full.
        .arg(format!("-artifact_prefix={}/{target}-", failed.display()))
        .arg(&found);
    let seeds = root().join("fuzz/corpus").join(target);
    if seeds.is_dir() {
        fuzz.arg(seeds);
    }
    let words = root().join("fuzz/words").join(target);
    if words.is_file() {
        fuzz.arg(format!("-dict={}", words.display()));
    }
    println!("    fuzz {target}, {seconds} s");
    shell::within(Duration::from_secs(seconds) + GRACE, fuzz).map_err(|ended| Failed {
        command: format!("{} {}/{target}-…", program.display(), failed.display()),
        why: format!("replays it. {}", ended.why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target that the manifest does not name would never be built.
    #[test]
    fn every_target_is_in_the_manifest() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let targets = targets(&root().join("fuzz/targets"));
        assert!(!targets.is_empty());
        for target in targets {
            assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
        }
    }
}
