//! Compare two folders, themselves and what is in them, byte for byte, and everything else that a restore must bring back.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What was compared and found equal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Compared {
    pub(crate) files: u64,
    pub(crate) folders: u64,
    pub(crate) links: u64,
    pub(crate) bytes: u64,
}

/// What of a folder was left out of its backup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeftOut<'a> {
    /// Folders with this file in them, on purpose.
    pub(crate) mark: &'a str,
    /// What could not be read, as the backup tells it: the path, and why.
    pub(crate) told: &'a [String],
}

impl LeftOut<'_> {
    fn has(&self, path: &Path) -> bool {
        let name = path.display().to_string();
        let is_of =
            |told: &String| told.strip_prefix(&name).is_some_and(|why| why.starts_with(": "));
        self.told.iter().any(is_of)
            || path.join(self.mark).exists()
                && fs::symlink_metadata(path).is_ok_and(|data| data.is_dir())
    }
}

/// Compares `original` and what is in it with `restored`: names, kinds, contents, permissions,
/// times of change of files and folders, targets of symbolic links, and which names are one file. What
/// was left out of the backup is passed over.
///
/// # Errors
///
/// The first difference, in words; or what could not be read.
pub(crate) fn compare(
    original: &Path,
    restored: &Path,
    left_out: Option<LeftOut<'_>>,
) -> Result<Compared, String> {
    let mut comparison =
        Comparison { left_out, inodes: BTreeMap::new(), compared: Compared::default() };
    // Either may be named by a link to it.
    let follow = |path: &Path| fs::metadata(path).map_err(|error| unreadable(path, &error));
    let (one, other) = (follow(original)?, follow(restored)?);
    same_permissions(original, &one, &other)?;
    comparison.folder(original, restored)?;
    same_time(original, &one, &other)?;
    Ok(comparison.compared)
}

/// A comparison under way.
struct Comparison<'a> {
    left_out: Option<LeftOut<'a>>,
    /// For each file of the original that has several names, the one that it became.
    inodes: BTreeMap<(u64, u64), (u64, u64)>,
    compared: Compared,
}

impl Comparison<'_> {
    fn is_left_out(&self, path: &Path) -> bool {
        self.left_out.is_some_and(|left_out| left_out.has(path))
    }

    fn folder(&mut self, original: &Path, restored: &Path) -> Result<(), String> {
        let (mut names, mut others) = (entries(original)?, entries(restored)?);
        names.retain(|name| {
            let is_left_out = self.is_left_out(&original.join(name));
            if is_left_out {
                // Of a folder that could not be read there is the folder.
                others.retain(|other| other != name);
            }
            !is_left_out
        });
        if let Some(missing) = names.iter().find(|name| !others.contains(name)) {
            return Err(format!("{} was not restored", original.join(missing).display()));
        }
        if let Some(extra) = others.iter().find(|name| !names.contains(name)) {
            return Err(format!("{} was not there before", restored.join(extra).display()));
        }
        for name in names {
            let (original, restored) = (original.join(&name), restored.join(&name));
            let (one, other) = (stat(&original)?, stat(&restored)?);
            let differs = |what: &str| Err(format!("{}: {what} differs", original.display()));
            let (kind, other_kind) = (one.file_type(), other.file_type());
            if kind != other_kind {
                return differs("the kind");
            }
            if !kind.is_symlink() {
                same_permissions(&original, &one, &other)?;
            }
            if kind.is_file() {
                same_time(&original, &one, &other)?;
            }
            if kind.is_symlink() {
                let target =
                    |path: &Path| fs::read_link(path).map_err(|error| unreadable(path, &error));
                if target(&original)? != target(&restored)? {
                    return differs("the target of the link");
                }
                self.compared.links += 1;
            } else if kind.is_dir() {
                self.compared.folders += 1;
                self.folder(&original, &restored)?;
                // Last: what is more or less in it has changed its time as well, and says more.
                same_time(&original, &one, &other)?;
            } else if kind.is_file() {
                let inode = (other.dev(), other.ino());
                if *self.inodes.entry((one.dev(), one.ino())).or_insert(inode) != inode {
                    return differs("which names are one file");
                }
                if one.len() != other.len() || !same_bytes(&original, &restored)? {
                    return differs("the content");
                }
                self.compared.files += 1;
                self.compared.bytes += one.len();
            } else if !kind.is_fifo() && !kind.is_socket() && one.rdev() != other.rdev() {
                return differs("the device");
            }
        }
        Ok(())
    }
}

fn same_permissions(path: &Path, one: &Metadata, other: &Metadata) -> Result<(), String> {
    if one.mode() & 0o7777 == other.mode() & 0o7777 {
        return Ok(());
    }
    Err(format!("{}: the permissions differ", path.display()))
}

fn same_time(path: &Path, one: &Metadata, other: &Metadata) -> Result<(), String> {
    if (one.mtime(), one.mtime_nsec()) == (other.mtime(), other.mtime_nsec()) {
        return Ok(());
    }
    Err(format!("{}: the time of change differs", path.display()))
}

fn entries(path: &Path) -> Result<Vec<PathBuf>, String> {
    let read = || {
        let mut names = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| PathBuf::from(entry.file_name())))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    read().map_err(|error: io::Error| unreadable(path, &error))
}

