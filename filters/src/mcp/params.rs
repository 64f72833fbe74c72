//! Headers that repeat arguments of tools, so that what stands between client and gate can tell by them which secret,
//! key or role is meant (revision 2026-07-28). They may have a call refused, and allow nothing.
//!
//! Source: <https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http>.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::Failure;
use super::message::decoded;
use crate::catalog::CATALOG;
use crate::json::text;
use crate::operation::Entry;

const MISSING: &str = "A header Mcp-Param-* of an argument is missing";
const OTHER: &str = "A header Mcp-Param-* does not match the argument in the body";

/// The arguments that are repeated, each with the end of its header's name. They name what a tool touches.
const REPEATED: [(&str, &str); 3] = [("key", "Key"), ("path", "Path"), ("role", "Role")];

/// Values of the headers `Mcp-Param-Key`, `Mcp-Param-Path` and `Mcp-Param-Role`; one that stands twice or is no text
/// says nothing that an argument could.
pub type Params<'a> = [Option<&'a str>; REPEATED.len()];

/// The arguments that may be repeated.
#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default, deserialize_with = "text")]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    path: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "text")]
    role: Option<Cow<'a, str>>,
}

/// Marks the arguments in a tool's schema that clients repeat: texts that must be there, since a mark is allowed on
/// plain types only.
pub(super) fn mark(schema: &mut Value) {
    for (name, header) in REPEATED {
        if let Some(property) = schema.pointer_mut(&format!("/properties/{name}")).filter(|p| p["type"] == "string") {
            property["x-mcp-header"] = header.into();
        }
    }
}

/// Which arguments of each operation are repeated.
static MARKED: LazyLock<Vec<(&'static str, [bool; REPEATED.len()])>> = LazyLock::new(|| {
    let marked = |entry: &Entry| {
        let schema = entry.input_schema();
        REPEATED.map(|(name, _)| schema.pointer(&format!("/properties/{name}/type")).is_some_and(|t| t == "string"))
    };
    CATALOG.iter().map(|entry| (entry.spec.name, marked(entry))).collect()
});

/// Compares headers and arguments. Arguments that cannot be read are left to the operation, which refuses them.
///
/// # Errors
/// [`Failure::HeaderMismatch`].
pub(super) fn check(entry: &Entry, arguments: &[u8], headers: &Params<'_>) -> Result<(), Failure> {
    let Some((_, marked)) = MARKED.iter().find(|(name, _)| *name == entry.spec.name) else { return Ok(()) };
    if !marked.contains(&true) {
        return Ok(());
    }
    let Ok(Arguments { key, path, role }) = serde_json::from_slice(arguments) else { return Ok(()) };
    for ((marked, header), argument) in marked.iter().zip(headers).zip([key, path, role]) {
        match (header, argument) {
            _ if !marked => {}
            (None, None) => {}
            (None, Some(_)) => return Err(Failure::HeaderMismatch(MISSING)),
            (Some(header), argument) if argument.is_some() && decoded(header) == argument => {}
            (Some(_), _) => return Err(Failure::HeaderMismatch(OTHER)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn a_header_says_what_its_argument_does() {
        for (tool, arguments, headers, expected) in [
            ("kv.read", r#"{"path":"a/b"}"#, [None, Some("a/b"), None], Ok(())),
            ("kv.read", r#"{"path":"a/\u0062"}"#, [None, Some("a/b"), None], Ok(())),
            ("kv.read", r#"{"path":"é"}"#, [None, Some("=?base64?w6k=?="), None], Ok(())),
            // A header of an argument that is not marked says nothing.
            ("kv.read", r#"{"path":"a"}"#, [Some("x"), Some("a"), None], Ok(())),
            ("kv.list", r#"{"prefix":"a"}"#, [None, Some("b"), None], Ok(())),
            ("kv.read", r#"{}"#, [None, None, None], Ok(())),
            ("kv.read", r#"{"path":7}"#, [None, None, None], Ok(())),
            ("kv.read", r#"{"path":"a/b"}"#, [None, None, None], Err(MISSING)),
            ("kv.read", r#"{"path":"a/b"}"#, [None, Some("a/c"), None], Err(OTHER)),
            ("kv.read", r#"{"path":"a/b"}"#, [None, Some(""), None], Err(OTHER)),
            ("kv.read", r#"{"path":"a/b"}"#, [None, Some("=?base64?!?="), None], Err(OTHER)),
            ("kv.read", r#"{"path":null}"#, [None, Some("a"), None], Err(OTHER)),
            ("transit.encrypt", r#"{"key":"k","plaintext":"eA=="}"#, [Some("j"), None, None], Err(OTHER)),
            ("db.issue_creds", r#"{"role":"r"}"#, [None, None, Some("s")], Err(OTHER)),
        ] {
            let entry = catalog::find(tool).unwrap();
            let told = check(entry, arguments.as_bytes(), &headers);
            assert_eq!(told, expected.map_err(Failure::HeaderMismatch), "{tool} {arguments} {headers:?}");
        }
    }

    #[test]
    fn only_texts_that_must_be_there_are_marked() {
        let mut marks = 0;
        for entry in CATALOG.iter() {
            let mut schema = entry.input_schema().to_value();
            mark(&mut schema);
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let Some(header) = property.get("x-mcp-header") else { continue };
                assert_eq!(property["type"], "string", "{entry:?} {name}");
                assert!(header.as_str().is_some_and(|header| header.eq_ignore_ascii_case(name)), "{entry:?} {name}");
                marks += 1;
            }
        }
        assert!(marks > 10, "{marks}");
    }
}
