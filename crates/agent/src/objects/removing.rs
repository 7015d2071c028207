//! Remove an object: the book forgets it, and then its hosts are asked to, all at once.

use super::{Objects, PIECES_AT_ONCE};
use crate::AgentError;
use crate::book::{Event, ObjectId};
use crate::session::Session;
use fondaco_audit::ShardId;
use fondaco_contract::ContractId;
use futures_util::stream::{self, StreamExt as _};
use std::sync::Arc;

impl Objects {
    /// Forgets an object here and asks its hosts to delete its shards; hosts that cannot be reached
    /// keep them until the contract ends.
    pub async fn remove(&self, object: ObjectId) -> Result<(), AgentError> {
        let _turn = self.turn.read().await;
        let Some(record) = self.book.read(|book| book.object(object).cloned()) else {
            return Ok(());
        };
        let set = self.set(record.set)?;
        self.book.record(&Event::ObjectRemoved { object })?;
        let intended: Vec<(u8, ContractId)> = self.book.read(|book| {
            let of_set = book.repairs().filter(|(set, ..)| *set == record.set);
            of_set.map(|(_, index, contract)| (index, contract)).collect()
        });
        let slots = (0..).zip(set.contracts.iter().copied()).chain(intended);
        // Small equal objects have equal shards: one that another object still names must stay.
        let is_named = |index: u8, contract: ContractId, shard: ShardId| {
            self.book.read(|book| {
                book.objects().any(|(_, other)| {
                    let of_slot = other.set == record.set
                        && other.shards.get(usize::from(index)) == Some(&shard);
                    of_slot || book.slots_of(other).any(|slot| slot == (contract, shard))
                })
            })
        };
        let asked = slots.filter_map(|(index, contract)| {
            let shard = *record.shards.get(usize::from(index))?;
            let session = self.sessions.get(&contract).cloned()?;
            // Who removes much does not wait each time for a host that is away.
            let is_asked = !is_named(index, contract, shard) && session.away().is_none();
            is_asked.then_some((session, shard))
        });
        let asked: Vec<(Arc<Session>, ShardId)> = asked.collect();
        // Each is another host.
        let answers = asked.into_iter().map(|(session, shard)| async move {
            let answer = session.delete(shard).await;
            (session, answer)
        });
        let mut answers = stream::iter(answers).buffered(PIECES_AT_ONCE);
        let mut receipts = Vec::new();
        while let Some((session, answer)) = answers.next().await {
            match answer {
                Ok(receipt) => receipts.push(Event::ShardDeleted { receipt }),
                Err(error @ AgentError::Caught { .. }) => {
                    self.note_failure(session.contract(), &session, &error).await?;
                }
                Err(error) => {
                    tracing::info!(provider = %session.provider(), %error, "a shard was not deleted");
                }
            }
        }
        self.book.record_all(&receipts)?;
        self.heed_given();
        Ok(())
    }
}
