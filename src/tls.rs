//! What a listener's TLS is made of: files read and checked before anybody
//! sees them.

mod crl;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::FromDer as _;

use crate::config::{ClientCertificates, ExpiredCrls, Tls};

use crl::{Authorities, Crl};

/// What a listener's TLS is made of, read and checked.
pub struct TlsMaterial {
    /// The gate's own certificate and key.
    pub key: Arc<CertifiedKey>,
    /// Whether clients present certificates.
    pub clients: ClientCertificates,
    /// Judges them; none where they are not asked for one.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// What is allowed but worth a word when it is read.
    pub warnings: Vec<String>,
    /// When each revocation list ends, in seconds since the epoch, soonest first.
    crl_ends: Vec<i64>,
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
    let clients = match tls.clients {
        ClientCertificates::Off => Clients::default(),
        ClientCertificates::Optional | ClientCertificates::Required => Clients::load(tls, provider())?,
    };
    Ok(TlsMaterial {
        key: Arc::new(certified),
        clients: tls.clients,
        verifier: clients.verifier,
        warnings: clients.warnings,
        crl_ends: clients.crl_ends,
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

/// What clients' certificates are judged by.
#[derive(Default)]
struct Clients {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    warnings: Vec<String>,
    crl_ends: Vec<i64>,
}

impl Clients {
    fn load(tls: &Tls, provider: Arc<CryptoProvider>) -> Result<Self, TlsProblem> {
        let mut roots = RootCertStore::empty();
        let mut authorities = Vec::new();
        for path in &tls.client_authorities {
            for certificate in certificates(path)? {
                roots
                    .add(certificate.clone())
                    .map_err(|_| TlsProblem { path: path.clone(), what: "holds an authority that cannot be used" })?;
                authorities.push(certificate);
            }
        }
        let authorities = Authorities::new(&authorities, &provider);
        let crls = crl::read(&tls.client_crls, &authorities)?;
        let mut crl_ends: Vec<_> = crls.iter().map(|crl| crl.next_update).collect();
        crl_ends.sort_unstable();
        let warnings = warnings(tls, &authorities, &crls);
        let verifier = verifier(tls, Arc::new(roots), &crls, &provider)?;
        Ok(Self { verifier: Some(verifier), warnings, crl_ends })
    }
}

fn warnings(tls: &Tls, authorities: &Authorities<'_>, crls: &[Crl]) -> Vec<String> {
    let means = match tls.expired_crls {
        ExpiredCrls::Refuse => "every certificate of its issuer is refused",
        ExpiredCrls::Warn => "what it revokes stays revoked, what was revoked since is not",
    };
    let now = now();
    let expired = crls.iter().filter(|crl| crl.next_update <= now);
    let mut warnings: Vec<_> = expired
        .map(|crl| format!("{}: holds a revocation list that has expired: {means}", crl.path.display()))
        .collect();
    if !crls.is_empty() {
        let lacking = authorities.without(crls).into_iter();
        warnings.extend(lacking.map(|subject| {
            format!(
                "client_crl has no list of the client authority \"{subject}\": every certificate it issued is refused"
            )
        }));
    }
    warnings
}

fn verifier(
    tls: &Tls,
    roots: Arc<RootCertStore>,
    crls: &[Crl],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsProblem> {
    let build = |crls: &[Crl]| {
        // The whole chain is looked at, and an issuer without a list is refused.
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let builder = builder.with_crls(crls.iter().map(|crl| crl.der.clone()));
        match tls.expired_crls {
            ExpiredCrls::Refuse => builder.enforce_revocation_expiration().build(),
            ExpiredCrls::Warn => builder.build(),
        }
    };
    build(crls).map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(_) => {
            let bad = crls.iter().find(|crl| build(std::slice::from_ref(crl)).is_err());
            let path = bad.map_or(&tls.certificate, |crl| &crl.path).clone();
            TlsProblem { path, what: "holds a revocation list of a kind that is not supported" }
        }
        _ => {
            let path = tls.client_authorities.last().unwrap_or(&tls.certificate).clone();
            TlsProblem { path, what: "gives no client authority that can be used" }
        }
    })
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
    /// Whether the chain leads to a client authority that is trusted at `now`,
    /// seconds since the epoch, and nothing in it is revoked.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: i64) -> Result<(), rustls::Error> {
        let (Some(verifier), Some((leaf, rest))) = (&self.verifier, chain.split_first()) else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
        verifier.verify_client_cert(leaf, rest, now).map(drop)
    }

    /// When [`TlsMaterial::verify`] may say something else than at `now`
    /// because a revocation list ends.
    #[must_use]
    pub fn next_change(&self, now: i64) -> Option<i64> {
        match self.expired_crls {
            ExpiredCrls::Refuse => self.crl_ends.iter().copied().find(|end| *end > now),
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
        self.crl_ends.first().copied()
    }
}

/// Seconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
