//! Connections and streams: read one request from each, have it answered, send the answer.
//!
//! Room is shared so that strangers, who can make as many keys as they like, keep out nobody whom the books know.

use crate::{
    keeper::{Job, Message},
    known::Known,
    metrics::{Dialect, Metrics, Outcome},
    pace::{self, Pace},
    past::Past,
    seats::{self, Seats},
};
use fondaco_crypto::EntityId;
use fondaco_lcp::{FrameError, REQUEST_BYTES_MAX, Refusal, Request, Response, VERSION};
use fondaco_transport::{CloseReason, Connection, Stream, TransportError};
use fondaco_units::Amount;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::{
    convert::Infallible,
    future::poll_fn,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The most requests being read, waiting or being answered at once. Of one connection, as many as it may have streams.
pub const REQUESTS_MAX: usize = 16_384;

/// The most of these of strangers: holders without an account whom no hold names as payee.
pub const REQUESTS_OF_STRANGERS_MAX: usize = REQUESTS_MAX / 2;

/// A connection that made no request for this long is closed; who has one more to make dials again.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a holder may take to send its request, and to take its answer.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request waits for its holder's other requests, and for room in the queue, before its holder is told to
/// come later.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);

/// Who asks, for its pace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) peer: EntityId,
    /// Whether the books know it.
    pub(crate) known: bool,
    /// The address, or network, that it dialled from; none on this machine.
    pub(crate) from: Option<IpAddr>,
}

/// What all connections share. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) queue: mpsc::Sender<Message>,
    /// The issuer, and the key that asks in its name.
    pub(crate) issuer: EntityId,
    pub(crate) operator: EntityId,
    /// Cancelled when no more requests are to be taken.
    pub(crate) stopping: CancellationToken,
    /// What a full handshake of the dialect of 2003 costs.
    pub(crate) full_handshake_fee: Amount,
    /// How the past is asked, if a history is kept.
    pub(crate) past: Option<Past>,
    metrics: Metrics,
    known: Known,
    idle: Duration,
    /// What all times are counted from.
    started: Instant,
    room: Arc<Semaphore>,
    strangers_room: Arc<Semaphore>,
    seats: Arc<Mutex<Seats>>,
    pace: Arc<Mutex<Pace>>,
}

impl Server {
    pub(crate) fn new(
        queue: mpsc::Sender<Message>,
        issuer: EntityId,
        operator: EntityId,
        known: Known,
        metrics: Metrics,
    ) -> Self {
        Self {
            queue,
            issuer,
            operator,
            stopping: CancellationToken::new(),
            full_handshake_fee: Amount::ZERO,
            past: None,
            metrics,
            known,
            idle: IDLE_TIMEOUT,
            started: Instant::now(),
            room: Arc::new(Semaphore::new(REQUESTS_MAX)),
            strangers_room: Arc::new(Semaphore::new(REQUESTS_OF_STRANGERS_MAX)),
            seats: Arc::new(Mutex::new(Seats::new(seats::LIMITS))),
            pace: Arc::default(),
        }
    }

