//! Older snapshots that could not be brought along to new contracts: a backup goes on without them, and says so.

use super::create::not_in_it;
use super::say_progress;
use crate::failure::Failure;
use crate::screen::counted;
use fondaco_agent::book::{ObjectId, ObjectKind};
use fondaco_agent::{AgentError, CarryOver, Objects, Repo, RepositoryError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Objects without which nobody knows what is stored, as errors name them.
const NEEDED: [&str; 3] = ["index ", "key ", "the repository's configuration"];

/// Says why nothing could be stored: of an object that no backup does without, also who keeps it and is away.
pub(super) fn not_stored(error: AgentError, missing: &BTreeSet<String>) -> Failure {
    let AgentError::Unreadable { object, spent: false, over: false, caught: false, .. } = &error
    else {
        return error.into();
    };
    if missing.is_empty() || !NEEDED.iter().any(|kind| object.starts_with(kind)) {
        return error.into();
    }
    let away: Vec<&str> = missing.iter().map(String::as_str).collect();
    let what = format!(
        "{error}; without it nobody knows what is stored, and nothing was. Away: {}",
        away.join("; ")
    );
    Failure::from(error).saying(what).hint(
        "start those hosts again, or wait for them, then run the same; one that moved is named with --host ADDRESS, and `fondaco \
         audit` says who answers",
    )
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    /// One line for each: what cannot be read, whether for good, and whether hosts that may come back are named.
    #[test]
    fn an_index_that_cannot_be_read_names_who_is_away() {
        let missing = BTreeSet::from(["host-1 is away".to_owned(), "host-2 is away".to_owned()]);
        for (object, over, is_named) in [
            ("index 01010101", false, true),
            ("key 01010101", false, true),
            ("the repository's configuration", false, true),
            ("index 01010101", true, false),
            ("pack 01010101", false, false),
            ("snapshot 01010101", false, false),
        ] {
            let object = object.to_owned();
            let last = "host-2 is away".to_owned();
            let (needed, found, spent, caught) = (2, 1, false, false);
            let error = AgentError::Unreadable { object, needed, found, last, spent, over, caught };
            let failure = not_stored(error, &missing);
            let (what, hint) = (failure.what(), failure.what_to_do().unwrap());
            assert_eq!(what.contains("Away: host-1 is away; host-2 is away"), is_named, "{what}");
            assert_eq!(hint.contains("start those hosts again"), is_named, "{hint}");
            let code = if over { Code::NotFound } else { Code::Unreachable };
            assert_eq!(failure.ends_with(), code, "{what}");
        }
    }
}
