//! An older snapshot lies under contracts whose hosts are all away: a backup goes on without it, and says so; and whether the new
//! one can be restored.

mod market;
mod parts;

use fondaco_agent::BookFile;
use fondaco_agent::book::{Event, ObjectId, ObjectKind, ObjectRecord};
use fondaco_codec::List;
use market::{Market, market};
use parts::{compare, failure, world};
use serde_json::Value;

fn book(market: &Market) -> BookFile {
    BookFile::open(&market.world.home("buyer").join("agent/journal")).unwrap()
}

/// The snapshots, and where they lie.
fn snapshots(market: &Market) -> Vec<(ObjectId, ObjectRecord)> {
    book(market).read(|book| {
        let of_kind = book.objects().filter(|(object, _)| object.kind == ObjectKind::Snapshot);
        of_kind.map(|(object, record)| (object, record.clone())).collect()
    })
}

/// Backs up, and is to end with this code, without one snapshot; returns the new one, and what was said in the end.
async fn without_one(market: &Market, args: &[String], code: i32) -> (String, String) {
    let lines = market.world.run_to_any("buyer", args.to_vec(), &[code]).await.unwrap();
    let told = lines.iter().any(|line| line["what"].to_string().contains("going on without"));
    let backup = lines.iter().find(|line| line["event"] == "backup");
    let backup: &Value = backup.unwrap_or_else(|| panic!("{lines:?}"));
    assert!(told && backup["left_behind"] == 1, "{lines:?}");
    let error = lines.last().unwrap()["error"].as_str().unwrap().to_owned();
    (backup["snapshot"].as_str().unwrap().to_owned(), error)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_brought_along_keeps_nothing_from_being_stored() {
    let mut market = market(3).await;
    market.write_noise(1);
    market.world.run("buyer", market.create_args(&["--survive", "0.99"])).await.unwrap();
    let [(first, old)] = &snapshots(&market)[..] else { panic!("there is one") };
    let hosts = market.hosts.clone();
    let source = market.source.to_str().unwrap().to_owned();
    let mut args = ["backup", "create", &source, "--survive", "0.99"].map(str::to_owned).to_vec();
    for number in 0..4 {
        args.extend(["--host".to_owned(), market.fresh_host(&format!("fresh-{number}")).await]);
    }
    // All that is small is brought along from the one host that is left.
    for host in &hosts[..2] {
        market.world.stop(host).await;
    }
    std::fs::write(market.source.join("letter"), b"dear all").unwrap();
    market.world.run("buyer", args.clone()).await.unwrap();
    assert!(snapshots(&market).iter().all(|(_, record)| record.set != old.set));

    // It was cut off before it came to the snapshot; and the last host goes, too.
    let &ObjectRecord { length, set, code, tagged, .. } = old;
    let shards = List::new(old.shards.clone()).unwrap();
    let (object, k, tagged) = (*first, code.k(), tagged.unwrap());
    let stored = Event::TaggedObjectStored { object, length, set, k, shards, tagged };
    book(&market).record(&stored).unwrap();
    market.world.stop(&hosts[2]).await;
    // What was backed up first is needed yet, and its hosts are away.
    std::fs::write(market.source.join("letter"), b"dear friends").unwrap();
    let (_, error) = without_one(&market, &args, 6).await;
    assert!(
        error.contains("is stored, but") && error.contains("cannot be read now either"),
        "{error}"
    );
    // What is new needs nothing of it.
    std::fs::remove_file(market.source.join("noise-0")).unwrap();
    std::fs::write(market.source.join("letter"), b"dear friends, all is new").unwrap();
    let (snapshot, error) = without_one(&market, &args, 1).await;
    assert!(error.contains("is kept and can be restored"), "{error}");
    let to = market.world.home("restored");
    let restore = ["restore", &snapshot, "--no-cache", "--to", to.to_str().unwrap()];
    market.backup("buyer", &restore).await;
    compare::compare(&market.source, &to, None).unwrap();
    market.world.end().await;
}
