//! What tests share whose hosts are made up: the time, keys, contracts, and where a host listens.
#![allow(dead_code, reason = "each test uses some of it")]

use fondaco_agent::book::{ContractRecord, Event, Stage};
use fondaco_contract::{PriceList, Terms};
use fondaco_crypto::{CurrencyId, SecretKey};
use fondaco_lcp::RequestId;
use fondaco_ports::{Address, Clock};
use fondaco_transport::{Endpoint, Protocol};
use fondaco_units::{Amount, Bytes, Duration, Price, Timestamp};
use std::net::SocketAddr;

pub(crate) const NOON: Timestamp = Timestamp::from_milliseconds(1_058_011_200_000);

/// The seed of the buyer's key.
pub(crate) const BUYER: u8 = 2;

/// A clock that stands.
#[derive(Debug)]
pub(crate) struct At(pub(crate) Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes(&[seed; 32])
}

/// What the host of this key asks for.
pub(crate) fn prices(host: u8) -> PriceList {
    let hour = Duration::from_seconds(3600);
    PriceList {
        provider: key(host).entity(),
        currency: CurrencyId::issued_by(key(9).entity()),
        open: Amount::new(1),
        store: Price::from_parts(1),
        write: Price::from_parts(1),
        read: Price::from_parts(1),
        capacity: Bytes::new(1 << 30),
        period_max: Duration::from_seconds(86_400),
        epoch: hour,
        step_max: Bytes::new(1 << 14),
        issued: NOON,
        expires: NOON.after(hour),
    }
}

/// A day with the host of this key, at its prices.
pub(crate) fn terms(host: u8, prices: &PriceList, nonce: u128) -> Terms {
    let (list, size, day) =
        (prices.sign(&key(host)), Bytes::new(1 << 20), Duration::from_seconds(86_400));
    Terms::new(key(BUYER).entity(), &list, size, NOON, day, nonce)
}

/// An open contract, whose host is there.
pub(crate) fn contract(terms: Terms, nonce: u128, address: Address) -> ContractRecord {
    ContractRecord {
        terms,
        address,
        hold_request: RequestId::new(nonce),
        hold_max: Amount::new(1_000_000),
        hold_expires: NOON,
        stage: Stage::Open,
    }
}

/// What has a contract with the host of this key in a book.
pub(crate) fn events(record: &ContractRecord, host: u8) -> [Event; 2] {
    let ContractRecord { terms, address, hold_request, hold_max, hold_expires, .. } =
        record.clone();
    let (contract, provider_signature) = (terms.id(), terms.sign_as_provider(&key(host)));
    [
        Event::ContractIntended { terms, address, hold_request, hold_max, hold_expires },
        Event::ContractOpened { contract, provider_signature },
    ]
}

/// Listens as the host of this key.
pub(crate) async fn listen(host: u8) -> Endpoint {
    let loopback = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Endpoint::bind(&key(host), loopback, &[Protocol::Storage]).await.unwrap()
}
