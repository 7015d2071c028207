//! Looking into snapshots: what is in one, and how two differ.

use super::Repo;
use crate::AgentError;
use rustic_core::{
    IndexedTree, LsOptions, Repository, RusticError, TreeId,
    repofile::{Node, NodeType, SnapshotFile},
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// What kind of thing an entry of a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket.
    Special,
}

impl EntryKind {
    pub(super) const fn of(node: &NodeType) -> Self {
        match node {
            NodeType::File => Self::File,
            NodeType::Dir => Self::Folder,
            NodeType::Symlink { .. } => Self::Link,
            NodeType::Dev { .. } | NodeType::Chardev { .. } | NodeType::Fifo | NodeType::Socket => {
                Self::Special
            }
        }
    }
}

/// Something in a snapshot.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where, below the folder that was backed up.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// How long it is, if it is a file.
    pub bytes: u64,
    /// Its permissions.
    pub mode: u32,
    /// When it was changed, as the library writes it.
    pub modified: Option<String>,
    /// Where it leads, if it is a link.
    pub target: Option<PathBuf>,
}

impl Entry {
    fn of(path: PathBuf, node: &Node) -> Self {
        let kind = EntryKind::of(&node.node_type);
        Self {
            path,
            kind,
            bytes: node.meta.size,
            mode: node.meta.mode.unwrap_or_default(),
            modified: node.meta.mtime.as_ref().map(ToString::to_string),
            target: (kind == EntryKind::Link).then(|| node.node_type.to_link().to_owned()),
        }
    }
}

/// How something differs between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// It is another kind of thing.
    Kind,
    /// Its content differs.
    Content,
    /// Only its permissions, owner, times or the like differ.
    Metadata,
}

/// One difference between two snapshots.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Where, below the folder that was backed up.
    pub path: PathBuf,
    /// How.
    pub change: Change,
    /// How long it is, in the second if that has it.
    pub bytes: u64,
}

impl Repo {
    /// Lists what is in a snapshot at `inside`, a path below the folder that was backed up, or all of it; with
    /// `recursive`, also what is in the folders there.
    pub fn look(
        &self,
        snapshot: &str,
        inside: Option<&Path>,
        recursive: bool,
        mut each: impl FnMut(Entry),
    ) -> Result<(), AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        self.guard(|| {
            let repository = self.opened()?.to_indexed_ids().map_err(explain)?;
            let snapshot = self.snapshot(&repository, snapshot)?;
            let top = top(&repository, &snapshot).map_err(explain)?;
            let top = within(&top, inside)?;
            let node = self.node(&repository, &snapshot, &top)?;
            let mut options = LsOptions::default();
            options.recursive = recursive;
            for entry in repository.ls(&node, &options).map_err(explain)? {
                let (path, node) = entry.map_err(explain)?;
                each(Entry::of(path, &node));
            }
            Ok(())
        })
    }

    /// Tells how the second snapshot differs from the first. Folders that are the same are not opened.
    pub fn diff(
        &self,
        first: &str,
        second: &str,
        mut each: impl FnMut(Difference),
    ) -> Result<(), AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        self.guard(|| {
            let repository = self.opened()?.to_indexed_ids().map_err(explain)?;
            let first = self.snapshot(&repository, first)?;
            let second = self.snapshot(&repository, second)?;
            let top = |snapshot: &SnapshotFile| top(&repository, snapshot);
            let (one, other) = (top(&first).map_err(explain)?, top(&second).map_err(explain)?);
            // With several folders in either, only their whole paths tell which is which.
            let are_whole = one == WHOLE || other == WHOLE;
            let node = |snapshot: &SnapshotFile, top: &str| {
                let top = if are_whole { WHOLE } else { top };
                self.node(&repository, snapshot, Path::new(top))
            };
            let (one, other) = (node(&first, &one)?, node(&second, &other)?);
            each_of_top(&one, &other, &mut each);
            let mut open = vec![(PathBuf::new(), one.subtree, other.subtree)];
            while let Some((at, one, other)) = open.pop() {
                if one == other {
                    continue;
                }
                let one = nodes(&repository, one).map_err(explain)?;
                let mut other = nodes(&repository, other).map_err(explain)?;
                for (name, old) in one {
                    let path = at.join(&name);
                    let new = other.remove(&name);
                    let change = match &new {
                        None => Some(Change::Removed),
                        Some(new) => compare(&old, new),
                    };
                    let new_tree = new.as_ref().and_then(|new| new.subtree);
                    if old.subtree.is_some() || new_tree.is_some() {
                        open.push((path.clone(), old.subtree, new_tree));
                    }
                    if let Some(change) = change {
                        let bytes = new.as_ref().unwrap_or(&old).meta.size;
                        each(Difference { path, change, bytes });
                    }
                }
                for (name, new) in other {
                    let path = at.join(&name);
                    if new.subtree.is_some() {
                        open.push((path.clone(), None, new.subtree));
                    }
                    each(Difference { path, change: Change::Added, bytes: new.meta.size });
                }
            }
            Ok(())
        })
    }
}

