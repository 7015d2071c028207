//! Two endpoints over real sockets of the loopback interface.

use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_ports::Address;
use fondaco_transport::{
    CloseReason, Connection, Endpoint, HANDSHAKES_PER_NETWORK_MAX, Protocol, STREAMS_MAX, Stream,
    TransportError,
};
use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

type Word = Text<64>;

const FRAME_MAX: usize = 128;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

fn local(port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn word(text: &str) -> Word {
    Word::new(text).unwrap()
}

async fn server(seed: u8) -> Endpoint {
    Endpoint::bind(&key(seed), local(0), &Protocol::ALL).await.unwrap()
}

async fn client(seed: u8) -> Endpoint {
    Endpoint::bind(&key(seed), None, &[]).await.unwrap()
}

/// Answers every frame of every stream with the same frame.
async fn echo(endpoint: Endpoint) {
    while let Some(connection) = endpoint.accept().await {
        tokio::spawn(async move {
            while let Ok(Some(mut stream)) = connection.accept().await {
                tokio::spawn(async move {
                    while let Ok(Some(frame)) = stream.recv_bytes(1 << 20).await {
                        stream.send_bytes(&frame).await.unwrap();
                    }
                });
            }
        });
    }
}

/// Both ends of one open connection, and the endpoints that keep it.
async fn pair() -> (Endpoint, Endpoint, Connection, Connection) {
    let (server, client) = (server(1).await, client(2).await);
    let address = server.address();
    let (near, far) = tokio::join!(client.connect(&address, Protocol::Lcp2), server.accept());
    (server, client, near.unwrap(), far.unwrap())
}

/// Both ends of one stream; the near end has sent `first`.
async fn stream_pair(near: &Connection, far: &Connection, first: &Word) -> (Stream, Stream) {
    let mut out = near.open().await.unwrap();
    out.send(first).await.unwrap();
    let into = far.accept().await.unwrap().unwrap();
    (out, into)
}

#[tokio::test]
async fn a_message_goes_there_and_back() {
    let (_server, _client, near, far) = pair().await;
    assert_eq!((near.peer(), far.peer()), (key(1).entity(), key(2).entity()));
    assert_eq!((near.protocol(), far.protocol()), (Protocol::Lcp2, Protocol::Lcp2));
    let (mut out, mut into) = stream_pair(&near, &far, &word("ping")).await;
    assert_eq!(into.recv::<Word>(FRAME_MAX).await, Ok(Some(word("ping"))));
    into.send(&word("pong")).await.unwrap();
    into.finish();
    assert_eq!(out.recv::<Word>(FRAME_MAX).await, Ok(Some(word("pong"))));
    assert_eq!(out.recv::<Word>(FRAME_MAX).await, Ok(None), "the clean end");
    assert_eq!(into.delivered().await, Ok(()));
    out.send_bytes(b"").await.unwrap();
    assert_eq!(into.recv_bytes(0).await, Ok(Some(vec![])), "an empty frame is a frame");
}

#[tokio::test]
async fn a_large_frame_arrives_whole() {
    let (server, client) = (server(1).await, client(2).await);
    let address = server.address();
    let (near, far) = tokio::join!(client.connect(&address, Protocol::Storage), server.accept());
    let (near, far) = (near.unwrap(), far.unwrap());
    let body: Vec<u8> = (0..40_000_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    let mut out = near.open().await.unwrap();
    let sending = async { out.send_bytes(&body).await };
    let receiving = async {
        let mut into = far.accept().await.unwrap().unwrap();
        into.recv_bytes(body.len()).await
    };
    let started = Instant::now();
    let (sent, received) = tokio::join!(sending, receiving);
    let took = started.elapsed();
    assert_eq!(sent, Ok(()));
    assert!(received.unwrap().unwrap() == body);
    // Ten times what it takes; a wrong window would show.
    assert!(took < Duration::from_secs(4), "40 MB took {took:?}");
}

/// The receiver takes its time: what is unread waits with the sender, and the connection lives.
///
/// With a window of 8 MiB for each stream this ended the connection: too many pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_does_not_read_loses_nothing() {
    let (server, client) = (server(1).await, client(2).await);
    let address = server.address();
    let (near, far) = tokio::join!(client.connect(&address, Protocol::Storage), server.accept());
    let (near, far) = (near.unwrap(), far.unwrap());
    let body = vec![7; 16 << 20];
    let mut out = near.open().await.unwrap();
    let sending = tokio::spawn(async move {
        let sent = out.send_bytes(&body).await;
        (sent, body, out)
    });
    let mut into = far.accept().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!sending.is_finished(), "it waits for the receiver");
    let received = into.recv_bytes(16 << 20).await.unwrap().unwrap();
    let (sent, body, _out) = sending.await.unwrap();
    assert_eq!(sent, Ok(()));
    assert!(received == body);
}

