//! What a listener's TLS is made of: files read and checked before anybody
//! sees them.

mod clients;
mod crl;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerified;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::FromDer as _;

use crate::config::{ClientCertificates, ExpiredCrls, Tls};

use clients::ClientAuthorities;

/// What a listener's TLS is made of, read and checked.
pub struct TlsMaterial {
    /// The gate's own certificate and key.
    pub key: Arc<CertifiedKey>,
    /// Whether clients present certificates.
    pub clients: ClientCertificates,
    /// What is allowed but worth a word when it is read.
    pub warnings: Vec<String>,
    /// Judges them.
    authorities: ClientAuthorities,
    expired_crls: ExpiredCrls,
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
    let Pair { certified, .. } = pair(&tls.certificate, &tls.key)?;
    let (authorities, warnings) = match tls.clients {
        ClientCertificates::Off => Default::default(),
        ClientCertificates::Optional | ClientCertificates::Required => ClientAuthorities::load(tls, &provider())?,
    };
    Ok(TlsMaterial {
        key: Arc::new(certified),
        clients: tls.clients,
        warnings,
        authorities,
        expired_crls: tls.expired_crls,
    })
}

/// A certificate chain and its key.
pub struct Pair {
    /// The chain, the own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// Both, as a server presents them.
    pub certified: CertifiedKey,
}

/// Reads PEM files of a certificate chain and its key.
///
/// # Errors
/// The file that cannot be used, and why.
pub fn pair(certificate: &Path, key: &Path) -> Result<Pair, TlsProblem> {
    let chain = certificates(certificate)?;
    let problem = |path: &Path, what| TlsProblem { path: path.to_owned(), what };
    for one in &chain {
        // The proxy framework expects to be able to read what it presents.
        if x509_parser::prelude::X509Certificate::from_der(one).is_err() {
            return Err(problem(certificate, "holds a certificate that cannot be read"));
        }
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|_| problem(key, "holds no private key in PEM"))?;
    let certified = CertifiedKey::from_der(chain.clone(), secret.clone_key(), &provider())
        .map_err(|_| problem(key, "is not the key of the certificate"))?;
    Ok(Pair { chain, key: secret, certified })
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
    /// Whether a leaf and what was presented with it lead to a client
    /// authority that is trusted at `now`, for the leaf's trust domain where it
    /// is an X.509-SVID, and nothing in the chain is revoked.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.authorities.of(leaf)?.verify_client_cert(leaf, others, now)
    }

    /// When [`TlsMaterial::verify`] may say something else than at `now`
    /// because a revocation list ends.
    #[must_use]
    pub fn next_change(&self, now: i64) -> Option<i64> {
        match self.expired_crls {
            ExpiredCrls::Refuse => self.authorities.crl_ends.iter().copied().find(|end| *end > now),
            ExpiredCrls::Warn => None,
        }
    }

    /// Logs its warnings.
    pub fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// When the first revocation list ends.
    #[must_use]
    pub fn first_crl_end(&self) -> Option<i64> {
        self.authorities.crl_ends.first().copied()
    }
}

/// Seconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
