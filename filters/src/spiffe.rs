//! SPIFFE IDs, to the letter: none is normalised, so that two that are not
//! the same text are never the same name.
//!
//! Source: <https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>,
//! section 2.

use std::fmt;

/// The prefix of every SPIFFE ID.
const SCHEME: &str = "spiffe://";

/// The name of a trust domain: 1 to 255 of `a-z`, `0-9`, `.`, `-`, `_`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TrustDomain(Box<str>);

impl TrustDomain {
    /// Longest name, in bytes.
    pub const MAX: usize = 255;

    /// `None` where `name` is not one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
        let good = !name.is_empty() && name.len() <= Self::MAX && name.bytes().all(fits);
        good.then(|| Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SPIFFE ID of a workload: a trust domain and a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId {
    text: Box<str>,
    domain: TrustDomain,
}

impl SpiffeId {
    /// Longest one, in bytes.
    pub const MAX: usize = 2048;

    /// `None` where `text` is not one: another scheme, a trust domain that is
    /// none (an upper-case letter, a user or a port in it), no path, an empty
    /// segment, `.` or `..`, or any other character than `A-Z`, `a-z`, `0-9`,
    /// `.`, `-`, `_` in a segment, so neither a query nor a fragment nor a `%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SCHEME).filter(|_| text.len() <= Self::MAX)?;
        let (domain, path) = rest.split_once('/')?;
        let domain = TrustDomain::parse(domain)?;
        path.split('/').all(is_segment).then(|| Self { text: text.into(), domain })
    }

    /// True where `uri` is of the scheme, in any case (RFC 3986 section 3.1), well formed or not.
    #[must_use]
    pub fn is_claimed_by(uri: &str) -> bool {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe"))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The workload that it names.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }
}

fn is_segment(segment: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    !matches!(segment, "" | "." | "..") && segment.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_a_trust_domain_and_a_path() {
        let longest = format!("spiffe://a/{}", "x".repeat(SpiffeId::MAX - "spiffe://a/".len()));
        for (text, domain) in [
            ("spiffe://corp.example/agent/ci", "corp.example"),
            ("spiffe://corp/ns/Prod/sa/_a-b.c", "corp"),
            ("spiffe://10.0.0.1/x", "10.0.0.1"),
            ("spiffe://a_b-c/...", "a_b-c"),
            (longest.as_str(), "a"),
        ] {
            let id = SpiffeId::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((id.as_str(), id.trust_domain().as_str()), (text, domain));
        }
    }

    #[test]
    fn what_is_not_to_the_letter_is_none() {
        let (long_id, long_domain) = ("x".repeat(SpiffeId::MAX), "d".repeat(TrustDomain::MAX + 1));
        for bad in [
            "",
            "spiffe:",
            "spiffe:/corp/a",
            "spiffe://",
            "spiffe:///a",
            "spiffe://corp",
            "spiffe://corp/",
            "spiffe://corp/a/",
            "spiffe://corp//a",
            "spiffe://corp/a//b",
            "spiffe://corp/.",
            "spiffe://corp/a/../b",
            "SPIFFE://corp/a",
            "Spiffe://corp/a",
            "https://corp/a",
            " spiffe://corp/a",
            "spiffe://corp/a ",
            "spiffe://Corp/a",
            "spiffe://corp:8443/a",
            "spiffe://corp:/a",
            "spiffe://user@corp/a",
            "spiffe://[::1]/a",
            "spiffe://corp%2e/a",
            "spiffe://cörp/a",
            "spiffe://corp/a?b",
            "spiffe://corp/a#b",
            "spiffe://corp?a=/b",
            "spiffe://corp/%61",
            "spiffe://corp/a%2fb",
            "spiffe://corp/a\\b",
            "spiffe://corp/a b",
            "spiffe://corp/a\0",
            "spiffe://corp/ä",
            &format!("spiffe://a/{long_id}"),
            &format!("spiffe://{long_domain}/a"),
        ] {
            assert_eq!(SpiffeId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_scheme_is_claimed_in_any_case() {
        for uri in ["spiffe://corp/a", "SPIFFE:x", "spiffe:"] {
            assert!(SpiffeId::is_claimed_by(uri), "{uri}");
        }
        for uri in ["spiffe", "spiffes://corp/a", "https://spiffe://a", "urn:spiffe:x"] {
            assert!(!SpiffeId::is_claimed_by(uri), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_one_is_of_plain_parts(text in "(spiffe|SPIFFE|x)://[a-zA-Z0-9.:@_-]{0,8}(/[a-zA-Z0-9.%?#/_-]{0,6}){0,3}") {
            if let Some(id) = SpiffeId::parse(&text) {
                let rest = id.as_str().strip_prefix("spiffe://").unwrap();
                let mut parts = rest.split('/');
                prop_assert_eq!(parts.next(), Some(id.trust_domain().as_str()));
                let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
                prop_assert!(parts.all(|part| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain)));
                prop_assert!(SpiffeId::is_claimed_by(&text));
            }
        }
    }
}
