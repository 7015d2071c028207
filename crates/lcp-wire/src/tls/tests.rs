//! Handshakes in memory, so that what rustls does is seen without sockets.

use super::*;
use crate::SoapClient;
use fondaco_crypto::{EntityId, SecretKey};
use rustls::HandshakeKind::{Full, Resumed};
use rustls::{
    AlertDescription, CertificateError, ClientConnection, Error, ServerConnection, server::Acceptor,
};

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32])
}

fn client_config() -> Arc<rustls::ClientConfig> {
    ClientTls::new(&key(2), key(1).entity()).config
}

fn tls() -> ServerTls {
    ServerTls::new(Identity::new(&key(1), &[]))
}

/// The server's end of a connection, and what was seen on it.
struct Accepted {
    server: ServerConnection,
    view: Arc<View>,
}

/// Carries bytes between a client and `tls` until neither has more to say.
fn shake(
    client: &ClientTls,
    tls: &ServerTls,
) -> (ClientConnection, Result<Accepted, Error>, Option<Error>) {
    let name = ServerName::try_from("issuer.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(&client.config), name).unwrap();
    let mut acceptor = Acceptor::default();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    let accepted = acceptor.accept().unwrap().unwrap();
    let (config, view) = tls.configure(&accepted.client_hello()).unwrap();
    let mut server = match accepted.into_connection(config) {
        Ok(server) => server,
        Err((error, _)) => return (client, Err(error), None),
    };
    let mut client_error = None;
    loop {
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            if let Err(error) = client.process_new_packets() {
                client_error = Some(error);
            }
        }
        let mut answer = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut answer).unwrap();
        }
        if bytes.is_empty() && answer.is_empty() {
            return (client, Ok(Accepted { server, view }), client_error);
        }
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            if let Err(error) = server.process_new_packets() {
                let mut alert = Vec::new();
                while server.wants_write() {
                    server.write_tls(&mut alert).unwrap();
                }
                client.read_tls(&mut alert.as_slice()).unwrap();
                return (client, Err(error), client_error);
            }
        }
    }
}

fn kind(accepted: &Accepted) -> (rustls::HandshakeKind, EntityId) {
    let shown = accepted.server.peer_certificates().unwrap().first().unwrap().clone();
    let holder = holder_of(&shown, accepted.view.policy().holder_is_raw).unwrap();
    assert_eq!(accepted.view.seen().unwrap().holder, holder);
    (accepted.server.handshake_kind().unwrap(), holder)
}

#[test]
fn full_and_resumed_handshakes_are_of_the_same_holder() {
    let tls = tls();
    for client in [
        ClientTls::new(&key(2), key(1).entity()),
        ClientTls::with_certificates(&key(2), key(1).entity()),
    ] {
        for wanted in [Full, Resumed, Resumed, Resumed] {
            let (_, accepted, _) = shake(&client, &tls);
            assert_eq!(kind(&accepted.unwrap()), (wanted, key(2).entity()));
        }
    }
}

#[test]
fn each_side_may_show_what_the_other_does_not() {
    let tls = tls();
    let certificate = Identity::new(&key(2), &[]).certified(Shown::Certificate);
    let mut config = (*ClientTls::new(&key(2), key(1).entity()).config).clone();
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certificate));
    let client = ClientTls { config: Arc::new(config) };
    for wanted in [Full, Resumed] {
        let accepted = shake(&client, &tls).1.unwrap();
        assert_eq!(kind(&accepted), (wanted, key(2).entity()));
        let policy = Policy { server_is_raw: true, holder_is_raw: false };
        assert_eq!(accepted.view.policy(), policy);
    }
}

