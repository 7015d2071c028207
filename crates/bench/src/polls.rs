//! `polls`: how soon one of 10,000 holders' polls that wait at the issuer learns of a payment.
//!
//! The polls are of 625 holders on as many connections, 16 on each: one that waits for the next notice, and 15 that
//! wait for one that does not come. The issuer is in a process of its own; payer and payees are in this one.

use std::time::{Duration, Instant};

use fondaco_codec::Text;
use fondaco_crypto::SecretKey;
use fondaco_issuer::PARKED_PER_HOLDER_MAX;
use fondaco_lcp::{RESPONSE_BYTES_MAX, Request, RequestId, Response};
use fondaco_testkit::Rng;
use fondaco_transport::{Connection, Endpoint, LcpClient, Protocol};
use fondaco_units::{Amount, Duration as Span};
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    leftovers::Folder,
    report::{Bound, Goal, Report, Times},
    served::{Served, endpoint, keys, raise_file_limit},
    town::FEE,
};

const HOLDERS: usize = 625;
/// As many as one holder may have.
const POLLS_EACH: usize = PARKED_PER_HOLDER_MAX;
const NOTICES: usize = 2000;

/// How long a poll may wait: less than a stream may.
const WAIT: Span = Span::from_seconds(25);
/// The number of a notice that does not come.
const NEVER: u64 = 1 << 40;

const NOTICE: Goal = Goal {
    what: "a notice to one of 10,000 parked polls, from the payment being sent (p99)",
    bound: Bound::AtMost(5.0),
    unit: " ms",
};

/// What arrived where.
struct Arrival {
    holder: usize,
    number: u64,
    at: Instant,
}

pub(crate) fn run(report: &Report) {
    let notices = report.size(NOTICES, 50);
    let each = report.size(POLLS_EACH, 3);
    raise_file_limit();
    let folder = Folder::new("polls");
    let served = Served::start(folder.path(), HOLDERS + 1);
    let runtime = Runtime::new().expect("a runtime");
    let took = runtime.block_on(measure(&served, each, notices));
    let took = match took {
        Ok(took) => took,
        Err(why) => return report.skip("polls", why),
    };
    let times = Times::of(took);
    let polls = HOLDERS * each;
    let title = format!(
        "From sending a payment to its notice, one of {polls} parked polls; {notices} of them, in milliseconds"
    );
    report.head(&title, &Times::COLUMNS);
    report.times("polls", "LCP/2 over QUIC", &times);
    report.goal(NOTICE, times.p99, &[]);
}

async fn measure(served: &Served, each: usize, notices: usize) -> Result<Vec<f64>, &'static str> {
    let keys: Vec<SecretKey> = keys().take(HOLDERS + 1).collect();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let mut endpoints: Vec<Endpoint> = vec![];
    for (holder, key) in keys[1..].iter().enumerate() {
        let endpoint = endpoint(key).await;
        let dialled = endpoint.connect(served.address(), Protocol::Lcp2).await;
        let connection = dialled.expect("the issuer runs");
        endpoints.push(endpoint);
        if holder == 0 && !waits(&connection).await {
            return Err("the issuer answers polls at once");
        }
        for _ in 1..each {
            let connection = connection.clone();
            tokio::spawn(async move { while poll(&connection, NEVER).await.is_some() {} });
        }
        let arrived = arrived.clone();
        tokio::spawn(async move {
            // The first notice is of the mint.
            let mut last = 1;
            while let Some(number) = poll(&connection, last).await {
                last = last.max(number);
                let at = Instant::now();
                if number > 0 && arrived.send(Arrival { holder, number, at }).is_err() {
                    return;
                }
            }
        });
    }
    // Until all are parked.
    sleep(Duration::from_secs(2)).await;
    let payer = LcpClient::new(endpoint(&keys[0]).await, served.address().clone());
    let mut rng = Rng::new(9);
    let mut told = vec![1; HOLDERS];
    let mut took = vec![];
    for id in 0..notices as u128 {
        let holder = rng.index(HOLDERS);
        let (to, order) = (keys[1 + holder].entity(), Text::cut("poll"));
        let id = RequestId::new(1 << 64 | id);
        let pay = Request::Transfer { id, to, amount: Amount::new(1), fee_max: FEE, order };
        let since = Instant::now();
        let (paid, arrival) =
            tokio::join!(payer.call(&pay), timeout(Duration::from_secs(5), arrivals.recv()));
        assert!(matches!(paid, Ok(Response::Transferred { .. })), "{paid:?}");
        let arrival = arrival.ok().flatten().expect("a notice of the payment");
        told[holder] += 1;
        assert_eq!((arrival.holder, arrival.number), (holder, told[holder]), "to whom it was paid");
        took.push((arrival.at - since).as_secs_f64());
        // Until the payee waits again.
        sleep(Duration::from_millis(5)).await;
    }
    Ok(took)
}

/// Whether a poll for what does not come is parked.
async fn waits(connection: &Connection) -> bool {
    timeout(Duration::from_millis(300), poll(connection, NEVER)).await.is_err()
}

/// Asks for notices after this one; the greatest number told, 0 when none came in time, nothing when the issuer is gone.
async fn poll(connection: &Connection, after: u64) -> Option<u64> {
    let frame = Request::Deposits { after, wait: WAIT }.to_frame();
    let mut stream = connection.open().await.ok()?;
    stream.send_bytes(&frame).await.ok()?;
    stream.finish();
    let body = stream.recv_bytes(RESPONSE_BYTES_MAX).await.ok()??;
    match Response::from_frame(&body) {
        Ok(Response::Deposits { list, .. }) => {
            Some(list.as_slice().iter().map(|deposit| deposit.number).max().unwrap_or(0))
        }
        _ => None,
    }
}
