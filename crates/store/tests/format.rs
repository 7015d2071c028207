//! The bytes of a journal and of a key file are those that `docs/formats/store.md` shows.

use fondaco_crypto::SecretKey;
use fondaco_store::{DiskFile, Journal, Kind, save_key};

const PAGE: &str = include_str!("../../../docs/formats/store.md");

/// The bytes of the page's hexdump: after their offset, before a note.
fn documented() -> Vec<u8> {
    let block = PAGE.split("```hexdump\n").nth(1).unwrap().split("```").next().unwrap();
    let mut bytes = Vec::new();
    for line in block.lines() {
        let (offset, rest) = line.split_once("  ").unwrap();
        assert_eq!(offset, format!("{:04x}", bytes.len()));
        let digits = rest.split('|').next().unwrap().split_whitespace();
        bytes.extend(digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

#[test]
fn the_page_shows_what_is_written() {
    let folder = std::env::temp_dir().join(format!("fondaco-store-format-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let kind = Kind::new(*b"notes\0\0\0", 1);
    let disk = DiskFile::open(folder.join("journal")).unwrap();
    let mut journal = Journal::open(disk, kind, |_| Ok::<(), String>(())).unwrap();
    journal.append(&["first", "second"]).unwrap();
    // The record that a search could take for a frame: eight bytes of magic, written as nine.
    journal.append(&[b"\x89Frame\r\x1a"]).unwrap();
    let end = usize::try_from(journal.head().bytes.get()).unwrap();
    let image = std::fs::read(folder.join("journal")).unwrap();
    assert_eq!(image.len(), 64 << 10);
    assert!(image[end..].iter().all(|byte| *byte == 0));
    save_key(&folder.join("key"), &SecretKey::from_bytes(&[7; 32]), None).unwrap();
    let key = std::fs::read_to_string(folder.join("key")).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(documented(), image[..end], "written is: {:02x?}", &image[..end]);
    assert!(PAGE.contains(&key), "written is:\n{key}");
}
