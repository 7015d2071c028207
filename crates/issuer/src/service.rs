//! The service: opens the books, serves holders, stops in order.
//!
//! ```text
//! open ──► IssuerService ── serve ──► Serving ──┬── shutdown ──► no more requests ──► those under way are
//!                                               │                answered ──► keeper stops ──► Ok
//!                                               └── halted ──► HALTED_GRACE: whoever asks is told ──► Err
//! ```

use crate::{
    IssuerConfig, IssuerError, books,
    keeper::{Job, Message, QUEUE_MAX, Save, keep},
    known::Known,
    server::Server,
};
use fondaco_crypto::{Domain, EntityId, SecretKey};
use fondaco_lcp::{Currency, Issuer, Request, Response};
use fondaco_ports::Clock;
use fondaco_transport::Endpoint;
use std::{path::Path, sync::Arc, thread, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

const OPERATOR: Domain = Domain::new("fondaco 2026 issuer operator v1");

/// How often due holds are looked for.
const TICK: Duration = Duration::from_secs(1);

/// How long a stopping service waits for the requests under way.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How long a halted issuer goes on to say so.
const HALTED_GRACE: Duration = Duration::from_secs(1);

/// Derives the key under which a process that holds the issuer's key dials the issuer that runs: no endpoint
/// can dial its own key. The issuer takes what this key asks for as asked by itself.
pub fn operator_key(issuer: &SecretKey) -> SecretKey {
    SecretKey::from_bytes(&issuer.derive(OPERATOR))
}

/// The books of one currency, open, and what serves them.
pub struct IssuerService {
    core: Issuer,
    journal: Box<dyn Save>,
    clock: Arc<dyn Clock>,
    issuer: EntityId,
    operator: EntityId,
    queue: mpsc::Sender<Message>,
    waiting: mpsc::Receiver<Message>,
}

impl IssuerService {
    /// Creates a currency: the folder, if it is missing, and in it the books, with what `config` says as their first record.
    ///
    /// # Errors
    ///
    /// There are books already, or the disk does not take them.
    pub fn init(folder: &Path, key: &SecretKey, config: &IssuerConfig) -> Result<(), IssuerError> {
        books::create(folder, key.entity(), config)
    }

    /// Opens the books in `folder`, for this process alone: replays every record, and takes the sums.
    ///
    /// # Errors
    ///
    /// Another process has them open, they are another key's, they are damaged, or do not balance.
    pub fn open(
        folder: &Path,
        key: &SecretKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IssuerError> {
        let (core, journal) = books::open(folder)?;
        let (found, wanted) = (core.currency().id.issuer(), key.entity());
        if found != wanted {
            return Err(IssuerError::OtherKey { found, wanted });
        }
        core.check()?;
        let head = journal.head();
        info!(issuer = %wanted.short(), records = head.records, chain = %head.chain, "the books are open");
        Ok(Self::new(core, Box::new(journal), key, clock))
    }

    fn new(core: Issuer, journal: Box<dyn Save>, key: &SecretKey, clock: Arc<dyn Clock>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (issuer, operator) = (key.entity(), operator_key(key).entity());
        Self { core, journal, clock, issuer, operator, queue, waiting }
    }

    /// Returns what the currency is.
    pub const fn currency(&self) -> &Currency {
        self.core.currency()
    }

    /// Returns a way for this process to ask in the issuer's name, once it serves.
    pub fn handle(&self) -> IssuerHandle {
        IssuerHandle { queue: self.queue.clone(), issuer: self.issuer }
    }

    /// Serves whoever dials `endpoint`, until `shutdown`: then the requests under way are answered, and both are closed.
    ///
    /// # Errors
    ///
    /// The issuer is halted: let the process end with an error. Whoever restarts it goes on from what was acknowledged.
    pub async fn serve(
        self,
        endpoint: Endpoint,
        shutdown: CancellationToken,
    ) -> Result<(), IssuerError> {
        let Self { core, journal, clock, issuer, operator, queue, mut waiting } = self;
        let (halt, mut halted) = oneshot::channel();
        let known = Known::of(&core);
        let server = Server::new(queue, issuer, operator, known.clone());
        let keeper = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep(core, journal, &*clock, &mut waiting, &known, halt))
            .map_err(|error| IssuerError::Thread { detail: error.to_string() })?;
        let connections = TaskTracker::new();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        info!(address = %endpoint.address(), "the issuer serves");
        let mut failure = None;
        let grace = sleep(HALTED_GRACE);
        tokio::pin!(grace);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                error = &mut halted, if failure.is_none() => {
                    // Without a word, the thread has panicked.
                    failure = Some(error.unwrap_or(IssuerError::KeeperDied));
                    grace.as_mut().reset(Instant::now() + HALTED_GRACE);
                }
                // Until then who dials is told, too.
                () = &mut grace, if failure.is_some() => break,
                _ = ticks.tick() => {
                    // With a full queue the next tick will do; commands let holds expire too.
                    let _ = server.queue.try_send(Message::Tick);
                }
                accepted = endpoint.accept() => match accepted {
                    Some(connection) => {
                        connections.spawn(server.clone().connection(connection));
                    }
                    None => break,
                },
            }
        }
        server.stopping.cancel();
        connections.close();
        if timeout(STOP_GRACE, connections.wait()).await.is_err() {
            warn!("some holders did not take their answers in time");
        }
        // Fails only if the keeper is gone.
        let _ = server.queue.send(Message::Stop).await;
        let joined = tokio::task::spawn_blocking(move || keeper.join()).await;
        endpoint.close().await;
        debug!("the issuer has stopped");
        // It may have halted on the last batch before the stop.
        if let Some(error) = failure.or_else(|| halted.try_recv().ok()) {
            return Err(error);
        }
        match joined {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(IssuerError::KeeperDied),
        }
    }
}

