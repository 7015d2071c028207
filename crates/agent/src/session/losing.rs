//! What a host was paid for nothing: noted in the book before anything more is paid, and the end of paying.

use super::putting::ask_to_put;
use super::{Purpose, Session, State, misanswer};
use crate::AgentError;
use crate::book::Event;
use crate::journal::BookFile;
use crate::losses::{AskedPut, BegunPut, BrokenPut, KEPT_FOR, Loss, Losses, Start};
use fondaco_audit::ShardId;
use fondaco_contract::{ContractId, Tab};
use fondaco_ports::market::{Reason, Response};
use fondaco_transport::Connection;
use fondaco_units::Amount;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// After how long a step that is not answered is flushed. Where lines are slow it costs two flushes for that time.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// What the sessions of each contract know, as long as any of them is in use.
#[derive(Debug, Default)]
pub(crate) struct States(std::sync::Mutex<BTreeMap<ContractId, Weak<Mutex<State>>>>);

impl Session {
    /// Begins with what is known of what this host was paid for nothing, and with how many steps may be lost in all.
    #[must_use]
    pub fn with_losses(mut self, known: Loss, risk: u64) -> Self {
        let losses = Losses::new(known, risk);
        self.state = Arc::new(Mutex::new(State { losses, noted: known, ..State::default() }));
        self
    }

    /// Asks for a put that was under way when the power was cut. Call it before the state is shared.
    #[must_use]
    pub(crate) fn with_cut(self, put: Option<BegunPut>) -> Self {
        if let Ok(mut state) = self.state.try_lock() {
            state.losses.cut(put);
        }
        self
    }

    /// Notes there what is lost.
    #[must_use]
    pub fn noting_in(mut self, book: Arc<BookFile>) -> Self {
        self.book = Some(book);
        self
    }

    /// Shares what is known with all sessions of the contract that are in use, in the background too: what one of them is answered
    /// would be lost to the others.
    #[must_use]
    pub(crate) fn sharing(mut self, states: &States) -> Self {
        let mut states = states.0.lock().expect("no panic under this lock");
        let known = states.entry(self.contract()).or_default();
        if let Some(state) = known.upgrade() {
            self.state = state;
            self.asks_anew = AtomicBool::new(true);
        } else {
            *known = Arc::downgrade(&self.state);
        }
        drop(states);
        self
    }

    /// Has the account asked for, if that is due.
    pub(super) fn asks_anew(&self, state: &mut State) {
        if self.asks_anew.swap(false, Ordering::Relaxed) {
            state.tab = None;
        }
    }

    /// Has what is lost in the book; nothing is written while nothing changes, as when all is answered.
    pub(super) fn note(&self, state: &mut State) -> Result<(), AgentError> {
        let known = state.losses.known();
        #[cfg(feature = "simulation")]
        if crate::planted::is(crate::planted::Fault::ForgetsLosses) {
            return Ok(());
        }
        if known != state.noted {
            if let Some(book) = &self.book {
                book.record(&Event::LossKept { contract: self.contract(), loss: known })?;
            }
            state.noted = known;
        }
        if let Some(book) = self.book.as_ref().filter(|_| state.begun.is_some())
            && !state.losses.is_putting()
        {
            book.end_put(&mut state.begun)?;
            if state.losses.open_put().is_some() {
                // From now on the book has it.
                book.flush_steps()?;
            }
        }
        self.note_step(state)
    }

    /// Has a put of several steps that begins outlive a power cut: otherwise all that was answered of it could be denied after one.
    pub(super) fn note_begun(&self, state: &mut State, tab: &Tab) -> Result<(), AgentError> {
        #[cfg(feature = "simulation")]
        if crate::planted::is(crate::planted::Fault::ForgetsLosses) {
            return Ok(());
        }
        let Some(book) = &self.book else { return Ok(()) };
        let Some(put) = state.losses.begun(&self.terms.prices, tab) else { return Ok(()) };
        book.begin_put(&mut state.begun, self.contract(), put)
    }

    /// Before a shard is deleted: sees that no put of it is asked for later, when its host has it no more.
    pub(super) fn forget_begun(&self) -> Result<(), AgentError> {
        self.book.as_ref().map_or(Ok(()), |book| book.flush_steps())
    }

    /// Has what is under way where the process after this one finds it, if this one is killed.
    pub(super) fn note_step(&self, state: &mut State) -> Result<(), AgentError> {
        #[cfg(feature = "simulation")]
        if crate::planted::is(crate::planted::Fault::ForgetsLosses) {
            return Ok(());
        }
        let Some(book) = &self.book else { return Ok(()) };
        let known = state.losses.known_at_an_end();
        let open = (known != state.noted).then_some(known);
        book.note_step(&mut state.slot, self.contract(), open)
    }

