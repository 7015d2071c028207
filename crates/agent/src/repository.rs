//! A restic-format repository whose objects lie in the market.
//!
//! The format, deduplication and encryption are `rustic_core`'s; this module is the backend under
//! it ([`Objects`]) and the three things a person does with it: back up, list, restore.
//!
//! # What always holds
//!
//! - Hosts see only ciphertext: the library encrypts under a key that only the owner's secret opens.
//! - A backup that was cut off is taken up where it was: packs that no index names are indexed first
//!   (reading only their last bytes), so that what they hold is neither sent nor paid for again.

use crate::AgentError;
use crate::book::{Event, ObjectId, ObjectKind};
use crate::objects::{Objects, show};
use crate::progress::{Progress, Stage};
use bytes::Bytes as Buffer;
use fondaco_crypto::{Digest, Domain, SecretKey};
use rustic_core::{
    BackupOptions, BytesList, ConfigOptions, Credentials, ErrorKind, FileType, Id, KeyOptions,
    LocalDestination, LsOptions, PathList, ReadBackend, RepairIndexOptions, Repository,
    RepositoryBackends, RepositoryOptions, RestoreOptions, RusticError, RusticResult,
    SnapshotOptions, WriteBackend, repofile::SnapshotFile,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;

const PASSWORD: Domain = Domain::new("fondaco 2026 repository password v1");

/// The longest pack.
const PACK_SIZE_MAX: &str = "64MiB";

/// What a backup did.
#[derive(Clone, Debug)]
pub struct BackupReport {
    /// The snapshot's name.
    pub snapshot: String,
    /// How many files the snapshot has.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many bytes were new, as stored (compressed and encrypted).
    pub added: u64,
    /// What was left out, and why: unreadable files above all.
    pub problems: Vec<String>,
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// The snapshot's name.
    pub snapshot: String,
    /// How many files and folders were made or mended.
    pub entries: u64,
    /// How many bytes were read and written.
    pub bytes: u64,
    /// What could not be brought back as it was: owners, above all.
    pub problems: Vec<String>,
}

/// A snapshot in a list.
#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    /// Its name.
    pub snapshot: String,
    /// When it was made, as the library writes it.
    pub time: String,
    /// The paths in it.
    pub paths: String,
    /// How many files it has.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Returns the password of the repository of `key`'s owner: whoever has it and the objects can read all backups.
pub fn repository_password(key: &SecretKey) -> String {
    Digest::from_bytes(*key.derive(PASSWORD)).to_string()
}

/// The repository of one owner. Its methods block: call them on a thread of their own.
pub struct Repo {
    objects: Arc<Objects>,
    backend: Arc<Backend>,
    password: String,
    options: RepositoryOptions,
    progress: Arc<dyn Progress>,
}

impl Repo {
    /// Brings together objects, the owner's key (for the password), a cache folder (or none) and a
    /// place to show progress. `runtime` runs the network while the caller's thread waits.
    pub fn new(
        objects: Arc<Objects>,
        key: &SecretKey,
        cache: Option<&Path>,
        runtime: Handle,
        progress: Arc<dyn Progress>,
    ) -> Self {
        let backend = Backend { objects: Arc::clone(&objects), runtime, failure: Mutex::default() };
        let mut options = RepositoryOptions::default();
        options.no_cache = cache.is_none();
        options.cache_dir = cache.map(Path::to_owned);
        let password = repository_password(key);
        Self { objects, backend: Arc::new(backend), password, options, progress }
    }

    fn repository(&self) -> Result<Repository<()>, AgentError> {
        let backends = RepositoryBackends::new(self.backend.clone(), None);
        let bars = Bars(Arc::clone(&self.progress));
        Repository::new_with_progress(&self.options, &backends, bars)
            .map_err(|error| self.explain(&error))
    }

    fn credentials(&self) -> Credentials {
        Credentials::password(&self.password)
    }

    fn exists(&self) -> bool {
        !self.objects.list(ObjectKind::Config).is_empty()
    }

    /// Backs `folder` up into a new snapshot, making the repository first if there is none. Folders with one of
    /// the `marks` in them are left out, as caches are by `CACHEDIR.TAG`.
    pub fn backup(&self, folder: &Path, marks: &[&str]) -> Result<BackupReport, AgentError> {
        let path = folder.to_str().ok_or_else(|| AgentError::Invalid {
            what: format!("the path {} is not UTF-8", folder.display()),
            hint: "name the folder by a path that is; names inside it may be anything".to_owned(),
        })?;
        let explain = |error: Box<RusticError>| self.explain(&error);
        let unfinished = self.objects.book().read(|book| book.unfinished());
        self.objects.book().record(&Event::BackupStarted)?;
        let snapshot = self.guard(|| {
            let repository = self.repository()?;
            let repository = if self.exists() {
                repository.open(&self.credentials()).map_err(explain)?
            } else {
                // A crash between the first key and the configuration leaves a key that opens nothing.
                for (object, _) in self.objects.list(ObjectKind::Key) {
                    self.backend.runtime.block_on(self.objects.remove(object))?;
                }
                let mut options = ConfigOptions::default();
                // A pack and all its shards are in memory at once: they must not grow with the repository.
                options.set_datapack_size_limit = PACK_SIZE_MAX.parse().ok();
                options.set_treepack_size_limit = PACK_SIZE_MAX.parse().ok();
                repository
                    .init(&self.credentials(), &KeyOptions::default(), &options)
                    .map_err(explain)?
            };
            if unfinished {
                repository.repair_index(&RepairIndexOptions::default(), false).map_err(explain)?;
                // The library only warns of packs whose headers it could not read, and would store them anew.
                if let Some(failure) = self.backend.take_failure() {
                    return Err(failure);
                }
            }
            let repository = repository.to_indexed_ids().map_err(explain)?;
            let snapshot = SnapshotOptions::default().to_snapshot().map_err(explain)?;
            let source = PathList::from_iter([PathBuf::from(path)]);
            let mut options = BackupOptions::default();
            options.ignore_filter_opts.exclude_if_present =
                marks.iter().map(|&mark| mark.to_owned()).collect();
            repository.backup(&options, &source, snapshot).map_err(explain)
        })?;
        self.objects.book().record(&Event::BackupFinished)?;
        let summary = snapshot.summary.clone().unwrap_or_default();
        Ok(BackupReport {
            snapshot: short(&snapshot),
            files: summary.total_files_processed,
            bytes: summary.total_bytes_processed,
            added: summary.data_added_packed,
            problems: self.progress.problems(),
        })
    }

    /// Lists the snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>, AgentError> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        self.guard(|| {
            let repository = self.repository()?;
            let repository =
                repository.open(&self.credentials()).map_err(|error| self.explain(&error))?;
            let mut snapshots =
                repository.get_all_snapshots().map_err(|error| self.explain(&error))?;
            snapshots.sort_by(|one, other| one.time.cmp(&other.time));
            Ok(snapshots
                .iter()
                .map(|snapshot| {
                    let summary = snapshot.summary.clone().unwrap_or_default();
                    SnapshotInfo {
                        snapshot: short(snapshot),
                        time: snapshot.time.to_string(),
                        paths: snapshot.paths.to_string(),
                        files: summary.total_files_processed,
                        bytes: summary.total_bytes_processed,
                    }
                })
                .collect())
        })
    }

    /// Restores a snapshot (its name, the front of it, or `latest`) into `folder`.
    pub fn restore(&self, snapshot: &str, folder: &Path) -> Result<RestoreReport, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        let path = folder.to_str().ok_or_else(|| AgentError::Invalid {
            what: format!("the path {} is not UTF-8", folder.display()),
            hint: "name the folder by a path that is; names inside it may be anything".to_owned(),
        })?;
        if !self.exists() {
            return Err(AgentError::Invalid {
                what: "nothing was backed up from here yet".to_owned(),
                hint: "run `fondaco backup FOLDER` first".to_owned(),
            });
        }
        self.guard(|| {
            let repository = self.repository()?;
            let repository = repository.open(&self.credentials()).map_err(explain)?;
            let repository = repository.to_indexed().map_err(explain)?;
            let snapshot = repository.get_snapshot_from_str(snapshot, |_| true).map_err(explain)?;
            // The snapshot holds the folder under its whole path; what is wanted is what is in it.
            let top = snapshot.paths.iter().next().map_or("/", String::as_str);
            let node = repository.node_from_snapshot_and_path(&snapshot, top).map_err(explain)?;
            let mut ls = LsOptions::default();
            ls.recursive = true;
            let mut options = RestoreOptions::default();
            options.sparse = serde_json::from_str("\"ByContent\"").ok();
            let destination = LocalDestination::new(path, true, false).map_err(explain)?;
            let list = repository.ls(&node, &ls).map_err(explain)?;
            let plan =
                repository.prepare_restore(&options, list, &destination, false).map_err(explain)?;
            let (files, folders) = (plan.stats.files, plan.stats.dirs);
            let bytes = plan.restore_size;
            let list = repository.ls(&node, &ls).map_err(explain)?;
            repository.restore(plan, &options, list, &destination).map_err(explain)?;
            let entries = files.restore + files.modify + folders.restore + folders.modify;
            let problems = self.progress.problems();
            Ok(RestoreReport { snapshot: short(&snapshot), entries, bytes, problems })
        })
    }

    /// Runs the library; a panic in it (its restore has some for full disks and lost data) becomes
    /// the error that caused it.
    fn guard<T>(&self, run: impl FnOnce() -> Result<T, AgentError>) -> Result<T, AgentError> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => result,
            Err(panic) => Err(self.backend.take_failure().unwrap_or_else(|| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let what = text.unwrap_or("no reason was given").lines().next().unwrap_or_default();
                AgentError::Repository(format!("the backup library gave up: {what}"))
            })),
        }
    }

    fn explain(&self, error: &RusticError) -> AgentError {
        self.backend.take_failure().unwrap_or_else(|| AgentError::Repository(error.display_log()))
    }
}

