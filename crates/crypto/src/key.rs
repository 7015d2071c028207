//! Ed25519 keys: who somebody is, and what they signed.

use crate::{Digest, Domain};
use bech32::{Bech32m, Hrp};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use fondaco_codec::{Decode, DecodeError, Encode, Reader};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

const ENTITY_PREFIX: Hrp = Hrp::parse_unchecked("fon");

/// A person, firm, machine or agent, known by its Ed25519 public key (RFC 8032).
///
/// Not every 32 bytes are a usable key: those that are not verify nothing.
//
// No `From<[u8; 32]>`: digests are 32 bytes too, and each must be named to be made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId([u8; 32]);

impl EntityId {
    /// Takes over 32 bytes that are a public key.
    pub const fn from_bytes(public_key: [u8; 32]) -> Self {
        Self(public_key)
    }

    /// Returns the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that this entity signed `body` under `domain`.
    ///
    /// # Errors
    ///
    /// The key is no point of the curve or is weak, or the signature is not of this key, domain and body.
    pub fn verify(
        &self,
        domain: Domain,
        body: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let refused = |_| SignatureError { entity: *self, domain };
        let digest = Digest::derive(domain, body);
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| {
                let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
                key.verify_strict(digest.as_bytes(), &signature)
            })
            .map_err(refused)
    }

    /// Returns the public key as 64 lowercase hex digits, as the protocol of 2003 names entities; [`parse_entity`]
    /// reads it.
    ///
    /// [`parse_entity`]: crate::parse_entity
    pub fn to_hex(&self) -> String {
        Digest::from_bytes(self.0).to_string()
    }

    /// Returns whether signatures can be this entity's: the 32 bytes are a point of the curve, and no weak one.
    pub fn is_key(&self) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| !key.is_weak())
    }

    /// Returns the first characters of the text form, for a screen that names the whole elsewhere: `fon1qqqsyqc`.
    pub fn short(&self) -> String {
        self.to_string()[..11].to_owned()
    }
}

impl fmt::Display for EntityId {
    /// Writes the one text form: `fon1` and the key in bech32m (BIP-350), 62 characters in all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32m>(ENTITY_PREFIX, &self.0).map_err(|_| fmt::Error)?;
        f.pad(&text)
    }
}

impl fmt::Debug for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntityId({self})")
    }
}

/// The text is not an entity id; most often a character was mistyped or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entity is written `fon1` and 58 characters whose checksum must hold")]
pub struct ParseEntityIdError;

impl FromStr for EntityId {
    type Err = ParseEntityIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |_| ParseEntityIdError;
        // The library reads upper case too; one thing has one text form here.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseEntityIdError);
        }
        let parsed = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
            .map_err(|_| ParseEntityIdError)?;
        if parsed.hrp() != ENTITY_PREFIX {
            return Err(ParseEntityIdError);
        }
        let bytes: Vec<u8> = parsed.byte_iter().collect();
        let id = Self(bytes.try_into().map_err(refused)?);
        // Padding bits have two readings; only what would be written again is accepted.
        if id.to_string() == text { Ok(id) } else { Err(ParseEntityIdError) }
    }
}

impl Encode for EntityId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for EntityId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.array()?))
    }
}

/// A currency, named by the key of its issuer: an issuer issues one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CurrencyId(EntityId);

impl CurrencyId {
    /// Names the currency that `issuer` issues.
    pub const fn issued_by(issuer: EntityId) -> Self {
        Self(issuer)
    }

    /// Returns its issuer.
    pub const fn issuer(self) -> EntityId {
        self.0
    }
}

impl Encode for CurrencyId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for CurrencyId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(EntityId::decode(input)?))
    }
}

/// An Ed25519 signature: 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Takes over 64 bytes that may be a signature.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(…)")
    }
}

impl Encode for Signature {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Signature {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(input.array()?))
    }
}

/// A signature is not of this entity, domain and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no signature of {entity} under `{}`", domain.name())]
pub struct SignatureError {
    /// Who should have signed.
    pub entity: EntityId,
    /// What for.
    pub domain: Domain,
}

/// The secret half of an entity's key. Wiped when dropped; shown by no formatter.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Takes over 32 bytes of good entropy, or of a key saved before.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// Returns the secret bytes, to be saved or handed to TLS; wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Returns who this key is.
    pub fn entity(&self) -> EntityId {
        EntityId(self.0.verifying_key().to_bytes())
    }

    /// Signs `body` under `domain`.
    pub fn sign(&self, domain: Domain, body: &[u8]) -> Signature {
        Signature(self.0.sign(Digest::derive(domain, body).as_bytes()).to_bytes())
    }

    /// Derives another secret from this one, for the purpose that `domain` names; wiped when dropped.
    pub fn derive(&self, domain: Domain) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*Digest::derive(domain, self.0.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.entity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEST: Domain = Domain::new("fondaco 2026 test v1");

    proptest! {
        #[test]
        fn entity_ids_survive_their_text_form(bytes: [u8; 32]) {
            let id = EntityId(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().len(), 62);
        }

        /// Bech32m finds every single wrong character.
        #[test]
        fn a_mistyped_character_is_found(bytes: [u8; 32], place in 4_usize..62, to in "[a-z0-9]") {
            let text = EntityId(bytes).to_string();
            let mut other = text.clone();
            other.replace_range(place..=place, &to);
            prop_assert_eq!(other.parse::<EntityId>().is_ok(), other == text);
        }

        #[test]
        fn any_text_is_an_entity_or_refused(text in ".*") {
            let _ = text.parse::<EntityId>();
        }
    }

    #[test]
    fn the_key_of_the_first_rfc_8032_vector() {
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let secret: Digest = secret.parse().unwrap();
        let public: Digest = public.parse().unwrap();
        assert_eq!(SecretKey::from_bytes(secret.as_bytes()).entity().as_bytes(), public.as_bytes());
    }

    #[test]
    fn signatures_name_their_domain() {
        let key = SecretKey::from_bytes(&[1; 32]);
        let signature = key.sign(TEST, b"body");
        let entity = key.entity();
        assert!(entity.verify(TEST, b"body", &signature).is_ok());
        assert!(entity.verify(Domain::new("fondaco 2026 test v2"), b"body", &signature).is_err());
        assert!(entity.verify(TEST, b"bodY", &signature).is_err());
        assert!(EntityId([0; 32]).verify(TEST, b"body", &signature).is_err(), "a weak key");
        assert!(EntityId([2; 32]).verify(TEST, b"body", &signature).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let key = SecretKey::from_bytes(&[0xab; 32]);
        assert!(!format!("{key:?}").contains("abab"));
    }
}
