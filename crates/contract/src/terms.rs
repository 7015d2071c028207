//! What buyer and provider sign, and the id it gives the contract.

use crate::{GRACE_EPOCHS, Parts, PriceList, PriceListError, SKEW_MAX, SignedPriceList};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, choice, record};
use fondaco_crypto::{Digest, Domain, EntityId, SecretKey, Signature, SignatureError};
use fondaco_units::{Bytes, Duration, Timestamp};
use std::{fmt, str::FromStr};

const ID: Domain = Domain::new("fondaco 2026 contract v2");
const BUYER: Domain = Domain::new("fondaco 2026 contract buyer v2");
const PROVIDER: Domain = Domain::new("fondaco 2026 contract provider v2");

/// Names one contract: the digest of its terms, so both sides can derive it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContractId(Digest);

impl ContractId {
    /// Takes over the digest of terms.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// Returns the digest of the terms.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for ContractId {
    /// Writes the one text form: `contract:` and 64 lowercase hex digits; with `{:.8}`, the first eight of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("contract:")?;
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for ContractId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContractId({self:.16}…)")
    }
}

/// The text is not `contract:` and 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a contract is written `contract:` and 64 lowercase hex digits")]
pub struct ParseContractIdError;

impl FromStr for ContractId {
    type Err = ParseContractIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("contract:").ok_or(ParseContractIdError)?;
        digits.parse().map(Self).map_err(|_| ParseContractIdError)
    }
}

impl Encode for ContractId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for ContractId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Digest::decode(input).map(Self)
    }
}

/// What a buyer and a provider agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Who pays.
    pub buyer: EntityId,
    /// Who serves, and at what price for as long as the contract lasts.
    pub prices: PriceList,
    /// The provider's signature of `prices`: it need not remember the lists it handed out.
    pub prices_signature: Signature,
    /// The most that may be kept at once.
    pub size_max: Bytes,
    /// From when the first epoch counts.
    pub begins: Timestamp,
    /// From when nothing is owed any more, by either side.
    pub ends: Timestamp,
    /// Drawn by the buyer, so that no two contracts are one.
    pub nonce: u128,
    /// The contract of the same two whose shards this one takes over, if any.
    pub renews: Option<ContractId>,
}
record!(Terms { buyer, prices, prices_signature, size_max, begins, ends, nonce, renews });

impl Terms {
    /// Writes terms for a contract that begins at `begins` and lasts for `period`, at a price list in hand.
    pub fn new(
        buyer: EntityId,
        list: &SignedPriceList,
        size_max: Bytes,
        begins: Timestamp,
        period: Duration,
        nonce: u128,
    ) -> Self {
        let SignedPriceList { prices, signature: prices_signature } = *list;
        Self {
            buyer,
            prices,
            prices_signature,
            size_max,
            begins,
            ends: begins.after(period),
            nonce,
            renews: None,
        }
    }

    /// Makes these the terms of a contract that takes over the shards of `renewed`. It may begin later than now, and may
    /// be for room that `renewed` has already, so a provider checks both against that contract.
    #[must_use]
    pub const fn renewing(self, renewed: ContractId) -> Self {
        Self { renews: Some(renewed), ..self }
    }

    /// Returns the id of the contract with these terms.
    pub fn id(&self) -> ContractId {
        ContractId(Digest::derive(ID, &self.to_bytes()))
    }

    /// Returns the price list, as its provider signed it.
    pub const fn list(&self) -> SignedPriceList {
        SignedPriceList { prices: self.prices, signature: self.prices_signature }
    }

    /// Signs the terms as their buyer.
    pub fn sign_as_buyer(&self, key: &SecretKey) -> Signature {
        key.sign(BUYER, &self.to_bytes())
    }

    /// Signs the terms as their provider.
    pub fn sign_as_provider(&self, key: &SecretKey) -> Signature {
        key.sign(PROVIDER, &self.to_bytes())
    }

    /// Checks the buyer's signature.
    ///
    /// # Errors
    ///
    /// The buyer did not sign these terms as their buyer.
    pub fn verify_buyer(&self, signature: &Signature) -> Result<(), SignatureError> {
        self.buyer.verify(BUYER, &self.to_bytes(), signature)
    }

    /// Checks the provider's signature.
    ///
    /// # Errors
    ///
    /// The provider did not sign these terms as their provider.
    pub fn verify_provider(&self, signature: &Signature) -> Result<(), SignatureError> {
        self.prices.provider.verify(PROVIDER, &self.to_bytes(), signature)
    }

