//! Completion: the values that an argument of a prompt, or a variable of a resource template, may have.
//!
//! Source: <https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/completion>.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::resources::{self, Folder, Listed};
use super::{Call, Failure, Features, Reference, prompts, result};
use crate::catalog;
use crate::grants::Space;
use crate::names::AgentId;
use crate::operation::Operation;
use crate::path::SecretPath;
use crate::refusal::Refusal;

/// Most values of one answer, as the schema says.
const MOST: usize = 100;

/// An argument whose value is being typed.
#[derive(Debug, PartialEq, Eq)]
pub struct Completing {
    of: Of,
    typed: Box<str>,
}

/// The owner of the argument.
#[derive(Debug, PartialEq, Eq)]
enum Of {
    /// The path of a prompt, which suggests this operation.
    Prompt(&'static str),
    /// The path of the template with that URI.
    Template(Box<str>),
    /// An argument of which no values are known: a version, a secret's fields.
    Unknown,
}

/// The parameter `argument`.
#[derive(Deserialize)]
struct Argument<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

/// Reads the parameters `ref` and `argument`.
///
/// # Errors
/// [`Failure::Parameters`], as [`Features::completing`] too.
pub(super) fn read<F: Features>(
    reference: Option<&RawValue>,
    argument: Option<&RawValue>,
) -> Result<F::Completing, Failure> {
    let reference = reference.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let reference = reference.ok_or(Failure::Parameters("ref must name a prompt or a resource template"))?;
    let argument = argument.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let Argument { name, value } = argument.ok_or(Failure::Parameters("argument must have a name and a value"))?;
    F::completing(&reference, &name, &value)
}

impl Completing {
    /// As [`Features::completing`].
    pub(super) fn find(reference: &Reference<'_>, argument: &str, typed: &str) -> Result<Self, Failure> {
        let of = match reference {
            Reference::Prompt { name } => {
                let operation = prompts::takes(name, argument)?;
                if argument == "path" { Of::Prompt(operation) } else { Of::Unknown }
            }
            Reference::Resource { uri } if argument == "path" => Of::Template(uri.as_ref().into()),
            Reference::Resource { .. } if argument == "version" => Of::Unknown,
            Reference::Resource { .. } => return Err(Failure::Parameters("The template has no such variable")),
        };
        Ok(Self { of, typed: typed.into() })
    }

    /// The folder that is typed, and the beginning of a name in it; nothing where no value is known.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a template that is not one of `subject`'s.
    pub fn folder(&self, subject: &AgentId) -> Result<Option<(Folder, &str)>, Refusal> {
        let space = match &self.of {
            Of::Unknown => return Ok(None),
            Of::Prompt(_) => Space::Own,
            Of::Template(uri) => {
                let (space, rest) = resources::in_space(uri, subject)?;
                if rest.starts_with("{+path}") { space } else { return Err(Refusal::NotFound) }
            }
        };
        Ok(match self.typed.rsplit_once('/') {
            None => Some(((space, None), &self.typed)),
            // What no path begins with has no values.
            Some((folder, name)) => SecretPath::parse(folder).ok().map(|folder| ((space, Some(folder)), name)),
        })
    }

    /// The operation that a secret is completed for.
    ///
    /// # Errors
    /// As [`crate::operation::Entry::parse`].
    pub fn operation(&self, secret: &Listed) -> Result<Operation, Refusal> {
        match self.of {
            Of::Prompt("kv.write") => {
                let arguments = json!({"path": secret.1, "data": {}}).to_string();
                catalog::find("kv.write").ok_or(Refusal::Internal)?.parse(arguments.as_bytes())
            }
            Of::Prompt(_) | Of::Template(_) | Of::Unknown => resources::secret(secret, None),
        }
    }
}

#[derive(Serialize)]
struct Completed<'a> {
    completion: Completion<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Completion<'a> {
    values: &'a [String],
    total: usize,
    has_more: bool,
}

/// Answers `completion/complete` with the first 100 of `values`.
pub fn completed(call: &Call<'_, impl Features>, values: &[String], out: &mut Vec<u8>) {
    let (total, first) = (values.len(), values.get(..MOST).unwrap_or(values));
    let completion = Completion { values: first, total, has_more: total > first.len() };
    result::write(call, Completed { completion }, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::Vault;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn reading(reference: &str, argument: &str) -> Result<Completing, Failure> {
        read::<Vault>(Some(raw(reference)), Some(raw(argument)))
    }

    #[test]
    fn a_path_is_completed_below_the_folder_that_is_typed() {
        let bob = AgentId::parse("bob").unwrap();
        for (reference, argument, expected) in [
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path","value":""}"#, Some((None, ""))),
            (r#"{"type":"ref/prompt","name":"kv_write"}"#, r#"{"name":"path","value":"a"}"#, Some((None, "a"))),
            (
                r#"{"type":"ref/resource","uri":"kv://bob/{+path}{?version}"}"#,
                r#"{"name":"path","value":"a/b/c"}"#,
                Some((Some("a/b"), "c")),
            ),
            (
                r#"{"type":"ref/resource","uri":"kv://bob/{+path}/"}"#,
                r#"{"name":"path","value":"a/"}"#,
                Some((Some("a"), "")),
            ),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"version","value":"1"}"#, None),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path","value":"../a"}"#, None),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path","value":"/a"}"#, None),
        ] {
            let completing = reading(reference, argument).unwrap();
            let found = completing.folder(&bob).unwrap();
            let found = found.as_ref().map(|((_, folder), name)| (folder.as_ref().map(SecretPath::as_str), *name));
            assert_eq!(found, expected, "{reference} {argument}");
        }
    }

    #[test]
    fn what_is_not_there_or_not_the_callers_is_refused() {
        for (reference, argument) in [
            (r#"{"type":"ref/prompt","name":"kv_list"}"#, r#"{"name":"path","value":""}"#),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"data","value":""}"#),
            (r#"{"type":"ref/prompt"}"#, r#"{"name":"path","value":""}"#),
            (r#"{"type":"ref/tool","name":"kv_read"}"#, r#"{"name":"path","value":""}"#),
            (r#"{"type":"ref/resource","uri":"kv://bob/{+path}/"}"#, r#"{"name":"key","value":""}"#),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path"}"#),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path","value":7}"#),
            (r#""kv_read""#, r#"{"name":"path","value":""}"#),
        ] {
            let refused = reading(reference, argument);
            assert!(matches!(refused, Err(Failure::Parameters(_))), "{reference} {argument}: {refused:?}");
        }
        assert!(read::<Vault>(None, None).is_err());
        let bob = AgentId::parse("bob").unwrap();
        for uri in ["kv://alice/{+path}/", "kv://bobby/{+path}/", "kv://bob/a", "file:///{+path}"] {
            let reference = format!(r#"{{"type":"ref/resource","uri":"{uri}"}}"#);
            let completing = reading(&reference, r#"{"name":"path","value":""}"#).unwrap();
            assert_eq!(completing.folder(&bob), Err(Refusal::NotFound), "{uri}");
        }
    }
}
