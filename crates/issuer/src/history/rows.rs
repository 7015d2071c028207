//! How the history's rows are written: the log of what happened, and the lists of each account. No disk here.
//!
//! A row is as long as a page of the store takes, because a store that splits full pages in half would leave half of each
//! empty where rows only ever come at the end.

use std::ops::Range;

use fondaco_codec::Text;
use fondaco_lcp::{EntryKind, RequestId};
use fondaco_units::{Amount, Timestamp};

/// The most bytes of a row of the log, when one item is no longer than that: with its key it fills a page of 4 KiB.
pub(super) const LOG_ROW: usize = 4072;
/// The most bytes of a row of entries.
pub(super) const ENTRIES_ROW: usize = 4060;
/// The most outcomes of one row: 22 bytes each.
pub(super) const OUTCOMES_ROW: usize = 184;
/// A record's number is written in six bytes.
pub(super) const RECORDS_MAX: u64 = 1 << 48;

/// A row does not say what a row can say: the file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

type Read<T> = Result<T, Broken>;

/// Writes an integer, seven bits to a byte, the lowest first (LEB128).
fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads what [`put`] writes, front to back.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn number(&mut self) -> Read<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Broken)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Broken);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken)
    }

    fn key(&mut self) -> Read<u32> {
        u32::try_from(self.number()?).map_err(|_| Broken)
    }

    fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.number()?).map_err(|_| Broken)?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Broken)
    }
}

/// The command of a record, and its first answer. Keys are by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) holder: u32,
    pub(super) id: RequestId,
    pub(super) response: &'a [u8],
}

/// One movement, without whose it is: the list of entries that points here knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) kind: EntryKind,
    pub(super) counterparty: Option<u32>,
    pub(super) amount: Amount,
    pub(super) fee: Amount,
    pub(super) order: &'a str,
    pub(super) id: Option<RequestId>,
}

/// What the log says of one record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) record: u64,
    pub(super) at: Timestamp,
    /// Where the frame that has the record begins in the journal.
    pub(super) frame: u64,
    pub(super) answer: Option<Answer<'a>>,
    pub(super) lines: Vec<Line<'a>>,
}

const HAS_ANSWER: u64 = 1;
const NEW_FRAME: u64 = 2;

const HAS_COUNTERPARTY: u8 = 0x10;
/// The line's id is that of the answer.
const SAME_ID: u8 = 0x20;
const OTHER_ID: u8 = 0x40;
/// The line's order is that of the line before.
const SAME_ORDER: u8 = 0x80;

const fn kind_number(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Sent => 1,
        EntryKind::Received => 2,
        EntryKind::Minted => 3,
        EntryKind::Redeemed => 4,
        EntryKind::HoldOpened => 5,
        EntryKind::HoldPaid => 6,
        EntryKind::HoldReceived => 7,
        EntryKind::HoldReturned => 8,
        EntryKind::Forfeited => 9,
        EntryKind::RotatedFrom => 10,
    }
}

const fn kind_of(number: u8) -> Option<EntryKind> {
    Some(match number {
        1 => EntryKind::Sent,
        2 => EntryKind::Received,
        3 => EntryKind::Minted,
        4 => EntryKind::Redeemed,
        5 => EntryKind::HoldOpened,
        6 => EntryKind::HoldPaid,
        7 => EntryKind::HoldReceived,
        8 => EntryKind::HoldReturned,
        9 => EntryKind::Forfeited,
        10 => EntryKind::RotatedFrom,
        _ => return None,
    })
}

/// What an item is written against: the one before it in its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Before {
    record: u64,
    at: u64,
    frame: u64,
}

/// A row of the log that is being filled: consecutive records that have something to tell. Its key is the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogRow {
    pub(super) first: u64,
    pub(super) bytes: Vec<u8>,
    before: Before,
    body: Vec<u8>,
}

impl LogRow {
    /// Takes up a row that was stored, to go on with it.
    pub(super) fn resume(first: u64, bytes: &[u8]) -> Read<Self> {
        let mut before = Before { record: first, ..Before::default() };
        let mut input = Input(bytes);
        while !input.0.is_empty() {
            let mut item = Input(input.bytes()?);
            read_head(&mut item, &mut before)?;
        }
        Ok(Self { first, bytes: bytes.to_vec(), before, body: Vec::new() })
    }