fn stat(path: &Path) -> Result<Metadata, String> {
    fs::symlink_metadata(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

fn same_bytes(original: &Path, restored: &Path) -> Result<bool, String> {
    let open = |path: &Path| File::open(path).map_err(|error| unreadable(path, &error));
    let (mut one, mut other) = (open(original)?, open(restored)?);
    let (mut left, mut right) = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let length = one.read(&mut left).map_err(|error| unreadable(original, &error))?;
        if length == 0 {
            return Ok(other.read(&mut right).map_err(|error| unreadable(restored, &error))? == 0);
        }
        match other.read_exact(&mut right[..length]) {
            Ok(()) if left[..length] == right[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(unreadable(restored, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    type Fault = (&'static str, fn(&Path));

    fn plant(folder: &Path) {
        fs::create_dir(folder.join("sub")).unwrap();
        fs::write(folder.join("a"), b"same").unwrap();
        fs::write(folder.join("sub/b"), vec![7; 300_000]).unwrap();
        fs::hard_link(folder.join("a"), folder.join("c")).unwrap();
        symlink("a", folder.join("link")).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for name in ["a", "sub/b"] {
            File::options().write(true).open(folder.join(name)).unwrap().set_modified(old).unwrap();
        }
        for folder in [folder.join("sub"), folder.to_owned()] {
            File::open(folder).unwrap().set_modified(old).unwrap();
        }
    }

    #[test]
    fn what_was_left_out_is_not_missed_and_all_else_is() {
        let top = tempfile::tempdir().unwrap();
        let (one, other) = (top.path().join("one"), top.path().join("other"));
        for folder in [&one, &other] {
            fs::create_dir(folder).unwrap();
            plant(folder);
        }
        let closed = one.join("sub/b");
        fs::remove_file(other.join("sub/b")).unwrap();
        let set_back = || {
            let old = one.join("sub").metadata().unwrap().modified().unwrap();
            File::open(other.join("sub")).unwrap().set_modified(old).unwrap();
        };
        set_back();
        let why = "Permission denied (os error 13)";
        // One line for each: what was told, and whether it is of that file.
        let table = [
            (format!("{}: {why}", closed.display()), true),
            (format!("{}: {why}", one.join("sub").display()), true),
            (format!("{}x: {why}", closed.display()), false),
            (format!("{}: {why}", one.join("a").display()), false),
        ];
        for (told, is_equal) in table {
            let left_out = LeftOut { mark: "NONE", told: std::slice::from_ref(&told) };
            assert_eq!(compare(&one, &other, Some(left_out)).is_ok(), is_equal, "{told}");
        }
    }

    /// A comparison that finds nothing must be one that would have found something.
    #[test]
    fn every_planted_difference_is_found() {
        let faults: [Fault; 12] = [
            ("was not restored", |folder| fs::remove_file(folder.join("sub/b")).unwrap()),
            ("was not there before", |folder| fs::write(folder.join("new"), b"").unwrap()),
            ("the kind", |folder| {
                fs::remove_file(folder.join("sub/b")).unwrap();
                fs::create_dir(folder.join("sub/b")).unwrap();
            }),
            ("the content", |folder| {
                let old = fs::metadata(folder.join("sub/b")).unwrap().modified().unwrap();
                let mut bytes = vec![7; 300_000];
                bytes[299_999] = 8;
                fs::write(folder.join("sub/b"), bytes).unwrap();
                let file = File::options().write(true).open(folder.join("sub/b")).unwrap();
                file.set_modified(old).unwrap();
            }),
            ("the content", |folder| {
                let file = File::options().write(true).open(folder.join("sub/b")).unwrap();
                let old = file.metadata().unwrap().modified().unwrap();
                file.set_len(299_999).unwrap();
                file.set_modified(old).unwrap();
            }),
            ("the permissions", |folder| {
                fs::set_permissions(folder.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
            }),
            ("the time of change", |folder| {
                let file = File::options().write(true).open(folder.join("a")).unwrap();
                file.set_modified(std::time::SystemTime::now()).unwrap();
            }),
            ("the permissions", |folder| {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
            }),
            ("the time of change", |folder| {
                File::open(folder).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
            }),
            ("the time of change", |folder| {
                let sub = File::open(folder.join("sub")).unwrap();
                sub.set_modified(std::time::SystemTime::now()).unwrap();
            }),
            ("the target of the link", |folder| {
                fs::remove_file(folder.join("link")).unwrap();
                symlink("c", folder.join("link")).unwrap();
            }),
            ("which names are one file", |folder| {
                let old = fs::metadata(folder.join("a")).unwrap().modified().unwrap();
                fs::remove_file(folder.join("c")).unwrap();
                fs::write(folder.join("c"), b"same").unwrap();
                File::options()
                    .write(true)
                    .open(folder.join("c"))
                    .unwrap()
                    .set_modified(old)
                    .unwrap();
            }),
        ];
        for (word, plant_fault) in faults {
            let top = tempfile::tempdir().unwrap();
            let (one, other) = (top.path().join("one"), top.path().join("other"));
            for folder in [&one, &other] {
                fs::create_dir(folder).unwrap();
                plant(folder);
            }
            assert_eq!(compare(&one, &other, None).unwrap().files, 3);
            plant_fault(&other);
            let found = compare(&one, &other, None).unwrap_err();
            assert!(found.contains(word), "{word}: {found}");
        }
    }
}
