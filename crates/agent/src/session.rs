//! One contract with one host: a voucher with every step, and the tab that both sides keep.
//!
//! ```text
//! connect ──► Status: the host's tab and highest voucher ──► steps, each with the next voucher
//!    ▲                                                          │
//!    └──────────── anything failed: what was served is not known ┘
//! ```
//!
//! Steps of a contract go one after the other, so that a host is never more than one step ahead of what
//! was paid, nor the buyer of what was served. The buyer keeps no running total on disk: after any break
//! it asks the host, who can only show a voucher that this buyer signed (decision 1). What the host counts
//! beyond what it answered is a loss, is in the book before anything more is paid, and ends the payments when it is more
//! than a step (see `losses`).

mod asking;
mod away;
mod keeping;
mod losing;
mod marking;
mod older;
mod over;
mod putting;
mod reaching;
mod reading;
mod silence;

pub(crate) use asking::{admit, offer};
pub(crate) use away::Away;
pub(crate) use losing::States;
pub(crate) use marking::mine;
pub use over::Closed;
pub use putting::Put;
pub(crate) use reaching::offer_of;

use crate::AgentError;
use crate::book::ContractRecord;
use crate::delegate::WATCH_SIZE;
use crate::finding::Finder;
use crate::journal::BookFile;
use crate::losses::{Loss, Losses};
use crate::steps::Slot;
use asking::{ask, is_ours, misanswer};
use fondaco_audit::{AuditKey, Part, ShardId, TagKey};
use fondaco_codec::List;
use fondaco_contract::{
    Charge, ContractId, Deletion, Ending, SignedDeletion, State as Standing, Tab, TabError, Terms,
};
use fondaco_crypto::{EntityId, SecretKey, Signature};
use fondaco_ledger::{HoldId, SignedVoucher, Voucher};
use fondaco_ports::market::{PROOF_CHARGED, ProvePart, Reason, Request, Response};
use fondaco_ports::{Address, Clock};
use fondaco_transport::{CloseReason, Connection, Endpoint, TransportError};
use fondaco_units::{Amount, Bytes, Timestamp};
use silence::Heard;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// One contract with one host: connects when first used, and again after a break.
#[derive(Debug)]
pub struct Session {
    key: SecretKey,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    address: Address,
    /// Dials the host, if it is looked for where it is not.
    finder: Option<Arc<Finder>>,
    terms: Terms,
    hold: HoldId,
    hold_max: Amount,
    /// The most bytes that the host can have of ours: what it is paid for keeping is never more.
    given: AtomicU64,
    /// What was signed for by this process, over what the host had before.
    spent: AtomicU64,
    /// How many reads were answered.
    answers: AtomicU64,
    /// Whether its host is given anything new and paid for further epochs; reading is always paid for.
    is_paid: AtomicBool,
    /// The contract that its slot had first: what the shards are tagged under.
    origin: ContractId,
    /// With what it audits, if not with its own key.
    audit_key: Option<AuditKey>,
    /// Whether what it reads is another's, who may remove it.
    of_another: bool,
    /// Whether the host has renewed the contract with another, and may have forgotten it since.
    passed_on: AtomicBool,
    /// Made when first needed.
    tag_key: OnceLock<TagKey>,
    /// Who could not be dialled lately, of all that this process deals with.
    away: Arc<Away>,
    /// When the host was heard of last.
    heard: Heard,
    /// Where what is lost is noted.
    book: Option<Arc<BookFile>>,
    state: Arc<Mutex<State>>,
    /// Whether the account is asked for anew, whatever other sessions know.
    asks_anew: AtomicBool,
}

