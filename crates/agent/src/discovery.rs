//! Find providers: ask brokers what is for sale, believe none of them, and merge what they say.
//!
//! ```text
//! brokers ──► pages of asks, all at once ──► signature, limits, time ──► the newest of each provider ──► sorted, capped
//! ```
//!
//! # What always holds
//!
//! - An ask is taken only as its provider signed it, so a broker can hold back, and neither invent nor change.
//! - A broker that is away or answers nonsense costs its own part, a bounded time, and nothing else.
//! - What is taken is bounded: [`ASKS_MAX`] of each broker, [`HOSTS_MAX`] in the end, [`HOSTS_PER_NETWORK_MAX`] of one
//!   network, so that nobody fills the market with keys of his own.

use crate::{Agent, AgentError, Wish};
use fondaco_contract::{
    AskError, CheckedAsk, Label, Place, PriceList, PriceListError, SignedAsk, SignedPriceList,
    Sought,
};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_ports::Address;
use fondaco_ports::market::Frame as _;
use fondaco_ports::offers::{PAGE_MAX, Reason, Request, Response};
use fondaco_transport::{CloseReason, Connection, Endpoint, Protocol, TransportError};
use fondaco_units::{Bytes, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::task::JoinSet;

/// The most brokers that are asked at once.
pub const BROKERS_MAX: usize = 8;
/// The most asks that are taken from one broker: the cheapest.
pub const ASKS_MAX: usize = 512;
/// The most hosts that are looked at for one choice.
pub const HOSTS_MAX: usize = 160;
/// The most of these of one network: an IPv4 /24 or an IPv6 /48 of the public Internet.
pub const HOSTS_PER_NETWORK_MAX: usize = 8;

/// The most providers that are taken from one broker when all are asked for.
pub const EVERYBODY_MAX: usize = 4096;

/// How long a broker may take over all its pages.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to name everybody, and the pause after it said that it is asked too often.
const EVERYBODY_TIMEOUT: Duration = Duration::from_secs(60);
const BUSY_PAUSE: Duration = Duration::from_millis(250);
/// The share of what is to be stored that one host must have room for, to be looked at: codes rarely have fewer parts.
const SHARE: u64 = 8;

/// What one broker said.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Which broker.
    pub broker: EntityId,
    /// How many asks it says fit, and how many of them were taken; or why it could not be heard.
    pub said: Result<(usize, usize), String>,
    /// Why one of its asks was left out, if that was for its time: of many it is the clock here that is wrong.
    pub untimely: Option<AskError>,
}

/// What was taken from one broker.
#[derive(Default)]
struct Taken {
    asks: Vec<CheckedAsk>,
    untimely: Option<AskError>,
}

impl Taken {
    /// Takes an ask that is good at `now`, if it fits.
    fn take(&mut self, ask: SignedAsk, now: Timestamp, fits: impl Fn(&CheckedAsk) -> bool) {
        match ask.check(now) {
            Ok(ask) if fits(&ask) => self.asks.push(ask),
            Ok(_) => {}
            Err(error) => {
                tracing::info!(%error, "an ask is left out");
                if let AskError::Prices {
                    why: PriceListError::Early { .. } | PriceListError::Expired { .. },
                } = error
                {
                    self.untimely.get_or_insert(error);
                }
            }
        }
    }
}

/// What is for sale, as far as brokers told.
#[derive(Clone, Debug, Default)]
pub struct Market {
    /// Checked asks, the newest of each provider, the best first.
    pub asks: Vec<CheckedAsk>,
    /// What each broker said, in the order they were named.
    pub heard: Vec<Heard>,
}

impl Market {
    /// Returns how many brokers answered.
    pub fn answered(&self) -> usize {
        self.heard.iter().filter(|heard| heard.said.is_ok()).count()
    }

    /// Returns why an ask was left out, if one was for its time.
    pub fn untimely(&self) -> Option<AskError> {
        untimely(&self.heard)
    }

    /// Returns how many asks there are: those not shown too, as the broker with the most says.
    pub fn count(&self) -> usize {
        let said = self.heard.iter().filter_map(|heard| heard.said.as_ref().ok());
        said.map(|(count, _)| *count).max().unwrap_or(0).max(self.asks.len())
    }
}

/// Returns why an ask was left out that one of these brokers showed, if one was for its time.
pub fn untimely(heard: &[Heard]) -> Option<AskError> {
    heard.iter().find_map(|heard| heard.untimely)
}

