//! Asking the history.

use std::{path::Path, sync::PoisonError};

use fondaco_codec::Decode;
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{ENTRIES_PER_PAGE_MAX, Entry, Receipt, Recorded, RequestId, Response};
use fondaco_store::{DiskFile, Kind, read_frame};
use fondaco_units::{Bytes, Timestamp};
use redb::{ReadOnlyTable, ReadableDatabase};

use super::{
    History, HistoryError,
    error::{of_row, of_store},
    rows::{Broken, EntriesRow, Item, OutcomesRow, find_item, has_item, order_of},
    tables::{
        ENTRIES, KEYS, LOG, OUTCOMES, entries_first, entries_key, last_row, outcomes_key,
        read_key_row,
    },
};

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who asked, by its key of then.
    pub holder: EntityId,
    /// When, by the issuer's clock.
    pub at: Timestamp,
    /// The number of the journal's record that has it.
    pub record: u64,
    /// Where the frame that has the record begins in the journal.
    pub frame: Bytes,
    /// The first answer. Before it is signed, compare it with its mark in the journal: [`History::receipt`] does.
    pub response: Response,
}

impl History {
    /// Returns entries of the account that has, or had, the key `holder`: latest first, only those with a number below
    /// `before`, at most `count` and [`ENTRIES_PER_PAGE_MAX`]; and whether there are older ones.
    ///
    /// # Errors
    ///
    /// The disk fails, or the history is damaged.
    pub fn entries(
        &self,
        holder: EntityId,
        before: u64,
        count: u16,
    ) -> Result<(Vec<Entry>, bool), HistoryError> {
        let count = usize::from(count).min(ENTRIES_PER_PAGE_MAX);
        let mut list = Vec::new();
        let Some(account) = self.account_of(holder) else { return Ok((list, false)) };
        let path = self.path();
        let read = self.0.database.begin_read().map_err(|error| of_store(path, error))?;
        let entries = read.open_table(ENTRIES).map_err(|error| of_store(path, error))?;
        let log = read.open_table(LOG).map_err(|error| of_store(path, error))?;
        let keys = read.open_table(KEYS).map_err(|error| of_store(path, error))?;
        let mut log = Log::of(&log, &keys, path);
        let mut next = before;
        while let Some(last) = next.checked_sub(1).filter(|last| *last > 0) {
            let found = last_row(&entries, entries_key(account, 0), entries_key(account, last));
            let Some((key, row)) = found.map_err(|error| of_store(path, error))? else { break };
            let first = entries_first(key);
            let row = EntriesRow::read(first, &row).and_then(|row| row.places());
            let row = row.map_err(of_row(path))?;
            let places: Vec<_> =
                row.into_iter().rev().filter(|(number, _)| *number < next).collect();
            // Together: what they need of it is read once.
            for same in places.chunk_by(|(_, a), (_, b)| a.record == b.record) {
                let left = count - list.len();
                if left == 0 {
                    return Ok((list, true));
                }
                let lines_max = same.iter().map(|(_, place)| place.line as usize + 1).max();
                log.with(same[0].1.record, lines_max.unwrap_or_default(), |item, keys| {
                    for (number, place) in same.iter().take(left) {
                        list.push(keys.entry(&item, *number, place.line)?);
                    }
                    Ok(())
                })?;
                if same.len() > left {
                    return Ok((list, true));
                }
            }
            // A row never begins where it was not looked for: but a damaged one must not hold this up.
            next = first.min(next - 1);
        }
        Ok((list, false))
    }

    /// Returns what became of a command of the account that has, or had, the key `holder`; nothing when the history has none.
    ///
    /// # Errors
    ///
    /// As [`History::entries`].
    pub fn outcome(
        &self,
        holder: EntityId,
        id: RequestId,
    ) -> Result<Option<Outcome>, HistoryError> {
        let Some(account) = self.account_of(holder) else { return Ok(None) };
        let path = self.path();
        let read = self.0.database.begin_read().map_err(|error| of_store(path, error))?;
        let outcomes = read.open_table(OUTCOMES).map_err(|error| of_store(path, error))?;
        let log = read.open_table(LOG).map_err(|error| of_store(path, error))?;
        let keys = read.open_table(KEYS).map_err(|error| of_store(path, error))?;
        let least = outcomes_key(account, RequestId::new(0));
        let row = last_row(&outcomes, least, outcomes_key(account, id));
        let Some((_, row)) = row.map_err(|error| of_store(path, error))? else { return Ok(None) };
        let row = OutcomesRow::read(&row).map_err(of_row(path))?;
        let Some(record) = row.find(id) else { return Ok(None) };
        let broken = of_row(path);
        Log::of(&log, &keys, path).with(record, 0, |item, keys| {
            let answer = item.answer.as_ref().filter(|answer| answer.id == id);
            let answer = answer.ok_or_else(|| broken(Broken))?;
            let response = Response::from_bytes(answer.response).map_err(|_| broken(Broken))?;
            let (holder, frame) = (keys.key(answer.holder)?, Bytes::new(item.frame));
            Ok(Some(Outcome { holder, at: item.at, record, frame, response }))
        })
    }

