//! Reading, step by step. A step that is paid for is waited for whether or not somebody still wants it: who races several
//! hosts drops the slower reads, and must know which of them were answered.

use super::{Purpose, Session, State, misanswer};
use crate::AgentError;
use fondaco_audit::{ShardId, check};
use fondaco_contract::{Charge, Tab, read_charged};
use fondaco_ports::market::{Request, Response};
use fondaco_transport::{Connection, TransportError};
use fondaco_units::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// A step that is about to be asked for.
struct Asking {
    connection: Connection,
    request: Request,
    /// The account with it.
    tab: Tab,
    shard: ShardId,
    size: u64,
    range: Range<u64>,
}

impl Session {
    /// Reads a range of a shard of `size` bytes, step by step; every byte is proven.
    pub async fn read(
        self: &Arc<Self>,
        shard: ShardId,
        size: u64,
        range: Range<u64>,
    ) -> Result<Vec<u8>, AgentError> {
        let mut bytes = Vec::new();
        let asked = Instant::now();
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + self.terms.prices.step_max.get());
            let mut state = Arc::clone(&self.state).lock_owned().await;
            if let Some((_, error)) = state.failed.as_ref().filter(|(when, _)| *when > asked) {
                return Err(error.clone().into());
            }
            let asking = self.begin_read(&mut state, shard, size, start..end).await;
            let asking = self.after(&mut state, asking)?;
            let session = Arc::clone(self);
            let step = tokio::spawn(async move {
                let done = session.read_step(&mut state, asking).await;
                session.after(&mut state, done)
            });
            bytes.extend(match step.await {
                Ok(done) => done?,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => return Err(TransportError::EndpointClosed.into()),
                },
            });
            self.answers.fetch_add(1, Ordering::Relaxed);
            start = end;
        }
        Ok(bytes)
    }

    async fn begin_read(
        &self,
        state: &mut State,
        shard: ShardId,
        size: u64,
        range: Range<u64>,
    ) -> Result<Asking, AgentError> {
        let (connection, tab, _) = self.ready(state, Purpose::Reading).await?;
        self.check_losses(state)?;
        let offset = Bytes::new(range.start);
        let length = Bytes::new(range.end - range.start);
        let charged = read_charged(offset, length, Bytes::new(size)).ok_or_else(|| {
            AgentError::Store(format!("{shard} has no bytes {}..{}", range.start, range.end))
        })?;
        let tab = self.add(&tab, Charge::Read { bytes: charged })?;
        let voucher = self.voucher_for(state, &tab)?;
        // Until the answer is here, or for good if this process ends before: only the host knows.
        state.tab = None;
        state.losses.asks();
        let request = Request::Get { contract: self.contract(), shard, offset, length, voucher };
        Ok(Asking { connection, request, tab, shard, size, range })
    }

    async fn read_step(&self, state: &mut State, asking: Asking) -> Result<Vec<u8>, AgentError> {
        let Asking { connection, request, tab, shard, size, range } = asking;
        let slice = match self.ask_of_kept(&connection, &request, state, tab).await? {
            Response::Slice { bytes } => bytes.into_vec(),
            other => return Err(misanswer(self.provider(), &other)),
        };
        state.tab = Some(tab);
        state.losses.answered(&tab);
        self.note(state)?;
        #[cfg(feature = "simulation")]
        if let Some(bytes) = crate::planted::unchecked(size, &range, &slice) {
            return Ok(bytes);
        }
        check(shard, size, range, &slice).map_err(|error| {
            self.caught(format!("what it sent is not the shard it was given: {error}"))
        })
    }
}