/// Asks `brokers` what fits `sought`, and checks it at `now`.
pub async fn look(
    endpoint: &Endpoint,
    brokers: &[Address],
    sought: &Sought,
    now: Timestamp,
) -> Market {
    let mut asking = JoinSet::new();
    for (index, broker) in brokers.iter().take(BROKERS_MAX).enumerate() {
        let (endpoint, broker, sought) = (endpoint.clone(), broker.clone(), *sought);
        asking.spawn(async move {
            let mut taken = Taken::default();
            let work = pages(&endpoint, &broker, &sought, now, &mut taken);
            let said = match tokio::time::timeout(BROKER_TIMEOUT, work).await {
                Ok(Ok(count)) => Ok((count, taken.asks.len())),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("it did not answer in {} s", BROKER_TIMEOUT.as_secs())),
            };
            // What it told before it broke off is as good as any.
            let Taken { asks, untimely } = taken;
            (index, Heard { broker: broker.entity(), said, untimely }, asks)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, _, _)| *index);
    let mut market = Market::default();
    let mut asks = Vec::new();
    for (_, heard, taken) in answers {
        market.heard.push(heard);
        asks.extend(taken);
    }
    market.asks = merge(sought, asks);
    market
}

/// Asks one broker page by page; returns how many fit in all.
async fn pages(
    endpoint: &Endpoint,
    broker: &Address,
    sought: &Sought,
    now: Timestamp,
    taken: &mut Taken,
) -> Result<usize, AgentError> {
    let connection = endpoint.connect(broker, Protocol::Offers).await?;
    let mut after: Option<Place> = None;
    let mut seen = 0;
    loop {
        #[allow(clippy::cast_possible_truncation)] // 64
        let request = Request::Query { sought: *sought, limit: PAGE_MAX as u8, after };
        let Response::Asks { list, next, count } = ask(&connection, &request).await? else {
            let what = "no list of asks".to_owned();
            return Err(AgentError::Misanswer { peer: broker.entity(), what });
        };
        seen += list.as_slice().len();
        for ask in list.into_vec() {
            taken.take(ask, now, |ask| sought.rate(ask.prices()).is_some());
        }
        match next {
            // A broker that goes back, or sends nothing, is not asked for ever.
            Some(next) if seen < ASKS_MAX && after.is_none_or(|after| next > after) => {
                after = Some(next);
            }
            _ => {
                connection.close(CloseReason::Done);
                return Ok(count as usize);
            }
        }
    }
}

/// Sends one request to a broker, over a connection of its own.
pub(crate) async fn ask_once(
    endpoint: &Endpoint,
    broker: &Address,
    request: &Request,
) -> Result<Response, AgentError> {
    let connection = endpoint.connect(broker, Protocol::Offers).await?;
    let response = ask(&connection, request).await;
    connection.close(CloseReason::Done);
    response
}

/// Asks a broker how it is.
pub async fn broker_status(endpoint: &Endpoint, broker: &Address) -> Result<Response, AgentError> {
    ask_once(endpoint, broker, &Request::Status).await
}

async fn ask(connection: &Connection, request: &Request) -> Result<Response, AgentError> {
    let broker = connection.peer();
    let mut stream = connection.open().await?;
    stream.send_bytes(&request.to_frame()).await?;
    stream.finish();
    let frame = stream.recv_bytes(Response::FRAME_MAX).await?.ok_or_else(|| {
        AgentError::Misanswer { peer: broker, what: "it ended the stream".to_owned() }
    })?;
    match Response::from_frame(&frame) {
        Ok(Response::Refused { reason }) => Err(AgentError::Broker { broker, reason }),
        Ok(response) => Ok(response),
        Err(error) => Err(AgentError::Misanswer { peer: broker, what: error.to_string() }),
    }
}

