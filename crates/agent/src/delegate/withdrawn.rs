//! Whether an owner has taken a mandate back: hosts say so, before anything is paid that can be of no use.

use super::Entrusted;
use crate::session::admit;
use crate::{Agent, AgentError};
use fondaco_ports::Address;
use fondaco_ports::market::Reason;
use fondaco_units::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How old a mandate is before it is shown to hosts for this alone: until then they would take no other of the same two.
const AGE_MIN: Duration = Duration::from_seconds(12);

/// How long hosts are waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

impl Agent {
    /// Sees that no more hosts refuse the mandate than take it. One host alone could say so of any.
    ///
    /// # Errors
    ///
    /// It was taken back.
    pub(super) async fn check_not_withdrawn(
        &self,
        entrusted: &Entrusted,
    ) -> Result<(), AgentError> {
        let mandate = entrusted.mandate;
        if self.clock.now() < mandate.mandate.issued.after(AGE_MIN) {
            return Ok(());
        }
        let slots = entrusted.sets.as_slice().iter().flat_map(|set| set.slots.as_slice());
        let hosts: BTreeMap<_, Address> =
            slots.map(|slot| (slot.address.entity(), slot.address.clone())).collect();
        let mut asking = JoinSet::new();
        for address in hosts.into_values() {
            let finder = Arc::clone(&self.finder);
            asking
                .spawn(async move { timeout(PATIENCE, admit(&finder, &address, &mandate)).await });
        }
        let (mut refuse, mut take) = (0_usize, 0_usize);
        for answer in asking.join_all().await {
            match answer {
                Ok(Ok(_)) => take += 1,
                Ok(Err(AgentError::Provider { reason: Reason::NotYours, .. })) => refuse += 1,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if refuse <= take {
            return Ok(());
        }
        Err(AgentError::Invalid {
            what: format!(
                "its owner has taken the mandate back: {refuse} of the {} hosts that answer say so",
                refuse + take
            ),
            hint: "nothing may be read any more, and so nothing was paid; ask its owner for a new file"
                .to_owned(),
        })
    }
}
