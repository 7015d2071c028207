//! A delegate looks after a backup while its owner is away: it repairs, goes on paying, and gives back; and can read nothing.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::fs;

fn all<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn path(market: &Market, name: &str) -> String {
    market.world.home(name).to_str().unwrap().to_owned()
}

async fn run(market: &Market, who: &str, args: &[&str]) -> Vec<Value> {
    market.world.run(who, args.iter().copied()).await.unwrap()
}

/// Gives a friend an identity and money of its own; returns its entity.
async fn friend(market: &Market) -> String {
    party(market, "friend").await
}

async fn party(market: &Market, who: &str) -> String {
    let made = market.world.ask(who, ["init", "--no-passphrase"]).await.unwrap();
    let entity = made["entity"].as_str().unwrap().to_owned();
    market.world.ask(who, ["wallet", "add", &market.issuer]).await.unwrap();
    let mint = ["issuer", "mint", "100", "--to", &entity];
    market.world.ask("issuer", mint).await.unwrap();
    entity
}

async fn entrust(market: &Market, to: &str, more: &[&str]) {
    let file = path(market, "entrusted");
    let args = [&["delegate", "entrust", to, "--out", &file], more].concat();
    let told = run(market, "buyer", &args).await;
    assert!(all(&told, "entrusted")[0]["objects"].as_u64().unwrap() > 0, "{told:?}");
    run(market, "friend", &["delegate", "accept", &file]).await;
}

