//! Who has a place: connections, counted for each key, each network and all; the one that asked least lately gives way.
//!
//! ```text
//! enter ──┬─ the key or its network has its share ──► none
//!         ├─ all have CONNECTIONS_MAX ──► the one idle longest is evicted
//!         └─ seated ──► asked, asked, … ──► leave
//! ```

use crate::service::REQUESTS_PER_KEY_MAX;
use fondaco_crypto::EntityId;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The most connections open at once.
pub const CONNECTIONS_MAX: usize = 2048;
/// The most connections of one key.
pub const CONNECTIONS_PER_KEY_MAX: usize = 8;
/// The most connections of one network.
pub const CONNECTIONS_PER_NETWORK_MAX: usize = 64;

/// The places; `C` is what it takes to close a connection. Time is counted from any fixed moment.
#[derive(Debug)]
pub(crate) struct Places<C> {
    seats: BTreeMap<u64, Seat<C>>,
    keys: BTreeMap<EntityId, (usize, Arc<Semaphore>)>,
    networks: BTreeMap<IpAddr, usize>,
    next: u64,
}

#[derive(Debug)]
struct Seat<C> {
    peer: EntityId,
    network: Option<IpAddr>,
    /// When it asked last; before that, when it came.
    asked: Duration,
    connection: C,
}

/// A place that was taken.
#[derive(Debug)]
pub(crate) struct Seated<C> {
    pub(crate) number: u64,
    /// Room for the requests of its key.
    pub(crate) requests: Arc<Semaphore>,
    /// To be closed: its place is gone.
    pub(crate) evicted: Option<C>,
}

impl<C> Default for Places<C> {
    fn default() -> Self {
        let (seats, keys) = (BTreeMap::new(), BTreeMap::new());
        Self { seats, keys, networks: BTreeMap::new(), next: 0 }
    }
}

impl<C> Places<C> {
    /// Takes a place; none if the key or its network has its share already.
    pub(crate) fn enter(
        &mut self,
        now: Duration,
        peer: EntityId,
        network: Option<IpAddr>,
        connection: C,
    ) -> Option<Seated<C>> {
        let of_key = self.keys.get(&peer).map_or(0, |(count, _)| *count);
        let of_network = network.and_then(|at| self.networks.get(&at)).copied().unwrap_or(0);
        if of_key >= CONNECTIONS_PER_KEY_MAX || of_network >= CONNECTIONS_PER_NETWORK_MAX {
            return None;
        }
        let idle_longest = self.seats.iter().min_by_key(|(number, seat)| (seat.asked, **number));
        let full = self.seats.len() >= CONNECTIONS_MAX;
        let gone = idle_longest.filter(|_| full).map(|(number, _)| *number);
        let evicted = gone.and_then(|number| self.leave(number));
        let number = self.next;
        self.next += 1;
        self.seats.insert(number, Seat { peer, network, asked: now, connection });
        let (count, requests) = self
            .keys
            .entry(peer)
            .or_insert_with(|| (0, Arc::new(Semaphore::new(REQUESTS_PER_KEY_MAX))));
        *count += 1;
        let requests = Arc::clone(requests);
        if let Some(network) = network {
            *self.networks.entry(network).or_default() += 1;
        }
        Some(Seated { number, requests, evicted })
    }

    /// A whole request came on this connection.
    pub(crate) fn asked(&mut self, now: Duration, number: u64) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.asked = now;
        }
    }

    /// Returns since when a connection has not asked; nothing if its place is gone.
    pub(crate) fn idle_since(&self, number: u64) -> Option<Duration> {
        self.seats.get(&number).map(|seat| seat.asked)
    }

    /// Gives a place back. Doing so twice is harmless.
    pub(crate) fn leave(&mut self, number: u64) -> Option<C> {
        let seat = self.seats.remove(&number)?;
        if let Some((count, _)) = self.keys.get_mut(&seat.peer) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(&seat.peer);
            }
        }
        if let Some(network) = seat.network
            && let Some(count) = self.networks.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
        Some(seat.connection)
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
    fn keys_and_networks_have_a_share() {
        let mut places = Places::default();
        let home = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..CONNECTIONS_PER_KEY_MAX {
            assert!(places.enter(second(0), key(1), home, ()).is_some());
        }
        assert!(places.enter(second(0), key(1), home, ()).is_none());
        assert!(places.enter(second(0), key(1), None, ()).is_none());
        for number in CONNECTIONS_PER_KEY_MAX..CONNECTIONS_PER_NETWORK_MAX {
            assert!(places.enter(second(0), key(1 + number), home, ()).is_some());
        }
        assert!(places.enter(second(0), key(999), home, ()).is_none());
        let here = places.enter(second(0), key(999), None, ()).unwrap();
        assert!(places.leave(here.number).is_some());
        assert!(places.leave(here.number).is_none());
        assert!(places.leave(0).is_some());
        assert!(places.enter(second(0), key(999), home, ()).is_some());
        for number in 0..=places.next {
            places.leave(number);
            places.asked(second(1), number);
        }
        assert!(places.seats.is_empty() && places.keys.is_empty() && places.networks.is_empty());
    }

    #[test]
    fn who_asked_least_lately_gives_way() {
        let mut places = Places::default();
        for number in 0..CONNECTIONS_MAX {
            let seated = places.enter(second(1), key(number), None, number).unwrap();
            assert_eq!(seated.evicted, None);
            places.asked(second(if number == 7 { 2 } else { 3 }), seated.number);
        }
        let seated = places.enter(second(9), key(9999), None, 9999).unwrap();
        assert_eq!(seated.evicted, Some(7));
        assert_eq!(places.idle_since(7), None);
        assert_eq!(places.idle_since(seated.number), Some(second(9)));
        assert_eq!(places.seats.len(), CONNECTIONS_MAX);
    }
}