/// A way for the issuer's own process to ask in its name. Clones are the same.
#[derive(Clone, Debug)]
pub struct IssuerHandle {
    queue: mpsc::Sender<Message>,
    issuer: EntityId,
}

impl IssuerHandle {
    /// Asks as the issuer itself; waits for room in the queue, and until the answer is durable.
    ///
    /// # Errors
    ///
    /// The service has stopped. As with any holder, a command may have been executed all the same.
    pub async fn call(&self, request: Request) -> Result<Response, HandleError> {
        let (answer, answered) = oneshot::channel();
        let job = Message::Job(Box::new(Job { holder: self.issuer, request, answer }));
        self.queue.send(job).await.map_err(|_| HandleError)?;
        answered.await.map_err(|_| HandleError)
    }
}

/// The service has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the issuer has stopped")]
pub struct HandleError;

impl HandleError {
    /// Returns whether the same handle can be answered later: never.
    pub const fn is_transient(self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_lcp::{IssuerOptions, Refusal, RequestId};
    use fondaco_store::JournalError;
    use fondaco_transport::{LcpClient, Protocol};
    use fondaco_units::{Amount, Scale, Timestamp};

    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_milliseconds(1)
        }
    }

    /// A journal on a disk that is full after so many batches that were not empty.
    struct FullAfter(usize);

    impl Save for FullAfter {
        fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError> {
            if !records.is_empty() {
                self.0 = self.0.checked_sub(1).ok_or(JournalError::Halted)?;
            }
            Ok(())
        }
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    /// The canary of durability: what was not saved is told to nobody, and the service ends with an error.
    #[tokio::test]
    async fn a_full_disk_halts_the_issuer_and_nobody_sees_what_was_lost() {
        let config = IssuerConfig::new("crown", "C", Scale::default(), Amount::ZERO).unwrap();
        let core = Issuer::new(config.currency(key(1).entity()), IssuerOptions::default());
        let service = IssuerService::new(core, Box::new(FullAfter(1)), &key(1), Arc::new(Stopped));
        let handle = service.handle();
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let endpoint = Endpoint::bind(&key(1), listen, &[Protocol::Lcp2]).await.unwrap();
        let holder = Endpoint::bind(&key(2), None, &[]).await.unwrap();
        let holder = LcpClient::new(holder, endpoint.address());
        let serving = tokio::spawn(service.serve(endpoint, CancellationToken::new()));

        let mint = |id| {
            let (id, to, amount) = (RequestId::new(id), key(2).entity(), Amount::new(5));
            Request::Mint { id, to, amount }
        };
        let halted = Response::Refused { refusal: Refusal::Halted };
        assert_eq!(handle.call(mint(1)).await, Ok(Response::Minted { supply: Amount::new(5) }));
        assert_eq!(handle.call(mint(2)).await, Ok(halted.clone()));
        assert_eq!(holder.call(&Request::Balance).await, Ok(halted.clone()));
        assert_eq!(handle.call(mint(1)).await, Ok(halted), "not even what was saved");
        let ended = serving.await.unwrap();
        assert!(matches!(ended, Err(IssuerError::Journal(JournalError::Halted))), "{ended:?}");
        assert_eq!(handle.call(mint(3)).await, Err(HandleError));
    }
}
