//! Ask an issuer, and ask again when the connection breaks.
//!
//! ```text
//! call ──► open connection? ──┬── no ──► dial ──► keep it
//!                             └── yes ─► one stream: request, end ──► answer
//!                                              │ broken, busy or silent
//!                                              └──► another connection, the same request (RESENDS_MAX times)
//! ```
//!
//! What many ask at the same time on one connection is sent together, by the first of them, so that it leaves in few packets.
//!
//! Sending again is safe: a command carries its id, and an issuer executes an id once; queries change nothing.

use crate::{Connection, Endpoint, Protocol, Stream, TransportError};
use fondaco_crypto::EntityId;
use fondaco_lcp::{RESPONSE_BYTES_MAX, Request, Response};
use fondaco_ports::Address;
use std::{
    mem,
    sync::{
        Arc, Mutex as SyncMutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, oneshot},
    task::yield_now,
    time::{Instant, sleep},
};
use tracing::debug;

/// How often [`LcpClient::call`] sends a request again.
pub const RESENDS_MAX: u32 = 3;

/// How long one sending of a request may take, until its whole answer is there; on top of it, what a query waits at the
/// issuer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before the first sending again; twice as long before each one after it.
const PAUSE: Duration = Duration::from_millis(100);

/// One holder's connection to one issuer. Clones share it.
#[derive(Clone, Debug)]
pub struct LcpClient {
    endpoint: Endpoint,
    issuer: Address,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    connection: Option<(u64, Line)>,
    /// How many connections there were, to tell one from the next.
    count: u64,
    /// When dialling failed last, and why: those who waited for it need not try the same again.
    failed: Option<(Instant, TransportError)>,
}

impl LcpClient {
    /// Creates the client of the issuer at this address; it dials when first asked. `endpoint` says who the holder is.
    pub fn new(endpoint: Endpoint, issuer: Address) -> Self {
        Self { endpoint, issuer, kept: Arc::default() }
    }

    /// Returns who the holder is.
    pub fn holder(&self) -> EntityId {
        self.endpoint.entity()
    }

    /// Returns the issuer and where it is.
    pub const fn issuer(&self) -> &Address {
        &self.issuer
    }

    /// Asks the issuer, and returns what it answers: a refusal is an answer too.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or broke off, or said what is no answer, each time. A *command* may have been
    /// executed all the same: ask the same again, under the same id, to learn of it.
    pub async fn call(&self, request: &Request) -> Result<Response, TransportError> {
        Ok(self.call_counted(request).await?.0)
    }

    /// Asks as [`call`](Self::call) does; and whether it was sent more than once, so that the answer need not be the first.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_counted(
        &self,
        request: &Request,
    ) -> Result<(Response, bool), TransportError> {
        let frame = request.to_frame();
        let limit = ANSWER_TIMEOUT + Duration::from_millis(request.wait().milliseconds());
        let mut resends = 0;
        loop {
            let (number, line) = self.connection().await?;
            let unanswered = Unanswered { kept: &self.kept, number };
            let asked = line.ask(&frame, limit).await;
            unanswered.answered();
            match asked {
                Ok(response) => return Ok((response, resends > 0)),
                Err(error) if resends < RESENDS_MAX && error.is_transient() => {
                    debug!(%error, resends, "asking the issuer again");
                    self.forget(number).await;
                    sleep(PAUSE * 2_u32.pow(resends)).await;
                    resends += 1;
                }
                Err(error) => {
                    self.forget(number).await;
                    return Err(error);
                }
            }
        }
    }

    /// The connection that is kept, or a new one.
    async fn connection(&self) -> Result<(u64, Line), TransportError> {
        let since = Instant::now();
        let mut kept = self.kept.lock().await;
        if let Some((number, line)) = &kept.connection
            && !line.connection.is_closed()
        {
            return Ok((*number, line.clone()));
        }
        if let Some((at, error)) = &kept.failed
            && *at >= since
        {
            return Err(error.clone());
        }
        match self.endpoint.connect(&self.issuer, Protocol::Lcp2).await {
            Ok(connection) => {
                kept.count += 1;
                kept.failed = None;
                let line = Line { connection, gathered: Arc::default() };
                kept.connection = Some((kept.count, line.clone()));
                Ok((kept.count, line))
            }
            Err(error) => {
                kept.connection = None;
                kept.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Lets go of a connection, unless another took its place. It is not closed: other calls may yet have their answers.
    async fn forget(&self, number: u64) {
        let mut kept = self.kept.lock().await;
        if kept.connection.as_ref().is_some_and(|(found, _)| *found == number) {
            kept.connection = None;
        }
    }
}

/// Lets go of a connection when a caller stops waiting for an answer on it: its issuer may be gone, which a connection
/// finds out only by a long silence, and the next caller must not wait for that.
struct Unanswered<'a> {
    kept: &'a Mutex<Kept>,
    number: u64,
}

impl Unanswered<'_> {
    /// The connection answered, or failed: there is nothing to suspect.
    const fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        // Whoever has the lock is dialling, and puts another in its place.
        if let Ok(mut kept) = self.kept.try_lock() {
            kept.connection.take_if(|(found, _)| *found == self.number);
        }
    }
}

