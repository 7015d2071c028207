//! Chains of hashes: one way, as fast as a hash can be.

use crate::{Digest, Domain};

/// A one-way step from digest to digest, under a domain that is prepared once.
///
/// It is BLAKE3 in keyed mode over the 32 bytes of a digest; the key is public: the derivation of the domain from nothing.
/// A step is one compression, where [`Digest::derive`] takes two and a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashChain {
    key: [u8; 32],
}

impl HashChain {
    /// Prepares the steps of `domain`.
    pub fn new(domain: Domain) -> Self {
        Self { key: blake3::derive_key(domain.name(), b"") }
    }

    /// Goes one step on.
    pub fn step(&self, from: Digest) -> Digest {
        Digest::from_bytes(blake3::keyed_hash(&self.key, from.as_bytes()).into())
    }

    /// Goes so many steps on.
    pub fn walk(&self, from: Digest, steps: u32) -> Digest {
        (0..steps).fold(from, |at, _| self.step(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_its_steps() {
        let [one, other] =
            ["fondaco test a", "fondaco test b"].map(|name| HashChain::new(Domain::new(name)));
        let from = Digest::of(b"x");
        assert_eq!(one.walk(from, 0), from);
        assert_eq!(one.walk(from, 3), one.step(one.step(one.step(from))));
        assert_ne!(one.step(from), other.step(from));
        let key = Digest::derive(Domain::new("fondaco test a"), b"");
        let plain = blake3::keyed_hash(key.as_bytes(), from.as_bytes());
        assert_eq!(one.step(from).as_bytes(), plain.as_bytes());
    }
}
