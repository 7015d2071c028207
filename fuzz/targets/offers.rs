//! What is read as a message of a broker is written as the same bytes; whatever is posted, the broker answers and no ask
//! that its provider did not sign is shown.
#![no_main]

use fondaco_contract::{Asks, AsksLimits, Sought};
use fondaco_crypto::{CurrencyId, EntityId};
use fondaco_ports::market::Frame as _;
use fondaco_ports::offers::{Request, Response};
use fondaco_units::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::from_frame(bytes) {
        assert!(bytes.len() <= Request::FRAME_MAX);
        assert_eq!(request.to_frame(), bytes);
        let mut asks = Asks::new(AsksLimits { asks_max: 2, asks_per_network_max: 1 });
        match request {
            Request::Post { ask } => {
                let issued = ask.ask.prices.prices.issued;
                let sought = Sought::usual(ask.ask.prices.prices.currency);
                let _ = sought.rate(&ask.ask.prices.prices);
                if let Ok(checked) = ask.check(issued) {
                    assert!(asks.insert(None, checked).is_ok());
                    assert!(asks.query(issued, &sought, None, 9).count <= 1);
                }
            }
            Request::Query { sought, limit, after } => {
                assert_eq!(asks.query(Timestamp::EPOCH, &sought, after, limit.into()).count, 0);
            }
            Request::Everybody { limit, after } => {
                let (all, next) = asks.everybody(Timestamp::EPOCH, after, limit.into());
                assert!(all.is_empty() && next.is_none());
            }
            Request::Find { provider } => assert!(asks.get(provider).is_none()),
            Request::Withdraw | Request::Status => {
                let nobody = EntityId::from_bytes([0; 32]);
                assert!(!asks.remove(nobody));
                let sought = Sought::usual(CurrencyId::issued_by(nobody));
                assert_eq!(asks.query(Timestamp::EPOCH, &sought, None, 1).count, 0);
            }
        }
    }
    if let Ok(response) = Response::from_frame(bytes) {
        assert!(bytes.len() <= Response::FRAME_MAX);
        assert_eq!(response.to_frame(), bytes);
    }
});
