//! Speak the Lightweight Currency Protocol of 2003: SOAP over mutual TLS.
//!
//! The protocol of Turner and Ross as two drafts describe it and no program spoke it: `transfer` and `query`, SOAP 1.1
//! in style `rpc`, over TLS in which both sides show a key. What the documents leave open is decided in
//! `docs/formats/lcp2003.md`; what they leave unsafe is repaired by `lcp::classic`, whose answers travel here.
//!
//! ```text
//!             ┌ plain HTTP:  the descriptions, and nothing else
//! a toolkit ──┤
//!             └ TLS 1.3 ──► tls: whose key? ──► server: HTTP/1.1 ──► soap: Question ──► Accounts::classic
//!                             (session resumed?)      limits, pace                        (the issuer)
//! ```
//!
//! # What always holds
//!
//! - The account of a message is the key that was proved on its connection, and nothing that the message says.
//! - Nothing is parsed before its length, and nothing is kept that has no limit: bytes, depth, attributes, connections,
//!   handshakes, sessions, time.
//! - An amount is read exactly or refused. No float is involved.
//! - The same stored answer is the same bytes, whenever it is asked for again in the same form.
//!
//! # What is not here
//!
//! - *Who is paid and what is remembered*: see `lcp::classic`. *Waiting*: the [`Accounts`] park a query; here its
//!   connection is kept, and given up when the server stops.
//! - *Certificates that mean something.* An issuer may show one that an authority made; holders are their keys.

mod amount;
mod client;
mod key;
mod server;
pub mod soap;
mod tls;
pub mod wsdl;

pub use amount::{AMOUNT_TEXT_MAX, parse_amount, parse_plain_amount};
pub use client::{ClientError, SoapClient};
pub use key::{hex, parse_key};
pub use server::{Limits, SERVICE_PATH, Server, Settings, StartError};
pub use tls::{
    ClientTls, HolderPem, Identity, IdentityError, SESSIONS_MAX, SESSIONS_PER_HOLDER_MAX,
    ServerName, holder_pem,
};

use fondaco_crypto::EntityId;
use fondaco_lcp::classic::{Answer, Ask};
use fondaco_units::Duration;
use std::{future::Future, net::IpAddr, pin::Pin};

/// A future that can be kept and sent.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who keeps the accounts: the issuer.
pub trait Accounts: Send + Sync {
    /// Answers one message. A query that has nothing to tell is answered after `wait`, or when there is something.
    ///
    /// The future may be dropped at any time, which is a connection that was lost: the message may still be done.
    /// A query is asked again with the same counter and no `wait` when the server stops.
    fn classic(&self, exchange: Exchange) -> BoxFuture<'_, Result<Answered, Unanswered>>;
}

/// One message of a holder, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Whose key was proved on the connection.
    pub holder: EntityId,
    /// The address that it dialled from; nothing if it is gone already.
    pub from: Option<IpAddr>,
    /// The connection's number: they rise in the order in which connections were accepted.
    pub connection: u64,
    /// The newest connection, of anybody, that was accepted when this had been read.
    pub accepted: u64,
    /// Whether the holder has made a full handshake and did not pay for it yet.
    pub full_handshake: bool,
    /// What is asked.
    pub ask: Ask,
    /// How long a query may wait for something to tell.
    pub wait: Duration,
}

/// What the accounts answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Whether the surcharge of a full handshake was taken, now, for this exchange. A stored answer takes nothing.
    pub surcharged: bool,
}

/// Why the accounts do not answer. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too much is asked: the message was not taken in, and nothing was done.
    #[error("the accounts take in no more now")]
    Busy,
    /// Whether the message was done is not known.
    #[error("the accounts cannot be asked now")]
    Unavailable,
}

impl Unanswered {
    /// Returns whether the same message can be answered later: always.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Busy | Self::Unavailable => true,
        }
    }
}
