//! A host whose disk fills up: others fill it, and it refuses what it has no room for.
//!
//! What it has acknowledged it keeps and serves like any other.

use super::super::host::HostNode;
use crate::Rng;

/// What is left of its disk, at most.
const ROOM_MAX: u64 = 50_000;

/// Has less room than it promised.
pub(in super::super) struct FullDisk;

impl FullDisk {
    /// Others fill its disk but for a little.
    pub(in super::super) fn strike(host: &HostNode, rng: &mut Rng) {
        host.set_room(Some(rng.below(ROOM_MAX)));
    }
}
