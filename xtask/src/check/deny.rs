//! Licences, bans, sources and advisories of what comes from outside, by cargo-deny and `deny.toml`.
//!
//! cargo-deny is built once into `target/tools` where it is missing: two to three minutes on two cores. Its
//! advisories live on a host of their own, and are the one part that a closed network may keep from us.

use std::{path::Path, process::Command, time::Duration};

use super::Done;
use crate::{
    shell::{self, Failed},
    workspace::Workspace,
};

/// The release to install, so that `deny.toml` means the same everywhere.
const RELEASE: &str = "0.20.2";

/// How long fetching the advisories may take before they are skipped.
const FETCH_MAX: Duration = Duration::from_secs(90);

/// Checks what needs no network, then the advisories if they can be had.
pub(super) fn step(workspace: &Workspace) -> Result<Done, Failed> {
    let deny = match installed(&workspace.target) {
        Ok(program) => program,
        Err(failed) => return Ok(Done::Skipped { why: failed.to_string() }),
    };
    let deny = |line: &str| -> Command { shell::command(&format!("{deny} --locked {line}")) };
    shell::run(deny("check bans licenses sources"))?;
    if let Err(failed) = shell::within(FETCH_MAX, deny("fetch db")) {
        return Ok(Done::PassedWithout { part: "advisories", why: failed.to_string() });
    }
    shell::run(deny("check --disable-fetch advisories")).map(|_| Done::Passed)
}

/// The words that start cargo-deny, which is installed when it is neither on the path nor in `target/tools`.
fn installed(target: &Path) -> Result<String, Failed> {
    if shell::output(shell::command("cargo deny --version")).is_ok() {
        return Ok("cargo deny".to_owned());
    }
    let tools = target.join("tools");
    let program = tools.join("bin/cargo-deny");
    let mut version = Command::new(&program);
    version.arg("--version");
    if shell::output(version).is_err() {
        let mut install = shell::command("cargo install cargo-deny --locked --version");
        install.arg(RELEASE).arg("--root").arg(&tools);
        shell::run(install)?;
    }
    Ok(program.to_string_lossy().into_owned())
}
