//! The library's view of the market: synchronous, as it wants.

use crate::AgentError;
use crate::book::{ObjectId, ObjectKind};
use crate::objects::{Objects, Renewing, show};
use crate::progress::{Progress, Stage};
use bytes::Bytes as Buffer;
use fondaco_crypto::Digest;
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of packs is in memory at once, as it was read: the library asks for twenty parts of up to 40 MiB at a time.
const READ_BYTES_MAX: u32 = 96 << 20;

/// The unit in which that is counted, in bytes.
const READ_UNIT: u32 = 64 << 10;

/// [`Objects`], as the library reads and writes them.
pub(super) struct Backend {
    objects: Arc<Objects>,
    pub(super) runtime: Handle,
    /// Renews what reading uses up.
    renewing: Renewing,
    /// The first failure, in our own words: the library wraps or panics over what it is told.
    failure: Mutex<Option<AgentError>>,
    /// What could not be read while that is noted, as the library is told of it.
    unread: Mutex<Option<Unread>>,
    /// Room for what is read, in units.
    room: Arc<Semaphore>,
    /// What the library is not told of.
    hidden: Mutex<BTreeSet<ObjectId>>,
}

/// Why something could not be read, each by what is told of it.
pub(super) type Unread = BTreeMap<String, AgentError>;

/// Bytes that take room until nobody has them any more.
struct Held {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Backend {
    pub(super) fn new(objects: Arc<Objects>, runtime: Handle, renewing: Renewing) -> Self {
        let room = Arc::new(Semaphore::new((READ_BYTES_MAX / READ_UNIT) as usize));
        let (failure, unread, hidden) = Default::default();
        Self { objects, runtime, renewing, failure, unread, room, hidden }
    }

    pub(super) fn take_failure(&self) -> Option<AgentError> {
        self.failure.lock().expect("no panic under this lock").take()
    }

    /// Notes from now on all that cannot be read, until it is taken.
    pub(super) fn note_unread(&self) {
        *self.unread.lock().expect("no panic under this lock") = Some(Unread::new());
    }

    pub(super) fn take_unread(&self) -> Unread {
        self.unread.lock().expect("no panic under this lock").take().unwrap_or_default()
    }

    /// Lists these no more.
    pub(super) fn hide(&self, objects: BTreeSet<ObjectId>) {
        self.hidden.lock().expect("no panic under this lock").extend(objects);
    }

    /// Remembers why the library is about to be stopped.
    pub(super) fn fail(&self, error: AgentError) {
        self.failure.lock().expect("no panic under this lock").get_or_insert(error);
    }

    fn refuse<T>(&self, doing: &str, result: Result<T, AgentError>) -> RusticResult<T> {
        result.map_err(|error| {
            let what = format!("{doing}: {error}");
            let told = RusticError::new(ErrorKind::Backend, what.clone());
            match self.unread.lock().expect("no panic under this lock").as_mut() {
                Some(unread) => drop(unread.insert(what, error)),
                None => self.fail(error),
            }
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
        let hidden = self.hidden.lock().expect("no panic under this lock").clone();
        self.objects
            .list(kind)
            .into_iter()
            .filter(|(object, _)| !hidden.contains(object))
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
        let read = self.runtime.block_on(self.renewing.read(&self.objects, object, range));
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
        let units = length.min(READ_BYTES_MAX).div_ceil(READ_UNIT);
        let read = self.runtime.block_on(async {
            // Closed never; and what has room is given back by who reads it, without reading more.
            let _room = Arc::clone(&self.room).acquire_many_owned(units).await.ok();
            let bytes = self.renewing.read(&self.objects, object, range).await?;
            Ok(Held { bytes, _room })
        });
        self.refuse(&format!("reading {}", show(object)), read).map(Buffer::from_owner)
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
        drop(content);
        let put = self.runtime.block_on(self.objects.put(object, bytes));
        if put.is_err() {
            // What could not be read before did not stop the library, or it would not write.
            drop(self.take_failure());
        }
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
pub(super) struct Bars(pub(super) Arc<dyn Progress>);

impl rustic_core::ProgressBars for Bars {
    fn progress(&self, kind: rustic_core::ProgressType, prefix: &str) -> rustic_core::Progress {
        let begun = match kind {
            rustic_core::ProgressType::Bytes => self.0.begin(prefix),
            rustic_core::ProgressType::Spinner | rustic_core::ProgressType::Counter => {
                self.0.begin_steps(prefix)
            }
        };
        rustic_core::Progress::new(Bar(begun))
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
