//! Certificates of the gate's own and of its clients, from the snapshot of the
//! moment, so that both are swapped with no connection dropped.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::prelude::FromDer as _;

use crate::config::{ClientCertificates, Tls};
use crate::state::State;

/// What a listener's TLS is made of, read and checked.
pub struct TlsMaterial {
    key: Arc<CertifiedKey>,
    clients: ClientCertificates,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// Why a TLS file cannot be used.
#[derive(Debug)]
pub struct TlsProblem {
    path: PathBuf,
    what: &'static str,
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for TlsProblem {}

/// Reads and checks the files of one listener.
///
/// # Errors
/// The first file that cannot be used, and why.
pub fn load(tls: &Tls) -> Result<TlsMaterial, TlsProblem> {
    let chain = certificates(&tls.certificate)?;
    let problem = |path: &Path, what| TlsProblem { path: path.to_owned(), what };
    for certificate in &chain {
        // The proxy framework expects to be able to read what it serves.
        if x509_parser::prelude::X509Certificate::from_der(certificate).is_err() {
            return Err(problem(&tls.certificate, "holds a certificate that cannot be read"));
        }
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|_| problem(&tls.key, "holds no private key in PEM"))?;
    let provider = provider();
    let key = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|_| problem(&tls.key, "is not the key of the certificate"))?;
    let verifier = match tls.clients {
        ClientCertificates::Off => None,
        ClientCertificates::Optional | ClientCertificates::Required => Some(verifier(tls, provider)?),
    };
    Ok(TlsMaterial { key: Arc::new(key), clients: tls.clients, verifier })
}

fn verifier(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsProblem> {
    let mut roots = RootCertStore::empty();
    let mut last = &tls.certificate;
    for path in &tls.client_authorities {
        last = path;
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|_| TlsProblem { path: path.clone(), what: "holds an authority that cannot be used" })?;
        }
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|_| TlsProblem { path: last.clone(), what: "gives no client authority that can be used" })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let problem = |what| TlsProblem { path: path.to_owned(), what };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(problem("holds no certificate in PEM")),
        Ok(chain) => Ok(chain),
        Err(_) => Err(problem("cannot be read as certificates in PEM")),
    }
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

impl TlsMaterial {
    /// Whether the chain leads to a client authority that is trusted now.
    #[must_use]
    pub fn trusts(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let (Some(verifier), Some((leaf, rest))) = (&self.verifier, chain.split_first()) else {
            return false;
        };
        verifier.verify_client_cert(leaf, rest, now).is_ok()
    }
}

/// The certificate of listener `index` in the snapshot of the moment.
pub(super) struct Certificates {
    state: Arc<State>,
    index: usize,
}

impl Certificates {
    pub(super) const fn new(state: Arc<State>, index: usize) -> Self {
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

/// The client authorities of listener `index` in the snapshot of the moment.
pub(super) struct Clients {
    state: Arc<State>,
    index: usize,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    pub(super) fn new(state: Arc<State>, index: usize) -> Self {
        Self { state, index, provider: provider() }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clients({})", self.index)
    }
}

fn material(state: &State, index: usize) -> Option<Arc<TlsMaterial>> {
    state.snapshot().tls.get(index).cloned().flatten()
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        material(&self.state, self.index).is_some_and(|material| material.verifier.is_some())
    }

    fn client_auth_mandatory(&self) -> bool {
        material(&self.state, self.index).is_none_or(|material| material.clients == ClientCertificates::Required)
    }

    /// None: the authorities change while this is borrowed.
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
        let verifier = material.as_ref().and_then(|material| material.verifier.as_ref());
        let verifier = verifier.ok_or_else(|| rustls::Error::General("no client authority".into()))?;
        verifier.verify_client_cert(end_entity, intermediates, now)
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
