//! What is drawn at random.

use crate::AgentError;
use fondaco_lcp::RequestId;
use fondaco_ports::Clock;

/// Draws so many bytes.
pub fn random<const N: usize>() -> Result<[u8; N], AgentError> {
    let mut bytes = [0; N];
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
