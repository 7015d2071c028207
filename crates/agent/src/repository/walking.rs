//! The entries of a snapshot that may be written below a folder, one after the other.
//!
//! Whoever could write into the repository may have forged a tree, and the library joins whatever names it has. So the tree
//! is walked here, and the library never sees an entry that could lead elsewhere.
//!
//! # What always holds
//!
//! - A path that passes is made of plain names, each passed before it as a folder: nothing lies below a link or a file.
//! - No path passes twice: a link cannot take the place of what is written through it later.
//! - Nothing that is refused ends the walk: the rest is restored.

use crate::AgentError;
use rustic_core::{
    ErrorKind, IndexedFullStatus, Repository, RusticError, RusticResult, repofile::Node,
};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::vec::IntoIter;

/// How many refused entries are named; the rest is counted.
const NAMED_MAX: usize = 100;

/// What was not restored, and why.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// The first hundred, in words.
    pub named: Vec<String>,
    /// How many there are in all.
    pub count: u64,
}

impl Refused {
    pub(super) fn note(&mut self, path: &Path, why: &str) {
        self.count += 1;
        if self.named.len() < NAMED_MAX {
            // As it would be written in a program: a name may have anything in it that a terminal obeys.
            self.named.push(format!("{path:?} {why}"));
        }
    }
}

/// Why an entry is refused. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its name is no plain one.
    Leaves,
    /// There was one of that name.
    Twice,
    /// It has entries, and is no folder.
    Below,
}

impl Why {
    const fn say(self) -> &'static str {
        match self {
            Self::Leaves => "would leave the folder",
            Self::Twice => "is there twice",
            Self::Below => "has entries below it, and is no folder",
        }
    }
}

/// Walks through a tree in its order, folders before what is in them.
pub(super) struct Walk<'a, F> {
    repository: &'a Repository<IndexedFullStatus>,
    /// The folder that all of it is in, if that is to become what it was.
    top: Option<Node>,
    to: &'a Path,
    stopped: F,
    open: Vec<Folder>,
    seen: Seen,
}

/// What a walk came by.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many links and special entries passed.
    pub(super) special: u64,
    /// How many of these have something at their place.
    pub(super) there: u64,
    /// What did not pass.
    pub(super) refused: Refused,
}

/// A folder that is walked through.
struct Folder {
    path: PathBuf,
    nodes: IntoIter<Node>,
    seen: BTreeSet<OsString>,
}

impl Folder {
    fn new(path: PathBuf, nodes: Vec<Node>) -> Self {
        Self { path, nodes: nodes.into_iter(), seen: BTreeSet::new() }
    }

    /// Lets an entry pass, under its path, or says why not.
    fn pass(&mut self, node: &Node) -> Result<PathBuf, (PathBuf, Why)> {
        let name = node.name();
        let path = self.path.join(&*name);
        if !is_plain(&name) {
            // As it is in the tree: joined, an absolute name would hide where it is.
            let mut told = self.path.clone().into_os_string();
            if !told.is_empty() {
                told.push("/");
            }
            told.push(&name);
            return Err((told.into(), Why::Leaves));
        }
        if !self.seen.insert(name.into_owned()) {
            return Err((path, Why::Twice));
        }
        if node.subtree.is_some() && !node.is_dir() {
            return Err((path, Why::Below));
        }
        Ok(path)
    }
}

impl<'a, F: Fn(AgentError)> Walk<'a, F> {
    /// Begins with a folder, if it is one that is to become what it was, and its entries, or with the one that is restored
    /// alone. `to` is the folder where they are to be restored; why the walk ends early is told to `stopped`.
    pub(super) fn new(
        repository: &'a Repository<IndexedFullStatus>,
        top: Option<Node>,
        nodes: Vec<Node>,
        to: &'a Path,
        stopped: F,
    ) -> Self {
        let open = vec![Folder::new(PathBuf::new(), nodes)];
        Self { repository, top, to, stopped, open, seen: Seen::default() }
    }

    pub(super) fn seen(self) -> Seen {
        self.seen
    }

    fn enter(&mut self, path: &Path, node: &Node) -> RusticResult<()> {
        let place = self.to.join(path);
        if let Some(error) = on_link(&place, node) {
            let told = RusticError::new(ErrorKind::InvalidInput, error.to_string());
            (self.stopped)(error);
            return Err(told);
        }
        if let Some(tree) = node.subtree {
            let nodes = self.repository.get_tree(&tree)?.nodes;
            self.open.push(Folder::new(path.to_owned(), nodes));
        }
        if node.is_special() {
            self.seen.special += 1;
            self.seen.there += u64::from(place.symlink_metadata().is_ok());
        }
        Ok(())
    }
}

