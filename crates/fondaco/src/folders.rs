//! Look at folders before they are backed up.

use fondaco_units::Bytes;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The mark of a cache (bford.info/cachedir): a folder with this file in it can be made again.
pub(crate) const CACHE_MARK: &str = "CACHEDIR.TAG";

/// What a name costs in a snapshot, roughly.
const NAME_BYTES: u64 = 256;

/// Adds up what the files below `path` take on disk, sparse ones as little as they do, and something for each
/// name. What cannot be read counts as nothing; links are not followed; caches count only if they are wanted.
pub(crate) fn size(path: &Path, without_caches: bool) -> Bytes {
    Bytes::new(walk(path, without_caches))
}

fn walk(path: &Path, without_caches: bool) -> u64 {
    if without_caches && path.join(CACHE_MARK).exists() {
        return 0;
    }
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => walk(&entry.path(), without_caches),
        Ok(kind) if kind.is_file() => {
            entry.metadata().map_or(0, |data| data.len().min(data.blocks() * 512))
        }
        Ok(_) | Err(_) => 0,
    };
    entries.flatten().map(|entry| NAME_BYTES + of(entry)).sum()
}
