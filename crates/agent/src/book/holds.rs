//! What is held for contracts, by which a budget goes down.

use super::{Book, ContractRecord, Stage};
use fondaco_contract::ContractId;
use fondaco_units::Amount;
use std::collections::BTreeSet;

impl Book {
    /// Returns the ids of all contracts, to be compared with those of [later](Self::held_since).
    pub fn contract_ids(&self) -> BTreeSet<ContractId> {
        self.contracts.keys().copied().collect()
    }

    /// Returns the most that is held for contracts that were not among `known`: open, or in doubt.
    pub fn held_since(&self, known: &BTreeSet<ContractId>) -> Amount {
        let new = self.contracts.iter().filter(|(contract, _)| !known.contains(contract));
        new.map(|(_, record)| held(record))
            .fold(Amount::ZERO, |sum, held| sum.checked_add(held).unwrap_or(Amount::MAX))
    }

    /// Returns the most that is held for a contract: nothing if it is over, or was never intended.
    pub(crate) fn held_for(&self, contract: ContractId) -> Amount {
        self.contracts.get(&contract).map_or(Amount::ZERO, held)
    }
}

/// A host that withholds its answer may have signed, so that an intent holds as much as a contract.
const fn held(record: &ContractRecord) -> Amount {
    match record.stage {
        Stage::Intended | Stage::Open => record.hold_max,
        Stage::Ended(_) => Amount::ZERO,
    }
}
