//! Patterns over paths and names: only what Vault's policies can express too.
//! Literal segments, `*` for one whole segment (Vault's `+`), `**` at the end
//! (Vault's trailing `*`), and a trailing `*` in a name.

mod absolute;

use std::fmt;

pub use absolute::{AbsolutePattern, Unsayable};

use crate::path::{self, SecretPath};

/// A pattern over the path of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    /// `**` at the end: one or more further segments.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Any,
}

/// A pattern over one name, such as a transit key's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamePattern {
    /// Exactly this name.
    Exact(Box<str>),
    /// Any name that begins so.
    Prefix(Box<str>),
}

/// A pattern that is not one; the text says what would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPattern(pub &'static str);

impl PathPattern {
    /// Everything: `**`.
    pub const EVERYTHING: Self = Self { segments: Vec::new(), open: true };

    /// Reads `apps/*/config`, `apps/**` or `**`.
    ///
    /// # Errors
    /// [`BadPattern`] for anything Vault's policies could not say.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let (body, open) = match text.strip_suffix("**") {
            Some("") => return Ok(Self { segments: Vec::new(), open: true }),
            Some(body) => (body.strip_suffix('/').ok_or(BadPattern("'**' must be a whole segment at the end"))?, true),
            None => (text, false),
        };
        let segments = body.split('/').map(Segment::parse).collect::<Result<_, _>>()?;
        Ok(Self { segments, open })
    }

    /// True where the secret at `path` is covered.
    #[must_use]
    pub fn covers(&self, path: &SecretPath) -> bool {
        let mut rest = path.segments();
        self.segments.iter().all(|segment| rest.next().is_some_and(|name| segment.fits(name)))
            && (rest.next().is_some() == self.open)
    }

    /// True where everything directly below `prefix` is covered, so that its
    /// names may be shown. `None` is the root of the namespace.
    #[must_use]
    pub fn covers_children(&self, prefix: Option<&SecretPath>) -> bool {
        match self.below(prefix) {
            Err(inside) => inside,
            Ok([]) => self.open,
            Ok(rest) => !self.open && matches!(rest, [Segment::Any]),
        }
    }

    /// True where `prefix` or anything below it may be covered, as a deny needs.
    #[must_use]
    pub fn touches_children(&self, prefix: Option<&SecretPath>) -> bool {
        self.below(prefix).map_or_else(|inside| inside, |rest| self.open && rest.is_empty())
    }

    /// The folder directly below `prefix` that the pattern names on its way.
    pub(crate) fn way_below(&self, prefix: Option<&SecretPath>) -> Option<&str> {
        match self.below(prefix) {
            Ok([Segment::Literal(name), rest @ ..]) if self.open || !rest.is_empty() => Some(name),
            _ => None,
        }
    }

    /// The rest of the pattern below `prefix`. `Err` where the pattern ends before `prefix` does or
    /// does not fit: true where `prefix` is inside.
    fn below(&self, prefix: Option<&SecretPath>) -> Result<&[Segment], bool> {
        let mut rest = self.segments.as_slice();
        for name in prefix.into_iter().flat_map(SecretPath::segments) {
            match rest.split_first() {
                Some((segment, after)) if segment.fits(name) => rest = after,
                Some(_) => return Err(false),
                None => return Err(self.open),
            }
        }
        Ok(rest)
    }
}

/// Patterns as Vault's policies have them: here one may also be empty, and then stands for the root
/// alone.
impl PathPattern {
    /// The prefixes directly below which it covers every name.
    #[must_use]
    pub fn listings(&self) -> Vec<Self> {
        match self.segments.split_last() {
            _ if self.open => vec![Self { segments: self.segments.clone(), open: false }, self.clone()],
            Some((Segment::Any, parents)) => vec![Self { segments: parents.to_vec(), open: false }],
            _ => Vec::new(),
        }
    }

    /// The folder itself, for what ends at it or is open below it.
    #[must_use]
    pub fn folder(&self) -> Self {
        Self { segments: self.segments.clone(), open: false }
    }

