//! Kill the real issuer with SIGKILL, over and over, while holders pay in both dialects: what it acknowledged stays,
//! nothing is doubled, and each payee hears of each payment.

mod dialects;
mod parts;

use dialects::{Town, balance, cents, key, transfer};
use fondaco_codec::Text;
use fondaco_crypto::SecretKey;
use fondaco_lcp::{Request, RequestId, Response};
use fondaco_lcp_wire::{ClientError, ClientTls, SoapClient, soap::Reply};
use fondaco_ports::Address;
use fondaco_transport::{Endpoint, LcpClient};
use fondaco_units::{Amount, Duration as Span};
use parts::{failure, world};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often the issuer is killed.
const KILLS: u32 = 8;
/// How many holders pay at once, over LCP/2.
const PAYERS: u8 = 6;
/// And in the dialect of 2003.
const SOAP_PAYERS: u8 = 6;
/// How long a payer waits for an answer before it gives up: a busy machine answers sooner, and a killed issuer never.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many answers there must be between one kill and the next, where traffic is to be met.
const ANSWERS: u64 = 20;
/// How long they may take: a machine on which nobody is answered for so long is not fit for this test.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);
const FUNDS: u64 = 1_000_000;
const FUNDS_COINS: &str = "10000";

/// What one payer did: each payment, and the answer if there was one.
type Paid = BTreeMap<RequestId, (Request, Option<Response>)>;

const PAYEE: u8 = 99;
const SOAP_PAYEE: u8 = 98;

async fn client(key: &SecretKey, issuer: &Address) -> LcpClient {
    LcpClient::new(Endpoint::bind(key, None, &[]).await.unwrap(), issuer.clone())
}

