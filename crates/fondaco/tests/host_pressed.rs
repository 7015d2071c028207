//! A running host and a buyer who presents what it was given before, or to others: terms, nonces, holds and vouchers.

mod parts;

use fondaco_audit::ShardId;
use fondaco_contract::{Charge, Tab, Terms, read_charged};
use fondaco_crypto::{CurrencyId, SecretKey};
use fondaco_lcp as lcp;
use fondaco_ledger::{HoldId, SignedVoucher, Voucher};
use fondaco_ports::Address;
use fondaco_ports::Clock as _;
use fondaco_ports::market::{Frame as _, Payload, Reason, Request, Response, Step};
use fondaco_store::SystemClock;
use fondaco_transport::{Connection, Endpoint, LcpClient, Protocol};
use fondaco_units::{Amount, Bytes, Duration};
use parts::{failure, world};
use std::path::PathBuf;
use world::World;

const HOLD: Amount = Amount::new(5_000_000);
const SIZE: u64 = 200_000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

/// A buyer that speaks to the host itself.
struct Buyer {
    key: SecretKey,
    issuer: LcpClient,
    _endpoint: Endpoint,
    host: Connection,
}

impl Buyer {
    async fn new(seed: u8, issuer: &Address, host: &Address) -> Self {
        let key = key(seed);
        let endpoint = Endpoint::bind(&key, None, &[]).await.unwrap();
        let issuer = LcpClient::new(endpoint.clone(), issuer.clone());
        let host = endpoint.connect(host, Protocol::Storage).await.unwrap();
        Self { key, issuer, _endpoint: endpoint, host }
    }

    async fn ask(&self, request: &Request) -> Response {
        let mut stream = self.host.open().await.unwrap();
        stream.send_bytes(&request.to_frame()).await.unwrap();
        let frame = stream.recv_bytes(Response::FRAME_MAX).await.unwrap().unwrap();
        Response::from_frame(&frame).unwrap()
    }

    async fn refused(&self, request: &Request) -> Reason {
        match self.ask(request).await {
            Response::Refused { reason } => reason,
            other => panic!("{other:?} to {request:?}"),
        }
    }

    /// Opens a hold for a contract, under the request of this number.
    async fn hold(&self, terms: &Terms, number: u128) -> HoldId {
        let opened = self
            .issuer
            .call(&lcp::Request::HoldOpen {
                id: lcp::RequestId::new(number),
                payee: terms.prices.provider,
                amount_max: HOLD,
                order: *terms.id().digest(),
                expires: terms.ends.after(Duration::from_seconds(30 * 86_400)),
                open_by: terms.ends,
            })
            .await;
        match opened {
            Ok(lcp::Response::HoldOpened { hold, .. }) => hold,
            other => panic!("{other:?}"),
        }
    }

    fn voucher(&self, currency: CurrencyId, hold: HoldId, cumulative: Amount) -> SignedVoucher {
        Voucher { currency, hold, cumulative }.sign(&self.key)
    }

    fn open(&self, terms: &Terms, voucher: SignedVoucher) -> Request {
        Request::Open { terms: *terms, buyer_signature: terms.sign_as_buyer(&self.key), voucher }
    }

    /// The first answer to a put, and that to its one step, if there was to be one.
    async fn put(&self, request: &Request, voucher: SignedVoucher, bytes: &[u8]) -> Response {
        let mut stream = self.host.open().await.unwrap();
        stream.send_bytes(&request.to_frame()).await.unwrap();
        let frame = stream.recv_bytes(Response::FRAME_MAX).await.unwrap().unwrap();
        match Response::from_frame(&frame).unwrap() {
            Response::Ready => {}
            other => return other,
        }
        let bytes = Payload::new(bytes.to_vec()).unwrap();
        stream.send_bytes(&Step { voucher, bytes }.to_frame()).await.unwrap();
        let frame = stream.recv_bytes(Response::FRAME_MAX).await.unwrap().unwrap();
        Response::from_frame(&frame).unwrap()
    }

    async fn available(&self) -> Amount {
        match self.issuer.call(&lcp::Request::Balance).await {
            Ok(lcp::Response::Balance { available, held: Amount::ZERO, .. }) => available,
            other => panic!("{other:?}"),
        }
    }
}

