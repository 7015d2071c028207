//! A snapshot is the one that was saved, or it says why it is not.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use fondaco_crypto::Digest;
use fondaco_store::{Head, Kind, SnapshotError, Spill, load_snapshot, save_snapshot};
use fondaco_units::Bytes;

const TEST: Kind = Kind::new(*b"test\0\0\0\0", 1);
const HEAD: Head = Head {
    records: 7,
    frames: 3,
    chain: Digest::from_bytes([0xcc; 32]),
    bytes: Bytes::new(0x1234),
};

fn within(name: &str, test: impl FnOnce(&Path)) {
    let folder = std::env::temp_dir().join(format!("fondaco-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    test(&folder);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_loaded_is_what_was_saved_last() {
    within("snapshot-saved", |folder| {
        let path = folder.join("snapshot");
        assert!(load_snapshot(&path, TEST).unwrap().is_none());
        let long: Vec<u8> = (0..3_000_001_u32).map(|index| index.to_le_bytes()[0]).collect();
        for body in [&b"body"[..], b"", &long] {
            save_snapshot(&path, TEST, HEAD, body).unwrap();
            let (head, found) = load_snapshot(&path, TEST).unwrap().unwrap();
            assert_eq!(head, HEAD);
            assert!(found == body);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1, "nothing is left beside it");
    });
}

/// What is spilled piece by piece and saved later is what is saved at once; one that is dropped leaves nothing.
#[test]
fn a_spilled_body_is_saved_alike() {
    within("snapshot-spilled", |folder| {
        let [spilled, whole] = ["spilled", "whole"].map(|name| folder.join(name));
        let body: Vec<u8> = (0..3_000_001_u32).map(|index| index.to_le_bytes()[0]).collect();
        for body in [&body[..], b""] {
            let mut spill = Spill::begin(&spilled).unwrap();
            body.chunks(700_001).for_each(|piece| spill.write(piece).unwrap());
            assert_eq!(spill.bytes(), Bytes::new(body.len() as u64));
            save_snapshot(&spilled, TEST, HEAD, b"before").unwrap();
            save_snapshot(&whole, TEST, HEAD, body).unwrap();
            spill.save(TEST, HEAD).unwrap();
            assert!(fs::read(&spilled).unwrap() == fs::read(&whole).unwrap());
        }
        Spill::begin(&spilled).unwrap().write(b"never saved").unwrap();
        assert_eq!(load_snapshot(&spilled, TEST).unwrap().unwrap(), (HEAD, vec![]));
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "nothing is left beside them");
    });
}

/// The hexdump of `docs/formats/store.md`.
#[test]
fn the_page_shows_what_is_saved() {
    const PAGE: &str = include_str!("../../../docs/formats/store.md");
    within("snapshot-page", |folder| {
        let path = folder.join("snapshot");
        save_snapshot(&path, TEST, HEAD, b"body").unwrap();
        let block = PAGE.split("```hexdump\n").nth(2).unwrap().split("```").next().unwrap();
        let digits =
            block.lines().flat_map(|line| line[6..].split('|').next().unwrap().split_whitespace());
        let shown: Vec<_> = digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let saved = fs::read(&path).unwrap();
        assert_eq!(shown, saved, "saved is: {saved:02x?}");
    });
}

#[test]
fn cut_or_changed_anywhere_it_is_refused() {
    within("snapshot-damage", |folder| {
        let path = folder.join("snapshot");
        save_snapshot(&path, TEST, HEAD, b"body").unwrap();
        let sound = fs::read(&path).unwrap();
        let load = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let error = load_snapshot(&path, TEST).unwrap_err();
            assert!(error.to_string().contains("snapshot"), "{error}: names its path");
            assert!(!error.is_transient() && !error.hint().is_empty());
            error
        };
        for length in 0..sound.len() {
            let error = load(&sound[..length]);
            match length {
                0..8 => {
                    assert!(matches!(error, SnapshotError::Foreign { .. }), "{length}: {error}");
                }
                8..96 => {
                    assert!(matches!(error, SnapshotError::Damaged { .. }), "{length}: {error}");
                }
                _ => assert!(matches!(error, SnapshotError::Length { .. }), "{length}: {error}"),
            }
        }
        let longer = [&sound[..], &[0]].concat();
        assert!(matches!(load(&longer), SnapshotError::Length { .. }));
        for at in 0..sound.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = sound.clone();
                changed[at] ^= change;
                match load(&changed) {
                    SnapshotError::Foreign { .. } => assert!(at < 8, "byte {at}"),
                    SnapshotError::Damaged { .. } => assert!(at >= 8, "byte {at}"),
                    error => panic!("byte {at}: {error}"),
                }
            }
        }
        assert!(matches!(load(b"hello, world"), SnapshotError::Foreign { .. }));
    });
}

/// Headers whose checks hold, written by another program.
#[test]
fn lengths_versions_and_kinds_are_believed_from_the_file_alone() {
    within("snapshot-foreign", |folder| {
        let path = folder.join("snapshot");
        save_snapshot(&path, TEST, HEAD, b"body").unwrap();
        let sound = fs::read(&path).unwrap();
        let load = |at: usize, bytes: &[u8]| {
            let mut other = sound.clone();
            other[at..at + bytes.len()].copy_from_slice(bytes);
            let check = fondaco_crypto::Digest::derive(
                fondaco_crypto::Domain::new("fondaco 2026 snapshot header v1"),
                &other[..88],
            );
            other[88..96].copy_from_slice(&check.as_bytes()[..8]);
            fs::write(&path, other).unwrap();
            load_snapshot(&path, TEST).unwrap_err()
        };
        let version = load(8, &[2]);
        assert!(matches!(version, SnapshotError::Version { found: 2, known: 1, .. }), "{version}");
        let kind = load(12, b"other");
        assert!(
            kind.to_string()
                .ends_with("is a snapshot of (other, version 1), not of (test, version 1)")
        );
        let length = load(80, &[0xff; 8]);
        assert!(matches!(length, SnapshotError::Length { found: 132, wanted: u64::MAX, .. }));
        // The digest over all binds the head to the body.
        let head = load(24, &[8]);
        assert!(matches!(head, SnapshotError::Damaged { .. }), "{head}");
        assert!(load_snapshot(&path, Kind::new(*b"test\0\0\0\0", 2)).is_err());
    });
}

/// A crash may leave a part of the new one beside the old one.
#[test]
fn what_a_crash_left_beside_it_is_in_nobodys_way() {
    within("snapshot-crash", |folder| {
        let path = folder.join("snapshot");
        save_snapshot(&path, TEST, HEAD, b"old").unwrap();
        fs::write(folder.join(".snapshot.new"), "half").unwrap();
        assert_eq!(load_snapshot(&path, TEST).unwrap().unwrap().1, b"old");
        save_snapshot(&path, TEST, HEAD, b"new").unwrap();
        assert_eq!(load_snapshot(&path, TEST).unwrap().unwrap().1, b"new");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        let missing = save_snapshot(&folder.join("no/snapshot"), TEST, HEAD, b"").unwrap_err();
        assert!(missing.to_string().contains("no/.snapshot.new"), "{missing}");
    });
}
