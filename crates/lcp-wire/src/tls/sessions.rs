//! TLS sessions that can be resumed, each with the holder that was verified when it was made.

use super::Policy;
use fondaco_crypto::EntityId;
use rustls::server::StoresServerSessions;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How many sessions a server keeps. The oldest is evicted.
pub const SESSIONS_MAX: usize = 100_000;
/// How many of these belong to one holder, so that none can evict those of all others.
pub const SESSIONS_PER_HOLDER_MAX: usize = 16;
/// How long after its full handshake a session can be resumed, however often it was.
const SESSION_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How much they may weigh together; a certificate is part of its session.
const SESSIONS_BYTES_MAX: usize = 128 << 20;

/// What a full handshake costs its holder, until it was paid once.
///
/// Shared by the connection that made the handshake and by all sessions that come from it, so that a holder cannot
/// leave the debt behind by leaving the connection.
#[derive(Clone, Debug)]
pub(crate) struct Debt(Arc<AtomicBool>);

impl Debt {
    fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn pay(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) holder: EntityId,
    pub(crate) debt: Debt,
    /// When it proved its key by a full handshake.
    since: Instant,
}

/// All sessions of one server.
#[derive(Debug)]
pub(crate) struct Sessions {
    kept: Mutex<Kept>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::within(SESSIONS_MAX, SESSIONS_BYTES_MAX)
    }
}

/// A session's name: the policy that made it, and rustls' random name for it.
type Name = (Policy, Vec<u8>);

#[derive(Default)]
struct Kept {
    sessions_max: usize,
    bytes_max: usize,
    age_max: Duration,
    by_name: HashMap<Name, Session>,
    /// In order of age.
    by_age: BTreeMap<u64, Name>,
    /// Of each holder, the ages of its sessions, in order.
    by_holder: HashMap<EntityId, VecDeque<u64>>,
    revoked: HashSet<EntityId>,
    bytes: usize,
    next_age: u64,
}

struct Session {
    seen: Seen,
    age: u64,
    /// Secrets of the session, opaque.
    value: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names and values of sessions are secrets.
        f.debug_struct("Kept").field("sessions", &self.by_name.len()).finish_non_exhaustive()
    }
}

impl Kept {
    fn put(&mut self, name: Name, seen: Seen, value: Vec<u8>) -> bool {
        let weight = name.1.len() + value.len();
        if self.revoked.contains(&seen.holder) || weight > self.bytes_max / 1024 {
            return false;
        }
        self.remove(&name);
        let own = self.by_holder.get(&seen.holder);
        if let Some(oldest) = own.filter(|own| own.len() >= SESSIONS_PER_HOLDER_MAX) {
            let oldest = oldest.front().copied();
            self.evict(oldest);
        }
        while self.by_name.len() >= self.sessions_max || self.bytes + weight > self.bytes_max {
            let oldest = self.by_age.first_key_value().map(|(age, _)| *age);
            self.evict(oldest);
        }
        let age = self.next_age;
        self.next_age += 1;
        self.bytes += weight;
        self.by_age.insert(age, name.clone());
        self.by_holder.entry(seen.holder).or_default().push_back(age);
        self.by_name.insert(name, Session { seen, age, value: Zeroizing::new(value) });
        true
    }

    fn evict(&mut self, age: Option<u64>) {
        if let Some(name) = age.and_then(|age| self.by_age.get(&age)).cloned() {
            self.remove(&name);
        }
    }

    fn remove(&mut self, name: &Name) -> Option<Session> {
        let session = self.by_name.remove(name)?;
        self.bytes -= name.1.len() + session.value.len();
        self.by_age.remove(&session.age);
        if let Some(own) = self.by_holder.get_mut(&session.seen.holder) {
            own.retain(|age| *age != session.age);
            if own.is_empty() {
                self.by_holder.remove(&session.seen.holder);
            }
        }
        Some(session)
    }
}

