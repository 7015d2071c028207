//! What can go wrong between two entities, and what each is told.

use crate::{Protocol, frames::Unframed};
use fondaco_codec::DecodeError;
use fondaco_crypto::EntityId;
use fondaco_lcp::FrameError;
use fondaco_ports::Address;
use iroh::endpoint::{ConnectionError, ReadError, TransportErrorCode, VarInt, WriteError};
use std::{fmt, net::SocketAddr, time::Duration};

/// Why one side closed a connection: the QUIC application error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// There was nothing more to do. Code 0, which is also what a process sends that just ends.
    Done,
    /// The other side broke the protocol. Code 1.
    Misbehaved,
    /// There are too many connections or streams already; later is better. Code 2.
    Busy,
    /// The service stops; it may come back. Code 3.
    Leaving,
    /// Another code: a later version of this protocol, or another program.
    Other(u32),
}

impl CloseReason {
    pub(crate) const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Misbehaved => 1,
            Self::Busy => 2,
            Self::Leaving => 3,
            Self::Other(code) => code,
        })
    }

    pub(crate) fn from_code(code: VarInt) -> Self {
        match code.into_inner() {
            0 => Self::Done,
            1 => Self::Misbehaved,
            2 => Self::Busy,
            3 => Self::Leaving,
            // Codes go up to 2^62; no version of this protocol uses one above 32 bits.
            other => Self::Other(u32::try_from(other).unwrap_or(u32::MAX)),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Misbehaved => f.write_str("this side broke the protocol"),
            Self::Busy => f.write_str("busy"),
            Self::Leaving => f.write_str("the service stops"),
            Self::Other(code) => write!(f, "code {code}"),
        }
    }
}

/// Why nothing, or not everything, came across. Listed in the order in which a message would meet them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Another program, or this one, listens there already.
    #[error("{socket} is in use")]
    PortInUse {
        /// Where this endpoint was to listen.
        socket: SocketAddr,
    },
    /// The system did not let this endpoint listen.
    #[error("cannot listen on {socket}: {detail}")]
    Bind {
        /// Where.
        socket: SocketAddr,
        /// What the system said.
        detail: String,
    },
    /// The entity's id is 32 bytes that are no public key.
    #[error("{entity} is no usable key")]
    BadKey {
        /// Whom to dial.
        entity: EntityId,
    },
    /// An endpoint cannot dial its own key.
    #[error("{entity} is this endpoint itself")]
    SelfDial {
        /// Whom to dial.
        entity: EntityId,
    },
    /// The address names no socket.
    #[error("the address of {entity} names no socket")]
    NoSocket {
        /// Whom to dial.
        entity: EntityId,
    },
    /// This endpoint was closed.
    #[error("this endpoint is closed")]
    EndpointClosed,
    /// Nobody answered at any socket of the address in time.
    #[error("nobody answers at {address}")]
    Unreachable {
        /// Whom, and where.
        address: Address,
    },
    /// Somebody answered, with another key.
    #[error("who answers at {address} has another key")]
    WrongKey {
        /// Whom, and where.
        address: Address,
    },
    /// The peer does not serve this protocol.
    #[error("{peer} does not serve {protocol}")]
    ProtocolRefused {
        /// Who was dialled.
        peer: EntityId,
        /// What for.
        protocol: Protocol,
    },
    /// The peer takes no more connections now.
    #[error("{peer} takes no more connections now")]
    Busy {
        /// Who was dialled.
        peer: EntityId,
    },
    /// The handshake failed for another reason.
    #[error("no connection to {peer}: {detail}")]
    Handshake {
        /// Who was dialled.
        peer: EntityId,
        /// What QUIC or TLS said.
        detail: String,
    },
    /// This side closed the connection.
    #[error("the connection to {peer} was closed on this side")]
    ClosedHere {
        /// The other side.
        peer: EntityId,
    },
    /// The peer closed the connection.
    #[error("{peer} closed the connection: {reason}")]
    Closed {
        /// The other side.
        peer: EntityId,
        /// What it said.
        reason: CloseReason,
    },
    /// The connection broke.
    #[error("the connection to {peer} was lost: {detail}")]
    Lost {
        /// The other side.
        peer: EntityId,
        /// What QUIC said.
        detail: String,
    },
    /// The peer stayed silent, or took nothing, for too long.
    #[error("{peer} let {operation} wait for more than {timeout:?}")]
    TimedOut {
        /// The other side.
        peer: EntityId,
        /// What waited: `open`, `send`, `receive`, `deliver`, `answer`.
        operation: &'static str,
        /// How long it waited.
        timeout: Duration,
    },
    /// The peer gave up this stream: it stopped reading, or reset what it sent.
    #[error("{peer} gave up the stream: {reason}")]
    StreamGivenUp {
        /// The other side.
        peer: EntityId,
        /// What it said.
        reason: CloseReason,
    },
    /// The stream was finished or stopped on this side.
    #[error("the stream to {peer} was ended on this side")]
    StreamEnded {
        /// The other side.
        peer: EntityId,
    },
    /// A frame is longer than its receiver allows; for one to be sent, than the greatest of all.
    #[error("a frame of {length} bytes with {peer} is over the maximum of {length_max}")]
    FrameTooLong {
        /// The other side.
        peer: EntityId,
        /// How long it is.
        length: usize,
        /// How long it may be.
        length_max: usize,
    },
    /// The stream ended inside a frame.
    #[error("{peer} ended the stream after {got} of the {wanted} bytes of a frame")]
    FrameCut {
        /// The other side.
        peer: EntityId,
        /// How many bytes came, the 4 of the length included.
        got: usize,
        /// How many should have come.
        wanted: usize,
    },
    /// A frame is not the encoding of what was expected.
    #[error("what {peer} sent cannot be read: {error}")]
    Decode {
        /// The other side.
        peer: EntityId,
        /// Where and why.
        error: DecodeError,
    },
    /// An answer is no message of the protocol, or of another version of it.
    #[error("the answer of {peer} cannot be read: {error}")]
    BadAnswer {
        /// The other side.
        peer: EntityId,
        /// Why not.
        error: FrameError,
    },
    /// The stream ended where an answer was due.
    #[error("{peer} ended the stream without an answer")]
    NoAnswer {
        /// The other side.
        peer: EntityId,
    },
}

