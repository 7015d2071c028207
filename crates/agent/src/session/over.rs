//! Whether a contract is over: what its host says, rather than our own clock alone.

use super::{Session, ask, misanswer};
use crate::book::End;
use crate::{AgentError, ending};
use fondaco_contract::{Ending, State, Tab};
use fondaco_ports::market::{Reason, Request, Response};
use fondaco_units::{Amount, Bytes, Timestamp};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long a host that said that a contract is over may take to say more of it.
const WORD_PATIENCE: Duration = Duration::from_secs(5);

/// How a contract ended that was closed.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// What was used.
    pub tab: Tab,
    /// What the host says that it was paid: no more than was signed for.
    pub paid: Amount,
    /// When and why it ended.
    pub state: State,
}

impl Session {
    /// Asks a host, which said that the contract is over, how that came, and puts together what is known: where it says no
    /// more, the account is as it was confirmed to this process last.
    pub(crate) async fn last_word(&self, why: Ending) -> End {
        let asked = timeout(WORD_PATIENCE, async {
            let mut state = self.state.lock().await;
            let done = self.sync(&mut state).await;
            self.after(&mut state, done).ok().and(state.stands)
        });
        let said = asked.await.ok().flatten();
        let known = self.state.try_lock().map(|state| (state.losses.account(), state.authorised));
        let (tab, authorised) = known.unwrap_or((None, Amount::ZERO));
        let ended = said.and_then(|said| Some((said.ended_at()?, said.why()?)));
        let now = self.clock.now();
        let (at, why) = ended.unwrap_or((self.terms.ends, why));
        let is_known = tab.is_some() || !authorised.is_zero();
        let paid = is_known.then_some(authorised);
        End { state: Some(State::ended(at.min(now), why)), tab, paid, settled: false }
    }

    /// Knows that the host has renewed the contract with another, if it said so to a process before.
    #[must_use]
    pub(crate) fn passed_on(self, was_passed_on: bool) -> Self {
        self.passed_on.store(was_passed_on, Ordering::Relaxed);
        self
    }

    /// Takes for an end what a host says that has forgotten a contract after its end: a host remembers it for a while, and
    /// then knows it no longer. Before the end by our clock, a host that does not know it has lost its books, or lies;
    /// unless it said before that the contract is renewed.
    pub(super) fn or_ended(&self, error: AgentError) -> AgentError {
        if ending::over(&error) == Some(Ending::Renewed) {
            self.passed_on.store(true, Ordering::Relaxed);
        }
        match error {
            AgentError::Provider { provider, reason: Reason::UnknownContract }
                if self.passed_on.load(Ordering::Relaxed) =>
            {
                AgentError::Provider { provider, reason: Reason::Ended { why: Ending::Renewed } }
            }
            AgentError::Provider { provider, reason: Reason::UnknownContract }
                if self.terms.ends <= self.clock.now() =>
            {
                AgentError::Provider { provider, reason: Reason::Ended { why: Ending::Over } }
            }
            error => error,
        }
    }

    /// Returns how many bytes the host is asked for at once.
    pub(crate) const fn step_max(&self) -> Bytes {
        self.terms.prices.step_max
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
