//! What is known of a contract's account without its host: so that a bill does not shrink because one is silent.
//!
//! The account that a host showed last is a lower bound of what was used since: meters only rise. So is what the book itself
//! tells of: what was acknowledged was written, and kept for an epoch.

use super::Book;
use fondaco_contract::{ContractId, Tab};
use fondaco_units::Bytes;

impl Book {
    /// Returns the account that the host of a contract showed last, less what it has signed since that it keeps no longer;
    /// nothing once the contract has ended and its last account is known.
    pub fn seen(&self, contract: ContractId) -> Option<Tab> {
        self.seen.get(&contract).copied()
    }

    /// Returns how many epochs the provider of an open contract has acknowledged, if any after the first.
    pub fn epochs_paid(&self, contract: ContractId) -> u64 {
        self.epochs_paid.get(&contract).copied().unwrap_or_default()
    }

    /// Returns how many bytes lie under a contract, as far as objects tell, and the mark of the book itself.
    pub fn kept(&self, contract: ContractId) -> Bytes {
        let sets = (0..).zip(&self.sets).filter(|(_, set)| set.contracts.contains(&contract));
        let sets: Vec<u32> = sets.map(|(number, _)| number).collect();
        let marked = self.given.get(&contract).map_or(Bytes::ZERO, |given| given.marked);
        let objects = self.objects.values().filter(|object| sets.contains(&object.set));
        objects.fold(marked, |sum, object| sum.checked_add(object.share()).unwrap_or(Bytes::MAX))
    }
}
