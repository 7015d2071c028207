//! The dialect of 2003 over the same books: a counter for each holder, and one entry that remembers the last message.
//!
//! ```text
//! message ── another connection than the last, and accepted before that spoke last? ──► Fenced
//!   │ no
//!   ├─ the last counter ──┬─ same content ──► the first answer again, byte for byte
//!   │                     └─ other content ─► OtherContent
//!   ├─ neither the other bit nor a greater number ──► StaleCounter
//!   └─ new ──► forget the notices told last, do it, remember the answer, save the record, then answer
//! ```
//!
//! # What always holds
//!
//! The draft of 2003 is unsafe in six places (Turner and Ross, draft-turner-lcp-00); each is repaired so that its clients
//! still work:
//!
//! - *Notices* told by a query are forgotten only when the holder's next message with another counter arrives.
//! - A *duplicate* is answered with the first answer again, whatever arrived since, and executed once.
//! - With each message of a holder, all its other *connections* that are accepted by then are shut out: what lingers
//!   there is too late. That a newer connection shuts out the older ones is not enough: a message may linger on the newer
//!   one while an older goes on, and be done once more after it. A connection keeps the order of its messages, or breaks.
//! - A notice names its *payer* (to who asks over LCP/2), so that an order is not settled by a stranger's payment: the
//!   seller's [`Invoices`](crate::Invoices) draw the order and match currency, payer and amount too.
//! - A *refused* message consumes its counter, and its fault is its answer for ever.
//! - The *order* is the payee's word and may repeat: what makes a message one message is its counter.
//!
//! # Counters
//!
//! 0 and 1 are the draft's bit: the other one is new. From 2 on they are the paper's number: a greater one is new, and
//! after it the bit is stale for ever, as a late message could bear it. A holder's first message may have any counter.
//!
//! # What is not here
//!
//! SOAP, TLS and waiting: see `lcp-wire`. Fences are in memory only: after a restart no old connection is left.

pub(crate) mod fences;
mod messages;
pub(crate) mod table;

pub use messages::{Answer, Ask, AskBody, Fault};