    /// Checks what a provider must refuse, whoever it is and whatever room it has.
    ///
    /// # Errors
    ///
    /// The first that applies of [`TermsError`].
    pub fn check(&self, now: Timestamp) -> Result<(), TermsError> {
        self.list().verify(now).map_err(|why| TermsError::Prices { why })?;
        let Self { size_max, begins, ends, .. } = *self;
        let PriceList { capacity, period_max, .. } = self.prices;
        let is_new = self.renews.is_none();
        if size_max == Bytes::ZERO || (is_new && size_max > capacity) {
            return Err(TermsError::Size { size_max, capacity });
        }
        if is_new && begins > now.after(SKEW_MAX) {
            return Err(TermsError::Early { begins, now });
        }
        // Who renews for another could not pay for the epoch that has begun.
        let late = if is_new { SKEW_MAX } else { self.prices.epoch.max(SKEW_MAX) };
        if now > begins.after(late) {
            return Err(TermsError::Late { begins, now });
        }
        let period = ends.since(begins);
        if period == Duration::ZERO || period > period_max {
            return Err(TermsError::Period { period, period_max });
        }
        self.full_cost().ok_or(TermsError::Dear { size_max, period })
    }

    /// Whether keeping everything to the end, and one step more, can be counted.
    fn full_cost(&self) -> Option<()> {
        let byte_epochs = u128::from(self.size_max.get()) * u128::from(self.epochs());
        let stored = u128::from(self.prices.store.parts()).checked_mul(byte_epochs)?;
        let kept = self.prices.open.checked_add(Parts::new(stored).ceil()?)?;
        kept.checked_add(crate::exposure_max(&self.prices)).map(|_| ())
    }

    /// Returns how many epochs the contract has; the last may be cut short, and costs a whole one.
    pub const fn epochs(&self) -> u64 {
        self.ends.since(self.begins).div_ceil(self.prices.epoch)
    }

    /// Returns which epoch it is at `now`, from 0; before the beginning, 0.
    pub const fn epoch_at(&self, now: Timestamp) -> u64 {
        let epoch = self.prices.epoch.milliseconds();
        now.since(self.begins).milliseconds() / if epoch == 0 { 1 } else { epoch }
    }

    /// Returns until when the first `epochs` epochs last: never after the end.
    pub fn paid_until(&self, epochs: u64) -> Timestamp {
        let span = self.prices.epoch.milliseconds().saturating_mul(epochs);
        self.begins.after(Duration::from_milliseconds(span)).min(self.ends)
    }

    /// Returns when a contract of which `epochs_paid` epochs are paid for lapses: [`GRACE_EPOCHS`] later, or at the end.
    pub fn lapses_at(&self, epochs_paid: u64) -> Timestamp {
        self.paid_until(epochs_paid.saturating_add(GRACE_EPOCHS))
    }

    /// Returns whether an honest clock within `skew` of `now` may be in `epoch`.
    ///
    /// Buyer and provider agree by this on the epoch from which a shard is paid for, so that a charge at the turn of an
    /// epoch is the same on both sides.
    pub fn epoch_is_near(&self, epoch: u64, now: Timestamp) -> bool {
        // Not more than half an epoch: a short epoch must not be paid for by the one before.
        let skew = Duration::from_milliseconds(
            SKEW_MAX.milliseconds().min(self.prices.epoch.milliseconds() / 2),
        );
        let early =
            Timestamp::from_milliseconds(now.milliseconds().saturating_sub(skew.milliseconds()));
        (self.epoch_at(early)..=self.epoch_at(now.after(skew))).contains(&epoch)
    }
}

