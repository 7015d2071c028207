//! A history is what an oracle says that keeps lists, however it was written: at once, in parts, after a crash, or anew.

use super::{reader::Outcome, rows::OUTCOMES_ROW, writer::Writer, *};
use fondaco_codec::{List, Text};
use fondaco_crypto::{CurrencyId, SecretKey};
use fondaco_lcp::{
    Currency, ENTRIES_PER_PAGE_MAX, Entry, EntryKind, IssuerOptions, Request, Rotation, Step,
};
use fondaco_store::{DiskFile, Journal, Kind};
use fondaco_units::{Amount, Bytes, Scale};
use std::{collections::BTreeMap, convert::Infallible};

const TEST: Kind = Kind::new(*b"issuer\0\0", 1);

/// A folder of its own for each test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("fondaco-history-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Xorshift: the same town each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn secret(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

fn currency() -> Currency {
    Currency {
        id: CurrencyId::issued_by(secret(1).entity()),
        name: Text::cut("crown"),
        symbol: Text::cut("C"),
        scale: Scale::default(),
        transfer_fee: Amount::new(1),
        full_handshake_fee: Amount::ZERO,
        account_reserve: Amount::ZERO,
    }
}

fn issuer() -> Issuer {
    let mut issuer = Issuer::new(currency(), IssuerOptions::default());
    issuer.collect_movements(true);
    issuer
}

/// What was done at an issuer, in lists.
struct Town {
    folder: Scratch,
    batches: Vec<Batch>,
    /// Entries by the account's first key.
    entries: BTreeMap<EntityId, Vec<Entry>>,
    /// Where each key's account is found.
    accounts: BTreeMap<EntityId, EntityId>,
    outcomes: Vec<(Answered, u64)>,
}

impl Town {
    fn journal(&self) -> PathBuf {
        self.folder.0.join("journal")
    }

    /// Twelve holders do all that can be done, in `frames` frames; three of them get other keys.
    fn founded(name: &str, frames: u64) -> Self {
        let folder = Scratch::new(name);
        let ignore = |_: &[u8]| Ok::<(), Infallible>(());
        let disk = DiskFile::open(folder.0.join("journal")).unwrap();
        let mut journal = Journal::open(disk, TEST, ignore).unwrap();
        let definition = journal.append(&["definition"]).unwrap();
        let first = Noted::nothing(Timestamp::EPOCH);
        let mut town = Self {
            folder,
            batches: vec![Batch { frame: definition, records: vec![first] }],
            entries: BTreeMap::new(),
            accounts: BTreeMap::new(),
            outcomes: Vec::new(),
        };
        let mut issuer = issuer();
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        let mut holders: Vec<u8> = (1..=12).collect();
        let mut last_id = 0;
        for frame in 0..frames {
            let now = Timestamp::from_milliseconds(1_000_000 + frame * 1000);
            let (mut records, mut noted) = (Vec::new(), Vec::new());
            for _ in 0..=chance.below(40) {
                last_id += 1;
                // Most ids go up, as they should.
                let id = RequestId::new((last_id << 8) | u128::from(chance.below(3)));
                let by = holders[usize::try_from(chance.below(12)).unwrap()];
                let request = town.any_request(&mut chance, id, by, &mut holders);
                let holder = secret(by).entity();
                let handled = issuer.handle(now, holder, &request);
                let Some(record) = handled.record else { continue };
                let answered = Answered { holder, id, response: handled.response };
                let movements = issuer.drain_movements();
                noted.push(Noted { at: now, answered: Some(answered), movements });
                records.push(record);
            }
            while let Some(record) = issuer.tick(now) {
                noted.push(Noted { at: now, answered: None, movements: issuer.drain_movements() });
                records.push(record);
            }
            if !records.is_empty() {
                let frame = journal.append(&records).unwrap();
                town.take(Batch { frame, records: noted });
            }
        }
        town
    }

