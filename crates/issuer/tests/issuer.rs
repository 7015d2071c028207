//! An issuer with real sockets and real files.

use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, Digest, SecretKey};
use fondaco_issuer::{IssuerConfig, IssuerError, IssuerService, audit, operator_key};
use fondaco_lcp::{EntryKind, Refusal, Request, RequestId, Response, Rotation, VERSION};
use fondaco_ledger::{HoldId, Voucher};
use fondaco_ports::{Address, Clock};
use fondaco_store::{FileError, SystemClock};
use fondaco_transport::{CloseReason, Endpoint, LcpClient, Protocol, TransportError};
use fondaco_units::{Amount, Duration, Scale};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

const FEE: u64 = 1;

/// A folder of its own for each test; removed when the test is done.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "fondaco-issuer-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = Self(std::env::temp_dir().join(name));
        let scale = Scale::new(2).unwrap();
        let config = IssuerConfig::new("harbour crown", "HCR", scale, Amount::new(FEE)).unwrap();
        IssuerService::init(&folder.0, &bank(), &config).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn bank() -> SecretKey {
    key(1)
}

/// A request id that no other call has.
fn fresh() -> RequestId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    RequestId::new(NEXT.fetch_add(1, Ordering::Relaxed).into())
}

struct Running {
    address: Address,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), IssuerError>>,
}

impl Running {
    async fn start(folder: &Path) -> Self {
        Self::start_at(folder, "127.0.0.1:0".parse().unwrap()).await
    }

    /// Starts where another one may just have stopped.
    async fn start_at(folder: &Path, socket: SocketAddr) -> Self {
        let service = IssuerService::open(folder, &bank(), Arc::new(SystemClock)).unwrap();
        let endpoint = loop {
            match Endpoint::bind(&bank(), Some(socket), &[Protocol::Lcp2]).await {
                Err(TransportError::PortInUse { .. }) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                endpoint => break endpoint.unwrap(),
            }
        };
        let (address, shutdown) = (endpoint.address(), CancellationToken::new());
        let serving = tokio::spawn(service.serve(endpoint, shutdown.clone()));
        Self { address, shutdown, serving }
    }

    async fn client(&self, key: &SecretKey) -> LcpClient {
        LcpClient::new(Endpoint::bind(key, None, &[]).await.unwrap(), self.address.clone())
    }