/// Pays one unit after another until told to stop. What had no answer is left as it is.
async fn pay(
    payer: SecretKey,
    issuer: Address,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Paid {
    let client = client(&payer, &issuer).await;
    let mut paid = Paid::new();
    let mut number = u128::from(payer.entity().as_bytes()[0]) << 64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let (id, to) = (RequestId::new(number), key(PAYEE).entity());
        let transfer = transfer(number, to, 1, 0);
        let called = tokio::time::timeout(PATIENCE, client.call(&transfer)).await;
        let answer = called.ok().and_then(Result::ok);
        let away = answer.is_none();
        answered.fetch_add(u64::from(!away), Ordering::Relaxed);
        paid.insert(id, (transfer, answer));
        if away {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    paid
}

/// A holder of 2003: it repeats a message, on a new connection, until there is an answer.
struct Holder {
    tls: ClientTls,
    at: SocketAddr,
    connection: Option<SoapClient>,
    /// How often there was no answer.
    doubts: u64,
}

impl Holder {
    fn new(key: &SecretKey, town: &Town) -> Self {
        Self { tls: town.tls(key), at: town.soap, connection: None, doubts: 0 }
    }

    async fn ask(&mut self, message: &Message) -> Reply {
        loop {
            match tokio::time::timeout(PATIENCE, self.try_to_ask(message)).await {
                // What is not taken in is not done.
                Ok(Ok(Reply::Fault { code, .. })) if code == "Busy" => {}
                Ok(Ok(reply)) => return reply,
                Ok(Err(error)) => assert!(error.is_transient(), "{error}"),
                Err(_) => {}
            }
            self.connection = None;
            self.doubts += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn try_to_ask(&mut self, message: &Message) -> Result<Reply, ClientError> {
        let mut client = match self.connection.take() {
            Some(client) => client,
            None => SoapClient::connect(&self.tls, self.at, cents()).await?,
        };
        let reply = match message {
            Message::Pay { counter, order } => {
                let to = key(SOAP_PAYEE).entity();
                client.transfer(*counter, to, Amount::new(1), Text::cut(order)).await?
            }
            Message::Query { counter } => {
                client.query(*counter, Span::from_milliseconds(200)).await?
            }
        };
        self.connection = Some(client);
        Ok(reply)
    }

    async fn pay(&mut self, counter: u32, order: &str) -> Reply {
        self.ask(&Message::Pay { counter, order: order.to_owned() }).await
    }

    async fn query(&mut self, counter: u32) -> Vec<String> {
        match self.ask(&Message::Query { counter }).await {
            Reply::Told { deposits, .. } => deposits.into_iter().map(|(_, order)| order).collect(),
            other => panic!("{other:?}"),
        }
    }
}

/// What a holder of 2003 asks.
enum Message {
    Pay { counter: u32, order: String },
    Query { counter: u32 },
}

/// Pays one unit after another by SOAP until told to stop; the orders, the last counter, and who it was.
async fn pay_by_soap(
    mut holder: Holder,
    name: u8,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> (BTreeSet<String>, u32, Holder) {
    let (mut orders, mut counter) = (BTreeSet::new(), 1);
    while !stop.load(Ordering::Relaxed) {
        counter += 1;
        let order = format!("{name}-{counter}");
        let reply = holder.pay(counter, &order).await;
        assert_eq!(reply, Reply::Paid { fee: Amount::ZERO }, "{order}");
        answered.fetch_add(1, Ordering::Relaxed);
        orders.insert(order);
    }
    (orders, counter, holder)
}

/// Asks by SOAP what arrived, all the time, and once more after it was told to stop; all that it was told.
async fn collect(mut holder: Holder, stop: Arc<AtomicBool>) -> (Vec<String>, u64) {
    let (mut told, mut counter) = (Vec::new(), 0);
    loop {
        let is_last = stop.load(Ordering::Relaxed);
        // The draft's one bit.
        counter ^= 1;
        let some = holder.query(counter).await;
        let is_none = some.is_empty();
        told.extend(some);
        if is_last && is_none {
            return (told, holder.doubts);
        }
    }
}

/// Waits until `more` further payments were answered.
async fn traffic(answered: &AtomicU64, more: u64) {
    let goal = answered.load(Ordering::Relaxed) + more;
    let flowing = async {
        while answered.load(Ordering::Relaxed) < goal {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(ANSWERS_WITHIN, flowing).await.expect("the issuer answers nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_stays_and_nothing_is_doubled() {
    let mut town = Town::new(&[]).await;
    let keys: Vec<_> = (1..=PAYERS).map(key).collect();
    let soap_keys: Vec<_> = (1..=SOAP_PAYERS).map(|seed| key(100 + seed)).collect();
    for key in keys.iter().chain(&soap_keys) {
        town.mint(key.entity(), FUNDS_COINS).await;
    }

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (all_paid, answered_soap) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let payers: Vec<_> = keys
        .iter()
        .map(|key| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(pay(key.clone(), town.address.clone(), stop, answered))
        })
        .collect();
    let soap_payers: Vec<_> = (1..=SOAP_PAYERS)
        .zip(&soap_keys)
        .map(|(name, key)| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered_soap));
            tokio::spawn(pay_by_soap(Holder::new(key, &town), name, stop, answered))
        })
        .collect();
    let collector = Holder::new(&key(SOAP_PAYEE), &town);
    let collecting = tokio::spawn(collect(collector, Arc::clone(&all_paid)));
    for kill in 0..KILLS {
        // Now late in its life, now early: one kill meets traffic, the next meets recovery.
        if kill % 2 == 0 {
            traffic(&answered, ANSWERS).await;
            traffic(&answered_soap, ANSWERS).await;
        } else {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        town.world.kill("issuer").await.unwrap();
        town.up().await;
    }
    traffic(&answered, ANSWERS).await;
    traffic(&answered_soap, ANSWERS).await;
    stop.store(true, Ordering::Relaxed);

    let by_lcp2 = settle_lcp2(&town, &keys, payers).await;
    let (mut orders, mut doubts) = (BTreeSet::new(), 0);
    for (key, payer) in soap_keys.iter().zip(soap_payers) {
        let (paid, last, mut holder) = payer.await.unwrap();
        // The last message, sent again, is not done again.
        let order = paid.iter().find(|order| order.ends_with(&format!("-{last}"))).unwrap();
        let again = holder.pay(last, order).await;
        assert_eq!(again, Reply::Paid { fee: Amount::ZERO });
        let (available, _) = balance(&town.lcp2(key).await).await;
        assert_eq!(available, FUNDS - paid.len() as u64, "a payment was lost or doubled");
        orders.extend(paid);
        doubts += holder.doubts;
    }
    all_paid.store(true, Ordering::Relaxed);
    let (told, collector_doubts) = collecting.await.unwrap();
    assert_eq!(told.len(), orders.len(), "a notice was lost or told twice");
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), orders);
    assert!(doubts > 0 && collector_doubts > 0, "{doubts}, {collector_doubts}");

    let has = balance(&town.lcp2(&key(PAYEE)).await).await;
    assert_eq!(has, (by_lcp2, by_lcp2), "a notice for each payment");
    let has = balance(&town.lcp2(&key(SOAP_PAYEE)).await).await;
    assert_eq!(has, (orders.len() as u64, 0));
    let supply = FUNDS * u64::from(PAYERS + SOAP_PAYERS);
    assert_eq!(town.audit().await["supply"], cents().show(Amount::new(supply)).to_string());
    town.world.end().await;
}

/// Asks of each payment again how it went, which none that was answered before may change; how many there were.
async fn settle_lcp2(
    town: &Town,
    keys: &[SecretKey],
    payers: Vec<tokio::task::JoinHandle<Paid>>,
) -> u64 {
    let (mut done, mut acknowledged, mut doubtful) = (0, 0, 0);
    for (key, payer) in keys.iter().zip(payers) {
        let paid = payer.await.unwrap();
        let client = client(key, &town.address).await;
        let mut spent = 0;
        for (transfer, answer) in paid.into_values() {
            // Asked again, the same answer; or now the first one, where none had come.
            let again = client.call(&transfer).await.unwrap();
            match answer {
                Some(answer) => {
                    assert_eq!(again, answer, "an acknowledged payment has another answer");
                    acknowledged += 1;
                }
                None => doubtful += 1,
            }
            assert!(matches!(again, Response::Transferred { .. }), "{again:?}");
            spent += 1;
        }
        assert_eq!(balance(&client).await.0, FUNDS - spent, "a payment was lost or doubled");
        done += spent;
    }
    assert!(acknowledged > 0 && doubtful > 0, "{acknowledged} with, {doubtful} without an answer");
    done
}
