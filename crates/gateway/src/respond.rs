//! What is answered to each request.

use crate::{
    Limits, Locks, Name, Object, Store, StoreError, Token, Trouble,
    place::{Folder, Place},
    range,
    refusal::Refusal,
};
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Bytes, Frame, Incoming},
    header::{
        ACCEPT, ACCEPT_RANGES, ALLOW, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RANGE, RETRY_AFTER,
        WWW_AUTHENTICATE,
    },
};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write as _,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};
use tracing::{debug, warn};

/// The type of a list of names.
const LIST_1: &str = "application/vnd.x.restic.rest.v1";
/// The type of a list of names and lengths.
const LIST_2: &str = "application/vnd.x.restic.rest.v2";
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How many locks keep two writes of one object apart.
const TURNS: usize = 64;

pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, StoreError>>;

/// What all connections share.
pub(crate) struct Shared<S> {
    store: Arc<S>,
    locks: Arc<Locks>,
    token: Token,
    is_append_only: bool,
    names: Vec<String>,
    pub(crate) limits: Limits,
    /// Room for bodies, a permit for each KiB.
    room: Arc<Semaphore>,
    /// Writes and removals of one object go one after the other: those of one first byte share a turn.
    turns: Vec<Mutex<()>>,
}

impl<S: Store> Shared<S> {
    pub(crate) fn new(
        store: Arc<S>,
        locks: Locks,
        token: Token,
        is_append_only: bool,
        names: Vec<String>,
        limits: Limits,
    ) -> Self {
        let room = kibibytes(limits.upload_bytes.max(limits.object_bytes)) as usize;
        Self {
            store,
            locks: Arc::new(locks),
            token,
            is_append_only,
            names,
            limits,
            room: Arc::new(Semaphore::new(room)),
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
        }
    }

    fn turn(&self, object: Object) -> &Mutex<()> {
        let index = match object {
            Object::Config => 0,
            Object::Named(_, name) => usize::from(name.as_bytes()[0]) % TURNS,
        };
        &self.turns[index]
    }
}

/// Answers one request, and notes in `is_known` that its client showed the token.
pub(crate) async fn respond<S: Store>(
    shared: &Arc<Shared<S>>,
    is_known: &AtomicBool,
    request: Request<Incoming>,
) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = match admit(shared, &request) {
        Err(refusal) => Err(refusal),
        Ok(()) => {
            is_known.store(true, Ordering::Relaxed);
            answer(shared, request).await
        }
    };
    match answered {
        Ok(reply) => {
            debug!(%method, path, status = reply.status().as_u16(), "answered");
            reply
        }
        Err(refusal) => {
            let status = refusal.status().as_u16();
            let hint = refusal.hint().map(|hint| format!("; Hint: {hint}")).unwrap_or_default();
            match refusal.is_loud() {
                true => warn!("{method} {path:.24} was answered {status}: {refusal}{hint}"),
                false => debug!("{method} {path:.24} was answered {status}: {refusal}{hint}"),
            }
            refuse(&refusal)
        }
    }
}

/// Lets in who names this host and shows the token.
fn admit<S: Store>(shared: &Shared<S>, request: &Request<Incoming>) -> Result<(), Refusal> {
    let headers = request.headers();
    let one = |name: HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    let host = one(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let wrong = [Some(host), request.uri().authority().map(|named| named.as_str())]
        .into_iter()
        .flatten()
        .find(|host| !is_here(host, &shared.names));
    if let Some(host) = wrong {
        let host = host.chars().take(100).collect();
        return Err(Refusal::Host { host });
    }
    match one(AUTHORIZATION) {
        Some(shown) if shared.token.is_shown_by(shown.as_bytes()) => Ok(()),
        _ => Err(Refusal::Token),
    }
}

/// Whether `host`, with or without a port, can only mean this machine: an IP address cannot be bound to another by a
/// name server, a name can, unless the owner said that it is his.
fn is_here(host: &str, names: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            name.parse::<std::net::Ipv4Addr>().is_ok()
                || name.eq_ignore_ascii_case("localhost")
                || names.iter().any(|own| own.eq_ignore_ascii_case(name))
        }
    }
}

