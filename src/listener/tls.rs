//! The TLS handshake with certificates and client authorities from the current snapshot, so that both
//! are replaced with no connection dropped.

use std::fmt;
use std::sync::Arc;

use filters::certificate::PeerCertificate;
use filters::secret::Digest;
use pingora_core::listeners::tls::Acceptor;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

use crate::config::ClientCertificates;
use crate::state::State;
use crate::telemetry::Seldom;
use crate::tls::{TlsMaterial, provider};

/// The TLS acceptor of listener `index`: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
///
/// # Errors
/// The process's cryptography does not support it.
pub(super) fn acceptor(state: &Arc<State>, index: usize) -> Result<Acceptor, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = builder.with_client_cert_verifier(Arc::new(Clients::new(Arc::clone(state), index)));
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(Arc::clone(state), index)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Acceptor::from_server_config(Arc::new(config)))
}

/// The certificate of listener `index` in the current snapshot.
struct Certificates {
    state: Arc<State>,
    index: usize,
}

impl Certificates {
    const fn new(state: Arc<State>, index: usize) -> Self {
        Self { state, index }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.index)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        material(&self.state, self.index).map(|material| Arc::clone(&material.key))
    }
}

/// The client authorities of listener `index` in the current snapshot.
struct Clients {
    state: Arc<State>,
    index: usize,
    provider: Arc<CryptoProvider>,
    refused: Seldom,
}

impl Clients {
    fn new(state: Arc<State>, index: usize) -> Self {
        Self { state, index, provider: provider(), refused: Seldom::default() }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clients({})", self.index)
    }
}

fn material(state: &State, index: usize) -> Option<Arc<TlsMaterial>> {
    state.snapshot().tls_of(index).cloned()
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        material(&self.state, self.index).is_some_and(|material| material.clients != ClientCertificates::Off)
    }

    fn client_auth_mandatory(&self) -> bool {
        material(&self.state, self.index).is_none_or(|material| material.clients == ClientCertificates::Required)
    }

    /// No hints: the authorities may change while they are borrowed.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let material = material(&self.state, self.index);
        let material = material.ok_or_else(|| rustls::Error::General("no client authority".into()))?;
        material.verify(end_entity, intermediates, now).inspect_err(|error| {
            self.state.metrics.failed_authentications.certificate.inc();
            if let Some(more) = self.refused.due() {
                let fingerprint = Digest::of(end_entity).to_hex();
                let serial = PeerCertificate::parse(end_entity).map(|facts| facts.serial).unwrap_or_default();
                tracing::warn!(fingerprint, serial, %error, more, "a client certificate is refused in the handshake");
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
