//! Writes a snapshot of entries that no folder has, with a buyer's own key and contracts.

use crate::market::key_of;
use bytes::Bytes as Buffer;
use fondaco_agent::book::{ObjectId, ObjectKind};
use fondaco_agent::{Agent, Objects, repository_password};
use fondaco_crypto::Digest;
use fondaco_store::SystemClock;
use fondaco_transport::Endpoint;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{
    BackupOptions, BytesList, Credentials, FileType, Id, LocalSource, OpenStatus, ReadBackend,
    ReadSource, ReadSourceEntry, Repository, RepositoryBackends, RepositoryOptions, RusticResult,
    SnapshotOptions, WriteBackend,
};
use std::ffi::OsStr;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;

/// A node under another name, whatever that is.
pub(crate) fn named(node: &Node, name: &str) -> Node {
    let mut node = node.clone();
    name.clone_into(&mut node.name);
    node
}

/// A symbolic link.
pub(crate) fn link(name: &str, target: &Path) -> Node {
    Node::new_node(OsStr::new(name), NodeType::from_link(target), Metadata::default())
}

/// The repository of a buyer, in the hands of somebody who has its key.
pub(crate) struct Forger {
    shelf: Arc<Shelf>,
    password: String,
    source: PathBuf,
}

impl Forger {
    pub(crate) async fn open(home: &Path, source: &Path) -> Self {
        let key = key_of(home);
        let password = repository_password(&key);
        let endpoint = Endpoint::bind(&key, None, &[]).await.unwrap();
        let agent = Agent::open(&home.join("agent"), key, endpoint, Arc::new(SystemClock)).unwrap();
        let shelf = Arc::new(Shelf { objects: agent.objects(), runtime: Handle::current() });
        Self { shelf, password, source: source.to_owned() }
    }

    /// Does something with the opened repository, on a thread that may block.
    async fn with<T: Send + 'static>(
        &self,
        run: impl FnOnce(Repository<OpenStatus>) -> T + Send + 'static,
    ) -> T {
        let (shelf, password) = (Arc::clone(&self.shelf), self.password.clone());
        let blocking = tokio::task::spawn_blocking(move || {
            let mut options = RepositoryOptions::default();
            options.no_cache = true;
            let repository =
                Repository::new(&options, &RepositoryBackends::new(shelf, None)).unwrap();
            run(repository.open(&Credentials::password(password)).unwrap())
        });
        blocking.await.unwrap()
    }

    /// What the newest snapshot has at a path below the source.
    pub(crate) async fn node(&self, path: &str) -> Node {
        let path = self.source.join(path);
        self.with(move |repository| {
            let repository = repository.to_indexed().unwrap();
            let snapshot = repository.get_snapshot_from_str("latest", |_| true).unwrap();
            let path = path.to_str().unwrap();
            repository.node_from_snapshot_and_path(&snapshot, path).unwrap()
        })
        .await
    }

    /// Stores a snapshot of several folders, as a client of a gateway may.
    pub(crate) async fn back_up(self, folders: Vec<PathBuf>) {
        self.with(move |repository| {
            let repository = repository.to_indexed_ids().unwrap();
            let snapshot = SnapshotOptions::default().to_snapshot().unwrap();
            let options = BackupOptions::default();
            let BackupOptions { ignore_save_opts, excludes, ignore_filter_opts, .. } = &options;
            let walk = LocalSource::new(*ignore_save_opts, excludes, ignore_filter_opts, &folders);
            repository.archive(&options, &walk.unwrap(), snapshot, &folders).unwrap();
        })
        .await;
    }

    /// Stores a snapshot of the source with these entries: each with the place in the walk that makes it, in order. What
    /// their names are is not looked at.
    pub(crate) async fn forge(self, entries: Vec<(&str, Node)>) {
        let source = self.source.clone();
        let at_place = |(place, node): (&str, Node)| (source.join(place), node);
        let walk = Entries(entries.into_iter().map(at_place).collect());
        self.with(move |repository| {
            let repository = repository.to_indexed_ids().unwrap();
            let snapshot = SnapshotOptions::default().to_snapshot().unwrap();
            let mut options = BackupOptions::default();
            options.parent_opts.force = true;
            repository.archive(&options, &walk, snapshot, &[source]).unwrap();
        })
        .await;
    }
}

struct Entries(Vec<(PathBuf, Node)>);

impl ReadSource for Entries {
    type Open = Cursor<Vec<u8>>;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Self::Open>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let entry = |(path, node): &(PathBuf, Node)| {
            let content = if node.name.ends_with("in") { &b"below"[..] } else { b"not yours" };
            let content = if node.name == "good" { b"dear all" } else { content };
            let open = node.is_file().then(|| Cursor::new(content.to_vec()));
            Ok(ReadSourceEntry { path: path.clone(), node: node.clone(), open })
        };
        self.0.iter().map(entry).collect::<Vec<_>>().into_iter()
    }
}

/// The objects of a buyer, as the library wants them.
struct Shelf {
    objects: Objects,
    runtime: Handle,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shelf")
    }
}

fn object(kind: FileType, id: &Id) -> ObjectId {
    let name: Digest = id.to_hex().as_str().parse().unwrap();
    match kind {
        FileType::Config => ObjectId { kind: ObjectKind::Config, name: Digest::ZERO },
        FileType::Key => ObjectId { kind: ObjectKind::Key, name },
        FileType::Snapshot => ObjectId { kind: ObjectKind::Snapshot, name },
        FileType::Index => ObjectId { kind: ObjectKind::Index, name },
        FileType::Pack => ObjectId { kind: ObjectKind::Pack, name },
    }
}

impl ReadBackend for Shelf {
    fn location(&self) -> String {
        "forged".to_owned()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let listed = self.objects.list(object(kind, &Id::default()).kind).into_iter();
        let each = |(object, length): (ObjectId, fondaco_units::Bytes)| {
            (object.name.to_string().parse().unwrap(), u32::try_from(length.get()).unwrap())
        };
        Ok(listed.map(each).collect())
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Buffer> {
        let object = object(kind, id);
        let length = self.objects.book().read(|book| book.object(object).unwrap().length);
        let read = self.runtime.block_on(self.objects.read(object, 0..length.get()));
        Ok(read.unwrap().into())
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Buffer> {
        let range = u64::from(offset)..u64::from(offset) + u64::from(length);
        let read = self.runtime.block_on(self.objects.read(object(kind, id), range));
        Ok(read.unwrap().into())
    }

    fn warmup_path(&self, _kind: FileType, _id: &Id) -> String {
        String::new()
    }
}

impl WriteBackend for Shelf {
    fn write_bytes(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        let bytes = content.slice().iter().flat_map(|part| part.iter().copied()).collect();
        self.runtime.block_on(self.objects.put(object(kind, id), bytes)).unwrap();
        Ok(())
    }

    fn remove(&self, _kind: FileType, _id: &Id, _cacheable: bool) -> RusticResult<()> {
        Ok(())
    }
}
