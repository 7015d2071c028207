//! Sparse files, backed up and restored: into a folder of nothing, and over what is there.

mod market;
mod parts;

use market::market;
use parts::{compare, failure, world};
use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// What was a hole, or only zeros, takes no room after a restore.
#[tokio::test(flavor = "multi_thread")]
async fn holes_are_holes_after_a_restore() {
    let market = market(5).await;
    let sparse = fs::File::create_new(market.source.join("sparse")).unwrap();
    sparse.set_len(96 << 20).unwrap();
    for island in [0, 40 << 20, (96 << 20) - 7] {
        sparse.write_all_at(b"island.", island).unwrap();
    }
    drop(sparse);
    fs::File::create_new(market.source.join("hollow")).unwrap().set_len(64 << 20).unwrap();
    fs::write(market.source.join("zeros"), vec![0; 8 << 20]).unwrap();
    market.world.run("buyer", market.create_args(&["--survive", "0.9"])).await.unwrap();
    let to = market.world.home("restored");
    let restore = ["restore", "latest", "--no-cache", "--to", to.to_str().unwrap()];
    market.backup("buyer", &restore).await;
    compare::compare(&market.source, &to, None).unwrap();
    // POSIX counts blocks of 512 bytes here, whatever the disk has.
    let taken = |name: &str| fs::metadata(to.join(name)).unwrap().blocks() * 512;
    // A chunk of the archive, 8 MiB at most, has all of its zeros where it has anything else.
    for (name, most) in [("sparse", 28 << 20), ("hollow", 1 << 20), ("zeros", 1 << 20)] {
        assert!(taken(name) < most, "{name} takes {}", taken(name));
    }
    // Over what was there before, nothing is left of it.
    fs::write(to.join("hollow"), vec![7; 64 << 20]).unwrap();
    market.backup("buyer", &restore).await;
    compare::compare(&market.source, &to, None).unwrap();
    market.world.end().await;
}
