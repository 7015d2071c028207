//! How fast holders may command: a bucket of tokens for each, one for all strangers of a network, and one for all
//! strangers together. A command takes as many tokens as it costs the keeper; see [`cost`]. Time is
//! counted from any fixed moment.

use fondaco_crypto::EntityId;
use fondaco_lcp::Request;
use fondaco_transport::{
    Network,
    pace::{Buckets, Rate},
};
use std::{net::IpAddr, time::Duration};

/// How many bytes of a request take a token: all of it is written to the journal, refused or not.
const BYTES_PER_TOKEN: usize = 128;

/// The tokens for a signature that is checked, which takes about as long as two plain commands.
const SIGNATURE: usize = 2;

/// How many steps of a chain of paywords take a token.
const WORDS_PER_TOKEN: usize = 256;

/// The tokens for a hold: it is remembered long after it is closed.
const HOLD: usize = 20;

/// The tokens for a limit, which may be of one who has no account: half of what a stranger has at once.
const LIMIT: usize = 10;

/// What one stranger may command: 20 at once, then 5 a second.
const STRANGER: Rate = Rate::new(5, 20);

/// What all strangers of one network may command: an IPv4 address, or a /64 of IPv6.
const NETWORK: Rate = Rate::new(40, 60);

/// What all strangers together may command.
const STRANGERS: Rate = Rate::new(200, 200);

/// What a holder known to the books may command.
const KNOWN: Rate = Rate::new(50_000, 50_000);

/// The most buckets kept of strangers, of their networks, and of known holders.
const BUCKETS_MAX: usize = 8192;

/// Returns how many tokens a request takes, of which the frame has so many bytes.
pub(crate) fn cost(request: &Request, frame_bytes: usize) -> usize {
    let work = match request {
        Request::HoldOpen { .. } => HOLD,
        Request::AcceptAhead { .. } => LIMIT,
        Request::HoldPost { .. } => SIGNATURE,
        Request::HoldPostWord { word, .. } => {
            SIGNATURE + usize::try_from(word.index).unwrap_or(usize::MAX) / WORDS_PER_TOKEN
        }
        Request::Rotate { .. } => 2 * SIGNATURE,
        Request::Describe
        | Request::Balance
        | Request::HoldInfo { .. }
        | Request::Deposits { .. }
        | Request::History { .. }
        | Request::Receipt { .. }
        | Request::Transfer { .. }
        | Request::Mint { .. }
        | Request::Redeem { .. }
        | Request::HoldVoid { .. }
        | Request::AckDeposits { .. }
        | Request::Batch { .. }
        | Request::Accept { .. }
        | Request::Close { .. } => 0,
    };
    (frame_bytes / BYTES_PER_TOKEN).saturating_add(work).max(1)
}

/// How fast holders commanded of late.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    known: Buckets<EntityId, BUCKETS_MAX>,
    strangers: Buckets<EntityId, BUCKETS_MAX>,
    networks: Buckets<Network, BUCKETS_MAX>,
    all_strangers: Duration,
}

impl Pace {
    /// Returns whether a holder that the books know may command now, and counts it if so.
    pub(crate) fn may_command(&mut self, now: Duration, holder: EntityId, tokens: usize) -> bool {
        let Some(full) = KNOWN.take(self.known.get(&holder), now, tokens) else { return false };
        self.known.set(holder, full);
        true
    }

