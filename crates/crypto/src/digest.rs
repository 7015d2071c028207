//! BLAKE3 digests.

use crate::Domain;
use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use std::{fmt, str::FromStr};

/// 32 bytes of BLAKE3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest before the first one of a chain.
    pub const ZERO: Self = Self([0; 32]);

    /// Takes over 32 bytes that are a digest already.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes `body` plainly: the address of content (BLAKE3, default mode).
    pub fn of(body: &[u8]) -> Self {
        Self(blake3::hash(body).into())
    }

    /// Hashes `body` under `domain` (BLAKE3, key derivation mode).
    pub fn derive(domain: Domain, body: &[u8]) -> Self {
        Self(blake3::derive_key(domain.name(), body))
    }
}

/// Hashes under a domain, piece by piece.
#[derive(Clone)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// Begins a digest under `domain`.
    pub fn new(domain: Domain) -> Self {
        Self(blake3::Hasher::new_derive_key(domain.name()))
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// Returns the digest of all that was added.
    pub fn finish(&self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl fmt::Display for Digest {
    /// Writes 64 lowercase hex digits; with `{:.8}`, the first eight.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(64);
        for nibble in (0..64).take(digits) {
            let byte = self.0[nibble / 2];
            let value = if nibble % 2 == 0 { byte >> 4 } else { byte & 15 };
            write!(f, "{value:x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self:.16}…)")
    }
}

/// The text is not 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is written as 64 lowercase hex digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(ParseDigestError),
        };
        if digits.len() != 64 {
            return Err(ParseDigestError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl Encode for Digest {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Digest {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_one_text_form() {
        let digest = Digest::of(b"");
        // The BLAKE3 test vector for the empty input.
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(format!("{digest:.8}"), "af1349b9");
        assert!(text.to_uppercase().parse::<Digest>().is_err());
        assert!(text[1..].parse::<Digest>().is_err());
    }

    #[test]
    fn domains_part_digests() {
        let (one, other) = (Domain::new("fondaco test a"), Domain::new("fondaco test b"));
        assert_ne!(Digest::derive(one, b"x"), Digest::derive(other, b"x"));
        assert_eq!(Hasher::new(one).update(b"x").finish(), Digest::derive(one, b"x"));
    }
}
