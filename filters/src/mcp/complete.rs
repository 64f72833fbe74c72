//! Completion: the values that an argument of a prompt, or a variable of a resource template, may have.
//!
//! Source: <https://modelcontextprotocol.io/specification/2026-07-28/server/utilities/completion>.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::resources::{self, Folder};
use super::{Call, Failure, Features, Reference, prompts, result};
use crate::catalog;
use crate::grants::{Agent, Holds, Space};
use crate::operation::Entry;
use crate::path::SecretPath;
use crate::pattern::NamePattern;
use crate::refusal::Refusal;

/// Most values of one answer, as the schema says.
const MOST: usize = 100;

/// An argument whose value is being typed.
#[derive(Debug)]
pub struct Completing {
    of: Of,
    typed: Box<str>,
}

/// The owner of the argument.
#[derive(Debug)]
enum Of {
    /// A prompt, which suggests this operation on what the argument names.
    Prompt(&'static Entry),
    /// The path of the template with that URI.
    Template(Box<str>),
    /// An argument of which no values are known: a version, a secret's fields.
    Unknown,
}

/// The values that an argument may have, unless the agent may not use one.
#[derive(Debug, PartialEq, Eq)]
pub enum Sought<'a> {
    /// Paths: the names in this folder that begin so.
    Paths(Folder, &'a str),
    /// Keys or roles: the names that grants name, and of patterns the part that is certain, in order.
    Names(BTreeSet<&'a str>),
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
            Reference::Prompt { name } => prompts::touches(name, argument)?.map_or(Of::Unknown, Of::Prompt),
            Reference::Resource { uri } if argument == "path" => Of::Template(uri.as_ref().into()),
            Reference::Resource { .. } if argument == "version" => Of::Unknown,
            Reference::Resource { .. } => return Err(Failure::Parameters("The template has no such variable")),
        };
        Ok(Self { of, typed: typed.into() })
    }