    /// Adds an item, if it fits; the first one always does. The records of a row go up, and so do time and frames.
    pub(super) fn add(&mut self, item: &Item<'_>) -> bool {
        let is_first = self.bytes.is_empty();
        if is_first {
            self.first = item.record;
            self.before = Before { record: item.record, ..Before::default() };
        }
        let at = item.at.milliseconds();
        let Before { record, at: at_before, frame } = self.before;
        let steps = (item.record.checked_sub(record), at.checked_sub(at_before));
        let (Some(records), Some(time)) = steps else { return false };
        let Some(frames) = item.frame.checked_sub(frame) else { return false };
        let body = &mut self.body;
        body.clear();
        put(body, records);
        put(body, time);
        let answered = if item.answer.is_some() { HAS_ANSWER } else { 0 };
        let moved = if frames > 0 { NEW_FRAME } else { 0 };
        put(body, answered | moved);
        if frames > 0 {
            put(body, frames);
        }
        if let Some(Answer { holder, id, response }) = &item.answer {
            put(body, u64::from(*holder));
            body.extend_from_slice(&id.get().to_be_bytes());
            put(body, response.len() as u64);
            body.extend_from_slice(response);
        }
        put(body, item.lines.len() as u64);
        let mut order = "";
        for line in &item.lines {
            put_line(body, line, item.answer.as_ref().map(|answer| answer.id), order);
            order = line.order;
        }
        // Three bytes count what a row has; a longer item has a row of its own.
        if !is_first && self.bytes.len() + body.len() + 3 > LOG_ROW {
            return false;
        }
        put(&mut self.bytes, body.len() as u64);
        self.bytes.extend_from_slice(body);
        self.before = Before { record: item.record, at, frame: item.frame };
        true
    }
}

fn put_line(out: &mut Vec<u8>, line: &Line<'_>, answered: Option<RequestId>, before: &str) {
    let mut flags = kind_number(line.kind);
    flags |= if line.counterparty.is_some() { HAS_COUNTERPARTY } else { 0 };
    flags |= if line.order == before { SAME_ORDER } else { 0 };
    flags |= match line.id {
        Some(id) if answered == Some(id) => SAME_ID,
        Some(_) => OTHER_ID,
        None => 0,
    };
    out.push(flags);
    if let Some(counterparty) = line.counterparty {
        put(out, u64::from(counterparty));
    }
    put(out, line.amount.get());
    put(out, line.fee.get());
    if flags & SAME_ORDER == 0 {
        put(out, line.order.len() as u64);
        out.extend_from_slice(line.order.as_bytes());
    }
    if let (Some(id), OTHER_ID) = (line.id, flags & OTHER_ID) {
        out.extend_from_slice(&id.get().to_be_bytes());
    }
}

/// Reads what an item begins with; returns whether an answer follows.
fn read_head(input: &mut Input<'_>, before: &mut Before) -> Read<bool> {
    let (records, time, flags) = (input.number()?, input.number()?, input.number()?);
    let frames = if flags & NEW_FRAME == 0 { 0 } else { input.number()? };
    *before = Before {
        record: before.record.checked_add(records).ok_or(Broken)?,
        at: before.at.checked_add(time).ok_or(Broken)?,
        frame: before.frame.checked_add(frames).ok_or(Broken)?,
    };
    Ok(flags & HAS_ANSWER != 0)
}

fn read_line<'a>(
    input: &mut Input<'a>,
    answered: Option<RequestId>,
    before: &'a str,
) -> Read<Line<'a>> {
    let [flags] = input.array()?;
    let kind = kind_of(flags & 0x0f).ok_or(Broken)?;
    let counterparty = match flags & HAS_COUNTERPARTY {
        0 => None,
        _ => Some(input.key()?),
    };
    let (amount, fee) = (Amount::new(input.number()?), Amount::new(input.number()?));
    let order = match flags & SAME_ORDER {
        0 => std::str::from_utf8(input.bytes()?).map_err(|_| Broken)?,
        _ => before,
    };
    let id = match (flags & SAME_ID, flags & OTHER_ID) {
        (0, 0) => None,
        (_, 0) => Some(answered.ok_or(Broken)?),
        (0, _) => Some(RequestId::new(u128::from_be_bytes(input.array()?))),
        (_, _) => return Err(Broken),
    };
    Ok(Line { kind, counterparty, amount, fee, order, id })
}

