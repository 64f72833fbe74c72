//! Lifetimes, as callers write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::json::Whole;

/// Time for which a wrapped answer may wait: whole seconds, or a duration such as
/// `90s`, `1h30m` or `1d`; at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapTtl(u32);

impl WrapTtl {
    /// Longest time, in seconds.
    pub const MAX: u32 = 86_400;

    /// Reads a text; `None` for what is no such time.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        seconds(text).filter(|seconds| (1..=Self::MAX).contains(seconds)).map(Self)
    }

    /// Whole seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

/// Time for which something is to be valid: from 1 s to ten years, written as
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

/// Age at which a version of a secret is deleted: from 0, which leaves it to the mount, to ten years, written as
/// [`WrapTtl`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(u32);

/// The error for a text that is no such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotALifetime;

impl fmt::Display for NotALifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds, or a duration such as `90s`, `1h30m` or `7d`")
    }
}

impl std::error::Error for NotALifetime {}

impl FromStr for Lifetime {
    type Err = NotALifetime;

    fn from_str(text: &str) -> Result<Self, NotALifetime> {
        seconds(text).filter(|seconds| (1..=Self::MAX).contains(seconds)).map(Self).ok_or(NotALifetime)
    }
}

/// Reads whole seconds or a duration as Vault documents them: `90`, `90s`, `1h30m`, `1.5h`, `7d`.
fn seconds(text: &str) -> Option<u32> {
    let milliseconds = milliseconds(text)?;
    (milliseconds % 1000 == 0).then_some(milliseconds / 1000)?.try_into().ok()
}

/// Milliseconds of a duration as Vault documents them: seconds, or numbers with their units (`d`, `h`,
/// `m`, `s`, `ms`), each with a fraction or without, which add up.
#[must_use]
pub fn milliseconds(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(1000);
    }
    let (mut rest, mut sum) = (text, None);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at_checked(end)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        sum = Some(sum.unwrap_or(0_u64).checked_add(times(number, unit)?)?);
        rest = next;
    }
    sum
}

/// A decimal number of units; `None` where that is no whole number.
fn times(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if [whole, fraction].iter().any(|digits| digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let scale = 10_u64.checked_pow(fraction.len().try_into().ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(unit)?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    (part % scale == 0).then_some(part / scale)?.checked_add(whole)
}

/// Reads a number of seconds, or a duration, from `least` to `most` seconds.
fn read_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D, least: u32, most: u32) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given<'a> {
        Number(Whole),
        Text(#[serde(borrow)] Cow<'a, str>),
    }
    let wrong =
        || serde::de::Error::custom(format_args!(", expected {least} to {most} seconds, or a duration such as `5m`"));
    let given = match Given::deserialize(deserializer).map_err(|_| wrong())? {
        Given::Number(number) => number.get().try_into().ok(),
        Given::Text(text) => seconds(&text),
    };
    given.filter(|seconds| (least..=most).contains(seconds)).ok_or_else(wrong)
}

fn seconds_schema(least: u32, most: u32) -> Schema {
    schemars::json_schema!({
        "anyOf": [
            {"type": "integer", "minimum": least, "maximum": most},
            {"type": "string", "minLength": 1, "pattern": r"^([0-9]{1,9}|([0-9]{1,9}(\.[0-9]{1,3})?(ms|[smhd])){1,5})$"},
        ],
    })
}

impl<'de> Deserialize<'de> for WrapTtl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_seconds(deserializer, 1, Self::MAX).map(Self)
    }
}

impl JsonSchema for WrapTtl {
    fn schema_name() -> Cow<'static, str> {
        "WrapTtl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        seconds_schema(1, Self::MAX)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_seconds(deserializer, 1, Self::MAX).map(Self)
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
        seconds_schema(1, Self::MAX)
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_seconds(deserializer, 0, Lifetime::MAX).map(Self)
    }
}

impl Serialize for Age {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0))
    }
}

impl JsonSchema for Age {
    fn schema_name() -> Cow<'static, str> {
        "Age".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        seconds_schema(0, Lifetime::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_seconds_or_durations() {
        for (json, seconds) in [
            ("1", Some(1)),
            ("1.0", Some(1)),
            ("6e1", Some(60)),
            ("86400", Some(86_400)),
            ("\"90\"", Some(90)),
            ("\"90s\"", Some(90)),
            ("\"5m\"", Some(300)),
            ("\"24h\"", Some(86_400)),
            ("\"1d\"", Some(86_400)),
            ("\"1h30m\"", Some(5_400)),
            ("\"1.5h\"", Some(5_400)),
            ("\"30m1h\"", Some(5_400)),
            ("\"1h0m10s\"", Some(3_610)),
            ("\"2000ms\"", Some(2)),
            ("\"1500ms\"", None),
            ("\"1h30\"", None),
            ("\"1.h\"", None),
            ("\".5h\"", None),
            ("\"1..5h\"", None),
            ("\"1.0000000000000000000000h\"", None),
            ("\"1w\"", None),
            ("\"7D\"", None),
            ("\"-1h\"", None),
            ("\"1d1s\"", None),
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

    #[test]
    fn an_age_may_be_none() {
        for (json, written) in
            [("0", Some("\"0s\"")), ("\"0s\"", Some("\"0s\"")), ("\"1h0m5s\"", Some("\"3605s\"")), ("-1", None)]
        {
            let read = serde_json::from_str::<Age>(json).ok().map(|age| serde_json::to_string(&age).unwrap());
            assert_eq!(read.as_deref(), written, "{json}");
        }
    }
}
