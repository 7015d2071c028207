//! The payee's machine: which invoices are open, and which deposit paid which.
//!
//! ```text
//! make ──► Open ──┬── take: a deposit of its order, currency, payer and amount, in time ──► Paid
//!                 └── cancel ─────────────────────────────────────────────────────────────► Cancelled
//! ```
//!
//! # What always holds
//!
//! - An invoice is paid by one deposit at most, which is all that it asks for; any other that bears its order is
//!   *astray*: the money is there, and the invoice is as it was.
//! - The same deposit again, as after a crash before it was acknowledged, gets the same verdict.
//! - A record is saved before the notice is acknowledged: the issuer forgets it then.
//!
//! Open are [`INVOICES_OPEN_MAX`] at most: where one more comes, that which is overdue for longest makes room. Of those that
//! are paid or cancelled the newest [`INVOICES_DONE_MAX`] are kept.

use crate::{
    Deposit, INVOICES_DONE_MAX, INVOICES_OPEN_MAX, Invoice, InvoiceId, Mismatch, SignedInvoice,
};
use fondaco_codec::{Decode, DecodeError, Encode, Reader, choice};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_units::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const INVOICES_VERSION: u8 = 1;

/// Where an invoice stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvoiceState {
    /// It waits for its payment. Begins when it is made.
    Open,
    /// It is paid.
    Paid {
        /// By which deposit.
        by: Deposit,
    },
    /// Its payee gave it up.
    Cancelled,
}

/// What a deposit is to the invoices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It bears the order of none that is known here.
    Unknown,
    /// It pays this one, now or when it was taken first.
    Pays(Invoice),
    /// It bears the order of this one, and does not pay it.
    Astray(Invoice, Mismatch),
}

enum Record {
    Made { invoice: SignedInvoice },
    Paid { id: InvoiceId, by: Deposit },
    Cancelled { id: InvoiceId },
}
choice!(Record { 1 => Made { invoice }, 2 => Paid { id, by }, 3 => Cancelled { id } });

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    signed: SignedInvoice,
    state: InvoiceState,
}

/// What one payee has asked for, and what became of it.
///
/// After a crash, `replay` each saved record, in order, into a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoices {
    payee: EntityId,
    all: BTreeMap<InvoiceId, Known>,
    /// Those that are open, the first due first.
    open: BTreeSet<(Timestamp, InvoiceId)>,
    /// Those that are not, the first done first.
    done: VecDeque<InvoiceId>,
}

impl Invoices {
    /// Creates the invoices of `payee`: none.
    pub const fn new(payee: EntityId) -> Self {
        Self { payee, all: BTreeMap::new(), open: BTreeSet::new(), done: VecDeque::new() }
    }

    /// Takes in a new invoice; the record to be saved before it is shown to anybody.
    ///
    /// # Errors
    ///
    /// The first [`InvoicesError`] that applies. Nothing changed.
    pub fn make(&mut self, signed: SignedInvoice) -> Result<Vec<u8>, InvoicesError> {
        let invoice = &signed.invoice;
        let (id, due, made) = (invoice.id(), invoice.due, invoice.made);
        if invoice.payee != self.payee || signed.verify().is_err() {
            return Err(InvoicesError::Foreign { payee: invoice.payee });
        }
        if invoice.amount.is_zero() {
            return Err(InvoicesError::Nothing);
        }
        if due <= made {
            return Err(InvoicesError::Overdue { due });
        }
        if self.all.contains_key(&id) {
            return Err(InvoicesError::Repeated { id });
        }
        if self.open.len() >= INVOICES_OPEN_MAX {
            match self.open.first().copied() {
                Some(oldest) if oldest.0 < made => {
                    self.open.remove(&oldest);
                    self.all.remove(&oldest.1);
                }
                Some(_) | None => return Err(InvoicesError::Full { most: INVOICES_OPEN_MAX }),
            }
        }
        let record = to_record(&Record::Made { invoice: signed.clone() });
        self.open.insert((due, id));
        self.all.insert(id, Known { signed, state: InvoiceState::Open });
        Ok(record)
    }

    /// Looks at a deposit that arrived in `currency`: what it is, and, where that changed something, the record to be
    /// saved before the notice is acknowledged.
    pub fn take(&mut self, currency: CurrencyId, deposit: &Deposit) -> (Verdict, Option<Vec<u8>>) {
        let named = deposit.order.as_str().parse().ok();
        let Some((id, known)) = named.and_then(|id| Some((id, self.all.get(&id)?))) else {
            return (Verdict::Unknown, None);
        };
        let invoice = known.signed.invoice.clone();
        if let Err(mismatch) = invoice.paid_by(currency, deposit) {
            return (Verdict::Astray(invoice, mismatch), None);
        }
        match &known.state {
            InvoiceState::Paid { by } if by == deposit => (Verdict::Pays(invoice), None),
            InvoiceState::Paid { .. } => (Verdict::Astray(invoice, Mismatch::PaidAlready), None),
            InvoiceState::Cancelled => (Verdict::Astray(invoice, Mismatch::Cancelled), None),
            InvoiceState::Open => {
                self.finish(id, InvoiceState::Paid { by: deposit.clone() });
                let record = to_record(&Record::Paid { id, by: deposit.clone() });
                (Verdict::Pays(invoice), Some(record))
            }
        }
    }

