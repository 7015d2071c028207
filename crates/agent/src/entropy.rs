//! What is drawn at random.
//!
//! Under the feature `simulation`, which no program has, a thread can be given chance that can be repeated.

use crate::AgentError;
use fondaco_lcp::RequestId;
use fondaco_ports::Clock;

/// Draws so many bytes.
pub fn random<const N: usize>() -> Result<[u8; N], AgentError> {
    let mut bytes = [0; N];
    #[cfg(feature = "simulation")]
    if repeated::fill(&mut bytes) {
        return Ok(bytes);
    }
    getrandom::fill(&mut bytes).map_err(|error| AgentError::Invalid {
        what: format!("the system gives no randomness: {error}"),
        hint: "try again on a healthy machine".to_owned(),
    })?;
    Ok(bytes)
}

/// Names a new command: over all that were named before, as far as the clock does not go back.
pub fn request_id(clock: &dyn Clock) -> Result<RequestId, AgentError> {
    Ok(RequestId::at(clock.now(), random()?))
}

#[cfg(feature = "simulation")]
pub use repeated::repeat;

/// Chance that can be repeated, for a thread of a simulation.
#[cfg(feature = "simulation")]
mod repeated {
    use std::cell::RefCell;

    type Source = Box<dyn FnMut(&mut [u8])>;

    thread_local! {
        static SOURCE: RefCell<Option<Source>> = const { RefCell::new(None) };
    }

    /// Has this thread draw from `source`, or, given nothing, from the system again.
    pub fn repeat(source: Option<Source>) {
        SOURCE.with_borrow_mut(|known| *known = source);
    }

    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        SOURCE.with_borrow_mut(|source| source.as_mut().map(|source| source(bytes)).is_some())
    }
}
