//! Tell a host that is slow from one that is gone: the slow one still acknowledges what it is sent.
//!
//! A connection whose peer died is lost after some time, but not soon enough for who waits to store something. A host that is
//! busy, or far behind a slow line, answers late; but its datagrams come, and so it is waited for as before.

use super::Session;
use crate::AgentError;
use fondaco_transport::{Connection, TransportError};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often is looked whether anything has come.
const LOOK: Duration = Duration::from_secs(1);

/// How many looks in a row may find nothing. A connection that nobody uses has a sign of life every five seconds. Looks are
/// counted, and not time: a process that was stopped for a while has heard nothing by its own fault.
const LOOKS_MAX: u32 = 10;

/// When a host was heard of last.
#[derive(Debug, Default)]
pub(super) struct Heard(Mutex<Option<Instant>>);

impl Heard {
    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Session {
    /// Returns when the host was heard of last by this process, if ever.
    pub(crate) fn heard(&self) -> Option<Instant> {
        *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` over a connection for as long as anything comes over it.
    ///
    /// # Errors
    ///
    /// Of the work; and that the connection is lost.
    pub(super) async fn while_heard<T>(
        &self,
        connection: Option<Connection>,
        work: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        let Some(connection) = connection else { return work.await };
        let done = while_heard(|| connection.received(), || self.heard.now(), work).await;
        if matches!(done, Some(Ok(_))) {
            self.heard.now();
        }
        done.unwrap_or_else(|| {
            let detail = format!("nothing came over it for {LOOKS_MAX} s");
            Err(TransportError::Lost { peer: self.provider(), detail }.into())
        })
    }
}

/// Waits for `work` while `received` goes up, and tells `heard` when it does; nothing if it does not for too long. Where it does
/// not count, the work alone says how long it takes.
async fn while_heard<T>(
    received: impl Fn() -> Option<u64>,
    heard: impl Fn(),
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let Some(mut before) = received() else { return Some(work.await) };
    let mut in_vain = 0;
    loop {
        if let Ok(done) = timeout(LOOK, work.as_mut()).await {
            return Some(done);
        }
        let now = received().unwrap_or(before);
        if now == before {
            in_vain += 1;
        } else {
            (before, in_vain) = (now, 0);
            heard();
        }
        if in_vain >= LOOKS_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::sleep;

    /// Who acknowledges now and then is waited for, however slow the work is; who sends nothing is not.
    #[tokio::test(start_paused = true)]
    async fn who_is_slow_is_waited_for_and_who_is_gone_is_not() {
        // Milliseconds from one datagram to the next, and for the work; whether it is done, and after how long.
        for (between, takes, expected, waited) in [
            (5_000, 500, true, 500),
            (5_000, 600_000, true, 600_000),
            (9_900, 600_000, true, 600_000),
            (60_000, 9_000, true, 9_000),
            (60_000, 600_000, false, 10_000),
        ] {
            let (began, datagrams, heard) = (Instant::now(), Cell::new(0), Cell::new(0));
            let peer = async {
                loop {
                    sleep(Duration::from_millis(between)).await;
                    datagrams.set(datagrams.get() + 1);
                }
            };
            let work = sleep(Duration::from_millis(takes));
            let hears = || heard.set(heard.get() + 1);
            let done = tokio::select! {
                biased;
                () = peer => None,
                done = while_heard(|| Some(datagrams.get()), hears, work) => done,
            };
            assert_eq!(done.is_some(), expected, "{between} {takes}");
            assert_eq!(began.elapsed(), Duration::from_millis(waited), "{between} {takes}");
            assert_eq!(heard.get() > 0, waited > between, "{between} {takes}");
        }
        // In memory nothing is counted.
        let work = sleep(Duration::from_secs(3600));
        assert!(while_heard(|| None, || (), work).await.is_some());
    }
}
