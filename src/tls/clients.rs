//! The authorities of clients' certificates. An X.509-SVID is judged by the authorities of its trust
//! domain, chosen before anything is verified, so that no trust domain's authority vouches for
//! another's workload.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use filters::certificate::{PeerCertificate, Svid};
use filters::spiffe::TrustDomain;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore};

use crate::config::{ExpiredCrls, Tls};

use super::crl::{self, Authorities, Crl};
use super::ends::{End, UsedAs};
use super::read::{TlsProblem, certificates};

type Verifier = Arc<dyn ClientCertVerifier>;

/// The authorities of one listener's clients.
#[derive(Default)]
pub(super) struct ClientAuthorities {
    /// The authorities for clients of no trust domain that has its own.
    common: Option<Verifier>,
    /// The accepted trust domains, where the configuration names them, each with its own authorities or
    /// none.
    domains: Vec<(TrustDomain, Option<Verifier>)>,
    /// The ends of all revocation lists, in seconds since the epoch, soonest first.
    pub(super) crl_ends: Vec<i64>,
    /// The ends of authorities and lists, for those who watch over them.
    pub(super) ends: Vec<End>,
}

impl ClientAuthorities {
    /// Reads and checks the files; gives warnings too.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub(super) fn load(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<(Self, Vec<String>), TlsProblem> {
        let common = read(&tls.client_authorities)?;
        let domains = tls.trust_domains.iter().map(|domain| read(&domain.authorities));
        let domains = domains.collect::<Result<Vec<_>, _>>()?;
        let known = || common.iter().chain(domains.iter().flatten());
        let all: Vec<_> = known().map(|(_, one)| one.clone()).collect();
        let ends = known().flat_map(|(file, one)| End::of_chain(UsedAs::ClientAuthority, file, [one]));
        let mut ends: Vec<_> = ends.collect();
        let authorities = Authorities::new(&all, provider);
        let crls = crl::read(&tls.client_crls, &authorities)?;
        let mut crl_ends: Vec<_> = crls.iter().map(|crl| crl.next_update).collect();
        crl_ends.sort_unstable();
        ends.extend(crls.iter().map(|crl| End {
            of: UsedAs::RevocationList,
            file: crl.path.clone(),
            at: crl.next_update,
        }));
        let warnings = warnings(tls, &authorities, &crls);
        let verifier = |of: Vec<Authority>| match of.is_empty() {
            true => Ok(None),
            false => verifier(tls, of, &crls, provider).map(Some),
        };
        let common = verifier(common)?;
        let names = tls.trust_domains.iter().map(|domain| domain.name.clone());
        let domains = names.zip(domains).map(|(name, own)| Ok((name, verifier(own)?)));
        let domains = domains.collect::<Result<_, _>>()?;
        Ok((Self { common, domains, crl_ends, ends }, warnings))
    }

    /// The verifier that judges this leaf.
    ///
    /// # Errors
    /// No authority may vouch for it.
    pub(super) fn of(&self, leaf: &CertificateDer<'_>) -> Result<&Verifier, rustls::Error> {
        let none = rustls::Error::from(CertificateError::UnknownIssuer);
        if self.domains.is_empty() {
            return self.common.as_ref().ok_or(none);
        }
        let own = match PeerCertificate::parse(leaf).ok_or(CertificateError::BadEncoding)?.svid() {
            Svid::None => None,
            Svid::Of(id) => {
                let domain = self.domains.iter().find(|(name, _)| name == id.trust_domain());
                let Some((_, own)) = domain else { return Err(none) };
                own.as_ref()
            }
            Svid::Broken(_) => return Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        own.or(self.common.as_ref()).ok_or(none)
    }
}

/// An authority's certificate, and its file.
type Authority = (PathBuf, CertificateDer<'static>);

fn read(files: &[PathBuf]) -> Result<Vec<Authority>, TlsProblem> {
    let mut found = Vec::new();
    for path in files {
        found.extend(certificates(path)?.into_iter().map(|certificate| (path.clone(), certificate)));
    }
    Ok(found)
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
    authorities: Vec<Authority>,
    crls: &[Crl],
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, TlsProblem> {
    let problem = |path: &Path, what| TlsProblem::new(path, what);
    let mut roots = RootCertStore::empty();
    let mut last = tls.certificate.clone();
    for (path, certificate) in authorities {
        roots.add(certificate).map_err(|_| problem(&path, "holds an authority that cannot be used"))?;
        last = path;
    }
    let roots = Arc::new(roots);
    let build = |crls: &[Crl]| {
        // The whole chain is checked, and an issuer without a list is refused.
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
            let path = bad.map_or(&tls.certificate, |crl| &crl.path);
            problem(path, "holds a revocation list of a kind that is not supported")
        }
        _ => problem(&last, "gives no client authority that can be used"),
    })
}

/// The time of the wall clock, in seconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
