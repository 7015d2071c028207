//! What a gateway needs of whoever keeps the objects.

use crate::Name;
use std::{fmt, future::Future, ops::Range};

/// What kind of thing a named object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A key, encrypted under a password.
    Key,
    /// A snapshot.
    Snapshot,
    /// An index of packs.
    Index,
    /// A pack of blobs.
    Pack,
}

/// Names an object of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The one configuration.
    Config,
    /// Any other: by its kind and its content.
    Named(Kind, Name),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Config => return f.write_str("the configuration"),
            Self::Named(kind, name) => (kind, name.to_string()),
        };
        let kind = match kind {
            Kind::Key => "key",
            Kind::Snapshot => "snapshot",
            Kind::Index => "index",
            Kind::Pack => "pack",
        };
        write!(f, "{kind} {name:.8}")
    }
}

/// What sort of trouble a store is in; it decides the status that restic sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room, or no money, for more: 507. Somebody must do something.
    Full,
    /// Who keeps the object cannot be reached now: 503. The same may succeed later.
    Away,
    /// Who keeps the object answered something wrong: 502.
    Wrong,
    /// Something failed here: 500.
    Own,
}

/// Why a store could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    /// What sort of trouble it is.
    pub trouble: Trouble,
    /// What happened, with its values.
    pub what: String,
    /// What to do about it, where that is known.
    pub hint: Option<String>,
}

impl StoreError {
    /// Returns whether the same can succeed later.
    pub const fn is_transient(&self) -> bool {
        match self.trouble {
            Trouble::Away => true,
            Trouble::Full | Trouble::Wrong | Trouble::Own => false,
        }
    }
}

/// Keeps the objects of one repository. Dropping a future may leave a write or removal undone, never half done.
pub trait Store: Send + Sync + 'static {
    /// Returns the names and lengths of all objects of a kind.
    fn list(&self, kind: Kind)
    -> impl Future<Output = Result<Vec<(Name, u64)>, StoreError>> + Send;

    /// Returns the length of an object, or nothing if there is no such object.
    fn length(
        &self,
        object: Object,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Reads bytes of an object that exists: exactly those of `range`, which lies in it.
    fn read(
        &self,
        object: Object,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Vec<u8>, StoreError>> + Send;

    /// Returns whether an object that exists can be had back now, as far as a look shows that costs little.
    fn is_readable(&self, object: Object) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Stores an object, whose name was checked, also one that exists; when this returns, it is durable.
    fn write(
        &self,
        object: Object,
        content: Vec<u8>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes an object; that it is not there is no error.
    fn remove(&self, object: Object) -> impl Future<Output = Result<(), StoreError>> + Send;
}
