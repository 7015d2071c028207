//! The running account that both sides of a contract keep.
//!
//! A voucher authorises a running total, so a buyer signs for a tab *after* a charge, and the provider serves what the
//! highest voucher it has covers. Concurrent charges may reach the provider in another order than they were signed in:
//! the counters they end in are the same, and the highest voucher covers them all.

use crate::{Bill, Charge, Meter, Terms};
use fondaco_codec::{choice, record};
use fondaco_units::{Amount, Bytes};

/// What was used, what is kept, and how long that is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tab {
    /// What was used so far.
    pub meter: Meter,
    /// How many epochs from the beginning are paid for; the first is from the start.
    pub epochs_paid: u64,
    /// What is kept now.
    pub stored: Bytes,
}
record!(Tab { meter, epochs_paid, stored });

impl Default for Tab {
    fn default() -> Self {
        Self { meter: Meter::default(), epochs_paid: 1, stored: Bytes::ZERO }
    }
}

impl Tab {
    /// Returns what is owed so far.
    ///
    /// # Errors
    ///
    /// [`TabError::Overflow`], for a tab that a peer sent; never for one that charges were added to.
    pub fn owed(&self, terms: &Terms) -> Result<Amount, TabError> {
        Bill::of(&terms.prices, &self.meter).map(|bill| bill.total()).ok_or(TabError::Overflow)
    }

    /// Returns the tab after `charge`.
    ///
    /// # Errors
    ///
    /// All of [`TabError`] but `Unpaid`.
    pub fn after(&self, terms: &Terms, charge: Charge) -> Result<Self, TabError> {
        let mut tab = *self;
        let meter = &mut tab.meter;
        let kept = |bytes: Bytes, epochs: u64| {
            let more = u128::from(bytes.get()) * u128::from(epochs);
            self.meter.byte_epochs.checked_add(more).ok_or(TabError::Overflow)
        };
        let sum = |sum: u64, bytes: Bytes| sum.checked_add(bytes.get()).ok_or(TabError::Overflow);
        match charge {
            Charge::Open => meter.opened = true,
            Charge::Write { bytes } => meter.written = sum(meter.written, bytes)?,
            Charge::Read { bytes } => meter.read = sum(meter.read, bytes)?,
            Charge::Store { bytes, epochs } => {
                let size_max = terms.size_max;
                let stored = self.stored.checked_add(bytes).ok_or(TabError::Overflow)?;
                if stored > size_max {
                    return Err(TabError::OverSize { size: stored, size_max });
                }
                if epochs == 0 || epochs > self.epochs_paid {
                    return Err(TabError::Epochs { epochs, epochs_paid: self.epochs_paid });
                }
                meter.byte_epochs = kept(bytes, epochs)?;
                tab.stored = stored;
            }
            Charge::Advance => {
                if self.epochs_paid >= terms.epochs() {
                    return Err(TabError::PaidToTheEnd { epochs_paid: self.epochs_paid });
                }
                meter.byte_epochs = kept(self.stored, 1)?;
                tab.epochs_paid += 1;
            }
        }
        tab.owed(terms)?;
        Ok(tab)
    }

    /// The buyer's side: returns the running total that a voucher for `charge` must authorise.
    ///
    /// For several charges on one voucher, quote the last on what [`Tab::after`] returns for the others.
    ///
    /// # Errors
    ///
    /// All of [`TabError`] but `Unpaid`.
    pub fn quote(&self, terms: &Terms, charge: Charge) -> Result<Amount, TabError> {
        self.after(terms, charge)?.owed(terms)
    }

    /// Returns the tab that will be when what is kept now is kept to the end, and nothing else is used.
    ///
    /// # Errors
    ///
    /// [`TabError::Overflow`].
    pub fn kept_to_the_end(&self, terms: &Terms) -> Result<Self, TabError> {
        let mut tab = *self;
        let epochs = terms.epochs().saturating_sub(self.epochs_paid);
        let more = u128::from(self.stored.get()).checked_mul(epochs.into());
        let byte_epochs = more.and_then(|more| tab.meter.byte_epochs.checked_add(more));
        tab.meter.byte_epochs = byte_epochs.ok_or(TabError::Overflow)?;
        tab.epochs_paid += epochs;
        tab.owed(terms)?;
        Ok(tab)
    }

    /// The provider's side: adds `charge` if `authorised`, the running total of the highest voucher, covers it and all before it.
    ///
    /// # Errors
    ///
    /// The first that applies of [`TabError`]; the tab is then unchanged.
    pub fn admit(
        &mut self,
        terms: &Terms,
        charge: Charge,
        authorised: Amount,
    ) -> Result<(), TabError> {
        let after = self.after(terms, charge)?;
        let owed = after.owed(terms)?;
        if authorised < owed {
            return Err(TabError::Unpaid { owed, authorised });
        }
        *self = after;
        Ok(())
    }

