//! How an account gets another key.

use fondaco_codec::{Encode, record};
use fondaco_crypto::{CurrencyId, Domain, EntityId, SecretKey, Signature, SignatureError};

const ROTATION: Domain = Domain::new("fondaco 2026 lcp rotation v1");

/// The word of both keys that the account of `old` is `new`'s from now on. Both sign it: nobody can give away
/// another's account, and nobody can be given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Where the account is kept.
    pub currency: CurrencyId,
    /// The key that it has.
    pub old: EntityId,
    /// The key that it gets.
    pub new: EntityId,
}
record!(Rotation { currency, old, new });

impl Rotation {
    /// Signs the encoding under `fondaco 2026 lcp rotation v1`, by one of the two keys.
    pub fn sign(&self, key: &SecretKey) -> Signature {
        key.sign(ROTATION, &self.to_bytes())
    }

    /// Checks that both keys have signed.
    ///
    /// # Errors
    ///
    /// One of the signatures is none of this key and rotation.
    pub fn verify(&self, by_old: &Signature, by_new: &Signature) -> Result<(), SignatureError> {
        let body = self.to_bytes();
        self.old.verify(ROTATION, &body, by_old)?;
        self.new.verify(ROTATION, &body, by_new)
    }
}
