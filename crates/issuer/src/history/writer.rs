//! Adding to the history: what came since the last commit is kept in memory, sorted, and written at once.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use fondaco_codec::Encode;
use fondaco_crypto::EntityId;
use fondaco_lcp::{EntryKind, Movement, RequestId, Response};
use redb::{Durability, ReadableDatabase, ReadableTable, Table};

use super::{
    Batch, HistoryError, Noted, Shared, Through,
    error::{of_row, of_store},
    keys::Keys,
    rows::{Answer, Broken, EntriesRow, Item, Line, LogRow, OutcomesRow, Place, RECORDS_MAX},
    tables::{
        ENTRIES, KEYS, LOG, META, META_THROUGH, OUTCOMES, entries_first, entries_key, key_row,
        last_row, outcomes_key, read_key_row, through_row,
    },
};

type RowsOf<'a, const N: usize> = Table<'a, &'static [u8; N], &'static [u8]>;

/// Of so many accounts the last rows are remembered. When there are more they are forgotten together: whoever is paid often is
/// soon there again.
const TAILS_MAX: usize = 1 << 16;

/// Where the last row of an account is, so that it need not be searched.
#[derive(Clone, Copy, Debug)]
enum Row<T> {
    Unknown,
    None,
    At(T),
}

/// Where the last rows of accounts are.
#[derive(Debug)]
struct Tails<T>(HashMap<u32, T>);

impl<T: Copy> Tails<T> {
    fn of(&self, account: u32, keys_stored: usize) -> Row<T> {
        match self.0.get(&account) {
            Some(first) => Row::At(*first),
            None if (account as usize) < keys_stored => Row::Unknown,
            None => Row::None,
        }
    }

    fn keep(&mut self, account: u32, row: Row<T>) {
        if self.0.len() >= TAILS_MAX {
            self.0.clear();
        }
        if let Row::At(first) = row {
            self.0.insert(account, first);
        }
    }
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// With what is not committed.
    through: Through,
    /// Rows of the log that are full.
    full: Vec<LogRow>,
    tail: LogRow,
    places: Vec<(u32, Place)>,
    outcomes: Vec<(u32, RequestId, u64)>,
    /// Keys from this number on are not stored.
    keys_stored: usize,
    /// Those keys.
    fresh: Vec<EntityId>,
    /// Keys that were stored with another account.
    changed: Vec<u32>,
    entries: Tails<u64>,
    outcome_rows: Tails<RequestId>,
    /// Records since the last commit.
    pending: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, HistoryError> {
        let through = shared.through();
        let failed = |error: redb::Error| of_store(&shared.path, error);
        let read = shared.database.begin_read().map_err(|error| failed(error.into()))?;
        let log = read.open_table(LOG).map_err(|error| failed(error.into()))?;
        let tail = match log.last().map_err(|error| failed(error.into()))? {
            Some((first, row)) => {
                LogRow::resume(first.value(), row.value()).map_err(of_row(&shared.path))?
            }
            None => LogRow::default(),
        };
        let keys_stored = shared.keys.read().unwrap_or_else(PoisonError::into_inner).len();
        Ok(Self {
            shared,
            through,
            full: Vec::new(),
            tail,
            places: Vec::new(),
            outcomes: Vec::new(),
            keys_stored,
            fresh: Vec::new(),
            changed: Vec::new(),
            entries: Tails(HashMap::new()),
            outcome_rows: Tails(HashMap::new()),
            pending: 0,
        })
    }

    /// How many records are not committed.
    pub(super) const fn pending(&self) -> u64 {
        self.pending
    }

    /// How far it has come, with what is not committed.
    pub(super) const fn through(&self) -> Through {
        self.through
    }

    /// Takes a frame; one that is indexed already is passed over.
    pub(super) fn add(&mut self, batch: &Batch) -> Result<(), HistoryError> {
        let numbers = &batch.frame.records;
        let Through { records: next, chain } = self.through;
        if numbers.end <= next {
            // Where the indexed part ends, a frame must end with the same chain.
            return match numbers.end == next && batch.frame.chain != chain {
                true => Err(HistoryError::OtherJournal { records: next }),
                false => Ok(()),
            };
        }
        let whole = numbers.end - numbers.start == batch.records.len() as u64;
        if numbers.start != next || !whole || numbers.end > RECORDS_MAX {
            // A frame on both sides of the end is none of the journal that was indexed.
            return Err(match numbers.start < next {
                true => HistoryError::OtherJournal { records: next },
                false => HistoryError::Gap { wanted: next, found: numbers.start },
            });
        }
        let shared = Arc::clone(&self.shared);
        let mut keys = shared.keys.write().unwrap_or_else(PoisonError::into_inner);
        for (noted, record) in batch.records.iter().zip(numbers.start..) {
            self.note(&mut keys, noted, record, batch.frame.at.get())?;
        }
        self.through = Through { records: numbers.end, chain: batch.frame.chain };
        self.pending += batch.records.len() as u64;
        Ok(())
    }

