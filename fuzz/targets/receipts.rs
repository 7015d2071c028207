//! A text is read as a receipt or refused; what is read is written as one text, which says the same.
#![no_main]

/// The production file itself: with the crate around it came the backups, for which nothing here is.
#[path = "../../crates/agent/src/receipt.rs"]
#[allow(dead_code)]
mod receipt;

use libfuzzer_sys::fuzz_target;
use receipt::{RECEIPT_TEXT_BYTES_MAX, receipt_from_text, receipt_to_text};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = receipt_from_text(bytes) {
        let text = receipt_to_text(&receipt);
        assert!(text.len() <= RECEIPT_TEXT_BYTES_MAX);
        assert_eq!(receipt_from_text(text.as_bytes()), Ok(receipt.clone()));
        let _ = receipt.verify();
    }
});
