//! What contracts would cost, before any is opened: the same questions and the same choice, and nothing saved or held.

use super::{Offer, Opening, SLACK, Wish, choose, cost_max, period};
use crate::{Agent, AgentError, Wallet};
use fondaco_contract::{Bill, Meter, PriceList};
use fondaco_crypto::EntityId;
use fondaco_erasure::Code;
use fondaco_ports::Address;
use fondaco_units::{Amount, Bytes, Duration};

/// What contracts would be, and what they would cost.
#[derive(Clone, Debug)]
pub struct Quote {
    /// The code: n contracts, of which any k suffice.
    pub code: Code,
    /// The exact probability with which an object survives an epoch.
    pub survive: f64,
    /// How many epochs the contracts last.
    pub epochs: u32,
    /// The shortest epoch among the hosts.
    pub epoch: Duration,
    /// The room in each contract.
    pub size_max: Bytes,
    /// What each host would keep, if all that was measured is new.
    pub share: Bytes,
    /// What opening and writing everything costs.
    pub first: Amount,
    /// What keeping everything for an epoch costs.
    pub per_epoch: Amount,
    /// What reading everything back costs.
    pub restore: Amount,
    /// The most that the contracts may cost, which would be held.
    pub held: Amount,
    /// Who would be chosen.
    pub chosen: Vec<Quoted>,
    /// Hosts that were asked and would not be chosen, and why.
    pub passed_over: Vec<(EntityId, String)>,
}

/// One host's part of a [`Quote`].
#[derive(Clone, Debug)]
pub struct Quoted {
    /// Where it is.
    pub address: Address,
    /// What it asks.
    pub prices: PriceList,
    /// What keeping its share for an epoch costs.
    pub per_epoch: Amount,
    /// The most that its contract may cost.
    pub held: Amount,
}

impl Agent {
    /// Asks hosts for their prices and says what contracts for `wish` would be. Nothing is opened, saved or held; the
    /// budget is not looked at.
    pub async fn quote(
        &self,
        wallet: &Wallet,
        hosts: &[Address],
        wish: Wish,
    ) -> Result<Quote, AgentError> {
        let currency = wallet.currency();
        let Self { key, endpoint, clock, book } = self;
        let now = clock.now();
        let opening = Opening { key, endpoint, book, wallet, currency, clock, now };
        let (mut offers, mut passed_over) = opening.ask(hosts, wish).await;
        loop {
            let placement = choose(&offers, wish, &passed_over)?;
            let share = Bytes::new(wish.bytes.get().div_ceil(u64::from(placement.k)));
            let size_max =
                Bytes::new(share.get() + share.get() / 8).checked_add(SLACK).unwrap_or(Bytes::MAX);
            let full = placement
                .providers
                .iter()
                .find(|&&index| offers[index].list.prices.capacity < size_max);
            if let Some(&index) = full {
                let offer = offers.remove(index);
                let room = offer.list.prices.capacity;
                let why = format!("it has room for {room}, not for {size_max}");
                passed_over.push((offer.list.prices.provider, why));
                continue;
            }
            for (index, offer) in offers.iter().enumerate() {
                if !placement.providers.contains(&index) {
                    let why = "the others together are cheaper".to_owned();
                    passed_over.push((offer.list.prices.provider, why));
                }
            }
            let n = u8::try_from(placement.providers.len())
                .map_err(|_| AgentError::Store("placement chose too many hosts".to_owned()))?;
            let code = Code::new(placement.k, n)
                .map_err(|error| AgentError::Store(format!("placement chose no code: {error}")))?;
            let chosen: Vec<&Offer> =
                placement.providers.iter().map(|&index| &offers[index]).collect();
            let mut quote = Quote {
                code,
                survive: placement.survive,
                epochs: wish.epochs.max(1),
                epoch: Duration::from_milliseconds(u64::MAX),
                size_max,
                share,
                first: Amount::ZERO,
                per_epoch: Amount::ZERO,
                restore: Amount::ZERO,
                held: Amount::ZERO,
                chosen: Vec::new(),
                passed_over,
            };
            for offer in chosen {
                quote.add(offer)?;
            }
            return Ok(quote);
        }
    }
}

impl Quote {
    /// Returns how long the contracts last.
    pub fn span(&self) -> Duration {
        let epochs = u64::from(self.epochs);
        Duration::from_milliseconds(self.epoch.milliseconds().saturating_mul(epochs))
    }

    fn add(&mut self, offer: &Offer) -> Result<(), AgentError> {
        let prices = offer.list.prices;
        let share = self.share.get();
        let nothing = Meter::default();
        let sum = |one: Amount, other: Amount| one.checked_add(other).unwrap_or(Amount::MAX);
        let of = |meter: Meter| Bill::of(&prices, &meter).map(|bill| bill.total());
        let costs = (
            of(Meter { opened: true, written: share, ..nothing }),
            of(Meter { byte_epochs: u128::from(share), ..nothing }),
            of(Meter { read: share, ..nothing }),
            cost_max(&prices, self.size_max, self.epochs),
        );
        let (Some(first), Some(per_epoch), Some(read), Some(held)) = costs else {
            return Err(AgentError::Invalid {
                what: format!("the prices of {} are beyond all counting", prices.provider.short()),
                hint: "leave that host out".to_owned(),
            });
        };
        self.first = sum(self.first, first);
        self.per_epoch = sum(self.per_epoch, per_epoch);
        // Any k of the n suffice, so this is a little less in truth: all n are counted, at k of n each.
        let (k, n) = (u64::from(self.code.k()), u64::from(self.code.n()));
        let part = Amount::new(read.get().saturating_mul(k).div_ceil(n.max(1)));
        self.restore = sum(self.restore, part);
        self.held = sum(self.held, held);
        self.epoch = self.epoch.min(period(&prices, 1));
        self.chosen.push(Quoted { address: offer.address.clone(), prices, per_epoch, held });
        Ok(())
    }
}