    /// Returns a receipt for a command, not signed yet; nothing when the history has none. Request and chain are read from the
    /// journal of this kind, and the answer must bear the mark that is there: a damaged history is never signed.
    ///
    /// `journal` is a [`DiskFile::read_only`] of the journal that was indexed.
    ///
    /// # Errors
    ///
    /// As [`History::entries`]; the journal cannot be read; or the two do not say the same.
    pub fn receipt(
        &self,
        journal: &DiskFile,
        kind: Kind,
        currency: CurrencyId,
        holder: EntityId,
        id: RequestId,
    ) -> Result<Option<Receipt>, HistoryError> {
        let Some(outcome) = self.outcome(holder, id)? else { return Ok(None) };
        let damaged = || HistoryError::Damaged {
            path: self.path().to_owned(),
            detail: format!("it does not say of {id} what the journal says"),
        };
        let frame = read_frame(journal, kind, outcome.frame)?;
        let record = frame.record(outcome.record).ok_or_else(damaged)?;
        let recorded = Recorded::read(currency, record).ok().flatten().ok_or_else(damaged)?;
        let same = recorded.holder == outcome.holder
            && recorded.request.id() == Some(id)
            && recorded.was_answered(&outcome.response);
        if !same {
            return Err(damaged());
        }
        let Recorded { at, holder, request, .. } = recorded;
        let Outcome { record, response, .. } = outcome;
        let chain = frame.appended.chain;
        Ok(Some(Receipt { currency, holder, at, request, response, record, chain }))
    }

    fn path(&self) -> &Path {
        &self.0.path
    }

    fn account_of(&self, holder: EntityId) -> Option<u32> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.number(holder).map(|number| keys.account(number))
    }
}

/// The keys, by their numbers: those of what is committed are committed with it.
#[derive(Clone, Copy)]
struct Names<'a> {
    table: &'a ReadOnlyTable<u32, &'static [u8; 36]>,
    path: &'a Path,
}

impl Names<'_> {
    fn key(&self, number: u32) -> Result<EntityId, HistoryError> {
        let row = self.table.get(number).map_err(|error| of_store(self.path, error))?;
        let row = row.ok_or_else(|| of_row(self.path)(Broken))?;
        Ok(read_key_row(row.value()).0)
    }

    fn entry(&self, item: &Item<'_>, number: u64, line: u32) -> Result<Entry, HistoryError> {
        let broken = of_row(self.path);
        let line = item.lines.get(line as usize).ok_or_else(|| broken(Broken))?;
        Ok(Entry {
            number,
            at: item.at,
            record: item.record,
            kind: line.kind,
            counterparty: line.counterparty.map(|key| self.key(key)).transpose()?,
            amount: line.amount,
            fee: line.fee,
            order: order_of(line).map_err(&broken)?,
            id: line.id,
        })
    }
}

/// The log, and the row of it that was read last: entries next to each other are often in the same one.
struct Log<'a> {
    table: &'a ReadOnlyTable<u64, &'static [u8]>,
    keys: Names<'a>,
    path: &'a Path,
    row: Option<(u64, Vec<u8>)>,
}

impl<'a> Log<'a> {
    const fn of(
        table: &'a ReadOnlyTable<u64, &'static [u8]>,
        keys: &'a ReadOnlyTable<u32, &'static [u8; 36]>,
        path: &'a Path,
    ) -> Self {
        Self { table, keys: Names { table: keys, path }, path, row: None }
    }

    /// Hands what the log says of a record to `take`, with so many lines at most: the record of a batch has thousands.
    fn with<T>(
        &mut self,
        record: u64,
        lines_max: usize,
        take: impl FnOnce(Item<'_>, Names<'a>) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let has = |row: &Option<(u64, Vec<u8>)>| match row {
            // A row that begins after it has nothing of it.
            Some((first, row)) if *first <= record => has_item(*first, row, record),
            Some(_) | None => Ok(false),
        };
        if !has(&self.row).map_err(of_row(self.path))? {
            let found =
                self.table.range(..=record).and_then(|mut rows| rows.next_back().transpose());
            let found = found.map_err(|error| of_store(self.path, error))?;
            self.row = found.map(|(first, row)| (first.value(), row.value().to_vec()));
        }
        let Some((first, row)) = &self.row else { return Err(of_row(self.path)(Broken)) };
        let item = find_item(*first, row, record, lines_max).map_err(of_row(self.path))?;
        take(item.ok_or_else(|| of_row(self.path)(Broken))?, self.keys)
    }
}
