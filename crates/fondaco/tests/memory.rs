//! A backup and a restore of more bytes than they may have memory for.

mod market;
mod parts;
#[path = "market/peak.rs"]
mod peak;

use market::market;
use parts::{compare, failure, world};
use std::fs::File;
use std::io::{Read as _, copy};

/// What is backed up, in KiB: more than either bound, so that whoever kept it all would be found.
const DATA: u64 = 1280 << 10;
const FILES: u64 = 10;
/// The most memory of the command in KiB, whatever there is to back up. It is 480 MB as a rule; opening alone takes 175.
const PEAK_MAX: u64 = 640 << 10;
/// The same of a restore: 280 MB as a rule. Where the disk is slower than the market, the library's twenty threads have up
/// to 40 MiB each that wait to be written.
const RESTORE_PEAK_MAX: u64 = 1152 << 10;

#[allow(clippy::print_stderr)] // figures for who runs this with --nocapture
fn tell(what: &str) {
    eprintln!("{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_what_is_backed_up() {
    let market = market(9).await;
    // Noise of the system: a test's own would take longer than the backup.
    let mut noise = File::open("/dev/urandom").unwrap().take(0);
    for number in 0..FILES {
        noise.set_limit((DATA << 10) / FILES);
        let mut file = File::create_new(market.source.join(number.to_string())).unwrap();
        copy(&mut noise, &mut file).unwrap();
    }
    let (_, backing_up) = peak::run(&market.world, "buyer", &market.create_args(&[])).await;
    let (_, again) = peak::run(&market.world, "buyer", &market.create_args(&[])).await;
    let to = market.world.home("restored");
    let args = ["backup", "restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    let (_, restoring) = peak::run(&market.world, "buyer", &args.map(str::to_owned)).await;
    compare::compare(&market.source, &to, None).unwrap();
    let args = ["backup", "check", "--read-data", "--no-cache"];
    let (_, checking) = peak::run(&market.world, "buyer", &args.map(str::to_owned)).await;
    tell(&format!(
        "backup: {backing_up}, unchanged: {again}, restore: {restoring}, check: {checking} KiB"
    ));
    for peak in [backing_up, again, checking] {
        assert!(peak < PEAK_MAX, "{peak} KiB, of {PEAK_MAX} at most");
    }
    assert!(restoring < RESTORE_PEAK_MAX, "{restoring} KiB, of {RESTORE_PEAK_MAX} at most");
    market.world.end().await;
}
