//! A caller's path: decoded once, judged segment by segment, rendered once.
//!
//! Vault's ACL is no second line of defence against a bad path: it decodes
//! `%2e%2e` after its policy has matched. Nothing is normalised here: a path
//! that is not plain is refused, and [`VaultPath`] judges every segment again.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::character::{Unseen, unseen};

/// Longest segment, in bytes after decoding.
pub const MAX_SEGMENT: usize = 255;
/// Longest path, in bytes after decoding.
pub const MAX_PATH: usize = 1024;

/// Everything but RFC 3986's unreserved characters is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The fault of a path. The text is public; it never holds the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathProblem {
    /// Nothing there, where a name is needed.
    Empty,
    /// `a//b`, a leading or a trailing slash.
    EmptySegment,
    /// `.` or `..`, or nothing but dots and look-alikes of dots.
    Dots,
    /// A control character, NUL among them.
    Control,
    /// White space other than U+0020.
    OtherSpace,
    /// A zero-width, bidirectional or other format character, or a variation selector.
    Invisible,
    /// A character for private use, or none at all.
    NoCharacter,
    /// A backslash, or a look-alike of a slash or backslash.
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
            Self::Dots => "The path has a segment that is '.' or '..', or nothing but what looks like dots.",
            Self::Control => "The path has a control character.",
            Self::OtherSpace => "The path has a space other than the plain one (U+0020).",
            Self::Invisible => {
                "The path has an invisible character: a format character, such as a zero-width joiner, or a variation \
                 selector, with which many an emoji is written."
            }
            Self::NoCharacter => "The path has a character for private use, or one that stands for none.",
            Self::Separator => "The path has a backslash, or a character that looks like it or like a slash.",
            Self::Space => "A segment of the path begins or ends with a space.",
            Self::DecodesTwice => {
                "The path has a percent sign followed by two hexadecimal digits, which would decode a second time."
            }
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
    // As almost every path is.
    if !raw.contains(&b'%') {
        return str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| PathProblem::NotUtf8);
    }
    percent_decode(raw).decode_utf8().map_err(|_| PathProblem::NotUtf8)
}

/// The part of a path below another; empty for that itself.
#[must_use]
pub fn below<'p>(path: &'p str, above: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(above)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
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
    // As almost every name is.
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'/' | b'\\')) {
        return Ok(());
    }
    if segment.chars().all(|c| c == '.' || looks_like_dots(c)) && !segment.is_ascii() {
        return Err(PathProblem::Dots);
    }
    segment.chars().try_for_each(judge_character)
}

fn judge_character(c: char) -> Result<(), PathProblem> {
    match unseen(c) {
        None if looks_like_separator(c) => Err(PathProblem::Separator),
        None => Ok(()),
        Some(Unseen::Control) => Err(PathProblem::Control),
        Some(Unseen::Space) => Err(PathProblem::OtherSpace),
        Some(Unseen::Invisible) => Err(PathProblem::Invisible),
        Some(Unseen::NoCharacter) => Err(PathProblem::NoCharacter),
    }
}

fn decodes(segment: &[u8]) -> bool {
    segment.windows(3).any(|w| matches!(w, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

/// True where compatibility normalization (NFKC) makes dots of the character. Within a name that is harmless; alone it
/// could be `.` or `..` to who normalises.
fn looks_like_dots(c: char) -> bool {
    matches!(u32::from(c), 0x2024..=0x2026 | 0xfe19 | 0xfe30 | 0xfe52 | 0xff0e)
}

/// True for a slash, a backslash and what looks like one: a segment would end there.
fn looks_like_separator(c: char) -> bool {
    matches!(c, '/' | '\\')
        || matches!(u32::from(c), 0x2044 | 0x2215 | 0x2216 | 0x29f5 | 0x29f8 | 0x29f9 | 0xfe68 | 0xff0f | 0xff3c)
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

    /// Adds `?name=value` or `&name=value`, both escaped.
    #[must_use]
    pub fn with_text(mut self, name: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.extend(escape(name));
        self.0.push('=');
        self.0.extend(escape(value));
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
mod tests;
