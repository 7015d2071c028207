//! A restic-format repository whose objects lie in the market.
//!
//! The format, deduplication and encryption are `rustic_core`'s; this module is the backend under
//! it ([`Objects`]) and what a person does with it: back up, look, restore, check, forget, prune.
//!
//! # What always holds
//!
//! - Hosts see only ciphertext: the library encrypts under a key that only the owner's secret opens.
//! - The folder that is backed up is in its snapshot like those below it, with its own permissions, owner, times and attributes.
//! - A backup that was cut off is taken up where it was: packs that no index names are indexed first
//!   (reading only their last bytes), so that what they hold is neither sent nor paid for again.

mod backend;
mod caching;
mod changing;
mod failing;
mod looking;
mod made;
mod needed;
mod place;
mod restoring;
mod sparse;
mod tending;
mod topmost;
mod view;
mod walking;

pub use caching::is_of_cache;
pub use failing::RepositoryError;
pub use looking::{Change, Difference, Entry, EntryKind};
pub use place::Place;
pub use restoring::RestoreReport;
pub use tending::{CheckReport, Forget, ForgetReport, Keep, PruneReport};
pub use view::{Attributes, EntryNumber, Special, TOP, View};
pub use walking::Refused;

use crate::AgentError;
use crate::book::{Event, ObjectKind};
use crate::objects::{Objects, Renewing, Renews};
use crate::progress::Progress;
use backend::{Backend, Bars};
use caching::{apart, reason};
use changing::Changed;
use fondaco_crypto::{Digest, Domain, SecretKey};
use rustic_core::{
    BackupOptions, ConfigOptions, Credentials, KeyOptions, OpenStatus, RepairIndexOptions,
    Repository, RepositoryBackends, RepositoryOptions, RusticError, SnapshotOptions,
    repofile::SnapshotFile,
};
use sparse::Source;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    /// Which files changed while they were read: what is kept of them may be from before and after.
    pub changed: Vec<String>,
    /// Why something could not be kept in the cache, if so. Nothing is missing for that.
    pub cache: Option<String>,
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
    /// How many files it has, if who made it has noted that: restic does since 0.17.
    pub files: Option<u64>,
    /// How many bytes they have, if that is noted.
    pub bytes: Option<u64>,
}

