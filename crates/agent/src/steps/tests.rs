//! What a process that is killed leaves, and what is made of it after a power cut.

use super::*;
use crate::book::Event;
use crate::losses::{AskedPut, BegunPut, BrokenPut, BrokenRead};
use fondaco_audit::ShardId;
use fondaco_contract::Tab;
use fondaco_units::{Bytes, Timestamp};

fn contract(name: u8) -> ContractId {
    ContractId::from_digest(Digest::from_bytes([name; 32]))
}

fn loss(lost: u128) -> Loss {
    let (shard, size) = (ShardId::of(&[1]), Bytes::new(9000));
    let (offset, length) = (Bytes::new(4096), Bytes::new(4096));
    Loss {
        lost,
        behind: u128::MAX,
        broke: Some(Tab::default()),
        put: Some(BrokenPut { shard, size, at: Bytes::new(4096) }),
        read: Some(BrokenRead { shard, size, offset, length, counted: u128::MAX, tries: u32::MAX }),
        asked: Some(AskedPut {
            until: Timestamp::from_milliseconds(u64::MAX),
            epochs: u64::MAX,
            wanted: true,
        }),
        grown: Some(u128::MAX),
        freed: u64::MAX,
    }
}

fn path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fondaco-steps-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

fn started(path: &PathBuf, boot: Option<u8>) -> OpenSteps {
    let boot = boot.map(|boot| Digest::from_bytes([boot; 32]));
    OpenSteps::on(Box::new(DiskFile::open(path).unwrap()), boot)
}

#[test]
fn a_kill_leaves_what_was_written_and_a_power_cut_what_was_flushed() {
    let path = path("left");
    // One line for each: which start of the machine wrote, and which reads; whether the step was flushed; whether it is believed.
    for (wrote, reads, settled, believed) in [
        (Some(1), Some(1), false, true),
        (Some(1), Some(2), false, false),
        (Some(1), Some(2), true, true),
        (None, None, false, false),
        (None, None, true, true),
    ] {
        let mut steps = started(&path, wrote);
        let mut slot = None;
        steps.write(&mut slot, contract(7), Some(loss(5))).unwrap();
        if settled {
            steps.settle(&mut slot, contract(7), loss(5)).unwrap();
        }
        drop(steps);
        let mut steps = started(&path, reads);
        let left = steps.left().unwrap();
        let expected = believed.then(|| (contract(7), loss(5)));
        assert_eq!(left.steps, Vec::from_iter(expected), "{wrote:?} {reads:?} {settled}");
        steps.taken(&left).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_was_answered_is_not_open_and_makes_room_for_others() {
    let path = path("room");
    let mut steps = started(&path, Some(1));
    let (mut one, mut other) = (None, None);
    for round in 0..100 {
        steps.write(&mut one, contract(1), Some(loss(round))).unwrap();
        steps.write(&mut other, contract(2), Some(loss(round))).unwrap();
        steps.write(&mut one, contract(1), None).unwrap();
        let left = steps.left().unwrap().steps;
        assert_eq!(left, [(contract(2), loss(round))]);
        steps.write(&mut other, contract(2), None).unwrap();
        assert!(one.is_none() && other.is_none());
    }
    let left = steps.left().unwrap();
    assert!(left.steps.is_empty() && !left.any);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 2 * SLOT as u64);
    // What is written over what was flushed does not pass for it.
    steps.settle(&mut one, contract(1), loss(1)).unwrap();
    steps.write(&mut one, contract(1), Some(loss(2))).unwrap();
    drop(steps);
    assert!(started(&path, Some(2)).left().unwrap().steps.is_empty());
    std::fs::remove_file(path).unwrap();
}

#[test]
fn half_a_slot_and_one_of_others_are_nothing() {
    let path = path("torn");
    let steps = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        started(&path, Some(1)).left().unwrap()
    };
    let mut whole = None;
    let mut file = started(&path, Some(1));
    file.write(&mut whole, contract(3), Some(loss(1))).unwrap();
    drop(file);
    let slot = std::fs::read(&path).unwrap();
    assert_eq!(steps(&slot).steps.len(), 1);
    for length in 0..SLOT {
        assert!(steps(&slot[..length]).steps.is_empty(), "{length}");
    }
    for at in 0..SLOT {
        let mut other = slot.clone();
        other[at] ^= 1;
        assert!(steps(&other).steps.is_empty(), "{at}");
    }
    std::fs::remove_file(path).unwrap();
}

