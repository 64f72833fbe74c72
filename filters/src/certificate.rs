//! The facts of a peer's certificate, read once per connection.
//!
//! Facts are not a verdict: whether the chain is trusted, valid now, and whose
//! it is, is judged per snapshot and per request (invariant 9).

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::secret::Digest;

/// What the leaf certificate says of its holder.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    /// SHA-256 of the DER encoding.
    pub fingerprint: Digest,
    /// URI subject alternative names.
    pub uris: Vec<String>,
    /// DNS subject alternative names.
    pub dns: Vec<String>,
    /// Email subject alternative names.
    pub emails: Vec<String>,
    /// Common names of the subject; more than one is ambiguous.
    pub common_names: Vec<String>,
    /// Seconds since the epoch before which it is not valid.
    pub not_before: i64,
    /// Seconds since the epoch after which it is not valid.
    pub not_after: i64,
    /// Whether the extended key usage names client authentication.
    pub client_auth: bool,
}

impl PeerCertificate {
    /// Reads the leaf's DER encoding (RFC 5280).
    ///
    /// `None` where it is not one certificate.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let mut facts = Self {
            fingerprint: Digest::of(der),
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
            common_names: common_names(&certificate)?,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            client_auth: false,
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => facts.add_names(&names.general_names),
                ParsedExtension::ExtendedKeyUsage(usage) => facts.client_auth = usage.client_auth,
                _ => {}
            }
        }
        Some(facts)
    }

    /// Whether `now`, seconds since the epoch, lies in its validity.
    #[must_use]
    pub const fn is_valid_at(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    fn add_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names {
            match name {
                GeneralName::URI(text) => self.uris.push((*text).to_owned()),
                GeneralName::DNSName(text) => self.dns.push((*text).to_owned()),
                GeneralName::RFC822Name(text) => self.emails.push((*text).to_owned()),
                _ => {}
            }
        }
    }
}

fn common_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    certificate.subject().iter_common_name().map(|name| name.as_str().map(str::to_owned).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert!(PeerCertificate::parse(b"").is_none());
        assert!(PeerCertificate::parse(b"\x30\x03\x02\x01\x01").is_none());
    }
}
