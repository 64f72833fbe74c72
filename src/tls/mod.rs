//! The TLS material of a listener: certificate, key, client authorities and revocation lists, read and
//! checked before they are used.

mod clients;
mod crl;
mod ends;
mod read;

pub use ends::{End, UsedAs};
pub use read::TlsProblem;

use std::path::Path;
use std::sync::Arc;

use filters::pem;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerified;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use crate::config::{ClientCertificates, ExpiredCrls, Tls};

use clients::ClientAuthorities;
use read::{LARGEST, ders, text};

/// The TLS material of one listener, read and checked.
pub struct TlsMaterial {
    /// The gate's own certificate and key.
    pub key: Arc<CertifiedKey>,
    /// The rule on clients' certificates.
    pub clients: ClientCertificates,
    /// Warnings about faults that do not prevent its use.
    pub warnings: Vec<String>,
    /// The authorities that judge them.
    authorities: ClientAuthorities,
    expired_crls: ExpiredCrls,
    ends: Vec<End>,
}

/// Reads and checks the files of one listener.
///
/// # Errors
/// The first file that cannot be used, and why.
pub fn load(tls: &Tls) -> Result<TlsMaterial, TlsProblem> {
    let Pair { certified, chain, .. } = pair(&tls.certificate, &tls.key)?;
    let (authorities, warnings) = match tls.clients {
        ClientCertificates::Off => Default::default(),
        ClientCertificates::Optional | ClientCertificates::Required => ClientAuthorities::load(tls, &provider())?,
    };
    let ends = End::of_chain(UsedAs::Server, &tls.certificate, &chain).collect();
    Ok(TlsMaterial {
        ends,
        key: Arc::new(certified),
        clients: tls.clients,
        warnings,
        authorities,
        expired_crls: tls.expired_crls,
    })
}

/// A certificate chain and its key.
pub struct Pair {
    /// The chain, with the server's or client's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// Chain and key in the form that a server presents.
    pub certified: CertifiedKey,
}

/// Reads PEM files of a certificate chain and its key.
///
/// # Errors
/// The file that cannot be used, and why.
pub fn pair(certificate: &Path, key: &Path) -> Result<Pair, TlsProblem> {
    let chain = ders(certificate, pem::chain)?;
    for one in &chain {
        // The proxy framework expects to be able to read the certificates that it presents.
        if x509_parser::prelude::X509Certificate::from_der(one).is_err() {
            return Err(TlsProblem::new(certificate, "holds a certificate that cannot be read"));
        }
    }
    let secret = Zeroizing::new(text(key, LARGEST)?);
    let mut secret = pem::private_key(&secret).map_err(|fault| TlsProblem::of_text(key, fault))?;
    let der = std::mem::take(&mut *secret.der);
    let secret = match secret.kind {
        pem::Kind::Pkcs1Key => PrivateKeyDer::Pkcs1(der.into()),
        pem::Kind::Sec1Key => PrivateKeyDer::Sec1(der.into()),
        _ => PrivateKeyDer::Pkcs8(der.into()),
    };
    let certified = CertifiedKey::from_der(chain.clone(), secret.clone_key(), &provider())
        .map_err(|_| TlsProblem::new(key, "is not the key of the certificate"))?;
    Ok(Pair { chain, key: secret, certified })
}

/// Checks a file of authorities for a reader that skips text it does not know: every certificate in the
/// file must be one that such a reader finds. Gives their ends.
///
/// # Errors
/// The file that cannot be used, and why.
pub fn check_authorities(path: &Path, of: UsedAs) -> Result<Vec<End>, TlsProblem> {
    let text = text(path, LARGEST)?;
    let all = pem::certificates(&text).map_err(|fault| TlsProblem::of_text(path, fault))?;
    let mut roots = RootCertStore::empty();
    for certificate in &all {
        let added = roots.add(certificate.as_slice().into());
        added.map_err(|_| TlsProblem::new(path, "holds an authority that cannot be used"))?;
    }
    let plain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match plain {
        Ok(plain) if plain.iter().map(|certificate| &**certificate).eq(all.iter().map(Vec::as_slice)) => {
            Ok(End::of_chain(of, path, &plain).collect())
        }
        _ => {
            let what = "must be plain PEM: each `-----BEGIN CERTIFICATE-----` and `-----END CERTIFICATE-----` on a \
                line of its own, without indentation and byte order mark";
            Err(TlsProblem::new(path, what))
        }
    }
}

/// The cryptography of this process.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone)
}

impl TlsMaterial {
    /// Verifies that a leaf and the certificates presented with it lead to a client authority that is
    /// trusted at `now`, for the leaf's trust domain where it is an X.509-SVID, and that nothing in the
    /// chain is revoked.
    ///
    /// # Errors
    /// The reason why they do not.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.authorities.of(leaf)?.verify_client_cert(leaf, others, now)
    }

    /// The time of the next revocation list's end after `now`, at which the result of
    /// [`TlsMaterial::verify`] may change.
    #[must_use]
    pub fn next_change(&self, now: i64) -> Option<i64> {
        match self.expired_crls {
            ExpiredCrls::Refuse => self.authorities.crl_ends.iter().copied().find(|end| *end > now),
            ExpiredCrls::Warn => None,
        }
    }

    /// Logs the warnings.
    pub fn warn(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// The ends of its certificates, authorities and revocation lists.
    pub fn ends(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().chain(&self.authorities.ends)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::read::certificates;
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let pipe = std::env::temp_dir().join(format!("portcullis-tls-pipe-{}", std::process::id()));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let provider = aws_lc_rs::default_provider();
        let authorities = crl::Authorities::new(&[], &provider);
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let lists = crl::read(&[path.to_owned()], &authorities).map(|_| ());
            let told = [
                pair(path, path).map(|_| ()),
                check_authorities(path, UsedAs::VaultAuthority).map(|_| ()),
                certificates(path).map(|_| ()),
                lists,
            ];
            for problem in told.map(Result::unwrap_err) {
                assert_eq!(problem.to_string(), format!("{}: cannot be read: is not a regular file", path.display()));
            }
        }
        std::fs::remove_file(&pipe).unwrap();
    }
}
