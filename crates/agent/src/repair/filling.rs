//! Bring the shards of every object of a set to slots that have not got them.

use crate::book::{Event, ObjectId, ObjectRecord};
use crate::objects::{Objects, put_patiently};
use crate::progress::{Progress, Quiet};
use crate::session::{Put, Session};
use crate::{Agent, AgentError};
use fondaco_audit::TagKey;
use fondaco_contract::ContractId;
use fondaco_units::Amount;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A slot that is being repaired.
pub(super) struct Slot {
    pub(super) index: u8,
    pub(super) contract: ContractId,
    pub(super) session: Arc<Session>,
    /// Whether an earlier run may have put something there.
    pub(super) is_resumed: bool,
    pub(super) failed: Option<AgentError>,
}

impl Slot {
    /// A slot that may have a part of what it should.
    pub(super) fn resumed(index: u8, contract: ContractId, objects: &Objects) -> Option<Self> {
        let session = objects.sessions().get(&contract).cloned()?;
        Some(Self { index, contract, session, is_resumed: true, failed: None })
    }
}

impl Agent {
    /// Brings the shards of every object of a set to the slots that have not got them.
    pub(super) async fn fill(
        &self,
        objects: &Objects,
        set: u32,
        slots: &mut [Slot],
        progress: &dyn Progress,
    ) -> Result<(), AgentError> {
        // The configuration and keys come first: without them all else is worth nothing.
        let all: Vec<(ObjectId, ObjectRecord)> = self.book.read(|book| {
            let of_set = book.objects().filter(|(_, record)| record.set == set);
            of_set.map(|(object, record)| (object, record.clone())).collect()
        });
        let stage = progress.begin("repairing");
        stage.set_length(all.iter().map(|(_, record)| record.share().get()).sum());
        for (object, record) in &all {
            let mut missing = Vec::new();
            for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.failed.is_none()) {
                let name = record.shards[usize::from(slot.index)];
                // A host that cannot say is offered the shard, and tried for longer.
                let is_there = slot.is_resumed
                    && matches!(slot.session.has(name, record.share()).await, Ok(true));
                if !is_there {
                    missing.push(at);
                }
            }
            if !missing.is_empty() {
                objects.heed_given();
                let lost: Vec<(u8, &TagKey)> = missing
                    .iter()
                    .map(|&at| (slots[at].index, slots[at].session.tag_key()))
                    .collect();
                let shards = match objects.remake(*object, record, &lost).await {
                    // Its owner has removed it since.
                    Err(AgentError::Unreadable { .. })
                        if self.audit_key.is_some() && objects.is_removed(record) =>
                    {
                        self.book.record(&Event::ObjectRemoved { object: *object })?;
                        continue;
                    }
                    shards => shards?,
                };
                let mut puts: FuturesUnordered<_> = missing
                    .into_iter()
                    .zip(&shards)
                    .map(|(at, shard)| {
                        let slot = &slots[at];
                        let name = record.shards[usize::from(slot.index)];
                        let session = Arc::clone(&slot.session);
                        async move { (at, shard, put_patiently(&session, name, shard).await) }
                    })
                    .collect();
                while let Some((at, shard, put)) = puts.next().await {
                    match put {
                        Ok(Put::Stored) => {
                            let sent = shard.len() as u64;
                            objects.traffic().sent.fetch_add(sent, Ordering::Relaxed);
                        }
                        Ok(Put::Had) => {}
                        Err(error) => {
                            let slot = &mut slots[at];
                            objects.note_failure(slot.contract, &slot.session, &error).await?;
                            slot.failed = Some(error);
                        }
                    }
                }
            }
            if slots.iter().all(|slot| slot.failed.is_some()) {
                break;
            }
            stage.spent(spent(objects, slots));
            stage.advance(record.share().get());
        }
        stage.finish();
        Ok(())
    }

    /// Brings what is missing of a set to contracts that have a part of it; the first failure of any.
    pub(crate) async fn complete(
        &self,
        set: u32,
        contracts: &[(u8, ContractId)],
    ) -> Result<(), AgentError> {
        let failed = self.complete_each(set, contracts).await?;
        failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// The same; returns the slots for which it failed.
    pub(crate) async fn complete_each(
        &self,
        set: u32,
        contracts: &[(u8, ContractId)],
    ) -> Result<Vec<(u8, AgentError)>, AgentError> {
        let objects = self.objects();
        let slots = contracts.iter().map(|&(index, at)| Slot::resumed(index, at, &objects));
        let mut slots: Vec<Slot> = slots.flatten().collect();
        self.fill(&objects, set, &mut slots, &Quiet).await?;
        Ok(slots.into_iter().filter_map(|slot| Some((slot.index, slot.failed?))).collect())
    }
}

/// What was signed for to those who have shards and to those who get them.
fn spent(objects: &Objects, slots: &[Slot]) -> Amount {
    let is_new = |slot: &&Slot| !objects.sessions().contains_key(&slot.contract);
    let new = slots.iter().filter(is_new).map(|slot| slot.session.spent());
    new.fold(objects.spent(), |sum, one| sum.checked_add(one).unwrap_or(Amount::MAX))
}