#[derive(Debug)]
struct State {
    connection: Option<Connection>,
    /// What both sides have counted; nothing when it must be asked for.
    tab: Option<Tab>,
    /// The highest total signed for, as far as the host has shown or we know.
    authorised: Amount,
    /// When dialling failed last, and why, if it has not succeeded since: who waited for it need not try the same again.
    failed: Option<(Instant, TransportError)>,
    /// What the account would be if the host counted what it refused last.
    refused: Option<Tab>,
    /// Whether a read or proof was never answered: the host may count it at any time.
    unanswered: bool,
    /// Where the contract stands, as the host said last.
    stands: Option<Standing>,
    /// What was sent again, for who asks for it next.
    again: Option<reading::Part>,
    losses: Losses,
    /// What the book has of them.
    noted: Loss,
    /// How many epochs the host has acknowledged to this process that it was paid for.
    epochs_paid: u64,
    /// Where it is written that a step is open, if one is.
    slot: Option<Slot>,
    /// Where it is written that a put of several steps is under way, if one is.
    begun: Option<Slot>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            connection: None,
            tab: None,
            authorised: Amount::ZERO,
            failed: None,
            refused: None,
            unanswered: false,
            stands: None,
            again: None,
            losses: Losses::new(Loss::default(), 1),
            noted: Loss::default(),
            epochs_paid: 0,
            slot: None,
            begun: None,
        }
    }
}

/// What a host is dealt with for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To give it something, or to have it keep what it has.
    Keeping,
    /// To get back what it has, or a proof of it.
    Reading,
    /// To put this shard there.
    Putting(ShardId),
}

impl Session {
    /// Creates the session of a contract under which at most so many bytes were ever given; nothing is sent yet.
    pub fn new(
        key: SecretKey,
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
        record: &ContractRecord,
        given: Bytes,
    ) -> Self {
        let (terms, address, hold) = (record.terms, record.address.clone(), record.hold());
        Self::under(key, endpoint, clock, address, terms, (hold, record.hold_max), given)
    }

    /// Creates the session of a contract with these terms, which that hold pays for up to its maximum.
    fn under(
        key: SecretKey,
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
        address: Address,
        terms: Terms,
        (hold, hold_max): (HoldId, Amount),
        given: Bytes,
    ) -> Self {
        Self {
            key,
            endpoint,
            clock,
            address,
            finder: None,
            terms,
            hold,
            hold_max,
            given: AtomicU64::new(given.get()),
            spent: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            is_paid: AtomicBool::new(true),
            origin: terms.id(),
            audit_key: None,
            of_another: false,
            passed_on: AtomicBool::new(false),
            tag_key: OnceLock::new(),
            away: Arc::default(),
            heard: Heard::default(),
            book: None,
            state: Arc::default(),
            asks_anew: AtomicBool::new(false),
        }
    }

    /// Audits and tags with this key instead of its own.
    #[must_use]
    pub fn auditing_with(mut self, key: Option<AuditKey>) -> Self {
        self.audit_key = key;
        self
    }

    /// Reads what another keeps with the host: that it is not there is nothing to be caught by.
    #[must_use]
    pub const fn reading_of_another(mut self, of_another: bool) -> Self {
        self.of_another = of_another;
        self
    }

    /// Tags shards as the contract did that the slot of this one had first: so that those that were there before a renewal
    /// are proven as they were made.
    #[must_use]
    pub const fn tagging_as(mut self, origin: ContractId) -> Self {
        self.origin = origin;
        self
    }

    /// Says whether the host is given anything new, and paid for further epochs; it is, if nothing is said.
    pub fn pay(&self, is_paid: bool) {
        self.is_paid.store(is_paid, Ordering::Relaxed);
    }

    /// Returns what was signed for by this process, over what the host had before.
    pub fn spent(&self) -> Amount {
        Amount::new(self.spent.load(Ordering::Relaxed))
    }

    /// Returns how many steps of reads were answered: who waits for one sees by it that the host is there.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Returns whose host this is.
    pub const fn provider(&self) -> EntityId {
        self.terms.prices.provider
    }

    /// Returns the contract.
    pub fn contract(&self) -> ContractId {
        self.terms.id()
    }

    /// Returns what time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns whether shards are kept under the contract, and not only read.
    pub(crate) fn keeps(&self) -> bool {
        self.terms.size_max > WATCH_SIZE
    }

