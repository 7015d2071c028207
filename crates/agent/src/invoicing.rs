//! Ask for money, and know for what it came.
//!
//! ```text
//! payee: make ──► saved ──► text ──► payer, by any way
//! payer: text ──► signature, currency, payer and due checked ──► paid under its order, once
//! payee: deposit ──► taken ──► saved ──► acknowledged
//! ```

use crate::{AgentError, Paid, Wallet, entropy};
use fondaco_codec::{Decode as _, DecodeError, Encode as _, Text};
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp::{
    Deposit, Invoice, InvoiceId, InvoiceState, Invoices, InvoicesError, SignedInvoice, Unpayable,
    Verdict,
};
use fondaco_ports::{Clock, Disk};
use fondaco_store::{DiskFile, Journal, Kind};
use fondaco_units::{Amount, Duration};
use std::path::{Path, PathBuf};

/// The kind of a journal of invoices, version 1.
const KIND: Kind = Kind::new(*b"invoices", 1);

/// What the text of an invoice begins with.
const PREFIX: &str = "invoice:";

/// The version of that text.
const TEXT_VERSION: u8 = 1;

/// The longest text of an invoice that is read.
pub const INVOICE_TEXT_BYTES_MAX: usize = 512;

/// What is to be paid, and by whom.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In which currency.
    pub currency: CurrencyId,
    /// How much.
    pub amount: Amount,
    /// By whom; without one, by anybody.
    pub payer: Option<EntityId>,
    /// What for, for people.
    pub purpose: Text<128>,
    /// How long there is time.
    pub within: Duration,
}

/// An owner's [`Invoices`], each change of which is on disk before it counts. One process at a time may hold them.
pub struct InvoiceFile {
    invoices: Invoices,
    journal: Journal<Box<dyn Disk>>,
}

impl std::fmt::Debug for InvoiceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvoiceFile").field("invoices", &self.invoices).finish_non_exhaustive()
    }
}

impl InvoiceFile {
    /// Where the invoices are kept in the agent's folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("invoices")
    }

    /// Opens or creates the invoices of `payee` in `folder`.
    ///
    /// # Errors
    ///
    /// Another process holds them, or the journal cannot be read.
    pub fn open(folder: &Path, payee: EntityId) -> Result<Self, AgentError> {
        let path = Self::path(folder);
        Self::open_on(Box::new(DiskFile::open(&path)?), payee)
            .map_err(|error| AgentError::Store(format!("{}: {error}", path.display())))
    }

    /// Opens or creates the invoices of `payee` on `disk`.
    pub fn open_on(disk: Box<dyn Disk>, payee: EntityId) -> Result<Self, AgentError> {
        let mut invoices = Invoices::new(payee);
        let journal = Journal::open(disk, KIND, |record| invoices.replay(record))
            .map_err(|error| AgentError::Store(error.to_string()))?;
        Ok(Self { invoices, journal })
    }

    /// Returns what was asked for, and what became of it.
    pub const fn invoices(&self) -> &Invoices {
        &self.invoices
    }

    /// Makes an invoice; it is saved when this returns. Its order is drawn from 128 random bits and all that is asked.
    ///
    /// # Errors
    ///
    /// [`InvoicesError`], as what is invalid; or the journal failed.
    pub fn make(
        &mut self,
        key: &SecretKey,
        clock: &dyn Clock,
        asked: Asked,
    ) -> Result<SignedInvoice, AgentError> {
        let Asked { currency, amount, payer, purpose, within } = asked;
        let (made, payee) = (clock.now(), key.entity());
        let nonce = u128::from_le_bytes(entropy::random()?);
        let due = made.after(within);
        let invoice =
            Invoice { currency, payee, amount, payer, made, due, purpose, nonce }.sign(key);
        let record = self.invoices.make(invoice.clone()).map_err(invalid)?;
        self.append(&record)?;
        Ok(invoice)
    }

    /// Gives an invoice up: what still comes for it is astray.
    ///
    /// # Errors
    ///
    /// It is not known, or paid; or the journal failed.
    pub fn cancel(&mut self, id: InvoiceId) -> Result<(), AgentError> {
        let record = self.invoices.cancel(id).map_err(invalid)?;
        self.append(&record)
    }

    /// Looks at a deposit: which invoice it pays, if any. What that changed is saved when this returns, so the notice may be
    /// acknowledged.
    ///
    /// # Errors
    ///
    /// The journal failed: the notice must not be acknowledged.
    pub fn take(&mut self, currency: CurrencyId, deposit: &Deposit) -> Result<Verdict, AgentError> {
        let (verdict, record) = self.invoices.take(currency, deposit);
        if let Some(record) = record {
            self.append(&record)?;
        }
        Ok(verdict)
    }

    fn append(&mut self, record: &[u8]) -> Result<(), AgentError> {
        self.journal
            .append(&[record])
            .map(drop)
            .map_err(|error| AgentError::Store(format!("the journal of invoices: {error}")))
    }
}

