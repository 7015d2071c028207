//! The names of commands.

use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use fondaco_units::Timestamp;
use std::{fmt, str::FromStr};

/// Names one command of one holder. A holder's ids *increase*: the issuer forgets its oldest answers in time, and from
/// then on takes no new command under an id that is not over those it has forgotten.
///
/// [`RequestId::at`] makes such ids without any memory; a counter that is saved before it is used serves as well.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

/// How many bits of an id are drawn at random by [`RequestId::at`].
const RANDOM_BITS: u32 = 80;

impl RequestId {
    /// Takes over 128 bits.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }

    /// Makes an id of 48 bits of milliseconds and 80 random bits, which sorts by time as a UUIDv7 does (RFC 9562,
    /// section 5.7). Two draws of one millisecond never meet; which of them is greater is chance.
    pub fn at(now: Timestamp, random: [u8; 10]) -> Self {
        let random = random.iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte));
        Self(u128::from(now.milliseconds()) << RANDOM_BITS | random)
    }

    /// Returns the bits.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for RequestId {
    /// Writes the one text form: `request:` and 32 lowercase hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request:{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

/// The text is not `request:` and 32 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is written `request:` and 32 lowercase hex digits")]
pub struct ParseRequestIdError;

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("request:").ok_or(ParseRequestIdError)?;
        let lowercase = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != 32 || !lowercase {
            return Err(ParseRequestIdError);
        }
        u128::from_str_radix(digits, 16).map(Self).map_err(|_| ParseRequestIdError)
    }
}

impl Encode for RequestId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for RequestId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u128::decode(input).map(Self)
    }
}
