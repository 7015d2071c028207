//! The line that is a secret key: what a key file holds, in the clear or sealed.

use fondaco_crypto::{Digest, Domain};
use zeroize::Zeroizing;

const CHECK: Domain = Domain::new("fondaco 2026 key file v1");
const FRONT: &str = "fondaco-secret-key-v";
const VERSION: &str = "1:";

/// How long a line of this version is, its end included.
pub(super) const LENGTH: usize = FRONT.len() + VERSION.len() + 64 + 8 + 1;

/// Why bytes are no line of a secret key. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordError {
    /// It does not begin as one.
    Foreign,
    /// It is of another version.
    Newer,
    /// A character of it is wrong or missing.
    Damaged,
}

fn check(secret: &[u8; 32]) -> String {
    format!("{:.8}", Digest::derive(CHECK, secret))
}

pub(super) fn show(secret: &[u8; 32]) -> Zeroizing<String> {
    // Never longer than this: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    text.push_str(FRONT);
    text.push_str(VERSION);
    for byte in secret {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or_default());
        }
    }
    text.push_str(&check(secret));
    text.push('\n');
    text
}

pub(super) fn parse(text: &[u8]) -> Result<Zeroizing<[u8; 32]>, RecordError> {
    let Some(rest) = text.strip_prefix(FRONT.as_bytes()) else {
        let cut = FRONT.as_bytes().starts_with(text);
        return Err(if cut { RecordError::Damaged } else { RecordError::Foreign });
    };
    let Some(rest) = rest.strip_prefix(VERSION.as_bytes()) else {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_other = digits > 0 && rest.get(digits) == Some(&b':');
        return Err(if is_other { RecordError::Newer } else { RecordError::Damaged });
    };
    parse_digits(rest).ok_or(RecordError::Damaged)
}

fn parse_digits(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let (digits, stated) = text.strip_suffix(b"\n")?.split_at_checked(64)?;
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut secret = Zeroizing::new([0; 32]);
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    (check(&secret).as_bytes() == stated).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form that `docs/formats/store.md` shows.
    const TEXT: &str = concat!(
        "fondaco-secret-key-v1:",
        "0707070707070707070707070707070707070707070707070707070707070707",
        "1dda1716\n"
    );

    #[test]
    fn the_text_form_is_the_documented_one() {
        assert_eq!(&*show(&[7; 32]), TEXT);
        assert_eq!(TEXT.len(), LENGTH);
        assert_eq!(*parse(TEXT.as_bytes()).unwrap(), [7; 32]);
    }

    #[test]
    fn a_wrong_character_is_found() {
        for at in 0..TEXT.len() {
            for other in ["0", "a", "Z", "\n", " "] {
                let mut text = TEXT.to_owned();
                text.replace_range(at..=at, other);
                assert_eq!(parse(text.as_bytes()).is_ok(), text == TEXT, "{other:?} at {at}");
            }
            assert_eq!(parse(&TEXT.as_bytes()[..at]), Err(RecordError::Damaged), "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_line_of_this_version_is_named() {
        let table = [
            (format!("{TEXT}\n"), RecordError::Damaged),
            (TEXT.replace("v1:", "v2:"), RecordError::Newer),
            (TEXT.replace("v1:", "v10:"), RecordError::Newer),
            (TEXT.replace("v1:", "v:"), RecordError::Damaged),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned(), RecordError::Foreign),
            (TEXT.to_uppercase(), RecordError::Foreign),
        ];
        for (text, error) in table {
            assert_eq!(parse(text.as_bytes()), Err(error), "{text:?}");
        }
    }
}
