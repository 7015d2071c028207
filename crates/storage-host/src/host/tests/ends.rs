//! What is under way when a contract ends.

use super::*;

impl Fair {
    /// Pays for a read of 100 bytes of shard 1, and begins it.
    pub(super) fn begin_to_read(&mut self, now: Timestamp) -> ReadPlan {
        let (peer, id, length) = (self.peer(), self.id(), Bytes::new(100));
        let voucher = self.pay(Charge::Read { bytes: Bytes::new(16_384) });
        self.host.get_begin(now, peer, id, shard(1), Bytes::ZERO, length, &voucher).unwrap()
    }
}

/// A disk is slow, and a buyer need not wait: it pays for many reads with higher and higher vouchers, and ends the contract
/// before the first is in hand. The voucher that is posted is the one from before.
#[test]
fn reads_under_way_when_a_contract_ends_are_not_served() {
    type End = fn(&mut Fair) -> Closing;
    let table: &[(&str, Ending, End)] = &[
        ("closed", Ending::Closed, |fair| {
            fair.host.close_begin(NOON, fair.peer(), fair.id()).unwrap()
        }),
        ("lapsed", Ending::Lapsed, |fair| fair.host.close_due(seconds(7200), fair.id()).unwrap()),
    ];
    for (name, why, end) in table {
        let mut fair = Fair::stocked();
        let before = fair.contract().clone();
        let plans = [fair.begin_to_read(NOON), fair.begin_to_read(NOON)];
        let closing = end(&mut fair);
        fair.journal.extend(closing.event.map(|event| event.to_record()));
        assert_eq!(closing.settle, Settle::Post(before.voucher), "{name}");
        for plan in &plans {
            assert_eq!(fair.host.get_commit(plan), Err(Reason::Ended { why: *why }), "{name}");
        }
        assert_eq!(fair.contract().tab, before.tab, "{name}");
        // Nor does what is posted later pay for more than it did.
        let again = fair.host.close_due(seconds(7200), fair.id()).unwrap();
        assert_eq!(again.settle, closing.settle, "{name}");
        fair.check();
        fair.check_replay();
    }
}

/// A read that is in hand before the end is in the voucher that is posted.
#[test]
fn a_read_that_was_in_hand_is_posted() {
    let mut fair = Fair::stocked();
    let (first, second) = (fair.begin_to_read(NOON), fair.begin_to_read(NOON));
    let event = fair.host.get_commit(&second).unwrap();
    fair.journal.push(event.to_record());
    let closing = fair.host.close_begin(NOON, fair.peer(), fair.id()).unwrap();
    fair.journal.extend(closing.event.map(|event| event.to_record()));
    assert_eq!(closing.settle, Settle::Post(second.voucher));
    let ended = Err(Reason::Ended { why: Ending::Closed });
    assert_eq!(fair.host.get_commit(&first), ended);
    fair.check_replay();
}

#[test]
fn a_put_under_way_when_a_contract_ends_is_not_kept() {
    let mut fair = Fair::stocked();
    let put = fair.begin(3, 100);
    let _ = fair.pay(Charge::Write { bytes: Bytes::new(100) });
    let voucher = fair.pay(Charge::Store { bytes: Bytes::new(100), epochs: 1 });
    let _ = fair.host.put_step(NOON, put, &voucher, 100).unwrap();
    let closing = fair.host.close_begin(NOON, fair.peer(), fair.id()).unwrap();
    assert_eq!(closing.settle, Settle::Post(voucher), "its bytes were taken in");
    assert_eq!(
        refused(fair.host.put_commit(NOON, put, shard(3))),
        Reason::Ended { why: Ending::Closed }
    );
    assert!(!fair.host.keeps(shard(3)));
    fair.check();
}
