//! What is read as a message of 2003 is written, read again, and is the same; amounts are exact.
#![no_main]

use fondaco_lcp_wire::{
    parse_amount,
    soap::{read, read_reply, write},
};
use fondaco_units::Scale;
use libfuzzer_sys::fuzz_target;

// The first byte is the scale, so that a seed is a message as it is sent.
fuzz_target!(|input: &[u8]| {
    let Some((decimals, bytes)) = input.split_first() else { return };
    let Some(scale) = Scale::new(decimals % (Scale::MAX + 1)) else { return };
    match read(bytes, scale) {
        Ok(question) => {
            let written = write(&question.ask, question.wait, question.form, scale);
            let again = read(&written, scale).expect("what was written is read");
            assert_eq!(
                (again.ask, again.wait, again.form),
                (question.ask, question.wait, question.form)
            );
        }
        // A refusal is an envelope of its own.
        Err(refused) => assert!(!refused.envelope().is_empty()),
    }
    let _ = read_reply(bytes, scale);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(amount) = parse_amount(scale, text)
    {
        assert_eq!(parse_amount(scale, &scale.show(amount).to_string()), Ok(amount));
    }
});
