//! A provider's word that it keeps a shard no longer.
//!
//! A receipt proves what the provider *said*, so that it cannot bill the shard's keeping from then on, nor deny that it was
//! told to delete it. That the bytes are gone from its disk nothing can prove.

use crate::ContractId;
use fondaco_codec::{Encode as _, record};
use fondaco_crypto::{Digest, Domain, EntityId, SecretKey, Signature, SignatureError};
use fondaco_units::{Bytes, Timestamp};

const DELETION: Domain = Domain::new("fondaco 2026 contract deletion v1");

/// What a provider signs when it deletes a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Under which contract.
    pub contract: ContractId,
    /// The shard's name.
    pub shard: Digest,
    /// When, by the provider's clock.
    pub at: Timestamp,
    /// How many bytes are kept no longer; none if the shard was not kept, as when it is deleted a second time.
    pub freed: Bytes,
}
record!(Deletion { contract, shard, at, freed });

impl Deletion {
    /// Signs it; `key` must be the provider's.
    pub fn sign(self, key: &SecretKey) -> SignedDeletion {
        SignedDeletion { signature: key.sign(DELETION, &self.to_bytes()), deletion: self }
    }
}

/// A [`Deletion`] with its provider's signature: the receipt that a buyer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedDeletion {
    /// What was deleted.
    pub deletion: Deletion,
    /// The provider's, under `fondaco 2026 contract deletion v1`.
    pub signature: Signature,
}
record!(SignedDeletion { deletion, signature });

impl SignedDeletion {
    /// Checks the signature.
    ///
    /// # Errors
    ///
    /// `provider` did not sign it.
    pub fn verify(&self, provider: EntityId) -> Result<(), SignatureError> {
        provider.verify(DELETION, &self.deletion.to_bytes(), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prices::tests::{NOON, provider};
    use fondaco_codec::Decode as _;

    #[test]
    fn a_receipt_is_of_one_shard_contract_and_time() {
        let deletion = Deletion {
            contract: ContractId::from_digest(Digest::from_bytes([1; 32])),
            shard: Digest::from_bytes([2; 32]),
            at: NOON,
            freed: Bytes::new(3),
        };
        let receipt = deletion.sign(&provider());
        assert_eq!(receipt.verify(provider().entity()), Ok(()));
        assert_eq!(receipt.to_bytes().len(), 144);
        assert_eq!(SignedDeletion::from_bytes(&receipt.to_bytes()), Ok(receipt));
        for at in 0..80 {
            let mut bytes = receipt.to_bytes();
            bytes[at] ^= 1;
            let forged = SignedDeletion::from_bytes(&bytes).unwrap();
            assert!(forged.verify(provider().entity()).is_err(), "byte {at}");
        }
        assert!(receipt.verify(EntityId::from_bytes([7; 32])).is_err());
    }
}
