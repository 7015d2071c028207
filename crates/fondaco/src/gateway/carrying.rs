//! When what must not be lost is stored anew under the newest contracts: before the next write, or now and then.
//!
//! ```text
//! other contracts ──► Now: before the next write ──┬── all is stored anew ──► Not
//!                                                  └── some cannot be read ──► Later: every CARRY_EVERY, beside what clients do
//! ```
//!
//! What cannot be read is of older contracts, and no reason to store nothing under the newest: it stays where it is, and is tried
//! again for as long as the gateway runs.

use super::market::Market;
use crate::backup::say_progress;
use crate::screen::counted_as;
use fondaco_agent::book::ObjectId;
use fondaco_agent::{AgentError, CarryOver, FailedHosts, Objects};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// How long what could not be read is left alone.
const CARRY_EVERY: Duration = Duration::from_secs(30);

/// When there is something to be stored anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Perhaps, and before anything else is stored.
    Now,
    /// So many objects, when they can be read; those after this one first.
    Later { left: usize, after: Option<ObjectId> },
    /// Never, under these contracts.
    Not,
}

/// What is to be stored anew, and by whom.
#[derive(Debug)]
pub(super) struct Carrying {
    due: Mutex<Due>,
    /// Held by the write that does it: the others wait until it is done.
    round: tokio::sync::Mutex<()>,
}

impl Default for Carrying {
    fn default() -> Self {
        Self { due: Mutex::new(Due::Now), round: tokio::sync::Mutex::default() }
    }
}

impl Carrying {
    /// There are, or will be, other contracts.
    pub(super) fn begin(&self) {
        *self.due() = Due::Now;
    }

    fn due(&self) -> std::sync::MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Market {
    /// Stores the small objects anew that lie under older contracts. What fails is told, and tried again.
    pub(super) async fn carry_over(&self) {
        let carried = self.carry(&self.objects().await.objects, &mut FailedHosts::default()).await;
        if let Err(error) = carried {
            let what =
                format!("what must not be lost is not all under the newest contracts yet: {error}");
            say_progress(self.contracts().json(), &what);
            *self.carrying().due() = Due::Later { left: 0, after: None };
        }
    }

    /// Does it if it is due; who calls this keeps the dealings from being renewed until it is done.
    pub(super) async fn carry(
        &self,
        objects: &Objects,
        blame: &mut FailedHosts,
    ) -> Result<(), AgentError> {
        let carrying = self.carrying();
        if *carrying.due() != Due::Now {
            return Ok(());
        }
        let _round = carrying.round.lock().await;
        if *carrying.due() != Due::Now {
            return Ok(());
        }
        let mut over = objects.to_carry(None);
        while objects.carry_next(&mut over, blame).await? {}
        self.heed(&over, 0);
        Ok(())
    }

    /// Stores anew, now and then, what could not be read before; never ends.
    pub(super) async fn carry_later(&self) {
        loop {
            sleep(CARRY_EVERY).await;
            let due = *self.carrying().due();
            let Due::Later { left, after } = due else { continue };
            let carried = self.carry_between(after).await;
            let is_still = *self.carrying().due() == due;
            match carried {
                Ok(over) if is_still => {
                    self.heed(&over, left);
                    let is_spent =
                        matches!(over.why(), Some(AgentError::Unreadable { spent: true, .. }));
                    if is_spent && self.contracts().may_renew() {
                        let objects = Arc::clone(&self.objects().await.objects);
                        if let Err(why) = self.renew_used_up(&objects).await {
                            tracing::warn!(why = why.what(), "holds are used up, and not renewed");
                        }
                    }
                }
                Ok(_) => {}
                // The next write finds out for itself, and goes on with others.
                Err(error) => tracing::warn!(%error, "an object could not be stored anew"),
            }
        }
    }

    /// Stores anew what lies under older contracts, while clients are served; they may have new contracts opened between one
    /// object and the next.
    async fn carry_between(&self, after: Option<ObjectId>) -> Result<CarryOver, AgentError> {
        let mut over = self.objects().await.objects.to_carry(after);
        let mut blame = FailedHosts::default();
        while self.objects().await.objects.carry_next(&mut over, &mut blame).await? {}
        Ok(over)
    }

    /// Takes in what a round left, when there were so many before, and says what changed.
    fn heed(&self, over: &CarryOver, before: usize) {
        let left = over.left();
        let json = self.contracts().json();
        *self.carrying().due() = match left {
            0 => Due::Not,
            _ => Due::Later { left, after: over.last() },
        };
        match over.why() {
            Some(why) if left != before => {
                let stay = counted_as(left, "small object stays", "small objects stay");
                let what = format!(
                    "{stay} under older contracts, to be tried again while the gateway runs: {why}"
                );
                say_progress(json, &what);
            }
            None if before > 0 => {
                say_progress(json, "all small objects are under the newest contracts now");
            }
            Some(_) | None => {}
        }
    }
}
