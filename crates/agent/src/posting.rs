//! Show a provider's ask at brokers: post it, post it again before it expires, take it back at the end.
//!
//! ```text
//! every ROUND: look at what others ask ──► move the prices, if they follow ──► sign the ask ──► post it everywhere
//!                                                                              │ a broker is away
//!                                                                              └──► again after 1 s, 2 s, … BACKOFF_MAX
//! stop: withdraw, for at most WITHDRAW_TIMEOUT
//! ```
//!
//! Service is not disturbed by any of it: it runs beside, and nothing waits for it but the end.

use crate::AgentError;
use crate::discovery::{ASKS_MAX, ask_hosts, ask_once, look};
use fondaco_codec::List;
use fondaco_contract::{
    ASK_SOCKETS_MAX, Ask, AutoPrice, CheckedAsk, Factor, Label, Place, PriceList, Rank, Rate,
    SignedAsk, SignedPriceList, Socket, Sought,
};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_ports::offers::{Reason, Request, Response};
use fondaco_ports::{Address, Clock};
use fondaco_transport::Endpoint;
use fondaco_units::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often an ask is posted anew, and the prices looked at: a broker that lost its asks has them back within this.
pub const ROUND: Duration = Duration::from_secs(600);
/// The longest pause between two tries to reach a broker.
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// How long the end waits for brokers to be told.
pub const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the prices of a provider are read and moved.
pub trait Prices: Send + Sync {
    /// Signs what is sold now.
    fn signed(&self) -> SignedPriceList;
    /// Returns what is sold now at the prices that the seller wrote down.
    fn list(&self) -> PriceList;
    /// Returns by what these are multiplied.
    fn factor(&self) -> Factor;
    /// Multiplies them from now on.
    fn set_factor(&self, factor: Factor);
}

/// Finds hosts and brokers that announce themselves nearby. It may block.
pub type Neighbours = Arc<dyn Fn() -> (Vec<Address>, Vec<Address>) + Send + Sync>;

/// What a provider shows at brokers.
pub struct Posting {
    /// The provider's key.
    pub key: SecretKey,
    /// The way to the brokers.
    pub endpoint: Endpoint,
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// The brokers; there may be none, where the provider only wants to see what others ask.
    pub brokers: Vec<Address>,
    /// Further brokers that are asked what others ask, and shown nothing.
    pub watched: Vec<Address>,
    /// Who else announces himself nearby, if that is to be seen.
    pub neighbours: Option<Neighbours>,
    /// The prices.
    pub prices: Arc<dyn Prices>,
    /// Whether they follow the others, and how far down.
    pub auto: Option<AutoPrice>,
    /// Sockets that others reach it at, where this machine does not know them itself.
    pub announced: Vec<SocketAddr>,
    /// Who runs it.
    pub operator: Option<Label>,
    /// Where it stands.
    pub region: Option<Label>,
}

impl std::fmt::Debug for Posting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Posting").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// What a seller wants to hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A broker shows the ask; said once, and again after it was away.
    Shown {
        /// Which broker.
        broker: EntityId,
    },
    /// A broker does not; said once until it does.
    Away {
        /// Which broker.
        broker: EntityId,
        /// Why.
        why: String,
    },
    /// Where the provider stands among the others; said at every look.
    Standing {
        /// Where that is.
        standing: Standing,
        /// When the others were looked at.
        at: Timestamp,
        /// Whether it is another than at the look before.
        is_news: bool,
    },
}

/// Where a provider stands at its present prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its place; nothing while it has no room for what is usual.
    pub rank: Option<Rank>,
    /// By what its prices are multiplied.
    pub factor: Factor,
    /// The price of keeping a GiB through an epoch, and the rest.
    pub prices: PriceList,
}

/// How things stand with one broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    /// When to try next.
    due: Duration,
    /// How often it failed since it last did not.
    failures: u32,
    /// Whether it shows the ask, as far as is known.
    shown: bool,
}

impl Turn {
    /// Notes what came of a try; returns whether that is news.
    fn tried(&mut self, now: Duration, done: bool) -> bool {
        let news = if done { !self.shown } else { self.failures == 0 };
        if done {
            *self = Self { due: Duration::MAX, failures: 0, shown: true };
        } else {
            let pause = Duration::from_secs(1).saturating_mul(1 << self.failures.min(16));
            self.due = now + pause.min(BACKOFF_MAX);
            self.failures = self.failures.saturating_add(1);
            self.shown = false;
        }
        news
    }
}

