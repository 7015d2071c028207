//! Reach a host: where it was, or where it is found.

use super::asking::prices;
use super::{Session, State};
use crate::AgentError;
use crate::finding::Finder;
use fondaco_contract::SignedPriceList;
use fondaco_ports::Address;
use fondaco_transport::{Connection, Protocol};
use std::sync::Arc;
use tokio::time::Instant;

/// Asks a host that has a contract for its signed price list, wherever it is now; the caller verifies it.
pub(crate) async fn offer_of(
    finder: &Arc<Finder>,
    address: &Address,
) -> Result<SignedPriceList, AgentError> {
    prices(finder.connect(address).await?).await
}

impl Session {
    /// Looks for its host where it is not any more.
    #[must_use]
    pub(crate) fn dialling_by(mut self, finder: Arc<Finder>) -> Self {
        self.finder = Some(finder);
        self
    }

    pub(super) async fn connected(&self, state: &mut State) -> Result<Connection, AgentError> {
        if let Some(connection) = state.connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(connection.clone());
        }
        state.tab = None;
        let dialled = match &self.finder {
            Some(finder) => finder.connect(&self.address).await,
            None => self.endpoint.connect(&self.address, Protocol::Storage).await,
        };
        match dialled {
            Ok(connection) => {
                state.failed = None;
                self.away.is_back(self.provider());
                self.heard.now();
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                self.away.note(self.provider(), &error);
                Err(error.into())
            }
        }
    }
}
