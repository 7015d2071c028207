//! What a gateway allows at most.

use crate::place::{Folder, Place};
use std::time::Duration;

/// What a gateway allows at most: of each client, and of all together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; one more is closed.
    pub connections: usize,
    /// Bytes of a request's header.
    pub header_bytes: usize,
    /// Lines of a request's header.
    pub header_lines: usize,
    /// How long a new connection may take to show the token.
    pub stranger_timeout: Duration,
    /// How long a connection may be idle, and a header take to arrive.
    pub idle_timeout: Duration,
    /// How long nothing may come of a body, or nothing be taken in of an answer.
    pub stall_timeout: Duration,
    /// The slowest that a body may come: bytes a second, after the first [`stall_timeout`](Self::stall_timeout).
    pub body_rate_min: u64,
    /// Bytes of a pack or index. A pack is in memory whole while it is cut into shards.
    pub object_bytes: u64,
    /// Bytes of all bodies that are in memory together; not less than `object_bytes`. A body waits for its room.
    pub upload_bytes: u64,
    /// How long a body may wait for its room.
    pub upload_wait: Duration,
    /// Bytes of an object that are read from the store at a time; two such pieces are in memory for each answer.
    pub piece_bytes: u64,
    /// How long answers that are under way may take when the gateway stops.
    pub stop_timeout: Duration,
}

/// Bytes of a configuration, key or lock: all are less than a kilobyte in practice.
const SMALL_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a snapshot.
const SNAPSHOT_BYTES_MAX: u64 = 16 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            header_bytes: 16 << 10,
            header_lines: 64,
            stranger_timeout: Duration::from_secs(15),
            // Longer than restic keeps an idle connection: it, not we, should end one.
            idle_timeout: Duration::from_secs(120),
            stall_timeout: Duration::from_secs(60),
            body_rate_min: 4 << 10,
            // restic's largest pack is of 128 MiB, and may be over that by its last blob.
            object_bytes: 192 << 20,
            upload_bytes: 256 << 20,
            upload_wait: Duration::from_secs(60),
            piece_bytes: 1 << 20,
            stop_timeout: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// Returns how many bytes what is put at `place` may have.
    pub fn body_bytes_max(&self, place: Place) -> u64 {
        match place {
            Place::Repository | Place::List(_) => 0,
            Place::Config | Place::File(Folder::Keys | Folder::Locks, _) => SMALL_BYTES_MAX,
            Place::File(Folder::Snapshots, _) => SNAPSHOT_BYTES_MAX.min(self.object_bytes),
            Place::File(Folder::Index | Folder::Data, _) => self.object_bytes,
        }
    }
}
