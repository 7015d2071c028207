//! The folder that is backed up, as an entry of its own.
//!
//! The library walks through what is in a folder and passes over the folder itself: it would be stored as open to
//! everybody, of nobody and of no time, and an empty one not at all.

use ignore::WalkBuilder;
use rustic_core::repofile::Node;
use rustic_core::{
    ErrorKind, LocalSource, LocalSourceSaveOptions, ReadSource, ReadSourceEntry, RusticError,
    RusticResult,
};
use std::path::Path;

/// A folder as the library has those below it. The root of a system has no name, and no folder that it could be an entry of.
pub(super) fn topmost(
    folder: &Path,
    options: LocalSourceSaveOptions,
) -> Option<RusticResult<ReadSourceEntry<<LocalSource as ReadSource>::Open>>> {
    folder.file_name()?;
    let mut walk = WalkBuilder::new(folder);
    let found = walk.standard_filters(false).max_depth(Some(0)).build().next()?;
    let failed = |error: String| {
        RusticError::new(ErrorKind::InputOutput, "Failed to read the folder `{path}`: {error}")
            .attach_context("path", folder.display().to_string())
            .attach_context("error", error)
    };
    Some(match found {
        Ok(entry) => options.map_entry(entry).map_err(|error| failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    })
}

/// Whether a snapshot knows the folder itself, and not only that there was one.
pub(super) const fn is_known(folder: &Node) -> bool {
    let meta = &folder.meta;
    meta.mode.is_some() && (meta.uid.is_some() || meta.mtime.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustic_core::repofile::{Metadata, NodeType};
    use std::ffi::OsStr;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_an_entry_with_all_that_is_known_of_it() {
        let top = std::env::temp_dir().join(format!("fondaco-topmost-{}", std::process::id()));
        std::fs::create_dir(&top).unwrap();
        std::fs::set_permissions(&top, std::fs::Permissions::from_mode(0o700)).unwrap();
        let entry = topmost(&top, LocalSourceSaveOptions::default()).unwrap().unwrap();
        std::fs::remove_dir(&top).unwrap();
        assert_eq!(entry.path, top);
        assert!(entry.node.is_dir() && is_known(&entry.node));
        assert_eq!(Some(&*entry.node.name()), top.file_name());
        assert_eq!(entry.node.meta.mode.unwrap() & 0o777, 0o700);
        assert!(topmost(&top, LocalSourceSaveOptions::default()).unwrap().is_err(), "it is gone");
        assert!(topmost(Path::new("/"), LocalSourceSaveOptions::default()).is_none());
    }

    #[test]
    fn a_folder_that_was_made_up_is_not_known() {
        // As the library makes up those that nobody showed it.
        let made_up = Metadata { mode: Some(0o755), ..Metadata::default() };
        assert!(!is_known(&Node::new_node(OsStr::new("a"), NodeType::Dir, made_up)));
        assert!(!is_known(&Node::new_node(OsStr::new(""), NodeType::Dir, Metadata::default())));
    }
}
