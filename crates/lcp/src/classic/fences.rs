//! Which connection of each holder may speak.
//!
//! ```text
//! holder speaks on X ──► X may speak, and every connection that is accepted from then on; the first of these that does
//!                        is the next X
//! ```
//!
//! What lingers was sent on a connection that had been accepted by then. Once a later message was done, on whichever
//! connection, all that were accepted before it are shut out but that one, which keeps its order.

use crate::FENCES_MAX;
use fondaco_crypto::EntityId;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug)]
struct Line {
    /// Where the holder spoke last.
    connection: u64,
    /// The newest connection, of anybody, when it did.
    newest: u64,
}

/// Where each holder spoke last: of this process only, as connections are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fences {
    /// The newest connection, of anybody.
    newest: u64,
    lines: BTreeMap<EntityId, Line>,
    /// The same by connection: of too many, the oldest is dropped, which is the likeliest to be broken.
    by_connection: BTreeSet<(u64, EntityId)>,
}

impl Fences {
    /// Takes note that connections up to this one were accepted.
    pub(crate) fn accepted(&mut self, connection: u64) {
        self.newest = self.newest.max(connection);
    }

    /// Returns whether a holder may not speak on this connection.
    pub(crate) fn is_fenced(&self, holder: EntityId, connection: u64) -> bool {
        let line = self.lines.get(&holder);
        line.is_some_and(|line| connection != line.connection && connection <= line.newest)
    }

    /// Lets a holder speak on this connection, if it may.
    pub(crate) fn admit(&mut self, holder: EntityId, connection: u64) -> bool {
        self.accepted(connection);
        if self.is_fenced(holder, connection) {
            return false;
        }
        let line = Line { connection, newest: self.newest };
        if let Some(before) = self.lines.insert(holder, line) {
            self.by_connection.remove(&(before.connection, holder));
        }
        self.by_connection.insert((connection, holder));
        if self.lines.len() > FENCES_MAX
            && let Some((_, oldest)) = self.by_connection.pop_first()
        {
            self.lines.remove(&oldest);
        }
        true
    }
}