/// An endpoint goes on to dial an old socket of an entity beside a new one, and a stranger there ends the attempt, now and
/// then; from one beside it that does not happen.
#[tokio::test]
async fn who_moved_is_dialled_from_beside_and_not_where_a_stranger_is() {
    let (stranger, moved, client) = (server(9).await, server(1).await, client(2).await);
    tokio::spawn(echo(stranger.clone()));
    tokio::spawn(echo(moved.clone()));
    let old = Address::new(key(1).entity(), stranger.address().sockets().to_vec());
    for _ in 0..20 {
        let error = client.connect(&old, Protocol::Storage).await.unwrap_err();
        assert_eq!(error, TransportError::WrongKey { address: old.clone() });
        let beside = client.beside(&key(2)).await.unwrap();
        for _ in 0..2 {
            beside.connect(&moved.address(), Protocol::Storage).await.unwrap();
        }
    }
    let beside = client.beside(&key(2)).await.unwrap();
    client.close().await;
    let error = beside.connect(&moved.address(), Protocol::Storage).await.unwrap_err();
    assert_eq!(error, TransportError::EndpointClosed);
}

#[tokio::test]
async fn another_key_at_the_address_is_found_out_at_once() {
    let (server, client) = (server(1).await, client(2).await);
    let wrong = Address::new(key(9).entity(), server.address().sockets().to_vec());
    let started = Instant::now();
    let error = client.connect(&wrong, Protocol::Lcp2).await.unwrap_err();
    assert_eq!(error, TransportError::WrongKey { address: wrong });
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(!error.is_transient());
}

