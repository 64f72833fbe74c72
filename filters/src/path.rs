//! A caller's path: decoded once, judged segment by segment, rendered once.
//!
//! Vault's ACL is no second line of defence against a bad path: it decodes
//! `%2e%2e` after its policy has matched. Nothing is normalised here: a path
//! that is not plain is refused, and [`VaultPath`] judges every segment again.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::character::prints;

/// Longest segment, in bytes after decoding.
pub const MAX_SEGMENT: usize = 255;
/// Longest path, in bytes after decoding.
pub const MAX_PATH: usize = 1024;

/// Everything but RFC 3986's unreserved characters is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is wrong with a path. The text is public; it never holds the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathProblem {
    /// Nothing there, where a name is needed.
    Empty,
    /// `a//b`, a leading or a trailing slash.
    EmptySegment,
    /// `.` or `..`.
    Dots,
    /// A control character, NUL or a character that does not print.
    Unprintable,
    /// A backslash, or a look-alike of a dot, slash or backslash.
    Separator,
    /// A space at the edge of a segment.
    Space,
    /// An escape that is left after decoding once.
    DecodesTwice,
    /// The bytes are not UTF-8.
    NotUtf8,
    /// A segment of more than [`MAX_SEGMENT`] bytes.
    LongSegment,
    /// A path of more than [`MAX_PATH`] bytes.
    LongPath,
}

impl PathProblem {
    /// One sentence for the caller.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Empty => "The path is empty.",
            Self::EmptySegment => "The path has an empty segment.",
            Self::Dots => "The path has a segment that is '.' or '..'.",
            Self::Unprintable => "The path has a control or non-printable character.",
            Self::Separator => "The path has a backslash, or a character that looks like a dot or slash.",
            Self::Space => "A segment of the path begins or ends with a space.",
            Self::DecodesTwice => "The path has an escape that would decode a second time.",
            Self::NotUtf8 => "The path is not valid UTF-8.",
            Self::LongSegment => "A segment of the path is longer than 255 bytes.",
            Self::LongPath => "The path is longer than 1024 bytes.",
        }
    }
}

/// The path of a secret below its namespace: one or more plain segments.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecretPath(Box<str>);

impl SecretPath {
    /// Judges text that is already decoded.
    ///
    /// # Errors
    /// The first [`PathProblem`] found.
    pub fn parse(text: &str) -> Result<Self, PathProblem> {
        if text.is_empty() {
            return Err(PathProblem::Empty);
        }
        if text.len() > MAX_PATH {
            return Err(PathProblem::LongPath);
        }
        text.split('/').try_for_each(judge)?;
        Ok(Self(text.into()))
    }

    /// Judges a prefix: as [`SecretPath::parse`], but it may be empty (`None`)
    /// and may end in one slash.
    ///
    /// # Errors
    /// The first [`PathProblem`] found.
    pub fn parse_prefix(text: &str) -> Result<Option<Self>, PathProblem> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(None);
        }
        Self::parse(text).map(Some)
    }

    /// The segments, at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The whole path, segments joined by `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for SecretPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Judged again, as any text is.
impl<'de> Deserialize<'de> for SecretPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|problem| serde::de::Error::custom(problem.text()))
    }
}

impl fmt::Debug for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Escapes one segment, so that [`decode`] gives it back.
pub fn escape(segment: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(segment, ESCAPED)
}

/// Decodes percent escapes once (RFC 3986 section 2.1).
///
/// # Errors
/// [`PathProblem::NotUtf8`].
pub fn decode(raw: &[u8]) -> Result<Cow<'_, str>, PathProblem> {
    percent_decode(raw).decode_utf8().map_err(|_| PathProblem::NotUtf8)
}

/// Judges one decoded segment.
///
/// # Errors
/// The first [`PathProblem`] found.
pub fn judge(segment: &str) -> Result<(), PathProblem> {
    match segment {
        "" => return Err(PathProblem::EmptySegment),
        "." | ".." => return Err(PathProblem::Dots),
        _ if segment.len() > MAX_SEGMENT => return Err(PathProblem::LongSegment),
        _ => {}
    }
    let bytes = segment.as_bytes();
    if bytes.first() == Some(&b' ') || bytes.last() == Some(&b' ') {
        return Err(PathProblem::Space);
    }
    if bytes.contains(&b'%') && decodes(bytes) {
        return Err(PathProblem::DecodesTwice);
    }
    segment.chars().try_for_each(judge_character)
}

