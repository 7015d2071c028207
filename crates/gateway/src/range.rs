//! Which bytes a request wants.

use std::ops::Range;

/// Reads the value of a `Range` header for a file of `length` bytes: one range of bytes (RFC 9110, 14.1.2), cut off at
/// the file's end. Nothing if it names no byte of the file, or more than one range.
pub(crate) fn parse(value: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let number = |digits: &str| {
        // `parse` would read a sign too.
        let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let range = match (first, last) {
        ("", last) => length.saturating_sub(number(last)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    (range.start < range.end).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        let table = [
            ("bytes=0-9", Some(0..10)),
            ("bytes=0-", Some(0..100)),
            ("bytes=99-", Some(99..100)),
            ("bytes=90-200", Some(90..100)),
            ("bytes=5-5", Some(5..6)),
            ("bytes=-1", Some(99..100)),
            ("bytes=-1000", Some(0..100)),
            ("bytes=0-18446744073709551615", Some(0..100)),
            ("bytes=100-", None),
            ("bytes=100-101", None),
            ("bytes=9-0", None),
            ("bytes=-0", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes= 1-2", None),
            ("bytes=1-2,4-5", None),
            ("bytes=18446744073709551616-", None),
            ("lines=1-2", None),
            ("bytes", None),
            ("", None),
        ];
        for (text, range) in table {
            assert_eq!(parse(text, 100), range, "{text}");
        }
        assert_eq!(parse("bytes=0-", 0), None);
    }

    proptest! {
        #[test]
        fn a_range_is_of_the_file(text in "bytes=[0-9]{0,20}-[0-9]{0,20}", length in any::<u64>()) {
            if let Some(range) = parse(&text, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = parse(&text, 1);
        }
    }
}
