//! Who reads more than a hold pays for is told so, loses nothing, and reads on under new contracts.

mod market;
mod parts;

use market::{CHECK, Market, market};
use parts::{compare, failure, world};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// More often than a delegate's hold pays for audits of little data: between 37 and 40 times, as the places fall.
const AUDITS_MAX: usize = 80;

fn all<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

impl Market {
    /// The contracts that are open.
    async fn open(&self) -> BTreeSet<String> {
        let lines = self.world.run("buyer", ["contracts", "list"]).await.unwrap();
        let open = lines.iter().filter(|line| line["stage"] == "open");
        open.map(|line| line["contract"].to_string()).collect()
    }

    /// How the audits of all contracts come out, and how their hosts stand then.
    async fn audited(&self, who: &str) -> Vec<(String, String)> {
        let lines = self.audit(who, &[]).await;
        // Nothing but a hold that is used up keeps it from asking here.
        let is_unasked = |line: &Value| line["outcome"] == "unasked" && line["slot"].is_number();
        let code = lines.last().and_then(|line| line["code"].as_i64());
        assert_eq!(code == Some(5), lines.iter().any(is_unasked), "{lines:?}");
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        let audits = all(&lines, "audit");
        audits.iter().map(|line| (text(line, "outcome"), text(line, "standing"))).collect()
    }
}

/// A backup of 32 MiB by four hosts, under contracts of three epochs.
async fn backed_up() -> Market {
    let market = market(4).await;
    market.write_noise(8);
    market.world.run("buyer", market.create_args(&["--epochs", "3"])).await.unwrap();
    market
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_does_not_eat_up_what_keeping_costs() {
    let market = backed_up().await;
    let (reads, refused) = market.read_all_that_holds_pay().await;
    assert!(reads >= 2, "a hold pays for reading everything twice");
    let hint = refused.last().unwrap()["hint"].as_str().unwrap();
    assert!(hint.contains("fondaco contracts renew"), "{hint}");
    let told = all(&refused, "check")[0]["errors"].to_string();
    assert!(told.contains("is used up") && !told.contains("rustic_core"), "{told}");
    assert!(!told.contains("units"), "{told}");

    // What keeping costs is still there: each contract pays on to its end, or to a new one.
    let renewed = market.world.run("buyer", ["contracts", "renew"]).await.unwrap();
    assert_eq!(all(&renewed, "renewed").len(), 4, "{renewed:?}");
    market.world.run("buyer", CHECK).await.unwrap();
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}

/// A restore that was told what renewing may cost goes on by itself; one that was not, or that has too little, costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_on_within_its_budget() {
    let market = backed_up().await;
    market.read_all_that_holds_pay().await;
    let before = market.world.ask("buyer", ["balance"]).await.unwrap();
    let to = market.world.home("restored");
    let to = to.to_str().unwrap();
    let restore = ["backup", "restore", "--no-cache", "--to", to];
    let refused = market.world.run_to("buyer", restore, 5).await.unwrap();
    let hint = refused.last().unwrap()["hint"].as_str().unwrap();
    assert!(hint.contains("--renew"), "{hint}");
    let poor = [&restore[..], &["--renew", "0.000001 TST"]].concat();
    let refused = market.world.run_to("buyer", poor, 5).await.unwrap();
    assert!(!all(&refused, "not_renewed").is_empty(), "{refused:?}");
    let error = refused.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("of the budget 0.000001 TST are left"), "{error}");
    let monthly = [&restore[..], &["--renew", "1 TST/month"]].concat();
    market.world.run_to("buyer", monthly, 2).await.unwrap();
    assert_eq!(market.world.ask("buyer", ["balance"]).await.unwrap(), before);

    let rich = [&restore[..], &["--renew", "1 TST"]].concat();
    let done = market.world.run("buyer", rich).await.unwrap();
    assert!(!all(&done, "renewed").is_empty() && all(&done, "restore").len() == 1, "{done:?}");
    compare::compare(&market.source, &market.world.home("restored"), None).unwrap();
    market.world.end().await;
}

