//! Whether a contract is over: what its host says, rather than our own clock alone.

use super::{Session, ask, misanswer};
use crate::AgentError;
use fondaco_contract::Ending;
use fondaco_ports::market::{Reason, Request, Response};
use fondaco_units::Timestamp;

impl Session {
    /// Takes for an end what a host says that has forgotten a contract after its end: a host remembers it for a while, and
    /// then knows it no longer. Before the end by our clock, a host that does not know it has lost its books, or lies.
    pub(super) fn or_ended(&self, error: AgentError) -> AgentError {
        match error {
            AgentError::Provider { provider, reason: Reason::UnknownContract }
                if self.terms.ends <= self.clock.now() =>
            {
                AgentError::Provider { provider, reason: Reason::Ended { why: Ending::Over } }
            }
            error => error,
        }
    }

    /// Returns when the contract ends.
    pub(crate) const fn ends(&self) -> Timestamp {
        self.terms.ends
    }

    /// Asks the host whether the contract is over, and whether its clock agrees with `now`: a price list is good for a
    /// short time only.
    pub(crate) async fn is_over(&self, now: Timestamp) -> Result<(bool, bool), AgentError> {
        let mut state = self.lock().await?;
        let connection = self.connected(&mut state).await?;
        let asked = ask(&connection, &Request::Status { contract: self.contract() }).await;
        let is_over = match asked {
            Ok(Response::Status { state, .. }) => state.has_ended(),
            Ok(other) => return Err(misanswer(self.provider(), &other)),
            // It was forgotten, some time after it ended.
            Err(AgentError::Provider {
                reason: Reason::UnknownContract | Reason::Ended { .. },
                ..
            }) => true,
            Err(error) => return Err(error),
        };
        let agrees = match ask(&connection, &Request::Prices).await? {
            Response::Prices { list } => {
                list.prices.provider == self.provider() && list.verify(now).is_ok()
            }
            other => return Err(misanswer(self.provider(), &other)),
        };
        Ok((is_over, agrees))
    }
}
