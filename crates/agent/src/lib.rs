//! Trade for an owner: pay, open contracts, back up, audit and restore.
//!
//! The agent is the buyer's side of the market as a library; the command is a thin shell on it.
//!
//! ```text
//! Wallet        intents saved, sent, settled; pay, be paid, look back, prove    one issuer
//! Opening       prices ─► placement ─► holds ─► contracts      hosts
//! Session       vouchers and steps, one contract               one host
//! Objects       object ─► n shards ─► n sessions; any k back    a set of hosts
//! Repo          rustic_core on Objects: back up, list, restore
//! auditing      unforeseen places, proven or not
//! Book          the journal of all this
//! ```
//!
//! # What always holds
//!
//! - What must be known after a crash is in the journal before it is acted upon.
//! - A host is paid at most one step ahead of what it has served.
//! - Nothing that a host says is believed: bytes are checked against their name, tabs against vouchers.
//!
//! # What is not here
//!
//! Renewal and repair of contracts, and the choice of hosts by their record: every host is a newcomer
//! to this version (see [`NEWCOMER_LOSS`]).

pub mod auditing;
pub mod book;
mod currency;
pub mod entropy;
mod error;
mod journal;
mod objects;
mod opening;
pub mod progress;
mod receipt;
mod repository;
mod session;
mod wallet;

pub use currency::{Balance, Description, Paid};
pub use error::AgentError;
pub use journal::BookFile;
pub use objects::{Objects, Traffic};
pub use opening::{NEWCOMER_LOSS, Opened, Opening, Wish};
pub use receipt::{RECEIPT_TEXT_BYTES_MAX, ReceiptError, receipt_from_text, receipt_to_text};
pub use repository::{BackupReport, Repo, RestoreReport, SnapshotInfo, repository_password};
pub use session::{Put, Session};
pub use wallet::Wallet;

