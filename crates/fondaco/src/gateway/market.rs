//! The owner's objects in the market, as a gateway's store.
//!
//! ```text
//! write ──► all n hosts of the newest contracts ──► stored
//!              └── one fails ──► others in its place: new contracts, and what must not be lost ──► the same write again
//! read  ──► any k hosts of the contracts that it lies under
//!              └── their holds are used up ──► others follow on them, within the budget ──► the same read again
//! ```

use super::carrying::Carrying;
use super::contracts::NewContracts;
use crate::backup::say_progress;
use crate::failure::Failure;
use fondaco_agent::book::{ObjectId, ObjectKind};
use fondaco_agent::{Agent, AgentError, FailedHosts, Objects};
use fondaco_crypto::Digest;
use fondaco_gateway::{Kind, Name, Object, Store, StoreError, Trouble};
use fondaco_ports::market::Reason;
use fondaco_units::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{RwLock, RwLockReadGuard};

/// How often a write goes on with other hosts after one failed.
const TRIES_MAX: u32 = 3;

/// How long a host that failed is left alone before all are dealt with as if nothing had been.
const GRUDGE: Duration = Duration::from_secs(60);

/// For how long things are removed once hosts were asked whether the book is the newest: another machine may take this one's place.
const NEWEST_FOR: Duration = Duration::from_secs(60);

/// What to do when nothing more can be stored.
const MORE: &str = "stop the gateway and start it again with --new-contracts --size SIZE";
/// What to do when what is there cannot be paid for any more.
const SPENT: &str = "stop the gateway, run `fondaco contracts renew`, and start it again; one that is started with --budget SUM renews by \
                     itself";
/// The same, when the budget does not pay for it.
const POOR: &str = "stop the gateway and start it again with a higher --budget, or run `fondaco contracts renew` before";
/// What to do about a host that lies or refuses.
const OTHERS: &str = "the others serve on; a gateway that is started with --size SIZE stores on others by itself, and `fondaco backup \
                      repair` gives its part to another while no gateway runs";
/// What to do when hosts are away.
const AWAY: &str =
    "start the hosts again; a gateway that is started with --size SIZE stores on others by itself";

/// The objects of one owner, on the hosts it has contracts with.
pub(super) struct Market {
    agent: Agent,
    contracts: NewContracts,
    dealings: RwLock<Dealings>,
    carrying: Carrying,
    /// When hosts were last asked whether the book is the newest, before something was removed.
    newest: tokio::sync::Mutex<Option<Instant>>,
}

/// The sessions with all hosts; one at a time, since the steps of a contract go one after the other.
pub(super) struct Dealings {
    pub(super) objects: Arc<Objects>,
    since: Instant,
    /// Bytes of shards that were sent and received by sessions before these.
    before: (u64, u64),
}

impl Dealings {
    fn begin(agent: &Agent, before: (u64, u64)) -> Self {
        Self { objects: Arc::new(agent.objects()), since: Instant::now(), before }
    }

    /// Ends these and begins others, with the contracts that there are now.
    fn renew(&mut self, agent: &Agent) {
        *self = Self::begin(agent, self.traffic());
    }

    fn traffic(&self) -> (u64, u64) {
        let traffic = self.objects.traffic();
        let (sent, received) = self.before;
        let and = |before: u64, now: &AtomicU64| before + now.load(Ordering::Relaxed);
        (and(sent, &traffic.sent), and(received, &traffic.received))
    }
}

impl Market {
    pub(super) fn new(agent: Agent, contracts: NewContracts) -> Self {
        let dealings = RwLock::new(Dealings::begin(&agent, (0, 0)));
        let newest = tokio::sync::Mutex::default();
        Self { agent, contracts, dealings, carrying: Carrying::default(), newest }
    }

    pub(super) const fn contracts(&self) -> &NewContracts {
        &self.contracts
    }

    pub(super) const fn carrying(&self) -> &Carrying {
        &self.carrying
    }

    pub(super) const fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Sees that the book is the newest still, if that was not seen a short while ago. By an older copy, clients would remove what the
    /// newest one needs.
    async fn check_newest(&self) -> Result<(), AgentError> {
        // Those that come meanwhile wait for the same answer.
        let mut newest = self.newest.lock().await;
        if newest.is_some_and(|when| when.elapsed() < NEWEST_FOR) {
            return Ok(());
        }
        let objects = Arc::clone(&self.objects().await.objects);
        self.agent.check_newest(&objects).await?;
        *newest = Some(Instant::now());
        Ok(())
    }

