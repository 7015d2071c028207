//! The time as this machine believes.

use std::time::{SystemTime, UNIX_EPOCH};

use fondaco_ports::Clock;
use fondaco_units::Timestamp;

/// The clock of the operating system. It may be wrong, and may go back.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_milliseconds(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
