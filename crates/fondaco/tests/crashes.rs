//! Kill real processes with SIGKILL in the middle of real work, and look that nothing is lost or paid twice.

#[path = "market/noise.rs"]
mod noise;
mod parts;

use noise::Noise;
use parts::{compare, failure, world};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use world::World;

const HOSTS: usize = 5;
/// Some packs of 32 MiB, so that there is a middle to be killed in.
const SOURCE_BYTES: usize = 80 << 20;

struct Market {
    world: World,
    hosts: Vec<String>,
    issuer: String,
    source: PathBuf,
}

async fn market() -> Market {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_fondaco"));
    let mut world = World::new(program, false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", define).await.unwrap();
    let issuer = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let buyer = world.ask("buyer", ["init", "--no-passphrase"]).await.unwrap();
    let buyer = buyer["entity"].as_str().unwrap();
    world.ask("buyer", ["wallet", "add", &issuer]).await.unwrap();
    world.ask("issuer", ["issuer", "mint", "100", "--to", buyer]).await.unwrap();
    let mut hosts = Vec::new();
    for number in 0..HOSTS {
        let name = format!("host-{number}");
        world.ask(&name, ["init", "--no-passphrase"]).await.unwrap();
        world.ask(&name, ["wallet", "add", &issuer]).await.unwrap();
        let path = world.home(&name).join("shards");
        let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
        world.ask(&name, sell).await.unwrap();
        world.start(&name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
        hosts.push(name);
    }
    let source = world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    // Files of 8 MiB that neither compress nor repeat.
    let mut noise = Noise::new();
    for number in 0..SOURCE_BYTES >> 23 {
        let bytes = noise.bytes(8 << 20);
        std::fs::write(source.join(format!("file-{number}")), bytes).unwrap();
    }
    Market { world, hosts, issuer, source }
}

impl Market {
    fn backup_args(&self) -> Vec<String> {
        let source = self.source.to_str().unwrap();
        let mut args = vec!["backup".to_owned(), "create".to_owned(), source.to_owned()];
        for host in &self.hosts {
            args.push("--host".to_owned());
            args.push(self.world.address(host).unwrap().to_owned());
        }
        args
    }

    /// Starts a backup that can be killed.
    fn begin_backup(&self) -> Child {
        Command::new(env!("CARGO_BIN_EXE_fondaco"))
            .arg("--home")
            .arg(self.world.home("buyer"))
            .arg("--json")
            .args(self.backup_args())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap()
    }

    /// Waits until so many bytes of shards are on the disk of a host.
    fn wait_for_shards(&self, bytes: u64) {
        let folder = self.world.home(&self.hosts[0]).join("shards");
        let began = Instant::now();
        while size(&folder) < bytes {
            assert!(began.elapsed() < Duration::from_secs(120), "no shards appeared");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Adds up what all hosts say was written to them.
    async fn written(&self) -> u64 {
        let lines = self.world.run("buyer", ["contracts", "list"]).await.unwrap();
        lines.iter().map(|line| line["written"].as_u64().unwrap()).sum()
    }

    async fn restored_equals_the_source(&self) {
        let to = self.world.home("restored");
        let args = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
        self.world.ask("buyer", args).await.unwrap();
        compare::compare(&self.source, &to, None).unwrap();
    }

    /// Ends all contracts, and adds up every book: nothing was made, lost, or left held.
    async fn settled(mut self) {
        self.world.run("buyer", ["contracts", "end", "--yes"]).await.unwrap();
        let mut sum = 0.0;
        for who in self.hosts.iter().map(String::as_str).chain(["buyer"]) {
            let line = self.world.ask(who, ["balance"]).await.unwrap();
            assert_eq!(line["held"], "0.000000", "{who}");
            sum += line["available"].as_str().unwrap().parse::<f64>().unwrap();
        }
        assert!((sum - 100.0).abs() < 1e-9, "{sum}");
        self.world.stop("issuer").await;
        let audit = self.world.ask("issuer", ["issuer", "audit"]).await.unwrap();
        assert_eq!(audit["balanced"], Value::Bool(true));
        self.world.end().await;
    }
}

fn size(folder: &Path) -> u64 {
    std::fs::read_dir(folder).map_or(0, |entries| {
        entries
            .flatten()
            .map(|entry| match entry.file_type() {
                Ok(kind) if kind.is_dir() => size(&entry.path()),
                _ => entry.metadata().map_or(0, |data| data.len()),
            })
            .sum()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_killed_in_the_middle_of_a_backup() {
    let mut market = market().await;
    let mut backup = market.begin_backup();
    market.wait_for_shards(4 << 20);
    market.world.kill("issuer").await.unwrap();
    let socket = market.issuer.rsplit('@').next().unwrap().to_owned();
    tokio::time::sleep(Duration::from_millis(300)).await;
    market.world.start("issuer", ["issuer", "up", "--listen", &socket]).await.unwrap();
    assert!(tokio::task::spawn_blocking(move || backup.wait()).await.unwrap().unwrap().success());
    market.restored_equals_the_source().await;
    market.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_killed_while_contracts_are_opened() {
    let mut market = market().await;
    let socket = market.issuer.rsplit('@').next().unwrap().to_owned();
    market.world.kill("issuer").await.unwrap();
    let mut backup = market.begin_backup();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    market.world.start("issuer", ["issuer", "up", "--listen", &socket]).await.unwrap();
    assert!(tokio::task::spawn_blocking(move || backup.wait()).await.unwrap().unwrap().success());
    market.restored_equals_the_source().await;
    market.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_is_killed_in_the_middle_of_a_backup() {
    // What one undisturbed backup writes.
    let calm = market().await;
    calm.world.run("buyer", calm.backup_args()).await.unwrap();
    let calm_written = calm.written().await;
    calm.settled().await;

    let market = market().await;
    let mut backup = market.begin_backup();
    // Two packs of three: each leaves half of its 32 MiB with each host (2 of 5).
    market.wait_for_shards(34 << 20);
    backup.kill().unwrap();
    backup.wait().unwrap();
    market.world.run("buyer", market.backup_args()).await.unwrap();
    let written = market.written().await;
    // The pack that was under way goes again, under another name; what was stored before does not.
    // Without resuming, all that was sent before the kill would be sent and paid for again.
    let pack = (16 << 20) * HOSTS as u64;
    let sent_before = (34 << 20) * HOSTS as u64;
    assert!(sent_before > 2 * pack, "the bound must tell the two apart");
    assert!(
        written <= calm_written + pack + pack / 5,
        "{written} bytes were written, {calm_written} without the kill"
    );
    market.restored_equals_the_source().await;
    market.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_killed_in_the_middle_of_a_backup_and_comes_back() {
    let mut market = market().await;
    let mut backup = market.begin_backup();
    market.wait_for_shards(4 << 20);
    let name = market.hosts[1].clone();
    let socket = market.world.address(&name).unwrap().rsplit('@').next().unwrap().to_owned();
    market.world.kill(&name).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    market.world.start(&name, ["up", "--listen", &socket]).await.unwrap();
    assert!(tokio::task::spawn_blocking(move || backup.wait()).await.unwrap().unwrap().success());
    market.restored_equals_the_source().await;
    market.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_hosts_are_named() {
    let market = market().await;
    let mut args = market.backup_args();
    args.extend(["--survive".to_owned(), "0.9999999999".to_owned()]);
    let failure = market.world.run("buyer", &args).await.unwrap_err().to_string();
    assert!(failure.contains("0.9999999999") && failure.contains("Hint:"), "{failure}");
    assert!(failure.contains("--host"), "{failure}");
    // Nothing was held for what could not be done.
    let balance = market.world.ask("buyer", ["balance"]).await.unwrap();
    assert_eq!(
        (balance["available"].as_str(), balance["held"].as_str()),
        (Some("100.000000"), Some("0.000000"))
    );
    // Neither is anything for what would cost too much.
    let mut args = market.backup_args();
    args.extend(["--budget".to_owned(), "0.000001".to_owned()]);
    let failure = market.world.run("buyer", &args).await.unwrap_err().to_string();
    assert!(failure.contains("budget") && failure.contains("Hint:"), "{failure}");
    let balance = market.world.ask("buyer", ["balance"]).await.unwrap();
    assert_eq!(balance["held"], "0.000000");
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_without_an_answer_is_made_once() {
    let mut market = market().await;
    let payee = market.world.ask("payee", ["init", "--no-passphrase"]).await.unwrap();
    let payee = payee["entity"].as_str().unwrap().to_owned();
    market.world.ask("payee", ["wallet", "add", &market.issuer.clone()]).await.unwrap();
    let socket = market.issuer.rsplit('@').next().unwrap().to_owned();
    let pay = |market: &Market| {
        let home = market.world.home("buyer");
        let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
        command.arg("--home").arg(home).args(["pay", &payee, "12.5", "TST"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    // The intent is saved, and the payer dies without an answer.
    market.world.ask("buyer", ["balance"]).await.unwrap();
    let mut child = pay(&market).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(30));
    market.world.kill("issuer").await.unwrap();
    std::thread::sleep(Duration::from_millis(100));
    child.kill().unwrap();
    let first_was_told = !child.wait_with_output().unwrap().stdout.is_empty();
    // Whatever became of it, the same command again pays once in all.
    market.world.start("issuer", ["issuer", "up", "--listen", &socket]).await.unwrap();
    let again = pay(&market).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let after = market.world.ask("payee", ["balance"]).await.unwrap();
    // Each payment left one notice, which is shown until it is acknowledged, and then no more.
    for keep in [Some("--keep"), None] {
        let args = ["deposits"].into_iter().chain(keep);
        let notices = market.world.run("payee", args).await.unwrap();
        let paid = notices.len() as f64 * 12.5;
        assert_eq!(after["available"].as_str().unwrap().parse::<f64>().unwrap(), paid);
    }
    assert!(market.world.run("payee", ["deposits"]).await.unwrap().is_empty());
    // Who was told of the first asked for a second.
    let twice = first_was_told && after["available"] == "25.000000";
    assert!(twice || after["available"] == "12.500000", "{first_was_told} {after}");
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_contracts_end_a_backup_begins_anew() {
    let market = market().await;
    let small = market.world.home("small");
    std::fs::create_dir(&small).unwrap();
    std::fs::write(small.join("file"), b"kept in two sets, one after the other").unwrap();
    let mut args = market.backup_args();
    args[2] = small.to_str().unwrap().to_owned();
    market.world.run("buyer", &args).await.unwrap();
    market.world.run("buyer", ["contracts", "end", "--yes"]).await.unwrap();
    let to = market.world.home("restored");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    let failure = market.world.ask("buyer", restore).await.unwrap_err().to_string();
    assert!(failure.contains("there is no contract with"), "{failure}");
    market.world.run("buyer", &args).await.unwrap();
    market.world.ask("buyer", restore).await.unwrap();
    compare::compare(&small, &to, None).unwrap();
    market.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_gone_is_replaced() {
    let mut market = market().await;
    let small = market.world.home("small");
    std::fs::create_dir(&small).unwrap();
    std::fs::write(small.join("one"), b"while all hosts were there").unwrap();
    let mut args = market.backup_args();
    args[2] = small.to_str().unwrap().to_owned();
    args.extend(["--survive".to_owned(), "0.99".to_owned()]);
    market.world.run("buyer", &args).await.unwrap();
    // The dearest host may not have been chosen; one that was is gone for good.
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let chosen = lines[0]["provider"].as_str().unwrap();
    let gone = market
        .hosts
        .iter()
        .find(|host| market.world.address(host).is_some_and(|address| address.starts_with(chosen)));
    let gone = gone.unwrap().clone();
    market.world.kill(&gone).await.unwrap();
    std::fs::write(small.join("two"), b"and after one was gone").unwrap();
    market.world.run("buyer", &args).await.unwrap();
    let to = market.world.home("restored");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    market.world.ask("buyer", restore).await.unwrap();
    compare::compare(&small, &to, None).unwrap();
    market.world.end().await;
}
