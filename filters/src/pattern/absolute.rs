//! Patterns over Vault's own paths, in the language of Vault's policies: `+` for one whole segment, and a `*` at the
//! end for whatever follows.
//!
//! Of the patterns that fit a path Vault lets the most specific one decide: [`AbsolutePattern::precedence`].
//! Source: <https://developer.hashicorp.com/vault/docs/concepts/policies#priority-matching>

use std::cmp::Ordering;
use std::fmt;

use super::{BadPattern, Segment};
use crate::path::{self, MAX_PATH};

/// A pattern over Vault's own paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePattern {
    /// At least one. The last is empty for a path with a slash at its end; where the pattern is open it is the beginning
    /// of what follows, and may be empty too.
    segments: Vec<Segment>,
    /// True where a `*` is at the end.
    open: bool,
}

/// Two patterns overlap, and no pattern describes the overlap: one has `+` for a segment, the other a beginning of the
/// same segment before its `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsayable;

impl AbsolutePattern {
    /// Reads `kv/data/apps/*`, `kv/+/apps/db` or `sys/mounts`.
    ///
    /// # Errors
    /// [`BadPattern`] for what Vault's policies cannot say, and for what no path of the gate's can be.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let (body, open) = text.strip_suffix('*').map_or((text, false), |body| (body, true));
        match body {
            "" if !open => return Err(BadPattern("there is nothing in it")),
            _ if body.starts_with('/') => return Err(BadPattern("a path of Vault's begins without a slash")),
            _ if body.contains('*') => {
                return Err(BadPattern("'*' may stand at the end only; '+' is one whole segment"));
            }
            _ if body.contains("{{") => return Err(BadPattern("'{{' would be a template in Vault's policy")),
            _ if body.len() > MAX_PATH => return Err(BadPattern("it is longer than 1024 bytes")),
            _ => {}
        }
        let pattern = Self::of_policy(text);
        let (last, parents) = pattern.segments.split_last().ok_or(BadPattern("there is nothing in it"))?;
        match last {
            Segment::Any if open => {
                return Err(BadPattern("'+' is one whole segment, and cannot be the beginning of one"));
            }
            Segment::Literal(last) if last.is_empty() => {}
            Segment::Any | Segment::Literal(_) => judge(last)?,
        }
        parents.iter().try_for_each(judge)?;
        Ok(pattern)
    }

    /// The pattern of a policy that the gate itself has written.
    pub(crate) fn of_policy(text: &str) -> Self {
        let (body, open) = text.strip_suffix('*').map_or((text, false), |body| (body, true));
        let segment = |text| if text == "+" { Segment::Any } else { Segment::Literal(Box::from(text)) };
        Self { segments: body.split('/').map(segment).collect(), open }
    }

    /// True where Vault finds the path by this pattern. That of a folder, as names are listed in it, ends in a slash.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let mut rest = path.split('/');
        let Some((last, parents)) = self.segments.split_last() else { return false };
        parents.iter().all(|segment| rest.next().is_some_and(|name| segment.fits(name)))
            && rest.next().is_some_and(|name| match last {
                Segment::Literal(beginning) if self.open => name.starts_with(&**beginning),
                Segment::Literal(_) | Segment::Any => last.fits(name) && rest.next().is_none(),
            })
    }

    /// The paths that both cover; `None` where there are none.
    ///
    /// # Errors
    /// [`Unsayable`].
    pub fn meet(&self, other: &Self) -> Result<Option<Self>, Unsayable> {
        let (shorter, longer) = if self.segments.len() <= other.segments.len() { (self, other) } else { (other, self) };
        let same = shorter.segments.len() == longer.segments.len();
        if !(same || shorter.open) {
            return Ok(None);
        }
        let open = longer.open && (shorter.open || !same);
        let Some((last, parents)) = shorter.segments.split_last() else { return Ok(None) };
        let mut segments = longer.segments.clone();
        let mut unsayable = false;
        for (place, (segment, other)) in segments.iter_mut().zip(parents.iter().chain([last])).enumerate() {
            // Each may be but the beginning of a segment.
            let (begins, other_begins) =
                (same && longer.open && place == parents.len(), shorter.open && place == parents.len());
            match both((segment, begins), (other, other_begins)) {
                Ok(Some(met)) => *segment = met,
                Ok(None) => return Ok(None),
                Err(Unsayable) => unsayable = true,
            }
        }
        if unsayable { Err(Unsayable) } else { Ok(Some(Self { segments, open })) }
    }

    /// True where it covers all that `other` covers.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.meet(other).is_ok_and(|met| met.as_ref() == Some(other))
    }

    /// True where some path is covered by both.
    #[must_use]
    pub fn touches(&self, other: &Self) -> bool {
        self.meet(other) != Ok(None)
    }

    /// True where it covers what a pattern of whole segments covers, or something below that.
    #[must_use]
    pub fn reaches(&self, above: &str) -> bool {
        self.touches(&Self::of_policy(above)) || self.touches(&Self::of_policy(&format!("{above}/*")))
    }

    /// True where it covers something that begins with the same segment as the path.
    #[must_use]
    pub fn shares_root(&self, path: &str) -> bool {
        path.split('/').next().is_some_and(|root| self.reaches(root))
    }

    /// True where it covers that path alone.
    #[must_use]
    pub fn is_exactly(&self, path: &str) -> bool {
        !(self.open || self.has_any()) && self.covers(path)
    }

    /// The order in which Vault asks the patterns that fit a path: the greatest decides.
    #[must_use]
    pub fn precedence(&self, other: &Self) -> Ordering {
        let (one, two) = (self.to_string(), other.to_string());
        let wild = |text: &str| text.find(['+', '*']).unwrap_or(usize::MAX);
        let any = |pattern: &Self| pattern.segments.iter().filter(|segment| **segment == Segment::Any).count();
        wild(&one)
            .cmp(&wild(&two))
            .then_with(|| other.open.cmp(&self.open))
            .then_with(|| any(other).cmp(&any(self)))
            .then_with(|| one.len().cmp(&two.len()))
            .then_with(|| one.cmp(&two))
    }

    /// True where a whole segment may be anything.
    #[must_use]
    pub fn has_any(&self) -> bool {
        self.segments.contains(&Segment::Any)
    }

    /// True where a `*` is at its end.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// The number of its segments.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.segments.len()
    }

    /// The same, where it is open below whole segments, by patterns of which only one with `depth` segments or more is.
    #[must_use]
    pub fn spread(&self, depth: usize) -> Vec<Self> {
        let below = self.open && self.segments.last().is_some_and(Segment::is_empty);
        if !below {
            return vec![self.clone()];
        }
        let longer = |length: usize, last: &[Segment]| {
            let mut segments = self.segments.clone();
            segments.pop();
            segments.resize(length - last.len(), Segment::Any);
            segments.extend_from_slice(last);
            segments
        };
        let depth = depth.max(self.depth());
        let closed = (self.depth()..depth).map(|length| Self { segments: longer(length, &[]), open: false });
        closed.chain([Self { segments: longer(depth, &[Segment::Literal("".into())]), open: true }]).collect()
    }

    /// True where a slash is at its end: for that of a folder, in which names are listed.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        !self.open && self.segments.last().is_some_and(Segment::is_empty)
    }

    /// Where it is not open: the same without a slash at its end, and with it.
    #[must_use]
    pub fn slashes(&self) -> Option<[Self; 2]> {
        let (last, parents) = self.segments.split_last().filter(|_| !self.open)?;
        let plain = if last.is_empty() { parents } else { &self.segments };
        (!plain.is_empty()).then(|| Self::folder_of(plain))
    }

    /// The folders that end at it, are open below it, or whose names it is any of: each without a slash at its end, and
    /// with it.
    #[must_use]
    pub fn folders(&self) -> Vec<Self> {
        let (last, parents) =
            self.segments.split_last().map_or((None, &[][..]), |(last, parents)| (Some(last), parents));
        let above = last.is_some_and(|last| last.is_empty() || *last == Segment::Any).then_some(parents);
        let itself = last.filter(|last| !(self.open || last.is_empty())).map(|_| self.segments.as_slice());
        let folders = above.into_iter().chain(itself).filter(|folder| !folder.is_empty());
        folders.flat_map(Self::folder_of).collect()
    }

    fn folder_of(segments: &[Segment]) -> [Self; 2] {
        let slashed = segments.iter().cloned().chain([Segment::Literal("".into())]);
        [segments.to_vec(), slashed.collect()].map(|segments| Self { segments, open: false })
    }
}

