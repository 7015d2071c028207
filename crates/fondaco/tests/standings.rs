//! What a buyer has seen of a host over many audits decides what it is given, paid, and left with.

mod market;
mod parts;

use fondaco_agent::BookFile;
use fondaco_agent::book::{Event, Verdict};
use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// The host's entity.
fn entity(market: &Market, host: &str) -> String {
    market.world.address(host).unwrap().split('@').next().unwrap().to_owned()
}

/// Writes into the buyer's book, which no command has open, that a host did not answer so many audits.
fn note_silence(market: &Market, host: &str, audits: u32) {
    let provider = entity(market, host);
    let path = market.world.home("buyer").join("agent/journal");
    let book = BookFile::open(&path).unwrap();
    let found = book.read(|book| {
        {
            let mut contracts = book.contracts();
            contracts.find(|(_, record)| record.terms.prices.provider.to_string() == provider)
        }
        .map(|(contract, record)| (contract, record.terms.begins))
    });
    let (contract, at) = found.unwrap();
    for _ in 0..audits {
        book.record(&Event::Audited { contract, at, verdict: Verdict::Failed }).unwrap();
    }
}

fn find<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    lines.iter().rev().find(|line| line["event"] == event).unwrap()
}

async fn contracts_with(market: &Market, host: &str) -> Vec<Value> {
    let provider = entity(market, host);
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    lines.into_iter().filter(|line| line["provider"] == provider.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_too_little_is_unpaid_then_replaced() {
    let mut market = market(4).await;
    fs::write(market.source.join("letter"), vec![7; 100_000]).unwrap();
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let suspect = "host-1";
    let short = entity(&market, suspect)[..16].to_owned();

    // Unpaid: it is told so, is still read from, and gets nothing new.
    note_silence(&market, suspect, 33);
    let audited = market.world.run("buyer", ["audit"]).await.unwrap();
    let of_it = |line: &&Value| short.starts_with(line["provider"].as_str().unwrap_or("-"));
    let line = audited.iter().find(of_it).unwrap();
    assert_eq!(
        (&line["outcome"], &line["standing"]),
        (&"proven".into(), &"unpaid".into()),
        "{line}"
    );
    let why = line["why"].as_str().unwrap();
    assert!(why.ends_with("no further epoch until it proves again what it keeps"), "{why}");
    let others = audited.iter().filter(|line| line["standing"] == "good").count();
    assert_eq!(others, 3, "{audited:?}");
    market.world.ask("fresh", ["init", "--no-passphrase"]).await.unwrap();
    market.world.ask("fresh", ["wallet", "add", &market.issuer.clone()]).await.unwrap();
    let path = market.world.home("fresh").join("shards");
    let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
    market.world.ask("fresh", sell).await.unwrap();
    market.world.start("fresh", ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
    market.hosts.push("fresh".to_owned());
    fs::write(market.source.join("more"), vec![9; 50_000]).unwrap();
    let made = market.world.run("buyer", market.create_args(&[])).await.unwrap();
    find(&made, "contracts"); // A set that it is in takes nothing new.
    assert_eq!(contracts_with(&market, suspect).await.len(), 1);
    assert_eq!(contracts_with(&market, "fresh").await.len(), 1);
    let calm = market.backup("buyer", &["repair"]).await;
    let first = calm.iter().find(|line| line["event"] == "health").unwrap();
    assert_eq!((&first["due"], first["warned"].as_array().unwrap().len()), (&false.into(), 1));

    // Worse, and its slot is another's, without waiting for more to be lost.
    note_silence(&market, suspect, 5);
    let repaired = market.backup("buyer", &["repair"]).await;
    let done = find(&repaired, "repaired");
    let replaced = done["replaced"].as_array().unwrap();
    assert_eq!(replaced.len(), 1, "{done}");
    assert_eq!(replaced[0]["from"], entity(&market, suspect).as_str());
    assert!(replaced[0]["why"].as_str().unwrap().starts_with("it proved only 96."), "{done}");
    let ended = contracts_with(&market, suspect).await[0]["state"].as_str().unwrap().to_owned();
    assert!(ended.starts_with("ended"), "{ended}");
    let healthy = market.backup("buyer", &["repair"]).await;
    assert!(!healthy.iter().any(|line| line["event"] == "repaired"), "{healthy:?}");
    market.world.kill(suspect).await.unwrap();
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}

/// Whether a line tells what a host asks, and not what became of its being named.
fn is_quoted(line: &Value, host: &str) -> bool {
    line["provider"] == host && line["event"] != "named"
}

/// What a command of the buyer says when it fails.
fn failure_of(market: &Market, args: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fondaco"));
    let output = command.arg("--home").arg(market.world.home("buyer")).args(args).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_start_small_and_nobody_is_paid_far_ahead() {
    let mut market = market(4).await;
    fs::write(market.source.join("letter"), b"dear all").unwrap();

    // Each is a newcomer, and would have room for 32 MiB at least.
    let said = failure_of(&market, &market.create_args(&["--newcomer-room", "16M"]));
    assert!(said.contains("--newcomer-room lets newcomers have more"), "{said}");
    let said = failure_of(&market, &market.create_args(&["--newcomer-prepaid", "0.000001"]));
    assert!(said.contains("--newcomer-prepaid lets newcomers have more"), "{said}");

    // One asks a thousand times as much as the others, for opening alone, which no price of a byte shows.
    market.world.ask("greedy", ["init", "--no-passphrase"]).await.unwrap();
    market.world.ask("greedy", ["wallet", "add", &market.issuer.clone()]).await.unwrap();
    let path = market.world.home("greedy").join("shards");
    let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
    let cheap = ["--open", "1", "--store", "0.000001", "--write", "0", "--read", "0"];
    market.world.ask("greedy", [&sell[..], &cheap].concat()).await.unwrap();
    market.world.start("greedy", ["up", "--listen", "127.0.0.1:0"]).await.unwrap();
    market.hosts.push("greedy".to_owned());
    let greedy = entity(&market, "greedy");
    let quote = market.world.run("buyer", market.create_args(&["--dry-run"])).await.unwrap();
    let of_it = quote.iter().find(|line| is_quoted(line, &greedy)).unwrap();
    assert_eq!(of_it["chosen"], false);
    let why = of_it["why"].as_str().unwrap();
    assert!(why.starts_with("it would be trusted with 1.000001 TST"), "{why}");
    let any = ["--dry-run", "--newcomer-prepaid", "any"];
    let quote = market.world.run("buyer", market.create_args(&any)).await.unwrap();
    let of_it = quote.iter().find(|line| is_quoted(line, &greedy)).unwrap();
    assert_eq!(of_it["chosen"], true);

    // Left to itself, a first backup goes to the others.
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
    assert_eq!(contracts_with(&market, "greedy").await.len(), 0);
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
