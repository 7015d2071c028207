//! A socket whose patience is bounded.
//!
//! What is written must be taken in by the peer in time, or the connection ends; and when it ends, what still comes is
//! read away for a moment: a socket that is closed with bytes unread makes the system tell the peer to forget what it
//! has not read yet, our last words among it.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// How much is read away at the end.
const READ_AWAY_BYTES_MAX: usize = 4 << 20;
/// How long that may take.
const READ_AWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// A socket that waits for its peer only so long.
#[derive(Debug)]
pub(crate) struct Patient<IO> {
    io: IO,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    state: State,
}

/// What the timer is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing.
    Quiet,
    /// The peer is to take something in.
    Writing,
    /// All is said; so many bytes were read away.
    ReadingAway { bytes: usize },
}

impl<IO> Patient<IO> {
    /// Waits at most for `patience` each time that the peer does not take in what is written.
    pub(crate) fn new(io: IO, patience: Duration) -> Self {
        Self { io, patience, timer: Box::pin(tokio::time::sleep(patience)), state: State::Quiet }
    }

    fn wait(&mut self, state: State, limit: Duration) {
        self.state = state;
        self.timer.as_mut().reset(Instant::now() + limit);
    }

    /// Takes note of what a write came to, and whether it takes too long.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        // Its last words may be flushed more than once, and each time would begin the reading away anew.
        if matches!(self.state, State::ReadingAway { .. }) {
            return written;
        }
        if written.is_ready() {
            self.state = State::Quiet;
            return written;
        }
        if self.state != State::Writing {
            self.wait(State::Writing, self.patience);
        }
        self.timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Patient<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Patient<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut bytes = match this.state {
            State::ReadingAway { bytes } => bytes,
            State::Quiet | State::Writing => {
                let shut = Pin::new(&mut this.io).poll_shutdown(cx);
                match this.written(cx, shut) {
                    Poll::Ready(Ok(())) => {}
                    other => return other,
                }
                this.wait(State::ReadingAway { bytes: 0 }, READ_AWAY_TIMEOUT);
                0
            }
        };
        let mut space = [0; 4096];
        while bytes < READ_AWAY_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut this.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    bytes += buffer.filled().len();
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    this.state = State::ReadingAway { bytes };
                    return this.timer.as_mut().poll(cx).map(Ok);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