/// The text that two segments have in common, each of which may be but the beginning of one.
fn both((one, begins): (&Segment, bool), (two, other_begins): (&Segment, bool)) -> Result<Option<Segment>, Unsayable> {
    let nothing = |text: &str, begins| begins && text.is_empty();
    Ok(match (one, two) {
        (Segment::Any, Segment::Any) => Some(Segment::Any),
        (Segment::Any, Segment::Literal(text)) if nothing(text, other_begins) => Some(Segment::Any),
        (Segment::Literal(text), Segment::Any) if nothing(text, begins) => Some(Segment::Any),
        (Segment::Any, Segment::Literal(_)) if other_begins => return Err(Unsayable),
        (Segment::Literal(_), Segment::Any) if begins => return Err(Unsayable),
        (Segment::Any, literal) | (literal, Segment::Any) => Some(literal.clone()),
        (Segment::Literal(first), Segment::Literal(second)) => {
            let fits = match (begins, other_begins) {
                (false, false) => first == second,
                (true, false) => second.starts_with(&**first),
                (false, true) => first.starts_with(&**second),
                (true, true) => first.starts_with(&**second) || second.starts_with(&**first),
            };
            let longer = if first.len() >= second.len() { one } else { two };
            fits.then(|| longer.clone())
        }
    })
}