use book::{ContractRecord, Event, ObjectKind, Stage};
use fondaco_contract::{ContractId, Tab};
use fondaco_crypto::SecretKey;
use fondaco_ports::Clock;
use fondaco_transport::Endpoint;
use fondaco_units::{Amount, Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A set that is over sooner than this takes no new objects.
const SET_TIME_LEFT_MIN: Duration = Duration::from_seconds(60);

/// An owner's dealings with storage hosts.
#[derive(Debug)]
pub struct Agent {
    key: SecretKey,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    book: Arc<BookFile>,
}

/// What a contract has come to.
#[derive(Clone, Debug)]
pub struct ContractStatus {
    /// Which contract.
    pub contract: ContractId,
    /// What the agent knows of it.
    pub record: ContractRecord,
    /// What was used; nothing while its host cannot be reached.
    pub tab: Option<Tab>,
    /// What was paid, or would be if the host posted its voucher now; nothing while that is not known.
    pub paid: Option<Amount>,
}

impl Agent {
    /// Opens or creates the agent of the owner of `key` in `folder`; one process at a time.
    pub fn open(
        folder: &Path,
        key: SecretKey,
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AgentError> {
        let book = Arc::new(BookFile::open(&folder.join("journal"))?);
        Ok(Self { key, endpoint, clock, book })
    }

    /// Returns the owner's key.
    pub const fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Returns the agent's book.
    pub const fn book(&self) -> &Arc<BookFile> {
        &self.book
    }

    /// Returns the newest set if it can take new objects: its contracts are open and not
    /// about to end, and none of its providers was caught.
    pub fn usable_set(&self) -> Option<u32> {
        let now = self.clock.now();
        self.book.read(|book| {
            let newest = book.set_count().checked_sub(1)?;
            let usable = book.set(newest)?.contracts.iter().all(|&contract| {
                book.contract(contract).is_some_and(|record| {
                    record.stage == Stage::Open
                        && record.terms.ends > now.after(SET_TIME_LEFT_MIN)
                        && book.distrusted(record.terms.prices.provider).is_none()
                })
            });
            usable.then_some(newest)
        })
    }

    /// Forgets the objects of which too few contracts are left to rebuild them: ended, or over. Returns how many.
    ///
    /// What they held must be stored anew, so a backup comes after this as if the last had been cut off.
    pub fn forget_lost(&self) -> Result<usize, AgentError> {
        let now = self.clock.now();
        let lost: Vec<_> = self.book.read(|book| {
            let lives = |contract: &ContractId| {
                book.contract(*contract)
                    .is_some_and(|record| record.stage == Stage::Open && record.terms.ends > now)
            };
            let is_lost = |set: u32| {
                book.set(set).is_none_or(|set| {
                    let living = set.contracts.iter().filter(|contract| lives(contract)).count();
                    living < usize::from(set.code.k())
                })
            };
            // Without the configuration or a key nothing else can be opened.
            let is_there =
                |kind| book.objects().any(|(id, record)| id.kind == kind && !is_lost(record.set));
            let all = !is_there(ObjectKind::Config) || !is_there(ObjectKind::Key);
            let lost = book.objects().filter(|(_, record)| all || is_lost(record.set));
            lost.map(|(id, _)| id).collect()
        });
        if !lost.is_empty() {
            self.book.record(&Event::BackupStarted)?;
        }
        for &object in &lost {
            self.book.record(&Event::ObjectRemoved { object })?;
        }
        Ok(lost.len())
    }

    /// Returns until when everything stored is kept: when the first contract that holds a shard of it ends.
    pub fn kept_until(&self) -> Option<Timestamp> {
        self.book.read(|book| {
            let sets: BTreeSet<u32> = book.objects().map(|(_, record)| record.set).collect();
            let contracts =
                sets.iter().filter_map(|&set| book.set(set)).flat_map(|set| &set.contracts);
            contracts
                .filter_map(|&contract| book.contract(contract))
                .filter(|record| record.stage == Stage::Open)
                .map(|record| record.terms.ends)
                .min()
        })
    }

    /// Opens new contracts, for a new set.
    pub async fn open_contracts(
        &self,
        wallet: &Wallet,
        hosts: &[fondaco_ports::Address],
        wish: Wish,
    ) -> Result<Opened, AgentError> {
        let currency = wallet.currency();
        let Self { key, endpoint, clock, book } = self;
        let now = clock.now();
        Opening { key, endpoint, book, wallet, currency, clock, now }.open(hosts, wish).await
    }

    /// Returns the owner's objects, ready to be read, and written to the newest set if that is usable.
    pub fn objects(&self) -> Objects {
        Objects::new(Arc::clone(&self.book), self.sessions(), self.usable_set())
    }

    fn sessions(&self) -> BTreeMap<ContractId, Arc<Session>> {
        self.book.read(|book| {
            book.contracts()
                .filter(|(_, record)| record.stage == Stage::Open)
                .map(|(contract, record)| {
                    let (key, endpoint) = (self.key.clone(), self.endpoint.clone());
                    let session = Session::new(
                        key,
                        endpoint,
                        Arc::clone(&self.clock),
                        record,
                        book.given(contract),
                    );
                    (contract, Arc::new(session))
                })
                .collect()
        })
    }

    /// Asks every host how its contract stands.
    pub async fn contracts(&self) -> Vec<ContractStatus> {
        let (sessions, now) = (self.sessions(), self.clock.now());
        let records: Vec<(ContractId, ContractRecord)> = self.book.read(|book| {
            book.contracts().map(|(contract, record)| (contract, record.clone())).collect()
        });
        let mut asking = tokio::task::JoinSet::new();
        for (contract, record) in records {
            let session = sessions.get(&contract).cloned();
            asking.spawn(async move {
                let (tab, paid) = match (&record.stage, session) {
                    (Stage::Ended { tab, paid }, _) => (Some(*tab), Some(*paid)),
                    (Stage::Open, Some(session)) if record.terms.ends > now => {
                        match session.standing().await {
                            Ok((tab, authorised)) => (Some(tab), Some(authorised)),
                            Err(_) => (None, None),
                        }
                    }
                    (Stage::Open | Stage::Intended, _) => (None, None),
                };
                ContractStatus { contract, record, tab, paid }
            });
        }
        let mut contracts = asking.join_all().await;
        contracts.sort_by_key(|status| (status.record.terms.begins, status.contract));
        contracts
    }

    /// Ends every open contract: the host posts its voucher and may delete what it kept.
    pub async fn end_contracts(&self) -> Vec<(ContractId, Result<Amount, AgentError>)> {
        let mut ending = tokio::task::JoinSet::new();
        for (contract, session) in self.sessions() {
            let book = Arc::clone(&self.book);
            ending.spawn(async move {
                let ended = async {
                    let (tab, paid) = session.close().await?;
                    book.record(&Event::ContractEnded { contract, tab, paid })?;
                    Ok(paid)
                };
                (contract, ended.await)
            });
        }
        let mut ended = ending.join_all().await;
        ended.sort_by_key(|(contract, _)| *contract);
        ended
    }
}
