//! What a provider sells and at what price: signed, and good for hours.

use crate::Parts;
use fondaco_codec::{Encode, choice, record};
use fondaco_crypto::{CurrencyId, Domain, EntityId, SecretKey, Signature};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};

/// Under which a provider signs a price list.
const PRICES: Domain = Domain::new("fondaco 2026 price list v1");

/// The shortest step a provider may offer.
pub const STEP_MIN: Bytes = Bytes::new(4 << 10);
/// The longest step a provider may offer: one step is one message, and is what either side risks.
pub const STEP_LIMIT: Bytes = Bytes::new(1 << 20);
/// The shortest epoch a provider may offer.
pub const EPOCH_MIN: Duration = Duration::from_seconds(1);
/// The longest period a provider may offer: ten years.
pub const PERIOD_LIMIT: Duration = Duration::from_seconds(3653 * 86_400);
/// How long a price list may be good for.
pub const VALIDITY_MAX: Duration = Duration::from_seconds(86_400);
/// How far two honest clocks may be apart.
pub const SKEW_MAX: Duration = Duration::from_seconds(300);
/// Reads are metered in whole units from the front of the shard: a shorter part cannot be proved, so it is never sent alone.
pub const READ_UNIT: Bytes = Bytes::new(16 << 10);

/// What a provider sells and at what price. Sums are in the smallest unit of `currency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceList {
    /// Who sells.
    pub provider: EntityId,
    /// In which currency it wants to be paid.
    pub currency: CurrencyId,
    /// The price of a contract, due when it is opened.
    pub open: Amount,
    /// The price of a byte kept through one epoch, or a part of one.
    pub store: Price,
    /// The price of a byte in.
    pub write: Price,
    /// The price of a byte out.
    pub read: Price,
    /// How much room it has now.
    pub capacity: Bytes,
    /// The longest contract it takes.
    pub period_max: Duration,
    /// How long an epoch is: storage is paid epoch by epoch, in advance.
    pub epoch: Duration,
    /// The most bytes of one step, in or out.
    pub step_max: Bytes,
    /// When the list was signed.
    pub issued: Timestamp,
    /// From when it is void.
    pub expires: Timestamp,
}
record!(PriceList {
    provider,
    currency,
    open,
    store,
    write,
    read,
    capacity,
    period_max,
    epoch,
    step_max,
    issued,
    expires
});

impl PriceList {
    /// Signs the list. `key` must be the provider's, or nobody will verify it.
    pub fn sign(self, key: &SecretKey) -> SignedPriceList {
        SignedPriceList { signature: key.sign(PRICES, &self.to_bytes()), prices: self }
    }

    /// Checks the limits of the list and that it is good at `now`.
    ///
    /// # Errors
    ///
    /// All of [`PriceListError`] but the signature.
    pub fn check(&self, now: Timestamp) -> Result<(), PriceListError> {
        if !(STEP_MIN..=STEP_LIMIT).contains(&self.step_max) {
            return Err(PriceListError::Step { step_max: self.step_max });
        }
        if self.epoch < EPOCH_MIN {
            return Err(PriceListError::Epoch { epoch: self.epoch });
        }
        if self.period_max < self.epoch || self.period_max > PERIOD_LIMIT {
            return Err(PriceListError::Period { period_max: self.period_max });
        }
        if self.expires <= self.issued || self.expires.since(self.issued) > VALIDITY_MAX {
            return Err(PriceListError::Validity { issued: self.issued, expires: self.expires });
        }
        if self.issued > now.after(SKEW_MAX) {
            return Err(PriceListError::Early { issued: self.issued, now });
        }
        if self.expires <= now {
            return Err(PriceListError::Expired { expires: self.expires, now });
        }
        Ok(())
    }
}

/// A price list with its provider's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedPriceList {
    /// The list.
    pub prices: PriceList,
    /// The provider's, under `fondaco 2026 price list v1`.
    pub signature: Signature,
}
record!(SignedPriceList { prices, signature });

impl SignedPriceList {
    /// Checks signature, limits, and that the list is good at `now`.
    ///
    /// # Errors
    ///
    /// The first that applies of [`PriceListError`].
    pub fn verify(&self, now: Timestamp) -> Result<(), PriceListError> {
        self.prices
            .provider
            .verify(PRICES, &self.prices.to_bytes(), &self.signature)
            .map_err(|_| PriceListError::Signature)?;
        self.prices.check(now)
    }
}

