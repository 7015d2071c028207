//! Those who come to a TLS port with something else than the key of a holder.

use super::key;
use fondaco_crypto::SecretKey;
use fondaco_lcp_wire::holder_pem;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, SignatureScheme,
    client::{
        ClientSessionMemoryCache, ClientSessionStore, ResolvesClientCert, Resumption,
        Tls12ClientSessionValue, Tls13ClientSessionValue,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring::{default_provider, sign::any_eddsa_type},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What a stranger shows of itself.
pub(crate) enum Shows {
    /// Nothing.
    NoKey,
    /// The certificate of this holder, without having its key.
    Stolen(Box<SecretKey>),
}

/// Shakes hands, as far as that goes, with whoever is there.
pub(crate) async fn dial(at: SocketAddr, shows: Shows) -> io::Result<TlsStream<TcpStream>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Whoever::default()));
    let config = match shows {
        Shows::NoKey => builder.with_no_client_auth(),
        Shows::Stolen(holder) => {
            let stolen = certified(certificate(&holder), &key(250));
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(stolen)))
        }
    };
    let tcp = TcpStream::connect(at).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::from(at.ip()), tcp).await
}

/// A certificate around the key of `holder`.
fn certificate(holder: &SecretKey) -> CertificateDer<'static> {
    let pem = holder_pem(holder).certificate;
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// What is shown, with the key that signs for it.
fn certified(shown: CertificateDer<'static>, signer: &SecretKey) -> CertifiedKey {
    let signer = PrivatePkcs8KeyDer::from_pem_slice(holder_pem(signer).key.as_bytes());
    CertifiedKey::new(vec![shown], any_eddsa_type(&signer.unwrap()).unwrap())
}

/// The key of `holder` as RFC 7250 shows it (RFC 8410, section 4).
fn raw_key(holder: &SecretKey) -> CertificateDer<'static> {
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];
    CertificateDer::from([&PREFIX[..], holder.entity().as_bytes()].concat())
}

/// A client with one cache of sessions for whatever it shows, and to whomever: what no client of ours does.
pub(crate) struct Turncoat {
    config: Arc<ClientConfig>,
    is_raw: Arc<AtomicBool>,
    shown: Arc<Changing>,
    cache: Arc<Cache>,
}

impl Turncoat {
    /// Shows the raw key of `holder`.
    pub(crate) fn new(holder: &SecretKey) -> Self {
        let is_raw = Arc::new(AtomicBool::new(true));
        let shown = Mutex::new(Arc::new(certified(raw_key(holder), holder)));
        let shown = Arc::new(Changing { is_raw: Arc::clone(&is_raw), shown });
        let cache = Arc::new(Cache {
            sessions: ClientSessionMemoryCache::new(8),
            offered: AtomicUsize::new(0),
        });
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Whoever { is_raw: Arc::clone(&is_raw) }))
            .with_client_cert_resolver(Arc::<Changing>::clone(&shown));
        config.resumption = Resumption::store(Arc::<Cache>::clone(&cache));
        Self { config: Arc::new(config), is_raw, shown, cache }
    }

    /// From now on it is `holder`, by a certificate; its sessions stay as they are.
    pub(crate) fn turns_to(&self, holder: &SecretKey) {
        self.is_raw.store(false, Ordering::SeqCst);
        *self.shown.shown.lock().unwrap() = Arc::new(certified(certificate(holder), holder));
    }

    /// Dials; also whether a session was offered, and whether it was taken up.
    pub(crate) async fn dial(
        &self,
        at: SocketAddr,
    ) -> io::Result<(TlsStream<TcpStream>, bool, bool)> {
        let before = self.cache.offered.load(Ordering::SeqCst);
        let tcp = TcpStream::connect(at).await?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(ServerName::from(at.ip()), tcp).await?;
        let is_offered = self.cache.offered.load(Ordering::SeqCst) > before;
        let kind = stream.get_ref().1.handshake_kind();
        Ok((stream, is_offered, kind == Some(HandshakeKind::Resumed)))
    }
}

/// Shows one thing, then another.
#[derive(Debug)]
struct Changing {
    is_raw: Arc<AtomicBool>,
    shown: Mutex<Arc<CertifiedKey>>,
}

impl ResolvesClientCert for Changing {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.lock().unwrap()))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.is_raw.load(Ordering::SeqCst)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Sessions, and how often one of them was there to be offered.
#[derive(Debug)]
struct Cache {
    sessions: ClientSessionMemoryCache,
    offered: AtomicUsize,
}

impl ClientSessionStore for Cache {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(server_name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(name, value);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let taken = self.sessions.take_tls13_ticket(name);
        self.offered.fetch_add(usize::from(taken.is_some()), Ordering::SeqCst);
        taken
    }
}

/// Believes everybody.
#[derive(Debug, Default)]
struct Whoever {
    is_raw: Arc<AtomicBool>,
}

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
    fn requires_raw_public_keys(&self) -> bool {
        self.is_raw.load(Ordering::SeqCst)
    }
}
