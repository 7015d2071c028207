//! A book of asks: the newest of each provider, sorted for whoever wants to buy.
//!
//! ```text
//! CheckedAsk ──► insert ──┬─ newer, and there is room ──► kept ──► expire, withdraw
//!                         └─ older, or its network or the book is full: nothing changes
//! Sought ──► query ──► the cheapest first, then the oldest, then by digest; page by page
//! ```
//!
//! # What always holds
//!
//! - One ask of a provider, and never an older one after a newer one.
//! - At most `asks_max` in all, and `asks_per_network_max` of one network.
//! - The same asks give the same answer, in whatever order they came. Nothing here reads a clock.

use crate::{CheckedAsk, PriceList, SignedAsk};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, record};
use fondaco_crypto::{CurrencyId, Digest, EntityId};
use fondaco_units::{Bytes, Price, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;

/// A day, in milliseconds.
const DAY: u128 = 86_400_000;

/// What a buyer wants of one provider: so many bytes written once, kept for so many of the provider's epochs, and read
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The currency to pay in.
    pub currency: CurrencyId,
    /// How many bytes.
    pub size: Bytes,
    /// For how many epochs.
    pub epochs: u32,
}
record!(Sought { currency, size, epochs });

impl Sought {
    /// A GiB for an epoch: what asks are compared by when nobody said what he wants.
    pub const fn usual(currency: CurrencyId) -> Self {
        Self { currency, size: Bytes::new(1 << 30), epochs: 1 }
    }

    /// Returns what that costs at `prices` for each day it is kept; nothing if the provider does not sell it.
    pub fn rate(&self, prices: &PriceList) -> Option<Rate> {
        let epochs = u64::from(self.epochs.max(1));
        let period = prices.epoch.milliseconds().checked_mul(epochs)?;
        let sold = prices.currency == self.currency
            && prices.capacity >= self.size
            && prices.period_max.milliseconds() >= period
            && period > 0;
        sold.then(|| Rate(self.parts(prices, epochs).saturating_mul(DAY) / u128::from(period)))
    }

    fn parts(&self, prices: &PriceList, epochs: u64) -> u128 {
        let byte_epochs = u128::from(self.size.get()) * u128::from(epochs);
        let open = u128::from(prices.open.get()) * Price::PARTS;
        u128::from(prices.store.parts())
            .saturating_mul(byte_epochs)
            .saturating_add(prices.write.parts_for(self.size.get()))
            .saturating_add(prices.read.parts_for(self.size.get()))
            .saturating_add(open)
    }
}

/// What something costs a day, in 10⁻¹² of a currency's smallest unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u128);

impl Rate {
    /// Creates a rate of so many 10⁻¹² units a day.
    pub const fn from_parts(parts: u128) -> Self {
        Self(parts)
    }

    /// Returns the 10⁻¹² units a day.
    pub const fn parts(self) -> u128 {
        self.0
    }
}

impl Encode for Rate {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Rate {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u128::decode(input).map(Self)
    }
}

/// Where an ask stands among those that fit: the cheaper, then the older, then the smaller digest is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// What it costs.
    pub rate: Rate,
    /// When it was made.
    pub issued: Timestamp,
    /// Its digest.
    pub digest: Digest,
}
record!(Place { rate, issued, digest });

impl Place {
    /// Returns the place of `ask` for a buyer who seeks `sought`; nothing if it does not fit.
    pub fn of(sought: &Sought, ask: &CheckedAsk) -> Option<Self> {
        let rate = sought.rate(ask.prices())?;
        Some(Self { rate, issued: ask.issued(), digest: *ask.digest() })
    }
}

/// How much a book takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsksLimits {
    /// In all.
    pub asks_max: usize,
    /// Of one network.
    pub asks_per_network_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    ask: CheckedAsk,
    network: Option<IpAddr>,
}

/// The newest ask of each provider, so many of each network and in all, sorted for whoever wants to buy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    limits: AsksLimits,
    entries: BTreeMap<EntityId, Entry>,
    expiries: BTreeSet<(Timestamp, EntityId)>,
    networks: BTreeMap<IpAddr, usize>,
    currencies: BTreeMap<CurrencyId, BTreeSet<EntityId>>,
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The provider had no ask here.
    New,
    /// It takes the place of an older one.
    Renewed,
    /// The very same was here.
    Had,
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Asks, the best first.
    pub asks: Vec<SignedAsk>,
    /// After which to ask on; nothing when these were the last.
    pub next: Option<Place>,
    /// How many fit in all, those of other pages too.
    pub count: usize,
}

