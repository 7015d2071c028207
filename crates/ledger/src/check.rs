//! The recount: everything that the ledger keeps twice, counted again from scratch.

use crate::{
    Account, AccountIndex, HoldId, HoldState, Ledger,
    accounts::{Role, Slot},
};
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
    /// A key does not lead to its account, or what is no account has money.
    #[error("{key} leads to no account, or to one that is not its own")]
    Index {
        /// The first such key.
        key: EntityId,
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
            Self::Supply { .. }
            | Self::Index { .. }
            | Self::Held { .. }
            | Self::Queue { .. }
            | Self::Halted => false,
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
        let slots = &self.accounts.slots;
        let total = |sum: u128, Account { available, held }: Account| {
            sum + u128::from(available.get()) + u128::from(held.get())
        };
        let found = slots.iter().fold(0, |sum, slot| total(sum, slot.account));
        if self.issued.checked_sub(self.redeemed) != Some(found) {
            return Err(Imbalance::Supply { supply: self.supply(), found: cut(found) });
        }
        self.check_keys()?;

        let mut open: BTreeMap<AccountIndex, (u128, u32)> = BTreeMap::new();
        let mut due: BTreeSet<(Timestamp, HoldId)> = BTreeSet::new();
        for (id, hold) in self.holds().filter(|(_, hold)| hold.state == HoldState::Open) {
            let key = hold.payer;
            let payer = self.index_of(key).ok_or(Imbalance::Index { key })?;
            let (sum, count) = open.entry(payer).or_default();
            *sum += u128::from(hold.amount_max.get());
            *count += 1;
            due.insert((hold.expires, id));
        }
        for (at, slot) in (0..).zip(slots) {
            let (found, count) = open.remove(&AccountIndex::new(at)).unwrap_or_default();
            let counted = match slot.role {
                Role::Account { holds_open } => holds_open,
                Role::Alias { .. } | Role::Closed => 0,
            };
            let held = slot.account.held;
            if u128::from(held.get()) != found || counted != count {
                return Err(Imbalance::Held { payer: slot.key, held, found: cut(found) });
            }
        }
        if let Some((_, hold)) = due.symmetric_difference(&self.due).next() {
            return Err(Imbalance::Queue { hold: *hold });
        }
        if self.is_halted() { Err(Imbalance::Halted) } else { Ok(()) }
    }

    /// Each alias leads to a key that is none.
    pub(crate) fn check_aliases(&self) -> Result<(), Imbalance> {
        let slots = &self.accounts.slots;
        let leads = |slot: &Slot| match slot.role {
            Role::Account { .. } | Role::Closed => true,
            Role::Alias { of } => slots.get(of.get()).is_some_and(|to| !to.is_alias()),
        };
        let astray = slots.iter().find(|slot| !leads(slot));
        astray.map_or(Ok(()), |slot| Err(Imbalance::Index { key: slot.key }))
    }

    /// Each key is found where it is, and stands for what it may: the issuer's for an account of its own, an alias for
    /// what is none.
    fn check_keys(&self) -> Result<(), Imbalance> {
        self.check_aliases()?;
        let slots = &self.accounts.slots;
        let is_own = |at: AccountIndex, slot: &Slot| match slot.role {
            Role::Account { .. } => true,
            Role::Closed => *slot == Slot::closed(slot.key),
            Role::Alias { of } => at != AccountIndex::ISSUER && *slot == Slot::alias(slot.key, of),
        };
        for (number, slot) in (0..).zip(slots) {
            let at = AccountIndex::new(number);
            let is_issuer = slot.key == self.currency.issuer();
            let placed = is_issuer == (at == AccountIndex::ISSUER);
            if !placed || !is_own(at, slot) || self.accounts.find(&slot.key) != Some(at) {
                return Err(Imbalance::Index { key: slot.key });
            }
        }
        let open = self.books().count() as u64;
        if slots.is_empty()
            || self.accounts.table.len() != slots.len()
            || self.accounts.open != open
        {
            return Err(Imbalance::Index { key: self.currency.issuer() });
        }
        Ok(())
    }
}

fn cut(sum: u128) -> Amount {
    u64::try_from(sum).map_or(Amount::MAX, Amount::new)
}
