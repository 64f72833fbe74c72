//! The facts of a peer's certificate, read once per connection.
//!
//! Facts are not a verdict: whether the chain is trusted, valid now, and whose
//! it is, is judged per snapshot and per request (invariant 9).

use x509_parser::der_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::secret::Digest;
use crate::spiffe::SpiffeId;

/// The kind of X.509-SVID that a certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Svid {
    /// The certificate does not claim to be one.
    None,
    /// The certificate is one, of this workload.
    Of(SpiffeId),
    /// The certificate has a URI of the scheme `spiffe`, and must not pass for one: the reason.
    Broken(&'static str),
}

/// The facts that a leaf certificate states of its holder.
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
    /// Common names of the subject; more than one is ambiguous, and `None` where one is no text.
    pub common_names: Option<Vec<String>>,
    /// Serial number in lower-case hexadecimal, the first 40 digits of it.
    pub serial: String,
    /// Seconds since the epoch before which it is not valid.
    pub not_before: i64,
    /// Seconds since the epoch after which it is not valid.
    pub not_after: i64,
    /// True where it may authenticate a client: its extended key usage names that, or is absent
    /// (RFC 5280, section 4.2.1.12).
    pub client_auth: bool,
    /// True where it says that its key signs certificates or revocation lists.
    pub signs: bool,
}

impl PeerCertificate {
    /// Reads the leaf's DER encoding (RFC 5280).
    ///
    /// `None` where it is not one certificate, or an extension that is read here cannot be.
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
            common_names: common_names(&certificate),
            serial: certificate.raw_serial().iter().take(20).map(|byte| format!("{byte:02x}")).collect(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            client_auth: true,
            signs: false,
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "READ names the extensions that are read")]
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(names) => facts.add_names(&names.general_names),
                ParsedExtension::ExtendedKeyUsage(usage) => facts.client_auth &= usage.client_auth,
                ParsedExtension::BasicConstraints(constraints) => facts.signs |= constraints.ca,
                ParsedExtension::KeyUsage(usage) => facts.signs |= usage.key_cert_sign() || usage.crl_sign(),
                _ if READ.contains(&extension.oid) => return None,
                _ => {}
            }
        }
        Some(facts)
    }

    /// True where `now`, seconds since the epoch, lies in its validity.
    #[must_use]
    pub const fn is_valid_at(&self, now: i64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The kind of X.509-SVID that it is: a valid one has its SPIFFE ID as its only URI and is no
    /// signing certificate.
    ///
    /// Source: <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>,
    /// section 5.2.
    #[must_use]
    pub fn svid(&self) -> Svid {
        match self.uris.as_slice() {
            uris if !uris.iter().any(|uri| SpiffeId::is_claimed_by(uri)) => Svid::None,
            [_] if self.signs => Svid::Broken("its key signs certificates, which a workload's must not"),
            [uri] => SpiffeId::parse(uri).map_or(Svid::Broken("its SPIFFE ID is not well formed"), Svid::Of),
            _ => Svid::Broken("it has another URI beside its SPIFFE ID"),
        }
    }

    fn add_names(&mut self, names: &[GeneralName<'_>]) {
        for name in names {
            match name {
                GeneralName::URI(text) => self.uris.push((*text).to_owned()),
                GeneralName::DNSName(text) => self.dns.push((*text).to_owned()),
                GeneralName::RFC822Name(text) => self.emails.push((*text).to_owned()),
                GeneralName::OtherName(..)
                | GeneralName::X400Address(_)
                | GeneralName::DirectoryName(_)
                | GeneralName::EDIPartyName(_)
                | GeneralName::IPAddress(_)
                | GeneralName::RegisteredID(_) => {}
            }
        }
    }
}

/// The extensions that are read here.
const READ: [Oid<'_>; 4] = [
    OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_SUBJECT_ALT_NAME,
];

fn common_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    certificate.subject().iter_common_name().map(|name| text(name.attr_value())).collect()
}

