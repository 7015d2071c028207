//! Snapshots that lie: sealed well, and refused for what they say.

use super::*;
use crate::accounts::{Role, Slot};
use fondaco_codec::{DecodeError, Reader};

fn decode(bytes: &[u8]) -> Result<Ledger, SnapshotError> {
    Ledger::decode(&mut Reader::new(bytes), 1)
}

/// Piece by piece it is the same as at once. (That there are many pieces, a test of `lcp` sees.)
#[test]
fn pieces_make_the_whole() {
    let mut ledger = Ledger::new(currency(), 7);
    for accounts in [0_u32, 4_000] {
        for number in 0..accounts {
            let mut holder = [9; 32];
            holder[..4].copy_from_slice(&number.to_le_bytes());
            ledger.mint(EntityId::from_bytes(holder), units(5)).unwrap();
        }
        let (mut whole, mut joined) = (vec![1, 2], vec![]);
        ledger.encode(&mut whole);
        let mut out = vec![1, 2];
        let mut join = |piece: &[u8]| {
            joined.extend_from_slice(piece);
            Ok::<(), ()>(())
        };
        ledger.encode_in_pieces(&mut out, &mut join).unwrap();
        joined.extend(out);
        assert!(joined == whole);
        let mut failing = |_: &[u8]| Err("full");
        assert_eq!(ledger.encode_in_pieces(&mut vec![], &mut failing), Err("full"));
    }
}

/// What a ledger is refused for that was broken by hand before it was saved.
#[test]
fn canary_what_was_saved_broken_is_not_taken_back() {
    type Break = fn(&mut Ledger);
    let alice = AccountIndex::new(1);
    let held = Imbalance::Held { payer: entity(ALICE), held: units(0), found: units(100) };
    let table: Vec<(Break, SnapshotError)> = vec![
        (
            |ledger| ledger.issued += 1,
            Imbalance::Supply { supply: units(1001), found: units(1000) }.into(),
        ),
        (|ledger| ledger.halt(), Imbalance::Halted.into()),
        (
            |ledger| {
                let twice = Slot::closed(entity(BOB));
                ledger.accounts.slots.push(twice);
            },
            Imbalance::Index { key: entity(BOB) }.into(),
        ),
        (
            |ledger| {
                ledger.accounts.slots.push(Slot::alias(entity(9), AccountIndex::new(u32::MAX)));
            },
            Imbalance::Index { key: entity(9) }.into(),
        ),
        (
            |ledger| {
                ledger.accounts.add(Slot::alias(entity(9), AccountIndex::new(4)));
                ledger.accounts.add(Slot::alias(entity(8), AccountIndex::new(1)));
            },
            Imbalance::Index { key: entity(9) }.into(),
        ),
        (
            |ledger| {
                *ledger = Ledger::new(currency(), 7);
                ledger.accounts.slots.clear();
            },
            Imbalance::Index { key: entity(ISSUER) }.into(),
        ),
        (|ledger| ledger.accounts.slots.swap(0, 2), Imbalance::Index { key: entity(BOB) }.into()),
        (
            |ledger| {
                let slot = &mut ledger.accounts.slots[1];
                let all = slot.account.available.checked_add(slot.account.held).unwrap();
                slot.account = Account { available: all, held: Amount::ZERO };
            },
            held.into(),
        ),
        (
            |ledger| {
                let hold = ledger.holds.get_mut(&hold_id(1)).unwrap();
                hold.payer = entity(9);
            },
            Imbalance::Index { key: entity(9) }.into(),
        ),
    ];
    for (number, (damage, expected)) in table.into_iter().enumerate() {
        let mut broken = ledger();
        damage(&mut broken);
        assert_eq!(decode(&bytes(&broken)), Err(expected), "{number}");
    }
    assert!(matches!(ledger().accounts.at(alice).role, Role::Account { holds_open: 1 }));
    assert_eq!(decode(&bytes(&ledger())), Ok(ledger()));
}

#[test]
fn what_was_altered_is_told() {
    let saved = bytes(&ledger());
    let mut version = saved.clone();
    version[0] = 9;
    assert_eq!(decode(&version), Err(SnapshotError::Version { found: 9 }));
    let mut longer = saved.clone();
    longer[1..9].copy_from_slice(&u64::MAX.to_le_bytes());
    let truncated = DecodeError::Truncated { at: 9, wanted: usize::MAX };
    assert_eq!(decode(&longer), Err(SnapshotError::Truncated(truncated)));
    let mut changed = saved.clone();
    changed[50] ^= 1;
    assert_eq!(decode(&changed), Err(SnapshotError::Altered));
    for length in 0..saved.len() {
        assert!(matches!(decode(&saved[..length]), Err(SnapshotError::Truncated(_))));
    }
}
