//! What a listener's TLS is made of: files read and checked before anybody
//! sees them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::FromDer as _;

use crate::config::{ClientCertificates, Tls};

/// What a listener's TLS is made of, read and checked.
pub struct TlsMaterial {
    /// The gate's own certificate and key.
    pub key: Arc<CertifiedKey>,
    /// Whether clients present certificates.
    pub clients: ClientCertificates,
    /// Judges them; none where they are not asked for one.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
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

/// The process's cryptography.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
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
