//! Frames on one QUIC stream: a `u32` length, little-endian, then that many bytes.
//!
//! ```text
//! frame   length u32 | body (length bytes)
//! stream  frame* end
//! ```

use crate::{
    CloseReason, TransportError, fabric,
    frames::{self, Incoming},
};
use fondaco_codec::{Decode, Encode};
use fondaco_crypto::EntityId;
use iroh::endpoint::{RecvStream, SendStream, StoppedError};
use std::{future::Future, time::Duration};

/// How long an operation of a stream may take, unless [`Stream::set_timeout`] says otherwise.
pub const STREAM_TIMEOUT: Duration = Duration::from_secs(30);

/// Bodies up to this size are copied behind their length, so that both leave in one packet.
const JOINED_BYTES_MAX: usize = 16 << 10;

/// Frames, both ways, between two entities. Made by [`Connection::open`](crate::Connection::open)
/// and [`Connection::accept`](crate::Connection::accept).
///
/// Each operation is given up after [`STREAM_TIMEOUT`], or what [`set_timeout`](Self::set_timeout)
/// says. An operation that failed or was dropped half way leaves the stream in the middle of a frame:
/// drop the stream then. Dropping it finishes what was sent and stops what is received.
///
/// Whoever receives must keep reading: more than 2,048 small frames left unread on one stream end
/// the connection. So a sender waits for answers, or takes a new stream for a new request.
#[derive(Debug)]
pub struct Stream {
    sender: Sender,
    receiver: Receiver,
}

/// The half of a [`Stream`] that sends.
#[derive(Debug)]
pub struct Sender {
    way: SendWay,
    peer: EntityId,
    timeout: Duration,
}

/// The half of a [`Stream`] that receives.
#[derive(Debug)]
pub struct Receiver {
    way: RecvWay,
    peer: EntityId,
    timeout: Duration,
}

/// What carries what is sent.
#[derive(Debug)]
enum SendWay {
    Quic(SendStream),
    Fabric(fabric::SendHalf),
}

/// What carries what is received.
#[derive(Debug)]
enum RecvWay {
    Quic(RecvStream),
    Fabric(fabric::RecvHalf),
}

impl Stream {
    pub(crate) fn new(peer: EntityId, (sender, receiver): (SendStream, RecvStream)) -> Self {
        Self::of(peer, SendWay::Quic(sender), RecvWay::Quic(receiver))
    }

    pub(crate) fn on_fabric(
        peer: EntityId,
        (sender, receiver): (fabric::SendHalf, fabric::RecvHalf),
    ) -> Self {
        Self::of(peer, SendWay::Fabric(sender), RecvWay::Fabric(receiver))
    }

    fn of(peer: EntityId, sender: SendWay, receiver: RecvWay) -> Self {
        Self {
            sender: Sender { way: sender, peer, timeout: STREAM_TIMEOUT },
            receiver: Receiver { way: receiver, peer, timeout: STREAM_TIMEOUT },
        }
    }

    /// Returns who is at the other end.
    pub const fn peer(&self) -> EntityId {
        self.sender.peer
    }

    /// Sets how long each operation from now on may take.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.sender.timeout = timeout;
        self.receiver.timeout = timeout;
    }

    /// Parts the two directions, to be used by two tasks.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Sends one value as one frame. See [`Sender::send`].
    pub async fn send(&mut self, value: &impl Encode) -> Result<(), TransportError> {
        self.sender.send(value).await
    }

    /// Sends `body` as one frame. See [`Sender::send_bytes`].
    pub async fn send_bytes(&mut self, body: &[u8]) -> Result<(), TransportError> {
        self.sender.send_bytes(body).await
    }

    /// Receives one value from one frame of at most `length_max` bytes. See [`Receiver::recv`].
    pub async fn recv<T: Decode>(
        &mut self,
        length_max: usize,
    ) -> Result<Option<T>, TransportError> {
        self.receiver.recv(length_max).await
    }

    /// Receives one frame of at most `length_max` bytes. See [`Receiver::recv_bytes`].
    pub async fn recv_bytes(
        &mut self,
        length_max: usize,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        self.receiver.recv_bytes(length_max).await
    }

    /// Ends what is sent. See [`Sender::finish`].
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    /// Waits until the peer has all that was sent. See [`Sender::delivered`].
    pub async fn delivered(&mut self) -> Result<(), TransportError> {
        self.sender.delivered().await
    }

    /// Gives up both directions; the peer is told `reason`.
    pub fn stop(&mut self, reason: CloseReason) {
        self.sender.reset(reason);
        self.receiver.stop(reason);
    }
}

impl Sender {
    /// Sets how long each operation from now on may take.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Sends one value as one frame.
    ///
    /// # Errors
    ///
    /// A value longer than [`FRAME_BYTES_MAX`](crate::FRAME_BYTES_MAX) is refused before a byte is sent. It is sent when it
    /// is with the system, not when the peer has it.
    pub async fn send(&mut self, value: &impl Encode) -> Result<(), TransportError> {
        let (way, peer) = (&mut self.way, self.peer);
        let frame = frames::lay_out(value).map_err(|error| TransportError::frame(peer, error))?;
        within(peer, "send", self.timeout, async {
            match way {
                SendWay::Quic(stream) => stream
                    .write_all(&frame)
                    .await
                    .map_err(|error| TransportError::write(peer, error)),
                SendWay::Fabric(half) => half.write_frame(frame),
            }
        })
        .await
    }