impl Sessions {
    /// At most so many, and so many bytes of them.
    fn within(sessions_max: usize, bytes_max: usize) -> Self {
        Self {
            kept: Mutex::new(Kept {
                sessions_max,
                bytes_max,
                age_max: SESSION_AGE_MAX,
                ..Kept::default()
            }),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing in a critical section can panic half-way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all sessions of `holder`, and lets it make no new ones.
    pub(crate) fn revoke(&self, holder: EntityId) {
        let mut kept = self.kept();
        kept.revoked.insert(holder);
        for age in kept.by_holder.get(&holder).cloned().unwrap_or_default() {
            kept.evict(Some(age));
        }
    }

    pub(crate) fn is_revoked(&self, holder: &EntityId) -> bool {
        self.kept().revoked.contains(holder)
    }

    /// What rustls calls them.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        self.kept().by_name.keys().map(|(_, name)| name.clone()).collect()
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let kept = self.kept();
        assert_eq!(kept.by_name.len(), kept.by_age.len());
        assert_eq!(kept.by_name.len(), kept.by_holder.values().map(VecDeque::len).sum::<usize>());
        kept.by_name.len()
    }
}

/// The sessions as one connection sees them: those of its policy, made in the name of who was verified on it.
#[derive(Debug)]
pub(crate) struct View {
    sessions: Arc<Sessions>,
    policy: Policy,
    seen: Mutex<Option<Seen>>,
}

impl View {
    pub(crate) fn new(sessions: Arc<Sessions>, policy: Policy) -> Self {
        Self { sessions, policy, seen: Mutex::new(None) }
    }

    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    pub(crate) fn is_revoked(&self, holder: &EntityId) -> bool {
        self.sessions.is_revoked(holder)
    }

    /// Takes note of who a full handshake is with.
    pub(crate) fn see(&self, holder: EntityId) {
        self.note(Some(Seen { holder, debt: Debt::new(), since: Instant::now() }));
    }

    /// Who was seen on this connection.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, seen: Option<Seen>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

impl StoresServerSessions for View {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.seen().is_some_and(|seen| self.sessions.kept().put((self.policy, key), seen, value))
    }

