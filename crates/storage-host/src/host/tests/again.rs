use super::*;
use fondaco_ports::market::AGAIN_MAX;

impl Fair {
    /// Pays for a read of a part of a shard, and gets it.
    fn read(&mut self, name: u8, offset: u64, length: u64) {
        let size = self.host.contracts[&self.id()].shards[&shard(name)];
        let bytes = read_charged(Bytes::new(offset), Bytes::new(length), size).unwrap();
        let voucher = self.pay(Charge::Read { bytes });
        self.get(NOON, name, offset, length, &voucher).unwrap();
    }

    fn again(&mut self, name: u8, offset: u64, length: u64) -> Result<Range<u64>, Reason> {
        let (peer, id) = (self.peer(), self.id());
        let (offset, length) = (Bytes::new(offset), Bytes::new(length));
        self.host.get_again(NOON, peer, id, shard(name), offset, length)
    }
}

const REFUSED: Reason = Reason::NotAgain { again_max: AGAIN_MAX };

#[test]
fn the_read_that_was_counted_last_is_sent_again_for_nothing() {
    let mut fair = Fair::opened();
    assert_eq!(fair.put(1, 9000), Response::Stored);
    assert_eq!(fair.put(2, 9000), Response::Stored);
    assert_eq!(fair.again(1, 0, 100), Err(REFUSED), "nothing was read");
    fair.read(1, 0, 100);
    let tab = fair.host.contracts[&fair.id()].tab;
    // What goes in or is advanced meanwhile changes nothing.
    assert_eq!(fair.put(3, 10), Response::Stored);
    let paid = fair.host.contracts[&fair.id()].tab;
    for (name, offset, length) in [(2, 0, 100), (1, 1, 100), (1, 0, 99), (1, 0, 101)] {
        assert_eq!(fair.again(name, offset, length), Err(REFUSED), "{name} {offset} {length}");
    }
    for _ in 0..AGAIN_MAX {
        assert_eq!(fair.again(1, 0, 100), Ok(0..100));
    }
    assert_eq!(fair.again(1, 0, 100), Err(REFUSED));
    assert_eq!(fair.host.contracts[&fair.id()].tab, paid);
    assert_eq!(tab.meter.read, paid.meter.read);
    // Another takes its place, and the same paid for anew begins anew.
    fair.read(2, 50, 60);
    assert_eq!(fair.again(1, 0, 100), Err(REFUSED));
    assert_eq!(fair.again(2, 50, 60), Ok(50..110));
    fair.read(1, 0, 100);
    assert_eq!(fair.again(1, 0, 100), Ok(0..100));
    fair.check();
}

#[test]
fn what_is_not_its_buyers_or_not_there_is_not_sent_again() {
    let mut fair = Fair::opened();
    assert_eq!(fair.put(1, 9000), Response::Stored);
    fair.read(1, 0, 100);
    let (id, length) = (fair.id(), Bytes::new(100));
    let stranger = EntityId::from_bytes([9; 32]);
    let asked = fair.host.get_again(NOON, stranger, id, shard(1), Bytes::ZERO, length);
    assert_eq!(asked, Err(Reason::NotYours));
    let (peer, late) = (fair.peer(), seconds(7200));
    let asked = fair.host.get_again(late, peer, id, shard(1), Bytes::ZERO, length);
    assert_eq!(asked, Err(Reason::Ended { why: Ending::Lapsed }));
    let answer = fair.host.delete(NOON, peer, id, shard(1));
    assert!(matches!(answer.response, Response::Deleted { .. }));
    assert_eq!(fair.again(1, 0, 100), Err(Reason::UnknownShard));
}

/// A crash forgets a read and its charge together, or neither: whichever event takes the place of the one that counted it.
#[test]
fn what_was_counted_is_sent_again_after_a_restart() {
    let mut fair = Fair::opened();
    assert_eq!(fair.put(1, 9000), Response::Stored);
    fair.read(1, 7, 100);
    fair.check_replay();
    let put = fair.begin(2, 9000);
    let (length, charges) = Fair::charges(9000, fair.tab.epochs_paid).remove(0);
    let voucher = charges.iter().map(|charge| fair.pay(*charge)).last().unwrap();
    let _ = fair.host.put_step(NOON, put, &voucher, length).unwrap();
    // The service writes the last event of a contract alone.
    let aborted = fair.host.put_abort(put).unwrap();
    fair.journal.pop();
    fair.journal.push(aborted.to_record());
    fair.check_replay();
    let mut restarted = Host::new(SecretKey::from_bytes(&[1; 32]), config());
    fair.journal.iter().for_each(|record| restarted.replay(record).unwrap());
    fair.host = restarted;
    assert_eq!(fair.again(1, 7, 100), Ok(7..107));
}
