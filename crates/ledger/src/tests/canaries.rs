//! Each thing that the recount looks at, broken by hand.

use super::*;
use crate::accounts::{Role, Slot};

fn slot(ledger: &mut Ledger, who: usize) -> &mut Slot {
    let at = ledger.index_of(entity(who)).unwrap();
    ledger.accounts.at_mut(at)
}

/// Each thing that the recount looks at, broken once by hand.
#[test]
fn canary_the_recount_finds_planted_faults() {
    type Plant = fn(&mut Ledger);
    let alice = |ledger: &mut Ledger, change: fn(&mut Account)| {
        change(&mut slot(ledger, ALICE).account);
    };
    let (payer, held) = (entity(ALICE), units(100));
    let plants: [(Plant, Imbalance); 14] = [
        (
            |ledger| ledger.issued += 1,
            Imbalance::Supply { supply: units(1001), found: units(1000) },
        ),
        (
            |ledger| ledger.redeemed += 1,
            Imbalance::Supply { supply: units(999), found: units(1000) },
        ),
        // A sum that would be right again if it wrapped at 64 bits.
        (
            |ledger| {
                let account = Account { available: Amount::MAX, held: units(1) };
                ledger.accounts.add(Slot { account, ..Slot::closed(entity(9)) });
            },
            Imbalance::Supply { supply: units(1000), found: Amount::MAX },
        ),
        (
            |ledger| assert!(ledger.holds.remove(&hold_id(1)).is_some()),
            Imbalance::Held { payer, held, found: units(0) },
        ),
        (
            |ledger| ledger.holds.get_mut(&hold_id(1)).unwrap().amount_max = units(101),
            Imbalance::Held { payer, held, found: units(101) },
        ),
        (
            |ledger| ledger.holds.get_mut(&hold_id(3)).unwrap().state = HoldState::Open,
            Imbalance::Held { payer, held, found: units(200) },
        ),
        (
            |ledger| slot(ledger, ALICE).role = Role::Account { holds_open: 0 },
            Imbalance::Held { payer, held, found: held },
        ),
        (|ledger| slot(ledger, BOB).key = entity(9), Imbalance::Index { key: entity(9) }),
        (|ledger| slot(ledger, ALICE).role = Role::Closed, Imbalance::Index { key: payer }),
        (
            |ledger| {
                let of = ledger.index_of(entity(ALICE)).unwrap();
                slot(ledger, BOB).role = Role::Alias { of };
            },
            Imbalance::Index { key: entity(BOB) },
        ),
        (|ledger| ledger.accounts.open += 1, Imbalance::Index { key: entity(ISSUER) }),
        (|ledger| ledger.accounts.table.clear(), Imbalance::Index { key: entity(ISSUER) }),
        (|ledger| ledger.due.clear(), Imbalance::Queue { hold: hold_id(1) }),
        (
            |ledger| assert!(ledger.due.insert((NOW, hold_id(3)))),
            Imbalance::Queue { hold: hold_id(3) },
        ),
    ];
    for (plant, imbalance) in plants {
        let mut ledger = ledger();
        assert_eq!(ledger.check(), Ok(()));
        plant(&mut ledger);
        assert_eq!(ledger.check(), Err(imbalance));
    }
    let mut shifted = ledger();
    alice(&mut shifted, |account| {
        *account = Account { available: units(869), held: units(101) };
    });
    let found = Imbalance::Held { payer, held: units(101), found: units(100) };
    assert_eq!(shifted.check(), Err(found));

    // A step that cannot be posted halts the ledger instead of making the fault worse, and never panics.
    let mut robbed = ledger();
    alice(&mut robbed, |account| account.held = units(99));
    assert_eq!(robbed.hold_void(entity(BOB), hold_id(1)), Err(Refusal::Halted));
    assert!(robbed.is_halted());
    let mut overfull = ledger();
    alice(&mut overfull, |account| account.available = Amount::MAX);
    assert_eq!(overfull.mint(entity(ALICE), units(1)), Err(Refusal::Halted));
}
