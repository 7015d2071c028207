//! Mutual TLS 1.3 in which keys are everything and certificates nothing.
//!
//! Who shows a certificate is the entity of the Ed25519 key in it; who shows a raw key (RFC 7250) is that entity. The
//! handshake signature proves the key; names, dates and signatures in a certificate are not believed.
//!
//! ```text
//! ClientHello ── which kinds of certificate does it offer? ──► a configuration of its own for this connection:
//!                                                                verifier ──► Seen { holder, debt }
//!   full handshake:     certificate ─► verifier ─► signature ─► tickets ─► Sessions.put(policy, Seen)
//!   resumed handshake:  ticket ─► Sessions.take(policy) ─► Seen, checked against revocation ─► new tickets
//! after either: the session's peer identity must be what was seen, or the connection is cut
//! ```
//!
//! rustls restores the peer of a resumed session without calling a verifier, and lets stores be shared between
//! configurations of different policy (CVE-2025-23419 and its kin). So here a session is kept under the policy that
//! made it, by one server, with the holder that was verified, and is taken out once.
//!
//! There is no early data, and no ticket that carries a session: tickets are names of sessions kept here.

mod client;
mod identity;
mod sessions;
mod verifier;

pub use client::ClientTls;
pub use identity::{HolderPem, Identity, IdentityError, ServerName, holder_pem};
pub use sessions::{SESSIONS_MAX, SESSIONS_PER_HOLDER_MAX};

pub(crate) use sessions::{Debt, Sessions, View};
pub(crate) use verifier::{Policy, holder_of};

use identity::Shown;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::ClientHello,
    version::TLS13,
};
use std::sync::Arc;
use verifier::HolderVerifier;

/// HTTP/1.1 and no other protocol.
const ALPN: &[u8] = b"http/1.1";

/// The one provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes the configurations of one issuer's server.
#[derive(Debug)]
pub(crate) struct ServerTls {
    provider: Arc<CryptoProvider>,
    identity: Identity,
    sessions: Arc<Sessions>,
}

impl ServerTls {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { provider: provider(), identity, sessions: Arc::default() }
    }

    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The configuration for who says `hello`, and where it will be told who that is.
    pub(crate) fn configure(
        &self,
        hello: &ClientHello<'_>,
    ) -> Result<(Arc<ServerConfig>, Arc<View>), rustls::Error> {
        let policy = Policy::of(hello);
        let view = Arc::new(View::new(Arc::clone(&self.sessions), policy));
        let verifier = HolderVerifier::new(Arc::clone(&view), &self.provider);
        let shown = if policy.server_is_raw { Shown::RawKey } else { Shown::Certificate };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(self.identity.resolver(shown));
        config.session_storage = Arc::<View>::clone(&view);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        Ok((Arc::new(config), view))
    }
}

#[cfg(test)]
mod tests;
