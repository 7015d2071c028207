//! See that every host of a set is there before any is sent something: what the others are paid for is worth nothing while one of
//! them is missing.

use super::{FailedHosts, Objects, patiently};
use crate::AgentError;
use crate::book::Set;
use fondaco_contract::ContractId;
use fondaco_crypto::EntityId;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::collections::BTreeSet;

impl Objects {
    /// Waits, as long as a put does, for each host of a set that did not answer this process yet, or could not be dialled lately.
    pub(super) async fn meet(&self, set: &Set, blame: &mut FailedHosts) -> Result<(), AgentError> {
        let mut meeting = FuturesUnordered::new();
        for &contract in &set.contracts {
            let session = self.session(contract)?;
            let is_known = self.met.lock().expect("no panic under this lock").contains(&contract);
            if !is_known || session.away().is_some() {
                meeting.push(async move {
                    (contract, patiently(&session, || session.standing()).await)
                });
            }
        }
        let mut failed = None;
        while let Some((contract, met)) = meeting.next().await {
            match met {
                Ok(_) => {
                    self.met.lock().expect("no panic under this lock").insert(contract);
                }
                Err(error) => {
                    self.blame(contract, &error, blame).await?;
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Remembers for whom a write failed.
    pub(super) async fn blame(
        &self,
        contract: ContractId,
        error: &AgentError,
        blame: &mut FailedHosts,
    ) -> Result<(), AgentError> {
        let session = self.session(contract)?;
        let host = session.provider();
        blame.add(host, error);
        self.blamed.lock().expect("no panic under this lock").add(host, error);
        self.note_failure(contract, &session, error).await
    }

    /// Returns the hosts that writes failed for since this was made: others are to take their place in the next set. What they keep
    /// is not lost by that.
    pub fn failed_writes(&self) -> BTreeSet<EntityId> {
        self.blamed.lock().expect("no panic under this lock").hosts().clone()
    }
}
