//! What a broker answers, and what it keeps.

use fondaco_codec::List;
use fondaco_contract::{Asks, AsksError, AsksLimits, SignedAsk};
use fondaco_crypto::EntityId;
use fondaco_ports::offers::{PAGE_MAX, Reason, Request, Response};
use fondaco_units::Timestamp;
use std::net::IpAddr;

/// How many asks a broker keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerLimits {
    /// In all.
    pub asks_max: u32,
    /// Of one network: one IPv4 address, or one /64 of IPv6.
    pub asks_per_network_max: u32,
}

impl Default for BrokerLimits {
    /// 65,536 asks, half a kilobyte each; 64 of them of one network.
    fn default() -> Self {
        Self { asks_max: 1 << 16, asks_per_network_max: 64 }
    }
}

/// What happened at a broker since it is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Posts taken.
    pub posted: u64,
    /// Queries answered.
    pub queries: u64,
    /// Requests refused.
    pub refused: u64,
}

/// The core of a broker. See the [crate](crate) for the rules it keeps.
#[derive(Clone, Debug)]
pub struct Broker {
    since: Timestamp,
    limits: BrokerLimits,
    asks: Asks,
    counts: Counts,
}

impl Broker {
    /// Creates a broker that is up since `since`, and has no asks.
    pub const fn new(since: Timestamp, limits: BrokerLimits) -> Self {
        let asks = Asks::new(AsksLimits {
            asks_max: limits.asks_max as usize,
            asks_per_network_max: limits.asks_per_network_max as usize,
        });
        Self { since, limits, asks, counts: Counts { posted: 0, queries: 0, refused: 0 } }
    }

