//! Agree on storage, meter it, and bill it to the unit.
//!
//! The contract of Turner and Ross (2003), §4, as two programs run it: so much to open it, so much for each byte
//! written and read, and, which the paper had not, so much for each byte kept through each *epoch*. The *provider*
//! signs a [`PriceList`]; the *buyer* signs [`Terms`] that name it, and the provider signs them too. From then on both
//! keep a [`Tab`], and each charge must be covered by a voucher before it is served.
//!
//! ```text
//! PriceList ─signed─► Terms ─signed by both─► State::Open ──► every Charge: Tab::quote (buyer signs a voucher for it)
//!                                                │                          Tab::admit (provider serves if it is covered)
//!                                                └── closed, over, lapsed, left, renewed ─► Bill     (see State)
//! ```
//!
//! A provider tells of itself by an [`Ask`]: its price list and where it is dialled; [`Asks`] is a book of them, and
//! [`AutoPrice`] follows what the others ask.
//!
//! # What always holds
//!
//! - Buyer and provider owe and see the same sum to the unit, however writes are cut into steps and in whatever order
//!   concurrent charges arrive: a tab counts bytes, and only the total is rounded, up, once.
//! - What is owed never falls. A refusal changes nothing.
//! - A charge is admitted only if what the buyer has authorised covers it and all before it.
//! - No sum wraps: one that does not fit is refused.
//!
//! # What is not here
//!
//! Vouchers and holds (see `ledger`), bytes and their proofs (see `audit`), messages (see `ports`), and the time: `now`
//! is an argument.
//!
//! ```
//! use fondaco_contract::{Bill, Charge, Meter, PriceList};
//! # use fondaco_crypto::{CurrencyId, SecretKey};
//! use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
//! # let (now, provider) = (Timestamp::EPOCH, SecretKey::from_bytes(&[1; 32]).entity());
//! let clr = |units: u64| Amount::new(units * 100); // a dollar of 100 cents
//! let prices = PriceList {
//!     provider,
//!     currency: CurrencyId::issued_by(provider),
//!     open: clr(10),
//!     store: Price::default(),
//!     write: Price::of(clr(1), Bytes::new(1024)).unwrap(),
//!     read: Price::of(clr(4), Bytes::new(1024)).unwrap(),
//!     capacity: Bytes::new(1 << 30),
//!     period_max: Duration::from_seconds(14 * 86_400),
//!     epoch: Duration::from_seconds(86_400),
//!     step_max: Bytes::new(1 << 20),
//!     issued: now,
//!     expires: now.after(Duration::from_seconds(3600)),
//! };
//! let meter = Meter { opened: true, written: 1 << 20, read: 2048, byte_epochs: 0 };
//! assert_eq!(Bill::of(&prices, &meter).unwrap().total(), clr(10 + 1024 + 8));
//! ```

mod ask;
mod asks;
mod bill;
mod deletion;
mod mandate;
mod prices;
mod pricing;
mod state;
mod tab;
mod terms;

pub use ask::{
    ASK_BYTES_MAX, ASK_SOCKETS_MAX, Ask, AskError, CheckedAsk, Label, ParseLabelError, SignedAsk,
    Socket,
};
pub use asks::{Asks, AsksError, AsksLimits, Inserted, Page, Place, Rate, Sought};
pub use bill::{Bill, Charge, Item, Line, Meter, Parts};
pub use deletion::{Deletion, SignedDeletion};
pub use mandate::{Mandate, SignedMandate, Takes};
pub use prices::{
    EPOCH_MIN, PERIOD_LIMIT, PriceList, PriceListError, READ_UNIT, SKEW_MAX, STEP_LIMIT, STEP_MIN,
    SignedPriceList, VALIDITY_MAX, exposure_max, read_charged,
};
pub use pricing::{AutoPrice, Factor, Rank};
pub use state::{Ending, GRACE_EPOCHS, Input, Side, State, StateError};
pub use tab::{Tab, TabError};
pub use terms::{ContractId, ParseContractIdError, Terms, TermsError};