/// Asks `hosts` themselves for what fits `sought`, at `now`; those that do not answer are left out.
pub async fn ask_hosts(
    endpoint: &Endpoint,
    hosts: &[Address],
    sought: &Sought,
    now: Timestamp,
) -> Vec<(Address, PriceList)> {
    let mut asking = JoinSet::new();
    for (index, host) in hosts.iter().take(HOSTS_MAX).enumerate() {
        let (endpoint, host) = (endpoint.clone(), host.clone());
        asking.spawn(async move {
            let list = crate::session::offer(&endpoint, &host).await;
            (index, host, list)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, _, _)| *index);
    let good = |(_, host, list): (usize, Address, Result<SignedPriceList, AgentError>)| {
        let list = list.ok().filter(|list| list.verify(now).is_ok())?.prices;
        let fits = list.provider == host.entity() && sought.rate(&list).is_some();
        fits.then_some((host, list))
    };
    answers.into_iter().filter_map(good).collect()
}

/// Asks `brokers` for all providers they know, whatever they sell; returns where these are by their newest asks, good at
/// `now`, and what each broker said.
pub async fn everybody(
    endpoint: &Endpoint,
    brokers: &[Address],
    now: Timestamp,
) -> (Vec<Address>, Vec<Heard>) {
    let mut asking = JoinSet::new();
    for (index, broker) in brokers.iter().take(BROKERS_MAX).enumerate() {
        let (endpoint, broker) = (endpoint.clone(), broker.clone());
        asking.spawn(async move {
            let mut taken = Taken::default();
            let work = all_pages(&endpoint, &broker, now, &mut taken);
            let said = match tokio::time::timeout(EVERYBODY_TIMEOUT, work).await {
                Ok(Ok(count)) => Ok((count, taken.asks.len())),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("it did not answer in {} s", EVERYBODY_TIMEOUT.as_secs())),
            };
            let Taken { asks, untimely } = taken;
            (index, Heard { broker: broker.entity(), said, untimely }, asks)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, _, _)| *index);
    let (mut heard, mut asks) = (Vec::new(), Vec::new());
    for (_, one, taken) in answers {
        heard.push(one);
        asks.extend(taken);
    }
    (newest(asks).values().map(address_of).collect(), heard)
}

/// Asks a broker where `provider` is; returns its address by an ask that is good at `now`, if there is one.
///
/// # Errors
///
/// The broker cannot be reached in time, or does not understand.
pub(crate) async fn whereabouts(
    endpoint: &Endpoint,
    broker: &Address,
    provider: EntityId,
    now: Timestamp,
) -> Result<Option<Address>, AgentError> {
    let (peer, operation, timeout) = (broker.entity(), "answer", BROKER_TIMEOUT);
    let late = AgentError::Transport(TransportError::TimedOut { peer, operation, timeout });
    let request = Request::Find { provider };
    let asked = tokio::time::timeout(timeout, ask_once(endpoint, broker, &request)).await;
    match asked.unwrap_or(Err(late))? {
        // An ask is its provider's own, whoever shows it; one of somebody else is no answer.
        Response::Found { ask } => {
            let ask = ask.and_then(|ask| ask.check(now).ok());
            let ask = ask.filter(|ask| ask.provider() == provider);
            Ok(ask.as_ref().map(address_of))
        }
        other => {
            let mut what = format!("{other:?}");
            what.truncate(what.floor_char_boundary(60));
            Err(AgentError::Misanswer { peer, what })
        }
    }
}

/// Asks one broker page by page for everybody; returns how many there are in all.
async fn all_pages(
    endpoint: &Endpoint,
    broker: &Address,
    now: Timestamp,
    taken: &mut Taken,
) -> Result<usize, AgentError> {
    let connection = endpoint.connect(broker, Protocol::Offers).await?;
    let mut after: Option<EntityId> = None;
    let mut seen = 0;
    loop {
        #[allow(clippy::cast_possible_truncation)] // 64
        let request = Request::Everybody { limit: PAGE_MAX as u8, after };
        let (list, next, count) = match ask(&connection, &request).await {
            Ok(Response::Providers { list, next, count }) => (list, next, count),
            // It lets one key ask only so often.
            Err(AgentError::Broker { reason: Reason::Busy, .. }) => {
                tokio::time::sleep(BUSY_PAUSE).await;
                continue;
            }
            Ok(_) => {
                let what = "no list of providers".to_owned();
                return Err(AgentError::Misanswer { peer: broker.entity(), what });
            }
            Err(error) => return Err(error),
        };
        let here = list.as_slice().len();
        seen += here;
        list.into_vec().into_iter().for_each(|ask| taken.take(ask, now, |_| true));
        match next {
            // A broker that goes back, or sends nothing, is not asked for ever.
            Some(next)
                if here > 0 && seen < EVERYBODY_MAX && after.is_none_or(|after| next > after) =>
            {
                after = Some(next);
            }
            _ => {
                connection.close(CloseReason::Done);
                return Ok(count as usize);
            }
        }
    }
}

/// Keeps the newest ask of each provider.
fn newest(asks: Vec<CheckedAsk>) -> BTreeMap<EntityId, CheckedAsk> {
    let mut newest: BTreeMap<EntityId, CheckedAsk> = BTreeMap::new();
    for ask in asks {
        let newer =
            |kept: &CheckedAsk| (ask.issued(), ask.digest()) > (kept.issued(), kept.digest());
        if newest.get(&ask.provider()).is_none_or(newer) {
            newest.insert(ask.provider(), ask);
        }
    }
    newest
}

/// Keeps the newest ask of each provider, and sorts them. The order they came in does not matter.
fn merge(sought: &Sought, asks: Vec<CheckedAsk>) -> Vec<CheckedAsk> {
    let mut placed: Vec<(Place, CheckedAsk)> = newest(asks)
        .into_values()
        .filter_map(|ask| Some((Place::of(sought, &ask)?, ask)))
        .collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, ask)| ask).collect()
}