fn invalid(error: InvoicesError) -> AgentError {
    AgentError::Invalid {
        what: error.to_string(),
        hint: "look at them with `fondaco invoice list`".to_owned(),
    }
}

impl Wallet {
    /// Pays an invoice, of which [`Invoice::payable`] was asked; `fee_max` is the most that it may cost on top. One that
    /// was paid from this wallet before, as far as it remembers, is not paid again: that payment is returned, and is
    /// *taken up*.
    ///
    /// # Errors
    ///
    /// The invoice is in another currency, is the holder's own, another's to pay, or overdue; and as [`Wallet::pay`].
    pub async fn pay_invoice(
        &self,
        clock: &dyn Clock,
        invoice: &Invoice,
        fee_max: Amount,
    ) -> Result<Paid, AgentError> {
        let order = invoice.id().order();
        if let Some(paid) = self.paid_for(invoice.payee, &order) {
            return Ok(paid);
        }
        invoice.payable(self.currency(), self.holder(), clock.now()).map_err(|error| {
            let hint = match error {
                Unpayable::Own => "send it to who is to pay",
                Unpayable::Currency { .. }
                | Unpayable::Payer { .. }
                | Unpayable::Overdue { .. } => "ask the payee for another one",
            };
            AgentError::Invalid { what: error.to_string(), hint: hint.to_owned() }
        })?;
        self.pay(clock, invoice.payee, invoice.amount, fee_max, order).await
    }
}

/// Where an invoice stands, in one word for people and scripts.
pub const fn state_word(state: &InvoiceState) -> &'static str {
    match state {
        InvoiceState::Open => "open",
        InvoiceState::Paid { .. } => "paid",
        InvoiceState::Cancelled => "cancelled",
    }
}

