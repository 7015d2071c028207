//! Counting what was used, and what it costs.

use crate::PriceList;
use fondaco_codec::record;
use fondaco_units::{Amount, Bytes, Price};
use std::fmt;

/// One thing that is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The contract itself, once; again, it costs nothing.
    Open,
    /// Bytes in, whether or not they are kept in the end.
    Write {
        /// How many.
        bytes: Bytes,
    },
    /// Bytes out; see [`read_charged`](crate::read_charged).
    Read {
        /// How many.
        bytes: Bytes,
    },
    /// Bytes kept from now on, for each epoch that is already paid for, the present one included.
    Store {
        /// How many bytes.
        bytes: Bytes,
        /// How many epochs.
        epochs: u64,
    },
    /// One more epoch, for everything that is kept.
    Advance,
}

/// What was used so far. Counters only ever rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Whether the contract was opened.
    pub opened: bool,
    /// Bytes in.
    pub written: u64,
    /// Bytes out.
    pub read: u64,
    /// The sum, over all epochs paid for, of the bytes kept in them.
    pub byte_epochs: u128,
}
record!(Meter { opened, written, read, byte_epochs });

/// Money in 10⁻¹² of a currency's smallest unit: exact, never sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Parts(u128);

impl Parts {
    /// Creates `parts` × 10⁻¹² units.
    pub const fn new(parts: u128) -> Self {
        Self(parts)
    }

    /// Returns the 10⁻¹² units.
    pub const fn get(self) -> u128 {
        self.0
    }

    /// Rounds up to whole units; nothing if they do not fit.
    pub fn ceil(self) -> Option<Amount> {
        u64::try_from(self.0.div_ceil(Price::PARTS)).ok().map(Amount::new)
    }
}

impl fmt::Display for Parts {
    /// Writes units with twelve decimals: `12.000000000345`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:012}", self.0 / Price::PARTS, self.0 % Price::PARTS))
    }
}

/// What a line of a bill is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The contract itself; counted in contracts.
    Open,
    /// What was kept; counted in bytes times epochs.
    Store,
    /// What came in; counted in bytes.
    Write,
    /// What went out; counted in bytes.
    Read,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "opened",
            Self::Store => "stored",
            Self::Write => "written",
            Self::Read => "read",
        })
    }
}

/// One line of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What for.
    pub item: Item,
    /// How much of it.
    pub quantity: u128,
    /// What that costs, exactly.
    pub cost: Parts,
}

/// What was used, line by line, and what is owed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bill {
    lines: [Line; 4],
    total: Amount,
}

impl Bill {
    /// Adds up what `meter` counted, at `prices`; nothing if the sum does not fit.
    ///
    /// The total is the price of opening plus the exact sum of the rest, rounded up once.
    pub fn of(prices: &PriceList, meter: &Meter) -> Option<Self> {
        let (opened, open) = if meter.opened { (1, prices.open) } else { (0, Amount::ZERO) };
        let stored = u128::from(prices.store.parts()).checked_mul(meter.byte_epochs)?;
        let written = prices.write.parts_for(meter.written);
        let read = prices.read.parts_for(meter.read);
        let exact = stored.checked_add(written)?.checked_add(read)?;
        let line = |item, quantity, cost| Line { item, quantity, cost: Parts(cost) };
        Some(Self {
            lines: [
                line(Item::Open, opened, u128::from(open.get()) * Price::PARTS),
                line(Item::Store, meter.byte_epochs, stored),
                line(Item::Write, u128::from(meter.written), written),
                line(Item::Read, u128::from(meter.read), read),
            ],
            total: open.checked_add(Parts(exact).ceil()?)?,
        })
    }

    /// Returns the lines, one for each [`Item`].
    pub const fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Returns the sum owed.
    pub const fn total(&self) -> Amount {
        self.total
    }
}

impl fmt::Display for Bill {
    /// Writes one line for each item and one for the sum, in smallest units of the currency.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { item, quantity, cost } in &self.lines {
            writeln!(f, "{item:<8}{quantity:>24}{cost:>36}")?;
        }
        write!(f, "{:<8}{:>24}{:>23}", "owed", "", self.total.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::tests::prices;
    use proptest::prelude::*;

    /// The paper's example, §4: 10 CLR to open a 1 MB block, 1 CLR a KB in, 4 CLR a KB out; in cents.
    #[test]
    fn the_papers_contract() {
        let free_storage = PriceList { store: Price::default(), ..prices() };
        let table = [
            (Meter::default(), 0),
            (Meter { opened: true, ..Meter::default() }, 1000),
            (Meter { opened: true, written: 1024, ..Meter::default() }, 1100),
            (Meter { opened: true, written: 1 << 20, ..Meter::default() }, 1000 + 102_400),
            (
                Meter { opened: true, written: 1 << 20, read: 1 << 20, byte_epochs: 1 << 40 },
                1000 + 102_400 + 409_600,
            ),
            (Meter { opened: true, written: 1, ..Meter::default() }, 1001),
            (Meter { read: 1, ..Meter::default() }, 1),
        ];
        for (meter, total) in table {
            assert_eq!(
                Bill::of(&free_storage, &meter).unwrap().total(),
                Amount::new(total),
                "{meter:?}"
            );
        }
    }

    #[test]
    fn a_bill_reads_like_one() {
        let meter = Meter { opened: true, written: 1024, read: 1, byte_epochs: 5 };
        let text = "\
opened                         1                   1000.000000000000
stored                         5                      0.000000000015
written                     1024                    100.000000000000
read                           1                      0.390625000000
owed                                               1101";
        assert_eq!(Bill::of(&prices(), &meter).unwrap().to_string(), text);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dear = PriceList { open: Amount::MAX, store: Price::from_parts(u64::MAX), ..prices() };
        assert!(Bill::of(&dear, &Meter { opened: true, ..Meter::default() }).is_some());
        assert!(Bill::of(&dear, &Meter { opened: true, written: 1, ..Meter::default() }).is_none());
        assert!(Bill::of(&dear, &Meter { byte_epochs: u128::MAX, ..Meter::default() }).is_none());
        assert!(Bill::of(&dear, &Meter { byte_epochs: 1 << 64, ..Meter::default() }).is_none());
    }

    proptest! {
        /// Each line is its quantity times its price, and the total is their exact sum rounded up: by an oracle
        /// that carries units and 10⁻¹² apart.
        #[test]
        fn a_bill_adds_up(opened: bool, written: u64, read: u64, byte_epochs in 0..1_u128 << 60, store: u64, write: u64, out: u64) {
            let list = PriceList { store: Price::from_parts(store), write: Price::from_parts(write), read: Price::from_parts(out), ..prices() };
            if let Some(bill) = Bill::of(&list, &Meter { opened, written, read, byte_epochs }) {
                let (mut units, mut parts) = (0, 0);
                for line in bill.lines() {
                    units += line.cost.get() / Price::PARTS;
                    parts += line.cost.get() % Price::PARTS;
                }
                prop_assert_eq!(u128::from(bill.total().get()), units + parts.div_ceil(Price::PARTS));
            }
        }
    }
}
