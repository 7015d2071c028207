//! Keys as text, and which of them can be paid.

use ed25519_dalek::VerifyingKey;
use fondaco_crypto::EntityId;

/// Writes bytes in lowercase hex, as the documents of 2003 write a public key.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Reads a public key: 64 hex digits of either case, of a key that can sign.
pub fn parse_key(text: &str) -> Option<EntityId> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (value(pair[0])? << 4) | value(pair[1])?;
    }
    usable(key)
}

/// An entity, if its key is one: money sent to another would be lost, and what a weak key signs, anybody can sign.
pub(crate) fn usable(key: [u8; 32]) -> Option<EntityId> {
    let point = VerifyingKey::from_bytes(&key).ok()?;
    (!point.is_weak()).then_some(EntityId::from_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fondaco_crypto::SecretKey;

    #[test]
    fn keys_survive_their_text_form() {
        let entity = SecretKey::from_bytes(&[7; 32]).entity();
        let text = hex(entity.as_bytes());
        assert_eq!(parse_key(&text), Some(entity));
        assert_eq!(parse_key(&text.to_uppercase()), Some(entity));
        for bad in ["", "00", &text[1..], &format!("{text}0"), &format!("+{}", &text[1..])] {
            assert_eq!(parse_key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_sign_is_no_recipient() {
        // The neutral element, a point of order 8, and no point at all.
        let neutral = format!("01{}", "00".repeat(31));
        let order_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
        let no_point = format!("02{}", "00".repeat(31));
        for bad in [neutral.as_str(), order_8, no_point.as_str()] {
            assert_eq!(parse_key(bad), None, "{bad}");
        }
    }
}