    /// Returns the asks.
    pub const fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Returns what happened so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Forgets the asks that are void at `now`; returns how many that were.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        self.asks.expire(now)
    }

    /// Counts a refusal that was decided elsewhere, and returns it.
    pub const fn refuse(&mut self, reason: Reason) -> Response {
        self.counts.refused = self.counts.refused.saturating_add(1);
        Response::Refused { reason }
    }

    /// Answers `request` of `peer`, who dialled from `network`; nothing stands for this machine.
    pub fn handle(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        network: Option<IpAddr>,
        request: Request,
    ) -> Response {
        match request {
            Request::Post { ask } => match self.post(now, peer, network, ask) {
                Ok(expires) => {
                    self.counts.posted = self.counts.posted.saturating_add(1);
                    Response::Posted { expires }
                }
                Err(reason) => self.refuse(reason),
            },
            Request::Query { sought, limit, after } => {
                self.counts.queries = self.counts.queries.saturating_add(1);
                let limit = usize::from(limit).min(PAGE_MAX);
                let page = self.asks.query(now, &sought, after, limit);
                Response::Asks {
                    list: List::new(page.asks).expect("the limit is at most that of the list"),
                    // Who asks for none, asks how many there are.
                    next: page.next,
                    count: u32::try_from(page.count).unwrap_or(u32::MAX),
                }
            }
            Request::Everybody { limit, after } => {
                self.counts.queries = self.counts.queries.saturating_add(1);
                let limit = usize::from(limit).min(PAGE_MAX);
                let (asks, next) = self.asks.everybody(now, after, limit);
                Response::Providers {
                    list: List::new(asks).expect("the limit is at most that of the list"),
                    next,
                    count: u32::try_from(self.asks.len()).unwrap_or(u32::MAX),
                }
            }
            Request::Find { provider } => {
                self.counts.queries = self.counts.queries.saturating_add(1);
                let ask = self.asks.get(provider).filter(|ask| ask.expires() > now);
                Response::Found { ask: ask.map(|ask| ask.signed().clone()) }
            }
            Request::Withdraw => {
                self.asks.remove(peer);
                Response::Withdrawn
            }
            Request::Status => {
                let Counts { posted, queries, refused } = self.counts;
                let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
                Response::Status {
                    up: now.since(self.since),
                    asks: count(self.asks.len()),
                    asks_max: self.limits.asks_max,
                    currencies: count(self.asks.currencies()),
                    posted,
                    queries,
                    refused,
                }
            }
        }
    }

    fn post(
        &mut self,
        now: Timestamp,
        peer: EntityId,
        network: Option<IpAddr>,
        ask: SignedAsk,
    ) -> Result<Timestamp, Reason> {
        // Before the signatures: they are what takes time.
        if ask.provider() != peer {
            return Err(Reason::NotYours);
        }
        let ask = ask.check(now).map_err(|why| Reason::Ask { why })?;
        let expires = ask.expires();
        self.asks.expire(now);
        self.asks.insert(network, ask).map_err(|error| match error {
            AsksError::Stale { issued } => Reason::Stale { issued },
            AsksError::Full { .. } => Reason::Full { asks_max: self.limits.asks_max },
            AsksError::NetworkFull { .. } => {
                Reason::NetworkFull { asks_max: self.limits.asks_per_network_max }
            }
        })?;
        Ok(expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_contract::{Ask, AskError, PriceList, PriceListError, Socket, Sought};
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_units::{Amount, Bytes, Duration, Price};
    use std::collections::BTreeSet;

    const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);

    fn key(who: u8) -> SecretKey {
        SecretKey::from_bytes(&[who; 32])
    }

    fn currency() -> CurrencyId {
        CurrencyId::issued_by(key(99).entity())
    }

    /// The ask of `who`, made so many seconds after noon and good for a minute.
    fn ask(who: u8, second: u64) -> SignedAsk {
        let issued = NOON.after(Duration::from_seconds(second));
        let prices = PriceList {
            provider: key(who).entity(),
            currency: currency(),
            open: Amount::new(1),
            store: Price::from_parts(u64::from(who)),
            write: Price::from_parts(1),
            read: Price::from_parts(1),
            capacity: Bytes::new(1 << 40),
            period_max: Duration::from_seconds(86_400),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 18),
            issued,
            expires: issued.after(Duration::from_seconds(60)),
        };
        let socket = Socket::new("192.0.2.7:4433".parse().unwrap()).unwrap();
        let sockets = List::new(vec![socket]).unwrap();
        Ask { prices: prices.sign(&key(who)), sockets, operator: None, region: None }
            .sign(&key(who))
    }

    /// Who posts which ask, when, from where; and what the broker says.
    #[test]
    fn who_may_post_what() {
        let mut broker = Broker::new(NOON, BrokerLimits { asks_max: 3, asks_per_network_max: 2 });
        let at = |second: u64| NOON.after(Duration::from_seconds(second));
        let posted = |second: u64| Response::Posted { expires: at(second + 60) };
        let refused = |reason| Response::Refused { reason };
        let forged = SignedAsk { signature: ask(2, 0).signature, ..ask(1, 0) };
        let expired = PriceListError::Expired { expires: at(60), now: at(60) };
        let (home, away) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        let table = [
            (1, ask(1, 5), 5, home, posted(5)),
            (1, ask(1, 5), 5, home, posted(5)),
            (1, ask(1, 4), 5, home, refused(Reason::Stale { issued: at(5) })),
            (2, ask(1, 6), 6, home, refused(Reason::NotYours)),
            (1, forged, 6, home, refused(Reason::Ask { why: AskError::Signature })),
            (
                1,
                ask(1, 0),
                60,
                home,
                refused(Reason::Ask { why: AskError::Prices { why: expired } }),
            ),
            (2, ask(2, 6), 6, home, posted(6)),
            (3, ask(3, 6), 6, home, refused(Reason::NetworkFull { asks_max: 2 })),
            (3, ask(3, 6), 6, away, posted(6)),
            (4, ask(4, 6), 6, away, refused(Reason::Full { asks_max: 3 })),
            (4, ask(4, 66), 66, away, posted(66)), // the others have expired by then
        ];
        for (peer, ask, now, network, expected) in table {
            let provider = ask.provider();
            let found = broker.handle(at(now), key(peer).entity(), network, Request::Post { ask });
            assert_eq!(found, expected, "{peer} posts {} at {now}", provider.short());
        }
        assert_eq!(broker.asks().len(), 1);
        assert_eq!(broker.counts(), Counts { posted: 5, queries: 0, refused: 6 });
    }

    /// Whoever asks gets the newest ask of one provider, as long as it is good; and of nobody else.
    #[test]
    fn one_provider_is_found_by_its_key() {
        let mut broker = Broker::new(NOON, BrokerLimits::default());
        let at = |second: u64| NOON.after(Duration::from_seconds(second));
        for (who, second) in [(1, 0), (2, 0), (1, 5)] {
            let post = Request::Post { ask: ask(who, second) };
            broker.handle(at(second), key(who).entity(), None, post);
        }
        for (who, now, expected) in [
            (1, 5, Some(ask(1, 5))),
            (2, 5, Some(ask(2, 0))),
            (3, 5, None),
            (1, 64, Some(ask(1, 5))),
            (2, 60, None), // void, though not forgotten yet
            (1, 65, None),
        ] {
            let find = Request::Find { provider: key(who).entity() };
            let found = broker.handle(at(now), key(200).entity(), None, find);
            assert_eq!(found, Response::Found { ask: expected }, "{who} at {now}");
        }
        assert_eq!(broker.counts(), Counts { posted: 3, queries: 6, refused: 0 });
    }

    #[test]
    fn queries_are_answered_page_by_page() {
        let mut broker = Broker::new(NOON, BrokerLimits::default());
        for who in (1..=70).rev() {
            broker.handle(NOON, key(who).entity(), None, Request::Post { ask: ask(who, 0) });
        }
        let sought = Sought::usual(currency());
        let mut page = |limit, after| {
            let query = Request::Query { sought, limit, after };
            match broker.handle(NOON, key(200).entity(), None, query) {
                Response::Asks { list, next, count } => (list.into_vec(), next, count),
                other => panic!("{other:?}"),
            }
        };
        let (first, next, count) = page(255, None);
        assert_eq!((first.len(), count), (PAGE_MAX, 70));
        let (second, end, count) = page(255, next);
        assert_eq!((second.len(), end, count), (6, None, 70));
        let providers: Vec<_> = first.iter().chain(&second).map(SignedAsk::provider).collect();
        let by_price: Vec<_> = (1..=70).map(|who| key(who).entity()).collect();
        assert_eq!(providers, by_price, "who asks least is first");
        assert_eq!(page(0, None), (vec![], None, 70));
        let mut everybody = |now, limit, after| {
            let query = Request::Everybody { limit, after };
            match broker.handle(now, key(200).entity(), None, query) {
                Response::Providers { list, next, count } => (list.into_vec(), next, count),
                other => panic!("{other:?}"),
            }
        };
        let (first, next, count) = everybody(NOON, 255, None);
        assert_eq!((first.len(), next.is_some(), count), (PAGE_MAX, true, 70));
        let (second, end, _) = everybody(NOON, 255, next);
        assert_eq!((second.len(), end), (6, None));
        let named: BTreeSet<_> = first.iter().chain(&second).map(SignedAsk::provider).collect();
        assert_eq!(named.len(), 70, "each once, by key");
        assert_eq!(everybody(NOON, 0, None), (vec![], None, 70));
        let late = NOON.after(Duration::from_seconds(60));
        assert_eq!(everybody(late, 255, None).0, [], "what is void is not shown");
        broker.handle(NOON, key(1).entity(), None, Request::Withdraw);
        broker.handle(NOON, key(1).entity(), None, Request::Withdraw);
        let status = broker.handle(
            NOON.after(Duration::from_seconds(9)),
            key(1).entity(),
            None,
            Request::Status,
        );
        let expected = Response::Status {
            up: Duration::from_seconds(9),
            asks: 69,
            asks_max: 65_536,
            currencies: 1,
            posted: 70,
            queries: 7,
            refused: 0,
        };
        assert_eq!(status, expected);
    }
}
