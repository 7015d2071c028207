//! Who has a seat: connections, counted for each key, each network and all; the one that asked least lately gives way.
//!
//! ```text
//! enter ──┬─ its network has its share ──► none
//!         ├─ its key has its share ──► none; or, if its own give way, its own one idle longest with nothing under way
//!         │                            is evicted: none if all of them have something under way
//!         ├─ all seats are taken ──► one of the least rank is evicted: the one idle longest
//!         └─ seated ──► began, asked, done, … ──► leave
//! ```
//!
//! - [`Seats`]: for a service whose connections make requests one by one, so that an idle one can go.
//! - [`Shares`]: the count alone, for who needs no more.

use fondaco_crypto::EntityId;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How many of one thing each has; nothing is kept of who has none.
#[derive(Clone, Debug)]
pub struct Shares<K> {
    all: usize,
    of: BTreeMap<K, usize>,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { all: 0, of: BTreeMap::new() }
    }
}

impl<K: Ord> Shares<K> {
    /// Returns how many all have together.
    pub const fn all(&self) -> usize {
        self.all
    }

    /// Returns how many `who` has.
    pub fn of(&self, who: &K) -> usize {
        self.of.get(who).copied().unwrap_or_default()
    }

    /// Returns how many have some.
    pub fn sharers(&self) -> usize {
        self.of.len()
    }

    /// Counts one more.
    pub fn take(&mut self, who: K) {
        self.all += 1;
        *self.of.entry(who).or_default() += 1;
    }

    /// Counts one less, if `who` has one.
    pub fn give_back(&mut self, who: &K) {
        let Some(own) = self.of.get_mut(who) else { return };
        self.all -= 1;
        *own -= 1;
        if *own == 0 {
            self.of.remove(who);
        }
    }
}

/// How many may be here at once.
#[derive(Clone, Copy, Debug)]
pub struct SeatLimits {
    /// The most connections.
    pub all: usize,
    /// The most connections of one key.
    pub of_key: usize,
    /// The most connections of one network; who is on this machine has none.
    pub of_network: usize,
    /// The most requests of one key, on all its connections.
    pub requests_of_key: usize,
    /// Whether an unused connection of a key that has its share gives way to that key's next one.
    ///
    /// A peer whose process was killed leaves connections behind that nobody closes, which are then not in its way.
    pub own_give_way: bool,
}

/// The seats; `C` is what it takes to close a connection, and of the least rank `R` is who gives way first when all seats
/// are taken. Time is counted from any fixed moment.
#[derive(Debug)]
pub struct Seats<C, R = ()> {
    limits: SeatLimits,
    seats: BTreeMap<u64, Seat<C, R>>,
    keys: BTreeMap<EntityId, Own>,
    networks: Shares<IpAddr>,
    next: u64,
}

#[derive(Debug)]
struct Seat<C, R> {
    peer: EntityId,
    network: Option<IpAddr>,
    rank: R,
    /// When it asked last; before that, when it came.
    asked: Duration,
    /// How many requests were begun on it and are not done.
    under_way: usize,
    connection: C,
}

#[derive(Debug)]
struct Own {
    connections: usize,
    requests: Arc<Semaphore>,
}

/// A seat that was taken.
#[derive(Debug)]
pub struct Seated<C> {
    /// What it is called.
    pub number: u64,
    /// Room for the requests of its key.
    pub requests: Arc<Semaphore>,
    /// To be closed: its seat is gone.
    pub evicted: Option<C>,
}

impl<C, R: Copy + Ord> Seats<C, R> {
    /// Creates seats that nobody has.
    pub fn new(limits: SeatLimits) -> Self {
        let (seats, keys) = (BTreeMap::new(), BTreeMap::new());
        Self { limits, seats, keys, networks: Shares::default(), next: 0 }
    }