#[tokio::test]
async fn nobody_at_the_address_is_told_within_six_seconds() {
    // A socket that swallows everything: nothing tells the dialler that no endpoint is there.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = Address::new(key(9).entity(), [silent.local_addr().unwrap()]);
    let started = Instant::now();
    let error = client(2).await.connect(&dead, Protocol::Lcp2).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(6));
    assert_eq!(error, TransportError::Unreachable { address: dead });
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_dead_socket_beside_a_live_one_does_no_harm() {
    let (server, client) = (server(1).await, client(2).await);
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let live = server.address().sockets().to_vec();
    let both = [vec![silent.local_addr().unwrap()], live].concat();
    let address = Address::new(server.entity(), both);
    let started = Instant::now();
    client.connect(&address, Protocol::Lcp2).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn addresses_that_cannot_be_dialled_are_refused_at_once() {
    let client = client(2).await;
    let no_socket = Address::new(key(1).entity(), []);
    let itself = Address::new(key(2).entity(), [local(1).unwrap()]);
    // Of the 32-byte strings half are no point of the curve; this is one.
    let no_key = EntityId::from_bytes([2; 32]);
    let dial = |address: Address| {
        let client = client.clone();
        async move { client.connect(&address, Protocol::Lcp2).await.unwrap_err() }
    };
    assert_eq!(dial(no_socket).await, TransportError::NoSocket { entity: key(1).entity() });
    assert_eq!(dial(itself).await, TransportError::SelfDial { entity: key(2).entity() });
    let bad = dial(Address::new(no_key, [local(1).unwrap()])).await;
    assert_eq!(bad, TransportError::BadKey { entity: no_key });
}

#[tokio::test]
async fn an_unserved_protocol_is_refused() {
    let server = Endpoint::bind(&key(1), local(0), &[Protocol::Lcp2]).await.unwrap();
    let client = client(2).await;
    let error = client.connect(&server.address(), Protocol::Storage).await.unwrap_err();
    let (peer, protocol) = (server.entity(), Protocol::Storage);
    assert_eq!(error, TransportError::ProtocolRefused { peer, protocol });
}

#[tokio::test]
async fn one_port_takes_one_endpoint() {
    let first = server(1).await;
    let socket = first.address().sockets()[0];
    let error = Endpoint::bind(&key(2), Some(socket), &Protocol::ALL).await.unwrap_err();
    assert_eq!(error, TransportError::PortInUse { socket });
    assert_eq!(error.to_string(), format!("{socket} is in use"));
    assert!(error.hint().unwrap().contains("another port"));

    // Once it is closed and dropped, the port is free.
    first.close().await;
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    Endpoint::bind(&key(2), Some(socket), &Protocol::ALL).await.unwrap();
}

#[tokio::test]
async fn a_foreign_interface_is_its_own_error() {
    let socket = "192.0.2.1:4433".parse().unwrap();
    let error = Endpoint::bind(&key(1), Some(socket), &[]).await.unwrap_err();
    assert!(matches!(error, TransportError::Bind { .. }), "{error}");
    assert!(error.to_string().starts_with("cannot listen on 192.0.2.1:4433: "), "{error}");
}

#[tokio::test]
async fn an_endpoint_on_every_interface_names_loopback_and_can_be_dialled() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        if std::net::UdpSocket::bind(listen).is_err() {
            continue; // a machine without IPv6
        }
        let everywhere = Some(listen.parse().unwrap());
        let server = Endpoint::bind(&key(1), everywhere, &Protocol::ALL).await.unwrap();
        let address = server.address();
        assert!(address.sockets().iter().any(|socket| socket.ip().is_loopback()), "{address}");
        // Most who dial have IPv4 only.
        assert!(address.sockets().iter().any(SocketAddr::is_ipv4), "{listen}: {address}");
        assert!(address.sockets().iter().all(|socket| !socket.ip().is_unspecified()), "{address}");
        assert!(address.sockets().iter().all(|socket| socket.port() != 0), "{address}");
        client(2).await.connect(&address, Protocol::Lcp2).await.unwrap();
    }
}

#[tokio::test]
async fn too_long_a_frame_is_refused_by_its_length() {
    let (_server, _client, near, far) = pair().await;
    let (mut out, mut into) = stream_pair(&near, &far, &word("first")).await;
    into.recv::<Word>(FRAME_MAX).await.unwrap();
    out.send_bytes(&[0; FRAME_MAX + 1]).await.unwrap();
    let error = into.recv_bytes(FRAME_MAX).await.unwrap_err();
    let (length, length_max) = (FRAME_MAX + 1, FRAME_MAX);
    assert_eq!(error, TransportError::FrameTooLong { peer: far.peer(), length, length_max });
    // The receiver gives the stream up, and the sender learns of it.
    into.stop(CloseReason::Misbehaved);
    let told = out.recv_bytes(FRAME_MAX).await.unwrap_err();
    let reason = CloseReason::Misbehaved;
    assert_eq!(told, TransportError::StreamGivenUp { peer: near.peer(), reason });
}

#[tokio::test]
async fn garbage_in_a_frame_is_an_error_of_its_own() {
    let (_server, _client, near, far) = pair().await;
    let (mut out, mut into) = stream_pair(&near, &far, &word("first")).await;
    into.recv::<Word>(FRAME_MAX).await.unwrap();
    for garbage in [&[][..], &[9], &[255; 20], &[1, 0, 0, 0, 0xff], &[0, 0, 0, 0, 0]] {
        out.send_bytes(garbage).await.unwrap();
        let error = into.recv::<Word>(FRAME_MAX).await.unwrap_err();
        assert!(matches!(error, TransportError::Decode { .. }), "{garbage:?}: {error}");
    }
    out.send(&word("still in step")).await.unwrap();
    assert_eq!(into.recv(FRAME_MAX).await, Ok(Some(word("still in step"))));
}

