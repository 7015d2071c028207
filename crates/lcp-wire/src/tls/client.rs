//! The holder's end of a handshake, which believes in one key: the issuer's.

use super::{
    ALPN,
    identity::{Identity, Shown},
    provider,
    verifier::{holder_of, verify_key_signature},
};
use fondaco_crypto::{EntityId, SecretKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::SingleCertAndKey,
    version::TLS13,
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How a holder dials one issuer. Clones share sessions, so that later connections are resumed.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Shows the raw key of `holder`, and believes only who has the raw key of `issuer`.
    pub fn new(holder: &SecretKey, issuer: EntityId) -> Self {
        Self::showing(holder, issuer, Shown::RawKey)
    }

    /// Shows the self-signed certificate of `holder`, as a toolkit of 2003 does, and believes only a certificate
    /// around the key of `issuer`.
    pub fn with_certificates(holder: &SecretKey, issuer: EntityId) -> Self {
        Self::showing(holder, issuer, Shown::Certificate)
    }

    /// Dials `address` and shakes hands, for who speaks HTTP by itself.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or not with the key that is believed here.
    pub async fn stream(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(ServerName::from(address.ip()), tcp).await
    }

    fn showing(holder: &SecretKey, issuer: EntityId, shown: Shown) -> Self {
        let provider = provider();
        let key = Identity::new(holder, &[]).certified(shown);
        let resolver: Arc<dyn ResolvesClientCert> = match shown {
            Shown::RawKey => Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)),
            Shown::Certificate => Arc::new(SingleCertAndKey::from(key)),
        };
        let verifier = PinnedIssuer {
            issuer,
            is_raw: shown == Shown::RawKey,
            algorithms: provider.signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("ring has the suites of TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Self { config: Arc::new(config) }
    }
}

/// Believes one key, and nothing that a certificate says beside it.
#[derive(Debug)]
struct PinnedIssuer {
    issuer: EntityId,
    is_raw: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedIssuer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if holder_of(end_entity, self.is_raw)? != self.issuer {
            let other = CertificateError::ApplicationVerificationFailure;
            return Err(Error::InvalidCertificate(other));
        }
        Ok(ServerCertVerified::assertion())
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
        _cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_key_signature(&self.issuer, message, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.is_raw
    }
}
