//! Name entities by public key, hash, and sign under a named domain.
//!
//! - [`EntityId`]: an Ed25519 public key (RFC 8032), written `fon1…` (bech32m, BIP-350).
//! - [`SecretKey`]: its secret half; wiped from memory when dropped, never shown.
//! - [`Digest`]: 32 bytes of BLAKE3.
//! - [`HashChain`]: steps from digest to digest that nobody can go back.
//! - [`Domain`]: what a signature or a derived digest is for; part of what is hashed.
//!
//! # What always holds
//!
//! - What is signed is the 32-byte BLAKE3 key derivation of (domain, body): a signature of one
//!   domain is none of another, and none of a TLS handshake made with the same key, whose signed
//!   text is longer than 64 bytes.
//! - Verification is strict: no weak keys, no second form of a signature.
//!
//! # What is not here
//!
//! Randomness: 32 bytes of entropy are an argument of [`SecretKey::from_bytes`].
//!
//! ```
//! use fondaco_crypto::{Domain, SecretKey};
//! const GREETING: Domain = Domain::new("fondaco 2026 doc greeting v1");
//! let key = SecretKey::from_bytes(&[7; 32]);
//! let signature = key.sign(GREETING, b"hello");
//! assert!(key.entity().verify(GREETING, b"hello", &signature).is_ok());
//! assert!(key.entity().verify(GREETING, b"HELLO", &signature).is_err());
//! ```

mod chain;
mod digest;
mod key;

pub use chain::HashChain;
pub use digest::{Digest, Hasher};
pub use key::{CurrencyId, EntityId, ParseEntityIdError, SecretKey, Signature, SignatureError};

/// What a digest or signature is for: a text that names protocol, thing and version, and is part
/// of every digest made under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(&'static str);

impl Domain {
    /// Creates the domain of this name: `fondaco YEAR THING vVERSION`. Each is listed in `docs/formats.md`.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        self.0
    }
}