/// Returns how many bytes a read of `length` bytes from `offset` of a shard of `size` bytes is charged for: all of
/// every [`READ_UNIT`] it touches. Nothing if it reaches past the end, or is empty while the shard is not.
pub fn read_charged(offset: Bytes, length: Bytes, size: Bytes) -> Option<Bytes> {
    let end = offset.checked_add(length).filter(|end| *end <= size)?;
    if length == Bytes::ZERO && size != Bytes::ZERO {
        return None;
    }
    let unit = READ_UNIT.get();
    let start = offset.get() / unit * unit;
    let end = end.get().div_ceil(unit).saturating_mul(unit).min(size.get());
    Some(Bytes::new(end - start))
}

/// Returns the most that one step can cost, in and out together: what a buyer who pays first, and a provider who
/// serves first, stand to lose.
pub fn exposure_max(prices: &PriceList) -> Amount {
    let step = prices.step_max.get().min(STEP_LIMIT.get());
    // A read that begins and ends inside a unit is charged for both of them whole.
    let parts = prices.write.parts_for(step) + prices.read.parts_for(step + 2 * READ_UNIT.get());
    Parts::new(parts).ceil().unwrap_or(Amount::MAX)
}

/// Why a price list is not taken. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceListError {
    /// The provider did not sign it.
    #[error("the price list is not signed by its provider")]
    Signature,
    /// The step is shorter than [`STEP_MIN`] or longer than [`STEP_LIMIT`].
    #[error("a step of {step_max} is not between {STEP_MIN} and {STEP_LIMIT}")]
    Step {
        /// The step offered.
        step_max: Bytes,
    },
    /// The epoch is shorter than [`EPOCH_MIN`].
    #[error("an epoch of {epoch} is shorter than {EPOCH_MIN}")]
    Epoch {
        /// The epoch offered.
        epoch: Duration,
    },
    /// The longest period is shorter than an epoch, or longer than [`PERIOD_LIMIT`].
    #[error("a longest period of {period_max} is not between one epoch and {PERIOD_LIMIT}")]
    Period {
        /// The period offered.
        period_max: Duration,
    },
    /// The list expires before it is issued, or is good for longer than [`VALIDITY_MAX`].
    #[error("a list issued {issued} may not expire {expires}")]
    Validity {
        /// When it was signed.
        issued: Timestamp,
        /// From when it is void.
        expires: Timestamp,
    },
    /// The list is from the future, by more than [`SKEW_MAX`].
    #[error("the list was issued {issued}; it is {now}")]
    Early {
        /// When it was signed.
        issued: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
    /// The list is void.
    #[error("the list expired {expires}; it is {now}")]
    Expired {
        /// From when it is void.
        expires: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
}
choice!(PriceListError {
    1 => Signature,
    2 => Step { step_max },
    3 => Epoch { epoch },
    4 => Period { period_max },
    5 => Validity { issued, expires },
    6 => Early { issued, now },
    7 => Expired { expires, now },
});

impl PriceListError {
    /// Returns whether the same list can be taken later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Early { .. } => true,
            Self::Signature
            | Self::Step { .. }
            | Self::Epoch { .. }
            | Self::Period { .. }
            | Self::Validity { .. }
            | Self::Expired { .. } => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use fondaco_codec::Decode;
    use proptest::prelude::*;

    pub(crate) const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);

    pub(crate) fn provider() -> SecretKey {
        SecretKey::from_bytes(&[1; 32])
    }

    /// The paper's prices, in cents: 10 CLR to open, 1 CLR for a KB in, 4 CLR for a KB out; and a store price.
    pub(crate) fn prices() -> PriceList {
        PriceList {
            provider: provider().entity(),
            currency: CurrencyId::issued_by(EntityId::from_bytes([9; 32])),
            open: Amount::new(1000),
            store: Price::from_parts(3),
            write: Price::of(Amount::new(100), Bytes::new(1024)).unwrap(),
            read: Price::of(Amount::new(400), Bytes::new(1024)).unwrap(),
            capacity: Bytes::new(1 << 30),
            period_max: Duration::from_seconds(14 * 86_400),
            epoch: Duration::from_seconds(3600),
            step_max: Bytes::new(1 << 20),
            issued: NOON,
            expires: NOON.after(Duration::from_seconds(3600)),
        }
    }

    type Edit = fn(&mut PriceList);
    type Outcome = fn(PriceListError) -> bool;

    #[test]
    fn a_list_is_refused_for_the_first_of_its_faults() {
        let table: &[(&str, Edit, Outcome)] = &[
            (
                "short step",
                |list| list.step_max = Bytes::new(4095),
                |e| matches!(e, PriceListError::Step { .. }),
            ),
            (
                "long step",
                |list| list.step_max = Bytes::new((1 << 20) + 1),
                |e| matches!(e, PriceListError::Step { .. }),
            ),
            (
                "epoch",
                |list| list.epoch = Duration::from_milliseconds(999),
                |e| matches!(e, PriceListError::Epoch { .. }),
            ),
            (
                "short period",
                |list| list.period_max = Duration::from_seconds(1),
                |e| matches!(e, PriceListError::Period { .. }),
            ),
            (
                "long period",
                |list| list.period_max = Duration::from_milliseconds(u64::MAX),
                |e| matches!(e, PriceListError::Period { .. }),
            ),
            (
                "backwards",
                |list| list.expires = list.issued,
                |e| matches!(e, PriceListError::Validity { .. }),
            ),
            (
                "over a day",
                |list| list.expires = NOON.after(Duration::from_seconds(86_401)),
                |e| matches!(e, PriceListError::Validity { .. }),
            ),
            (
                "early",
                |list| {
                    (list.issued, list.expires) = (
                        NOON.after(Duration::from_seconds(301)),
                        NOON.after(Duration::from_seconds(400)),
                    );
                },
                |e| matches!(e, PriceListError::Early { .. }),
            ),
            (
                "expired",
                |list| {
                    (list.issued, list.expires) =
                        (Timestamp::EPOCH, Timestamp::EPOCH.after(EPOCH_MIN));
                },
                |e| matches!(e, PriceListError::Expired { .. }),
            ),
            (
                "two faults",
                |list| (list.step_max, list.epoch) = (Bytes::ZERO, Duration::ZERO),
                |e| matches!(e, PriceListError::Step { .. }),
            ),
        ];
        assert_eq!(prices().sign(&provider()).verify(NOON), Ok(()));
        for (name, edit, outcome) in table {
            let mut list = prices();
            edit(&mut list);
            let refusal = list.sign(&provider()).verify(NOON).unwrap_err();
            assert!(outcome(refusal), "{name}: {refusal}");
            assert_eq!(
                list.sign(&SecretKey::from_bytes(&[2; 32])).verify(NOON),
                Err(PriceListError::Signature)
            );
            assert_eq!(PriceListError::from_bytes(&refusal.to_bytes()), Ok(refusal));
        }
    }

    #[test]
    fn a_signed_list_is_below_one_kilobyte() {
        let bytes = prices().sign(&provider()).to_bytes();
        assert_eq!(bytes.len(), 208);
        assert_eq!(SignedPriceList::from_bytes(&bytes), Ok(prices().sign(&provider())));
    }

    #[test]
    fn reads_are_charged_by_whole_units() {
        let size = 40_000;
        let table = [
            ((0, 1), Some(16_384)),
            ((16_383, 2), Some(32_768)),
            ((16_384, 16_384), Some(16_384)),
            ((32_768, 1), Some(7232)),
            ((0, 40_000), Some(40_000)),
            ((0, 40_001), None),
            ((0, 0), None),
            ((u64::MAX, 2), None),
        ];
        for ((offset, length), charged) in table {
            assert_eq!(
                read_charged(Bytes::new(offset), Bytes::new(length), Bytes::new(size)),
                charged.map(Bytes::new)
            );
        }
        assert_eq!(read_charged(Bytes::ZERO, Bytes::ZERO, Bytes::ZERO), Some(Bytes::ZERO));
    }

    proptest! {
        /// What one step is charged is never more than the exposure both sides were told.
        #[test]
        fn no_step_costs_more_than_the_exposure(write: u64, read: u64, step_max in 4096..=1_048_576_u64, offset in 0..=u64::from(u32::MAX), size in 1..=u64::from(u32::MAX)) {
            let list = PriceList { write: Price::from_parts(write), read: Price::from_parts(read), step_max: Bytes::new(step_max), ..prices() };
            let length = Bytes::new(step_max.min(size.saturating_sub(offset)));
            if let Some(charged) = read_charged(Bytes::new(offset), length, Bytes::new(size)) {
                let parts = list.write.parts_for(step_max) + list.read.parts_for(charged.get());
                prop_assert!(Parts::new(parts).ceil().unwrap() <= exposure_max(&list));
            }
        }

        #[test]
        fn any_bytes_are_a_list_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(list) = SignedPriceList::from_bytes(&bytes) {
                prop_assert!(list.verify(NOON).is_err());
                exposure_max(&list.prices);
            }
        }
    }
}
