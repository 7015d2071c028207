//! What is read as a message of LCP/2 is written as the same bytes; nothing over the limits is read.
#![no_main]

use fondaco_codec::{Decode, Encode};
use fondaco_lcp::{
    Invoices, REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX, Request, Response, SignedInvoice, SignedReceipt,
};
use fondaco_crypto::EntityId;
use fondaco_ledger::{PayWord, SignedAnchor, SignedVoucher};
use libfuzzer_sys::fuzz_target;

fn same<T: Decode + Encode>(bytes: &[u8]) {
    if let Ok(value) = T::from_bytes(bytes) {
        assert_eq!(value.to_bytes(), bytes, "one value has one encoding");
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::from_frame(bytes) {
        assert!(bytes.len() <= REQUEST_BYTES_MAX);
        assert_eq!(request.to_frame(), bytes);
    }
    if let Ok(response) = Response::from_frame(bytes) {
        assert!(bytes.len() <= RESPONSE_BYTES_MAX);
        assert_eq!(response.to_frame(), bytes);
    }
    same::<SignedReceipt>(bytes);
    same::<SignedInvoice>(bytes);
    let mut invoices = Invoices::new(EntityId::from_bytes([9; 32]));
    let _ = invoices.replay(bytes);
    same::<SignedVoucher>(bytes);
    same::<SignedAnchor>(bytes);
    same::<PayWord>(bytes);
});