    fn note(
        &mut self,
        keys: &mut Keys,
        noted: &Noted,
        record: u64,
        frame: u64,
    ) -> Result<(), HistoryError> {
        let mut numbers = Vec::with_capacity(noted.movements.len());
        for movement in &noted.movements {
            numbers.push(self.keys_of(keys, movement)?);
        }
        let answered = match &noted.answered {
            Some(answered) => {
                let refused = matches!(answered.response, Response::Refused { .. });
                let number = match keys.number(answered.holder) {
                    Some(number) => Some(number),
                    // A stranger who was refused: it would get a number, and a row, for nothing.
                    None if refused => None,
                    None => Some(self.add_key(keys, answered.holder)?),
                };
                number.map(|number| (number, answered.id, answered.response.to_bytes()))
            }
            None => None,
        };
        if answered.is_none() && noted.movements.is_empty() {
            return Ok(());
        }
        let account_of = |number| keys.account(number);
        for ((holder, _), line) in numbers.iter().zip(0..) {
            self.places.push((account_of(*holder), Place { record, line }));
        }
        let answer = answered.as_ref().map(|(holder, id, response)| {
            self.outcomes.push((account_of(*holder), *id, record));
            Answer { holder: *holder, id: *id, response }
        });
        let lines =
            noted.movements.iter().zip(&numbers).map(|(movement, (_, counterparty))| Line {
                kind: movement.kind,
                counterparty: *counterparty,
                amount: movement.amount,
                fee: movement.fee,
                order: movement.order.as_str(),
                id: movement.id,
            });
        let item = Item { record, at: noted.at, frame, answer, lines: lines.collect() };
        if !self.tail.add(&item) {
            self.full.push(std::mem::take(&mut self.tail));
            self.tail.add(&item);
        }
        Ok(())
    }

    /// The numbers of a movement's holder and counterparty.
    fn keys_of(
        &mut self,
        keys: &mut Keys,
        movement: &Movement,
    ) -> Result<(u32, Option<u32>), HistoryError> {
        let mut number_of = |key| match keys.number(key) {
            Some(number) => Ok(number),
            None => self.add_key(keys, key),
        };
        let holder = number_of(movement.holder)?;
        let counterparty = movement.counterparty.map(&mut number_of).transpose()?;
        if let (EntryKind::RotatedFrom, Some(old)) = (movement.kind, counterparty) {
            let account = keys.account(old);
            keys.set_account(holder, account);
            if (holder as usize) < self.keys_stored {
                self.changed.push(holder);
            }
        }
        Ok((holder, counterparty))
    }

    fn add_key(&mut self, keys: &mut Keys, key: EntityId) -> Result<u32, HistoryError> {
        let number = keys.add(key, None).ok_or_else(|| HistoryError::Store {
            path: self.shared.path.clone(),
            detail: "there are more keys than can be numbered".to_owned(),
        })?;
        self.fresh.push(key);
        Ok(number)
    }

    /// Writes what came since the last commit; whoever reads sees it then. If `durable`, so is all before.
    pub(super) fn commit(&mut self, durable: bool) -> Result<(), HistoryError> {
        let shared = Arc::clone(&self.shared);
        self.write(&shared, durable).map_err(|error| match error {
            Failure::Store(error) => of_store(&shared.path, error),
            Failure::Row => of_row(&shared.path)(Broken),
        })?;
        self.pending = 0;
        self.shared.committed(self.through, durable);
        Ok(())
    }

