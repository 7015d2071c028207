//! Ten thousand seeds of the simulation of money: issuer, holders, disk and network, with crashes at every step.
//!
//! The same test runs with a few hundred of them among all the others; here it has the seeds, and all cores.

use std::{process::Child, thread};

use super::Done;
use crate::{
    shell::{self, Failed},
    workspace::Workspace,
};

/// How many seeds; `FONDACO_SEEDS` says otherwise.
const SEEDS: usize = 10_000;

/// The test, and what it runs.
const TEST: &str = "cargo test --locked --quiet --package fondaco-testkit --test money";
const NAME: &str = "money_is_conserved_and_all_happens_once";

/// Runs the seeds, in as many processes as there are cores.
pub(super) fn step(_: &Workspace) -> Result<Done, Failed> {
    let seeds = std::env::var("FONDACO_SEEDS").ok().and_then(|text| text.parse().ok());
    let seeds: usize = seeds.unwrap_or(SEEDS);
    shell::run(shell::command(&format!("{TEST} --no-run")))?;
    let parts = thread::available_parallelism().map_or(1, usize::from).min(8);
    let part = seeds.div_ceil(parts);
    println!("    {seeds} seeds in {parts} processes");
    let start = |number: usize| -> Result<(Child, String), Failed> {
        let first = number * part;
        let count = part.min(seeds.saturating_sub(first));
        let line = format!("FONDACO_SEED={first} FONDACO_SEEDS={count} {TEST} {NAME} -- --exact");
        let failed = |error: std::io::Error| Failed {
            command: line.clone(),
            why: format!("did not start: {error}"),
        };
        Ok((shell::command(&line).spawn().map_err(failed)?, line))
    };
    let running: Vec<_> = (0..parts).map(start).collect();
    // All are waited for, so that none is left behind by the failure of another.
    let ended: Vec<_> = running
        .into_iter()
        .map(|started| {
            let (mut child, command) = started?;
            match child.wait() {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(Failed { command, why: format!("ended with {status}") }),
                Err(error) => Err(Failed { command, why: format!("was lost: {error}") }),
            }
        })
        .collect();
    ended.into_iter().collect::<Result<Vec<()>, _>>().map(|_| Done::Passed)
}
