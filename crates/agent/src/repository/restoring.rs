//! Restoring a snapshot, or what is below a path in it, into a folder, and never outside of it.

use super::caching::apart;
use super::failing::below;
use super::made::Making;
use super::place::Place;
use super::topmost::is_known;
use super::walking::{Refused, Seen, Walk};
use super::{Repo, looking, short};
use crate::AgentError;
use rustic_core::repofile::Node;
use rustic_core::{LocalDestination, RestoreOptions, RusticError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What the library says of a folder that has more in it than is restored.
const MORE_THERE: &str = "Note: additional entries exist in destination";

/// What a restore did.
#[derive(Clone, Debug)]
pub struct RestoreReport {
    /// The snapshot's name.
    pub snapshot: String,
    /// How many files, folders and links were made or mended.
    pub entries: u64,
    /// How many bytes were read and written.
    pub bytes: u64,
    /// What could not be brought back as it was: owners, above all.
    pub problems: Vec<String>,
    /// Why something could not be kept in the cache, if so. Nothing is missing for that.
    pub cache: Option<String>,
    /// What was not written, since no snapshot of a folder has it: names that lead elsewhere, above all.
    pub refused: Refused,
    /// Which links, pipes, sockets and devices could not be made.
    pub unmade: Refused,
}

impl Repo {
    /// Restores a snapshot (its name, the front of it, or `latest`) into a folder: all of it, or what is at `inside`,
    /// a path below the folder that was backed up. A single file keeps its name. What would leave the folder is not written,
    /// and told.
    ///
    /// The folder itself gets the permissions, owner, times and attributes of the one that is restored, unless it had
    /// something in it that the snapshot has not.
    pub fn restore(
        &self,
        snapshot: &str,
        inside: Option<&Path>,
        place: &Place,
    ) -> Result<RestoreReport, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        let to = place.folder();
        let done = self.guard(|| {
            let repository = self.opened()?;
            let repository = repository.to_indexed().map_err(explain)?;
            let snapshot = self.snapshot(&repository, snapshot)?;
            let top = looking::top(&repository, &snapshot).map_err(explain)?;
            let top = looking::within(&top, inside)?;
            let node = self.node(&repository, &snapshot, &top)?;
            let is_folder = node.is_dir();
            let path = to.to_str().ok_or_else(|| AgentError::Invalid {
                what: format!("the path {} is not UTF-8", to.display()),
                hint: "name the folder by a path that is; names inside it may be anything"
                    .to_owned(),
            })?;
            let mut options = RestoreOptions::default();
            // Zeros are left out where there is nothing yet. Over a file that is there, what was in their place would stay.
            let name = node.name().into_owned();
            if !has_files(&if is_folder { to.to_owned() } else { to.join(name) }) {
                options.sparse = serde_json::from_str("\"ByContent\"").ok();
            }
            // The folder also for one file: asked for that alone, the library complains that it is not there yet.
            let destination = LocalDestination::new(path, true, false).map_err(explain)?;
            let stopped = |error| self.backend.fail(error);
            let (mut nodes, mut folder) = (Vec::new(), None);
            if is_folder {
                if let Some(tree) = node.subtree {
                    nodes = repository.get_tree(&tree).map_err(explain)?.nodes;
                }
                folder = Some(node).filter(is_known);
            } else {
                nodes.push(node);
            }
            let mut kept = None;
            if let Some(known) = folder.take_if(|_| has_others(to, &nodes)) {
                kept = permissions_kept(to, &known);
            }
            let is_set = folder.is_some();
            let mut walked = Walk::new(&repository, folder.clone(), nodes.clone(), to, &stopped);
            let plan = repository
                .prepare_restore(&options, &mut walked, &destination, false)
                .map_err(explain)?;
            let Seen { special, there, refused } = walked.seen();
            let mut making = Making::new(Walk::new(&repository, folder, nodes, to, &stopped), to);
            let (files, folders) = (plan.stats.files, plan.stats.dirs);
            // The library takes what is at the place of a link for more than there should be.
            let has_more = files.additional + folders.additional > there;
            let bytes = plan.restore_size;
            repository.restore(plan, &options, &mut making, &destination).map_err(explain)?;
            let made = files.restore + files.modify + folders.restore + folders.modify;
            let (mut problems, cache) = apart(self.progress.problems());
            let unmade = making.end(&mut problems);
            // Beside a file that is restored alone there may be anything.
            problems.retain(|problem| (is_folder && has_more) || problem != MORE_THERE);
            problems.extend(kept);
            if !is_set && let Err(error) = place.open_to_others() {
                problems.push(format!("{} stays closed to others: {error}", to.display()));
            }
            let entries = made + special.saturating_sub(unmade.count);
            let snapshot = short(&snapshot);
            Ok(RestoreReport { snapshot, entries, bytes, problems, cache, refused, unmade })
        });
        done.map_err(|error| below(to, error))
    }
}

