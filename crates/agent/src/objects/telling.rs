//! Which bytes of an object tell whether it can be had back, for a client that sends it again.

use super::{Objects, layout};
use crate::AgentError;
use crate::book::{ObjectId, ObjectKind};
use std::ops::Range;

impl Objects {
    /// Returns what to read of an object to learn whether any k of its hosts give it back: all of a small one; of a pack, whose
    /// reading is paid for, one byte of each of the k pieces that it is cut into. Nothing if there is no such object.
    ///
    /// # Errors
    ///
    /// The book has a code and a length that fit no object.
    pub fn telling(&self, object: ObjectId) -> Result<Vec<Range<u64>>, AgentError> {
        let record = self.book.read(|book| book.object(object).cloned());
        let Some(record) = record else { return Ok(Vec::new()) };
        let length = record.length.get();
        if object.kind != ObjectKind::Pack {
            return Ok(std::iter::once(0..length).collect());
        }
        let layout = layout(record.code, record.length, object)?;
        let starts = (0..u64::from(record.code.k())).map(|piece| piece * layout.shard_len());
        Ok(starts.take_while(|&start| start < length).map(|start| start..start + 1).collect())
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

    /// One line for each: what kind of object of how many bytes, cut by 2 of 4; what is read of it.
    #[test]
    fn a_small_object_is_read_whole_and_a_pack_here_and_there() {
        let path = std::env::temp_dir().join(format!("fondaco-telling-{}", std::process::id()));
        let book = Arc::new(BookFile::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let contracts = (1..=4).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        contracts.chain([set(2, &[1, 2, 3, 4])]).for_each(|event| book.record(&event).unwrap());
        let objects = Objects::new(Arc::clone(&book), BTreeMap::new(), None);
        type Parts = &'static [(u64, u64)];
        let table: [(ObjectKind, u64, Parts); 6] = [
            (ObjectKind::Key, 0, &[(0, 0)]),
            (ObjectKind::Index, 5000, &[(0, 5000)]),
            (ObjectKind::Pack, 0, &[]),
            (ObjectKind::Pack, 10, &[(0, 1)]),
            (ObjectKind::Pack, 64, &[(0, 1)]),
            (ObjectKind::Pack, 5000, &[(0, 1), (2560, 2561)]),
        ];
        for (kind, length, expected) in table {
            let object = ObjectId { kind, name: Digest::from_bytes([1; 32]) };
            let shards = List::new(vec![ShardId::of(&[1]); 4]).unwrap();
            let length = Bytes::new(length);
            book.record(&Event::ObjectStored { object, length, set: 0, shards }).unwrap();
            let told: Vec<_> = objects.telling(object).unwrap();
            let told: Vec<_> = told.into_iter().map(|range| (range.start, range.end)).collect();
            assert_eq!(told, expected, "{kind:?} {length}");
        }
        let other = ObjectId { kind: ObjectKind::Key, name: Digest::from_bytes([2; 32]) };
        assert!(objects.telling(other).unwrap().is_empty());
    }
}