    /// Begins anew with all hosts, and with the contracts that there are now.
    pub(super) async fn renew(&self) {
        self.dealings.write().await.renew(&self.agent);
    }

    /// Returns how many bytes of shards were sent and received.
    pub(super) async fn traffic(&self) -> (u64, u64) {
        self.dealings.read().await.traffic()
    }

    /// Returns the objects; after a failure and some time, and when nobody uses them, new ones.
    pub(super) async fn objects(&self) -> RwLockReadGuard<'_, Dealings> {
        if let Ok(mut dealings) = self.dealings.try_write()
            && dealings.since.elapsed() > GRUDGE
            && !dealings.objects.down().is_empty()
        {
            dealings.renew(&self.agent);
        }
        self.dealings.read().await
    }
}

impl Market {
    /// Stores an object. When a host fails, and new contracts may be opened, it goes to others, as a backup does.
    async fn put(&self, object: ObjectId, content: Vec<u8>) -> Result<(), StoreError> {
        if !self.contracts.may_be() && !self.contracts.may_renew() {
            return self.objects().await.objects.put(object, content).await.map_err(told);
        }
        for _ in 1..TRIES_MAX {
            let dealings = self.objects().await;
            let objects = Arc::clone(&dealings.objects);
            let set = self.agent.usable_set();
            let mut blame = FailedHosts::default();
            let stored = self.store(&objects, object, content.clone(), &mut blame).await;
            drop(dealings);
            let Err(error) = stored else { return Ok(()) };
            if matches!(error, AgentError::HoldSpent { .. }) && self.contracts.may_renew() {
                let renewed = self.renew_used_up(&objects).await;
                renewed.map_err(|why| not_renewed(error, &why))?;
                continue;
            }
            if !self.contracts.may_be() || !is_of_a_host(&error) || blame.hosts().is_empty() {
                return Err(told(error));
            }
            let length = Bytes::of(&content);
            if let Err(failure) = self.go_on(set, &blame, length, &error).await {
                let StoreError { trouble, what, hint } = told(error);
                let what = format!("{what}; and others cannot take its place: {}", failure.what());
                return Err(StoreError { trouble, what, hint });
            }
        }
        let dealings = self.objects().await;
        let stored =
            self.store(&dealings.objects, object, content, &mut FailedHosts::default()).await;
        stored.map_err(told)
    }

    /// Reads an object. When holds are used up, and may be renewed, it is read under the contracts that follow.
    async fn get(&self, object: ObjectId, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        for _ in 1..TRIES_MAX {
            let dealings = self.objects().await;
            let objects = Arc::clone(&dealings.objects);
            let read = objects.read(object, range.clone()).await;
            drop(dealings);
            match read {
                Err(error @ AgentError::Unreadable { spent: true, .. })
                    if self.contracts.may_renew() =>
                {
                    let renewed = self.renew_used_up(&objects).await;
                    renewed.map_err(|why| not_renewed(error, &why))?;
                }
                done => return done.map_err(told),
            }
        }
        self.objects().await.objects.read(object, range).await.map_err(told)
    }

    /// Has others follow on the contracts of which `objects` found the holds to be used up, unless other sessions were begun since.
    pub(super) async fn renew_used_up(&self, objects: &Arc<Objects>) -> Result<(), Failure> {
        let mut dealings = self.dealings.write().await;
        if !Arc::ptr_eq(&dealings.objects, objects) {
            return Ok(());
        }
        self.contracts.renew(&self.agent, objects).await?;
        dealings.renew(&self.agent);
        let dealings = dealings.downgrade();
        self.contracts.keep_books(&self.agent, &dealings.objects).await;
        Ok(())
    }

    /// Stores an object, after what must not be lost.
    async fn store(
        &self,
        objects: &Objects,
        object: ObjectId,
        content: Vec<u8>,
        blame: &mut FailedHosts,
    ) -> Result<(), AgentError> {
        self.carry(objects, blame).await?;
        objects.put_or_blame(object, content, blame).await
    }

