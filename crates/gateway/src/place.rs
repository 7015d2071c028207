//! What the path of a request names.
//!
//! ```text
//! /              the repository
//! /config        its configuration
//! /TYPE/         a folder: keys, locks, snapshots, index, data
//! /TYPE/NAME     a file: its SHA-256 in hex
//! /data/AB/NAME  the same, as restic keeps packs in folders; AB are the first two digits of NAME
//! ```

use crate::{Kind, Name, Object};

/// A folder of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// Keys, each encrypted under a password.
    Keys,
    /// Locks: who works on the repository just now.
    Locks,
    /// Snapshots.
    Snapshots,
    /// Indexes of packs.
    Index,
    /// Packs.
    Data,
}

impl Folder {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "keys" => Self::Keys,
            "locks" => Self::Locks,
            "snapshots" => Self::Snapshots,
            "index" => Self::Index,
            "data" => Self::Data,
            _ => return None,
        })
    }

    /// Returns the kind of the objects in it; locks are none.
    pub(crate) const fn kind(self) -> Option<Kind> {
        match self {
            Self::Keys => Some(Kind::Key),
            Self::Locks => None,
            Self::Snapshots => Some(Kind::Snapshot),
            Self::Index => Some(Kind::Index),
            Self::Data => Some(Kind::Pack),
        }
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The repository.
    Repository,
    /// Its configuration.
    Config,
    /// The names in a folder.
    List(Folder),
    /// A file in a folder.
    File(Folder, Name),
}

impl Place {
    /// Finds what `path` names, if that can exist.
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        match path {
            "" => return Some(Self::Repository),
            "config" => return Some(Self::Config),
            _ => {}
        }
        let (folder, name) = path.split_once('/')?;
        let folder = Folder::parse(folder)?;
        if name.is_empty() {
            return Some(Self::List(folder));
        }
        let name = match name.split_once('/') {
            None => name,
            Some((front, name)) => {
                let fits = folder == Folder::Data && front.len() == 2 && name.starts_with(front);
                fits.then_some(name)?
            }
        };
        Some(Self::File(folder, name.parse().ok()?))
    }

    /// Returns the object that it is, if it is one.
    pub(crate) fn object(self) -> Option<Object> {
        match self {
            Self::Config => Some(Object::Config),
            Self::File(folder, name) => Some(Object::Named(folder.kind()?, name)),
            Self::Repository | Self::List(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_and_places() {
        let name = Name::of(b"x");
        let upper = name.to_string().to_uppercase();
        let front = &name.to_string()[..2];
        let table = [
            ("/".to_owned(), Some(Place::Repository)),
            ("/config".to_owned(), Some(Place::Config)),
            ("/keys/".to_owned(), Some(Place::List(Folder::Keys))),
            ("/locks/".to_owned(), Some(Place::List(Folder::Locks))),
            ("/snapshots/".to_owned(), Some(Place::List(Folder::Snapshots))),
            ("/index/".to_owned(), Some(Place::List(Folder::Index))),
            ("/data/".to_owned(), Some(Place::List(Folder::Data))),
            (format!("/data/{name}"), Some(Place::File(Folder::Data, name))),
            (format!("/data/{front}/{name}"), Some(Place::File(Folder::Data, name))),
            (format!("/locks/{name}"), Some(Place::File(Folder::Locks, name))),
            (format!("/keys/{front}/{name}"), None),
            (format!("/data/zz/{name}"), None),
            (format!("/data//{name}"), None),
            (format!("/data/{upper}"), None),
            (format!("/data/{name}0"), None),
            (format!("/data/{name}/"), None),
            (format!("/data/%2e%2e/{name}"), None),
            ("/data/..".to_owned(), None),
            ("/data".to_owned(), None),
            ("/config/".to_owned(), None),
            ("//config".to_owned(), None),
            ("/other/".to_owned(), None),
            ("/my-repository/config".to_owned(), None),
            (String::new(), None),
            ("*".to_owned(), None),
        ];
        for (path, place) in table {
            assert_eq!(Place::parse(&path), place, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "\\PC{0,90}", name in "[0-9a-f/]{60,70}") {
            let _ = Place::parse(&path);
            let _ = Place::parse(&format!("/data/{name}"));
        }
    }
}
