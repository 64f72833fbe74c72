//! JSON in which no object names a member twice: RFC 8259 and RFC 7519 leave to
//! the reader which of two counts, so two readers might not agree.

mod judge;
mod object;
mod whole;

pub(crate) use judge::plain;
pub use judge::{Bounds, Fault, JsonProblem, judge};
pub(crate) use object::{Object, text};
pub use whole::Whole;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A text without the byte order mark that some editors write before it; a reader may ignore one
/// (RFC 8259, section 8.1).
#[must_use]
pub fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// One value, at every level of which the names of an object are unique; at
/// most 127 levels deep. `None` for any other text.
#[must_use]
pub fn value(text: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Unique.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// The members of such a value that is an object. `None` for any other text.
#[must_use]
pub fn object(text: &[u8]) -> Option<Map<String, Value>> {
    let Value::Object(members) = value(text)? else { return None };
    Some(members)
}

struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Self)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_stands_once() {
        let text = br#" {"a":[1,-1,1.5,null,true,"x",{"b":{}}],"c":{"a":1}} "#;
        assert_eq!(object(text).map(Value::Object), serde_json::from_slice(text).ok());
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"\u0062":2}}"#, r#"{"a":[{"b":1,"b":1}]}"#] {
            assert!(serde_json::from_str::<Value>(bad).is_ok() && object(bad.as_bytes()).is_none(), "{bad}");
        }
        for bad in ["", "[]", "1", "{}{}", "{", "{\"a\":\"\u{1}\"}"] {
            assert!(object(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_none());
        assert!(object(format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000)).as_bytes()).is_none());
    }
}
