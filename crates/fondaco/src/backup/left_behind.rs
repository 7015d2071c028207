//! Older snapshots that could not be brought along to new contracts: a backup goes on without them, and says so.

use super::create::not_in_it;
use super::say_progress;
use crate::failure::Failure;
use crate::screen::counted;
use fondaco_agent::book::{ObjectId, ObjectKind};
use fondaco_agent::{AgentError, CarryOver, Objects, Repo, RepositoryError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What stays under older contracts, and whether the new snapshot can do without it.
#[derive(Debug)]
pub(super) struct LeftBehind {
    pub(super) snapshots: BTreeSet<ObjectId>,
    why: AgentError,
    /// How many objects that the new snapshot needs cannot be read now.
    missing: usize,
}

impl LeftBehind {
    /// Takes in what could not be carried over; nothing, if all was.
    ///
    /// # Errors
    ///
    /// It is more than snapshots: without a configuration, a key or an index nobody knows what a new snapshot would need. Or it is holds
    /// that are to blame, and these may be renewed.
    pub(super) fn of(over: CarryOver, may_renew: bool) -> Result<Option<Self>, AgentError> {
        let snapshots: BTreeSet<ObjectId> = over.stays().iter().copied().collect();
        let is_more = snapshots.iter().any(|object| object.kind != ObjectKind::Snapshot);
        match over.into_why() {
            None => Ok(None),
            Some(why @ AgentError::Unreadable { spent: true, .. }) if may_renew => Err(why),
            Some(why) if is_more => Err(why),
            Some(why) => Ok(Some(Self { snapshots, why, missing: 0 })),
        }
    }

    /// Returns how many they are.
    pub(super) fn count(&self) -> usize {
        self.snapshots.len()
    }

    fn in_words(&self) -> String {
        let names: Vec<String> =
            self.snapshots.iter().map(|object| format!("{:.8}", object.name)).collect();
        let count = counted(names.len(), "older snapshot");
        format!(
            "{count} ({}) cannot be read, and stay under older contracts: {}",
            names.join(", "),
            self.why
        )
    }

    pub(super) fn tell(&self, json: bool) {
        say_progress(json, &format!("{}; going on without", self.in_words()));
    }

    /// Sees whether all that the new snapshot needs can be read, as far as hosts answer.
    pub(super) async fn look(&mut self, repo: Arc<Repo>, objects: &Objects, snapshot: &str) {
        let name = snapshot.to_owned();
        match tokio::task::spawn_blocking(move || repo.needs(&name)).await {
            Ok(Ok(needed)) => self.missing = objects.unreadable_now(&needed).await.len(),
            Ok(Err(error)) => (self.missing, self.why) = (1, error),
            Err(error) => {
                self.missing = 1;
                self.why = RepositoryError::Other(error.to_string()).into();
            }
        }
    }

    /// How a backup ends that has left something behind.
    pub(super) fn ends(self, snapshot: &str, problems: usize) -> Failure {
        let (said, missing) = (self.in_words(), self.missing);
        if missing > 0 {
            let needed = counted(missing, "object");
            return Failure::from(self.why).saying(format!(
                "snapshot {snapshot} is stored, but {needed} that it needs cannot be read now either; {said}"
            ));
        }
        let rest = match problems {
            0 => String::new(),
            count => format!(", and {}", not_in_it(count)),
        };
        Failure::new(format!("snapshot {snapshot} is kept and can be restored{rest}; but {said}"))
            .hint(
                "they go when those contracts end: see `fondaco audit` for their hosts, then run this again",
            )
    }
}
