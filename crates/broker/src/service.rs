//! The shell around the core: connections, streams, and how much of them strangers may take.

use crate::{
    Broker, BrokerLimits,
    pace::Pace,
    seats::{self, Seats},
};
use fondaco_crypto::EntityId;
use fondaco_ports::Clock;
use fondaco_ports::market::{Frame as _, FrameError};
use fondaco_ports::offers::{Reason, Request, Response, VERSION};
use fondaco_transport::{CloseReason, Connection, Endpoint, Stream, TransportError};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::Semaphore,
    time::{interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// The most requests being read or answered at once.
pub const REQUESTS_MAX: usize = 1024;
/// The most of these of one key.
pub const REQUESTS_PER_KEY_MAX: usize = 32;
/// A connection that made no request for this long is closed; who has one more to make dials again.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a peer may take to send its request, and to take its answer.
const STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// How often void asks are forgotten.
const TICK: Duration = Duration::from_secs(1);
/// How long a stop waits for requests under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A broker, ready to serve. Clones are the same.
#[derive(Clone, Debug)]
pub struct BrokerService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    /// What the pace and the seats count time from.
    started: Instant,
    idle: Duration,
    broker: Mutex<Broker>,
    pace: Mutex<Pace>,
    seats: Mutex<Seats>,
    room: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl BrokerService {
    /// Creates a broker without asks.
    pub fn new(clock: Arc<dyn Clock>, limits: BrokerLimits) -> Self {
        let broker = Mutex::new(Broker::new(clock.now(), limits));
        let shared = Shared {
            clock,
            started: Instant::now(),
            idle: IDLE_TIMEOUT,
            broker,
            pace: Mutex::default(),
            seats: Mutex::new(Seats::new(seats::LIMITS)),
            room: Arc::new(Semaphore::new(REQUESTS_MAX)),
            stopping: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns a copy of the core, to be looked at.
    pub fn look(&self) -> Broker {
        lock(&self.shared.broker).clone()
    }

    /// Serves who dials `endpoint` until `stop` is cancelled or the endpoint is closed; requests under way are answered
    /// before it returns.
    pub async fn serve(self, endpoint: Endpoint, stop: CancellationToken) {
        let shared = self.shared;
        let connections = TaskTracker::new();
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                connection = endpoint.accept() => {
                    let Some(connection) = connection else { break };
                    connections.spawn(Arc::clone(&shared).connection(connection));
                }
                _ = tick.tick() => {
                    let now = shared.clock.now();
                    lock(&shared.broker).expire(now);
                }
                () = stop.cancelled() => break,
            }
        }
        shared.stopping.cancel();
        connections.close();
        let _ = tokio::time::timeout(STOP_TIMEOUT, connections.wait()).await;
        endpoint.close().await;
    }
}

/// A seat for a connection; given back when dropped.
struct Seat {
    shared: Arc<Shared>,
    number: u64,
    requests: Arc<Semaphore>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.shared.seats).leave(self.number);
    }
}

impl Shared {
    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn seat(self: &Arc<Self>, connection: &Connection) -> Option<Seat> {
        let (peer, network) = (connection.peer(), connection.network());
        let now = self.elapsed();
        let seated = lock(&self.seats).enter(now, peer, network, (), connection.clone())?;
        if let Some(evicted) = seated.evicted {
            evicted.close(CloseReason::Busy);
        }
        let (number, requests) = (seated.number, seated.requests);
        Some(Seat { shared: Arc::clone(self), number, requests })
    }

    /// Returns for how long a connection may yet stay without a request; nothing if its time, or its seat, is gone.
    fn idle_left(&self, number: u64) -> Option<Duration> {
        let since = lock(&self.seats).idle_since(number)?;
        let idle = self.elapsed().saturating_sub(since);
        self.idle.checked_sub(idle).filter(|left| !left.is_zero())
    }

    async fn connection(self: Arc<Self>, connection: Connection) {
        let (peer, network) = (connection.peer(), connection.network());
        let Some(seat) = self.seat(&connection) else {
            connection.close(CloseReason::Busy);
            return;
        };
        let requests = TaskTracker::new();
        let idle = sleep(self.idle);
        tokio::pin!(idle);
        let reason = loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => break CloseReason::Leaving,
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
                Ok(Some(mut stream)) => {
                    let own = Arc::clone(&seat.requests).try_acquire_owned();
                    let all = Arc::clone(&self.room).try_acquire_owned();
                    let (Ok(own), Ok(all)) = (own, all) else {
                        stream.stop(CloseReason::Busy);
                        continue;
                    };
                    let (shared, number) = (Arc::clone(&self), seat.number);
                    let connection = connection.clone();
                    requests.spawn(async move {
                        if let Err(error) = shared.request(stream, network, number).await {
                            debug!(peer = %peer.short(), %error, "a request failed");
                            if matches!(error, TransportError::FrameTooLong { .. }) {
                                connection.close(CloseReason::Misbehaved);
                            }
                        }
                        drop((own, all));
                    });
                }
                Ok(None) => break CloseReason::Done,
                Err(error) => {
                    debug!(peer = %peer.short(), %error, "a connection ended");
                    break CloseReason::Done;
                }
            }
        };
        requests.close();
        requests.wait().await;
        connection.close(reason);
    }

    /// Serves one request.
    async fn request(
        &self,
        mut stream: Stream,
        network: Option<IpAddr>,
        number: u64,
    ) -> Result<(), TransportError> {
        stream.set_timeout(STREAM_TIMEOUT);
        let frame = match stream.recv_bytes(Request::FRAME_MAX).await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(error) => {
                stream.stop(CloseReason::Misbehaved);
                return Err(error);
            }
        };
        lock(&self.seats).asked(self.elapsed(), number, ());
        let response = self.answer(stream.peer(), network, &frame);
        stream.send_bytes(&response.to_frame()).await?;
        stream.finish();
        // A stop waits for requests, and so for this, before it closes connections.
        stream.delivered().await
    }

    fn answer(&self, peer: EntityId, network: Option<IpAddr>, frame: &[u8]) -> Response {
        let now = self.clock.now();
        if !lock(&self.pace).may_ask(self.elapsed(), peer, network) {
            return lock(&self.broker).refuse(Reason::Busy);
        }
        match Request::from_frame(frame) {
            Ok(request) => lock(&self.broker).handle(now, peer, network, request),
            Err(FrameError::Version { .. }) => {
                lock(&self.broker).refuse(Reason::Version { spoken: VERSION })
            }
            Err(FrameError::Long { .. } | FrameError::Empty | FrameError::Message(_)) => {
                lock(&self.broker).refuse(Reason::Malformed)
            }
        }
    }
}

/// A lock whose holder panicked has state that is still whole: each change is one step of a core that does not panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