impl std::fmt::Debug for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repo").field("objects", &self.objects).finish_non_exhaustive()
    }
}

fn short(snapshot: &SnapshotFile) -> String {
    let mut name = snapshot.id.to_hex().as_str().to_owned();
    name.truncate(8);
    name
}

/// The library's view of [`Objects`]: synchronous, as it wants.
struct Backend {
    objects: Arc<Objects>,
    runtime: Handle,
    /// The first failure, in our own words: the library wraps or panics over what it is told.
    failure: Mutex<Option<AgentError>>,
}

impl Backend {
    fn take_failure(&self) -> Option<AgentError> {
        self.failure.lock().expect("no panic under this lock").take()
    }

    fn refuse<T>(&self, doing: &str, result: Result<T, AgentError>) -> RusticResult<T> {
        result.map_err(|error| {
            let told = RusticError::new(ErrorKind::Backend, format!("{doing}: {error}"));
            self.failure.lock().expect("no panic under this lock").get_or_insert(error);
            told
        })
    }
}

fn object(kind: FileType, id: &Id) -> ObjectId {
    let (kind, name) = match kind {
        FileType::Config => (ObjectKind::Config, Digest::ZERO),
        FileType::Key => (ObjectKind::Key, digest(id)),
        FileType::Snapshot => (ObjectKind::Snapshot, digest(id)),
        FileType::Index => (ObjectKind::Index, digest(id)),
        FileType::Pack => (ObjectKind::Pack, digest(id)),
    };
    ObjectId { kind, name }
}