/// A connection, and what is to be sent on it. Clones share both.
#[derive(Clone, Debug)]
struct Line {
    connection: Connection,
    gathered: Arc<Gathered>,
}

/// What is asked at the same time.
#[derive(Debug, Default)]
struct Gathered {
    /// How many have no answer yet.
    asked: AtomicUsize,
    /// Frames that wait for whoever came first to send them.
    waiting: SyncMutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    frame: Vec<u8>,
    /// Where its stream goes when it is sent.
    sent: oneshot::Sender<Result<Stream, TransportError>>,
}

impl Gathered {
    fn take(&self) -> Vec<Waiting> {
        mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts one that has no answer yet.
struct Asked<'a>(&'a AtomicUsize);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whoever is to send what waits; when it goes away before, the others are told, and one of them does.
struct First<'a>(&'a Gathered);

impl Drop for First<'_> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

impl Line {
    async fn ask(&self, frame: &[u8], limit: Duration) -> Result<Response, TransportError> {
        let peer = self.connection.peer();
        let answered = async {
            let alone = self.gathered.asked.fetch_add(1, Ordering::Relaxed) == 0;
            let _asked = Asked(&self.gathered.asked);
            let mut stream = match alone {
                true => self.send(frame).await?,
                false => self.send_together(frame).await?,
            };
            stream.set_timeout(limit);
            let body = stream.recv_bytes(RESPONSE_BYTES_MAX).await?;
            let body = body.ok_or(TransportError::NoAnswer { peer })?;
            Response::from_frame(&body).map_err(|error| TransportError::BadAnswer { peer, error })
        };
        crate::stream::within(peer, "answer", limit, answered).await
    }

    async fn send(&self, frame: &[u8]) -> Result<Stream, TransportError> {
        let mut stream = self.connection.open().await?;
        stream.send_bytes(frame).await?;
        stream.finish();
        Ok(stream)
    }

    /// Sends it with all that others ask until the first of them has its turn again.
    async fn send_together(&self, frame: &[u8]) -> Result<Stream, TransportError> {
        loop {
            let (sent, stream) = oneshot::channel();
            let is_first = {
                let waiting = &self.gathered.waiting;
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.push(Waiting { frame: frame.to_vec(), sent });
                waiting.len() == 1
            };
            if is_first {
                let first = First(&self.gathered);
                yield_now().await;
                let together = first.0.take();
                // Whoever comes from here on is the first of others.
                mem::forget(first);
                for Waiting { frame, sent } in together {
                    // Who asked may have given up.
                    if !sent.is_closed() {
                        drop(sent.send(self.send(&frame).await));
                    }
                }
            }
            // Nobody sent it: whoever was to has given up.
            if let Ok(stream) = stream.await {
                return stream;
            }
        }
    }
}
