//! A host that loses shards, and says nothing of it.
//!
//! It is named by the first full audit under a contract for which it does not have what it should. One that finds its folder
//! empty does not serve any more, and is known by its absence.

use super::super::host::HostNode;
use crate::Rng;

/// Loses shards.
pub(in super::super) struct ForgetfulHost;

impl ForgetfulHost {
    /// Loses some of its shards, or all.
    pub(in super::super) fn strike(host: &HostNode, rng: &mut Rng) {
        host.lose(1 + rng.below(100));
    }
}