impl Posting {
    /// Shows the ask until `stop` is done, and tells what a seller wants to hear.
    pub async fn run(self, stop: impl Future<Output = ()>, tell: impl Fn(Told)) {
        tokio::pin!(stop);
        let started = Instant::now();
        let mut turns = vec![Turn::default(); self.brokers.len()];
        let mut round = Duration::ZERO;
        let mut told = None;
        loop {
            let now = started.elapsed();
            let step = async {
                if now >= round {
                    turns.iter_mut().for_each(|turn| turn.due = Duration::ZERO);
                    round = now + ROUND;
                    if self.auto.is_none() {
                        // Nothing that is seen changes the ask: who is silent need not be waited for.
                        self.post_due(now, &mut turns, &tell).await;
                    }
                    let standing = self.look_round().await;
                    let is_news = told.replace(standing) != Some(standing);
                    tell(Told::Standing { standing, at: self.clock.now(), is_news });
                }
                self.post_due(now, &mut turns, &tell).await;
            };
            tokio::select! {
                () = &mut stop => break,
                () = step => {}
            }
            let next = turns.iter().map(|turn| turn.due).min().unwrap_or(round).min(round);
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep(next.saturating_sub(started.elapsed())) => {}
            }
        }
        // Also where a post was on its way when the end came.
        let _ = tokio::time::timeout(WITHDRAW_TIMEOUT, self.withdraw()).await;
    }

    /// Signs the ask as it is now.
    pub fn ask(&self) -> SignedAsk {
        let address = self.endpoint.address();
        let (prices, operator, region) =
            (self.prices.signed(), self.operator.clone(), self.region.clone());
        let sockets = sockets(&self.announced, address.sockets());
        Ask { prices, sockets, operator, region }.sign(&self.key)
    }

    /// Looks at what others ask, moves the prices, and says where that brings this provider.
    async fn look_round(&self) -> Standing {
        let now = self.clock.now();
        let list = self.prices.list();
        let usual = Sought::usual(list.currency);
        let own = self.key.entity();
        let (mut near, brokers) = match &self.neighbours {
            None => Default::default(),
            Some(find) => {
                let find = Arc::clone(find);
                tokio::task::spawn_blocking(move || find()).await.unwrap_or_default()
            }
        };
        let mut asked = self.brokers.clone();
        for broker in self.watched.iter().chain(&brokers) {
            if !asked.iter().any(|each| each.entity() == broker.entity()) {
                asked.push(broker.clone());
            }
        }
        let market = look(&self.endpoint, &asked, &usual, now).await;
        let others: Vec<&CheckedAsk> =
            market.asks.iter().filter(|ask| ask.provider() != own).take(ASKS_MAX).collect();
        // Those nearby that no broker tells of are asked themselves.
        let is_known = |host: EntityId| others.iter().any(|ask| ask.provider() == host);
        near.retain(|host| host.entity() != own && !is_known(host.entity()));
        let near: Vec<PriceList> = ask_hosts(&self.endpoint, &near, &usual, now)
            .await
            .into_iter()
            .map(|(_, prices)| prices)
            .collect();
        if let Some(auto) = self.auto {
            let others = others.iter().map(|ask| ask.prices()).chain(&near);
            let rates: Vec<Rate> = others.filter_map(|prices| usual.rate(prices)).collect();
            let factor = auto.follow(&list, self.prices.factor(), &rates);
            if factor != self.prices.factor() {
                tracing::info!(millionths = factor.millionths(), "prices follow the others");
                self.prices.set_factor(factor);
            }
        }
        let factor = self.prices.factor();
        let checked = self.ask().check(self.clock.now());
        // Of a large market only the cheapest part was seen.
        let hidden = market.count().saturating_sub(market.asks.len());
        let rank = checked.ok().and_then(|ask| rank(&usual, &ask, &others, &near));
        let rank = rank.map(|rank| Rank { of: rank.of + hidden, ..rank });
        // Without the room and times, which change all the time and are no news.
        let prices = PriceList {
            capacity: fondaco_units::Bytes::ZERO,
            issued: fondaco_units::Timestamp::EPOCH,
            expires: fondaco_units::Timestamp::EPOCH,
            ..factor.apply(list)
        };
        Standing { rank, factor, prices }
    }

    /// Posts the ask wherever it is due.
    async fn post_due(&self, now: Duration, turns: &mut [Turn], tell: &impl Fn(Told)) {
        let due: Vec<usize> = (0..turns.len()).filter(|&index| turns[index].due <= now).collect();
        if due.is_empty() {
            return;
        }
        let ask = self.ask();
        let mut posting = JoinSet::new();
        for index in due {
            let (endpoint, broker, ask) =
                (self.endpoint.clone(), self.brokers[index].clone(), ask.clone());
            posting.spawn(async move { (index, post(&endpoint, &broker, ask).await) });
        }
        while let Some(Ok((index, done))) = posting.join_next().await {
            let broker = self.brokers[index].entity();
            let news = turns[index].tried(now, done.is_ok());
            match done {
                Ok(()) if news => tell(Told::Shown { broker }),
                Ok(()) => {}
                Err(error) => {
                    tracing::info!(broker = %broker.short(), %error, "the ask is not shown");
                    if news {
                        tell(Told::Away { broker, why: error.to_string() });
                    }
                }
            }
        }
    }

    async fn withdraw(&self) {
        let mut asking = JoinSet::new();
        for broker in self.brokers.clone() {
            let endpoint = self.endpoint.clone();
            asking.spawn(async move {
                if let Err(error) = ask_once(&endpoint, &broker, &Request::Withdraw).await {
                    tracing::debug!(%error, "a broker was not told of the end");
                }
            });
        }
        asking.join_all().await;
    }
}

