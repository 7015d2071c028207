//! Run what CI runs: [`STEPS`], in order, up to the first failure.
//!
//! A step is one line of the table: a command line, or a function for what takes more than one command.
//! A step that cannot be had on this machine is skipped with a line that says so loudly, and again at the end.

mod demo;
mod deny;
mod foreign;
mod fuzz;
mod restic;
mod systemd;

use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

pub(crate) use restic::restic_is_here;

use crate::{
    shell::{self, Failed},
    workspace::Workspace,
};

/// The steps, cheapest first. To add one, add its line.
const STEPS: &[Step] = &[
    Step { name: "tidy", run: Run::Code(|_| own(crate::tidy::command(), "cargo xtask tidy")) },
    Step { name: "fmt", run: Run::Line("cargo fmt --all --check") },
    Step {
        name: "clippy",
        run: Run::Line("cargo clippy --workspace --all-targets --locked -- -D warnings"),
    },
    Step { name: "test", run: Run::Code(test) },
    Step {
        name: "simulation",
        run: Run::Line(
            "FONDACO_SEEDS=10000 cargo test --locked --package fondaco-testkit --test money \
             money_is_conserved_and_all_happens_once",
        ),
    },
    Step {
        name: "market",
        run: Run::Line(
            "FONDACO_SEEDS=2000 cargo test --locked --package fondaco-testkit --test market \
             what_was_stored_is_there_and_liars_are_named",
        ),
    },
    Step {
        name: "doc",
        run: Run::Line("RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked"),
    },
    Step { name: "deny", run: Run::Code(deny::step) },
    Step { name: "build", run: Run::Code(build) },
    Step { name: "systemd", run: Run::Code(systemd::step) },
    Step { name: "foreign", run: Run::Code(foreign::step) },
    Step { name: "demo", run: Run::Code(demo::step) },
    Step { name: "demo-offline", run: Run::Code(demo::step_offline) },
    Step { name: "restic", run: Run::Code(restic::step) },
    Step { name: "fuzz", run: Run::Code(fuzz::step) },
];

/// The package whose program is the command `fondaco`.
const COMMAND: &str = "fondaco";

/// One thing to prove.
struct Step {
    name: &'static str,
    run: Run,
}

/// How a step is run.
enum Run {
    /// As one command: settings of the environment, then words between spaces.
    Line(&'static str),
    /// As a function.
    Code(fn(&Workspace) -> Result<Done, Failed>),
}

/// How a step ended that did not fail.
enum Done {
    /// All of it passed.
    Passed,
    /// It passed, but this part of it could not be had here.
    PassedWithout { part: &'static str, why: String },
    /// It could not be had here.
    Skipped { why: String },
}

/// Runs the steps that `options` choose and prints what became of each.
pub(crate) fn command(options: &[&str]) -> Result<(), String> {
    let steps = match *options {
        [] => STEPS,
        ["--list"] => {
            STEPS.iter().for_each(|step| println!("{}", step.name));
            return Ok(());
        }
        ["--only", name] => {
            let place = find(name)?;
            &STEPS[place..=place]
        }
        ["--from", name] => &STEPS[find(name)?..],
        _ => return Err("Usage: cargo xtask check [--list | --only STEP | --from STEP]".to_owned()),
    };
    let workspace = Workspace::load()?;
    let mut report = Report::default();
    for step in steps {
        println!("==> {}", step.name);
        let started = Instant::now();
        let ended = match step.run {
            Run::Line(line) => shell::run(shell::command(line)).map(|_| Done::Passed),
            Run::Code(code) => code(&workspace),
        };
        if !report.add(step.name, started.elapsed(), &ended) {
            break;
        }
    }
    print!("{}", report.text());
    match report.failed {
        None => Ok(()),
        Some(name) => Err(format!("check: {name} failed. Hint: cargo xtask check --only {name}")),
    }
}

/// The unit and integration tests, then the examples in the documents.
///
/// Three tests run at once for two processors: those that take long start processes, and wait for them or for a host that is gone.
fn test(workspace: &Workspace) -> Result<Done, Failed> {
    let has_nextest = shell::output(shell::command("cargo nextest --version")).is_ok();
    shell::run(if has_nextest {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let mut nextest = shell::command("cargo nextest run --workspace --locked");
        nextest.arg(format!("--test-threads={}", (processors * 3).div_ceil(2)));
        nextest
    } else {
        shell::command("cargo test --workspace --locked")
    })?;
    // Only libraries have examples, and cargo refuses to look for them where there is none.
    if workspace.crates.iter().any(|each| each.is_library) {
        shell::run(shell::command("cargo test --doc --workspace --locked"))?;
    }
    Ok(Done::Passed)
}

/// The command, as a user gets it.
fn build(workspace: &Workspace) -> Result<Done, Failed> {
    if !workspace.has(COMMAND) {
        return Ok(not_yet());
    }
    let mut build = shell::command("cargo build --release --locked --package");
    build.arg(COMMAND);
    shell::run(build).map(|_| Done::Passed)
}

fn not_yet() -> Done {
    Done::Skipped { why: format!("the workspace has no package {COMMAND} yet") }
}

/// The end of a step that is a function of this program, and that is run alone by `command`.
fn own(ended: Result<(), String>, command: &str) -> Result<Done, Failed> {
    let failed = |why| Failed { command: command.to_owned(), why: format!("says: {why}") };
    ended.map(|()| Done::Passed).map_err(failed)
}

fn find(name: &str) -> Result<usize, String> {
    STEPS.iter().position(|step| step.name == name).ok_or_else(|| {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        format!("no such step: {name}. Hint: one of {}", names.join(", "))
    })
}

/// What became of the steps so far.
#[derive(Default)]
struct Report {
    rows: Vec<(&'static str, Duration, &'static str)>,
    loud: Vec<String>,
    failed: Option<&'static str>,
}

impl Report {
    /// Takes in one step's end and prints what must not be missed; returns whether to go on.
    fn add(&mut self, name: &'static str, took: Duration, ended: &Result<Done, Failed>) -> bool {
        let loud = match ended {
            Ok(Done::Passed) => None,
            Ok(Done::PassedWithout { part, why }) => Some(format!("SKIPPED {name} {part}: {why}")),
            Ok(Done::Skipped { why }) => Some(format!("SKIPPED {name}: {why}")),
            Err(failed) => Some(format!("FAILED {name}: {failed}")),
        };
        let result = match ended {
            Ok(Done::Passed | Done::PassedWithout { .. }) => "passed",
            Ok(Done::Skipped { .. }) => "skipped",
            Err(_) => "failed",
        };
        if let Some(line) = loud {
            println!("{line}");
            self.loud.push(line);
        }
        self.rows.push((name, took, result));
        self.failed = ended.is_err().then_some(name);
        ended.is_ok()
    }

