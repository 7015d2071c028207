//! The service: opens the books, serves holders, stops in order.
//!
//! ```text
//! open ──► IssuerService ── serve ──► Serving ──┬── shutdown ──► no more requests ──► those under way are
//!                                               │                answered ──► keeper stops ──► Ok
//!                                               └── halted ──► HALTED_GRACE: whoever asks is told ──► Err
//! ```

use crate::{
    IssuerConfig, IssuerError, RecordError,
    behind::Standing,
    books::{self, Books, Visit},
    history::{self, Batch, History, HistoryError, Indexer, Noted, Through},
    keeper::{Behind, Job, Keeper, Message, QUEUE_MAX, Save, keep},
    known::Known,
    metrics::{Dialect, Metrics},
    past::Past,
    server::Server,
};
use fondaco_crypto::{Domain, EntityId, SecretKey};
use fondaco_lcp::{Currency, Issuer, Request, Response};
use fondaco_lcp_wire::{self as lcp_wire, Identity, ServerName, Settings};
use fondaco_ports::Clock;
use fondaco_store::Appended;
use fondaco_transport::Endpoint;
use std::{net::SocketAddr, ops::Range, path::Path, sync::Arc, thread, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

const OPERATOR: Domain = Domain::new("fondaco 2026 issuer operator v1");

/// How often due holds are looked for, and queries that waited long enough.
const TICK: Duration = Duration::from_millis(100);

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
    behind: Box<dyn Behind>,
    past: Option<Past>,
    clock: Arc<dyn Clock>,
    key: SecretKey,
    metrics: Metrics,
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
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(|error| IssuerError::Entropy { detail: error.to_string() })?;
        let seed = u64::from_le_bytes(seed);
        let (books, history) = open_with_history(folder, seed)?;
        let Books { issuer: core, journal, covered } = books;
        let (found, wanted) = (core.currency().id.issuer(), key.entity());
        if found != wanted {
            return Err(IssuerError::OtherKey { found, wanted });
        }
        core.check()?;
        let head = journal.head();
        info!(issuer = %wanted.short(), records = head.records, chain = %head.chain, "the books are open");
        let metrics = Metrics::default();
        let (past, indexer) = match history {
            None => (None, None),
            Some((history, indexer)) => {
                let journal = books::journal_path(folder);
                (Some(Past::new(history, journal, key.clone(), head.records)), Some(indexer))
            }
        };
        let behind = Standing::new(folder.to_owned(), indexer, covered, metrics.clone());
        let mut service = Self::new(core, Box::new(journal), Box::new(behind), metrics, key, clock);
        service.past = past;
        Ok(service)
    }

    fn new(
        core: Issuer,
        journal: Box<dyn Save>,
        behind: Box<dyn Behind>,
        metrics: Metrics,
        key: &SecretKey,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let key = key.clone();
        Self { core, journal, behind, past: None, clock, key, metrics, queue, waiting }
    }

    /// Returns the figures that it keeps while it serves.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Returns what the currency is.
    pub const fn currency(&self) -> &Currency {
        self.core.currency()
    }

    /// Returns a way for this process to ask in the issuer's name, once it serves.
    pub fn handle(&self) -> IssuerHandle {
        IssuerHandle { queue: self.queue.clone(), issuer: self.key.entity() }
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
        self.start(endpoint, None).await?.run(shutdown).await
    }

    /// Begins to keep the books, and takes the sockets of the dialect of 2003 if `soap` names some.
    ///
    /// # Errors
    ///
    /// A socket cannot be had, or the system has no more threads.
    pub async fn start(
        self,
        endpoint: Endpoint,
        soap: Option<Settings>,
    ) -> Result<Serving, IssuerError> {
        let Self { core, journal, behind, past, clock, key, metrics, queue, mut waiting } = self;
        let (halt, halted) = oneshot::channel();
        let known = Known::of(&core);
        let (issuer, operator) = (key.entity(), operator_key(&key).entity());
        let mut server = Server::new(queue, issuer, operator, known.clone(), metrics.clone());
        server.full_handshake_fee = core.currency().full_handshake_fee;
        server.past.clone_from(&past);
        let mut certificate = None;
        let soap = match soap {
            None => None,
            Some(settings) => {
                let identity = Identity::new(&key, &names_of(&settings));
                certificate = Some(identity.certificate_pem());
                let scale = core.currency().scale;
                let accounts = Arc::new(server.clone());
                Some(lcp_wire::Server::start(identity, scale, accounts, settings).await?)
            }
        };
        let (former, former_keys) = mpsc::unbounded_channel();
        if let Some(soap) = &soap {
            core.ledger().former_keys().for_each(|key| soap.revoke(key));
        }
        let issuer = core;
        let (leaving, full_since) = (false, None);
        let keeper = Keeper {
            issuer,
            journal,
            clock,
            key,
            known,
            metrics,
            behind,
            past,
            former,
            leaving,
            full_since,
        };
        let keeper = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keep(keeper, &mut waiting, halt))
            .map_err(|error| IssuerError::Thread { detail: error.to_string() })?;
        Ok(Serving { endpoint, soap, certificate, server, halted, keeper, former_keys })
    }
}