async fn answer<S: Store>(
    shared: &Arc<Shared<S>>,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let place = Place::parse(request.uri().path()).ok_or(Refusal::Place)?;
    let method = request.method().clone();
    let is_get = method == Method::GET;
    match place {
        Place::Repository if method == Method::POST => {
            let query = request.uri().query().unwrap_or_default();
            // All that there is to make is made by the first file.
            query.split('&').any(|pair| pair == "create=true").then(done).ok_or(Refusal::NoCreate)
        }
        Place::Repository => Err(Refusal::Method { allowed: "POST" }),
        Place::List(folder) if is_get => list(shared, folder, request.headers()).await,
        Place::List(_) => Err(Refusal::Method { allowed: "GET" }),
        Place::Config | Place::File(..) if is_get || method == Method::HEAD => {
            let asked = request.headers().get(RANGE).filter(|_| is_get).cloned();
            match (place.object(), place) {
                (Some(object), _) => read_object(shared, object, is_get, asked).await,
                (None, Place::File(_, name)) => read_lock(shared, name, is_get, asked.as_ref()),
                (None, _) => Err(Refusal::Missing),
            }
        }
        Place::Config | Place::File(..) if method == Method::POST => {
            put(shared, place, request).await
        }
        Place::Config | Place::File(..) if method == Method::DELETE => delete(shared, place).await,
        Place::Config | Place::File(..) => {
            Err(Refusal::Method { allowed: "HEAD, GET, POST, DELETE" })
        }
    }
}

/// Lists a folder, in the version that is asked for.
async fn list<S: Store>(
    shared: &Shared<S>,
    folder: Folder,
    headers: &HeaderMap,
) -> Result<Reply, Refusal> {
    let files = match folder.kind() {
        Some(kind) => shared.store.list(kind).await?,
        None => shared.locks.list(),
    };
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wants_lengths = accepted.split(',').any(|each| each.trim() == LIST_2);
    let mut json = String::with_capacity(files.len() * if wants_lengths { 96 } else { 68 } + 2);
    let mut before = '[';
    for (name, length) in &files {
        // A name is hex and a length is digits: there is nothing to escape.
        let _ = match wants_lengths {
            true => write!(json, "{before}{{\"name\":\"{name}\",\"size\":{length}}}"),
            false => write!(json, "{before}\"{name}\""),
        };
        before = ',';
    }
    json.push_str(if files.is_empty() { "[]" } else { "]" });
    let mut reply = whole(StatusCode::OK, json.into());
    let kind = if wants_lengths { LIST_2 } else { LIST_1 };
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(reply)
}

/// Shows the length of an object, or streams it, or the part that is `asked` for.
async fn read_object<S: Store>(
    shared: &Arc<Shared<S>>,
    object: Object,
    is_get: bool,
    asked: Option<HeaderValue>,
) -> Result<Reply, Refusal> {
    let length = shared.store.length(object).await?.ok_or(Refusal::Missing)?;
    let (range, mut reply) = opened(length, asked.as_ref())?;
    if is_get && !range.is_empty() {
        let mut pieces = Box::pin(pieces(Arc::clone(shared), object, range));
        // Before the status is said, so that it can still be another.
        let first = pieces.next().await.transpose()?;
        let body = stream::iter(first).map(Ok).chain(pieces).map(move |piece| {
            piece.map(Frame::data).inspect_err(|error| {
                let hint = error.hint.as_deref().unwrap_or("restic asks again by itself");
                warn!("an answer was cut off while reading {object}: {error}; Hint: {hint}");
            })
        });
        *reply.body_mut() = StreamBody::new(body).boxed_unsync();
    }
    Ok(reply)
}

/// Reads a range of an object piece by piece, one ahead.
fn pieces<S: Store>(
    shared: Arc<Shared<S>>,
    object: Object,
    range: Range<u64>,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
    let step = shared.limits.piece_bytes.max(1);
    let count = (range.end - range.start).div_ceil(step);
    stream::iter(0..count)
        .map(move |number| {
            let store = Arc::clone(&shared.store);
            let start = range.start + number * step;
            let end = range.end.min(start + step);
            async move {
                let bytes = store.read(object, start..end).await?;
                if bytes.len() as u64 != end - start {
                    let what = format!(
                        "{object}: {} bytes from {start}, not {}",
                        bytes.len(),
                        end - start
                    );
                    return Err(StoreError { trouble: Trouble::Own, what, hint: None });
                }
                Ok(Bytes::from(bytes))
            }
        })
        .buffered(2)
}

