//! Read on under contracts that follow on others while somebody reads: for reads that are under way, and no other use.
//!
//! ```text
//! read ──► Unreadable, holds are used up ──► Renews ──► read_on ──► the same read again, under what follows
//!            └── others were renewed since it began ──────────────────────┘
//! ```

use super::Objects;
use crate::AgentError;
use crate::book::ObjectId;
use crate::session::Session;
use fondaco_contract::ContractId;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Renews what is used up, for who was told what that may cost. It is asked for one thing at a time.
pub trait Renews: Send + Sync {
    /// Renews the contracts whose holds `objects` found to be used up, and has it [read on](crate::Agent::read_on). Returns
    /// whether there was any.
    fn renew<'a>(&'a self, objects: &'a Objects)
    -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

/// Whose turn it is to renew, and by what means, if there are any.
#[derive(Default)]
pub(crate) struct Renewing {
    by: Option<Arc<dyn Renews>>,
    turn: Mutex<()>,
}

impl Renewing {
    pub(crate) fn by(renews: Arc<dyn Renews>) -> Self {
        Self { by: Some(renews), turn: Mutex::default() }
    }

    /// Reads a range of an object, however often holds are to be renewed for that.
    pub(crate) async fn read(
        &self,
        objects: &Objects,
        object: ObjectId,
        range: Range<u64>,
    ) -> Result<Vec<u8>, AgentError> {
        loop {
            let before = objects.followed();
            let error = match objects.read(object, range.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            let goes_on = match &error {
                AgentError::Unreadable { spent, .. } => {
                    objects.followed() != before || (*spent && self.renew(objects, before).await)
                }
                _ => false,
            };
            if !goes_on {
                return Err(error);
            }
        }
    }

    /// Renews what is used up, unless another read has had that done since there were `before` that follow.
    async fn renew(&self, objects: &Objects, before: usize) -> bool {
        let Some(by) = &self.by else { return false };
        let _turn = self.turn.lock().await;
        objects.followed() != before || by.renew(objects).await
    }
}

impl Objects {
    /// Reads under a contract from now on that follows on another.
    pub(crate) fn read_on(&self, from: ContractId, session: Arc<Session>) {
        let mut following = self.following.lock().expect("no panic under this lock");
        following.insert(session.contract(), session);
        self.down.lock().expect("no panic under this lock").remove(&from);
    }

    /// How many contracts follow on others since this was made; it only grows.
    fn followed(&self) -> usize {
        self.following.lock().expect("no panic under this lock").len()
    }

    /// Returns the session that reads under a contract.
    pub(crate) fn reading(&self, contract: ContractId) -> Option<Arc<Session>> {
        let of_old = self.sessions.get(&contract).cloned();
        of_old.or_else(|| {
            let following = self.following.lock().expect("no panic under this lock");
            following.get(&contract).cloned()
        })
    }

    /// Returns every session, also those of contracts that follow on others.
    pub(super) fn all_sessions(&self) -> Vec<Arc<Session>> {
        let following = self.following.lock().expect("no panic under this lock");
        self.sessions.values().chain(following.values()).cloned().collect()
    }
}
