//! A standing that is earned by audits alone: each by the real command, of a host that keeps all and answers none.

mod market;
mod parts;
#[path = "replayed/relay.rs"]
mod relay;

use market::{Market, key_of, market};
use parts::{compare, failure, world};
use relay::{Habit, Relay};
use serde_json::Value;

/// More audits than any standing takes.
const AUDITS_MAX: usize = 60;

/// Audits once; returns the line of this host.
async fn audit(market: &Market, entity: &str) -> Value {
    let lines = market.audit("buyer", &["--samples", "2"]).await;
    let audits = lines.into_iter().filter(|line| line["event"] == "audit");
    let mut of_it =
        audits.filter(|line| entity.starts_with(line["provider"].as_str().unwrap_or("-")));
    of_it.next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_no_audit_is_warned_unpaid_and_replaced() {
    let mut market = market(4).await;
    market.write_noise(1);
    let villain = "host-2";
    let service = market.world.address(villain).unwrap().parse().unwrap();
    let [key, buyer] = [villain, "buyer"].map(|who| key_of(&market.world.home(who)));
    let relay = Relay::start(&key, &buyer, service).await;
    let entity = key.entity().to_string();
    let mut args = market.create_args(&[]);
    market.stand_in(&mut args, villain, relay.address());
    market.world.run("buyer", &args).await.unwrap();
    let good = audit(&market, &entity).await;
    assert_eq!((&good["outcome"], &good["standing"]), (&"proven".into(), &"good".into()));

    // Worse by each audit, and never a liar: what it refuses it does not count.
    relay.take_up(Habit::Refuses);
    let mut seen: Vec<(String, usize)> = Vec::new();
    for number in 1..=AUDITS_MAX {
        let line = audit(&market, &entity).await;
        assert_eq!(line["outcome"], "silent", "{line}");
        let standing = line["standing"].as_str().unwrap().to_owned();
        if seen.last().is_none_or(|(last, _)| *last != standing) {
            seen.push((standing.clone(), number));
        }
        if standing == "being repaired" {
            break;
        }
    }
    // By the numbers of the policy: below 97.5, 96.8 and 96.4 per cent of a thousand good ones.
    let names: Vec<&str> = seen.iter().map(|(standing, _)| standing.as_str()).collect();
    assert_eq!(names, ["good", "warned", "unpaid", "being repaired"], "{seen:?}");
    let near = |at: usize, audits: usize| seen[at].1.abs_diff(audits) <= 3;
    assert!(near(1, 26) && near(2, 33) && near(3, 38), "{seen:?}");
    let good = market.world.run_to("buyer", ["audit", "--samples", "2"], 6).await.unwrap();
    let others = good.iter().filter(|line| line["standing"] == "good").count();
    assert_eq!(others, 3, "nobody else is to blame: {good:?}");

    // It answers again, too late: it proves all that is asked now, and its slot is another's all the same.
    relay.take_up(Habit::Honest);
    let fresh = market.fresh_host("fresh").await;
    let repaired = market.backup("buyer", &["repair", "--host", &fresh]).await;
    let done = repaired.iter().find(|line| line["event"] == "repaired").unwrap();
    let replaced = done["replaced"].as_array().unwrap();
    assert_eq!(replaced.len(), 1, "{done}");
    assert_eq!(replaced[0]["from"], entity.as_str(), "{done}");
    let why = replaced[0]["why"].as_str().unwrap();
    assert!(why.starts_with("it proved only 96."), "{why}");
    let short = market.world.address("fresh").unwrap().split('@').next().unwrap().to_owned();
    assert_eq!(replaced[0]["to"], short.as_str(), "{done}");
    market.world.kill(villain).await.unwrap();
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