fn read_lock<S: Store>(
    shared: &Shared<S>,
    name: Name,
    is_get: bool,
    asked: Option<&HeaderValue>,
) -> Result<Reply, Refusal> {
    let content = shared.locks.get(name).ok_or(Refusal::Missing)?;
    let (range, mut reply) = opened(content.len() as u64, asked)?;
    if is_get {
        // Both ends are within the content, which is in memory.
        let part = usize::try_from(range.start)
            .ok()
            .zip(usize::try_from(range.end).ok())
            .and_then(|(start, end)| content.get(start..end))
            .unwrap_or_default();
        *reply.body_mut() = full(part.to_vec().into());
    }
    Ok(reply)
}

/// Returns the part of a file of `length` bytes that is `asked` for, and the head of its answer.
fn opened(length: u64, asked: Option<&HeaderValue>) -> Result<(Range<u64>, Reply), Refusal> {
    let (status, range) = match asked {
        None => (StatusCode::OK, 0..length),
        Some(value) => {
            let range = value.to_str().ok().and_then(|value| range::parse(value, length));
            (StatusCode::PARTIAL_CONTENT, range.ok_or(Refusal::Range { length })?)
        }
    };
    let mut reply = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, OCTETS);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if asked.is_some() {
        let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        headers.extend(HeaderValue::try_from(text).ok().map(|text| (CONTENT_RANGE, text)));
    }
    Ok((range, reply))
}

/// Takes a file in: whole, checked, stored, and only then acknowledged.
async fn put<S: Store>(
    shared: &Arc<Shared<S>>,
    place: Place,
    request: Request<Incoming>,
) -> Result<Reply, Refusal> {
    let (content, sha256, room) = receive(shared, place, request.into_body()).await?;
    if let Place::File(_, name) = place
        && name != Name::from_bytes(sha256)
    {
        return Err(Refusal::Content);
    }
    let shared = Arc::clone(shared);
    // What was received whole is stored, whether its client still waits or not: it was half paid for already.
    let stored = tokio::spawn(async move {
        let stored = store(&shared, place, content).await;
        drop(room);
        stored
    });
    stored.await.map_err(|error| own(format!("a task failed: {error}")))??;
    Ok(done())
}

async fn store<S: Store>(
    shared: &Arc<Shared<S>>,
    place: Place,
    content: Vec<u8>,
) -> Result<(), Refusal> {
    let Some(object) = place.object() else {
        let Place::File(_, name) = place else { return Err(Refusal::Place) };
        let locks = Arc::clone(&shared.locks);
        return blocking(move || Ok(locks.put(name, content)?)).await;
    };
    let _turn = shared.turn(object).lock().await;
    let length = content.len() as u64;
    match (object, shared.store.length(object).await?) {
        (_, None) => Ok(shared.store.write(object, content).await?),
        // It has the same name and so the same content: this is a client that asks again. What cannot be had back would be
        // acknowledged for nothing, and is stored as if it were not there.
        (Object::Named(..), Some(there)) if there == length => {
            match shared.store.is_readable(object).await? {
                true => Ok(()),
                false => Ok(shared.store.write(object, content).await?),
            }
        }
        (Object::Named(..), Some(there)) => {
            Err(own(format!("{object} is there with {there} bytes, and not {length}")))
        }
        (Object::Config, Some(there)) => {
            let same = there == length && shared.store.read(object, 0..there).await? == content;
            if same { Ok(()) } else { Err(Refusal::Configured) }
        }
    }
}