    /// Opens contracts with others than those that failed an object of some length that goes to this set, unless another write has done
    /// so. Nobody begins
    /// sessions beside the new ones before the books are kept by these.
    async fn go_on(
        &self,
        set: Option<u32>,
        blame: &FailedHosts,
        length: Bytes,
        error: &AgentError,
    ) -> Result<(), Failure> {
        let mut dealings = self.dealings.write().await;
        if self.agent.usable_set() != set {
            return Ok(());
        }
        say_progress(self.contracts.json(), &format!("{error}; going on with new contracts"));
        // Before there is another set: one that was opened halfway is written to, too.
        self.carrying.begin();
        if let Err(failure) = self.contracts.open(&self.agent, blame.hosts(), Some(length)).await {
            if self.agent.usable_set() != set {
                dealings.renew(&self.agent);
            }
            return Err(failure);
        }
        dealings.renew(&self.agent);
        let dealings = dealings.downgrade();
        self.contracts.keep_books(&self.agent, &dealings.objects).await;
        Ok(())
    }
}

/// Whether another host would do better: not if the contracts are full or over, or something here fails.
const fn is_of_a_host(error: &AgentError) -> bool {
    match error {
        AgentError::Transport(_)
        | AgentError::Misanswer { .. }
        | AgentError::PaidForNothing { .. }
        | AgentError::Unpaid { .. }
        | AgentError::Overstated { .. }
        | AgentError::Caught { .. } => true,
        AgentError::Provider { reason, .. } => !reason.is_of_the_contract(),
        AgentError::HoldSpent { .. }
        | AgentError::OlderBook { .. }
        | AgentError::OverBudget { .. }
        | AgentError::ContractFull { .. }
        | AgentError::Placement { .. }
        | AgentError::Unreadable { .. }
        | AgentError::Late { .. }
        | AgentError::Issuer(_)
        | AgentError::NotYet(_)
        | AgentError::Broker { .. }
        | AgentError::AuditLog { .. }
        | AgentError::Locked { .. }
        | AgentError::Damaged { .. }
        | AgentError::Store(_)
        | AgentError::Repository(_)
        | AgentError::Invalid { .. } => false,
    }
}

/// What the agent calls an object.
fn id(object: Object) -> ObjectId {
    match object {
        Object::Config => ObjectId { kind: ObjectKind::Config, name: Digest::ZERO },
        Object::Named(kind, name) => {
            ObjectId { kind: kind_of(kind), name: Digest::from_bytes(*name.as_bytes()) }
        }
    }
}

const fn kind_of(kind: Kind) -> ObjectKind {
    match kind {
        Kind::Key => ObjectKind::Key,
        Kind::Snapshot => ObjectKind::Snapshot,
        Kind::Index => ObjectKind::Index,
        Kind::Pack => ObjectKind::Pack,
    }
}

/// Says that holds are used up, and why they were not renewed.
fn not_renewed(error: AgentError, why: &Failure) -> StoreError {
    let StoreError { trouble, what, .. } = told(error);
    let what = format!("{what}; and it was not renewed: {}", why.what());
    StoreError { trouble, what, hint: Some(POOR.to_owned()) }
}

/// What went wrong, as a gateway tells it.
fn told(error: AgentError) -> StoreError {
    let (trouble, hint) = match &error {
        AgentError::Unreadable { spent: true, .. } => (Trouble::Full, Some(SPENT.to_owned())),
        AgentError::HoldSpent { .. }
        | AgentError::ContractFull { .. }
        | AgentError::Placement { .. }
        | AgentError::Unpaid { .. }
        | AgentError::Overstated { .. }
        | AgentError::Provider { reason: Reason::DiskFull | Reason::NoRoom { .. }, .. } => {
            (Trouble::Full, Some(MORE.to_owned()))
        }
        AgentError::Provider { reason, .. } if reason.is_of_the_contract() => {
            (Trouble::Full, Some(MORE.to_owned()))
        }
        // Its contracts have ended, or its hosts were caught: nobody has it.
        AgentError::Unreadable { over: true, .. } | AgentError::OlderBook { .. } => {
            (Trouble::Wrong, error.hint())
        }
        AgentError::Transport(_) | AgentError::Unreadable { .. } | AgentError::Late { .. } => {
            (Trouble::Away, Some(AWAY.to_owned()))
        }
        AgentError::Provider { reason, .. } if reason.is_transient() => {
            (Trouble::Away, Some(AWAY.to_owned()))
        }
        // It has ended, and its host forgot it.
        AgentError::Provider { reason: Reason::UnknownContract, .. } => {
            (Trouble::Wrong, Some(MORE.to_owned()))
        }
        AgentError::Provider { .. }
        | AgentError::Misanswer { .. }
        | AgentError::PaidForNothing { .. }
        | AgentError::Caught { .. } => (Trouble::Wrong, Some(OTHERS.to_owned())),
        AgentError::Issuer(_)
        | AgentError::NotYet(_)
        | AgentError::Broker { .. }
        | AgentError::AuditLog { .. }
        | AgentError::Locked { .. }
        | AgentError::OverBudget { .. }
        | AgentError::Damaged { .. }
        | AgentError::Store(_)
        | AgentError::Repository(_)
        | AgentError::Invalid { .. } => (Trouble::Own, error.hint()),
    };
    StoreError { trouble, what: error.to_string(), hint }
}

