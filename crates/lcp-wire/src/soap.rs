//! SOAP 1.1 envelopes of the protocol of 2003: requests read with hard limits, answers written to the byte.
//!
//! No I/O here. The machine in one line:
//!
//! ```text
//! bytes ─► xml (limits, no DTD, no entities) ─► envelope (SOAP) ─► request (LCP) ─► Question ─► … ─► answer, fault
//! ```

mod answer;
mod envelope;
mod fault;
mod reply;
mod request;
mod xml;

pub use answer::answer;
pub use fault::{FaultClass, Refused, fault};
pub use reply::{REPLY_BYTES_MAX, Reply, Unreadable, read_reply};
pub use request::{Form, Operation, Question, WAIT_MAX, read, write};
pub use xml::{ATTRIBUTES_MAX, ATTRIBUTES_PER_ELEMENT_MAX, DEPTH_MAX, ELEMENTS_MAX, Forbidden};

#[cfg(test)]
pub(crate) use xml::{Document, Limits};

/// The longest request.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The namespace of the protocol.
pub const LCP_NAMESPACE: &str = "http://lightweightcurrency.org";
/// The namespace of the detail of our faults.
pub const FAULT_NAMESPACE: &str = "http://lightweightcurrency.org/faults";
/// The namespace of SOAP 1.1 envelopes.
pub const ENVELOPE_NAMESPACE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The namespace and name of the SOAP 1.1 encoding.
pub const ENCODING_NAMESPACE: &str = "http://schemas.xmlsoap.org/soap/encoding/";
/// The namespace of attributes such as `xsi:type`.
pub const INSTANCE_NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema-instance";

#[cfg(test)]
mod tests;
