//! Seeing that links, pipes, sockets and devices of a snapshot are there after a restore.
//!
//! The library makes each as it takes it from a walk, and only logs that it could not: among a thousand warnings that is lost, and of
//! one that was there before it says the same. So each is looked at when the next is taken.

use super::walking::Refused;
use rustic_core::RusticResult;
use rustic_core::repofile::{Node, NodeType};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// How the library begins and ends what it tells of such an entry.
const OF: &str = "restore ";
const NOT_MADE: &str = ": creating special file failed.";

/// A walk whose entries are made one after the other, each before the next is taken.
pub(super) struct Making<'a, W> {
    walk: W,
    to: &'a Path,
    last: Option<(PathBuf, NodeType)>,
    unmade: BTreeSet<PathBuf>,
    told: Refused,
}

impl<'a, W> Making<'a, W> {
    pub(super) fn new(walk: W, to: &'a Path) -> Self {
        Self { walk, to, last: None, unmade: BTreeSet::new(), told: Refused::default() }
    }

    fn look(&mut self) {
        let Some((path, kind)) = self.last.take() else { return };
        if let Some(why) = missing(&self.to.join(&path), &kind) {
            self.told.note(&path, why);
            self.unmade.insert(path);
        }
    }

    /// Returns what was not made. What the library tells of such entries is taken out of `problems`.
    pub(super) fn end(self, problems: &mut Vec<String>) -> Refused {
        let is_of_unmade = |told: &str| {
            let rest = told.strip_prefix(OF).unwrap_or_default();
            // A name may have anything in it, and what follows on it has one colon.
            let path = rest.rsplit_once(": ").map_or("", |(path, _)| path);
            self.unmade.contains(Path::new(path))
        };
        problems.retain(|told| !told.ends_with(NOT_MADE) && !is_of_unmade(told));
        self.told
    }
}

impl<W: Iterator<Item = RusticResult<(PathBuf, Node)>>> Iterator for Making<'_, W> {
    type Item = W::Item;

    fn next(&mut self) -> Option<Self::Item> {
        self.look();
        let next = self.walk.next();
        if let Some(Ok((path, node))) = &next
            && node.is_special()
        {
            self.last = Some((path.clone(), node.node_type.clone()));
        }
        next
    }
}

/// Says why an entry is not at its place, if it is not.
fn missing(place: &Path, kind: &NodeType) -> Option<&'static str> {
    let there = match place.symlink_metadata() {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Some(match kind {
                NodeType::Dev { .. } | NodeType::Chardev { .. } => {
                    "was not made: it is a device, which root alone may make"
                }
                _ => "was not made: the system refuses such things there",
            });
        }
        Err(_) => return Some("was made or not: it cannot be looked at"),
    };
    let is_kind = match kind {
        NodeType::File => there.is_file(),
        NodeType::Dir => there.is_dir(),
        NodeType::Symlink { .. } => place.read_link().is_ok_and(|target| target == kind.to_link()),
        NodeType::Dev { device } => there.file_type().is_block_device() && there.rdev() == *device,
        NodeType::Chardev { device } => {
            there.file_type().is_char_device() && there.rdev() == *device
        }
        NodeType::Fifo => there.file_type().is_fifo(),
        NodeType::Socket => there.file_type().is_socket(),
    };
    (!is_kind).then_some("was not made: something else lies there")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    /// One line for each: what lies there, what is to, and whether it counts as made.
    #[test]
    fn what_was_not_made_is_named_and_the_library_says_no_more_of_it() {
        let top = std::env::temp_dir().join(format!("fondaco-made-{}", std::process::id()));
        std::fs::create_dir(&top).unwrap();
        std::fs::write(top.join("file"), b"mine").unwrap();
        symlink("target", top.join("link")).unwrap();
        let _socket = UnixListener::bind(top.join("socket")).unwrap();
        let link = |to: &str| NodeType::from_link(Path::new(to));
        let device = NodeType::Chardev { device: 259 };
        let table = [
            ("link", link("target"), true),
            ("link", link("other"), false),
            ("socket", NodeType::Socket, true),
            ("socket", NodeType::Fifo, false),
            ("file", NodeType::Fifo, false),
            ("file", link("target"), false),
            ("none", device.clone(), false),
            ("none", NodeType::Fifo, false),
            // Whether a file is there is told otherwise.
            ("none", NodeType::File, true),
        ];
        for (name, kind, is_made) in table {
            let node = Node { name: name.to_owned(), node_type: kind.clone(), ..Node::default() };
            let walk = [Ok((PathBuf::from(name), node))].into_iter();
            let mut making = Making::new(walk, &top);
            assert_eq!((making.next().is_some(), making.next().is_none()), (true, true));
            let mut problems = [
                format!("restore {name}: creating special file failed."),
                format!("restore {name}: chmod failed."),
                "restore other: chmod failed.".to_owned(),
            ]
            .to_vec();
            let told = making.end(&mut problems);
            assert_eq!(told.count, u64::from(!is_made), "{name} {kind:?}");
            assert_eq!(told.named.len(), usize::from(!is_made), "{name} {kind:?}");
            assert_eq!(problems.len(), if is_made { 2 } else { 1 }, "{problems:?}");
        }
        assert!(missing(&top.join("none"), &device).unwrap().contains("root alone"));
        std::fs::remove_dir_all(&top).unwrap();
    }
}