    fn any_request(
        &self,
        chance: &mut Chance,
        id: RequestId,
        by: u8,
        holders: &mut [u8],
    ) -> Request {
        let mut any = || secret(holders[usize::try_from(chance.below(12)).unwrap()]).entity();
        let (to, payee) = (any(), any());
        let amount = Amount::new(1 + chance.below(50));
        let fee_max = Amount::new(1);
        let order = Text::cut(&format!("order {}", chance.below(1000)));
        let mine = secret(1).entity();
        match chance.below(20) {
            _ if by == 1 => Request::Mint { id, to, amount: Amount::new(500) },
            0 => Request::HoldOpen {
                id,
                payee,
                amount_max: amount,
                order: Digest::of(b"order"),
                expires: Timestamp::from_milliseconds(1_000_000 + chance.below(200_000)),
                open_by: Timestamp::from_milliseconds(u64::MAX),
            },
            1 => {
                let step = |linked| {
                    let order = Text::cut("step");
                    Step { to, amount, order, linked }
                };
                let steps = List::new(vec![step(true), step(false), step(false)]).unwrap();
                Request::Batch { id, fee_max, steps }
            }
            2 if by <= 4 => {
                let (old, new) = (secret(by), secret(by + 100));
                let rotation =
                    Rotation { currency: currency().id, old: old.entity(), new: new.entity() };
                let to = new.entity();
                *holders.iter_mut().find(|holder| **holder == by).unwrap() = by + 100;
                let (by_old, by_new) = (rotation.sign(&old), rotation.sign(&new));
                Request::Rotate { id, to, by_old, by_new }
            }
            3 => Request::AckDeposits { id, through: 1 },
            4 => Request::Transfer { id, to: mine, amount, fee_max, order },
            // More than there is: a refusal.
            5 => Request::Transfer { id, to, amount: Amount::new(1 << 40), fee_max, order },
            _ => Request::Transfer { id, to, amount, fee_max, order },
        }
    }

    /// The oracle.
    fn take(&mut self, batch: Batch) {
        for (noted, record) in batch.records.iter().zip(batch.frame.records.start..) {
            for each in &noted.movements {
                if let (EntryKind::RotatedFrom, Some(old)) = (each.kind, each.counterparty) {
                    let account = self.accounts.get(&old).copied().unwrap_or(old);
                    self.accounts.insert(each.holder, account);
                }
                let account = self.accounts.get(&each.holder).copied().unwrap_or(each.holder);
                let list = self.entries.entry(account).or_default();
                list.push(Entry {
                    number: list.len() as u64 + 1,
                    at: noted.at,
                    record,
                    kind: each.kind,
                    counterparty: each.counterparty,
                    amount: each.amount,
                    fee: each.fee,
                    order: each.order.clone(),
                    id: each.id,
                });
            }
            if let Some(answered) = &noted.answered {
                self.outcomes.push((answered.clone(), record));
            }
        }
        self.batches.push(batch);
    }

    /// Checks that the history has what the first `batches` have told, and nothing else.
    fn check(&self, history: &History, batches: usize) {
        let end = self.batches[..batches].last().map_or(0, |batch| batch.frame.records.end);
        assert_eq!(history.through().records, end);
        let mut holders: Vec<_> = (1..=112).map(|number| secret(number).entity()).collect();
        holders.retain(|key| self.entries.contains_key(key) || self.accounts.contains_key(key));
        for holder in holders {
            let account = self.accounts.get(&holder).copied().unwrap_or(holder);
            let mut expected = self.entries.get(&account).cloned().unwrap_or_default();
            expected.retain(|entry| entry.record < end);
            let rotated = expected.iter().any(|entry| entry.kind == EntryKind::RotatedFrom);
            if account == holder || rotated {
                assert_eq!(all_entries(history, holder, 7), expected);
            }
        }
        for (answered, record) in &self.outcomes {
            let Answered { holder, id, response } = answered;
            let found = history.outcome(*holder, *id).unwrap();
            let is_stranger = matches!(response, Response::Refused { .. }) && found.is_none();
            if *record >= end || is_stranger {
                assert_eq!(found, None);
                continue;
            }
            let found = found.unwrap();
            let batch = self.batches.iter().find(|batch| batch.frame.records.contains(record));
            let frame = &batch.unwrap().frame;
            let at = found.at;
            let expected = Outcome {
                holder: *holder,
                at,
                record: *record,
                frame: frame.at,
                response: response.clone(),
            };
            assert_eq!(found, expected);
        }
    }
}