/// Returns where the provider of an ask is dialled.
pub fn address_of(ask: &CheckedAsk) -> Address {
    let sockets = ask.ask().sockets.as_slice().iter().map(|socket| socket.get());
    Address::new(ask.provider(), sockets)
}

/// Chooses at most [`HOSTS_MAX`] of `asks`, in order, and of one network no more than [`HOSTS_PER_NETWORK_MAX`].
pub fn hosts(asks: &[CheckedAsk]) -> Vec<Address> {
    let mut networks: BTreeMap<IpAddr, usize> = BTreeMap::new();
    let mut hosts = Vec::new();
    for address in asks.iter().map(address_of) {
        // One that names several networks counts in each, so that it cannot choose where.
        let of: BTreeSet<IpAddr> =
            address.sockets().iter().filter_map(|socket| network(socket.ip())).collect();
        let full = |at: &IpAddr| networks.get(at).is_some_and(|&n| n >= HOSTS_PER_NETWORK_MAX);
        if of.iter().any(full) {
            continue;
        }
        for at in of {
            *networks.entry(at).or_default() += 1;
        }
        hosts.push(address);
        if hosts.len() == HOSTS_MAX {
            break;
        }
    }
    hosts
}

/// Returns what an operator may have all of: nothing for a machine of one's own network.
fn network(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_private() => None,
        IpAddr::V4(ip) => Some(Ipv4Addr::from_bits(ip.to_bits() & !0xff).into()),
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unique_local() => None,
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() & (!0 << 80)).into()),
    }
}

/// Returns whether the provider of an ask says that it stands in one of `regions`; in any, if none is named.
pub fn is_in(ask: &CheckedAsk, regions: &[Label]) -> bool {
    regions.is_empty() || ask.ask().region.as_ref().is_some_and(|region| regions.contains(region))
}

/// What to look for so that `wish` can be placed: room for one host's part of it.
pub fn sought(currency: CurrencyId, wish: &Wish) -> Sought {
    let size = Bytes::new(wish.bytes.get().div_ceil(SHARE)).checked_add(crate::opening::SLACK);
    Sought { currency, size: size.unwrap_or(Bytes::MAX), epochs: wish.epochs }
}

impl Agent {
    /// Asks `brokers` for hosts that may serve `wish`, and that stand in one of `regions` by their own word, if some are
    /// named; returns them, the cheapest first, and what was heard. Who says who runs a host is believed from then on: so far
    /// that no operator gets too much.
    pub async fn discover(
        &self,
        brokers: &[Address],
        currency: CurrencyId,
        wish: &Wish,
        regions: &[Label],
    ) -> (Vec<Address>, Market) {
        let sought = sought(currency, wish);
        let mut market = look(&self.endpoint, brokers, &sought, self.clock.now()).await;
        market.asks.retain(|ask| is_in(ask, regions));
        let operators = market.asks.iter().filter_map(|ask| {
            let operator = ask.ask().operator.clone()?;
            Some((ask.provider(), operator))
        });
        self.operators.lock().expect("no panic under this lock").extend(operators);
        (hosts(&market.asks), market)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::List;
    use fondaco_contract::{Ask, Socket};
    use fondaco_crypto::SecretKey;
    use fondaco_units::{Amount, Price};
    use proptest::{collection::vec, prelude::*};

    const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);

    fn currency() -> CurrencyId {
        CurrencyId::issued_by(SecretKey::from_bytes(&[99; 32]).entity())
    }

