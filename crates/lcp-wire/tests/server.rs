//! The server over real sockets on loopback, with the real core behind it.

mod accounts;

use accounts::Memory;
use fondaco_codec::Text;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp_wire::{
    ClientError, ClientTls, Identity, Limits, SERVICE_PATH, Server, Settings, SoapClient,
    soap::{REQUEST_BYTES_MAX, Reply},
};
use fondaco_units::{Amount, Duration, Scale};
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration as Span,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// No test waits longer for what it expects.
const PATIENCE: Span = Span::from_secs(20);

const ISSUER: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32])
}

fn id(byte: u8) -> EntityId {
    key(byte).entity()
}

fn cents() -> Scale {
    Scale::new(2).unwrap()
}

fn tls(byte: u8) -> ClientTls {
    ClientTls::new(&key(byte), id(ISSUER))
}

/// An issuer whose transfers cost 1.20, and 0.50 more after a full handshake.
struct World {
    server: Server,
    memory: Arc<Memory>,
}

impl World {
    async fn new() -> Self {
        Self::within(Limits::default()).await
    }

    async fn within(limits: Limits) -> Self {
        let memory = Arc::new(Memory::new(&key(ISSUER), 120, 50));
        memory.mint(id(ALICE), Amount::new(100_000));
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let settings = Settings { http: Some(any), limits, ..Settings::at(any) };
        let identity = Identity::new(&key(ISSUER), &[]);
        let accounts = Arc::<Memory>::clone(&memory);
        let server = Server::start(identity, cents(), accounts, settings).await.unwrap();
        Self { server, memory }
    }

    fn address(&self) -> SocketAddr {
        self.server.soap_address()
    }

    async fn connect(&self, tls: &ClientTls) -> SoapClient {
        SoapClient::connect(tls, self.address(), cents()).await.unwrap()
    }

    fn has(&self, holder: u8) -> u64 {
        self.memory.balance(id(holder)).get()
    }
}

fn order() -> Text<64> {
    Text::cut("order 7")
}

async fn pay(client: &mut SoapClient, counter: u32, units: u64) -> Result<Reply, ClientError> {
    client.transfer(counter, id(BOB), Amount::new(units), order()).await
}

const fn paid(fee: u64) -> Reply {
    Reply::Paid { fee: Amount::new(fee) }
}

