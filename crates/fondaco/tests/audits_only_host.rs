//! A villain: a host that answers what looks like an audit, and no other read.

mod market;
mod parts;

use market::{Market, market};
use parts::{compare, failure, world};
use std::collections::BTreeMap;

/// Audits; returns what each host showed, by its short name.
async fn audit(market: &Market, args: &[&str]) -> BTreeMap<String, String> {
    let lines = market.audit("buyer", args).await;
    let audits = lines.iter().filter(|line| line["event"] == "audit");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    audits.map(|line| (text(&line["provider"]), text(&line["outcome"]))).collect()
}

/// Starts a host again at its socket, with these words more.
async fn restart(market: &mut Market, host: &str, more: &[&str]) {
    let socket = market.world.address(host).unwrap().rsplit('@').next().unwrap().to_owned();
    market.world.stop(host).await;
    let args = ["up", "--listen", &socket].into_iter().chain(more.iter().copied());
    market.world.start(host, args).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_audits_and_not_reads_is_found() {
    let mut market = market(4).await;
    market.write_noise(1);
    market.world.run("buyer", market.create_args(&[])).await.unwrap();
    let villain = "host-1";
    let entity = market.world.address(villain).unwrap().to_owned();
    let is_villain = |name: &str| entity.starts_with(name);
    let found = |audited: &BTreeMap<String, String>| {
        for (name, outcome) in audited {
            let expected = if is_villain(name) { "silent" } else { "proven" };
            assert_eq!(outcome, expected, "{audited:?}");
        }
        assert!(audited.keys().any(|name| is_villain(name)));
    };

    // A sampled audit reads a whole step at least. A step of a small object is one group, and is answered: such a place is
    // drawn once in thirty times, so that an audit of one place is made again then.
    restart(&mut market, villain, &["--misbehave", "audits-only"]).await;
    for args in [&[][..], &["--samples", "1"]] {
        let mut audited = audit(&market, args).await;
        for _ in 0..8 {
            if audited.iter().any(|(name, outcome)| is_villain(name) && outcome == "silent") {
                break;
            }
            audited = audit(&market, args).await;
        }
        found(&audited);
    }

    // What a restore did without is asked for by the next audit, in another process, and by a deep one as well.
    market.restored_equals_the_source("buyer", "restored").await;
    found(&audit(&market, &["--deep"]).await);

    // Who answers it at last owes nothing.
    restart(&mut market, villain, &[]).await;
    let outcomes = audit(&market, &["--deep"]).await;
    assert!(outcomes.values().all(|outcome| outcome == "proven"), "{outcomes:?}");
    market.world.end().await;
}
