//! Wait for a host that is busy, and not for one that is silent or full.

use crate::AgentError;
use fondaco_ports::market::Reason;
use fondaco_transport::TransportError;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a host may say nothing at all, to any read that waits for it, before the others are asked to make up for one.
/// A read that waits behind others of the same host is not late: to have it made up by k others would make all hosts later.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// How long one read may take at most before the others are asked, however busy its host is.
const PATIENCE_MAX: Duration = Duration::from_secs(30);

/// How long nothing may be heard of a host that is given a shard: three dials in vain, or a connection on which nothing comes and
/// one dial. A service that is started again is back by then.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Whether a host has not been heard of, which says no more than that it is not there.
pub(super) const fn is_unheard(error: &AgentError) -> bool {
    matches!(
        error,
        AgentError::Transport(
            TransportError::Unreachable { .. }
                | TransportError::Lost { .. }
                | TransportError::TimedOut { .. }
        )
    )
}

/// Whether a host has no room for what it was sent: another try may find some, but not for as long as a put waits.
pub(super) const fn is_full(error: &AgentError) -> bool {
    matches!(
        error,
        AgentError::Provider {
            reason: Reason::DiskFull
                | Reason::Reserve { .. }
                | Reason::OverSize { .. }
                | Reason::TooManyShards { .. },
            ..
        }
    )
}

/// Waits for a read while `answers` goes up at least once in [`PATIENCE`], and for [`PATIENCE_MAX`] at most.
pub(super) async fn in_time<T>(
    answers: impl Fn() -> u64,
    mut read: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let began = Instant::now();
    loop {
        let before = answers();
        match timeout(PATIENCE, read.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) if answers() == before || began.elapsed() >= PATIENCE_MAX => return None,
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::EntityId;
    use fondaco_units::Bytes;
    use std::cell::Cell;
    use std::pin::pin;
    use tokio::time::sleep;

    /// A busy host is waited for; one that says nothing, or keeps everybody waiting for ever, is not.
    #[tokio::test(start_paused = true)]
    async fn who_answers_others_is_waited_for() {
        // Milliseconds from one answer to the next, and for the read itself; whether it is waited for, and for how long.
        for (between, takes, expected, waited) in [
            (100, 500, true, 500),
            (700, 8000, true, 8000),
            (2000, 900, true, 900),
            (2000, 8000, false, 1000),
            (700, 90_000, false, 30_000),
        ] {
            let began = Instant::now();
            let answers = Cell::new(0);
            let others = async {
                loop {
                    sleep(Duration::from_millis(between)).await;
                    answers.set(answers.get() + 1);
                }
            };
            let mut read = pin!(sleep(Duration::from_millis(takes)));
            let done = tokio::select! {
                biased;
                () = others => None,
                done = in_time(|| answers.get(), read.as_mut()) => done,
            };
            assert_eq!(done.is_some(), expected, "{between} {takes}");
            assert_eq!(began.elapsed(), Duration::from_millis(waited), "{between} {takes}");
        }
    }

    /// One line for each: what a host refused with; whether another try within a minute is in vain.
    #[test]
    fn who_has_no_room_is_not_waited_for() {
        let (free, reserve) = (Bytes::new(1), Bytes::new(2));
        for (reason, full) in [
            (Reason::DiskFull, true),
            (Reason::Reserve { free, reserve }, true),
            (Reason::ReadOnly, false),
            (Reason::Busy, false),
            (Reason::Failed, false),
        ] {
            let error = AgentError::Provider { provider: EntityId::from_bytes([1; 32]), reason };
            assert_eq!(is_full(&error), full, "{error}");
        }
    }
}
