//! A host that takes contracts like any other, and then sends a byte a second.
//!
//! It is named by every audit that it stalls in: no answer of a host is as short as audits are patient.

use fondaco_transport::Fabric;

use super::super::host::HostNode;

/// Sends a byte a second.
pub(in super::super) struct StallingHost;

impl StallingHost {
    /// Begins to stall, or serves again to be given more.
    pub(in super::super) fn strike(fabric: &Fabric, host: &HostNode, stalls: bool) {
        fabric.set_rate(host.entity(), stalls.then_some(1));
    }
}
