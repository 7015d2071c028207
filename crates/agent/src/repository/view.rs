//! A snapshot as a tree of numbered entries, opened as far as somebody looks: what a mounted folder shows.

use super::{EntryKind, Repo, looking};
use crate::AgentError;
use bytes::Bytes as Buffer;
use rustic_core::{
    IndexedFullStatus, Repository, RusticError,
    repofile::{Node, NodeType},
    vfs::OpenFile,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

/// Names an entry of a view: 1 is the top, and the rest are counted as they are seen.
pub type EntryNumber = u64;

/// The number of the top of a view.
pub const TOP: EntryNumber = 1;

/// What is known of an entry without reading it.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// What it is.
    pub kind: EntryKind,
    /// Which special thing, as the permissions and kind of `stat` have it, if it is one.
    pub special: Option<Special>,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its permissions.
    pub mode: u16,
    /// Whose it is.
    pub user: u32,
    /// Whose group's it is.
    pub group: u32,
    /// How many names it has.
    pub links: u32,
    /// When it was changed.
    pub modified: SystemTime,
    /// Where it leads, if it is a link.
    pub target: Option<PathBuf>,
}

/// Kinds of special entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A pipe with a name.
    Pipe,
    /// A socket.
    Socket,
    /// A device of blocks.
    Block(u64),
    /// A device of characters.
    Character(u64),
}

/// The names in a folder, and their numbers.
type Children = Arc<BTreeMap<OsString, EntryNumber>>;

/// A snapshot that is looked into. Its methods block.
pub struct View {
    repo: Repo,
    repository: Repository<IndexedFullStatus>,
    seen: Mutex<Table>,
}

/// What was seen so far.
struct Table {
    /// By number, from [`TOP`].
    entries: Vec<Seen>,
    /// The numbers of files with several names, by device and inode.
    linked: BTreeMap<(u64, u64), EntryNumber>,
}

impl Table {
    /// Numbers an entry; one that is another name of a file that was seen has its number.
    fn number(&mut self, node: Node, parent: EntryNumber) -> EntryNumber {
        let (links, file) = (node.meta.links, (node.meta.device_id, node.meta.inode));
        let is_linked = node.is_file() && links > 1 && file.1 != 0;
        if is_linked && let Some(&number) = self.linked.get(&file) {
            return number;
        }
        self.entries.push(Seen { node: Arc::new(node), parent, children: None, open: None });
        let number = self.entries.len() as EntryNumber;
        if is_linked {
            self.linked.insert(file, number);
        }
        number
    }
}

struct Seen {
    node: Arc<Node>,
    parent: EntryNumber,
    children: Option<Children>,
    open: Option<Arc<OpenFile>>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("repo", &self.repo).finish_non_exhaustive()
    }
}

impl Repo {
    /// Opens a snapshot to be looked into: all of it, or what is at `inside`.
    pub fn view(self, snapshot: &str, inside: Option<&Path>) -> Result<View, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        let (repository, node) = self.guard(|| {
            let repository = self.opened()?.to_indexed().map_err(explain)?;
            let snapshot = self.snapshot(&repository, snapshot)?;
            let top = looking::top(&repository, &snapshot).map_err(explain)?;
            let top = looking::within(&top, inside)?;
            let node = self.node(&repository, &snapshot, &top)?;
            Ok((repository, node))
        })?;
        if !node.is_dir() {
            return Err(AgentError::Invalid {
                what: "what is to be mounted is no folder".to_owned(),
                hint: "mount the folder that it is in, or restore it".to_owned(),
            });
        }
        let top = Seen { node: Arc::new(node), parent: TOP, children: None, open: None };
        let table = Table { entries: vec![top], linked: BTreeMap::new() };
        Ok(View { repo: self, repository, seen: Mutex::new(table) })
    }
}