impl TransportError {
    /// Returns whether the same thing, tried again unchanged, can succeed later.
    ///
    /// It does not say whether the first attempt had an effect: what is sent again must be safe to be done twice.
    //
    // Spelled out without `_`, so that a new failure has to choose a side.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::PortInUse { .. }
            | Self::Unreachable { .. }
            | Self::Busy { .. }
            | Self::Lost { .. }
            | Self::TimedOut { .. }
            | Self::FrameCut { .. }
            | Self::NoAnswer { .. } => true,
            Self::Closed { reason, .. } | Self::StreamGivenUp { reason, .. } => match reason {
                CloseReason::Done | CloseReason::Busy | CloseReason::Leaving => true,
                CloseReason::Misbehaved | CloseReason::Other(_) => false,
            },
            Self::Bind { .. }
            | Self::BadKey { .. }
            | Self::SelfDial { .. }
            | Self::NoSocket { .. }
            | Self::EndpointClosed
            | Self::WrongKey { .. }
            | Self::ProtocolRefused { .. }
            | Self::Handshake { .. }
            | Self::ClosedHere { .. }
            | Self::StreamEnded { .. }
            | Self::FrameTooLong { .. }
            | Self::Decode { .. }
            | Self::BadAnswer { .. } => false,
        }
    }

    /// Returns what a person can do about it.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PortInUse { .. } => {
                Some("stop the program that listens there, or choose another port")
            }
            Self::Bind { .. } => {
                Some("listen on an address of this machine, and on a port from 1024 on")
            }
            Self::BadKey { .. } => Some("ask the entity for its address again"),
            Self::SelfDial { .. } => Some("an entity cannot trade with itself: use another key"),
            Self::NoSocket { .. } => Some("write the address as ENTITY@HOST:PORT"),
            Self::Unreachable { .. } => Some(
                "see that it runs, that the port is the one it printed, and that no firewall drops UDP",
            ),
            Self::WrongKey { .. } => {
                Some("the key or the port has changed: ask for the address again")
            }
            Self::ProtocolRefused { .. } => {
                Some("the address is of another service: see what it serves")
            }
            Self::Busy { .. } => Some("try again in a moment"),
            Self::Closed { reason: CloseReason::Busy | CloseReason::Leaving, .. }
            | Self::StreamGivenUp { reason: CloseReason::Busy | CloseReason::Leaving, .. } => {
                Some("try again in a moment")
            }
            Self::Decode { .. } | Self::BadAnswer { .. } => {
                Some("the two sides may run different versions")
            }
            Self::EndpointClosed
            | Self::Handshake { .. }
            | Self::ClosedHere { .. }
            | Self::Closed { .. }
            | Self::Lost { .. }
            | Self::TimedOut { .. }
            | Self::StreamGivenUp { .. }
            | Self::StreamEnded { .. }
            | Self::FrameTooLong { .. }
            | Self::FrameCut { .. }
            | Self::NoAnswer { .. } => None,
        }
    }

    /// What was sent, or was to be, is no frame.
    pub(crate) const fn frame(peer: EntityId, error: Unframed) -> Self {
        match error {
            Unframed::TooLong { length, length_max } => {
                Self::FrameTooLong { peer, length, length_max }
            }
            Unframed::Cut { got, wanted } => Self::FrameCut { peer, got, wanted },
        }
    }

    /// A connection, once open, ended.
    pub(crate) fn ended(peer: EntityId, error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::Closed { peer, reason: CloseReason::from_code(close.error_code) }
            }
            ConnectionError::LocallyClosed => Self::ClosedHere { peer },
            other => Self::Lost { peer, detail: other.to_string() },
        }
    }

    /// A connection did not come about.
    pub(crate) fn handshake(address: &Address, protocol: Protocol, error: ConnectionError) -> Self {
        /// The TLS alerts `unknown_ca` and `no_application_protocol` (RFC 8446, 6.2; RFC 7301, 3.2).
        const UNKNOWN_CA: u8 = 48;
        const NO_APPLICATION_PROTOCOL: u8 = 120;
        let peer = address.entity();
        match error {
            // Raised here: the key of who answered is not the one dialled.
            ConnectionError::TransportError(error)
                if error.code == TransportErrorCode::crypto(UNKNOWN_CA) =>
            {
                Self::WrongKey { address: address.clone() }
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) =>
            {
                Self::ProtocolRefused { peer, protocol }
            }
            ConnectionError::ConnectionClosed(close)
                if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Busy { peer }
            }
            ConnectionError::TimedOut => Self::Unreachable { address: address.clone() },
            ConnectionError::LocallyClosed => Self::EndpointClosed,
            error @ ConnectionError::ApplicationClosed(_) => Self::ended(peer, error),
            other => Self::Handshake { peer, detail: other.to_string() },
        }
    }

    pub(crate) fn read(peer: EntityId, error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => {
                Self::StreamGivenUp { peer, reason: CloseReason::from_code(code) }
            }
            ReadError::ConnectionLost(error) => Self::ended(peer, error),
            ReadError::ClosedStream | ReadError::ZeroRttRejected => Self::StreamEnded { peer },
        }
    }

    pub(crate) fn write(peer: EntityId, error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => {
                Self::StreamGivenUp { peer, reason: CloseReason::from_code(code) }
            }
            WriteError::ConnectionLost(error) => Self::ended(peer, error),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::StreamEnded { peer },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_reasons_survive_their_code() {
        use CloseReason::{Busy, Done, Leaving, Misbehaved, Other};
        for (code, reason) in
            [(0, Done), (1, Misbehaved), (2, Busy), (3, Leaving), (4, Other(4)), (999, Other(999))]
        {
            assert_eq!(CloseReason::from_code(VarInt::from_u32(code)), reason);
            assert_eq!(reason.code(), VarInt::from_u32(code));
        }
        assert_eq!(CloseReason::from_code(VarInt::MAX), Other(u32::MAX));
    }

    #[test]
    fn errors_are_sentences_with_their_values() {
        let busy = TransportError::PortInUse { socket: "127.0.0.1:4433".parse().unwrap() };
        assert_eq!(busy.to_string(), "127.0.0.1:4433 is in use");
        assert!(busy.is_transient());
        assert!(busy.hint().is_some());
        let peer = EntityId::from_bytes([3; 32]);
        for (reason, passes) in [
            (CloseReason::Busy, true),
            (CloseReason::Leaving, true),
            (CloseReason::Misbehaved, false),
        ] {
            let closed = TransportError::Closed { peer, reason };
            let given_up = TransportError::StreamGivenUp { peer, reason };
            for error in [closed, given_up] {
                assert_eq!(error.is_transient(), passes, "{error}");
                assert_eq!(error.hint(), passes.then_some("try again in a moment"), "{error}");
            }
        }
    }
}
