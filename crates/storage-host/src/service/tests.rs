//! What the shell decides under its lock, without sockets.

use super::shards::Parked;
use super::*;
use crate::{Begun, Settle};
use fondaco_contract::{Ending, Tab};
use fondaco_crypto::CurrencyId;
use fondaco_ledger::{HoldId, Voucher};
use fondaco_units::{Amount, Duration, Price};

fn days(days: u64) -> Duration {
    Duration::from_seconds(days * 86_400)
}

/// A host with an open contract of 1 MiB for ten days, and what it would journal.
fn opened() -> (State, mpsc::UnboundedReceiver<Entry>, Terms) {
    let (key, buyer) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[3; 32]));
    let currency = CurrencyId::issued_by(key.entity());
    let size = Bytes::new(1 << 20);
    let config = HostConfig {
        currency,
        open: Amount::new(10),
        store: Price::from_parts(1),
        write: Price::from_parts(1),
        read: Price::from_parts(1),
        size,
        period_max: days(10),
        epoch: days(1),
        step_max: Bytes::new(4096),
        newcomer: size,
        reserve: Bytes::ZERO,
        leaves: None,
    };
    let mut host = Host::new(key, config);
    let list = host.prices(Timestamp::EPOCH);
    let terms = Terms::new(buyer.entity(), &list, size, Timestamp::EPOCH, days(10), 1);
    let amount_max = Amount::new(100);
    let hold = HoldId::derive(currency, buyer.entity(), 1);
    let voucher = Voucher { currency, hold, cumulative: Amount::new(50) }.sign(&buyer);
    let expires = terms.ends.after(days(1));
    let event = Event::Opened { terms, voucher, amount_max, expires };
    host.replay(&event.to_record()).unwrap();
    let (journal, entries) = mpsc::unbounded_channel();
    let state = State {
        host,
        journal,
        unsaved: BTreeMap::new(),
        arriving: BTreeMap::new(),
        unwanted: Vec::new(),
        peers: Shares::default(),
        parked: BTreeMap::new(),
        lost: BTreeSet::new(),
        waiting: waiting::Waiting::default(),
        counts: Counts::default(),
    };
    (state, entries, terms)
}

/// Two ask for the same end, or a round finds what was just ended: nobody posts before that is durable.
#[test]
fn whoever_finds_a_contract_ended_waits_for_the_event_that_says_so() {
    let (mut state, mut entries, terms) = opened();
    let (now, id) = (Timestamp::EPOCH, terms.id());
    let close = |host: &mut Host| host.close_begin(now, terms.buyer, id);
    let mut first = state.end(close).unwrap();
    let mut second = state.end(close).unwrap();
    let mut due = state.end(|host| host.close_due(now, id)).unwrap();
    let all = [&mut first, &mut second, &mut due];
    for ended in all {
        assert!(matches!(ended.settle, Settle::Post(_)));
        let waits = oneshot::error::TryRecvError::Empty;
        assert_eq!(ended.durable.try_recv(), Err(waits), "nothing is flushed yet");
    }
    // The journal takes them in this order, and tells all of a frame at once.
    let entries: Vec<Entry> = std::iter::from_fn(|| entries.try_recv().ok()).collect();
    let events: Vec<_> = entries.iter().map(|entry| entry.event).collect();
    let ended = Event::Ended { contract: id, at: now, why: Ending::Closed };
    assert_eq!(events, [Some(ended), None, None]);
    entries.into_iter().for_each(|entry| entry.durable.unwrap().send(()).unwrap());
    assert_eq!(second.durable.try_recv(), Ok(()));
}

/// A folder of drafts, removed when dropped.
struct Folder(ContentFolder, PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("fondaco-host-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        Self(ContentFolder::open(&path).unwrap(), path)
    }

    /// Puts the first 4 KiB of a shard, and breaks off.
    fn break_off(&self, state: &mut State, terms: &Terms, shard: u8, size: u64) {
        let (now, key) = (Timestamp::EPOCH, (terms.id(), ShardId::of(&[shard])));
        let begun = state.begin(now, terms.buyer, key, Bytes::new(size), 0).unwrap();
        let Begun::Ready(put) = begun else { panic!("{begun:?}") };
        let Response::Status { voucher, .. } = state.host.status(now, terms.buyer, terms.id())
        else {
            panic!("no status")
        };
        let _ = state.host.put_step(now, put, &voucher.unwrap(), 4096).unwrap();
        let mut incoming = Blobs::begin(&self.0).unwrap();
        incoming.write(&[0; 4096]).unwrap();
        state.park(key, Parked::new(put, incoming));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.1));
    }
}

