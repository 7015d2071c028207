//! What storing would cost, and how sure it would be, before anything is opened or paid.

use fondaco_contract::{Bill, Meter, PriceList};
use fondaco_crypto::EntityId;
use fondaco_erasure::Code;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Duration};

use crate::AgentError;
use crate::choosing::{Durability, Records, choose};
use crate::opening::{Offer, Opening, Wish, code_of, cost_max, durability_of, prices_of, size_max};

/// What contracts would be opened now, and what they would cost. Nothing of it is promised: price lists expire.
#[derive(Clone, Debug)]
pub struct Quote {
    /// The code: n hosts, of which any k suffice.
    pub code: Code,
    /// How surely an object survives an epoch.
    pub durability: Durability,
    /// The hosts, in the order of the shards.
    pub hosts: Vec<QuotedHost>,
    /// The room in each contract.
    pub size_max: Bytes,
    /// How many epochs the contracts last.
    pub epochs: u32,
    /// The shortest epoch among the hosts.
    pub epoch: Duration,
    /// What reading everything back costs.
    pub restore: Amount,
    /// What opening all contracts and writing everything once costs.
    pub once: Amount,
    /// What keeping everything costs in each epoch.
    pub per_epoch: Amount,
    /// What it costs in the whole period: `once`, and `per_epoch` for each epoch asked for.
    pub total: Amount,
    /// The most that would be held, room for more and reading it all back twice included.
    pub held: Amount,
    /// Hosts that were asked and not chosen, and why.
    pub passed_over: Vec<(EntityId, String)>,
}

/// One host of a [`Quote`].
#[derive(Clone, Debug)]
pub struct QuotedHost {
    /// Where it is.
    pub address: Address,
    /// What it asks.
    pub prices: PriceList,
    /// With which probability it is counted on to lose its shard within an epoch, common shocks apart.
    pub loss: f64,
    /// Whether nothing was ever seen of it.
    pub newcomer: bool,
    /// How much it would keep.
    pub share: Bytes,
    /// What opening its contract and writing its share once costs.
    pub once: Amount,
    /// What keeping its share for an epoch costs.
    pub per_epoch: Amount,
    /// The most that its hold could pay.
    pub held: Amount,
}

impl Quote {
    /// Returns how long the contracts last.
    pub fn span(&self) -> Duration {
        let epochs = u64::from(self.epochs);
        Duration::from_milliseconds(self.epoch.milliseconds().saturating_mul(epochs))
    }
}

impl Opening<'_> {
    /// Asks `hosts` for their prices and chooses among them as [`Opening::open`] would, and opens nothing.
    pub async fn quote(&self, hosts: &[Address], wish: Wish) -> Result<Quote, AgentError> {
        let (offers, passed_over) = self.ask(hosts, wish).await;
        let records = self.book.read(Records::of);
        let asked = prices_of(&offers);
        let unfit = |prices: &PriceList, size| self.unfit(&asked, prices, size);
        quote(offers, &records, wish, passed_over, unfit)
    }
}

/// Chooses among offers, and again without those that are `unfit` for their share, and adds up what that costs.
fn quote(
    mut offers: Vec<Offer>,
    records: &Records,
    wish: Wish,
    mut passed_over: Vec<(EntityId, String)>,
    unfit: impl Fn(&PriceList, Bytes) -> Option<String>,
) -> Result<Quote, AgentError> {
    loop {
        let placement = choose(&offers, records, wish, &passed_over)?;
        let share = Bytes::new(wish.bytes.get().div_ceil(u64::from(placement.k)));
        let size_max = size_max(share);
        let in_the_way = placement
            .providers
            .iter()
            .copied()
            .find_map(|index| Some((index, unfit(&offers[index].list.prices, size_max)?)));
        if let Some((index, why)) = in_the_way {
            let offer = offers.remove(index);
            passed_over.push((offer.list.prices.provider, why));
            continue;
        }
        let mut quote = Quote {
            code: code_of(&placement)?,
            durability: durability_of(&placement, &offers, records)?,
            hosts: Vec::new(),
            size_max,
            epochs: wish.epochs.max(1),
            epoch: Duration::from_milliseconds(u64::MAX),
            restore: Amount::ZERO,
            once: Amount::ZERO,
            per_epoch: Amount::ZERO,
            total: Amount::ZERO,
            held: Amount::ZERO,
            passed_over,
        };
        let add = |sum: &mut Amount, more: Amount| {
            *sum = sum.checked_add(more).unwrap_or(Amount::MAX);
        };
        for (index, offer) in offers.iter().enumerate() {
            let prices = offer.list.prices;
            if !placement.providers.contains(&index) {
                let why = "the others together are cheaper".to_owned();
                quote.passed_over.push((prices.provider, why));
                continue;
            }
            let host = QuotedHost {
                address: offer.address.clone(),
                prices,
                loss: records.loss(&offer.address).unwrap_or(1.0),
                newcomer: records.seen(prices.provider).is_nothing(),
                share,
                once: cost(&prices, true, share, 0)?,
                per_epoch: cost(&prices, false, share, 1)?,
                held: cost_max(&prices, size_max, wish.epochs)
                    .ok_or_else(|| beyond_counting(&prices))?,
            };
            // Any k of the n suffice, so this is a little less in truth: all n are counted, at k of n each.
            let (k, n) = (u64::from(quote.code.k()), u64::from(quote.code.n()));
            let read = Meter { read: share.get(), ..Meter::default() };
            let read = Bill::of(&prices, &read).ok_or_else(|| beyond_counting(&prices))?.total();
            add(&mut quote.restore, Amount::new(read.get().saturating_mul(k).div_ceil(n.max(1))));
            quote.epoch = quote.epoch.min(prices.epoch);
            add(&mut quote.once, host.once);
            add(&mut quote.per_epoch, host.per_epoch);
            add(&mut quote.held, host.held);
            add(&mut quote.total, cost(&prices, true, share, wish.epochs.max(1))?);
            quote.hosts.push(host);
        }
        return Ok(quote);
    }
}

