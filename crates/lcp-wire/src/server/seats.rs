//! How many may be here at once: in all, and of one network.

use super::Limits;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Who shares a share: an IPv4 /24 or an IPv6 /56, which is what one customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Network {
    V4([u8; 3]),
    V6([u8; 7]),
}

impl Network {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

/// The places taken.
#[derive(Debug)]
pub(super) struct Seats {
    limits: Limits,
    all: Count,
    of: BTreeMap<Network, Count>,
}

/// Connections, and those of them whose handshake is under way.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    connections: usize,
    handshakes: usize,
}

impl Seats {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, all: Count::default(), of: BTreeMap::new() }
    }

    pub(super) const fn taken(&self) -> usize {
        self.all.connections
    }

    fn enter(&mut self, network: Network) -> bool {
        let own = self.of.get(&network).copied().unwrap_or_default();
        let fits = self.all.connections < self.limits.connections
            && self.all.handshakes < self.limits.handshakes
            && own.connections < self.limits.connections_per_network
            && own.handshakes < self.limits.handshakes_per_network;
        if fits {
            self.change(network, |count| {
                count.connections += 1;
                count.handshakes += 1;
            });
        }
        fits
    }

    fn change(&mut self, network: Network, change: impl Fn(&mut Count)) {
        change(&mut self.all);
        let own = self.of.entry(network).or_default();
        change(own);
        if own.connections == 0 {
            self.of.remove(&network);
        }
    }
}

/// A place that was taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Mutex<Seats>>,
    network: Network,
    has_shaken_hands: bool,
}

/// Takes a place for a connection from `ip`, if there is one.
pub(super) fn take(seats: &Arc<Mutex<Seats>>, ip: IpAddr) -> Option<Seat> {
    let network = Network::of(ip);
    let entered = seats.lock().unwrap_or_else(PoisonError::into_inner).enter(network);
    entered.then(|| Seat { seats: Arc::clone(seats), network, has_shaken_hands: false })
}

impl Seat {
    /// The handshake is over: the next one can begin.
    pub(super) fn shaken_hands(&mut self) {
        if !std::mem::replace(&mut self.has_shaken_hands, true) {
            let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
            seats.change(self.network, |count| count.handshakes -= 1);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shaken_hands();
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.change(self.network, |count| count.connections -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(limits: Limits) -> Arc<Mutex<Seats>> {
        Arc::new(Mutex::new(Seats::new(limits)))
    }

    #[test]
    fn who_shares_a_share() {
        let table = [
            ("10.0.0.1", "10.0.0.255", true),
            ("10.0.0.1", "10.0.1.1", false),
            ("10.0.0.1", "::ffff:10.0.0.9", true),
            ("2001:db8::1", "2001:db8:0:ff::1", true),
            ("2001:db8::1", "2001:db8:0:100::1", false),
        ];
        for (one, two, same) in table {
            let [one, two] = [one, two].map(|ip| Network::of(ip.parse().unwrap()));
            assert_eq!(one == two, same, "{one:?} {two:?}");
        }
    }

    #[test]
    fn one_network_cannot_take_all_places() {
        let limits = Limits { connections: 4, connections_per_network: 2, ..Limits::default() };
        let seats = seats(limits);
        let here = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|ip| take(&seats, ip.parse().unwrap()));
        assert_eq!(here.each_ref().map(Option::is_some), [true, true, false]);
        let there =
            ["10.0.1.1", "10.0.2.1", "10.0.3.1"].map(|ip| take(&seats, ip.parse().unwrap()));
        assert_eq!(there.each_ref().map(Option::is_some), [true, true, false]);
        drop(here);
        assert!(take(&seats, "10.0.3.1".parse().unwrap()).is_some());
        drop(there);
        let seats = seats.lock().unwrap();
        assert_eq!((seats.taken(), seats.all.handshakes, seats.of.len()), (0, 0, 0));
    }

    #[test]
    fn a_handshake_that_is_over_makes_room() {
        let limits = Limits { handshakes: 2, handshakes_per_network: 1, ..Limits::default() };
        let seats = seats(limits);
        let [one, two, three] = ["10.0.0.1", "10.0.1.1", "10.0.2.1"].map(|ip| ip.parse().unwrap());
        let mut first = take(&seats, one).unwrap();
        assert!(take(&seats, one).is_none());
        let _second = take(&seats, two).unwrap();
        assert!(take(&seats, three).is_none());
        first.shaken_hands();
        first.shaken_hands();
        assert!(take(&seats, one).is_some());
        drop(first);
        assert_eq!(seats.lock().unwrap().taken(), 1);
    }
}
