//! The accounts: dense, found by key with one look-up, known by an index that stays.

use foldhash::{SharedSeed, quality::FoldHasher};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_units::Amount;
use hashbrown::HashTable;
use std::{fmt, hash::Hasher};

use crate::{ACCOUNTS_MAX, ahead::Ahead};

/// What one holder has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What can be spent.
    pub available: Amount,
    /// What is set aside in open holds.
    pub held: Amount,
}

/// Where an account is in the books: a caller may keep what it knows of a holder in a list by these.
///
/// An index is given once and never to another holder. It stays with its account when that changes its key, and with
/// its last key when the account is closed. A key that was changed takes up an index of its own, so that a list by
/// indexes has gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountIndex(u32);

impl AccountIndex {
    /// The index of the issuer: it is there from the beginning, account or not.
    pub const ISSUER: Self = Self(0);

    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    /// Returns the place in a list.
    pub const fn get(self) -> usize {
        self.0 as usize
    }
}

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An account. Begins with the first money; waits for more, or for `close`.
    Account {
        /// How many holds it is the payer of.
        holds_open: u32,
    },
    /// A key that an account had before. Nothing more can happen.
    Alias {
        /// The account.
        of: AccountIndex,
    },
    /// No account: it was closed, or it is the issuer's before its first money. Money makes it one (again).
    Closed,
}

/// One key and what it stands for: 64 bytes, of which there are millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) key: EntityId,
    pub(crate) account: Account,
    /// How much it may have, available and held, by what others pay in.
    pub(crate) balance_max: Amount,
    pub(crate) role: Role,
}
const _: () = assert!(size_of::<Slot>() == 64, "a cache line");

impl Slot {
    pub(crate) const fn closed(key: EntityId) -> Self {
        let account = Account { available: Amount::ZERO, held: Amount::ZERO };
        Self { key, account, balance_max: Amount::MAX, role: Role::Closed }
    }

    pub(crate) const fn alias(key: EntityId, of: AccountIndex) -> Self {
        Self { role: Role::Alias { of }, ..Self::closed(key) }
    }

    pub(crate) const fn is_alias(&self) -> bool {
        matches!(self.role, Role::Alias { .. })
    }
}

/// Who is to get money, looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payee {
    /// It has an account.
    Open(AccountIndex),
    /// It has none, and a place for it.
    Closed(AccountIndex),
    /// It was never heard of.
    New(EntityId),
}

impl Payee {
    /// Where it is, if it has a place.
    pub(crate) const fn index(self) -> Option<AccountIndex> {
        match self {
            Self::Open(at) | Self::Closed(at) => Some(at),
            Self::New(_) => None,
        }
    }

    pub(crate) const fn has_account(self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// Whose key it is that asks to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spender {
    /// It has an account.
    Open(AccountIndex),
    /// It has none.
    Nobody,
    /// The account has another key now.
    Rotated(AccountIndex),
}

/// All slots, in the order in which they were made, and a table that finds them by key.
///
/// The table is not part of the value: it follows from the slots, and its order, which follows from the seed, is
/// never seen.
#[derive(Clone)]
pub(crate) struct Accounts {
    pub(crate) slots: Vec<Slot>,
    pub(crate) table: HashTable<u32>,
    seed: u64,
    shared: SharedSeed,
    /// How many slots are accounts.
    pub(crate) open: u64,
    pub(crate) ahead: Ahead,
}

impl PartialEq for Accounts {
    fn eq(&self, other: &Self) -> bool {
        self.slots == other.slots && self.ahead == other.ahead
    }
}

impl Eq for Accounts {}

impl fmt::Debug for Accounts {
    /// Writes the slots alone: the seed is a secret of this process.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.slots).finish()
    }
}

impl Accounts {
    /// Creates the place of the issuer, without an account.
    pub(crate) fn new(currency: CurrencyId, seed: u64) -> Self {
        let mut accounts = Self::with_capacity(seed, 1);
        accounts.add(Slot::closed(currency.issuer()));
        accounts
    }

    /// Creates accounts without the issuer's, for the caller that adds it first.
    pub(crate) fn with_capacity(seed: u64, count: usize) -> Self {
        let (slots, table) = (Vec::with_capacity(count), HashTable::with_capacity(count));
        let (shared, ahead) = (SharedSeed::from_u64(seed), Ahead::default());
        Self { slots, table, seed, shared, open: 0, ahead }
    }

    fn hash(&self, key: &EntityId) -> u64 {
        hash(self.seed, &self.shared, key)
    }

    /// Returns the slot of a key, be it an alias or not.
    pub(crate) fn find(&self, key: &EntityId) -> Option<AccountIndex> {
        let same = |at: &u32| self.slots[*at as usize].key == *key;
        self.table.find(self.hash(key), same).copied().map(AccountIndex)
    }