/// A peer below the frames: QUIC, with bytes of its own choosing.
async fn raw(seed: u8, to: &Address, bytes: &[u8]) -> (iroh::Endpoint, iroh::endpoint::Connection) {
    let quic = iroh::Endpoint::builder(iroh::endpoint::presets::Minimal)
        .secret_key(iroh::SecretKey::from_bytes(&[seed; 32]))
        .bind()
        .await
        .unwrap();
    let id = iroh::PublicKey::from_bytes(to.entity().as_bytes()).unwrap();
    let target = to
        .sockets()
        .iter()
        .fold(iroh::EndpointAddr::new(id), |target, socket| target.with_ip_addr(*socket));
    let connection = quic.connect(target, Protocol::Lcp2.alpn()).await.unwrap();
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    if bytes.is_empty() {
        send.finish().unwrap();
    } else {
        // Neither finished nor stopped: the stream hangs in the middle of a frame.
        std::mem::forget((send, recv));
    }
    (quic, connection)
}

#[tokio::test]
async fn a_peer_that_vanishes_inside_a_frame_is_noticed() {
    let server = server(1).await;
    let address = server.address();
    let half_a_frame = [&[100, 0, 0, 0][..], &[7; 10]].concat();

    // It says nothing more: the time-out of the operation ends the wait.
    let (_quic, connection) = raw(2, &address, &half_a_frame).await;
    let far = server.accept().await.unwrap();
    let mut stream = far.accept().await.unwrap().unwrap();
    let timeout = Duration::from_millis(200);
    stream.set_timeout(timeout);
    let error = stream.recv_bytes(FRAME_MAX).await.unwrap_err();
    let operation = "receive";
    assert_eq!(error, TransportError::TimedOut { peer: far.peer(), operation, timeout });

    // It closes the connection.
    connection.close(0_u32.into(), b"");
    let error = stream.recv_bytes(FRAME_MAX).await.unwrap_err();
    assert_eq!(error, TransportError::Closed { peer: far.peer(), reason: CloseReason::Done });
    assert!(far.accept().await.unwrap().is_none());
}

#[tokio::test]
async fn a_frame_that_is_cut_says_how_much_came() {
    let server = server(1).await;
    let address = server.address();
    for (sent, wanted) in [(&[100, 0, 0, 0, 7, 7][..], 104), (&[100, 0][..], 4)] {
        let quic = raw(2, &address, b"").await;
        let far = server.accept().await.unwrap();
        let mut empty = far.accept().await.unwrap().unwrap();
        assert_eq!(empty.recv_bytes(FRAME_MAX).await, Ok(None));
        let (mut send, _recv) = quic.1.open_bi().await.unwrap();
        send.write_all(sent).await.unwrap();
        send.finish().unwrap();
        let mut stream = far.accept().await.unwrap().unwrap();
        let error = stream.recv_bytes(FRAME_MAX).await.unwrap_err();
        let got = sent.len();
        assert_eq!(error, TransportError::FrameCut { peer: far.peer(), got, wanted });
    }
}

