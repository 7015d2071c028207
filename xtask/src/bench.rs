//! Run the benchmarks, which are a package of their own, and provide the peer that is a server.

mod postgres;

use crate::{shell, workspace::Workspace};

/// The package whose program is the benchmarks.
const PACKAGE: &str = "fondaco-bench";

/// The benchmarks that have PostgreSQL for a peer.
const WITH_POSTGRES: [&str; 3] = ["transfers", "payments", "soap"];

/// The variable by which the benchmarks learn where PostgreSQL's programs are.
const POSTGRES: &str = "FONDACO_POSTGRES";

/// Builds the benchmarks for speed and hands them `options`: names of benchmarks, or none for all.
pub(crate) fn command(options: &[&str]) -> Result<(), String> {
    let workspace = Workspace::load()?;
    if !workspace.has(PACKAGE) {
        println!("There are no benchmarks yet: the workspace has no package {PACKAGE}.");
        return Ok(());
    }
    let postgres = if wants_postgres(options) { postgres::programs() } else { None };
    let mut run = shell::command("cargo run --release --locked --package");
    run.arg(PACKAGE).arg("--").args(options);
    if let Some(folder) = postgres {
        run.env(POSTGRES, folder);
    }
    let took = shell::run(run).map_err(|failed| failed.to_string())?;
    println!("bench: {:.1} s", took.as_secs_f64());
    Ok(())
}

/// Whether these options ask for a benchmark that has PostgreSQL for a peer.
fn wants_postgres(options: &[&str]) -> bool {
    let mut names = options.iter().filter(|option| !option.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|name| WITH_POSTGRES.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_a_server() {
        let cases: [(&[&str], bool); 5] = [
            (&[], true),
            (&["--json"], true),
            (&["erasure"], false),
            (&["--quick", "erasure", "transfers"], true),
            (&["voucher", "--json"], false),
        ];
        for (options, expected) in cases {
            assert_eq!(wants_postgres(options), expected, "{options:?}");
        }
    }
}