/// What a share costs: to open and write it, if it is new, and to keep it for `epochs`; rounded up once.
fn cost(prices: &PriceList, new: bool, share: Bytes, epochs: u32) -> Result<Amount, AgentError> {
    let meter = Meter {
        opened: new,
        written: if new { share.get() } else { 0 },
        read: 0,
        byte_epochs: u128::from(share.get()) * u128::from(epochs),
    };
    Bill::of(prices, &meter).map(|bill| bill.total()).ok_or_else(|| beyond_counting(prices))
}

fn beyond_counting(prices: &PriceList) -> AgentError {
    AgentError::Invalid {
        what: format!("the prices of {} are beyond all counting", prices.provider.short()),
        hint: "leave that host out".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Book;
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_units::{Price, Timestamp};

    fn host(name: u8, socket: &str, store: u64, capacity: u64) -> Offer {
        let key = SecretKey::from_bytes(&[name; 32]);
        let prices = PriceList {
            provider: key.entity(),
            currency: CurrencyId::issued_by(key.entity()),
            open: Amount::new(10),
            store: Price::from_parts(store),
            write: Price::from_parts(1_000_000),
            read: Price::from_parts(1_000_000),
            capacity: Bytes::new(capacity),
            period_max: Duration::from_seconds(1 << 30),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 18),
            issued: Timestamp::EPOCH,
            expires: Timestamp::from_milliseconds(9),
        };
        let address = Address::new(key.entity(), [socket.parse().unwrap()]);
        Offer { address, list: prices.sign(&key), operator: None }
    }

    fn ask(offers: Vec<Offer>, survive: f64) -> Result<Quote, AgentError> {
        let wish = Wish { bytes: Bytes::new(100 << 20), survive, epochs: 10, budget: None };
        let has_room = |prices: &PriceList, size: Bytes| {
            (prices.capacity < size).then(|| "it has no room".to_owned())
        };
        quote(offers, &Records::of(&Book::default()), wish, Vec::new(), has_room)
    }

    #[test]
    fn a_quote_adds_up_and_says_what_it_assumes() {
        let mut offers: Vec<Offer> =
            (1..=8).map(|name| host(name, "127.0.0.1:1", 5_000_000, 1 << 40)).collect();
        offers.push(host(9, "127.0.0.1:1", 1, 5));
        offers.push(host(10, "127.0.0.1:1", 900_000_000, 1 << 40));
        let quote = ask(offers, 0.999).unwrap();
        let (k, n) = (u64::from(quote.code.k()), quote.hosts.len() as u64);
        assert_eq!((n, u64::from(quote.code.n())), (8, 8));
        let Durability { survive, loss, .. } = quote.durability;
        assert!(survive >= 0.999 && survive + loss == 1.0);
        // To open 10; a millionth of a unit for each byte written, and five for each in each epoch.
        let share = (100_u64 << 20).div_ceil(k);
        let (once, epoch) = (10 + share.div_ceil(1_000_000), (5 * share).div_ceil(1_000_000));
        let total = 10 + (51 * share).div_ceil(1_000_000);
        assert_eq!(quote.once, Amount::new(n * once));
        assert_eq!(quote.per_epoch, Amount::new(n * epoch));
        assert_eq!(quote.total, Amount::new(n * total));
        assert!(quote.held > quote.total);
        let why: Vec<&str> = quote.passed_over.iter().map(|(_, why)| why.as_str()).collect();
        assert_eq!(why, ["it has no room", "the others together are cheaper"]);
        assert!(quote.durability.assumed().ends_with(
            "Beyond that, hosts fail independently of each other. A host's loss is what it exceeds with a chance of 10 % \
             only; nothing was seen of any of them yet."
        ), "{}", quote.durability.assumed());
    }

    #[test]
    fn hosts_of_one_network_are_not_eight_hosts() {
        let of = |socket: &str| (1..=8).map(|name| host(name, socket, 5, 1 << 40)).collect();
        let refusal = ask(of("192.0.2.1:1"), 0.999).unwrap_err();
        assert!(
            matches!(&refusal, AgentError::Placement { what, .. } if what.starts_with("8 hosts answer, all in one network"))
        );
        // Those of a house can be had, but not for more than the house is sure.
        assert!(ask(of("192.168.1.1:1"), 0.999).is_err());
        assert!(ask(of("192.168.1.1:1"), 0.99).is_ok());
        let apart = (1..=8_u8).map(|name| host(name, &format!("192.0.{name}.1:1"), 5, 1 << 40));
        assert_eq!(ask(apart.collect(), 0.999).unwrap().durability.assumptions.operators, 8);
    }
}
