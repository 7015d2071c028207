//! A copy of a journal in use has all that was acknowledged before it began, and opens.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use fondaco_store::{CopyError, DiskFile, Head, Journal, Kind, OpenError, copy_journal};
use fondaco_units::Bytes;

const TEST: Kind = Kind::new(*b"test\0\0\0\0", 1);

fn within(name: &str, test: impl FnOnce(&Path)) {
    let folder = std::env::temp_dir().join(format!("fondaco-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    test(&folder);
    fs::remove_dir_all(folder).unwrap();
}

fn open(path: &Path) -> (Journal<DiskFile>, Vec<Vec<u8>>) {
    let mut records = Vec::new();
    let journal = Journal::open(DiskFile::open(path).unwrap(), TEST, |record| {
        records.push(record.to_vec());
        Ok::<(), String>(())
    });
    (journal.unwrap(), records)
}

fn copy(from: &Path, to: &Path) -> Result<Head, CopyError> {
    copy_journal(from, to, TEST, |_, _| {})
}

fn record(index: u64) -> Vec<u8> {
    let length = usize::try_from(index * 7919 % 5000).unwrap();
    index.to_le_bytes().into_iter().cycle().take(8 + length).collect()
}

#[test]
fn a_journal_is_copied_while_it_is_appended_to() {
    within("copy-live", |folder| {
        let from = folder.join("journal");
        let (mut journal, _) = open(&from);
        let (done, acknowledged) = (AtomicBool::new(false), Mutex::new(journal.head()));
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = 0;
                for _ in 0..400 {
                    let frame: Vec<_> = (next..next + 1 + next % 40).map(record).collect();
                    next += frame.len() as u64;
                    journal.append(&frame).unwrap();
                    *acknowledged.lock().unwrap() = journal.head();
                }
                done.store(true, Relaxed);
            });
            let to = folder.join("copy");
            while !done.load(Relaxed) {
                let before = *acknowledged.lock().unwrap();
                let mut seen = Bytes::ZERO;
                let head = copy_journal(&from, &to, TEST, |copied, total| {
                    assert!(copied > seen && copied <= total);
                    seen = copied;
                })
                .unwrap();
                assert!(head.records >= before.records && head.bytes >= before.bytes);
                let (mut copied, records) = open(&to);
                assert_eq!(copied.head(), head);
                assert!(records.iter().zip(0..).all(|(found, index)| *found == record(index)));
                copied.append(&["goes on"]).unwrap();
                drop(copied);
                fs::remove_file(&to).unwrap();
            }
        });
        let head = copy(&from, &folder.join("last")).unwrap();
        assert_eq!(head, *acknowledged.lock().unwrap());
    });
}

#[test]
fn a_torn_end_is_left_out_and_damage_is_refused() {
    within("copy-damage", |folder| {
        let (from, to) = (folder.join("journal"), folder.join("copy"));
        let (mut journal, _) = open(&from);
        let mut heads = vec![journal.head()];
        for index in 0..4 {
            journal.append(&[record(index)]).unwrap();
            heads.push(journal.head());
        }
        // Its owner still has it: the copy does not ask for the lock.
        let flip = |at: u64| {
            let file = fs::OpenOptions::new().read(true).write(true).open(&from).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        };
        let last = heads[4].bytes.get() - 1;
        flip(last);
        assert_eq!(copy(&from, &to).unwrap(), heads[3]);
        assert_eq!(open(&to).0.head(), heads[3]);
        fs::remove_file(&to).unwrap();
        flip(last);
        for head in &heads[..3] {
            let at = head.bytes.get() + 70;
            flip(at);
            let error = copy(&from, &to).unwrap_err();
            let CopyError::Journal { source: OpenError::Damaged { at: found, .. }, .. } = error
            else {
                panic!("{error}");
            };
            assert_eq!(found, head.bytes.get());
            assert!(!to.exists());
            flip(at);
        }
        assert_eq!(copy(&from, &to).unwrap(), heads[4]);
        let names = fs::read_dir(folder).unwrap().count();
        assert_eq!(names, 2, "nothing is left beside them");
    });
}

#[test]
fn what_is_no_journal_is_not_copied_and_nothing_is_overwritten() {
    within("copy-foreign", |folder| {
        let (from, to) = (folder.join("journal"), folder.join("copy"));
        assert!(matches!(copy(&from, &to), Err(CopyError::File(_))), "missing");
        fs::write(&from, "").unwrap();
        let error = copy(&from, &to).unwrap_err();
        assert!(matches!(error, CopyError::NotBegun { .. }) && error.is_transient());
        fs::write(&from, "hello").unwrap();
        let error = copy(&from, &to).unwrap_err();
        assert!(error.to_string().ends_with("journal: the file is not a journal"), "{error}");
        fs::remove_file(&from).unwrap();
        let (mut journal, _) = open(&from);
        assert_eq!(copy(&from, &to).unwrap(), journal.head(), "a journal without a record");
        journal.append(&["one"]).unwrap();
        assert!(matches!(copy(&from, &to), Err(CopyError::Exists { .. })));
        let other = copy_journal(
            &from,
            &folder.join("other"),
            Kind::new(*b"x\0\0\0\0\0\0\0", 1),
            |_, _| {},
        );
        assert!(matches!(other, Err(CopyError::Journal { source: OpenError::Kind { .. }, .. })));
        assert_eq!(open(&to).1.len(), 0);
    });
}