impl<F: Fn(AgentError)> Iterator for Walk<'_, F> {
    type Item = RusticResult<(PathBuf, Node)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(top) = self.top.take() {
            return Some(Ok((PathBuf::new(), top)));
        }
        loop {
            let folder = self.open.last_mut()?;
            let Some(node) = folder.nodes.next() else {
                self.open.pop();
                continue;
            };
            match folder.pass(&node) {
                Ok(path) => return Some(self.enter(&path, &node).map(|()| (path, node))),
                Err((path, why)) => self.seen.refused.note(&path, why.say()),
            }
        }
    }
}

/// Whether a name is one plain part of a path.
fn is_plain(name: &OsStr) -> bool {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) => part == name && !name.as_bytes().contains(&0),
        _ => false,
    }
}

/// Says so if what is to be written would go where a link on the spot leads.
fn on_link(place: &Path, node: &Node) -> Option<AgentError> {
    let is_link = || place.symlink_metadata().is_ok_and(|data| data.is_symlink());
    let is_link = (node.is_dir() || node.is_file()) && is_link();
    is_link.then(|| AgentError::Invalid {
        what: format!("{} is a link, and no link in the snapshot", place.display()),
        hint: "restore into an empty folder, or remove the link: what it leads to would be \
               written over"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustic_core::{TreeId, repofile::NodeType};

    fn node(name: &str, kind: NodeType) -> Node {
        Node { name: name.to_owned(), node_type: kind, ..Node::default() }
    }

    fn link() -> NodeType {
        NodeType::from_link(Path::new("/nowhere"))
    }

    /// A forged tree: names that would leave the folder.
    #[test]
    fn what_would_leave_the_folder_is_refused() {
        // One line for each: the name in the tree, whether it may pass.
        let table = [
            ("plain", true),
            ("...", true),
            ("..x", true),
            ("..", false),
            (".", false),
            ("", false),
            ("/", false),
            ("/etc/passwd", false),
            ("../x", false),
            ("../../x", false),
            ("b/../../x", false),
            ("b/c", false),
            ("b/", false),
            ("\x2e\x2e", false), // `..`, as the format may escape it
            ("\x2fetc", false),
            ("a\x00b", false),
        ];
        for (name, passes) in table {
            for kind in [NodeType::File, NodeType::Dir, NodeType::Fifo, link()] {
                let mut folder = Folder::new(PathBuf::from("a"), Vec::new());
                let passed = folder.pass(&node(name, kind));
                assert_eq!(passed.is_ok(), passes, "{name:?}");
                match passed {
                    Ok(path) => assert_eq!(path, Path::new("a").join(name)),
                    Err((_, why)) => assert_eq!(why, Why::Leaves),
                }
            }
        }
    }

    /// What leads away must not be written through by what comes later in the tree.
    #[test]
    fn a_name_passes_once_and_only_folders_have_entries() {
        let mut folder = Folder::new(PathBuf::new(), Vec::new());
        assert_eq!(folder.pass(&node("x", link())), Ok(PathBuf::from("x")));
        for kind in [NodeType::File, NodeType::Dir, link()] {
            assert_eq!(folder.pass(&node("x", kind)), Err((PathBuf::from("x"), Why::Twice)));
        }
        for (name, kind) in [("y", NodeType::File), ("z", link()), ("d", NodeType::Dir)] {
            let is_folder = kind == NodeType::Dir;
            let with_entries = Node { subtree: Some(TreeId::default()), ..node(name, kind) };
            let passed = folder.pass(&with_entries);
            let refused = Err((PathBuf::from(name), Why::Below));
            assert_eq!(passed, if is_folder { Ok(PathBuf::from(name)) } else { refused });
        }
    }

    #[test]
    fn refusals_are_counted_and_the_first_are_named() {
        let mut refused = Refused::default();
        for number in 0..250 {
            refused.note(Path::new(&format!("../{number}\n")), Why::Leaves.say());
        }
        assert_eq!((refused.count, refused.named.len()), (250, NAMED_MAX));
        assert_eq!(refused.named[0], r#""../0\n" would leave the folder"#);
    }

    #[test]
    fn a_link_on_the_spot_is_not_followed() {
        let top = std::env::temp_dir().join(format!("fondaco-restoring-{}", std::process::id()));
        std::fs::create_dir(&top).unwrap();
        std::os::unix::fs::symlink("/nowhere", top.join("link")).unwrap();
        let place = top.join("link");
        assert!(on_link(&place, &node("link", NodeType::File)).is_some());
        assert!(on_link(&place, &node("link", NodeType::Dir)).is_some());
        assert!(on_link(&place, &node("link", link())).is_none());
        std::fs::remove_dir_all(&top).unwrap();
    }
}