    /// The pattern directly above it, where its own names may be anything.
    #[must_use]
    pub fn above(&self) -> Option<Self> {
        match self.segments.split_last() {
            Some((Segment::Any, parents)) => Some(Self { segments: parents.to_vec(), open: false }),
            _ => None,
        }
    }

    /// The paths that both cover; `None` where there are none.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let (shorter, longer) = if self.segments.len() <= other.segments.len() { (self, other) } else { (other, self) };
        let fits = match (shorter.segments.len() == longer.segments.len(), shorter.open, longer.open) {
            (true, one, two) => one == two,
            (false, open, _) => open,
        };
        if !fits {
            return None;
        }
        let mut segments = longer.segments.clone();
        for (segment, other) in segments.iter_mut().zip(&shorter.segments) {
            match (&*segment, other) {
                (_, Segment::Any) => {}
                (Segment::Any, literal) => *segment = literal.clone(),
                (one, two) if one == two => {}
                _ => return None,
            }
        }
        Some(Self { segments, open: longer.open })
    }

    /// True where it covers all that `other` covers.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.meet(other).as_ref() == Some(other)
    }

    /// True where a whole segment may be anything.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.segments.contains(&Segment::Any)
    }

    /// The number of segments that it names.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.segments.len()
    }

    /// The same, where it is open, by patterns of which only one with `depth`
    /// segments or more is.
    #[must_use]
    pub fn spread(&self, depth: usize) -> Vec<Self> {
        let longer = |length| {
            let mut segments = self.segments.clone();
            segments.resize(length, Segment::Any);
            segments
        };
        if !self.open {
            return vec![self.clone()];
        }
        let depth = depth.max(self.depth());
        let closed = (self.depth() + 1..=depth).map(|length| Self { segments: longer(length), open: false });
        closed.chain([Self { segments: longer(depth), open: true }]).collect()
    }

    /// As Vault's policies write it, below `prefix`.
    #[must_use]
    pub fn below_prefix(&self, prefix: &str) -> String {
        let mut text = Vec::with_capacity(self.segments.len() + 2);
        text.push(prefix);
        text.extend(self.segments.iter().map(|segment| match segment {
            Segment::Literal(literal) => &**literal,
            Segment::Any => "+",
        }));
        text.extend(self.open.then_some("*"));
        text.join("/")
    }
}

/// As it is written.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// As it is written.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(literal) => &**literal,
            Segment::Any => "*",
        });
        let text: Vec<_> = segments.chain(self.open.then_some("**")).collect();
        f.write_str(&text.join("/"))
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        match text {
            "*" => Ok(Self::Any),
            _ if text.contains('*') => {
                Err(BadPattern("'*' stands for one whole segment, '**' for the rest of the path"))
            }
            _ if text.contains('+') => Err(BadPattern("'+' would be a wildcard in Vault's policy")),
            _ if text.contains("{{") => Err(BadPattern("'{{' would be a template in Vault's policy")),
            _ => match path::judge(text) {
                Ok(()) => Ok(Self::Literal(text.into())),
                Err(problem) => Err(BadPattern(problem.text())),
            },
        }
    }

    /// True for what is between a slash and the end.
    fn is_empty(&self) -> bool {
        matches!(self, Self::Literal(text) if text.is_empty())
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Literal(literal) => **literal == *name,
            Self::Any => true,
        }
    }
}