fn judge(segment: &Segment) -> Result<(), BadPattern> {
    match segment {
        Segment::Any => Ok(()),
        Segment::Literal(text) if text.contains('+') => Err(BadPattern("'+' must be a whole segment")),
        Segment::Literal(text) => path::judge(text).map_err(|problem| BadPattern(problem.text())),
    }
}

/// As it is written.
impl fmt::Display for AbsolutePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.segments.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "/" })?;
            f.write_str(match segment {
                Segment::Literal(literal) => literal,
                Segment::Any => "+",
            })?;
        }
        f.write_str(if self.open { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> AbsolutePattern {
        AbsolutePattern::parse(text).unwrap_or_else(|bad| panic!("{text}: {}", bad.0))
    }

    #[test]
    fn patterns_cover_what_vault_finds_by_them() {
        for (text, covered, not) in [
            ("*", vec!["a", "a/b/"], vec![]),
            ("kv/data/*", vec!["kv/data/a", "kv/data/a/b", "kv/data/"], vec!["kv/data", "kv/datas/a"]),
            ("kv/data/a*", vec!["kv/data/a", "kv/data/ab/c"], vec!["kv/data/b", "kv/data/"]),
            ("kv/+/a", vec!["kv/data/a"], vec!["kv/a", "kv/data/a/b", "kv/data/a/"]),
            ("kv/+/a/*", vec!["kv/data/a/b", "kv/data/a/b/c"], vec!["kv/data/a", "kv/data/b/c"]),
            ("kv/data/a", vec!["kv/data/a"], vec!["kv/data/a/", "kv/data/ab"]),
            ("kv/metadata/", vec!["kv/metadata/"], vec!["kv/metadata", "kv/metadata/a"]),
        ] {
            let pattern = pattern(text);
            assert_eq!(pattern.to_string(), text);
            covered.iter().for_each(|path| assert!(pattern.covers(path), "{text} {path}"));
            not.iter().for_each(|path| assert!(!pattern.covers(path), "{text} {path}"));
        }
    }

    #[test]
    fn what_vault_cannot_say_is_no_pattern() {
        for bad in ["", "/", "/a", "a//b", "a/**", "a*b", "*a", "a/+*", "a+/b", "a/..", "a/{{identity}}/b", "a/.*"] {
            assert!(AbsolutePattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_patterns_have_in_common_is_a_pattern_or_unsayable() {
        for (one, two, met) in [
            ("a/*", "a/b", Ok(Some("a/b"))),
            ("a/*", "a/b*", Ok(Some("a/b*"))),
            ("a/*", "a/+/c", Ok(Some("a/+/c"))),
            ("a/+/c", "a/b/*", Ok(Some("a/b/c"))),
            ("a/+/*", "a/b/*", Ok(Some("a/b/*"))),
            ("a/+", "a/*", Ok(Some("a/+"))),
            ("a/b", "a/c", Ok(None)),
            ("a/b", "a/b/c", Ok(None)),
            ("a/b*", "a/+", Err(Unsayable)),
            ("a/b*", "a/+/c", Err(Unsayable)),
            ("a/b*", "c/+", Ok(None)),
        ] {
            let expected = met.map(|met| met.map(str::to_owned));
            for (one, two) in [(one, two), (two, one)] {
                let met = pattern(one).meet(&pattern(two));
                assert_eq!(met.map(|met| met.map(|met| met.to_string())), expected, "{one} {two}");
            }
        }
    }

    #[test]
    fn the_most_specific_is_asked_first() {
        let mut patterns: Vec<_> =
            ["*", "a/*", "a/+/*", "a/+/c", "+/b/c", "a/b*", "a/b/*", "a/b/c", "a/+/+"].map(pattern).into();
        patterns.sort_by(|one, two| two.precedence(one));
        let sorted: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["a/b/c", "a/b/*", "a/b*", "a/+/c", "a/+/+", "a/*", "a/+/*", "+/b/c", "*"]);
    }
}
