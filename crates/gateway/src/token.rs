//! The secret that a client shows.

use data_encoding::{BASE64, HEXLOWER};
use std::{fmt, str::FromStr};
use subtle::ConstantTimeEq as _;

/// The longest `Authorization` header that is looked at.
const HEADER_LENGTH_MAX: usize = 512;

/// The secret that a client shows as the password of HTTP's basic authentication (RFC 7617), with any user.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Creates a token from 128 bits that nobody can guess.
    pub fn from_entropy(entropy: [u8; 16]) -> Self {
        Self(HEXLOWER.encode(&entropy))
    }

    /// Returns the text to be shown: 32 lowercase hex digits.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Returns whether the value of an `Authorization` header shows this token. How long that takes tells at most the
    /// length of what was shown.
    pub(crate) fn is_shown_by(&self, header: &[u8]) -> bool {
        let shown = password(header).unwrap_or_default();
        bool::from(shown.as_slice().ct_eq(self.0.as_bytes()))
    }
}

/// Returns the password in the value of an `Authorization` header.
fn password(header: &[u8]) -> Option<Vec<u8>> {
    if header.len() > HEADER_LENGTH_MAX {
        return None;
    }
    let (scheme, rest) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut pair = BASE64.decode(rest.trim_ascii()).ok()?;
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some(pair.split_off(colon + 1))
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The text is not 32 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is written as 32 lowercase hex digits")]
pub struct ParseTokenError;

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entropy = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseTokenError)?;
        entropy.try_into().map(Self::from_entropy).map_err(|_| ParseTokenError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn basic(pair: &str) -> String {
        format!("Basic {}", BASE64.encode(pair.as_bytes()))
    }

    #[test]
    fn headers_and_what_they_show() {
        let token = Token::from_entropy([0xab; 16]);
        let secret = token.secret();
        assert_eq!(secret, "ab".repeat(16));
        let table = [
            (basic(&format!("fondaco:{secret}")), true),
            (basic(&format!("anybody:{secret}")), true),
            (basic(&format!(":{secret}")), true),
            (basic(&format!("fondaco:{secret}")).replace("Basic", "bAsIC"), true),
            (basic(&format!("fondaco:{secret}0")), false),
            (basic(&format!("fondaco:{}", &secret[1..])), false),
            (basic(&format!("fondaco:{}", secret.to_uppercase())), false),
            (basic(&format!("fondaco:x:{secret}")), false),
            (basic("fondaco:"), false),
            (basic(secret), false),
            (format!("Bearer {secret}"), false),
            (secret.to_owned(), false),
            ("Basic ".to_owned(), false),
            ("Basic *".to_owned(), false),
            (String::new(), false),
            (basic(&format!("{}:{secret}", "x".repeat(600))), false),
        ];
        for (header, shown) in table {
            assert_eq!(token.is_shown_by(header.as_bytes()), shown, "{header}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    proptest! {
        #[test]
        fn a_token_is_read_as_written(entropy in any::<[u8; 16]>()) {
            let token = Token::from_entropy(entropy);
            let read: Token = token.secret().parse().unwrap();
            prop_assert_eq!(read.secret(), token.secret());
        }

        #[test]
        fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(!Token::from_entropy([1; 16]).is_shown_by(&header));
        }
    }
}