/// What led to the present state goes; the state stays, and the journal goes on.
#[test]
fn a_journal_is_written_anew_when_most_of_it_is_the_past() {
    let path = std::env::temp_dir().join(format!("fondaco-host-anew-{}", std::process::id()));
    let (state, _, terms) = opened();
    let Response::Status { voucher, .. } =
        state.host.status(Timestamp::EPOCH, terms.buyer, terms.id())
    else {
        panic!("no status")
    };
    let (mut host, contract, voucher) = (state.host, terms.id(), voucher.unwrap());
    let open = |host: &mut Host| {
        let disk = Box::new(DiskFile::open(&path).unwrap()) as Box<dyn Disk>;
        Journal::open(disk, KIND, |record| host.replay(record)).unwrap()
    };
    let mut journal = open(&mut host);
    let kept: Vec<_> = host.events().map(|event| event.to_record()).collect();
    journal.append(&kept).unwrap();
    let metered = |reads| {
        let mut tab = Tab::default();
        tab.meter.read = reads;
        Event::Metered { contract, tab, voucher }.to_record()
    };
    // Not before it is worth it.
    for (reads, is_short) in [(10, false), (200, true)] {
        for read in 1..=reads {
            host.replay(&metered(read)).unwrap();
            journal.append(&[metered(read)]).unwrap();
        }
        let before = journal.head().records;
        shorten(&host, &mut journal);
        assert_eq!(journal.head().records < before, is_short, "{reads}");
    }
    assert_eq!(journal.head().records, kept.len() as u64);
    journal.append(&[metered(201)]).unwrap();
    drop(journal);
    host.replay(&metered(201)).unwrap();
    let mut again = opened().0.host;
    assert_eq!(open(&mut again).head().records, kept.len() as u64 + 1);
    assert!(again.events().eq(host.events()));
    std::fs::remove_file(path).unwrap();
}

fn written(state: &State, terms: &Terms) -> u64 {
    match state.host.status(Timestamp::EPOCH, terms.buyer, terms.id()) {
        Response::Status { tab, .. } => tab.meter.written,
        other => panic!("{other:?}"),
    }
}

/// Whoever asks for more than there is at all is refused, and keeps what he has paid for.
#[test]
fn what_has_no_room_all_the_same_drives_no_put_out() {
    let folder = Folder::new("crowded");
    let (mut state, _entries, terms) = opened();
    folder.break_off(&mut state, &terms, 1, 400_000);
    folder.break_off(&mut state, &terms, 2, 400_000);
    let mut begin = |size| {
        let key = (terms.id(), ShardId::of(&[3]));
        let begun = state.begin(Timestamp::EPOCH, terms.buyer, key, Bytes::new(size), 0);
        (begun, state.parked.len(), state.unsaved.len())
    };
    for size in [(1 << 20) + 1, 1 << 30, u64::MAX] {
        let (begun, parked, unsaved) = begin(size);
        let is_refused =
            matches!(begun, Err(Reason::OverSize { .. } | Reason::ShardTooLong { .. }));
        assert!(is_refused, "{begun:?}");
        assert_eq!((parked, unsaved), (2, 0), "{size}");
    }
    // What has room without them is let in, and they stay paid.
    let (begun, parked, unsaved) = begin(1 << 20);
    assert!(matches!(begun, Ok(Begun::Ready(_))), "{begun:?}");
    assert_eq!((parked, unsaved), (0, 1));
    assert_eq!(written(&state, &terms), 2 * 4096);
}

/// Nobody pays for keeping what broke off: with an epoch that is paid for after it, its time runs.
#[test]
fn what_broke_off_is_kept_for_a_while_after_another_epoch_is_paid_for() {
    let folder = Folder::new("old");
    let (mut state, _entries, terms) = opened();
    folder.break_off(&mut state, &terms, 1, 400_000);
    let voucher = match state.host.status(Timestamp::EPOCH, terms.buyer, terms.id()) {
        Response::Status { voucher, .. } => voucher.unwrap(),
        other => panic!("{other:?}"),
    };
    // Its day, what is paid for, and the minutes that the machine counts: whether it is kept.
    let (began, mut already) = (tokio::time::Instant::now(), 1);
    for (day, paid, minute, is_kept) in [
        (0, 1, 9999, true),
        (1, 1, 10_000, true),
        (1, 2, 11_000, true),
        (1, 3, 11_009, true),
        (1, 3, 11_010, false),
    ] {
        let today = Timestamp::EPOCH.after(days(day));
        while already < paid {
            let answer = state.host.advance(today, terms.buyer, terms.id(), &voucher);
            assert!(matches!(answer.response, Response::Advanced { .. }), "{answer:?}");
            already += 1;
        }
        state.give_up_old(today, began + std::time::Duration::from_secs(60 * minute));
        assert_eq!(state.parked.len(), usize::from(is_kept), "{day} {paid} {minute}");
        assert_eq!(written(&state, &terms), 4096, "what was paid stays paid");
    }

    // Once a second has begun and is paid for, it goes at once.
    folder.break_off(&mut state, &terms, 2, 400_000);
    for (day, is_kept) in [(1, true), (2, false)] {
        state.give_up_old(Timestamp::EPOCH.after(days(day)), began);
        assert_eq!(state.parked.len(), usize::from(is_kept), "{day}");
    }
}
