use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
    string::{BmpString, UniversalString},
};
use time::{Duration, OffsetDateTime};

use crate::Error;

/// The trust domain of the SPIFFE names in development certificates.
const TRUST_DOMAIN: &str = "portcullis.dev";

/// The contents of a certificate that is no authority, or is not meant to be one.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Common names in the order in which they are written, two at most; none gives an empty
    /// subject.
    pub common_names: Vec<String>,
    /// URI names, ASCII only.
    pub uris: Vec<String>,
    /// DNS names, ASCII only.
    pub dns: Vec<String>,
    /// Email addresses, ASCII only.
    pub emails: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
    /// The one extended key usage.
    pub usage: Usage,
    /// When it is valid.
    pub validity: Validity,
    /// True where it claims to be an authority.
    pub is_ca: bool,
    /// True where it claims that its key signs certificates, as an authority's does.
    pub signs: bool,
    /// The common name instead of all others, as old issuers write it.
    pub text: Option<Text>,
}

/// A text of a kind that is no UTF-8, by its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// UTF-16, big endian.
    Bmp(Vec<u8>),
    /// UTF-32, big endian.
    Universal(Vec<u8>),
    /// T.61, of which ASCII is a part.
    Teletex(String),
}

impl Text {
    fn value(&self) -> Result<DnValue, Error> {
        Ok(match self {
            Text::Bmp(bytes) => DnValue::BmpString(BmpString::from_utf16be(bytes.clone())?),
            Text::Universal(bytes) => DnValue::UniversalString(UniversalString::from_utf32be(bytes.clone())?),
            Text::Teletex(text) => DnValue::TeletexString(text.as_str().try_into()?),
        })
    }
}

/// The extended key usage of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// `clientAuth`
    Client,
    /// `serverAuth`
    Server,
    /// The extension is absent.
    None,
}

/// When a certificate or a revocation list is valid, seen from the moment it is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From an hour ago, for 90 days.
    Now,
    /// Ended an hour ago.
    Expired,
    /// Begins in a day.
    NotYet,
    /// From an hour ago until this many seconds from now.
    Seconds(i64),
}

impl Leaf {
    /// A server certificate for this machine: `localhost`, `127.0.0.1` and `::1`.
    pub fn server() -> Leaf {
        Leaf {
            common_names: vec!["localhost".into()],
            dns: vec!["localhost".into()],
            ips: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            usage: Usage::Server,
            ..Leaf::bare()
        }
    }

    /// An agent's client certificate: its name as the common name and as the last segment of a
    /// SPIFFE URI, valid for 90 days.
    pub fn agent(name: &str) -> Leaf {
        Leaf { uris: vec![format!("spiffe://{TRUST_DOMAIN}/agent/{name}")], ..Leaf::common_name(name) }
    }

    /// A client certificate whose only name is a common name.
    pub(crate) fn common_name(name: &str) -> Leaf {
        Leaf { common_names: vec![name.into()], ..Leaf::bare() }
    }

    /// A client certificate that names nobody.
    pub(crate) fn bare() -> Leaf {
        Leaf {
            common_names: Vec::new(),
            uris: Vec::new(),
            dns: Vec::new(),
            emails: Vec::new(),
            ips: Vec::new(),
            usage: Usage::Client,
            validity: Validity::Now,
            is_ca: false,
            signs: false,
            text: None,
        }
    }

    pub(crate) fn params(&self) -> Result<CertificateParams, Error> {
        let (not_before, not_after) = self.validity.bounds(OffsetDateTime::now_utc());
        let mut params = CertificateParams::default();
        params.not_before = not_before;
        params.not_after = not_after;
        params.distinguished_name = subject(&self.common_names)?;
        if let Some(text) = &self.text {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, text.value()?);
        }
        params.subject_alt_names = self.alternative_names()?;
        params.key_usages = self.key_usages();
        params.extended_key_usages = self.usage.purposes();
        params.use_authority_key_identifier_extension = true;
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Ok(params)
    }

    fn alternative_names(&self) -> Result<Vec<SanType>, Error> {
        let mut names = Vec::new();
        for uri in &self.uris {
            names.push(SanType::URI(uri.as_str().try_into()?));
        }
        for dns in &self.dns {
            names.push(SanType::DnsName(dns.as_str().try_into()?));
        }
        for email in &self.emails {
            names.push(SanType::Rfc822Name(email.as_str().try_into()?));
        }
        names.extend(self.ips.iter().copied().map(SanType::IpAddress));
        Ok(names)
    }

    fn key_usages(&self) -> Vec<KeyUsagePurpose> {
        let mut usages = vec![KeyUsagePurpose::DigitalSignature];
        if self.is_ca || self.signs {
            usages.push(KeyUsagePurpose::KeyCertSign);
        }
        usages
    }
}

impl Usage {
    fn purposes(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::None => Vec::new(),
        }
    }
}

impl Validity {
    pub(crate) fn bounds(self, now: OffsetDateTime) -> (OffsetDateTime, OffsetDateTime) {
        let hour = Duration::hours(1);
        match self {
            Validity::Now => (now - hour, now + Duration::days(90)),
            Validity::Expired => (now - Duration::days(30), now - hour),
            Validity::NotYet => (now + Duration::days(1), now + Duration::days(30)),
            Validity::Seconds(left) => (now - hour, now + Duration::seconds(left)),
        }
    }
}

/// A subject that holds these common names (two at most), each as a UTF8String.
///
/// A `DistinguishedName` keeps one value per attribute type. The second common name is carried
/// by the attribute's OID (2.5.4.3), which is the same on the wire.
pub(crate) fn subject(common_names: &[String]) -> Result<DistinguishedName, Error> {
    let attributes = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
    if common_names.len() > attributes.len() {
        return Err(Error::TooManyCommonNames(common_names.len()));
    }
    let mut subject = DistinguishedName::new();
    for (attribute, name) in attributes.into_iter().zip(common_names) {
        subject.push(attribute, DnValue::Utf8String(name.clone()));
    }
    Ok(subject)
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;
    use x509_parser::pem::parse_x509_pem;

    use super::*;
    use crate::Authority;

    fn names(leaf: &Leaf) -> Vec<String> {
        let issued = Authority::new("CA").unwrap().issue(leaf).unwrap();
        let (_, pem) = parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        names.value.general_names.iter().map(GeneralName::to_string).collect()
    }

    #[test]
    fn an_agent_is_named_by_uri() {
        let uri = "URI(spiffe://portcullis.dev/agent/agent_api)";
        assert_eq!(names(&Leaf::agent("agent_api")), [uri]);
    }

    #[test]
    fn a_server_is_this_machine() {
        assert_eq!(names(&Leaf::server()).len(), 3);
    }

    #[test]
    fn three_common_names_are_refused() {
        let leaf = Leaf { common_names: vec!["a".into(), "b".into(), "c".into()], ..Leaf::bare() };
        assert!(matches!(leaf.params(), Err(Error::TooManyCommonNames(3))));
    }

    #[test]
    fn a_key_does_not_show() {
        let issued = Authority::new("CA").unwrap().issue(&Leaf::server()).unwrap();
        assert!(issued.key.contains("PRIVATE KEY"));
        assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
    }
}