    /// Returns whether a stranger that dialled from there may command now, and counts it if so. Who is on this machine
    /// shares no bucket with its neighbours.
    pub(crate) fn stranger_may_command(
        &mut self,
        now: Duration,
        holder: EntityId,
        from: Option<IpAddr>,
        tokens: usize,
    ) -> bool {
        let network = from.and_then(Network::of);
        let own = STRANGER.take(self.strangers.get(&holder), now, tokens);
        let near = network
            .map(|network| (NETWORK.take(self.networks.get(&network), now, tokens), network));
        let all = STRANGERS.take(self.all_strangers, now, tokens);
        let (Some(own), Some(all)) = (own, all) else { return false };
        if let Some((near, network)) = near {
            let Some(near) = near else { return false };
            self.networks.set(network, near);
        }
        self.strangers.set(holder, own);
        self.all_strangers = all;
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

    const fn milliseconds(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// How many of `tries` commands of one holder at one time are let through.
    fn through(pace: &mut Pace, now: u64, holder: u32, known: bool, tries: u32) -> usize {
        let now = milliseconds(now);
        let mut may = || match known {
            true => pace.may_command(now, key(holder), 1),
            false => pace.stranger_may_command(now, key(holder), None, 1),
        };
        (0..tries).filter(|_| may()).count()
    }

    #[test]
    fn one_holder() {
        let mut pace = Pace::default();
        // When, who, whether known, how many tries, how many of them go through.
        for (now, holder, known, tries, expected) in [
            (0, 1, false, 30, 20),
            (0, 2, false, 1, 1),
            (199, 1, false, 30, 0),
            (200, 1, false, 30, 1),
            (1200, 1, false, 30, 5),
            (1200, 3, true, 60_000, 50_000),
            (1201, 3, true, 60_000, 50),
            // Known now: what it did as a stranger is not held against it.
            (1201, 1, true, 60_000, 50_000),
            (9_999_999, 1, false, 30, 20),
        ] {
            let found = through(&mut pace, now, holder, known, tries);
            assert_eq!(found, expected, "{holder} at {now}");
        }
    }

    #[test]
    fn all_strangers_together_and_none_that_is_known() {
        let mut pace = Pace::default();
        let crowd = |pace: &mut Pace, now, from: u32| -> usize {
            (from..from + 1000).map(|number| through(pace, now, number, false, 1)).sum()
        };
        assert_eq!(crowd(&mut pace, 0, 0), 200);
        assert_eq!(crowd(&mut pace, 0, 5000), 0);
        assert_eq!(through(&mut pace, 0, 9999, true, 100), 100);
        assert_eq!(crowd(&mut pace, 500, 10_000), 100);
        // Who was stopped by the others has lost nothing of its own.
        assert_eq!(through(&mut pace, 3000, 5000, false, 30), 20);
    }

    /// However many keys are made at one address, they share what one network may do; others have theirs.
    #[test]
    fn strangers_of_one_network() {
        let mut pace = Pace::default();
        let mut crowd = |now, first: u32, from: &str| -> usize {
            let from = Some(from.parse().unwrap());
            let mut may =
                |number| pace.stranger_may_command(milliseconds(now), key(number), from, 1);
            (first..first + 1000).filter(|number| may(*number)).count()
        };
        assert_eq!(crowd(0, 0, "192.0.2.1"), 60);
        assert_eq!(crowd(0, 2000, "192.0.2.1"), 0);
        assert_eq!(crowd(0, 4000, "192.0.2.2"), 60);
        assert_eq!(crowd(1000, 6000, "192.0.2.1"), 40);
        assert_eq!(crowd(1000, 8000, "2001:db8::1"), 60);
        assert_eq!(crowd(1000, 9000, "2001:db8::2"), 0);
        assert_eq!(crowd(1000, 9000, "127.0.0.1"), 100, "what is left to all strangers");
    }

    /// What costs the keeper more takes more, and what takes more than all of a bucket empties it.
    #[test]
    fn commands_have_a_cost() {
        use fondaco_lcp::RequestId;
        let (id, amount) = (RequestId::new(1), fondaco_units::Amount::new(1));
        let mint = Request::Mint { id, to: key(1), amount };
        let open = Request::HoldOpen {
            id,
            payee: key(1),
            amount_max: amount,
            order: fondaco_crypto::Digest::ZERO,
            expires: fondaco_units::Timestamp::EPOCH,
            open_by: fondaco_units::Timestamp::EPOCH,
        };
        let limit = Request::AcceptAhead { id, balance_max: amount };
        for (request, bytes, expected) in [
            (&mint, 60, 1),
            (&mint, 1 << 20, 8192),
            (&open, 100, 20),
            (&open, 200, 21),
            (&limit, 26, 10),
        ] {
            assert_eq!(cost(request, bytes), expected, "{request:?}");
        }
        let mut pace = Pace::default();
        let mut through = |now, tokens| pace.may_command(milliseconds(now), key(1), tokens);
        assert!(through(0, 40_000) && !through(0, 10_001) && through(0, 10_000));
        assert!(!through(999, usize::MAX) && through(1000, usize::MAX) && !through(1000, 1));
    }
}
