//! Which connection of each holder may speak: the newest.

use crate::FENCES_MAX;
use fondaco_crypto::EntityId;
use std::collections::{BTreeMap, BTreeSet};

/// The newest connection of each key: of this process only, as connections are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fences {
    newest: BTreeMap<EntityId, u64>,
    /// The same by number: of too many, the oldest is dropped, which is the likeliest to be broken.
    by_number: BTreeSet<(u64, EntityId)>,
}

impl Fences {
    /// Takes note of a connection; whether it may speak: none of this key is newer.
    pub(crate) fn admit(&mut self, holder: EntityId, connection: u64) -> bool {
        match self.newest.get(&holder).copied() {
            Some(newest) if newest > connection => return false,
            Some(newest) if newest == connection => return true,
            Some(newest) => {
                self.by_number.remove(&(newest, holder));
            }
            None => {}
        }
        self.newest.insert(holder, connection);
        self.by_number.insert((connection, holder));
        if self.newest.len() > FENCES_MAX
            && let Some((_, oldest)) = self.by_number.pop_first()
        {
            self.newest.remove(&oldest);
        }
        true
    }

    /// Returns whether a newer connection of this key is known.
    pub(crate) fn is_fenced(&self, holder: EntityId, connection: u64) -> bool {
        self.newest.get(&holder).is_some_and(|newest| connection < *newest)
    }
}
