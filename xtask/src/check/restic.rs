//! Debian's restic, which nobody here wrote, keeps a repository in a market of five hosts by way of a gateway.
//!
//! Issuer, hosts and gateways are the command, each a process of its own with a home below `target/check/restic`. What
//! restic brings back is compared byte for byte with the sample folder that the demo's step uses too.
//!
//! ```text
//! init ─► backup, check, restore ─► the same again ─► another, forget --prune, check ─► wrong token
//!      ─► append-only: backup yes, forget no ─► what `fondaco backup` made ─► a host is killed, restore
//!      ─► a relative path, which `fondaco backup` restores
//! ```

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Done, demo};
use crate::{
    shell::{self, Failed},
    workspace::Workspace,
};

/// How many hosts there are.
const HOSTS: usize = 5;
/// What a gateway is told of the market, beside its hosts.
const WISH: [&str; 4] = ["--size", "100M", "--budget", "50"];
/// How long one command of restic may take; at the end it is interrupted, and cleans up.
const RESTIC_TIMEOUT: &str = "timeout --signal INT 120";
/// How long restic may try again what it is refused.
const REFUSED_TIMEOUT: &str = "timeout --signal INT 10";
/// The password of the repository that restic makes.
const PASSWORD: &str = "restic's own";
/// How much the file has that comes and goes.
const PASSING_BYTES: usize = 4 << 20;

/// How long hosts may take to remove what they have signed to be deleted.
const DELETION_PATIENCE: Duration = Duration::from_secs(60);

/// Plays the whole story.
pub(super) fn step(workspace: &Workspace) -> Result<Done, Failed> {
    let Some(program) = demo::program(workspace)? else { return Ok(super::not_yet()) };
    if let Err(why) = restic_is_here() {
        return Ok(Done::Skipped { why });
    }
    let sample = demo::sample(workspace)?;
    let folder = workspace.target.join("check").join("restic");
    let mut market = Market::start(program, folder)?;
    let gateway = ["gateway", "restic", "--listen", "127.0.0.1:0"];
    let hosts = market.hosts();
    let with_hosts = |words: &[&str]| -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).chain(hosts.clone()).collect()
    };

    market.up("buyer", &with_hosts(&[&gateway[..], &WISH[..]].concat()))?;
    let restic = Restic::new(&market, "buyer", &sample);
    fs::write(&restic.password_file, PASSWORD).map_err(|error| io("the password", &error))?;
    restic.run(&["init"])?;
    restic.run(&["backup", "sample"])?;
    expect(restic.snapshots()? == 1, "there is one snapshot")?;
    restic.run(&["check", "--read-data"])?;
    restic.restore("first")?;
    let again = restic.run(&["backup", "sample", "--json"])?;
    expect(is_unchanged(&again), "a second backup of the same finds nothing new")?;

    let passing = sample.join("passing");
    fs::write(&passing, passing_bytes()).map_err(|error| io("a file that passes", &error))?;
    restic.run(&["backup", "sample"])?;
    fs::remove_file(&passing).map_err(|error| io("a file that passes", &error))?;
    restic.run(&["backup", "sample"])?;
    expect(restic.snapshots()? == 4, "there are four snapshots")?;
    let (before, kept_before) = (restic.stored()?, market.kept());
    restic.run(&["forget", "--keep-last", "1", "--prune"])?;
    let after = restic.stored()?;
    expect(before >= after + PASSING_BYTES as u64, "what is forgotten is pruned")?;
    // Hosts remove files behind what they have signed, one after the other.
    let is_deleted = || kept_before >= market.kept() + PASSING_BYTES as u64;
    let began = Instant::now();
    while !is_deleted() && began.elapsed() < DELETION_PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    expect(is_deleted(), "the hosts delete what is pruned")?;
    restic.run(&["check", "--read-data"])?;
    restic.restore("pruned")?;
    restic.is_refused_with_another_token()?;
    expect(restic.run(&["list", "locks", "--no-lock"])?.is_empty(), "no lock is left")?;

    market.stop("buyer");
    market.up("buyer", &with_hosts(&[&gateway[..], &["--append-only"]].concat()))?;
    restic.run(&["backup", "sample"])?;
    let refused = restic.output(REFUSED_TIMEOUT, &["forget", "--keep-last", "1"], None)?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    expect(!refused.status.success() && why.contains("403"), "append-only refuses `forget`")?;
    restic.run(&["unlock", "--remove-all"])?;
    expect(restic.snapshots()? == 2, "both snapshots are there")?;
    market.stop("buyer");

    market.run("other", &with_hosts(&["backup", "create", &sample.to_string_lossy()]))?;
    let other = Restic::new(&market, "other", &sample);
    let password = other.password_file.to_string_lossy().into_owned();
    market.up("other", &with_hosts(&[&gateway[..], &["--password-file", &password]].concat()))?;
    expect(other.snapshots()? == 1, "restic sees what `fondaco backup` made")?;
    other.run(&["check", "--read-data"])?;
    // Of a path from where it stands restic notes the whole path, and stores what lies there under that path alone.
    other.run(&["backup", "sample/nested"])?;
    market.kill("host-1");
    other.restore_all("other")?;
    market.stop("other");

    let restore = |inside: &[&str], to: &str| {
        let to = market.folder.join(to);
        let words = [&["backup", "restore", "latest"], inside, &["--to", &to.to_string_lossy()]];
        market.run("other", &words.concat()).map(|_| to)
    };
    let nested = restore(&[], "nested")?;
    same(&sample.join("nested"), &nested.join("sample/nested"))?;
    let part = restore(&["sample/nested/a"], "part")?;
    same(&sample.join("nested/a"), &part)?;
    Ok(Done::Passed)
}

