//! TLS sessions of a running issuer: those of a key that was changed, of another policy and of another issuer are worth
//! nothing, by real handshakes.

mod dialects;
mod parts;

use dialects::{Town, balance, cents, envelope, fault, key, strange::Turncoat};
use fondaco_codec::Text;
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_lcp::{Refusal, Request, RequestId, Response, Rotation};
use fondaco_lcp_wire::{
    ClientError, ClientTls, SERVICE_PATH, SoapClient,
    soap::{Form, Reply},
};
use fondaco_units::{Amount, Duration};
use parts::{failure, world};
use std::{net::SocketAddr, time::Duration as Span};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

const ALICE: u8 = 2;
const BOB: u8 = 3;
const DORA: u8 = 5;
const MALLORY: u8 = 66;
/// Nothing here takes longer than this.
const PATIENCE: Span = Span::from_secs(20);

fn bob() -> EntityId {
    key(BOB).entity()
}

async fn pay(client: &mut SoapClient, counter: u32, to: EntityId) -> Result<Reply, ClientError> {
    client.transfer(counter, to, Amount::new(100), Text::cut("order 7")).await
}

const fn paid() -> Reply {
    Reply::Paid { fee: Amount::ZERO }
}

/// Dials with sessions of before, and gets nothing: neither a connection that is answered nor a payment. Says whether
/// TLS already refused.
async fn gets_nothing(tls: &ClientTls, at: SocketAddr, counter: u32) -> bool {
    let mut client = match SoapClient::connect(tls, at, cents()).await {
        Ok(client) => client,
        Err(ClientError::Connection { .. }) => return true,
        Err(error) => panic!("{error}"),
    };
    match pay(&mut client, counter, bob()).await {
        Ok(Reply::Fault { code, counter_used: false, .. }) => {
            assert_eq!(code, "KeyRotated");
            false
        }
        // Under TLS 1.3 a client learns that it is refused when it reads.
        Err(ClientError::Connection { source }) => {
            let said = source.to_string();
            assert!(said.contains("CertificateRevoked"), "{said}");
            true
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_changed_gets_nothing_by_any_session() {
    let mut town = Town::new(&[]).await;
    let (alice, dora) = (key(ALICE), key(DORA));
    for holder in [alice.entity(), bob()] {
        town.mint(holder, "20").await;
    }
    // Three clients with sessions of Alice's, of which one is used, one is kept for now and one for after a restart;
    // in both of the ways in which a key can be shown.
    let mut clients = Vec::new();
    for make in [ClientTls::new, ClientTls::with_certificates] {
        for _ in 0..3 {
            clients.push(make(&alice, town.issuer()));
        }
    }
    let mut counter = 1;
    for tls in &clients {
        for resumed in [false, true] {
            counter += 1;
            let mut client = town.soap(tls).await;
            assert_eq!(pay(&mut client, counter, bob()).await.unwrap(), paid());
            assert_eq!(client.is_resumed(), resumed);
        }
    }
    let by_alice = 2000 - 100 * (u64::from(counter) - 1);
    let as_bob = town.tls(&key(BOB));
    assert!(pay(&mut town.soap(&as_bob).await, 2, alice.entity()).await.is_ok());
    let mut open = town.soap(&clients[0]).await;
    assert!(open.is_resumed());
    assert!(matches!(open.query(counter + 1, Duration::ZERO).await, Ok(Reply::Told { .. })));
    counter += 2;
    let waiting = tokio::spawn(async move {
        let told = open.query(counter, Duration::from_seconds(60)).await;
        (told, open)
    });

    let currency = CurrencyId::issued_by(town.issuer());
    let rotation = Rotation { currency, old: alice.entity(), new: dora.entity() };
    let (to, by_old, by_new) = (dora.entity(), rotation.sign(&alice), rotation.sign(&dora));
    let rotate = Request::Rotate { id: RequestId::new(1), to, by_old, by_new };
    let by_lcp2 = town.lcp2(&alice).await;
    assert_eq!(by_lcp2.call(&rotate).await.unwrap(), Response::Rotated { to });

    // At once, by connections, by sessions, and by the key itself, which the last of these is.
    let (told, mut open) = timeout(PATIENCE, waiting).await.expect("it still waits").unwrap();
    assert!(!matches!(told, Ok(Reply::Told { .. })), "{told:?}");
    let refused = pay(&mut open, counter + 1, bob()).await;
    assert!(
        matches!(refused, Err(ClientError::Connection { .. }))
            || matches!(&refused, Ok(Reply::Fault { code, .. }) if code == "KeyRotated"),
        "{refused:?}"
    );
    let mut refused_by_tls = 0;
    for place in [0, 0, 0, 1, 3, 3, 3, 4] {
        refused_by_tls += u32::from(gets_nothing(&clients[place], town.soap, counter + 2).await);
    }
    assert!(refused_by_tls > 0, "its sessions are kept");
    let refusal = Response::Refused { refusal: Refusal::Rotated { to } };
    assert_eq!(by_lcp2.call(&Request::Balance).await.unwrap(), refusal);
    // The canary: a session of somebody else's is as good as before.
    let mut as_bob = town.soap(&as_bob).await;
    assert!(as_bob.is_resumed());
    assert!(pay(&mut as_bob, 3, dora.entity()).await.is_ok());

    // After a kill, and after a stop in order, by sessions that were kept aside.
    for round in 0..2 {
        if round == 0 {
            town.world.kill("issuer").await.unwrap();
        } else {
            town.world.stop("issuer").await;
        }
        town.up().await;
        for place in [2, 2, 5, 5, 0] {
            let by_tls = gets_nothing(&clients[place], town.soap, counter + 3).await;
            assert!(by_tls, "a changed key shakes hands after a restart");
        }
        let by_lcp2 = town.lcp2(&alice).await;
        assert_eq!(by_lcp2.call(&Request::Balance).await.unwrap(), refusal);
    }
    // All of it is Dora's, and moves by her key.
    let has = balance(&town.lcp2(&dora).await).await.0;
    assert_eq!(has, by_alice + 200);
    // Whose counter goes on where Alice's was.
    let mut as_dora = town.soap(&town.tls(&dora)).await;
    assert_eq!(pay(&mut as_dora, counter + 4, bob()).await.unwrap(), paid());
    let has = balance(&town.lcp2(&key(BOB)).await).await.0;
    assert_eq!(has, 4000 - (by_alice + 200) + 100);
    assert_eq!(town.audit().await["supply"], "40.00");
    town.world.end().await;
}

/// Posts Alice's or Mallory's payment of 1.00 on a connection; the fault, or nothing when it was paid.
async fn post(mut stream: TlsStream<TcpStream>, counter: u32) -> Option<String> {
    let body = envelope(counter, bob(), 100, Form::Encoded);
    let head = format!(
        "POST {SERVICE_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    let mut space = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout(PATIENCE, stream.read(&mut space)).await {
        heard.extend_from_slice(&space[..read]);
    }
    let text = String::from_utf8(heard).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    (!body.contains("success")).then(|| fault(body.as_bytes()).0)
}

/// Who has a session of Alice's, made with her raw key, and comes with it under the other policy, or to another issuer,
/// is who it shows there: it shakes hands anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_policy_or_issuer_gets_nothing() {
    let mut town = Town::new(&[]).await;
    let mut other = Town::new(&[]).await;
    for town in [&town, &other] {
        town.mint(key(ALICE).entity(), "10").await;
        town.mint(bob(), "1").await;
    }
    // The canary: where nothing changes, the session is offered and taken up, and is Alice.
    let turncoat = Turncoat::new(&key(ALICE));
    let mut counter = 1;
    for resumed in [false, true, true] {
        counter += 1;
        let (stream, is_offered, is_resumed) = turncoat.dial(town.soap).await.unwrap();
        assert_eq!((is_offered, is_resumed), (resumed, resumed));
        assert_eq!(post(stream, counter).await, None);
    }
    turncoat.turns_to(&key(MALLORY));
    let (stream, is_offered, is_resumed) = turncoat.dial(town.soap).await.unwrap();
    assert_eq!((is_offered, is_resumed), (true, false), "it is offered, and not taken up");
    assert_eq!(post(stream, 5).await.as_deref(), Some("InsufficientFunds"), "it is Mallory");

    // To another issuer, who has an account of Alice's as well.
    let turncoat = Turncoat::new(&key(ALICE));
    let (stream, ..) = turncoat.dial(town.soap).await.unwrap();
    assert_eq!(post(stream, 6).await, None);
    let (stream, is_offered, is_resumed) = turncoat.dial(other.soap).await.unwrap();
    assert_eq!((is_offered, is_resumed), (true, false));
    assert_eq!(post(stream, 2).await, None, "it is Alice, by her key");
    turncoat.turns_to(&key(MALLORY));
    let (stream, is_offered, is_resumed) = turncoat.dial(town.soap).await.unwrap();
    assert_eq!((is_offered, is_resumed), (true, false), "a session of the other issuer's");
    assert_eq!(post(stream, 6).await.as_deref(), Some("InsufficientFunds"));

    for (town, paid) in [(&mut town, 4), (&mut other, 1)] {
        assert_eq!(balance(&town.lcp2(&key(ALICE)).await).await.0, 1000 - 100 * paid);
        assert_eq!(balance(&town.lcp2(&key(BOB)).await).await.0, 100 + 100 * paid);
        assert_eq!(town.audit().await["supply"], "11.00");
    }
    town.world.end().await;
    other.world.end().await;
}