/// The path of all that is in a snapshot.
const WHOLE: &str = "/";

/// Returns where in a snapshot its folder is, which it holds under its whole path. A client of a gateway may have put several
/// there, or named one by a path from where it stood, and restic then holds it under that path alone and notes the whole one: then
/// it is all of them, each under its path.
pub(super) fn top(
    repository: &Repository<impl IndexedTree>,
    snapshot: &SnapshotFile,
) -> Result<String, Box<RusticError>> {
    let only = |tree: TreeId| {
        let tree = repository.get_tree(&tree)?;
        let [node] = tree.nodes.as_slice() else { return Ok(None) };
        Ok(Some((node.name().into_owned(), node.subtree)))
    };
    top_of(snapshot.paths.iter(), snapshot.tree, only)
}

/// The same for these folders and a tree, of each of which `only` tells the one entry and its tree, if it has no other.
fn top_of<'a, T, E>(
    mut paths: impl Iterator<Item = &'a String>,
    tree: T,
    mut only: impl FnMut(T) -> Result<Option<(OsString, Option<T>)>, E>,
) -> Result<String, E> {
    let whole = || Ok(WHOLE.to_owned());
    let (Some(path), None) = (paths.next(), paths.next()) else { return whole() };
    let mut tree = Some(tree);
    for part in Path::new(path).components() {
        let name = match part {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => return whole(),
        };
        let Some(open) = tree else { return whole() };
        // Anything beside it would be left out.
        match only(open)? {
            Some((found, inside)) if found == name => tree = inside,
            _ => return whole(),
        }
    }
    Ok(path.clone())
}

/// Returns the path in a snapshot of what is at `inside`, a path below its [`top`].
pub(super) fn within(top: &str, inside: Option<&Path>) -> Result<PathBuf, AgentError> {
    let mut path = PathBuf::from(top);
    let Some(inside) = inside else { return Ok(path) };
    // Someone may name the place by the path that it had.
    let below = inside.strip_prefix(top).unwrap_or(inside);
    for part in below.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(AgentError::Invalid {
                    what: format!("{} is not below {top}", inside.display()),
                    hint: "name a path as `fondaco backup ls SNAPSHOT` shows it".to_owned(),
                });
            }
        }
    }
    Ok(path)
}

/// Tells how what was backed up itself differs, and not what is in it: a folder is `.`, a single file has its name.
fn each_of_top(one: &Node, other: &Node, each: &mut impl FnMut(Difference)) {
    if let Some(change) = compare(one, other) {
        let name = other.name();
        let path = if other.is_dir() { PathBuf::from(".") } else { PathBuf::from(&*name) };
        each(Difference { path, change, bytes: other.meta.size });
    }
}

fn nodes(
    repository: &Repository<impl IndexedTree>,
    tree: Option<TreeId>,
) -> Result<BTreeMap<OsString, Node>, Box<RusticError>> {
    let Some(tree) = tree else { return Ok(BTreeMap::new()) };
    let nodes = repository.get_tree(&tree)?.nodes;
    Ok(nodes.into_iter().map(|node| (node.name().into_owned(), node)).collect())
}

