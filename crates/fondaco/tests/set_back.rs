//! A machine that was set back: its book is an older copy, by which honest hosts look like liars.

mod market;
mod parts;

use market::client::Client;
use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Sees that a command is refused because the book is an older copy, and says what to do.
async fn is_refused(market: &Market, who: &str, args: &[&str]) {
    let lines = market.world.run_to(who, args, 8).await.unwrap();
    let last = lines.last().unwrap();
    let (why, hint) = (last["error"].as_str().unwrap(), last["hint"].as_str().unwrap());
    assert!(why.contains("your book is an older copy"), "{args:?}: {lines:?}");
    assert!(hint.contains("recover --host ADDRESS"), "{args:?}: {hint}");
    let is_caught = |line: &Value| line["outcome"] == "caught" || line["event"] == "backup";
    assert!(!lines.iter().any(is_caught), "{args:?}: {lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_book_accuses_nobody() {
    let mut market = market(3).await;
    let letter = market.source.join("letter");
    fs::write(&letter, b"dear all".repeat(40_000)).unwrap();
    let create = market.create_args(&[]);
    market.world.run("buyer", create.clone()).await.unwrap();
    for home in ["old", "served"] {
        copy(&market.world.home("buyer"), &market.world.home(home));
    }
    // Another copy of it serves since, and is the newest when it begins.
    let gateway = Client::start_of(&mut market, "served", &[]).await;
    fs::write(&letter, b"dear nobody".repeat(30_000)).unwrap();
    market.world.run("buyer", create.clone()).await.unwrap();
    market.backup("buyer", &["forget", "--keep-last", "1", "--prune"]).await;

    // It removes nothing that a client asks it to.
    let (_, listed) = gateway.ask("GET", "/data/", b"");
    let pack = String::from_utf8(listed).unwrap();
    let pack = pack.split('"').nth(1).expect("a pack is listed");
    let (status, told) = gateway.ask("DELETE", &format!("/data/{pack}"), b"");
    let told = String::from_utf8(told).unwrap();
    assert!(status == 502 && told.contains("your book is an older copy"), "{status}: {told}");
    market.world.stop("served").await;

    let balance = market.world.run("buyer", ["balance"]).await.unwrap();
    let create: Vec<&str> = create.iter().map(String::as_str).collect();
    let to = market.world.home("restored-old");
    let restore = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    // Nothing is checked before a restore, which may well find all that it needs: it is told so where it does not.
    for args in [
        &restore[..],
        &["audit"],
        &["audit", "--deep"],
        &["backup", "repair", "--now"],
        &["backup", "prune"],
        &["backup", "forget", "--all"],
        &["contracts", "renew"],
        &create,
    ] {
        is_refused(&market, "old", args).await;
    }
    assert_eq!(market.world.run("buyer", ["balance"]).await.unwrap(), balance);

    // The newest goes on as if nothing had been, until another machine takes its place.
    let audited = market.world.run("buyer", ["audit", "--deep"]).await.unwrap();
    assert!(audited.iter().all(|line| line["outcome"] == "proven"), "{audited:?}");
    let words = market.world.ask("buyer", ["identity", "export-words"]).await.unwrap();
    let words: Vec<&str> =
        words["words"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    market.init_from_words("phoenix", &words.join(" "));
    let host = market.world.address(&market.hosts[0]).unwrap().to_owned();
    market.backup("phoenix", &["recover", "--host", &host]).await;
    market.restored_equals_the_source("phoenix", "restored").await;
    let audited = market.world.run("phoenix", ["audit"]).await.unwrap();
    assert!(audited.iter().all(|line| line["outcome"] == "proven"), "{audited:?}");
    for who in ["buyer", "old"] {
        is_refused(&market, who, &["audit"]).await;
    }

    // A host that has altered what the newest book says is caught all the same.
    alter(&market.world.home(&market.hosts[1]).join("shards"));
    let audited = market.world.run_to("phoenix", ["audit", "--deep"], 8).await.unwrap();
    assert!(audited.iter().any(|line| line["outcome"] == "caught"), "{audited:?}");
    market.world.end().await;
}

/// Alters all files in a folder that have the name of a shard.
fn alter(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            alter(&path);
        } else if entry.file_name().len() >= 32 {
            let length = fs::metadata(&path).unwrap().len();
            fs::write(&path, vec![7; usize::try_from(length).unwrap()]).unwrap();
        }
    }
}
