//! Hosts are lost; what they kept is made anew on others, and outlives the loss of more.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn find<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().rev().find(|line| line["event"] == event).unwrap()
}

/// Turns one bit in every 16 KiB of every file below a folder.
fn alter(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            alter(&path);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().step_by(16 << 10).for_each(|byte| *byte ^= 1);
        fs::write(&path, bytes).unwrap();
    }
}

fn size(folder: &Path) -> u64 {
    fs::read_dir(folder).map_or(0, |entries| {
        let sizes = entries.flatten().map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            _ => entry.metadata().map_or(0, |data| data.len()),
        });
        sizes.sum()
    })
}

/// The hosts with a contract in the one set, in the order of `contracts list`.
async fn chosen(market: &Market) -> Vec<String> {
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    lines.iter().map(|line| market.host_of(line["provider"].as_str().unwrap())).collect()
}

/// What was written to hosts by the contracts of which they still tell.
async fn written(market: &Market, name: &str) -> u64 {
    let entity = market.world.address(name).unwrap().split('@').next().unwrap().to_owned();
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let of_host = lines.iter().filter(|line| line["provider"] == entity.as_str());
    of_host.map(|line| line["written"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_slots_are_made_anew_and_outlive_the_others() {
    let mut market = market(4).await;
    market.write_noise(2);
    fs::write(market.source.join("letter"), b"dear all").unwrap();
    let made = market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let contracts = find(&made, "contracts");
    let (k, n) = (contracts["k"].as_u64().unwrap(), contracts["n"].as_u64().unwrap());
    let (k, n) = (usize::try_from(k).unwrap(), usize::try_from(n).unwrap());
    // Nothing happened since: a repair says of the set what was said when it was chosen.
    let looked = market.backup("buyer", &["repair"]).await;
    let (health, begins) =
        (find(&looked, "health"), "Each host loses its shard in an epoch with 4.98");
    assert_eq!(health["survive"], contracts["survive"], "{health}");
    for said in [contracts, health] {
        assert!(said["assumed"].as_str().unwrap().starts_with(begins), "{said}");
    }
    assert!(
        n - k >= 2 && n == market.hosts.len(),
        "{k} of {n}: two can be lost, and no host is left over"
    );
    let hosts = chosen(&market).await;

    // All is well: nothing is done.
    let calm = market.backup("buyer", &["repair", "--now"]).await;
    assert_eq!(
        (&find(&calm, "health")["due"], calm.iter().any(|line| line["event"] == "repaired")),
        (&false.into(), false)
    );

    // One is gone for good, another alters what it keeps; two come anew.
    market.world.kill(&hosts[0]).await.unwrap();
    alter(&market.world.home(&hosts[1]).join("shards"));
    let (one, two) = (market.fresh_host("fresh-1").await, market.fresh_host("fresh-2").await);
    // Hosts that would take more than the budget are passed over, and all sums are told in the currency.
    let poor = ["backup", "repair", "--now", "--host", &one, "--budget", "0.000001 TST"];
    let refused = market.world.run_to("buyer", poor, 1).await.unwrap();
    let why = find(&refused, "unrepaired")["why"].as_str().unwrap();
    let is_told = why.contains(" TST, and of the budget 0.000001 TST are left");
    assert!(is_told && !why.contains("units"), "{why}");
    let repaired =
        market.backup("buyer", &["repair", "--now", "--host", &one, "--host", &two]).await;
    let health = find(&repaired, "health");
    assert_eq!(
        (health["live"].as_u64(), health["due"].as_bool()),
        (Some(n as u64 - 2), Some(true))
    );
    let done = find(&repaired, "repaired");
    assert_eq!(done["replaced"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(done["live"].as_u64(), Some(n as u64), "{done}");
    assert!(done["survive"].as_str().unwrap() > done["survive_before"].as_str().unwrap(), "{done}");
    // Two shards are made from one reading of k.
    let (read, sent) = (done["read"].as_u64().unwrap(), done["sent"].as_u64().unwrap());
    assert!(read <= sent * k as u64 / 2 + (1 << 20), "{done}");
    let healthy = market.backup("buyer", &["repair", "--now"]).await;
    assert_eq!(find(&healthy, "health")["lost"], Value::Array(Vec::new()));
    // The shards made anew have the tags of those that are lost.
    let proven = market.world.run("buyer", ["audit", "--deep"]).await.unwrap();
    let is_proven = |line: &&Value| line["outcome"] == "proven";
    assert_eq!(proven.iter().filter(is_proven).count(), n, "{proven:?}");

    // The set is whole, so the next backup goes to it.
    fs::write(market.source.join("letter"), b"dear all, again").unwrap();
    let made = market
        .world
        .run("buyer", ["backup", "create", market.source.to_str().unwrap()])
        .await
        .unwrap();
    assert!(!made.iter().any(|line| line["event"] == "contracts"), "{made:?}");

    // As many of the first hosts go as the code allows: the new ones must make up for them.
    let mut gone = 0;
    for host in &hosts[2..] {
        if gone < n - k {
            market.world.kill(host).await.unwrap();
            gone += 1;
        }
    }
    market.restored_equals_the_source("buyer", "restored").await;

    // The book that the new hosts keep knows who took over.
    let words = market.world.ask("buyer", ["identity", "export-words"]).await.unwrap();
    let words: Vec<&str> =
        words["words"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    market.init_from_words("again", &words.join(" "));
    market.backup("again", &["recover", "--host", &one]).await;
    market.restored_equals_the_source("again", "restored-again").await;
    market.world.end().await;
}

fn begin_repair(market: &Market, host: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_fondaco"))
        .arg("--home")
        .arg(market.world.home("buyer"))
        .args(["--json", "backup", "repair", "--now", "--host", host])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_killed_goes_on_and_pays_nothing_twice() {
    let mut market = market(4).await;
    // Some packs, so that there is a middle to be killed in.
    market.write_noise(20);
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let hosts = chosen(&market).await;
    let kept = size(&market.world.home(&hosts[1]).join("shards"));
    let socket = market.world.address(&hosts[0]).unwrap().rsplit('@').next().unwrap().to_owned();
    market.world.kill(&hosts[0]).await.unwrap();
    let fresh = market.fresh_host("fresh").await;
    let folder = market.world.home("fresh").join("shards");

    let mut repair = begin_repair(&market, &fresh);
    let began = Instant::now();
    while size(&folder) < kept / 3 {
        assert!(began.elapsed() < Duration::from_secs(120), "no shards appeared");
        assert_eq!(repair.try_wait().unwrap(), None, "it was over before it could be killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    repair.kill().unwrap();
    assert!(!repair.wait().unwrap().success());
    let before = written(&market, "fresh").await;
    assert!(before > 0);

    // The slot is not the new host's before it has everything, and what is there stays readable.
    let lines = market.backup("buyer", &["repair", "--host", &fresh]).await;
    let health = find(&lines, "health");
    assert_eq!((&health["begun"], &health["due"]), (&1.into(), &true.into()), "{health}");
    let done = find(&lines, "repaired");
    assert_eq!(done["replaced"].as_array().unwrap().len(), 1, "{done}");
    // Every whole shard that was there is neither sent nor paid for again; what was cut off is one pack's at most.
    let all = written(&market, "fresh").await;
    let sent = done["sent"].as_u64().unwrap();
    let one_pack = kept / 2;
    assert!(sent < kept && sent + before < kept + one_pack, "{sent} after {before}, of {kept}");
    assert!(all < kept + one_pack, "{all} were written for {kept}");
    market.restored_equals_the_source("buyer", "restored").await;

    // The lost host returns, too late for its slot, and is paid what it earned. No money is made, lost, or left held.
    market.world.start(&hosts[0], ["up", "--listen", &socket]).await.unwrap();
    let ended = market.world.run("buyer", ["contracts", "end", "--yes"]).await.unwrap();
    let paid = ended.iter().filter_map(|line| line["paid"].as_str()?.parse::<f64>().ok());
    assert!(paid.sum::<f64>() > 0.0, "{ended:?}");
    let mut sum = 0.0;
    for who in market.hosts.iter().map(String::as_str).chain(["buyer"]) {
        let line = market.world.ask(who, ["balance"]).await.unwrap();
        assert_eq!(line["held"], "0.000000", "{who}");
        sum += line["available"].as_str().unwrap().parse::<f64>().unwrap();
    }
    assert!((sum - 100.0).abs() < 1e-9, "{sum}");

    // Nobody keeps anything now, and hosts that come back change nothing.
    let list = market.world.run_to("buyer", ["backup", "list", "--no-cache"], 3).await.unwrap();
    let failed = list.last().unwrap();
    let (error, hint) = (failed["error"].as_str().unwrap(), failed["hint"].as_str().unwrap());
    assert!(error.contains("there is no contract with") && !error.contains("()"), "{error}");
    assert!(hint.contains("back up anew"), "{hint}");
    market.world.end().await;
}
