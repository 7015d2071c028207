//! A store in a folder, which can be told to be in trouble.

use fondaco_gateway::{Kind, Name, Object, Store, StoreError, Trouble};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Semaphore;

pub(crate) struct FolderStore {
    root: PathBuf,
    /// What every call ends with, if it is to fail.
    trouble: Mutex<Option<Trouble>>,
    /// Reads that reach beyond this place fail.
    readable: AtomicU64,
    /// Whether writes fail.
    is_full: AtomicBool,
    /// A write begins when it gets a permit of these.
    pub(crate) writes: Semaphore,
}

impl FolderStore {
    pub(crate) fn new(root: &Path) -> Self {
        for kind in ["key", "snapshot", "index", "pack"] {
            fs::create_dir_all(root.join(kind)).unwrap();
        }
        let (trouble, readable) = (Mutex::default(), AtomicU64::new(u64::MAX));
        let (is_full, writes) = (AtomicBool::new(false), Semaphore::new(1000));
        Self { root: root.to_owned(), trouble, readable, is_full, writes }
    }

    pub(crate) fn path(&self, object: Object) -> PathBuf {
        match object {
            Object::Config => self.root.join("config"),
            Object::Named(kind, name) => self.folder(kind).join(name.to_string()),
        }
    }

    fn folder(&self, kind: Kind) -> PathBuf {
        self.root.join(match kind {
            Kind::Key => "key",
            Kind::Snapshot => "snapshot",
            Kind::Index => "index",
            Kind::Pack => "pack",
        })
    }

    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap() = trouble;
    }

    pub(crate) fn set_readable(&self, bytes: u64) {
        self.readable.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), StoreError> {
        match *self.trouble.lock().unwrap() {
            Some(trouble) => Err(error(trouble)),
            None => Ok(()),
        }
    }
}

fn error(trouble: Trouble) -> StoreError {
    StoreError { trouble, what: "it rains".to_owned(), hint: Some("take an umbrella".to_owned()) }
}

impl Store for FolderStore {
    async fn list(&self, kind: Kind) -> Result<Vec<(Name, u64)>, StoreError> {
        self.check()?;
        let mut files: Vec<(Name, u64)> = fs::read_dir(self.folder(kind))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().to_str().unwrap().parse().unwrap();
                (name, entry.metadata().unwrap().len())
            })
            .collect();
        files.sort();
        Ok(files)
    }

    async fn length(&self, object: Object) -> Result<Option<u64>, StoreError> {
        self.check()?;
        Ok(fs::metadata(self.path(object)).ok().map(|it| it.len()))
    }

    async fn read(&self, object: Object, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        self.check()?;
        if range.end > self.readable.load(Ordering::Relaxed) {
            return Err(error(Trouble::Away));
        }
        let bytes = fs::read(self.path(object)).unwrap();
        Ok(bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
            .to_vec())
    }

    async fn is_readable(&self, object: Object) -> Result<bool, StoreError> {
        let length = self.length(object).await?;
        Ok(length.is_some_and(|length| length <= self.readable.load(Ordering::Relaxed)))
    }

    async fn write(&self, object: Object, content: Vec<u8>) -> Result<(), StoreError> {
        self.check()?;
        if self.is_full.load(Ordering::Relaxed) {
            return Err(error(Trouble::Full));
        }
        self.writes.acquire().await.unwrap().forget();
        fs::write(self.path(object), content).unwrap();
        Ok(())
    }

    async fn remove(&self, object: Object) -> Result<(), StoreError> {
        self.check()?;
        fs::remove_file(self.path(object)).unwrap();
        Ok(())
    }
}
