//! What stands behind the journal: snapshots, so that the books open quickly.
//!
//! A snapshot is taken between two batches, in memory, and written by a thread of its own; while one is being written no
//! other is begun. A crash in between costs a longer replay, nothing else.

use crate::{
    books,
    keeper::{Behind, Saved},
    metrics::Metrics,
};
use fondaco_lcp::Issuer;
use fondaco_store::Head;
use std::{
    path::PathBuf,
    thread::{self, JoinHandle},
};
use tracing::{debug, warn};

/// How many records are saved between two snapshots.
pub const SNAPSHOT_RECORDS: u64 = 1_000_000;

/// How many records are worth a snapshot when the books are closed.
const CLOSING_RECORDS: u64 = 10_000;

/// The snapshots of one issuer.
#[derive(Debug)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    /// How many records the last snapshot covers.
    covered: u64,
    writing: Option<JoinHandle<()>>,
    metrics: Metrics,
}

impl Snapshots {
    pub(crate) fn new(folder: PathBuf, covered: u64, metrics: Metrics) -> Self {
        metrics.snapshot(covered);
        Self { folder, covered, writing: None, metrics }
    }

    fn begin(&mut self, issuer: &Issuer, head: Head) {
        let snapshot = issuer.snapshot();
        let (folder, metrics) = (self.folder.clone(), self.metrics.clone());
        let write = move || match books::save(&folder, head, &snapshot) {
            Ok(()) => {
                debug!(records = head.records, bytes = snapshot.len(), "a snapshot was saved");
                metrics.snapshot(head.records);
            }
            // The journal has it all: the next start takes longer, and the next snapshot may succeed.
            Err(error) => warn!(%error, "a snapshot could not be saved"),
        };
        let thread = thread::Builder::new().name("snapshot".to_owned()).spawn(write);
        self.writing = thread.inspect_err(|error| warn!(%error, "no snapshot")).ok();
        self.covered = head.records;
    }

    fn wait(&mut self) {
        if let Some(writing) = self.writing.take() {
            // What it had to say it has said.
            let _ = writing.join();
        }
    }
}

impl Behind for Snapshots {
    fn saved(&mut self, saved: Saved<'_>) {
        let idle = self.writing.as_ref().is_none_or(JoinHandle::is_finished);
        if idle && saved.after.records - self.covered >= SNAPSHOT_RECORDS {
            self.wait();
            self.begin(saved.issuer, saved.after);
        }
    }

    fn closed(&mut self, issuer: &Issuer, head: Head) {
        self.wait();
        if head.records - self.covered >= CLOSING_RECORDS {
            self.begin(issuer, head);
            self.wait();
        }
    }
}
