//! The network in memory keeps the promises of the one on sockets, in no time.

use fondaco_codec::Text;
use fondaco_crypto::SecretKey;
use fondaco_ports::Address;
use fondaco_transport::{
    Climate, CloseReason, Connection, Endpoint, Fabric, Protocol, TransportError,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Word = Text<16>;

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32])
}

struct Pair {
    fabric: Fabric,
    server: Endpoint,
    client: Endpoint,
}

fn pair() -> Pair {
    let fabric = Fabric::new(7);
    let server = Endpoint::bind_on(&fabric, &key(1), None, &[Protocol::Storage]).unwrap();
    let client = Endpoint::bind_on(&fabric, &key(2), None, &[]).unwrap();
    Pair { fabric, server, client }
}

impl Pair {
    async fn connected(&self) -> (Connection, Connection) {
        let address = self.server.address();
        let (near, far) =
            tokio::join!(self.client.connect(&address, Protocol::Storage), self.server.accept());
        (near.unwrap(), far.unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn frames_go_both_ways() {
    let pair = pair();
    let (near, far) = pair.connected().await;
    assert_eq!((near.peer(), far.peer()), (key(1).entity(), key(2).entity()));
    let serving = tokio::spawn(async move {
        let mut stream = far.accept().await.unwrap().unwrap();
        assert_eq!(stream.recv::<Word>(64).await, Ok(Some(word("ping"))));
        assert_eq!(stream.recv::<Word>(64).await, Ok(None));
        stream.send(&word("pong")).await.unwrap();
        stream.finish();
        stream.delivered().await.unwrap();
        assert_eq!(far.accept().await.unwrap().map(drop), None, "closed in order");
    });
    let mut stream = near.open().await.unwrap();
    stream.send(&word("ping")).await.unwrap();
    stream.finish();
    assert_eq!(stream.recv::<Word>(64).await, Ok(Some(word("pong"))));
    assert_eq!(stream.recv::<Word>(64).await, Ok(None));
    drop((near, stream));
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_dialled() {
    let Pair { fabric, server, client } = pair();
    let protocol = Protocol::Storage;
    let sockets = server.address().sockets().to_vec();
    let nowhere = Address::new(server.entity(), ["10.9.9.9:1".parse().unwrap()]);
    let began = Instant::now();
    let refused = client.connect(&nowhere, protocol).await.unwrap_err();
    assert_eq!(refused, TransportError::Unreachable { address: nowhere });
    assert_eq!(began.elapsed(), fondaco_transport::CONNECT_TIMEOUT);
    let other = Address::new(key(3).entity(), sockets.clone());
    let refused = client.connect(&other, protocol).await.unwrap_err();
    assert_eq!(refused, TransportError::WrongKey { address: other });
    let refused = client.connect(&server.address(), Protocol::Lcp2).await.unwrap_err();
    assert!(matches!(refused, TransportError::ProtocolRefused { .. }));
    let taken = Endpoint::bind_on(&fabric, &key(4), Some(sockets[0]), &[]).unwrap_err();
    assert_eq!(taken, TransportError::PortInUse { socket: sockets[0] });
    server.close().await;
    assert!(Endpoint::bind_on(&fabric, &key(4), Some(sockets[0]), &[]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn how_connections_end() {
    let pair = pair();
    let (peer, far_peer) = (pair.server.entity(), pair.client.entity());
    let (near, far) = pair.connected().await;
    far.close(CloseReason::Busy);
    assert_eq!(near.closed().await, TransportError::Closed { peer, reason: CloseReason::Busy });
    assert_eq!(far.closed().await, TransportError::ClosedHere { peer: far_peer });

    let (near, far) = pair.connected().await;
    pair.fabric.cut(peer);
    assert!(matches!(near.closed().await, TransportError::Lost { .. }));
    assert!(matches!(far.accept().await, Err(TransportError::Lost { .. })));

    let (near, _far) = pair.connected().await;
    let began = Instant::now();
    pair.server.kill();
    assert!(matches!(near.closed().await, TransportError::Lost { .. }));
    assert_eq!(began.elapsed(), Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn who_is_away_for_a_moment_goes_on_and_for_long_is_lost() {
    let pair = pair();
    let entity = pair.server.entity();
    let (near, far) = pair.connected().await;
    for (seconds, comes) in [(10, true), (20, false)] {
        pair.fabric.set_away(entity, true);
        let Ok(mut stream) = near.open().await else { panic!("not lost yet") };
        stream.send(&word("late")).await.unwrap();
        sleep(Duration::from_secs(seconds)).await;
        pair.fabric.set_away(entity, false);
        let heard = match far.accept().await {
            Ok(Some(mut stream)) => stream.recv::<Word>(64).await.ok().flatten(),
            Ok(None) | Err(_) => None,
        };
        assert_eq!(heard, comes.then(|| word("late")), "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_sender_runs_into_the_time_out() {
    let pair = pair();
    let (near, far) = pair.connected().await;
    pair.fabric.set_rate(pair.server.entity(), Some(1));
    let mut asking = near.open().await.unwrap();
    asking.send(&word("ping")).await.unwrap();
    let mut stream = far.accept().await.unwrap().unwrap();
    stream.send_bytes(&[0; 100]).await.unwrap();
    let late = asking.recv_bytes(100).await.unwrap_err();
    assert!(matches!(late, TransportError::TimedOut { operation: "receive", .. }), "{late}");
}

/// Whatever breaks on the way, what comes is a front of what was sent.
#[tokio::test(start_paused = true)]
async fn cut_frames_come_in_part_and_never_changed() {
    let pair = pair();
    pair.fabric.set_climate(Climate { cuts_per_million: 200_000, ..Climate::FAIR });
    let (mut whole, mut cut) = (0, 0);
    for _ in 0..100 {
        let (near, far) = pair.connected().await;
        let mut stream = near.open().await.unwrap();
        let _ = stream.send_bytes(b"0123456789").await;
        let heard = match far.accept().await {
            Ok(Some(mut stream)) => stream.recv_bytes(10).await,
            Ok(None) => panic!("nobody closed it"),
            Err(error) => Err(error),
        };
        match heard {
            Ok(body) => {
                assert_eq!(body.as_deref(), Some(&b"0123456789"[..]));
                whole += 1;
            }
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                cut += 1;
            }
        }
    }
    assert!(whole > 60 && cut > 5, "{whole} {cut}");
}
