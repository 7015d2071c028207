//! Villains that sign what renews their contracts and never say so: what they hold is within the budget all the same.

mod market;
mod parts;
#[path = "replayed/relay.rs"]
mod relay;

use market::{Market, key_of, market};
use parts::{compare, failure, world};
use relay::{Habit, Relay};
use serde_json::Value;
use std::collections::BTreeMap;

/// A sum in millionths of a coin, which is the scale of this market.
fn millionths(text: &Value) -> u64 {
    let (whole, rest) = text.as_str().unwrap().split_once('.').unwrap();
    whole.parse::<u64>().unwrap() * 1_000_000 + rest.parse::<u64>().unwrap()
}

fn coins(millionths: u64) -> String {
    format!("{}.{:06} TST", millionths / 1_000_000, millionths % 1_000_000)
}

/// The contracts that are not over, and the most that is held for each.
async fn holds(market: &Market) -> BTreeMap<String, u64> {
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let stands = lines.iter().filter(|line| line["stage"] == "open" || line["stage"] == "intended");
    stands.map(|line| (line["contract"].to_string(), millionths(&line["hold_max"]))).collect()
}

/// Renews by `args` with a budget that is enough for two hosts, and that four do not exceed, though none says that it signed.
async fn renews_no_more_than_two(market: &Market, args: &[&str]) {
    let before = holds(market).await;
    let budget = before.values().max().unwrap() * 5 / 2;
    let named = coins(budget);
    let args = [args, &[&named]].concat();
    let lines = market.world.run_to_any("buyer", args, &[5, 6]).await.unwrap();
    let failed: Vec<_> = lines.iter().filter(|line| line["event"] == "not_renewed").collect();
    let after = holds(market).await;
    let new = after.iter().filter(|(contract, _)| !before.contains_key(*contract));
    let more: u64 = new.map(|(_, held)| held).sum();
    let told: u64 = failed.iter().map(|line| millionths(&line["held"])).sum();
    assert!(more > 0 && more <= budget, "{more} of {budget}: {lines:?}");
    assert_eq!(told, more, "what is in doubt is told: {lines:?}");
    let over = failed.iter().filter(|line| line["why"].as_str().unwrap().contains("the budget"));
    assert!(over.count() >= 1 && failed.len() >= 3, "{lines:?}");
}

/// A market whose hosts are villains, as soon as they are told to, and whose holds are used up.
async fn used_up() -> (Market, Vec<Relay>) {
    let market = market(4).await;
    market.write_noise(8);
    let mut relays = Vec::new();
    let buyer = key_of(&market.world.home("buyer"));
    let mut args = market.create_args(&["--epochs", "3"]);
    for host in &market.hosts {
        let service = market.world.address(host).unwrap().parse().unwrap();
        let relay = Relay::start(&key_of(&market.world.home(host)), &buyer, service).await;
        market.stand_in(&mut args, host, relay.address());
        relays.push(relay);
    }
    market.world.run("buyer", args).await.unwrap();
    market.read_all_that_holds_pay().await;
    (market, relays)
}