impl SnapshotInfo {
    fn of(snapshot: &SnapshotFile) -> Self {
        let summary = snapshot.summary.as_ref();
        Self {
            snapshot: short(snapshot),
            time: snapshot.time.to_string(),
            paths: snapshot.paths.to_string(),
            files: summary.map(|summary| summary.total_files_processed),
            bytes: summary.map(|summary| summary.total_bytes_processed),
        }
    }
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
        let backend = Backend::new(Arc::clone(&objects), runtime, Renewing::default());
        let mut options = RepositoryOptions::default();
        options.no_cache = cache.is_none();
        options.cache_dir = cache.map(Path::to_owned);
        let password = repository_password(key);
        Self { objects, backend: Arc::new(backend), password, options, progress }
    }

    /// Has holds renewed that reading uses up, and goes on reading.
    #[must_use]
    pub fn renewing(self, by: Arc<dyn Renews>) -> Self {
        let (objects, runtime) = (Arc::clone(&self.objects), self.backend.runtime.clone());
        Self { backend: Arc::new(Backend::new(objects, runtime, Renewing::by(by))), ..self }
    }

    fn repository(&self) -> Result<Repository<()>, AgentError> {
        let backends = RepositoryBackends::new(self.backend.clone(), None);
        let bars = Bars(Arc::clone(&self.progress));
        Repository::new_with_progress(&self.options, &backends, bars)
            .map_err(|error| self.explain(&error))
    }

    /// Opens the repository; an error when there is none.
    fn opened(&self) -> Result<Repository<OpenStatus>, AgentError> {
        if !self.exists() {
            return Err(AgentError::Invalid {
                what: "nothing was backed up from here yet".to_owned(),
                hint: "run `fondaco backup create FOLDER` first; on a new machine, \
                       `fondaco backup recover --host ADDRESS`"
                    .to_owned(),
            });
        }
        let repository = self.repository()?;
        repository.open(&self.credentials()).map_err(|error| self.explain(&error))
    }

    fn credentials(&self) -> Credentials {
        Credentials::password(&self.password)
    }

    fn exists(&self) -> bool {
        !self.objects.list(ObjectKind::Config).is_empty()
    }

    /// Returns how many objects there are, keys aside, that no configuration opens: a client of a gateway has stored them.
    pub fn unopened(&self) -> usize {
        use ObjectKind::{Index, Pack, Snapshot};
        if self.exists() {
            return 0;
        }
        [Snapshot, Index, Pack].map(|kind| self.objects.list(kind).len()).iter().sum()
    }

    /// Sees that there is nothing that no configuration opens.
    ///
    /// # Errors
    ///
    /// [`AgentError::Invalid`] if there are [unopened](Self::unopened) objects.
    pub fn refuse_unopened(&self) -> Result<(), AgentError> {
        let unopened = self.unopened();
        if unopened > 0 {
            let objects = match unopened {
                1 => "1 object".to_owned(),
                more => format!("{more} objects"),
            };
            return Err(AgentError::Invalid {
                what: format!(
                    "a client of `fondaco gateway restic` has stored {objects}, and no configuration that opens them; \
                     a backup would have one of its own, and they could never be opened"
                ),
                hint: "let it store the rest; or remove them with --discard-unopened; or back up from another identity"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// Removes what is [unopened](Self::unopened), and says how much that was.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub fn discard_unopened(&self) -> Result<usize, AgentError> {
        use ObjectKind::{Index, Pack, Snapshot};
        let count = self.unopened();
        if count > 0 {
            self.remove_all(&[Snapshot, Index, Pack])?;
        }
        Ok(count)
    }

    fn remove_all(&self, kinds: &[ObjectKind]) -> Result<(), AgentError> {
        for kind in kinds {
            for (object, _) in self.objects.list(*kind) {
                self.backend.runtime.block_on(self.objects.remove(object))?;
            }
        }
        Ok(())
    }

    /// Backs `folder` up into a new snapshot, making the repository first if there is none. Folders with one of
    /// the `marks` in them are left out, as caches are by `CACHEDIR.TAG`.
    ///
    /// # Errors
    ///
    /// [`AgentError::Invalid`], and nothing is done, if there are [unopened](Self::unopened) objects: who stored them may be about
    /// to store the configuration that opens them, and could not, once there is another.
    pub fn backup(&self, folder: &Path, marks: &[&str]) -> Result<BackupReport, AgentError> {
        let path = folder.to_str().ok_or_else(|| AgentError::Invalid {
            what: format!("the path {} is not UTF-8", folder.display()),
            hint: "name the folder by a path that is; names inside it may be anything".to_owned(),
        })?;
        self.refuse_unopened()?;
        let explain = |error: Box<RusticError>| self.explain(&error);
        let unfinished = self.objects.book().read(|book| book.unfinished());
        self.objects.book().record(&Event::BackupStarted)?;
        let changed = Changed::default();
        let snapshot = self.guard(|| {
            let repository = self.repository()?;
            let repository = if self.exists() {
                repository.open(&self.credentials()).map_err(explain)?
            } else {
                // A crash between the first key and the configuration leaves a key that opens nothing.
                self.remove_all(&[ObjectKind::Key])?;
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
            let mut options = BackupOptions::default();
            options.ignore_filter_opts.exclude_if_present =
                marks.iter().map(|&mark| mark.to_owned()).collect();
            let source = [PathBuf::from(path)];
            let BackupOptions { ignore_save_opts, excludes, ignore_filter_opts, .. } = &options;
            let walk =
                Source::new(folder.to_owned(), *ignore_save_opts, excludes, ignore_filter_opts)
                    .map_err(explain)?
                    .telling(changed.clone());
            repository.archive(&options, &walk, snapshot, &source).map_err(explain)
        })?;
        self.objects.book().record(&Event::BackupFinished)?;
        let summary = snapshot.summary.clone().unwrap_or_default();
        let (problems, cache) = apart(self.progress.problems());
        Ok(BackupReport {
            snapshot: short(&snapshot),
            files: summary.total_files_processed,
            bytes: summary.total_bytes_processed,
            added: summary.data_added_packed,
            problems: left_out(path, problems),
            changed: changed.take(),
            cache,
        })
    }

    /// Lists the snapshots, oldest first.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>, AgentError> {
        if !self.exists() {
            return Ok(Vec::new());
        }
        self.guard(|| {
            let repository = self.opened()?;
            let mut snapshots =
                repository.get_all_snapshots().map_err(|error| self.explain(&error))?;
            snapshots.sort_by(|one, other| one.time.cmp(&other.time));
            Ok(snapshots.iter().map(SnapshotInfo::of).collect())
        })
    }

    /// Runs the library; a panic in it (its restore has some for full disks and lost data) becomes
    /// the error that caused it.
    fn guard<T>(&self, run: impl FnOnce() -> Result<T, AgentError>) -> Result<T, AgentError> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(result) => result,
            Err(panic) => {
                let (first, unread) = (self.progress.gave_up(), self.backend.take_unread());
                let known = self.backend.take_failure().or_else(|| unread.into_values().next());
                Err(known.unwrap_or_else(|| {
                    let text = panic.downcast_ref::<String>().map(String::as_str);
                    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                    let text = first.as_deref().or(text).unwrap_or("no reason was given");
                    let what = text.lines().next().unwrap_or_default();
                    RepositoryError::Other(format!("the backup library gave up: {what}")).into()
                }))
            }
        }
    }

    fn explain(&self, error: &RusticError) -> AgentError {
        self.backend.take_failure().unwrap_or_else(|| RepositoryError::of(error).into())
    }
}

