//! What a process that is killed leaves, and what is made of it after a power cut.

use super::*;
use crate::book::Event;
use crate::losses::{BrokenPut, BrokenRead};
use fondaco_audit::ShardId;
use fondaco_contract::Tab;
use fondaco_units::Bytes;

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
    let Loss { lost, behind, broke, put, read } = loss;
    let fields = [
        contract.to_bytes(),
        lost.to_bytes(),
        behind.to_bytes(),
        broke.to_bytes(),
        put.to_bytes(),
        read.to_bytes(),
    ]
    .concat();
    let event = Event::LossKept { contract, loss };
    assert_eq!(event.to_bytes(), [&[65], &fields[..]].concat());
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