/// Writes an invoice as one word of text: `invoice:` and Base64 (RFC 4648, section 5, without padding) of a version byte
/// and its encoding.
pub fn invoice_to_text(invoice: &SignedInvoice) -> String {
    let mut bytes = vec![TEXT_VERSION];
    bytes.extend(invoice.to_bytes());
    format!("{PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
}

/// Returns whether a text is meant as an invoice.
pub fn is_invoice(text: &str) -> bool {
    text.trim_start().starts_with(PREFIX)
}

/// Reads an invoice from text, and checks that its payee signed it. Spaces and line ends in it, as mail makes them, are
/// passed over.
///
/// # Errors
///
/// The first [`InvoiceTextError`] that applies.
pub fn invoice_from_text(text: &str) -> Result<SignedInvoice, InvoiceTextError> {
    if text.len() > INVOICE_TEXT_BYTES_MAX {
        return Err(InvoiceTextError::TooLong { length: text.len() });
    }
    let text: String = text.split_whitespace().collect();
    let body = text.strip_prefix(PREFIX).ok_or(InvoiceTextError::Foreign)?;
    let bytes = data_encoding::BASE64URL_NOPAD.decode(body.as_bytes());
    let bytes = bytes.map_err(|_| InvoiceTextError::Text)?;
    let (version, body) = bytes.split_first().ok_or(InvoiceTextError::Text)?;
    if *version != TEXT_VERSION {
        return Err(InvoiceTextError::Version { found: *version });
    }
    let invoice = SignedInvoice::from_bytes(body)?;
    invoice.verify().map_err(|_| InvoiceTextError::Signature)?;
    Ok(invoice)
}

/// Why a text is no invoice. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceTextError {
    /// It is longer than an invoice can be.
    #[error("the text has {length} bytes, more than an invoice can have")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is something else.
    #[error("the text is no invoice: one begins with `invoice:`")]
    Foreign,
    /// Its letters are not whole.
    #[error("the invoice is damaged: some of its text is missing or changed")]
    Text,
    /// It is in another version.
    #[error("the invoice is in version {found} of the format; this program reads {TEXT_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// What it says is not whole.
    #[error("the invoice is damaged: {0}")]
    Decode(#[from] DecodeError),
    /// Its payee has not signed it.
    #[error("the invoice is not signed by the payee that it names: it is damaged or forged")]
    Signature,
}

impl InvoiceTextError {
    /// Returns whether the same text can be read later: never, here.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::TooLong { .. }
            | Self::Foreign
            | Self::Text
            | Self::Version { .. }
            | Self::Decode(_)
            | Self::Signature => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_units::Timestamp;

    #[derive(Debug)]
    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_milliseconds(43_200_000)
        }
    }

    fn asked() -> Asked {
        let [bank, buyer] = [1, 2].map(|seed| SecretKey::from_bytes(&[seed; 32]).entity());
        Asked {
            currency: CurrencyId::issued_by(bank),
            amount: Amount::new(1250),
            payer: Some(buyer),
            purpose: Text::cut(&"ü".repeat(64)),
            within: Duration::from_seconds(60),
        }
    }

    #[test]
    fn an_invoice_survives_its_text_and_a_restart() {
        let folder = std::env::temp_dir().join(format!("fondaco-invoices-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let seller = SecretKey::from_bytes(&[9; 32]);
        let mut file = InvoiceFile::open(&folder, seller.entity()).unwrap();
        let first = file.make(&seller, &Noon, asked()).unwrap();
        let second = file.make(&seller, &Noon, asked()).unwrap();
        assert_ne!(first.invoice.id(), second.invoice.id(), "each has a nonce of its own");
        let text = invoice_to_text(&first);
        assert!(text.len() < INVOICE_TEXT_BYTES_MAX, "{}", text.len());
        assert_eq!(invoice_from_text(&text), Ok(first.clone()));
        let mailed = format!(" {}\r\n  {}\n", &text[..70], &text[70..]);
        assert_eq!(invoice_from_text(&mailed), Ok(first.clone()));
        assert!(is_invoice(&mailed) && !is_invoice("fon1abc"));

        assert!(InvoiceFile::open(&folder, seller.entity()).is_err(), "held by one alone");
        let deposit = Deposit {
            number: 3,
            payer: first.invoice.payer,
            amount: first.invoice.amount,
            order: first.invoice.id().order(),
            at: Noon.now(),
        };
        let currency = first.invoice.currency;
        assert_eq!(file.take(currency, &deposit).unwrap(), Verdict::Pays(first.invoice.clone()));
        file.cancel(second.invoice.id()).unwrap();
        drop(file);
        let mut file = InvoiceFile::open(&folder, seller.entity()).unwrap();
        let states: Vec<_> =
            file.invoices().done().map(|(_, _, state)| state_word(state)).collect();
        assert_eq!(states, ["paid", "cancelled"]);
        // As after a crash before the notice was acknowledged.
        assert_eq!(file.take(currency, &deposit).unwrap(), Verdict::Pays(first.invoice));
        drop(file);
        let other = SecretKey::from_bytes(&[8; 32]).entity();
        assert!(InvoiceFile::open(&folder, other).is_err(), "another's are not believed");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_invoice_is_refused() {
        let seller = SecretKey::from_bytes(&[9; 32]);
        let folder =
            std::env::temp_dir().join(format!("fondaco-no-invoice-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut file = InvoiceFile::open(&folder, seller.entity()).unwrap();
        let text = invoice_to_text(&file.make(&seller, &Noon, asked()).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        for length in 0..text.len() {
            assert!(invoice_from_text(&text[..length]).is_err(), "{length}");
        }
        for at in PREFIX.len()..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert!(other == text || invoice_from_text(&other).is_err(), "{at}");
        }
        for (text, expected) in [
            ("receipt:AAAA", InvoiceTextError::Foreign),
            ("invoice:", InvoiceTextError::Text),
            ("invoice:!!", InvoiceTextError::Text),
            ("invoice:Ag", InvoiceTextError::Version { found: 2 }),
        ] {
            assert_eq!(invoice_from_text(text), Err(expected), "{text}");
        }
        let long = "A".repeat(INVOICE_TEXT_BYTES_MAX + 1);
        assert!(matches!(invoice_from_text(&long), Err(InvoiceTextError::TooLong { .. })));
    }
}
