//! Follow what others ask: the rule of `--auto-price`, and where a provider stands among them.
//!
//! The seller's own list says how its prices relate to each other. Only one number is found here, by which all four are
//! multiplied: the *factor*, in millionths.
//!
//! The rule: of what the others ask for a GiB and epoch, by the day, take the cheaper half (one more if they are odd in
//! number), and of that the median. Who is within 2 % of it stays; who is not asks 1 % less than it. The factor stays
//! between the floor and [`Factor::MAX`].
//!
//! Asks cost nothing to make, so anybody can pull this down to the floor, and only there: the floor is a price at which
//! the seller is content.

use crate::{CheckedAsk, Place, PriceList, Rate, Sought};
use fondaco_crypto::EntityId;
use fondaco_units::{Amount, Price};

/// By what the four prices of a list are multiplied, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Factor(u64);

impl Factor {
    /// As the list says.
    pub const ONE: Self = Self(1_000_000);
    /// Ten times the list.
    pub const MAX: Self = Self(10_000_000);
    /// A tenth of the list: the floor, where the seller names none.
    pub const FLOOR: Self = Self(100_000);

    /// Returns the factor that brings `from` to `to`, rounded up; at most [`Factor::MAX`].
    pub const fn between(from: Price, to: Price) -> Self {
        Self::ratio(from.parts() as u128, to.parts() as u128)
    }

    const fn ratio(from: u128, to: u128) -> Self {
        let most = Self::MAX.0 as u128;
        if from == 0 {
            return Self::ONE;
        }
        let millionths = to.saturating_mul(Self::ONE.0 as u128).div_ceil(from);
        // Below MAX, which is a u64.
        #[allow(clippy::cast_possible_truncation)]
        Self(if millionths > most { most } else { millionths } as u64)
    }

    /// Returns the millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Multiplies the prices of `list`, each rounded up.
    pub fn apply(self, list: PriceList) -> PriceList {
        let times = |units: u64| {
            let product = (u128::from(units) * u128::from(self.0)).div_ceil(1_000_000);
            u64::try_from(product).unwrap_or(u64::MAX)
        };
        let price = |price: Price| Price::from_parts(times(price.parts()));
        PriceList {
            open: Amount::new(times(list.open.get())),
            store: price(list.store),
            write: price(list.write),
            read: price(list.read),
            ..list
        }
    }
}

/// What a seller who follows the others wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPrice {
    /// The least factor.
    pub floor: Factor,
}

impl AutoPrice {
    /// Returns the factor for `list` that follows what others ask; the `present` one where there is nobody to follow.
    ///
    /// `list` is as the seller wrote it, not yet multiplied; `others` are their rates for
    /// [`Sought::usual`], in any order.
    pub fn follow(self, list: &PriceList, present: Factor, others: &[Rate]) -> Factor {
        let bounded = |factor: Factor| factor.max(self.floor).min(Factor::MAX);
        let usual = Sought::usual(list.currency);
        let rate = |factor: Factor| usual.rate(&roomy(factor.apply(*list))).map(Rate::parts);
        let (Some(median), Some(own), Some(base)) =
            (median_of_cheaper_half(others), rate(present), rate(Factor::ONE))
        else {
            return bounded(present);
        };
        let median = median.parts();
        let near = own.abs_diff(median) <= median / 50;
        bounded(if near { present } else { Factor::ratio(base, median - median / 100) })
    }
}

/// Room and time do not change a price; without them a full provider would have none.
fn roomy(list: PriceList) -> PriceList {
    let capacity = fondaco_units::Bytes::MAX;
    PriceList { capacity, period_max: list.period_max.max(list.epoch), ..list }
}

fn median_of_cheaper_half(rates: &[Rate]) -> Option<Rate> {
    let mut rates = rates.to_vec();
    rates.sort_unstable();
    rates.truncate(rates.len().div_ceil(2));
    // Of an even number, the lower of the two in the middle.
    rates.get(rates.len().checked_sub(1)? / 2).copied()
}

/// Where a provider stands among those who sell the same: the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    /// From 1.
    pub rank: usize,
    /// How many there are, this one among them.
    pub of: usize,
}

