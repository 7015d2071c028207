//! Putting a shard, step by step: anew, or from where a put before it broke off.

use super::asking::receive;
use super::{Purpose, Session, State, misanswer};
use crate::AgentError;
use crate::losses::Start;
use fondaco_audit::ShardId;
use fondaco_contract::{Charge, ContractId, Tab};
use fondaco_ports::market::{Frame as _, Payload, Request, Response, Step};
use fondaco_transport::{Connection, Stream};
use fondaco_units::Bytes;
use tokio::sync::MutexGuard;

/// What became of a shard that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was sent and paid for, and is on the host's disk.
    Stored,
    /// The host had it under this contract; nothing was charged.
    Had,
}

/// A put that is waited for. Where its process stops waiting, what it has come to is noted.
struct Putting<'a> {
    session: &'a Session,
    state: MutexGuard<'a, State>,
}

impl Drop for Putting<'_> {
    fn drop(&mut self) {
        self.session.stops(&mut self.state);
    }
}

/// Asks what the host would answer if a shard were put, and puts nothing.
pub(super) async fn ask_to_put(
    connection: &Connection,
    contract: ContractId,
    shard: ShardId,
    size: Bytes,
    epoch: u64,
) -> Result<Response, AgentError> {
    let request = Request::Put { contract, shard, size, epoch };
    let (stream, response) = begin_put(connection, &request).await?;
    leave(stream, &response).await?;
    Ok(response)
}

/// Begins a put.
async fn begin_put(
    connection: &Connection,
    request: &Request,
) -> Result<(Stream, Response), AgentError> {
    let mut stream = connection.open().await?;
    stream.send_bytes(&request.to_frame()).await?;
    let response = receive(&mut stream).await?;
    Ok((stream, response))
}

/// No step follows: the host leaves the put as it is, and then ends the stream.
async fn leave(mut stream: Stream, response: &Response) -> Result<(), AgentError> {
    if matches!(response, Response::Ready | Response::Resume { .. }) {
        stream.finish();
        stream.recv_bytes(Response::FRAME_MAX).await?;
    }
    Ok(())
}

impl Session {
    /// Stores a shard: when this returns, it is on the host's disk.
    pub async fn put(&self, shard: ShardId, bytes: &[u8]) -> Result<Put, AgentError> {
        let mut putting = Putting { session: self, state: self.lock().await? };
        let state = &mut *putting.state;
        let done = async {
            let open = state.connection.clone().filter(|open| !open.is_closed());
            let ready = self.ready(state, Purpose::Putting(shard));
            let ready = self.while_heard(open, ready).await?;
            state.losses.wants_put(&self.terms, shard, self.clock.now());
            self.note(state)?;
            let over = Some(ready.0.clone());
            self.while_heard(over, self.put_steps(state, ready, shard, bytes)).await
        };
        let done = done.await;
        self.after(state, done)
    }

    /// Asks whether a shard of so many bytes is on the host's disk under this contract; nothing is charged.
    pub(crate) async fn has(&self, shard: ShardId, size: Bytes) -> Result<bool, AgentError> {
        let mut state = self.lock().await?;
        let done = async {
            let (connection, _, epoch) = self.ready(&mut state, Purpose::Keeping).await?;
            match ask_to_put(&connection, self.contract(), shard, size, epoch).await? {
                Response::Have => Ok(true),
                Response::Ready | Response::Resume { .. } => Ok(false),
                other => Err(misanswer(self.provider(), &other)),
            }
        };
        let done = done.await;
        self.after(&mut state, done)
    }

    async fn put_steps(
        &self,
        state: &mut State,
        (connection, mut tab, epoch): (Connection, Tab, u64),
        shard: ShardId,
        bytes: &[u8],
    ) -> Result<Put, AgentError> {
        let (contract, size) = (self.contract(), Bytes::of(bytes));
        self.explain_other(state, &connection, &mut tab, epoch, shard).await?;
        // Its account may have been shown once more.
        self.explain_read(state, &connection, &tab).await?;
        let request = Request::Put { contract, shard, size, epoch };
        let (mut stream, mut answer) = begin_put(&connection, &request).await?;
        let (terms, prices, now) = (&self.terms, &self.terms.prices, self.clock.now());
        let had = Start::Had { epochs: tab.epochs_paid.saturating_sub(epoch) };
        let start = match answer {
            Response::Have => had,
            Response::Resume { at } => Start::At(at.get()),
            _ => Start::Anew,
        };
        if state.losses.is_ahead(prices, shard, size, start) {
            // A step of it ended after its account was shown.
            leave(stream, &answer).await?;
            tab = self.sync(state).await?;
            self.explain_read(state, &connection, &tab).await?;
            (stream, answer) = begin_put(&connection, &request).await?;
        }
        let mut sent = match answer {
            Response::Have => {
                state.losses.put_begins(terms, shard, size, had, now);
                state.losses.forget_put_of(shard);
                self.note(state)?;
                return Ok(Put::Had);
            }
            Response::Stored if bytes.is_empty() => return Ok(Put::Stored),
            Response::Ready => {
                state.losses.put_begins(terms, shard, size, Start::Anew, now);
                0
            }
            Response::Resume { at } if at < size => {
                state.losses.put_begins(terms, shard, size, Start::At(at.get()), now);
                usize::try_from(at.get()).unwrap_or(usize::MAX)
            }
            other => return Err(misanswer(self.provider(), &other)),
        };
        self.note(state)?;
        self.check_losses(state)?;
        // In the book, if it has the put: a power cut may take the slot of a step.
        state.losses.put_goes_on();
        self.note(state)?;
        self.note_begun(state, &tab)?;
        let step_max = usize::try_from(prices.step_max.get()).unwrap_or(usize::MAX);
        state.tab = None;
        for part in bytes[sent..].chunks(step_max) {
            sent += part.len();
            tab = self.add(&tab, Charge::Write { bytes: Bytes::of(part) })?;
            if sent == bytes.len() {
                let epochs = tab.epochs_paid.saturating_sub(epoch);
                tab = self.add(&tab, Charge::Store { bytes: size, epochs })?;
            }
            let voucher = self.voucher_for(state, &tab)?;
            let part = Payload::new(part.to_vec()).ok_or_else(|| AgentError::Misanswer {
                peer: self.provider(),
                what: "its price list has longer steps than a message".to_owned(),
            })?;
            state.losses.asks();
            self.note_step(state)?;
            let step = Step { voucher, bytes: part }.to_frame();
            let answer = async {
                stream.send_bytes(&step).await?;
                receive(&mut stream).await
            };
            match self.waited_for(state, answer).await? {
                Response::Taken { at } if at.get() == sent as u64 && sent < bytes.len() => {
                    state.losses.put_answered(&tab, at);
                    self.note(state)?;
                }
                Response::Stored if sent == bytes.len() => {
                    state.losses.put_done(&tab);
                    self.note(state)?;
                }
                other => return Err(misanswer(self.provider(), &other)),
            }
        }
        state.tab = Some(tab);
        Ok(Put::Stored)
    }
}