    /// Returns what makes and checks the tags of the slot that this contract has.
    pub fn tag_key(&self) -> &TagKey {
        self.tag_key.get_or_init(|| {
            let key = self.audit_key.clone().unwrap_or_else(|| AuditKey::of(&self.key));
            key.for_contract(self.origin.digest())
        })
    }

    /// Has the host sign the terms; asked again, it gives the same signature.
    pub async fn open(&self) -> Result<Signature, AgentError> {
        let mut state = self.lock().await?;
        let connection = self.connected(&mut state).await?;
        let quote = self.quote(&Tab::default(), Charge::Open)?;
        let request = Request::Open {
            terms: self.terms,
            buyer_signature: self.terms.sign_as_buyer(&self.key),
            voucher: self.voucher(&mut state, quote)?,
        };
        match ask(&connection, &request).await? {
            Response::Opened { provider_signature } => {
                self.terms.verify_provider(&provider_signature).map_err(|error| {
                    AgentError::Misanswer { peer: self.provider(), what: error.to_string() }
                })?;
                Ok(provider_signature)
            }
            other => Err(misanswer(self.provider(), &other)),
        }
    }

    /// Has the host sign terms that take over `stored` bytes of the contract they renew; returns also that contract's
    /// account, as it ended. Asked again, it gives the same.
    pub async fn renew(&self, stored: Bytes) -> Result<(Signature, Tab), AgentError> {
        let mut state = self.lock().await?;
        self.believe(stored)?;
        let connection = self.connected(&mut state).await?;
        let tab = self.add(&Tab::default(), Charge::Open)?;
        let quote = self.quote(&tab, Charge::Store { bytes: stored, epochs: 1 })?;
        let request = Request::Renew {
            terms: self.terms,
            buyer_signature: self.terms.sign_as_buyer(&self.key),
            voucher: self.voucher(&mut state, quote)?,
        };
        match ask(&connection, &request).await? {
            Response::Renewed { provider_signature, tab } => {
                self.terms.verify_provider(&provider_signature).map_err(|error| {
                    AgentError::Misanswer { peer: self.provider(), what: error.to_string() }
                })?;
                Ok((provider_signature, tab))
            }
            other => Err(misanswer(self.provider(), &other)),
        }
    }

    /// Asks about what the host was paid to keep: that it is lost is an answer that it is caught by. So is a refusal, if
    /// the host then shows the account that it would have come to with the answer, and no other request explains that.
    async fn ask_of_kept(
        &self,
        connection: &Connection,
        request: &Request,
        state: &mut State,
        charged: Tab,
    ) -> Result<Response, AgentError> {
        let before = std::mem::replace(&mut state.unanswered, true);
        let answer = self.waited_for(state, ask(connection, request)).await;
        let is_answered = matches!(answer, Ok(_) | Err(AgentError::Provider { .. }));
        state.unanswered = before || !is_answered;
        // A voucher may have been used up by a request of a process before this one.
        let is_refused = matches!(
            &answer,
            Err(AgentError::Provider { reason, .. }) if !matches!(reason, Reason::Unpaid { .. })
        );
        state.refused = (is_refused && !state.unanswered).then_some(charged);
        match answer {
            Err(AgentError::Provider { reason, .. })
                if !(self.of_another && reason == Reason::UnknownShard)
                    && matches!(
                        reason,
                        Reason::Damaged | Reason::UnknownShard | Reason::Untagged { .. }
                    ) =>
            {
                let what = format!("it was paid to keep a shard, and says: {reason}");
                Err(match reason {
                    Reason::UnknownShard => self.caught_unless_older(connection, what).await,
                    _ => self.caught(what),
                })
            }
            answer => answer,
        }
    }

    fn caught(&self, what: String) -> AgentError {
        AgentError::Caught { provider: self.provider(), what }
    }

    /// Asks for a proof of blocks of shards, in the order of their names, and pays for it; the caller checks it.
    pub async fn prove(&self, nonce: [u8; 32], parts: &[Part]) -> Result<Vec<u8>, AgentError> {
        let mut state = self.lock().await?;
        let done = self.prove_step(&mut state, nonce, parts).await;
        self.after(&mut state, done)
    }