impl View {
    fn seen(&self) -> MutexGuard<'_, Table> {
        self.seen.lock().expect("no panic under this lock")
    }

    /// Looks an entry up by its number.
    fn with<T>(&self, number: EntryNumber, look: impl FnOnce(&mut Seen) -> T) -> Option<T> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.seen().entries.get_mut(index).map(look)
    }

    /// Returns what is known of an entry; nothing if there is none of that number.
    pub fn attributes(&self, number: EntryNumber) -> Option<Attributes> {
        self.with(number, |seen| Attributes::of(&seen.node))
    }

    /// Returns in which folder an entry is; the top is in itself.
    pub fn parent(&self, number: EntryNumber) -> Option<EntryNumber> {
        self.with(number, |seen| seen.parent)
    }

    /// Returns the number of a name in a folder; nothing if there is no such folder or name.
    pub fn child(
        &self,
        folder: EntryNumber,
        name: &OsStr,
    ) -> Result<Option<EntryNumber>, AgentError> {
        Ok(self.children(folder)?.and_then(|children| children.get(name).copied()))
    }

    /// Returns the names in a folder, in order, with their numbers; nothing if it is none.
    pub fn children(&self, folder: EntryNumber) -> Result<Option<Children>, AgentError> {
        let Some((known, tree)) =
            self.with(folder, |seen| (seen.children.clone(), seen.node.subtree))
        else {
            return Ok(None);
        };
        let (None, Some(tree)) = (&known, tree) else { return Ok(known) };
        let nodes = self
            .repo
            .guard(|| self.repository.get_tree(&tree).map_err(|error| self.repo.explain(&error)))?;
        let mut seen = self.seen();
        let mut children = BTreeMap::new();
        for node in nodes.nodes {
            let name = node.name().into_owned();
            // What could not be a name in a folder is not shown: it was not made by this program.
            if Path::new(&name).file_name() != Some(&name) {
                continue;
            }
            let number = seen.number(node, folder);
            children.insert(name, number);
        }
        let children = Arc::new(children);
        let index = usize::try_from(folder - 1).unwrap_or(usize::MAX);
        // Somebody else may have looked meanwhile; numbers that were given stay.
        let entry = seen
            .entries
            .get_mut(index)
            .map(|seen| Arc::clone(seen.children.get_or_insert(Arc::clone(&children))));
        Ok(entry)
    }

    /// Reads from a file; less where it ends, nothing if it is none.
    pub fn read(
        &self,
        file: EntryNumber,
        offset: u64,
        length: u32,
    ) -> Result<Option<Buffer>, AgentError> {
        let Some((node, open)) =
            self.with(file, |seen| (Arc::clone(&seen.node), seen.open.clone()))
        else {
            return Ok(None);
        };
        if !node.is_file() {
            return Ok(None);
        }
        self.repo.guard(|| {
            let explain = |error: Box<RusticError>| self.repo.explain(&error);
            let open = match open {
                Some(open) => open,
                None => {
                    let open = Arc::new(self.repository.open_file(&node).map_err(explain)?);
                    self.with(file, |seen| seen.open = Some(Arc::clone(&open)));
                    open
                }
            };
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            self.repository.read_file_at(&open, offset, length as usize).map(Some).map_err(explain)
        })
    }

    /// Forgets how a file is read, once nobody reads it.
    pub fn release(&self, file: EntryNumber) {
        self.with(file, |seen| seen.open = None);
    }
}

impl Attributes {
    fn of(node: &Node) -> Self {
        let meta = &node.meta;
        let kind = EntryKind::of(&node.node_type);
        let special = match node.node_type {
            NodeType::Fifo => Some(Special::Pipe),
            NodeType::Socket => Some(Special::Socket),
            NodeType::Dev { device } => Some(Special::Block(device)),
            NodeType::Chardev { device } => Some(Special::Character(device)),
            NodeType::File | NodeType::Dir | NodeType::Symlink { .. } => None,
        };
        let mode = meta.mode.unwrap_or(if kind == EntryKind::Folder { 0o755 } else { 0o644 });
        let modified = meta.mtime.map_or(UNIX_EPOCH, SystemTime::from);
        let target = match &node.node_type {
            link @ NodeType::Symlink { .. } => Some(link.to_link().to_owned()),
            _ => None,
        };
        Self {
            kind,
            special,
            bytes: meta.size,
            mode: u16::try_from(mode & 0o7777).unwrap_or(0),
            user: meta.uid.unwrap_or(0),
            group: meta.gid.unwrap_or(0),
            links: u32::try_from(meta.links.max(1)).unwrap_or(u32::MAX),
            modified,
            target,
        }
    }
}
