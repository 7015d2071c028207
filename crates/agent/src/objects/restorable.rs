//! Say which objects can be read now, by how many of their hosts answer: nothing is read for it.

use super::{Objects, PIECES_AT_ONCE};
use crate::book::{ObjectId, ObjectRecord};
use fondaco_contract::ContractId;
use futures_util::stream::{self, StreamExt as _};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Objects {
    /// Returns those of the objects that cannot be read now: fewer of their hosts answer, and keep them yet, than rebuild them; or
    /// they are not known. What the hosts have is not looked at: that is what audits do.
    pub async fn unreadable_now(&self, objects: &BTreeSet<ObjectId>) -> BTreeSet<ObjectId> {
        let known: Vec<(ObjectId, ObjectRecord, Vec<ContractId>)> = self.book.read(|book| {
            let of = |&object: &ObjectId| {
                let record = book.object(object)?;
                Some((object, record.clone(), book.set(record.set)?.contracts.clone()))
            };
            objects.iter().filter_map(of).collect()
        });
        let contracts: BTreeSet<ContractId> =
            known.iter().flat_map(|(.., contracts)| contracts).copied().collect();
        let asked = contracts
            .into_iter()
            .map(|contract| async move { self.answers(contract).await.then_some(contract) });
        let live: BTreeSet<ContractId> = stream::iter(asked)
            .buffered(PIECES_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let mut unreadable = objects.clone();
        for (object, record, contracts) in known {
            let count = contracts.iter().filter(|contract| live.contains(contract)).count();
            if count >= usize::from(record.code.k()) {
                unreadable.remove(&object);
            }
        }
        unreadable
    }

    /// Whether a host answers, and has not ended its contract.
    async fn answers(&self, contract: ContractId) -> bool {
        let Some(session) = self.reading(contract).filter(|_| !self.is_gone(contract)) else {
            return false;
        };
        let answered = timeout(PATIENCE, session.standing()).await;
        matches!(answered, Ok(Ok(_))) && session.stands().await.is_none_or(|it| !it.has_ended())
    }
}