/// All entries, page by page, the oldest first.
fn all_entries(history: &History, holder: EntityId, page: u16) -> Vec<Entry> {
    let (mut all, mut before) = (Vec::new(), u64::MAX);
    loop {
        let (list, more) = history.entries(holder, before, page).unwrap();
        assert!(list.len() <= usize::from(page));
        all.extend(list);
        if !more {
            break;
        }
        before = all.last().unwrap().number;
    }
    all.reverse();
    all
}

fn add_all(history: &History, batches: &[Batch]) {
    let indexer = Indexer::start(history).unwrap();
    batches.iter().for_each(|batch| indexer.add(batch.clone()).unwrap());
    assert_eq!(indexer.stop().unwrap(), history.durable_through());
}

#[test]
fn a_history_is_what_was_done() {
    let town = Town::founded("done", 60);
    let history = History::open(&town.folder.0).unwrap();
    assert_eq!((history.set_aside(), history.through().records), (None, 0));
    add_all(&history, &town.batches);
    town.check(&history, town.batches.len());
    let rotated = town.accounts.iter().map(|(key, account)| (*key, *account));
    let rotated: Vec<_> = rotated.collect();
    assert!(!rotated.is_empty(), "some keys changed");
    for (new, old) in rotated {
        assert_eq!(all_entries(&history, new, 256), all_entries(&history, old, 100));
    }
    let kinds: std::collections::BTreeSet<_> =
        town.entries.values().flatten().map(|entry| entry.kind).collect();
    assert!(kinds.len() >= 6, "the town does little: {kinds:?}");
    // Pages at their ends.
    let (holder, list) = town.entries.iter().max_by_key(|(_, list)| list.len()).unwrap();
    let count = list.len() as u64;
    assert!(list.len() > ENTRIES_PER_PAGE_MAX / 2);
    assert_eq!(history.entries(*holder, 1, 9).unwrap(), (vec![], false));
    assert_eq!(history.entries(*holder, 0, 9).unwrap(), (vec![], false));
    assert_eq!(history.entries(*holder, 2, 9).unwrap(), (vec![list[0].clone()], false));
    assert_eq!(history.entries(*holder, 3, 1).unwrap(), (vec![list[1].clone()], true));
    assert_eq!(history.entries(*holder, count + 9, 0).unwrap(), (vec![], true));
    assert_eq!(history.entries(secret(200).entity(), 9, 9).unwrap(), (vec![], false));
}

/// From the journal alone, by a replay, as after a loss.
#[test]
fn written_anew_it_is_the_same() {
    let town = Town::founded("anew", 30);
    let anew = Scratch::new("anew-copy");
    let history = History::open(&anew.0).unwrap();
    let indexer = Indexer::start(&history).unwrap();
    let mut core = issuer();
    let disk = DiskFile::open(town.journal()).unwrap();
    Journal::open_with(disk, TEST, None, |frame, records| {
        let noted = records.map(|record| match record {
            b"definition" => Ok(Noted::nothing(Timestamp::EPOCH)),
            record => Noted::replayed(&mut core, record),
        });
        let records = noted.collect::<Result<Vec<_>, _>>()?;
        indexer.add(Batch { frame: frame.clone(), records }).unwrap();
        Ok::<(), ReplayError>(())
    })
    .unwrap();
    indexer.stop().unwrap();
    town.check(&history, town.batches.len());
}