/// Whether restic can be run; it is installed if it is not there and can be.
pub(crate) fn restic_is_here() -> Result<(), String> {
    let version = || shell::output(shell::command("restic version"));
    if version().is_err() {
        let install = "apt-get install --yes --no-install-recommends restic";
        shell::run(shell::command(install)).map_err(|failed| failed.to_string())?;
    }
    let version = version().map_err(|failed| failed.to_string())?;
    println!("    {}", version.trim());
    Ok(())
}

/// Bytes that neither compress nor repeat (xorshift64, Marsaglia 2003).
fn passing_bytes() -> Vec<u8> {
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..PASSING_BYTES / 8).flat_map(|_| next()).collect()
}

/// Whether restic says that it stored no new file.
fn is_unchanged(said: &str) -> bool {
    let last = said.lines().next_back().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let summary = last.unwrap_or_default();
    let is_zero = |name: &str| summary[name].as_u64() == Some(0);
    summary["message_type"] == "summary"
        && ["files_new", "files_changed", "data_blobs"].into_iter().all(is_zero)
}

fn expect(holds: bool, what: &str) -> Result<(), Failed> {
    println!("    {what}: {}", if holds { "yes" } else { "no" });
    let failed =
        || Failed { command: "restic".to_owned(), why: format!("showed that not: {what}") };
    holds.then_some(()).ok_or_else(failed)
}

fn io(what: &str, error: &std::io::Error) -> Failed {
    Failed { command: format!("write {what}"), why: error.to_string() }
}

/// An issuer, its hosts, and two buyers. Everything ends when it is dropped.
struct Market {
    program: PathBuf,
    folder: PathBuf,
    services: Vec<Service>,
}

struct Service {
    who: String,
    child: Child,
    ready: Value,
}

impl Market {
    /// Starts the issuer and the hosts; the buyers `buyer` and `other` get an allowance.
    fn start(program: PathBuf, folder: PathBuf) -> Result<Self, Failed> {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| io("the market's folder", &error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| io("the market's folder", &error))?;
        let mut market = Self { program, folder, services: Vec::new() };
        market.run("issuer", &["init", "--no-passphrase"])?;
        let define = ["issuer", "init", "--name", "Crown", "--symbol", "CRN", "--scale", "6"];
        market.run("issuer", &define)?;
        let issuer = market.up("issuer", &["issuer", "up", "--listen", "127.0.0.1:0"])?;
        for number in 1..=HOSTS {
            let host = format!("host-{number}");
            let shards = market.folder.join(&host).join("shards");
            market.run(&host, &["init", "--no-passphrase"])?;
            market.run(&host, &["wallet", "add", &issuer])?;
            let path = shards.to_string_lossy();
            market.run(&host, &["sell", "storage", "--path", &path, "--size", "1G"])?;
            market.up(&host, &["up", "--listen", "127.0.0.1:0"])?;
        }
        for buyer in ["buyer", "other"] {
            let said = market.run(buyer, &["init", "--no-passphrase"])?;
            let entity = said["entity"].as_str().unwrap_or_default().to_owned();
            market.run(buyer, &["wallet", "add", &issuer])?;
            market.run("issuer", &["issuer", "mint", "100", "--to", &entity])?;
        }
        Ok(market)
    }