#[test]
fn there_is_no_early_data_and_no_ticket_with_a_session_in_it() {
    let tls = tls();
    let client = ClientTls::new(&key(2), key(1).entity());
    shake(&client, &tls).1.unwrap();
    assert_eq!(tls.sessions().count(), 2, "two sessions are kept here, by name");
    let (mut client, accepted_again, _) = shake(&client, &tls);
    assert_eq!(kind(&accepted_again.unwrap()).0, Resumed);
    assert!(client.early_data().is_none());
    let name = ServerName::try_from("issuer.example").unwrap();
    let mut other = ClientConnection::new(client_config(), name).unwrap();
    let mut hello = Vec::new();
    other.write_tls(&mut hello).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut hello.as_slice()).unwrap();
    let accepted = acceptor.accept().unwrap().unwrap();
    let (config, _) = tls.configure(&accepted.client_hello()).unwrap();
    assert!(!config.ticketer.enabled());
    assert_eq!(config.max_early_data_size, 0);
}

#[test]
fn a_session_is_worth_nothing_at_another_server_of_the_same_issuer() {
    let client = ClientTls::new(&key(2), key(1).entity());
    let (one, two) = (tls(), tls());
    let (_, accepted, _) = shake(&client, &one);
    assert_eq!(kind(&accepted.unwrap()).0, Full);
    // The client offers it: it believes to talk to the same issuer.
    let (_, accepted, _) = shake(&client, &two);
    assert_eq!(kind(&accepted.unwrap()), (Full, key(2).entity()));
}

/// The canary of the test above: with one store for both, the session would be resumed.
#[test]
fn a_session_would_be_worth_something_if_stores_were_shared() {
    let client = ClientTls::new(&key(2), key(1).entity());
    let one = tls();
    let two = ServerTls { sessions: Arc::clone(&one.sessions), ..tls() };
    assert_eq!(kind(&shake(&client, &one).1.unwrap()).0, Full);
    assert_eq!(kind(&shake(&client, &two).1.unwrap()).0, Resumed);
}

/// A holder that keeps one cache of sessions for two policies, which our own clients never do.
#[test]
fn a_session_of_one_policy_is_worth_nothing_under_another() {
    let tls = tls();
    let raw = ClientTls::new(&key(2), key(1).entity());
    assert_eq!(kind(&shake(&raw, &tls).1.unwrap()).0, Full);
    let before = tls.sessions().count();
    let other = View::new(
        Arc::clone(tls.sessions()),
        Policy { server_is_raw: false, holder_is_raw: false },
    );
    for name in tls.sessions().names() {
        assert!(rustls::server::StoresServerSessions::take(&other, &name).is_none());
    }
    assert_eq!(tls.sessions().count(), before);
}

#[test]
fn a_revoked_holder_gets_nothing_by_session_or_key() {
    let tls = tls();
    let client = ClientTls::new(&key(2), key(1).entity());
    assert_eq!(kind(&shake(&client, &tls).1.unwrap()).0, Full);
    assert_eq!(kind(&shake(&client, &tls).1.unwrap()).0, Resumed);
    tls.sessions().revoke(key(2).entity());
    assert_eq!(tls.sessions().count(), 0);
    for _ in 0..3 {
        let (mut client, accepted, _) = shake(&client, &tls);
        let revoked = Error::InvalidCertificate(CertificateError::Revoked);
        assert_eq!(accepted.err(), Some(revoked));
        let told = Error::AlertReceived(AlertDescription::CertificateRevoked);
        assert_eq!(client.process_new_packets().err(), Some(told));
    }
    let other = ClientTls::new(&key(3), key(1).entity());
    assert_eq!(kind(&shake(&other, &tls).1.unwrap()).1, key(3).entity());
}

#[test]
fn an_issuer_with_another_key_is_not_believed() {
    let tls = tls();
    for client in [
        ClientTls::new(&key(2), key(9).entity()),
        ClientTls::with_certificates(&key(2), key(9).entity()),
    ] {
        let (_, _, error) = shake(&client, &tls);
        let other = CertificateError::ApplicationVerificationFailure;
        assert_eq!(error, Some(Error::InvalidCertificate(other)));
    }
}

