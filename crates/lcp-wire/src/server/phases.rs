//! How long a connection may take over each thing that it does.
//!
//! ```text
//! Idle ──first byte──► Arriving ──body read──► Working ──answer made──► Answering ──flushed──► Idle
//!  60 s                 10 s                    no limit                 10 s         or Arriving, if more came
//! ```
//!
//! A limit that is over is an error of the connection's reads and writes, which ends it. `Working` has none: a query
//! may be parked.

use super::Limits;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// How much is read away from a peer that still sends when all is said, so that it gets to read that.
const READ_AWAY_BYTES_MAX: usize = 256 << 10;
/// How long that may take.
const READ_AWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Arriving,
    Working,
    Answering,
}

impl Phase {
    const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Idle,
            1 => Self::Arriving,
            2 => Self::Working,
            _ => Self::Answering,
        }
    }

    const fn limit(self, limits: &Limits) -> Option<Duration> {
        match self {
            Self::Idle => Some(limits.idle_timeout),
            Self::Arriving => Some(limits.request_timeout),
            Self::Working => None,
            Self::Answering => Some(limits.answer_timeout),
        }
    }
}

/// What a connection does, as its service and its socket both know.
#[derive(Debug, Default)]
pub(super) struct Phases {
    /// The phase in two bits, and above them how often it changed.
    state: AtomicU32,
    /// Whether nothing new is to begin.
    ending: AtomicBool,
}

impl Phases {
    // One task owns both ends: there is nobody to race with.
    pub(super) fn set(&self, phase: Phase) {
        let changes = self.state.load(Ordering::Relaxed) >> 2;
        let state = (changes.wrapping_add(1) << 2) | phase as u32;
        self.state.store(state, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        Phase::from_bits(self.state.load(Ordering::Relaxed))
    }

    /// Lets the connection end before its next request.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

/// A socket that fails when a phase takes too long.
#[derive(Debug)]
pub(super) struct Timed<IO> {
    io: IO,
    phases: Arc<Phases>,
    limits: Limits,
    timer: Option<Pin<Box<Sleep>>>,
    /// The state of the phases for which the timer is set.
    timed: Option<u32>,
    /// Whether bytes of a next request came while there was one.
    has_more: bool,
    closing: Closing,
}

/// How far the end has come.
#[derive(Debug)]
enum Closing {
    Not,
    ReadingAway { bytes: usize },
}

impl<IO> Timed<IO> {
    pub(super) fn new(io: IO, phases: Arc<Phases>, limits: Limits) -> Self {
        let (timer, timed) = (None, None);
        Self { io, phases, limits, timer, timed, has_more: false, closing: Closing::Not }
    }

    /// Checks the time.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let state = self.phases.state.load(Ordering::Relaxed);
        let Some(limit) = Phase::from_bits(state).limit(&self.limits) else { return Ok(()) };
        if self.timed != Some(state) {
            self.timed = Some(state);
            self.arm(limit);
        }
        self.poll_timer(cx)
    }

    fn arm(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(deadline),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.timer.as_mut().map(|timer| timer.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Err(io::ErrorKind::TimedOut.into()),
            Some(Poll::Pending) | None => Ok(()),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Timed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let phase = self.phases.phase();
        if phase == Phase::Idle && self.phases.ending.load(Ordering::Relaxed) {
            // Nothing is under way: as if the peer had left.
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer)?;
        if read.is_ready() && buffer.filled().len() > before {
            match phase {
                Phase::Idle => self.phases.set(Phase::Arriving),
                Phase::Working | Phase::Answering => self.has_more = true,
                Phase::Arriving => {}
            }
        }
        if read.is_pending() || phase == Phase::Arriving {
            // Whoever sends one byte at a time is always ready, and late all the same.
            self.poll_time(cx)?;
        }
        read.map(Ok)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Timed<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes)?;
        self.poll_time(cx)?;
        written.map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bytes)?;
        self.poll_time(cx)?;
        written.map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx)?;
        if flushed.is_pending() {
            self.poll_time(cx)?;
        } else if self.phases.phase() == Phase::Answering {
            let has_more = std::mem::take(&mut self.has_more);
            self.phases.set(if has_more { Phase::Arriving } else { Phase::Idle });
        }
        flushed.map(Ok)
    }

    /// Says that all is said, then reads away what still comes: a socket that is closed with bytes unread makes the
    /// system tell the peer to forget what it has not read yet, our last words among it.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Closing::Not = this.closing {
            if Pin::new(&mut this.io).poll_shutdown(cx)?.is_pending() {
                this.poll_time(cx)?;
                return Poll::Pending;
            }
            this.closing = Closing::ReadingAway { bytes: 0 };
            this.arm(READ_AWAY_TIMEOUT);
        }
        let mut space = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut this.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let Closing::ReadingAway { bytes } = &mut this.closing else { break };
                    *bytes += buffer.filled().len();
                    if *bytes > READ_AWAY_BYTES_MAX {
                        break;
                    }
                }
                Poll::Ready(_) => break,
                Poll::Pending => {
                    if this.poll_timer(cx).is_err() {
                        break;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
