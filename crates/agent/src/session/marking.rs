//! Marks: telling a host what to find everything by, and finding it again with nothing but the key.

use super::{Session, ask, misanswer};
use crate::AgentError;
use fondaco_audit::ShardId;
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_ports::market::{MINE_MAX, Mark, Mine, Request, Response};
use fondaco_ports::{Address, Clock};
use fondaco_transport::{CloseReason, Connection, Endpoint, Protocol};
use fondaco_units::Bytes;
use std::sync::Arc;

/// The most answers that one host may give to "which contracts are mine?": a host could go on for ever.
const PAGES_MAX: usize = 64;

/// Asks a host which contracts the owner of the endpoint's key has with it; nothing that it says is checked.
pub(crate) async fn mine(endpoint: &Endpoint, address: &Address) -> Result<Vec<Mine>, AgentError> {
    let connection = endpoint.connect(address, Protocol::Storage).await?;
    let all = mine_over(&connection, address.entity()).await?;
    connection.close(CloseReason::Done);
    Ok(all)
}

/// The same over a connection that is open already.
pub(super) async fn mine_over(
    connection: &Connection,
    provider: EntityId,
) -> Result<Vec<Mine>, AgentError> {
    let mut all: Vec<Mine> = Vec::new();
    for _ in 0..PAGES_MAX {
        let after = all.last().map(|mine| mine.terms.id());
        match ask(connection, &Request::Mine { after }).await? {
            Response::Mine { list } => {
                let page = list.into_vec();
                let is_last = page.len() < MINE_MAX;
                all.extend(page);
                if is_last {
                    break;
                }
            }
            other => return Err(misanswer(provider, &other)),
        }
    }
    Ok(all)
}

impl Session {
    /// Creates the session of a contract of which only the host's word and the buyer's own mark are left.
    pub(crate) fn marked(
        key: SecretKey,
        endpoint: Endpoint,
        clock: Arc<dyn Clock>,
        address: Address,
        mine: &Mine,
        mark: &Mark,
    ) -> Self {
        // What it keeps, in truth, the book will say.
        let (terms, given) = (mine.terms, mine.terms.size_max);
        Self::under(key, endpoint, clock, address, terms, (mark.hold, mark.hold_max), given)
    }

    /// Marks a shard that the host keeps; it drops the one marked before. Returns the highest number it has a mark
    /// under: another than `sequence`, if that came too late.
    pub(crate) async fn mark(
        &self,
        shard: ShardId,
        size: Bytes,
        sequence: u64,
    ) -> Result<u64, AgentError> {
        let mut state = self.lock().await?;
        let connection = self.connected(&mut state).await?;
        let (contract, hold, hold_max) = (self.contract(), self.hold, self.hold_max);
        let mark = Mark { contract, hold, hold_max, sequence, shard, size }.sign(&self.key);
        let done = ask(&connection, &Request::Mark { mark }).await;
        // What is stored, and so what the next epoch costs, is the host's to say again.
        state.tab = None;
        match self.after(&mut state, done)? {
            Response::Marked { sequence } => Ok(sequence),
            other => Err(misanswer(self.provider(), &other)),
        }
    }
}