    /// Serves one connection until it ends, idles or loses its seat, or the service stops and its requests under way
    /// are answered.
    pub(crate) async fn connection(self, connection: Connection) {
        let (peer, from) = (connection.peer(), connection.network());
        let Some(seat) = self.seat(&connection) else {
            debug!(peer = %peer.short(), "too many connections");
            connection.close(CloseReason::Busy);
            return;
        };
        self.metrics.connection(Dialect::Lcp2, 1);
        // In one task: what is answered together is written together, before the connection sends, and so leaves in few packets.
        let mut requests = FuturesUnordered::new();
        let idle = sleep(self.idle);
        tokio::pin!(idle);
        let reason = loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => break CloseReason::Leaving,
                never = go_on(&mut requests) => match never {},
                () = &mut idle => match self.idle_left(seat.number) {
                    Some(left) => {
                        idle.as_mut().reset(tokio::time::Instant::now() + left);
                        continue;
                    }
                    None => break CloseReason::Done,
                },
                accepted = connection.accept() => accepted,
            };
            match accepted {
                Ok(Some(stream)) => requests.push(self.admit(stream, &seat, from)),
                Ok(None) => break CloseReason::Done,
                Err(error) => {
                    debug!(peer = %peer.short(), %error, "a connection ended");
                    break CloseReason::Done;
                }
            }
        };
        while requests.next().await.is_some() {}
        self.metrics.connection(Dialect::Lcp2, -1);
        connection.close(reason);
    }

    /// Serves one request, if there is room for it.
    async fn admit(&self, mut stream: Stream, seat: &Seat, from: Option<IpAddr>) {
        let (peer, number) = (stream.peer(), seat.number);
        let Some(room) = self.room(peer, &seat.requests).await else {
            stream.stop(CloseReason::Busy);
            return;
        };
        self.seats().began(number);
        if let Err(error) = self.request(stream, number, from).await {
            debug!(peer = %peer.short(), %error, "a request failed");
        }
        self.seats().done(number);
        drop(room);
    }

    /// Serves one request.
    async fn request(
        &self,
        mut stream: Stream,
        number: u64,
        from: Option<IpAddr>,
    ) -> Result<(), TransportError> {
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
            Ok(request) => {
                let known = self.knows(stream.peer());
                self.seats().asked(self.now(), number, known);
                let asker = Asker { peer: stream.peer(), known, from };
                let Some(response) = self.answer(asker, request, body.len()).await else {
                    self.metrics.requests(Outcome::Busy, 1);
                    stream.stop(CloseReason::Busy);
                    return Ok(());
                };
                response
            }
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

    /// Has one request answered; nothing when its holder commands too fast, there is no room, or the keeper is gone.
    async fn answer(&self, asker: Asker, request: Request, frame_bytes: usize) -> Option<Response> {
        let Asker { peer, known, from } = asker;
        let holder = if peer == self.operator { self.issuer } else { peer };
        // A command is recorded and remembered for ever, refused or not; a query is not.
        if request.id().is_some() && holder != self.issuer {
            let tokens = pace::cost(&request, frame_bytes);
            if !self.may_command(Asker { peer: holder, known, from }, tokens) {
                debug!(peer = %peer.short(), known, "commands too fast");
                return None;
            }
        }
        let (answer, answered) = oneshot::channel();
        let asked = self.past.is_some().then(|| request.clone());
        self.send(Message::Job(Box::new(Job { holder, request, answer }))).await?;
        let response = answered.await.ok()?;
        let (Some(past), Some(asked), Response::Refused { refusal }) =
            (&self.past, asked, &response)
        else {
            return Some(response);
        };
        // The books decide who may ask; of what they do not keep, the history tells.
        match (refusal, asked) {
            (Refusal::Unavailable, Request::History { before, count }) => {
                Some(past.entries(holder, before, count).await)
            }
            (Refusal::Unavailable, Request::Receipt { id }) => Some(past.receipt(holder, id).await),
            (Refusal::Forgotten { floor }, asked) => {
                let (id, floor) = (asked.id()?, *floor);
                Some(past.forgotten(holder, &asked, id, floor).await)
            }
            _ => Some(response),
        }
    }

    /// Tells the keeper; nothing when there is no room for long, or the keeper is gone.
    pub(crate) async fn send(&self, message: Message) -> Option<()> {
        self.queue.send_timeout(message, QUEUE_TIMEOUT).await.ok()
    }

    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(crate) fn may_command(&self, asker: Asker, tokens: usize) -> bool {
        let Asker { peer, known, from } = asker;
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            true => pace.may_command(self.now(), peer, tokens),
            false => pace.stranger_may_command(self.now(), peer, from, tokens),
        }
    }

    /// Returns whether `peer` is no stranger.
    pub(crate) fn knows(&self, peer: EntityId) -> bool {
        peer == self.operator || peer == self.issuer || self.known.contains(peer)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat for a connection, if its peer may have one more.
    fn seat(&self, connection: &Connection) -> Option<Seat> {
        let (peer, now) = (connection.peer(), self.now());
        let seated = self.seats().enter(
            now,
            peer,
            connection.network(),
            self.knows(peer),
            connection.clone(),
        )?;
        if let Some(evicted) = seated.evicted {
            debug!(peer = %evicted.peer().short(), "an idle connection gave way");
            evicted.close(CloseReason::Busy);
        }
        let (number, requests) = (seated.number, seated.requests);
        Some(Seat { number, requests, seats: Arc::clone(&self.seats) })
    }

    /// Returns for how long a connection may yet stay without a request; nothing if its time, or its seat, is gone.
    fn idle_left(&self, number: u64) -> Option<Duration> {
        let since = self.seats().idle_since(number)?;
        let idle = self.now().saturating_sub(since);
        self.idle.checked_sub(idle).filter(|left| !left.is_zero())
    }

    /// Takes room for one request of `peer`, if there is some.
    ///
    /// It waits for that of the holder itself: a stream ends for a holder a moment before its room is free again.
    async fn room(&self, peer: EntityId, own: &Arc<Semaphore>) -> Option<Room> {
        let own = timeout(QUEUE_TIMEOUT, Arc::clone(own).acquire_owned()).await.ok()?.ok()?;
        let take = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_owned().ok();
        let stranger = if self.knows(peer) { None } else { Some(take(&self.strangers_room)?) };
        Some(Room { _own: own, _stranger: stranger, _all: take(&self.room)? })
    }
}

/// Goes on with all of these, as long as it is polled.
async fn go_on(requests: &mut FuturesUnordered<impl Future<Output = ()>>) -> Infallible {
    poll_fn(|context| {
        while let Poll::Ready(Some(())) = requests.poll_next_unpin(context) {}
        Poll::Pending
    })
    .await
}

