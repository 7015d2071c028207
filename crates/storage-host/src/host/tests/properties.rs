//! Properties of the host: promises that no order of requests breaks.

use super::*;
use proptest::{collection::vec, prelude::*, sample::Index};
use std::collections::{BTreeMap, BTreeSet};

/// One request that a buyer has under way, or one step of it.
#[derive(Clone, Debug)]
enum Ask {
    Put { name: u8, size: u64 },
    Get { name: u8, offset: u64, length: u64 },
    Advance,
    Delete { name: u8 },
}

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => (10..30_u8, 0..20_000_u64).prop_map(|(name, size)| Ask::Put { name, size }),
        4 => (1..3_u8, 0..40_000_u64, 1..=STEP).prop_map(|(name, offset, length)| {
            Ask::Get { name, offset, length: length.min(40_000 - offset) }
        }),
        1 => Just(Ask::Advance),
        1 => (10..30_u8).prop_map(|name| Ask::Delete { name }),
    ]
}

/// What travels: the parts of one put keep their order.
#[derive(Clone, Debug)]
enum Part {
    Begin { name: u8, size: u64 },
    Step { length: u64, voucher: SignedVoucher },
    Commit { name: u8 },
    Get { name: u8, offset: u64, length: u64, voucher: SignedVoucher },
    Advance { voucher: SignedVoucher },
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The goal: nobody need wait for one request to be answered before the next is sent. The buyer pays for all in the
    /// order in which it asks; they reach the host in any other. All are served, and both accounts are the same.
    #[test]
    fn both_sides_agree_under_any_interleaving(asks in vec(asks(), 1..12), picks in vec(any::<Index>(), 120)) {
        let mut fair = Fair::stocked();
        let mut names = BTreeSet::new();
        let mut streams: Vec<Vec<Part>> = Vec::new();
        for ask in asks {
            match ask {
                Ask::Put { name, size } if names.insert(name) => {
                    let mut stream = vec![Part::Begin { name, size }];
                    let steps = Fair::charges(size, fair.tab.epochs_paid);
                    for (length, charges) in steps {
                        let voucher = charges.iter().map(|charge| fair.pay(*charge)).last().unwrap();
                        stream.push(Part::Step { length, voucher });
                    }
                    stream.push(Part::Commit { name });
                    streams.push(stream);
                }
                Ask::Get { name, offset, length } => {
                    let bytes = read_charged(Bytes::new(offset), Bytes::new(length), Bytes::new(40_000)).unwrap();
                    let voucher = fair.pay(Charge::Read { bytes });
                    streams.push(vec![Part::Get { name, offset, length, voucher }]);
                }
                Ask::Advance if fair.tab.epochs_paid < 10 => {
                    let voucher = fair.pay(Charge::Advance);
                    streams.push(vec![Part::Advance { voucher }]);
                }
                Ask::Put { .. } | Ask::Advance | Ask::Delete { .. } => {}
            }
        }
        let mut puts = BTreeMap::new();
        let mut picks = picks.iter().cycle();
        while !streams.is_empty() {
            let stream = picks.next().unwrap().index(streams.len());
            let name_of = |stream: &[Part]| match stream.last() {
                Some(Part::Commit { name }) => *name,
                _ => 0,
            };
            let name = name_of(&streams[stream]);
            match streams[stream].remove(0) {
                Part::Begin { name, size } => _ = puts.insert(name, fair.begin(name, size)),
                Part::Step { length, voucher } => {
                    let stepped = fair.host.put_step(NOON, puts[&name], &voucher, length);
                    prop_assert!(stepped.is_ok(), "{:?}", stepped);
                }
                Part::Commit { name } => {
                    let answer = fair.host.put_commit(NOON, puts[&name], shard(name));
                    prop_assert_eq!(fair.note(&answer), Response::Stored);
                }
                Part::Get { name, offset, length, voucher } => {
                    prop_assert_eq!(fair.get(NOON, name, offset, length, &voucher), Ok(()));
                }
                Part::Advance { voucher } => {
                    let answer = fair.host.advance(NOON, fair.peer(), fair.id(), &voucher);
                    let advanced = matches!(fair.note(&answer), Response::Advanced { .. });
                    prop_assert!(advanced);
                }
            }
            streams.retain(|stream| !stream.is_empty());
            fair.check();
        }
        prop_assert_eq!(fair.contract().tab, fair.tab);
        prop_assert_eq!(fair.contract().total(), fair.contract().voucher.voucher.cumulative);
        fair.check_replay();
    }