/// Ranks `own` among the asks that brokers showed, and the price lists of hosts that were asked themselves: these have no ask
/// to compare digests of, so of two that are alike to the millisecond `own` is before.
fn rank(
    usual: &Sought,
    own: &CheckedAsk,
    others: &[&CheckedAsk],
    near: &[PriceList],
) -> Option<Rank> {
    let place = Place::of(usual, own)?;
    let Rank { rank, of } = Rank::among(usual, own, others.iter().copied())?;
    let near = near.iter().filter_map(|prices| Some((usual.rate(prices)?, prices.issued)));
    let (before, behind): (Vec<_>, Vec<_>) =
        near.partition(|&near| near < (place.rate, place.issued));
    Some(Rank { rank: rank + before.len(), of: of + before.len() + behind.len() })
}

/// Posts an ask. One that is shown from a time to come, by a clock that was set back since, is taken back first.
async fn post(endpoint: &Endpoint, broker: &Address, ask: SignedAsk) -> Result<(), AgentError> {
    let request = Request::Post { ask };
    let answer = match ask_once(endpoint, broker, &request).await {
        Err(AgentError::Broker { reason: Reason::Stale { .. }, .. }) => {
            ask_once(endpoint, broker, &Request::Withdraw).await?;
            ask_once(endpoint, broker, &request).await?
        }
        answer => answer?,
    };
    match answer {
        Response::Posted { .. } => Ok(()),
        other => {
            let mut what = format!("{other:?}");
            what.truncate(what.floor_char_boundary(60));
            Err(AgentError::Misanswer { peer: broker.entity(), what })
        }
    }
}