fn judge_character(c: char) -> Result<(), PathProblem> {
    match c {
        '\\' | '/' => Err(PathProblem::Separator),
        '\u{20}'..='\u{7e}' => Ok(()),
        _ if !prints(c) => Err(PathProblem::Unprintable),
        _ if looks_like_separator(c) => Err(PathProblem::Separator),
        _ => Ok(()),
    }
}

fn decodes(segment: &[u8]) -> bool {
    segment.windows(3).any(|w| matches!(w, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

fn looks_like_separator(c: char) -> bool {
    matches!(
        u32::from(c),
        0x2024
            ..=0x2026
                | 0x2044
                | 0x2215
                | 0x2216
                | 0x29f5
                | 0x29f8
                | 0x29f9
                | 0xfe52
                | 0xfe68
                | 0xff0e
                | 0xff0f
                | 0xff3c
    )
}

/// A path of Vault's HTTP API below `/v1/`, escaped, with nothing in it that
/// was not judged.
#[derive(Clone, PartialEq, Eq)]
pub struct VaultPath(String);

impl VaultPath {
    /// Renders and judges the parts, each of which may hold several segments
    /// (a mount such as `team/kv` does).
    ///
    /// # Errors
    /// The first [`PathProblem`] found, whoever supplied the part.
    pub fn render(parts: &[&str]) -> Result<Self, PathProblem> {
        let length: usize = parts.iter().map(|part| part.len() + 1).sum();
        let mut out = String::with_capacity(length + 8);
        out.push_str("/v1");
        for segment in parts.iter().flat_map(|part| part.split('/')) {
            judge(segment)?;
            out.push('/');
            out.extend(escape(segment));
        }
        Ok(Self(out))
    }

    /// Adds `?name=number` or `&name=number`.
    #[must_use]
    pub fn with_number(mut self, name: &'static str, number: u64) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(itoa::Buffer::new().format(number));
        self
    }

    /// The path and query, beginning with `/v1/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for VaultPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PathProblem as P;
    use proptest::prelude::*;

    fn from_uri(raw: &[u8]) -> Result<SecretPath, PathProblem> {
        SecretPath::parse(&decode(raw)?)
    }

    #[test]
    fn plain_paths_pass_as_they_are() {
        for (raw, plain) in [
            ("configs/demo", "configs/demo"),
            ("a", "a"),
            ("a%20b/c", "a b/c"),
            ("caf%C3%A9", "café"),
            ("100%25", "100%"),
            ("x+y=z;v,w@h:1", "x+y=z;v,w@h:1"),
            ("...", "..."),
            ("a..b/.hidden", "a..b/.hidden"),
            ("%E6%97%A5%E6%9C%AC", "日本"),
            ("q%3Fv%3D1%23frag", "q?v=1#frag"),
            ("*/+", "*/+"),
        ] {
            assert_eq!(from_uri(raw.as_bytes()).unwrap().as_str(), plain, "{raw}");
        }
    }

    #[test]
    fn hostile_spellings_are_refused_by_name() {
        let long_segment = "a".repeat(256);
        let long_path = "a/".repeat(600) + "a";
        let cases: &[(&[u8], PathProblem)] = &[
            (b"", P::Empty),
            (b"/", P::EmptySegment),
            (b"/a", P::EmptySegment),
            (b"a/", P::EmptySegment),
            (b"a//b", P::EmptySegment),
            (b"a%2f%2fb", P::EmptySegment),
            (b"%2fa", P::EmptySegment),
            (b".", P::Dots),
            (b"..", P::Dots),
            (b"a/.", P::Dots),
            (b"a/..", P::Dots),
            (b"./a", P::Dots),
            (b"../a", P::Dots),
            (b"a/../b", P::Dots),
            (b"a/./b", P::Dots),
            (b"../../other/secret", P::Dots),
            (b"%2e", P::Dots),
            (b"%2e%2e", P::Dots),
            (b"%2E%2E", P::Dots),
            (b".%2e", P::Dots),
            (b"%2e.", P::Dots),
            (b"a/%2e%2e/b", P::Dots),
            (b"a%2f..%2fb", P::Dots),
            (b"a%2F%2e%2e%2Fb", P::Dots),
            (b"..%2fother", P::Dots),
            (b"%252e%252e/b", P::DecodesTwice),
            (b"%252e", P::DecodesTwice),
            (b"a%252fb", P::DecodesTwice),
            (b"%25252e%25252e", P::DecodesTwice),
            (b"a%2500", P::DecodesTwice),
            (b"%25%32%65", P::DecodesTwice),
            (b"%2%35%32e", P::DecodesTwice),
            (b"a\\b", P::Separator),
            (b"..\\..\\b", P::Separator),
            (b"a%5cb", P::Separator),
            (b"%5c..", P::Separator),
            ("a\u{2215}b".as_bytes(), P::Separator),
            ("\u{ff0e}\u{ff0e}/b".as_bytes(), P::Separator),
            ("\u{2025}".as_bytes(), P::Separator),
            ("a\u{ff0f}b".as_bytes(), P::Separator),
            ("a\u{ff3c}b".as_bytes(), P::Separator),
            ("a\u{2044}b".as_bytes(), P::Separator),
            (b"a%00", P::Unprintable),
            (b"%00", P::Unprintable),
            (b"a\0b", P::Unprintable),
            (b"a%0ab", P::Unprintable),
            (b"a%0d%0aX-Vault-Token:%20x", P::Unprintable),
            (b"a\tb", P::Unprintable),
            (b"a%7f", P::Unprintable),
            (b"a%1b[0m", P::Unprintable),
            ("a\u{200b}b".as_bytes(), P::Unprintable),
            ("a\u{202e}b".as_bytes(), P::Unprintable),
            ("a\u{feff}".as_bytes(), P::Unprintable),
            ("a\u{85}".as_bytes(), P::Unprintable),
            ("a\u{a0}b".as_bytes(), P::Unprintable),
            ("a\u{2028}b".as_bytes(), P::Unprintable),
            ("a\u{e000}".as_bytes(), P::Unprintable),
            ("\u{e0041}".as_bytes(), P::Unprintable),
            (b"a%ff", P::NotUtf8),
            (b"%c0%ae%c0%ae", P::NotUtf8),
            (b"%e0%80%ae", P::NotUtf8),
            (b"%f0%80%80%ae", P::NotUtf8),
            (b"%c0%af", P::NotUtf8),
            (b"%ed%a0%80", P::NotUtf8),
            (b"\xff", P::NotUtf8),
            (b" a", P::Space),
            (b"a ", P::Space),
            (b".. /b", P::Space),
            (b"a/%20/b", P::Space),
            (long_segment.as_bytes(), P::LongSegment),
            (long_path.as_bytes(), P::LongPath),
        ];
        assert!(cases.len() >= 60);
        for (raw, problem) in cases {
            let shown = String::from_utf8_lossy(raw);
            assert_eq!(from_uri(raw).err(), Some(*problem), "{shown:?}");
        }
    }

    #[test]
    fn a_prefix_may_be_empty_or_end_in_one_slash() {
        assert_eq!(SecretPath::parse_prefix("").unwrap(), None);
        assert_eq!(SecretPath::parse_prefix("/").unwrap(), None);
        assert_eq!(SecretPath::parse_prefix("a/b/").unwrap().unwrap().as_str(), "a/b");
        assert_eq!(SecretPath::parse_prefix("a//").err(), Some(P::EmptySegment));
        assert_eq!(SecretPath::parse_prefix("..").err(), Some(P::Dots));
    }

    #[test]
    fn the_renderer_judges_every_part_whoever_supplied_it() {
        let path = VaultPath::render(&["team/kv", "data", "mcp", "bob", "a b?c#d/é"]).unwrap();
        assert_eq!(path.as_str(), "/v1/team/kv/data/mcp/bob/a%20b%3Fc%23d/%C3%A9");
        for part in ["..", "a/../b", "", "%2e%2e", "a\\b", "a\nb"] {
            assert!(VaultPath::render(&["secret", "data", part]).is_err(), "{part:?}");
        }
        assert_eq!(
            path.with_number("version", 3).with_number("x", 1).as_str().split_once('?').unwrap().1,
            "version=3&x=1"
        );
    }

    proptest! {
        #[test]
        fn no_accepted_path_leaves_its_namespace_after_any_number_of_decodings(
            raw in prop::collection::vec(
                prop::sample::select(vec!["%", "2", "5", "e", "E", "f", "c", ".", "..", "/", "\\", "a", "%2e", "%2f", "%25", "\u{ff0e}"]),
                0..24)
        ) {
            let raw = raw.concat();
            if let Ok(path) = from_uri(raw.as_bytes()) {
                let rendered = VaultPath::render(&["secret", "data", "mcp", "bob", path.as_str()]).unwrap();
                let mut text = rendered.as_str().to_owned();
                for _ in 0..8 {
                    let mut stack = Vec::new();
                    for segment in text.split(['/', '\\']) {
                        match segment { "." | "" => {} , ".." => { stack.pop(); }, s => stack.push(s) }
                    }
                    prop_assert!(stack.starts_with(&["v1", "secret", "data", "mcp", "bob"]), "{text}");
                    prop_assert!(stack.len() > 5);
                    text = percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned();
                }
            }
        }
    }
}
