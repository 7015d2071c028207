//! An entity, an address and 24 words have one text form each; what else is read means the same.
#![no_main]

use fondaco_crypto::{Digest, EntityId, parse_entity};
use fondaco_lcp::RequestId;
use fondaco_ports::Address;
use fondaco_store::Words;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(entity) = text.parse::<EntityId>() {
        assert_eq!(entity.to_string(), text);
    }
    if let Ok(entity) = parse_entity(text) {
        assert_eq!(parse_entity(&entity.to_string()), Ok(entity));
        assert_eq!(parse_entity(&entity.to_hex()), Ok(entity));
    }
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(id) = text.parse::<RequestId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(words) = Words::parse(text) {
        let again: Vec<&str> = words.iter().collect();
        let read: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        assert_eq!(again, read);
    }
});