/// The order of `docs/formats/agent.md`, which journals and files of steps have.
#[test]
fn a_loss_is_written_field_by_field() {
    let (contract, loss) = (contract(3), loss(7));
    let Loss { lost, behind, broke, put, read, asked, grown, freed } = loss;
    let fields = [
        contract.to_bytes(),
        lost.to_bytes(),
        behind.to_bytes(),
        broke.to_bytes(),
        put.to_bytes(),
        read.to_bytes(),
        asked.to_bytes(),
        grown.to_bytes(),
        freed.to_bytes(),
    ]
    .concat();
    let event = Event::LossKept { contract, loss };
    assert_eq!(event.to_bytes(), [&[71], &fields[..]].concat());
    let before = Event::ReadLossKept { contract, lost, behind, broke, put, read };
    let news = [asked.to_bytes(), grown.to_bytes(), freed.to_bytes()].concat();
    let length = fields.len() - news.len();
    assert_eq!(before.to_bytes(), [&[65], &fields[..length]].concat());
    let until = asked.map(|asked| asked.until);
    let before = Event::AskedLossKept { contract, lost, behind, broke, put, read, until };
    let all = [&fields[..length], &until.to_bytes()].concat();
    assert_eq!(before.to_bytes(), [&[69], &all[..]].concat());
    let step = OpenStep { boot: None, settled: true, contract, loss };
    assert_eq!(step.to_bytes(), [&[0, 1], &fields[..]].concat());
}

/// Whoever pays for nothing makes no file.
#[test]
fn a_file_is_made_with_the_first_step() {
    let path = path("lazy");
    let mut steps = OpenSteps::at(path.clone());
    assert!(steps.left().unwrap().steps.is_empty());
    steps.write(&mut None, contract(1), None).unwrap();
    assert!(!path.exists());
    steps.write(&mut None, contract(1), Some(loss(1))).unwrap();
    assert!(path.exists());
    std::fs::remove_file(path).unwrap();
}

/// A put of several steps is known after a power cut, and only then: after a kill its steps are.
#[test]
fn a_put_that_was_begun_outlives_a_power_cut() {
    let path = path("begun");
    let put = |size| BegunPut {
        shard: ShardId::of(&[1]),
        size: Bytes::new(size),
        written: Bytes::new(u64::MAX),
    };
    for (wrote, reads, is_known) in [
        (Some(1), Some(1), false),
        (Some(1), Some(2), true),
        (None, None, true),
        (None, Some(1), true),
    ] {
        let mut steps = started(&path, wrote);
        let (mut one, mut other, mut step) = (None, None, None);
        steps.begin_put(&mut one, contract(7), put(1)).unwrap();
        steps.write(&mut step, contract(7), Some(loss(1))).unwrap();
        steps.begin_put(&mut other, contract(8), put(2)).unwrap();
        // The next under the same contract takes the place of the first; what has ended leaves its own to others.
        steps.begin_put(&mut one, contract(7), put(3)).unwrap();
        steps.end_put(&mut other).unwrap();
        steps.end_put(&mut other).unwrap();
        steps.flush().unwrap();
        drop(steps);
        let mut steps = started(&path, reads);
        let left = steps.left().unwrap();
        let expected = is_known.then(|| (contract(7), put(3)));
        assert_eq!(left.puts, Vec::from_iter(expected), "{wrote:?} {reads:?}");
        assert_eq!(left.steps.is_empty(), is_known, "{wrote:?} {reads:?}");
        steps.taken(&left).unwrap();
        assert!(steps.left().unwrap().puts.is_empty());
    }
    // What a process has zeroed, the next one flushes before it deletes anything.
    let (mut steps, mut slot) = (started(&path, Some(1)), None);
    steps.begin_put(&mut slot, contract(7), put(1)).unwrap();
    assert!(!steps.is_stale);
    steps.end_put(&mut slot).unwrap();
    assert!(steps.is_stale);
    drop(steps);
    let mut steps = started(&path, Some(1));
    let left = steps.left().unwrap();
    steps.taken(&left).unwrap();
    assert!(!left.any && steps.is_stale);
    steps.flush().unwrap();
    assert!(!steps.is_stale);
    drop(steps);
    // One slot is never read as the other kind.
    let begun = Begun { boot: None, contract: contract(3), put: put(4) };
    let slot = to_slot(CHECK_BEGUN, &begun.to_bytes());
    assert_eq!(of_slot::<Begun>(CHECK_BEGUN, &slot), Some(begun));
    assert_eq!(of_slot::<OpenStep>(CHECK, &slot), None);
    std::fs::remove_file(path).unwrap();
}

/// What a book makes of a put that was under way, and until when.
#[test]
fn a_put_that_was_cut_is_asked_for_once() {
    use crate::journal::BookFile;
    let path = path("cut");
    let (begun, known) = (contract(7), loss(5));
    let put = BegunPut { shard: ShardId::of(&[1]), size: Bytes::new(9), written: Bytes::ZERO };
    let event = Event::PutCut { contract: begun, put };
    assert_eq!(event.to_bytes()[0], 68);
    let book = BookFile::open(&path).unwrap();
    book.record(&event).unwrap();
    assert_eq!(book.read(|book| book.cut(begun)), Some(put));
    drop(book);
    let book = BookFile::open(&path).unwrap();
    assert_eq!(book.read(|book| book.cut(begun)), Some(put), "until its host was asked");
    book.record(&Event::LossKept { contract: begun, loss: known }).unwrap();
    assert_eq!(book.read(|book| (book.cut(begun), book.loss(begun))), (None, known));
    std::fs::remove_file(path).unwrap();
}
