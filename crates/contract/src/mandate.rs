//! A buyer's word that another may look after what it keeps, while it is away.
//!
//! ```text
//! buyer ── Mandate{to, takes} ──► delegate ── shows it ──► provider
//!                                    ├─ reads and audits the buyer's shards, and pays for that under a contract of its own
//!                                    └─ renews the buyer's contract in its own name: Takes::AtEnd, when it would end
//!                                                                       otherwise; Takes::Always, at any time
//! ```
//!
//! A delegate deletes and ends nothing that is in the buyer's name, and signs nothing in it; what it has taken over is its own. What is encrypted stays so: shards are
//! given out as they are kept.
//!
//! The latest mandate of a buyer for the same delegate counts; one that is over when it is made takes back those before it.

use crate::Terms;
use fondaco_codec::{Encode as _, choice, record};
use fondaco_crypto::{Domain, EntityId, SecretKey, Signature, SignatureError};
use fondaco_units::{Duration, Timestamp};

const MANDATE: Domain = Domain::new("fondaco 2026 contract mandate v1");

/// When a delegate may renew its buyer's contracts in its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// In the last quarter of an epoch before they end, or lapse because nobody has paid: what nobody else has renewed by then would be lost.
    AtEnd,
    /// At any time: so a delegate gives back what it took.
    Always,
}
choice!(Takes { 1 => AtEnd, 2 => Always });

/// What a buyer signs for its delegate. It is good for all its contracts, with every provider, that began before it was made, and
/// for those that renew them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mandate {
    /// The buyer.
    pub from: EntityId,
    /// The delegate.
    pub to: EntityId,
    /// When the delegate may take contracts over.
    pub takes: Takes,
    /// When it was made: a later one replaces it.
    pub issued: Timestamp,
    /// Until when it is good.
    pub until: Timestamp,
}
record!(Mandate { from, to, takes, issued, until });

impl Mandate {
    /// Signs it; `key` must be the buyer's.
    pub fn sign(self, key: &SecretKey) -> SignedMandate {
        SignedMandate { signature: key.sign(MANDATE, &self.to_bytes()), mandate: self }
    }

    /// Returns whether it is good at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Returns whether a contract on these terms, of which so many epochs are paid for, may be taken over at `now`.
    pub fn may_take(&self, terms: &Terms, epochs_paid: u64, now: Timestamp) -> bool {
        let ends = terms.ends.min(terms.lapses_at(epochs_paid));
        self.may_take_before(ends, terms.prices.epoch, now)
    }

    fn may_take_before(&self, ends: Timestamp, epoch: Duration, now: Timestamp) -> bool {
        self.is_good(now)
            && match self.takes {
                Takes::Always => true,
                Takes::AtEnd => {
                    let quarter = Duration::from_milliseconds(epoch.milliseconds() / 4);
                    ends <= now.after(quarter)
                }
            }
    }
}

/// A [`Mandate`] with its buyer's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedMandate {
    /// What was signed.
    pub mandate: Mandate,
    /// The buyer's, under `fondaco 2026 contract mandate v1`.
    pub signature: Signature,
}
record!(SignedMandate { mandate, signature });

impl SignedMandate {
    /// Checks the signature.
    ///
    /// # Errors
    ///
    /// The buyer that it names did not sign it.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.mandate.from.verify(MANDATE, &self.mandate.to_bytes(), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::tests::NOON;
    use fondaco_codec::Decode as _;

    const HOUR: Duration = Duration::from_seconds(3600);

    fn mandate(takes: Takes) -> Mandate {
        let (from, to) = (key(1).entity(), key(2).entity());
        Mandate { from, to, takes, issued: NOON, until: NOON.after(HOUR) }
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn a_mandate_is_of_one_buyer_delegate_and_time() {
        let signed = mandate(Takes::AtEnd).sign(&key(1));
        assert_eq!(signed.verify(), Ok(()));
        assert_eq!(signed.to_bytes().len(), 145);
        assert_eq!(SignedMandate::from_bytes(&signed.to_bytes()), Ok(signed));
        for at in 0..81 {
            let mut bytes = signed.to_bytes();
            bytes[at] ^= if at == 64 { 3 } else { 1 };
            let forged = SignedMandate::from_bytes(&bytes).unwrap();
            assert!(forged.verify().is_err(), "byte {at}");
        }
        assert!(mandate(Takes::AtEnd).sign(&key(2)).verify().is_err());
    }

    #[test]
    fn a_delegate_takes_only_what_would_end() {
        let after = |minutes: u64| NOON.after(Duration::from_seconds(minutes * 60));
        let day = Duration::from_seconds(86_400);
        // When the contract ends, how long its epochs are, what time it is, and whether it may be taken.
        for (takes, ends, epoch, now, expected) in [
            (Takes::AtEnd, after(70), HOUR, after(0), false),
            (Takes::AtEnd, after(70), HOUR, after(54), false),
            (Takes::AtEnd, after(70), HOUR, after(55), true),
            (Takes::AtEnd, after(70), HOUR, after(60), false), // the mandate is over
            (Takes::AtEnd, after(90), day, after(0), true),
            (Takes::Always, after(90), HOUR, after(0), true),
            (Takes::Always, after(90), HOUR, after(60), false),
        ] {
            assert_eq!(
                mandate(takes).may_take_before(ends, epoch, now),
                expected,
                "{takes:?} {now}"
            );
        }
    }
}
