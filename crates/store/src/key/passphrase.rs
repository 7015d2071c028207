//! What a person knows and a thief of the disk does not.

use age::secrecy::{ExposeSecret as _, SecretString};
use std::fmt;

/// A passphrase. Wiped when dropped; shown by no formatter.
#[derive(Clone)]
pub struct Passphrase(SecretString);

/// Why a text is no passphrase. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// There is nothing to guess.
    #[error("a passphrase cannot be empty")]
    Empty,
    /// It is too long to have been meant.
    #[error("a passphrase has at most {} bytes", Passphrase::BYTES_MAX)]
    TooLong,
    /// It has a control character, such as the end of a line, which could not be typed again.
    #[error("a passphrase is one line, without control characters")]
    Control,
}

impl PassphraseError {
    /// Returns whether the same text can be a passphrase later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Empty | Self::TooLong | Self::Control => false,
        }
    }
}

impl Passphrase {
    /// The most bytes of one.
    pub const BYTES_MAX: usize = 1024;

    /// Takes over a text, byte for byte. The caller's copy is the caller's to wipe.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or has control characters.
    pub fn new(text: &str) -> Result<Self, PassphraseError> {
        if text.is_empty() {
            Err(PassphraseError::Empty)
        } else if text.len() > Self::BYTES_MAX {
            Err(PassphraseError::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(PassphraseError::Control)
        } else {
            Ok(Self(SecretString::from(text)))
        }
    }

    /// Returns whether it is short enough to be guessed: fewer than 12 characters.
    pub fn is_short(&self) -> bool {
        self.0.expose_secret().chars().count() < 12
    }

    /// Returns whether the two are the same text. For a person who types one twice, not against guessing.
    pub fn is(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }

    pub(super) fn secret(&self) -> SecretString {
        self.0.clone()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_typed_again_is_refused() {
        let long = "x".repeat(Passphrase::BYTES_MAX);
        let table = [
            ("correct horse battery staple", Ok(())),
            (" ", Ok(())),
            ("ключ", Ok(())),
            (long.as_str(), Ok(())),
            ("", Err(PassphraseError::Empty)),
            (&format!("{long}x"), Err(PassphraseError::TooLong)),
            ("one\ntwo", Err(PassphraseError::Control)),
            ("one\0", Err(PassphraseError::Control)),
        ];
        for (text, outcome) in table {
            assert_eq!(Passphrase::new(text).map(drop), outcome, "{text:?}");
        }
        let shown = format!("{:?}", Passphrase::new("horse").unwrap());
        assert!(!shown.contains("horse"));
    }

    #[test]
    fn passphrases_are_wiped_by_type() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&Passphrase::new("horse").unwrap().0);
    }
}