/// Where an item is in its row.
struct Found<'a> {
    input: Input<'a>,
    has_answer: bool,
    head: Before,
}

fn find<'a>(first: u64, row: &'a [u8], record: u64) -> Read<Option<Found<'a>>> {
    let mut head = Before { record: first, ..Before::default() };
    let mut row = Input(row);
    while !row.0.is_empty() {
        let mut input = Input(row.bytes()?);
        let has_answer = read_head(&mut input, &mut head)?;
        if head.record >= record {
            return Ok((head.record == record).then_some(Found { input, has_answer, head }));
        }
    }
    Ok(None)
}

/// Returns whether a row of the log says something of a record.
pub(super) fn has_item(first: u64, row: &[u8], record: u64) -> Read<bool> {
    find(first, row, record).map(|found| found.is_some())
}

/// Finds what a row of the log says of a record, with so many of its lines at most; nothing if it says nothing.
pub(super) fn find_item(
    first: u64,
    row: &[u8],
    record: u64,
    lines_max: usize,
) -> Read<Option<Item<'_>>> {
    let Some(Found { mut input, has_answer, head }) = find(first, row, record)? else {
        return Ok(None);
    };
    let answer = match has_answer {
        true => {
            let holder = input.key()?;
            let id = RequestId::new(u128::from_be_bytes(input.array()?));
            Some(Answer { holder, id, response: input.bytes()? })
        }
        false => None,
    };
    let count = input.number()?.min(lines_max as u64);
    let (mut lines, mut order) = (Vec::new(), "");
    for _ in 0..count {
        // Every line takes a byte at least, so a lying count ends with its item.
        let line = read_line(&mut input, answer.as_ref().map(|answer| answer.id), order)?;
        order = line.order;
        lines.push(line);
    }
    let Before { at, frame, .. } = head;
    let at = Timestamp::from_milliseconds(at);
    Ok(Some(Item { record, at, frame, answer, lines }))
}

/// The order of a line, as an entry has it.
pub(super) fn order_of(line: &Line<'_>) -> Read<Text<64>> {
    Text::new(line.order).ok_or(Broken)
}

/// Where one entry of an account is: which record, and which of its movements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) record: u64,
    pub(super) line: u32,
}

/// A row of the entries of one account, in order: how many, the last one's record, and then the places. Its key is the
/// account and the number of its first entry, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntriesRow {
    pub(super) first: u64,
    count: u16,
    last: u64,
    bytes: Vec<u8>,
}

const ENTRIES_HEAD: usize = 10;

impl EntriesRow {
    pub(super) const fn new(first: u64) -> Self {
        Self { first, count: 0, last: 0, bytes: Vec::new() }
    }

    pub(super) fn read(first: u64, row: &[u8]) -> Read<Self> {
        let mut input = Input(row);
        let count = u16::from_le_bytes(input.array()?);
        let last = u64::from_le_bytes(input.array()?);
        if count == 0 {
            return Err(Broken);
        }
        Ok(Self { first, count, last, bytes: input.0.to_vec() })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&self.bytes);
    }

    /// Returns the number of the entry that comes next.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Adds a place, which comes after all others, if it fits.
    pub(super) fn add(&mut self, place: Place) -> bool {
        // Ten bytes are the longest record's step, five the longest line.
        let full = ENTRIES_HEAD + self.bytes.len() + 15 > ENTRIES_ROW || self.count == u16::MAX;
        if full {
            return false;
        }
        put(&mut self.bytes, place.record.saturating_sub(self.last));
        put(&mut self.bytes, u64::from(place.line));
        self.count += 1;
        self.last = place.record;
        true
    }

    /// Returns the places with their numbers.
    pub(super) fn places(&self) -> Read<Vec<(u64, Place)>> {
        let mut input = Input(&self.bytes);
        let mut record = 0_u64;
        let mut places = Vec::with_capacity(usize::from(self.count).min(self.bytes.len()));
        for number in self.first..self.next() {
            record = record.checked_add(input.number()?).ok_or(Broken)?;
            places.push((number, Place { record, line: input.key()? }));
        }
        if record == self.last && input.0.is_empty() { Ok(places) } else { Err(Broken) }
    }
}

