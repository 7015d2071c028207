//! What a host may be paid for keeping: what it was given, and not what it says.

use super::{Session, State};
use crate::AgentError;
use crate::book::Event;
use fondaco_contract::Tab;
use fondaco_ledger::SignedVoucher;
use fondaco_units::{Amount, Bytes};
use std::sync::atomic::Ordering;

impl Session {
    /// Takes note of the most that the host can have of ours. Whoever puts a shard has it written down before, and says so.
    pub fn gives(&self, given: Bytes) {
        self.given.store(given.get(), Ordering::Relaxed);
    }

    /// Sees that a host claims to keep no more than it can have.
    pub(super) fn believe(&self, claimed: Bytes) -> Result<(), AgentError> {
        #[cfg(feature = "simulation")]
        if crate::planted::is(crate::planted::Fault::Believes) {
            return Ok(());
        }
        let given = self.given();
        match claimed <= given {
            true => Ok(()),
            false => Err(AgentError::Overstated { provider: self.provider(), claimed, given }),
        }
    }

    /// Returns the most that the host can have of ours.
    pub(super) fn given(&self) -> Bytes {
        Bytes::new(self.given.load(Ordering::Relaxed))
    }

    /// Sees that an account counts all epochs of which the host has acknowledged that they are paid: it does so once that is on
    /// its disk, and is not paid for one of them again.
    pub(super) fn paid_epochs(&self, state: &State, tab: &Tab) -> Result<(), AgentError> {
        #[cfg(feature = "simulation")]
        if crate::planted::is(crate::planted::Fault::Believes) {
            return Ok(());
        }
        let contract = self.contract();
        let noted =
            self.book.as_ref().map_or(0, |book| book.read(|book| book.epochs_paid(contract)));
        if tab.epochs_paid < noted.max(state.epochs_paid) {
            let what = "it does not count an epoch that it was paid for".to_owned();
            return Err(AgentError::Caught { provider: self.provider(), what });
        }
        Ok(())
    }

    /// Notes how many epochs the host has acknowledged.
    pub(super) fn note_epochs(&self, state: &mut State, epochs: u64) -> Result<(), AgentError> {
        state.epochs_paid = epochs;
        let Some(book) = &self.book else { return Ok(()) };
        book.record(&Event::EpochsPaid { contract: self.contract(), epochs })
    }

    /// Sees that what the host claimed last is no more than it can have; a host that was not asked claims nothing.
    pub(crate) async fn is_believed(&self) -> Result<(), AgentError> {
        let claimed = self.state.lock().await.tab.map_or(Bytes::ZERO, |tab| tab.stored);
        self.believe(claimed)
    }

    /// Signs for what was used, if the hold then still pays for keeping what is kept to the end: who reads much must not
    /// lose what he reads because an epoch cannot be paid.
    pub(super) fn voucher_for(
        &self,
        state: &mut State,
        tab: &Tab,
    ) -> Result<SignedVoucher, AgentError> {
        // What the host claims beyond what it was given is never paid for.
        let kept = Tab { stored: tab.stored.min(self.given()), ..*tab };
        let to_the_end =
            kept.kept_to_the_end(&self.terms).map_err(|error| self.tab_error(error))?;
        let owed = self.owed(tab)?;
        let keeping = self.owed(&to_the_end)?.saturating_sub(owed);
        let wanted = owed.max(state.authorised).checked_add(keeping).unwrap_or(Amount::MAX);
        if wanted > self.hold_max {
            let (contract, hold_max) = (self.contract(), self.hold_max);
            return Err(AgentError::HoldSpent { contract, hold_max, wanted });
        }
        self.voucher(state, owed)
    }
}
