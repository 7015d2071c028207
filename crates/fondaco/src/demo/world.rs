//! The processes of the demo: start them, speak to them, kill them, leave none behind.

use crate::failure::Failure;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long a service may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A folder for everything, and the services that run in it.
#[derive(Debug)]
pub(crate) struct World {
    program: PathBuf,
    place: Place,
    services: BTreeMap<String, Service>,
}

#[derive(Debug)]
enum Place {
    Temporary(TempDir),
    Kept(PathBuf),
}

#[derive(Debug)]
struct Service {
    child: Child,
    /// Held open: when it closes, with us or before, the service stops.
    _stdin: Option<ChildStdin>,
    /// All that it said when it was ready.
    ready: Value,
    /// The words that it was started with.
    args: Vec<OsString>,
}

impl World {
    /// Makes a world whose processes run `program`.
    pub(crate) fn new(program: PathBuf, keep: bool) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            let at = std::env::temp_dir();
            Failure::new(format!("cannot make a folder in {}: {error}", at.display()))
                .hint("set TMPDIR to a folder that can be written")
        };
        let folder = tempfile::Builder::new().prefix("fondaco-demo-").tempdir().map_err(failed)?;
        let place = if keep { Place::Kept(folder.keep()) } else { Place::Temporary(folder) };
        Ok(Self { program, place, services: BTreeMap::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        match &self.place {
            Place::Temporary(folder) => folder.path(),
            Place::Kept(path) => path,
        }
    }

    pub(crate) fn home(&self, who: &str) -> PathBuf {
        self.path().join(who)
    }

    /// Starts a command of `who`; returns what it is called in messages, and the process.
    fn spawn<S: Into<OsString>>(
        &self,
        who: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<(String, Child), Failure> {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let words: Vec<_> = args.iter().take(3).map(|arg| arg.to_string_lossy()).collect();
        let doing = format!("{who}, `fondaco {}`", words.join(" "));
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(self.home(who)).args(["--json", "--stop-with-stdin"]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C goes to the whole group of a terminal. Who dies of it is waited for by those that still have to tell it
        // something; so the demo alone hears it, and stops the others in their order.
        command.process_group(0);
        let child = command.kill_on_drop(true).spawn();
        let child =
            child.map_err(|error| Failure::new(format!("{doing}: cannot start: {error}")))?;
        Ok((doing, child))
    }

    /// Runs a command of `who` to its end; returns the lines it wrote.
    pub(crate) async fn run<S: Into<OsString>>(
        &self,
        who: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Value>, Failure> {
        self.run_to(who, args, 0).await
    }

    /// Runs a command of `who` that is to end with `code`; returns the lines it wrote.
    pub(crate) async fn run_to<S: Into<OsString>>(
        &self,
        who: &str,
        args: impl IntoIterator<Item = S>,
        code: i32,
    ) -> Result<Vec<Value>, Failure> {
        self.run_to_any(who, args, &[code]).await
    }

    /// Runs a command of `who` that is to end with one of `codes`; returns the lines it wrote.
    pub(crate) async fn run_to_any<S: Into<OsString>>(
        &self,
        who: &str,
        args: impl IntoIterator<Item = S>,
        codes: &[i32],
    ) -> Result<Vec<Value>, Failure> {
        let (doing, mut child) = self.spawn(who, args)?;
        let stdin = child.stdin.take();
        let output = child
            .wait_with_output()
            .await
            .map_err(|error| Failure::new(format!("{doing}: {error}")))?;
        drop(stdin);
        let lines = json_lines(&output.stdout);
        if output.status.code().is_some_and(|code| codes.contains(&code)) {
            return Ok(lines);
        }
        let told = lines.iter().rev().find_map(|line| line.get("error").and_then(Value::as_str));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let what = told.map_or_else(|| stderr.trim().to_owned(), str::to_owned);
        let mut failure = Failure::new(format!("{doing}: {what} ({})", output.status));
        let hint = lines.iter().rev().find_map(|line| line.get("hint").and_then(Value::as_str));
        if let Some(hint) = hint {
            failure = failure.hint(hint);
        }
        Err(failure)
    }

    /// Runs a command of which one line is wanted.
    pub(crate) async fn ask<S: Into<OsString>>(
        &self,
        who: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Value, Failure> {
        let mut lines = self.run(who, args).await?;
        lines.pop().ok_or_else(|| Failure::new(format!("a command of {who} said nothing")))
    }

    /// Starts a service of `who` and waits until it is ready; returns its address.
    pub(crate) async fn start<S: Into<OsString>>(
        &mut self,
        who: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, Failure> {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let (doing, mut child) = self.spawn(who, args.clone())?;
        let stdin = child.stdin.take();
        let missing = || Failure::new(format!("{doing}: its output is not connected"));
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(missing)?).lines();
        let mut stderr = child.stderr.take().ok_or_else(missing)?;
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["event"] == "ready" || line["error"].is_string() {
                    return Some(line);
                }
            }
            None
        };
        let ready = match tokio::time::timeout(READY_TIMEOUT, ready).await {
            Ok(Some(line)) if line["event"] == "ready" => line,
            Ok(Some(line)) => {
                let error = line["error"].as_str().unwrap_or_default();
                return Err(Failure::new(format!("{doing}: {error}")));
            }
            Ok(None) => {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text).await;
                return Err(Failure::new(format!("{doing}: it ended: {}", text.trim())));
            }
            Err(_) => {
                return Err(Failure::new(format!(
                    "{doing}: it was not ready in {READY_TIMEOUT:?}"
                )));
            }
        };
        // Nobody reads on: without this a service that has much to say would stop at a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::stderr()).await });
        let address = ready["address"].as_str().unwrap_or_default().to_owned();
        let service = Service { child, _stdin: stdin, ready, args };
        self.services.insert(who.to_owned(), service);
        Ok(address)
    }

    /// Kills a service as a power cut would: SIGKILL, no chance to save anything.
    pub(crate) async fn kill(&mut self, who: &str) -> Result<u32, Failure> {
        let mut service =
            self.services.remove(who).ok_or_else(|| Failure::new(format!("{who} does not run")))?;
        let pid = service.child.id().unwrap_or_default();
        service
            .child
            .kill()
            .await
            .map_err(|error| Failure::new(format!("cannot kill {who}: {error}")))?;
        Ok(pid)
    }

    pub(crate) fn address(&self, who: &str) -> Option<&str> {
        self.told(who, "address")
    }

    /// Returns something that a service said when it was ready.
    pub(crate) fn told(&self, who: &str, name: &str) -> Option<&str> {
        self.services.get(who)?.ready[name].as_str()
    }

    /// Returns who runs, with the words that each was started with.
    pub(crate) fn running(&self) -> Vec<(String, Vec<OsString>)> {
        let services = self.services.iter();
        services.map(|(who, service)| (who.clone(), service.args.clone())).collect()
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    pub(crate) fn pid(&self, who: &str) -> u32 {
        self.services.get(who).and_then(|service| service.child.id()).unwrap_or_default()
    }

    /// Stops a service in good order, and waits for it.
    pub(crate) async fn stop(&mut self, who: &str) {
        if let Some(mut service) = self.services.remove(who) {
            drop(service._stdin.take());
            let ended = tokio::time::timeout(Duration::from_secs(10), service.child.wait()).await;
            if ended.is_err() {
                let _ = service.child.kill().await;
            }
        }
    }

    /// Kills every service, and goes on as [`end`](Self::end): good order is nothing to a folder that is removed, and it takes
    /// seconds to tell good-bye to a buyer that was just killed.
    pub(crate) async fn end_at_once(mut self) -> Option<Failure> {
        if matches!(self.place, Place::Temporary(_)) {
            for service in self.services.values_mut() {
                drop(service.child.start_kill());
            }
            for mut service in std::mem::take(&mut self.services).into_values() {
                drop(service.child.wait().await);
            }
        }
        self.end().await
    }

    /// Stops every service in good order, waits for them, and removes the folder unless it is kept; returns why it could
    /// not be removed, keys and shards in it.
    pub(crate) async fn end(mut self) -> Option<Failure> {
        // Whom others still have something to tell goes last.
        let is_told = |who: &str| matches!(who, "broker" | "issuer");
        let names: Vec<String> = self.services.keys().cloned().collect();
        let (last, first): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|who| is_told(who));
        for round in [first, last] {
            for who in &round {
                if let Some(service) = self.services.get_mut(who) {
                    drop(service._stdin.take());
                }
            }
            for who in &round {
                self.stop(who).await;
            }
        }
        let Place::Temporary(folder) = self.place else { return None };
        let path = folder.keep();
        let error = remove(&path).err()?;
        let what = format!("cannot remove {}: {error}", path.display());
        Some(Failure::new(what).hint("keys and shards of the demo are in it: remove it yourself"))
    }
}

/// Removes a folder, also where the one that was backed up has folders that may not be written.
fn remove(folder: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{DirectoryNotEmpty, PermissionDenied};
    match std::fs::remove_dir_all(folder) {
        // Of a command that was just killed there may be a last file.
        Err(error) if matches!(error.kind(), PermissionDenied | DirectoryNotEmpty) => {
            open_up(folder)?;
            std::fs::remove_dir_all(folder)
        }
        done => done,
    }
}

/// Lets the owner of folders do with them as they like.
fn open_up(folder: &Path) -> std::io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut permissions = folder.symlink_metadata()?.permissions();
        permissions.set_mode(permissions.mode() | 0o700);
        std::fs::set_permissions(&folder, permissions)?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            // Not what a link leads to: that is somebody else's.
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}

fn json_lines(bytes: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(bytes)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root removes anything; who runs this may be somebody else.
    #[test]
    fn a_folder_that_may_not_be_written_is_removed() {
        let top = tempfile::tempdir().unwrap().keep();
        let elsewhere = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(elsewhere.path(), 0o555);
        let (read_only, closed) = (top.join("a/read-only"), top.join("a/closed"));
        for folder in [&read_only, &closed] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("file"), b"").unwrap();
        }
        std::os::unix::fs::symlink(elsewhere.path(), read_only.join("link")).unwrap();
        mode(&read_only, 0o555);
        mode(&closed, 0o000);
        open_up(&top).unwrap();
        let now = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((now(&read_only), now(&closed)), (0o755, 0o700));
        assert_eq!(now(elsewhere.path()), 0o555, "a link is not followed");
        mode(&read_only, 0o555);
        mode(&closed, 0o000);
        remove(&top).unwrap();
        assert!(!top.exists());
    }
}
