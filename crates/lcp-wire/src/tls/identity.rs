//! What an entity shows in a handshake: its raw key, or a certificate around it.
//!
//! Certificates are self-signed, the same for the same key and names, and have no expiry that means anything: they
//! carry a key to toolkits that know no other way (RFC 5280, RFC 8410).

use super::verifier::{holder_of, spki};
use fondaco_crypto::{Digest, EntityId, SecretKey};
use pem_rfc7468::LineEnding;
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{AlwaysResolvesServerRawPublicKeys, ResolvesServerCert},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
};
use std::sync::Arc;
use zeroize::Zeroizing;

pub use rustls::pki_types::ServerName;

/// Why there is nothing to show. Listed by precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The text has no certificate in it.
    #[error("there is no certificate in PEM")]
    NoCertificate,
    /// The certificate is of another key.
    #[error("the certificate is not of the key {entity}")]
    OtherKey {
        /// Whose it should be.
        entity: EntityId,
    },
}

impl IdentityError {
    /// Returns whether the same certificate can do later: never.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::NoCertificate | Self::OtherKey { .. } => false,
        }
    }

    /// Returns what to do about it.
    pub const fn hint(self) -> &'static str {
        match self {
            Self::NoCertificate => "Give a file that begins with -----BEGIN CERTIFICATE-----.",
            Self::OtherKey { .. } => {
                "Let the authority certify the issuer's own Ed25519 key, or leave the certificate out."
            }
        }
    }
}

/// Which of its two faces an entity shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The bare key (RFC 7250).
    RawKey,
    /// A certificate (X.509).
    Certificate,
}

/// A key with what it shows.
#[derive(Clone, Debug)]
pub struct Identity {
    entity: EntityId,
    raw: Arc<CertifiedKey>,
    certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Makes the identity of `key` with a certificate of its own for `names`: host names and addresses.
    pub fn new(key: &SecretKey, names: &[ServerName<'_>]) -> Self {
        let signer = signer(key);
        let certificate = certificate(key.entity(), signer.as_ref(), names);
        Self::of(key.entity(), signer, vec![certificate])
    }

    /// Makes the identity of `key` with a certificate that somebody else made, and those above it, in PEM.
    ///
    /// # Errors
    ///
    /// The first certificate must be of this key.
    pub fn with_certificates(key: &SecretKey, pem: &[u8]) -> Result<Self, IdentityError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|_| IdentityError::NoCertificate)?;
        let entity = key.entity();
        let first = chain.first().ok_or(IdentityError::NoCertificate)?;
        match holder_of(first, false) {
            Ok(holder) if holder == entity => Ok(Self::of(entity, signer(key), chain)),
            _ => Err(IdentityError::OtherKey { entity }),
        }
    }

    fn of(
        entity: EntityId,
        signer: Arc<dyn SigningKey>,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        let bare = CertificateDer::from(spki(&entity).as_ref().to_vec());
        let raw = Arc::new(CertifiedKey::new(vec![bare], Arc::clone(&signer)));
        Self { entity, raw, certified: Arc::new(CertifiedKey::new(chain, signer)) }
    }

    /// Returns whose it is.
    pub const fn entity(&self) -> EntityId {
        self.entity
    }

    /// Returns the certificate and those above it, in PEM.
    pub fn certificate_pem(&self) -> String {
        self.certified.cert.iter().map(|each| pem("CERTIFICATE", each).to_string()).collect()
    }

    pub(crate) fn certified(&self, shown: Shown) -> Arc<CertifiedKey> {
        match shown {
            Shown::RawKey => Arc::clone(&self.raw),
            Shown::Certificate => Arc::clone(&self.certified),
        }
    }

    pub(crate) fn resolver(&self, shown: Shown) -> Arc<dyn ResolvesServerCert> {
        let key = self.certified(shown);
        match shown {
            Shown::RawKey => Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)),
            Shown::Certificate => Arc::new(SingleCertAndKey::from(key)),
        }
    }
}