    /// The operation that the values are for, and the values; `None` where none are known.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a template that is not one of `agent`'s.
    pub fn sought<'a>(&'a self, agent: &'a Agent) -> Result<Option<(&'static Entry, Sought<'a>)>, Refusal> {
        let (kind, space) = match &self.of {
            Of::Unknown => return Ok(None),
            Of::Prompt(kind) => (*kind, Space::Own),
            Of::Template(uri) => {
                let (space, rest) = resources::in_space(uri, &agent.id)?;
                let is_template = rest.starts_with("{+path}");
                let kind = catalog::find("kv.read").ok_or(Refusal::Internal)?;
                if is_template { (kind, space) } else { return Err(Refusal::NotFound) }
            }
        };
        let engine = kind.spec.engine.ok_or(Refusal::Internal)?;
        let sought = match engine.spec().holds {
            Holds::Names(_) => {
                let patterns = agent.roles.iter().flat_map(|(role, _)| role.names(engine));
                Some(Sought::Names(patterns.filter_map(|pattern| self.name(pattern)).collect()))
            }
            Holds::Paths => self.paths(space),
            Holds::Absolute => None,
        };
        Ok(sought.map(|sought| (kind, sought)))
    }

    /// The folder that is typed, and the beginning of a name in it; `None` for what no path begins with.
    fn paths(&self, space: Space) -> Option<Sought<'_>> {
        match self.typed.rsplit_once('/') {
            None => Some(Sought::Paths((space, None), &self.typed)),
            Some((folder, name)) => Some(Sought::Paths((space, Some(SecretPath::parse(folder).ok()?)), name)),
        }
    }

    /// The name that a grant gives, as far as it says more than is typed.
    fn name<'a>(&self, pattern: &'a NamePattern) -> Option<&'a str> {
        let (name, is_more) = match pattern {
            NamePattern::Exact(name) => (name, true),
            NamePattern::Prefix(stem) => (stem, stem.len() > self.typed.len()),
        };
        (is_more && name.starts_with(&*self.typed)).then_some(name)
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
    use std::sync::Arc;

    use super::*;
    use crate::catalog::{DATABASE, KMS, TRANSIT};
    use crate::grants::Role;
    use crate::mcp::Vault;
    use crate::names::{AgentId, Namespace};
    use crate::quota::Terms;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn reading(reference: &str, argument: &str) -> Result<Completing, Failure> {
        read::<Vault>(Some(raw(reference)), Some(raw(argument)))
    }

    fn bob(roles: Vec<Role>) -> Agent {
        Agent {
            id: AgentId::parse("bob").unwrap(),
            generation: 0,
            namespace: Namespace::default(),
            roles_policy: Arc::from(""),
            tally: Arc::default(),
            roles: roles.into_iter().map(|role| (Arc::new(role), None)).collect(),
            limit: None,
            operations: Vec::new(),
            terms: Terms::default(),
        }
    }

    #[test]
    fn a_path_is_completed_below_the_folder_that_is_typed() {
        let bob = bob(Vec::new());
        for (reference, argument, expected) in [
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path","value":""}"#, Some(("kv.read", None, ""))),
            (
                r#"{"type":"ref/prompt","name":"kv_write"}"#,
                r#"{"name":"path","value":"a"}"#,
                Some(("kv.write", None, "a")),
            ),
            (
                r#"{"type":"ref/resource","uri":"kv://bob/{+path}{?version}"}"#,
                r#"{"name":"path","value":"a/b/c"}"#,
                Some(("kv.read", Some("a/b"), "c")),
            ),
            (
                r#"{"type":"ref/resource","uri":"kv://bob/{+path}/"}"#,
                r#"{"name":"path","value":"a/"}"#,
                Some(("kv.read", Some("a"), "")),
            ),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"version","value":"1"}"#, None),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path","value":"../a"}"#, None),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"path","value":"/a"}"#, None),
        ] {
            let completing = reading(reference, argument).unwrap();
            let found = completing.sought(&bob).unwrap();
            let found = found.as_ref().map(|(kind, sought)| match sought {
                Sought::Paths((_, folder), name) => (kind.spec.name, folder.as_ref().map(SecretPath::as_str), *name),
                Sought::Names(names) => panic!("{names:?}"),
            });
            assert_eq!(found, expected, "{reference} {argument}");
        }
    }

    #[test]
    fn a_key_or_role_is_completed_as_far_as_grants_name_it() {
        let patterns = |names: &[&str]| names.iter().map(|name| NamePattern::parse_slashed(name).unwrap()).collect();
        let role = |engine, names: &[&str]| Role { named: vec![(engine, patterns(names))], ..Role::default() };
        let bob = bob(vec![
            role(TRANSIT, &["orders", "deploy-*", "deploy-eu", "deploy-eu-*"]),
            role(TRANSIT, &["orders", "audit"]),
            role(DATABASE, &["*", "reader"]),
            role(KMS, &["alias/agents-*"]),
        ]);
        for (prompt, argument, typed, expected) in [
            (
                "transit_sign",
                "key",
                "",
                Some(("transit.sign", &["audit", "deploy-", "deploy-eu", "deploy-eu-", "orders"][..])),
            ),
            ("transit_encrypt", "key", "o", Some(("transit.encrypt", &["orders"]))),
            ("transit_encrypt", "key", "orders", Some(("transit.encrypt", &["orders"]))),
            ("transit_encrypt", "key", "orders2", Some(("transit.encrypt", &[]))),
            // A beginning that is typed says nothing more.
            ("transit_encrypt", "key", "deploy-", Some(("transit.encrypt", &["deploy-eu", "deploy-eu-"]))),
            ("transit_encrypt", "key", "deploy-us", Some(("transit.encrypt", &[]))),
            ("db_issue_creds", "role", "", Some(("db.issue_creds", &["reader"]))),
            ("pki_issue", "role", "", Some(("pki.issue", &[]))),
            ("kms_encrypt", "key_id", "alias/", Some(("kms.encrypt", &["alias/agents-"]))),
            ("transit_encrypt", "plaintext", "", None),
            ("pki_issue", "ttl", "", None),
        ] {
            let reference = format!(r#"{{"type":"ref/prompt","name":"{prompt}"}}"#);
            let completing = reading(&reference, &format!(r#"{{"name":"{argument}","value":"{typed}"}}"#)).unwrap();
            let found = completing.sought(&bob).unwrap();
            let expected =
                expected.map(|(name, names)| (catalog::find(name).unwrap().spec.name, names.iter().copied().collect()));
            let found = found.map(|(kind, sought)| (kind.spec.name, sought));
            assert_eq!(found, expected.map(|(name, names)| (name, Sought::Names(names))), "{prompt} {typed}");
        }
    }

    #[test]
    fn what_is_not_there_or_not_the_callers_is_refused() {
        for (reference, argument) in [
            (r#"{"type":"ref/prompt","name":"kv_list"}"#, r#"{"name":"path","value":""}"#),
            (r#"{"type":"ref/prompt","name":"kv_read"}"#, r#"{"name":"data","value":""}"#),
            (r#"{"type":"ref/prompt","name":"db_issue_creds"}"#, r#"{"name":"key","value":""}"#),
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
        let bob = bob(Vec::new());
        for uri in ["kv://alice/{+path}/", "kv://bobby/{+path}/", "kv://bob/a", "file:///{+path}"] {
            let reference = format!(r#"{{"type":"ref/resource","uri":"{uri}"}}"#);
            let completing = reading(&reference, r#"{"name":"path","value":""}"#).unwrap();
            assert_eq!(completing.sought(&bob).unwrap_err(), Refusal::NotFound, "{uri}");
        }
    }
}
