//! An open connection to one entity.

use crate::{
    CloseReason, Protocol, STREAM_TIMEOUT, Stream, TransportError, endpoint::STORAGE_WINDOW_BYTES,
    fabric, stream::within,
};
use fondaco_crypto::EntityId;
use iroh::endpoint::ConnectionError;
use std::net::IpAddr;

/// An open connection to one entity, for one protocol. Clones are the same connection; it closes
/// when the last of them, and of its streams, is dropped.
#[derive(Clone, Debug)]
pub struct Connection {
    way: Way,
    peer: EntityId,
    protocol: Protocol,
    network: Option<IpAddr>,
}

/// What carries it.
#[derive(Clone, Debug)]
enum Way {
    Quic(iroh::endpoint::Connection),
    Fabric(fabric::Handle),
}

impl Connection {
    /// Takes over a connection whose handshake is complete; nothing if its protocol is none of ours.
    pub(crate) fn new(quic: iroh::endpoint::Connection) -> Option<Self> {
        let protocol = Protocol::from_alpn(quic.alpn())?;
        let peer = EntityId::from_bytes(*quic.remote_id().as_bytes());
        if protocol == Protocol::Storage {
            // Shards are large. For the rest, the room a peer may fill stays small.
            quic.set_receive_window(STORAGE_WINDOW_BYTES);
        }
        Some(Self { way: Way::Quic(quic), peer, protocol, network: None })
    }

    /// Notes from which network the peer dialled.
    pub(crate) const fn dialled_from(mut self, network: Option<IpAddr>) -> Self {
        self.network = network;
        self
    }

    /// Takes over one side of a connection in memory.
    pub(crate) const fn on_fabric(
        handle: fabric::Handle,
        peer: EntityId,
        protocol: Protocol,
    ) -> Self {
        Self { way: Way::Fabric(handle), peer, protocol, network: None }
    }

    /// Returns who is at the other end, as its key proved.
    pub const fn peer(&self) -> EntityId {
        self.peer
    }

    /// Returns from which network the peer dialled: its IPv4 address, or the first 64 bits of an IPv6 one. Nothing for
    /// a peer on this machine, or one that this endpoint dialled.
    pub const fn network(&self) -> Option<IpAddr> {
        self.network
    }

    /// Returns what is spoken.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Opens a stream. The peer does not see it before something is sent on it.
    ///
    /// # Errors
    ///
    /// With [`STREAMS_MAX`](crate::STREAMS_MAX) open this waits for one to end, at most [`STREAM_TIMEOUT`].
    pub async fn open(&self) -> Result<Stream, TransportError> {
        let peer = self.peer;
        within(peer, "open", STREAM_TIMEOUT, async {
            match &self.way {
                Way::Quic(quic) => {
                    let halves =
                        quic.open_bi().await.map_err(|error| TransportError::ended(peer, error))?;
                    Ok(Stream::new(peer, halves))
                }
                Way::Fabric(handle) => Ok(Stream::on_fabric(peer, handle.open()?)),
            }
        })
        .await
    }

    /// Waits for the peer to open a stream, as long as the connection lives; `None` once it was
    /// closed in order: by this side, or by the peer as [`CloseReason::Done`] or [`CloseReason::Leaving`].
    pub async fn accept(&self) -> Result<Option<Stream>, TransportError> {
        let error = match &self.way {
            Way::Quic(quic) => match quic.accept_bi().await {
                Ok(halves) => return Ok(Some(Stream::new(self.peer, halves))),
                Err(error) => TransportError::ended(self.peer, error),
            },
            Way::Fabric(handle) => match handle.accept().await {
                Ok(halves) => return Ok(Some(Stream::on_fabric(self.peer, halves))),
                Err(error) => error,
            },
        };
        match error {
            TransportError::ClosedHere { .. }
            | TransportError::Closed { reason: CloseReason::Done | CloseReason::Leaving, .. } => {
                Ok(None)
            }
            error => Err(error),
        }
    }

    /// Returns how many datagrams have come from the peer: one that is slow to answer still acknowledges what it is sent, and one
    /// that is gone does not. Nothing where none are counted, in memory.
    pub fn received(&self) -> Option<u64> {
        match &self.way {
            Way::Quic(quic) => Some(quic.stats().udp_rx.datagrams),
            Way::Fabric(_) => None,
        }
    }

    /// Closes the connection at once: what is under way, in either direction, is dropped.
    pub fn close(&self, reason: CloseReason) {
        match &self.way {
            Way::Quic(quic) => quic.close(reason.code(), b""),
            Way::Fabric(handle) => handle.close(reason),
        }
    }

    /// Returns whether it was closed by either side, or lost.
    pub fn is_closed(&self) -> bool {
        match &self.way {
            Way::Quic(quic) => quic.close_reason().is_some(),
            Way::Fabric(handle) => handle.is_closed(),
        }
    }

    /// Waits until the connection is closed or lost; returns how.
    pub async fn closed(&self) -> TransportError {
        match &self.way {
            Way::Quic(quic) => {
                let error: ConnectionError = quic.closed().await;
                TransportError::ended(self.peer, error)
            }
            Way::Fabric(handle) => handle.closed().await,
        }
    }
}
