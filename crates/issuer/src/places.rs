//! Who has a place: connections, counted for each holder and for all; the one that asked least lately gives way.
//!
//! ```text
//! enter ──┬─ the holder has CONNECTIONS_PER_HOLDER_MAX ──► its own one idle longest, with nothing under way, is
//!         │                                                evicted; none if all of them have something under way
//!         ├─ all have CONNECTIONS_MAX ──► one of a stranger, else of anybody, is evicted: the one idle longest
//!         └─ seated ──► began, asked, done, … ──► leave
//! ```
//!
//! A holder whose process was killed leaves connections behind that nobody closes: they must not be in the way of its
//! next one.

use fondaco_crypto::EntityId;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The most connections open at once.
pub const CONNECTIONS_MAX: usize = 4096;

/// The most connections of one key open at once.
pub const CONNECTIONS_PER_HOLDER_MAX: usize = 16;

/// The most requests of one key being read, waiting or being answered at once, on all its connections.
pub const REQUESTS_PER_HOLDER_MAX: usize = 256;

/// The places; `C` is what it takes to close a connection. Time is counted from any fixed moment.
#[derive(Debug)]
pub(crate) struct Places<C> {
    seats: BTreeMap<u64, Seat<C>>,
    holders: BTreeMap<EntityId, Holder>,
    next: u64,
}

#[derive(Debug)]
struct Seat<C> {
    holder: EntityId,
    known: bool,
    /// When it asked last; before that, when it came.
    asked: Duration,
    /// How many requests were begun on it and are not done.
    under_way: usize,
    connection: C,
}

#[derive(Debug)]
struct Holder {
    connections: usize,
    requests: Arc<Semaphore>,
}

/// A place that was taken.
#[derive(Debug)]
pub(crate) struct Seated<C> {
    pub(crate) number: u64,
    /// Room for the requests of its holder.
    pub(crate) requests: Arc<Semaphore>,
    /// To be closed: its place is gone.
    pub(crate) evicted: Option<C>,
}

impl<C> Default for Places<C> {
    fn default() -> Self {
        Self { seats: BTreeMap::new(), holders: BTreeMap::new(), next: 0 }
    }
}

impl<C> Places<C> {
    /// Takes a place for a connection of `holder`; none if the holder has its share already, and uses all of it.
    pub(crate) fn enter(
        &mut self,
        now: Duration,
        holder: EntityId,
        known: bool,
        connection: C,
    ) -> Option<Seated<C>> {
        let own = self.holders.get(&holder).map_or(0, |own| own.connections);
        let gone = if own >= CONNECTIONS_PER_HOLDER_MAX {
            Some(self.unused_of(holder)?)
        } else if self.seats.len() >= CONNECTIONS_MAX {
            self.idle_longest()
        } else {
            None
        };
        let evicted = gone.and_then(|seat| self.leave(seat));
        let number = self.next;
        self.next += 1;
        self.seats.insert(number, Seat { holder, known, asked: now, under_way: 0, connection });
        let own = self.holders.entry(holder).or_insert_with(|| Holder {
            connections: 0,
            requests: Arc::new(Semaphore::new(REQUESTS_PER_HOLDER_MAX)),
        });
        own.connections += 1;
        Some(Seated { number, requests: Arc::clone(&own.requests), evicted })
    }