/// A holder's key and its self-signed certificate as other programs read them.
#[derive(Debug)]
pub struct HolderPem {
    /// The secret key: PKCS#8 (RFC 8410), in PEM. Wiped when dropped.
    pub key: Zeroizing<String>,
    /// The certificate, in PEM.
    pub certificate: String,
}

/// Writes a holder's key and certificate for a toolkit of 2003: with both it is this holder.
pub fn holder_pem(key: &SecretKey) -> HolderPem {
    let secret = pkcs8(key);
    HolderPem {
        key: pem("PRIVATE KEY", &secret),
        certificate: Identity::new(key, &[]).certificate_pem(),
    }
}

/// Writes `der` in PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    // It fails for labels that are no labels, and lengths that memory does not have.
    Zeroizing::new(pem_rfc7468::encode_string(label, LineEnding::LF, der).unwrap_or_default())
}

/// The secret key as `PrivateKeyInfo`: version 0, the algorithm, the 32 bytes (RFC 8410, section 7).
fn pkcs8(key: &SecretKey) -> Zeroizing<Vec<u8>> {
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let mut der = Zeroizing::new(Vec::with_capacity(48));
    der.extend_from_slice(&PREFIX);
    der.extend_from_slice(&*key.to_bytes());
    der
}

/// The key as rustls signs with it.
fn signer(key: &SecretKey) -> Arc<dyn SigningKey> {
    let der = pkcs8(key);
    let der = PrivatePkcs8KeyDer::from(der.as_slice());
    any_eddsa_type(&der).expect("32 bytes are an Ed25519 secret key, and this is how it is written")
}

// What follows writes DER (ITU-T X.690), as much of it as one kind of certificate needs.

/// 1.3.101.112, Ed25519.
const ED25519: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
/// 2.5.4.3, the common name.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// 2.5.29.17, the other names of the subject.
const SUBJECT_ALTERNATIVE_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x1d, 0x11];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Writes one value: its tag, its length, and `parts` one after the other.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = body.len().to_be_bytes();
    let length: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut out = vec![tag];
    match (body.len(), u8::try_from(length.len())) {
        (0..0x80, _) => out.push(length.first().copied().unwrap_or(0)),
        (_, count) => {
            out.push(0x80 | count.unwrap_or(0));
            out.extend_from_slice(&length);
        }
    }
    out.extend_from_slice(&body);
    out
}

/// Writes the self-signed certificate of `entity` for `names`.
fn certificate(
    entity: EntityId,
    signer: &dyn SigningKey,
    names: &[ServerName<'_>],
) -> CertificateDer<'static> {
    let text = entity.to_string();
    let attribute = der(SEQUENCE, &[&COMMON_NAME, &der(0x0c, &[text.as_bytes()])]);
    let name = der(SEQUENCE, &[&der(SET, &[&attribute])]);
    // RFC 5280, section 4.1.2.5: a certificate without a well-defined end ends in 9999.
    let from = der(0x17, &[b"000101000000Z"]);
    let validity = der(SEQUENCE, &[&from, &der(0x18, &[b"99991231235959Z"])]);
    let names: Vec<u8> = names.iter().flat_map(general_name).collect();
    let extensions = if names.is_empty() {
        Vec::new()
    } else {
        let value = der(0x04, &[&der(SEQUENCE, &[&names])]);
        let extension = der(SEQUENCE, &[&SUBJECT_ALTERNATIVE_NAME, &value]);
        der(0xa3, &[&der(SEQUENCE, &[&extension])])
    };
    let key = spki(&entity);
    let rest = [&ED25519[..], &name, &validity, &name, key.as_ref(), &extensions].concat();
    // A certificate with other names has another number, as those who keep certificates expect.
    let mut serial = [0; 16];
    serial.copy_from_slice(&Digest::of(&rest).as_bytes()[..16]);
    serial[0] = (serial[0] & 0x3f) | 0x40;
    let version = der(0xa0, &[&der(0x02, &[&[2]])]);
    let body = der(SEQUENCE, &[&version, &der(0x02, &[&serial]), &rest]);
    let signature = signer
        .choose_scheme(&[SignatureScheme::ED25519])
        .and_then(|signer| signer.sign(&body).ok())
        .expect("an Ed25519 key signs whatever it is given");
    let signature = der(0x03, &[&[0], &signature]);
    CertificateDer::from(der(SEQUENCE, &[&body, &ED25519, &signature]))
}

