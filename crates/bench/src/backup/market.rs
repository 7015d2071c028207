//! A market of real processes: an issuer, hosts and a buyer, each the command `fondaco` with a home of its own.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    leftovers::Started,
    processes::{self, Used},
};

/// What each host sells: far more than is stored here.
const SIZE: &str = "8G";
const ALLOWANCE: &str = "10000";
/// Services rest when they take less than this in [`LOOK`], in seconds of CPU.
const REST: f64 = 0.015;
const LOOK: Duration = Duration::from_millis(300);
const LOOKS_MAX: usize = 50;

/// An issuer and hosts that run, and a buyer with money; the services end with this value.
pub(super) struct Market {
    program: PathBuf,
    folder: PathBuf,
    issuer: Option<Service>,
    hosts: Vec<Service>,
}

struct Service {
    process: Started,
    address: String,
}

/// What the services took of the processors so far, in seconds.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) hosts: f64,
    pub(super) issuer: f64,
}

/// The most memory that services had in use so far, in bytes.
#[derive(Clone, Copy)]
pub(super) struct Peaks {
    /// Of the host that had most.
    pub(super) host: f64,
    pub(super) hosts: f64,
    pub(super) issuer: f64,
}

/// How many bytes of shards the buyer has sent and read so far, as its bills say.
#[derive(Clone, Copy)]
pub(super) struct Moved {
    pub(super) written: u64,
    pub(super) read: u64,
}

/// The command, where the build puts it beside this program.
pub(super) fn program() -> Option<PathBuf> {
    let program = env::current_exe().expect("a program has a path").with_file_name("fondaco");
    program.is_file().then_some(program)
}

impl Market {
    /// Starts so many hosts in this folder, each dearer than the one before.
    pub(super) fn start(program: PathBuf, folder: &Path, hosts: usize) -> Self {
        let mut market = Self { program, folder: folder.to_owned(), issuer: None, hosts: vec![] };
        market.ask("issuer", &["init", "--no-passphrase"]);
        let define = ["issuer", "init", "--name", "Crown", "--symbol", "CRN", "--scale", "6"];
        market.ask("issuer", &define);
        let issuer = market.up("issuer", &["issuer", "up", "--listen", "127.0.0.1:0"]);
        let at = issuer.address.clone();
        market.issuer = Some(issuer);
        for number in 1..=hosts {
            let host = format!("host-{number}");
            market.ask(&host, &["init", "--no-passphrase"]);
            market.ask(&host, &["wallet", "add", &at]);
            let path = market.folder.join(&host).join("shards");
            let store = format!("0.{:06}", 20_000 + 2_000 * (number - 1));
            let path = path.to_string_lossy();
            let sell = ["sell", "storage", "--path", &path, "--size", SIZE, "--store", &store];
            market.ask(&host, &sell);
            let host = market.up(&host, &["up", "--listen", "127.0.0.1:0"]);
            market.hosts.push(host);
        }
        let buyer = market.ask("buyer", &["init", "--no-passphrase"]);
        let buyer = buyer[0]["entity"].as_str().expect("its name").to_owned();
        market.ask("buyer", &["wallet", "add", &at]);
        market.ask("issuer", &["issuer", "mint", ALLOWANCE, "--to", &buyer]);
        market
    }

    /// The hosts' addresses, as arguments.
    pub(super) fn hosts(&self) -> Vec<&str> {
        self.hosts.iter().flat_map(|host| ["--host", &host.address]).collect()
    }

    fn command(&self, who: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--json", "--home"]).arg(self.folder.join(who)).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command of the buyer to its end; the lines that it wrote, and what it took.
    pub(super) fn buy(&self, words: &[&str]) -> (Vec<Value>, Used) {
        self.run("buyer", words)
    }

    fn ask(&self, who: &str, words: &[&str]) -> Vec<Value> {
        self.run(who, words).0
    }

    fn run(&self, who: &str, words: &[&str]) -> (Vec<Value>, Used) {
        let path = self.folder.join("said");
        let file = fs::File::create(&path).expect("a file that can be made");
        let (status, used) = processes::run(self.command(who, words).stdout(file));
        let said = fs::read_to_string(&path).expect("what it said");
        assert!(status.success(), "{who}, fondaco {}: {status}: {said}", words.join(" "));
        (said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect(), used)
    }

    /// Starts a service of `who`, and waits until it is ready.
    fn up(&self, who: &str, words: &[&str]) -> Service {
        let mut command = self.command(who, words);
        command.arg("--stop-with-stdin").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Started::new(command.spawn().expect("it starts"), Signal::TERM);
        let stdout = process.child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines.by_ref().find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            (line["event"] == "ready").then(|| line["address"].as_str().map(str::to_owned))?
        });
        // Nobody reads on: without this a service that has much to say would stop at a full pipe.
        thread::spawn(move || lines.for_each(drop));
        Service { process, address: address.unwrap_or_else(|| panic!("{who} is not ready")) }
    }

    /// Waits until the services have done what is left to them, and returns what they took so far.
    pub(super) fn rested(&self) -> Taken {
        let mut before = self.taken();
        for _ in 0..LOOKS_MAX {
            thread::sleep(LOOK);
            let now = self.taken();
            if now.hosts + now.issuer - before.hosts - before.issuer < REST {
                return now;
            }
            before = now;
        }
        before
    }

    fn taken(&self) -> Taken {
        let of = |service: &Service| processes::cpu_seconds(service.process.child.id());
        Taken { hosts: self.hosts.iter().map(of).sum(), issuer: self.issuer.iter().map(of).sum() }
    }

    pub(super) fn peaks(&self) -> Peaks {
        let of =
            |service: &Service| processes::memory_of(&service.process.child.id().to_string()).1;
        Peaks {
            host: self.hosts.iter().map(of).fold(0.0, f64::max),
            hosts: self.hosts.iter().map(of).sum(),
            issuer: self.issuer.iter().map(of).sum(),
        }
    }

    pub(super) fn moved(&self) -> Moved {
        let lines = self.ask("buyer", &["contracts", "list"]);
        let sum = |name: &str| lines.iter().filter_map(|line| line[name].as_u64()).sum();
        Moved { written: sum("written"), read: sum("read") }
    }
}
