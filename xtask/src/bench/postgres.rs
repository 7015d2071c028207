//! Find PostgreSQL's programs, or install them.
//!
//! The server itself is made, started and taken away by the benchmarks: `crates/bench/src/postgres/cluster.rs`.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::shell;

/// The release that the figures are of.
const VERSION: &str = "15";

/// What is needed of it.
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];

/// The folder that has the programs, after installing them if need be; nothing, said loudly, if they cannot be had.
pub(super) fn programs() -> Option<PathBuf> {
    let found = installed().or_else(|| {
        let done = install();
        if let Err(why) = &done {
            eprintln!("SKIPPED PostgreSQL: it is not installed, and {why}");
        }
        done.ok().and_then(|()| installed())
    })?;
    let mut version = shell::command(&found.join("postgres").to_string_lossy());
    version.arg("--version");
    let version = shell::output(version).unwrap_or_default();
    if !is_version(&version, VERSION) {
        eprintln!(
            "The peer is {}, and not the release {VERSION} that the figures are of.",
            version.trim()
        );
    }
    Some(found)
}

/// Where Debian puts this release, or else a folder of the path. Debian's own release goes first: what is on the path may be any.
fn installed() -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/postgresql/{VERSION}/bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = [debian].into_iter().chain(env::split_paths(&path));
    folders.find(|folder| PROGRAMS.iter().all(|program| folder.join(program).is_file()))
}

/// Installs Debian's package, which also would start a server of its own: that is prevented.
fn install() -> Result<(), String> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(
            "this is no Debian. Hint: install PostgreSQL, and put initdb on the path".to_owned()
        );
    }
    let user = shell::output(shell::command("id --user")).map_err(|failed| failed.to_string())?;
    if user.trim() != "0" {
        let package = format!("postgresql-{VERSION}");
        return Err(format!("only root can install it. Hint: sudo apt-get install {package}"));
    }
    let get = |what: &str| {
        let line = format!("DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get {what}");
        shell::run(shell::command(&line)).map_err(|failed| failed.to_string())
    };
    let package = format!("install --yes --no-install-recommends postgresql-{VERSION}");
    // The lists of packages may be old, or not there yet.
    get(&package).or_else(|_| get("update").and_then(|_| get(&package))).map(|_| ())
}

/// Whether `postgres --version` says this release.
fn is_version(said: &str, version: &str) -> bool {
    let number =
        said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    number.is_some_and(|number| number.split('.').next() == Some(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (said, expected) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", true),
            ("postgres (PostgreSQL) 16.1", false),
            ("postgres (PostgreSQL) 15beta1", false),
            ("", false),
        ] {
            assert_eq!(is_version(said, "15"), expected, "{said}");
        }
    }
}