impl Asks {
    /// Creates an empty book.
    pub const fn new(limits: AsksLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            expiries: BTreeSet::new(),
            networks: BTreeMap::new(),
            currencies: BTreeMap::new(),
        }
    }

    /// Returns how many asks there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns in how many currencies something is sold.
    pub fn currencies(&self) -> usize {
        self.currencies.len()
    }

    /// Returns the ask of `provider`.
    pub fn get(&self, provider: EntityId) -> Option<&CheckedAsk> {
        self.entries.get(&provider).map(|entry| &entry.ask)
    }

    /// Takes an ask that came from `network`; who has none, being on this machine, has no share of his own.
    ///
    /// # Errors
    ///
    /// The first that applies of [`AsksError`]; nothing is changed then.
    pub fn insert(
        &mut self,
        network: Option<IpAddr>,
        ask: CheckedAsk,
    ) -> Result<Inserted, AsksError> {
        let provider = ask.provider();
        let before = self.entries.get(&provider);
        if let Some(entry) = before {
            if entry.ask == ask {
                return Ok(Inserted::Had);
            }
            if !ask.is_newer_than(&entry.ask) {
                return Err(AsksError::Stale { issued: entry.ask.issued() });
            }
        } else if self.entries.len() >= self.limits.asks_max {
            return Err(AsksError::Full { asks_max: self.limits.asks_max });
        }
        let moves = before.is_none_or(|entry| entry.network != network);
        if let Some(network) = network
            && moves
            && self.of(network) >= self.limits.asks_per_network_max
        {
            let asks_max = self.limits.asks_per_network_max;
            return Err(AsksError::NetworkFull { network, asks_max });
        }
        let done = if self.remove(provider) { Inserted::Renewed } else { Inserted::New };
        if let Some(network) = network {
            *self.networks.entry(network).or_default() += 1;
        }
        self.expiries.insert((ask.expires(), provider));
        self.currencies.entry(ask.prices().currency).or_default().insert(provider);
        self.entries.insert(provider, Entry { ask, network });
        Ok(done)
    }

    /// Removes the ask of `provider`; returns whether there was one.
    pub fn remove(&mut self, provider: EntityId) -> bool {
        let Some(Entry { ask, network }) = self.entries.remove(&provider) else { return false };
        self.expiries.remove(&(ask.expires(), provider));
        if let Some(network) = network
            && let Some(count) = self.networks.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
        let currency = ask.prices().currency;
        if let Some(sellers) = self.currencies.get_mut(&currency) {
            sellers.remove(&provider);
            if sellers.is_empty() {
                self.currencies.remove(&currency);
            }
        }
        true
    }

    /// Removes what is void at `now`; returns how many that were. Doing so twice is harmless.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        let mut count = 0;
        while let Some(&(expires, provider)) = self.expiries.first()
            && expires <= now
        {
            self.remove(provider);
            count += 1;
        }
        count
    }

    /// Returns what fits `sought` and is good at `now`: at most `limit` asks, of those after `after`.
    pub fn query(
        &self,
        now: Timestamp,
        sought: &Sought,
        after: Option<Place>,
        limit: usize,
    ) -> Page {
        let mut best: BTreeMap<Place, &CheckedAsk> = BTreeMap::new();
        let (mut count, mut left) = (0, 0);
        for provider in self.currencies.get(&sought.currency).into_iter().flatten() {
            let Some(Entry { ask, .. }) = self.entries.get(provider) else { continue };
            let Some(place) = Place::of(sought, ask).filter(|_| ask.expires() > now) else {
                continue;
            };
            count += 1;
            if after.is_none_or(|after| place > after) {
                left += 1;
                best.insert(place, ask);
                if best.len() > limit {
                    best.pop_last();
                }
            }
        }
        let next = if left > best.len() { best.keys().next_back().copied() } else { None };
        Page { asks: best.into_values().map(|ask| ask.signed().clone()).collect(), next, count }
    }

    /// Returns what is good at `now`, whatever is sold for whatever money: at most `limit` asks, by provider, of those after
    /// `after`; and after which to ask on, if these were not the last.
    pub fn everybody(
        &self,
        now: Timestamp,
        after: Option<EntityId>,
        limit: usize,
    ) -> (Vec<SignedAsk>, Option<EntityId>) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.entries.range((from, Bound::Unbounded));
        let mut good = rest.filter(|(_, entry)| entry.ask.expires() > now);
        let page: Vec<_> = good.by_ref().take(limit).collect();
        let next = page.last().map(|(provider, _)| **provider).filter(|_| good.next().is_some());
        (page.into_iter().map(|(_, entry)| entry.ask.signed().clone()).collect(), next)
    }

    /// Returns every ask, by provider.
    pub fn iter(&self) -> impl Iterator<Item = &CheckedAsk> {
        self.entries.values().map(|entry| &entry.ask)
    }

    fn of(&self, network: IpAddr) -> usize {
        self.networks.get(&network).copied().unwrap_or_default()
    }
}

