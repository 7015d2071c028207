mod spellings;

use super::*;
use ParseAmountError::{TooLarge, TooManyDecimals};
use proptest::prelude::*;
use spellings::{CENTS, Outcome};

const FINE_0: Outcome = Err(TooManyDecimals { decimals_max: 0 });
const FINE_12: Outcome = Err(TooManyDecimals { decimals_max: 12 });
const BIG: Outcome = Err(TooLarge);

/// Checks one line of a table for each text.
fn check(decimals: u8, table: &[(&str, Outcome)]) -> usize {
    let scale = Scale::new(decimals).unwrap();
    for (text, outcome) in table {
        assert_eq!(
            parse_amount(scale, text),
            outcome.map(Amount::new),
            "{text:?} at scale {decimals}"
        );
    }
    table.len()
}

const WHOLE: &[(&str, Outcome)] = &[
    ("0", Ok(0)),
    ("10", Ok(10)),
    ("10.0", Ok(10)),
    ("10.00", Ok(10)),
    ("10.5", FINE_0),
    ("10.01", FINE_0),
    ("0.1", FINE_0),
    ("1E1", Ok(10)),
    ("1.5E1", Ok(15)),
    ("1.5E0", FINE_0),
    ("15E-1", FINE_0),
    ("150E-1", Ok(15)),
    ("1.0E7", Ok(10_000_000)),
    ("18446744073709551615", Ok(u64::MAX)),
    ("18446744073709551615.0", Ok(u64::MAX)),
    ("18446744073709551615.000000000000", Ok(u64::MAX)),
    ("18446744073709551616", BIG),
    ("18446744073709551616.0", BIG),
    ("1.8446744073709551615E19", Ok(u64::MAX)),
    ("1E19", Ok(10_000_000_000_000_000_000)),
    ("1E20", BIG),
    ("9007199254740993", Ok(9_007_199_254_740_993)),
    ("9007199254740993.0", Ok(9_007_199_254_740_993)),
    ("9.007199254740993E15", Ok(9_007_199_254_740_993)),
];

const FINEST: &[(&str, Outcome)] = &[
    ("0.000000000001", Ok(1)),
    ("0.0000000000010", Ok(1)),
    ("0.0000000000001", FINE_12),
    ("1E-12", Ok(1)),
    ("1E-13", FINE_12),
    ("1.0E-12", Ok(1)),
    ("10E-13", Ok(1)),
    ("1", Ok(1_000_000_000_000)),
    ("18446744.073709551615", Ok(u64::MAX)),
    ("18446744.073709551616", BIG),
    ("1.8446744073709551615E7", Ok(u64::MAX)),
    ("18446745", BIG),
];

#[test]
fn spellings_of_amounts() {
    let lines = check(2, CENTS) + check(0, WHOLE) + check(12, FINEST);
    assert!(lines >= 200, "{lines}");
    let refused = [CENTS, WHOLE, FINEST].concat().iter().filter(|(_, it)| it.is_err()).count();
    assert!(refused >= 200, "{refused}");
}

/// In a literal document the same is read, but for what has an exponent.
#[test]
fn a_decimal_has_no_exponent() {
    let scale = Scale::new(2).unwrap();
    let mut refused = 0;
    for (text, outcome) in CENTS {
        let read = parse_plain_amount(scale, text);
        if text.contains(['e', 'E']) {
            assert_eq!(read, Err(ParseAmountError::NotDigits), "{text:?}");
            refused += u32::from(outcome.is_ok());
        } else {
            assert_eq!(read, outcome.map(Amount::new), "{text:?}");
        }
    }
    assert!(refused >= 20, "{refused}");
}

#[test]
fn no_spelling_is_in_the_table_twice() {
    let mut seen = std::collections::BTreeSet::new();
    for (text, _) in CENTS {
        assert!(seen.insert(text), "{text:?}");
    }
}

/// Ten to the power of `exponent`.
fn power(exponent: u32) -> u128 {
    10_u128.pow(exponent)
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".*", decimals in 0..=Scale::MAX) {
        let _ = parse_amount(Scale::new(decimals).unwrap(), &text);
    }

    #[test]
    fn near_numbers_are_read_or_refused(text in "[0-9]{0,22}[.eE+-]?[0-9]{0,22}[eE]?[+-]?[0-9]{0,4}", decimals in 0..=Scale::MAX) {
        let _ = parse_amount(Scale::new(decimals).unwrap(), &text);
    }

    #[test]
    fn what_is_written_is_read_again(units: u64, decimals in 0..=Scale::MAX, zeros in 0..4_usize) {
        let scale = Scale::new(decimals).unwrap();
        let mut text = scale.show(Amount::new(units)).to_string();
        if decimals > 0 {
            text.push_str(&"0".repeat(zeros));
        }
        prop_assert_eq!(parse_amount(scale, &text), Ok(Amount::new(units)));
    }

    /// The oracle counts in 128-bit integers and knows nothing of text.
    #[test]
    fn an_exponent_says_what_arithmetic_says(mantissa in 0..1_000_000_000_u64, exponent in -12..9_i32, decimals in 0..=Scale::MAX) {
        let scale = Scale::new(decimals).unwrap();
        let read = parse_amount(scale, &format!("{mantissa}E{exponent}"));
        let shift = exponent + i32::from(decimals);
        let distance = shift.unsigned_abs();
        let wanted = if shift >= 0 {
            u64::try_from(u128::from(mantissa) * power(distance)).map_err(|_| TooLarge)
        } else if u128::from(mantissa) % power(distance) == 0 {
            Ok(u64::try_from(u128::from(mantissa) / power(distance)).unwrap())
        } else {
            Err(TooManyDecimals { decimals_max: decimals })
        };
        prop_assert_eq!(read, wanted.map(Amount::new));
    }
}