    /// The table, the loud lines, how to replay a failure, and the count alone on the last line.
    fn text(&self) -> String {
        let mut text = format!("\n{:<14} {:>8}  result\n", "step", "seconds");
        for (name, took, result) in &self.rows {
            text += &format!("{name:<14} {:>8.1}  {result}\n", took.as_secs_f64());
        }
        text.push('\n');
        for line in &self.loud {
            text += &format!("{line}\n");
        }
        if let Some(name) = self.failed {
            text += &format!("Replay it: cargo xtask check --only {name}\n");
        }
        let count = |wanted| self.rows.iter().filter(|(_, _, result)| *result == wanted).count();
        text += &format!("{} passed, {} failed", count("passed"), count("failed"));
        match count("skipped") {
            0 => text + "\n",
            skipped => text + &format!(", {skipped} skipped\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_step_has_a_name_of_its_own() {
        for (place, step) in STEPS.iter().enumerate() {
            assert_eq!(find(step.name), Ok(place));
        }
        assert!(find("no such").is_err());
    }

    #[test]
    fn a_full_check_closes_with_its_count() {
        let mut report = Report::default();
        assert!(report.add("fmt", SECOND, &Ok(Done::Passed)));
        assert_eq!(
            report.text(),
            "\nstep            seconds  result\n\
             fmt                 1.0  passed\n\
             \n\
             1 passed, 0 failed\n"
        );
    }

    #[test]
    fn what_was_skipped_is_said_at_the_end() {
        let mut report = Report::default();
        let without = Done::PassedWithout { part: "advisories", why: "no network".to_owned() };
        assert!(report.add("deny", SECOND, &Ok(without)));
        let skipped = Done::Skipped { why: "no program".to_owned() };
        assert!(report.add("demo", SECOND, &Ok(skipped)));
        let closing = "\n\
            SKIPPED deny advisories: no network\n\
            SKIPPED demo: no program\n\
            1 passed, 0 failed, 1 skipped\n";
        assert!(report.text().ends_with(closing), "{}", report.text());
    }

    #[test]
    fn canary_a_failure_stops_and_says_how_to_replay_it() {
        let mut report = Report::default();
        let failed = shell::run(shell::command("false")).map(|_| Done::Passed);
        assert!(!report.add("fmt", SECOND, &failed));
        assert_eq!(report.failed, Some("fmt"));
        let closing = "\n\
            FAILED fmt: `false` ended with exit status: 1\n\
            Replay it: cargo xtask check --only fmt\n\
            0 passed, 1 failed\n";
        assert!(report.text().ends_with(closing), "{}", report.text());
    }
}
