//! Run the benchmarks, which are a package of their own.

use crate::{shell, workspace::Workspace};

/// The package whose program is the benchmarks.
const PACKAGE: &str = "fondaco-bench";

/// Builds the benchmarks for speed and hands them `options`.
pub(crate) fn command(options: &[&str]) -> Result<(), String> {
    let workspace = Workspace::load()?;
    if !workspace.has(PACKAGE) {
        println!("There are no benchmarks yet: the workspace has no package {PACKAGE}.");
        return Ok(());
    }
    let mut run = shell::command("cargo run --release --locked --package");
    run.arg(PACKAGE).arg("--").args(options);
    let took = shell::run(run).map_err(|failed| failed.to_string())?;
    println!("bench: {:.1} s", took.as_secs_f64());
    Ok(())
}