fn digest(id: &Id) -> Digest {
    id.to_hex().as_str().parse().expect("an id is written as 64 lowercase hex digits")
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        "fondaco:".to_owned()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let kind = object(kind, &Id::default()).kind;
        self.objects
            .list(kind)
            .into_iter()
            .map(|(object, length)| {
                let id: Id = object.name.to_string().parse()?;
                Ok((id, u32::try_from(length.get()).unwrap_or(u32::MAX)))
            })
            .collect()
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Buffer> {
        let object = object(kind, id);
        let length =
            self.objects.book().read(|book| book.object(object).map(|record| record.length));
        let range = 0..length.unwrap_or_default().get();
        let read = self.runtime.block_on(self.objects.read(object, range));
        self.refuse(&format!("reading {}", show(object)), read).map(Buffer::from)
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Buffer> {
        let object = object(kind, id);
        let range = u64::from(offset)..u64::from(offset) + u64::from(length);
        let read = self.runtime.block_on(self.objects.read(object, range));
        self.refuse(&format!("reading {}", show(object)), read).map(Buffer::from)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        show(object(kind, id))
    }
}

impl WriteBackend for Backend {
    fn write_bytes(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        let object = object(kind, id);
        let mut bytes = Vec::with_capacity(content.size());
        for part in content.slice() {
            bytes.extend_from_slice(part);
        }
        let put = self.runtime.block_on(self.objects.put(object, &bytes));
        self.refuse(&format!("storing {}", show(object)), put)
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let object = object(kind, id);
        let removed = self.runtime.block_on(self.objects.remove(object));
        self.refuse(&format!("removing {}", show(object)), removed)
    }
}

/// The library's progress bars, as ours.
#[derive(Debug)]
struct Bars(Arc<dyn Progress>);

impl rustic_core::ProgressBars for Bars {
    fn progress(&self, kind: rustic_core::ProgressType, prefix: &str) -> rustic_core::Progress {
        match kind {
            rustic_core::ProgressType::Bytes => {
                rustic_core::Progress::new(Bar(self.0.begin(prefix)))
            }
            rustic_core::ProgressType::Spinner | rustic_core::ProgressType::Counter => {
                rustic_core::Progress::hidden()
            }
        }
    }
}

#[derive(Debug)]
struct Bar(Arc<dyn Stage>);

impl rustic_core::RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, length: u64) {
        self.0.set_length(length);
    }

    fn set_title(&self, _title: &str) {}

    fn inc(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn finish(&self) {
        self.0.finish();
    }
}