    /// Gives an open invoice up; the record to be saved. The same again is harmless.
    ///
    /// # Errors
    ///
    /// It is not known here, or paid. Nothing changed.
    pub fn cancel(&mut self, id: InvoiceId) -> Result<Vec<u8>, InvoicesError> {
        match self.all.get(&id).map(|known| &known.state) {
            None => return Err(InvoicesError::Unknown { id }),
            Some(InvoiceState::Paid { .. }) => return Err(InvoicesError::Paid { id }),
            Some(InvoiceState::Cancelled) => {}
            Some(InvoiceState::Open) => self.finish(id, InvoiceState::Cancelled),
        }
        Ok(to_record(&Record::Cancelled { id }))
    }

    /// Returns an invoice, and where it stands, if it is not forgotten.
    pub fn find(&self, id: InvoiceId) -> Option<(&SignedInvoice, &InvoiceState)> {
        self.all.get(&id).map(|known| (&known.signed, &known.state))
    }

    /// Returns the invoices that are open, the first due first.
    pub fn open(&self) -> impl Iterator<Item = (InvoiceId, &SignedInvoice)> {
        let known = |&(_, id)| Some((id, &self.all.get(&id)?.signed));
        self.open.iter().filter_map(known)
    }

    /// Returns those that are paid or cancelled and not forgotten, the first done first.
    pub fn done(&self) -> impl Iterator<Item = (InvoiceId, &SignedInvoice, &InvoiceState)> {
        let known = |&id| self.all.get(&id).map(|known| (id, &known.signed, &known.state));
        self.done.iter().filter_map(known)
    }

    /// Applies one saved record: the same state as when it was made.
    ///
    /// # Errors
    ///
    /// The record cannot have come from these invoices at this place. Nothing changed.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), InvoicesError> {
        let mut input = Reader::new(record);
        let found = u8::decode(&mut input)?;
        if found != INVOICES_VERSION {
            return Err(InvoicesError::Version { found });
        }
        let record = Record::decode(&mut input)?;
        input.finish()?;
        match record {
            Record::Made { invoice } => self.make(invoice).map(drop),
            Record::Cancelled { id } => self.cancel(id).map(drop),
            Record::Paid { id, by } => {
                let (signed, state) = self.find(id).ok_or(InvoicesError::Unknown { id })?;
                let fits = signed.invoice.paid_by(signed.invoice.currency, &by).is_ok();
                if !fits || *state != InvoiceState::Open || by.order != id.order() {
                    return Err(InvoicesError::Paid { id });
                }
                self.finish(id, InvoiceState::Paid { by });
                Ok(())
            }
        }
    }

    /// Has `count` more like this one open, unchecked: signatures take longer than a test should.
    #[cfg(test)]
    pub(crate) fn fill_for_test(&mut self, like: &SignedInvoice, count: usize) {
        for nonce in 0..count as u128 {
            let mut signed = like.clone();
            signed.invoice.nonce = (1 << 64) + nonce;
            let (id, due) = (signed.invoice.id(), signed.invoice.due);
            self.open.insert((due, id));
            self.all.insert(id, Known { signed, state: InvoiceState::Open });
        }
    }

    /// An open one is done.
    fn finish(&mut self, id: InvoiceId, state: InvoiceState) {
        let Some(known) = self.all.get_mut(&id) else { return };
        known.state = state;
        self.open.remove(&(known.signed.invoice.due, id));
        self.done.push_back(id);
        if self.done.len() > INVOICES_DONE_MAX
            && let Some(oldest) = self.done.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

fn to_record(record: &Record) -> Vec<u8> {
    let mut out = vec![INVOICES_VERSION];
    record.encode(&mut out);
    out
}

/// Why the invoices do not take something in. Listed by precedence. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvoicesError {
    /// A record is in another version.
    #[error("the record is in version {found}; this program reads {INVOICES_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// A record is no encoding.
    #[error("the record cannot be read: {error}")]
    Decode {
        /// Where, and why not.
        error: DecodeError,
    },
    /// It is another payee's, or not signed by it.
    #[error("the invoice is not one of this key, but of {payee}")]
    Foreign {
        /// Whose it says it is.
        payee: EntityId,
    },
    /// It asks for nothing.
    #[error("the invoice asks for nothing")]
    Nothing,
    /// It is due before it is made.
    #[error("the invoice is due at {due}, before it is made")]
    Overdue {
        /// When.
        due: Timestamp,
    },
    /// The same was made before.
    #[error("the invoice {id} was made before")]
    Repeated {
        /// Which.
        id: InvoiceId,
    },
    /// Too many are open, and none is overdue.
    #[error("{most} invoices are open, as many as may be")]
    Full {
        /// The most.
        most: usize,
    },
    /// No such invoice is known here.
    #[error("no invoice {id} is known here")]
    Unknown {
        /// Which.
        id: InvoiceId,
    },
    /// It is paid, or cannot be by this.
    #[error("the invoice {id} is paid, or not to be paid by this")]
    Paid {
        /// Which.
        id: InvoiceId,
    },
}

impl InvoicesError {
    /// Returns whether the same call can succeed later.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Version { .. }
            | Self::Decode { .. }
            | Self::Foreign { .. }
            | Self::Nothing
            | Self::Overdue { .. }
            | Self::Repeated { .. }
            | Self::Unknown { .. }
            | Self::Paid { .. } => false,
        }
    }
}

impl From<DecodeError> for InvoicesError {
    fn from(error: DecodeError) -> Self {
        Self::Decode { error }
    }
}