/// An issuer that keeps its books. Dropped without [`run`](Self::run), it serves nobody.
pub struct Serving {
    endpoint: Endpoint,
    soap: Option<lcp_wire::Server>,
    certificate: Option<String>,
    server: Server,
    halted: oneshot::Receiver<IssuerError>,
    keeper: thread::JoinHandle<()>,
    /// Keys that accounts give up while it serves.
    former_keys: mpsc::UnboundedReceiver<EntityId>,
}

impl Serving {
    /// Returns where the dialect of 2003 is served over TLS.
    pub fn soap_address(&self) -> Option<SocketAddr> {
        self.soap.as_ref().map(lcp_wire::Server::soap_address)
    }

    /// Returns where its descriptions are served over plain HTTP.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.soap.as_ref().and_then(lcp_wire::Server::http_address)
    }

    /// Returns the certificate that it shows to toolkits of 2003, in PEM; the same after every start.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Serves until `shutdown`: then the requests under way are answered, and all is closed.
    ///
    /// # Errors
    ///
    /// As [`IssuerService::serve`].
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), IssuerError> {
        let Self { endpoint, soap, server, mut halted, keeper, mut former_keys, certificate: _ } =
            self;
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
                    if let Some(soap) = &soap {
                        server.metrics().connections(Dialect::Lcp2003, soap.connections());
                    }
                    // With a full queue the next tick will do; commands let holds expire too.
                    let _ = server.queue.try_send(Message::Tick);
                }
                // A session outlives the key that it was made with, unless it is told.
                Some(key) = former_keys.recv() => if let Some(soap) = &soap {
                    soap.revoke(key);
                },
                accepted = endpoint.accept() => match accepted {
                    Some(connection) => {
                        connections.spawn(server.clone().connection(connection));
                    }
                    None => break,
                },
            }
        }
        server.stopping.cancel();
        // Connections wait for their requests, and so for the queries that wait. Fails only if the keeper is gone.
        let _ = server.queue.send(Message::Leave).await;
        connections.close();
        let soap_stopped = async {
            if let Some(soap) = soap {
                soap.stop().await;
            }
        };
        let (stopped, ()) = tokio::join!(timeout(STOP_GRACE, connections.wait()), soap_stopped);
        if stopped.is_err() {
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

/// The names that toolkits of 2003 will look for in the certificate.
fn names_of(settings: &Settings) -> Vec<ServerName<'static>> {
    let mut names = Vec::new();
    match settings.soap.ip() {
        ip if ip.is_unspecified() => names.extend(ServerName::try_from("localhost")),
        ip => names.push(ServerName::from(ip)),
    }
    let addresses = settings.host.iter().chain(&settings.addresses);
    for name in addresses.map(|ip| ServerName::from(*ip)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // The host of `https://host:port/path`; a bracketed one is an address.
    let host = settings.url.as_deref().and_then(|url| url.strip_prefix("https://"));
    let host =
        host.and_then(|rest| rest.split('/').next()).map(|host| match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        });
    names.extend(host.and_then(|host| ServerName::try_from(host.to_owned()).ok()));
    names
}

/// What the books are opened into: the history's own place, and what keeps it.
type Opened = (Books, Option<(History, Indexer)>);

