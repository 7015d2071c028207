//! Serve an owner's stored objects to plain restic over its REST protocol.
//!
//! ```text
//! restic ──HTTP/1.1──► seat? ─► host? ─► token? ─► place ─► method ─┬─ objects ─► Store (the app's: the market)
//!                       no: closed    421      401      404      405 └─ locks ───► Locks (a folder here)
//! ```
//!
//! A *place* is what a path names: the repository (`/`), its configuration (`/config`), a folder of one kind
//! (`/data/`), or one file in it (`/data/SHA-256`). Both versions of restic's lists are spoken. Who may ask is shown
//! by a [`Token`], as the password of HTTP's basic authentication, whatever the user.
//!
//! # What always holds
//!
//! - Nothing is acknowledged before it was received whole, its SHA-256 is its name, and the [`Store`] has it.
//! - What a client can make this process keep in memory is bounded by its [`Limits`], and so is every wait for one.
//! - Where the repository is append-only, nothing but a lock is ever removed, and nothing is overwritten.
//! - Who has no token learns nothing but that, and holds a connection for seconds only.
//!
//! # What is not here
//!
//! Where objects lie and who is paid for it: an app gives a [`Store`]. TLS: a gateway is for the machine it runs on; by
//! default it listens there alone. Decisions and their reasons are in `docs/decisions/0022-*`.

mod limits;
mod locks;
mod name;
mod patient;
mod place;
mod range;
mod refusal;
mod respond;
mod server;
mod store;
mod token;

pub use limits::Limits;
pub use locks::{LOCKS_MAX, Locks, LocksError};
pub use name::{Name, ParseNameError};
pub use place::{Folder, Place};
pub use server::{Server, Settings, StartError};
pub use store::{Kind, Object, Store, StoreError, Trouble};
pub use token::{ParseTokenError, Token};
