//! Restoring a snapshot, or what is below a path in it, into a folder, and never outside of it.

use super::failing::below;
use super::walking::{Refused, Walk};
use super::{Repo, looking, short};
use crate::AgentError;
use rustic_core::{LocalDestination, RestoreOptions, RusticError};
use std::path::Path;

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
    /// What was not written, since no snapshot of a folder has it: names that lead elsewhere, above all.
    pub refused: Refused,
}

impl Repo {
    /// Restores a snapshot (its name, the front of it, or `latest`) into `folder`: all of it, or what is at `inside`,
    /// a path below the folder that was backed up. A single file keeps its name. What would leave `folder` is not written, and
    /// told.
    pub fn restore(
        &self,
        snapshot: &str,
        inside: Option<&str>,
        folder: &Path,
    ) -> Result<RestoreReport, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        let done = self.guard(|| {
            let repository = self.opened()?;
            let repository = repository.to_indexed().map_err(explain)?;
            let snapshot = self.snapshot(&repository, snapshot)?;
            let top = looking::top(&repository, &snapshot).map_err(explain)?;
            let top = looking::within(&top, inside)?;
            let node = self.node(&repository, &snapshot, &top)?;
            let is_folder = node.is_dir();
            let to = if is_folder { folder.to_owned() } else { folder.join(node.name()) };
            let path = to.to_str().ok_or_else(|| AgentError::Invalid {
                what: format!("the path {} is not UTF-8", to.display()),
                hint: "name the folder by a path that is; names inside it may be anything"
                    .to_owned(),
            })?;
            let mut options = RestoreOptions::default();
            // Zeros are left out where there is nothing yet. Over a file that is there, what was in their place would stay.
            if !has_files(&to) {
                options.sparse = serde_json::from_str("\"ByContent\"").ok();
            }
            let destination = LocalDestination::new(path, true, !is_folder).map_err(explain)?;
            let stopped = |error| self.backend.fail(error);
            let nodes = match (is_folder, node.subtree) {
                (true, Some(tree)) => repository.get_tree(&tree).map_err(explain)?.nodes,
                (true, None) => Vec::new(),
                (false, _) => vec![node],
            };
            let walked_in = is_folder.then_some(to.as_path());
            let mut walked = Walk::new(&repository, nodes.clone(), walked_in, &stopped);
            let plan = repository
                .prepare_restore(&options, &mut walked, &destination, false)
                .map_err(explain)?;
            let refused = walked.refused();
            let walk = Walk::new(&repository, nodes, walked_in, &stopped);
            let (files, folders) = (plan.stats.files, plan.stats.dirs);
            let bytes = plan.restore_size;
            repository.restore(plan, &options, walk, &destination).map_err(explain)?;
            let entries = files.restore + files.modify + folders.restore + folders.modify;
            let problems = self.progress.problems();
            Ok(RestoreReport { snapshot: short(&snapshot), entries, bytes, problems, refused })
        });
        done.map_err(|error| below(folder, error))
    }
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
