//! Which hosts a write failed for: others may take the place of these, and of no host that only a read waited for in vain.

use super::Objects;
use super::waiting::only_takes_nothing;
use crate::AgentError;
use crate::ending;
use fondaco_contract::ContractId;
use fondaco_crypto::EntityId;
use fondaco_ports::market::Reason;
use std::collections::BTreeSet;

/// The hosts that writes failed for.
#[derive(Debug, Default)]
pub struct Blame {
    hosts: BTreeSet<EntityId>,
    lost: BTreeSet<ContractId>,
}

impl Blame {
    /// Returns the hosts that others should take the place of.
    pub const fn hosts(&self) -> &BTreeSet<EntityId> {
        &self.hosts
    }

    pub(super) fn add(&mut self, contract: ContractId, host: EntityId, error: &AgentError) {
        // Who is not paid takes nothing, and has what it has.
        if replaces(error) || matches!(error, AgentError::Unpaid { .. }) {
            self.hosts.insert(host);
        }
        if loses(error) {
            self.lost.insert(contract);
        }
    }
}

impl Objects {
    /// Counts as lost what the hosts keep that are to blame, but for those that only take nothing new; it is in their record from
    /// then on.
    ///
    /// # Errors
    ///
    /// The book cannot be written to.
    pub fn count_lost_of(&self, blame: &Blame) -> Result<(), AgentError> {
        self.record_lost(blame.lost.iter().copied())
    }
}

/// Whether another host should take the place of one that failed so. A contract that is full, spent or over says nothing about
/// its host.
pub(super) fn replaces(error: &AgentError) -> bool {
    ending::over(error).is_none()
        && !matches!(
            error,
            AgentError::HoldSpent { .. }
                | AgentError::ContractFull { .. }
                | AgentError::Store(_)
                | AgentError::Unpaid { .. }
                | AgentError::Provider {
                    reason: Reason::OverSize { .. }
                        | Reason::TooManyShards { .. }
                        | Reason::OverHold { .. }
                        | Reason::PaidToTheEnd { .. }
                        | Reason::Unpaid { .. }
                        | Reason::UnknownShard
                        | Reason::WrongEpoch { .. }
                        | Reason::Late { .. },
                    ..
                }
        )
}

/// Whether what a host keeps counts as lost if it failed so, and another takes its place.
pub(super) fn loses(error: &AgentError) -> bool {
    replaces(error) && !only_takes_nothing(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::Digest;
    use fondaco_units::{Amount, Bytes};

    /// One line for each: how a write failed; whether another host takes the place of this one, and whether what it has is lost.
    #[test]
    fn who_failed_a_write_is_to_blame_for_it() {
        let host = EntityId::from_bytes([1; 32]);
        let contract = ContractId::from_digest(Digest::from_bytes([2; 32]));
        let refused = |reason| AgentError::Provider { provider: host, reason };
        for (error, replaced, lost) in [
            (refused(Reason::Busy), true, true),
            (refused(Reason::Failed), true, true),
            (refused(Reason::ReadOnly), true, false),
            (refused(Reason::DiskFull), true, false),
            (refused(Reason::UnknownShard), false, false),
            (
                refused(Reason::OverSize { size: Bytes::new(2), size_max: Bytes::new(1) }),
                false,
                false,
            ),
            (refused(Reason::PaidToTheEnd { epochs_paid: 3 }), false, false),
            (
                refused(Reason::OverHold {
                    authorised: Amount::new(2),
                    amount_max: Amount::new(1),
                }),
                false,
                false,
            ),
            (AgentError::Unpaid { provider: host }, true, false),
            (AgentError::Store("a task failed".to_owned()), false, false),
        ] {
            let mut blame = Blame::default();
            blame.add(contract, host, &error);
            assert_eq!(blame.hosts().contains(&host), replaced, "{error}");
            assert_eq!(blame.lost.contains(&contract), lost, "{error}");
        }
    }
}