    async fn prove_step(
        &self,
        state: &mut State,
        nonce: [u8; 32],
        parts: &[Part],
    ) -> Result<Vec<u8>, AgentError> {
        let (connection, tab, _) = self.ready(state, Purpose::Reading).await?;
        let asked = parts.iter().map(|part| {
            let samples = u16::try_from(part.samples).ok()?;
            Some(ProvePart { shard: part.shard, samples })
        });
        let parts = asked
            .collect::<Option<Vec<_>>>()
            .and_then(List::new)
            .ok_or_else(|| AgentError::Store("a proof of too many blocks".to_owned()))?;
        let tab = self.add(&tab, Charge::Read { bytes: PROOF_CHARGED })?;
        let voucher = self.voucher_for(state, &tab)?;
        // As with a read.
        state.tab = None;
        state.losses.asks();
        let request = Request::Prove { contract: self.contract(), nonce, parts, voucher };
        match self.ask_of_kept(&connection, &request, state, tab).await? {
            Response::Proof { bytes } => {
                state.tab = Some(tab);
                state.losses.answered(&tab);
                self.note(state)?;
                Ok(bytes.into_vec())
            }
            other => Err(misanswer(self.provider(), &other)),
        }
    }

    /// Deletes a shard; nothing is charged. Returns the host's word for it, which is to be kept.
    pub async fn delete(&self, shard: ShardId) -> Result<SignedDeletion, AgentError> {
        let mut state = self.lock().await?;
        if state.losses.reads(shard) || state.losses.may_have_put(shard) {
            // Once it is deleted, it cannot be sent again, nor asked for.
            let explained = self.explain_before(&mut state, shard).await;
            self.after(&mut state, explained)?;
        }
        self.forget_begun()?;
        let connection = self.connected(&mut state).await?;
        let contract = self.contract();
        let done = ask(&connection, &Request::Delete { contract, shard }).await;
        // What is stored, and so what the next epoch costs, is the host's to say again.
        state.tab = None;
        let receipt = match done.map_err(|error| self.or_ended(error))? {
            Response::Deleted { receipt } => receipt,
            other => return Err(misanswer(self.provider(), &other)),
        };
        let Deletion { contract: of, shard: named, .. } = receipt.deletion;
        if (of, named) != (contract, *shard.digest()) || receipt.verify(self.provider()).is_err() {
            return Err(self.doubt("its receipt is not of what it was to delete"));
        }
        Ok(receipt)
    }

    /// Asks how the contract stands: the tab, and what is authorised for it.
    pub async fn standing(&self) -> Result<(Tab, Amount), AgentError> {
        let mut state = self.lock().await?;
        let done = self.sync(&mut state).await.map(|tab| (tab, state.authorised));
        self.after(&mut state, done)
    }

    /// Asks where the contract stands; if it can be renewed, pays for the present epoch first if that is due: unless a renewal
    /// was `begun` from where that begins, which pays for it. Returns the account, what is authorised for it, and where the
    /// contract stands.
    pub async fn before_renewal(
        &self,
        begun: Option<Timestamp>,
    ) -> Result<(Tab, Amount, Standing), AgentError> {
        let mut state = self.lock().await?;
        state.tab = None;
        let mut done = self.sync(&mut state).await;
        let ends = state.stands.is_some_and(|stands| stands.has_ended());
        let paid_until = |tab: &Tab| self.terms.paid_until(tab.epochs_paid);
        if let (Ok(tab), false) = (&done, ends) {
            // Under the new one it is not asked for any more.
            let (mut tab, epoch) = (*tab, self.terms.epoch_at(self.clock.now()));
            let explained = async {
                let connection = self.connected(&mut state).await?;
                let keeping = Purpose::Keeping;
                self.explain_put(&mut state, &connection, &mut tab, epoch, keeping).await
            };
            let explained = explained.await;
            done = explained.map(|()| tab);
        }
        if done.as_ref().is_ok_and(|tab| begun != Some(paid_until(tab))) && !ends {
            done = self.ready(&mut state, Purpose::Keeping).await.map(|(_, tab, _)| tab);
        }
        let stands = state.stands.unwrap_or(Standing::Open);
        let done = done.map(|tab| (tab, state.authorised, stands));
        self.after(&mut state, done)
    }