    fn command<S: AsRef<std::ffi::OsStr>>(&self, who: &str, words: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--json", "--home"]).arg(self.folder.join(who)).args(words);
        command
    }

    /// Runs a command of `who` to its end; returns the last line that it wrote.
    fn run<S: AsRef<std::ffi::OsStr>>(&self, who: &str, words: &[S]) -> Result<Value, Failed> {
        let said = shell::output(self.command(who, words))?;
        let last = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
        Ok(last.unwrap_or_default())
    }

    /// Starts a service of `who` and waits until it is ready; returns its address.
    fn up<S: AsRef<std::ffi::OsStr>>(&mut self, who: &str, words: &[S]) -> Result<String, Failed> {
        let mut command = self.command(who, words);
        command.arg("--stop-with-stdin").stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |why: String| Failed { command: format!("fondaco, as {who}"), why };
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let stdout = child.stdout.take().map(BufReader::new);
        let mut service = Service { who: who.to_owned(), child, ready: Value::Null };
        let mut told = String::new();
        for line in stdout.into_iter().flat_map(BufReader::lines).map_while(Result::ok) {
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            told = line;
            if said["event"] == "ready" {
                service.ready = said;
                break;
            }
        }
        let address = service.ready["address"].as_str().map(str::to_owned);
        self.services.push(service);
        address.ok_or_else(|| failed(format!("was not ready: {told}")))
    }

    /// The hosts' addresses, as arguments.
    fn hosts(&self) -> Vec<String> {
        let hosts = self.services.iter().filter(|service| service.who.starts_with("host-"));
        let address =
            |host: &Service| host.ready["address"].as_str().unwrap_or_default().to_owned();
        hosts.flat_map(|host| ["--host".to_owned(), address(host)]).collect()
    }

    /// How many bytes the hosts keep on their disks.
    fn kept(&self) -> u64 {
        let hosts = (1..=HOSTS).map(|number| self.folder.join(format!("host-{number}/shards")));
        hosts.map(|path| bytes_in(&path)).sum()
    }

    /// Stops a service in good order.
    fn stop(&mut self, who: &str) {
        for mut service in self.services.extract_if(.., |service| service.who == who) {
            drop(service.child.stdin.take());
            let _ = service.child.wait();
        }
    }

    /// Kills a service.
    fn kill(&mut self, who: &str) {
        self.services.retain(|service| service.who != who);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is to be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytes_in(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::metadata(path).map(|file| file.len()).unwrap_or_default();
    };
    let below = entries.flatten().map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
        _ => entry.metadata().map(|file| file.len()).unwrap_or_default(),
    });
    below.sum()
}

/// Compares two folders byte for byte.
fn same(one: &Path, other: &Path) -> Result<(), Failed> {
    let mut diff = shell::command("diff --recursive --no-dereference");
    diff.arg(one).arg(other);
    shell::run(diff).map(|_| ())
}

/// restic, with the repository that the gateway of a buyer serves.
struct Restic {
    folder: PathBuf,
    sample: PathBuf,
    repository: PathBuf,
    password_file: PathBuf,
}

impl Restic {
    fn new(market: &Market, who: &str, sample: &Path) -> Self {
        let folder = market.folder.clone();
        let repository = folder.join(who).join("gateway/repository");
        let password_file = folder.join(format!("{who}.password"));
        Self { folder, sample: sample.to_owned(), repository, password_file }
    }

