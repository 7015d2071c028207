//! A small market of real processes: an issuer, hosts and a buyer.
#![allow(dead_code, reason = "each test uses some of it")]

pub(crate) mod client;
mod noise;

pub(crate) use noise::Noise;

use crate::compare;
use crate::world::World;
use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_store::{KeyFile, read_key};
use serde_json::Value;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More often than any hold pays for reading everything.
const READS_MAX: usize = 40;

/// What reads everything.
pub(crate) const CHECK: [&str; 3] = ["backup", "check", "--read-data"];

/// The key in a home, which has no passphrase.
pub(crate) fn key_of(home: &Path) -> SecretKey {
    let KeyFile::Plain(key) = read_key(&home.join("key")).unwrap() else { panic!("it is sealed") };
    key
}

/// An issuer, some hosts, and a buyer with a hundred coins.
pub(crate) struct Market {
    pub(crate) world: World,
    pub(crate) hosts: Vec<String>,
    pub(crate) issuer: String,
    /// The folder to back up; empty at first.
    pub(crate) source: PathBuf,
}

pub(crate) async fn market(hosts: usize) -> Market {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_fondaco"));
    let mut world = World::new(program, false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", define).await.unwrap();
    let issuer = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let buyer = world.ask("buyer", ["init", "--no-passphrase", "--show-words"]).await.unwrap();
    let buyer = buyer["entity"].as_str().unwrap();
    world.ask("buyer", ["wallet", "add", &issuer]).await.unwrap();
    world.ask("issuer", ["issuer", "mint", "100", "--to", buyer]).await.unwrap();
    let mut names = Vec::new();
    for number in 0..hosts {
        let name = format!("host-{number}");
        world.ask(&name, ["init", "--no-passphrase"]).await.unwrap();
        world.ask(&name, ["wallet", "add", &issuer]).await.unwrap();
        let path = world.home(&name).join("shards");
        let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
        world.ask(&name, sell).await.unwrap();
        world.start(&name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
        names.push(name);
    }
    let source = world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    Market { world, hosts: names, issuer, source }
}

impl Market {
    /// The words that back the source up on all hosts, and `more`.
    pub(crate) fn create_args(&self, more: &[&str]) -> Vec<String> {
        let source = self.source.to_str().unwrap();
        let mut args: Vec<String> = ["backup", "create", source].map(str::to_owned).into();
        for host in &self.hosts {
            args.push("--host".to_owned());
            args.push(self.world.address(host).unwrap().to_owned());
        }
        args.extend(more.iter().map(|&word| word.to_owned()));
        args
    }

    /// Names another address in place of a host's.
    pub(crate) fn stand_in(&self, args: &mut [String], host: &str, other: &Address) {
        let address = self.world.address(host);
        for arg in args.iter_mut().filter(|arg| Some(arg.as_str()) == address) {
            *arg = other.to_string();
        }
    }

    /// Reads everything until holds end that; returns how often that went, and what was said when it did no more.
    pub(crate) async fn read_all_that_holds_pay(&self) -> (usize, Vec<Value>) {
        for reads in 0..READS_MAX {
            let lines = self.world.run_to_any("buyer", CHECK, &[0, 5]).await.unwrap();
            if lines.last().unwrap()["code"] == 5 {
                return (reads, lines);
            }
        }
        panic!("no hold is used up");
    }

    /// The words that name all hosts.
    pub(crate) fn hosts_named(&self) -> Vec<String> {
        let named =
            |host: &String| ["--host".to_owned(), self.world.address(host).unwrap().to_owned()];
        self.hosts.iter().flat_map(named).collect()
    }

    /// Audits, and sees that the command ends with the code of what its lines say of slots: 6 for silence; where something was not
    /// asked, its reason decides.
    pub(crate) async fn audit(&self, who: &str, args: &[&str]) -> Vec<Value> {
        let all = ["audit"].iter().chain(args);
        let lines = self.world.run_to_any(who, all, &[0, 5, 6]).await.unwrap();
        let has = |outcome: &str| {
            lines.iter().any(|line| line["outcome"] == outcome && line["slot"].is_number())
        };
        let code = lines.last().and_then(|line| line["code"].as_i64()).unwrap_or(0);
        if !has("unasked") {
            assert_eq!(code, if has("silent") { 6 } else { 0 }, "{lines:?}");
        }
        lines
    }

    /// Runs `fondaco backup …` as `who`; returns the lines it wrote.
    pub(crate) async fn backup(&self, who: &str, args: &[&str]) -> Vec<Value> {
        let args = ["backup"].iter().chain(args);
        self.world.run(who, args.copied()).await.unwrap()
    }

    /// Runs a command of `who` that does the same again and again, until so many rounds have come to look at how sets stand, and
    /// one more has; returns the lines it wrote.
    pub(crate) fn rounds(&self, who: &str, args: &[&str], rounds: usize) -> Vec<Value> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fondaco"))
            .arg("--home")
            .arg(self.world.home(who))
            .args(["--json", "--stop-with-stdin"])
            .args(args)
            .args(["--every-min", "1s"]) // nobody waits for minutes here
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut lines, mut seen) = (Vec::new(), 0);
        for line in std::io::BufReader::new(child.stdout.take().unwrap()).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            seen += usize::from(line["event"] == "health");
            lines.push(line);
            if seen > rounds {
                break;
            }
        }
        assert!(seen > rounds, "it ended before: {lines:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
        lines
    }

    /// Makes a home on a new machine, from words alone.
    pub(crate) fn init_from_words(&self, who: &str, words: &str) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fondaco"))
            .arg("--home")
            .arg(self.world.home(who))
            .args(["init", "--restore", "--no-passphrase"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Restores `latest` from the hosts alone, and compares.
    pub(crate) async fn restored_equals_the_source(&self, who: &str, to: &str) {
        let to = self.world.home(to);
        let path = to.to_str().unwrap();
        self.backup(who, &["restore", "latest", "--no-cache", "--to", path]).await;
        compare::compare(&self.source, &to, None).unwrap();
    }

    /// Adds one more host to the market, and returns its address.
    pub(crate) async fn fresh_host(&mut self, name: &str) -> String {
        self.world.ask(name, ["init", "--no-passphrase"]).await.unwrap();
        self.world.ask(name, ["wallet", "add", &self.issuer]).await.unwrap();
        let path = self.world.home(name).join("shards");
        let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
        self.world.ask(name, sell).await.unwrap();
        self.hosts.push(name.to_owned());
        self.world.start(name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap()
    }

    /// Starts a broker, and returns its address.
    pub(crate) async fn broker(&mut self, name: &str) -> String {
        self.world.ask(name, ["init", "--no-passphrase"]).await.unwrap();
        self.world.start(name, ["broker", "up", "--listen", "127.0.0.1:0"]).await.unwrap()
    }

    /// Has a host show its offer at a broker from now on; it stays where it is.
    pub(crate) async fn show_at(&mut self, host: &str, broker: &str) {
        let socket = self.world.address(host).unwrap().rsplit('@').next().unwrap().to_owned();
        self.world.stop(host).await;
        let path = self.world.home(host).join("shards");
        let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
        self.world.ask(host, [&sell[..], &["--broker", broker]].concat()).await.unwrap();
        let before = self.shown(broker).await;
        self.world.start(host, ["up", "--listen", &socket]).await.unwrap();
        let began = Instant::now();
        while self.shown(broker).await == before {
            assert!(began.elapsed() < Duration::from_secs(30), "{host} is not shown");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a broker shows so many offers.
    pub(crate) async fn are_shown(&self, broker: &str, offers: u64) {
        let began = Instant::now();
        while self.shown(broker).await < offers {
            assert!(began.elapsed() < Duration::from_secs(30), "they are not shown");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn shown(&self, broker: &str) -> u64 {
        let status = self.world.ask("buyer", ["broker", "status", broker]).await.unwrap();
        status["offers"].as_u64().unwrap()
    }

    /// The name of the host with an address that begins with an entity.
    pub(crate) fn host_of(&self, entity: &str) -> String {
        let is_it = |host: &&String| {
            self.world.address(host).is_some_and(|address| address.starts_with(entity))
        };
        self.hosts.iter().find(is_it).unwrap().clone()
    }

    /// Writes files of 4 MiB of noise to the source.
    pub(crate) fn write_noise(&self, files: u32) {
        let mut noise = Noise::new();
        for number in 0..files {
            std::fs::write(self.source.join(format!("noise-{number}")), noise.bytes(4 << 20))
                .unwrap();
        }
    }
}
