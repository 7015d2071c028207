//! Store anew what must not end with an older set, also while others read, store and remove.

use super::{FailedHosts, Objects};
use crate::AgentError;
use crate::book::{ObjectId, ObjectKind};

impl Objects {
    /// Stores anew, in the set being written, the small objects that lie in others: without the configuration,
    /// keys, indexes and snapshots nothing else can be read, so they must not end with an older set.
    pub async fn carry_over(&self) -> Result<usize, AgentError> {
        self.carry_over_or_blame(&mut FailedHosts::default()).await
    }

    /// Does as [`carry_over`](Self::carry_over), and adds to `blame` which hosts it failed for.
    pub async fn carry_over_or_blame(&self, blame: &mut FailedHosts) -> Result<usize, AgentError> {
        let Some(writing) = self.writing else { return Ok(0) };
        let old: Vec<ObjectId> = self.book.read(|book| {
            let small = book.objects().filter(|(id, _)| id.kind != ObjectKind::Pack);
            small.filter(|(_, record)| record.set != writing).map(|(id, _)| id).collect()
        });
        let mut carried = 0;
        for object in old {
            carried += usize::from(self.carry(object, writing, blame).await?);
        }
        Ok(carried)
    }

    /// Stores one object anew; not one that was removed or carried since it was listed. What is removed from its reading to its
    /// storing would be there again.
    async fn carry(
        &self,
        object: ObjectId,
        writing: u32,
        blame: &mut FailedHosts,
    ) -> Result<bool, AgentError> {
        let _turn = self.turn.write().await;
        let record = self.book.read(|book| book.object(object).cloned());
        let Some(record) = record.filter(|record| record.set != writing) else {
            return Ok(false);
        };
        let bytes = self.read(object, 0..record.length.get()).await?;
        self.put_or_blame(object, bytes, blame).await?;
        Ok(true)
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

    /// Nobody answers, so what is read fails. What is removed while it waits for its turn is not read, and not there again.
    #[tokio::test]
    async fn what_is_removed_is_not_carried() {
        let path = std::env::temp_dir().join(format!("fondaco-carrying-{}", std::process::id()));
        let book = Arc::new(BookFile::open(&path).unwrap());
        let object = ObjectId { kind: ObjectKind::Key, name: Digest::from_bytes([1; 32]) };
        let contracts = (1..=4).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        let shards = List::new(vec![ShardId::of(&[1]); 2]).unwrap();
        let stored = Event::ObjectStored { object, length: Bytes::new(10), set: 0, shards };
        let sets = [set(1, &[1, 2]), set(1, &[3, 4]), stored];
        contracts.chain(sets).for_each(|event| book.record(&event).unwrap());
        let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), Some(1));
        assert!(objects.carry_over().await.is_err(), "nobody answers");

        let removing = objects.turn.read().await;
        let ((), carried) = tokio::join!(biased; async {
            tokio::task::yield_now().await;
            // It is listed by now, and waits.
            assert!(objects.turn.try_read().is_err());
            book.record(&Event::ObjectRemoved { object }).unwrap();
            drop(removing);
        }, objects.carry_over());
        assert_eq!(carried.unwrap(), 0);

        std::fs::remove_file(&path).unwrap();
    }
}
