//! What a payee asks for one order, and which deposit is the payment of it.
//!
//! Whoever knows the order of a transfer can make another one under it: of one unit, in another currency, or in
//! somebody else's place. So the order is drawn by the payee, cannot be guessed, and stands for all that was agreed:
//! its digits are the digest of the whole [`Invoice`], 128 random bits among it. A deposit pays an invoice only if
//! currency, payer and amount are those of the invoice as well.
//!
//! (Turner and Ross, draft-turner-lcp-00, leave the identifier to the payee and compare nothing.)

use fondaco_codec::{Decode, DecodeError, Encode, Reader, Text, record};
use fondaco_crypto::{CurrencyId, Digest, Domain, EntityId, SecretKey, Signature, SignatureError};
use fondaco_units::{Amount, Timestamp};
use std::{fmt, str::FromStr};

use crate::Deposit;

const INVOICE_ID: Domain = Domain::new("fondaco 2026 lcp invoice id v1");
const INVOICE: Domain = Domain::new("fondaco 2026 lcp invoice v1");

/// Names one invoice: the digest of all that it says. It is the order of the transfer that pays it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvoiceId(Digest);

impl InvoiceId {
    /// Returns the order of the transfer that pays it: 64 lowercase hex digits, the one text form.
    pub fn order(self) -> Text<64> {
        Text::cut(&self.0.to_string())
    }
}

impl fmt::Display for InvoiceId {
    /// Writes the one text form: 64 lowercase hex digits, as an order has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for InvoiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvoiceId({:.16}…)", self.0)
    }
}

/// The text is not 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an invoice is named by the 64 lowercase hex digits of its order")]
pub struct ParseInvoiceIdError;

impl FromStr for InvoiceId {
    type Err = ParseInvoiceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| ParseInvoiceIdError)
    }
}

impl Encode for InvoiceId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for InvoiceId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Digest::decode(input).map(Self)
    }
}

/// What a payee asks for one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// In which currency.
    pub currency: CurrencyId,
    /// Who asks, and signs.
    pub payee: EntityId,
    /// How much, without the fee.
    pub amount: Amount,
    /// Who is to pay; without one, anybody may.
    pub payer: Option<EntityId>,
    /// When it was made, by the payee's clock.
    pub made: Timestamp,
    /// Until when it is to be paid, by the issuer's clock.
    pub due: Timestamp,
    /// What is paid for, for people.
    pub purpose: Text<128>,
    /// Drawn at random, so that nobody can guess the order.
    pub nonce: u128,
}
record!(Invoice { currency, payee, amount, payer, made, due, purpose, nonce });

impl Invoice {
    /// Derives the id: the digest of the encoding under `fondaco 2026 lcp invoice id v1`.
    pub fn id(&self) -> InvoiceId {
        InvoiceId(Digest::derive(INVOICE_ID, &self.to_bytes()))
    }

    /// Signs the encoding under `fondaco 2026 lcp invoice v1`.
    pub fn sign(self, payee: &SecretKey) -> SignedInvoice {
        let signature = payee.sign(INVOICE, &self.to_bytes());
        SignedInvoice { invoice: self, signature }
    }

    /// Checks that `holder` may pay it at `now` in `currency`.
    ///
    /// # Errors
    ///
    /// The first [`Unpayable`] that applies, in the order of that enum.
    pub fn payable(
        &self,
        currency: CurrencyId,
        holder: EntityId,
        now: Timestamp,
    ) -> Result<(), Unpayable> {
        if currency != self.currency {
            return Err(Unpayable::Currency { asked: self.currency });
        }
        if holder == self.payee {
            return Err(Unpayable::Own);
        }
        match self.payer {
            Some(payer) if payer != holder => return Err(Unpayable::Payer { asked: payer }),
            Some(_) | None => {}
        }
        if now > self.due {
            return Err(Unpayable::Overdue { due: self.due });
        }
        Ok(())
    }

    /// Checks that a deposit in `currency`, which bears its order, pays it.
    ///
    /// # Errors
    ///
    /// The first [`Mismatch`] that applies, in the order of that enum.
    pub fn paid_by(&self, currency: CurrencyId, deposit: &Deposit) -> Result<(), Mismatch> {
        let Deposit { payer, amount, at, .. } = *deposit;
        if currency != self.currency {
            return Err(Mismatch::Currency { asked: self.currency, paid: currency });
        }
        // Whatever was minted was paid by nobody.
        match self.payer {
            Some(asked) if payer != Some(asked) => return Err(Mismatch::Payer { asked }),
            None if payer.is_none() => return Err(Mismatch::Nobody),
            Some(_) | None => {}
        }
        if amount != self.amount {
            return Err(Mismatch::Amount { asked: self.amount, paid: amount });
        }
        if at > self.due {
            return Err(Mismatch::Late { due: self.due });
        }
        Ok(())
    }
}

/// An invoice and what may be its payee's signature: [`SignedInvoice::verify`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedInvoice {
    /// What was signed.
    pub invoice: Invoice,
    /// The signature.
    pub signature: Signature,
}
record!(SignedInvoice { invoice, signature });

impl SignedInvoice {
    /// Checks that the payee signed it.
    ///
    /// # Errors
    ///
    /// It is no signature of this key and invoice.
    pub fn verify(&self) -> Result<(), SignatureError> {
        self.invoice.payee.verify(INVOICE, &self.invoice.to_bytes(), &self.signature)
    }
}

/// Why a holder cannot pay an invoice. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpayable {
    /// It asks for another currency.
    #[error("the invoice asks for the currency of {}", asked.issuer())]
    Currency {
        /// Which one.
        asked: CurrencyId,
    },
    /// It is the holder's own.
    #[error("the invoice is your own")]
    Own,
    /// Somebody else is to pay it.
    #[error("the invoice is for {asked} to pay")]
    Payer {
        /// Who.
        asked: EntityId,
    },
    /// It was to be paid before.
    #[error("the invoice was due at {due}")]
    Overdue {
        /// When.
        due: Timestamp,
    },
}

impl Unpayable {
    /// Returns whether the same can be paid later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Currency { .. } | Self::Own | Self::Payer { .. } | Self::Overdue { .. } => false,
        }
    }
}

/// Why a deposit that bears the order of an invoice does not pay it. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It is in another currency.
    #[error("it is in the currency of {}, not of {}", paid.issuer(), asked.issuer())]
    Currency {
        /// The one that was asked for.
        asked: CurrencyId,
        /// The one that came.
        paid: CurrencyId,
    },
    /// Somebody else paid.
    #[error("it is not from {asked}")]
    Payer {
        /// Who was to pay.
        asked: EntityId,
    },
    /// Nobody paid: it was minted.
    #[error("it was minted")]
    Nobody,
    /// It is another amount.
    #[error("it is {} units, not {}", paid.get(), asked.get())]
    Amount {
        /// What was asked for.
        asked: Amount,
        /// What came.
        paid: Amount,
    },
    /// It came after the invoice was due.
    #[error("it came after {due}")]
    Late {
        /// When it was due.
        due: Timestamp,
    },
    /// The invoice was cancelled.
    #[error("the invoice was cancelled")]
    Cancelled,
    /// The invoice is paid, by another deposit.
    #[error("the invoice is paid already")]
    PaidAlready,
}
