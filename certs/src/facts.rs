use aws_lc_rs::digest::{self, Digest};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{ParsedExtension, X509Certificate};

/// A certificate that was minted earlier, as far as it has to be known.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) common_name: Option<String>,
    pub(crate) key_id: Option<Vec<u8>>,
    pub(crate) issuer_key_id: Option<Vec<u8>>,
    not_after: OffsetDateTime,
}

impl Facts {
    /// The facts of the first certificate in `pem`; `None` when it cannot be read.
    pub(crate) fn parse(pem: &str) -> Option<Facts> {
        let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let name = certificate.subject().iter_common_name().next();
        Some(Facts {
            common_name: name.and_then(|name| Some(name.as_str().ok()?.to_owned())),
            key_id: key_id(&certificate),
            issuer_key_id: issuer_key_id(&certificate),
            not_after: certificate.validity().not_after.to_datetime(),
        })
    }

    /// True where the certificate's end is nearer than `time`, or past.
    pub(crate) fn ends_within(&self, time: Duration) -> bool {
        self.not_after - OffsetDateTime::now_utc() < time
    }
}

/// SHA-256 of the first certificate in `pem`; `None` when it cannot be read.
pub(crate) fn digest(pem: &str) -> Option<Digest> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    Some(digest::digest(&digest::SHA256, &pem.contents))
}

/// The serial number of the first certificate in `pem`, big-endian; `None` when it cannot be read.
pub(crate) fn serial(pem: &str) -> Option<Vec<u8>> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    Some(pem.parse_x509().ok()?.raw_serial().to_vec())
}

/// True where `key` is the public key that `pem` certifies.
pub(crate) fn certifies(pem: &str, key: &[u8]) -> bool {
    parse_x509_pem(pem.as_bytes()).is_ok_and(|(_, pem)| {
        pem.parse_x509().is_ok_and(|certificate| certificate.public_key().subject_public_key.data == key)
    })
}

fn key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn issuer_key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}
