//! A clock that stands until it is moved.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fondaco_ports::Clock;
use fondaco_units::{Duration, Timestamp};

/// A clock that stands until it is moved; its clones move with it.
#[derive(Clone, Debug, Default)]
pub struct SimClock(Arc<AtomicU64>);

impl SimClock {
    /// Creates a clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.milliseconds())))
    }

    /// Moves it forward.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(span.milliseconds(), Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_milliseconds(self.0.load(Ordering::Relaxed))
    }
}
