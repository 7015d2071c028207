//! The figures over plain HTTP, for Prometheus.

use crate::{METRICS_CONTENT_TYPE, Metrics};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Bytes, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// The most connections at once.
const CONNECTIONS_MAX: usize = 16;

/// How long the head of a request may take, and a whole connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// A socket that shows the figures of an issuer to whoever asks for `/metrics`.
#[derive(Debug)]
pub struct MetricsPage {
    listener: TcpListener,
    metrics: Metrics,
}

impl MetricsPage {
    /// Takes the socket.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    pub async fn bind(at: SocketAddr, metrics: Metrics) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(at).await?, metrics })
    }

    /// Returns where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers until `stop`.
    pub async fn serve(self, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (tcp, _) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "the figures cannot be asked for");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
            let metrics = self.metrics.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let response = respond(&metrics, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .max_buf_size(16 << 10);
                let served = http.serve_connection(TokioIo::new(tcp), answer);
                if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, served).await {
                    debug!(%error, "a reader of figures went");
                }
                drop(place);
            });
        }
    }
}

fn respond<B>(metrics: &Metrics, request: &Request<B>) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, METRICS_CONTENT_TYPE, metrics.text())
        }
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", String::new()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "The figures are at /metrics.\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
