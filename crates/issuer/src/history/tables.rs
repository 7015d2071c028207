//! The tables of the store, and how rows are found in them.

use fondaco_crypto::{Digest, EntityId};
use fondaco_lcp::RequestId;
use redb::{ReadableTable, StorageError, TableDefinition};

use super::{Through, rows::Broken};

/// The version of all that is written here.
pub(super) const FORMAT: u32 = 1;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const KEYS: TableDefinition<'_, u32, &[u8; 36]> = TableDefinition::new("keys");
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
pub(super) const ENTRIES: TableDefinition<'_, &[u8; 12], &[u8]> = TableDefinition::new("entries");
pub(super) const OUTCOMES: TableDefinition<'_, &[u8; 20], &[u8]> = TableDefinition::new("outcomes");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_THROUGH: &str = "through";

/// The key of an account's entries from this number on.
pub(super) fn entries_key(account: u32, first: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&account.to_be_bytes());
    key[4..].copy_from_slice(&first.to_be_bytes());
    key
}

/// The key of an account's outcomes from this id on.
pub(super) fn outcomes_key(account: u32, first: RequestId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&account.to_be_bytes());
    key[4..].copy_from_slice(&first.get().to_be_bytes());
    key
}

/// What is written of a key: its bytes and its account.
pub(super) fn key_row(key: EntityId, account: u32) -> [u8; 36] {
    let mut row = [0; 36];
    row[..32].copy_from_slice(key.as_bytes());
    row[32..].copy_from_slice(&account.to_le_bytes());
    row
}

pub(super) fn read_key_row(row: &[u8; 36]) -> (EntityId, u32) {
    let (mut key, mut account) = ([0; 32], [0; 4]);
    key.copy_from_slice(&row[..32]);
    account.copy_from_slice(&row[32..]);
    (EntityId::from_bytes(key), u32::from_le_bytes(account))
}

pub(super) fn through_row(through: Through) -> [u8; 40] {
    let mut row = [0; 40];
    row[..8].copy_from_slice(&through.records.to_le_bytes());
    row[8..].copy_from_slice(through.chain.as_bytes());
    row
}

pub(super) fn read_through(row: &[u8]) -> Result<Through, Broken> {
    let (records, chain) = row.split_at_checked(8).ok_or(Broken)?;
    let records = u64::from_le_bytes(records.try_into().map_err(|_| Broken)?);
    Ok(Through { records, chain: Digest::from_bytes(chain.try_into().map_err(|_| Broken)?) })
}

/// A row and its key.
pub(super) type Row<const N: usize> = ([u8; N], Vec<u8>);

/// The row of the greatest key from `least` to `most`.
pub(super) fn last_row<const N: usize>(
    table: &impl ReadableTable<&'static [u8; N], &'static [u8]>,
    least: [u8; N],
    most: [u8; N],
) -> Result<Option<Row<N>>, StorageError> {
    let found = table.range::<&[u8; N]>(&least..=&most)?.next_back().transpose()?;
    Ok(found.map(|(key, row)| (*key.value(), row.value().to_vec())))
}

/// Where an account's row of entries begins, by its key.
pub(super) fn entries_first(key: [u8; 12]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key[4..]);
    u64::from_be_bytes(first)
}