impl NamePattern {
    /// Reads `deploy-*` or `deploy-key`.
    ///
    /// # Errors
    /// [`BadPattern`] for a `*` elsewhere than at the end, or a bad name.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let (stem, prefix) = text.strip_suffix('*').map_or((text, false), |stem| (stem, true));
        if stem.contains(['*', '+']) {
            return Err(BadPattern("'*' may stand at the end of a name only"));
        }
        if stem.contains("{{") {
            return Err(BadPattern("'{{' would be a template in Vault's policy"));
        }
        if !(prefix && stem.is_empty()) {
            path::judge(stem).map_err(|problem| BadPattern(problem.text()))?;
        }
        Ok(if prefix { Self::Prefix(stem.into()) } else { Self::Exact(stem.into()) })
    }

    /// Reads the name of a KMS key, which may have slashes: `alias/agents-*`.
    ///
    /// # Errors
    /// As [`NamePattern::parse`].
    pub fn parse_slashed(text: &str) -> Result<Self, BadPattern> {
        let (parents, last) = text.rsplit_once('/').map_or((None, text), |(parents, last)| (Some(parents), last));
        let Some(parents) = parents else { return Self::parse(last) };
        for parent in parents.split('/') {
            Self::parse(parent).and_then(|pattern| match pattern {
                Self::Exact(_) => Ok(()),
                Self::Prefix(_) => Err(BadPattern("'*' may stand at the end of a name only")),
            })?;
        }
        Ok(match Self::parse(last)? {
            Self::Exact(_) => Self::Exact(text.into()),
            Self::Prefix(stem) => Self::Prefix(format!("{parents}/{stem}").into()),
        })
    }

    /// True where it covers all that `other` covers.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(two)) => one == two,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(_), Self::Exact(name) | Self::Prefix(name)) => self.covers(name),
        }
    }

    /// As Vault's policies write it.
    #[must_use]
    pub fn to_vault(&self) -> String {
        match self {
            Self::Exact(name) => name.to_string(),
            Self::Prefix(stem) => format!("{stem}*"),
        }
    }

    /// True where every name is covered.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        matches!(self, Self::Prefix(stem) if stem.is_empty())
    }

    /// True where `name` is covered.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *name,
            Self::Prefix(stem) => name.starts_with(&**stem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SecretPath {
        SecretPath::parse(text).unwrap()
    }

    #[test]
    fn patterns_cover_what_they_say() {
        for (pattern, covered, not) in [
            ("**", vec!["a", "a/b/c"], vec![]),
            ("apps/**", vec!["apps/a", "apps/a/b"], vec!["apps", "appsx/a", "x/apps/a"]),
            ("apps/*", vec!["apps/a"], vec!["apps", "apps/a/b"]),
            ("apps/*/db", vec!["apps/x/db"], vec!["apps/db", "apps/x/y/db", "apps/x/dbx"]),
            ("apps/db", vec!["apps/db"], vec!["apps", "apps/db/x", "APPS/db"]),
            ("*/**", vec!["a/b", "a/b/c"], vec!["a"]),
        ] {
            let pattern = PathPattern::parse(pattern).unwrap();
            for yes in covered {
                assert!(pattern.covers(&path(yes)), "{pattern:?} {yes}");
            }
            for no in not {
                assert!(!pattern.covers(&path(no)), "{pattern:?} {no}");
            }
        }
    }

    #[test]
    fn a_listing_is_covered_only_where_every_name_in_it_is() {
        for (pattern, prefix, covered) in [
            ("**", "", true),
            ("**", "a/b", true),
            ("apps/**", "", false),
            ("apps/**", "apps", true),
            ("apps/**", "apps/x", true),
            ("apps/**", "other", false),
            ("apps/*", "apps", true),
            ("apps/*", "apps/x", false),
            ("apps/*/db", "apps", false),
            ("apps/*/*", "apps/x", true),
            ("apps/db", "apps", false),
            ("*", "", true),
            ("*/**", "", false),
            ("*/**", "a", true),
        ] {
            let prefix = SecretPath::parse_prefix(prefix).unwrap();
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.covers_children(prefix.as_ref()), covered, "{pattern} {prefix:?}");
        }
    }

    #[test]
    fn what_vault_could_not_say_is_no_pattern() {
        for bad in
            ["", "/", "a//b", "/a", "a/", "a*", "a/b*", "a/**/b", "a**", "***", "..", "a/../b", "a+b", "+", "a\\b"]
        {
            assert!(PathPattern::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "a*b", "*a", "**", "a/b", "..", "+"] {
            assert!(NamePattern::parse(bad).is_err(), "{bad}");
        }
        assert!(NamePattern::parse("deploy-*").unwrap().covers("deploy-1"));
        assert!(NamePattern::parse("*").unwrap().covers("any"));
        assert!(!NamePattern::parse("deploy").unwrap().covers("deploy-1"));
    }
}
