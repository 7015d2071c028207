//! Files and folders on the disk of the machine that runs the tests.

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

use fondaco_crypto::Digest;
use fondaco_ports::{Clock, Disk};
use fondaco_store::{
    ContentFolder, DiskFile, FileError, Journal, Kind, OpenError, Part, SystemClock, available,
    write_atomic,
};
use fondaco_units::Bytes;

const TEST: Kind = Kind::new(*b"test\0\0\0\0", 1);
const TREE: Part = Part::new("tree");

/// A folder of its own for each test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("fondaco-store-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn nothing(_: &[u8]) -> Result<(), String> {
    Ok(())
}

#[test]
fn a_journal_survives_its_process_and_grows() {
    let scratch = Scratch::new("journal");
    let path = scratch.join("journal");
    let record = |index: u32| vec![index.to_le_bytes()[0]; 1000 * index as usize];
    let mut head = None;
    for round in 0..10 {
        let mut index = 0;
        let mut journal = Journal::open(DiskFile::open(&path).unwrap(), TEST, |found| {
            assert_eq!(found, record(index));
            index += 1;
            nothing(found)
        })
        .unwrap();
        assert_eq!(index, round * 20);
        assert!(head.is_none_or(|head| head == journal.head()));
        for step in 0..10 {
            let first = index + 2 * step;
            journal.append(&[record(first), record(first + 1)]).unwrap();
        }
        head = Some(journal.head());
    }
    let head = head.unwrap();
    assert_eq!((head.records, head.frames), (200, 100));
    assert!(head.bytes.get() > 16 << 20);
    assert_eq!(fs::metadata(&path).unwrap().len() % (4 << 20), 0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn limits_refuse_and_change_nothing() {
    let scratch = Scratch::new("limits");
    let path = scratch.join("journal");
    let mut journal = Journal::open(DiskFile::open(&path).unwrap(), TEST, nothing).unwrap();
    let longest = vec![1; 2 << 20];
    let before = journal.head();
    let error = journal.append(&[vec![1; (2 << 20) + 1]]).unwrap_err();
    assert!(error.to_string().contains("2097153"), "{error}");
    assert!(journal.append(&[&longest; 8]).is_err(), "16 MiB and 32 bytes");
    let nothing_appended = journal.append(&[] as &[&[u8]]).unwrap();
    assert_eq!(nothing_appended.at, before.bytes);
    assert!(nothing_appended.records.is_empty());
    assert_eq!(journal.head(), before);
    journal.append(&[&longest; 7]).unwrap();
    journal.append(&[b"", b""]).unwrap();
    let head = journal.head();
    drop(journal);
    let mut lengths = Vec::new();
    let journal = Journal::open(DiskFile::open(&path).unwrap(), TEST, |record| {
        lengths.push(record.len());
        nothing(record)
    })
    .unwrap();
    assert_eq!(journal.head(), head);
    assert_eq!(lengths, [vec![2 << 20; 7], vec![0, 0]].concat());
}

#[test]
fn other_files_are_refused_by_name() {
    let scratch = Scratch::new("foreign");
    let open = |name: &str, kind| {
        let disk = DiskFile::open(scratch.join(name)).unwrap();
        Journal::open(disk, kind, nothing).map(|journal| journal.head())
    };
    fs::write(scratch.join("text"), "hello").unwrap();
    assert!(matches!(open("text", TEST), Err(OpenError::Foreign)));
    assert_eq!(fs::read(scratch.join("text")).unwrap(), b"hello");
    fs::write(scratch.join("long"), vec![b'x'; 64 << 10]).unwrap();
    assert!(matches!(open("long", TEST), Err(OpenError::Foreign)));

    open("journal", TEST).unwrap();
    let error = open("journal", Kind::new(*b"other\0\0\0", 1)).unwrap_err();
    let text = "this is the journal of (test, version 1), not of (other, version 1)";
    assert_eq!(error.to_string(), text);
    let error = open("journal", Kind::new(*b"test\0\0\0\0", 2)).unwrap_err();
    assert!(matches!(error, OpenError::Kind { .. }));
}

#[test]
fn a_refused_record_is_named() {
    let scratch = Scratch::new("refused");
    let path = scratch.join("journal");
    let mut journal = Journal::open(DiskFile::open(&path).unwrap(), TEST, nothing).unwrap();
    journal.append(&["a", "b"]).unwrap();
    journal.append(&["c", "d"]).unwrap();
    drop(journal);
    let refuse = |record: &[u8]| if record == b"d" { Err("no d") } else { Ok(()) };
    let error = Journal::open(DiskFile::open(&path).unwrap(), TEST, refuse).unwrap_err();
    assert_eq!(error.to_string(), "record 3 of the journal is refused: no d");
}

#[test]
fn one_process_has_a_file() {
    let scratch = Scratch::new("lock");
    let path = scratch.join("file");
    let first = DiskFile::open(&path).unwrap();
    let error = DiskFile::open(&path).unwrap_err();
    assert!(matches!(&error, FileError::Locked { path: found } if *found == path));
    assert!(error.is_transient());
    drop(first);
    let mut disk = DiskFile::open(&path).unwrap();
    disk.write_at(3, b"abc").unwrap();
    disk.sync().unwrap();
    let mut buffer = [9; 8];
    assert_eq!(disk.read_at(1, &mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"\0\0abc");
    assert_eq!(disk.len().unwrap(), 6);
    let missing = DiskFile::open(scratch.join("no/file")).unwrap_err();
    assert!(matches!(missing, FileError::Missing { .. }), "{missing}");
}

/// A file that is replaced stays this process's, under the name and behind the link that it has.
#[test]
fn a_replaced_file_is_still_locked() {
    let scratch = Scratch::new("replaced");
    let (path, link) = (scratch.join("file"), scratch.join("link"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut disk = DiskFile::open(&link).unwrap();
    disk.write_at(0, b"old").unwrap();
    // Who opened the old one in this moment has nothing that anybody would find again.
    let old = fs::File::open(&path).unwrap();
    let refused = disk.replace(&mut |out| {
        out.write_all(b"half")?;
        Err(std::io::Error::other("no more"))
    });
    assert_eq!(refused.unwrap_err().to_string(), "no more");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    disk.replace(&mut |out| out.write_all(b"new")).unwrap();
    disk.write_at(3, b"er").unwrap();
    disk.sync().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newer");
    assert!(old.try_lock().is_ok(), "nobody has it any more");
    for name in [&path, &link] {
        assert!(matches!(DiskFile::open(name), Err(FileError::Locked { .. })));
    }
    drop(disk);
    assert_eq!(DiskFile::open(&link).unwrap().len().unwrap(), 5);
    assert!(link.is_symlink());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn small_files_are_replaced_whole() {
    let scratch = Scratch::new("atomic");
    let path = scratch.join("file");
    for text in ["old", "new and longer"] {
        write_atomic(&path, text.as_bytes(), 0o640).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn blobs_are_whole_or_not_there() {
    let scratch = Scratch::new("folder");
    let root = scratch.join("blobs");
    let folder = ContentFolder::open(&root).unwrap();
    assert!(matches!(ContentFolder::open(&root), Err(FileError::Locked { .. })));
    let name = Digest::of(b"data");
    let mut dropped = folder.begin().unwrap();
    dropped.write(b"da").unwrap();
    drop(dropped);
    assert_eq!(fs::read_dir(root.join("incoming")).unwrap().count(), 0);
    assert!(!folder.contains(name, Part::DATA).unwrap());

    for (part, bytes) in [(TREE, "tree"), (Part::DATA, "data"), (Part::DATA, "data")] {
        let mut incoming = folder.begin().unwrap();
        incoming.write_at(2, &bytes.as_bytes()[2..]).unwrap();
        incoming.write_at(0, &bytes.as_bytes()[..2]).unwrap();
        assert_eq!(incoming.length(), Bytes::new(4));
        incoming.commit(name, part).unwrap();
    }
    let other = Digest::of(b"other");
    folder.begin().unwrap().commit(other, Part::DATA).unwrap();
    fs::write(root.join("ab-foreign"), "").unwrap();
    let mut expected = vec![(name, Part::DATA), (name, TREE), (other, Part::DATA)];
    expected.sort();
    let listed: Vec<_> = folder.list().map(Result::unwrap).collect();
    assert_eq!(listed, expected);

    let mut half = folder.begin().unwrap();
    half.write(b"half").unwrap();
    std::mem::forget(half); // As a crash would.
    drop(folder);
    let folder = ContentFolder::open(&root).unwrap();
    assert_eq!(fs::read_dir(root.join("incoming")).unwrap().count(), 0);
    let mut buffer = [0; 9];
    assert_eq!(folder.read_at(name, Part::DATA, 1, &mut buffer).unwrap(), 3);
    assert_eq!(&buffer[..3], b"ata");
    assert_eq!(folder.length(name, TREE).unwrap(), Some(Bytes::new(4)));
    let open = folder.get(name, Part::DATA).unwrap();
    assert!(folder.remove(name, Part::DATA).unwrap());
    assert!(!folder.remove(name, Part::DATA).unwrap());
    assert_eq!(open.read_at(0, &mut buffer).unwrap(), 4, "a reader is not disturbed");
    assert!(folder.contains(name, TREE).unwrap());
    assert!(matches!(folder.get(name, Part::DATA), Err(FileError::Missing { .. })));
    assert!(available(folder.path()).unwrap() > Bytes::ZERO);
}

/// A torn end is handed over before it is cut off; where it cannot be kept, nothing is cut off.
#[test]
fn a_torn_end_is_kept_first() {
    let scratch = Scratch::new("torn");
    let path = scratch.join("journal");
    let mut journal = Journal::open(DiskFile::open(&path).unwrap(), TEST, nothing).unwrap();
    let whole = journal.append(&["whole"]).unwrap();
    let torn = journal.append(&["torn"]).unwrap().at.get();
    let end = journal.head().bytes.get();
    drop(journal);
    let mut bytes = fs::read(&path).unwrap();
    let [from, to] = [torn, end].map(|at| usize::try_from(at).unwrap());
    bytes[to - 1] ^= 0x55;
    fs::write(&path, &bytes).unwrap();
    let open = |keep: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>| {
        let disk = DiskFile::open(&path).unwrap();
        Journal::open_keeping(disk, TEST, keep, nothing).map(|journal| journal.head())
    };
    let full = open(&mut |_, _| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
    assert!(full.is_transient() && full.hint().contains("free some space"), "{full}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let mut kept = None;
    let mut keep = |at: u64, bytes: &[u8]| {
        kept = Some((at, bytes.to_vec()));
        Ok(())
    };
    assert_eq!(open(&mut keep).unwrap().chain, whole.chain);
    assert_eq!(kept, Some((torn, bytes[from..to].to_vec())));
    open(&mut |_, _| panic!("there is nothing more")).unwrap();
}

#[test]
fn the_clock_is_of_this_century() {
    assert!(SystemClock.now().to_string().starts_with("20"));
}
