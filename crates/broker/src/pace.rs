//! How fast one may ask: a bucket of tokens for each key and each network, and one for all. Time is counted from any
//! fixed moment.

use fondaco_crypto::EntityId;
use fondaco_transport::pace::{Buckets, Rate};
use std::{net::IpAddr, time::Duration};

/// What one key may ask.
pub const KEY_PACE: Rate = Rate::new(5, 40);
/// What one network may ask.
pub const NETWORK_PACE: Rate = Rate::new(50, 400);
/// What all together may ask.
pub const ALL_PACE: Rate = Rate::new(2000, 4000);

/// The most buckets of keys kept, and of networks.
const BUCKETS_MAX: usize = 16_384;

/// How fast all asked of late.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    keys: Buckets<EntityId, BUCKETS_MAX>,
    networks: Buckets<IpAddr, BUCKETS_MAX>,
    all: Duration,
}

impl Pace {
    /// Returns whether `peer` may ask now, and counts it if so. Who is stopped by others loses nothing of its own.
    pub(crate) fn may_ask(
        &mut self,
        now: Duration,
        peer: EntityId,
        network: Option<IpAddr>,
    ) -> bool {
        let own = KEY_PACE.take(self.keys.get(&peer), now, 1);
        let shared = network.map(|at| (at, NETWORK_PACE.take(self.networks.get(&at), now, 1)));
        let (Some(own), Some(all)) = (own, ALL_PACE.take(self.all, now, 1)) else { return false };
        match shared {
            Some((_, None)) => return false,
            Some((at, Some(full))) => self.networks.set(at, full),
            None => {}
        }
        self.keys.set(peer, own);
        self.all = all;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> EntityId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        EntityId::from_bytes(bytes)
    }

    /// How many of `tries` requests at one time are let through; each of another key, if `many`.
    fn through(pace: &mut Pace, now: u64, from: u8, first: u32, many: bool, tries: u32) -> usize {
        let network = (from > 0).then(|| IpAddr::from([192, 0, 2, from]));
        let now = Duration::from_millis(now);
        (0..tries)
            .filter(|number| {
                pace.may_ask(now, key(first + if many { *number } else { 0 }), network)
            })
            .count()
    }

    #[test]
    fn keys_networks_and_all() {
        let mut pace = Pace::default();
        // When, from which network (0 is this machine), the first key, whether each is another, tries, let through.
        for (now, from, first, many, tries, expected) in [
            (0, 1, 1, false, 100, 40),
            (199, 1, 1, false, 9, 0),
            (200, 1, 1, false, 9, 1),
            (200, 1, 1000, true, 1000, 369), // what is left of 400 and 0.2 s of refilling
            (200, 2, 1, false, 9, 0),        // the same key elsewhere
            (200, 2, 2000, true, 1000, 400), // another network has its own share
            (200, 0, 5000, true, 10_000, 3590), // this machine has all that is left
            (200, 3, 9, false, 1, 0),
            (10_000, 3, 9, false, 100, 40),
        ] {
            let found = through(&mut pace, now, from, first, many, tries);
            let case = (now, from, first, many, tries);
            assert!(found.abs_diff(expected) <= 400, "{case:?}: {found} not {expected}");
            if expected <= 400 {
                assert!(found.abs_diff(expected) <= 20, "{case:?}: {found} not {expected}");
            }
        }
    }
}
