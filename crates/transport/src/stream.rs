//! Frames on one QUIC stream: a `u32` length, little-endian, then that many bytes.
//!
//! ```text
//! frame   length u32 | body (length bytes)
//! stream  frame* end
//! ```

use crate::{CloseReason, TransportError, fabric};
use fondaco_codec::{Decode, Encode};
use fondaco_crypto::EntityId;
use iroh::endpoint::{RecvStream, SendStream, StoppedError};
use std::{future::Future, time::Duration};

/// The longest frame of all, in bytes without its length: no receiver allows more.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// How long an operation of a stream may take, unless [`Stream::set_timeout`] says otherwise.
pub const STREAM_TIMEOUT: Duration = Duration::from_secs(30);

const LENGTH_BYTES: usize = 4;

/// What is reserved for a frame before its bytes are there.
const RESERVED_BYTES_MAX: usize = 64 << 10;

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
    /// A value longer than [`FRAME_BYTES_MAX`] is refused before a byte is sent. It is sent when it
    /// is with the system, not when the peer has it.
    pub async fn send(&mut self, value: &impl Encode) -> Result<(), TransportError> {
        let frame = frame(self.peer, value)?;
        let (way, peer) = (&mut self.way, self.peer);
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
        let length = length(self.peer, body.len())?;
        let (way, peer) = (&mut self.way, self.peer);
        let lost = |error| TransportError::write(peer, error);
        within(peer, "send", self.timeout, async {
            let stream = match way {
                SendWay::Quic(stream) => stream,
                SendWay::Fabric(half) => return half.write_frame([&length, body].concat()),
            };
            if body.len() <= JOINED_BYTES_MAX {
                stream.write_all(&[&length, body].concat()).await.map_err(lost)
            } else {
                stream.write_all(&length).await.map_err(lost)?;
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
            let mut header = [0; LENGTH_BYTES];
            let mut got = 0;
            while got < LENGTH_BYTES {
                match way.read(peer, &mut header[got..]).await? {
                    Some(count) => got += count,
                    None if got == 0 => return Ok(None),
                    None => {
                        return Err(TransportError::FrameCut { peer, got, wanted: LENGTH_BYTES });
                    }
                }
            }
            let length = u32::from_le_bytes(header) as usize;
            let length_max = length_max.min(FRAME_BYTES_MAX);
            if length > length_max {
                return Err(TransportError::FrameTooLong { peer, length, length_max });
            }
            let mut body = Vec::with_capacity(length.min(RESERVED_BYTES_MAX));
            while body.len() < length {
                match way.read_into(peer, length - body.len(), &mut body).await? {
                    Some(()) => {}
                    None => {
                        let (got, wanted) = (LENGTH_BYTES + body.len(), LENGTH_BYTES + length);
                        return Err(TransportError::FrameCut { peer, got, wanted });
                    }
                }
            }
            Ok(Some(body))
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
    /// Fills a part of `buffer`; returns how much of it, nothing at the end.
    async fn read(
        &mut self,
        peer: EntityId,
        buffer: &mut [u8],
    ) -> Result<Option<usize>, TransportError> {
        match self {
            Self::Quic(stream) => {
                stream.read(buffer).await.map_err(|error| TransportError::read(peer, error))
            }
            Self::Fabric(half) => Ok(half.read(buffer.len()).await?.map(|bytes| {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                bytes.len()
            })),
        }
    }

    /// Adds at most `length_max` bytes to `body`; nothing at the end.
    async fn read_into(
        &mut self,
        peer: EntityId,
        length_max: usize,
        body: &mut Vec<u8>,
    ) -> Result<Option<()>, TransportError> {
        match self {
            Self::Quic(stream) => {
                let chunk = stream.read_chunk(length_max).await;
                let chunk = chunk.map_err(|error| TransportError::read(peer, error))?;
                Ok(chunk.map(|chunk| body.extend_from_slice(&chunk)))
            }
            Self::Fabric(half) => {
                Ok(half.read(length_max).await?.map(|bytes| body.extend_from_slice(&bytes)))
            }
        }
    }
}

/// Lays out one value as one frame.
fn frame(peer: EntityId, value: &impl Encode) -> Result<Vec<u8>, TransportError> {
    let mut frame = vec![0; LENGTH_BYTES];
    value.encode(&mut frame);
    let length = length(peer, frame.len() - LENGTH_BYTES)?;
    frame[..LENGTH_BYTES].copy_from_slice(&length);
    Ok(frame)
}

fn length(peer: EntityId, length: usize) -> Result<[u8; LENGTH_BYTES], TransportError> {
    let length_max = FRAME_BYTES_MAX;
    match u32::try_from(length) {
        Ok(short) if length <= length_max => Ok(short.to_le_bytes()),
        _ => Err(TransportError::FrameTooLong { peer, length, length_max }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_codec::Text;

    const PEER: EntityId = EntityId::from_bytes([3; 32]);

    /// The hexdump of `docs/formats/transport.md`.
    #[test]
    fn the_layout_of_a_frame() {
        let text = Text::<16>::new("fondaco").unwrap();
        #[rustfmt::skip]
        let dump = [
            0x0b, 0x00, 0x00, 0x00,                   // the body is 11 bytes
            0x07, 0x00, 0x00, 0x00,                   // body: the text is 7 bytes
            0x66, 0x6f, 0x6e, 0x64, 0x61, 0x63, 0x6f, // body: fondaco
        ];
        assert_eq!(frame(PEER, &text).unwrap(), dump);
    }

    #[test]
    fn too_long_a_frame_is_not_sent() {
        assert_eq!(length(PEER, FRAME_BYTES_MAX), Ok([0, 0, 0, 4]));
        let refused = length(PEER, FRAME_BYTES_MAX + 1).unwrap_err();
        assert!(matches!(refused, TransportError::FrameTooLong { length: 67_108_865, .. }));
    }
}