    async fn operator(&self) -> LcpClient {
        self.client(&operator_key(&bank())).await
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

async fn mint(operator: &LcpClient, to: &SecretKey, amount: u64) -> Response {
    let (id, to, amount) = (fresh(), to.entity(), Amount::new(amount));
    operator.call(&Request::Mint { id, to, amount }).await.unwrap()
}

fn transfer(to: &SecretKey, amount: u64) -> Request {
    let (id, to, amount) = (fresh(), to.entity(), Amount::new(amount));
    Request::Transfer { id, to, amount, fee_max: Amount::new(FEE), order: Text::cut("order 7") }
}

async fn balance(client: &LcpClient) -> (u64, u64) {
    match client.call(&Request::Balance).await.unwrap() {
        Response::Balance { available, held, .. } => (available.get(), held.get()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn money_is_made_moved_held_and_cashed_and_is_there_after_a_restart() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let (alice, bob) = (key(2), key(3));
    let operator = running.operator().await;
    let (as_alice, as_bob) = (running.client(&alice).await, running.client(&bob).await);

    let minted = mint(&operator, &alice, 1000).await;
    assert_eq!(minted, Response::Minted { supply: Amount::new(1000) });
    let to_bob = transfer(&bob, 100);
    let transferred =
        Response::Transferred { fee: Amount::new(FEE), balance: Amount::new(1000 - 100 - FEE) };
    assert_eq!(as_alice.call(&to_bob).await, Ok(transferred.clone()));
    assert_eq!(as_alice.call(&to_bob).await, Ok(transferred.clone()), "asked again, done once");

    let id = fresh();
    let currency = CurrencyId::issued_by(bank().entity());
    let hold = HoldId::derive(currency, alice.entity(), id.get());
    let opened = as_alice
        .call(&Request::HoldOpen {
            id,
            payee: bob.entity(),
            amount_max: Amount::new(300),
            order: Digest::of(b"order 8"),
            expires: SystemClock.now().after(Duration::from_seconds(3600)),
            open_by: SystemClock.now().after(Duration::from_seconds(3600)),
        })
        .await;
    assert!(matches!(opened, Ok(Response::HoldOpened { hold: found, .. }) if found == hold));
    assert_eq!(balance(&as_alice).await, (899 - 300, 300));
    let voucher = Voucher { currency, hold, cumulative: Amount::new(120) }.sign(&alice);
    let posted = as_bob.call(&Request::HoldPost { id: fresh(), voucher }).await;
    let (paid, returned) = (Amount::new(120), Amount::new(180));
    assert_eq!(posted, Ok(Response::HoldPosted { paid, returned }));
    running.stop().await;

    let report = audit(&folder.0).unwrap();
    assert!(report.balanced);
    assert_eq!((report.supply, report.held), (Amount::new(1000), Amount::ZERO));
    assert_eq!(report.records, 1 + 4, "the definition and four commands");
    assert_eq!(report.currency.symbol.as_str(), "HCR");

    let running = Running::start(&folder.0).await;
    let (as_alice, as_bob) = (running.client(&alice).await, running.client(&bob).await);
    assert_eq!(balance(&as_alice).await, (779, 0));
    assert_eq!(balance(&as_bob).await, (220, 0));
    assert_eq!(as_alice.call(&to_bob).await, Ok(transferred), "the answer is remembered too");
    running.stop().await;
    assert_eq!(audit(&folder.0).unwrap(), report, "neither queries nor repetitions are recorded");
}

#[tokio::test]
async fn only_the_issuer_and_its_operator_make_money() {
    let folder = Folder::new();
    let service = IssuerService::open(&folder.0, &bank(), Arc::new(SystemClock)).unwrap();
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let endpoint = Endpoint::bind(&bank(), listen, &[Protocol::Lcp2]).await.unwrap();
    let (address, shutdown) = (endpoint.address(), CancellationToken::new());
    let handle = service.handle();
    let serving = tokio::spawn(service.serve(endpoint, shutdown.clone()));
    let running = Running { address, shutdown, serving };

    let stranger = running.client(&key(2)).await;
    let refusal = Refusal::NotIssuer { issuer: bank().entity() };
    assert_eq!(mint(&stranger, &key(2), 5).await, Response::Refused { refusal });
    let (to, amount) = (key(2).entity(), Amount::new(5));
    let by_handle = handle.call(Request::Mint { id: fresh(), to, amount }).await;
    assert_eq!(by_handle, Ok(Response::Minted { supply: Amount::new(5) }));
    let minted = mint(&running.operator().await, &key(2), 5).await;
    assert_eq!(minted, Response::Minted { supply: Amount::new(10) });
    // The operator has no account of its own: it is the issuer.
    let own = Request::Transfer {
        id: fresh(),
        to: bank().entity(),
        amount: Amount::new(4),
        fee_max: Amount::new(FEE),
        order: Text::default(),
    };
    stranger.call(&own).await.unwrap();
    assert_eq!(balance(&running.operator().await).await, (4 + FEE, 0));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    // A runtime of its own, torn down under the service: nothing is shut down in order.
    let crash = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let crash = crash.unwrap();
    let path = folder.0.clone();
    let (acknowledged, address) = crash
        .spawn(async move {
            let running = Running::start(&path).await;
            let operator = running.operator().await;
            let mut acknowledged = 0;
            for _ in 0..20 {
                let minted = mint(&operator, &key(2), 7).await;
                assert!(matches!(minted, Response::Minted { .. }));
                acknowledged += 7;
            }
            // More are under way when the end comes.
            for _ in 0..50 {
                let operator = operator.clone();
                tokio::spawn(async move { mint(&operator, &key(2), 7).await });
            }
            let address = running.address.clone();
            std::mem::forget(running);
            (acknowledged, address)
        })
        .await
        .unwrap();
    // A holder that lives on: nobody will tell it that its connection is dead.
    let survivor = Endpoint::bind(&key(2), None, &[]).await.unwrap();
    let survivor = LcpClient::new(survivor, address.clone());
    balance(&survivor).await;
    crash.shutdown_background();

    // The thread of the books ends when the last who could ask is gone.
    let started = Instant::now();
    let report = loop {
        match audit(&folder.0) {
            Err(IssuerError::File(FileError::Locked { .. })) => {
                assert!(started.elapsed().as_secs() < 10, "the books stay locked");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            report => break report.unwrap(),
        }
    };
    assert!(report.balanced);
    assert!(report.supply.get() >= acknowledged, "{report:?}");
    assert_eq!(report.supply.get() % 7, 0);
    let running = Running::start_at(&folder.0, address.sockets()[0]).await;
    let started = Instant::now();
    assert_eq!(balance(&survivor).await, (report.supply.get(), 0));
    assert!(started.elapsed().as_secs() < 12, "it took {:?}", started.elapsed());
    running.stop().await;
}

#[tokio::test]
async fn the_books_have_one_keeper() {
    let folder = Folder::new();
    let open = || IssuerService::open(&folder.0, &bank(), Arc::new(SystemClock));
    let first = open().unwrap();
    for error in [open().err().unwrap(), audit(&folder.0).unwrap_err()] {
        assert!(matches!(error, IssuerError::File(FileError::Locked { .. })), "{error}");
        assert!(error.is_transient());
        assert!(error.to_string().ends_with("is in use by another process"), "{error}");
    }
    drop(first);
    assert!(open().is_ok());
}

#[tokio::test]
async fn a_currency_is_defined_once_and_for_one_key() {
    let folder = Folder::new();
    let other = IssuerConfig::new("other", "OTH", Scale::default(), Amount::ZERO).unwrap();
    let again = IssuerService::init(&folder.0, &bank(), &other).unwrap_err();
    assert!(matches!(again, IssuerError::AlreadyThere { .. }), "{again}");
    let service = IssuerService::open(&folder.0, &bank(), Arc::new(SystemClock)).unwrap();
    assert_eq!(service.currency().name.as_str(), "harbour crown");
    drop(service);

    let error = IssuerService::open(&folder.0, &key(9), Arc::new(SystemClock)).err().unwrap();
    let (found, wanted) = (bank().entity(), key(9).entity());
    assert_eq!(error.to_string(), IssuerError::OtherKey { found, wanted }.to_string());

    let nowhere = folder.0.join("nowhere");
    let error = IssuerService::open(&nowhere, &bank(), Arc::new(SystemClock)).err().unwrap();
    assert!(matches!(error, IssuerError::NoIssuer { .. }), "{error}");
    assert!(matches!(audit(&nowhere), Err(IssuerError::NoIssuer { .. })));
    assert!(!nowhere.exists(), "looking for books creates none");
}

#[tokio::test]
async fn what_is_no_request_is_refused_by_its_kind() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let endpoint = Endpoint::bind(&key(2), None, &[]).await.unwrap();
    let connection = endpoint.connect(&running.address, Protocol::Lcp2).await.unwrap();
    let peer = connection.peer();
    let ask = |body: Vec<u8>| {
        let connection = connection.clone();
        async move {
            let mut stream = connection.open().await.unwrap();
            stream.send_bytes(&body).await.unwrap();
            stream.recv_bytes(1 << 16).await
        }
    };

    let body = ask(vec![VERSION + 1, 1]).await.unwrap().unwrap();
    let refusal = Refusal::Version { version: VERSION };
    assert_eq!(Response::from_frame(&body), Ok(Response::Refused { refusal }));

    let misbehaved = TransportError::StreamGivenUp { peer, reason: CloseReason::Misbehaved };
    let trailing = [Request::Balance.to_frame(), vec![0]].concat();
    for garbage in [vec![], vec![VERSION], vec![VERSION, 200], trailing, vec![VERSION; 5000]] {
        assert_eq!(ask(garbage).await, Err(misbehaved.clone()));
    }
    // The others on the connection are none the worse for it.
    let answer = ask(Request::Balance.to_frame()).await.unwrap().unwrap();
    assert!(matches!(Response::from_frame(&answer), Ok(Response::Balance { .. })));
    running.stop().await;
}

/// One key has so many connections: one more takes the place of an unused one, and is refused if all are used.
#[tokio::test]
async fn one_key_has_so_many_connections() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let endpoint = Endpoint::bind(&key(2), None, &[]).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..fondaco_issuer::CONNECTIONS_PER_HOLDER_MAX {
        let connection = endpoint.connect(&running.address, Protocol::Lcp2).await.unwrap();
        // One answered request on each, so that all of them are known to be served, one after the other.
        let mut stream = connection.open().await.unwrap();
        stream.send_bytes(&Request::Balance.to_frame()).await.unwrap();
        assert!(stream.recv_bytes(1 << 16).await.unwrap().is_some());
        open.push(connection);
    }
    let one_more = endpoint.connect(&running.address, Protocol::Lcp2).await.unwrap();
    let (peer, reason) = (one_more.peer(), CloseReason::Busy);
    assert_eq!(open.remove(0).closed().await, TransportError::Closed { peer, reason });
    open.push(one_more);
    // A long poll on each, and after it, so that it is known to be begun, an answered request.
    let mut polls = Vec::new();
    for connection in &open {
        let mut poll = connection.open().await.unwrap();
        let wait = Request::Deposits { after: 0, wait: Duration::from_milliseconds(60_000) };
        poll.send_bytes(&wait.to_frame()).await.unwrap();
        let mut stream = connection.open().await.unwrap();
        stream.send_bytes(&Request::Balance.to_frame()).await.unwrap();
        assert!(stream.recv_bytes(1 << 16).await.unwrap().is_some());
        polls.push(poll);
    }
    let one_more = endpoint.connect(&running.address, Protocol::Lcp2).await.unwrap();
    assert_eq!(one_more.closed().await, TransportError::Closed { peer, reason });
    let other = running.client(&key(3)).await;
    assert_eq!(balance(&other).await, (0, 0));
    running.stop().await;
}

/// Sends one command, once; nothing if the issuer is busy.
async fn pay_once(connection: fondaco_transport::Connection) -> Option<Response> {
    let asked = async {
        let mut stream = connection.open().await?;
        stream.send_bytes(&transfer(&key(2), 1).to_frame()).await?;
        stream.recv_bytes(1 << 16).await
    };
    match asked.await {
        Ok(answer) => Some(Response::from_frame(&answer.unwrap()).unwrap()),
        Err(error) => {
            let (peer, reason) = (connection.peer(), CloseReason::Busy);
            assert_eq!(error, TransportError::StreamGivenUp { peer, reason });
            None
        }
    }
}

/// A flood of commands by strangers is not written down, and is in nobody's way: not of who is paid by a voucher for
/// the first time, while all that strangers may do is used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_fill_the_books() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let (alice, bob) = (key(2), key(3));
    let operator = running.operator().await;
    mint(&operator, &alice, 1000).await;
    let started = Instant::now();
    let mut flood = JoinSet::new();
    let mut flooding = Vec::new();
    for seed in 100..114 {
        let endpoint = Endpoint::bind(&key(seed), None, &[]).await.unwrap();
        let connection = endpoint.connect(&running.address, Protocol::Lcp2).await.unwrap();
        flooding.push((endpoint, connection.clone()));
        for _ in 0..60 {
            flood.spawn(pay_once(connection.clone()));
        }
    }
    let (as_alice, as_bob) = (running.client(&alice).await, running.client(&bob).await);
    let (open, amount_max) = (fresh(), Amount::new(300));
    let opened = as_alice
        .call(&Request::HoldOpen {
            id: open,
            payee: bob.entity(),
            amount_max,
            order: Digest::of(b"first"),
            expires: SystemClock.now().after(Duration::from_milliseconds(60_000)),
            open_by: SystemClock.now().after(Duration::from_milliseconds(60_000)),
        })
        .await;
    let Ok(Response::HoldOpened { hold, .. }) = opened else { panic!("{opened:?}") };
    let currency = CurrencyId::issued_by(bank().entity());
    let voucher = Voucher { currency, hold, cumulative: Amount::new(120) }.sign(&alice);
    let posted = as_bob.call(&Request::HoldPost { id: fresh(), voucher }).await;
    assert!(matches!(posted, Ok(Response::HoldPosted { .. })), "{posted:?}");
    let (mut answered, mut recorded) = (0, 0);
    for answer in std::mem::take(&mut flood).join_all().await.into_iter().flatten() {
        let Response::Refused { refusal } = answer else { panic!("{answer:?}") };
        answered += 1;
        // Of a stranger few answers are remembered, so that of many commands at once some come too late.
        recorded += u64::from(!matches!(refusal, Refusal::Forgotten { .. } | Refusal::Outdated));
    }
    let seconds = started.elapsed().as_secs() + 1;
    assert!((200..=200 + 200 * seconds).contains(&answered) && answered <= 14 * (20 + 5 * seconds));
    // A flooder can still ask what it has, and command once it is known.
    let (_, connection) = &flooding[0];
    let mut stream = connection.open().await.unwrap();
    stream.send_bytes(&Request::Balance.to_frame()).await.unwrap();
    assert!(stream.recv_bytes(1 << 16).await.unwrap().is_some());
    mint(&operator, &key(100), 1000).await;
    for _ in 0..60 {
        flood.spawn(pay_once(connection.clone()));
    }
    for answer in flood.join_all().await {
        assert!(matches!(answer, Some(Response::Transferred { .. })), "{answer:?}");
    }
    running.stop().await;
    assert_eq!(audit(&folder.0).unwrap().records, 1 + 2 + 2 + 60 + recorded);
}

#[tokio::test]
async fn due_holds_expire_by_themselves() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let alice = running.client(&key(2)).await;
    mint(&running.operator().await, &key(2), 50).await;
    let opened = alice
        .call(&Request::HoldOpen {
            id: fresh(),
            payee: key(3).entity(),
            amount_max: Amount::new(20),
            order: Digest::of(b"x"),
            expires: SystemClock.now().after(Duration::from_milliseconds(300)),
            open_by: SystemClock.now().after(Duration::from_milliseconds(300)),
        })
        .await;
    assert!(matches!(opened, Ok(Response::HoldOpened { .. })), "{opened:?}");
    assert_eq!(balance(&alice).await, (30, 20));
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(balance(&alice).await, (50, 0), "nobody asked for it");
    running.stop().await;
    assert_eq!(audit(&folder.0).unwrap().records, 1 + 2 + 1, "the expiry is a record");
}

/// However 64 holders pay each other at once, all the money is there in the end, and each transfer was done once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_holders_conserve_money() {
    const HOLDERS: u8 = 64;
    const TRANSFERS: u64 = 100;
    const START: u64 = 1000;
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let operator = running.operator().await;
    let holder = |number: u8| key(100 + number % HOLDERS);
    for number in 0..HOLDERS {
        mint(&operator, &holder(number), START).await;
    }
    let mut paying = JoinSet::new();
    for number in 0..HOLDERS {
        let client = running.client(&holder(number)).await;
        paying.spawn(async move {
            for turn in 1..=TRANSFERS {
                let payee = holder(number + 1 + u8::try_from(turn % 50).unwrap());
                let answer = client.call(&transfer(&payee, 1 + turn % 7)).await.unwrap();
                assert!(matches!(answer, Response::Transferred { .. }), "{answer:?}");
            }
            client
        });
    }
    let mut sum = 0;
    let mut clients = Vec::new();
    while let Some(client) = paying.join_next().await {
        clients.push(client.unwrap());
    }
    for client in &clients {
        sum += balance(client).await.0;
    }
    let fees = u64::from(HOLDERS) * TRANSFERS * FEE;
    assert_eq!(sum, u64::from(HOLDERS) * START - fees);
    assert_eq!(balance(&operator).await, (fees, 0));
    running.stop().await;
    let report = audit(&folder.0).unwrap();
    assert!(report.balanced);
    assert_eq!(report.supply, Amount::new(u64::from(HOLDERS) * START));
    assert_eq!(report.records, 1 + u64::from(HOLDERS) * (1 + TRANSFERS));
}

