//! Texts of arguments: each kind is a type that judges its text, and from which the schema is made.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::handle::MAX_HANDLE;
use crate::path::{MAX_PATH, MAX_SEGMENT};

/// A kind of text.
pub(in crate::catalog) trait Kind {
    /// Least bytes.
    const LEAST: usize = 1;
    /// Most bytes; 0 where the request's own bound is enough.
    const MOST: usize;
    /// A regular expression that the text must match, as far as one without look-around can say it.
    const PATTERN: Option<&'static str> = None;
    /// The text that was expected, for the error; `None` where the text is judged later.
    const EXPECTED: Option<&'static str>;
}

/// Text of one kind.
pub(in crate::catalog) struct Text<'a, K>(Cow<'a, str>, PhantomData<K>);

impl<K> Deref for Text<'_, K> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<K> Default for Text<'_, K> {
    fn default() -> Self {
        Self(Cow::Borrowed(""), PhantomData)
    }
}

impl<'de: 'a, 'a, K: Kind> Deserialize<'de> for Text<'a, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        let Borrowed(text) = Borrowed::deserialize(deserializer)?;
        let fits = text.len() >= K::LEAST && (K::MOST == 0 || text.len() <= K::MOST);
        match K::EXPECTED {
            Some(expected) if !fits => Err(serde::de::Error::custom(format_args!(", expected {expected}"))),
            _ => Ok(Self(text, PhantomData)),
        }
    }
}

impl<K> Serialize for Text<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<K: Kind> JsonSchema for Text<'_, K> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    /// Bounds in characters, of which text has as many as bytes at most.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({"type": "string"});
        if K::LEAST > 0 {
            schema.insert("minLength".into(), K::LEAST.into());
        }
        if K::MOST > 0 {
            schema.insert("maxLength".into(), K::MOST.into());
        }
        if let Some(pattern) = K::PATTERN {
            schema.insert("pattern".into(), pattern.into());
        }
        schema
    }
}

/// The name of something of an engine's: one segment, judged by [`crate::path::judge`].
pub(in crate::catalog) struct Segment;
/// The path of a secret, judged by [`crate::path::SecretPath::parse`].
pub(in crate::catalog) struct Path;
/// A prefix of paths, judged by [`crate::path::SecretPath::parse_prefix`].
pub(in crate::catalog) struct Prefix;
/// A handle that the gate has given out.
pub(in crate::catalog) struct Handle;
/// Something that must be said.
pub(in crate::catalog) struct Something;
/// A user's name, or a common name.
pub(in crate::catalog) struct Name;
/// User or host names joined by commas.
pub(in crate::catalog) struct Names;
/// An IPv4 or IPv6 address.
pub(in crate::catalog) struct Address;

impl Kind for Segment {
    const MOST: usize = MAX_SEGMENT;
    const PATTERN: Option<&'static str> = Some(r"^[^/\\\x00-\x1f\x7f]+$");
    const EXPECTED: Option<&'static str> = None;
}

impl Kind for Path {
    const MOST: usize = MAX_PATH;
    const PATTERN: Option<&'static str> = Some(r"^[^/\\\x00-\x1f\x7f]{1,255}(/[^/\\\x00-\x1f\x7f]{1,255})*$");
    const EXPECTED: Option<&'static str> = None;
}

impl Kind for Prefix {
    const LEAST: usize = 0;
    /// A prefix may end in a slash.
    const MOST: usize = MAX_PATH + 1;
    const PATTERN: Option<&'static str> = Some(r"^([^/\\\x00-\x1f\x7f]{1,255}(/[^/\\\x00-\x1f\x7f]{1,255})*)?/?$");
    const EXPECTED: Option<&'static str> = None;
}

impl Kind for Handle {
    const MOST: usize = MAX_HANDLE;
    const EXPECTED: Option<&'static str> = Some("a handle that the gate has given out");
}

impl Kind for Something {
    const MOST: usize = 0;
    const EXPECTED: Option<&'static str> = Some("some text");
}

impl Kind for Name {
    const MOST: usize = 255;
    const EXPECTED: Option<&'static str> = Some("a name of 1 to 255 bytes");
}

impl Kind for Names {
    const MOST: usize = 16_384;
    const PATTERN: Option<&'static str> = Some(r"^ *[^,\x00-\x20\x7f]+ *(, *[^,\x00-\x20\x7f]+ *){0,63}$");
    const EXPECTED: Option<&'static str> = Some("1 to 64 names joined by commas");
}

impl Kind for Address {
    const LEAST: usize = 2;
    const MOST: usize = 45;
    const PATTERN: Option<&'static str> = Some("^[0-9A-Fa-f:.]+$");
    const EXPECTED: Option<&'static str> = Some("an IPv4 or IPv6 address");
}