async fn available(market: &Market) -> u64 {
    millionths(&market.world.ask("buyer", ["balance"]).await.unwrap()["available"])
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_withhold_their_answer_do_not_exceed_a_budget() {
    let (market, relays) = used_up().await;
    relays.iter().for_each(|relay| relay.take_up(Habit::Withholds));
    renews_no_more_than_two(&market, &["backup", "repair", "--budget"]).await;

    // Who signed says so when asked again; with the others it is renewed then.
    relays.iter().for_each(|relay| relay.take_up(Habit::Honest));
    market.world.run("buyer", ["contracts", "renew"]).await.unwrap();
    relays.iter().for_each(|relay| relay.take_up(Habit::Withholds));
    let renew = ["contracts", "renew", "--within", "100", "--budget"];
    renews_no_more_than_two(&market, &renew).await;
    relays.iter().for_each(|relay| relay.take_up(Habit::Honest));
    market.world.run("buyer", ["contracts", "renew", "--within", "100"]).await.unwrap();
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}

/// Who refuses for good has a hold all the same, until it expires. However often the same is tried, in one command or in
/// several, all of them together are within the sum that was named.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_refuse_for_good_do_not_exceed_a_budget_however_often() {
    let (market, relays) = used_up().await;
    let hold = *holds(&market).await.values().max().unwrap();
    let before = available(&market).await;
    relays.iter().for_each(|relay| relay.take_up(Habit::Declines));
    let budget = coins(hold * 5 / 2);
    let rounds = ["backup", "repair", "--every", "1s", "--budget", &budget];
    let lines = market.rounds("buyer", &rounds, 2);
    let refused = lines.iter().filter(|line| line["event"] == "not_renewed");
    let of_it = |line: &&Value| line["why"].as_str().unwrap().contains("came to nothing");
    assert!(refused.filter(of_it).count() >= 2, "it is said what is in the way: {lines:?}");
    let held = before - available(&market).await;
    assert!(held > 0 && held <= hold * 5 / 2, "{held} of {budget}: {lines:?}");
    for command in [&rounds[..2], &["contracts", "renew"], &["backup", "check", "--read-data"]] {
        let flag = if command[1] == "check" { "--renew" } else { "--budget" };
        let args = [command, &[flag, &budget]].concat();
        market.world.run_to_any("buyer", args, &[1, 5]).await.unwrap();
        let held = before - available(&market).await;
        assert!(held <= hold * 5 / 2, "{held} of {budget}: {command:?}");
    }

    // Who names more gets more, and the others are renewed with.
    relays.iter().for_each(|relay| relay.take_up(Habit::Honest));
    let more = coins(hold * 8);
    market.world.run("buyer", ["backup", "repair", "--budget", &more]).await.unwrap();
    assert!(before - available(&market).await <= hold * 8);
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}

/// So it is with hosts that refuse to take a lost slot; and what they hold keeps no backup from opening contracts.
#[tokio::test(flavor = "multi_thread")]
async fn repairs_that_hosts_refuse_do_not_exceed_a_budget_however_often() {
    let mut market = market(4).await;
    market.write_noise(1);
    market.world.run("buyer", market.create_args(&["--survive", "0.99"])).await.unwrap();
    let hold = *holds(&market).await.values().max().unwrap();
    let lines = market.world.run("buyer", ["contracts", "list"]).await.unwrap();
    let lost = market.host_of(lines[0]["provider"].as_str().unwrap());
    let used: Vec<String> =
        lines.iter().map(|line| market.host_of(line["provider"].as_str().unwrap())).collect();
    // Who is not in the set refuses by way of a relay; the real one is not known here.
    for host in market.hosts.clone().iter().filter(|host| **host == lost || !used.contains(host)) {
        market.world.kill(host).await.unwrap();
    }
    let fresh = market.fresh_host("fresh").await;
    let buyer = key_of(&market.world.home("buyer"));
    let key = key_of(&market.world.home("fresh"));
    let relay = Relay::start(&key, &buyer, fresh.parse().unwrap()).await;
    let address = relay.address().to_string();
    relay.take_up(Habit::Declines);
    let before = available(&market).await;
    let budget = hold * 5 / 2;
    let repair = |sum: u64| {
        let args = ["backup", "repair", "--now", "--host", &address, "--budget", &coins(sum)];
        args.map(str::to_owned)
    };
    for _ in 0..4 {
        let lines = market.world.run_to_any("buyer", repair(budget), &[1]).await.unwrap();
        let held = before - available(&market).await;
        assert!(held > 0 && held <= budget, "{held} of {budget}: {lines:?}");
    }
    let held = before - available(&market).await;
    assert!(held > hold, "it was tried more than once: {held} of {budget}");

    // Who names more gets more.
    relay.take_up(Habit::Honest);
    let lines = market.world.run("buyer", repair(hold * 5)).await.unwrap();
    let repaired = lines.iter().find(|line| line["event"] == "repaired").unwrap();
    assert_eq!(repaired["replaced"].as_array().unwrap().len(), 1, "{lines:?}");
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