/// What a holder was promised before the stop is delivered; what comes after is told to come later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_what_is_under_way() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let operator = running.operator().await;
    mint(&operator, &key(2), 1).await;
    let mut minting = JoinSet::new();
    for _ in 0..100 {
        let operator = operator.clone();
        minting.spawn(async move {
            let (id, to, amount) = (fresh(), key(2).entity(), Amount::new(1));
            operator.call(&Request::Mint { id, to, amount }).await
        });
    }
    // A query that would wait for long is answered too, with what there is.
    let waiter = running.client(&key(7)).await;
    let (after, wait) = (0, Duration::from_seconds(50));
    let waiting =
        tokio::spawn(async move { waiter.call(&Request::Deposits { after, wait }).await });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    running.stop().await;
    let waited = waiting.await.unwrap();
    assert!(matches!(waited, Ok(Response::Deposits { .. })), "{waited:?}");
    let mut answered = 1;
    while let Some(ended) = minting.join_next().await {
        match ended.unwrap() {
            Ok(Response::Minted { .. }) => answered += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    let supply = audit(&folder.0).unwrap().supply.get();
    assert!(supply >= answered, "{supply} on disk, {answered} promised");
}

/// An issuer that is killed again and again has at every start as much to replay as it is killed with: it must not be more
/// each time.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_replayed_is_in_the_next_snapshot() {
    let folder = Folder::new();
    let service = IssuerService::open(&folder.0, &bank(), Arc::new(SystemClock)).unwrap();
    let (handle, stop) = (service.handle(), CancellationToken::new());
    let endpoint = Endpoint::bind(&bank(), None, &[Protocol::Lcp2]).await.unwrap();
    let serving = tokio::spawn(service.serve(endpoint, stop.clone()));
    let mut mints = JoinSet::new();
    for _ in 0..10_000 {
        let (handle, id, to) = (handle.clone(), fresh(), key(2).entity());
        mints.spawn(
            async move { handle.call(Request::Mint { id, to, amount: Amount::new(1) }).await },
        );
    }
    for minted in mints.join_all().await {
        assert!(matches!(minted, Ok(Response::Minted { .. })), "{minted:?}");
    }
    stop.cancel();
    serving.await.unwrap().unwrap();
    let path = folder.0.join("snapshot");
    std::fs::remove_file(&path).unwrap();

    Running::start(&folder.0).await.stop().await;
    assert!(path.exists(), "nothing was recorded, and 10,000 records were replayed");
}

