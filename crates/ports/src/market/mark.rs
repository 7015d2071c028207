//! Marks: which shard under a contract its buyer finds everything by, after losing all but the key.

use fondaco_audit::ShardId;
use fondaco_codec::{Encode as _, record};
use fondaco_contract::ContractId;
use fondaco_crypto::{Domain, EntityId, SecretKey, Signature, SignatureError};
use fondaco_ledger::HoldId;
use fondaco_units::{Amount, Bytes};

const MARK: Domain = Domain::new("fondaco 2026 state mark v1");

/// A buyer's word that `shard` is the newest thing of its kind under a contract.
///
/// A provider keeps the mark of the highest `sequence` for each contract, and shows it to the buyer alone. It is signed
/// for the buyer's own sake: who knows nothing any more can tell by it that the contract, its terms (whose digest its
/// id is) and its hold are what it once agreed to, before it pays for reading the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Under which contract.
    pub contract: ContractId,
    /// The hold that pays for the contract.
    pub hold: HoldId,
    /// The most that the hold pays.
    pub hold_max: Amount,
    /// Counts the marks of a buyer: a higher one replaces a lower one.
    pub sequence: u64,
    /// Which shard.
    pub shard: ShardId,
    /// Its size.
    pub size: Bytes,
}
record!(Mark { contract, hold, hold_max, sequence, shard, size });

impl Mark {
    /// Signs the encoding of this mark under `fondaco 2026 state mark v1`.
    pub fn sign(self, buyer: &SecretKey) -> SignedMark {
        SignedMark { mark: self, signature: buyer.sign(MARK, &self.to_bytes()) }
    }
}

/// A mark and what may be its buyer's signature: [`SignedMark::verify`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedMark {
    /// What was signed.
    pub mark: Mark,
    /// The signature.
    pub signature: Signature,
}
record!(SignedMark { mark, signature });

impl SignedMark {
    /// Checks that `buyer` signed this mark.
    ///
    /// # Errors
    ///
    /// It is no signature of this key and mark, or the key is none.
    pub fn verify(&self, buyer: EntityId) -> Result<(), SignatureError> {
        buyer.verify(MARK, &self.mark.to_bytes(), &self.signature)
    }
}