/// A client that shows what it likes.
fn showing(certificate: Vec<u8>, signer: &SecretKey, shown: Shown) -> ClientTls {
    use rustls::{
        client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert},
        pki_types::CertificateDer,
        sign::{CertifiedKey, SingleCertAndKey},
    };
    let base = match shown {
        Shown::RawKey => ClientTls::new(signer, key(1).entity()),
        Shown::Certificate => ClientTls::with_certificates(signer, key(1).entity()),
    };
    let key = Arc::clone(&Identity::new(signer, &[]).certified(Shown::RawKey).key);
    let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(certificate)], key));
    let resolver: Arc<dyn ResolvesClientCert> = match shown {
        Shown::RawKey => Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)),
        Shown::Certificate => Arc::new(SingleCertAndKey::from(key)),
    };
    let mut config = (*base.config).clone();
    config.client_auth_cert_resolver = resolver;
    ClientTls { config: Arc::new(config) }
}

/// What the server says of it, and the alert that the client gets.
fn refused(client: &ClientTls) -> (Error, AlertDescription) {
    let (mut client, accepted, _) = shake(client, &tls());
    let error = accepted.err().expect("it must be refused");
    match client.process_new_packets() {
        Err(Error::AlertReceived(alert)) => (error, alert),
        other => panic!("{error:?}, and no alert: {other:?}"),
    }
}

#[test]
fn who_shows_the_key_of_another_is_refused() {
    for shown in [Shown::RawKey, Shown::Certificate] {
        let stolen = Identity::new(&key(2), &[]).certified(shown).cert[0].to_vec();
        let (error, alert) = refused(&showing(stolen, &key(3), shown));
        assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature));
        assert_eq!(alert, AlertDescription::DecryptError);
    }
}

/// An ECDSA P-256 key, as `openssl ec -pubout -outform DER` writes it.
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[test]
fn keys_of_another_kind_are_refused_by_name() {
    let other = [&P256_SPKI_PREFIX[..], &[4; 65]].concat();
    let (error, alert) = refused(&showing(other, &key(2), Shown::RawKey));
    assert_eq!(error, Error::InvalidCertificate(CertificateError::InvalidPurpose));
    assert_eq!(alert, AlertDescription::UnsupportedCertificate);
}

#[test]
fn keys_that_anybody_can_sign_for_are_refused() {
    // The neutral element: under it, some signature of everything is right.
    let mut weak = [0; 32];
    weak[0] = 1;
    let weak = super::verifier::spki(&EntityId::from_bytes(weak)).as_ref().to_vec();
    let (_, alert) = refused(&showing(weak, &key(2), Shown::RawKey));
    assert_eq!(alert, AlertDescription::BadCertificate);
}

#[test]
fn certificates_that_are_none_or_too_heavy_are_refused() {
    for bad in [vec![], vec![0x30], b"hello".to_vec(), vec![0; 9000]] {
        let (_, alert) = refused(&showing(bad, &key(2), Shown::Certificate));
        let clear = [
            AlertDescription::BadCertificate,
            AlertDescription::DecodeError,
            AlertDescription::CertificateRequired,
        ];
        assert!(clear.contains(&alert), "{alert:?}");
    }
}

#[test]
fn who_shows_no_key_is_refused() {
    #[derive(Debug)]
    struct Nobody;
    impl rustls::client::ResolvesClientCert for Nobody {
        fn resolve(
            &self,
            _root_hint_subjects: &[&[u8]],
            _sigschemes: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }
        fn has_certs(&self) -> bool {
            false
        }
    }
    let base = ClientTls::with_certificates(&key(2), key(1).entity());
    let mut config = (*base.config).clone();
    config.client_auth_cert_resolver = Arc::new(Nobody);
    let (_, alert) = refused(&ClientTls { config: Arc::new(config) });
    assert_eq!(alert, AlertDescription::CertificateRequired);
}

#[test]
fn a_client_can_be_sent() {
    const fn sent<T: Send>() {}
    sent::<SoapClient>();
}
