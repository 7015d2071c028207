//! The endpoints from which a command dials, and how it takes leave of whom it dialled.
//!
//! A peer that is not told that a connection ended keeps it until it has been silent for long, and one key has only so
//! many at a peer: whoever runs one short command after the other would soon be told that it is busy. So a command
//! says goodbye on all of them before its process ends.

use crate::failure::Failure;
use fondaco_crypto::SecretKey;
use fondaco_transport::Endpoint;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the last words may take. They are sent at once; what is waited for is that they were heard.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(500);

/// Those that were bound and may be in use.
static BOUND: Mutex<Vec<Endpoint>> = Mutex::new(Vec::new());

fn bound() -> std::sync::MutexGuard<'static, Vec<Endpoint>> {
    BOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Binds an endpoint that only dials. [`leave`] closes it, or before that the next call once nobody else has it: a
/// command that goes on for days keeps no socket that it does not need.
pub(crate) async fn bind(key: &SecretKey) -> Result<Endpoint, Failure> {
    let endpoint = Endpoint::bind(key, None, &[]).await?;
    let unused: Vec<_> = {
        let mut bound = bound();
        let unused = bound.extract_if(.., |endpoint| !endpoint.is_shared()).collect();
        bound.push(endpoint.clone());
        unused
    };
    for endpoint in unused {
        tokio::spawn(async move { endpoint.close().await });
    }
    Ok(endpoint)
}

/// Closes every connection that was dialled from here, and tells the peers.
pub(crate) async fn leave() {
    let mut leaving: JoinSet<()> = std::mem::take(&mut *bound())
        .into_iter()
        .map(|endpoint| async move { endpoint.close().await })
        .collect();
    // A peer that is gone hears nothing; it is not waited for.
    let _ =
        tokio::time::timeout(LEAVE_TIMEOUT, async { while leaving.join_next().await.is_some() {} })
            .await;
}