impl Rank {
    /// Ranks `own` among `others` for a buyer of `sought`, leaving out older asks of the same provider; nothing if
    /// `own` does not fit.
    pub fn among<'a>(
        sought: &Sought,
        own: &CheckedAsk,
        others: impl IntoIterator<Item = &'a CheckedAsk>,
    ) -> Option<Self> {
        let place = Place::of(sought, own)?;
        let provider: EntityId = own.provider();
        let others = others.into_iter().filter(|ask| ask.provider() != provider);
        let places = others.filter_map(|ask| Place::of(sought, ask));
        let (rank, of) =
            places.fold((1, 1), |(rank, of), other| (rank + usize::from(other < place), of + 1));
        Some(Self { rank, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::tests::ask;
    use crate::prices::tests::{NOON, prices};
    use fondaco_crypto::SecretKey;
    use fondaco_units::{Bytes, Duration};
    use proptest::{collection::vec, prelude::*};

    /// Prices of which a GiB and epoch costs so many units, and nothing else does.
    fn list(units: u64) -> PriceList {
        let free = Price::from_parts(0);
        let store = Price::of(Amount::new(units), Bytes::new(1 << 30)).unwrap();
        PriceList { open: Amount::ZERO, write: free, read: free, store, ..prices() }
    }

    fn rate(list: &PriceList) -> Rate {
        Sought::usual(list.currency).rate(&roomy(*list)).unwrap()
    }

    fn rates(units: &[u64]) -> Vec<Rate> {
        units.iter().map(|&units| rate(&list(units))).collect()
    }

    #[test]
    fn the_rule() {
        let auto = AutoPrice { floor: Factor(500_000) };
        // The present factor, what others ask where the list says 1000, and the factor that comes of it.
        let table: &[(u64, &[u64], u64)] = &[
            (1_000_000, &[], 1_000_000),     // nobody to follow
            (100_000, &[], 500_000),         // but never below the floor
            (1_000_000, &[1000], 1_000_000), // near enough
            (1_000_000, &[981], 1_000_000),  // the last that is
            (1_000_000, &[980], 970_200),    // 1 % below it
            (1_000_000, &[900], 891_000),
            (891_000, &[900], 891_000),      // and stays there
            (1_000_000, &[2000], 1_980_000), // upwards too
            (1_000_000, &[400], 500_000),    // the floor
            (1_000_000, &[1], 500_000),
            (1_000_000, &[0], 500_000),
            (1_000_000, &[1_000_000], 10_000_000), // no more than tenfold
            (1_000_000, &[800, 900], 792_000),     // of two, the cheaper
            (1_000_000, &[700, 800, 5000], 693_000), // of three, the lower of the cheaper two
            (1_000_000, &[600, 700, 800, 900, 1, 1000], 594_000), // cheaper half: 1, 600, 700
        ];
        for &(present, others, expected) in table {
            let found = auto.follow(&list(1000), Factor(present), &rates(others));
            let near = expected.abs_diff(found.millionths()) <= 1;
            assert!(near, "{present} among {others:?}: {} not {expected}", found.millionths());
        }
    }

    #[test]
    fn a_factor_moves_all_four_prices() {
        let doubled = Factor(2_000_000).apply(prices());
        assert_eq!(doubled.open, Amount::new(2000));
        assert_eq!(doubled.store.parts(), 2 * prices().store.parts());
        assert_eq!(doubled.write.parts(), 2 * prices().write.parts());
        assert_eq!(doubled.read.parts(), 2 * prices().read.parts());
        assert_eq!(Factor::ONE.apply(prices()), prices());
        let dear = PriceList { open: Amount::MAX, ..prices() };
        assert_eq!(Factor::MAX.apply(dear).open, Amount::MAX);
        assert_eq!(Factor::between(Price::from_parts(10), Price::from_parts(5)), Factor(500_000));
        assert_eq!(Factor::between(Price::from_parts(0), Price::from_parts(5)), Factor::ONE);
    }

    #[test]
    fn ranks() {
        let asks: Vec<CheckedAsk> = [(1, 500), (2, 400), (3, 500), (4, 600)]
            .into_iter()
            .map(|(who, units)| {
                let key = SecretKey::from_bytes(&[who; 32]);
                let issued = NOON.after(Duration::from_seconds(u64::from(who)));
                let expires = issued.after(Duration::from_seconds(60));
                let list = PriceList { provider: key.entity(), issued, expires, ..list(units) };
                let ask = crate::Ask { prices: list.sign(&key), ..ask() };
                ask.sign(&key).check(issued).unwrap()
            })
            .collect();
        let usual = Sought::usual(prices().currency);
        // Of two alike, the older is before.
        for (index, rank) in [(0, 2), (1, 1), (2, 3), (3, 4)] {
            let found = Rank::among(&usual, &asks[index], &asks);
            assert_eq!(found, Some(Rank { rank, of: 4 }));
        }
        assert_eq!(Rank::among(&usual, &asks[0], []), Some(Rank { rank: 1, of: 1 }));
        let elsewhere = Sought::usual(fondaco_crypto::CurrencyId::issued_by(asks[0].provider()));
        assert_eq!(Rank::among(&elsewhere, &asks[0], &asks), None);
    }

    proptest! {
        /// Any number of sellers who follow each other come to rest, and none is below its floor or above its limit.
        #[test]
        fn followers_come_to_rest(
            start in vec((1..=100_u64, 1..=20_u64), 1..12), fixed in vec(1..100_000_u64, 0..4),
        ) {
            let mut sellers: Vec<(Factor, AutoPrice)> = start
                .iter()
                .map(|&(present, floor)| (Factor(present * 100_000), AutoPrice { floor: Factor(floor * 100_000) }))
                .collect();
            let base = list(1000);
            let mut calm = false;
            for _ in 0..200 {
                let before = sellers.clone();
                for index in 0..sellers.len() {
                    let mut others = rates(&fixed);
                    others.extend(sellers.iter().enumerate().filter(|(other, _)| *other != index)
                        .map(|(_, (factor, _))| rate(&factor.apply(base))));
                    let (present, auto) = sellers[index];
                    sellers[index].0 = auto.follow(&base, present, &others);
                    prop_assert!(sellers[index].0 >= auto.floor && sellers[index].0 <= Factor::MAX);
                }
                if sellers == before { calm = true; break; }
            }
            prop_assert!(calm, "they did not come to rest: {sellers:?}");
        }

        #[test]
        fn no_factor_overflows(present: u64, floor in 0..=10_000_000_u64, store: u64, others in vec(any::<u128>(), 0..9)) {
            let list = PriceList { store: Price::from_parts(store), ..prices() };
            let others: Vec<Rate> = others.into_iter().map(Rate::from_parts).collect();
            let found = AutoPrice { floor: Factor(floor) }.follow(&list, Factor(present), &others);
            prop_assert!(found.millionths() <= 10_000_000 && found.millionths() >= floor);
        }
    }
}