/// Reads a body to its end, within limits. Returns its content, the SHA-256 of it, and the room it has.
async fn receive<S: Store>(
    shared: &Shared<S>,
    place: Place,
    mut body: Incoming,
) -> Result<(Vec<u8>, [u8; 32], OwnedSemaphorePermit), Refusal> {
    let limits = &shared.limits;
    let bytes_max = limits.body_bytes_max(place);
    let declared = body.size_hint().exact();
    if declared.is_some_and(|length| length > bytes_max) {
        return Err(Refusal::TooLong { bytes_max });
    }
    let length_max = declared.unwrap_or(bytes_max);
    let room = Arc::clone(&shared.room).acquire_many_owned(kibibytes(length_max).max(1));
    let room = match timeout(limits.upload_wait, room).await {
        Ok(Ok(room)) => room,
        Ok(Err(_)) | Err(_) => return Err(Refusal::Busy),
    };
    // A body of unknown length grows as it comes; one that says its length has that much.
    let mut content = Vec::with_capacity(usize::try_from(declared.unwrap_or(0)).unwrap_or(0));
    let mut hasher = Sha256::new();
    let seconds = length_max / limits.body_rate_min.max(1);
    let deadline = Instant::now() + limits.stall_timeout + std::time::Duration::from_secs(seconds);
    loop {
        let until = deadline.min(Instant::now() + limits.stall_timeout);
        let frame = match timeout_at(until, body.frame()).await {
            Err(_) => return Err(Refusal::Slow),
            Ok(None) => break,
            Ok(Some(Err(error))) => return Err(Refusal::Cut { why: error.to_string() }),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(bytes) = frame.into_data() else { continue };
        if content.len() as u64 + bytes.len() as u64 > bytes_max {
            return Err(Refusal::TooLong { bytes_max });
        }
        hasher.update(&bytes);
        content.extend_from_slice(&bytes);
    }
    Ok((content, hasher.finalize().into(), room))
}

async fn delete<S: Store>(shared: &Arc<Shared<S>>, place: Place) -> Result<Reply, Refusal> {
    let Some(object) = place.object() else {
        let Place::File(_, name) = place else { return Err(Refusal::Place) };
        let locks = Arc::clone(&shared.locks);
        let removed = blocking(move || Ok(locks.remove(name)?)).await?;
        return if removed { Ok(done()) } else { Err(Refusal::Missing) };
    };
    if shared.is_append_only {
        return Err(Refusal::AppendOnly);
    }
    let shared = Arc::clone(shared);
    // Like a write, to its end: half the hosts would keep, and be paid for, what nobody names.
    let removed = tokio::spawn(async move {
        let _turn = shared.turn(object).lock().await;
        if shared.store.length(object).await?.is_none() {
            return Err(Refusal::Missing);
        }
        Ok(shared.store.remove(object).await?)
    });
    removed.await.map_err(|error| own(format!("a task failed: {error}")))??;
    Ok(done())
}

/// Runs what waits for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(run)
        .await
        .unwrap_or_else(|error| Err(own(format!("a thread failed: {error}"))))
}

fn own(what: String) -> Refusal {
    Refusal::Store(StoreError { trouble: Trouble::Own, what, hint: None })
}

fn kibibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

fn full(bytes: Bytes) -> UnsyncBoxBody<Bytes, StoreError> {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn whole(status: StatusCode, bytes: Bytes) -> Reply {
    let mut reply = Response::new(full(bytes));
    *reply.status_mut() = status;
    reply
}

fn done() -> Reply {
    whole(StatusCode::OK, Bytes::new())
}

/// Says why a request is not done, and what to do about it.
fn refuse(refusal: &Refusal) -> Reply {
    let mut text = format!("{refusal}\n");
    if let Some(hint) = refusal.hint() {
        let _ = writeln!(text, "Hint: {hint}");
    }
    let mut reply = whole(refusal.status(), text.into());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    if refusal.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    match refusal {
        Refusal::Token => {
            let how = HeaderValue::from_static("Basic realm=\"fondaco\", charset=\"UTF-8\"");
            headers.insert(WWW_AUTHENTICATE, how);
        }
        Refusal::Method { allowed } => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Refusal::Range { length } => {
            let text = HeaderValue::try_from(format!("bytes */{length}"));
            headers.extend(text.ok().map(|text| (CONTENT_RANGE, text)));
        }
        Refusal::Busy => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        _ => {}
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_can_only_be_this_one() {
        let names = ["Backup.example".to_owned()];
        let table = [
            ("127.0.0.1:4435", true),
            ("127.0.0.1", true),
            ("[::1]:4435", true),
            ("[::1]", true),
            ("192.0.2.7:1", true),
            ("localhost:80", true),
            ("LOCALHOST", true),
            ("backup.example:4435", true),
            ("evil.example:4435", false),
            ("backup.example.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1:x", false),
            ("[::1", false),
            ("::1", false),
            ("", false),
            (":4435", false),
        ];
        for (host, expected) in table {
            assert_eq!(is_here(host, &names), expected, "{host}");
        }
    }
}