/// A row of the outcomes of one account, by id: its key is the account and the least id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OutcomesRow {
    bytes: Vec<u8>,
}

const OUTCOME: usize = 22;

impl OutcomesRow {
    pub(super) fn read(row: &[u8]) -> Read<Self> {
        let whole = !row.is_empty() && row.len().is_multiple_of(OUTCOME);
        if whole { Ok(Self { bytes: row.to_vec() }) } else { Err(Broken) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len() / OUTCOME
    }

    const fn range(index: usize) -> Range<usize> {
        index * OUTCOME..(index + 1) * OUTCOME
    }

    fn id(&self, index: usize) -> u128 {
        let mut id = [0; 16];
        id.copy_from_slice(&self.bytes[Self::range(index)][..16]);
        u128::from_be_bytes(id)
    }

    pub(super) fn first(&self) -> Option<RequestId> {
        (self.len() > 0).then(|| RequestId::new(self.id(0)))
    }

    /// Where the id is, or where it would be.
    fn search(&self, id: RequestId) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.id(middle).cmp(&id.get()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Returns the record of an id.
    pub(super) fn find(&self, id: RequestId) -> Option<u64> {
        let index = self.search(id).ok()?;
        let mut record = [0; 8];
        record[2..].copy_from_slice(&self.bytes[Self::range(index)][16..]);
        Some(u64::from_be_bytes(record))
    }

    /// Adds an outcome, which stays the first of its id; if the row was full, returns what has to go to a row of its own.
    #[must_use]
    pub(super) fn add(&mut self, id: RequestId, record: u64) -> Option<Self> {
        let Err(index) = self.search(id) else { return None };
        let mut outcome = [0; OUTCOME];
        outcome[..16].copy_from_slice(&id.get().to_be_bytes());
        outcome[16..].copy_from_slice(&record.to_be_bytes()[2..]);
        if self.len() < OUTCOMES_ROW {
            let at = index * OUTCOME;
            self.bytes.splice(at..at, outcome);
            return None;
        }
        if index == self.len() {
            return Some(Self { bytes: outcome.to_vec() });
        }
        let half = OUTCOMES_ROW / 2;
        let mut upper = Self { bytes: self.bytes.split_off(half * OUTCOME) };
        let (row, index) = if index > half { (&mut upper, index - half) } else { (self, index) };
        let at = index * OUTCOME;
        row.bytes.splice(at..at, outcome);
        Some(upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_item(first: u64, row: &[u8], record: u64) -> Read<Option<Item<'_>>> {
        super::find_item(first, row, record, usize::MAX)
    }

    fn line(kind: EntryKind, order: &'static str, id: Option<u128>) -> Line<'static> {
        let (amount, fee) = (Amount::new(u64::MAX), Amount::new(1));
        let id = id.map(RequestId::new);
        Line { kind, counterparty: Some(300), amount, fee, order, id }
    }

    fn items() -> Vec<Item<'static>> {
        let answer = |id, response| Some(Answer { holder: 7, id: RequestId::new(id), response });
        let at = Timestamp::from_milliseconds;
        vec![
            Item {
                record: 5,
                at: at(1_800_000_000_000),
                frame: 40,
                answer: answer(9, b"yes"),
                lines: vec![
                    line(EntryKind::Sent, "for tea", Some(9)),
                    line(EntryKind::Received, "for tea", Some(9)),
                    line(EntryKind::HoldReturned, "", None),
                    line(EntryKind::HoldReturned, "other", Some(8)),
                ],
            },
            Item { record: 6, at: at(1_800_000_000_000), frame: 40, answer: None, lines: vec![] },
            Item {
                record: 900,
                at: at(1_800_000_000_500),
                frame: 1 << 33,
                answer: answer(u128::MAX, b""),
                lines: vec![Line { counterparty: None, ..line(EntryKind::Forfeited, "", None) }],
            },
        ]
    }

    #[test]
    fn items_come_back_from_a_row_and_rows_go_on() {
        let mut row = LogRow::default();
        for item in &items() {
            assert!(row.add(item));
            let resumed = LogRow::resume(row.first, &row.bytes).unwrap();
            assert_eq!((resumed.before, &resumed.bytes), (row.before, &row.bytes));
        }
        for item in items() {
            assert_eq!(find_item(row.first, &row.bytes, item.record), Ok(Some(item)));
        }
        for record in [0, 4, 7, 899, 901] {
            assert_eq!(find_item(row.first, &row.bytes, record), Ok(None));
        }
        let earlier = Item { record: 899, ..items().remove(0) };
        assert!(!row.add(&earlier), "a record that goes back");
        let long = vec![1; LOG_ROW];
        let answer = Some(Answer { holder: 1, id: RequestId::new(1), response: &long });
        let long = Item { record: 901, answer, ..items().remove(2) };
        assert!(!row.add(&long));
        let mut own = LogRow::default();
        assert!(own.add(&long));
        assert_eq!(find_item(901, &own.bytes, 901), Ok(Some(long)));
    }

    /// A damaged row is told, or says something else; it is never a panic.
    #[test]
    fn damaged_rows_are_no_panic() {
        let mut row = LogRow::default();
        items().iter().for_each(|item| assert!(row.add(item)));
        let mut entries = EntriesRow::new(1);
        for record in [5, 5, 900] {
            assert!(entries.add(Place { record, line: 3 }));
        }
        let mut written = Vec::new();
        entries.write(&mut written);
        for at in 0..row.bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut bad = row.bytes.clone();
                bad[at] ^= change;
                let _ = LogRow::resume(5, &bad);
                for record in [5, 6, 900] {
                    let _ = find_item(5, &bad, record);
                    let _ = find_item(5, &bad[..at], record);
                }
            }
        }
        for at in 0..written.len() {
            for change in [1, 0x80, 0xff] {
                let mut bad = written.clone();
                bad[at] ^= change;
                let _ = EntriesRow::read(1, &bad).and_then(|row| row.places());
                let _ = EntriesRow::read(u64::MAX, &bad[..at]).and_then(|row| row.places());
            }
        }
        assert_eq!(OutcomesRow::read(&[0; 21]), Err(Broken));
        assert_eq!(OutcomesRow::read(&[]), Err(Broken));
    }

    #[test]
    fn entries_are_numbered_and_rows_fill_up() {
        let mut row = EntriesRow::new(11);
        let mut places = Vec::new();
        for number in 11.. {
            let place = Place { record: number * number * 1000, line: 70_000 };
            if !row.add(place) {
                break;
            }
            places.push((number, place));
        }
        assert_eq!(row.places().unwrap(), places);
        assert_eq!(row.next(), 11 + places.len() as u64);
        let mut written = Vec::new();
        row.write(&mut written);
        assert!((ENTRIES_ROW - 15..=ENTRIES_ROW).contains(&written.len()), "{}", written.len());
        assert_eq!(EntriesRow::read(11, &written).unwrap(), row);
    }

    #[test]
    fn outcomes_are_found_in_whatever_order_they_came() {
        let orders: [fn(u128) -> u128; 3] = [|at| at, |at| 999 - at, |at| at * 379 % 1000];
        for order in orders {
            let mut rows = vec![OutcomesRow::default()];
            for id in (0..1000).map(order) {
                let id = RequestId::new(id);
                let at = rows.iter().rposition(|row| row.first() <= Some(id)).unwrap_or(0);
                let record = u64::try_from(id.get()).unwrap() + (1 << 40);
                if let Some(upper) = rows[at].add(id, record) {
                    rows.insert(at + 1, upper);
                }
                let at = rows.iter().rposition(|row| row.find(id).is_some()).unwrap();
                assert_eq!(rows[at].add(id, 5), None, "the first stays");
            }
            assert!(rows.len() <= 12, "{}", rows.len());
            for id in 0..1000 {
                let found: Vec<_> =
                    rows.iter().filter_map(|row| row.find(RequestId::new(id))).collect();
                assert_eq!(found, [u64::try_from(id).unwrap() + (1 << 40)]);
            }
            assert!(rows.iter().all(|row| row.find(RequestId::new(1000)).is_none()));
            assert!(rows.is_sorted_by_key(|row| row.first()));
            assert!(rows.iter().all(|row| row.len() <= OUTCOMES_ROW));
        }
    }
}
