//! Whatever a provider answers to a deep audit is refused, and so is every message that it may come in.
#![no_main]

use fondaco_audit::{AuditKey, Part, Proof, ShardId, Subject};
use fondaco_crypto::Digest;
use fondaco_ports::market::{Frame, Request, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, u16, &[u8])| {
    let (length, samples, bytes) = input;
    if let Ok(proof) = Proof::from_bytes(bytes) {
        assert_eq!(proof.to_bytes(), bytes);
    }
    if let Ok(request) = Request::from_frame(bytes) {
        assert_eq!(request.to_frame(), bytes);
    }
    if let Ok(response) = Response::from_frame(bytes) {
        assert_eq!(response.to_frame(), bytes);
    }
    let mut answer = bytes.to_vec();
    answer.resize(fondaco_audit::PROOF_BYTES, 0);
    let key = AuditKey::from_bytes([1; 32]).for_contract(&Digest::ZERO);
    let part = Part {
        shard: ShardId::of(b"shard"),
        subject: Subject::from_digest(Digest::ZERO),
        length,
        samples: u32::from(samples % 600),
    };
    // Of nothing, the proof of zeros is right.
    let is_nothing = length == 0 || length > fondaco_audit::SIZE_MAX || part.samples == 0;
    assert!(is_nothing || key.check(&[2; 32], &[part], &answer).is_err());
});
