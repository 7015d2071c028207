//! A snapshot that something wrote into is loaded as it was saved, or not at all.
#![no_main]

use fondaco_store::{DiskFile, Journal, Kind, load_snapshot, save_snapshot};
use libfuzzer_sys::fuzz_target;
use std::{convert::Infallible, fs, path::PathBuf, sync::LazyLock};

const KIND: Kind = Kind::new(*b"fuzz\0\0\0\0", 1);

/// Any bytes at all; or one of the snapshots that were saved, cut, lengthened and changed.
type Input<'a> = (Option<&'a [u8]>, u8, Option<u32>, Vec<(u32, u8)>);

/// What is in a snapshot, and its file as it was saved.
struct Saved {
    body: Vec<u8>,
    file: Vec<u8>,
}

struct World {
    path: PathBuf,
    saved: Vec<Saved>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("fondaco-fuzz-snapshot-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for what is temporary");
    let disk = DiskFile::open(&folder.join("journal")).expect("a new journal");
    let mut journal = Journal::open(disk, KIND, |_| Ok::<(), Infallible>(())).expect("it is empty");
    let path = folder.join("snapshot");
    let bodies =
        [vec![], b"short".to_vec(), vec![0; 1000], (0..=255).cycle().take(70_000).collect()];
    let saved = bodies.into_iter().map(|body| {
        journal.append(&[b"a record"]).expect("room for it");
        save_snapshot(&path, KIND, journal.head(), &body).expect("room for a snapshot");
        let file = fs::read(&path).expect("it was just saved");
        Saved { body, file }
    });
    let saved = saved.collect();
    World { path, saved }
});

fuzz_target!(|input: Input<'_>| {
    let (raw, which, length, changes) = input;
    let World { path, saved } = &*WORLD;
    let Some(bytes) = raw else {
        let Saved { body, file } = &saved[usize::from(which) % saved.len()];
        let mut altered = file.clone();
        if let Some(length) = length {
            altered.resize(length as usize % (2 * file.len()), 0);
        }
        for (at, change) in changes {
            let size = altered.len();
            if size > 0 {
                altered[at as usize % size] ^= change;
            }
        }
        fs::write(path, &altered).expect("room for a short file");
        match load_snapshot(path, KIND) {
            Ok(Some((_, found))) => assert!(altered == *file && found == *body),
            Ok(None) => panic!("there is a file"),
            Err(_) => assert!(altered != *file, "what was saved is loaded"),
        }
        return;
    };
    fs::write(path, bytes).expect("room for a short file");
    let _ = load_snapshot(path, KIND);
});