    /// Sends `body` as one frame.
    ///
    /// # Errors
    ///
    /// As [`Sender::send`].
    pub async fn send_bytes(&mut self, body: &[u8]) -> Result<(), TransportError> {
        let (way, peer) = (&mut self.way, self.peer);
        let header = frames::header(body.len());
        let header = header.map_err(|error| TransportError::frame(peer, error))?;
        let lost = |error| TransportError::write(peer, error);
        within(peer, "send", self.timeout, async {
            let stream = match way {
                SendWay::Quic(stream) => stream,
                SendWay::Fabric(half) => return half.write_frame([&header, body].concat()),
            };
            if body.len() <= JOINED_BYTES_MAX {
                stream.write_all(&[&header, body].concat()).await.map_err(lost)
            } else {
                stream.write_all(&header).await.map_err(lost)?;
                stream.write_all(body).await.map_err(lost)
            }
        })
        .await
    }

    /// Ends what is sent: the peer receives what was sent before, then the end. Doing so twice is harmless.
    pub fn finish(&mut self) {
        match &mut self.way {
            // It can only have been ended already.
            SendWay::Quic(stream) => drop(stream.finish()),
            SendWay::Fabric(half) => half.finish(),
        }
    }

    /// Waits until the peer's system has all that was sent; call [`finish`](Self::finish) before.
    ///
    /// Needed only before the connection is closed: closing drops what is still under way.
    pub async fn delivered(&mut self) -> Result<(), TransportError> {
        let (way, peer) = (&self.way, self.peer);
        within(peer, "deliver", self.timeout, async {
            let stopped = match way {
                SendWay::Quic(stream) => stream.stopped(),
                SendWay::Fabric(half) => return half.delivered().await,
            };
            match stopped.await {
                Ok(None) => Ok(()),
                Ok(Some(code)) => {
                    let reason = CloseReason::from_code(code);
                    Err(TransportError::StreamGivenUp { peer, reason })
                }
                Err(StoppedError::ConnectionLost(error)) => Err(TransportError::ended(peer, error)),
                Err(StoppedError::ZeroRttRejected) => Err(TransportError::StreamEnded { peer }),
            }
        })
        .await
    }

    /// Gives up what is sent: what is under way is dropped, and the peer is told `reason`.
    pub fn reset(&mut self, reason: CloseReason) {
        match &mut self.way {
            // It can only have been ended already.
            SendWay::Quic(stream) => drop(stream.reset(reason.code())),
            SendWay::Fabric(half) => half.reset(reason),
        }
    }
}

impl Receiver {
    /// Sets how long each operation from now on may take.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Receives one value from one frame of at most `length_max` bytes; `None` when the peer ended
    /// the stream after its last frame.
    pub async fn recv<T: Decode>(
        &mut self,
        length_max: usize,
    ) -> Result<Option<T>, TransportError> {
        let Some(body) = self.recv_bytes(length_max).await? else { return Ok(None) };
        match T::from_bytes(&body) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(TransportError::Decode { peer: self.peer, error }),
        }
    }

    /// Receives one frame of at most `length_max` bytes; `None` when the peer ended the stream after
    /// its last frame.
    ///
    /// # Errors
    ///
    /// The length is checked before anything is reserved; a peer that announces much and sends
    /// little is given room only as its bytes arrive.
    pub async fn recv_bytes(
        &mut self,
        length_max: usize,
    ) -> Result<Option<Vec<u8>>, TransportError> {
        let (way, peer) = (&mut self.way, self.peer);
        within(peer, "receive", self.timeout, async {
            let mut frame = Incoming::new(length_max);
            while frame.wanted() > 0 {
                let Some(()) = way.read_into(peer, &mut frame).await? else { break };
            }
            frame.end().map_err(|error| TransportError::frame(peer, error))
        })
        .await
    }

    /// Gives up what is received: what is under way is dropped, and the peer is told `reason`.
    pub fn stop(&mut self, reason: CloseReason) {
        match &mut self.way {
            // It can only have been ended already.
            RecvWay::Quic(stream) => drop(stream.stop(reason.code())),
            RecvWay::Fabric(half) => half.stop(reason),
        }
    }
}

impl RecvWay {
    /// Adds to a frame what there is of what it wants; nothing at the end.
    async fn read_into(
        &mut self,
        peer: EntityId,
        frame: &mut Incoming,
    ) -> Result<Option<()>, TransportError> {
        let taken = match self {
            Self::Quic(stream) => {
                let chunk = stream.read_chunk(frame.wanted()).await;
                let chunk = chunk.map_err(|error| TransportError::read(peer, error))?;
                chunk.map(|chunk| frame.take(&chunk))
            }
            Self::Fabric(half) => half.read(frame.wanted()).await?.map(|bytes| frame.take(&bytes)),
        };
        let taken = taken.map(|taken| taken.map(drop)).transpose();
        taken.map_err(|error| TransportError::frame(peer, error))
    }
}

/// Gives `work` up after `timeout`.
pub(crate) async fn within<T>(
    peer: EntityId,
    operation: &'static str,
    timeout: Duration,
    work: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(timeout, work).await {
        Ok(ended) => ended,
        Err(_) => Err(TransportError::TimedOut { peer, operation, timeout }),
    }
}
