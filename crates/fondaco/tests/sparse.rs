//! A sparse file of 20 GB, by the real command: what it takes of time, of the market's room and of memory.

mod market;
mod parts;
#[path = "market/peak.rs"]
mod peak;

use market::market;
use parts::{compare, failure, world};
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::{Duration, Instant};

const SIZE: u64 = 20_000_000_000;
const STORED_MAX: u64 = 1 << 20;
/// Each island has the chunk that it is in: 8 MiB at most, and 512 KiB here.
const ON_DISK_MAX: u64 = 4 << 20;
/// In KiB.
const PEAK_MAX: u64 = 256 << 10;
const BACKUP_MAX: Duration = Duration::from_secs(180);
const RESTORE_MAX: Duration = Duration::from_secs(60);
const ISLANDS: [u64; 4] = [0, 5_000_000_123, 12_345_678_901, SIZE - 7];

#[allow(clippy::print_stderr)] // figures for who runs this with --nocapture
fn tell(what: &str) {
    eprintln!("{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_gigabytes_of_nothing() {
    let market = market(4).await;
    let mut options = File::options();
    let options = options.read(true).write(true).create_new(true);
    let sparse = options.open(market.source.join("sparse")).unwrap();
    sparse.set_len(SIZE).unwrap();
    for island in ISLANDS {
        sparse.write_all_at(b"island.", island).unwrap();
    }
    let began = Instant::now();
    let (_, backing_up) = peak::run(&market.world, "buyer", &market.create_args(&[])).await;
    let backed_up = began.elapsed();
    let cost = market.backup("buyer", &["cost"]).await;
    let stored = cost.iter().rev().find(|line| line["event"] == "cost").unwrap()["stored"].clone();
    let to = market.world.home("restored");
    let args = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    let began = Instant::now();
    let (_, restoring) = peak::run(&market.world, "buyer", &args.map(str::to_owned)).await;
    let restored = began.elapsed();
    tell(&format!(
        "backup: {backed_up:?}, {backing_up} KiB; stored: {stored} bytes; restore: {restored:?}, {restoring} KiB"
    ));

    let copy = File::open(to.join("sparse")).unwrap();
    assert_eq!(copy.metadata().unwrap().len(), SIZE);
    for island in ISLANDS {
        let from = island.saturating_sub(10);
        let length = usize::try_from((SIZE - from).min(27)).unwrap();
        let (mut one, mut other) = (vec![1; length], vec![2; length]);
        sparse.read_exact_at(&mut one, from).unwrap();
        copy.read_exact_at(&mut other, from).unwrap();
        assert_eq!(one, other, "{island}");
    }
    // One chunk of zeros serves all holes: what is kept, sent and held in memory is of the islands, and of a list of chunks.
    let stored = stored.as_u64().unwrap();
    assert!(stored < STORED_MAX, "{stored} bytes are kept");
    let on_disk = copy.metadata().unwrap().blocks() * 512;
    assert!(on_disk < ON_DISK_MAX, "{on_disk} bytes are on the disk");
    for peak in [backing_up, restoring] {
        assert!(peak < PEAK_MAX, "{peak} KiB of memory");
    }
    // Hashing them takes 10 s of a processor here, and this may run beside other tests.
    assert!(backed_up < BACKUP_MAX && restored < RESTORE_MAX, "{backed_up:?}, {restored:?}");
    market.world.end().await;
}
