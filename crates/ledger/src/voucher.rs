//! Vouchers: how a payer says, offline, how much of a hold the payee has earned.

use crate::HoldId;
use fondaco_codec::{Encode, record};
use fondaco_crypto::{CurrencyId, Domain, EntityId, SecretKey, Signature, SignatureError};
use fondaco_units::Amount;

const VOUCHER: Domain = Domain::new("fondaco 2026 voucher v1");

/// A payer's word that the payee of `hold` has earned `cumulative` in all.
///
/// Each new voucher of a hold replaces those before it; the payee keeps the highest and posts it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voucher {
    /// The currency, and so the issuer, that the hold is in.
    pub currency: CurrencyId,
    /// The hold that it is paid from.
    pub hold: HoldId,
    /// All that was earned since the hold was opened, in smallest units.
    pub cumulative: Amount,
}
record!(Voucher { currency, hold, cumulative });

impl Voucher {
    /// Signs the encoding of this voucher under `fondaco 2026 voucher v1`.
    pub fn sign(self, payer: &SecretKey) -> SignedVoucher {
        SignedVoucher { voucher: self, signature: payer.sign(VOUCHER, &self.to_bytes()) }
    }
}

/// A voucher and what may be its payer's signature: [`SignedVoucher::verify`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedVoucher {
    /// What was signed.
    pub voucher: Voucher,
    /// The signature.
    pub signature: Signature,
}
record!(SignedVoucher { voucher, signature });

impl SignedVoucher {
    /// Checks that `payer` signed this voucher.
    ///
    /// # Errors
    ///
    /// It is no signature of this key and voucher, or the key is none.
    pub fn verify(&self, payer: EntityId) -> Result<(), SignatureError> {
        payer.verify(VOUCHER, &self.voucher.to_bytes(), &self.signature)
    }
}