    /// Returns the slot of an account by any key that it ever had.
    pub(crate) fn resolve(&self, key: &EntityId) -> Option<AccountIndex> {
        let at = self.find(key)?;
        match self.at(at).role {
            Role::Alias { of } => Some(of),
            Role::Account { .. } | Role::Closed => Some(at),
        }
    }

    pub(crate) fn payee(&self, key: EntityId) -> Payee {
        let Some(at) = self.resolve(&key) else { return Payee::New(key) };
        match self.at(at).role {
            Role::Account { .. } => Payee::Open(at),
            Role::Closed | Role::Alias { .. } => Payee::Closed(at),
        }
    }

    pub(crate) fn spender(&self, key: &EntityId) -> Spender {
        let Some(at) = self.find(key) else { return Spender::Nobody };
        match self.at(at).role {
            Role::Account { .. } => Spender::Open(at),
            Role::Alias { of } => Spender::Rotated(of),
            Role::Closed => Spender::Nobody,
        }
    }

    pub(crate) fn at(&self, at: AccountIndex) -> &Slot {
        &self.slots[at.get()]
    }

    pub(crate) fn at_mut(&mut self, at: AccountIndex) -> &mut Slot {
        &mut self.slots[at.get()]
    }

    /// Returns whether one key more can be kept.
    pub(crate) const fn has_room(&self) -> bool {
        self.slots.len() < ACCOUNTS_MAX as usize
    }

    pub(crate) fn is_open(&self, at: AccountIndex) -> bool {
        matches!(self.at(at).role, Role::Account { .. })
    }

    /// Returns how much this payee may have by what others pay in.
    pub(crate) fn balance_max(&self, payee: Payee) -> Amount {
        match payee {
            Payee::Open(at) => self.at(at).balance_max,
            Payee::Closed(at) => self.ahead.of(&self.at(at).key),
            Payee::New(key) => self.ahead.of(&key),
        }
    }

    /// Gives the payee an account if it has none, with the limit that it has set ahead. That stays kept: the account may
    /// be taken away with the rest of a chain.
    pub(crate) fn open(&mut self, payee: Payee) -> AccountIndex {
        let balance_max = self.balance_max(payee);
        let at = match payee {
            Payee::Open(at) => return at,
            Payee::Closed(at) => at,
            Payee::New(key) => self.add(Slot::closed(key)),
        };
        let slot = self.at_mut(at);
        (slot.role, slot.balance_max) = (Role::Account { holds_open: 0 }, balance_max);
        self.open += 1;
        at
    }

    /// Gives the issuer an account if it has none: fees are paid to it unasked.
    pub(crate) fn open_issuer(&mut self) -> AccountIndex {
        let at = AccountIndex::ISSUER;
        match self.at(at).role {
            Role::Closed => self.open(Payee::Closed(at)),
            Role::Account { .. } | Role::Alias { .. } => at,
        }
    }

    /// Takes an account away; its place stays.
    pub(crate) fn close(&mut self, at: AccountIndex) {
        *self.at_mut(at) = Slot::closed(self.at(at).key);
        self.open -= 1;
    }

    /// Gives an account another key, and its old key a slot that leads to it.
    pub(crate) fn rename(&mut self, at: AccountIndex, new: EntityId) {
        let old = self.at(at).key;
        self.forget(&old);
        self.at_mut(at).key = new;
        self.enter(new, at);
        self.add(Slot::alias(old, at));
    }

    /// Takes the last slots away, as if they had never been: they are closed, and nobody was told of them.
    pub(crate) fn truncate(&mut self, count: usize) {
        while self.slots.len() > count
            && let Some(Slot { key, .. }) = self.slots.last().copied()
        {
            self.forget(&key);
            self.slots.pop();
        }
    }

    /// Adds a slot under a key that is not there. The caller saw that there is room.
    pub(crate) fn add(&mut self, slot: Slot) -> AccountIndex {
        // It fits: ACCOUNTS_MAX is far below.
        let at = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.slots.push(slot);
        self.open += u64::from(matches!(slot.role, Role::Account { .. }));
        self.enter(slot.key, AccountIndex(at));
        AccountIndex(at)
    }

    fn forget(&mut self, key: &EntityId) {
        let hashed = self.hash(key);
        let Self { slots, table, .. } = self;
        if let Ok(entry) = table.find_entry(hashed, |at| slots[*at as usize].key == *key) {
            entry.remove();
        }
    }

    fn enter(&mut self, key: EntityId, at: AccountIndex) {
        let hashed = self.hash(&key);
        let Self { slots, table, seed, shared, .. } = self;
        let rehash = |at: &u32| hash(*seed, shared, &slots[*at as usize].key);
        table.insert_unique(hashed, at.0, rehash);
    }
}

/// Foldhash, for quality: both of its seeds follow from one that only this process knows.
fn hash(seed: u64, shared: &SharedSeed, key: &EntityId) -> u64 {
    let mut hasher = FoldHasher::with_seed(seed, shared);
    hasher.write(key.as_bytes());
    hasher.finish()
}