/// Writes one name of a subject (RFC 5280, section 4.2.1.6).
fn general_name(name: &ServerName<'_>) -> Vec<u8> {
    match name {
        ServerName::DnsName(name) => der(0x82, &[name.as_ref().as_bytes()]),
        ServerName::IpAddress(rustls::pki_types::IpAddr::V4(ip)) => der(0x87, &[ip.as_ref()]),
        ServerName::IpAddress(rustls::pki_types::IpAddr::V6(ip)) => der(0x87, &[ip.as_ref()]),
        // The enum may grow; a name that cannot be written is not claimed.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_bytes(&[7; 32])
    }

    fn names() -> [ServerName<'static>; 3] {
        ["issuer.example", "127.0.0.1", "::1"].map(|name| ServerName::try_from(name).unwrap())
    }

    #[test]
    fn a_certificate_carries_its_key() {
        for names in [&names()[..], &[]] {
            let identity = Identity::new(&key(), names);
            let shown = &identity.certified(Shown::Certificate).cert[0];
            assert_eq!(holder_of(shown, false).ok(), Some(key().entity()));
            let pem = identity.certificate_pem();
            let again = Identity::with_certificates(&key(), pem.as_bytes()).unwrap();
            assert_eq!(again.certificate_pem(), pem);
            assert_eq!(Identity::new(&key(), names).certificate_pem(), pem, "the same each time");
        }
    }

    #[test]
    fn a_certificate_is_signed_by_its_key_and_valid_for_its_names() {
        use rustls::client::danger::ServerCertVerifier as _;
        use rustls::{RootCertStore, client::WebPkiServerVerifier, pki_types::UnixTime};
        let identity = Identity::new(&key(), &names());
        let shown = identity.certified(Shown::Certificate).cert[0].clone();
        let mut roots = RootCertStore::empty();
        roots.add(shown.clone()).unwrap();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), super::super::provider())
                .build()
                .unwrap();
        for (name, wanted) in
            [("issuer.example", true), ("127.0.0.1", true), ("::1", true), ("other.example", false)]
        {
            let name = ServerName::try_from(name).unwrap();
            let verified = verifier.verify_server_cert(&shown, &[], &name, &[], UnixTime::now());
            assert_eq!(verified.is_ok(), wanted, "{name:?}: {verified:?}");
        }
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let other = SecretKey::from_bytes(&[8; 32]);
        let pem = Identity::new(&key(), &[]).certificate_pem();
        let refused = Identity::with_certificates(&other, pem.as_bytes());
        assert_eq!(refused.err(), Some(IdentityError::OtherKey { entity: other.entity() }));
        let refused = Identity::with_certificates(&other, b"hello");
        assert_eq!(refused.err(), Some(IdentityError::NoCertificate));
    }

    #[test]
    fn a_raw_key_is_its_entity() {
        let shown = Identity::new(&key(), &[]).certified(Shown::RawKey).cert[0].clone();
        assert_eq!(holder_of(&shown, true).ok(), Some(key().entity()));
        assert_eq!(shown.len(), 44);
    }

    #[test]
    fn lengths_are_written_as_der_wants() {
        for (length, head) in [(0, "0400"), (127, "047f"), (128, "048180"), (256, "04820100")] {
            let out = der(0x04, &[&vec![0; length]]);
            assert_eq!(crate::hex(&out[..out.len() - length]), head);
        }
    }
}