    fn write(&mut self, shared: &Shared, durable: bool) -> Result<(), Failure> {
        let mut write = shared.database.begin_write()?;
        write.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        // After a crash the file need not be read as a whole.
        write.set_quick_repair(true);
        // No rows are stored of an account whose key is not.
        let stored = self.keys_stored;
        {
            let keys = shared.keys.read().unwrap_or_else(PoisonError::into_inner);
            let mut table = write.open_table(KEYS)?;
            for number in self.changed.drain(..) {
                let key = table.get(number)?.map(|row| read_key_row(row.value()).0);
                let row = key_row(key.ok_or(Failure::Row)?, keys.account(number));
                table.insert(number, &row)?;
            }
            for (number, key) in (self.keys_stored..).zip(std::mem::take(&mut self.fresh)) {
                let number = u32::try_from(number).map_err(|_| Failure::Row)?;
                table.insert(number, &key_row(key, keys.account(number)))?;
            }
            self.keys_stored = keys.len();
        }
        {
            let mut table = write.open_table(LOG)?;
            for row in self.full.drain(..).chain(std::iter::once(self.tail.clone())) {
                if !row.bytes.is_empty() {
                    table.insert(row.first, row.bytes.as_slice())?;
                }
            }
        }
        {
            let mut table = write.open_table(ENTRIES)?;
            let mut places = std::mem::take(&mut self.places);
            places.sort_unstable();
            for group in places.chunk_by(|a, b| a.0 == b.0) {
                let account = group[0].0;
                let mut tail = self.entries.of(account, stored);
                write_entries(&mut table, account, group, &mut tail)?;
                self.entries.keep(account, tail);
            }
        }
        {
            let mut table = write.open_table(OUTCOMES)?;
            let mut outcomes = std::mem::take(&mut self.outcomes);
            outcomes.sort_unstable();
            for group in outcomes.chunk_by(|a, b| a.0 == b.0) {
                let account = group[0].0;
                let mut tail = self.outcome_rows.of(account, stored);
                write_outcomes(&mut table, account, group, &mut tail)?;
                self.outcome_rows.keep(account, tail);
            }
        }
        write.open_table(META)?.insert(META_THROUGH, through_row(self.through).as_slice())?;
        write.commit()?;
        Ok(())
    }
}

fn write_entries(
    table: &mut RowsOf<'_, 12>,
    account: u32,
    group: &[(u32, Place)],
    tail: &mut Row<u64>,
) -> Result<(), Failure> {
    let stored = match *tail {
        Row::None => None,
        Row::At(first) => {
            let row = table.get(&entries_key(account, first))?.ok_or(Failure::Row)?;
            Some(EntriesRow::read(first, row.value())?)
        }
        Row::Unknown => {
            match last_row(table, entries_key(account, 0), entries_key(account, u64::MAX))? {
                Some((key, row)) => Some(EntriesRow::read(entries_first(key), &row)?),
                None => None,
            }
        }
    };
    let mut row = stored.unwrap_or_else(|| EntriesRow::new(1));
    let mut written = Vec::new();
    let mut store = |row: &EntriesRow| -> Result<(), Failure> {
        row.write(&mut written);
        table.insert(&entries_key(account, row.first), written.as_slice())?;
        Ok(())
    };
    for (_, place) in group {
        if !row.add(*place) {
            store(&row)?;
            row = EntriesRow::new(row.next());
            row.add(*place);
        }
    }
    store(&row)?;
    *tail = Row::At(row.first);
    Ok(())
}

fn write_outcomes(
    table: &mut RowsOf<'_, 20>,
    account: u32,
    group: &[(u32, RequestId, u64)],
    tail: &mut Row<RequestId>,
) -> Result<(), Failure> {
    let last_of = |table: &RowsOf<'_, 20>, most| -> Result<Option<OutcomesRow>, Failure> {
        let least = outcomes_key(account, RequestId::new(0));
        let found = last_row(table, least, outcomes_key(account, most))?;
        Ok(found.map(|(_, row)| OutcomesRow::read(&row)).transpose()?)
    };
    let mut last = match *tail {
        Row::None => OutcomesRow::default(),
        Row::At(first) => {
            let row = table.get(&outcomes_key(account, first))?.ok_or(Failure::Row)?;
            OutcomesRow::read(row.value())?
        }
        Row::Unknown => last_of(table, RequestId::new(u128::MAX))?.unwrap_or_default(),
    };
    let store = |table: &mut RowsOf<'_, 20>, row: &OutcomesRow| -> Result<(), Failure> {
        if let Some(first) = row.first() {
            table.insert(&outcomes_key(account, first), row.bytes())?;
        }
        Ok(())
    };
    for (_, id, record) in group {
        let is_last = last.first().is_none_or(|first| first <= *id);
        let mut row = match is_last {
            true => std::mem::take(&mut last),
            // Ids that do not go up: a row of before, or one of its own.
            false => last_of(table, *id)?.unwrap_or_default(),
        };
        let upper = row.add(*id, *record);
        match upper {
            Some(upper) => {
                store(table, &row)?;
                match is_last {
                    true => last = upper,
                    false => store(table, &upper)?,
                }
            }
            None if is_last => last = row,
            None => store(table, &row)?,
        }
    }
    store(table, &last)?;
    *tail = last.first().map_or(Row::None, Row::At);
    Ok(())
}

/// Why nothing was written: the transaction is given up as a whole.
enum Failure {
    Store(redb::Error),
    Row,
}

impl From<Broken> for Failure {
    fn from(Broken: Broken) -> Self {
        Self::Row
    }
}

macro_rules! of_the_store {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                Self::Store(error.into())
            }
        }
    )*};
}
of_the_store!(TransactionError, SetDurabilityError, TableError, StorageError, CommitError);
