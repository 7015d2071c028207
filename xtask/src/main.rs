//! Check, tidy and measure this workspace.
//!
//! `cargo xtask` alone lists the commands. CI runs `cargo xtask check` and nothing else.
//!
//! # What is not here
//!
//! Anything that a user of Fondaco runs: see the crate `fondaco`. This one may print and may be slow to
//! read the disk, but it must build in seconds, so it uses `serde_json` and nothing else.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit)]

mod bench;
mod check;
mod shell;
mod tidy;
mod workspace;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  check                every step that CI runs, in order, up to the first failure
    --list             only name the steps
    --only STEP        run this step alone
    --from STEP        start at this step
  tidy                 prove the house rules: floors, names, purity, README, sizes
  bench [NAME…]        run the benchmarks named, or all, side by side with their peers
    --json             as JSON, in the lines that begin with a brace
    --quick            only to see that all of it runs
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        ["tidy"] => tidy::command(),
        ["check", options @ ..] => check::command(options),
        ["bench", options @ ..] => bench::command(options),
        _ => Err(format!("no such command: {}. Hint: cargo xtask help", words.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
