//! Closed names: what may be an agent, a namespace of Vault's, a correlation id.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of an agent: `[a-z0-9][a-z0-9._-]{0,62}` without `..`.
///
/// The only text of a caller's that becomes a segment of a Vault path or the
/// name of a policy, so it is closed: Vault folds the case of aliases and
/// policy names, and reads `+` and `*` in them as wildcards.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// Longest name, in bytes.
    pub const MAX: usize = 63;

    /// `None` where `text` is not such a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        let fits = text.len() <= Self::MAX
            && (first.is_ascii_lowercase() || first.is_ascii_digit())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
            && !text.contains("..");
        fits.then(|| Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for AgentId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Judged again, as any text is.
impl<'de> Deserialize<'de> for AgentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("it is not an agent's name"))
    }
}

impl Borrow<str> for AgentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A namespace of Vault's (OpenBao, Vault Enterprise) by its whole path, such as `team-a/sub`; empty
/// for the root's.
///
/// Each segment is `[A-Za-z0-9_][A-Za-z0-9._-]*` and none of the names that Vault keeps for itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Namespace(Arc<str>);

/// Names that no namespace has.
/// Source: <https://openbao.org/docs/concepts/namespaces>
const RESERVED: [&str; 6] = ["root", "sys", "audit", "auth", "cubbyhole", "identity"];

impl Namespace {
    /// Longest path, in bytes.
    pub const MAX: usize = 255;

    /// `None` where `text` is not such a path. A slash may stand at either end, as Vault prints it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let path = path.strip_suffix('/').unwrap_or(path);
        (path.len() <= Self::MAX && path.split('/').all(is_of_namespace)).then(|| Self(path.into()))
    }

    /// The whole path, without a slash at either end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the root namespace.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of it as seen from `outer`: empty for `outer` itself, `None` where it lies elsewhere.
    #[must_use]
    pub fn below(&self, outer: &Self) -> Option<&str> {
        match self.0.strip_prefix(&*outer.0)? {
            "" => Some(""),
            path if outer.is_root() => Some(path),
            rest => rest.strip_prefix('/'),
        }
    }
}

fn is_of_namespace(segment: &str) -> bool {
    let begins = segment.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    begins && segment.bytes().all(fits) && !RESERVED.contains(&segment)
}

impl Serialize for Namespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Judged again, as any text is; an empty one is the root's.
impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("it is not a namespace"))
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "root" } else { &self.0 })
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// True where a caller's correlation id may be passed on: `[A-Za-z0-9._-]{1,128}`.
#[must_use]
pub fn is_correlation_id(text: &[u8]) -> bool {
    (1..=128).contains(&text.len()) && text.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_closed() {
        for (text, path) in
            [("team-a", "team-a"), ("a/b/", "a/b"), ("/a.b/_c", "a.b/_c"), ("Team", "Team"), ("rooted", "rooted")]
        {
            assert_eq!(Namespace::parse(text).map(|found| found.as_str().to_owned()).as_deref(), Some(path), "{text}");
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            "/",
            "//a",
            "a//b",
            ".",
            "..",
            "a/../b",
            ".a",
            "-a",
            "a b",
            "a+",
            "*",
            "a%2fb",
            "a\\b",
            "é",
            "a\n",
            "root",
            "a/sys",
            "auth/a",
            "audit",
            "cubbyhole",
            "identity",
            &long,
        ] {
            assert!(Namespace::parse(bad).is_none(), "{bad:?}");
        }
        for bad in ["\"..\"", "\"a b\"", "null", "1"] {
            assert!(serde_json::from_str::<Namespace>(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_str::<Namespace>("\"\"").unwrap(), Namespace::default());
    }

    #[test]
    fn a_namespace_lies_below_another_by_whole_segments() {
        let of = |text: &str| Namespace::parse(text).unwrap_or_default();
        for (inner, outer, below) in [
            ("", "", Some("")),
            ("a", "", Some("a")),
            ("a/b", "a", Some("b")),
            ("a/b", "a/b", Some("")),
            ("ab", "a", None),
            ("a", "a/b", None),
            ("b", "a", None),
            ("", "a", None),
        ] {
            assert_eq!(of(inner).below(&of(outer)), below, "{inner} {outer}");
        }
    }

    #[test]
    fn agent_names_are_closed() {
        for good in ["a", "0", "agent_api", "ci-1.prod", &"a".repeat(63)] {
            assert!(AgentId::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(64);
        for bad in
            ["", "+", "*", "..", "a..b", "a/b", "BOB", "bob\0x", "-a", ".a", "_a", "a b", "a%2e", "é", "a\n", &long]
        {
            assert!(AgentId::parse(bad).is_none(), "{bad:?}");
        }
    }
}