/// A length of nearly 4 GiB, and of 64 MiB that never come: neither reserves anything.
#[tokio::test]
async fn an_announced_length_reserves_nothing() {
    let server = server(1).await;
    let address = server.address();
    let _quic = raw(2, &address, &[0xff, 0xff, 0xff, 0xff, 0]).await;
    let far = server.accept().await.unwrap();
    let mut stream = far.accept().await.unwrap().unwrap();
    let error = stream.recv_bytes(usize::MAX).await.unwrap_err();
    assert!(
        matches!(error, TransportError::FrameTooLong { length: 0xffff_ffff, .. }),
        "the greatest of all frames bounds even a careless receiver: {error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_streams_at_once() {
    let (server, client) = (server(1).await, client(2).await);
    let address = server.address();
    tokio::spawn(echo(server));
    let connection = client.connect(&address, Protocol::Storage).await.unwrap();
    let mut streams = JoinSet::new();
    for number in 0..200_u32 {
        let connection = connection.clone();
        streams.spawn(async move {
            let mut stream = connection.open().await?;
            let body = number.to_le_bytes().repeat(number as usize * 10);
            for _ in 0..3 {
                stream.send_bytes(&body).await?;
                assert_eq!(stream.recv_bytes(1 << 20).await?, Some(body.clone()));
            }
            stream.finish();
            assert_eq!(stream.recv_bytes(0).await?, None);
            Ok::<_, TransportError>(())
        });
    }
    while let Some(ended) = streams.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test]
async fn one_stream_too_many_waits_for_another_to_end() {
    let (_server, _client, near, far) = pair().await;
    let mut open = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut stream = near.open().await.unwrap();
        stream.send_bytes(b"x").await.unwrap();
        open.push(stream);
    }
    let more = near.open();
    tokio::pin!(more);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut more).await.is_err());
    // Room is given back in batches, so that not every stream costs a message.
    for mut stream in open.drain(..128) {
        stream.finish();
        let mut other = far.accept().await.unwrap().unwrap();
        assert_eq!(other.recv_bytes(1).await, Ok(Some(b"x".to_vec())));
        assert_eq!(other.recv_bytes(1).await, Ok(None));
    }
    assert!(tokio::time::timeout(Duration::from_secs(5), more).await.unwrap().is_ok());
}

/// Datagrams that begin no handshake, or begin one and never go on, hold up nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_handshakes_do_not_block_others() {
    let server = server(1).await;
    let address = server.address();
    let socket = address.sockets()[0];
    tokio::spawn(echo(server));
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for byte in 0..=255_u8 {
        noise.send_to(&[byte; 1200], socket).unwrap();
    }
    let mut diallers = JoinSet::new();
    // These give up half way: their futures are dropped soon after the first datagram left.
    for seed in 100..160 {
        let address = address.clone();
        diallers.spawn(async move {
            let client = client(seed).await;
            let dial = client.connect(&address, Protocol::Lcp2);
            let _ = tokio::time::timeout(Duration::from_micros(300), dial).await;
        });
    }
    let started = Instant::now();
    let honest = client(2).await;
    let connection = honest.connect(&address, Protocol::Lcp2).await.unwrap();
    let mut stream = connection.open().await.unwrap();
    stream.send(&word("here")).await.unwrap();
    assert_eq!(stream.recv(FRAME_MAX).await, Ok(Some(word("here"))));
    assert!(started.elapsed() < Duration::from_secs(4));
    while diallers.join_next().await.is_some() {}
}

/// Who shares a machine shares its addresses: they take no share of the handshakes, though nobody accepts yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_machine_dials_itself_more_often_than_a_stranger_may() {
    let server = server(1).await;
    let address = server.address();
    let mut diallers = JoinSet::new();
    for seed in 100..100 + 3 * u8::try_from(HANDSHAKES_PER_NETWORK_MAX).unwrap() {
        let address = address.clone();
        diallers.spawn(async move {
            let client = client(seed).await;
            let connection = client.connect(&address, Protocol::Lcp2).await;
            (client, connection)
        });
    }
    for (_client, connection) in diallers.join_all().await {
        assert!(connection.is_ok(), "{connection:?}");
    }
}

#[tokio::test]
async fn closing_tells_the_peer_and_ends_the_accepting() {
    let (server, client, near, far) = pair().await;
    far.close(CloseReason::Leaving);
    assert!(near.accept().await.unwrap().is_none());
    assert!(near.is_closed() && far.is_closed());
    let error = near.open().await.unwrap_err();
    let (peer, reason) = (near.peer(), CloseReason::Leaving);
    assert_eq!(error, TransportError::Closed { peer, reason });
    server.close().await;
    assert!(server.accept().await.is_none());
    let address = server.address();
    client.close().await;
    let error = client.connect(&address, Protocol::Lcp2).await.unwrap_err();
    assert_eq!(error, TransportError::EndpointClosed);
}