    /// Runs a command of restic, at `url` or where the gateway says that its repository is.
    fn output(&self, within: &str, words: &[&str], url: Option<&str>) -> Result<Output, Failed> {
        let mut command = shell::command(within);
        command.arg("restic").args(words).env("RESTIC_PASSWORD_FILE", &self.password_file);
        command.env("RESTIC_CACHE_DIR", self.folder.join("cache")).env("RESTIC_PROGRESS_FPS", "0");
        match url {
            None => command.env("RESTIC_REPOSITORY_FILE", &self.repository),
            Some(url) => command.env("RESTIC_REPOSITORY", url),
        };
        // So that the sample's path in a snapshot is `sample`.
        command.current_dir(self.sample.parent().unwrap_or(Path::new("/")));
        println!("    restic {}", words.join(" "));
        let failed = |error: std::io::Error| Failed {
            command: format!("restic {}", words.join(" ")),
            why: error.to_string(),
        };
        command.stdin(Stdio::null()).output().map_err(failed)
    }

    /// Runs a command of restic that is to succeed; returns what it said.
    fn run(&self, words: &[&str]) -> Result<String, Failed> {
        let output = self.output(RESTIC_TIMEOUT, words, None)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let _ = std::io::stderr().write_all(&output.stderr);
        Err(Failed {
            command: format!("restic {}", words.join(" ")),
            why: output.status.to_string(),
        })
    }

    /// How many snapshots there are.
    fn snapshots(&self) -> Result<usize, Failed> {
        let said = self.run(&["snapshots", "--json"])?;
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        Ok(said.as_array().map(Vec::len).unwrap_or_default())
    }

    /// How many bytes all blobs have, as stored.
    fn stored(&self) -> Result<u64, Failed> {
        let said = self.run(&["stats", "--mode", "raw-data", "--json"])?;
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        Ok(said["total_size"].as_u64().unwrap_or_default())
    }

    /// Restores the latest snapshot and compares it with the sample, which it has as `sample`.
    fn restore(&self, to: &str) -> Result<(), Failed> {
        let to = self.folder.join(to);
        self.run(&["restore", "latest", "--target", &to.to_string_lossy()])?;
        self.compare(&to.join("sample"))
    }

    /// The same for a snapshot that has it under its whole path.
    fn restore_all(&self, to: &str) -> Result<(), Failed> {
        let (to, sample) = (self.folder.join(to), self.sample.to_string_lossy());
        let latest = ["restore", "latest", "--path", &sample];
        self.run(&[&latest[..], &["--target", &to.to_string_lossy()]].concat())?;
        let below = self.sample.strip_prefix("/").unwrap_or(&self.sample);
        self.compare(&to.join(below))
    }

    fn compare(&self, restored: &Path) -> Result<(), Failed> {
        same(&self.sample, restored)
    }

    /// Shows another token, and is refused.
    fn is_refused_with_another_token(&self) -> Result<(), Failed> {
        let url = fs::read_to_string(&self.repository).map_err(|error| io("the URL", &error))?;
        let (front, rest) = url.trim().split_once('@').unwrap_or_default();
        let user = front.rsplit_once(':').map(|(user, _)| user).unwrap_or_default();
        let other = format!("{user}:{}@{rest}", "0".repeat(32));
        let refused = self.output(REFUSED_TIMEOUT, &["snapshots"], Some(&other))?;
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        expect(!refused.status.success() && why.contains("401"), "another token is refused")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_that_stored_something_is_not_unchanged() {
        let said = |new, changed, blobs| {
            format!(
                "{{\"message_type\":\"status\"}}\n{{\"message_type\":\"summary\",\"files_new\":{new},\
                 \"files_changed\":{changed},\"data_blobs\":{blobs}}}\n"
            )
        };
        assert!(is_unchanged(&said(0, 0, 0)));
        for other in [said(1, 0, 0), said(0, 1, 0), said(0, 0, 1), String::new(), "{}".to_owned()] {
            assert!(!is_unchanged(&other), "{other}");
        }
    }

    #[test]
    fn what_passes_does_not_repeat() {
        let bytes = passing_bytes();
        assert_eq!(bytes.len(), PASSING_BYTES);
        assert_ne!(bytes[..4096], bytes[4096..8192]);
    }
}