impl Store for Market {
    async fn list(&self, kind: Kind) -> Result<Vec<(Name, u64)>, StoreError> {
        let kind = kind_of(kind);
        Ok(self.agent.book().read(|book| {
            let of_kind = book.objects().filter(|(id, _)| id.kind == kind);
            let named = of_kind
                .map(|(id, record)| (Name::from_bytes(*id.name.as_bytes()), record.length.get()));
            named.collect()
        }))
    }

    async fn length(&self, object: Object) -> Result<Option<u64>, StoreError> {
        let object = id(object);
        Ok(self.agent.book().read(|book| book.object(object).map(|record| record.length.get())))
    }

    async fn read(&self, object: Object, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.get(id(object), range).await
    }

    async fn is_readable(&self, object: Object) -> Result<bool, StoreError> {
        let object = id(object);
        let ranges = self.objects().await.objects.telling(object).map_err(told)?;
        for range in ranges {
            match self.get(object, range).await {
                Ok(_) => {}
                Err(error) if error.trouble == Trouble::Own => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "it is sent again and cannot be had back: it is stored anew");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn write(&self, object: Object, content: Vec<u8>) -> Result<(), StoreError> {
        if self.agent.usable_set().is_none() {
            return Err(StoreError {
                trouble: Trouble::Full,
                what: "there are no contracts, or no longer, to store anything under".to_owned(),
                hint: Some(MORE.to_owned()),
            });
        }
        self.put(id(object), content).await
    }

    async fn remove(&self, object: Object) -> Result<(), StoreError> {
        self.check_newest().await.map_err(told)?;
        self.objects().await.objects.remove(id(object)).await.map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_contract::Ending;
    use fondaco_crypto::EntityId;

    /// One line for each: what went wrong; what sort of trouble it is, and a part of what to do.
    #[test]
    fn what_is_done_about_it_fits_what_went_wrong() {
        let provider = EntityId::from_bytes([1; 32]);
        let refused = |reason| AgentError::Provider { provider, reason };
        let unreadable = |spent, over| AgentError::Unreadable {
            object: "key 01010101".to_owned(),
            needed: 2,
            found: 1,
            last: "it is gone".to_owned(),
            spent,
            over,
            caught: false,
        };
        let ended = Reason::Ended { why: Ending::Over };
        for (error, trouble, hint) in [
            (unreadable(false, false), Trouble::Away, "start the hosts again"),
            (unreadable(false, true), Trouble::Wrong, "back up anew"),
            (unreadable(true, false), Trouble::Full, "contracts renew"),
            (refused(Reason::Busy), Trouble::Away, "start the hosts again"),
            (refused(ended), Trouble::Full, "--new-contracts"),
            (refused(Reason::DiskFull), Trouble::Full, "--new-contracts"),
            (refused(Reason::UnknownContract), Trouble::Wrong, "--new-contracts"),
            (refused(Reason::ReadOnly), Trouble::Wrong, "backup repair"),
            (
                AgentError::Caught { provider, what: "it lied".to_owned() },
                Trouble::Wrong,
                "backup repair",
            ),
        ] {
            let shown = error.to_string();
            let said = told(error);
            assert_eq!(said.trouble, trouble, "{shown}");
            let has = said.hint.as_deref().unwrap();
            assert!(has.contains(hint), "{shown}: {has}");
            let starts = has.contains("start the hosts again");
            assert_eq!(starts, trouble == Trouble::Away, "{shown}: {has}");
        }
    }
}
