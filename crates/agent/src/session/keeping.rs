//! What a host may be paid for keeping: what it was given, and not what it says.

use super::Session;
use crate::AgentError;
use fondaco_units::Bytes;
use std::sync::atomic::Ordering;

impl Session {
    /// Takes note of the most that the host can have of ours. Whoever puts a shard has it written down before, and says so.
    pub fn gives(&self, given: Bytes) {
        self.given.store(given.get(), Ordering::Relaxed);
    }

    /// Sees that a host claims to keep no more than it can have.
    pub(super) fn believe(&self, claimed: Bytes) -> Result<(), AgentError> {
        #[cfg(feature = "simulation")]
        if crate::planted::believes() {
            return Ok(());
        }
        let given = Bytes::new(self.given.load(Ordering::Relaxed));
        match claimed <= given {
            true => Ok(()),
            false => Err(AgentError::Overstated { provider: self.provider(), claimed, given }),
        }
    }

    /// Sees that what the host claimed last is no more than it can have; a host that was not asked claims nothing.
    pub(crate) async fn is_believed(&self) -> Result<(), AgentError> {
        let claimed = self.state.lock().await.tab.map_or(Bytes::ZERO, |tab| tab.stored);
        self.believe(claimed)
    }
}
