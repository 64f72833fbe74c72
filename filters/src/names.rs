//! Closed names: what may be an agent, what may be a correlation id.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

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

/// True where a caller's correlation id may be passed on: `[A-Za-z0-9._-]{1,128}`.
#[must_use]
pub fn is_correlation_id(text: &[u8]) -> bool {
    (1..=128).contains(&text.len()) && text.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

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