/// Room for one request; given back when dropped.
struct Room {
    _own: OwnedSemaphorePermit,
    _stranger: Option<OwnedSemaphorePermit>,
    _all: OwnedSemaphorePermit,
}

/// One of the seats for connections; given back when dropped.
struct Seat {
    number: u64,
    requests: Arc<Semaphore>,
    seats: Arc<Mutex<Seats>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::SecretKey;
    use fondaco_lcp::RequestId;
    use fondaco_transport::{Endpoint, Protocol, TransportError};
    use tokio::task::JoinHandle;

    const fn key(byte: u8) -> EntityId {
        EntityId::from_bytes([byte; 32])
    }

    /// A server for the issuer 1 and the operator 2, and the queue to its keeper.
    fn server() -> (Server, mpsc::Receiver<Message>) {
        let (queue, waiting) = mpsc::channel(1);
        (Server::new(queue, key(1), key(2), Known::default(), Metrics::default()), waiting)
    }

    /// Strangers get half of the room, however many keys they have; who is known gets all that is left.
    #[tokio::test]
    async fn strangers_leave_room_for_holders() {
        let (server, _waiting) = server();
        server.known.add([key(9)].into_iter());
        let own = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut taken = vec![];
        while let Some(room) = server.room(key(3), &own).await {
            taken.push(room);
        }
        assert_eq!(taken.len(), REQUESTS_OF_STRANGERS_MAX);
        while let Some(room) = server.room(key(9), &own).await {
            taken.push(room);
            if taken.len() == REQUESTS_MAX {
                break;
            }
        }
        assert_eq!(taken.len(), REQUESTS_MAX);
        assert!(server.room(key(2), &Arc::new(Semaphore::new(1))).await.is_none());
        // A full share of one's own is waited for, not long.
        assert!(server.room(key(9), &Arc::new(Semaphore::new(0))).await.is_none());
        drop(taken);
        assert!(server.room(key(3), &own).await.is_some());
    }

    /// The issuer and its operator are never too fast; a stranger is, but only with commands.
    #[tokio::test]
    async fn only_commands_have_a_pace() {
        let (server, mut waiting) = server();
        tokio::spawn(async move {
            while let Some(Message::Job(job)) = waiting.recv().await {
                drop(job.answer.send(Response::Acked));
            }
        });
        let command = Request::Mint { id: RequestId::new(1), to: key(4), amount: Amount::new(1) };
        // Who, whether known, what; how many of 300 are answered.
        for (peer, known, request, expected) in [
            (key(3), false, &command, 20..30),
            (key(3), false, &Request::Balance, 300..301),
            (key(9), true, &command, 300..301),
            (key(2), false, &command, 300..301),
            (key(1), false, &command, 300..301),
        ] {
            let mut answered = 0;
            for _ in 0..300 {
                let asker = Asker { peer, known, from: None };
                let answer = server.answer(asker, request.clone(), 60).await;
                answered += usize::from(answer.is_some());
            }
            assert!(expected.contains(&answered), "{peer}, {request:?}: {answered}");
        }
    }

    /// A real connection to a server of such patience; queries are answered.
    async fn connected(idle: Duration) -> (Connection, (Endpoint, Endpoint), JoinHandle<()>) {
        let (mut server, mut waiting) = server();
        server.idle = idle;
        tokio::spawn(async move {
            while let Some(Message::Job(job)) = waiting.recv().await {
                drop(job.answer.send(Response::Acked));
            }
        });
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let [bank, holder] = [11, 12].map(|seed| SecretKey::from_bytes(&[seed; 32]));
        let far = Endpoint::bind(&bank, listen, &[Protocol::Lcp2]).await.unwrap();
        let near = Endpoint::bind(&holder, None, &[]).await.unwrap();
        let address = far.address();
        let (connection, accepted) =
            tokio::join!(near.connect(&address, Protocol::Lcp2), far.accept());
        let serving = tokio::spawn(server.connection(accepted.unwrap()));
        (connection.unwrap(), (near, far), serving)
    }

    #[tokio::test]
    async fn a_connection_without_requests_is_closed() {
        let idle = Duration::from_millis(600);
        let (connection, _endpoints, serving) = connected(idle).await;
        let started = Instant::now();
        while started.elapsed() < idle * 2 {
            let mut stream = connection.open().await.unwrap();
            stream.send_bytes(&Request::Balance.to_frame()).await.unwrap();
            assert!(stream.recv_bytes(1 << 16).await.unwrap().is_some());
            sleep(Duration::from_millis(50)).await;
        }
        let (peer, reason) = (connection.peer(), CloseReason::Done);
        let ended = timeout(idle * 5, connection.closed()).await.unwrap();
        assert_eq!(ended, TransportError::Closed { peer, reason });
        assert!(ended.is_transient(), "who asks again dials again");
        serving.await.unwrap();
    }
}
