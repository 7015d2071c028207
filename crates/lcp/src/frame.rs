//! Messages in the body of a frame.

use crate::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Request, Response, VERSION};
use fondaco_codec::{Decode, DecodeError, Encode, Reader};

/// Why a frame body is no message. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is longer than such a message can be; nothing of it was read.
    #[error("the frame is of {length} bytes, of {length_max} at most")]
    TooLong {
        /// Its length.
        length: usize,
        /// The most.
        length_max: usize,
    },
    /// It is in another version. To a request, answer [`Refusal::Version`](crate::Refusal::Version).
    #[error("the frame is in version {found}; this is version {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// It is no encoding.
    #[error("the frame is no message: {error}")]
    Decode {
        /// Where, and why not.
        error: DecodeError,
    },
}

impl FrameError {
    /// Returns whether the same bytes, read again, can succeed: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::TooLong { .. } | Self::Version { .. } | Self::Decode { .. } => false,
        }
    }
}

impl Request {
    /// Returns the frame body: the version and the encoding.
    pub fn to_frame(&self) -> Vec<u8> {
        to_frame(self)
    }

    /// Reads a frame body.
    ///
    /// # Errors
    ///
    /// It is too long, of another version, or no request.
    pub fn from_frame(body: &[u8]) -> Result<Self, FrameError> {
        from_frame(body, REQUEST_BYTES_MAX)
    }
}

impl Response {
    /// Returns the frame body: the version and the encoding.
    pub fn to_frame(&self) -> Vec<u8> {
        to_frame(self)
    }

    /// Reads a frame body.
    ///
    /// # Errors
    ///
    /// It is too long, of another version, or no response.
    pub fn from_frame(body: &[u8]) -> Result<Self, FrameError> {
        from_frame(body, RESPONSE_BYTES_MAX)
    }
}

fn to_frame(message: &impl Encode) -> Vec<u8> {
    let mut body = vec![VERSION];
    message.encode(&mut body);
    body
}

fn from_frame<T: Decode>(body: &[u8], length_max: usize) -> Result<T, FrameError> {
    if body.len() > length_max {
        return Err(FrameError::TooLong { length: body.len(), length_max });
    }
    let mut input = Reader::new(body);
    let decode = |error| FrameError::Decode { error };
    match u8::decode(&mut input).map_err(decode)? {
        VERSION => {
            let message = T::decode(&mut input).map_err(decode)?;
            input.finish().map_err(decode)?;
            Ok(message)
        }
        found => Err(FrameError::Version { found }),
    }
}
