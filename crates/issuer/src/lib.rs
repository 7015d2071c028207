//! Issue one currency and keep the accounts of its holders.
//!
//! ```text
//! holders ═ QUIC ═► one task for each request ─► queue ─► keeper (one thread) ─► Issuer::handle, for each
//!             ▲                                   │           │                        │ records
//!             │                                  full         │                        ▼
//!             │                                   │           │               Journal::append, one sync
//!             │◄── busy ──────────────────────────┘           │                        │ durable
//!             │◄── every answer of the batch ─────────────────┴────────────────────────┘
//! ```
//!
//! # What always holds
//!
//! - The holder is who the key of the connection says. The issuer's own process asks through
//!   [`IssuerHandle`]; another process of its owner, which cannot dial the issuer under its own key, dials
//!   under the [`operator_key`] derived from it.
//! - No answer leaves before everything that it can tell of is durable: commands are answered after their
//!   record was synced, and queries with the batch in which they were asked.
//! - What a currency is — name, symbol, decimals, fee — is the first record of the journal: it cannot change.
//! - One process at a time keeps the books. When they are opened, every record is replayed and the sums are taken anew.
//! - When a record cannot be saved, or the books do not balance, the issuer is halted: whoever asks is told so, and
//!   [`IssuerService::serve`] ends with an error. What was acknowledged is safe; opened again, it goes on from there.
//! - At most [`QUEUE_MAX`] requests wait, on at most [`CONNECTIONS_MAX`] connections, [`CONNECTIONS_PER_HOLDER_MAX`]
//!   of one key, with [`REQUESTS_MAX`] requests in all, [`REQUESTS_PER_HOLDER_MAX`] of one key; whoever comes above
//!   that is told to come later, and who idles gives its place up.
//! - Strangers, whom neither an account nor a hold makes known to the books, cannot keep out who is known: they have
//!   half of the requests, give up their connections first, and are recorded at a few commands a second.
//!
//! # What is not here
//!
//! What a request does (`lcp`, `ledger`), how it comes across (`transport`), the command line, and forgetting: a
//! journal grows by about 200 bytes with each command, by strangers' at most 200 of them a second.
//!
//! ```
//! use fondaco_crypto::SecretKey;
//! use fondaco_issuer::{IssuerConfig, IssuerService};
//! use fondaco_store::SystemClock;
//! use fondaco_units::{Amount, Scale};
//! use std::sync::Arc;
//!
//! # let folder = std::env::temp_dir().join(format!("fondaco-doc-issuer-{}", std::process::id()));
//! let key = SecretKey::from_bytes(&[1; 32]);
//! let config = IssuerConfig::new("harbour crown", "HCR", Scale::new(2).unwrap(), Amount::new(1))?;
//! IssuerService::init(&folder, &key, &config)?;
//! let service = IssuerService::open(&folder, &key, Arc::new(SystemClock))?;
//! assert_eq!(service.currency().symbol.as_str(), "HCR");
//! // service.serve(endpoint, shutdown).await
//! drop(service);
//! let report = fondaco_issuer::audit(&folder)?;
//! assert!(report.balanced);
//! assert_eq!(report.supply, Amount::ZERO);
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod batch;
mod behind;
mod books;
mod classic;
mod config;
mod error;
mod export;
pub mod history;
mod keeper;
mod known;
mod metrics;
mod pace;
mod pages;
mod parked;
mod past;
mod seats;
mod server;
mod service;
#[cfg(test)]
mod simulation;

pub use behind::SNAPSHOT_RECORDS;
pub use books::{Report, audit, backup, snapshot};
pub use config::{ConfigError, IssuerConfig};
pub use error::{IssuerError, RecordError};
pub use export::export;
pub use keeper::{BATCH_MAX, QUEUE_MAX, WAIT_MAX};
pub use metrics::{METRICS_CONTENT_TYPE, Metrics};
pub use pages::MetricsPage;
pub use parked::{PARKED_MAX, PARKED_PER_HOLDER_MAX};
pub use seats::{CONNECTIONS_MAX, CONNECTIONS_PER_HOLDER_MAX, REQUESTS_PER_HOLDER_MAX};
pub use server::{IDLE_TIMEOUT, REQUESTS_MAX, REQUESTS_OF_STRANGERS_MAX};
pub use service::{HandleError, IssuerHandle, IssuerService, Serving, operator_key};