/// A check and a mount that were told what renewing may cost go on by themselves, without beginning again; a check that was not, or
/// that has too little, costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_a_mount_go_on_within_their_sums() {
    let mut market = backed_up().await;
    let (_, refused) = market.read_all_that_holds_pay().await;
    let hint = refused.last().unwrap()["hint"].as_str().unwrap();
    assert!(hint.contains("--renew"), "{hint}");
    let before = market.world.ask("buyer", ["balance"]).await.unwrap();
    let poor = [&CHECK[..], &["--renew", "0.000001 TST"]].concat();
    let refused = market.world.run_to("buyer", poor, 5).await.unwrap();
    let told = refused.last().unwrap();
    assert!(told["error"].as_str().unwrap().contains("of the budget 0.000001 TST are left"));
    assert!(told["hint"].as_str().unwrap().contains("--renew"), "{told}");
    let tried = all(&refused, "not_renewed");
    let hosts: BTreeSet<_> = tried.iter().map(|line| line["provider"].to_string()).collect();
    assert!(!tried.is_empty() && hosts.len() == tried.len(), "each once: {refused:?}");
    assert_eq!(market.world.ask("buyer", ["balance"]).await.unwrap(), before);

    let rich = [&CHECK[..], &["--no-cache", "--renew", "1 TST"]].concat();
    let done = market.world.run("buyer", rich).await.unwrap();
    assert!(!all(&done, "renewed").is_empty() && all(&done, "not_renewed").is_empty(), "{done:?}");
    assert_eq!(all(&done, "check")[0]["errors"], Value::Array(Vec::new()), "{done:?}");

    if !Path::new("/dev/fuse").exists() {
        market.world.end().await;
        return;
    }
    market.read_all_that_holds_pay().await;
    let before = market.open().await;
    let mounted = market.world.home("mounted");
    std::fs::create_dir(&mounted).unwrap();
    let mount = ["backup", "mount", "latest", mounted.to_str().unwrap(), "--renew", "1 TST"];
    market.world.start("buyer", mount).await.unwrap();
    let source = market.source.clone();
    let compare = move || compare::compare(&source, &mounted, None);
    tokio::task::spawn_blocking(compare).await.unwrap().unwrap();
    market.world.stop("buyer").await;
    let after = market.open().await;
    assert!(after.len() == 4 && after != before, "{after:?}");
    // The books that hosts keep have it, too: they were given them while the folder was read.
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}

/// A backup that has its indexes to read, and no cache, renews within its budget, and stores under the contracts that there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_renews_what_it_needs_to_read() {
    let market = market(4).await;
    market.write_noise(8);
    let mut noise = market::Noise::new();
    for number in 0..2000 {
        std::fs::write(market.source.join(format!("small-{number}")), noise.bytes(100)).unwrap();
    }
    market.world.run("buyer", market.create_args(&["--epochs", "3"])).await.unwrap();
    market.read_all_that_holds_pay().await;
    let mut audits = 0;
    while market.audited("buyer").await.iter().any(|(outcome, _)| outcome != "unasked") {
        audits += 1;
        assert!(audits < AUDITS_MAX, "not every hold is used up");
    }
    // Where not even a key can be read, there is none.
    let forget = || drop(std::fs::remove_dir_all(market.world.home("buyer").join("cache")));
    forget();
    std::fs::write(market.source.join("new"), b"dear all").unwrap();
    let refused = market.world.run_to("buyer", market.create_args(&[]), 5).await.unwrap();
    let hint = refused.last().unwrap()["hint"].as_str().unwrap();
    assert!(hint.contains("--budget"), "{hint}");
    // Where the audits left as much as the index costs, it has opened contracts for what is new, and could not bring the rest along.
    let before = market.open().await;
    forget();
    let poor = market.create_args(&["--budget", "0.000001 TST"]);
    let refused = market.world.run_to("buyer", poor, 5).await.unwrap();
    assert!(!all(&refused, "not_renewed").is_empty(), "{refused:?}");
    assert_eq!(market.open().await, before);
    forget();
    let rich = market.create_args(&["--budget", "1 TST"]);
    let done = market.world.run("buyer", rich).await.unwrap();
    assert!(!all(&done, "renewed").is_empty() && all(&done, "contracts").is_empty(), "{done:?}");
    assert_eq!(market.open().await.len(), before.len());
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}