    /// A request begins on this connection.
    pub(crate) fn began(&mut self, number: u64) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.under_way += 1;
        }
    }

    /// A request that began there is done, answered or not.
    pub(crate) fn done(&mut self, number: u64) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.under_way = seat.under_way.saturating_sub(1);
        }
    }

    /// A whole request came on this connection.
    pub(crate) fn asked(&mut self, now: Duration, number: u64, known: bool) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.asked = now;
            seat.known = known;
        }
    }

    /// Returns since when a connection has not asked; nothing if its place is gone.
    pub(crate) fn idle_since(&self, number: u64) -> Option<Duration> {
        self.seats.get(&number).map(|seat| seat.asked)
    }

    /// Gives a place back. Doing so twice is harmless.
    pub(crate) fn leave(&mut self, number: u64) -> Option<C> {
        let seat = self.seats.remove(&number)?;
        if let Some(own) = self.holders.get_mut(&seat.holder) {
            own.connections -= 1;
            if own.connections == 0 {
                self.holders.remove(&seat.holder);
            }
        }
        Some(seat.connection)
    }

    /// The place of a holder that it needs least: nothing is under way there, and it asked there least lately.
    fn unused_of(&self, holder: EntityId) -> Option<u64> {
        let own =
            self.seats.iter().filter(|(_, seat)| seat.holder == holder && seat.under_way == 0);
        own.min_by_key(|(number, seat)| (seat.asked, **number)).map(|(number, _)| *number)
    }

    /// The place that is taken first when there is none: strangers before holders known to the books.
    fn idle_longest(&self) -> Option<u64> {
        let (number, _) =
            self.seats.iter().min_by_key(|(number, seat)| (seat.known, seat.asked, **number))?;
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> EntityId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        EntityId::from_bytes(bytes)
    }

    const fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn one_key_has_a_share() {
        let mut places = Places::default();
        let seats: Vec<_> = (0..CONNECTIONS_PER_HOLDER_MAX)
            .map(|_| places.enter(second(0), key(3), true, ()).unwrap())
            .collect();
        for seat in &seats {
            places.began(seat.number);
        }
        assert!(places.enter(second(0), key(3), true, ()).is_none());
        // Its requests are counted together.
        let taken = Arc::clone(&seats[0].requests);
        let share = u32::try_from(REQUESTS_PER_HOLDER_MAX).unwrap();
        let taken = taken.try_acquire_many(share).unwrap();
        assert!(seats[1].requests.try_acquire().is_err());
        drop(taken);
        assert!(places.enter(second(0), key(4), false, ()).unwrap().requests.try_acquire().is_ok());
        assert!(places.leave(seats[0].number).is_some());
        assert!(places.leave(seats[0].number).is_none());
        assert!(places.enter(second(0), key(3), true, ()).is_some());
    }

    #[test]
    fn an_unused_connection_gives_way_to_its_holders_next() {
        // When the first three asked, and how many requests they have under way; then which of them gives way.
        for (seats, expected) in [
            ([(5, 0), (6, 0), (7, 0)], Some(0)),
            ([(7, 0), (6, 0), (5, 0)], Some(2)),
            ([(5, 1), (6, 0), (7, 0)], Some(1)),
            ([(5, 1), (6, 2), (7, 0)], Some(2)),
            ([(5, 1), (6, 1), (7, 1)], None),
        ] {
            let mut places = Places::default();
            let stranger = places.enter(second(0), key(9), false, 99).unwrap().number;
            let numbers: Vec<_> = (0..CONNECTIONS_PER_HOLDER_MAX)
                .map(|index| places.enter(second(1), key(3), true, index).unwrap().number)
                .collect();
            for number in &numbers[seats.len()..] {
                places.began(*number);
            }
            for ((asked, under_way), number) in seats.into_iter().zip(&numbers) {
                places.asked(second(asked), *number, true);
                for _ in 0..=under_way {
                    places.began(*number);
                }
                places.done(*number);
            }
            let seated = places.enter(second(8), key(3), true, 100);
            assert_eq!(seated.as_ref().and_then(|seated| seated.evicted), expected, "{seats:?}");
            assert_eq!(seated.is_some(), expected.is_some(), "{seats:?}");
            assert!(places.idle_since(stranger).is_some(), "another's is not in the way");
        }
    }

    #[test]
    fn who_gives_way() {
        // The last two of a full house: whether known, and when they asked; then who gives way to a stranger.
        for (one, other, expected) in [
            ((false, 50), (false, 60), 0),
            ((false, 60), (false, 50), 1),
            ((true, 50), (false, 60), 1),
            ((false, 60), (true, 50), 0),
            ((true, 60), (true, 50), 1),
        ] {
            let mut places = Places::default();
            let mut numbers = vec![];
            for number in 0..CONNECTIONS_MAX {
                let seated = places.enter(second(1), key(10 + number), false, number).unwrap();
                assert_eq!(seated.evicted, None);
                numbers.push(seated.number);
            }
            for number in &numbers[2..] {
                places.asked(second(99), *number, true);
            }
            for (number, (known, asked)) in numbers.iter().zip([one, other]) {
                places.asked(second(asked), *number, known);
                assert_eq!(places.idle_since(*number), Some(second(asked)));
            }
            let seated = places.enter(second(100), key(1), false, 9999).unwrap();
            assert_eq!(seated.evicted, Some(expected), "{one:?} {other:?}");
            assert_eq!(places.idle_since(numbers[expected]), None);
            assert_eq!(places.leave(numbers[expected]), None);
            assert_eq!(places.seats.len(), CONNECTIONS_MAX);
        }
    }

    #[test]
    fn nothing_is_kept_of_who_left() {
        let mut places = Places::default();
        for _ in 0..3 {
            let number = places.enter(second(0), key(3), false, ()).unwrap().number;
            places.leave(number);
            places.asked(second(1), number, true);
        }
        assert!(places.seats.is_empty() && places.holders.is_empty());
    }
}
