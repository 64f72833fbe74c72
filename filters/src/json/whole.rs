use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// From here on two whole numbers may be one number of 64 bits with a fraction (RFC 8259 section 6).
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number from `LEAST` to `MOST`, judged by its value: `1.0` and `1e0` are 1 (JSON Schema
/// 2020-12, Validation, section 6.1.1). One that is written so is below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Whole<const LEAST: u64 = 0, const MOST: u64 = { u64::MAX }>(u64);

impl<const LEAST: u64, const MOST: u64> Whole<LEAST, MOST> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

struct Number<const LEAST: u64, const MOST: u64>;

impl<const LEAST: u64, const MOST: u64> Visitor<'_> for Number<LEAST, MOST> {
    type Value = Whole<LEAST, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match MOST {
            u64::MAX => write!(f, "a whole number from {LEAST}"),
            _ => write!(f, "a whole number from {LEAST} to {MOST}"),
        }
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        if (LEAST..=MOST).contains(&number) {
            return Ok(Whole(number));
        }
        Err(E::custom(format_args!(", expected {}", &self as &dyn serde::de::Expected)))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        // No sign is left of a zero, and a number without a fraction is written without a point.
        let whole = (number.abs() < INEXACT).then(|| (number + 0.0).to_string().parse().ok()).flatten();
        match whole {
            Some(whole) => self.visit_u64(whole),
            None => Err(E::custom(format_args!(", expected {}", &self as &dyn serde::de::Expected))),
        }
    }
}

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Whole<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Whole<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Whole".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = json_schema!({"type": "integer", "minimum": LEAST});
        if MOST < u64::MAX {
            schema.insert("maximum".into(), MOST.into());
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_by_its_value() {
        for (json, number) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-0.0", Some(0)),
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("7e0", Some(7)),
            ("70E-1", Some(7)),
            ("0.7e+1", Some(7)),
            ("9007199254740991.0", Some(9_007_199_254_740_991)),
            ("18446744073709551615", Some(u64::MAX)),
            ("9007199254740992.0", None),
            ("9007199254740993.0", None),
            ("1e300", None),
            ("18446744073709551616", None),
            ("1.5", None),
            ("1e-1", None),
            ("-1", None),
            ("-1.0", None),
            ("\"1\"", None),
            ("null", None),
            ("true", None),
            ("[1]", None),
        ] {
            assert_eq!(serde_json::from_str::<Whole>(json).ok().map(Whole::get), number, "{json}");
        }
    }

    #[test]
    fn a_number_is_within_its_bounds_and_the_error_tells_them() {
        type Bounded = Whole<1, 10>;
        for (json, fits) in [("0", false), ("1", true), ("1e1", true), ("10.0", true), ("11", false), ("1.1e1", false)]
        {
            let read = serde_json::from_str::<Bounded>(json);
            assert_eq!(read.is_ok(), fits, "{json}");
            let error = read.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(fits || error.contains(", expected a whole number from 1 to 10"), "{error}");
        }
        let error = serde_json::from_str::<Whole>("-5").unwrap_err().to_string();
        assert!(error.contains("expected a whole number from 0 at"), "{error}");
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Whole>("2.0").unwrap()).unwrap(), "2");
    }
}
