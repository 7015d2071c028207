//! Sell disk space by the step and prove it is kept.
//!
//! - [`HostService`]: the shell: sockets, files, journal, issuer.
//! - [`host`]: the core: which contracts there are, what each owes, what may be served. It decides and touches nothing.
//!
//! # What always holds
//!
//! - Nothing is served that a voucher does not cover.
//! - Whatever changes a promise is an [`Event`], durable before it is answered. What a read is charged is durable within
//!   a second: a crash can cost this provider that much, and its buyers nothing.
//!
//! # What is not here
//!
//! Making prices: they are given in [`HostConfig`], and moved by whoever holds the [`PriceBoard`]. Repairing shards that the disk lost.

mod board;
pub mod event;
pub mod host;
mod service;

pub use board::PriceBoard;
pub use event::{Event, ReplayError};
pub use host::{
    Answer, Begun, Closing, Host, HostConfig, Opening, Overview, PROOFS_PER_EPOCH_MAX, ProvePlan,
    ProveShard, PutId, ReadPlan, Settle, Stepped,
};
pub use service::{Counts, HostService, HostWatch, Report, ServiceError, Waits};
