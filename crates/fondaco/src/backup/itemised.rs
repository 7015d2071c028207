//! Show what a bill is for, line by line, so that the lines come to its total to the unit.
//!
//! Each line is exact in 10⁻¹² of a unit, and the total is rounded up once. Shown are the steps between the running sums, each
//! rounded up as the total is: lines that are rounded up each would come to more.

use fondaco_contract::{Bill, Item, Line, Parts};
use fondaco_units::{Amount, Bytes};

/// Returns each line of a bill with what it adds to the total.
pub(super) fn shares(bill: &Bill) -> Vec<(Line, Amount)> {
    let (mut exact, mut before) = (0_u128, Amount::ZERO);
    let share = |line: &Line| {
        exact = exact.saturating_add(line.cost.get());
        let sum = Parts::new(exact).ceil().unwrap_or(Amount::MAX);
        let share = sum.saturating_sub(before);
        before = sum;
        (*line, share)
    };
    bill.lines().iter().map(share).collect()
}

/// Says how much of a thing a line is for.
pub(super) fn quantity(line: &Line) -> String {
    let bytes = || Bytes::new(u64::try_from(line.quantity).unwrap_or(u64::MAX));
    match line.item {
        Item::Open if line.quantity == 1 => "once".to_owned(),
        Item::Open => "not yet".to_owned(),
        Item::Store => format!("{} · epochs", bytes()),
        Item::Write | Item::Read => bytes().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_contract::{Meter, PriceList};
    use fondaco_crypto::{CurrencyId, SecretKey};
    use fondaco_units::{Duration, Price, Timestamp};

    fn bill(prices: [u64; 3], meter: &Meter) -> Option<Bill> {
        let entity = SecretKey::from_bytes(&[1; 32]).entity();
        let [store, write, read] = prices.map(Price::from_parts);
        let list = PriceList {
            provider: entity,
            currency: CurrencyId::issued_by(entity),
            open: Amount::new(1000),
            store,
            write,
            read,
            capacity: Bytes::new(1 << 30),
            period_max: Duration::from_seconds(7200),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 18),
            issued: Timestamp::EPOCH,
            expires: Timestamp::from_milliseconds(9),
        };
        Bill::of(&list, meter)
    }

    #[test]
    fn a_line_says_what_it_adds() {
        let meter =
            Meter { opened: true, written: 21_092_882, read: 16_384, byte_epochs: 21_092_882 };
        let bill = bill([19_558_000, 9_313_226, 37_252_903], &meter).unwrap();
        let shown = shares(&bill).into_iter();
        let shown: Vec<_> =
            shown.map(|(line, share)| (line.item, quantity(&line), share.get())).collect();
        // Rounded up each, the lines would be 1000, 413, 197 and 1, which is one too many.
        assert_eq!(bill.total(), Amount::new(1610));
        assert_eq!(
            shown,
            [
                (Item::Open, "once".to_owned(), 1000),
                (Item::Store, "20.1 MiB · epochs".to_owned(), 413),
                (Item::Write, "20.1 MiB".to_owned(), 196),
                (Item::Read, "16.0 KiB".to_owned(), 1),
            ]
        );
    }

    #[test]
    fn lines_come_to_the_total() {
        let (prices, used) = ([0, 1, 7, 19_558_000, 1 << 40], [0, 1, 1023, 21_092_882, 1 << 33]);
        let mut bills = 0;
        let all = |number: usize| (prices[number / 25], prices[number / 5 % 5], prices[number % 5]);
        for (store, write, read) in (0..125).map(all) {
            for (index, &written) in used.iter().enumerate() {
                let read_bytes = used[(index + 2) % used.len()];
                let byte_epochs = u128::from(used[(index + 3) % used.len()]);
                let meter =
                    Meter { opened: index % 2 == 0, written, read: read_bytes, byte_epochs };
                let bill = bill([store, write, read], &meter).unwrap();
                let sum: u64 = shares(&bill).iter().map(|(_, share)| share.get()).sum();
                assert_eq!(sum, bill.total().get(), "{meter:?} at {store}, {write}, {read}");
                bills += 1;
            }
        }
        assert_eq!(bills, 625);
    }
}