    /// The goal: whatever a buyer tries, it is never served more than it paid for. It pays too little, too late, with
    /// forged vouchers, sends wrong bytes and breaks off, and ends the contract while it reads; the host crashes at the end and
    /// reads its journal.
    #[test]
    fn nothing_is_served_unpaid(
        tries in vec((asks(), -3..3_i64, 0..600_u64, 0..8_u8), 1..40),
    ) {
        let mut fair = Fair::stocked();
        let mut now = NOON;
        let mut reading = Vec::new();
        for (ask, short, delay, trick) in tries {
            now = now.after(Duration::from_seconds(delay));
            let pay = |fair: &Fair, charges: &[Charge]| {
                let tab = charges.iter().try_fold(fair.contract().tab, |tab, charge| tab.after(&fair.terms, *charge));
                let owed = tab.map_or(HOLD, |tab| tab.owed(&fair.terms).unwrap());
                let mut voucher = fair.voucher(Amount::new(owed.get().saturating_add_signed(short)));
                if trick == 7 {
                    voucher.voucher.cumulative = HOLD;
                }
                voucher
            };
            let (peer, id) = (fair.peer(), fair.id());
            let before = fair.host.contracts.clone();
            let refused = match ask {
                Ask::Put { name, size } => {
                    let epoch = fair.terms.epoch_at(now);
                    let begun = fair.host.put_begin(now, peer, id, shard(name), Bytes::new(size), epoch);
                    let put = match begun {
                        Ok(Begun::Ready(put) | Begun::Empty(put)) => put,
                        Ok(Begun::Have) | Err(_) => {
                            prop_assert_eq!(&fair.host.contracts, &before);
                            continue;
                        }
                    };
                    let epochs = fair.contract().tab.epochs_paid - epoch;
                    let steps = Fair::charges(size, epochs);
                    let kept = steps.iter().all(|(length, charges)| {
                        let voucher = pay(&fair, charges);
                        fair.host.put_step(now, put, &voucher, *length).is_ok()
                    });
                    if kept && trick != 5 {
                        let content = if trick == 6 { shard(0) } else { shard(name) };
                        let answer = fair.host.put_commit(now, put, content);
                        let _ = fair.note(&answer);
                    } else if let Some(event) = fair.host.put_abort(put) {
                        fair.journal.push(event.to_record());
                    }
                    false
                }
                Ask::Get { name, offset, length } => {
                    let bytes = read_charged(Bytes::new(offset), Bytes::new(length), Bytes::new(40_000)).unwrap();
                    let voucher = pay(&fair, &[Charge::Read { bytes }]);
                    if trick == 4 {
                        let (offset, length) = (Bytes::new(offset), Bytes::new(length));
                        let plan = fair.host.get_begin(now, peer, id, shard(name), offset, length, &voucher);
                        reading.extend(plan);
                        continue;
                    }
                    fair.get(now, name, offset, length, &voucher).is_err()
                }
                Ask::Advance => {
                    let voucher = pay(&fair, &[Charge::Advance]);
                    let answer = fair.host.advance(now, peer, id, &voucher);
                    matches!(fair.note(&answer), Response::Refused { .. })
                }
                Ask::Delete { name } => {
                    let answer = fair.host.delete(now, peer, id, shard(name));
                    matches!(fair.note(&answer), Response::Refused { .. })
                }
            };
            if refused {
                prop_assert_eq!(&fair.host.contracts, &before, "a refusal changed the host");
            }
            fair.check();
        }
        fair.check_replay();
        let closing = fair.host.close_begin(now, fair.peer(), fair.id()).unwrap();
        fair.journal.extend(closing.event.map(|event| event.to_record()));
        for plan in &reading {
            prop_assert!(fair.host.get_commit(plan).is_err(), "the contract has ended");
        }
        if let Settle::Post(posted) = closing.settle {
            let (total, posted) = (fair.contract().total(), posted.voucher.cumulative);
            prop_assert!(total <= posted, "{} served, and {} posted", total.get(), posted.get());
        }
        for id in fair.host.due(now) {
            let closing = fair.host.close_due(now, id).unwrap();
            fair.journal.extend(closing.event.map(|event| event.to_record()));
            let answer = fair.host.close_finish(id, fair.contract().total());
            let _ = fair.note(&answer);
        }
        fair.check_replay();
    }
}
