//! The numbers of keys and accounts: short names, so that the history need not repeat 32 bytes.

use std::hash::{BuildHasher, RandomState};

use fondaco_crypto::EntityId;
use hashbrown::HashTable;

/// Every key that the history names, by number, in memory: 44 bytes each.
///
/// An account has the number of its first key. Who pays for a number: keys get one when money moves for them, and so not
/// the strangers who are merely refused.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: Vec<EntityId>,
    /// The account of each key.
    accounts: Vec<u32>,
    table: HashTable<u32>,
    /// Seeded, because strangers choose keys.
    seed: RandomState,
}

impl Keys {
    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn number(&self, key: EntityId) -> Option<u32> {
        let hash = self.seed.hash_one(key);
        self.table.find(hash, |number| self.keys[*number as usize] == key).copied()
    }

    /// Adds a key; nothing if there are too many. The caller saw that it is not there.
    pub(super) fn add(&mut self, key: EntityId, account: Option<u32>) -> Option<u32> {
        let number = u32::try_from(self.keys.len()).ok()?;
        self.keys.push(key);
        self.accounts.push(account.unwrap_or(number));
        let (keys, seed) = (&self.keys, &self.seed);
        let hash = |number: &u32| seed.hash_one(keys[*number as usize]);
        self.table.insert_unique(seed.hash_one(key), number, hash);
        Some(number)
    }

    pub(super) fn key(&self, number: u32) -> Option<EntityId> {
        self.keys.get(number as usize).copied()
    }

    pub(super) fn account(&self, number: u32) -> Option<u32> {
        self.accounts.get(number as usize).copied()
    }

    /// Gives a key's account to it.
    pub(super) fn set_account(&mut self, number: u32, account: u32) {
        if let Some(place) = self.accounts.get_mut(number as usize) {
            *place = account;
        }
    }
}
