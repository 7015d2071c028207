//! What every service does: say that it is ready, and stop when it is told to.

use crate::failure::Failure;
use crate::screen::{complain, say};
use fondaco_mdns::{Announcement, Role};
use fondaco_ports::Address;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Returns a token that is cancelled on Ctrl-C, on SIGTERM, or when the parent is gone.
pub(crate) fn stop_switch() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let failed = |error| Failure::new(format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let switch = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = parent_gone() => {}
        }
        switch.cancel();
    });
    Ok(stop)
}

/// Whether to [watch](parent_gone) standard input.
static STOP_WITH_STDIN: AtomicBool = AtomicBool::new(false);

/// Makes the end of standard input mean that the parent is gone.
pub(crate) fn stop_with_stdin() {
    STOP_WITH_STDIN.store(true, Ordering::Relaxed);
}

/// Waits until standard input ends; for ever, if it is not to be watched.
pub(crate) async fn parent_gone() {
    if !STOP_WITH_STDIN.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    let (ended, wait) = oneshot::channel::<()>();
    // A thread of its own, not the runtime's: a read that never returns would hold up its shutdown.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let _ = std::io::copy(&mut stdin, &mut std::io::sink());
        drop(ended);
    });
    let _ = wait.await;
}

/// Says that a service is ready and where: one line for people or one for scripts.
pub(crate) fn announce(service: &str, address: &Address, json: bool) {
    if json {
        let line = json!({ "event": "ready", "service": service, "address": address.to_string() });
        say(&line.to_string());
    } else {
        say(&format!("{service} is up; others reach it at\n  {address}"));
        say("Stop it with Ctrl-C.");
    }
}

/// Announces a service on the local network, if that is wanted. Where it does not work the service goes on without it.
pub(crate) fn announce_locally(
    wanted: bool,
    address: &Address,
    role: Role,
) -> Option<Announcement> {
    if !wanted {
        return None;
    }
    match fondaco_mdns::announce(address, role) {
        Ok(announcement) => Some(announcement),
        Err(error) => {
            complain(&format!("not announced: {error}\n Hint: {}", error.hint()));
            None
        }
    }
}

/// Says how a busy or forbidden socket can be got around.
pub(crate) fn listen_failure(
    error: fondaco_transport::TransportError,
    listen: SocketAddr,
) -> Failure {
    // The system's own refusal names the socket already.
    let says_where = matches!(error, fondaco_transport::TransportError::Bind { .. });
    let failure = Failure::from(error);
    if says_where { failure } else { failure.during(&format!("cannot listen on {listen}")) }
}