/// Why a provider does not sign terms. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// The price list is not the provider's, not sane, or not good now.
    #[error("{why}")]
    Prices {
        /// What is wrong with it.
        why: PriceListError,
    },
    /// The size is zero, or more than the provider offered.
    #[error("{size_max} is not between one byte and the {capacity} offered")]
    Size {
        /// The size wanted.
        size_max: Bytes,
        /// The size offered.
        capacity: Bytes,
    },
    /// The contract begins later than now.
    #[error("the contract begins {begins}; it is {now}")]
    Early {
        /// When it begins.
        begins: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
    /// The contract began before now.
    #[error("the contract began {begins}; it is {now}")]
    Late {
        /// When it began.
        begins: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
    /// The contract ends before it begins, or is longer than the provider offered.
    #[error("a period of {period} is not between a moment and the {period_max} offered")]
    Period {
        /// The period wanted.
        period: Duration,
        /// The longest period offered.
        period_max: Duration,
    },
    /// Keeping everything to the end would cost more than can be counted.
    #[error("{size_max} for {period} cost more than can be counted")]
    Dear {
        /// The size wanted.
        size_max: Bytes,
        /// The period wanted.
        period: Duration,
    },
}
choice!(TermsError {
    1 => Prices { why },
    2 => Size { size_max, capacity },
    3 => Early { begins, now },
    4 => Late { begins, now },
    5 => Period { period, period_max },
    6 => Dear { size_max, period },
});

impl TermsError {
    /// Returns whether the same terms can be signed later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Prices { why } => why.is_transient(),
            Self::Early { .. } => true,
            Self::Size { .. } | Self::Late { .. } | Self::Period { .. } | Self::Dear { .. } => {
                false
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::prices::tests::{NOON, prices, provider};
    use fondaco_units::{Amount, Price};
    use proptest::prelude::*;

    pub(crate) fn buyer() -> SecretKey {
        SecretKey::from_bytes(&[3; 32])
    }

    /// A megabyte for a fortnight from noon, 12 July 2003.
    pub(crate) fn terms() -> Terms {
        let fortnight = Duration::from_seconds(14 * 86_400);
        let list = prices().sign(&provider());
        Terms::new(buyer().entity(), &list, Bytes::new(1 << 20), NOON, fortnight, 7)
    }

    #[test]
    fn the_papers_fortnight() {
        let terms = terms();
        assert_eq!(terms.begins.to_string(), "2003-07-12T12:00:00Z");
        assert_eq!(terms.ends.to_string(), "2003-07-26T12:00:00Z");
        assert_eq!(terms.epochs(), 14 * 24);
        assert_eq!(terms.check(NOON), Ok(()));
    }

    type Edit = fn(&mut Terms);
    type Outcome = fn(TermsError) -> bool;

    #[test]
    fn terms_are_refused_for_the_first_of_their_faults() {
        fn resign(terms: &mut Terms, edit: fn(&mut PriceList)) {
            edit(&mut terms.prices);
            terms.prices_signature = terms.prices.sign(&provider()).signature;
        }
        let table: &[(&str, Edit, Outcome)] = &[
            (
                "another's prices",
                |terms| terms.prices.write = Price::default(),
                |e| e == TermsError::Prices { why: PriceListError::Signature },
            ),
            (
                "expired",
                |terms| {
                    resign(terms, |list| (list.issued, list.expires) = (Timestamp::EPOCH, NOON));
                },
                |e| matches!(e, TermsError::Prices { .. }),
            ),
            (
                "nothing",
                |terms| terms.size_max = Bytes::ZERO,
                |e| matches!(e, TermsError::Size { .. }),
            ),
            (
                "too large",
                |terms| terms.size_max = Bytes::new((1 << 30) + 1),
                |e| matches!(e, TermsError::Size { .. }),
            ),
            (
                "early",
                |terms| terms.begins = NOON.after(Duration::from_seconds(301)),
                |e| matches!(e, TermsError::Early { .. }),
            ),
            (
                "late",
                |terms| terms.begins = Timestamp::EPOCH,
                |e| matches!(e, TermsError::Late { .. }),
            ),
            (
                "no time",
                |terms| terms.ends = terms.begins,
                |e| matches!(e, TermsError::Period { .. }),
            ),
            (
                "backwards",
                |terms| terms.ends = Timestamp::EPOCH,
                |e| matches!(e, TermsError::Period { .. }),
            ),
            (
                "for ever",
                |terms| terms.ends = Timestamp::from_milliseconds(u64::MAX),
                |e| matches!(e, TermsError::Period { .. }),
            ),
            (
                "too dear",
                |terms| {
                    terms.size_max = Bytes::MAX;
                    resign(terms, |list| {
                        (list.store, list.capacity) = (Price::from_parts(u64::MAX), Bytes::MAX);
                    });
                },
                |e| matches!(e, TermsError::Dear { .. }),
            ),
            (
                "open dear",
                |terms| resign(terms, |list| list.open = Amount::MAX),
                |e| matches!(e, TermsError::Dear { .. }),
            ),
            (
                "two faults",
                |terms| (terms.size_max, terms.ends) = (Bytes::ZERO, terms.begins),
                |e| matches!(e, TermsError::Size { .. }),
            ),
        ];
        for (name, edit, outcome) in table {
            let mut terms = terms();
            edit(&mut terms);
            let refusal = terms.check(NOON).unwrap_err();
            assert!(outcome(refusal), "{name}: {refusal}");
            assert_eq!(TermsError::from_bytes(&refusal.to_bytes()), Ok(refusal));
        }
    }

    #[test]
    fn a_signature_is_of_one_side_only() {
        let (terms, key) = (terms(), buyer());
        assert!(terms.verify_buyer(&terms.sign_as_buyer(&key)).is_ok());
        assert!(terms.verify_provider(&terms.sign_as_provider(&provider())).is_ok());
        assert!(terms.verify_buyer(&terms.sign_as_provider(&key)).is_err());
        assert!(terms.verify_provider(&terms.sign_as_buyer(&provider())).is_err());
        let other = Terms { nonce: 8, ..terms };
        assert!(other.verify_buyer(&terms.sign_as_buyer(&key)).is_err());
        assert_ne!(other.id(), terms.id());
    }

    #[test]
    fn epochs_turn_where_both_clocks_agree() {
        let terms = terms(); // epochs of an hour
        let at = |seconds| NOON.after(Duration::from_seconds(seconds));
        for (seconds, epoch) in [(0, 0), (3599, 0), (3600, 1), (7200, 2)] {
            assert_eq!(terms.epoch_at(at(seconds)), epoch);
        }
        for (seconds, epoch, near) in [
            (0, 0, true),
            (0, 1, false),
            (3301, 1, true),
            (3299, 1, false),
            (3899, 0, true),
            (3901, 0, false),
        ] {
            assert_eq!(terms.epoch_is_near(epoch, at(seconds)), near, "{seconds} {epoch}");
        }
        assert_eq!(terms.paid_until(2), at(7200));
        assert_eq!(terms.paid_until(u64::MAX), terms.ends);
        assert_eq!(terms.lapses_at(1), at(7200));
        assert_eq!(terms.lapses_at(terms.epochs()), terms.ends);
    }

    /// What a renewal may have that a new contract may not: a provider that is full has room for what it keeps already.
    #[test]
    fn renewals_begin_later_and_keep_their_room() {
        let mut terms = terms();
        terms.begins = NOON.after(Duration::from_seconds(86_400));
        assert!(matches!(terms.check(NOON), Err(TermsError::Early { .. })));
        let renewed = terms.id();
        assert_eq!(terms.renewing(renewed).check(NOON), Ok(()));
        assert_ne!(terms.renewing(renewed).id(), renewed);
        terms.size_max = Bytes::new(1 << 40);
        assert!(matches!(terms.check(NOON), Err(TermsError::Size { .. })));
        assert_eq!(terms.renewing(renewed).check(NOON), Ok(()));
        terms.size_max = Bytes::ZERO;
        assert!(matches!(terms.renewing(renewed).check(NOON), Err(TermsError::Size { .. })));
    }

    /// The committed bytes: a change of them is a new version.
    #[test]
    fn the_format_is_pinned() {
        let terms = terms();
        let bytes = terms.to_bytes();
        assert_eq!(bytes.len(), 281);
        assert_eq!(terms.renewing(terms.id()).to_bytes().len(), 313);
        assert_eq!(Terms::from_bytes(&bytes), Ok(terms));
        let hex = |range: std::ops::Range<usize>| -> String {
            bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
        };
        assert_eq!(hex(96..104), "e803000000000000"); // open: 1000
        assert_eq!(hex(104..112), "0300000000000000"); // store: 3 parts
        assert_eq!(hex(240..248), "0000100000000000"); // size_max: 1 MiB
        assert_eq!(hex(248..256), "00ba6156f6000000"); // begins: 2003-07-12 noon
        assert_eq!(hex(264..280), "07000000000000000000000000000000"); // nonce
        let id = "contract:3acbb8d6a8325d0a689ee6fda54e6b1256802f06348a12dad0a9d9acf8ae2a0a";
        assert_eq!(terms.id().to_string(), id);
    }

    proptest! {
        #[test]
        fn contract_ids_survive_their_text_form(digest: [u8; 32]) {
            let id = ContractId(Digest::from_bytes(digest));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn any_terms_are_checked_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 280), now: u64) {
            let terms = Terms::from_bytes(&[&bytes[..], &[0]].concat()).unwrap();
            let now = Timestamp::from_milliseconds(now);
            prop_assert!(terms.check(now).is_err());
            let _ = (terms.epochs(), terms.lapses_at(now.milliseconds()), terms.epoch_is_near(1, now));
            // Whatever passed the list's own check, the rest must not overflow either.
            prop_assume!(terms.prices.epoch != Duration::ZERO);
            let _ = terms.full_cost();
        }
    }
}
