//! A buyer's disk is gone. Twenty-four words and the address of one host, or one broker, bring everything back.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

fn find<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().rev().find(|line| line["event"] == event).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_comes_back_from_the_words_and_one_host() {
    let mut market = market(5).await;
    let source = market.source.clone();
    fs::create_dir(source.join("letters")).unwrap();
    for number in 0..20 {
        let text = format!("letter {number}\n").repeat(number * 100);
        fs::write(source.join(format!("letters/{number}")), text).unwrap();
    }
    let made = market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let n = find(&made, "contracts")["n"].as_u64().unwrap();
    assert_eq!(find(&made, "state")["hosts"].as_u64(), Some(n), "{made:?}");
    // Audits are logged, and the hosts' copy of the book notes how many.
    market.world.run("buyer", ["audit"]).await.unwrap();
    market.world.run("buyer", ["audit", "--deep"]).await.unwrap();
    let made = market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let words = market.world.ask("buyer", ["identity", "export-words"]).await.unwrap();
    let words: Vec<&str> =
        words["words"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let words = words.join(" ");
    let contracts = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let host = contracts[0]["provider"].as_str().unwrap();
    let address = |market: &Market, provider: &str| {
        let hosts = market.hosts.iter().filter_map(|host| market.world.address(host));
        hosts.into_iter().find(|address| address.starts_with(provider)).unwrap().to_owned()
    };

    // Everything that the buyer had is gone.
    fs::remove_dir_all(market.world.home("buyer")).unwrap();
    market.init_from_words("phoenix", &words);
    let one = address(&market, host);
    let back = market.backup("phoenix", &["recover", "--host", &one]).await;
    let recovered = find(&back, "recovered");
    assert_eq!((recovered["contracts"].as_u64(), &recovered["snapshots"]), (Some(n), &2.into()));
    assert_eq!(recovered["audits_left_behind"]["entries"], 2 * n);
    assert_eq!(recovered["sequence"], find(&made, "state")["sequence"]);
    market.restored_equals_the_source("phoenix", "restored").await;
    // A book that is there is not written over.
    let again = market.world.run("phoenix", ["backup", "recover", "--host", &one]).await;
    assert!(again.unwrap_err().to_string().contains("already"));

    // Audits and repairs work, in a log that says what is missing of it; without that, it is refused as ever.
    market.world.run("phoenix", ["audit"]).await.unwrap();
    market.world.run("phoenix", ["audit", "--deep"]).await.unwrap();
    market.backup("phoenix", &["repair"]).await;
    let log = market.world.run("phoenix", ["audit", "log"]).await.unwrap();
    assert_eq!((log.len() as u64, &log[0]["outcome"]), (1 + 3 * n, &"left-behind".into()));
    assert_eq!((&log[0]["seq"], &log[1]["seq"]), (&(2 * n).into(), &(2 * n + 1).into()));
    let verified = market.world.ask("phoenix", ["audit", "log", "--verify"]).await.unwrap();
    assert_eq!(verified["left_behind"], 2 * n);
    let path = market.world.home("phoenix").join("agent").join("audits");
    fs::rename(&path, path.with_extension("gone")).unwrap();
    let refused = market.world.run_to("phoenix", ["audit"], 8).await.unwrap();
    let told = refused[0]["error"].as_str().unwrap();
    assert!(told.contains(&format!("{} were noted", 1 + 5 * n)), "{told}");
    fs::rename(path.with_extension("gone"), &path).unwrap();

    // A further backup goes to the same contracts, and wallets and hosts are known without being named.
    fs::write(source.join("letters/new"), b"written on the new machine").unwrap();
    let path = source.to_str().unwrap().to_owned();
    let more = market.backup("phoenix", &["create", &path]).await;
    assert!(!more.iter().any(|line| line["event"] == "contracts"), "{more:?}");
    assert_eq!(find(&more, "state")["hosts"].as_u64(), Some(n), "{more:?}");
    market.restored_equals_the_source("phoenix", "restored-again").await;
    let checked = market.backup("phoenix", &["check", "--read-data", "--no-cache"]).await;
    assert_eq!(find(&checked, "check")["errors"], Value::Array(Vec::new()));

    // And it burns again; now no host's address is left, and the first host is away. A broker knows one of the others, and
    // a stranger, and not in which currency they were paid. What comes back is the newest.
    fs::remove_dir_all(market.world.home("phoenix")).unwrap();
    let broker = market.broker("broker").await;
    let other = market.host_of(contracts[1]["provider"].as_str().unwrap());
    market.fresh_host("stranger").await;
    for host in [&other, "stranger"] {
        market.show_at(host, &broker).await;
    }
    let away = market.hosts.iter().find(|host| market.world.address(host) == Some(&one)).unwrap();
    let away = away.clone();
    market.world.kill(&away).await.unwrap();
    let other = address(&market, contracts[1]["provider"].as_str().unwrap());
    market.init_from_words("third", &words);
    let back = market.backup("third", &["recover", "--broker", &broker]).await;
    assert_eq!(find(&back, "found")["hosts"], 2);
    let recovered = find(&back, "recovered");
    let failed: Vec<&str> = recovered["failed"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["provider"].as_str())
        .collect();
    assert_eq!(failed, [host], "the host that is away, and not the stranger");
    assert_eq!(recovered["snapshots"], 3);
    assert_eq!(recovered["sequence"], find(&more, "state")["sequence"]);
    market.restored_equals_the_source("third", "restored-at-last").await;

    // Whoever has other words gets nothing, and hears why.
    market.world.ask("thief", ["init", "--no-passphrase"]).await.unwrap();
    let nothing = market.world.run("thief", ["backup", "recover", "--host", &other]).await;
    let nothing = nothing.unwrap_err().to_string();
    assert!(nothing.contains("keeps no state for this key"), "{nothing}");
    let nothing = market.world.run("thief", ["backup", "recover", "--broker", &broker]).await;
    let nothing = nothing.unwrap_err().to_string();
    assert!(nothing.contains("nor did 2 that brokers told of"), "{nothing}");
    market.world.end().await;
}

/// The machine burns in the middle of its first backup: what the hosts had by then is taken up on another.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_backup_that_the_machine_did_not_survive_goes_on() {
    let market = market(4).await;
    market.write_noise(40);
    let words = market.world.ask("buyer", ["identity", "export-words"]).await.unwrap();
    let words: Vec<&str> =
        words["words"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fondaco"))
        .arg("--home")
        .arg(market.world.home("buyer"))
        .arg("--json")
        .args(market.create_args(&["--keep-books-every", "1"]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    // The books are kept when the contracts are open, when the keys are stored, and when a pack is.
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut kept = 0;
    for event in events {
        assert_ne!(event["event"], "backup", "it was over before it could be killed");
        kept += u32::from(event["event"] == "state");
        if kept == 3 {
            break;
        }
    }
    assert_eq!(kept, 3, "the books were not kept meanwhile");
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_dir_all(market.world.home("buyer")).unwrap();

    market.init_from_words("phoenix", &words.join(" "));
    let one = market.world.address("host-0").unwrap().to_owned();
    let back = market.backup("phoenix", &["recover", "--host", &one]).await;
    let recovered = find(&back, "recovered");
    assert_eq!((&recovered["contracts"], &recovered["snapshots"]), (&4.into(), &0.into()));
    assert!(recovered["objects"].as_u64().unwrap() > 2, "{recovered}");
    let source = market.source.to_str().unwrap().to_owned();
    let more = market.backup("phoenix", &["create", &source]).await;
    assert!(!more.iter().any(|line| line["event"] == "contracts"), "{more:?}");
    // A pack was there, at least, so less than all of it is new.
    let done = find(&more, "backup");
    assert!(done["added"].as_u64().unwrap() < 39 << 22, "{done}");
    market.restored_equals_the_source("phoenix", "restored").await;
    market.world.end().await;
}