/// Opens the books and the history behind them, which takes in all that it does not have yet.
///
/// Money does not stop for its history: where that cannot be kept, the books open without.
fn open_with_history(folder: &Path, seed: u64) -> Result<Opened, IssuerError> {
    let without = |error: HistoryError| {
        warn!(%error, hint = error.hint(), "no history is kept");
        books::open(folder, u64::MAX, 0, seed, &mut ()).map(|books| (books, None))
    };
    // A folder without books must not get a history.
    if !books::journal_path(folder).is_file() {
        return Err(IssuerError::NoIssuer { folder: folder.to_owned() });
    }
    let history = match History::open(folder) {
        Ok(history) => history,
        Err(error) => return without(error),
    };
    if let Some(why) = history.set_aside() {
        warn!(why, "the history is written anew from the journal");
    }
    let indexer = match Indexer::start(&history) {
        Ok(indexer) => indexer,
        Err(error) => return without(error),
    };
    let through = history.durable_through();
    let mut feed = Feed { indexer, through, parted: false };
    let books = books::open(folder, through.records, through.records, seed, &mut feed)?;
    let found = books.journal.head().records;
    // It only ever learnt of records that were durable, and perhaps acknowledged.
    if feed.parted || found < through.records {
        let (behind, known) = (history::FILE, through.records);
        return Err(IssuerError::Lost { behind, known, found });
    }
    Ok((books, Some((history, feed.indexer))))
}

/// Hands the history what is replayed.
struct Feed {
    indexer: Indexer,
    /// What the history has already.
    through: Through,
    /// Whether the journal has another chain where the history ends, or no frame that ends there.
    parted: bool,
}

impl Visit for Feed {
    const WANTED: bool = true;

    fn frame(&mut self, _: &Issuer, at: &Appended, done: Vec<Noted>) -> Result<(), RecordError> {
        let Range { start, end } = at.records;
        let Through { records, chain } = self.through;
        self.parted |= end == records && at.chain != chain || start < records && records < end;
        if !self.parted && end > records {
            // What fails is told by the history itself.
            let _ = self.indexer.add(Batch { frame: at.clone(), records: done });
        }
        Ok(())
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
    use fondaco_crypto::Digest;
    use fondaco_lcp::{IssuerOptions, Refusal, RequestId};
    use fondaco_store::{Head, JournalError};
    use fondaco_transport::{LcpClient, Protocol};
    use fondaco_units::{Amount, Bytes, Scale, Timestamp};

    #[derive(Debug)]
    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_milliseconds(1)
        }
    }

    /// A journal on a disk that fails after so many batches that were not empty.
    struct FailsAfter(usize);

    impl Save for FailsAfter {
        fn reserve(&mut self, _: Bytes) -> Result<bool, JournalError> {
            Ok(true)
        }

        fn save(&mut self, records: &[Vec<u8>]) -> Result<(), JournalError> {
            if !records.is_empty() {
                self.0 = self.0.checked_sub(1).ok_or(JournalError::Halted)?;
            }
            Ok(())
        }

        fn head(&self) -> Head {
            Head { records: 0, frames: 0, chain: Digest::of(b"chain"), bytes: Bytes::new(0) }
        }
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    /// A toolkit on another machine checks the address that it dialled.
    #[test]
    fn the_certificate_names_every_address() {
        let [outer, loopback] = ["192.0.2.2", "127.0.0.1"].map(|ip| ip.parse().unwrap());
        let all = Settings {
            host: Some(outer),
            addresses: vec![outer, loopback],
            ..Settings::at("0.0.0.0:0".parse().unwrap())
        };
        let localhost = ServerName::try_from("localhost").unwrap();
        let [outer, loopback] = [outer, loopback].map(ServerName::from);
        assert_eq!(names_of(&all), [localhost, outer, loopback.clone()]);
        assert_eq!(names_of(&Settings::at("127.0.0.1:0".parse().unwrap())), [loopback]);
    }

    /// The canary of durability: what was not saved is told to nobody, and the service ends with an error.
    #[tokio::test]
    async fn a_failing_disk_halts_the_issuer_and_nobody_sees_what_was_lost() {
        let config = IssuerConfig::new("crown", "C", Scale::default(), Amount::ZERO).unwrap();
        let core = Issuer::new(config.currency(key(1).entity()), IssuerOptions::default());
        let (journal, clock) = (Box::new(FailsAfter(1)), Arc::new(Stopped));
        let metrics = Metrics::default();
        let service = IssuerService::new(core, journal, Box::new(()), metrics, &key(1), clock);
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
