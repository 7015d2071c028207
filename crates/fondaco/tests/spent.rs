//! Who reads more than a hold pays for is told so, loses nothing, and reads on under new contracts.
#![allow(dead_code, unreachable_pub)]

#[path = "../src/demo/compare.rs"]
mod compare;
#[path = "../src/failure.rs"]
mod failure;
mod market;
#[path = "../src/demo/world.rs"]
mod world;

use market::market;

/// More often than any hold pays for reading everything.
const READS_MAX: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn reading_does_not_eat_up_what_keeping_costs() {
    let market = market(4).await;
    market.write_noise(8);
    market.world.run("buyer", market.create_args(&["--epochs", "3"])).await.unwrap();
    let check = ["backup", "check", "--read-data"];
    let mut reads = 0;
    let refused = loop {
        let lines = market.world.run_to_any("buyer", check, &[0, 5]).await.unwrap();
        if lines.last().unwrap()["code"] == 5 {
            break lines;
        }
        reads += 1;
        assert!(reads < READS_MAX, "no hold is used up");
    };
    assert!(reads >= 2, "a hold pays for reading everything twice");
    let hint = refused.last().unwrap()["hint"].as_str().unwrap();
    assert!(hint.contains("fondaco contracts renew"), "{hint}");
    let told = refused.iter().find(|line| line["event"] == "check").unwrap()["errors"].to_string();
    assert!(told.contains("pays at most") && !told.contains("rustic_core"), "{told}");

    // What keeping costs is still there: each contract pays on to its end, or to a new one.
    let renewed = market.world.run("buyer", ["contracts", "renew"]).await.unwrap();
    assert_eq!(renewed.iter().filter(|line| line["event"] == "renewed").count(), 4, "{renewed:?}");
    market.world.run("buyer", check).await.unwrap();
    market.restored_equals_the_source("buyer", "restored").await;
    market.world.end().await;
}
