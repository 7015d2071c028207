//! Queries that wait for something to tell: each until its holder has a deposit, or its time is over.
//!
//! ```text
//! park ──┬── wake: its holder was paid ──────────┐
//!        ├── due: its time is over ──────────────┼──► asked again, and answered with what there is
//!        ├── all: the service stops ─────────────┘
//!        └── no room ──► answered at once
//! ```

use fondaco_crypto::EntityId;
use fondaco_units::Timestamp;
use std::collections::BTreeMap;

/// The most queries that wait at once.
pub const PARKED_MAX: usize = 16_384;

/// The most queries of one holder that wait at once.
pub const PARKED_PER_HOLDER_MAX: usize = 16;

/// The queries that wait. `J` is what it takes to answer one.
#[derive(Debug)]
pub(crate) struct Parked<J> {
    holders: BTreeMap<EntityId, Vec<(Place, J)>>,
    due: BTreeMap<Place, EntityId>,
    next: u64,
}

/// When a query is due, and its number among all.
type Place = (Timestamp, u64);

impl<J> Default for Parked<J> {
    fn default() -> Self {
        Self { holders: BTreeMap::new(), due: BTreeMap::new(), next: 0 }
    }
}

impl<J> Parked<J> {
    /// Takes in a query of `holder` that waits until `until`; gives it back when there is no room.
    pub(crate) fn park(&mut self, holder: EntityId, until: Timestamp, job: J) -> Result<(), J> {
        if self.due.len() >= PARKED_MAX {
            return Err(job);
        }
        let own = self.holders.entry(holder).or_default();
        if own.len() >= PARKED_PER_HOLDER_MAX {
            return Err(job);
        }
        let place = (until, self.next);
        self.next += 1;
        own.push((place, job));
        self.due.insert(place, holder);
        Ok(())
    }

    /// Takes out those of `holder` that `ready` says are to be answered, oldest first.
    pub(crate) fn wake(&mut self, holder: EntityId, ready: impl Fn(&J) -> bool) -> Vec<J> {
        let Some(own) = self.holders.get_mut(&holder) else { return Vec::new() };
        let woken: Vec<(Place, J)> = own.extract_if(.., |(_, job)| ready(job)).collect();
        if own.is_empty() {
            self.holders.remove(&holder);
        }
        let leave = |(place, job)| {
            self.due.remove(&place);
            job
        };
        woken.into_iter().map(leave).collect()
    }

    /// Takes out those whose time is over at `now`, the longest over first.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<J> {
        let mut woken = Vec::new();
        while let Some(first) = self.due.first_entry()
            && first.key().0 <= now
        {
            let (place, holder) = first.remove_entry();
            let Some(own) = self.holders.get_mut(&holder) else { continue };
            woken.extend(own.extract_if(.., |(other, _)| *other == place).map(|(_, job)| job));
            if own.is_empty() {
                self.holders.remove(&holder);
            }
        }
        woken
    }

    /// Takes out all.
    pub(crate) fn all(&mut self) -> Vec<J> {
        self.due.clear();
        std::mem::take(&mut self.holders).into_values().flatten().map(|(_, job)| job).collect()
    }

    /// Returns how many wait.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(byte: u8) -> EntityId {
        EntityId::from_bytes([byte; 32])
    }

    const fn second(number: u64) -> Timestamp {
        Timestamp::from_milliseconds(number * 1000)
    }

    #[test]
    fn each_is_taken_out_once() {
        let mut parked = Parked::default();
        for (holder, until, job) in [(1, 9, 'a'), (2, 5, 'b'), (1, 5, 'c'), (3, 7, 'd')] {
            assert_eq!(parked.park(key(holder), second(until), job), Ok(()));
        }
        assert!(parked.due(second(4)).is_empty());
        assert_eq!(parked.wake(key(1), |job| *job == 'c'), ['c']);
        assert_eq!(parked.due(second(5)), ['b']);
        assert!(parked.wake(key(2), |_| true).is_empty());
        assert_eq!(parked.due(second(8)), ['d']);
        assert_eq!(parked.len(), 1);
        assert_eq!(parked.all(), ['a']);
        assert_eq!((parked.len(), parked.holders.len()), (0, 0));
    }

    #[test]
    fn room_is_bounded() {
        let mut parked = Parked::default();
        for number in 0..PARKED_PER_HOLDER_MAX {
            assert_eq!(parked.park(key(1), second(9), number), Ok(()));
        }
        assert_eq!(parked.park(key(1), second(9), 99), Err(99));
        let mut others = 0_u32;
        while parked.len() < PARKED_MAX {
            let mut bytes = [9; 32];
            bytes[..4].copy_from_slice(&others.to_le_bytes());
            assert_eq!(parked.park(EntityId::from_bytes(bytes), second(9), 0), Ok(()));
            others += 1;
        }
        assert_eq!(parked.park(key(2), second(9), 7), Err(7));
        assert_eq!(parked.wake(key(1), |_| true).len(), PARKED_PER_HOLDER_MAX);
        assert_eq!(parked.park(key(2), second(9), 7), Ok(()));
    }
}