async fn contracts(market: &Market, who: &str) -> Vec<Value> {
    run(market, who, &["contracts", "list"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_while_the_owner_is_away_is_made_anew_and_given_back() {
    let mut market = market(4).await;
    fs::write(market.source.join("letter"), b"dear all".repeat(40_000)).unwrap();
    run(&market, "buyer", &market.create_args(&[]).iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    // Who has no money for it is told how much it takes, in the currency.
    let made = market.world.ask("poor", ["init", "--no-passphrase"]).await.unwrap();
    market.world.ask("poor", ["wallet", "add", &market.issuer]).await.unwrap();
    let (poor, file) = (made["entity"].as_str().unwrap(), path(&market, "for-poor"));
    run(&market, "buyer", &["delegate", "entrust", poor, "--out", &file]).await;
    let refused = market.world.run_to("poor", ["delegate", "accept", &file], 5).await.unwrap();
    let why = refused.last().unwrap()["error"].as_str().unwrap();
    assert!(why.contains(" TST, and you have 0.000000 TST") && !why.contains("units"), "{why}");

    let to = friend(&market).await;
    entrust(&market, &to, &[]).await;
    let hosts: Vec<String> = contracts(&market, "buyer")
        .await
        .iter()
        .map(|line| market.host_of(line["provider"].as_str().unwrap()))
        .collect();
    let n = hosts.len();
    assert_eq!(contracts(&market, "friend").await.len(), n, "one with each host");

    // Wrong files change nothing: one for nobody any more, one that is older, one that is cut.
    let (short, cut) = (path(&market, "short"), path(&market, "cut"));
    let brief = ["delegate", "entrust", &to, "--until", "1ms", "--out", &short];
    run(&market, "buyer", &brief).await;
    let good = fs::read(path(&market, "entrusted")).unwrap();
    fs::write(&cut, &good[..good.len() / 2]).unwrap();
    for (file, why) in [(&short, "its mandate was good until"), (&cut, "damaged")] {
        let refused = market.world.run("friend", ["delegate", "accept", file]).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let newer = path(&market, "newer");
    run(&market, "buyer", &["delegate", "entrust", &to, "--out", &newer]).await;
    run(&market, "friend", &["delegate", "accept", &newer]).await;
    let older = ["delegate", "accept", &path(&market, "entrusted")];
    let refused = market.world.run("friend", older).await.unwrap_err();
    assert!(refused.to_string().contains("a newer file"), "{refused}");

    // All is well: nothing is taken, nothing is repaired. It reads shards, and not what they are of.
    let calm = run(&market, "friend", &["delegate", "tend", "--now"]).await;
    assert!(all(&calm, "taken_over").is_empty() && all(&calm, "repaired").is_empty(), "{calm:?}");
    assert_eq!(all(&calm, "health")[0]["live"], n as u64);
    let deep = run(&market, "friend", &["audit", "--deep"]).await;
    assert_eq!(deep.iter().filter(|line| line["outcome"] == "proven").count(), n, "{deep:?}");
    let restored = path(&market, "stolen");
    let stolen = ["backup", "restore", "latest", "--no-cache", "--to", &restored];
    let refused = market.world.run("friend", stolen).await.unwrap_err();
    assert!(refused.to_string().contains("no key that reads it"), "{refused}");

    // The owner is away, and a host dies for good.
    market.world.kill(&hosts[0]).await.unwrap();
    let fresh = market.fresh_host("fresh").await;
    let tended = run(&market, "friend", &["delegate", "tend", "--now", "--host", &fresh]).await;
    let repaired = all(&tended, "repaired");
    assert_eq!(repaired[0]["replaced"].as_array().unwrap().len(), 1, "{tended:?}");
    let deep = run(&market, "friend", &["audit", "--deep"]).await;
    assert_eq!(deep.iter().filter(|line| line["outcome"] == "proven").count(), n, "{deep:?}");

    // It is back, and takes back what was made anew; the friend goes on.
    let file = path(&market, "handed");
    let handed = run(&market, "friend", &["delegate", "hand-back", "--out", &file]).await;
    assert_eq!(all(&handed, "handed_back")[0]["slots"], 1, "{handed:?}");
    let newer = path(&market, "handed-newer");
    run(&market, "friend", &["delegate", "hand-back", "--out", &newer]).await;
    wrong_files_take_nothing_back(&market, &file).await;
    let reclaimed = run(&market, "buyer", &["delegate", "reclaim", &newer]).await;
    assert_eq!(all(&reclaimed, "reclaimed").len(), 1, "{reclaimed:?}");
    let older = market.world.run_to("buyer", ["delegate", "reclaim", &file], 8).await.unwrap();
    assert!(older[0]["error"].as_str().unwrap().contains("you have taken back by number"));
    let file = newer;
    let again = run(&market, "buyer", &["delegate", "reclaim", &file]).await;
    assert!(all(&again, "reclaimed").is_empty(), "{again:?}");
    let calm = run(&market, "friend", &["delegate", "tend", "--now"]).await;
    assert!(all(&calm, "repaired").is_empty(), "it is the owner's again, and no loss: {calm:?}");
    entrust(&market, &to, &[]).await;
    let calm = run(&market, "friend", &["delegate", "tend", "--now"]).await;
    assert_eq!(all(&calm, "health")[0]["live"], n as u64, "{calm:?}");

    // What it took back is needed now, and is all there.
    let made = contracts(&market, "buyer").await;
    assert!(made.iter().any(
        |line| line["state"] == "open" && fresh.starts_with(line["provider"].as_str().unwrap())
    ));
    for host in &hosts[1..n - 1] {
        market.world.kill(host).await.unwrap();
    }
    market.restored_equals_the_source("buyer", "restored").await;

    // A delegate that is told so may do nothing any more.
    let revoked = market.world.run_to_any("buyer", ["delegate", "revoke", &to], &[0, 6]).await;
    assert!(all(&revoked.unwrap(), "revoked").iter().any(|line| line["why_not"].is_null()));
    market.world.end().await;
}

/// A host takes no mandate that was made within ten seconds of another of the same two: that is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_entrusted_just_now_is_taken_back_from_every_host() {
    let market = market(3).await;
    fs::write(market.source.join("letter"), b"dear all".repeat(4_000)).unwrap();
    run(&market, "buyer", &market.create_args(&[]).iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let to = friend(&market).await;
    // A stranger is told for whom the file is, before what else it lacks.
    let file = path(&market, "entrusted");
    run(&market, "buyer", &["delegate", "entrust", &to, "--out", &file]).await;
    market.world.ask("stranger", ["init", "--no-passphrase"]).await.unwrap();
    let refused = market.world.run("stranger", ["delegate", "accept", &file]).await.unwrap_err();
    assert!(refused.to_string().contains("and not for you"), "{refused}");
    run(&market, "friend", &["delegate", "accept", &file]).await;
    run(&market, "friend", &["delegate", "tend"]).await;
    for _ in 0..2 {
        let lines = run(&market, "buyer", &["delegate", "revoke", &to]).await;
        let told = all(&lines, "revoked");
        assert_eq!(told.len(), contracts(&market, "buyer").await.len(), "{lines:?}");
        assert!(told.iter().all(|line| line["why_not"].is_null()), "{lines:?}");
        let waited = all(&lines, "progress");
        assert!(waited[0]["what"].as_str().unwrap().contains("asked again in 11 s"), "{lines:?}");
    }
    market.world.end().await;
}

/// Who looks after what was taken back would pay for what it may not read: it hears so before.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_neither_accepted_nor_tended() {
    let market = market(3).await;
    fs::write(market.source.join("letter"), b"dear all".repeat(4_000)).unwrap();
    run(&market, "buyer", &market.create_args(&[]).iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let (to, other) = (friend(&market).await, party(&market, "other").await);
    entrust(&market, &to, &[]).await;
    let file = path(&market, "for-other");
    run(&market, "buyer", &["delegate", "entrust", &other, "--out", &file]).await;
    run(&market, "friend", &["delegate", "tend"]).await;
    for who in [&to, &other] {
        run(&market, "buyer", &["delegate", "revoke", who]).await;
    }
    // Hosts are asked for this once the mandate is some seconds old.
    tokio::time::sleep(std::time::Duration::from_secs(13)).await;
    let refused = ["friend", "other"]
        .into_iter()
        .zip([["delegate", "tend", "--now"].to_vec(), ["delegate", "accept", &file].to_vec()]);
    for (who, args) in refused {
        let before = run(&market, who, &["balance"]).await;
        let lines = market.world.run_to(who, args, 1).await.unwrap();
        let why = lines.last().unwrap()["error"].as_str().unwrap();
        assert!(why.contains("its owner has taken the mandate back"), "{lines:?}");
        assert_eq!(run(&market, who, &["balance"]).await, before);
    }
    assert!(contracts(&market, "other").await.is_empty());
    let audited = market.world.run_to("friend", ["audit"], 3).await.unwrap();
    let why = audited.last().unwrap()["error"].as_str().unwrap();
    assert!(why.contains("has taken the mandate back"), "{audited:?}");
    market.world.end().await;
}

/// A file that is damaged, or not for who reads it, is refused with the reason, and nothing happens.
async fn wrong_files_take_nothing_back(market: &Market, good: &str) {
    party(market, "stranger").await;
    let before = contracts(market, "buyer").await;
    let text = fs::read_to_string(good).unwrap();
    let edited = path(market, "edited");
    // The last line has the signature, the first of the body a mandate.
    let (first, last) = (text.find('\n').unwrap() + 10, text.trim_end().len() - 10);
    let other = |at: usize| {
        let with = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{with}{}", &text[..at], &text[at + 1..])
    };
    for (who, text, why) in [
        ("buyer", text[..text.len() / 2].to_owned(), "damaged"),
        ("buyer", text.replacen("v2", "v1", 1), "does not begin with the line"),
        ("buyer", other(first), "is not signed by whom it names"),
        ("buyer", other(last), "it is not what"),
        ("stranger", text.clone(), "and not for you"),
    ] {
        fs::write(&edited, text).unwrap();
        let refused = market.world.run_to(who, ["delegate", "reclaim", &edited], 8).await.unwrap();
        let told = refused[0]["error"].as_str().unwrap();
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(contracts(market, "buyer").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_cannot_pay_for_is_taken_over_and_given_back() {
    let market = market(3).await;
    fs::write(market.source.join("letter"), b"dear all".repeat(40_000)).unwrap();
    let args = market.create_args(&["--epochs", "1"]);
    run(&market, "buyer", &args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let to = friend(&market).await;
    entrust(&market, &to, &["--take-over"]).await;

    // What ends soon is renewed within the budget, too: nothing, then one, then all.
    let tend = ["delegate", "tend", "--now", "--epochs", "2", "--budget"];
    let before = run(&market, "friend", &["balance"]).await;
    let poor = [&tend[..], &["0.000001 TST"]].concat();
    let poor = market.world.run_to("friend", poor, 5).await.unwrap();
    let refused = all(&poor, "not_taken_over");
    let n = refused.len();
    assert!(n >= 2 && all(&poor, "taken_over").is_empty(), "{poor:?}");
    let why = refused[0]["why"].as_str().unwrap();
    assert!(why.contains("of the budget 0.000001 TST are left"), "{why}");
    assert_eq!(run(&market, "friend", &["balance"]).await, before);
    let one = why.strip_prefix("it may cost up to ").unwrap().split(' ').next().unwrap();
    let one = format!("{one} TST");
    let for_one = [&tend[..], &[&one]].concat();
    let tended = market.world.run_to("friend", for_one, 5).await.unwrap();
    assert_eq!(all(&tended, "taken_over").len(), 1, "{tended:?}");
    let tended = run(&market, "friend", &[&tend[..], &["50 TST"]].concat()).await;
    assert_eq!(all(&tended, "taken_over").len(), n - 1, "{tended:?}");
    assert_eq!(all(&tended, "health")[0]["live"], n as u64);
    let open = |lines: &[Value]| {
        let is_open = |line: &&Value| line["state"] == "open" && line["byte_epochs"] != 0;
        lines.iter().filter(is_open).count()
    };
    assert_eq!(open(&contracts(&market, "friend").await), n);
    assert_eq!(open(&contracts(&market, "buyer").await), 0);

    let file = path(&market, "handed");
    run(&market, "friend", &["delegate", "hand-back", "--out", &file]).await;
    let reclaimed = run(&market, "buyer", &["delegate", "reclaim", &file, "--epochs", "2"]).await;
    assert_eq!(all(&reclaimed, "reclaimed").len(), n, "{reclaimed:?}");
    assert_eq!(open(&contracts(&market, "buyer").await), n);
    market.restored_equals_the_source("buyer", "restored").await;
    run(&market, "buyer", &["audit", "--deep"]).await;
    market.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_dead_at_the_beginning_is_left_to_the_first_repair() {
    let mut market = market(4).await;
    fs::write(market.source.join("letter"), b"dear all".repeat(40_000)).unwrap();
    run(&market, "buyer", &market.create_args(&[]).iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let hosts: Vec<String> = contracts(&market, "buyer")
        .await
        .iter()
        .map(|line| market.host_of(line["provider"].as_str().unwrap()))
        .collect();
    let n = hosts.len();
    let dead = market.world.address(&hosts[0]).unwrap().split('@').next().unwrap().to_owned();
    let to = friend(&market).await;
    let file = path(&market, "entrusted");
    run(&market, "buyer", &["delegate", "entrust", &to, "--out", &file]).await;
    market.world.kill(&hosts[0]).await.unwrap();

    // It is named, and the others are dealt with; the same again opens and pays nothing.
    let accept = ["delegate", "accept", &file];
    let accepted = run(&market, "friend", &accept).await;
    let left_out = all(&accepted, "left_out");
    assert_eq!(left_out.len(), 1, "{accepted:?}");
    assert_eq!(left_out[0]["provider"], dead.as_str());
    assert!(left_out[0]["why"].as_str().unwrap().contains("nobody answers at"), "{left_out:?}");
    let told = &all(&accepted, "accepted")[0];
    assert_eq!((&told["opened"], &told["left_out"]), (&(n - 1).into(), &1.into()), "{told}");
    let open = |lines: &[Value]| lines.iter().filter(|line| line["stage"] == "open").count();
    let before = (contracts(&market, "friend").await, run(&market, "friend", &["balance"]).await);
    assert_eq!(open(&before.0), n - 1);
    let again = run(&market, "friend", &accept).await;
    let told = &all(&again, "accepted")[0];
    assert_eq!((&told["opened"], &told["left_out"]), (&0.into(), &1.into()), "{told}");
    let after = (contracts(&market, "friend").await, run(&market, "friend", &["balance"]).await);
    assert_eq!(before, after);

    // The first repair gives its slot to another, which the owner takes back.
    let fresh = market.fresh_host("fresh").await;
    let tended = run(&market, "friend", &["delegate", "tend", "--now", "--host", &fresh]).await;
    let repaired = all(&tended, "repaired");
    assert_eq!(repaired[0]["replaced"].as_array().unwrap().len(), 1, "{tended:?}");
    let deep = run(&market, "friend", &["audit", "--deep"]).await;
    assert_eq!(deep.iter().filter(|line| line["outcome"] == "proven").count(), n, "{deep:?}");
    let handed = path(&market, "handed");
    run(&market, "friend", &["delegate", "hand-back", "--out", &handed]).await;
    let reclaimed = run(&market, "buyer", &["delegate", "reclaim", &handed]).await;
    assert_eq!(all(&reclaimed, "reclaimed").len(), 1, "{reclaimed:?}");

    // Of fewer than it takes to rebuild, nobody takes care, and nothing is opened.
    let other = party(&market, "other").await;
    run(&market, "buyer", &["delegate", "entrust", &other, "--out", &file]).await;
    for host in &hosts[1..] {
        market.world.kill(host).await.unwrap();
    }
    let refused = market.world.run("other", accept).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("1 of {n} hosts of a set can be dealt with")), "{refused}");
    assert!(contracts(&market, "other").await.is_empty());
    market.world.end().await;
}
