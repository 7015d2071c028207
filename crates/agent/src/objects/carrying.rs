//! Store anew what must not end with an older set, also while others read, store and remove.

use super::{FailedHosts, Objects};
use crate::AgentError;
use crate::book::{ObjectId, ObjectKind};
use std::collections::{BTreeSet, VecDeque};

/// The small objects that are to be stored anew, one after the other. What cannot be read stays where it is, and with it what else
/// lies in its set: each would be waited for in vain. The next time, these come first.
#[derive(Debug, Default)]
pub struct CarryOver {
    waiting: VecDeque<ObjectId>,
    /// Sets of which one object could not be read.
    unreadable: BTreeSet<u32>,
    /// The last that could not.
    last: Option<ObjectId>,
    stays: Vec<ObjectId>,
    why: Option<AgentError>,
}

impl CarryOver {
    /// Returns how many stay under older contracts.
    pub const fn left(&self) -> usize {
        self.stays.len()
    }

    /// Returns those that do.
    pub fn stays(&self) -> &[ObjectId] {
        &self.stays
    }

    /// Returns the last that could not be read: another time, one begins after it.
    pub const fn last(&self) -> Option<ObjectId> {
        self.last
    }

    /// Returns why the first of them could not be read.
    pub const fn why(&self) -> Option<&AgentError> {
        self.why.as_ref()
    }

    /// The same, to be kept.
    pub fn into_why(self) -> Option<AgentError> {
        self.why
    }
}

/// In which order objects are stored anew: what nothing can be read without goes first, and snapshots last, each of which only itself
/// needs.
const fn order(object: ObjectId) -> (u8, ObjectId) {
    let rank = match object.kind {
        ObjectKind::Config => 0,
        ObjectKind::Key => 1,
        ObjectKind::Index => 2,
        ObjectKind::Snapshot => 3,
        ObjectKind::Pack => 4,
    };
    (rank, object)
}

impl Objects {
    /// Stores anew, in the set being written, the small objects that lie in others: without the configuration,
    /// keys, indexes and snapshots nothing else can be read, so they must not end with an older set. One that shares most of its
    /// contracts with the newest ends no sooner than that.
    ///
    /// # Errors
    ///
    /// They cannot be stored. That some cannot be read is no error; those that can are stored anew.
    pub async fn carry_over(&self) -> Result<CarryOver, AgentError> {
        let mut over = self.to_carry(None);
        while self.carry_next(&mut over, &mut FailedHosts::default()).await? {}
        // What came after one that cannot be read may be read itself.
        while over.left() > 0 {
            let mut next = self.to_carry(over.last);
            while self.carry_next(&mut next, &mut FailedHosts::default()).await? {}
            let is_as_before = next.left() >= over.left();
            over = next;
            if is_as_before {
                break;
            }
        }
        Ok(over)
    }

    /// Returns what [`carry_over`](Self::carry_over) would store anew; last of all `after` and what comes before it.
    pub fn to_carry(&self, after: Option<ObjectId>) -> CarryOver {
        let Some(writing) = self.writing else { return CarryOver::default() };
        let mut old: Vec<ObjectId> = self.book.read(|book| {
            let small = book.objects().filter(|(id, _)| id.kind != ObjectKind::Pack);
            let old = small.filter(|(_, record)| record.set != writing);
            old.filter(|(_, record)| !book.stays(record, writing)).map(|(id, _)| id).collect()
        });
        old.sort_unstable_by_key(|&object| order(object));
        let is_before = |&object: &ObjectId| after.is_some_and(|it| order(object) <= order(it));
        let (before, behind): (Vec<_>, Vec<_>) = old.into_iter().partition(is_before);
        CarryOver { waiting: behind.into_iter().chain(before).collect(), ..CarryOver::default() }
    }

    /// Stores the next of them anew; returns whether there was one. Others may read, store and remove in between.
    ///
    /// # Errors
    ///
    /// It cannot be stored, and `blame` has which hosts it failed for. That it cannot be read is no error.
    pub async fn carry_next(
        &self,
        over: &mut CarryOver,
        blame: &mut FailedHosts,
    ) -> Result<bool, AgentError> {
        let (Some(writing), Some(object)) = (self.writing, over.waiting.pop_front()) else {
            return Ok(false);
        };
        self.carry(object, writing, over, blame).await?;
        Ok(true)
    }