/// What is no sum in a currency that is held here is refused at once, and not when a hold is used up one day.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_no_sum_is_refused_before_anything_is_done() {
    let market = backed_up().await;
    let to = market.world.home("restored");
    let restore = ["backup", "restore", "--to", to.to_str().unwrap(), "--renew"];
    let gateway = ["gateway", "restic", "--listen", "127.0.0.1:0", "--size", "20M", "--budget"];
    let check = ["backup", "check", "--renew"];
    for args in [&restore[..], &check, &["backup", "repair", "--budget"], &gateway] {
        for sum in ["lots", "1e3", "5 CLR", "0.0000001 TST", "1 TST/month"] {
            let said = market.world.run_to("buyer", [args, &[sum]].concat(), 2).await.unwrap();
            let error = said.last().unwrap();
            let said = format!("{} {}", error["error"], error["hint"]);
            assert!(said.contains("--renew") || said.contains("--budget"), "{said}");
        }
    }
    assert!(!to.exists());
    market.world.end().await;
}

/// A repair that nobody watches renews what its own audits and others used up, within its budget; its hosts are audited again, and
/// none is called lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_repair_with_a_budget_renews_what_is_used_up() {
    let market = backed_up().await;
    market.read_all_that_holds_pay().await;
    // Who was not told what it may cost names the hosts, and does no more.
    let told = market.world.run_to("buyer", ["backup", "repair"], 5).await.unwrap();
    let used_up = all(&told, "used_up").len();
    assert!(used_up >= 3, "{told:?}");
    assert_eq!(all(&told, "health")[0]["live"], 4, "{told:?}");
    let poor = ["backup", "repair", "--budget", "0.000001 TST"];
    let told = market.world.run_to("buyer", poor, 5).await.unwrap();
    assert_eq!(all(&told, "not_renewed").len(), used_up, "{told:?}");
    assert!(all(&told, "renewed").is_empty(), "{told:?}");
    let unasked = market.audited("buyer").await;
    assert_eq!(unasked.iter().filter(|(outcome, _)| outcome == "unasked").count(), used_up);

    let rich = ["backup", "repair", "--budget", "1 TST"];
    let done = market.world.run("buyer", rich).await.unwrap();
    assert_eq!(all(&done, "renewed").len(), used_up, "{done:?}");
    let health = all(&done, "health")[0];
    assert!(health["live"] == 4 && health["due"] == false, "{health}");
    assert!(all(&done, "used_up").is_empty() && all(&done, "repaired").is_empty(), "{done:?}");
    let proven = market.audited("buyer").await;
    let good = ("proven".to_owned(), "good".to_owned());
    assert!(proven.len() == 4 && proven.iter().all(|one| *one == good), "{proven:?}");
    // Nothing is renewed without need, and what is kept ends when it did.
    let again = market.world.run("buyer", rich).await.unwrap();
    assert!(all(&again, "renewed").is_empty(), "{again:?}");
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let open: Vec<_> = lines.iter().filter(|line| line["stage"] == "open").collect();
    let ends: std::collections::BTreeSet<_> =
        open.iter().map(|line| line["ends"].to_string()).collect();
    assert_eq!((open.len(), ends.len()), (4, 1), "{lines:?}");
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}

