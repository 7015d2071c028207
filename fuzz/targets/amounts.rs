//! What is read as an amount is shown as it was written, but for zeros; nothing else is read.
#![no_main]

use fondaco_units::Scale;
use libfuzzer_sys::fuzz_target;

// The first byte is the scale, the rest the amount.
fuzz_target!(|input: &[u8]| {
    let Some((decimals, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Some(scale) = Scale::new(decimals % (Scale::MAX + 1)) else { return };
    let Ok(amount) = scale.parse(text) else { return };
    assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{text:?}");
    let shown = scale.show(amount).to_string();
    assert_eq!(scale.parse(&shown), Ok(amount));
    let normal = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        (whole.trim_start_matches('0').to_owned(), fraction.trim_end_matches('0').to_owned())
    };
    assert_eq!(normal(&shown), normal(text));
});
