//! Measure Fondaco side by side with its peers.
//!
//! A *benchmark* is a table. In each row, what Fondaco does and what a *peer* does with the same input are run in turn,
//! several times. The *ratio* is how fast Fondaco is when the peer is 1. A *goal* is what the currency is to reach.
//!
//! ```text
//! warm up ──► run 1: Fondaco, peer, peer … ──► run 2: Fondaco, peer, peer … ──► … ──► median (min–max) ──► goals
//! ```
//!
//! # What always holds
//!
//! - A ratio is of two runs that followed each other; the ratio reported is the median of those, not one of medians.
//!   More than 1 is better than the peer, in time and bytes too.
//! - What only computes is measured in CPU time, which a busy machine distorts least; what waits for a disk or a socket,
//!   in wall time.
//! - What was done is checked after each run, outside the time: no money came or went, and nothing was left out.
//! - Nothing passes or fails by its speed. What cannot be measured here is skipped, and says so.
//!
//! # What is not here
//!
//! The results, with the machine they are of: `docs/benchmarks.md`. Installing PostgreSQL and restic, building the command:
//! `cargo xtask bench`.

mod audit;
mod backup;
mod client;
mod erasure;
mod ledger;
mod leftovers;
mod memory;
mod payments;
mod placement;
mod polls;
mod postgres;
mod processes;
mod race;
mod report;
mod restart;
mod served;
mod soap;
mod town;
mod transfers;
mod voucher;

use std::{env, process::ExitCode};

use report::Report;

type Benchmark = fn(&Report);

/// Takes what the benchmark tells it.
type Part = fn(&[String]);

/// Every benchmark, by the name that asks for it.
const BENCHMARKS: [(&str, Benchmark); 13] = [
    ("transfers", transfers::run),
    ("payments", payments::run),
    ("polls", polls::run),
    ("soap", soap::run),
    ("memory", memory::run),
    ("restart", restart::run),
    ("ledger", ledger::run),
    ("voucher", voucher::run),
    ("erasure", erasure::run),
    ("client", client::run),
    ("audit", audit::run),
    ("placement", placement::run),
    ("backup", backup::run),
];

/// What this program does in a process of its own, by the name that the benchmarks ask for it.
const INSIDE: [(&str, Part); 3] =
    [("issuer", served::inside), ("memory", memory::inside), ("restart", restart::inside)];

/// Runs the benchmarks named, or all of them.
fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [first, name, rest @ ..] = &arguments[..]
        && first == processes::INSIDE
    {
        let Some((_, run)) = INSIDE.into_iter().find(|(known, _)| known == name) else {
            return unknown(name);
        };
        run(rest);
        return ExitCode::SUCCESS;
    }
    let (options, names): (Vec<_>, Vec<_>) =
        arguments.iter().map(String::as_str).partition(|argument| argument.starts_with('-'));
    let known = |name: &&&str| BENCHMARKS.iter().any(|(known, _)| known == *name);
    let known_option = |option: &&&str| ["--json", "--quick"].contains(*option);
    let bad = options.iter().find(|option| !known_option(option));
    if let Some(bad) = bad.or_else(|| names.iter().find(|name| !known(name))) {
        return unknown(bad);
    }
    leftovers::go_with_a_signal();
    let report = Report::new(options.contains(&"--json"), options.contains(&"--quick"));
    for (name, run) in BENCHMARKS {
        if names.is_empty() || names.contains(&name) {
            run(&report);
        }
    }
    report.goals();
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr, reason = "who called it wrongly is told so")]
fn unknown(name: &str) -> ExitCode {
    let known = BENCHMARKS.map(|(name, _)| name).join(", ");
    eprintln!(
        "There is no benchmark or option `{name}`. Hint: name any of {known}, or none for all; \
         --json for programs, --quick to see that it runs."
    );
    ExitCode::from(2)
}
