//! Audits by the real command: who keeps what it is paid for, who does not, and a log that tells.

#[path = "market/noise.rs"]
mod noise;
mod parts;

use noise::Noise;
use parts::{compare, failure, world};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use world::World;

const HOSTS: usize = 4;

struct Market {
    world: World,
    source: PathBuf,
}

/// Hosts, and a buyer with a backup of some MiB on them.
async fn market() -> Market {
    let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", define).await.unwrap();
    let issuer = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    let buyer = world.ask("buyer", ["init", "--no-passphrase"]).await.unwrap();
    world.ask("buyer", ["wallet", "add", &issuer]).await.unwrap();
    let buyer = buyer["entity"].as_str().unwrap();
    world.ask("issuer", ["issuer", "mint", "100", "--to", buyer]).await.unwrap();
    let source = world.home("source");
    std::fs::create_dir_all(&source).unwrap();
    let bytes = Noise::new().bytes(8 << 19);
    std::fs::write(source.join("file"), bytes).unwrap();
    let mut backup =
        vec!["backup".to_owned(), "create".to_owned(), source.to_str().unwrap().to_owned()];
    for number in 0..HOSTS {
        let name = host(number);
        world.ask(&name, ["init", "--no-passphrase"]).await.unwrap();
        world.ask(&name, ["wallet", "add", &issuer]).await.unwrap();
        let path = world.home(&name).join("shards");
        let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
        world.ask(&name, sell).await.unwrap();
        let address = world.start(&name, ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
        backup.extend(["--host".to_owned(), address]);
    }
    backup.extend(["--survive".to_owned(), "0.99".to_owned()]);
    world.run("buyer", &backup).await.unwrap();
    Market { world, source }
}

fn host(number: usize) -> String {
    format!("host-{number}")
}

impl Market {
    /// Audits, which is to end with `code`; returns what each host showed, by its short name.
    async fn audit(&self, args: &[&str], code: i32) -> BTreeMap<String, (String, String)> {
        let lines = self.world.run_to("buyer", ["audit"].iter().chain(args), code).await.unwrap();
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        lines
            .iter()
            .filter(|line| line["event"] == "audit")
            .map(|line| (text(line, "provider"), (text(line, "outcome"), text(line, "detail"))))
            .collect()
    }

    async fn log(&self) -> Vec<Value> {
        self.world.run("buyer", ["audit", "log"]).await.unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.world.home("buyer").join("agent").join("audits")
    }

    /// The host whose short name this is.
    fn named(&self, short: &str) -> String {
        (0..HOSTS)
            .map(host)
            .find(|name| self.world.address(name).is_some_and(|address| address.starts_with(short)))
            .unwrap()
    }

    async fn restored_equals_the_source(&self) {
        let to = self.world.home("restored");
        let args = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
        self.world.ask("buyer", args).await.unwrap();
        compare::compare(&self.source, &to, None).unwrap();
    }
}

/// Changes one bit in every place of files that are long enough to have some.
fn alter(folder: &Path, places: impl Fn(u64) -> Vec<u64> + Copy) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            alter(&entry.path(), places);
            continue;
        }
        let file = std::fs::File::options().read(true).write(true).open(entry.path()).unwrap();
        for at in places(file.metadata().unwrap().len()) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
    }
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[at(end)] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_audits_find_what_was_lost_and_the_log_tells() {
    let mut market = market().await;
    assert_eq!(market.log().await, Vec::<Value>::new());
    let honest = market.audit(&["--deep"], 0).await;
    assert!(!honest.is_empty());
    assert!(honest.values().all(|(outcome, _)| outcome == "proven"), "{honest:?}");
    // Some MiB over some hosts: hundreds of blocks each, or all there are.
    let blocks = |detail: &str| detail.trim_end_matches(" places").parse::<u32>().unwrap();
    assert!(honest.values().all(|(_, detail)| blocks(detail) >= 100), "{honest:?}");
    let sampled = market.audit(&[], 0).await;
    assert!(sampled.values().all(|(outcome, _)| outcome == "proven"), "{sampled:?}");

    // One host is away, and another has changed a bit of every tag and of no data: reads of data would never tell.
    let mut names = honest.keys().cloned();
    let (liar, away) = (names.next().unwrap(), names.next().unwrap());
    let away_host = market.named(&away);
    let socket = market.world.address(&away_host).unwrap().rsplit('@').next().unwrap().to_owned();
    market.world.kill(&away_host).await.unwrap();
    alter(&market.world.home(&market.named(&liar)).join("shards"), |size| {
        fondaco_tags(size).map_or_else(Vec::new, |data| (data..size).step_by(16).collect())
    });
    let found = market.audit(&["--deep"], 8).await;
    for (name, (outcome, detail)) in &found {
        let expected = match name {
            name if *name == liar => "caught",
            name if *name == away => "silent",
            _ => "proven",
        };
        assert_eq!(outcome, expected, "{detail}");
    }

    // All of it is in the log, in order and signed.
    let log = market.log().await;
    assert_eq!(log.len(), 3 * honest.len());
    let outcomes = |kind: &str, outcome: &str| {
        log.iter().filter(|line| line["kind"] == kind && line["outcome"] == outcome).count()
    };
    assert_eq!((outcomes("deep", "caught"), outcomes("deep", "silent")), (1, 1));
    assert_eq!(outcomes("sampled", "proven"), honest.len());
    let verified = market.world.ask("buyer", ["audit", "log", "--verify"]).await.unwrap();
    assert_eq!(verified["entries"], log.len());
    assert_eq!(verified["link"], log.last().unwrap()["link"]);

    // A damaged log is refused, by its entry; nothing is asked then. A restore does not need it.
    flip(&market.log_path(), |end| end / 2);
    let mut refusals = Vec::new();
    for args in [&["audit", "log"][..], &["audit", "log", "--verify"], &["audit"]] {
        let lines = market.world.run_to("buyer", args, 8).await.unwrap();
        refusals.push(lines.last().unwrap()["error"].as_str().unwrap().to_owned());
    }
    let entry = format!("entry {}", honest.len());
    assert!(refusals.iter().all(|refusal| refusal.contains(&entry)), "{refusals:?}");
    market.world.start(&away_host, ["up", "--listen", &socket]).await.unwrap();
    market.restored_equals_the_source().await;
    market.world.ask("buyer", ["audit", "log", "--begin-anew"]).await.unwrap();
    // The liar was caught once more, by its tags among the groups, or was not drawn.
    let _ = market.world.run("buyer", ["audit"]).await;
    assert!(!market.log().await.is_empty());
    // One that was cut at its end is short of what was noted.
    flip(&market.log_path(), |end| end);
    let lines = market.world.run_to("buyer", ["audit", "log"], 8).await.unwrap();
    assert!(lines.last().unwrap()["error"].as_str().unwrap().contains("missing"), "{lines:?}");
    market.world.end().await;
}

/// Where the tags of a shard of this size begin, by docs/formats/audit.md; nothing for files that are no such shards.
fn fondaco_tags(size: u64) -> Option<u64> {
    let data = size.checked_sub(size.div_ceil(7696) * 16)?;
    (data > 0 && data.is_multiple_of(64)).then_some(data)
}
