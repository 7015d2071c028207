//! Measure Fondaco side by side with its peers.
//!
//! A *benchmark* is a table. In each row, what Fondaco does and what a *peer* does with the same input are run in turn,
//! several times, in one process and on one core. The *ratio* is how fast Fondaco is when the peer is 1.
//!
//! ```text
//! warm up ──► run 1: Fondaco, peer, peer … ──► run 2: Fondaco, peer, peer … ──► … ──► median (min–max)
//! ```
//!
//! # What always holds
//!
//! - A ratio is of two runs that followed each other; the ratio reported is the median of those, not one of medians.
//! - What only computes is measured in CPU time, which a busy machine distorts least; what waits for a disk, in wall time.
//! - Nothing passes or fails by its speed.
//!
//! # What is not here
//!
//! The results, with the machine they are of: `docs/benchmarks.md`. Peers that need a server or a long build.

mod audit;
mod erasure;
mod ledger;
mod placement;
mod race;
mod voucher;

use std::{env, process::ExitCode};

/// Every benchmark, by the name that asks for it.
const BENCHMARKS: [(&str, fn()); 5] = [
    ("ledger", ledger::run),
    ("voucher", voucher::run),
    ("erasure", erasure::run),
    ("audit", audit::run),
    ("placement", placement::run),
];

/// Runs the benchmarks named, or all of them.
fn main() -> ExitCode {
    let names: Vec<String> = env::args().skip(1).collect();
    let known = |name: &String| BENCHMARKS.iter().any(|(known, _)| known == name);
    if let Some(name) = names.iter().find(|name| !known(name)) {
        return unknown(name);
    }
    for (name, run) in BENCHMARKS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            run();
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr)]
fn unknown(name: &str) -> ExitCode {
    let known = BENCHMARKS.map(|(name, _)| name).join(", ");
    eprintln!("There is no benchmark `{name}`. Hint: name any of {known}, or none for all.");
    ExitCode::from(2)
}