    fn offer(who: u8, second: u64, store: u64, socket: &str) -> CheckedAsk {
        let key = SecretKey::from_bytes(&[who; 32]);
        let issued = NOON.after(fondaco_units::Duration::from_seconds(second));
        let hour = fondaco_units::Duration::from_seconds(3600);
        let prices = PriceList {
            provider: key.entity(),
            currency: currency(),
            open: Amount::new(1),
            store: Price::from_parts(store),
            write: Price::from_parts(1),
            read: Price::from_parts(1),
            capacity: Bytes::new(1 << 40),
            period_max: hour,
            epoch: hour,
            step_max: Bytes::new(1 << 18),
            issued,
            expires: issued.after(hour),
        };
        let sockets = List::new(vec![Socket::new(socket.parse().unwrap()).unwrap()]).unwrap();
        let ask = Ask { prices: prices.sign(&key), sockets, operator: None, region: None };
        ask.sign(&key).check(issued).unwrap()
    }

    #[test]
    fn networks() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.200", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", true),
            ("2001:db8::1", "2001:db8:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.9", true),
        ] {
            let [one, other] = [one, other].map(|ip| network(ip.parse().unwrap()));
            assert_eq!(one == other, same, "{one:?} {other:?}");
        }
        for own in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "::1", "fd00::1"] {
            assert_eq!(network(own.parse().unwrap()), None, "{own}");
        }
    }

    #[test]
    fn asks_that_are_left_out_for_their_time_are_noted() {
        let ask = offer(1, 0, 1, "192.0.2.1:1").signed().clone();
        let other = offer(2, 0, 1, "192.0.2.2:1").signed().clone();
        let forged = SignedAsk { signature: other.signature, ..ask.clone() };
        let hours = |hours: u64| NOON.after(fondaco_units::Duration::from_seconds(hours * 3600));
        let day_before = Timestamp::from_milliseconds(NOON.milliseconds() - 86_400_000);
        for (ask, now, taken, untimely) in [
            (&ask, NOON, 1, false),
            (&ask, hours(24), 0, true),
            (&ask, day_before, 0, true),
            (&forged, NOON, 0, false),
            (&forged, hours(24), 0, false),
        ] {
            let mut all = Taken::default();
            all.take(ask.clone(), now, |_| true);
            assert_eq!((all.asks.len(), all.untimely.is_some()), (taken, untimely), "{now}");
        }
    }

    #[test]
    fn one_network_does_not_fill_the_choice() {
        let crowd = |range: std::ops::RangeInclusive<u8>, network: &str| -> Vec<CheckedAsk> {
            range.map(|who| offer(who, 0, 1, &format!("{network}.{who}:1"))).collect()
        };
        let asks = [crowd(1..=50, "192.0.2"), crowd(51..=53, "192.0.3")].concat();
        let chosen = hosts(&asks);
        assert_eq!(chosen.len(), HOSTS_PER_NETWORK_MAX + 3);
        assert_eq!(hosts(&crowd(1..=50, "127.0.0")).len(), 50);
        let many: Vec<CheckedAsk> =
            (1..=200).map(|who| offer(who, 0, 1, &format!("198.{who}.0.1:1"))).collect();
        assert_eq!(hosts(&many).len(), HOSTS_MAX);
    }

    proptest! {
        /// However the asks of several brokers come together, the newest of each provider is left, and sorted by price.
        #[test]
        fn merging_does_not_depend_on_order(
            offers in vec((1..6_u8, 0..5_u64, 1..5_u64), 0..30), turn in 0..30_usize,
        ) {
            let asks: Vec<CheckedAsk> =
                offers.iter().map(|&(who, second, store)| offer(who, second, store, "192.0.2.1:1")).collect();
            let mut turned = asks.clone();
            turned.reverse();
            let middle = turn.min(turned.len());
            turned.rotate_left(middle);
            let sought = Sought::usual(currency());
            let merged = merge(&sought, asks);
            prop_assert_eq!(&merged, &merge(&sought, turned));
            for ask in &merged {
                let newest = offers.iter().filter(|(who, _, _)| {
                    SecretKey::from_bytes(&[*who; 32]).entity() == ask.provider()
                }).map(|(_, second, _)| *second).max().unwrap();
                prop_assert_eq!(ask.issued(), NOON.after(fondaco_units::Duration::from_seconds(newest)));
            }
            let rates: Vec<_> = merged.iter().map(|ask| sought.rate(ask.prices()).unwrap()).collect();
            prop_assert!(rates.is_sorted());
        }
    }
}
