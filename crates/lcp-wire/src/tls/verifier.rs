//! Who is at the other end: the key, if it is one, and the proof that it is there.

use super::View;
use crate::key;
use fondaco_crypto::EntityId;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        CertificateType, ClientHello, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::sync::Arc;

/// The most a holder's certificates may weigh: they stay in memory with its sessions.
pub(crate) const CERTIFICATES_BYTES_MAX: usize = 8 << 10;

/// What a `SubjectPublicKeyInfo` of an Ed25519 key begins with (RFC 8410, section 4); the key follows.
pub(crate) const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What each side shows: a session made under one policy gets nothing under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Policy {
    /// The issuer shows its raw key.
    pub(crate) server_is_raw: bool,
    /// The holder shows its raw key.
    pub(crate) holder_is_raw: bool,
}

impl Policy {
    /// Raw keys for who can have them.
    pub(crate) fn of(hello: &ClientHello<'_>) -> Self {
        let has_raw = |kinds: Option<&[CertificateType]>| {
            kinds.is_some_and(|kinds| kinds.contains(&CertificateType::RawPublicKey))
        };
        Self {
            server_is_raw: has_raw(hello.server_cert_types()),
            holder_is_raw: has_raw(hello.client_cert_types()),
        }
    }
}

/// The key of the one who showed `shown`: in its certificate, or bare.
pub(crate) fn holder_of(shown: &CertificateDer<'_>, is_raw: bool) -> Result<EntityId, Error> {
    let spki = if is_raw {
        SubjectPublicKeyInfoDer::from(shown.as_ref())
    } else {
        ParsedCertificate::try_from(shown)?.subject_public_key_info()
    };
    // TLS says `unsupported_certificate` to this one.
    let other_kind = || Error::InvalidCertificate(CertificateError::InvalidPurpose);
    let key = spki.strip_prefix(&SPKI_PREFIX).ok_or_else(other_kind)?;
    let key = <[u8; 32]>::try_from(key).map_err(|_| other_kind())?;
    let weak = || Error::InvalidCertificate(CertificateError::BadEncoding);
    key::usable(key).ok_or_else(weak)
}

/// Lets everybody in whose key is an Ed25519 key and proved, but those revoked; tells the connection's view who it is.
#[derive(Debug)]
pub(crate) struct HolderVerifier {
    view: Arc<View>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HolderVerifier {
    pub(crate) fn new(view: Arc<View>, provider: &CryptoProvider) -> Self {
        Self { view, algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for HolderVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let weight = intermediates.iter().map(|each| each.len()).sum::<usize>() + end_entity.len();
        if weight > CERTIFICATES_BYTES_MAX {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        let holder = holder_of(end_entity, self.view.policy().holder_is_raw)?;
        if self.view.is_revoked(&holder) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        // Nothing is kept in this name before the signature that follows is verified too: see the module.
        self.view.see(holder);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 is spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let holder = holder_of(cert, self.view.policy().holder_is_raw)?;
        verify_key_signature(&holder, message, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.view.policy().holder_is_raw
    }
}

/// Checks a handshake's signature by the key of `entity`, and by that alone.
pub(crate) fn verify_key_signature(
    entity: &EntityId,
    message: &[u8],
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let spki = spki(entity);
    verify_tls13_signature_with_raw_key(message, &spki, dss, algorithms)
}

/// The `SubjectPublicKeyInfo` of an entity.
pub(crate) fn spki(entity: &EntityId) -> SubjectPublicKeyInfoDer<'static> {
    let mut der = SPKI_PREFIX.to_vec();
    der.extend_from_slice(entity.as_bytes());
    der.into()
}