fn compare(old: &Node, new: &Node) -> Option<Change> {
    let kind = |node: &Node| EntryKind::of(&node.node_type);
    if kind(old) != kind(new) {
        return Some(Change::Kind);
    }
    if old.content != new.content || (!old.is_dir() && old.node_type != new.node_type) {
        return Some(Change::Content);
    }
    let (one, other) = (&old.meta, &new.meta);
    let is_same = one.mode == other.mode
        && one.mtime == other.mtime
        && (one.uid, one.gid) == (other.uid, other.gid)
        && one.extended_attributes == other.extended_attributes;
    (!is_same).then_some(Change::Metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn the_top_is_the_folder_that_was_backed_up_or_the_whole() {
        // One line for each: the folders that are noted, what lies in the snapshot, each in the one before and alone there, and the top.
        let table: [(&[&str], &[&str], &str); 11] = [
            (&["/a/b"], &["a", "b"], "/a/b"),
            (&["/a/b"], &["a", "b", "c"], "/a/b"),
            (&["/a/b"], &["b"], "/"),
            (&["/a/b"], &["a"], "/"),
            (&["/a/b"], &["a", "x"], "/"),
            (&["/a/b"], &[], "/"),
            (&["/a/b", "/c"], &["a", "b"], "/"),
            (&["/a/../b"], &["a", "b"], "/"),
            (&["a"], &["a"], "a"),
            (&["/"], &["etc"], "/"),
            (&[], &[], "/"),
        ];
        for (noted, chain, expected) in table {
            let noted: Vec<String> = noted.iter().map(|&path| path.to_owned()).collect();
            let only = |depth: usize| {
                let name = chain.get(depth).map(|&name| OsString::from(name));
                Ok::<_, ()>(name.map(|name| (name, Some(depth + 1))))
            };
            assert_eq!(top_of(noted.iter(), 0, only).unwrap(), expected, "{noted:?}, {chain:?}");
        }
    }

    /// One line for each: the permissions and the kind of both; what is told.
    #[test]
    fn the_top_has_metadata_of_its_own() {
        let node = |mode, node_type| {
            let mut node = Node { name: "top".to_owned(), node_type, ..Node::default() };
            node.meta.mode = Some(mode);
            node
        };
        let folder = |mode| node(mode, NodeType::Dir);
        let file = |mode| node(mode, NodeType::File);
        for (one, other, expected) in [
            (folder(0o755), folder(0o755), None),
            (folder(0o755), folder(0o700), Some((".", Change::Metadata))),
            (file(0o644), file(0o644), None),
            (file(0o644), file(0o600), Some(("top", Change::Metadata))),
            (file(0o644), folder(0o644), Some((".", Change::Kind))),
        ] {
            let mut told = Vec::new();
            each_of_top(&one, &other, &mut |difference| told.push(difference));
            let told = told.first().map(|one| (one.path.to_str().unwrap(), one.change));
            assert_eq!(told, expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_path_is_found_below_the_top() {
        // One line for each: the top, what is asked for, and where it is; nothing if it cannot be.
        let table = [
            ("/a/b", None, Some("/a/b")),
            ("/a/b", Some("c"), Some("/a/b/c")),
            ("/a/b", Some("/a/b/c"), Some("/a/b/c")),
            ("/a/b", Some("/c"), None),
            ("/a/b", Some("../c"), None),
            (WHOLE, None, Some("/")),
            (WHOLE, Some("c"), Some("/c")),
            (WHOLE, Some("/a/b/x"), Some("/a/b/x")),
            (WHOLE, Some("/"), Some("/")),
            (WHOLE, Some("../c"), None),
        ];
        for (top, inside, expected) in table {
            let found = within(top, inside.map(Path::new)).ok();
            assert_eq!(found.as_deref(), expected.map(Path::new), "{top}, {inside:?}");
        }
        let name = OsStr::from_bytes(b"c\xff");
        let found = within("/a/b", Some(Path::new(name))).unwrap();
        assert_eq!(found.as_os_str().as_bytes(), b"/a/b/c\xff");
    }
}