    /// Not asked in TLS 1.3, where a session serves once.
    fn get(&self, _key: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut kept = self.sessions.kept();
        let mut session = kept.remove(&(self.policy, key.to_vec()))?;
        // rustls tells a holder the age of a session; nobody else holds it to that.
        if session.seen.since.elapsed() >= kept.age_max {
            return None;
        }
        drop(kept);
        self.note(Some(session.seen));
        Some(std::mem::take(&mut *session.value))
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: Policy = Policy { server_is_raw: true, holder_is_raw: true };
    const CERTIFICATE: Policy = Policy { server_is_raw: false, holder_is_raw: false };

    fn holder(number: u32) -> EntityId {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        EntityId::from_bytes(key)
    }

    fn view(sessions: &Arc<Sessions>, policy: Policy, number: u32) -> View {
        let view = View::new(Arc::clone(sessions), policy);
        view.see(holder(number));
        view
    }

    #[test]
    fn a_session_serves_its_own_policy_once() {
        let sessions = Arc::<Sessions>::default();
        assert!(view(&sessions, RAW, 1).put(vec![1], vec![9]));
        let other = View::new(Arc::clone(&sessions), CERTIFICATE);
        assert_eq!(other.take(&[1]), None);
        assert!(other.seen().is_none());
        let next = View::new(Arc::clone(&sessions), RAW);
        assert_eq!(next.get(&[1]), None);
        assert_eq!(next.take(&[1]), Some(vec![9]));
        assert_eq!(next.seen().map(|seen| seen.holder), Some(holder(1)));
        assert_eq!(next.take(&[1]), None);
        assert_eq!(sessions.count(), 0);
    }

    /// A session that is resumed over and over is as old as its full handshake.
    #[test]
    fn a_session_ends_with_its_day() {
        for (age_max, resumes) in [(SESSION_AGE_MAX, true), (Duration::ZERO, false)] {
            let sessions = Arc::<Sessions>::default();
            sessions.kept().age_max = age_max;
            let full = view(&sessions, RAW, 1);
            assert!(full.put(vec![1], vec![9]));
            let resumed = View::new(Arc::clone(&sessions), RAW);
            assert_eq!(resumed.take(&[1]).is_some(), resumes, "{age_max:?}");
            let since = |view: &View| view.seen().map(|seen| seen.since);
            assert_eq!(since(&resumed), since(&full).filter(|_| resumes));
            assert_eq!(resumed.put(vec![2], vec![9]), resumes);
        }
    }

    #[test]
    fn a_view_that_saw_nobody_keeps_nothing() {
        let sessions = Arc::<Sessions>::default();
        assert!(!View::new(Arc::clone(&sessions), RAW).put(vec![1], vec![9]));
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn a_revoked_holder_loses_its_sessions_and_others_keep_theirs() {
        let sessions = Arc::<Sessions>::default();
        assert!(view(&sessions, RAW, 1).put(vec![1], vec![9]));
        assert!(view(&sessions, CERTIFICATE, 1).put(vec![2], vec![9]));
        assert!(view(&sessions, RAW, 2).put(vec![3], vec![9]));
        sessions.revoke(holder(1));
        assert_eq!(sessions.count(), 1);
        assert!(!view(&sessions, RAW, 1).put(vec![4], vec![9]));
        assert!(view(&sessions, RAW, 3).take(&[3]).is_some());
    }

    #[test]
    fn one_holder_cannot_evict_the_others() {
        let sessions = Arc::<Sessions>::default();
        assert!(view(&sessions, RAW, 1).put(vec![1], vec![9]));
        let hoarder = view(&sessions, RAW, 2);
        for number in 0..1000_u32 {
            assert!(hoarder.put(number.to_be_bytes().to_vec(), vec![9]));
        }
        assert_eq!(sessions.count(), 1 + SESSIONS_PER_HOLDER_MAX);
        assert!(hoarder.take(&983_u32.to_be_bytes()).is_none(), "its oldest go first");
        assert!(hoarder.take(&984_u32.to_be_bytes()).is_some());
        assert!(view(&sessions, RAW, 1).take(&[1]).is_some());
    }

    #[test]
    fn the_oldest_of_too_many_is_evicted() {
        let sessions = Arc::new(Sessions::within(1000, SESSIONS_BYTES_MAX));
        for number in 0..1010_u32 {
            assert!(view(&sessions, RAW, number).put(number.to_be_bytes().to_vec(), vec![9]));
        }
        assert_eq!(sessions.count(), 1000);
        let any = View::new(Arc::clone(&sessions), RAW);
        assert!(any.take(&9_u32.to_be_bytes()).is_none());
        assert!(any.take(&10_u32.to_be_bytes()).is_some());
    }

    #[test]
    fn heavy_sessions_make_room_for_each_other() {
        let sessions = Arc::new(Sessions::within(SESSIONS_MAX, 1 << 20));
        for number in 0..3000_u32 {
            let name = number.to_be_bytes().to_vec();
            assert!(view(&sessions, RAW, number).put(name, vec![0; 1000]));
        }
        assert_eq!(sessions.count(), (1 << 20) / 1004);
        assert!(!view(&sessions, RAW, 1).put(vec![1], vec![0; 1025]), "too heavy for any room");
    }

    #[test]
    fn a_debt_follows_the_sessions_of_its_handshake() {
        let sessions = Arc::<Sessions>::default();
        let full = view(&sessions, RAW, 1);
        assert!(full.put(vec![1], vec![9]) && full.put(vec![2], vec![9]));
        let resumed = View::new(Arc::clone(&sessions), RAW);
        assert!(resumed.take(&[1]).is_some());
        assert!(resumed.seen().is_some_and(|seen| seen.debt.is_open()));
        resumed.seen().unwrap().debt.pay();
        assert!(!full.seen().unwrap().debt.is_open());
        let later = View::new(sessions, RAW);
        assert!(later.take(&[2]).is_some());
        assert!(!later.seen().unwrap().debt.is_open());
    }
}
