//! Seeing that this book is the newest, before anything is done by it that cannot be undone.

use crate::objects::Objects;
use crate::session::Session;
use crate::{Agent, AgentError};
use fondaco_crypto::EntityId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long all hosts are waited for: one of them is enough to tell, and those that are away are none of this.
const PATIENCE: Duration = Duration::from_secs(4);

impl Agent {
    /// Asks one session of each host whether it knows of a newer book of the same key. Who looks after another's has none that
    /// hosts keep.
    ///
    /// # Errors
    ///
    /// [`AgentError::OlderBook`]. That hosts cannot be asked is none.
    pub async fn check_newest(&self, objects: &Objects) -> Result<(), AgentError> {
        if self.audit_key.is_some() {
            return Ok(());
        }
        let sessions: BTreeMap<EntityId, Arc<Session>> = objects
            .sessions()
            .values()
            .map(|session| (session.provider(), Arc::clone(session)))
            .collect();
        let mut asking = JoinSet::new();
        for session in sessions.into_values() {
            asking.spawn(async move { timeout(PATIENCE, session.has_newest_book()).await });
        }
        while let Some(asked) = asking.join_next().await {
            match asked {
                Ok(Ok(Err(error @ AgentError::OlderBook { .. }))) => return Err(error),
                Ok(Ok(Err(error))) => tracing::debug!(%error, "a host does not show its marks"),
                Ok(Ok(Ok(())) | Err(_)) | Err(_) => {}
            }
        }
        Ok(())
    }
}
