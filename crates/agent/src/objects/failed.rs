//! Which hosts a write failed for: others may take the place of these, and of no host that only a read waited for in vain.

use crate::AgentError;
use fondaco_crypto::EntityId;
use fondaco_ports::market::Reason;
use std::collections::BTreeSet;

/// The hosts that writes failed for.
#[derive(Debug, Default)]
pub struct FailedHosts {
    hosts: BTreeSet<EntityId>,
}

impl FailedHosts {
    /// Returns the hosts that others should take the place of.
    pub const fn hosts(&self) -> &BTreeSet<EntityId> {
        &self.hosts
    }

    pub(super) fn add(&mut self, host: EntityId, error: &AgentError) {
        // Who is not paid takes nothing, and has what it has.
        if replaces(error) || matches!(error, AgentError::Unpaid { .. }) {
            self.hosts.insert(host);
        }
    }
}

/// Whether another host should take the place of one that failed so. A contract that is full, spent or over says nothing about
/// its host.
pub(super) const fn replaces(error: &AgentError) -> bool {
    match error {
        AgentError::Provider { reason, .. } => {
            !reason.is_of_the_contract()
                && !matches!(
                    reason,
                    Reason::UnknownShard | Reason::WrongEpoch { .. } | Reason::Late { .. }
                )
        }
        error => !matches!(
            error,
            AgentError::HoldSpent { .. }
                | AgentError::ContractFull { .. }
                | AgentError::Store(_)
                | AgentError::OlderBook { .. }
                | AgentError::Unpaid { .. }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_contract::Ending;
    use fondaco_units::{Amount, Bytes};

    /// One line for each: how a write failed; whether another host takes the place of this one.
    #[test]
    fn who_failed_a_write_is_to_blame_for_it() {
        let host = EntityId::from_bytes([1; 32]);
        let refused = |reason| AgentError::Provider { provider: host, reason };
        for (error, replaced) in [
            (refused(Reason::Busy), true),
            (refused(Reason::Failed), true),
            (refused(Reason::ReadOnly), true),
            (refused(Reason::DiskFull), true),
            (refused(Reason::UnknownShard), false),
            (refused(Reason::Ended { why: Ending::Over }), false),
            (refused(Reason::WrongEpoch { epoch: 1 }), false),
            (refused(Reason::OverSize { size: Bytes::new(2), size_max: Bytes::new(1) }), false),
            (refused(Reason::PaidToTheEnd { epochs_paid: 3 }), false),
            (
                refused(Reason::OverHold {
                    authorised: Amount::new(2),
                    amount_max: Amount::new(1),
                }),
                false,
            ),
            (AgentError::Unpaid { provider: host }, true),
            (AgentError::OlderBook { provider: host, newest: 2, ours: 1 }, false),
            (AgentError::Store("a task failed".to_owned()), false),
        ] {
            let mut blame = FailedHosts::default();
            blame.add(host, &error);
            assert_eq!(blame.hosts().contains(&host), replaced, "{error}");
        }
    }
}
