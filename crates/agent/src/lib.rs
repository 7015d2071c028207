//! Trade for an owner: pay, open contracts, back up, audit and restore.
//!
//! The agent is the buyer's side of the market as a library; the command is a thin shell on it.
//!
//! ```text
//! Wallet        intents saved, sent, settled; pay, be paid, look back, prove    one issuer
//! InvoiceFile   what was asked for, and which deposit paid it   several issuers
//! discovery     brokers ─► checked asks ─► hosts                several brokers
//! posting       a provider's ask, shown at brokers
//! Opening       prices ─► placement ─► holds ─► contracts      hosts; or only a Quote
//! Session       vouchers and steps, one contract               one host
//! finding       a host that moved ──► its new address           brokers, hosts
//! renewing      the same shards under a new contract           one host
//! Objects       object ─► n shards ─► n sessions; any k back    a set of hosts
//! delegate      the same for another, who is away              a set of hosts
//! repair        lost slots of a set ──► new hosts, shard by shard
//! Repo          rustic_core on Objects: back up, look, restore, check, forget, prune, mount
//! auditing      unforeseen places, proven or not; each in the AuditLog
//! Book          the journal of all this
//! state         the book itself, sealed, with every host; and back from the key alone
//! ```
//!
//! # What always holds
//!
//! - What must be known after a crash is in the journal before it is acted upon.
//! - A host is paid at most one step ahead of what it has served.
//! - Nothing that a host says is believed: bytes are checked against their name, tabs against vouchers.

mod accounts;
pub mod audit_log;
pub mod auditing;
pub mod book;
mod choosing;
mod currency;
pub mod delegate;
pub mod discovery;
mod ending;
pub mod entropy;
mod error;
mod finding;
mod invoicing;
mod journal;
mod losses;
mod money;
mod objects;
mod opening;
mod payments;
#[cfg(feature = "simulation")]
pub mod planted;
pub mod posting;
pub mod progress;
mod quoting;
mod receipt;
mod renewing;
pub mod repair;
mod repository;
mod session;
mod state;
mod steps;
pub mod tagging;
mod wallet;

pub use accounts::Known;
pub use audit_log::{AuditLog, LogBefore, SignedEntry};
pub use choosing::{Durability, LOSS_QUANTILE, newcomer_loss, probability};
pub use currency::{Balance, Description, Paid, await_deposits};
pub use error::AgentError;
pub use finding::{Answer, Named, News, Seek, Told};
pub use fondaco_reputation::Standing;
pub use fondaco_reputation::{Limits as MoneyLimits, LimitsError, Share};
pub use invoicing::{
    Asked, INVOICE_TEXT_BYTES_MAX, InvoiceFile, InvoiceTextError, invoice_from_text,
    invoice_to_text, is_invoice, state_word,
};
pub use journal::BookFile;
pub use losses::{BrokenPut, BrokenRead, Loss};
pub use money::Money;
pub use objects::{CarryOver, FailedHosts, Objects, Renews, Traffic};
pub use opening::{Beside, Opened, Opening, Trust, Wish};
pub use payments::{
    PAYMENTS_BYTES_MAX, PAYMENTS_MAX, PaidAll, Payment, Payments, PaymentsError, PaymentsFormat,
};
pub use quoting::{Quote, QuotedHost};
pub use receipt::{RECEIPT_TEXT_BYTES_MAX, ReceiptError, receipt_from_text, receipt_to_text};
pub use renewing::{Renewal, Renewed};
pub use repository::{
    Attributes, BackupReport, Change, CheckReport, Difference, Entry, EntryKind, EntryNumber,
    Forget, ForgetReport, Keep, Place, PruneReport, Refused, Repo, RepositoryError, RestoreReport,
    SnapshotInfo, Special, TOP, View, is_of_cache, repository_password,
};
pub use session::{Closed, Put, Session};
pub use state::{Note, Recovered, STATE_BYTES_MAX, StateReport, recover};
pub use wallet::{Resumed, Torn, Wallet};

