//! What the service tells of the past, which the core does not keep: history, receipts, answers that were forgotten.

use crate::{
    books,
    history::{History, HistoryError},
};
use fondaco_codec::List;
use fondaco_crypto::{CurrencyId, EntityId, SecretKey};
use fondaco_lcp::{Receipt, Refusal, Request, RequestId, Response};
use fondaco_store::DiskFile;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tracing::warn;

/// How the past is asked. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Past(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    history: History,
    journal: PathBuf,
    key: SecretKey,
    /// How many records have been answered: the history is to have as many before it is asked.
    answered: AtomicU64,
}

impl Past {
    pub(crate) fn new(history: History, journal: PathBuf, key: SecretKey, records: u64) -> Self {
        Self(Arc::new(Inner { history, journal, key, answered: AtomicU64::new(records) }))
    }

    /// So many records are durable, and their answers leave now.
    pub(crate) fn answered(&self, records: u64) {
        self.0.answered.fetch_max(records, Ordering::Release);
    }

    /// Tells entries of the holder's own account.
    pub(crate) async fn entries(&self, holder: EntityId, before: u64, count: u16) -> Response {
        // From the latest on, as the core's other cursors begin at 0.
        let before = if before == 0 { u64::MAX } else { before };
        let ask = move |past: &Inner| past.history.entries(holder, before, count);
        match self.ask(ask).await {
            Some((list, more)) => match List::new(list) {
                Some(list) => Response::History { list, more },
                None => UNAVAILABLE,
            },
            None => UNAVAILABLE,
        }
    }

    /// Gives the signed receipt of an own command.
    pub(crate) async fn receipt(&self, holder: EntityId, id: RequestId) -> Response {
        match self.find(holder, id).await {
            Some(Some(receipt)) => {
                let receipt = Box::new(receipt.sign(&self.0.key));
                Response::Receipt { receipt }
            }
            Some(None) => Response::Refused { refusal: Refusal::Outdated },
            None => UNAVAILABLE,
        }
    }

    /// Answers a command that the core has forgotten: as it was answered first, or that it never was.
    pub(crate) async fn forgotten(
        &self,
        holder: EntityId,
        request: &Request,
        id: RequestId,
        floor: RequestId,
    ) -> Response {
        let refusal = match self.find(holder, id).await {
            Some(Some(known)) if known.request == *request => return known.response,
            Some(Some(_)) => Refusal::OtherContent { id },
            Some(None) => Refusal::Outdated,
            // Not known now; asked again, it may be.
            None => Refusal::Forgotten { floor },
        };
        Response::Refused { refusal }
    }

    async fn find(&self, holder: EntityId, id: RequestId) -> Option<Option<Receipt>> {
        let currency = CurrencyId::issued_by(self.0.key.entity());
        self.ask(move |past| {
            let journal = DiskFile::read_only(&past.journal).map_err(|error| {
                HistoryError::Disk { path: past.journal.clone(), source: error.into() }
            })?;
            past.history.receipt(&journal, books::KIND, currency, holder, id)
        })
        .await
    }

    /// Asks the history on a thread that may wait for a disk, once it has all that was answered.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Inner) -> Result<T, HistoryError> + Send + 'static,
    ) -> Option<T> {
        let last = self.0.answered.load(Ordering::Acquire).checked_sub(1)?;
        if !self.0.history.wait_through(last).await {
            warn!("the history is behind; who asks is told to come later");
            return None;
        }
        let inner = Arc::clone(&self.0);
        let asked = tokio::task::spawn_blocking(move || ask(&inner)).await.ok()?;
        asked.inspect_err(|error| warn!(%error, "the history cannot be asked")).ok()
    }
}

const UNAVAILABLE: Response = Response::Refused { refusal: Refusal::Unavailable };