/// Why a book does not take an ask. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsksError {
    /// The provider has a newer one here, or another of the same time.
    #[error("an ask of this provider from {issued} is here already")]
    Stale {
        /// When the one that is here was made.
        issued: Timestamp,
    },
    /// The book is full.
    #[error("the book has {asks_max} asks, and takes no more")]
    Full {
        /// How many it takes.
        asks_max: usize,
    },
    /// Too many asks come from one network.
    #[error("{asks_max} asks have come from {network}; that is its share")]
    NetworkFull {
        /// Which.
        network: IpAddr,
        /// How many there may be.
        asks_max: usize,
    },
}

impl AsksError {
    /// Returns whether the same ask can be taken later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Full { .. } | Self::NetworkFull { .. } => true,
            Self::Stale { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::tests::ask;
    use crate::prices::tests::{NOON, prices};
    use fondaco_crypto::SecretKey;
    use fondaco_units::{Amount, Duration};
    use proptest::{collection::vec, prelude::*};

    const LIMITS: AsksLimits = AsksLimits { asks_max: 6, asks_per_network_max: 3 };

    fn currency() -> CurrencyId {
        prices().currency
    }

    /// The ask of provider `who`, made so many seconds after noon, at so much for a byte and epoch.
    fn offer(who: u8, second: u64, store: u64) -> CheckedAsk {
        let key = SecretKey::from_bytes(&[who; 32]);
        let issued = NOON.after(Duration::from_seconds(second));
        let list = PriceList {
            provider: key.entity(),
            store: Price::from_parts(store),
            issued,
            expires: issued.after(Duration::from_seconds(100)),
            ..prices()
        };
        let mut ask = ask();
        ask.prices = list.sign(&key);
        ask.sign(&key).check(issued).unwrap()
    }

    fn network(last: u8) -> Option<IpAddr> {
        (last > 0).then(|| IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn what_a_book_takes() {
        let asks_max = LIMITS.asks_per_network_max;
        let network_full = AsksError::NetworkFull { network: network(1).unwrap(), asks_max };
        // Who asks, when, at what price, from which network; and what comes of it.
        let table = [
            ((1, 10, 5, 1), Ok(Inserted::New)),
            ((1, 10, 5, 1), Ok(Inserted::Had)),
            ((1, 10, 6, 1), Err(AsksError::Stale { issued: offer(1, 10, 5).issued() })),
            ((1, 9, 5, 1), Err(AsksError::Stale { issued: offer(1, 10, 5).issued() })),
            ((1, 11, 7, 1), Ok(Inserted::Renewed)),
            ((2, 0, 5, 1), Ok(Inserted::New)),
            ((3, 0, 5, 1), Ok(Inserted::New)),
            ((4, 0, 5, 1), Err(network_full)),
            ((4, 0, 5, 2), Ok(Inserted::New)),
            ((4, 1, 5, 1), Err(network_full)), // moving there is coming there
            ((1, 12, 7, 1), Ok(Inserted::Renewed)), // who is there stays
            ((5, 0, 5, 0), Ok(Inserted::New)),
            ((6, 0, 5, 0), Ok(Inserted::New)),
            ((7, 0, 5, 0), Err(AsksError::Full { asks_max: 6 })),
            ((6, 1, 5, 3), Ok(Inserted::Renewed)),
        ];
        let mut book = Asks::new(LIMITS);
        for ((who, second, store, from), outcome) in table {
            let before = book.clone();
            let ask = offer(who, second, store);
            assert_eq!(book.insert(network(from), ask), outcome, "{who} at {second}");
            if outcome.is_err() {
                assert!(book == before, "a refusal changes nothing");
            }
        }
        assert_eq!(book.len(), 6);
        assert!(book.remove(offer(2, 0, 5).provider()));
        assert!(!book.remove(offer(2, 0, 5).provider()));
        assert_eq!(book.insert(network(1), offer(7, 0, 5)), Ok(Inserted::New));
        assert_eq!(book.expire(NOON.after(Duration::from_seconds(100))), 4);
        assert_eq!(book.expire(NOON.after(Duration::from_seconds(1000))), 2);
        assert_eq!(book, Asks::new(LIMITS), "nothing is kept of who left");
    }

    #[test]
    fn what_fits_and_what_it_costs() {
        let gib = Sought::usual(currency());
        type Edit = fn(&mut PriceList, &mut Sought);
        let table: &[(&str, Edit, bool)] = &[
            ("as it is", |_, _| {}, true),
            (
                "another currency",
                |_, sought| sought.currency = CurrencyId::issued_by(prices().provider),
                false,
            ),
            ("no room", |list, sought| list.capacity = Bytes::new(sought.size.get() - 1), false),
            ("just room", |list, sought| list.capacity = sought.size, true),
            ("too long", |list, sought| (list.period_max, sought.epochs) = (list.epoch, 2), false),
            (
                "longer than time",
                |list, sought| {
                    (list.epoch, sought.epochs) = (Duration::from_milliseconds(u64::MAX), u32::MAX);
                },
                false,
            ),
            ("no epoch", |list, _| list.epoch = Duration::ZERO, false),
            (
                "beyond counting",
                |list, sought| {
                    (list.store, list.capacity, list.open) =
                        (Price::from_parts(u64::MAX), Bytes::MAX, Amount::MAX);
                    sought.size = Bytes::MAX;
                },
                true,
            ),
        ];
        for (name, edit, fits) in table {
            let (mut list, mut sought) = (prices(), gib);
            edit(&mut list, &mut sought);
            assert_eq!(sought.rate(&list).is_some(), *fits, "{name}");
        }
        // 10 CLR to open and three parts a byte and hour, in and out free: for a day of 24 epochs.
        let free = Price::from_parts(0);
        let list = PriceList { write: free, read: free, ..prices() };
        let day = Sought { size: Bytes::new(1000), epochs: 24, ..gib };
        assert_eq!(day.rate(&list), Some(Rate::from_parts(1000 * Price::PARTS + 3 * 24 * 1000)));
    }

    proptest! {
        /// Whatever came in whatever order, the newest of each provider is there, and pages give each once, sorted.
        #[test]
        fn the_order_of_arrival_does_not_matter(
            offers in vec((1..9_u8, 0..50_u64, 1..4_u64), 1..24), limit in 1..5_usize, seed: u64,
        ) {
            let roomy = AsksLimits { asks_max: 100, asks_per_network_max: 100 };
            let mut newest: BTreeMap<u8, (u64, u64)> = BTreeMap::new();
            for &(who, second, store) in &offers {
                let kept = newest.entry(who).or_insert((second, store));
                if second > kept.0 { *kept = (second, store); }
            }
            // Two of one provider and time: the first that came stays; leave that out here.
            let offers: Vec<_> = offers.iter().filter(|(who, second, store)| {
                newest[who].0 != *second || newest[who].1 == *store
            }).collect();
            let mut shuffled = offers.clone();
            let mut state = seed | 1;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
            }
            let fill = |offers: &[&(u8, u64, u64)]| {
                let mut book = Asks::new(roomy);
                for &&(who, second, store) in offers {
                    let _ = book.insert(network(who), offer(who, second, store));
                }
                book
            };
            let book = fill(&offers);
            prop_assert_eq!(&book, &fill(&shuffled));
            prop_assert_eq!(book.len(), newest.len());
            let sought = Sought::usual(currency());
            let (mut pages, mut after) = (vec![], None);
            loop {
                let page = book.query(NOON, &sought, after, limit);
                prop_assert_eq!(page.count, newest.len());
                prop_assert!(page.asks.len() <= limit);
                pages.extend(page.asks);
                after = page.next;
                if after.is_none() { break; }
            }
            let whole = book.query(NOON, &sought, None, 1000);
            prop_assert_eq!(&pages, &whole.asks);
            let places: Vec<Place> = whole.asks.into_iter()
                .map(|ask| Place::of(&sought, &ask.check(NOON.after(Duration::from_seconds(50))).unwrap()).unwrap())
                .collect();
            prop_assert!(places.is_sorted());
            prop_assert_eq!(places.len(), newest.len());
        }

        /// The share of a network and of all is never exceeded, and the counts are those of what is there.
        #[test]
        fn bounds_hold(steps in vec((1..12_u8, 0..200_u64, 0..4_u8, 0..8_u8), 0..60)) {
            let mut book = Asks::new(LIMITS);
            for (who, second, from, what) in steps {
                match what {
                    0 => _ = book.remove(offer(who, 0, 1).provider()),
                    1 => _ = book.expire(NOON.after(Duration::from_seconds(second))),
                    _ => _ = book.insert(network(from), offer(who, second, 1)),
                }
                prop_assert!(book.len() <= LIMITS.asks_max);
                let mut counted: BTreeMap<IpAddr, usize> = BTreeMap::new();
                for entry in book.entries.values() {
                    if let Some(network) = entry.network { *counted.entry(network).or_default() += 1; }
                }
                prop_assert!(counted.values().all(|&count| count <= LIMITS.asks_per_network_max));
                prop_assert_eq!(&counted, &book.networks);
                prop_assert_eq!(book.expiries.len(), book.len());
                prop_assert_eq!(book.currencies.values().map(BTreeSet::len).sum::<usize>(), book.len());
            }
        }
    }
}