/// Whoever opens the books from a snapshot knows the same as who replays the journal whole, and answers the same.
#[tokio::test]
async fn the_books_open_from_their_snapshot() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let alice = running.client(&key(2)).await;
    mint(&running.operator().await, &key(2), 1_000_000).await;
    let steps = |from: u64| {
        let step = |number: u64| fondaco_lcp::Step {
            to: key(3).entity(),
            amount: Amount::new(number),
            order: fondaco_codec::Text::default(),
            linked: false,
        };
        fondaco_codec::List::new((from..from + 8).map(step).collect()).unwrap()
    };
    // More records than a closing is worth a snapshot for would take long here: it is made by hand.
    let id = fresh();
    let batch = Request::Batch { id, fee_max: Amount::new(1), steps: steps(1) };
    let first = alice.call(&batch).await.unwrap();
    assert!(matches!(first, Response::Batched { .. }), "{first:?}");
    running.stop().await;
    let before = audit(&folder.0).unwrap();
    fondaco_issuer::snapshot(&folder.0).unwrap();
    assert!(folder.0.join("snapshot").exists());

    let running = Running::start(&folder.0).await;
    let alice = running.client(&key(2)).await;
    assert_eq!(alice.call(&batch).await.unwrap(), first, "done once");
    let batch = Request::Batch { id: fresh(), fee_max: Amount::new(1), steps: steps(9) };
    assert!(matches!(alice.call(&batch).await.unwrap(), Response::Batched { .. }));
    running.stop().await;
    let after = audit(&folder.0).unwrap();
    assert!(after.balanced && after.records == before.records + 1);

    // A damaged snapshot costs time, and nothing else.
    let path = folder.0.join("snapshot");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let running = Running::start(&folder.0).await;
    let alice = running.client(&key(2)).await;
    assert!(matches!(alice.call(&batch).await.unwrap(), Response::Batched { .. }));
    running.stop().await;
    assert_eq!(audit(&folder.0).unwrap(), after);

    // Nor is it believed against its journal: one that is ahead shows that acknowledged records are gone.
    std::fs::remove_file(&path).unwrap();
    fondaco_issuer::snapshot(&folder.0).unwrap();
    let copy = folder.0.join("copy");
    fondaco_issuer::backup(&folder.0, &copy, |_, _| {}).unwrap();
    assert_eq!(audit(&copy).unwrap(), after);
    let journal = std::fs::read(copy.join("journal")).unwrap();
    std::fs::copy(&path, copy.join("snapshot")).unwrap();
    let end = usize::try_from(after.bytes.get()).unwrap();
    let mut cut = journal;
    cut[end - 100..].fill(0);
    std::fs::write(copy.join("journal"), cut).unwrap();
    let refused = IssuerService::open(&copy, &bank(), std::sync::Arc::new(SystemClock));
    assert!(matches!(refused, Err(IssuerError::Lost { .. })));

    // Nor against its history: neither a journal that is shorter, nor one that went another way.
    std::fs::remove_file(copy.join("snapshot")).unwrap();
    let history = |from: &Path, to: &Path| {
        drop(std::fs::remove_file(to.join("history.redb")));
        std::fs::copy(from.join("history.redb"), to.join("history.redb")).unwrap();
    };
    history(&folder.0, &copy);
    let refused = IssuerService::open(&copy, &bank(), std::sync::Arc::new(SystemClock));
    let Err(error @ IssuerError::Lost { .. }) = refused else { panic!("it opened") };
    assert!(error.to_string().contains("history.redb"), "{error}");
    std::fs::remove_file(copy.join("history.redb")).unwrap();
    let running = Running::start(&copy).await;
    mint(&running.operator().await, &key(2), 7).await;
    running.stop().await;
    history(&folder.0, &copy);
    let refused = IssuerService::open(&copy, &bank(), std::sync::Arc::new(SystemClock));
    assert!(matches!(refused, Err(IssuerError::Lost { .. })));
    std::fs::remove_file(copy.join("history.redb")).unwrap();
    Running::start(&copy).await.stop().await;
}

