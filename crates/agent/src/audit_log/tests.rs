use super::*;

fn key() -> SecretKey {
    SecretKey::from_bytes(&[1; 32])
}

fn audited(number: u8) -> Audited {
    Audited {
        contract: ContractId::from_digest(Digest::from_bytes([number; 32])),
        provider: EntityId::from_bytes([2; 32]),
        kind: if number.is_multiple_of(2) { Kind::Sampled } else { Kind::Deep },
        at: Timestamp::from_milliseconds(u64::from(number)),
        nonce: [number; 32],
        outcome: match number % 4 {
            0 => Outcome::Proven { samples: 44 },
            1 => Outcome::Caught { what: "it lied".to_owned() },
            2 => Outcome::Unasked {
                what: "the hold is spent".to_owned(),
                because: crate::auditing::Because::Spent,
            },
            _ => Outcome::Silent { what: "x".repeat(300) },
        },
        proof: Digest::from_bytes([number; 32]),
    }
}

fn folder() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        std::env::temp_dir().join(format!("fondaco-audit-log-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn open(path: &Path, noted: LogHead) -> Result<(AuditLog, Vec<SignedEntry>), AgentError> {
    let mut entries = Vec::new();
    let log = AuditLog::open(path, key().entity(), noted, |entry| entries.push(entry))?;
    Ok((log, entries))
}

fn entry_of(refused: Result<(AuditLog, Vec<SignedEntry>), AgentError>) -> u64 {
    match refused {
        Err(AgentError::AuditLog { entry, .. }) => entry,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the log was taken"),
    }
}

/// A log of six entries in three frames.
fn written(path: &Path) -> LogHead {
    let mut head = LogHead::default();
    for numbers in [&[0, 1][..], &[2], &[3, 4, 5]] {
        let (mut log, _) = open(path, head).unwrap();
        let audits: Vec<Audited> = numbers.iter().map(|number| audited(*number)).collect();
        head = log.append(&key(), &audits).unwrap();
    }
    head
}

#[test]
fn a_log_is_read_back_in_order() {
    let folder = folder();
    let path = folder.join("audits");
    let head = written(&path);
    let (log, entries) = open(&path, head).unwrap();
    assert_eq!(log.head(), head);
    assert_eq!(entries.len(), 6);
    for (number, SignedEntry { entry, .. }) in (0..).zip(&entries) {
        let expected = audited(number);
        assert_eq!(entry.seq, u64::from(number));
        assert_eq!(
            (entry.at, entry.contract, entry.nonce),
            (expected.at, expected.contract, expected.nonce)
        );
        assert_eq!(
            (&entry.finding, entry.proof),
            (&Finding::from(&expected.outcome), expected.proof)
        );
    }
    assert!(entries.windows(2).all(|pair| pair[1].entry.previous == pair[0].link()));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Any byte of it changed: the first entry that is not as it was is named, or the whole if its head was hit.
#[test]
fn a_damaged_log_is_refused() {
    let folder = folder();
    let path = folder.join("audits");
    let head = written(&path);
    let sound = std::fs::read(&path).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut first = std::collections::BTreeSet::new();
    for at in (0..=end).step_by(7) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).unwrap();
        first.insert(entry_of(open(&path, head)));
    }
    // Frames begin with these; what was in a damaged frame cannot be told apart.
    assert_eq!(first.into_iter().collect::<Vec<_>>(), [0, 2, 3]);
    std::fs::write(&path, &sound).unwrap();
    assert!(open(&path, head).is_ok());
    // The file gone, and an older copy in its place.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(entry_of(open(&path, head)), 0);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Who can write the journal, chain and all, but has no key: every change of an entry is found, and each is named.
#[test]
fn a_rewritten_log_is_refused() {
    let folder = folder();
    let path = folder.join("audits");
    let head = written(&path);
    let (log, entries) = open(&path, head).unwrap();
    drop(log);
    let rewrite = |entries: &[SignedEntry]| {
        std::fs::remove_file(&path).unwrap();
        let none = |_: &[u8]| Ok::<(), Refused>(());
        let mut journal = Journal::open(DiskFile::open(&path).unwrap(), JOURNAL, none).unwrap();
        let records: Vec<Vec<u8>> = entries.iter().map(|entry| entry.to_bytes()).collect();
        journal.append(&records).unwrap();
        drop(journal);
        entry_of(open(&path, head))
    };
    let changed = |at: usize, change: fn(&mut SignedEntry)| {
        let mut entries = entries.clone();
        change(&mut entries[at]);
        rewrite(&entries)
    };
    // A sample that failed becomes one that was proven.
    assert_eq!(changed(1, |signed| signed.entry.finding = Finding::Proven { samples: 44 }), 1);
    assert_eq!(changed(3, |signed| signed.entry.at = Timestamp::EPOCH), 3);
    assert_eq!(changed(4, |signed| signed.entry.provider = EntityId::from_bytes([3; 32])), 4);
    assert_eq!(changed(5, |signed| signed.signature = Signature::from_bytes([0; 64])), 5);
    // Signed anew with another key.
    assert_eq!(
        changed(2, |signed| {
            let other = SecretKey::from_bytes(&[9; 32]);
            signed.signature = other.sign(ENTRY, &signed.entry.to_bytes());
        }),
        2
    );
    // Signed anew with the right key, as a thief of it could: the next does not follow from it, and the last is not the
    // one that was noted.
    let again = |signed: &mut SignedEntry| {
        signed.entry.finding = Finding::Proven { samples: 44 };
        signed.signature = key().sign(ENTRY, &signed.entry.to_bytes());
    };
    assert_eq!(changed(1, again), 2);
    assert_eq!(changed(5, again), 5);
    // Left out, swapped, cut.
    assert_eq!(rewrite(&[&entries[..2], &entries[3..]].concat()), 2);
    let mut swapped = entries.clone();
    swapped.swap(2, 3);
    assert_eq!(rewrite(&swapped), 2);
    assert_eq!(rewrite(&entries[..4]), 4);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A crash between the log and its note leaves one entry more: that is no fault.
#[test]
fn an_entry_that_was_not_noted_yet_is_kept() {
    let folder = folder();
    let path = folder.join("audits");
    written(&path);
    let (log, entries) = open(&path, LogHead::default()).unwrap();
    assert_eq!((log.head().entries, entries.len()), (6, 6));
    std::fs::remove_dir_all(folder).unwrap();
}

/// The book comes back on another machine, and the log does not.
#[test]
fn a_log_that_was_left_behind_is_followed_by_another_that_says_so() {
    let (old, new) = (folder(), folder());
    let left = written(&old.join("audits"));
    let path = new.join("audits");
    let (head, before) = recover(&path, &key(), left, Timestamp::from_milliseconds(9)).unwrap();
    assert_eq!(before, LogBefore::Missing);
    assert_eq!(head.entries, 7);
    // A crash before the book was named: the same again changes nothing.
    assert_eq!(
        recover(&path, &key(), left, Timestamp::from_milliseconds(10)).unwrap(),
        (head, LogBefore::Kept)
    );
    let (mut log, entries) = open(&path, head).unwrap();
    let first = &entries[0].entry;
    assert_eq!((entries.len(), first.seq, Some(first.previous)), (1, 6, left.link));
    assert_eq!(first.finding, Finding::LeftBehind);
    let grown = log.append(&key(), &[audited(1), audited(2)]).unwrap();
    drop(log);
    assert_eq!(grown.entries, 9);
    assert_eq!(open(&path, grown).unwrap().1.len(), 3);

    // Whoever has no key takes nothing of it away: not its end, not its beginning, not all of it.
    let sound = std::fs::read(&path).unwrap();
    let end = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut damaged = sound.clone();
    damaged[end] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(entry_of(open(&path, grown)), 7);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(entry_of(open(&path, grown)), 0);
    std::fs::copy(old.join("audits"), &path).unwrap();
    assert_eq!(entry_of(open(&path, grown)), 6);
    std::fs::write(&path, &sound).unwrap();
    assert!(open(&path, grown).is_ok());
    // On a machine that did not recover it is refused, though all of it is signed: fewer, or others, were noted there.
    let fewer = LogHead { entries: 5, ..left };
    let others = LogHead { link: Some(Digest::from_bytes([9; 32])), ..left };
    for noted in [LogHead::default(), fewer, others] {
        assert_eq!(entry_of(open(&path, noted)), 0, "{noted:?}");
    }

    // Where the old log is still there, or nobody ever audited, nothing begins.
    assert_eq!(
        recover(&old.join("audits"), &key(), left, Timestamp::EPOCH).unwrap(),
        (left, LogBefore::Kept)
    );
    let none = new.join("none");
    let (nothing, before) = recover(&none, &key(), LogHead::default(), Timestamp::EPOCH).unwrap();
    assert_eq!(before, LogBefore::Missing);
    assert_eq!((nothing, none.exists()), (LogHead::default(), false));
    // One that is not the one that was noted is moved aside, and not lost.
    std::fs::write(&path, &damaged).unwrap();
    let (again, before) = recover(&path, &key(), grown, Timestamp::from_milliseconds(11)).unwrap();
    let LogBefore::Refused { why, aside } = before else { panic!("{before:?}") };
    assert!(why.contains("is refused at entry 7"), "{why}");
    assert_eq!(again.entries, 10);
    // Its last entry, which is no entry any more, was cut off when it was opened, as the torn end of any journal is.
    assert_eq!(aside, new.join("audits-until-11"));
    assert_eq!(std::fs::read(&aside).unwrap()[..256], damaged[..256]);
    for folder in [old, new] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// The hexdump of `docs/formats/audit-log.md`: a change of it is a new version.
#[test]
fn the_format_is_pinned() {
    let entry = Entry {
        seq: 2,
        previous: Digest::from_bytes([0x11; 32]),
        at: Timestamp::from_milliseconds(1000),
        contract: ContractId::from_digest(Digest::from_bytes([0xcc; 32])),
        provider: EntityId::from_bytes([0x22; 32]),
        kind: Kind::Deep,
        nonce: [0x33; 32],
        finding: Finding::Proven { samples: 460 },
        proof: Digest::from_bytes([0x44; 32]),
    };
    let dump = [
        "0200000000000000".to_owned(), // seq
        "11".repeat(32),               // previous
        "e803000000000000".to_owned(), // at
        "cc".repeat(32),               // contract
        "22".repeat(32),               // provider
        "02".to_owned(),               // deep
        "33".repeat(32),               // nonce
        "01cc010000".to_owned(),       // proven, 460
        "44".repeat(32),               // proof
        "55".repeat(64),               // signature
    ];
    let signed = SignedEntry { entry, signature: Signature::from_bytes([0x55; 64]) };
    let hex: String = signed.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, dump.concat());
}
