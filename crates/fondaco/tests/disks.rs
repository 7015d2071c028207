//! A host whose disk is full, keeps its reserve, or may not be written to: it says so, and nothing that was acknowledged is lost.
//!
//! The disk is a small one in memory, mounted where only the host sees it. Where no mounts of one's own can be had, this is skipped,
//! and says so.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const HOST: &str = "small";
const DEADLINE: Duration = Duration::from_secs(30);
/// Less than a host that is away is waited for.
const NOT_HELD_UP: Duration = Duration::from_secs(25);

/// Whether mounts of one's own can be had here; says so if not.
#[allow(clippy::print_stderr)] // what cannot be shown here is said
fn can_mount() -> bool {
    let can = Command::new("unshare").args(["-rm", "true"]).output();
    let can = can.is_ok_and(|can| can.status.success());
    if !can {
        eprintln!("SKIPPED: no mounts of its own can be had here (unshare -rm)");
    }
    can
}

/// A shell with mounts of its own, in which the host runs.
struct Machine {
    shell: Child,
    words: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    home: PathBuf,
}

impl Machine {
    /// Begins with a disk of so many bytes at the shards of the host.
    fn new(home: &Path, size: &str) -> Self {
        // It ends, and the host with it, when nobody speaks to it any more.
        let script = "up=; trap 'kill $up' EXIT
             while IFS= read -r line; do eval \"$line\" 2>&1; echo \"done $?\"; done";
        let fondaco = format!("{} --home {} --json", env!("CARGO_BIN_EXE_fondaco"), home.display());
        let mut shell = Command::new("unshare")
            .args(["-rm", "sh", "-uc", script])
            .env("F", fondaco)
            .env("H", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (words, said) = (shell.stdin.take(), shell.stdout.take().unwrap());
        let said = BufReader::new(said).lines();
        let mut machine = Self { shell, words, said, home: home.to_owned() };
        machine.run(&format!("mount -t tmpfs -o size={size} none $H/shards"));
        machine
    }

    /// Has the shell do something, and waits for it.
    fn run(&mut self, line: &str) {
        writeln!(self.words.as_mut().unwrap(), "{line}").unwrap();
        let mut all = Vec::new();
        for said in self.said.by_ref().map(Result::unwrap) {
            if said == "done 0" {
                return;
            }
            assert!(!said.starts_with("done "), "{line}: {all:?}");
            all.push(said);
        }
        panic!("{line}: the shell ended: {all:?}");
    }

    /// Starts the host, and returns its address.
    fn up(&mut self, listen: &str) -> String {
        let address = self.home.join("host/address");
        std::fs::remove_file(&address).ok();
        self.run(&format!("$F up --listen {listen} >$H/up.log 2>&1 & up=$!"));
        let began = Instant::now();
        loop {
            match std::fs::read_to_string(&address) {
                Ok(address) if !address.is_empty() => return address.trim().to_owned(),
                _ => assert!(began.elapsed() < DEADLINE, "{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn down(&mut self) {
        self.run("kill $up; wait $up || :");
    }

    /// What the host said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("up.log")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.words = None;
        let _ = self.shell.wait();
    }
}

/// A market, and in it a host that is cheaper than all others, with a disk of its own.
async fn with_small_host(size: &str, reserve: &str) -> (Market, Machine, String) {
    let market = market(4).await;
    let world = &market.world;
    world.ask(HOST, ["init", "--no-passphrase"]).await.unwrap();
    world.ask(HOST, ["wallet", "add", &market.issuer]).await.unwrap();
    let home = world.home(HOST);
    let path = home.join("shards");
    let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
    let cheap = ["--open", "0.0001", "--store", "0.001", "--write", "0.001", "--read", "0.001"];
    let sell = [&sell[..], &cheap, &["--reserve", reserve]].concat();
    world.ask(HOST, sell).await.unwrap();
    let mut machine = Machine::new(&home, size);
    let address = machine.up("127.0.0.1:0");
    (market, machine, address)
}

/// Backs up with the small host among the hosts; returns what was said.
async fn back_up(market: &Market, small: &str) -> Vec<Value> {
    let args = market.create_args(&["--host", small]);
    market.world.run("buyer", args).await.unwrap()
}

/// Whether the buyer is told that the small host refused, and why, and that the backup goes on.
fn is_told(said: &[Value], small: &str, why: &str) -> bool {
    let is_it = |line: &Value| {
        let what = line["what"].as_str().unwrap_or_default();
        what.contains(&small[..11]) && what.contains(why) && what.contains("going on")
    };
    said.iter().any(is_it) && said.iter().any(|line| line["event"] == "backup")
}

/// The status of the small host, once it is as wanted.
async fn status(market: &Market, wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let status = market.world.ask(HOST, ["status"]).await.unwrap();
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < DEADLINE, "{status}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What an audit showed of the small host.
async fn audited(market: &Market, small: &str) -> Vec<String> {
    let lines = market.audit("buyer", &[]).await;
    let of_small = lines.iter().filter(|line| {
        line["provider"].as_str().is_some_and(|provider| small.starts_with(provider))
    });
    of_small.map(|line| line["outcome"].as_str().unwrap().to_owned()).collect()
}

/// Others fill the disk: the host sells no more, refuses by name what it sold and has no room for, keeps what it has, and the
/// backup goes to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_room_says_so_and_loses_nothing() {
    if !can_mount() {
        return;
    }
    // What becomes of the disk, what is to stay free, and the reason, which the buyer is told in words.
    let table = [
        ("3m", "1", "DiskFull", "the provider's disk is full"),
        ("64m", "61M", "Reserve", "of which 61.0 MiB are to stay free"),
    ];
    for (size, reserve, reason, told) in table {
        let (market, mut machine, small) = with_small_host("256m", reserve).await;
        std::fs::write(market.source.join("note"), b"dear").unwrap();
        back_up(&market, &small).await;
        let told_free = |status: &Value| status["contracts"]["free"].as_u64();
        let free = status(&market, |status| status["contracts"]["open"] == 1).await;
        let limited = told_free(&free).is_some_and(|free| 0 < free && free < 256 << 20);
        assert!(limited, "of 1 GiB on a disk of 256 MiB: {free}");
        machine.run(&format!("mount -o remount,size={size} $H/shards"));
        status(&market, |status| told_free(status) == Some(0)).await;
        market.write_noise(2);
        let began = Instant::now();
        let said = back_up(&market, &small).await;
        assert!(is_told(&said, &small, told), "{said:#?}");
        assert!(began.elapsed() < NOT_HELD_UP, "it went to others after {:?}", began.elapsed());
        let refusing = status(&market, |status| status["refused"][reason] != Value::Null).await;
        assert_ne!(refusing["served"]["puts"], 0, "it took what there was room for: {refusing}");
        assert_eq!(refusing["disk"]["shards_lost"], 0, "{refusing}");
        market.restored_equals_the_source("buyer", "restored").await;
        // What it took before, it keeps, and can prove.
        assert_eq!(audited(&market, &small).await, ["proven"]);
        let grow = "mount -o remount,size=256m $H/shards";
        machine.run(grow);
        std::fs::write(market.source.join("letter"), b"dear all").unwrap();
        back_up(&market, &small).await;
        market.restored_equals_the_source("buyer", "restored-again").await;
        assert_eq!(audited(&market, &small).await, ["proven"]);
        market.world.end().await;
    }
}

/// A disk that may not be written to any more: what is on it is served, nothing new is taken, and both are said.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_read_only_disk_serves_on() {
    if !can_mount() {
        return;
    }
    let (market, mut machine, small) = with_small_host("256m", "1M").await;
    market.write_noise(1);
    back_up(&market, &small).await;
    let socket = small.rsplit('@').next().unwrap().to_owned();
    machine.down();
    machine.run("mount -o remount,ro $H/shards");
    machine.up(&socket);
    assert_eq!(audited(&market, &small).await, ["proven"]);
    market.restored_equals_the_source("buyer", "restored").await;
    market.write_noise(2);
    let said = back_up(&market, &small).await;
    let refusing = status(&market, |status| status["refused"]["ReadOnly"] != Value::Null).await;
    assert!(is_told(&said, &small, "disk cannot be written to"), "{said:#?}");
    assert_eq!(refusing["disk"]["shards_lost"], 0, "{refusing}");
    assert!(machine.log().contains("nothing new is taken"), "{}", machine.log());
    market.restored_equals_the_source("buyer", "restored-again").await;
    assert_eq!(audited(&market, &small).await, ["proven"]);
    market.world.end().await;
}

/// Where no file system can be mounted, `mount` says what it needs, and what needs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_fuse_is_told_what_mount_needs() {
    if !can_mount() {
        return;
    }
    let market = market(3).await;
    std::fs::write(market.source.join("letter"), b"dear all").unwrap();
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let to = market.world.home("mounted");
    std::fs::create_dir(&to).unwrap();
    // Over the device, if there is one, lies a file that is none.
    let script = "[ -e /dev/fuse ] && mount --bind /dev/null /dev/fuse; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-uc", script, "sh", env!("CARGO_BIN_EXE_fondaco"), "--home"]);
    command.arg(market.world.home("buyer")).args(["backup", "mount", "latest", "--no-cache"]);
    let output = command.arg(&to).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("mount on") && said.contains("Hint:"), "{said}");
    assert!(said.contains("/dev/fuse") && said.contains("`restore`"), "{said}");
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0);
    market.world.end().await;
}