    /// Returns where the contract stands, if the host has said so to this process.
    pub async fn stands(&self) -> Option<Standing> {
        self.state.lock().await.stands
    }

    /// Ends the contract: the host posts its voucher. Returns how it ended; one that had ended before stays as it did.
    pub async fn close(&self) -> Result<Closed, AgentError> {
        let mut state = self.lock().await?;
        let done = self.close_with(&mut state).await;
        done.map_err(|error| self.or_ended(error))
    }

    async fn close_with(&self, state: &mut State) -> Result<Closed, AgentError> {
        let tab = self.sync(state).await?;
        let before = state.stands.filter(Standing::has_ended);
        let connection = self.connected(state).await?;
        match ask(&connection, &Request::Close { contract: self.contract() }).await? {
            Response::Closed { total: _, paid } if paid <= state.authorised => {
                let now = Standing::ended(self.clock.now(), Ending::Closed);
                Ok(Closed { tab, paid, state: before.unwrap_or(now) })
            }
            other => Err(misanswer(self.provider(), &other)),
        }
    }

    /// After a failure, what was served is not known: the next step asks, over a new connection.
    fn after<T>(&self, state: &mut State, done: Result<T, AgentError>) -> Result<T, AgentError> {
        let done = done.map_err(|error| self.or_ended(error));
        if let Err(error) = &done {
            state.tab = None;
            if is_ours(error) {
                state.losses.ends();
            } else {
                state.losses.broke();
            }
            let noted = self.note(state);
            if matches!(error, AgentError::Transport(_) | AgentError::Misanswer { .. })
                && let Some(connection) = state.connection.take()
            {
                connection.close(CloseReason::Done);
            }
            noted?;
        }
        done
    }

    /// Connects, knows the tab, and pays for the present epoch if that is due; returns which that is. A host that is not to be
    /// paid for keeping is still asked for what it has: it serves until an epoch has gone by unpaid.
    async fn ready(
        &self,
        state: &mut State,
        purpose: Purpose,
    ) -> Result<(Connection, Tab, u64), AgentError> {
        let is_paid = self.is_paid.load(Ordering::Relaxed);
        if purpose != Purpose::Reading && !is_paid {
            return Err(AgentError::Unpaid { provider: self.provider() });
        }
        let connection = self.connected(state).await?;
        let mut tab = match state.tab {
            Some(tab) => tab,
            None => self.sync(state).await?,
        };
        if let Some(why) = state.stands.and_then(|stands| stands.why()) {
            // It would take the voucher, and serve nothing.
            return Err(AgentError::Provider {
                provider: self.provider(),
                reason: Reason::Ended { why },
            });
        }
        self.explain_read(state, &connection, &tab).await?;
        self.check_losses(state)?;
        let epoch = self.terms.epoch_at(self.clock.now());
        let is_due = |tab: &Tab| tab.epochs_paid <= epoch && tab.epochs_paid < self.terms.epochs();
        if is_paid && is_due(&tab) {
            let explained = self.explain_put(state, &connection, &mut tab, epoch, purpose).await;
            // It has not noticed yet that the stream broke, say: what it has is read all the same, as below.
            let is_read = purpose == Purpose::Reading
                && matches!(explained, Err(AgentError::Provider { .. }));
            if !is_read {
                explained?;
            }
            // Its account may have been shown once more.
            self.explain_read(state, &connection, &tab).await?;
            self.check_losses(state)?;
            if is_read {
                return Ok((connection, tab, epoch));
            }
        }
        while is_paid && is_due(&tab) {
            match self.believe(tab.stored) {
                Ok(()) => {}
                // What it has is read all the same, until an epoch has gone by unpaid.
                Err(_) if purpose == Purpose::Reading => break,
                Err(error) => return Err(error),
            }
            tab = self.add(&tab, Charge::Advance)?;
            let voucher = self.voucher(state, self.owed(&tab)?)?;
            // Until the answer is here, only the host knows.
            state.tab = None;
            state.losses.asks();
            let request = Request::Advance { contract: self.contract(), voucher };
            match ask(&connection, &request).await? {
                Response::Advanced { epochs_paid } if epochs_paid == tab.epochs_paid => {}
                other => return Err(misanswer(self.provider(), &other)),
            }
            state.tab = Some(tab);
            state.losses.answered(&tab);
            self.note_epochs(state, tab.epochs_paid)?;
            self.note(state)?;
        }
        Ok((connection, tab, epoch))
    }