/// A DirectoryString (RFC 5280, section 4.1.2.4). Of a TeletexString ASCII alone: issuers do not agree
/// on the rest.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::NumericString | Tag::Ia5String => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        Tag::T61String => bytes.is_ascii().then(|| String::from_utf8(bytes.to_vec()).ok())?,
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks();
            let units: Vec<_> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        Tag::UniversalString => {
            let (characters, rest) = bytes.as_chunks();
            let characters = characters.iter().map(|bytes| char::from_u32(u32::from_be_bytes(*bytes)));
            characters.collect::<Option<_>>().filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use certs::{Authority, Leaf, Text, Usage};
    use x509_parser::pem::parse_x509_pem;

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        assert!(PeerCertificate::parse(b"").is_none());
        assert!(PeerCertificate::parse(b"\x30\x03\x02\x01\x01").is_none());
    }

    fn facts(leaf: &Leaf) -> PeerCertificate {
        let issued = Authority::new("CA").unwrap().issue(leaf).unwrap();
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        PeerCertificate::parse(&pem.contents).unwrap()
    }

    fn svid(leaf: Leaf) -> Svid {
        facts(&leaf).svid()
    }

    #[test]
    fn a_certificate_without_extended_key_usage_is_for_every_purpose() {
        let may = |usage| facts(&Leaf { usage, ..Leaf::agent("ci") }).client_auth;
        assert_eq!([Usage::None, Usage::Client, Usage::Server].map(may), [true, true, false]);
    }

    #[test]
    fn an_extension_that_cannot_be_read_is_no_absent_one() {
        let issued = Authority::new("CA").unwrap().issue(&Leaf::agent("ci")).unwrap();
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        // Extended key usage: the extension's name, and its value, a string of a list of names.
        let usage = b"\x55\x1d\x25\x04\x0c\x30\x0a\x06";
        let place = pem.contents.windows(usage.len()).position(|bytes| bytes == usage).unwrap();
        let may = |der: &[u8]| PeerCertificate::parse(der).is_some_and(|facts| facts.client_auth);
        assert!(may(&pem.contents));
        let mut broken = pem.contents.clone();
        // No object of any kind, of a length that is beyond the end.
        broken[place + usage.len() - 2] = 0x7f;
        assert!(!may(&broken));
    }

    #[test]
    fn a_common_name_of_any_kind_of_text_is_read_and_spoils_nothing_else() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
        let utf32 = |text: &str| text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect::<Vec<_>>();
        for (text, expected) in [
            (Text::Bmp(utf16("ci-ä")), Some("ci-ä")),
            (Text::Universal(utf32("ci-ä")), Some("ci-ä")),
            (Text::Teletex("ci".into()), Some("ci")),
        ] {
            let leaf = Leaf { text: Some(text.clone()), ..Leaf::agent("ci") };
            let facts = facts(&leaf);
            assert_eq!(
                facts.common_names.as_deref(),
                expected.map(|name| vec![name.to_owned()]).as_deref(),
                "{text:?}"
            );
            assert!(matches!(facts.svid(), Svid::Of(_)), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_no_name() {
        let read = |tag, bytes: &[u8]| {
            let header = x509_parser::der_parser::asn1_rs::Header::new_simple(tag);
            text(&Any::new(header, bytes))
        };
        for (tag, bytes, expected) in [
            (Tag::T61String, &b"J\xfcrgen"[..], None),
            (Tag::BmpString, b"\0c\0i\0", None),
            (Tag::BmpString, b"\xd8\x3d", None),
            (Tag::UniversalString, b"\0\0\0c\0", None),
            (Tag::UniversalString, b"\0\x11\0\0", None),
            (Tag::Utf8String, b"\xff", None),
            (Tag::OctetString, b"ci", None),
            (Tag::PrintableString, b"ci", Some("ci")),
        ] {
            assert_eq!(read(tag, bytes).as_deref(), expected, "{tag:?} {bytes:?}");
        }
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
            assert!(matches!(svid(with(uris)), Svid::Broken(_)), "{uris:?}");
        }
        assert!(matches!(svid(Leaf { is_ca: true, ..with(&[id]) }), Svid::Broken(_)));
        assert_eq!(svid(Leaf { is_ca: true, ..with(&[]) }), Svid::None);
        let signs = Leaf { signs: true, ..with(&[id]) };
        assert!(matches!(svid(signs), Svid::Broken(_)));
    }
}
