//! Sell disk space by the step and prove it is kept.
//!
//! - [`HostService`]: the shell: sockets, files, journal, issuer.
//! - [`host`]: the core: which contracts there are, what each owes, what may be served. It decides and touches nothing.
//!
//! # What always holds
//!
//! - Nothing is served that a voucher does not cover.
//! - Whatever changes money or promises is an [`Event`], to be durable before it is answered.
//!
//! # What is not here
//!
//! Making prices (see `market`), and what buyers think of this provider (see `reputation`).

pub mod event;
pub mod host;
mod service;

pub use event::{Event, ReplayError};
pub use host::{
    Answer, Begun, Closing, Host, HostConfig, Opening, PutId, ReadPlan, Settle, Stepped,
};
pub use service::{HostService, ServiceError};
