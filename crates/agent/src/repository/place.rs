//! The folder that a restore writes into.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What nobody but the owner may do.
const OTHERS: u32 = 0o077;

/// A folder to restore into. One that was made for it is closed to others until it is known who may see what is in it.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    /// What was made for it, the outermost first.
    made: Vec<PathBuf>,
    /// Its permissions as the system gives them, if it was made.
    usual: Option<Permissions>,
}

impl Place {
    /// Makes the folder, and those that it is in, if they are missing.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let is_missing = |at: &&Path| {
            let found = at.symlink_metadata();
            found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let mut made: Vec<_> =
            folder.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        made.reverse();
        let mut place = Self { folder: folder.to_owned(), made, usual: None };
        match place.open() {
            Ok(usual) => place.usual = usual,
            Err(error) => {
                place.leave();
                return Err(error);
            }
        }
        Ok(place)
    }

    fn open(&self) -> io::Result<Option<Permissions>> {
        fs::create_dir_all(&self.folder)?;
        if self.made.is_empty() {
            return Ok(None);
        }
        let usual = fs::metadata(&self.folder)?.permissions();
        let closed = Permissions::from_mode(usual.mode() & !OTHERS);
        fs::set_permissions(&self.folder, closed)?;
        Ok(Some(usual))
    }

    /// Returns where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives a folder that was made the permissions that it would usually have.
    pub(super) fn open_to_others(&self) -> io::Result<()> {
        match &self.usual {
            Some(usual) => fs::set_permissions(&self.folder, usual.clone()),
            None => Ok(()),
        }
    }

    /// Removes what was made, as far as nothing is in it: for a restore that failed.
    pub fn leave(&self) {
        for folder in self.made.iter().rev() {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_closed_and_goes_again() {
        let top = std::env::temp_dir().join(format!("fondaco-place-{}", std::process::id()));
        fs::create_dir(&top).unwrap();
        let mode = |at: &Path| fs::metadata(at).unwrap().permissions().mode() & 0o777;
        let place = Place::make(&top.join("a/b")).unwrap();
        assert_eq!(mode(place.folder()) & OTHERS, 0);
        place.open_to_others().unwrap();
        assert_eq!(mode(&top.join("a/b")), mode(&top.join("a")));
        place.leave();
        assert!(!top.join("a").exists());

        // Where something is, nothing is removed; nor what was there before.
        let place = Place::make(&top.join("a/b")).unwrap();
        fs::write(top.join("a/file"), b"").unwrap();
        place.leave();
        assert!(top.join("a").exists() && !top.join("a/b").exists());
        let before = mode(&top);
        Place::make(&top).unwrap().leave();
        assert_eq!(mode(&top), before);

        // A file in the way.
        Place::make(&top.join("a/file/c")).unwrap_err();
        fs::remove_dir_all(&top).unwrap();
    }
}