#[test]
fn receipts_say_what_the_journal_says() {
    let town = Town::founded("receipts", 12);
    let history = History::open(&town.folder.0).unwrap();
    add_all(&history, &town.batches);
    let journal = DiskFile::read_only(town.journal()).unwrap();
    let mut given = 0;
    for (Answered { holder, id, response }, record) in &town.outcomes {
        let receipt = history.receipt(&journal, TEST, currency().id, *holder, *id).unwrap();
        let Some(receipt) = receipt else { continue };
        given += 1;
        let batch = town.batches.iter().find(|batch| batch.frame.records.contains(record));
        let chain = batch.unwrap().frame.chain;
        assert_eq!((receipt.holder, receipt.request.id()), (*holder, Some(*id)));
        assert_eq!((&receipt.response, receipt.record), (response, *record));
        assert_eq!((receipt.chain, receipt.currency), (chain, currency().id));
        receipt.sign(&secret(1)).verify().unwrap();
    }
    assert!(given > 100, "{given}");
    let unknown =
        history.receipt(&journal, TEST, currency().id, secret(2).entity(), RequestId::new(0));
    assert!(unknown.unwrap().is_none());
}

/// The canary of receipts: an answer that is not the one of the journal is never signed.
#[test]
fn a_changed_answer_gets_no_receipt() {
    let town = Town::founded("changed", 6);
    let history = History::open(&town.folder.0).unwrap();
    let mut batches = town.batches.clone();
    let mut changed = 0;
    for noted in batches.iter_mut().flat_map(|batch| &mut batch.records) {
        if let Some(Answered { response: Response::Transferred { balance, .. }, .. }) =
            &mut noted.answered
        {
            *balance = Amount::new(balance.get() + 1_000_000);
            changed += 1;
        }
    }
    add_all(&history, &batches);
    let journal = DiskFile::read_only(town.journal()).unwrap();
    let refused = town.outcomes.iter().filter(|(Answered { holder, id, .. }, _)| {
        let receipt = history.receipt(&journal, TEST, currency().id, *holder, *id);
        matches!(receipt, Err(HistoryError::Damaged { .. }))
    });
    assert_eq!(refused.count(), changed);
    assert!(changed > 10);
}

/// The process dies between any two frames: what was not committed is lost, and comes again.
#[test]
fn after_a_crash_it_goes_on_from_what_was_committed() {
    let town = Town::founded("crash", 24);
    let whole = town.batches.len();
    let mut chance = Chance(7);
    let mut committed = 0;
    while committed < whole {
        let history = History::open(&town.folder.0).unwrap();
        town.check(&history, committed);
        let mut writer = Writer::new(Arc::clone(&history.0)).unwrap();
        // From some earlier snapshot of the books on: what is there already is passed over.
        let from = usize::try_from(chance.below(committed as u64 + 1)).unwrap();
        for (batch, done) in town.batches[from..].iter().zip(from + 1..) {
            writer.add(batch).unwrap();
            if chance.below(3) == 0 {
                writer.commit(true).unwrap();
                committed = committed.max(done);
                town.check(&history, committed);
            }
            if chance.below(6) == 0 {
                break;
            }
        }
    }
    assert_eq!(committed, whole);
}

/// The power goes: the file is what was durable, whatever was visible.
#[test]
fn after_a_power_cut_it_goes_on_from_what_was_durable() {
    let town = Town::founded("power", 20);
    let half = town.batches.len() / 2;
    let history = History::open(&town.folder.0).unwrap();
    let mut writer = Writer::new(Arc::clone(&history.0)).unwrap();
    town.batches[..half].iter().for_each(|batch| writer.add(batch).unwrap());
    writer.commit(true).unwrap();
    for batch in &town.batches[half..] {
        writer.add(batch).unwrap();
        writer.commit(false).unwrap();
    }
    town.check(&history, town.batches.len());
    let durable = history.durable_through();
    let after = Scratch::new("power-after");
    fs::copy(town.folder.0.join(FILE), after.0.join(FILE)).unwrap();
    let history = History::open(&after.0).unwrap();
    assert_eq!((history.set_aside(), history.through()), (None, durable));
    town.check(&history, half);
    add_all(&history, &town.batches);
    town.check(&history, town.batches.len());
}

