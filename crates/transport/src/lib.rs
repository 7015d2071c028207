//! Dial entities by public key over QUIC and exchange framed messages.
//!
//! - [`Endpoint`]: this entity's sockets; dials, and accepts who dials it.
//! - [`Connection`]: an open connection to one entity, who is who its key says, for one [`Protocol`].
//! - [`Stream`]: frames both ways, one after the other, independent of the other streams.
//! - [`LcpClient`]: asks an issuer, again when a connection breaks.
//! - [`Fabric`]: a network in memory under the same endpoints, for simulations.
//! - [`pace`] and [`seats`]: how fast peers may go, and how many connections they may have, as services count it.
//!
//! ```text
//! Endpoint::bind ──► Endpoint ──┬── connect(address) ──► Connection ──┬── open() ────► Stream ──► send, recv
//!                               └── accept() ──────────► Connection ──┴── accept() ──► Stream ──► finish, stop
//! ```
//!
//! # What always holds
//!
//! - [`Connection::peer`] holds the secret key of that entity: TLS 1.3 with raw public keys (RFC 7250)
//!   proved it before the connection was handed out. Early data (0-RTT), which can be replayed, is never sent.
//! - A slow or broken handshake holds up no other; at most [`HANDSHAKES_MAX`] are under way,
//!   [`HANDSHAKES_PER_NETWORK_MAX`] of one address, so that no silent one locks the others out.
//! - A frame's length is checked against the receiver's maximum before anything is reserved.
//! - Nothing waits for ever: whatever waits for a peer has a time-out, and an error that says so.
//! - Nothing but the sockets given is contacted: no relay, no lookup, no router, no name server. It
//!   works where there is only a loopback interface.
//!
//! # What is not here
//!
//! What the frames say (crate `lcp` and the storage protocol), who may do what, how much is too much (the
//! services), relays and hole punching.
//!
//! ```
//! use fondaco_codec::Text;
//! use fondaco_crypto::SecretKey;
//! use fondaco_transport::{Endpoint, Protocol, TransportError};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), TransportError> {
//! type Word = Text<16>;
//! let (seller, buyer) = (SecretKey::from_bytes(&[1; 32]), SecretKey::from_bytes(&[2; 32]));
//! let anywhere = Some("127.0.0.1:0".parse().unwrap());
//! let server = Endpoint::bind(&seller, anywhere, &[Protocol::Storage]).await?;
//! let address = server.address();
//!
//! let serving = tokio::spawn(async move {
//!     let connection = server.accept().await.expect("the endpoint is open");
//!     let mut stream = connection.accept().await?.expect("the buyer opens one");
//!     assert_eq!(stream.recv::<Word>(64).await?, Word::new("ping"));
//!     stream.send(&Word::new("pong").unwrap()).await?;
//!     stream.finish();
//!     stream.delivered().await
//! });
//!
//! let client = Endpoint::bind(&buyer, None, &[]).await?;
//! let connection = client.connect(&address, Protocol::Storage).await?;
//! assert_eq!(connection.peer(), seller.entity());
//! let mut stream = connection.open().await?;
//! stream.send(&Word::new("ping").unwrap()).await?;
//! assert_eq!(stream.recv::<Word>(64).await?, Word::new("pong"));
//! # serving.await.unwrap()
//! # }
//! ```

mod connection;
mod endpoint;
mod error;
mod fabric;
mod frames;
mod handshakes;
mod lcp_client;
pub mod pace;
pub mod seats;
mod stream;

pub use connection::Connection;
pub use endpoint::{CONNECT_TIMEOUT, Endpoint, HANDSHAKE_TIMEOUT, PROVED_TIMEOUT};
pub use error::{CloseReason, TransportError};
pub use fabric::{Climate, Fabric, Passing, Tap};
pub use frames::FRAME_BYTES_MAX;
pub use handshakes::{HANDSHAKES_MAX, HANDSHAKES_PER_NETWORK_MAX, Network};
pub use lcp_client::{ANSWER_TIMEOUT, LcpClient, RESENDS_MAX};
pub use stream::{Receiver, STREAM_TIMEOUT, Sender, Stream};

use std::fmt;

/// The most streams that one side of a connection may have open at the other.
pub const STREAMS_MAX: u32 = 256;

/// What is spoken on a connection: the TLS application protocol (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// The Lightweight Currency Protocol, second version: `fondaco/lcp/2`.
    Lcp2,
    /// Storing, fetching and auditing shards: `fondaco/storage/1`.
    Storage,
    /// Posting asks at a broker, and looking for them: `fondaco/offers/1`.
    Offers,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::Lcp2, Self::Storage, Self::Offers];

    /// Returns the name as it is sent.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Lcp2 => b"fondaco/lcp/2",
            Self::Storage => b"fondaco/storage/1",
            Self::Offers => b"fondaco/offers/1",
        }
    }

    fn from_alpn(alpn: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.alpn() == alpn)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lcp2 => "fondaco/lcp/2",
            Self::Storage => "fondaco/storage/1",
            Self::Offers => "fondaco/offers/1",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_one_name() {
        for protocol in Protocol::ALL {
            assert_eq!(protocol.to_string().as_bytes(), protocol.alpn());
            assert_eq!(Protocol::from_alpn(protocol.alpn()), Some(protocol));
        }
        assert_eq!(Protocol::from_alpn(b"fondaco/lcp/3"), None);
    }
}
