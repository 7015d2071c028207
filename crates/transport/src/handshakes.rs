//! Who may begin a handshake: no network takes all the room, and no forged address takes that of another.
//!
//! ```text
//! datagram ──┬─ Refused: HANDSHAKES_MAX under way, or HANDSHAKES_PER_NETWORK_MAX of its network
//!            ├─ ProveFirst: half as many of either, and the socket address is not proved
//!            └─ Admitted ──► leave
//! ```

use crate::seats::Shares;
use std::net::{IpAddr, Ipv6Addr};

/// The most handshakes under way, and connections not yet accepted, together; more are refused.
pub const HANDSHAKES_MAX: usize = 128;

/// The most of these of one IPv4 address, or of one /64 of IPv6. This machine's own addresses are not limited so.
pub const HANDSHAKES_PER_NETWORK_MAX: usize = HANDSHAKES_MAX / 16;

/// What shares one part of the room: an IPv4 address, or the first 64 bits of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// Returns the network of `ip`; none for loopback, which everything on this machine shares.
    pub fn of(ip: IpAddr) -> Option<Self> {
        /// The first 64 bits: what one subscriber of IPv6 has.
        const SUBSCRIBER: u128 = !0 << 64;
        match ip.to_canonical() {
            ip if ip.is_loopback() => None,
            IpAddr::V6(ip) => Some(Self(Ipv6Addr::from_bits(ip.to_bits() & SUBSCRIBER).into())),
            ip @ IpAddr::V4(_) => Some(Self(ip)),
        }
    }

    /// Returns the address that stands for it.
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

/// What to do with who dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// There is no room.
    Refused,
    /// Under pressure, a socket address must be proved before it takes up room.
    ProveFirst,
    /// It is counted; `leave` must follow.
    Admitted,
}

/// The handshakes under way.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    of: Shares<Option<Network>>,
}

impl Handshakes {
    /// Counts one more, if there is room. `proved` says whether the peer showed that it receives at its address.
    //
    // Of each share, too, half is for proved addresses: who forges the address of another must not lock it out.
    pub(crate) fn enter(&mut self, network: Option<Network>, proved: bool) -> Admission {
        let all = self.of.all();
        let own = network.map_or(0, |_| self.of.of(&network));
        if all >= HANDSHAKES_MAX || own >= HANDSHAKES_PER_NETWORK_MAX {
            return Admission::Refused;
        }
        if !proved && (all >= HANDSHAKES_MAX / 2 || own >= HANDSHAKES_PER_NETWORK_MAX / 2) {
            return Admission::ProveFirst;
        }
        self.of.take(network);
        Admission::Admitted
    }

    /// Gives back what was admitted.
    pub(crate) fn leave(&mut self, network: Option<Network>) {
        self.of.give_back(&network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str) -> Option<Network> {
        Network::of(ip.parse().unwrap())
    }

    #[test]
    fn networks() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1:2:3", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(network(one) == network(other), same, "{one} {other}");
        }
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(network(loopback), None);
        }
    }

    #[test]
    fn who_is_admitted() {
        use Admission::{Admitted, ProveFirst, Refused};
        const HALF: usize = HANDSHAKES_MAX / 2;
        const SHARE: usize = HANDSHAKES_PER_NETWORK_MAX;
        // How many there are of others, and of its own network; whether it is local, and proved.
        for (others, own, local, proved, outcome) in [
            (0, 0, false, false, Admitted),
            (0, SHARE / 2 - 1, false, false, Admitted),
            (0, SHARE / 2, false, false, ProveFirst),
            (0, SHARE / 2, false, true, Admitted),
            (0, SHARE - 1, false, true, Admitted),
            (0, SHARE, false, true, Refused),
            (0, SHARE, false, false, Refused),
            (HALF - 1, 0, false, false, Admitted),
            (HALF, 0, false, false, ProveFirst),
            (HALF, 0, true, false, ProveFirst),
            (0, HALF - 1, true, false, Admitted),
            (0, HANDSHAKES_MAX - 1, true, true, Admitted),
            (0, HANDSHAKES_MAX, true, true, Refused),
            (HANDSHAKES_MAX, 0, false, true, Refused),
        ] {
            let mut handshakes = Handshakes::default();
            let asker = if local { None } else { network("192.0.2.1") };
            for number in 0..others {
                let other = network(&format!("198.51.100.{number}"));
                assert_eq!(handshakes.enter(other, true), Admitted);
            }
            for _ in 0..own {
                assert_eq!(handshakes.enter(asker, true), Admitted);
            }
            let case = (others, own, local, proved);
            assert_eq!(handshakes.enter(asker, proved), outcome, "{case:?}");
        }
    }

    #[test]
    fn a_silent_network_leaves_room_for_others_and_gives_it_back() {
        let (silent, other) = (network("2001:db8::1"), network("192.0.2.1"));
        let mut handshakes = Handshakes::default();
        let mut taken = 0;
        while handshakes.enter(silent, true) == Admission::Admitted {
            taken += 1;
        }
        assert_eq!(taken, HANDSHAKES_PER_NETWORK_MAX);
        assert_eq!(handshakes.enter(other, false), Admission::Admitted);
        handshakes.leave(silent);
        assert_eq!(handshakes.enter(silent, true), Admission::Admitted);
        for _ in 0..taken {
            handshakes.leave(silent);
        }
        handshakes.leave(other);
        assert_eq!((handshakes.of.all(), handshakes.of.sharers()), (0, 0));
    }
}
