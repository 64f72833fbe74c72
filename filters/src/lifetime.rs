//! How long things are to last, as callers write it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// How long a wrapped answer may wait: whole seconds, or a duration such as
/// `90s`, `5m` or `1h`; at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapTtl(u32);

impl WrapTtl {
    /// Longest time, in seconds.
    pub const MAX: u32 = 86_400;

    /// Whole seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

/// How long something is to be valid: from 1 s to ten years, written as
/// [`WrapTtl`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(u32);

impl Lifetime {
    /// Longest time, in seconds.
    pub const MAX: u32 = 10 * 366 * 86_400;

    /// Whole seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// As Vault reads it: `90s`.
    #[must_use]
    pub fn text(self) -> String {
        format!("{}s", self.0)
    }
}

/// What is no such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALifetime;

impl fmt::Display for NotALifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds, or a duration such as `90s`, `5m` or `1h`")
    }
}

impl std::error::Error for NotALifetime {}

impl FromStr for Lifetime {
    type Err = NotALifetime;

    fn from_str(text: &str) -> Result<Self, NotALifetime> {
        seconds(text).filter(|seconds| (1..=Self::MAX).contains(seconds)).map(Self).ok_or(NotALifetime)
    }
}

/// Reads whole seconds or a duration as Vault has it: `90`, `90s`, `5m`, `1h`.
fn seconds(text: &str) -> Option<u32> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.as_bytes().last().copied().unwrap_or(b's')),
        None => (text, b's'),
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit = match unit {
        b'm' => 60,
        b'h' => 3600,
        _ => 1,
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}

/// Reads a number of seconds, or a duration, from 1 s to `most`.
fn read_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D, most: u32) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given<'a> {
        Number(u32),
        Text(#[serde(borrow)] Cow<'a, str>),
    }
    let wrong = || serde::de::Error::custom(format_args!(", expected 1 to {most} seconds, or a duration such as `5m`"));
    let given = match Given::deserialize(deserializer).map_err(|_| wrong())? {
        Given::Number(number) => Some(number),
        Given::Text(text) => seconds(&text),
    };
    given.filter(|seconds| (1..=most).contains(seconds)).ok_or_else(wrong)
}

fn seconds_schema(most: u32) -> Schema {
    schemars::json_schema!({
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": most},
            {"type": "string", "pattern": "^[0-9]{1,9}[smh]?$"},
        ],
    })
}

impl<'de> Deserialize<'de> for WrapTtl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_seconds(deserializer, Self::MAX).map(Self)
    }
}

impl JsonSchema for WrapTtl {
    fn schema_name() -> Cow<'static, str> {
        "WrapTtl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        seconds_schema(Self::MAX)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_seconds(deserializer, Self::MAX).map(Self)
    }
}

impl Serialize for Lifetime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl JsonSchema for Lifetime {
    fn schema_name() -> Cow<'static, str> {
        "Lifetime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        seconds_schema(Self::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_seconds_or_durations() {
        for (json, seconds) in [
            ("1", Some(1)),
            ("86400", Some(86_400)),
            ("\"90\"", Some(90)),
            ("\"90s\"", Some(90)),
            ("\"5m\"", Some(300)),
            ("\"24h\"", Some(86_400)),
            ("0", None),
            ("86401", None),
            ("\"25h\"", None),
            ("-1", None),
            ("1.5", None),
            ("\"\"", None),
            ("\"s\"", None),
            ("\"5 m\"", None),
            ("\"99999999999999h\"", None),
            ("true", None),
        ] {
            let read = serde_json::from_str::<WrapTtl>(json).ok().map(WrapTtl::seconds);
            assert_eq!(read, seconds, "{json}");
        }
    }
}