/// The exported books add up by themselves, and say what the ledger says.
#[tokio::test]
async fn the_books_are_exported_as_plain_text() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    let alice = running.client(&key(2)).await;
    mint(&running.operator().await, &key(2), 500).await;
    let (to, fee_max) = (key(3).entity(), Amount::new(1));
    let order = fondaco_codec::Text::cut("bread \"and\" salt");
    let amount = Amount::new(100);
    let transfer = Request::Transfer { id: fresh(), to, amount, fee_max, order };
    assert!(matches!(alice.call(&transfer).await, Ok(Response::Transferred { .. })));
    running.stop().await;
    let mut text = Vec::new();
    fondaco_issuer::export(&folder.0, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut sum = 0;
    for line in text.lines().filter(|line| line.starts_with("  ") && line.contains("HCR")) {
        let amount = line.split_whitespace().nth(1).unwrap().replace('.', "");
        sum += amount.parse::<i64>().unwrap();
    }
    assert_eq!(sum, 0, "{text}");
    for part in ["\"transfer\" \"bread \\\"and\\\" salt\"", "balance Equity:Issued  5.00 HCR"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// What was is told right after it was answered, after a restart, and after the history was lost or damaged.
#[tokio::test]
async fn the_past_is_told_and_proved() {
    let folder = Folder::new();
    let running = Running::start(&folder.0).await;
    mint(&running.operator().await, &key(2), 500).await;
    let id = fresh();
    let (to, amount, fee_max) = (key(3).entity(), Amount::new(100), Amount::new(1));
    let order = fondaco_codec::Text::cut("bread");
    let transfer = Request::Transfer { id, to, amount, fee_max, order };
    let told = async |running: &Running, who: u8| {
        let client = running.client(&key(who)).await;
        let history = client.call(&Request::History { before: 0, count: 10 }).await.unwrap();
        let Response::History { list, more: false } = history else { panic!("{history:?}") };
        list.into_vec()
    };
    let alice = running.client(&key(2)).await;
    let answer = alice.call(&transfer).await.unwrap();
    let entries = told(&running, 2).await;
    let kinds: Vec<_> = entries.iter().map(|entry| (entry.number, entry.kind)).collect();
    assert_eq!(kinds, [(2, EntryKind::Sent), (1, EntryKind::Minted)]);
    assert_eq!((entries[0].id, entries[0].fee), (Some(id), Amount::new(1)));
    assert_eq!(told(&running, 3).await[0].counterparty, Some(key(2).entity()));
    assert!(told(&running, 9).await.is_empty(), "a stranger has no past");
    let receipt = alice.call(&Request::Receipt { id }).await.unwrap();
    let Response::Receipt { receipt } = receipt else { panic!("{receipt:?}") };
    assert!(receipt.verify().is_ok());
    assert_eq!((&receipt.receipt.request, &receipt.receipt.response), (&transfer, &answer));
    // Of another's command there is no receipt, nor of one that never was.
    for (who, id) in [(3, id), (2, fresh())] {
        let client = running.client(&key(who)).await;
        let refused = client.call(&Request::Receipt { id }).await.unwrap();
        assert!(matches!(refused, Response::Refused { .. }), "{refused:?}");
    }
    running.stop().await;

    // Whoever has a key that the account had once learns nothing of what it does since.
    let running = Running::start(&folder.0).await;
    let (old, new) = (key(2), key(4));
    let rotation = Rotation {
        currency: CurrencyId::issued_by(bank().entity()),
        old: old.entity(),
        new: new.entity(),
    };
    let (by_old, by_new) = (rotation.sign(&old), rotation.sign(&new));
    let rotate = Request::Rotate { id: fresh(), to: new.entity(), by_old, by_new };
    let alice = running.client(&old).await;
    let to = new.entity();
    assert_eq!(alice.call(&rotate).await.unwrap(), Response::Rotated { to });
    let refused = Response::Refused { refusal: Refusal::Rotated { to } };
    for asked in [Request::History { before: 0, count: 10 }, Request::Receipt { id }] {
        assert_eq!(alice.call(&asked).await.unwrap(), refused, "{asked:?}");
    }
    let entries = told(&running, 4).await;
    assert_eq!(entries.len(), 3);
    running.stop().await;

    let path = folder.0.join("history.redb");
    for damage in ["none", "lost", "damaged", "foreign"] {
        match damage {
            "lost" => std::fs::remove_file(&path).unwrap(),
            "damaged" => {
                let mut bytes = std::fs::read(&path).unwrap();
                let length = bytes.len();
                bytes[..4096.min(length)].fill(0x5a);
                std::fs::write(&path, bytes).unwrap();
            }
            "foreign" => std::fs::write(&path, b"something else").unwrap(),
            _ => {}
        }
        let running = Running::start(&folder.0).await;
        assert_eq!(told(&running, 4).await, entries, "{damage}");
        let alice = running.client(&key(4)).await;
        let again = alice.call(&Request::Receipt { id }).await.unwrap();
        assert_eq!(again, Response::Receipt { receipt: receipt.clone() }, "{damage}");
        running.stop().await;
    }
}
