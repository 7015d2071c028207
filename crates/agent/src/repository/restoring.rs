//! Restoring a snapshot, or what is below a path in it, into a folder, and never outside of it.

use super::{Repo, short};
use crate::AgentError;
use rustic_core::{
    ErrorKind, LocalDestination, LsOptions, RestoreOptions, RusticError, RusticResult,
    repofile::Node,
};
use std::path::{Component, Path, PathBuf};

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

impl Repo {
    /// Restores a snapshot (its name, the front of it, or `latest`) into `folder`: all of it, or what is at `inside`,
    /// a path below the folder that was backed up. A single file keeps its name.
    pub fn restore(
        &self,
        snapshot: &str,
        inside: Option<&str>,
        folder: &Path,
    ) -> Result<RestoreReport, AgentError> {
        let explain = |error: Box<RusticError>| self.explain(&error);
        self.guard(|| {
            let repository = self.opened()?;
            let repository = repository.to_indexed().map_err(explain)?;
            let snapshot = repository.get_snapshot_from_str(snapshot, |_| true).map_err(explain)?;
            let top = super::looking::within(&snapshot, inside)?;
            let node = repository.node_from_snapshot_and_path(&snapshot, &top).map_err(explain)?;
            let is_folder = node.is_dir();
            let to = if is_folder { folder.to_owned() } else { folder.join(node.name()) };
            let path = to.to_str().ok_or_else(|| AgentError::Invalid {
                what: format!("the path {} is not UTF-8", to.display()),
                hint: "name the folder by a path that is; names inside it may be anything"
                    .to_owned(),
            })?;
            let mut ls = LsOptions::default();
            ls.recursive = true;
            let mut options = RestoreOptions::default();
            // Zeros are left out where there is nothing yet. Over a file that is there, what was in their place would stay.
            if !has_files(&to) {
                options.sparse = serde_json::from_str("\"ByContent\"").ok();
            }
            let destination = LocalDestination::new(path, true, !is_folder).map_err(explain)?;
            let list = || {
                let list = repository.ls(&node, &ls).map_err(explain)?;
                let to = is_folder.then_some(to.as_path());
                Ok::<_, AgentError>(list.map(move |entry| self.checked(to, entry)))
            };
            let plan = repository
                .prepare_restore(&options, list()?, &destination, false)
                .map_err(explain)?;
            let (files, folders) = (plan.stats.files, plan.stats.dirs);
            let bytes = plan.restore_size;
            repository.restore(plan, &options, list()?, &destination).map_err(explain)?;
            let entries = files.restore + files.modify + folders.restore + folders.modify;
            let problems = self.progress.problems();
            Ok(RestoreReport { snapshot: short(&snapshot), entries, bytes, problems })
        })
    }

    /// Lets an entry pass that stays below `to`. The library joins whatever names the archive has.
    fn checked(
        &self,
        to: Option<&Path>,
        entry: RusticResult<(PathBuf, Node)>,
    ) -> RusticResult<(PathBuf, Node)> {
        let (path, node) = entry?;
        match contained(to, &path, &node) {
            Ok(()) => Ok((path, node)),
            Err(error) => {
                let told = RusticError::new(ErrorKind::InvalidInput, error.to_string());
                self.backend.fail(error);
                Err(told)
            }
        }
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

/// Checks that an entry has a plain name, a path of plain names, and that nothing at its place leads elsewhere.
fn contained(to: Option<&Path>, path: &Path, node: &Node) -> Result<(), AgentError> {
    let name = node.name();
    let mut parts = Path::new(&*name).components();
    let is_plain = match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) => part == &*name,
        _ => false,
    };
    if !is_plain || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(AgentError::Invalid {
            what: format!("the snapshot names {path:?}, which would leave the folder"),
            hint: "nothing was written there; the snapshot was not made by this program".to_owned(),
        });
    }
    let Some(place) = to.map(|to| to.join(path)) else { return Ok(()) };
    let is_link = || place.symlink_metadata().is_ok_and(|data| data.is_symlink());
    if (node.is_dir() || node.is_file()) && is_link() {
        return Err(AgentError::Invalid {
            what: format!("{} is a link, and no link in the snapshot", place.display()),
            hint: "restore into an empty folder, or remove the link: what it leads to would be \
                   written over"
                .to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustic_core::repofile::{Metadata, NodeType};

    fn node(name: &str, kind: NodeType) -> Node {
        Node { name: name.to_owned(), node_type: kind, ..Node::default() }
    }

    /// A forged tree: names that would leave the folder. The library itself joins them as they come.
    #[test]
    fn what_would_leave_the_folder_is_refused() {
        let top = std::env::temp_dir();
        // One line for each: the folder so far, the name in the tree, whether it may pass.
        let table = [
            ("", "plain", true),
            ("a/b", "plain", true),
            ("", "..", false),
            ("", ".", false),
            ("", "", false),
            ("", "/", false),
            ("", "/etc/passwd", false),
            ("", "../x", false),
            ("a", "../../x", false),
            ("a", "b/../../x", false),
            ("a", "b/c", false),
            ("a", "b/", false),
            ("a", "...", true),
            ("a", "..x", true),
            ("", "\\x2e\\x2e", false), // `..`, as the format may escape it
            ("", "\\x2fetc", false),
            ("..", "x", false),
            ("/etc", "x", false),
        ];
        for (folder, name, passes) in table {
            for kind in [NodeType::File, NodeType::Dir, NodeType::Fifo] {
                let node = node(name, kind);
                let path = Path::new(folder).join(node.name());
                assert_eq!(contained(Some(&top), &path, &node).is_ok(), passes, "{path:?}");
                assert_eq!(contained(None, &path, &node).is_ok(), passes, "{path:?}");
            }
        }
        assert_eq!(node("x", NodeType::File).meta, Metadata::default());
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

    #[test]
    fn a_link_on_the_spot_is_not_followed() {
        let top = std::env::temp_dir().join(format!("fondaco-restoring-{}", std::process::id()));
        std::fs::create_dir(&top).unwrap();
        std::os::unix::fs::symlink("/nowhere", top.join("link")).unwrap();
        let path = Path::new("link");
        assert!(contained(Some(&top), path, &node("link", NodeType::File)).is_err());
        assert!(contained(Some(&top), path, &node("link", NodeType::Dir)).is_err());
        let link = NodeType::from_link(Path::new("/nowhere"));
        assert!(contained(Some(&top), path, &node("link", link)).is_ok());
        std::fs::remove_dir_all(&top).unwrap();
    }
}