impl std::fmt::Debug for Repo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repo").field("objects", &self.objects).finish_non_exhaustive()
    }
}

/// Says of each thing that could not be read where it is and why, once. The library tells it at length, and of folders
/// twice.
fn left_out(folder: &str, told: Vec<String>) -> Vec<String> {
    let mut problems: Vec<String> = Vec::new();
    for text in told {
        let why = reason(&text);
        let problem = match text.find(folder) {
            Some(at) => {
                let rest = &text[at..];
                let ends = ["`", "\n", ": "].into_iter().filter_map(|end| rest.find(end));
                format!("{}: {why}", &rest[..ends.min().unwrap_or(rest.len())])
            }
            None => text.lines().next().unwrap_or_default().to_owned(),
        };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

fn short(snapshot: &SnapshotFile) -> String {
    let mut name = snapshot.id.to_hex().as_str().to_owned();
    name.truncate(8);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustic_core::repofile::SnapshotSummary;

    #[test]
    fn what_a_snapshot_does_not_note_is_not_known() {
        let mut snapshot = SnapshotFile::default();
        let noted = |snapshot: &SnapshotFile| {
            let info = SnapshotInfo::of(snapshot);
            (info.files, info.bytes)
        };
        assert_eq!(noted(&snapshot), (None, None));
        snapshot.summary = Some(SnapshotSummary::default());
        assert_eq!(noted(&snapshot), (Some(0), Some(0)));
    }

    /// As version 0.13 of the library says it.
    #[test]
    fn what_is_left_out_is_told_once_and_short() {
        let denied = "Permission denied (os error 13)";
        let told = [
            format!(
                "ignoring error /a/src/closed: IO error for operation on /a/src/closed: {denied}"
            ),
            format!(
                "ignoring error: Error: Failed to get next entry from walk iterator. (kind: related to internal \
                 operations): caused by: /a/src/closed: IO error for operation on /a/src/closed: {denied}"
            ),
            format!(
                "ignoring error: Error: Failed to open ReadSourceOpen at `/a/src/secret`\nFailed to open file at \
                 `/a/src/secret`. Please make sure the file exists and is accessible. (kind: related to input/output \
                 operations): caused by: {denied}"
            ),
            "error determining backup size: no\nmore".to_owned(),
        ];
        let expected = [
            format!("/a/src/closed: {denied}"),
            format!("/a/src/secret: {denied}"),
            "error determining backup size: no".to_owned(),
        ];
        assert_eq!(left_out("/a/src", told.to_vec()), expected);
    }
}
