//! Certificate revocation lists (RFC 5280 section 5): read, checked against the authorities that may
//! have signed them, and put in the order in which they count.
//!
//! For every chain, webpki judges a list's signature and the certificates it revokes. This file finds
//! faults of a list that concern all chains.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use filters::pem;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::read::{TlsProblem, text};

/// Most bytes of a file of lists.
const LARGEST: u64 = 64 << 20;

/// One revocation list.
pub(super) struct Crl {
    /// Its file.
    pub(super) path: PathBuf,
    /// The list itself.
    pub(super) der: CertificateRevocationListDer<'static>,
    /// Seconds since the epoch at which it ends.
    pub(super) next_update: i64,
    this_update: i64,
    /// Its number, counted by the authority, big-endian.
    number: Vec<u8>,
    issuer: Vec<u8>,
    /// The index of the authority that signed it, where that is a configured one.
    authority: Option<usize>,
}

/// The authorities that lists are checked against.
pub(super) struct Authorities<'a> {
    certificates: Vec<X509Certificate<'a>>,
    provider: &'a CryptoProvider,
}

impl<'a> Authorities<'a> {
    /// The authorities that can be read; webpki ignores the others too.
    pub(super) fn new(certificates: &'a [CertificateDer<'_>], provider: &'a CryptoProvider) -> Self {
        let parse = |der: &'a CertificateDer<'_>| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed);
        Self { certificates: certificates.iter().filter_map(parse).collect(), provider }
    }

    /// The subjects of authorities of which `lists` has no list.
    pub(super) fn without(&self, lists: &[Crl]) -> Vec<String> {
        let signers = lists.iter().filter_map(|list| self.certificates.get(list.authority?));
        // An authority may be configured twice, and its certificate renewed.
        let same = |one: &X509Certificate<'_>, other: &X509Certificate<'_>| {
            one.subject() == other.subject() && one.public_key() == other.public_key()
        };
        let lacks = |one: &&X509Certificate<'_>| !signers.clone().any(|other| same(one, other));
        self.certificates.iter().filter(lacks).map(|certificate| certificate.subject().to_string()).collect()
    }

    /// The index of the authority that signed `list`: `Ok(None)` where no authority has its issuer's
    /// name, as with an intermediate authority that clients present themselves.
    ///
    /// # Errors
    /// An authority has that name and did not sign it.
    fn signer(&self, list: &CertificateRevocationList<'_>) -> Result<Option<usize>, &'static str> {
        let issuer = list.issuer().as_raw();
        let mut named = false;
        for (index, certificate) in self.certificates.iter().enumerate() {
            if certificate.subject().as_raw() == issuer {
                named = true;
                if self.verifies(&certificate.public_key().subject_public_key.data, list) {
                    return Ok(Some(index));
                }
            }
        }
        if named { Err("holds a list that the authority of its name did not sign") } else { Ok(None) }
    }

    fn verifies(&self, key: &[u8], list: &CertificateRevocationList<'_>) -> bool {
        let algorithms = self.provider.signature_verification_algorithms.all.iter();
        let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
        algorithms.into_iter().any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
    }
}

/// Reads every list of `files`, the newest of each issuer first: webpki uses the first that it finds.
///
/// # Errors
/// The first file that cannot be used, and why.
pub(super) fn read(files: &[PathBuf], authorities: &Authorities<'_>) -> Result<Vec<Crl>, TlsProblem> {
    let mut lists = Vec::new();
    for path in files {
        for der in lists_of(path)? {
            lists.push(parse(path, der, authorities).map_err(|what| TlsProblem::new(path, what))?);
        }
    }
    lists.sort_by_key(|list| Reverse((list.this_update, list.number.len(), list.number.clone())));
    match ambiguous(&lists) {
        Some(path) => Err(TlsProblem::new(&path, "holds a list of an authority whose name another one has too")),
        None => Ok(lists),
    }
}

/// The lists in a file: one in DER, or any number in PEM.
fn lists_of(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsProblem> {
    let bytes = text(path, LARGEST)?;
    if matches!(CertificateRevocationList::from_der(&bytes), Ok((rest, _)) if rest.is_empty()) {
        return Ok(vec![bytes.into()]);
    }
    // It begins as DER of more than 127 bytes, which no text does.
    if matches!(bytes.as_slice(), [0x30, 0x80..=0xFF, ..]) {
        return Err(TlsProblem::new(path, "holds no revocation list in PEM or DER"));
    }
    let lists = pem::revocation_lists(&bytes).map_err(|fault| TlsProblem::of_text(path, fault))?;
    Ok(lists.into_iter().map(Into::into).collect())
}

fn parse(
    path: &Path,
    der: CertificateRevocationListDer<'static>,
    authorities: &Authorities<'_>,
) -> Result<Crl, &'static str> {
    let (rest, list) =
        CertificateRevocationList::from_der(&der).map_err(|_| "holds a revocation list that cannot be read")?;
    if !rest.is_empty() {
        return Err("holds a revocation list with something after its end");
    }
    let next_update = list.next_update().ok_or("holds a revocation list without `nextUpdate`")?.timestamp();
    let authority = authorities.signer(&list)?;
    let number = list.crl_number().map_or_else(Vec::new, |number| number.to_bytes_be());
    let (this_update, issuer) = (list.last_update().timestamp(), list.issuer().as_raw().to_vec());
    drop(list);
    Ok(Crl { path: path.to_owned(), der, next_update, this_update, number, issuer, authority })
}

/// The file of a list whose issuer's name two authorities with lists share: webpki tells issuers apart
/// by name, and would refuse one of them for ever.
fn ambiguous(lists: &[Crl]) -> Option<PathBuf> {
    let other = |one: &Crl| lists.iter().any(|other| other.issuer == one.issuer && other.authority != one.authority);
    lists.iter().find(|list| other(list)).map(|list| list.path.clone())
}
