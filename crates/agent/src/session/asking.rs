//! One request to a host, and its answer.

use crate::AgentError;
use crate::finding::Finder;
use fondaco_contract::{SignedMandate, SignedPriceList};
use fondaco_crypto::EntityId;
use fondaco_ports::Address;
use fondaco_ports::market::{Admitted, Frame as _, Request, Response};
use fondaco_transport::{CloseReason, Connection, Endpoint, Protocol, Stream, TransportError};
use std::sync::Arc;

/// Asks a host for its signed price list; the caller verifies it.
pub(crate) async fn offer(
    endpoint: &Endpoint,
    address: &Address,
) -> Result<SignedPriceList, AgentError> {
    prices(endpoint.connect(address, Protocol::Storage).await?).await
}

pub(super) async fn prices(connection: Connection) -> Result<SignedPriceList, AgentError> {
    let response = ask(&connection, &Request::Prices).await?;
    connection.close(CloseReason::Done);
    match response {
        Response::Prices { list } => Ok(list),
        other => Err(misanswer(connection.peer(), &other)),
    }
}

/// Shows a mandate to a host; returns the open contracts of who gave it, as the host tells.
pub(crate) async fn admit(
    finder: &Arc<Finder>,
    address: &Address,
    mandate: &SignedMandate,
) -> Result<Vec<Admitted>, AgentError> {
    let connection = finder.connect(address).await?;
    let response = ask(&connection, &Request::Admit { mandate: *mandate }).await;
    connection.close(CloseReason::Done);
    match response? {
        Response::Admitted { list } => Ok(list.into_vec()),
        other => Err(misanswer(address.entity(), &other)),
    }
}

/// Sends one request on a stream of its own and returns the answer; a refusal is an error.
pub(super) async fn ask(
    connection: &Connection,
    request: &Request,
) -> Result<Response, AgentError> {
    let mut stream = connection.open().await?;
    stream.send_bytes(&request.to_frame()).await?;
    stream.finish();
    receive(&mut stream).await
}

pub(super) async fn receive(stream: &mut Stream) -> Result<Response, AgentError> {
    let provider = stream.peer();
    let frame = stream.recv_bytes(Response::FRAME_MAX).await?.ok_or_else(|| {
        AgentError::Misanswer { peer: provider, what: "it ended the stream".to_owned() }
    })?;
    match Response::from_frame(&frame) {
        Ok(Response::Refused { reason }) => Err(AgentError::Provider { provider, reason }),
        Ok(response) => Ok(response),
        Err(error) => Err(AgentError::Misanswer { peer: provider, what: error.to_string() }),
    }
}

/// Whether it is this process that ends, which does not know whether an answer was on its way.
pub(super) const fn is_ours(error: &AgentError) -> bool {
    matches!(
        error,
        AgentError::Transport(TransportError::EndpointClosed | TransportError::ClosedHere { .. })
    )
}

/// Whether a host refuses what it was asked, and would again.
pub(super) fn is_refusal_for_good(error: &AgentError) -> bool {
    match error {
        AgentError::Provider { reason, .. } => !reason.is_transient(),
        AgentError::Misanswer { .. } => true,
        _ => false,
    }
}

pub(super) fn misanswer(peer: EntityId, response: &Response) -> AgentError {
    let mut what = format!("{response:?}");
    what.truncate(what.floor_char_boundary(60));
    AgentError::Misanswer { peer, what }
}
