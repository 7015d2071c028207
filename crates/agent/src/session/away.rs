//! Which hosts could not be dialled lately: what can do without them does not wait for each of them again.

use super::{Session, State};
use crate::AgentError;
use fondaco_crypto::EntityId;
use fondaco_transport::TransportError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

/// How long that counts.
const AWAY: Duration = Duration::from_secs(60);

/// The hosts that could not be dialled, when that was, and why.
#[derive(Debug, Default)]
pub(crate) struct Away(Mutex<BTreeMap<EntityId, (Instant, TransportError)>>);

impl Away {
    pub(super) fn note(&self, host: EntityId, why: &TransportError) {
        let mut away = self.0.lock().expect("no panic under this lock");
        away.insert(host, (Instant::now(), why.clone()));
    }

    pub(super) fn is_back(&self, host: EntityId) {
        self.0.lock().expect("no panic under this lock").remove(&host);
    }

    pub(super) fn why(&self, host: EntityId) -> Option<TransportError> {
        let away = self.0.lock().expect("no panic under this lock");
        away.get(&host).filter(|(when, _)| when.elapsed() < AWAY).map(|(_, why)| why.clone())
    }
}

impl Session {
    /// Knows and tells who could not be dialled.
    #[must_use]
    pub(crate) fn with_away(mut self, away: Arc<Away>) -> Self {
        self.away = away;
        self
    }

    /// Takes the state. Who waited for it while the host could not be dialled hears the same.
    pub(super) async fn lock(&self) -> Result<MutexGuard<'_, State>, AgentError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        self.asks_anew(&mut state);
        match state.failed.as_ref().filter(|(when, _)| *when > asked) {
            Some((_, error)) => Err(error.clone().into()),
            None => Ok(state),
        }
    }

    /// Returns why the host could not be dialled, if that was a short while ago and the last that this process heard of it.
    pub(crate) fn away(&self) -> Option<TransportError> {
        self.away.why(self.provider())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_is_away_for_a_while_or_until_it_answers() {
        let (one, other) = (EntityId::from_bytes([1; 32]), EntityId::from_bytes([2; 32]));
        let away = Away::default();
        for host in [one, other] {
            away.note(host, &TransportError::NoSocket { entity: host });
        }
        away.is_back(other);
        assert!(away.why(one).is_some() && away.why(other).is_none());
        tokio::time::advance(AWAY).await;
        assert!(away.why(one).is_none());
    }
}