#[test]
fn a_damaged_or_foreign_file_is_moved_aside_and_written_anew() {
    let town = Town::founded("damaged", 8);
    let path = town.folder.0.join(FILE);
    add_all(&History::open(&town.folder.0).unwrap(), &town.batches);
    let sound = fs::read(&path).unwrap();
    let mut aside = 0;
    let mut pieces: Vec<Vec<u8>> = vec![b"hello".to_vec(), vec![0x5a; 100_000]];
    pieces.push(sound[..sound.len() / 2].to_vec());
    for at in [0, 5, 9, 64, 70, 128, 200, 4096, 5000] {
        let mut changed = sound.clone();
        changed[at] ^= 0xff;
        pieces.push(changed);
    }
    for bytes in pieces {
        fs::write(&path, &bytes).unwrap();
        let history = History::open(&town.folder.0).unwrap();
        if let Some(why) = history.set_aside() {
            assert!(why.contains("history.redb"), "{why}");
            assert_eq!(history.through().records, 0);
            assert_eq!(fs::read(town.folder.0.join(ASIDE)).unwrap(), bytes);
            aside += 1;
        }
        add_all(&history, &town.batches);
        town.check(&history, town.batches.len());
    }
    assert!(aside >= 4, "{aside}");
}

#[test]
fn one_process_has_it() {
    let folder = Scratch::new("locked");
    let history = History::open(&folder.0).unwrap();
    assert!(matches!(History::open(&folder.0), Err(HistoryError::Locked { .. })));
    drop(history);
    assert!(History::open(&folder.0).is_ok());
    let missing = History::open(&folder.0.join("no")).unwrap_err();
    assert!(matches!(missing, HistoryError::Disk { .. }), "{missing}");
}

#[test]
fn what_does_not_follow_on_is_refused() {
    let town = Town::founded("follows", 8);
    let history = History::open(&town.folder.0).unwrap();
    let writer = || Writer::new(Arc::clone(&history.0)).unwrap();
    let mut first = writer();
    let gap = first.add(&town.batches[1]).unwrap_err();
    assert!(matches!(gap, HistoryError::Gap { wanted: 0, found: 1 }), "{gap}");
    for batch in &town.batches[..4] {
        first.add(batch).unwrap();
    }
    first.commit(true).unwrap();
    let mut other = town.batches[3].clone();
    other.frame.chain = Digest::ZERO;
    let error = writer().add(&other).unwrap_err();
    let end = town.batches[3].frame.records.end;
    assert!(matches!(error, HistoryError::OtherJournal { records } if records == end), "{error}");
    let mut across = town.batches[4].clone();
    across.frame.records.start -= 1;
    let error = writer().add(&across).unwrap_err();
    assert!(matches!(error, HistoryError::OtherJournal { .. }), "{error}");
    let mut short = town.batches[4].clone();
    short.records.pop();
    assert!(writer().add(&short).is_err());
    // An older snapshot, or none: what is known is passed over.
    let mut again = writer();
    town.batches.iter().for_each(|batch| again.add(batch).unwrap());
    again.commit(true).unwrap();
    town.check(&history, town.batches.len());
}