/// Chooses what an ask names: what was announced, then what others can dial; loopback only where there is nothing else.
fn sockets(announced: &[SocketAddr], own: &[SocketAddr]) -> List<Socket, ASK_SOCKETS_MAX> {
    let mut chosen: Vec<Socket> = Vec::new();
    for &socket in announced.iter().chain(own) {
        if let Some(socket) = Socket::new(socket)
            && !chosen.contains(&socket)
        {
            chosen.push(socket);
        }
    }
    if chosen.iter().any(|socket| !socket.get().ip().is_loopback()) {
        chosen.retain(|socket| !socket.get().ip().is_loopback());
    }
    chosen.truncate(ASK_SOCKETS_MAX);
    List::new(chosen).expect("it was cut to what fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_away_is_tried_less_and_less() {
        let mut turn = Turn::default();
        let mut now = Duration::ZERO;
        let mut pauses = vec![];
        for number in 0..40 {
            assert_eq!(turn.tried(now, false), number == 0, "told once");
            pauses.push((turn.due - now).as_secs());
            now = turn.due;
        }
        assert_eq!(pauses[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert!(pauses[10..].iter().all(|&pause| pause == 300));
        assert!(turn.tried(now, true), "it is back");
        assert!(!turn.tried(now, true));
        assert_eq!(turn.due, Duration::MAX, "until the next round");
        assert!(turn.tried(now, false));
        assert_eq!((turn.due - now).as_secs(), 1, "forgiven");
    }

    #[test]
    fn who_is_asked_himself_counts_as_who_is_shown() {
        let key = |name: u8| SecretKey::from_bytes(&[name; 32]);
        let currency = fondaco_crypto::CurrencyId::issued_by(key(9).entity());
        let list = |name: u8, store: u64, issued: u64| PriceList {
            provider: key(name).entity(),
            currency,
            open: fondaco_units::Amount::ZERO,
            store: fondaco_units::Price::from_parts(store),
            write: fondaco_units::Price::from_parts(0),
            read: fondaco_units::Price::from_parts(0),
            capacity: fondaco_units::Bytes::new(1 << 40),
            period_max: fondaco_units::Duration::from_seconds(86_400),
            epoch: fondaco_units::Duration::from_seconds(3600),
            step_max: fondaco_units::Bytes::new(1 << 18),
            issued: Timestamp::from_milliseconds(issued),
            expires: Timestamp::from_milliseconds(1 << 20),
        };
        let ask = |name: u8, store: u64, issued: u64| {
            let prices = list(name, store, issued).sign(&key(name));
            let sockets = sockets(&[], &["192.0.2.1:1".parse().unwrap()]);
            let signed = Ask { prices, sockets, operator: None, region: None }.sign(&key(name));
            signed.check(Timestamp::from_milliseconds(1000)).unwrap()
        };
        let usual = Sought::usual(currency);
        // The own price; what brokers show, and what those nearby ask, each with when it was made; the place, and of how many.
        type Line<'a> = (u64, &'a [(u64, u64)], &'a [(u64, u64)], usize, usize);
        let table: &[Line<'_>] = &[
            (10, &[], &[], 1, 1),
            (10, &[(9, 500)], &[], 2, 2),
            (10, &[], &[(9, 500)], 2, 2),
            (10, &[(11, 500)], &[(9, 500), (11, 500), (8, 500)], 3, 5),
            (10, &[], &[(10, 499)], 2, 2), // the older is before
            (10, &[], &[(10, 500)], 1, 2),
            (10, &[], &[(10, 501)], 1, 2),
        ];
        for (own, shown, near, rank_wanted, of) in table {
            let shown: Vec<CheckedAsk> =
                (20..).zip(*shown).map(|(name, &(store, at))| ask(name, store, at)).collect();
            let shown: Vec<&CheckedAsk> = shown.iter().collect();
            let near: Vec<PriceList> =
                (40..).zip(*near).map(|(name, &(store, at))| list(name, store, at)).collect();
            let found = rank(&usual, &ask(1, *own, 500), &shown, &near).unwrap();
            assert_eq!(found, Rank { rank: *rank_wanted, of: *of }, "{own} {near:?}");
        }
    }

    #[test]
    fn an_ask_names_what_others_can_dial() {
        let table: &[(&[&str], &[&str], &[&str])] = &[
            (&[], &["127.0.0.1:1"], &["127.0.0.1:1"]),
            (&[], &["127.0.0.1:1", "10.0.0.1:1"], &["10.0.0.1:1"]),
            (&["192.0.2.1:9"], &["127.0.0.1:1", "10.0.0.1:1"], &["192.0.2.1:9", "10.0.0.1:1"]),
            (&["192.0.2.1:9"], &["192.0.2.1:9"], &["192.0.2.1:9"]),
            (&[], &["0.0.0.0:1", "[fe80::1]:1"], &[]),
        ];
        for (announced, own, expected) in table {
            let parse = |texts: &[&str]| -> Vec<SocketAddr> {
                texts.iter().map(|text| text.parse().unwrap()).collect()
            };
            let found = sockets(&parse(announced), &parse(own));
            let found: Vec<SocketAddr> = found.as_slice().iter().map(|each| each.get()).collect();
            assert_eq!(found, parse(expected));
        }
        let many: Vec<SocketAddr> = (1..20).map(|port| ([192, 0, 2, 1], port).into()).collect();
        assert_eq!(sockets(&many, &[]).as_slice().len(), ASK_SOCKETS_MAX);
    }
}
