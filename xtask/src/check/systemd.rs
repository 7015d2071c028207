//! Have systemd itself read the unit that the project ships.

use std::{fs, io::ErrorKind, process::Command};

use super::{Done, Failed};
use crate::{shell, workspace::Workspace};

const UNIT: &str = "dist/systemd/fondaco-issuer.service";

/// Where the unit expects the command.
const INSTALLED: &str = "/usr/local/bin/fondaco";

/// Verifies the unit, with the command of this build in place of the installed one, and the options that it is given.
pub(super) fn step(workspace: &Workspace) -> Result<Done, Failed> {
    let why = |why: String| Failed { command: format!("systemd-analyze verify {UNIT}"), why };
    match Command::new("systemd-analyze").arg("--version").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let why = "there is no systemd-analyze; on Debian: apt-get install systemd".to_owned();
            return Ok(Done::Skipped { why });
        }
        Err(error) => return Err(why(format!("did not start: {error}"))),
        Ok(_) => {}
    }
    let text = fs::read_to_string(crate::workspace::root().join(UNIT))
        .map_err(|error| why(format!("cannot read it: {error}")))?;
    let program = workspace.target.join("release/fondaco");
    if !text.contains(INSTALLED) {
        return Err(why(format!("it does not start {INSTALLED}")));
    }
    let folder = workspace.target.join("systemd");
    let unit = folder.join("fondaco-issuer.service");
    let copy = text.replace(INSTALLED, &program.display().to_string());
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&unit, copy))
        .map_err(|error| why(format!("cannot write a copy of it: {error}")))?;
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&unit);
    let said = verify.output().map_err(|error| why(format!("did not start: {error}")))?;
    let told = String::from_utf8_lossy(&said.stderr);
    // It tells of a key that it does not know, and ends as if all were well.
    let ours: Vec<_> = told.lines().filter(|line| line.contains("fondaco-issuer")).collect();
    if !said.status.success() || !ours.is_empty() {
        return Err(why(format!("says: {}", told.trim())));
    }
    // The options of the line that it starts are there, by their names.
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap_or_default();
    let mut help = Command::new(&program);
    help.args(["issuer", "up", "--help"]);
    let help = shell::output(help)?;
    match line
        .split(' ')
        .filter(|word| word.starts_with("--"))
        .find(|word| *word != "--home" && !help.contains(*word))
    {
        Some(word) => {
            Err(why(format!("starts `fondaco issuer up` with {word}, which it does not know")))
        }
        None => Ok(Done::Passed),
    }
}
