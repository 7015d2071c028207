//! The recount: everything that the ledger keeps twice, counted again from scratch.

use crate::{Account, HoldId, HoldState, Ledger};
use fondaco_crypto::EntityId;
use fondaco_units::{Amount, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How the books do not balance. Listed by precedence. This is a fault of the program or the machine, never of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Imbalance {
    /// What the accounts have is not what was issued less what was redeemed.
    #[error("the supply is {} units, the accounts have {}", .supply.get(), .found.get())]
    Supply {
        /// Issued less redeemed.
        supply: Amount,
        /// The sum over all accounts; the greatest amount when it does not fit.
        found: Amount,
    },
    /// What an account has held, or how many holds it counts, is not what its open holds say.
    #[error("{payer} has {} units held, its open holds are of {}", .held.get(), .found.get())]
    Held {
        /// Whose account it is.
        payer: EntityId,
        /// What the account says.
        held: Amount,
        /// The sum over its open holds; the greatest amount when it does not fit.
        found: Amount,
    },
    /// The queue of expiries is not that of the open holds.
    #[error("{hold} is open and will not expire, or is closed and will")]
    Queue {
        /// The first hold that is in one and not in the other.
        hold: HoldId,
    },
    /// A step found that a side has less than it must have, or would have more than can be counted.
    #[error("a step could not be posted")]
    Halted,
}

impl Imbalance {
    /// Returns whether the same books can balance later: never without repair.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Supply { .. } | Self::Held { .. } | Self::Queue { .. } | Self::Halted => false,
        }
    }
}

impl Ledger {
    /// Recounts the books from scratch, in one pass over all accounts and holds.
    ///
    /// # Errors
    ///
    /// They do not balance. Halt the ledger, and rebuild it from its journal.
    pub fn check(&self) -> Result<(), Imbalance> {
        // Summed in 128 bits, and compared before they are cut to an amount: a sum that wrapped must not pass.
        let total = |sum: u128, account: Account| {
            sum + u128::from(account.available.get()) + u128::from(account.held.get())
        };
        let found = self.books().fold(0, |sum, (_, account)| total(sum, account));
        if self.issued.checked_sub(self.redeemed) != Some(found) {
            return Err(Imbalance::Supply { supply: self.supply(), found: cut(found) });
        }

        let mut open: BTreeMap<EntityId, (u128, u32)> = BTreeMap::new();
        let mut due: BTreeSet<(Timestamp, HoldId)> = BTreeSet::new();
        for (id, hold) in self.holds() {
            if hold.state == HoldState::Open {
                let (sum, count) = open.entry(hold.payer).or_default();
                *sum += u128::from(hold.amount_max.get());
                *count += 1;
                due.insert((hold.expires, id));
            }
        }
        for (payer, entry) in &self.entries {
            let (found, count) = open.remove(payer).unwrap_or_default();
            if u128::from(entry.account.held.get()) != found || entry.holds_open != count {
                let held = entry.account.held;
                return Err(Imbalance::Held { payer: *payer, held, found: cut(found) });
            }
        }
        if let Some((payer, (found, _))) = open.pop_first() {
            return Err(Imbalance::Held { payer, held: Amount::ZERO, found: cut(found) });
        }
        if let Some((_, hold)) = due.symmetric_difference(&self.due).next() {
            return Err(Imbalance::Queue { hold: *hold });
        }
        if self.is_halted() { Err(Imbalance::Halted) } else { Ok(()) }
    }
}

fn cut(sum: u128) -> Amount {
    u64::try_from(sum).map_or(Amount::MAX, Amount::new)
}
