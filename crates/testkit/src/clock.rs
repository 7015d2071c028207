//! Clocks that stand until they are moved, or go with tokio's.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
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

/// A clock that goes with tokio's, which a simulation has paused; its clones go wrong with it.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    begin: Timestamp,
    origin: tokio::time::Instant,
    /// How many milliseconds it is ahead.
    skew: Arc<AtomicI64>,
}

impl VirtualClock {
    /// Creates a clock that says `begin` now. On a tokio runtime.
    pub fn new(begin: Timestamp) -> Self {
        Self { begin, origin: tokio::time::Instant::now(), skew: Arc::default() }
    }

    /// Returns another one, which may go wrong for itself.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { skew: Arc::default(), ..self.clone() }
    }

    /// Sets how many milliseconds it is ahead.
    pub fn set_skew(&self, milliseconds: i64) {
        self.skew.store(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let gone = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let right = self.begin.milliseconds().saturating_add(gone);
        Timestamp::from_milliseconds(right.saturating_add_signed(self.skew.load(Ordering::Relaxed)))
    }
}
