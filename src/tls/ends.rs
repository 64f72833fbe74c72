//! The times at which certificates and revocation lists end, for those who watch over them.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The use of a file of certificates or revocation lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedAs {
    /// The certificate chain of a listener.
    Server,
    /// Authorities of clients' certificates.
    ClientAuthority,
    /// Revocation lists of those.
    RevocationList,
    /// The certificate chain that the gate presents to Vault.
    VaultClient,
    /// Authorities of Vault's certificate.
    VaultAuthority,
}

impl UsedAs {
    /// Every use.
    pub const EVERY: [Self; 5] =
        [Self::Server, Self::ClientAuthority, Self::RevocationList, Self::VaultClient, Self::VaultAuthority];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::ClientAuthority => "client_authority",
            Self::RevocationList => "revocation_list",
            Self::VaultClient => "vault_client",
            Self::VaultAuthority => "vault_authority",
        }
    }
}

/// The time at which one certificate or list of a file ends.
#[derive(Clone, Debug)]
pub struct End {
    /// The use of the file.
    pub of: UsedAs,
    /// The file.
    pub file: PathBuf,
    /// The time, in seconds since the epoch.
    pub at: i64,
}

impl End {
    /// The ends of those certificates of a file that can be read (`notAfter`, RFC 5280, section 4.1.2.5).
    pub fn of_chain<'a>(
        of: UsedAs,
        file: &Path,
        chain: impl IntoIterator<Item = &'a CertificateDer<'a>>,
    ) -> impl Iterator<Item = Self> {
        chain.into_iter().filter_map(move |der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            Some(Self { of, file: file.to_owned(), at: certificate.validity().not_after.timestamp() })
        })
    }
}