/// A repair that goes on by itself has the sum anew in each round, and renews nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn each_round_has_its_sum_and_what_was_renewed_stays_so() {
    let market = backed_up().await;
    market.read_all_that_holds_pay().await;
    let told = market.world.run_to("buyer", ["backup", "repair"], 5).await.unwrap();
    let used_up = all(&told, "used_up").len();
    let open = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let hold = |line: &Value| line["hold_max"].as_str().unwrap().parse::<f64>().unwrap();
    let most = all(&open, "contract").iter().map(|line| hold(line)).fold(0.0, f64::max);
    // A little more than for one: so many rounds, and one that finds nothing to do.
    let budget = format!("{:.6} TST", most * 1.2);
    let rounds = ["backup", "repair", "--every", "1s", "--budget", &budget];
    let lines = market.rounds("buyer", &rounds, used_up + 2);
    let renewed = all(&lines, "renewed");
    let of: BTreeSet<_> = renewed.iter().map(|line| line["contract"].to_string()).collect();
    assert!(of.len() == renewed.len() && of.len() >= used_up, "each once: {lines:?}");
    let health = |line: &Value| line["event"] == "health";
    for round in lines.split(health) {
        let held: f64 = all(round, "renewed")
            .iter()
            .map(|line| line["held"].as_str().unwrap().parse::<f64>().unwrap())
            .sum();
        assert!(held <= most * 1.2, "{round:?}");
    }
    let last = lines.rsplit(health).nth(1).unwrap();
    assert!(all(last, "used_up").is_empty(), "{last:?}");
    assert_eq!(market.open().await.len(), 4);
    market.world.end().await;
}

/// A delegate's contracts, which only pay for reading, are used up by its audits alone; with a budget it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_goes_on_auditing_within_its_budget() {
    let market = market(4).await;
    std::fs::write(market.source.join("letter"), b"dear all".repeat(40_000)).unwrap();
    std::fs::write(market.source.join("noise"), market::Noise::new().bytes(100_000)).unwrap();
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let friend = market.world.ask("friend", ["init", "--no-passphrase"]).await.unwrap();
    let friend = friend["entity"].as_str().unwrap();
    market.world.ask("friend", ["wallet", "add", &market.issuer]).await.unwrap();
    market.world.ask("issuer", ["issuer", "mint", "100", "--to", friend]).await.unwrap();
    let file = market.world.home("entrusted");
    let file = file.to_str().unwrap();
    market.world.run("buyer", ["delegate", "entrust", friend, "--out", file]).await.unwrap();
    market.world.run("friend", ["delegate", "accept", file]).await.unwrap();
    market.world.run("friend", ["delegate", "tend"]).await.unwrap();
    let mut audits = 0;
    loop {
        let lines = market.audit("friend", &[]).await;
        let is_proven = |line: &&Value| line["outcome"] == "proven";
        if !all(&lines, "audit").iter().all(is_proven) {
            assert!(audits > 1, "a hold pays for more than one audit: {lines:?}");
            break;
        }
        audits += 1;
        assert!(audits < AUDITS_MAX, "no hold is used up");
    }
    let told = market.world.run_to("friend", ["delegate", "tend"], 5).await.unwrap();
    assert!(!all(&told, "used_up").is_empty(), "{told:?}");
    let tend = ["delegate", "tend", "--budget", "1 TST"];
    let done = market.world.run("friend", tend).await.unwrap();
    assert!(!all(&done, "renewed").is_empty(), "{done:?}");
    assert_eq!(all(&done, "health")[0]["lost"], Value::Array(Vec::new()), "{done:?}");
    let audited = market.audit("friend", &[]).await;
    for renewed in all(&done, "renewed") {
        let is_it = |line: &&Value| line["contract"] == renewed["by"];
        assert_eq!(audited.iter().find(is_it).unwrap()["outcome"], "proven", "{audited:?}");
    }
    // Others are used up later, and are renewed then; none is open twice.
    for _ in 0..3 {
        let done = market.world.run("friend", tend).await.unwrap();
        assert!(all(&done, "used_up").is_empty(), "{done:?}");
    }
    let lines = market.world.run("friend", ["contracts", "list"]).await.unwrap();
    let open = lines.iter().filter(|line| line["stage"] == "open").count();
    assert_eq!(open, market.hosts.len(), "{lines:?}");
    market.world.end().await;
}
