//! Run the benchmarks, which are a package of their own, and provide the peers that are programs.

mod postgres;

use crate::{check, shell, workspace::Workspace};

/// The package whose program is the benchmarks.
const PACKAGE: &str = "fondaco-bench";

/// The benchmarks that have PostgreSQL for a peer.
const WITH_POSTGRES: [&str; 3] = ["transfers", "payments", "soap"];

/// The benchmark that runs the command, and has restic for a peer.
const WITH_COMMAND: [&str; 1] = ["backup"];

/// The variable by which the benchmarks learn where PostgreSQL's programs are.
const POSTGRES: &str = "FONDACO_POSTGRES";

/// Builds the benchmarks for speed and hands them `options`: names of benchmarks, or none for all.
pub(crate) fn command(options: &[&str]) -> Result<(), String> {
    let workspace = Workspace::load()?;
    if !workspace.has(PACKAGE) {
        println!("There are no benchmarks yet: the workspace has no package {PACKAGE}.");
        return Ok(());
    }
    let postgres = if wants(options, &WITH_POSTGRES) { postgres::programs() } else { None };
    if wants(options, &WITH_COMMAND) {
        if let Err(why) = check::restic_is_here() {
            eprintln!("SKIPPED restic: it is not installed, and {why}");
        }
        // By itself: with the benchmarks it would be built with what only simulations need.
        let build = shell::command("cargo build --release --locked --package fondaco");
        shell::run(build).map_err(|failed| failed.to_string())?;
    }
    let mut run = shell::command("cargo run --release --locked --package");
    run.arg(PACKAGE).arg("--").args(options);
    if let Some(folder) = postgres {
        run.env(POSTGRES, folder);
    }
    let took = shell::run(run).map_err(|failed| failed.to_string())?;
    println!("bench: {:.1} s", took.as_secs_f64());
    Ok(())
}

/// Whether these options ask for one of these benchmarks.
fn wants(options: &[&str], benchmarks: &[&str]) -> bool {
    let mut names = options.iter().filter(|option| !option.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| benchmarks.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_a_peer() {
        let cases: [(&[&str], bool); 5] = [
            (&[], true),
            (&["--json"], true),
            (&["erasure"], false),
            (&["--quick", "erasure", "transfers"], true),
            (&["voucher", "--json"], false),
        ];
        for (options, expected) in cases {
            assert_eq!(wants(options, &WITH_POSTGRES), expected, "{options:?}");
        }
        assert!(wants(&[], &WITH_COMMAND) && wants(&["--quick", "backup"], &WITH_COMMAND));
        assert!(!wants(&["erasure"], &WITH_COMMAND));
    }
}
