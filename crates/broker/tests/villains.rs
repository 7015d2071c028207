//! A broker over real sockets: what an honest provider and buyer get, and what villains do not.

use fondaco_broker::{BrokerLimits, BrokerService};
use fondaco_codec::{Encode as _, List};
use fondaco_contract::{Ask, AskError, PriceList, PriceListError, SignedAsk, Socket, Sought};
use fondaco_crypto::{CurrencyId, SecretKey};
use fondaco_ports::market::Frame as _;
use fondaco_ports::offers::{Reason, Request, Response};
use fondaco_ports::{Address, Clock as _};
use fondaco_store::SystemClock;
use fondaco_transport::{CloseReason, Connection, Endpoint, Protocol, TransportError};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Fair {
    address: Address,
    service: BrokerService,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

async fn fair(limits: BrokerLimits) -> Fair {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let endpoint = Endpoint::bind(&key(100), listen, &[Protocol::Offers]).await.unwrap();
    let (address, stop) = (endpoint.address(), CancellationToken::new());
    let service = BrokerService::new(Arc::new(SystemClock), limits);
    let serving = tokio::spawn(service.clone().serve(endpoint, stop.clone()));
    Fair { address, service, stop, serving }
}

impl Fair {
    async fn dial(&self, who: u8) -> (Endpoint, Connection) {
        let endpoint = Endpoint::bind(&key(who), None, &[]).await.unwrap();
        let connection = endpoint.connect(&self.address, Protocol::Offers).await.unwrap();
        (endpoint, connection)
    }

    /// What the broker answers to one request of `who`.
    async fn ask(&self, who: u8, request: &Request) -> Response {
        let (_endpoint, connection) = self.dial(who).await;
        send(&connection, &request.to_frame()).await.unwrap()
    }

    async fn post(&self, who: u8, ask: SignedAsk) -> Response {
        self.ask(who, &Request::Post { ask }).await
    }

    /// What a buyer finds.
    async fn shown(&self) -> Vec<SignedAsk> {
        let query = Request::Query { sought: Sought::usual(currency()), limit: 64, after: None };
        match self.ask(200, &query).await {
            Response::Asks { list, .. } => list.into_vec(),
            other => panic!("{other:?}"),
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

async fn send(connection: &Connection, frame: &[u8]) -> Result<Response, TransportError> {
    let mut stream = connection.open().await?;
    stream.send_bytes(frame).await?;
    stream.finish();
    let peer = connection.peer();
    let answer = stream.recv_bytes(Response::FRAME_MAX).await?;
    let answer = answer.ok_or(TransportError::NoAnswer { peer })?;
    Ok(Response::from_frame(&answer).unwrap())
}

fn key(who: u8) -> SecretKey {
    SecretKey::from_bytes(&[who; 32])
}

fn currency() -> CurrencyId {
    CurrencyId::issued_by(key(99).entity())
}

fn list(who: u8, issued: Timestamp) -> PriceList {
    PriceList {
        provider: key(who).entity(),
        currency: currency(),
        open: Amount::new(1),
        store: Price::from_parts(u64::from(who)),
        write: Price::from_parts(1),
        read: Price::from_parts(1),
        capacity: Bytes::new(1 << 40),
        period_max: Duration::from_seconds(86_400),
        epoch: Duration::from_seconds(3600),
        step_max: Bytes::new(1 << 18),
        issued,
        expires: issued.after(Duration::from_seconds(600)),
    }
}

fn signed(who: u8, list: PriceList) -> SignedAsk {
    let sockets = List::new(vec![Socket::new("127.0.0.1:4433".parse().unwrap()).unwrap()]).unwrap();
    Ask { prices: list.sign(&key(who)), sockets, operator: None, region: None }.sign(&key(who))
}

fn ask(who: u8) -> SignedAsk {
    signed(who, list(who, SystemClock.now()))
}

fn refused(reason: Reason) -> Response {
    Response::Refused { reason }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_posts_is_found_until_it_withdraws() {
    let fair = fair(BrokerLimits::default()).await;
    let (first, second) = (ask(2), ask(1));
    for (who, ask) in [(2, &first), (1, &second)] {
        let expires = ask.ask.prices.prices.expires;
        assert_eq!(fair.post(who, ask.clone()).await, Response::Posted { expires });
    }
    assert_eq!(fair.shown().await, [second, first.clone()], "the cheaper one is first");
    assert_eq!(fair.ask(1, &Request::Withdraw).await, Response::Withdrawn);
    assert_eq!(fair.shown().await, [first]);
    let Response::Status { asks, posted, queries, refused, .. } =
        fair.ask(3, &Request::Status).await
    else {
        panic!("no status");
    };
    assert_eq!((asks, posted, queries, refused), (1, 2, 2, 0));
    fair.end().await;
}

/// Whose ask is forged, void, another's, or older than what it replaces, is told why, and nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn villains_with_bad_asks() {
    let fair = fair(BrokerLimits::default()).await;
    let now = SystemClock.now();
    let earlier = Timestamp::from_milliseconds(now.milliseconds() - 1000);
    let long_ago = Timestamp::from_milliseconds(now.milliseconds() - 3_600_000);
    let good = signed(1, list(1, now));
    fair.post(1, good.clone()).await;

    // A replay of an older ask after a newer one.
    let answer = fair.post(1, signed(1, list(1, earlier))).await;
    assert_eq!(answer, refused(Reason::Stale { issued: now }));
    // Another of the same moment.
    let dearer = signed(1, PriceList { store: Price::from_parts(9), ..list(1, now) });
    assert_eq!(fair.post(1, dearer).await, refused(Reason::Stale { issued: now }));
    // The ask of another, caught on its way, and posted by who caught it.
    assert_eq!(fair.post(2, good.clone()).await, refused(Reason::NotYours));
    // One's own price list, in an ask that another signed.
    let forged = SignedAsk { signature: ask(3).signature, ..ask(2) };
    assert_eq!(fair.post(2, forged).await, refused(Reason::Ask { why: AskError::Signature }));
    // The price list of another, to have buyers sent to one's own sockets for it.
    let mut lure = ask(2).ask;
    lure.prices = good.ask.prices;
    assert_eq!(fair.post(2, lure.sign(&key(2))).await, refused(Reason::NotYours));
    // A price list that was changed after its provider signed it.
    let mut changed = ask(2).ask;
    changed.prices.prices.capacity = Bytes::MAX;
    let why = AskError::Prices { why: PriceListError::Signature };
    assert_eq!(fair.post(2, changed.sign(&key(2))).await, refused(Reason::Ask { why }));
    // Expired.
    let answer = fair.post(2, signed(2, list(2, long_ago))).await;
    let Response::Refused { reason: Reason::Ask { why: AskError::Prices { why } } } = answer else {
        panic!("{answer:?}");
    };
    assert!(matches!(why, PriceListError::Expired { .. }), "{why}");
    // Good for longer than a day.
    let mut long = list(2, now);
    long.expires = now.after(Duration::from_seconds(86_401));
    let answer = fair.post(2, signed(2, long)).await;
    assert!(matches!(answer, Response::Refused { reason: Reason::Ask { .. } }), "{answer:?}");

    assert_eq!(fair.shown().await, [good]);
    assert_eq!(fair.service.look().counts().refused, 8);
    fair.end().await;
}

/// What is no request is refused; what is longer than any is not read, and ends the connection.
#[tokio::test(flavor = "multi_thread")]
async fn villains_with_bad_frames() {
    let fair = fair(BrokerLimits::default()).await;
    let (_endpoint, connection) = fair.dial(1).await;
    let newer = [&[2][..], &Request::Status.to_bytes()].concat();
    for (frame, reason) in [
        (&[][..], Reason::Malformed),
        (&[1], Reason::Malformed),
        (&[1, 77], Reason::Malformed),
        (&[1, 4, 0], Reason::Malformed),
        (&newer, Reason::Version { spoken: 1 }),
        (&vec![1; Request::FRAME_MAX], Reason::Malformed),
    ] {
        assert_eq!(send(&connection, frame).await, Ok(refused(reason)), "{frame:?}");
    }
    // A whole megabyte is announced, and begun.
    let (_other, oversize) = fair.dial(2).await;
    assert!(send(&oversize, &vec![1; 1 << 20]).await.is_err());
    let reason = CloseReason::Misbehaved;
    assert_eq!(oversize.closed().await, TransportError::Closed { peer: key(100).entity(), reason });
    // Others are served on.
    assert!(matches!(
        send(&connection, &Request::Status.to_frame()).await,
        Ok(Response::Status { .. })
    ));
    fair.end().await;
}

/// A flood of one key is told to come later; who asks calmly beside it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_villain_that_floods() {
    let fair = fair(BrokerLimits::default()).await;
    let (_endpoint, flood) = fair.dial(1).await;
    let (mut answered, mut busy) = (0, 0);
    for _ in 0..300 {
        match send(&flood, &Request::Status.to_frame()).await {
            Ok(Response::Status { .. }) => answered += 1,
            Ok(Response::Refused { reason: Reason::Busy }) => busy += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(answered >= 40, "{answered}");
    assert!(busy > answered, "{busy} of 300 were refused");
    assert!(matches!(fair.post(2, ask(2)).await, Response::Posted { .. }));
    assert_eq!(fair.shown().await.len(), 1);
    // One that opens connection after connection has its share of them.
    let mut open = vec![];
    let endpoint = Endpoint::bind(&key(3), None, &[]).await.unwrap();
    for _ in 0..fondaco_broker::CONNECTIONS_PER_KEY_MAX + 1 {
        open.push(endpoint.connect(&fair.address, Protocol::Offers).await.unwrap());
    }
    let last = open.pop().unwrap();
    let reason = CloseReason::Busy;
    assert_eq!(last.closed().await, TransportError::Closed { peer: key(100).entity(), reason });
    assert!(send(&open[0], &Request::Status.to_frame()).await.is_ok());
    fair.end().await;
}

/// A full broker refuses newcomers, with its number, and keeps those whom it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_broker_keeps_whom_it_has() {
    let fair = fair(BrokerLimits { asks_max: 3, asks_per_network_max: 3 }).await;
    for who in 1..=3 {
        assert!(matches!(fair.post(who, ask(who)).await, Response::Posted { .. }));
    }
    assert_eq!(fair.post(4, ask(4)).await, refused(Reason::Full { asks_max: 3 }));
    assert!(matches!(fair.post(2, ask(2)).await, Response::Posted { .. }), "a renewal");
    fair.ask(1, &Request::Withdraw).await;
    assert!(matches!(fair.post(4, ask(4)).await, Response::Posted { .. }));
    assert_eq!(fair.shown().await.len(), 3);
    fair.end().await;
}

/// Who is connected when the broker stops is told that it leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_stops_in_good_order() {
    let fair = fair(BrokerLimits::default()).await;
    let (_endpoint, connection) = fair.dial(1).await;
    assert!(send(&connection, &Request::Status.to_frame()).await.is_ok());
    let peer = key(100).entity();
    fair.end().await;
    let reason = CloseReason::Leaving;
    assert_eq!(connection.closed().await, TransportError::Closed { peer, reason });
}
