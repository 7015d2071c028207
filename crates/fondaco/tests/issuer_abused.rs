//! One running issuer, and all the bad input that there is, in both dialects: each is refused by its name, moves no
//! money, and after each of them others are served.

mod dialects;
mod parts;
#[path = "../../lcp-wire/src/amount/tests/spellings.rs"]
mod spellings;

use dialects::{
    Town, balance, cents, envelope, fault, key,
    strange::{self, Shows},
    transfer,
};
use fondaco_codec::{List, Text};
use fondaco_crypto::{CurrencyId, Digest, EntityId, SecretKey};
use fondaco_lcp::{Refusal, Request, RequestId, Response, Rotation, VERSION};
use fondaco_lcp_wire::{
    ClientError, ClientTls, SERVICE_PATH, SoapClient,
    soap::{Form, REQUEST_BYTES_MAX, Reply},
};
use fondaco_ledger::{HoldId, Refusal as Ledger, Voucher};
use fondaco_ports::Address;
use fondaco_transport::{
    CloseReason, Connection, Endpoint, FRAME_BYTES_MAX, LcpClient, Protocol, TransportError,
};
use fondaco_units::{Amount, ParseAmountError, Timestamp};
use parts::{failure, world};
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// Nothing here takes longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
const FEE: u64 = 10;
/// What each of those who pay well is given, in coins.
const FUNDS: &str = "1000";
const FUNDS_UNITS: u64 = 100_000;
/// What the bad one has; nothing of it may be gone in the end, but for one payment.
const BAIT: u64 = 5_000;
const RESERVE: u64 = 100;

const ALICE: u8 = 2;
const BOB: u8 = 3;
const CAROL: u8 = 4;
const MALLORY: u8 = 66;
const STRANGER: u8 = 67;

fn bob() -> EntityId {
    key(BOB).entity()
}

/// An issuer under attack, and two who use it as they should: Alice by the dialect of 2003, Carol by LCP/2.
struct Siege {
    town: Town,
    alice: SoapClient,
    carol: LcpClient,
    mallory: LcpClient,
    /// What Mallory must have.
    bait: u64,
    /// How many payments each of the two made.
    rounds: u64,
}

impl Siege {
    async fn new() -> Self {
        let town = Town::new(&["--transfer-fee", "0.10", "--account-reserve", "1"]).await;
        for holder in [ALICE, CAROL] {
            town.mint(key(holder).entity(), FUNDS).await;
        }
        town.mint(key(MALLORY).entity(), "50").await;
        town.mint(bob(), "1").await;
        let alice = town.soap(&town.tls(&key(ALICE))).await;
        let (carol, mallory) = (town.lcp2(&key(CAROL)).await, town.lcp2(&key(MALLORY)).await);
        Self { town, alice, carol, mallory, bait: BAIT, rounds: 0 }
    }

    /// Everybody else goes on as if nothing had been, and Mallory has what it had.
    async fn others_are_served(&mut self, after: &str) {
        let paying = async {
            let counter = u32::try_from(self.rounds).unwrap() + 2;
            let paid = self.alice.transfer(counter, bob(), Amount::new(1), Text::cut("good"));
            let fee = Amount::new(FEE);
            assert_eq!(paid.await.unwrap(), Reply::Paid { fee }, "after {after}");
            self.rounds += 1;
            let paid = self.carol.call(&transfer(counter.into(), bob(), 1, FEE)).await.unwrap();
            let left = Amount::new(FUNDS_UNITS - self.rounds * (1 + FEE));
            assert_eq!(paid, Response::Transferred { fee, balance: left }, "after {after}");
            assert_eq!(balance(&self.mallory).await, (self.bait, 1), "after {after}");
        };
        timeout(PATIENCE, paying)
            .await
            .unwrap_or_else(|_| panic!("nobody is served after {after}"));
    }

    async fn mallory_by_soap(&self) -> SoapClient {
        self.town.soap(&self.town.tls(&key(MALLORY))).await
    }

