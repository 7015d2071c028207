//! What a snapshot needs: which objects must be there for it to be restored.

use super::Repo;
use crate::AgentError;
use crate::book::{ObjectId, ObjectKind};
use fondaco_crypto::Digest;
use rustic_core::RusticError;
use std::collections::BTreeSet;

impl Repo {
    /// Has the library do as if these were not there.
    pub fn pass_over(&self, objects: BTreeSet<ObjectId>) {
        self.backend.hide(objects);
    }

    /// Returns the objects without which a snapshot cannot be restored, a key aside.
    pub fn needs(&self, name: &str) -> Result<BTreeSet<ObjectId>, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        self.guard(|| {
            let repository = self.opened()?.to_indexed().map_err(explain)?;
            let snapshot = self.snapshot(&repository, name)?;
            let of = |kind, hex: &str| {
                let name: Digest =
                    hex.parse().expect("an id is written as 64 lowercase hex digits");
                ObjectId { kind, name }
            };
            let mut needed: BTreeSet<ObjectId> = [ObjectKind::Config, ObjectKind::Index]
                .into_iter()
                .flat_map(|kind| self.objects.list(kind))
                .map(|(object, _)| object)
                .collect();
            needed.insert(of(ObjectKind::Snapshot, snapshot.id.to_hex().as_str()));
            let (mut trees, mut seen) = (vec![snapshot.tree], BTreeSet::new());
            while let Some(tree) = trees.pop() {
                if !seen.insert(tree) {
                    continue;
                }
                let entry = repository.get_index_entry(&tree).map_err(explain)?;
                needed.insert(of(ObjectKind::Pack, entry.pack.to_hex().as_str()));
                for node in repository.get_tree(&tree).map_err(explain)?.nodes {
                    trees.extend(node.subtree);
                    for data in node.content.iter().flatten() {
                        let entry = repository.get_index_entry(data).map_err(explain)?;
                        needed.insert(of(ObjectKind::Pack, entry.pack.to_hex().as_str()));
                    }
                }
            }
            Ok(needed)
        })
    }
}
