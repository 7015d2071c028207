//! How far a history had come, without opening it for work.

use super::{
    FILE, Through,
    tables::{FORMAT, META, META_FORMAT, META_THROUGH, read_through},
};
use redb::{ReadOnlyDatabase, ReadableDatabase as _};
use std::{panic::catch_unwind, path::Path};

/// Returns how far the history in `folder` has come, by what its file says; nothing is changed. `None` if there is none,
/// or it cannot be read as it is.
pub(crate) fn seen(folder: &Path) -> Option<Through> {
    let path = folder.join(FILE);
    if !path.is_file() {
        return None;
    }
    let read = || {
        let database = ReadOnlyDatabase::open(&path).ok()?;
        let meta = database.begin_read().ok()?.open_table(META).ok()?;
        let format = meta.get(META_FORMAT).ok()??;
        if format.value() != FORMAT.to_le_bytes() {
            return None;
        }
        let through = meta.get(META_THROUGH).ok()??;
        read_through(through.value()).ok()
    };
    // Some damage is found by assertions of the store.
    catch_unwind(read).ok().flatten()
}
