//! Serve and use a lightweight currency exactly once.
//!
//! An *issuer* keeps the books of the currency it issues; a *holder* asks it to move money. Requests and
//! responses may be lost, doubled and delayed, and both sides may crash. Two pure machines, one for each side,
//! see to it that a *command* is executed at most once and that its holder can always learn the outcome:
//!
//! ```text
//! holder                                                    issuer
//! Outbox::prepare ──► save the record
//!        └─ pending ──► send, again and again ──► Issuer::handle ── id seen before? ──► the first answer again
//!                                                    │ no: apply
//!                                                    └─► save the record, then answer
//! Outbox::settle  ◄── the answer, from any sending ◄────┘
//!        └──► save the record; no longer pending
//!
//! after a crash: a new Issuer, or Outbox, and `replay` of each record that was saved, in order
//! ```
//!
//! Queries (`Describe`, `Balance`, `HoldInfo`, `Deposits`) change nothing and are neither recorded nor remembered.
//!
//! # What always holds
//!
//! - A command is named by its holder and its [`RequestId`]. The first answer to it, a refusal included, is its
//!   answer; under the same id, other content is refused.
//! - A record is replayed to the same books and the same answers; each carries a check of its answer, so that a
//!   program that would decide otherwise stops instead of telling another story.
//! - Money that arrives by transfer, post or mint leaves a numbered *deposit* notice, kept until its holder
//!   acknowledges it: never lost with a response.
//! - Only its payer, its payee and the issuer can tell that a hold exists.
//! - The time of the books never goes back. Holds that are due expire before a command is applied.
//! - Money is conserved: see `ledger`, whose rules these machines cannot break.
//! - What a payee asked for by an [`Invoice`] is paid by one deposit, whose order, currency, payer and amount are all those of
//!   the invoice: see [`Invoices`], the third machine.
//!
//! # What is not here
//!
//! - *Durability.* The caller saves a record before it sends the answer, or the request, that came with it; a
//!   machine whose record could not be saved is dropped and replayed anew.
//! - *Time.* `now` is the caller's clock; a jump ahead expires holds, and cannot be taken back.
//! - *Who is there.* The caller has authenticated `holder`, and limits how fast it may ask. A stranger's refused
//!   command is remembered like any other.
//! - *Asking the past.* Answers of all holders weigh [`ANSWERS_BYTES_MAX`] at most, and the oldest are forgotten; the
//!   issuer's service finds them in its history. A notice is kept until it is acknowledged.
//! - SOAP, and who is at the other end: see `lcp-wire`; what its messages mean is in [`classic`].
//!
//! # A full box of notices
//!
//! At most [`DEPOSITS_WAITING_MAX`] notices wait for one holder. Then a transfer or a mint to it is refused, and
//! no money moves: paying somebody who cannot learn of it is worse for both than a clear refusal, and the
//! holder opens its box again by acknowledging. A post is the one exception: its payee is who asks, and learns from
//! the answer what it got; strangers must not be able to stop it before the hold expires.
//!
//! ```
//! use fondaco_codec::Text;
//! use fondaco_crypto::{CurrencyId, EntityId};
//! use fondaco_lcp::{Currency, Issuer, IssuerOptions, Outbox, Request, RequestId, Response};
//! use fondaco_units::{Amount, Scale, Timestamp};
//!
//! let [bank, alice] = [1, 2].map(|byte| EntityId::from_bytes([byte; 32]));
//! let now = Timestamp::EPOCH;
//! let currency = Currency {
//!     id: CurrencyId::issued_by(bank),
//!     name: Text::cut("harbour crown"),
//!     symbol: Text::cut("HCR"),
//!     scale: Scale::new(2).unwrap(),
//!     transfer_fee: Amount::new(1),
//!     full_handshake_fee: Amount::ZERO,
//!     account_reserve: Amount::ZERO,
//! };
//! let mut issuer = Issuer::new(currency, IssuerOptions::default());
//! let mut outbox = Outbox::new(issuer.currency().id, bank);
//!
//! let id = RequestId::new(0xfeed);
//! let saved = outbox.prepare(Request::Mint { id, to: alice, amount: Amount::new(500) })?;
//! # let _ = saved;
//! let (_, request) = outbox.pending().next().unwrap();
//! let lost = issuer.handle(now, bank, request);
//! assert!(lost.record.is_some(), "save it, then answer; but the answer is lost");
//! let again = issuer.handle(now, bank, request);
//! assert_eq!(again.response, Response::Minted { supply: Amount::new(500) }, "minted once");
//! assert!(again.record.is_none());
//! outbox.settle(id, &again.response)?;
//! assert_eq!(outbox.pending().count(), 0);
//! # Ok::<(), fondaco_lcp::OutboxError>(())
//! ```

mod answers;
pub mod classic;
mod currency;
mod frame;
mod holders;
mod id;
mod invoice;
mod invoices;
mod issuer;
mod journal;
mod message;
mod movements;
mod notices;
mod outbox;
mod refusal;
mod rotation;
mod statement;

#[cfg(test)]
mod tests;

pub use currency::{Currency, Deposit, Limits};
pub use frame::FrameError;
pub use id::{ParseRequestIdError, RequestId};
pub use invoice::{Invoice, InvoiceId, Mismatch, ParseInvoiceIdError, SignedInvoice, Unpayable};
pub use invoices::{InvoiceState, Invoices, InvoicesError, Verdict};
pub use issuer::{
    FirstAnswer, Handled, HandledClassic, Issuer, IssuerOptions, Recorded, SnapshotError,
};
pub use journal::{RECORD_BYTES_MAX, ReplayError};
pub use message::{Request, Response, Step, StepResult};
pub use outbox::{Outbox, OutboxError};
pub use refusal::Refusal;
pub use rotation::Rotation;
pub use statement::{Entry, EntryKind, Head, Movement, Receipt, SignedHead, SignedReceipt};

/// The version of the protocol: the first byte of every frame body.
pub const VERSION: u8 = 2;

/// The most bytes of a request's frame body.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// The most bytes of a response's frame body: the receipt of the greatest batch, which has its answer too, is the longest.
pub const RESPONSE_BYTES_MAX: usize = 2 << 20;

/// The most steps of one batch.
pub const STEPS_MAX: usize = 8192;

/// The most deposits in one response.
pub const DEPOSITS_PER_PAGE_MAX: usize = 256;

/// The most entries of history in one response.
pub const ENTRIES_PER_PAGE_MAX: usize = 256;

/// How much of first answers an issuer remembers, of all holders together, unless it is told otherwise: some 190,000 of those
/// to payments.
pub const ANSWERS_BYTES_MAX: usize = 16 << 20;

/// The most strangers, who were never paid, of whom answers are remembered.
pub const STRANGERS_MAX: usize = 16_384;

/// The most answers to one stranger that are remembered.
pub const STRANGER_ANSWERS_MAX: usize = 8;

/// The most keys whose newest connection, in the dialect of 2003, is known.
pub const FENCES_MAX: usize = 1 << 18;

/// The most deposit notices that wait for one holder before transfers and mints to it are refused.
pub const DEPOSITS_WAITING_MAX: usize = 100_000;

/// The most invoices of one payee that are open.
pub const INVOICES_OPEN_MAX: usize = 65_536;

/// The most invoices of one payee, paid or cancelled, that are kept.
pub const INVOICES_DONE_MAX: usize = 16_384;

/// The most intents that one outbox has pending.
pub const PENDING_MAX: usize = 65_536;

/// How many settled intents an outbox keeps.
pub const SETTLED_MAX: usize = 1024;
