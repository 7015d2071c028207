//! The numbers of keys and accounts: short names, so that the history need not repeat 32 bytes.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use fondaco_crypto::EntityId;
use hashbrown::HashTable;

/// The half of a key that tells it from all others: to find another key with the half of a given one takes 2¹²⁸ tries. The
/// whole is on disk.
type Half = [u8; 16];

/// Every key that the history names, by number, in memory: some 26 bytes each.
///
/// An account has the number of its first key. Who pays for a number: keys get one when money moves for them, and so not
/// the strangers who are merely refused.
#[derive(Debug, Default)]
pub(super) struct Keys {
    halves: Vec<Half>,
    /// The account of each key that is not the first of its account.
    accounts: BTreeMap<u32, u32>,
    table: HashTable<u32>,
    /// Seeded, because strangers choose keys.
    seed: RandomState,
}

impl Keys {
    pub(super) const fn len(&self) -> usize {
        self.halves.len()
    }

    pub(super) fn number(&self, key: EntityId) -> Option<u32> {
        let half = half(key);
        let hash = self.seed.hash_one(half);
        self.table.find(hash, |number| self.halves[*number as usize] == half).copied()
    }

    /// Adds a key; nothing if there are too many. The caller saw that it is not there.
    pub(super) fn add(&mut self, key: EntityId, account: Option<u32>) -> Option<u32> {
        let number = u32::try_from(self.halves.len()).ok()?;
        let half = half(key);
        self.halves.push(half);
        self.set_account(number, account.unwrap_or(number));
        let (halves, seed) = (&self.halves, &self.seed);
        let hash = |number: &u32| seed.hash_one(halves[*number as usize]);
        self.table.insert_unique(seed.hash_one(half), number, hash);
        Some(number)
    }

    pub(super) fn account(&self, number: u32) -> u32 {
        self.accounts.get(&number).copied().unwrap_or(number)
    }

    /// Gives a key's account to it.
    pub(super) fn set_account(&mut self, number: u32, account: u32) {
        match account == number {
            true => self.accounts.remove(&number),
            false => self.accounts.insert(number, account),
        };
    }
}

fn half(key: EntityId) -> Half {
    let mut half = Half::default();
    half.copy_from_slice(&key.as_bytes()[..16]);
    half
}
