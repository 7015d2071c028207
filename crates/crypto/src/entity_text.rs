//! Entities as people write them.
//!
//! [`EntityId::from_str`](std::str::FromStr) reads the one text form and nothing else, as files and peers
//! must write it. What a person typed, or copied from a page of the protocol of 2003, is read here.

use crate::EntityId;
use bech32::primitives::decode::UncheckedHrpstring;
use bech32::{Bech32m, Fe32};

/// What the text form begins with.
const FRONT: &str = "fon1";
/// How long the text form is.
const TEXT_LENGTH: usize = 62;
/// How long the hex form is.
const HEX_LENGTH: usize = 64;

/// Why a text names no entity. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseEntityError {
    /// It is neither of the two forms.
    #[error("an entity is written `fon1` and 58 characters, or 64 hex digits")]
    Form,
    /// It begins with `fon1`, but characters were left out or added.
    #[error("an entity of the form `fon1…` has 62 characters, not {found}")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// It is hex, but digits were left out or added.
    #[error("an entity in hex has 64 digits, not {found}")]
    HexLength {
        /// How many it has.
        found: usize,
    },
    /// It has small and capital letters; whoever wrote it so has changed some of them.
    #[error("an entity of the form `fon1…` is written in small letters or in capitals, not both")]
    MixedCase,
    /// A character is none of bech32's.
    #[error("character {at} of an entity cannot be `{found}`")]
    Character {
        /// Which, counted from 1.
        at: usize,
        /// What it is.
        found: char,
    },
    /// The checksum does not hold.
    #[error("the checksum of this entity does not hold: a character of it is wrong")]
    Checksum,
    /// The 32 bytes are no Ed25519 public key, or one that anybody can sign for.
    #[error("these 32 bytes are no usable public key")]
    NoKey,
}

impl ParseEntityError {
    /// Returns whether the same text can be read later: never.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Form
            | Self::Length { .. }
            | Self::HexLength { .. }
            | Self::MixedCase
            | Self::Character { .. }
            | Self::Checksum
            | Self::NoKey => false,
        }
    }
}

/// Reads an entity as a person writes it: `fon1…` in small letters or in capitals (QR codes have
/// those), or the public key as 64 hex digits, as the protocol of 2003 writes it. White space
/// around it is let pass.
///
/// Hex has no checksum. All that can be told is whether it is a key at all: half of all mistyped ones are not.
///
/// # Errors
///
/// It is neither form, or no key.
///
/// ```
/// use fondaco_crypto::{SecretKey, parse_entity};
/// let entity = SecretKey::from_bytes(&[7; 32]).entity();
/// assert_eq!(parse_entity(&entity.to_string()), Ok(entity));
/// assert_eq!(parse_entity(&entity.to_hex().to_uppercase()), Ok(entity));
/// ```
pub fn parse_entity(text: &str) -> Result<EntityId, ParseEntityError> {
    let text = text.trim();
    let id = if text.get(..FRONT.len()).is_some_and(|front| front.eq_ignore_ascii_case(FRONT)) {
        parse_bech32(text)?
    } else {
        parse_hex(text)?
    };
    if id.is_key() { Ok(id) } else { Err(ParseEntityError::NoKey) }
}

fn parse_bech32(text: &str) -> Result<EntityId, ParseEntityError> {
    let found = text.chars().count();
    if found != TEXT_LENGTH {
        return Err(ParseEntityError::Length { found });
    }
    let has = |of: fn(&u8) -> bool| text.as_bytes().iter().any(of);
    if has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) {
        return Err(ParseEntityError::MixedCase);
    }
    for (index, character) in text.chars().enumerate().skip(FRONT.len()) {
        if Fe32::from_char(character).is_err() {
            return Err(ParseEntityError::Character { at: index + 1, found: character });
        }
    }
    let text = text.to_ascii_lowercase();
    let whole = UncheckedHrpstring::new(&text).map_err(|_| ParseEntityError::Form)?;
    whole.validate_checksum::<Bech32m>().map_err(|_| ParseEntityError::Checksum)?;
    // Only padding that no writer makes is left to refuse.
    text.parse().map_err(|_| ParseEntityError::Form)
}

fn parse_hex(text: &str) -> Result<EntityId, ParseEntityError> {
    // Short words are names of something else, and no entity with digits left out.
    if text.len() < 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ParseEntityError::Form);
    }
    if text.len() != HEX_LENGTH {
        return Err(ParseEntityError::HexLength { found: text.len() });
    }
    let digest: crate::Digest =
        text.to_ascii_lowercase().parse().map_err(|_| ParseEntityError::Form)?;
    Ok(EntityId::from_bytes(*digest.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SecretKey;
    use proptest::prelude::*;

    #[test]
    fn both_forms_are_read_and_mistakes_are_named() {
        let id = SecretKey::from_bytes(&[7; 32]).entity();
        let (text, hex) = (id.to_string(), id.to_hex());
        let mixed = format!("{}{}", &text[..30], text[30..].to_uppercase());
        let (last, other) = (&text[61..], if text.ends_with('q') { "p" } else { "q" });
        let wrong = format!("{}{other}", text.strip_suffix(last).unwrap());
        // y = 2 is on no point of the curve; y = 1 is the neutral one, which is weak.
        let (none, weak) = (format!("02{}", "00".repeat(31)), format!("01{}", "00".repeat(31)));
        let unusable = EntityId::from_bytes([0; 32]).to_string();
        use ParseEntityError as E;
        let table = [
            (text.clone(), Ok(id)),
            (text.to_uppercase(), Ok(id)),
            (format!(" {text}\n"), Ok(id)),
            (hex.clone(), Ok(id)),
            (hex.to_uppercase(), Ok(id)),
            (format!("{}{}", &hex[..30], hex[30..].to_uppercase()), Ok(id)),
            (String::new(), Err(E::Form)),
            ("claire".to_owned(), Err(E::Form)),
            ("CLR".to_owned(), Err(E::Form)),
            ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned(), Err(E::Form)),
            ("fon1".to_owned(), Err(E::Length { found: 4 })),
            (text[..61].to_owned(), Err(E::Length { found: 61 })),
            (format!("{text}q"), Err(E::Length { found: 63 })),
            (hex[..63].to_owned(), Err(E::HexLength { found: 63 })),
            (format!("{hex}0"), Err(E::HexLength { found: 65 })),
            (format!("0x{hex}"), Err(E::Form)),
            (mixed, Err(E::MixedCase)),
            (format!("fon1b{}", &text[5..]), Err(E::Character { at: 5, found: 'b' })),
            (format!("fon1é{}", &text[5..]), Err(E::Character { at: 5, found: 'é' })),
            (wrong, Err(E::Checksum)),
            (none, Err(E::NoKey)),
            (weak, Err(E::NoKey)),
            (unusable, Err(E::NoKey)),
        ];
        for (text, outcome) in table {
            assert_eq!(parse_entity(&text), outcome, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_entity_or_refused(text in ".*") {
            let _ = parse_entity(&text);
        }

        #[test]
        fn every_key_is_read_in_both_forms(secret: [u8; 32]) {
            let id = SecretKey::from_bytes(&secret).entity();
            prop_assert_eq!(parse_entity(&id.to_string()), Ok(id));
            prop_assert_eq!(parse_entity(&id.to_hex()), Ok(id));
        }
    }
}
