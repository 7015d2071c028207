//! Connections and streams: read one request from each, have it answered, send the answer.

use crate::keeper::{Job, Message};
use fondaco_crypto::EntityId;
use fondaco_lcp::{FrameError, REQUEST_BYTES_MAX, Refusal, Request, Response, VERSION};
use fondaco_transport::{CloseReason, Connection, Stream, TransportError};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// The most connections open at once.
pub const CONNECTIONS_MAX: usize = 4096;

/// The most connections of one key open at once.
pub const CONNECTIONS_PER_HOLDER_MAX: usize = 16;

/// The most requests being read, waiting or being answered at once. Of one connection, as many as it may have streams.
pub const REQUESTS_MAX: usize = 16_384;

/// How long a holder may take to send its request, and to take its answer.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request waits for room in the queue before its holder is told to come later.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// What all connections share. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) queue: mpsc::Sender<Message>,
    /// The issuer, and the key that asks in its name.
    pub(crate) issuer: EntityId,
    pub(crate) operator: EntityId,
    /// Cancelled when no more requests are to be taken.
    pub(crate) stopping: CancellationToken,
    room: Arc<Semaphore>,
    connections: Arc<Mutex<BTreeMap<EntityId, usize>>>,
}

impl Server {
    pub(crate) fn new(queue: mpsc::Sender<Message>, issuer: EntityId, operator: EntityId) -> Self {
        Self {
            queue,
            issuer,
            operator,
            stopping: CancellationToken::new(),
            room: Arc::new(Semaphore::new(REQUESTS_MAX)),
            connections: Arc::default(),
        }
    }

    /// Serves one connection until it ends, or the service stops and its requests under way are answered.
    pub(crate) async fn connection(self, connection: Connection) {
        let peer = connection.peer();
        let Some(_place) = self.place(peer) else {
            debug!(peer = %peer.short(), "too many connections");
            connection.close(CloseReason::Busy);
            return;
        };
        let requests = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                accepted = connection.accept() => accepted,
            };
            match accepted {
                Ok(Some(mut stream)) => match Arc::clone(&self.room).try_acquire_owned() {
                    Ok(room) => {
                        let server = self.clone();
                        requests.spawn(async move {
                            if let Err(error) = server.request(stream).await {
                                debug!(peer = %peer.short(), %error, "a request failed");
                            }
                            drop(room);
                        });
                    }
                    Err(_) => stream.stop(CloseReason::Busy),
                },
                Ok(None) => break,
                Err(error) => {
                    debug!(peer = %peer.short(), %error, "a connection ended");
                    break;
                }
            }
        }
        requests.close();
        requests.wait().await;
        connection.close(CloseReason::Leaving);
    }

    /// Serves one request.
    async fn request(&self, mut stream: Stream) -> Result<(), TransportError> {
        stream.set_timeout(STREAM_TIMEOUT);
        let body = match stream.recv_bytes(REQUEST_BYTES_MAX).await {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(()),
            Err(error) => {
                stream.stop(CloseReason::Misbehaved);
                return Err(error);
            }
        };
        let response = match Request::from_frame(&body) {
            Ok(request) => match self.answer(stream.peer(), request).await {
                Some(response) => response,
                None => {
                    stream.stop(CloseReason::Busy);
                    return Ok(());
                }
            },
            Err(FrameError::Version { .. }) => {
                Response::Refused { refusal: Refusal::Version { version: VERSION } }
            }
            Err(error @ (FrameError::TooLong { .. } | FrameError::Decode { .. })) => {
                debug!(peer = %stream.peer().short(), %error, "not a request");
                stream.stop(CloseReason::Misbehaved);
                return Ok(());
            }
        };
        stream.send_bytes(&response.to_frame()).await?;
        stream.finish();
        // A service that stops waits for its requests, and so for this, before it closes connections.
        stream.delivered().await
    }

    /// Has one request answered; nothing when there is no room, or the keeper is gone.
    async fn answer(&self, peer: EntityId, request: Request) -> Option<Response> {
        let holder = if peer == self.operator { self.issuer } else { peer };
        let (answer, answered) = oneshot::channel();
        let job = Message::Job(Box::new(Job { holder, request, answer }));
        self.queue.send_timeout(job, QUEUE_TIMEOUT).await.ok()?;
        answered.await.ok()
    }

    /// Takes a place for a connection of `peer`, if there is one.
    fn place(&self, peer: EntityId) -> Option<Place> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = connections.values().sum();
        let own = connections.entry(peer).or_default();
        if all >= CONNECTIONS_MAX || *own >= CONNECTIONS_PER_HOLDER_MAX {
            if *own == 0 {
                connections.remove(&peer);
            }
            return None;
        }
        *own += 1;
        Some(Place { peer, connections: Arc::clone(&self.connections) })
    }
}

/// One of the places for connections; given back when dropped.
struct Place {
    peer: EntityId,
    connections: Arc<Mutex<BTreeMap<EntityId, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = connections.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                connections.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_for_each_key_and_for_all() {
        let key = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            EntityId::from_bytes(bytes)
        };
        let server = Server::new(mpsc::channel(1).0, key(1), key(2));
        let own: Vec<_> =
            (0..CONNECTIONS_PER_HOLDER_MAX).map(|_| server.place(key(3)).unwrap()).collect();
        assert!(server.place(key(3)).is_none());
        let others = CONNECTIONS_MAX - CONNECTIONS_PER_HOLDER_MAX;
        let rest: Vec<_> =
            (10..10 + others).map(|number| server.place(key(number)).unwrap()).collect();
        assert!(server.place(key(4)).is_none());
        drop(own);
        assert!(server.place(key(4)).is_some());
        drop(rest);
        assert!(server.connections.lock().unwrap().is_empty());
    }
}
