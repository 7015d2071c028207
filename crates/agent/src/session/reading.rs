//! Reading, step by step. A step that is paid for is waited for whether or not somebody still wants it: who races several
//! hosts drops the slower reads, and must know which of them were answered. What a host counts of a read that was not is
//! asked for again before anything more is paid.

use super::{Purpose, Session, State, ask, is_ours, misanswer};
use crate::AgentError;
use crate::losses::BrokenRead;
use fondaco_audit::{ShardId, check};
use fondaco_contract::{Charge, Tab, read_charged};
use fondaco_ports::market::{Reason, Request, Response};
use fondaco_transport::{Connection, TransportError};
use fondaco_units::Bytes;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

/// What was read, and of which part of which shard.
#[derive(Debug)]
pub(super) struct Part {
    shard: ShardId,
    range: Range<u64>,
    bytes: Vec<u8>,
}

/// How a step begins.
enum Begun {
    /// It is to be asked for.
    Ask(Box<Asking>),
    /// It was sent again just now.
    Had(Vec<u8>),
}

/// A step that is waited for. Where its process stops waiting, that it was asked for is noted.
struct UnderWay {
    session: Arc<Session>,
    state: OwnedMutexGuard<State>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.session.stops(&mut self.state);
    }
}

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
            self.asks_anew(&mut state);
            if let Some((_, error)) = state.failed.as_ref().filter(|(when, _)| *when > asked) {
                return Err(error.clone().into());
            }
            let part = (shard, size, start..end);
            // What may be sent again is asked for apart, which nobody may break off: a host does so a few times only.
            let begun = if state.losses.is_reading() {
                None
            } else {
                let begun = self.begin_read(&mut state, part.clone()).await;
                Some(self.after(&mut state, begun)?)
            };
            bytes.extend(match begun {
                Some(Begun::Had(bytes)) => bytes,
                Some(Begun::Ask(asking)) => self.wait_for(state, part, Some(asking)).await?,
                None => self.wait_for(state, part, None).await?,
            });
            self.answers.fetch_add(1, Ordering::Relaxed);
            start = end;
        }
        Ok(bytes)
    }

    /// Does a step, or what is left of it if it is `begun`, whether or not somebody still waits for it.
    async fn wait_for(
        self: &Arc<Self>,
        state: OwnedMutexGuard<State>,
        part: (ShardId, u64, Range<u64>),
        begun: Option<Box<Asking>>,
    ) -> Result<Vec<u8>, AgentError> {
        let mut step = UnderWay { session: Arc::clone(self), state };
        let step = tokio::spawn(async move {
            let UnderWay { session, state } = &mut step;
            let done = async {
                let begun = match begun {
                    Some(asking) => Begun::Ask(asking),
                    None => session.begin_read(state, part).await?,
                };
                match begun {
                    Begun::Had(bytes) => Ok(bytes),
                    Begun::Ask(asking) => session.read_step(state, *asking).await,
                }
            };
            let done = done.await;
            session.after(state, done)
        });
        match step.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(TransportError::EndpointClosed.into()),
            },
        }
    }

    /// Before a shard is deleted: asks what a read of it that was not answered has come to, and has it sent again; and asks for a put
    /// of it that broke off.
    pub(super) async fn explain_before(
        &self,
        state: &mut State,
        shard: ShardId,
    ) -> Result<(), AgentError> {
        let connection = self.connected(state).await?;
        let mut tab = self.sync(state).await?;
        if state.losses.may_have_put(shard) {
            let epoch = self.terms.epoch_at(self.clock.now());
            if let Some(put) = state.losses.open_put().filter(|put| put.shard == shard) {
                self.ask_for(state, &connection, &mut tab, epoch, put).await?;
            }
            state.losses.forget_put_of(shard);
            self.note(state)?;
            self.check_losses(state)?;
        }
        self.explain_read(state, &connection, &tab).await
    }

    /// Has a read sent again that was counted and not answered; what is not sent again is lost.
    pub(super) async fn explain_read(
        &self,
        state: &mut State,
        connection: &Connection,
        tab: &Tab,
    ) -> Result<(), AgentError> {
        let Some(read) = state.losses.counted_read() else { return Ok(()) };
        let BrokenRead { shard, size, offset, length, .. } = read;
        let request = Request::Again { contract: self.contract(), shard, offset, length };
        match ask(connection, &request).await {
            Ok(Response::Slice { bytes }) => {
                let range = offset.get()..offset.get().saturating_add(length.get());
                let bytes = self.checked(shard, size.get(), range.clone(), bytes.as_slice())?;
                state.losses.answered(tab);
                state.again = Some(Part { shard, range, bytes });
            }
            Ok(other) => return Err(misanswer(self.provider(), &other)),
            Err(
                error @ AgentError::Provider {
                    reason: Reason::Ended { .. } | Reason::UnknownContract,
                    ..
                },
            ) => return Err(error),
            Err(AgentError::Provider { reason, .. }) if !reason.is_transient() => {
                state.losses.read_is_lost();
            }
            // Nothing is paid meanwhile.
            Err(error) => {
                if !is_ours(&error) {
                    state.losses.read_failed();
                }
                return Err(error);
            }
        }
        self.note(state)
    }

    async fn begin_read(
        &self,
        state: &mut State,
        (shard, size, range): (ShardId, u64, Range<u64>),
    ) -> Result<Begun, AgentError> {
        let (connection, tab, _) = self.ready(state, Purpose::Reading).await?;
        if let Some(part) = state.again.take_if(|part| part.shard == shard && part.range == range) {
            return Ok(Begun::Had(part.bytes));
        }
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
        state.losses.asks_to_read(shard, Bytes::new(size), (offset, length));
        // With a full disk, what is stored can be read all the same: but not behind one that is written down there, and could be
        // taken for the last.
        if let Err(error) = self.note_step(state) {
            if state.slot.is_some() {
                return Err(error);
            }
            tracing::warn!(%error, "a read that is under way could not be written down");
        }
        let request = Request::Get { contract: self.contract(), shard, offset, length, voucher };
        Ok(Begun::Ask(Box::new(Asking { connection, request, tab, shard, size, range })))
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
        self.checked(shard, size, range, &slice)
    }

    fn checked(
        &self,
        shard: ShardId,
        size: u64,
        range: Range<u64>,
        slice: &[u8],
    ) -> Result<Vec<u8>, AgentError> {
        #[cfg(feature = "simulation")]
        if let Some(bytes) = crate::planted::unchecked(size, &range, slice) {
            return Ok(bytes);
        }
        check(shard, size, range, slice).map_err(|error| {
            self.caught(format!("what it sent is not the shard it was given: {error}"))
        })
    }
}
