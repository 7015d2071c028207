//! Amounts as toolkits of 2003 write an `xsd:double`: read exactly, or refused.
//!
//! `fondaco_units::Scale::parse` reads one spelling of an amount. SOAP toolkits send what their language makes of a
//! double: `10.0` for a currency without decimals, `1.0E7` from Java, `1e+21` from JavaScript. Each of these is one
//! exact decimal, and is read as that; nothing is rounded, and no float is involved. In a literal document an amount is an
//! `xsd:decimal`, which has no exponent (XML Schema part 2, section 3.2.3).
//!
//! ```text
//! amount   = mantissa [ ("e" | "E") [ "+" | "-" ] digit [ digit ] ]
//! mantissa = whole [ "." digit+ ]              at most 20 digits where there is an exponent
//! whole    = "0" | nonzero digit*              so that no number has two spellings by zeros in front
//! ```

use fondaco_units::{Amount, ParseAmountError, Scale};

/// The longest text that is read: 20 digits, a point, 12 decimals of the finest scale, and room for zeros.
pub const AMOUNT_TEXT_MAX: usize = 48;

/// The most digits before an exponent, so that the digits are at least a count of something.
const MANTISSA_DIGITS_MAX: usize = 20;

/// Reads `text` as an amount of a currency of `scale`, exactly.
///
/// # Errors
///
/// See [`ParseAmountError`]: what is no number, what has decimals (other than zeros) finer than `scale`, what does
/// not fit.
///
/// ```
/// use fondaco_lcp_wire::parse_amount;
/// use fondaco_units::{Amount, Scale};
/// let cents = Scale::new(2).unwrap();
/// assert_eq!(parse_amount(cents, "10.0"), Ok(Amount::new(1000)));
/// assert_eq!(parse_amount(cents, "1.0E7"), Ok(Amount::new(1_000_000_000)));
/// assert!(parse_amount(cents, "0.001").is_err());
/// ```
pub fn parse_amount(scale: Scale, text: &str) -> Result<Amount, ParseAmountError> {
    scale.parse(&plain(text).ok_or(ParseAmountError::NotDigits)?)
}

/// Reads `text` as an amount of a currency of `scale`, exactly, where the schema says `xsd:decimal`: without exponent.
///
/// # Errors
///
/// As [`parse_amount`]; with an exponent it is no number.
pub fn parse_plain_amount(scale: Scale, text: &str) -> Result<Amount, ParseAmountError> {
    if text.contains(['e', 'E']) {
        return Err(ParseAmountError::NotDigits);
    }
    parse_amount(scale, text)
}

/// Writes the number of `text` without exponent and without zeros at the end; nothing when it is no number.
fn plain(text: &str) -> Option<String> {
    if text.len() > AMOUNT_TEXT_MAX {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, None),
        Some((mantissa, exponent)) => (mantissa, Some(read_exponent(exponent)?)),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        None => (mantissa, ""),
        Some((_, "")) => return None,
        Some(parts) => parts,
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let zeros_in_front = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || zeros_in_front || !digits(whole) || !digits(fraction) {
        return None;
    }
    if exponent.is_some() && whole.len() + fraction.len() > MANTISSA_DIGITS_MAX {
        return None;
    }
    Some(shift(whole, fraction, exponent.unwrap_or(0)))
}

/// Reads one or two digits with an optional sign.
fn read_exponent(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if !matches!(digits.len(), 1 | 2) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i32>().ok().map(|exponent| sign * exponent)
}

/// Moves the point of `whole.fraction` by `exponent` places to the right, and drops zeros that say nothing.
fn shift(whole: &str, fraction: &str, exponent: i32) -> String {
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    // Both terms are far below the limits: a text is short, and an exponent has two digits.
    let point = i32::try_from(whole.len()).unwrap_or(i32::MAX).saturating_add(exponent);
    let digit = |place: i32| {
        let digit = usize::try_from(place).ok().and_then(|place| all.get(place));
        char::from(digit.copied().unwrap_or(b'0'))
    };
    let end = i32::try_from(all.len()).unwrap_or(i32::MAX);
    let whole: String = (0..point.max(0)).map(digit).collect();
    let fraction: String = (point.min(0)..end).filter(|place| *place >= point).map(digit).collect();
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests;