    /// Takes a seat; none if the key or its network has its share already.
    pub fn enter(
        &mut self,
        now: Duration,
        peer: EntityId,
        network: Option<IpAddr>,
        rank: R,
        connection: C,
    ) -> Option<Seated<C>> {
        let limits = self.limits;
        if network.is_some_and(|network| self.networks.of(&network) >= limits.of_network) {
            return None;
        }
        let own = self.keys.get(&peer).map_or(0, |own| own.connections);
        let gone = if own >= limits.of_key {
            Some(self.unused_of(peer).filter(|_| limits.own_give_way)?)
        } else if self.seats.len() >= limits.all {
            self.idle_longest()
        } else {
            None
        };
        let evicted = gone.and_then(|seat| self.leave(seat));
        let number = self.next;
        self.next += 1;
        let seat = Seat { peer, network, rank, asked: now, under_way: 0, connection };
        self.seats.insert(number, seat);
        let own = self.keys.entry(peer).or_insert_with(|| Own {
            connections: 0,
            requests: Arc::new(Semaphore::new(limits.requests_of_key)),
        });
        own.connections += 1;
        if let Some(network) = network {
            self.networks.take(network);
        }
        Some(Seated { number, requests: Arc::clone(&own.requests), evicted })
    }

    /// A request begins on this connection.
    pub fn began(&mut self, number: u64) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.under_way += 1;
        }
    }

    /// A request that began there is done, answered or not.
    pub fn done(&mut self, number: u64) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.under_way = seat.under_way.saturating_sub(1);
        }
    }

    /// A whole request came on this connection.
    pub fn asked(&mut self, now: Duration, number: u64, rank: R) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.asked = now;
            seat.rank = rank;
        }
    }

    /// Returns since when a connection has not asked; nothing if its seat is gone.
    pub fn idle_since(&self, number: u64) -> Option<Duration> {
        self.seats.get(&number).map(|seat| seat.asked)
    }

    /// Gives a seat back. Doing so twice is harmless.
    pub fn leave(&mut self, number: u64) -> Option<C> {
        let seat = self.seats.remove(&number)?;
        if let Some(own) = self.keys.get_mut(&seat.peer) {
            own.connections -= 1;
            if own.connections == 0 {
                self.keys.remove(&seat.peer);
            }
        }
        if let Some(network) = seat.network {
            self.networks.give_back(&network);
        }
        Some(seat.connection)
    }

    /// The seat of a peer that it needs least: nothing is under way there, and it asked there least lately.
    fn unused_of(&self, peer: EntityId) -> Option<u64> {
        let own = self.seats.iter().filter(|(_, seat)| seat.peer == peer && seat.under_way == 0);
        own.min_by_key(|(number, seat)| (seat.asked, **number)).map(|(number, _)| *number)
    }

    /// The seat that is taken first when there is none.
    fn idle_longest(&self) -> Option<u64> {
        let (number, _) =
            self.seats.iter().min_by_key(|(number, seat)| (seat.rank, seat.asked, **number))?;
        Some(*number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SeatLimits =
        SeatLimits { all: 96, of_key: 8, of_network: 16, requests_of_key: 32, own_give_way: true };
    const STRICT: SeatLimits = SeatLimits { own_give_way: false, ..LIMITS };

    fn key(number: usize) -> EntityId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        EntityId::from_bytes(bytes)
    }

    const fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn keys_and_networks_have_a_share() {
        let mut seats = Seats::new(STRICT);
        let home = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..STRICT.of_key {
            assert!(seats.enter(second(0), key(1), home, (), ()).is_some());
        }
        assert!(seats.enter(second(0), key(1), home, (), ()).is_none());
        assert!(seats.enter(second(0), key(1), None, (), ()).is_none());
        for number in STRICT.of_key..STRICT.of_network {
            assert!(seats.enter(second(0), key(1 + number), home, (), ()).is_some());
        }
        assert!(seats.enter(second(0), key(999), home, (), ()).is_none());
        let here = seats.enter(second(0), key(999), None, (), ()).unwrap();
        assert!(seats.leave(here.number).is_some());
        assert!(seats.leave(here.number).is_none());
        assert!(seats.leave(0).is_some());
        assert!(seats.enter(second(0), key(999), home, (), ()).is_some());
        for number in 0..=seats.next {
            seats.leave(number);
            seats.asked(second(1), number, ());
        }
        assert!(seats.seats.is_empty() && seats.keys.is_empty());
        assert_eq!((seats.networks.all(), seats.networks.sharers()), (0, 0));
    }

    #[test]
    fn one_key_has_a_share_of_requests() {
        let mut seats = Seats::new(LIMITS);
        let taken: Vec<_> = (0..LIMITS.of_key)
            .map(|_| seats.enter(second(0), key(3), None, true, ()).unwrap())
            .collect();
        for seat in &taken {
            seats.began(seat.number);
        }
        assert!(seats.enter(second(0), key(3), None, true, ()).is_none());
        // Its requests are counted together.
        let requests = Arc::clone(&taken[0].requests);
        let share = u32::try_from(LIMITS.requests_of_key).unwrap();
        let requests = requests.try_acquire_many(share).unwrap();
        assert!(taken[1].requests.try_acquire().is_err());
        drop(requests);
        let other = seats.enter(second(0), key(4), None, false, ()).unwrap();
        assert!(other.requests.try_acquire().is_ok());
        assert!(seats.leave(taken[0].number).is_some());
        assert!(seats.leave(taken[0].number).is_none());
        assert!(seats.enter(second(0), key(3), None, true, ()).is_some());
    }

    #[test]
    fn an_unused_connection_gives_way_to_its_peers_next() {
        // When the first three asked, and how many requests they have under way; then which of them gives way.
        for (own, expected) in [
            ([(5, 0), (6, 0), (7, 0)], Some(0)),
            ([(7, 0), (6, 0), (5, 0)], Some(2)),
            ([(5, 1), (6, 0), (7, 0)], Some(1)),
            ([(5, 1), (6, 2), (7, 0)], Some(2)),
            ([(5, 1), (6, 1), (7, 1)], None),
        ] {
            let mut seats = Seats::new(LIMITS);
            let stranger = seats.enter(second(0), key(9), None, false, 99).unwrap().number;
            let numbers: Vec<_> = (0..LIMITS.of_key)
                .map(|index| seats.enter(second(1), key(3), None, true, index).unwrap().number)
                .collect();
            for number in &numbers[own.len()..] {
                seats.began(*number);
            }
            for ((asked, under_way), number) in own.into_iter().zip(&numbers) {
                seats.asked(second(asked), *number, true);
                for _ in 0..=under_way {
                    seats.began(*number);
                }
                seats.done(*number);
            }
            let seated = seats.enter(second(8), key(3), None, true, 100);
            assert_eq!(seated.as_ref().and_then(|seated| seated.evicted), expected, "{own:?}");
            assert_eq!(seated.is_some(), expected.is_some(), "{own:?}");
            assert!(seats.idle_since(stranger).is_some(), "another's is not in the way");
        }
    }

    #[test]
    fn who_gives_way() {
        // The last two of a full house: their rank, and when they asked; then who gives way to the next.
        for (one, other, expected) in [
            ((false, 50), (false, 60), 0),
            ((false, 60), (false, 50), 1),
            ((true, 50), (false, 60), 1),
            ((false, 60), (true, 50), 0),
            ((true, 60), (true, 50), 1),
        ] {
            let mut seats = Seats::new(STRICT);
            let mut numbers = vec![];
            for number in 0..STRICT.all {
                let seated = seats.enter(second(1), key(10 + number), None, false, number).unwrap();
                assert_eq!(seated.evicted, None);
                numbers.push(seated.number);
            }
            for number in &numbers[2..] {
                seats.asked(second(99), *number, true);
            }
            for (number, (rank, asked)) in numbers.iter().zip([one, other]) {
                seats.asked(second(asked), *number, rank);
                assert_eq!(seats.idle_since(*number), Some(second(asked)));
            }
            let seated = seats.enter(second(100), key(1), None, false, 9999).unwrap();
            assert_eq!(seated.evicted, Some(expected), "{one:?} {other:?}");
            assert_eq!(seats.idle_since(numbers[expected]), None);
            assert_eq!(seats.leave(numbers[expected]), None);
            assert_eq!(seats.seats.len(), STRICT.all);
        }
    }

    #[test]
    fn shares_are_counted_and_forgotten() {
        let mut shares = Shares::default();
        for who in [1, 2, 1] {
            shares.take(who);
        }
        assert_eq!((shares.all(), shares.of(&1), shares.of(&3), shares.sharers()), (3, 2, 0, 2));
        for who in [3, 1, 1, 1] {
            shares.give_back(&who);
        }
        assert_eq!((shares.all(), shares.of(&1), shares.sharers()), (1, 0, 1));
    }
}