    /// Stores one object anew; not one that was removed or carried since it was listed. What is removed from its reading to its
    /// storing would be there again.
    async fn carry(
        &self,
        object: ObjectId,
        writing: u32,
        over: &mut CarryOver,
        blame: &mut FailedHosts,
    ) -> Result<(), AgentError> {
        let _turn = self.turn.write().await;
        let record = self.book.read(|book| book.object(object).cloned());
        let Some(record) = record.filter(|record| record.set != writing) else { return Ok(()) };
        if over.unreadable.contains(&record.set) {
            over.stays.push(object);
            return Ok(());
        }
        match self.read(object, 0..record.length.get()).await {
            Ok(bytes) => self.put_or_blame(object, bytes, blame).await,
            Err(error) => {
                tracing::warn!(object = %super::show(object), %error, "it stays under older contracts");
                over.unreadable.insert(record.set);
                over.last = Some(object);
                over.stays.push(object);
                over.why.get_or_insert(error);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BookFile;
    use crate::book::Event;
    use crate::book::tests::{intended, opened, set};
    use fondaco_audit::ShardId;
    use fondaco_codec::List;
    use fondaco_crypto::Digest;
    use fondaco_units::Bytes;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn key(name: u8) -> ObjectId {
        ObjectId { kind: ObjectKind::Key, name: Digest::from_bytes([name; 32]) }
    }

    fn stored(object: ObjectId, set: u32) -> Event {
        let shards = List::new(vec![ShardId::of(&[1]); 2]).unwrap();
        Event::ObjectStored { object, length: Bytes::new(10), set, shards }
    }

    /// A book of three sets of two contracts each, with these objects; and objects that go to the last set.
    fn of_nobody(test: &str, all: &[Event]) -> (Arc<BookFile>, Objects) {
        let path = std::env::temp_dir().join(format!("fondaco-{test}-{}", std::process::id()));
        let book = Arc::new(BookFile::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let contracts = (1..=6).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        let sets = [set(1, &[1, 2]), set(1, &[3, 4]), set(1, &[5, 6])];
        contracts.chain(sets).for_each(|event| book.record(&event).unwrap());
        all.iter().for_each(|event| book.record(event).unwrap());
        let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), Some(2));
        (book, objects)
    }

    /// Nobody answers, so what is read fails. What is removed while it waits for its turn is not read, and not there again.
    #[tokio::test]
    async fn what_is_removed_is_not_carried() {
        let object = key(1);
        let (book, objects) = of_nobody("removed", &[stored(object, 0)]);
        assert_eq!(objects.carry_over().await.unwrap().stays(), [object], "nobody answers");

        let removing = objects.turn.read().await;
        let ((), carried) = tokio::join!(biased; async {
            tokio::task::yield_now().await;
            // It is listed by now, and waits.
            assert!(objects.turn.try_read().is_err());
            book.record(&Event::ObjectRemoved { object }).unwrap();
            drop(removing);
        }, objects.carry_over());
        assert_eq!(carried.unwrap().left(), 0);
    }

    /// One of each set is read in vain, the rest of the set waits; and the next time, what was not tried comes first.
    #[tokio::test]
    async fn what_cannot_be_read_is_left_and_comes_last_the_next_time() {
        let all = [(1, 0), (2, 0), (3, 1), (4, 0), (5, 2), (6, 1)];
        let all = all.map(|(name, set)| stored(key(name), set));
        let (book, objects) = of_nobody("unreadable-carried", &all);
        // One line for each: after which object one begins; in which order they come, and which are read in vain, the last of
        // them last.
        let table: [(Option<u8>, &[u8], u8); 4] = [
            (None, &[1, 2, 3, 4, 6], 3),
            (Some(3), &[4, 6, 1, 2, 3], 6),
            (Some(6), &[1, 2, 3, 4, 6], 3),
            (Some(1), &[2, 3, 4, 6, 1], 3),
        ];
        for (after, order, last) in table {
            let mut over = objects.to_carry(after.map(key));
            let listed: Vec<ObjectId> = over.waiting.iter().copied().collect();
            assert_eq!(listed, order.iter().map(|&name| key(name)).collect::<Vec<_>>());
            while objects.carry_next(&mut over, &mut FailedHosts::default()).await.unwrap() {}
            assert_eq!((over.left(), over.last()), (5, Some(key(last))), "{after:?}");
            assert!(matches!(over.why(), Some(AgentError::Unreadable { .. })));
        }
        for name in [1, 2, 3, 4, 6] {
            assert_ne!(book.read(|book| book.object(key(name)).unwrap().set), 2, "{name}");
        }
    }

    /// What can be read and not be stored is an error: the write that comes next would fail for the same hosts.
    #[tokio::test]
    async fn what_cannot_be_stored_is_an_error() {
        let empty = Event::ObjectStored {
            object: key(1),
            length: Bytes::ZERO,
            set: 0,
            shards: List::new(vec![ShardId::of(&[]); 2]).unwrap(),
        };
        let (_, objects) = of_nobody("unstorable", &[empty]);
        let mut over = objects.to_carry(None);
        let next = objects.carry_next(&mut over, &mut FailedHosts::default()).await;
        assert!(next.is_err(), "{next:?}");
        assert_eq!((over.left(), over.last()), (0, None));
    }
}
