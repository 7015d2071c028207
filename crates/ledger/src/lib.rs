//! Move money between accounts by double entry.
//!
//! A [`Ledger`] keeps one currency. Every unit that moves leaves one [`Side`] and enters another: a
//! [`Posting`]. The issuer's *liability* is one of the sides, so that the sum of all is always zero.
//! A *hold* sets money of a payer aside for one payee; a [`Voucher`], signed by the payer, says how much
//! of it the payee has earned, and so does a [`PayWord`], for a hash instead of a signature.
//!
//! ```text
//!              mint                    transfer
//! Liability ─────────► Available(a) ─────────────► Available(b)
//!     ▲       redeem     │      ▲                       ▲
//!     └──────────────────┘      │ rest, void, expire    │ post, once
//!                  hold_open ▼  │                       │
//!                         Held(hold) ───────────────────┘
//!
//! hold: Open ──┬── hold_post by the payee, with a voucher ──► Posted { paid }
//!              ├── hold_post_word by the payee, with a word ► Posted { paid }
//!              ├── hold_void by the payee ──────────────────► Voided
//!              └── expire, once it is due ──────────────────► Expired
//!
//! key: unknown ── first money ──► account ──┬── close ──► closed ── money ──► account, at the same index
//!         └── rotate: an account's new key  └── rotate: an alias of the account, for ever
//! ```
//!
//! # What always holds
//!
//! - The sum of what all accounts have, available and held, is the supply: issued less redeemed.
//!   The fees are in the issuer's own account, which is one of them.
//! - What an account has held is the sum of its open holds.
//! - A hold leaves `Open` once; what it paid and what it gave back is what it held.
//! - An account has one key; its old keys lead to it, and nothing can be asked by them.
//! - Who was refused and has no account leaves nothing behind. Without one, nothing is kept but a limit, for a time.
//! - A chain of linked transfers is done whole, or nothing of it is.
//! - A refused step changes nothing. The first [`Refusal`] that applies, in the order of that enum, is given.
//! - Each step hands back its postings, which alone rebuild the books.
//! - [`Ledger::check`] recounts all this from scratch. Should a step find it broken, the ledger halts: it
//!   refuses every later step, because a halted ledger can be repaired from its journal and a wrong one cannot.
//!
//! # What is not here
//!
//! - Who may ask for a step, requests that are sent twice, notices to the payee: see `lcp`.
//! - Clocks and disks: `now` is an argument, and the caller saves what it did.
//! - Forgetting. A closed hold is kept (about 170 bytes), so that a second post is told why it is refused; so is a
//!   closed account, and a key that was changed (70 to 80 bytes each), so that an index never means another holder.
//!
//! ```
//! use fondaco_crypto::{CurrencyId, EntityId};
//! use fondaco_ledger::{Ledger, Refusal, Terms};
//! use fondaco_units::Amount;
//! let [issuer, alice, bob] = [1, 2, 3].map(|byte| EntityId::from_bytes([byte; 32]));
//! let mut ledger = Ledger::new(CurrencyId::issued_by(issuer), 7);
//! ledger.mint(alice, Amount::new(150))?;
//! let terms = Terms { fee: Amount::new(1), reserve: Amount::new(10) };
//! let done = ledger.transfer(alice, bob, Amount::new(100), terms)?;
//! assert_eq!(done.balance, Amount::new(49));
//! assert_eq!(ledger.account(bob).available, Amount::new(100));
//! assert_eq!(ledger.account(issuer).available, Amount::new(1), "the fee");
//! assert_eq!(
//!     ledger.transfer(alice, bob, Amount::new(49), terms),
//!     Err(Refusal::InsufficientFunds { available: Amount::new(49), wanted: Amount::new(50) }),
//! );
//! assert_eq!(ledger.check(), Ok(()));
//! # Ok::<(), Refusal>(())
//! ```

mod accounts;
mod ahead;
mod books;
mod check;
mod hold;
mod holder;
mod holding;
mod linked;
mod outcome;
mod payword;
mod posting;
mod refusal;
mod snapshot;
mod voucher;

#[cfg(test)]
mod tests;

pub use accounts::{Account, AccountIndex};
pub use books::{Ledger, Terms};
pub use check::Imbalance;
pub use hold::{Hold, HoldId, HoldState, ParseHoldIdError};
pub use linked::{Leg, LegRefused};
pub use outcome::{
    Closed, Expired, Minted, Opened, Posted, Redeemed, Rotated, Transferred, Voided,
};
pub use payword::{
    Anchor, PAYWORD_LENGTH_MAX, PayWord, PayWordChain, PayWordError, PayWordMeter, SignedAnchor,
};
pub use posting::{Posting, Postings, Side};
pub use refusal::Refusal;
pub use snapshot::SnapshotError;
pub use voucher::{SignedVoucher, Voucher};

use fondaco_units::Duration;

/// The most keys that one ledger keeps: accounts, closed accounts, and keys that accounts had before.
pub const ACCOUNTS_MAX: u32 = if cfg!(test) { 5000 } else { 1 << 30 };

/// The most keys without an account of which a limit is kept.
pub const LIMITS_AHEAD_MAX: u32 = if cfg!(test) { 3 } else { 65_536 };

/// How long a limit is kept of a key without an account.
pub const LIMIT_SPAN: Duration = Duration::from_seconds(30 * 86_400);

/// The most transfers of one chain.
pub const LINKED_MAX: u32 = 8192;

/// The longest that a hold may be open.
pub const HOLD_SPAN_MAX: Duration = Duration::from_seconds(400 * 86_400);

/// The most holds that one payer may have open at once.
pub const HOLDS_PER_PAYER_MAX: u32 = 10_000;

/// The most holds that one call of [`Ledger::expire`] closes.
pub const EXPIRED_PER_CALL_MAX: usize = 1024;
