//! Keep providers' signed asks and show them to whoever wants to buy.
//!
//! A *broker* is where strangers find each other. It is trusted with nothing: asks are signed by their providers, who
//! answer for them with their keys, and a buyer asks two brokers, since one could hold asks back. It keeps nothing on
//! disk: a provider posts its ask again and again, so a broker that starts anew knows the market within minutes.
//!
//! - [`Broker`]: the core: which asks there are, what is refused and why. It touches neither network nor clock.
//! - [`BrokerService`]: the shell: connections, streams, and how much strangers may take of them.
//!
//! ```text
//! stream ──► pace: key, network, all ──► Broker::handle (one lock) ──► answer
//! ```
//!
//! # What always holds
//!
//! - An ask is posted and withdrawn by its own provider, who proved its key by dialling.
//! - Keys cost nothing, so what is bounded is networks: asks, connections and requests, each network's and all together.
//! - A refusal changes nothing, and says why.
//!
//! # What is not here
//!
//! Matching: a buyer of storage chooses many providers at once (see `placement`). Passing asks on to other brokers.
//!
//! ```
//! use fondaco_broker::{Broker, BrokerLimits};
//! use fondaco_crypto::SecretKey;
//! use fondaco_ports::offers::{Request, Response};
//! use fondaco_units::Timestamp;
//!
//! let mut broker = Broker::new(Timestamp::EPOCH, BrokerLimits::default());
//! let anybody = SecretKey::from_bytes(&[7; 32]).entity();
//! let answer = broker.handle(Timestamp::EPOCH, anybody, None, Request::Withdraw);
//! assert_eq!(answer, Response::Withdrawn);
//! ```

mod core;
mod pace;
mod seats;
mod service;

pub use core::{Broker, BrokerLimits, Counts};
pub use fondaco_transport::pace::Rate;
pub use pace::{ALL_PACE, KEY_PACE, NETWORK_PACE};
pub use seats::{CONNECTIONS_MAX, CONNECTIONS_PER_KEY_MAX, CONNECTIONS_PER_NETWORK_MAX};
pub use service::{BrokerService, IDLE_TIMEOUT, REQUESTS_MAX, REQUESTS_PER_KEY_MAX};
