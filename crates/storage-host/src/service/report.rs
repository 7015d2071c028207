//! How the service fares, for its owner.

use super::{Shared, Waits};
use crate::Overview;
use fondaco_ports::market::Reason;
use fondaco_units::{Bytes, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// What was served and refused since the service began.
///
/// Sampled audits are reads of small parts, and a host cannot tell them from others, so both are counted as one. Deep audits
/// ask for a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Parts of shards sent with their proofs.
    pub reads: u64,
    /// The bytes of them, as asked for.
    pub read_bytes: Bytes,
    /// When the last one was sent.
    pub last_read: Option<Timestamp>,
    /// Deep audits answered with a proof.
    pub proofs: u64,
    /// When the last one was.
    pub last_proof: Option<Timestamp>,
    /// Shards taken in.
    pub puts: u64,
    /// The bytes of them.
    pub put_bytes: Bytes,
    /// When the last one was stored.
    pub last_put: Option<Timestamp>,
    /// How often something was refused, by the name of the reason.
    pub refused: BTreeMap<String, u64>,
}

impl Counts {
    pub(super) fn read(&mut self, now: Timestamp, bytes: Bytes) {
        self.reads += 1;
        self.read_bytes = self.read_bytes.checked_add(bytes).unwrap_or(Bytes::MAX);
        self.last_read = Some(now);
    }

    pub(super) const fn proof(&mut self, now: Timestamp) {
        self.proofs += 1;
        self.last_proof = Some(now);
    }

    pub(super) fn put(&mut self, now: Timestamp, bytes: Bytes) {
        self.puts += 1;
        self.put_bytes = self.put_bytes.checked_add(bytes).unwrap_or(Bytes::MAX);
        self.last_put = Some(now);
    }

    pub(super) fn refused(&mut self, reason: &Reason) {
        *self.refused.entry(name(reason)).or_default() += 1;
    }
}

/// The name of a reason without its values: there are few of them, whatever peers send.
fn name(reason: &Reason) -> String {
    let mut name = format!("{reason:?}");
    name.truncate(name.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(name.len()));
    name
}

/// How the service fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When this was written.
    pub now: Timestamp,
    /// When the service was started.
    pub up_since: Timestamp,
    /// The contracts, added up.
    pub overview: Overview,
    /// What was served and refused.
    pub counts: Counts,
    /// Shards that are paid for, and were not on the disk.
    pub lost: u64,
    /// Puts whose streams broke, and that may go on.
    pub parked: u64,
    /// Vouchers that the issuer does not take yet.
    pub waits: Waits,
    /// What is free on the disk of the shards; nothing if the system does not tell.
    pub disk_free: Option<Bytes>,
    /// What is to stay free there.
    pub reserve: Bytes,
    /// How many peers are connected.
    pub peers: u64,
}

/// Tells how a service fares, for as long as it lives.
#[derive(Clone, Debug)]
pub struct HostWatch(Weak<Shared>);

impl HostWatch {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }

    /// Returns how the service fares; nothing when it has ended.
    pub fn report(&self) -> Option<Report> {
        let shared = self.0.upgrade()?;
        let now = shared.clock.now();
        let disk_free = shared.folder.available().ok();
        let mut state = shared.lock();
        state.host.set_disk(disk_free);
        Some(Report {
            now,
            up_since: shared.up_since,
            overview: state.host.overview(now),
            counts: state.counts.clone(),
            lost: state.lost.len() as u64,
            parked: state.parked.len() as u64,
            waits: state.waiting.all(),
            disk_free,
            reserve: shared.reserve(),
            peers: state.peers.sharers() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_by_name() {
        let mut counts = Counts::default();
        let (free, wanted) = (Bytes::new(1), Bytes::new(2));
        counts.refused(&Reason::NoRoom { free, wanted });
        counts.refused(&Reason::NoRoom { free: wanted, wanted: free });
        counts.refused(&Reason::DiskFull);
        let counted = [("DiskFull".to_owned(), 1), ("NoRoom".to_owned(), 2)];
        assert_eq!(counts.refused, BTreeMap::from(counted));
    }
}
