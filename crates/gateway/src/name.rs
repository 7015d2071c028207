//! The names of files in a repository.

use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// Names a file of a repository: the SHA-256 of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; 32]);

impl Name {
    /// Creates the name of a content with this SHA-256.
    pub const fn from_bytes(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// Returns the SHA-256.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the name of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
}

impl fmt::Display for Name {
    /// Writes the one text form: 64 lowercase hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// The text is not 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a file is named by 64 lowercase hex digits")]
pub struct ParseNameError;

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut sha256 = [0; 32];
        let length = data_encoding::HEXLOWER.decode_len(text.len()).map_err(|_| ParseNameError)?;
        if length != sha256.len() {
            return Err(ParseNameError);
        }
        data_encoding::HEXLOWER
            .decode_mut(text.as_bytes(), &mut sha256)
            .map_err(|_| ParseNameError)?;
        Ok(Self(sha256))
    }
}