    /// Asks the host for its tab and highest voucher, and believes the one only as far as the other goes.
    async fn sync(&self, state: &mut State) -> Result<Tab, AgentError> {
        let connection = self.connected(state).await?;
        let request = Request::Status { contract: self.contract() };
        let Response::Status { tab, voucher, state: stands, .. } =
            ask(&connection, &request).await?
        else {
            let what = "it does not say how the contract stands".to_owned();
            return Err(AgentError::Misanswer { peer: self.provider(), what });
        };
        let caught = |what: &str| {
            Err(AgentError::Caught { provider: self.provider(), what: what.to_owned() })
        };
        let shown = match voucher {
            None => Amount::ZERO,
            Some(signed) => {
                let ours = signed.voucher.hold == self.hold
                    && signed.voucher.currency == self.terms.prices.currency
                    && signed.verify(self.key.entity()).is_ok();
                if !ours {
                    return caught("it shows a voucher that was never signed");
                }
                signed.voucher.cumulative
            }
        };
        if self.owed(&tab)? > shown {
            return caught("it claims more than any voucher it has");
        }
        // What keeping costs follows from this, so it is believed only as far as it can be true. It is no proof
        // against the host: our own clock may be wrong.
        let epochs_max = self.terms.epochs().min(self.terms.epoch_at(self.clock.now()) + 2);
        if tab.epochs_paid == 0 || tab.epochs_paid > epochs_max {
            return Err(self.doubt("it counts epochs that are not paid for by now"));
        }
        self.paid_epochs(state, &tab)?;
        state.losses.given(self.given());
        state.losses.shown(&self.terms.prices, &tab);
        self.note(state)?;
        if state.refused.take() == Some(tab) {
            return caught("it refused what it was asked for, and was paid for it");
        }
        state.tab = Some(tab);
        state.stands = Some(stands);
        state.authorised = state.authorised.max(shown);
        Ok(tab)
    }

    fn doubt(&self, what: &str) -> AgentError {
        AgentError::Misanswer { peer: self.provider(), what: what.to_owned() }
    }

    fn add(&self, tab: &Tab, charge: Charge) -> Result<Tab, AgentError> {
        tab.after(&self.terms, charge).map_err(|error| self.tab_error(error))
    }

    fn quote(&self, tab: &Tab, charge: Charge) -> Result<Amount, AgentError> {
        tab.quote(&self.terms, charge).map_err(|error| self.tab_error(error))
    }

    fn owed(&self, tab: &Tab) -> Result<Amount, AgentError> {
        tab.owed(&self.terms).map_err(|error| self.tab_error(error))
    }

    fn tab_error(&self, error: TabError) -> AgentError {
        AgentError::ContractFull { contract: self.contract(), why: error }
    }

    /// Signs for a running total, never below what was signed for before.
    fn voucher(&self, state: &mut State, owed: Amount) -> Result<SignedVoucher, AgentError> {
        let cumulative = owed.max(state.authorised);
        if cumulative > self.hold_max {
            let (contract, hold_max) = (self.contract(), self.hold_max);
            return Err(AgentError::HoldSpent { contract, hold_max, wanted: cumulative });
        }
        let more = cumulative.saturating_sub(state.authorised);
        self.spent.fetch_add(more.get(), Ordering::Relaxed);
        state.authorised = cumulative;
        let voucher = Voucher { currency: self.terms.prices.currency, hold: self.hold, cumulative };
        Ok(voucher.sign(&self.key))
    }
}
