//! Records that pay nothing come at a pace.

use super::*;
use crate::host::pace::{PAID_MIN, SPARE_MAX};

/// A step of a contract that has the free records it can have, or none left: what it does, and what it is told then.
#[test]
fn who_has_caused_too_many_free_records_waits() {
    let (small, large) = (PAID_MIN.get() - 1, PAID_MIN.get());
    let mut fair = Fair::opened();
    for (name, size) in [(1, small), (2, large), (3, 0)] {
        assert_eq!(fair.put(name, size), Response::Stored);
    }
    let (peer, id) = (fair.peer(), fair.id());
    let put = |host: &mut Host, now, name, size| {
        let begun = host.put_begin(now, peer, id, shard(name), Bytes::new(size), 0);
        begun.err()
    };
    let reason = |answer: Answer| match answer.response {
        Response::Refused { reason } => Some(reason),
        _ => None,
    };
    let mark = |name, size| {
        let (hold, hold_max) = (fair.hold, HOLD);
        Mark {
            contract: id,
            shard: shard(name),
            size: Bytes::new(size),
            sequence: 1,
            hold,
            hold_max,
        }
        .sign(&fair.buyer)
    };
    let (of_small, of_large) = (mark(1, small), mark(2, large));
    type Step<'a> = &'a dyn Fn(&mut Host, Timestamp) -> Option<Reason>;
    let table: [(&str, Step<'_>, bool); 9] = [
        ("a small put", &|host, now| put(host, now, 4, small), true),
        ("an empty put", &|host, now| put(host, now, 4, 0), true),
        ("a put that pays", &|host, now| put(host, now, 4, large), false),
        ("what is there", &|host, now| put(host, now, 1, small), false),
        ("deleting a small one", &|host, now| reason(host.delete(now, peer, id, shard(1))), false),
        ("deleting what paid", &|host, now| reason(host.delete(now, peer, id, shard(2))), false),
        (
            "deleting what is not there",
            &|host, now| reason(host.delete(now, peer, id, shard(9))),
            false,
        ),
        ("a mark", &|host, now| reason(host.mark(now, peer, &of_small)), true),
        ("a mark of what paid", &|host, now| reason(host.mark(now, peer, &of_large)), true),
    ];
    for (name, step, is_free) in table {
        let mut spent = fair.host.clone();
        spent.paced.insert(id, NOON.after(SPARE_MAX));
        let told = step(&mut spent.clone(), NOON);
        assert_eq!(told, is_free.then_some(Reason::Busy), "{name}");
        assert_eq!(step(&mut spent, seconds(1)), None, "{name}, a second later");
        let again = put(&mut spent, seconds(1), 7, 0);
        assert_eq!(again, is_free.then_some(Reason::Busy), "{name} has taken it");
        assert_eq!(step(&mut fair.host.clone(), NOON), None, "{name}");
    }

    // A clock that was set back by a day holds nobody up for a day.
    let mut back = fair.host.clone();
    back.paced.insert(id, seconds(86_400));
    assert_eq!(back.pace(NOON, id), Err(Reason::Busy));
    assert_eq!(back.pace(seconds(1), id), Ok(()));

    // It has so many at once, and after a while again; nothing is kept of who has all.
    let mut all = fair.host.clone();
    all.paced.clear();
    let spare = SPARE_MAX.milliseconds() / 1000;
    assert!((0..spare).all(|_| all.pace(NOON, id).is_ok()));
    assert_eq!(all.pace(NOON, id), Err(Reason::Busy));
    all.forget(seconds(spare - 1));
    assert_eq!(all.paced.len(), 1);
    all.forget(seconds(spare));
    assert!(all.paced.is_empty());
}