    /// A TLS connection of Mallory's on which anything can be said.
    async fn raw(&self) -> TlsStream<TcpStream> {
        self.town.tls(&key(MALLORY)).stream(self.town.soap).await.unwrap()
    }

    async fn connection(&self, who: &SecretKey) -> (Endpoint, Connection) {
        let endpoint = Endpoint::bind(who, None, &[]).await.unwrap();
        let connection = endpoint.connect(&self.town.address, Protocol::Lcp2).await.unwrap();
        (endpoint, connection)
    }
}

/// Reads until the other side ends, whatever way it does.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = async {
        let mut space = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut space).await {
            bytes.extend_from_slice(&space[..read]);
        }
    };
    timeout(PATIENCE, reading).await.expect("the other side does not end");
    bytes
}

/// Says something, of which the other side need not take all, and hears all that it answers.
async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, said: &[u8]) -> String {
    let saying = async {
        // Who is refused early is not listened to any more.
        let _ = stream.write_all(said).await;
        let _ = stream.flush().await;
    };
    timeout(PATIENCE, saying).await.expect("the other side neither takes nor ends");
    String::from_utf8_lossy(&rest(&mut stream).await).into_owned()
}

const CLOSE: &str = "Connection: close\r\n";

fn request(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {SERVICE_PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// A payment of Mallory's to Bob that would be made if it were not for what is wrong around it.
fn payment() -> String {
    envelope(900_000, bob(), 5, Form::Encoded)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_nobody_loses_money_and_everybody_is_served() {
    let mut siege = Siege::new().await;
    siege.others_are_served("nothing").await;
    orders_that_the_books_refuse(&mut siege).await;
    spellings_of_amounts(&mut siege).await;
    what_is_no_soap(&mut siege).await;
    who_is_nobody(&mut siege).await;
    commands_that_the_books_refuse(&mut siege).await;
    what_is_no_lcp2(&mut siege).await;
    what_a_person_types(&mut siege).await;
    the_books_have_the_good_payments_alone(siege).await;
}

/// The dialect of 2003: what is understood, and refused.
async fn orders_that_the_books_refuse(siege: &mut Siege) {
    let mut mallory = siege.mallory_by_soap().await;
    let order = |counter, to, units| envelope(counter, to, units, Form::Encoded);
    // One good payment, which repetitions do not make again.
    let good = order(10, bob(), 1);
    let (status, first) = mallory.post(good.as_bytes()).await.unwrap();
    assert_eq!(status, 200);
    siege.bait -= 1 + FEE;
    for _ in 0..3 {
        assert_eq!(mallory.post(good.as_bytes()).await.unwrap(), (200, first.clone()));
        siege.others_are_served("a repeated counter").await;
    }
    let unknown = key(200).entity();
    let table = [
        (order(10, bob(), 2), "OtherContent", false),
        (order(9, bob(), 1), "StaleCounter", false),
        (order(0, bob(), 1), "StaleCounter", false),
        (order(1, bob(), 1), "StaleCounter", false),
        (order(11, bob(), 0), "ZeroAmount", true),
        (order(12, key(MALLORY).entity(), 1), "SelfTransfer", true),
        (order(13, unknown, RESERVE - 1), "UnderReserve", true),
        // The amount is there, but not the fee on top of it.
        (order(14, bob(), siege.bait), "InsufficientFunds", true),
        (order(15, bob(), siege.bait - FEE + 1), "InsufficientFunds", true),
        (order(16, bob(), u64::MAX), "InsufficientFunds", true),
        (order(16, bob(), 1), "OtherContent", false),
        (order(4_294_967_295, bob(), u64::MAX - 5), "InsufficientFunds", true),
    ];
    for (said, code, counter_used) in table {
        for _ in 0..2 {
            let (status, answer) = mallory.post(said.as_bytes()).await.unwrap();
            assert_eq!((status, fault(&answer)), (500, (code.to_owned(), counter_used)), "{said}");
            siege.others_are_served(code).await;
        }
    }
    // Who has no account cannot pay.
    let mut stranger = siege.town.soap(&siege.town.tls(&key(STRANGER))).await;
    let (_, answer) = stranger.post(order(0, bob(), 1).as_bytes()).await.unwrap();
    assert_eq!(fault(&answer).0, "InsufficientFunds");
    siege.others_are_served("a payment without an account").await;
    // A connection that another one has replaced is too late with whatever it has.
    let mut newer = siege.town.soap(&siege.town.tls(&key(STRANGER))).await;
    newer.post(order(1, bob(), 1).as_bytes()).await.unwrap();
    let (_, answer) = stranger.post(order(0, bob(), 1).as_bytes()).await.unwrap();
    assert_eq!(fault(&answer).0, "Fenced");
    siege.others_are_served("a message on an old connection").await;
}

/// The spellings of the table of `lcp-wire`, each in both forms.
async fn spellings_of_amounts(siege: &mut Siege) {
    let escaped = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    for form in [Form::Encoded, Form::Literal] {
        let mut mallory = SoapClient::connect(
            &ClientTls::new(&key(MALLORY), siege.town.issuer()),
            siege.town.soap,
            cents(),
        )
        .await
        .unwrap();
        let mut refused = 0;
        for (text, outcome) in spellings::CENTS {
            let has_exponent = form == Form::Literal && text.contains(['e', 'E']);
            let is_character = !text.contains(['\0', '\u{b}', '\u{c}']);
            let code = match outcome {
                _ if !is_character => "ForbiddenCharacter",
                _ if has_exponent => "AmountNotDecimal",
                Err(ParseAmountError::NotDigits) => "AmountNotDecimal",
                Err(ParseAmountError::TooManyDecimals { .. }) => "AmountTooFine",
                Err(ParseAmountError::TooLarge) => "AmountTooLarge",
                // That one is good.
                Ok(_) => continue,
            };
            let said =
                envelope(900_000, bob(), 5, form).replace("0.05<", &format!("{}<", escaped(text)));
            assert!(!said.contains("0.05"), "{said}");
            let (_, answer) = mallory.post(said.as_bytes()).await.unwrap();
            assert_eq!(fault(&answer), (code.to_owned(), false), "{text:?}, {form:?}");
            siege.others_are_served(text).await;
            refused += 1;
        }
        assert!(refused >= 200, "{refused}");
    }
}

/// The dialect of 2003: what is not understood, and not let in.
async fn what_is_no_soap(siege: &mut Siege) {
    let good = payment();
    let with = |from: &str, to: &str| {
        let said = good.replacen(from, to, 1);
        assert_ne!(said, good, "{from}");
        request(CLOSE, &said)
    };
    let before = |what: &str| with("<soapenv:Envelope", &format!("{what}<soapenv:Envelope"));
    let attributes = |count: usize| {
        let some: String = (0..count).map(|number| format!(" a{number}=''")).collect();
        with("<amount", &format!("<amount{some}"))
    };
    let laughs: String = (1..9)
        .map(|n| format!("<!ENTITY l{n} '{}'>", format!("&l{};", n - 1).repeat(10)))
        .collect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n");
    let head = request(CLOSE, "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let table = [
        ("oversize", request(CLOSE, &(good.clone() + &" ".repeat(REQUEST_BYTES_MAX))), "TooLarge"),
        (
            "much announced",
            request(CLOSE, &good).replace("Content-Length: ", "Content-Length: 99999"),
            "TooLarge",
        ),
        ("many chunks", head + &chunk.repeat(20), "TooLarge"),
        ("deep", with("<amount", &("<a>".repeat(5_000) + "<amount")), "TooDeep"),
        ("deep enough", with("<amount", &("<a>".repeat(20) + "<amount")), "TooDeep"),
        ("wide", with("<amount", &("<a/>".repeat(5_000) + "<amount")), "TooManyElements"),
        ("80,000 attributes", attributes(80_000), "TooLarge"),
        ("6,000 attributes", attributes(6_000), "TooManyAttributes"),
        ("a DTD", before("<!DOCTYPE a [<!ELEMENT a ANY>]>"), "ForbiddenDocumentType"),
        (
            "a foreign entity",
            before("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>"),
            "ForbiddenDocumentType",
        ),
        (
            "a billion laughs",
            before(&format!("<!DOCTYPE a [<!ENTITY l0 'ha'>{laughs}]>")),
            "ForbiddenDocumentType",
        ),
        ("an entity", with("0.05", "&five;"), "ForbiddenEntity"),
        ("an instruction", before("<?pay more?>"), "ForbiddenProcessingInstruction"),
        ("another encoding", with("UTF-8", "UTF-16"), "ForbiddenEncoding"),
        ("an element in an amount", with("0.05", "0<b/>.05"), "NotSimple"),
        ("a comment in an amount", with("0.05", "0<!-- -->.05"), "NotSimple"),
        ("two amounts", with("<amount", "<amount>9</amount><amount"), "RepeatedField"),
        ("no amount", with("amount", "quantity"), "Malformed"),
        ("no payee", with(&fondaco_lcp_wire::hex(bob().as_bytes()), "bob"), "BadRecipient"),
        ("another field", with("<amount", "<tip>9</tip><amount"), "UnknownField"),
        ("a negative counter", with("900000", "-1"), "BadCounter"),
        ("a long order", with("order 7", &"7".repeat(65)), "BadTransactionId"),
        ("another operation", good.replace("lcp:transfer", "lcp:mint"), "UnknownOperation"),
        ("another SOAP", with("schemas.xmlsoap.org/soap/envelope", "x"), "VersionMismatch"),
        ("half a document", request(CLOSE, &good[..good.len() / 2]), "Malformed"),
        ("nothing", request(CLOSE, ""), "Malformed"),
        ("another kind", request(CLOSE, &good).replace("text/xml", "application/json"), " 415 "),
        ("a long header", request(&format!("{CLOSE}X: {}\r\n", "x".repeat(20_000)), &good), ""),
        ("many headers", request(&(CLOSE.to_owned() + &"X: y\r\n".repeat(100)), &good), ""),
        ("no HTTP", "\0\u{1}\u{2} pay me\r\n\r\n".to_owned(), ""),
        ("another path", request(CLOSE, &good).replace(SERVICE_PATH, "/../x"), ""),
        ("no such page", get("/etc/passwd"), " 404 "),
        ("no post", get(SERVICE_PATH), " 405 "),
    ];
    for (what, said, code) in table {
        let said = if said.starts_with("<?xml") { request(CLOSE, &said) } else { said };
        let heard = say(siege.raw().await, said.as_bytes()).await;
        assert!(heard.contains(code) && !heard.contains("success"), "{what}: {heard}");
        siege.others_are_served(what).await;
    }
    // Bytes that are no text.
    let mut said = request(CLOSE, &good).into_bytes();
    let place = said.len() - 200;
    said[place] = 0xff;
    let heard = say(siege.raw().await, &said).await;
    assert!(heard.contains("NotUtf8"), "{heard}");
    siege.others_are_served("bytes that are no text").await;

    // Half a request, of each length class, by who goes then, and by who stays.
    let whole = request("", &good);
    let mut staying = Vec::new();
    for length in [1, 30, whole.len() - good.len(), whole.len() - 300, whole.len() - 1] {
        for stays in [false, true] {
            let mut stream = siege.raw().await;
            stream.write_all(&whole.as_bytes()[..length]).await.unwrap();
            stream.flush().await.unwrap();
            if stays {
                staying.push(stream);
            } else {
                drop(stream);
            }
            siege.others_are_served("half a request").await;
        }
    }
    // Where one request said that it was the last, nothing behind it is read.
    let last = request(CLOSE, &envelope(900_000, bob(), 0, Form::Encoded).replace("0.00", "x"));
    let heard = say(siege.raw().await, (last + &request("", &good)).as_bytes()).await;
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
    siege.others_are_served("a request after close").await;
    drop(staying);
}

/// Who has no key, another's, or another issuer in mind, and who speaks something else at the door.
async fn who_is_nobody(siege: &mut Siege) {
    let (soap, http) = (siege.town.soap, siege.town.http);
    let good = request(CLOSE, &payment());
    let wrong = ClientTls::new(&key(MALLORY), bob());
    let refused = SoapClient::connect(&wrong, soap, cents()).await;
    assert!(matches!(refused, Err(ClientError::Connection { .. })));
    siege.others_are_served("another issuer's key expected").await;
    for shows in
        [Shows::NoKey, Shows::Stolen(key(ALICE).into()), Shows::Stolen(key(MALLORY).into())]
    {
        // Under TLS 1.3 a client learns that it is refused when it reads.
        if let Ok(stream) = strange::dial(soap, shows).await {
            assert_eq!(say(stream, good.as_bytes()).await, "");
        }
        siege.others_are_served("a client without its key").await;
    }
    let mut stream = TcpStream::connect(soap).await.unwrap();
    stream.write_all(good.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut stream).await, [0x15, 3, 3, 0, 2, 2, 50], "a fatal alert, decode_error");
    siege.others_are_served("plaintext on the TLS port").await;
    let mut silent = Vec::new();
    for said in [&b""[..], &[0x16, 3, 1, 2], &[0xff; 3000], &[0x16, 3, 1, 0x40, 0]] {
        let mut stream = TcpStream::connect(soap).await.unwrap();
        stream.write_all(said).await.unwrap();
        silent.push(stream);
        siege.others_are_served("no hello on the TLS port").await;
    }
    let heard = say(TcpStream::connect(http).await.unwrap(), good.as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
    siege.others_are_served("a payment on the plain port").await;
    let heard =
        say(TcpStream::connect(http).await.unwrap(), b"GET /lcp.wsdl HTTP/1.0\r\n\r\n").await;
    assert!(heard.contains(&format!("https://{soap}{SERVICE_PATH}")), "{heard}");
    say(TcpStream::connect(http).await.unwrap(), &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
    siege.others_are_served("TLS on the plain port").await;

    let socket = siege.town.address.sockets()[0];
    let dialler = Endpoint::bind(&key(MALLORY), None, &[]).await.unwrap();
    let wrong = Address::new(bob(), [socket]);
    assert!(dialler.connect(&wrong, Protocol::Lcp2).await.is_err(), "another issuer answered");
    siege.others_are_served("another issuer's key expected over LCP/2").await;
    for protocol in [Protocol::Storage, Protocol::Offers] {
        assert!(dialler.connect(&siege.town.address, protocol).await.is_err(), "{protocol}");
        siege.others_are_served("a protocol that is not spoken").await;
    }
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 20, 21, 64, 1200, 1201, 1472] {
        for byte in [0, 0x40, 0xc0, 0xff] {
            udp.send_to(&vec![byte; length], socket).await.unwrap();
        }
    }
    siege.others_are_served("noise on the LCP/2 port").await;
    drop(silent);
}

/// LCP/2: what is understood, and refused.
async fn commands_that_the_books_refuse(siege: &mut Siege) {
    let bait = siege.bait;
    let pay = |id, to, units| transfer(id, to, units, FEE);
    let id = RequestId::new;
    let (own, unknown) = (key(MALLORY).entity(), key(200).entity());
    let (currency, other) =
        (CurrencyId::issued_by(siege.town.issuer()), CurrencyId::issued_by(own));
    let hold = HoldId::derive(currency, key(ALICE).entity(), 1);
    let voucher = |currency, by| {
        let cumulative = Amount::new(100);
        Voucher { currency, hold, cumulative }.sign(&key(by))
    };
    let rotation = Rotation { currency, old: key(ALICE).entity(), new: key(MALLORY).entity() };
    let by_mallory = rotation.sign(&key(MALLORY));
    let open = |id, amount_max, expires| Request::HoldOpen {
        id,
        payee: bob(),
        amount_max: Amount::new(amount_max),
        order: Digest::of(b"x"),
        expires: Timestamp::from_milliseconds(expires),
        open_by: Timestamp::from_milliseconds(u64::MAX),
    };
    let ledger = |refusal| Refusal::Ledger { refusal };
    let funds = |wanted| {
        let (available, wanted) = (Amount::new(bait), Amount::new(wanted));
        ledger(Ledger::InsufficientFunds { available, wanted })
    };
    let issuer = siege.town.issuer();
    // Each with the first words of why not, where the values are not the point.
    let table: Vec<(Request, Refusal)> = vec![
        (pay(1, bob(), 0), ledger(Ledger::ZeroAmount)),
        (pay(1, bob(), 5), Refusal::OtherContent { id: id(1) }),
        (pay(2, own, 5), ledger(Ledger::SelfTransfer { holder: own })),
        (pay(3, bob(), bait - FEE + 1), funds(bait + 1)),
        (pay(4, bob(), u64::MAX), funds(u64::MAX)),
        (
            pay(5, unknown, RESERVE - 1),
            ledger(Ledger::UnderReserve { payee: unknown, reserve: Amount::new(RESERVE) }),
        ),
        (
            transfer(6, bob(), 5, FEE - 1),
            Refusal::FeeOverMax { fee: Amount::new(FEE), fee_max: Amount::new(FEE - 1) },
        ),
        (
            Request::Mint { id: id(7), to: own, amount: Amount::new(5) },
            Refusal::NotIssuer { issuer },
        ),
        (Request::Redeem { id: id(8), amount: Amount::new(5) }, Refusal::NotIssuer { issuer }),
        (
            Request::HoldPost { id: id(9), voucher: voucher(other, ALICE) },
            ledger(Ledger::OtherCurrency { currency, found: other }),
        ),
        (
            Request::HoldPost { id: id(10), voucher: voucher(currency, ALICE) },
            ledger(Ledger::UnknownHold { hold }),
        ),
        (Request::HoldVoid { id: id(11), hold }, ledger(Ledger::UnknownHold { hold })),
        (
            Request::AckDeposits { id: id(12), through: 9 },
            Refusal::DepositUnknown { through: 9, last: 1 },
        ),
        (
            Request::Rotate { id: id(13), to: own, by_old: by_mallory, by_new: by_mallory },
            Refusal::BadRotation,
        ),
        (
            Request::Close { id: id(14), forfeit_max: Amount::ZERO },
            ledger(Ledger::NotEmpty { available: Amount::new(bait), forfeit_max: Amount::ZERO }),
        ),
    ];
    let mallory = siege.town.lcp2(&key(MALLORY)).await;
    for (request, refusal) in table {
        for _ in 0..2 {
            let answer = mallory.call(&request).await.unwrap();
            assert_eq!(answer, Response::Refused { refusal }, "{request:?}");
            siege.others_are_served(&refusal.to_string()).await;
        }
    }
    let fee_max = Amount::new(FEE);
    for request in [
        open(id(20), 5, 1),
        open(id(21), 5, u64::MAX),
        open(id(22), bait + 1, Timestamp::from_milliseconds(0).milliseconds()),
        Request::HoldInfo { hold },
        Request::Receipt { id: id(999) },
        Request::Batch { id: id(23), fee_max, steps: List::new(Vec::new()).unwrap() },
    ] {
        let answer = mallory.call(&request).await.unwrap();
        assert!(
            matches!(&answer, Response::Refused { .. })
                || matches!(&answer, Response::Batched { results, .. } if results.as_slice().is_empty()),
            "{request:?}: {answer:?}"
        );
        siege.others_are_served("a command of no use").await;
    }

    // Who has no account can do nothing with one, and is told of old ids that they are old.
    let stranger = siege.town.lcp2(&key(STRANGER)).await;
    let none = Response::Refused {
        refusal: ledger(Ledger::InsufficientFunds {
            available: Amount::ZERO,
            wanted: Amount::new(5 + FEE),
        }),
    };
    for number in 100..112 {
        assert_eq!(stranger.call(&pay(number, bob(), 5)).await.unwrap(), none);
        siege.others_are_served("a command without an account").await;
    }
    let other_content = Response::Refused { refusal: Refusal::OtherContent { id: id(111) } };
    let outdated = Response::Refused { refusal: Refusal::Outdated };
    for (request, wanted) in [
        (pay(111, bob(), 5), none),
        (pay(111, bob(), 6), other_content),
        // Of a stranger few refusals are remembered: the first of them, and what never was, were not done.
        (pay(100, bob(), 5), outdated.clone()),
        (pay(50, bob(), 5), outdated),
    ] {
        assert_eq!(stranger.call(&request).await.unwrap(), wanted, "{request:?}");
        siege.others_are_served("an old id").await;
    }
}

/// LCP/2: what is no request.
async fn what_is_no_lcp2(siege: &mut Siege) {
    let (_endpoint, connection) = siege.connection(&key(MALLORY)).await;
    let peer = connection.peer();
    let good = transfer(5_000, bob(), 5, FEE).to_frame();
    let newer = [&[VERSION + 1][..], &good[1..]].concat();
    let mut stream = connection.open().await.unwrap();
    stream.send_bytes(&newer).await.unwrap();
    let answer = stream.recv_bytes(1 << 16).await.unwrap().unwrap();
    let refusal = Refusal::Version { version: VERSION };
    assert_eq!(Response::from_frame(&answer), Ok(Response::Refused { refusal }));
    siege.others_are_served("a later version").await;

    let misbehaved = TransportError::StreamGivenUp { peer, reason: CloseReason::Misbehaved };
    let table = [
        ("nothing", vec![]),
        ("half a request", good[..good.len() / 2].to_vec()),
        ("a request without its end", good[..good.len() - 1].to_vec()),
        ("a request and more", [&good[..], &[0]].concat()),
        ("two requests", [&good[..], &good].concat()),
        ("no request", vec![VERSION, 200]),
        ("noise", vec![VERSION; 5000]),
        ("too much", [&good[..], &vec![0; fondaco_lcp::REQUEST_BYTES_MAX]].concat()),
        ("far too much", vec![0; FRAME_BYTES_MAX]),
    ];
    for (what, body) in table {
        let mut stream = connection.open().await.unwrap();
        // What is given up while it is sent is told so, to who sends or to who waits.
        let asked = match stream.send_bytes(&body).await {
            Ok(()) => stream.recv_bytes(1 << 16).await,
            Err(error) => Err(error),
        };
        assert_eq!(asked, Err(misbehaved.clone()), "{what}");
        siege.others_are_served(what).await;
    }
    // A request that is given up on its way, and a stream that only begins.
    for reason in [CloseReason::Done, CloseReason::Busy, CloseReason::Misbehaved] {
        let mut stream = connection.open().await.unwrap();
        let body = vec![VERSION; fondaco_lcp::REQUEST_BYTES_MAX];
        let _ = timeout(Duration::from_millis(1), stream.send_bytes(&body)).await;
        stream.stop(reason);
        siege.others_are_served("a request that is given up").await;
    }
    let (sender, mut receiver) = {
        let mut stream = connection.open().await.unwrap();
        stream.finish();
        stream.split()
    };
    assert_eq!(receiver.recv_bytes(1 << 16).await, Ok(None), "to nothing, nothing is said");
    drop(sender);
    siege.others_are_served("a stream of nothing").await;
    // After close there is nobody to hear it.
    connection.close(CloseReason::Done);
    assert!(connection.open().await.is_err());
    siege.others_are_served("a request after close").await;
}

/// What a person types.
async fn what_a_person_types(siege: &mut Siege) {
    let town = &siege.town;
    let payer = town.world.ask("payer", ["init", "--no-passphrase"]).await.unwrap();
    let payer: EntityId = payer["entity"].as_str().unwrap().parse().unwrap();
    let address = town.address.to_string();
    let wrong = Address::new(bob(), town.address.sockets().iter().copied()).to_string();
    town.world.run_to("payer", ["wallet", "add", &wrong], 6).await.unwrap();
    town.world.ask("payer", ["wallet", "add", &address]).await.unwrap();
    let (to, own, nobody) = (bob().to_string(), payer.to_string(), key(201).entity().to_string());
    // It has no account there yet.
    town.world.run_to("payer", ["pay", &to, "1", "TST"], 5).await.unwrap();
    town.mint(payer, "50").await;
    let table = [
        (&to, "0", "TST", 2),
        (&to, "-0", "TST", 2),
        (&to, "-1", "TST", 2),
        (&to, "NaN", "TST", 2),
        (&to, "1e3", "TST", 2),
        (&to, "1,5", "TST", 2),
        (&to, " 1 ", "TST", 2),
        (&to, "1.005", "TST", 2),
        (&to, "１", "TST", 2),
        (&to, "+1", "TST", 2),
        (&to, "0x10", "TST", 2),
        (&to, "", "TST", 2),
        (&to, "184467440737095516.16", "TST", 2),
        (&to, "184467440737095516.15", "TST", 5),
        (&to, "50", "TST", 5),
        (&to, "49.91", "TST", 5),
        (&own, "1", "TST", 2),
        (&nobody, "0.99", "TST", 5),
        // The wrong currency.
        (&to, "1", "EUR", 3),
        (&to, "1", &own, 3),
    ];
    for (to, amount, currency, code) in table {
        let pay = ["pay", to, amount, currency];
        siege.town.world.run_to("payer", pay, code).await.unwrap();
        siege.others_are_served(&format!("`pay {amount} {currency}`")).await;
    }
    let left = siege.town.world.ask("payer", ["balance"]).await.unwrap();
    assert_eq!(left["available"], "50.00", "{left}");
}

/// In the end each has what it must have, and the books show no other payment.
async fn the_books_have_the_good_payments_alone(mut siege: Siege) {
    let rounds = siege.rounds;
    let good = 2 * rounds + 1;
    let bob = siege.town.lcp2(&key(BOB)).await;
    let (minted, notices) = (100, good + 1);
    let has = balance(&bob).await;
    assert_eq!((has.0, has.1), (minted + good, notices));
    let alice = siege.town.lcp2(&key(ALICE)).await;
    assert_eq!(balance(&alice).await.0, FUNDS_UNITS - rounds * (1 + FEE));
    assert_eq!(balance(&siege.mallory).await, (BAIT - 1 - FEE, 1));
    for nobody in [STRANGER, 200, 201, 250] {
        assert_eq!(balance(&siege.town.lcp2(&key(nobody)).await).await, (0, 0));
    }
    let audit = siege.town.audit().await;
    let supply = 2 * FUNDS_UNITS + 2 * BAIT + minted;
    assert_eq!(audit["supply"], cents().show(Amount::new(supply)).to_string(), "{audit}");
    let books = siege.town.world.home("books");
    let export = ["issuer", "export", "--to", books.to_str().unwrap()];
    siege.town.world.ask("issuer", export).await.unwrap();
    let books = std::fs::read_to_string(&books).unwrap();
    let count = |what: &str| books.matches(&format!(" * \"{what}\"")).count() as u64;
    assert_eq!((count("transfer"), count("mint")), (good, 5), "{rounds}");
    assert_eq!(books.matches(" * ").count() as u64, good + 5, "nothing else moved");
    siege.town.world.end().await;
}
