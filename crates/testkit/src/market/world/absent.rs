//! How often hosts were away when they were audited: those may stand badly, and no wrong is done to them.

use std::collections::BTreeMap;

use fondaco_agent::Standing;
use fondaco_agent::auditing::{Audited, Outcome};
use fondaco_crypto::EntityId;

use super::super::host::HostNode;
use super::super::roles::Role;

/// Who was away for so many audits may stand badly by that; some 33 in a row are needed.
const ABSENT_MIN: u64 = 15;

/// How many audits of each host found nobody there, or it down.
#[derive(Debug, Default)]
pub(super) struct Absent(BTreeMap<EntityId, u64>);

impl Absent {
    pub(super) fn note(&mut self, hosts: &[(Role, HostNode)], audited: &[Audited]) {
        for each in audited {
            let host = hosts.iter().find(|(_, host)| host.entity() == each.provider);
            let is_down = host.is_some_and(|(_, host)| !host.is_up());
            if let Outcome::Silent { what } = &each.outcome
                && (is_down || what.contains("nobody answers"))
            {
                *self.0.entry(each.provider).or_default() += 1;
            }
        }
    }

    /// Whether an honest host that stands so is wronged: it is paid no more, and was mostly there.
    pub(super) fn is_wronged(&self, who: EntityId, standing: Standing) -> bool {
        let absent = self.0.get(&who).copied().unwrap_or(0);
        standing >= Standing::StopPaying && absent < ABSENT_MIN
    }
}