    /// Stops keeping `bytes`. What was paid for them stays paid.
    pub const fn delete(&mut self, bytes: Bytes) {
        self.stored = self.stored.saturating_sub(bytes);
    }
}

/// Why a charge is not added. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TabError {
    /// More would be kept than was agreed.
    #[error("{size} would be kept; the contract is for {size_max}")]
    OverSize {
        /// What would be kept.
        size: Bytes,
        /// What was agreed.
        size_max: Bytes,
    },
    /// What is stored must be paid for from the present epoch to the last one that is paid for.
    #[error("{epochs} epochs to be stored, of {epochs_paid} that are paid for")]
    Epochs {
        /// The epochs to be stored.
        epochs: u64,
        /// The epochs paid for.
        epochs_paid: u64,
    },
    /// All epochs of the contract are paid for.
    #[error("all {epochs_paid} epochs of the contract are paid for")]
    PaidToTheEnd {
        /// How many that is.
        epochs_paid: u64,
    },
    /// The sum owed cannot be counted.
    #[error("the sum owed cannot be counted")]
    Overflow,
    /// The vouchers so far do not cover the charge.
    #[error("{} are owed, {} are authorised", owed.get(), authorised.get())]
    Unpaid {
        /// The running total after the charge.
        owed: Amount,
        /// The running total of the highest voucher.
        authorised: Amount,
    },
}
choice!(TabError {
    1 => OverSize { size, size_max },
    2 => Epochs { epochs, epochs_paid },
    3 => PaidToTheEnd { epochs_paid },
    4 => Overflow,
    5 => Unpaid { owed, authorised },
});