fn fault(reply: Reply) -> String {
    match reply {
        Reply::Fault { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn money_moves_once_and_both_learn_of_it() {
    let world = World::new().await;
    for client in [tls(ALICE), ClientTls::with_certificates(&key(ALICE), id(ISSUER))] {
        let before = (world.has(ALICE), world.has(BOB));
        let mut alice = world.connect(&client).await;
        assert_eq!(pay(&mut alice, 0, 10_000).await.unwrap(), paid(170));
        assert_eq!(pay(&mut alice, 0, 10_000).await.unwrap(), paid(170), "the same answer");
        assert_eq!(fault(pay(&mut alice, 0, 1).await.unwrap()), "OtherContent");
        alice.literal();
        assert_eq!(
            pay(&mut alice, 1, 10_000).await.unwrap(),
            paid(120),
            "one handshake, one surcharge"
        );
        assert_eq!(world.has(ALICE), before.0 - 20_000 - 170 - 120);
        assert_eq!(world.has(BOB), before.1 + 20_000);
    }
    let mut bob = world.connect(&tls(BOB)).await;
    for _ in 0..2 {
        let Reply::Told { deposits, fee, balance } = bob.query(0, Duration::ZERO).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(deposits, vec![(Amount::new(10_000), "order 7".to_owned()); 4]);
        assert_eq!((fee.get(), balance.get()), (50, 40_000 - 50));
    }
    let Reply::Told { deposits, fee, .. } = bob.query(1, Duration::ZERO).await.unwrap() else {
        panic!()
    };
    assert_eq!((deposits.len(), fee.get()), (0, 0));
}

#[tokio::test]
async fn a_resumed_connection_is_of_the_same_holder_and_costs_no_surcharge() {
    let world = World::new().await;
    for client in [tls(ALICE), ClientTls::with_certificates(&key(ALICE), id(ISSUER))] {
        let mut first = world.connect(&client).await;
        assert!(!first.is_resumed());
        assert_eq!(pay(&mut first, 0, 100).await.unwrap(), paid(170));
        drop(first);
        for counter in [1, 0, 1] {
            let mut next = world.connect(&client).await;
            assert!(next.is_resumed());
            assert_eq!(pay(&mut next, counter, 100).await.unwrap(), paid(120));
        }
    }
}

#[tokio::test]
async fn a_surcharge_is_not_left_behind_with_the_connection() {
    let world = World::new().await;
    let client = tls(ALICE);
    let mut first = world.connect(&client).await;
    // Reads the tickets, pays nothing: nothing was told.
    assert!(matches!(first.query(0, Duration::ZERO).await, Ok(Reply::Told { .. })));
    drop(first);
    let mut next = world.connect(&client).await;
    assert!(next.is_resumed());
    assert_eq!(pay(&mut next, 1, 100).await.unwrap(), paid(170));
    // A stored answer is not paid for again, and pays for nothing.
    assert_eq!(pay(&mut next, 1, 100).await.unwrap(), paid(170));
    assert_eq!(pay(&mut next, 0, 100).await.unwrap(), paid(120));
}

#[tokio::test]
async fn a_newer_connection_shuts_the_older_one_out() {
    let world = World::new().await;
    let client = tls(ALICE);
    let (mut old, mut new) = (world.connect(&client).await, world.connect(&client).await);
    assert_eq!(pay(&mut new, 0, 100).await.unwrap(), paid(170));
    assert_eq!(fault(pay(&mut old, 1, 100).await.unwrap()), "Fenced");
    assert_eq!(pay(&mut new, 1, 100).await.unwrap(), paid(120));
}

#[tokio::test]
async fn a_parked_query_is_answered_when_something_arrives() {
    let world = World::new().await;
    let mut bob = world.connect(&tls(BOB)).await;
    let waiting = tokio::spawn(async move { bob.query(0, Duration::from_seconds(60)).await });
    let mut alice = world.connect(&tls(ALICE)).await;
    pay(&mut alice, 0, 10_000).await.unwrap();
    let told = timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap();
    assert!(matches!(told, Reply::Told { deposits, .. } if deposits.len() == 1));
}

#[tokio::test]
async fn a_revoked_holder_is_cut_and_cannot_come_back() {
    let world = World::new().await;
    let client = tls(ALICE);
    let mut alice = world.connect(&client).await;
    pay(&mut alice, 0, 100).await.unwrap();
    let mut bob = world.connect(&tls(BOB)).await;
    let parked = {
        let client = client.clone();
        let mut parked = world.connect(&client).await;
        tokio::spawn(async move { parked.query(1, Duration::from_seconds(60)).await })
    };
    until(|| world.memory.parked() == 1).await;
    world.server.revoke(id(ALICE));
    assert!(timeout(PATIENCE, parked).await.unwrap().unwrap().is_err(), "the parked query is cut");
    assert!(pay(&mut alice, 1, 100).await.is_err());
    // The client offers its session; in TLS 1.3 it learns of its refusal when it reads.
    let mut again = SoapClient::connect(&client, world.address(), cents()).await;
    if let Ok(again) = &mut again {
        let refused = pay(again, 1, 100).await;
        let Err(ClientError::Connection { source }) = refused else { panic!("{refused:?}") };
        assert!(source.to_string().contains("CertificateRevoked"), "{source}");
    }
    assert!(bob.query(0, Duration::ZERO).await.is_ok(), "others stay");
}

#[tokio::test]
async fn an_issuer_with_another_key_is_not_spoken_to() {
    let world = World::new().await;
    let client = ClientTls::new(&key(ALICE), id(BOB));
    let refused = SoapClient::connect(&client, world.address(), cents()).await;
    assert!(matches!(refused, Err(ClientError::Connection { .. })));
}

#[tokio::test]
async fn stopping_answers_what_is_parked() {
    let world = World::new().await;
    let mut bob = world.connect(&tls(BOB)).await;
    let mut idle = world.connect(&tls(ALICE)).await;
    assert!(idle.query(0, Duration::ZERO).await.is_ok());
    let fresh = world.connect(&tls(ALICE)).await;
    let waiting = tokio::spawn(async move {
        let told = bob.query(0, Duration::from_seconds(600)).await;
        (told, bob.query(1, Duration::ZERO).await)
    });
    until(|| world.memory.parked() == 1).await;
    timeout(PATIENCE, world.server.stop()).await.unwrap();
    let (told, after) = waiting.await.unwrap();
    assert!(matches!(told, Ok(Reply::Told { deposits, .. }) if deposits.is_empty()));
    assert!(after.is_err(), "the connection ends after its answer");
    drop((idle, fresh));
}

/// Waits until something is so.
async fn until(so: impl Fn() -> bool) {
    let waiting = async {
        while !so() {
            tokio::time::sleep(Span::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never came about");
}

/// A TLS connection of Alice on which anything can be said.
async fn raw(world: &World) -> impl AsyncRead + AsyncWrite + Unpin {
    tls(ALICE).stream(world.address()).await.unwrap()
}

/// Reads until the other side ends, whatever way it does.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let reading = async {
        let mut space = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut space).await {
            bytes.extend_from_slice(&space[..read]);
        }
    };
    timeout(PATIENCE, reading).await.expect("the other side does not end");
    String::from_utf8(bytes).unwrap()
}

const QUERY: &str = "<e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'><e:Body>\
    <l:query xmlns:l='http://lightweightcurrency.org'><in0>0</in0><in1>0</in1></l:query></e:Body></e:Envelope>";

/// A request as it goes over the line.
fn request(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {SERVICE_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_and_one_after_close_is_not() {
    let world = World::new().await;
    let mut stream = raw(&world).await;
    let first = QUERY;
    let other = QUERY.replace("<in1>0", "<in1>1");
    let last = transfer(0);
    let said = [
        request("", first),
        request("", &other),
        request("Connection: close\r\n", first),
        request("", &last),
    ];
    stream.write_all(said.concat().as_bytes()).await.unwrap();
    let heard = rest(&mut stream).await;
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 3, "{heard}");
    assert_eq!(heard.matches("queryResponse").count(), 6, "{heard}");
    assert_eq!(world.has(BOB), 0, "the request after close was not read");
}

fn transfer(counter: u32) -> String {
    let to: String = id(BOB).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    QUERY.replace(
        "<l:query xmlns:l='http://lightweightcurrency.org'><in0>0</in0><in1>0</in1></l:query>",
        &format!("<l:transfer xmlns:l='http://lightweightcurrency.org'><recipient>{to}</recipient><amount>1</amount><transactionId>x</transactionId><messageCounter>{counter}</messageCounter></l:transfer>"),
    )
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends() {
    let world = World::new().await;
    let mut stream = raw(&world).await;
    let whole = request("Expect: 100-continue\r\nConnection: close\r\n", QUERY);
    let (head, body) = whole.split_at(whole.len() - QUERY.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut space = [0; 1024];
    let read = timeout(PATIENCE, stream.read(&mut space)).await.unwrap().unwrap();
    assert!(space[..read].starts_with(b"HTTP/1.1 100 Continue\r\n"));
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn what_is_no_soap_is_answered_clearly() {
    let world = World::new().await;
    let close = "Connection: close\r\n";
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{close}\r\n");
    let kind = |kind: &str| request(close, QUERY).replace("text/xml", kind);
    let table = [
        (get("/lcp.wsdl"), "200", "<wsdl:definitions"),
        (get("/lcp-literal.wsdl"), "200", "style=\"document\""),
        (get("/soap-encoding.xsd"), "200", "arrayType"),
        (get("/AccountService?wsdl"), "200", "style=\"rpc\""),
        (get("/AccountService?WSDL"), "200", "style=\"rpc\""),
        (get("/AccountService"), "405", "POST"),
        (get("/"), "404", ""),
        (get("/../etc/passwd"), "404", ""),
        (request(close, QUERY).replace(SERVICE_PATH, "/lcp.wsdl"), "405", ""),
        (kind("text/xml; charset=\"UTF-8\""), "200", "queryResponse"),
        (kind("application/xml"), "200", "queryResponse"),
        (kind("application/soap+xml"), "415", ""),
        (kind("application/json"), "415", ""),
        (kind("text/xml; charset=utf-16"), "415", ""),
        (request(close, "").replace("Content-Type: text/xml\r\n", ""), "415", ""),
        (request(close, ""), "500", "Malformed"),
        (request(close, &"<d>".repeat(5000)), "500", "TooDeep"),
        (
            request(close, &format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{QUERY}")),
            "500",
            "ForbiddenDocumentType",
        ),
        (request(close, &QUERY.replace("<in0>0", "<in0>&b;")), "500", "ForbiddenEntity"),
        (request(close, &"x".repeat(REQUEST_BYTES_MAX)), "500", "Malformed"),
        (request(close, &"x".repeat(REQUEST_BYTES_MAX + 1)), "500", "TooLarge"),
        (request(close, &attributes(80_000)), "500", "TooLarge"),
        (request(close, &attributes(6_000)), "500", "TooManyAttributes"),
    ];
    for (said, status, word) in table {
        let mut stream = raw(&world).await;
        let start: String = said.chars().take(300).collect();
        // The server may answer, and end, before all is said.
        let _ = stream.write_all(said.as_bytes()).await;
        let heard = rest(&mut stream).await;
        assert!(heard.starts_with(&format!("HTTP/1.1 {status} ")), "{start}\n{heard}");
        assert!(heard.contains(word), "{start}\n{heard}");
    }
}

fn attributes(count: usize) -> String {
    let attributes: String = (0..count).map(|it| format!(" a{it}=''")).collect();
    QUERY.replace("<in0>", &format!("<in0{attributes}>"))
}

#[tokio::test]
async fn a_chunked_body_has_the_same_limit() {
    let world = World::new().await;
    let mut stream = raw(&world).await;
    let head = request("", "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..20 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let heard = rest(&mut stream).await;
    assert!(heard.starts_with("HTTP/1.1 500 ") && heard.contains("TooLarge"), "{heard}");
}

#[tokio::test]
async fn a_header_has_a_limit() {
    let world = World::new().await;
    for long in [format!("X: {}\r\n", "x".repeat(20_000)), "X: y\r\n".repeat(100)] {
        let mut stream = raw(&world).await;
        let _ = stream.write_all(request(&long, QUERY).as_bytes()).await;
        let heard = rest(&mut stream).await;
        // It is ended; that it is told why is a courtesy that a full socket can cost.
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 431 "), "{heard}");
    }
}

fn hasty() -> Limits {
    Limits {
        handshake_timeout: Span::from_secs(2),
        request_timeout: Span::from_millis(300),
        answer_timeout: Span::from_millis(300),
        idle_timeout: Span::from_millis(300),
        ..Limits::default()
    }
}

#[tokio::test]
async fn who_dawdles_is_cut() {
    let world = World::within(hasty()).await;
    // Says nothing at all, not even hello.
    let mut silent = TcpStream::connect(world.address()).await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    // Half a hello.
    let mut half = TcpStream::connect(world.address()).await.unwrap();
    half.write_all(&[0x16, 3, 1, 2]).await.unwrap();
    assert_eq!(rest(&mut half).await, "");
    // A handshake, and nothing.
    assert_eq!(rest(&mut raw(&world).await).await, "");
    // Half a request: of its head, and of its body.
    let whole = request("", QUERY);
    for length in [10, whole.len() - 10] {
        let mut stream = raw(&world).await;
        stream.write_all(&whole.as_bytes()[..length]).await.unwrap();
        let heard = rest(&mut stream).await;
        assert!(!heard.contains("queryResponse"), "{heard}");
    }
    // A whole one and half a one behind it.
    let mut stream = raw(&world).await;
    stream.write_all(format!("{whole}{}", &whole[..50]).as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await.matches("HTTP/1.1 200").count(), 1);
    // A byte at a time, each well within the limit.
    let mut stream = raw(&world).await;
    let dripping = async {
        for byte in whole.as_bytes() {
            if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Span::from_millis(20)).await;
        }
        panic!("it was let go on");
    };
    timeout(PATIENCE, dripping).await.unwrap();
    until(|| world.server.connections() == 0).await;
}

#[tokio::test]
async fn a_parked_query_outlives_the_limits_of_the_others() {
    let world = World::within(hasty()).await;
    let mut bob = world.connect(&tls(BOB)).await;
    let told = bob.query(0, Duration::from_milliseconds(1500)).await.unwrap();
    assert!(matches!(told, Reply::Told { deposits, .. } if deposits.is_empty()));
}

#[tokio::test]
async fn who_does_not_read_is_cut() {
    let world = World::within(hasty()).await;
    let mut stream = raw(&world).await;
    // Answers pile up until no buffer takes any more.
    let many = request("", QUERY).repeat(100);
    let flooding = async { while stream.write_all(many.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, flooding).await.expect("it was let go on");
    until(|| world.server.connections() == 0).await;
}

#[tokio::test]
async fn plaintext_on_the_tls_port_gets_an_alert() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    stream.write_all(request("", &transfer(0)).as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert_eq!(heard, [0x15, 3, 3, 0, 2, 2, 50], "a record with a fatal alert, decode_error");
    assert_eq!(world.has(BOB), 0);
}

#[tokio::test]
async fn the_plain_port_has_the_descriptions_and_no_service() {
    let world = World::new().await;
    let http = world.server.http_address().unwrap();
    let table = [
        ("GET /lcp.wsdl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), "200"),
        ("HEAD /lcp.wsdl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), "200"),
        ("GET /lcp.wsdl HTTP/1.0\r\n\r\n".to_owned(), "200"),
        (request("Connection: close\r\n", &transfer(0)), "403"),
    ];
    for (said, status) in table {
        let mut stream = TcpStream::connect(http).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let heard = rest(&mut stream).await;
        assert!(heard.split(' ').nth(1) == Some(status), "{said}\n{heard}");
        if said.starts_with("GET") {
            assert!(heard.contains(&format!("https://{}{SERVICE_PATH}", world.address())));
        }
    }
    assert_eq!(world.has(BOB), 0);
}

#[tokio::test]
async fn there_are_only_so_many_places() {
    let limits = Limits { connections_per_network: 3, ..Limits::default() };
    let world = World::within(limits).await;
    let client = tls(ALICE);
    let mut here = Vec::new();
    for _ in 0..3 {
        here.push(world.connect(&client).await);
    }
    let refused = SoapClient::connect(&client, world.address(), cents()).await;
    let Err(ClientError::Connection { source }) = refused else { panic!() };
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(kinds.contains(&source.kind()), "{source}");
    here.pop();
    until(|| world.server.connections() < 3).await;
    assert!(SoapClient::connect(&client, world.address(), cents()).await.is_ok());
}
