use super::*;
use ParseAmountError::{NotDigits, TooLarge, TooManyDecimals};
use proptest::prelude::*;

/// What becomes of a text: units, or why not.
type Outcome = Result<u64, ParseAmountError>;

const FINE_0: Outcome = Err(TooManyDecimals { decimals_max: 0 });
const FINE_2: Outcome = Err(TooManyDecimals { decimals_max: 2 });
const FINE_12: Outcome = Err(TooManyDecimals { decimals_max: 12 });
const NO: Outcome = Err(NotDigits);
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

const CENTS: &[(&str, Outcome)] = &[
    // Digits.
    ("0", Ok(0)),
    ("1", Ok(100)),
    ("9", Ok(900)),
    ("10", Ok(1000)),
    ("100", Ok(10_000)),
    ("3398", Ok(339_800)),
    ("1000000", Ok(100_000_000)),
    ("184467440737095516", Ok(18_446_744_073_709_551_600)),
    ("184467440737095517", BIG),
    ("18446744073709551615", BIG),
    ("99999999999999999999", BIG),
    ("999999999999999999999999999999999999999999999999", BIG),
    ("9999999999999999999999999999999999999999999999999", NO),
    // Decimals.
    ("0.0", Ok(0)),
    ("0.00", Ok(0)),
    ("0.000", Ok(0)),
    ("0.01", Ok(1)),
    ("0.1", Ok(10)),
    ("0.10", Ok(10)),
    ("0.100000", Ok(10)),
    ("0.05", Ok(5)),
    ("1.2", Ok(120)),
    ("1.20", Ok(120)),
    ("1.200", Ok(120)),
    ("1.2000000000000000", Ok(120)),
    ("101.2", Ok(10_120)),
    ("10.0", Ok(1000)),
    ("100.0", Ok(10_000)),
    ("100.00", Ok(10_000)),
    ("12.34", Ok(1234)),
    ("12.340", Ok(1234)),
    ("12.345", FINE_2),
    ("0.001", FINE_2),
    ("0.009", FINE_2),
    ("0.0000000000001", FINE_2),
    ("1.005", FINE_2),
    ("1.0000000000000002", FINE_2),
    ("0.30000000000000004", FINE_2),
    ("184467440737095516.15", Ok(u64::MAX)),
    ("184467440737095516.150", Ok(u64::MAX)),
    ("184467440737095516.16", BIG),
    ("184467440737095516.155", FINE_2),
    // Points that are not between digits.
    (".", NO),
    (".5", NO),
    (".0", NO),
    ("1.", NO),
    ("0.", NO),
    ("1..0", NO),
    ("1.0.0", NO),
    ("1.2.3", NO),
    ("..", NO),
    // Zeros in front.
    ("00", NO),
    ("01", NO),
    ("007", NO),
    ("00.5", NO),
    ("0010", NO),
    ("000000000000000000000000001", NO),
    // Exponents that are exact.
    ("1E0", Ok(100)),
    ("1E1", Ok(1000)),
    ("1e1", Ok(1000)),
    ("1E+1", Ok(1000)),
    ("1e+1", Ok(1000)),
    ("1E01", Ok(1000)),
    ("1E00", Ok(100)),
    ("1.0E1", Ok(1000)),
    ("1.0E7", Ok(1_000_000_000)),
    ("1.23456789E7", Ok(1_234_567_890)),
    ("1.2345678912E7", FINE_2),
    ("1.2345678912E8", Ok(12_345_678_912)),
    ("1e3", Ok(100_000)),
    ("1.5e3", Ok(150_000)),
    ("1E-1", Ok(10)),
    ("1E-2", Ok(1)),
    ("1.0E-2", Ok(1)),
    ("1E-3", FINE_2),
    ("10E-3", Ok(1)),
    ("100E-4", Ok(1)),
    ("1000E-5", Ok(1)),
    ("5.0E-4", FINE_2),
    ("50.0E-4", FINE_2),
    ("500.0E-4", Ok(5)),
    ("0E5", Ok(0)),
    ("0e99", Ok(0)),
    ("0E-99", Ok(0)),
    ("0.0E0", Ok(0)),
    ("0.00E9", Ok(0)),
    ("1E17", Ok(10_000_000_000_000_000_000)),
    ("1E18", BIG),
    ("1E99", BIG),
    ("1e+21", BIG),
    ("1.8446744073709551615E17", Ok(u64::MAX)),
    ("1.8446744073709551616E17", BIG),
    ("1.8446744073709551615E16", FINE_2),
    ("12345678901234567890E-2", Ok(12_345_678_901_234_567_890)),
    ("12345678901234567890E-3", Ok(1_234_567_890_123_456_789)),
    ("12345678901234567891E-3", FINE_2),
    ("0.1E1", Ok(100)),
    ("0.01E2", Ok(100)),
    ("0.000000000000000001E18", Ok(100)),
    ("1E-99", FINE_2),
    // Mantissas that are too long for an exponent.
    ("123456789012345678901E0", NO),
    ("1.00000000000000000000E0", NO),
    ("1.0000000000000000000E0", Ok(100)),
    ("0.0000000000000000001E19", Ok(100)),
    ("0.00000000000000000001E20", NO),
    // Exponents that abuse.
    ("1E", NO),
    ("1e", NO),
    ("E1", NO),
    ("e", NO),
    ("E", NO),
    ("1E+", NO),
    ("1E-", NO),
    ("1E++1", NO),
    ("1E--1", NO),
    ("1E+-1", NO),
    ("1E1.0", NO),
    ("1E1E1", NO),
    ("1e1e1", NO),
    ("1E100", NO),
    ("1E001", NO),
    ("1E-100", NO),
    ("1E308", NO),
    ("1E999999999", NO),
    ("1E-999999999", NO),
    ("1.E1", NO),
    (".1E1", NO),
    ("01E1", NO),
    ("00E0", NO),
    ("1 E1", NO),
    ("1E 1", NO),
    ("1E1 ", NO),
    ("-1E1", NO),
    ("+1E1", NO),
    ("1d3", NO),
    ("1D3", NO),
    ("1x10^3", NO),
    ("1p3", NO),
    ("1E\u{0661}", NO),
    ("1E１", NO),
    // Signs.
    ("-0", NO),
    ("-0.0", NO),
    ("-1", NO),
    ("-0.01", NO),
    ("+0", NO),
    ("+1", NO),
    ("+1.0", NO),
    ("1-", NO),
    ("1+", NO),
    ("-", NO),
    ("+", NO),
    ("--1", NO),
    ("\u{2212}1", NO),
    ("(1)", NO),
    // Space.
    ("", NO),
    (" ", NO),
    (" 1", NO),
    ("1 ", NO),
    (" 1 ", NO),
    ("1 0", NO),
    ("1 000", NO),
    ("\t1", NO),
    ("1\n", NO),
    ("\r\n1", NO),
    ("\u{a0}1", NO),
    ("1\u{a0}000", NO),
    ("1\u{2009}000", NO),
    ("1\u{200b}", NO),
    ("\u{feff}1", NO),
    ("1\0", NO),
    ("\u{0}", NO),
    // Separators, and points of other places.
    ("1,5", NO),
    ("1,000", NO),
    ("1,000.00", NO),
    ("1.000,00", NO),
    ("1'000", NO),
    ("1_000", NO),
    ("1·5", NO),
    ("1٫5", NO),
    ("1。5", NO),
    ("1\u{ff0e}5", NO),
    // No numbers.
    ("NaN", NO),
    ("nan", NO),
    ("NAN", NO),
    ("INF", NO),
    ("-INF", NO),
    ("+INF", NO),
    ("Infinity", NO),
    ("-Infinity", NO),
    ("inf", NO),
    ("null", NO),
    ("nil", NO),
    ("undefined", NO),
    ("None", NO),
    ("true", NO),
    ("one", NO),
    ("success", NO),
    // Other notations.
    ("0x10", NO),
    ("0b1", NO),
    ("0o7", NO),
    ("#10", NO),
    ("10h", NO),
    ("10L", NO),
    ("10l", NO),
    ("10f", NO),
    ("10F", NO),
    ("10.0f", NO),
    ("10m", NO),
    ("10%", NO),
    ("$10", NO),
    ("10 EUR", NO),
    ("1/2", NO),
    ("1:2", NO),
    ("10;", NO),
    ("10\"", NO),
    ("<10>", NO),
    ("&#49;", NO),
    ("1&0", NO),
    // Other digits.
    ("١", NO),
    ("٣", NO),
    ("१", NO),
    ("１", NO),
    ("１０", NO),
    ("1０", NO),
    ("𝟏", NO),
    ("½", NO),
    ("²", NO),
    ("一", NO),
    ("Ⅷ", NO),
    ("①", NO),
    ("O", NO),
    ("l", NO),
    ("\u{0967}\u{0966}", NO),
    ("\u{06f1}", NO),
    ("\u{0e51}", NO),
    ("\u{1d7ce}", NO),
    ("1\u{0660}", NO),
    ("\u{00b9}", NO),
    ("\u{2460}\u{2461}", NO),
    ("\u{4e8c}", NO),
    // What is put in between, or behind.
    ("1\u{0301}", NO),
    ("1\u{200d}0", NO),
    ("\u{202e}10", NO),
    ("10\u{202c}", NO),
    ("1\u{2060}0", NO),
    ("1\u{3000}0", NO),
    ("1\u{202f}000", NO),
    ("1\u{0b}0", NO),
    ("1\u{0c}", NO),
    ("1\u{85}", NO),
    ("1\u{ff0c}5", NO),
    ("1\u{066c}000", NO),
    ("1;5", NO),
    ("1~", NO),
    ("=1", NO),
    ("1=1", NO),
    ("1*1", NO),
    ("1^2", NO),
    ("1!", NO),
    ("?1", NO),
    ("[1]", NO),
    ("{1}", NO),
    ("'10'", NO),
    ("\\10", NO),
    ("\u{20ac}10", NO),
    ("10c", NO),
    ("1k", NO),
    ("1M", NO),
    ("1st", NO),
];

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