/// How the contract stands by the host: its account, and the highest voucher.
async fn status(buyer: &Buyer, terms: &Terms) -> (Tab, SignedVoucher) {
    match buyer.ask(&Request::Status { contract: terms.id() }).await {
        Response::Status { tab, voucher: Some(voucher), .. } => (tab, voucher),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_before_or_to_others_buys_nothing() {
    let mut world = World::new(PathBuf::from(env!("CARGO_BIN_EXE_fondaco")), false).unwrap();
    world.ask("issuer", ["init", "--no-passphrase"]).await.unwrap();
    let define = ["issuer", "init", "--name", "Test", "--symbol", "TST", "--scale", "6"];
    world.ask("issuer", define).await.unwrap();
    let issuer = world.start("issuer", ["issuer", "up", "--listen", "127.0.0.1:0"]).await.unwrap();
    world.ask("host", ["init", "--no-passphrase"]).await.unwrap();
    world.ask("host", ["wallet", "add", &issuer]).await.unwrap();
    let path = world.home("host").join("shards");
    let sell = ["sell", "storage", "--size", "1G", "--path", path.to_str().unwrap()];
    let prices = ["--store", "1", "--write", "1", "--read", "1"];
    world.ask("host", [&sell[..], &prices].concat()).await.unwrap();
    let up = ["up", "--listen", "127.0.0.1:0"];
    let host = world.start("host", up).await.unwrap();
    for seed in [7, 8] {
        let entity = key(seed).entity().to_string();
        world.ask("issuer", ["issuer", "mint", "100", "--to", &entity]).await.unwrap();
    }
    let (issuer, host): (Address, Address) = (issuer.parse().unwrap(), host.parse().unwrap());
    let buyer = Buyer::new(7, &issuer, &host).await;
    let other = Buyer::new(8, &issuer, &host).await;
    let Response::Prices { list } = buyer.ask(&Request::Prices).await else { panic!("no prices") };
    let (currency, now) = (list.prices.currency, SystemClock.now());
    let period = Duration::from_milliseconds(2 * list.prices.epoch.milliseconds());
    let terms = |size: u64, nonce| {
        Terms::new(buyer.key.entity(), &list, Bytes::new(size), now, period, nonce)
    };

    // A contract, and the same again: one contract, the same signature.
    let agreed = terms(1 << 20, 1);
    let hold = buyer.hold(&agreed, 1).await;
    let opening = Tab::default().quote(&agreed, Charge::Open).unwrap();
    let first = buyer.voucher(currency, hold, opening);
    for _ in 0..3 {
        let opened = buyer.ask(&buyer.open(&agreed, first)).await;
        let Response::Opened { provider_signature } = opened else { panic!("{opened:?}") };
        assert!(agreed.verify_provider(&provider_signature).is_ok());
    }

    // The nonce again for something else, or another one, on the hold of the first; what is another's, or nobody's.
    let (larger, second) = (terms(2 << 20, 1), terms(1 << 20, 2));
    let nobodys = HoldId::derive(currency, buyer.key.entity(), 99);
    let theirs = Terms { buyer: other.key.entity(), ..agreed };
    let table = [
        (&buyer, buyer.open(&larger, first), Reason::WrongHold),
        (&buyer, buyer.open(&second, first), Reason::WrongHold),
        (
            &buyer,
            buyer.open(&second, buyer.voucher(currency, nobodys, opening)),
            Reason::UnknownHold,
        ),
        (&other, buyer.open(&agreed, first), Reason::NotYours),
        (&other, other.open(&theirs, first), Reason::WrongHold),
        (
            &buyer,
            Request::Open {
                terms: second,
                buyer_signature: agreed.sign_as_buyer(&buyer.key),
                voucher: first,
            },
            Reason::Unsigned,
        ),
        (
            &buyer,
            Request::Open {
                terms: second,
                buyer_signature: second.sign_as_buyer(&other.key),
                voucher: first,
            },
            Reason::Unsigned,
        ),
    ];
    for (who, request, reason) in &table {
        assert_eq!(who.refused(request).await, *reason, "{request:?}");
    }
    // On a hold of its own the same nonce makes another contract: it is the terms that are named, not the nonce.
    let hold_of_larger = buyer.hold(&larger, 2).await;
    let by_its_own = buyer.voucher(currency, hold_of_larger, opening);
    assert!(matches!(buyer.ask(&buyer.open(&larger, by_its_own)).await, Response::Opened { .. }));
    let Response::Mine { list: mine } = buyer.ask(&Request::Mine { after: None }).await else {
        panic!("no list")
    };
    let mut ids: Vec<_> = mine.as_slice().iter().map(|each| each.terms.id()).collect();
    let mut expected = vec![agreed.id(), larger.id()];
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);

    // A shard, paid for by a second voucher; with the first it is not taken.
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let (shard, size, contract) = (ShardId::of(&bytes), Bytes::new(SIZE), agreed.id());
    let put = Request::Put { contract, shard, size, epoch: 0 };
    let unpaid = buyer.put(&put, first, &bytes).await;
    assert!(
        matches!(unpaid, Response::Refused { reason: Reason::Unpaid { .. } }),
        "by the voucher of before: {unpaid:?}"
    );
    let (tab, _) = status(&buyer, &agreed).await;
    let written = tab.after(&agreed, Charge::Write { bytes: size }).unwrap();
    let kept = written.after(&agreed, Charge::Store { bytes: size, epochs: tab.epochs_paid });
    let kept = kept.unwrap();
    let due = kept.owed(&agreed).unwrap();
    let paid = buyer.voucher(currency, hold, due);
    assert_eq!(buyer.put(&put, paid, &bytes).await, Response::Stored);
    assert_eq!(status(&buyer, &agreed).await, (kept, paid));

    // Reads, epochs and proofs by vouchers that are used up, another's, another hold's or forged; over and over.
    let length = Bytes::new(100_000);
    let charge = Charge::Read { bytes: read_charged(Bytes::ZERO, length, size).unwrap() };
    let price = kept.quote(&agreed, charge).unwrap();
    assert!(price > due, "a read costs something");
    let get = |voucher| Request::Get { contract, shard, offset: Bytes::ZERO, length, voucher };
    // Higher than all that comes: one that is not counts for nothing, whoever signed it.
    let more = price.checked_add(price).unwrap();
    let by_other = Voucher { currency, hold, cumulative: more }.sign(&other.key);
    let over = HOLD.checked_add(Amount::new(1)).unwrap();
    let bad = [
        (first, None),
        (paid, None),
        (by_other, Some(Reason::BadVoucher)),
        (buyer.voucher(currency, hold_of_larger, more), Some(Reason::WrongVoucher)),
        (
            buyer.voucher(CurrencyId::issued_by(other.key.entity()), hold, more),
            Some(Reason::WrongVoucher),
        ),
        (
            buyer.voucher(currency, hold, over),
            Some(Reason::OverHold { authorised: over, amount_max: HOLD }),
        ),
    ];
    let refuses_all = async |buyer: &Buyer, tab: Tab, highest: SignedVoucher| {
        for (voucher, reason) in bad {
            for request in [get(voucher), Request::Advance { contract, voucher }] {
                let found = buyer.refused(&request).await;
                match reason {
                    Some(reason) => assert_eq!(found, reason, "{request:?}"),
                    None => {
                        assert!(matches!(found, Reason::Unpaid { .. }), "{found:?} to {request:?}");
                    }
                }
            }
        }
        assert_eq!(status(buyer, &agreed).await, (tab, highest), "nothing has changed");
    };
    refuses_all(&buyer, kept, paid).await;

    // The one that pays buys one read, and, sent again, not another.
    let pays = buyer.voucher(currency, hold, price);
    assert!(matches!(buyer.ask(&get(pays)).await, Response::Slice { .. }));
    let read = kept.after(&agreed, charge).unwrap();
    for _ in 0..3 {
        assert!(matches!(buyer.refused(&get(pays)).await, Reason::Unpaid { .. }));
    }
    refuses_all(&buyer, read, pays).await;
    // Nor does anybody else get what is stored, whatever voucher he has seen.
    for request in [get(pays), Request::Delete { contract, shard }, Request::Close { contract }] {
        assert_eq!(other.refused(&request).await, Reason::NotYours);
    }

    // The same after a kill: what was shown last counts, and what was before it does not.
    world.kill("host").await.unwrap();
    let socket = host.sockets()[0].to_string();
    world.start("host", ["up", "--listen", &socket]).await.unwrap();
    let buyer = Buyer::new(7, &issuer, &host).await;
    let (tab, highest) = status(&buyer, &agreed).await;
    // The provider alone loses by a crash: its charge for the last read may be gone, what was put is not.
    assert!(tab == read || tab == kept, "{tab:?}");
    assert!(highest == pays || highest == paid, "{highest:?}");
    for (voucher, reason) in bad {
        let found = buyer.refused(&Request::Advance { contract, voucher }).await;
        assert!(reason.is_none_or(|reason| reason == found), "{found:?}");
    }
    let known = highest.voucher.cumulative;

    // In the end the host has what the highest voucher says, once.
    let closing = [contract, larger.id()];
    for contract in closing {
        for _ in 0..2 {
            let closed = buyer.ask(&Request::Close { contract }).await;
            assert!(matches!(closed, Response::Closed { .. }), "{closed:?}");
        }
        let ended = buyer.refused(&Request::Advance { contract, voucher: pays }).await;
        assert!(matches!(ended, Reason::Ended { .. }), "{ended:?}");
    }
    let whole = Amount::new(100_000_000);
    let left = whole.checked_sub(known).and_then(|left| left.checked_sub(opening)).unwrap();
    assert_eq!(buyer.available().await, left);
    let earned = world.ask("host", ["balance"]).await.unwrap();
    let earned: f64 = earned["available"].as_str().unwrap().parse().unwrap();
    let due = known.checked_add(opening).unwrap();
    assert!((earned * 1e6 - due.get() as f64).abs() < 0.5, "{earned} of {due:?}");
    world.stop("issuer").await;
    let audit = world.ask("issuer", ["issuer", "audit"]).await.unwrap();
    assert_eq!(audit["balanced"], true);
    world.end().await;
}