#[tokio::test]
async fn who_waits_sees_what_was_added_before() {
    let town = Town::founded("waits", 8);
    let history = History::open(&town.folder.0).unwrap();
    assert!(!history.wait_through(0).await, "nothing comes");
    let indexer = Indexer::start(&history).unwrap();
    for batch in &town.batches {
        indexer.add(batch.clone()).unwrap();
        let last = batch.frame.records.end - 1;
        assert!(history.wait_through(last).await);
        assert_eq!(history.through().records, last + 1);
    }
    let gap = Batch {
        frame: Appended { at: Bytes::ZERO, records: 1 << 40..1 << 41, chain: Digest::ZERO },
        records: vec![],
    };
    indexer.add(gap).unwrap();
    assert!(!history.wait_through(1 << 40).await, "it has failed");
    assert!(history.failure().unwrap().contains("the history has"));
    assert!(matches!(indexer.sync(), Err(HistoryError::Stopped)));
    town.check(&history, town.batches.len());
}

/// A stranger who is refused costs nothing here; one that is paid has a history.
#[test]
fn refused_strangers_are_not_kept() {
    let folder = Scratch::new("strangers");
    let history = History::open(&folder.0).unwrap();
    let mut writer = Writer::new(Arc::clone(&history.0)).unwrap();
    let (id, holder) = (RequestId::new(5), secret(9).entity());
    let frame = |record: u64| Appended {
        at: Bytes::new(40 + record),
        records: record..record + 1,
        chain: Digest::ZERO,
    };
    let noted = |response| Noted {
        at: Timestamp::EPOCH,
        answered: Some(Answered { holder, id, response }),
        movements: vec![],
    };
    let refused = noted(Response::Refused { refusal: fondaco_lcp::Refusal::BadRotation });
    writer.add(&Batch { frame: frame(0), records: vec![refused] }).unwrap();
    writer.commit(true).unwrap();
    assert_eq!(history.outcome(holder, id).unwrap(), None);
    assert_eq!(history.0.keys.read().unwrap().len(), 0);
    writer.add(&Batch { frame: frame(1), records: vec![noted(Response::Accepted)] }).unwrap();
    writer.commit(true).unwrap();
    assert_eq!(history.outcome(holder, id).unwrap().unwrap().record, 1);
}

/// One account with more than a row takes, of entries and of outcomes, with ids in disorder, over several commits.
#[test]
fn long_lists_go_over_rows() {
    let folder = Scratch::new("long");
    let history = History::open(&folder.0).unwrap();
    let (holder, other) = (secret(9).entity(), secret(8).entity());
    let count = 3000_u64;
    let id_of = |record: u64| RequestId::new(u128::from(record * 379 % count) << 64);
    let noted = |record| {
        let id = id_of(record);
        let movement = Movement {
            holder,
            kind: EntryKind::Sent,
            counterparty: Some(other),
            amount: Amount::new(record),
            fee: Amount::ZERO,
            order: Text::cut("x"),
            id: Some(id),
        };
        let response = Response::Minted { supply: Amount::new(record) };
        let answered = Some(Answered { holder, id, response });
        Noted { at: Timestamp::EPOCH, answered, movements: vec![movement] }
    };
    for first in (0..count).step_by(100) {
        // The tails are looked for anew each time.
        let mut writer = Writer::new(Arc::clone(&history.0)).unwrap();
        let frame =
            Appended { at: Bytes::new(40), records: first..first + 100, chain: Digest::ZERO };
        writer.add(&Batch { frame, records: (first..first + 100).map(noted).collect() }).unwrap();
        writer.commit(false).unwrap();
    }
    let entries = all_entries(&history, holder, 256);
    assert_eq!(entries.len() as u64, count);
    for (entry, record) in entries.iter().zip(0..) {
        assert_eq!((entry.number, entry.record), (record + 1, record));
        assert_eq!((entry.amount, entry.id), (Amount::new(record), Some(id_of(record))));
    }
    for record in 0..count {
        assert_eq!(history.outcome(holder, id_of(record)).unwrap().unwrap().record, record);
    }
    assert_eq!(history.outcome(holder, RequestId::new(7)).unwrap(), None);
    let rows =
        history.0.database.begin_read().unwrap().open_table(OUTCOMES).unwrap().len().unwrap();
    assert!((17..=40).contains(&rows), "{rows} rows of {OUTCOMES_ROW}");
}
