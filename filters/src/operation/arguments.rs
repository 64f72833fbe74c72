//! Arguments, read and, where they do not fit, told of: where, and what would.

use serde::Deserialize;
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Entry;
use crate::json::{self, Bounds, Fault};
use crate::refusal::{Misfit, Refusal};

/// Refuses what Vault would not take as JSON.
pub(super) fn judge(kind: &Entry, arguments: &[u8], bounds: &Bounds) -> Result<(), Refusal> {
    json::judge(arguments, bounds).map_err(|fault| misjudged(kind, &fault, bounds))
}

/// The pointer ends at the argument: names below it are the caller's.
pub(crate) fn misjudged(kind: &Entry, fault: &Fault<'_>, bounds: &Bounds) -> Refusal {
    let schema = kind.input_schema();
    let known = schema.get("properties").and_then(Value::as_object);
    let name = fault.member.and_then(|name| std::str::from_utf8(name).ok());
    let name = name.filter(|name| known.is_some_and(|known| known.contains_key(*name)));
    let pointer = name.map(|name| format!("/{name}")).unwrap_or_default();
    Refusal::Arguments(Misfit { pointer, expected: fault.expected(bounds) })
}

/// Reads arguments that were judged.
pub(super) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        Category::Data => Refusal::Arguments(misfit::<T>(json)),
        // Where one of some words is asked for, whatever is no text counts as bad syntax.
        Category::Syntax if serde_json::from_slice::<&RawValue>(json).is_ok() => Refusal::Arguments(misfit::<T>(json)),
        Category::Io | Category::Syntax | Category::Eof => Refusal::Malformed("The body is not valid JSON."),
    })
}

/// Reads once more to find the place. Only the slow path pays for it.
fn misfit<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Misfit {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut deserializer) else {
        return Misfit { pointer: String::new(), expected: "one JSON object".into() };
    };
    let text = error.inner().to_string();
    let mut pointer = String::new();
    // The name of an unknown field is the caller's text: the pointer stops above it.
    if !text.starts_with("unknown field") {
        for segment in error.path() {
            use serde_path_to_error::Segment;
            match segment {
                Segment::Map { key } | Segment::Enum { variant: key } => pointer.extend(["/", key]),
                Segment::Seq { index } => pointer.extend(["/", &index.to_string()]),
                Segment::Unknown => {}
            }
        }
    }
    Misfit { pointer, expected: expected(&text) }
}

/// The part of serde's message that the schema wrote. What the caller wrote
/// stands before the last `, expected `.
fn expected(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(text, _)| text);
    if message.ends_with("`, there are no fields") {
        return "no fields".to_owned();
    }
    if let Some((_, expected)) = message.rsplit_once(", expected ") {
        return expected.to_owned();
    }
    match message.split_once(" field ") {
        Some(("missing", name)) => format!("the field {name}"),
        Some(("duplicate", name)) => format!("the field {name} once"),
        _ => "a value that fits the schema".to_owned(),
    }
}

/// A value that the types allow and the operation does not.
#[must_use]
pub fn unfit(pointer: &'static str, expected: &'static str) -> Refusal {
    Refusal::Arguments(Misfit { pointer: pointer.into(), expected: expected.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_expected_is_told_without_what_came() {
        for (message, told) in [
            ("invalid type: string \"CANARY, expected CANARY\", expected u64 at line 1 column 9", "u64"),
            ("unknown field `CANARY, expected CANARY`, expected `a` or `b` at line 1 column 9", "`a` or `b`"),
            ("unknown field `CANARY, expected CANARY`, there are no fields at line 1 column 9", "no fields"),
            ("missing field `path` at line 1 column 2", "the field `path`"),
            ("duplicate field `path` at line 1 column 20", "the field `path` once"),
            ("CANARY", "a value that fits the schema"),
        ] {
            assert_eq!(expected(message), told, "{message}");
        }
    }
}