impl TabError {
    /// Returns whether the same charge can be added later: after a delete, an advance, or a higher voucher.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::OverSize { .. } | Self::Epochs { .. } | Self::Unpaid { .. } => true,
            Self::PaidToTheEnd { .. } | Self::Overflow => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PriceList, prices::tests::prices, terms::tests::terms};
    use fondaco_units::Price;
    use proptest::{collection::vec, prelude::*};

    const fn write(bytes: u64) -> Charge {
        Charge::Write { bytes: Bytes::new(bytes) }
    }

    const fn store(bytes: u64, epochs: u64) -> Charge {
        Charge::Store { bytes: Bytes::new(bytes), epochs }
    }

    fn priced(store: u64, write: u64, read: u64) -> Terms {
        let prices = PriceList {
            store: Price::from_parts(store),
            write: Price::from_parts(write),
            read: Price::from_parts(read),
            ..prices()
        };
        Terms { prices, ..terms() }
    }

    #[test]
    fn charges_and_what_they_come_to() {
        let terms = priced(Price::PARTS.try_into().unwrap(), 0, 0); // one unit for a byte and epoch
        let end = terms.epochs();
        let tab =
            |epochs_paid, stored| Tab { epochs_paid, stored: Bytes::new(stored), ..Tab::default() };
        let (size_max, over) = (terms.size_max, Bytes::new(terms.size_max.get() + 1));
        let table = [
            (tab(1, 0), Charge::Open, Ok(1000)),
            (tab(1, 0), store(5, 1), Ok(5)),
            (tab(3, 0), store(5, 3), Ok(15)),
            (tab(3, 0), store(5, 4), Err(TabError::Epochs { epochs: 4, epochs_paid: 3 })),
            (tab(3, 0), store(5, 0), Err(TabError::Epochs { epochs: 0, epochs_paid: 3 })),
            (tab(1, 1), store(size_max.get(), 1), Err(TabError::OverSize { size: over, size_max })),
            (tab(1, 0), store(size_max.get(), 1), Ok(1 << 20)),
            (tab(1, 7), Charge::Advance, Ok(7)),
            (tab(end - 1, 7), Charge::Advance, Ok(7)),
            (tab(end, 7), Charge::Advance, Err(TabError::PaidToTheEnd { epochs_paid: end })),
        ];
        for (before, charge, quoted) in table {
            assert_eq!(before.quote(&terms, charge), quoted.map(Amount::new), "{charge:?}");
            let mut tab = before;
            match quoted {
                Err(refusal) => assert_eq!(tab.admit(&terms, charge, Amount::MAX), Err(refusal)),
                Ok(owed) => {
                    let (owed, less) = (Amount::new(owed), Amount::new(owed - 1));
                    let refusal = TabError::Unpaid { owed, authorised: less };
                    assert_eq!(tab.admit(&terms, charge, less), Err(refusal));
                    assert_eq!(tab, before, "a refusal changed the tab");
                    assert_eq!(tab.admit(&terms, charge, owed), Ok(()));
                }
            }
        }
        let full = Tab { meter: Meter { written: u64::MAX, ..Meter::default() }, ..Tab::default() };
        assert_eq!(full.quote(&terms, write(1)), Err(TabError::Overflow));
    }

    #[test]
    fn what_is_kept_to_the_end() {
        let terms = priced(Price::PARTS.try_into().unwrap(), 0, 0); // one unit for a byte and epoch
        let end = terms.epochs();
        for (epochs_paid, stored, owed) in
            [(end, 7, 0), (end - 1, 7, 7), (end - 2, 7, 14), (end - 2, 0, 0), (end + 1, 7, 0)]
        {
            let tab = Tab { epochs_paid, stored: Bytes::new(stored), ..Tab::default() };
            let kept = tab.kept_to_the_end(&terms).unwrap();
            assert_eq!(kept.owed(&terms), Ok(Amount::new(owed)), "{epochs_paid} {stored}");
            assert_eq!(kept.epochs_paid, end.max(epochs_paid));
            // The same as epoch by epoch.
            let mut tab = tab;
            while let Ok(after) = tab.after(&terms, Charge::Advance) {
                tab = after;
            }
            assert_eq!(tab, kept);
        }
        let full = Meter { byte_epochs: u128::MAX, ..Meter::default() };
        let full = Tab { meter: full, stored: Bytes::new(1), ..Tab::default() };
        assert_eq!(full.kept_to_the_end(&terms), Err(TabError::Overflow));
    }

    fn charges() -> impl Strategy<Value = Charge> {
        let bytes = (0..1_u64 << 40).prop_map(Bytes::new);
        prop_oneof![
            Just(Charge::Open),
            bytes.clone().prop_map(|bytes| Charge::Write { bytes }),
            bytes.prop_map(|bytes| Charge::Read { bytes }),
            (0..1_u64 << 18, 0..4_u64).prop_map(|(bytes, epochs)| store(bytes, epochs)),
            Just(Charge::Advance),
        ]
    }

    proptest! {
        /// However a write is cut into steps, it costs the same in the end, and never less on the way.
        #[test]
        fn steps_add_up_to_one_write(steps in vec(0..1_u64 << 20, 0..50), price: u64) {
            let terms = priced(0, price, 0);
            let mut tab = Tab::default();
            let mut owed = Amount::ZERO;
            for step in &steps {
                tab = tab.after(&terms, write(*step)).unwrap();
                let now_owed = tab.owed(&terms).unwrap();
                prop_assert!(now_owed >= owed);
                owed = now_owed;
            }
            prop_assert_eq!(Ok(owed), Tab::default().quote(&terms, write(steps.iter().sum())));
        }

        /// The goal: neither side can be surprised. The buyer quotes, the provider admits exactly from that sum on,
        /// both tabs stay equal, and what is owed never falls.
        #[test]
        fn both_sides_agree(charges in vec(charges(), 0..60), prices: (u64, u64, u64), short in 1..1000_u64) {
            let terms = priced(prices.0, prices.1, prices.2);
            let (mut buyer, mut provider) = (Tab::default(), Tab::default());
            for charge in charges {
                let before = provider.owed(&terms).unwrap();
                match buyer.quote(&terms, charge) {
                    Err(refusal) => prop_assert_eq!(provider.admit(&terms, charge, Amount::MAX), Err(refusal)),
                    Ok(quoted) => {
                        prop_assert!(quoted >= before);
                        if let Some(authorised) = quoted.checked_sub(Amount::new(short)) {
                            let unpaid = Err(TabError::Unpaid { owed: quoted, authorised });
                            prop_assert_eq!(provider.admit(&terms, charge, authorised), unpaid);
                            prop_assert_eq!(provider, buyer);
                        }
                        prop_assert_eq!(provider.admit(&terms, charge, quoted), Ok(()));
                        buyer = buyer.after(&terms, charge).unwrap();
                    }
                }
                prop_assert_eq!(provider, buyer);
            }
        }

        /// Storing a shard and advancing commute: a shard that arrives after an advance pays for that epoch itself.
        #[test]
        fn storing_and_advancing_commute(sizes in vec(0..1_u64 << 15, 1..20), advance_at in 0..20_usize, from in 0..1_u64) {
            let terms = priced(7, 11, 13);
            let run = |advance_at: usize| {
                let mut tab = Tab::default();
                for (index, size) in sizes.iter().enumerate() {
                    if index == advance_at {
                        tab = tab.after(&terms, Charge::Advance).unwrap();
                    }
                    tab = tab.after(&terms, store(*size, tab.epochs_paid - from)).unwrap();
                }
                if advance_at >= sizes.len() {
                    tab = tab.after(&terms, Charge::Advance).unwrap();
                }
                tab
            };
            prop_assert_eq!(run(advance_at), run(0));
        }
    }
}