use audit_log::LogHead;
use auditing::Audited;
use book::{Book, ContractRecord, Event, ObjectId, ObjectKind, ObjectRecord, Stage};
use fondaco_audit::AuditKey;
use fondaco_contract::{ContractId, Ending, Input, Label, State, Tab};
use fondaco_crypto::{Digest, EntityId, SecretKey};
use fondaco_ports::Clock;
use fondaco_transport::Endpoint;
use fondaco_units::{Amount, Bytes, Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A set that is over sooner than this takes no new objects.
const SET_TIME_LEFT_MIN: Duration = Duration::from_seconds(60);

/// How long a host may take to say whether a contract is over.
const OVER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// An owner's dealings with storage hosts.
#[derive(Debug)]
pub struct Agent {
    key: SecretKey,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    book: Arc<BookFile>,
    trust: Trust,
    /// How sums are told.
    money: Money,
    /// How many steps each host may have been paid for nothing.
    risk: u64,
    /// Where the audit log is.
    audits: PathBuf,
    /// Who could not be dialled lately.
    away: Arc<session::Away>,
    /// What is known of each contract that is dealt with.
    states: session::States,
    /// Dials hosts, wherever they are.
    finder: Arc<finding::Finder>,
    /// Who runs hosts, as their asks said to this process.
    operators: Mutex<BTreeMap<EntityId, Label>>,
    /// With what it audits, if not with its own key.
    audit_key: Option<AuditKey>,
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
    /// Whether it is the issuer that says what was paid.
    pub settled: bool,
    /// Where it stands: as its host says, or as far as the agent knows without it. Nothing of one that has ended, and nobody
    /// said how.
    pub state: Option<State>,
    /// The receipts for shards deleted under it, and the bytes that they freed.
    pub deleted: (u64, Bytes),
    /// What is known of its account without its host.
    pub known: Known,
}

impl Agent {
    /// Opens or creates the agent of the owner of `key` in `folder`; one process at a time.
    pub fn open(
        folder: &Path,
        key: SecretKey,
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AgentError> {
        let book = BookFile::open(&folder.join("journal"))?;
        Ok(Self { audits: folder.join("audits"), ..Self::with_book(book, key, endpoint, clock) })
    }

    /// Returns the agent of the owner of `key`, whose book is open; its audit log is where this process runs.
    pub fn with_book(
        book: BookFile,
        key: SecretKey,
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (book, audits) = (Arc::new(book), PathBuf::from("audits"));
        let (operators, audit_key, away) = (Mutex::default(), None, Arc::default());
        let (trust, risk) = (Trust::ANY, 1);
        let (own, dialling, time) = (key.clone(), endpoint.clone(), Arc::clone(&clock));
        let finder = finding::Finder::new(own, dialling, &book, time, Seek::default());
        let finder = Arc::new(finder);
        let money = Money::default();
        Self {
            key,
            endpoint,
            clock,
            book,
            trust,
            money,
            risk,
            audits,
            operators,
            audit_key,
            away,
            states: session::States::default(),
            finder,
        }
    }

    /// Trusts hosts with no more at once than this; without bounds, if nothing is said.
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Tells sums of money by this.
    #[must_use]
    pub fn with_money(self, money: Money) -> Self {
        Self { money, ..self }
    }

    /// Lets each host have been paid so many steps for nothing before it is paid no more; one, if nothing is said.
    #[must_use]
    pub const fn with_risk(mut self, steps: u64) -> Self {
        self.risk = steps;
        self
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
    /// about to end, and each of its providers is paid for what it keeps (see [`Book::is_paid`]).
    pub fn usable_set(&self) -> Option<u32> {
        let now = self.clock.now();
        self.book.read(|book| {
            let newest = book.set_count().checked_sub(1)?;
            let usable = book.set(newest)?.contracts.iter().all(|&contract| {
                book.contract(contract).is_some_and(|record| {
                    record.stage == Stage::Open
                        && record.terms.ends > now.after(SET_TIME_LEFT_MIN)
                        && book.is_paid(record.terms.prices.provider)
                })
            });
            usable.then_some(newest)
        })
    }

    /// Forgets the objects of which too few contracts are left to rebuild them: ended, or over; and all, if so the
    /// configuration or the last key is lost. Returns how many.
    ///
    /// What they held must be stored anew, so a backup comes after this as if the last had been cut off. A clock alone
    /// ends no contract: of those that are over by this machine's, the hosts are asked first.
    ///
    /// # Errors
    ///
    /// A host still serves a contract that is over by this machine's clock; or the journal failed.
    pub async fn forget_lost(&self) -> Result<usize, AgentError> {
        let over = self.over().await?;
        let lost = self.book.read(|book| lost(book, &over));
        if !lost.is_empty() {
            self.book.record(&Event::BackupStarted)?;
        }
        for &object in &lost {
            self.book.record(&Event::ObjectRemoved { object })?;
        }
        Ok(lost.len())
    }

    /// Returns the contracts that are over though nobody has ended them: by this machine's clock, and by what their
    /// hosts say, or by the clock of any of these hosts. While nobody answers, there are none.
    async fn over(&self) -> Result<BTreeSet<ContractId>, AgentError> {
        let now = self.clock.now();
        let sessions = self.sessions();
        if sessions.values().all(|session| session.ends() > now) {
            return Ok(BTreeSet::new());
        }
        let mut asking = tokio::task::JoinSet::new();
        for (contract, session) in sessions {
            asking.spawn(async move {
                let asked = tokio::time::timeout(OVER_PATIENCE, session.is_over(now)).await;
                (contract, session, asked)
            });
        }
        let (mut all, mut over, mut is_clock_right) = (BTreeSet::new(), BTreeSet::new(), false);
        for (contract, session, asked) in asking.join_all().await {
            let answer = asked.ok().and_then(Result::ok);
            is_clock_right |= answer.is_some_and(|(_, agrees)| agrees);
            if session.ends() > now {
                continue;
            }
            all.insert(contract);
            let Some((is_over, _)) = answer else { continue };
            if is_over {
                over.insert(contract);
            } else {
                return Err(AgentError::Invalid {
                    what: format!(
                        "the clock shows {now}, but provider {} still serves a contract that ends at {}",
                        session.provider().short(),
                        session.ends()
                    ),
                    hint: "set the clock of this machine, then run this again".to_owned(),
                });
            }
        }
        Ok(if is_clock_right { all } else { over })
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
        self.heed_budget(wallet, wish.budget).await;
        self.opening(wallet).open(hosts, wish).await
    }

    /// Opens contracts for a new set that keeps those of the newest one that are fine; where that will not do, for a whole new set.
    ///
    /// # Errors
    ///
    /// As [`open_contracts`](Self::open_contracts).
    pub async fn open_contracts_beside(
        &self,
        wallet: &Wallet,
        hosts: &[fondaco_ports::Address],
        wish: Wish,
        beside: &Beside<'_>,
    ) -> Result<Opened, AgentError> {
        self.heed_budget(wallet, wish.budget).await;
        self.opening(wallet).open_beside(hosts, wish, beside).await
    }

    /// Brings together what opening contracts needs.
    fn opening<'a>(&'a self, wallet: &'a Wallet) -> Opening<'a> {
        let Self { key, endpoint, clock, book, trust, finder, .. } = self;
        let (currency, now, trust) = (wallet.currency(), clock.now(), *trust);
        let money = self.money.clone();
        let operators = self.operators.lock().expect("no panic under this lock").clone();
        Opening {
            key,
            endpoint,
            finder,
            book,
            wallet,
            currency,
            clock,
            now,
            trust,
            money,
            operators,
        }
    }

    /// Says what contracts for a new set would cost, and how sure they would be; opens and pays nothing.
    pub async fn quote(
        &self,
        wallet: &Wallet,
        hosts: &[fondaco_ports::Address],
        wish: Wish,
    ) -> Result<Quote, AgentError> {
        self.opening(wallet).quote(hosts, wish).await
    }

    /// Returns the owner's objects, ready to be read, and written to the newest set if that is usable.
    pub fn objects(&self) -> Objects {
        Objects::new(Arc::clone(&self.book), self.sessions(), self.usable_set())
            .of_another(self.audit_key.is_some())
    }

    fn session(&self, record: &ContractRecord, given: Bytes) -> Session {
        let (key, endpoint) = (self.key.clone(), self.endpoint.clone());
        let session = Session::new(key, endpoint, Arc::clone(&self.clock), record, given);
        let session = session.dialling_by(Arc::clone(&self.finder));
        session.auditing_with(self.audit_key.clone()).reading_of_another(self.audit_key.is_some())
    }

    fn sessions(&self) -> BTreeMap<ContractId, Arc<Session>> {
        self.book.read(|book| {
            book.contracts()
                .filter(|(_, record)| record.stage == Stage::Open)
                .map(|(contract, record)| (contract, self.session_in(book, contract, record)))
                .collect()
        })
    }

    fn session_in(
        &self,
        book: &Book,
        contract: ContractId,
        record: &ContractRecord,
    ) -> Arc<Session> {
        let (given, lost) = (book.given(contract), book.loss(contract));
        let session = self
            .session(record, given)
            .with_losses(lost, self.risk)
            .with_cut(book.cut(contract))
            .sharing(&self.states)
            .noting_in(Arc::clone(&self.book));
        let session = session.with_away(Arc::clone(&self.away));
        let session = session.passed_on(book.was_passed_on(contract));
        session.pay(book.is_paid(record.terms.prices.provider));
        Arc::new(session.tagging_as(book.origin(contract)))
    }

    /// Audits every open contract, and writes what it showed into the audit log; `done` is called after each. This is
    /// the one way to audit: what is to be known of each provider follows from what it returns.
    ///
    /// # Errors
    ///
    /// [`AgentError::AuditLog`] before anything is asked, if the log is not as it was; and failures of this machine.
    pub async fn audit(
        &self,
        objects: &Objects,
        kind: auditing::Kind,
        samples: u32,
        done: impl FnMut(&Audited),
    ) -> Result<Vec<Audited>, AgentError> {
        self.audit_of(objects, |_| true, kind, samples, done).await
    }

    /// The same, of those open contracts alone for which `is_asked` says so.
    ///
    /// # Errors
    ///
    /// As [`Agent::audit`].
    pub async fn audit_of(
        &self,
        objects: &Objects,
        is_asked: impl Fn(ContractId) -> bool,
        kind: auditing::Kind,
        samples: u32,
        done: impl FnMut(&Audited),
    ) -> Result<Vec<Audited>, AgentError> {
        let mut log = self.audit_log(|_| ())?;
        let how = (kind, samples, entropy::random()?);
        let audited = auditing::audit_of(objects, is_asked, how, done).await?;
        if !audited.is_empty() {
            self.note_audits(log.append(&self.key, &audited)?)?;
        }
        Ok(audited)
    }

    /// Opens the audit log and checks all of it; `visit` is given each entry.
    ///
    /// # Errors
    ///
    /// As [`AuditLog::open`].
    pub fn audit_log(&self, visit: impl FnMut(SignedEntry)) -> Result<AuditLog, AgentError> {
        let noted = self.book.read(book::Book::audits);
        AuditLog::open(&self.audits, self.key.entity(), noted, visit)
    }

    /// Moves the audit log aside, and begins another with the next audit. Returns where the old one is now.
    pub fn begin_audit_log_anew(&self) -> Result<PathBuf, AgentError> {
        let aside = audit_log::set_aside(&self.audits, self.clock.now())?;
        self.note_audits(LogHead::default())?;
        Ok(aside)
    }

    fn note_audits(&self, LogHead { entries, link }: LogHead) -> Result<(), AgentError> {
        let link = link.unwrap_or(Digest::ZERO);
        self.book.record(&Event::AuditsLogged { entries, link })
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
            let (renewals, deleted, known) = self.book.read(|book| {
                let renewals = book.renewals(contract).first().map(|record| record.terms.id());
                (renewals, book.deletions(contract), accounts::Known::of(book, contract))
            });
            asking.spawn(async move {
                let (mut tab, mut paid, mut state) = (None, None, Some(State::Offered));
                let mut settled = false;
                match (&record.stage, session) {
                    (Stage::Ended(end), _) => {
                        (tab, paid, state, settled) = (end.tab, end.paid, end.state, end.settled);
                    }
                    (Stage::Open, session) => {
                        let is_over = record.terms.ends <= now;
                        let over = State::ended(record.terms.ends, Ending::Over);
                        let mut stands = if is_over { over } else { State::Open };
                        if let Some(session) = session.filter(|session| session.away().is_none())
                            && let Ok((used, authorised)) = session.standing().await
                        {
                            (tab, paid) = (Some(used), Some(authorised));
                            let said = session.stands().await;
                            stands =
                                said.filter(|said| !is_over || said.has_ended()).unwrap_or(stands);
                        }
                        if let Some(successor) = renewals {
                            stands = stands.step(Input::Renew { successor }).unwrap_or(stands);
                        }
                        state = Some(stands);
                    }
                    (Stage::Intended, _) => {}
                }
                ContractStatus { contract, record, tab, paid, settled, state, deleted, known }
            });
        }
        let mut contracts = asking.join_all().await;
        contracts.sort_by_key(|status| (status.record.terms.begins, status.contract));
        self.note_accounts(&contracts);
        contracts
    }
}

/// Returns the objects of which too few shards are left, when these contracts are over.
fn lost(book: &Book, over: &BTreeSet<ContractId>) -> Vec<ObjectId> {
    let lives = |contract: ContractId| {
        book.contract(contract).is_some_and(|record| record.stage == Stage::Open)
            && !over.contains(&contract)
    };
    let is_lost = |record: &ObjectRecord| {
        let living = book.slots_of(record).filter(|(contract, _)| lives(*contract)).count();
        living < usize::from(record.code.k())
    };
    // Without the configuration or a key nothing else can be opened. Where none was ever stored, as by a client that stores
    // packs first, nothing is known of that: it may have it yet.
    let is_gone = |kind| {
        let mut all = book.objects().filter(|(id, _)| id.kind == kind).peekable();
        all.peek().is_some() && all.all(|(_, record)| is_lost(record))
    };
    let all = is_gone(ObjectKind::Config) || is_gone(ObjectKind::Key);
    let lost = book.objects().filter(|(_, record)| all || is_lost(record));
    let mut lost: Vec<_> = lost.map(|(id, _)| id).collect();
    // By what all is lost goes last: whoever is cut off before begins again.
    lost.sort_by_key(|id| matches!(id.kind, ObjectKind::Config | ObjectKind::Key));
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use book::tests::{intended, opened, set, terms};
    use fondaco_audit::ShardId;
    use fondaco_codec::List;
    use fondaco_crypto::Digest;
    use fondaco_units::Bytes;

    #[test]
    fn what_has_too_few_contracts_left_is_lost() {
        let object = |kind, name| ObjectId { kind, name: Digest::from_bytes([name; 32]) };
        let stored = |object, set, k| Event::ObjectCoded {
            object,
            length: Bytes::new(10),
            set,
            k,
            shards: List::new(vec![ShardId::of(&[1]), ShardId::of(&[2])]).unwrap(),
        };
        let (config, key) = (object(ObjectKind::Config, 0), object(ObjectKind::Key, 1));
        let (one, two) = (object(ObjectKind::Pack, 2), object(ObjectKind::Pack, 3));
        let mut book = Book::default();
        let contracts = (1..=4).flat_map(|nonce| [intended(nonce), opened(nonce)]);
        let objects = [
            set(2, &[1, 2]),
            set(2, &[3, 4]),
            stored(config, 0, 1),
            stored(key, 0, 1),
            stored(one, 0, 2),
            stored(two, 1, 2),
        ];
        contracts.chain(objects).for_each(|event| book.apply(&event).unwrap());
        // One line for each: which contracts are over, and what is lost by that.
        let table: [(&[u128], &[ObjectId]); 6] = [
            (&[], &[]),
            (&[1], &[one]), // configuration and key need one shard of two
            (&[4], &[two]),
            (&[2, 3], &[one, two]),
            (&[1, 2], &[one, two, config, key]), // nothing can be opened any more
            (&[1, 2, 3, 4], &[one, two, config, key]),
        ];
        for (over, expected) in table {
            let over = over.iter().map(|&nonce| terms(nonce).id()).collect();
            assert_eq!(lost(&book, &over), expected, "{over:?}");
        }
        // Where there never was a configuration, or a key, each object counts for itself.
        for object in [config, key] {
            let mut book = book.clone();
            book.apply(&Event::ObjectRemoved { object }).unwrap();
            assert_eq!(lost(&book, &BTreeSet::new()), []);
            assert_eq!(lost(&book, &[terms(4).id()].into()), [two]);
        }
        let (tab, paid) = (Tab::default(), Amount::ZERO);
        book.apply(&Event::ContractEnded { contract: terms(1).id(), tab, paid }).unwrap();
        assert_eq!(lost(&book, &BTreeSet::new()), [one], "an ended one is over for everybody");
    }
}