/// Returns whether a folder has something in it that is not among `nodes`. What cannot be looked into may have.
fn has_others(folder: &Path, nodes: &[Node]) -> bool {
    let Ok(mut entries) = folder.read_dir() else { return true };
    entries.any(|entry| {
        let name = entry.map(|entry| entry.file_name());
        !name.is_ok_and(|name| nodes.iter().any(|node| *node.name() == *name))
    })
}

/// Says so if a folder keeps other permissions than the one that is restored had.
fn permissions_kept(folder: &Path, known: &Node) -> Option<String> {
    let there = folder.metadata().ok()?.permissions().mode() & 0o777;
    let stored = known.meta.mode? & 0o777;
    (there != stored).then(|| {
        format!(
            "{} had other things in it, and stays {there:03o}; what was backed up was {stored:03o}",
            folder.display()
        )
    })
}

/// Returns whether there is a file at `place`, or below it. What cannot be looked into may have one.
fn has_files(place: &Path) -> bool {
    let mut places = vec![place.to_owned()];
    while let Some(place) = places.pop() {
        match place.symlink_metadata() {
            Ok(data) if data.is_dir() => match std::fs::read_dir(&place) {
                Ok(entries) => places.extend(entries.flatten().map(|entry| entry.path())),
                Err(_) => return true,
            },
            Ok(data) if data.is_file() => return true,
            // A link or a device is replaced, and not written through.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_things_in_it_is_somebody_elses() {
        let top = std::env::temp_dir().join(format!("fondaco-others-{}", std::process::id()));
        let node = |name: &str| Node { name: name.to_owned(), ..Node::default() };
        assert!(has_others(&top, &[]), "it cannot be looked into");
        std::fs::create_dir_all(top.join("a")).unwrap();
        assert!(has_others(&top, &[node("b")]) && !has_others(&top, &[node("a"), node("b")]));
        let mut known = node("top");
        std::fs::set_permissions(&top, std::fs::Permissions::from_mode(0o750)).unwrap();
        for (mode, is_told) in [(None, false), (Some(0o750), false), (Some(0o700), true)] {
            known.meta.mode = mode;
            let told = permissions_kept(&top, &known);
            assert_eq!(told.is_some(), is_told, "{told:?}");
        }
        std::fs::remove_dir_all(&top).unwrap();
        std::fs::create_dir(&top).unwrap();
        assert!(!has_others(&top, &[]));
        std::fs::remove_dir(&top).unwrap();
    }

    #[test]
    fn files_are_found_however_deep() {
        let top = std::env::temp_dir().join(format!("fondaco-files-{}", std::process::id()));
        assert!(!has_files(&top));
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", top.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", top.join("a/folder")).unwrap();
        assert!(!has_files(&top));
        std::fs::write(top.join("a/b/file"), b"").unwrap();
        assert!(has_files(&top) && has_files(&top.join("a/b/file")));
        std::fs::remove_dir_all(&top).unwrap();
    }
}
