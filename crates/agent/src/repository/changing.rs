//! Files that change while they are read: they are kept as they were read, and told.
//!
//! What is kept of such a file may be from before and after, and the snapshot has the size that it had before. Nobody could
//! tell from a backup that says nothing.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The most that are named.
const NAMED_MAX: usize = 1000;

/// The files that changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed(Arc<Mutex<Vec<String>>>);

impl Changed {
    /// Watches a file of which the snapshot will say that it had so many bytes.
    pub(super) fn watch(&self, path: &Path, bytes: u64) -> Watch {
        Watch { path: path.to_owned(), bytes, state: None, changed: self.clone() }
    }

    /// Returns the files that changed since it was asked last.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, path: &Path) {
        let mut changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if changed.len() < NAMED_MAX {
            changed.push(path.display().to_string());
        }
    }
}

/// What is known of a file before it is read.
pub(super) struct Watch {
    path: PathBuf,
    bytes: u64,
    /// Its length and time of change when it was opened; nothing of what is no file, or not asked yet.
    state: Option<(u64, i64, i64)>,
    changed: Changed,
}

fn state(data: &Metadata) -> Option<(u64, i64, i64)> {
    data.is_file().then(|| (data.len(), data.mtime(), data.mtime_nsec()))
}

impl Watch {
    /// Notes how a file is before it is read.
    pub(super) fn begun(self, file: &File) -> Self {
        Self { state: file.metadata().ok().as_ref().and_then(state), ..self }
    }

    /// Watches while `reader` reads it.
    pub(super) fn over<R>(self, reader: R) -> Watched<R> {
        Watched { reader, watch: Some(self) }
    }

    fn ended(self, file: &File) {
        let Some(before) = self.state else { return };
        let after = file.metadata().ok().as_ref().and_then(state);
        if before.0 != self.bytes || after != Some(before) {
            self.changed.add(&self.path);
        }
    }
}

/// A reader of a file that is watched until its end.
pub(super) struct Watched<R> {
    reader: R,
    watch: Option<Watch>,
}

impl<R: Read + AsRef<File>> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(watch) = self.watch.take()
        {
            watch.ended(self.reader.as_ref());
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    struct Plain(File);

    impl Read for Plain {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl AsRef<File> for Plain {
        fn as_ref(&self) -> &File {
            &self.0
        }
    }

    #[test]
    fn a_file_that_changes_is_told_once_and_others_are_not() {
        type Change = fn(&File);
        // One line for each: what the snapshot says of its size, what happens while it is read, and whether that is told.
        let table: [(&str, u64, Change, bool); 5] = [
            ("stays", 3000, |_| {}, false),
            ("grew-before", 2000, |_| {}, true),
            ("grows", 3000, |mut file| file.write_all(b"more").unwrap(), true),
            ("shrinks", 3000, |file| file.set_len(10).unwrap(), true),
            (
                "written-over",
                3000,
                |file| {
                    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
                    file.set_modified(then).unwrap();
                },
                true,
            ),
        ];
        for (name, bytes, change, is_told) in table {
            let path = std::env::temp_dir()
                .join(format!("fondaco-changing-{name}-{}", std::process::id()));
            std::fs::write(&path, vec![7; 3000]).unwrap();
            let writer = File::options().append(true).open(&path).unwrap();
            let (changed, file) = (Changed::default(), File::open(&path).unwrap());
            let mut reader = changed.watch(&path, bytes).begun(&file).over(Plain(file));
            let mut part = [0; 1000];
            reader.read_exact(&mut part).unwrap();
            change(&writer);
            reader.read_to_end(&mut Vec::new()).unwrap();
            reader.read_to_end(&mut Vec::new()).unwrap();
            let told = changed.take();
            assert_eq!(told.len(), usize::from(is_told), "{name}: {told:?}");
            std::fs::remove_file(&path).unwrap();
        }
    }
}
