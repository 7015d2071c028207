//! What is answered to each request.

use super::{
    SERVICE_PATH, Shared,
    connection::Guest,
    phases::{Phase, Phases},
};
use crate::{
    Exchange, Unanswered,
    soap::{self, Question, REQUEST_BYTES_MAX, Refused},
    wsdl,
};
use fondaco_lcp::classic::Answer;
use fondaco_units::Duration;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue},
};
use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
};
use tracing::debug;

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const CLOSE: HeaderValue = HeaderValue::from_static("close");

type Reply = Response<Full<Bytes>>;

/// Answers one request. `guest` is who was proved on the connection; nobody on the plain listener.
pub(super) async fn respond(
    shared: Arc<Shared>,
    guest: Option<Arc<Guest>>,
    phases: Arc<Phases>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let uri = request.uri();
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    let asks_description = uri.query().is_some_and(|it| it.eq_ignore_ascii_case("wsdl"));
    let reply = match (uri.path(), guest) {
        (wsdl::ENCODED_PATH, _) if is_get => page(&shared.pages.encoded),
        (wsdl::LITERAL_PATH, _) if is_get => page(&shared.pages.literal),
        (wsdl::ENCODING_SCHEMA_PATH, _) if is_get => page(wsdl::ENCODING_SCHEMA),
        (SERVICE_PATH, _) if is_get && asks_description => page(&shared.pages.encoded),
        (SERVICE_PATH, Some(guest)) if request.method() == Method::POST => {
            post(&shared, &guest, &phases, request).await
        }
        (SERVICE_PATH, Some(_)) => {
            let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "requests are posted here\n");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            reply
        }
        (SERVICE_PATH, None) => {
            plain(StatusCode::FORBIDDEN, "the service is served over TLS: see /lcp.wsdl\n")
        }
        (wsdl::ENCODED_PATH | wsdl::LITERAL_PATH | wsdl::ENCODING_SCHEMA_PATH, _) => {
            let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "this can only be read\n");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            reply
        }
        _ => plain(StatusCode::NOT_FOUND, "there is /lcp.wsdl and /lcp-literal.wsdl\n"),
    };
    phases.set(Phase::Answering);
    Ok(reply)
}

/// Answers a SOAP request.
async fn post(
    shared: &Shared,
    guest: &Guest,
    phases: &Phases,
    request: Request<Incoming>,
) -> Reply {
    if !is_xml(&request) {
        let hint = "a request is text/xml in UTF-8\n";
        return closing(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, hint));
    }
    let too_large = Refused::TooLarge { bytes_max: REQUEST_BYTES_MAX };
    // Before a byte of it is read, if it says so itself.
    if request.body().size_hint().lower() > REQUEST_BYTES_MAX as u64 {
        return closing(fault(&too_large));
    }
    let body = match Limited::new(request.into_body(), REQUEST_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return closing(fault(&too_large)),
        Err(error) => {
            debug!(connection = guest.connection, %error, "a request did not arrive");
            return closing(plain(StatusCode::BAD_REQUEST, "the request did not arrive whole\n"));
        }
    };
    phases.set(Phase::Working);
    let read = soap::read(&body, shared.scale);
    // A slice of the connection's buffer: a parked query must not keep all of that.
    drop(body);
    match read {
        Ok(question) => ask(shared, guest, question).await,
        Err(refused) => fault(&refused),
    }
}

/// Asks the accounts.
async fn ask(shared: &Shared, guest: &Guest, question: Question) -> Reply {
    let Question { form, operation, ask, wait } = question;
    let exchange = |wait| Exchange {
        holder: guest.holder,
        from: guest.from,
        connection: guest.connection,
        // The request has been read: whatever was sent before it was sent on a connection that is counted here.
        accepted: shared.next_connection.load(Ordering::SeqCst).saturating_sub(1),
        full_handshake: guest.debt.is_open(),
        ask: ask.clone(),
        wait,
    };
    let parked = tokio::select! {
        biased;
        answered = shared.accounts.classic(exchange(wait)) => Some(answered),
        () = shared.stop.cancelled(), if wait > Duration::ZERO => None,
    };
    // Asked again without waiting when the server stops: under its counter a message is answered once.
    let answered = match parked {
        Some(answered) => answered,
        None => shared.accounts.classic(exchange(Duration::ZERO)).await,
    };
    match answered {
        Ok(answered) => {
            if answered.surcharged {
                guest.debt.pay();
            }
            let (bytes, is_fault) = soap::answer(&answered.answer, form, operation, shared.scale);
            if let Answer::Fault { fault } = &answered.answer {
                debug!(connection = guest.connection, %fault, "a message was not done");
            }
            envelope(bytes, is_fault)
        }
        Err(Unanswered::Busy) => fault(&Refused::Busy),
        Err(Unanswered::Unavailable) => fault(&Refused::Unavailable),
    }
}

/// Whether a request says that it is XML in UTF-8, or leaves the encoding to the XML.
fn is_xml(request: &Request<Incoming>) -> bool {
    let Some(Ok(kind)) = request.headers().get(CONTENT_TYPE).map(HeaderValue::to_str) else {
        return false;
    };
    let mut parts = kind.split(';').map(str::trim);
    let is_xml = parts.next().is_some_and(|kind| {
        kind.eq_ignore_ascii_case("text/xml") || kind.eq_ignore_ascii_case("application/xml")
    });
    let is_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            let value = value.trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("us-ascii")
        }
        _ => true,
    };
    is_xml && parts.all(is_utf8)
}

fn fault(refused: &Refused) -> Reply {
    debug!(%refused, "a message was refused");
    envelope(refused.envelope(), true)
}

/// SOAP 1.1, section 6.2: a fault is an internal server error, whoever's fault it is.
fn envelope(bytes: Vec<u8>, is_fault: bool) -> Reply {
    let status = if is_fault { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    reply(status, XML, Bytes::from(bytes))
}

fn page(text: &str) -> Reply {
    reply(StatusCode::OK, XML, Bytes::copy_from_slice(text.as_bytes()))
}

fn plain(status: StatusCode, text: &'static str) -> Reply {
    reply(status, TEXT, Bytes::from_static(text.as_bytes()))
}

fn reply(status: StatusCode, kind: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// The rest of the request is not read: nothing can follow it.
fn closing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CONNECTION, CLOSE);
    reply
}
