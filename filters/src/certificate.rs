//! The facts of a peer's certificate, read once per connection.
//!
//! Facts are not a verdict: whether the chain is trusted, valid now, and whose
//! it is, is judged per snapshot and per request (invariant 9).

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::secret::Digest;
use crate::spiffe::SpiffeId;

/// What a certificate is as an X.509-SVID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Svid {
    /// It does not claim to be one.
    None,
    /// It is one, of this workload.
    Of(SpiffeId),
    /// It has a URI of the scheme `spiffe`, and must not pass for one.
    Broken,
}

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
    /// Whether it says that its key signs certificates or revocation lists.
    pub signs: bool,
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
            signs: false,
        };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => facts.add_names(&names.general_names),
                ParsedExtension::ExtendedKeyUsage(usage) => facts.client_auth = usage.client_auth,
                ParsedExtension::BasicConstraints(constraints) => facts.signs |= constraints.ca,
                ParsedExtension::KeyUsage(usage) => facts.signs |= usage.key_cert_sign() || usage.crl_sign(),
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

    /// What it is as an X.509-SVID: it is one where its SPIFFE ID is the only
    /// URI in it, and it is no signing certificate.
    ///
    /// Source: <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>,
    /// section 5.2.
    #[must_use]
    pub fn svid(&self) -> Svid {
        match self.uris.as_slice() {
            uris if !uris.iter().any(|uri| SpiffeId::is_claimed_by(uri)) => Svid::None,
            [uri] if !self.signs => SpiffeId::parse(uri).map_or(Svid::Broken, Svid::Of),
            _ => Svid::Broken,
        }
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
    use certs::{Authority, Leaf};
    use x509_parser::pem::parse_x509_pem;

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert!(PeerCertificate::parse(b"").is_none());
        assert!(PeerCertificate::parse(b"\x30\x03\x02\x01\x01").is_none());
    }

    fn svid(leaf: Leaf) -> Svid {
        let issued = Authority::new("CA").unwrap().issue(&leaf).unwrap();
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        PeerCertificate::parse(&pem.contents).unwrap().svid()
    }

    #[test]
    fn an_svid_has_one_uri_and_signs_nothing() {
        let with = |uris: &[&str]| Leaf { uris: uris.iter().map(|uri| (*uri).into()).collect(), ..Leaf::agent("ci") };
        let id = "spiffe://corp/agent/ci";
        assert_eq!(svid(with(&[id])), Svid::Of(SpiffeId::parse(id).unwrap()));
        assert_eq!(svid(with(&[])), Svid::None);
        assert_eq!(svid(with(&["https://corp/a", "urn:x"])), Svid::None);
        for uris in [
            &[id, "spiffe://corp/agent/other"][..],
            &[id, "https://corp/a"],
            &["https://corp/a", id],
            &[id, id],
            &["spiffe://corp/agent/../ci"],
            &["SPIFFE://corp/agent/ci"],
        ] {
            assert_eq!(svid(with(uris)), Svid::Broken, "{uris:?}");
        }
        assert_eq!(svid(Leaf { is_ca: true, ..with(&[id]) }), Svid::Broken);
        assert_eq!(svid(Leaf { is_ca: true, ..with(&[]) }), Svid::None);
        let signs = Leaf { signs: true, ..with(&[id]) };
        assert_eq!(svid(signs), Svid::Broken);
    }
}