    /// Waits for the answer to a step. One that is not answered for a while outlives a power cut, too: by then its host may wait for one.
    pub(super) async fn waited_for<T>(
        &self,
        state: &mut State,
        answer: impl Future<Output = T>,
    ) -> T {
        let mut answer = pin!(answer);
        if let Ok(answered) = timeout(SETTLED_AFTER, answer.as_mut()).await {
            return answered;
        }
        if let Some(book) = self.book.as_ref().filter(|_| state.slot.is_some()) {
            let known = state.losses.known_at_an_end();
            // A disk that fails is found with the next step.
            let _ = book.settle_step(&mut state.slot, self.contract(), known);
        }
        answer.await
    }

    /// Returns the account as it was confirmed last, and what was signed for it, as far as this process knows.
    pub(crate) async fn account(&self) -> (Tab, Amount) {
        let state = self.state.lock().await;
        (state.losses.account().unwrap_or_default(), state.authorised)
    }

    /// Nobody waits any more for what was asked, if anything was: that is noted.
    pub(super) fn stops(&self, state: &mut State) {
        if state.losses.is_under_way() {
            state.losses.ends();
            // Where the book cannot be written to any more, nobody knows what became of it.
            let _ = self.note(state);
        }
    }

    /// Pays nothing more to a host that was paid too much for nothing.
    pub(super) fn check_losses(&self, state: &State) -> Result<(), AgentError> {
        match state.losses.over(&self.terms.prices) {
            None => Ok(()),
            Some((lost, limit)) => {
                let (provider, contract) = (self.provider(), self.contract());
                Err(AgentError::PaidForNothing { provider, contract, lost, limit })
            }
        }
    }

    /// Before a shard is put: asks for another whose put broke off. That it is not gone on with is our own choice, if the
    /// host has what it was paid for of it; what it has not is lost.
    pub(super) async fn explain_other(
        &self,
        state: &mut State,
        connection: &Connection,
        tab: &mut Tab,
        epoch: u64,
        shard: ShardId,
    ) -> Result<(), AgentError> {
        match state.losses.other_put(shard) {
            Some(put) => {
                self.ask_for(state, connection, tab, epoch, put).await?;
                state.losses.forget_put();
                self.note(state)?;
                self.check_losses(state)
            }
            None => Ok(()),
        }
    }

    /// Before an epoch is paid for: asks for a put that broke off, since its host need not keep it for long after that; what for
    /// says whether it is to go on.
    pub(super) async fn explain_put(
        &self,
        state: &mut State,
        connection: &Connection,
        tab: &mut Tab,
        epoch: u64,
        purpose: Purpose,
    ) -> Result<(), AgentError> {
        state.losses.forget_what_it_had(&self.terms, self.clock.now());
        let Some(put) = state.losses.open_put() else { return Ok(()) };
        self.ask_for(state, connection, tab, epoch, put).await?;
        let until = self.clock.now().after(KEPT_FOR);
        let wanted = purpose == Purpose::Putting(put.shard);
        state.losses.put_asked(AskedPut { until, epochs: tab.epochs_paid, wanted });
        self.note(state)?;
        self.check_losses(state)
    }

    /// Asks for a put that broke off: what its host has not of it is lost.
    pub(super) async fn ask_for(
        &self,
        state: &mut State,
        connection: &Connection,
        tab: &mut Tab,
        epoch: u64,
        put: BrokenPut,
    ) -> Result<(), AgentError> {
        let mut start = self.start_of(connection, tab, epoch, put).await?;
        if state.losses.is_ahead(&self.terms.prices, put.shard, put.size, start) {
            // A step of it ended after its account was shown.
            *tab = self.sync(state).await?;
            let connection = self.connected(state).await?;
            start = self.start_of(&connection, tab, epoch, put).await?;
        }
        state.losses.put_begins(&self.terms, put.shard, put.size, start, self.clock.now());
        Ok(())
    }

    /// Asks how a put would begin.
    async fn start_of(
        &self,
        connection: &Connection,
        tab: &Tab,
        epoch: u64,
        put: BrokenPut,
    ) -> Result<Start, AgentError> {
        let asked = ask_to_put(connection, self.contract(), put.shard, put.size, epoch).await;
        Ok(match asked {
            // One is paid for with it at least.
            Ok(Response::Have) => {
                Start::Had { epochs: tab.epochs_paid.saturating_sub(epoch).max(1) }
            }
            Ok(Response::Resume { at }) if at < put.size => Start::At(at.get()),
            // It would take no more than it has, or nothing anew for now, so it has not this.
            Ok(Response::Ready)
            | Err(AgentError::Provider {
                reason:
                    Reason::OverSize { .. }
                    | Reason::TooManyShards { .. }
                    | Reason::WrongSize { .. }
                    | Reason::Leaving { .. }
                    | Reason::Late { .. }
                    | Reason::DiskFull
                    | Reason::Reserve { .. },
                ..
            }) => Start::Anew,
            Ok(other) => return Err(misanswer(self.provider(), &other)),
            // Busy, too, which is who has not noticed yet that the stream broke: nothing is known, and nothing paid.
            Err(error) => return Err(error),
        })
    }
}
