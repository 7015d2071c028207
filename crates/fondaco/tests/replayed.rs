//! A villain that keeps its proofs and not its shards, and a buyer that asks with a nonce of before.

mod market;
mod parts;
#[path = "replayed/relay.rs"]
mod relay;

use fondaco_agent::Agent;
use fondaco_agent::auditing::{Audited, Kind, Outcome, audit};
use fondaco_store::SystemClock;
use fondaco_transport::Endpoint;
use market::{Market, key_of, market};
use parts::{compare, failure, world};
use relay::{Habit, Relay};
use std::sync::Arc;

/// A deep audit as the buyer's command makes it, in a process that has no entropy: its nonce is given.
async fn audit_with(market: &Market, nonce: [u8; 32]) -> Vec<Audited> {
    let home = market.world.home("buyer");
    let key = key_of(&home);
    let endpoint = Endpoint::bind(&key, None, &[]).await.unwrap();
    let clock = Arc::new(SystemClock);
    let agent = Agent::open(&home.join("agent"), key, endpoint.clone(), clock).unwrap();
    let audited = audit(&agent.objects(), Kind::Deep, 200, nonce, |_| ()).await.unwrap();
    endpoint.close().await;
    audited
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_proof_answers_its_own_question_and_no_other() {
    let mut market = market(4).await;
    market.write_noise(1);
    let villain = "host-1";
    let service = market.world.address(villain).unwrap().parse().unwrap();
    let keys = ["buyer", villain].map(|who| key_of(&market.world.home(who)));
    let relay = Relay::start(&keys[1], &keys[0], service).await;
    let mut args = market.create_args(&[]);
    market.stand_in(&mut args, villain, relay.address());
    market.world.run("buyer", args).await.unwrap();
    let is_villain = |audited: &&Audited| audited.provider == keys[1].entity();
    let outcome = |audited: &[Audited]| audited.iter().find(is_villain).unwrap().outcome.clone();

    // A buyer whose nonces repeat asks the same again. The service proves it again, byte for byte the same, as the
    // relay sees; whoever kept the proof need not, and passes: that is all there is to gain, and the loss is the buyer's.
    for _ in 0..2 {
        let audited = audit_with(&market, [7; 32]).await;
        let proven = |each: &Audited| matches!(each.outcome, Outcome::Proven { .. });
        assert!(audited.iter().all(proven), "{audited:?}");
    }
    let (made, replayed) = relay.counts();
    assert!(made > 0 && made.is_multiple_of(2) && replayed == 0, "{made} {replayed}");
    relay.take_up(Habit::Replays);
    let audited = audit_with(&market, [7; 32]).await;
    assert!(matches!(outcome(&audited), Outcome::Proven { .. }), "{audited:?}");
    assert_eq!(relay.counts(), (made, made / 2), "from memory");

    // A buyer whose nonces are new has each audit's own question, and an old proof answers none.
    let lines = market.world.run_to("buyer", ["audit", "--deep"], 8).await.unwrap();
    let short = keys[1].entity().to_string();
    for line in lines.iter().filter(|line| line["event"] == "audit") {
        let is_villain = short.starts_with(line["provider"].as_str().unwrap());
        let expected = if is_villain { "caught" } else { "proven" };
        assert_eq!(line["outcome"], expected, "{line}");
    }
    assert!(relay.counts().1 > made / 2);
    // It was caught for good: it is not asked again, and what it keeps is made anew elsewhere.
    let fresh = market.fresh_host("fresh").await;
    let repaired = market.backup("buyer", &["repair", "--host", &fresh]).await;
    let done = repaired.iter().find(|line| line["event"] == "repaired").unwrap();
    assert_eq!(done["replaced"][0]["from"], short.as_str(), "{done}");
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
