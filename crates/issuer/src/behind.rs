//! What stands behind the journal: the history, and snapshots, so that the books open quickly.
//!
//! ```text
//! a batch is saved ──► Indexer::add ──► its answers leave
//!        └─ SNAPSHOT_RECORDS since the last one? ──► the books, spilled ──► thread: history durable ──► snapshot durable
//! ```
//!
//! A snapshot is taken between two batches, into a file without a name that nobody syncs, because the books as bytes may be
//! half as much as they are; a thread of its own makes the snapshot of that. While one is being made no other is begun. It never covers what the history does not have durably, because the journal is not replayed from before
//! it. A crash in between costs a longer replay, nothing else.

use crate::{
    books,
    history::{Batch, Indexer},
    keeper::{Behind, Saved},
    metrics::Metrics,
};
use fondaco_lcp::Issuer;
use fondaco_store::Head;
use std::{
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
};
use tracing::{debug, warn};

/// How many records are saved between two snapshots.
pub const SNAPSHOT_RECORDS: u64 = 1_000_000;

/// How many records are worth a snapshot when the books are closed.
const CLOSING_RECORDS: u64 = 10_000;

/// What one issuer has behind its journal.
#[derive(Debug)]
pub(crate) struct Standing {
    folder: PathBuf,
    /// Nothing when it could not be kept from the start: the books go on without.
    indexer: Option<Arc<Indexer>>,
    /// How many records the last snapshot covers.
    covered: u64,
    writing: Option<JoinHandle<()>>,
    metrics: Metrics,
}

impl Standing {
    pub(crate) fn new(
        folder: PathBuf,
        indexer: Option<Indexer>,
        covered: u64,
        metrics: Metrics,
    ) -> Self {
        metrics.snapshot(covered);
        Self { folder, indexer: indexer.map(Arc::new), covered, writing: None, metrics }
    }

    fn begin(&mut self, issuer: &Issuer, head: Head) {
        self.covered = head.records;
        let spill = match books::spill(&self.folder, issuer) {
            Ok(spill) => spill,
            // The journal has it all: the next snapshot may succeed.
            Err(error) => {
                warn!(%error, "no snapshot");
                return;
            }
        };
        let metrics = self.metrics.clone();
        let indexer = self.indexer.clone();
        let write = move || {
            let durable = indexer.is_some_and(|indexer| {
                indexer.sync().is_ok_and(|through| through.records >= head.records)
            });
            if !durable {
                warn!("no snapshot: the history is behind");
                return;
            }
            let bytes = spill.bytes();
            match books::save(head, spill) {
                Ok(()) => {
                    debug!(records = head.records, %bytes, "a snapshot was saved");
                    metrics.snapshot(head.records);
                }
                // The journal has it all: the next start takes longer, and the next snapshot may succeed.
                Err(error) => warn!(%error, "a snapshot could not be saved"),
            }
        };
        let thread = thread::Builder::new().name("snapshot".to_owned()).spawn(write);
        self.writing = thread.inspect_err(|error| warn!(%error, "no snapshot")).ok();
    }

    fn wait(&mut self) {
        if let Some(writing) = self.writing.take() {
            // What it had to say it has said.
            let _ = writing.join();
        }
    }
}

impl Behind for Standing {
    fn saved(&mut self, saved: Saved<'_>) {
        let Saved { frame, after, done, issuer } = saved;
        if let Some(indexer) = &self.indexer
            && indexer.add(Batch { frame, records: done }).is_err()
        {
            // It has said why. Money does not stop for its history; the next start writes it anew.
            self.indexer = None;
        }
        let idle = self.writing.as_ref().is_none_or(JoinHandle::is_finished);
        if idle && after.records - self.covered >= SNAPSHOT_RECORDS {
            self.wait();
            self.begin(issuer, after);
        }
    }

    fn closed(&mut self, issuer: &Issuer, head: Head) {
        self.wait();
        if head.records - self.covered >= CLOSING_RECORDS {
            self.begin(issuer, head);
            self.wait();
        }
        // Dropped, it makes durable what it was given.
        self.indexer = None;
    }
}
