//! Policies of Vault's as they are written: HCL or JSON.

use filters::json;
use hcl_edit::expr::{Expression, Object, ObjectKey, ObjectValue};
use hcl_edit::parser::parse_body;
use hcl_edit::structure::{Body, Structure};
use serde_json::Value;

/// A path of a policy, and what Vault lets be done there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stanza {
    /// The path, as Vault compares it: without a slash at its beginning.
    pub(super) path: String,
    /// Its capabilities, by name.
    pub(super) capabilities: Vec<String>,
    /// The names of everything else that it says: bounds, all of them.
    pub(super) bounds: Vec<String>,
}

/// The old way to write capabilities, and what Vault takes each word for.
const OLD: [(&str, &[&str]); 4] = [
    ("deny", &["deny"]),
    ("read", &["read", "list"]),
    ("write", &["create", "read", "update", "delete", "list"]),
    ("sudo", &["create", "read", "update", "delete", "list", "sudo"]),
];

/// Reads the paths of a policy, in their order; in JSON they have none.
///
/// # Errors
/// Why it is none, without its text.
pub(super) fn read(text: &str) -> Result<Vec<Stanza>, String> {
    if text.trim_start().starts_with('{') {
        let members = json::object(text.as_bytes()).ok_or("it is not JSON, or an object names a member twice")?;
        return of_members(members);
    }
    let body = parse_body(text).map_err(|error| {
        let (line, column) = (error.location().line(), error.location().column());
        format!(
            "line {line}, column {column}: it is no HCL of today, which has each attribute on a line of its own and no \
             quotes around its name"
        )
    })?;
    let mut stanzas = Vec::new();
    for structure in &body {
        match structure {
            Structure::Attribute(attribute) => {
                let member = (attribute.key.to_string(), of_expression(&attribute.value));
                stanzas.extend(of_members([member])?);
            }
            Structure::Block(block) => match (block.ident.as_str(), block.labels.as_slice()) {
                ("path", [path]) => stanzas.push(Stanza::of(path.as_str(), of_body(&block.body))?),
                (name, _) => return Err(unknown(name)),
            },
        }
    }
    Ok(stanzas)
}

fn of_members(members: impl IntoIterator<Item = (String, Value)>) -> Result<Vec<Stanza>, String> {
    let mut stanzas = Vec::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("path", Value::Object(paths)) => {
                for (path, stanza) in paths {
                    let Value::Object(members) = stanza else { return Err(format!("the path {path:?} is no object")) };
                    stanzas.push(Stanza::of(&path, members)?);
                }
            }
            ("name", _) => {}
            (name, _) => return Err(unknown(name)),
        }
    }
    Ok(stanzas)
}

fn unknown(name: &str) -> String {
    format!("`{}` is nothing that a policy of Vault's holds, or not in that form", name.escape_debug())
}

impl Stanza {
    fn of(path: &str, members: impl IntoIterator<Item = (String, Value)>) -> Result<Self, String> {
        let mut stanza = Self { path: path.strip_prefix('/').unwrap_or(path).to_owned(), ..Self::default() };
        let wrong = |name: &str| format!("`{name}` of the path {path:?} is not as Vault has it");
        for (name, value) in members {
            match (name.as_str(), value) {
                ("capabilities", Value::Array(words)) => {
                    let word = |word: Value| word.as_str().map(str::to_owned).ok_or_else(|| wrong("capabilities"));
                    stanza.capabilities.extend(words.into_iter().map(word).collect::<Result<Vec<_>, _>>()?);
                }
                ("policy", Value::String(word)) => {
                    let (_, words) = OLD.iter().find(|(old, _)| *old == word).ok_or_else(|| wrong("policy"))?;
                    stanza.capabilities.extend(words.iter().map(|word| (*word).to_owned()));
                }
                ("capabilities" | "policy", _) => return Err(wrong(&name)),
                ("comment", _) => {}
                _ => stanza.bounds.push(name),
            }
        }
        Ok(stanza)
    }
}

/// The members of a block; of a block within it only the name.
fn of_body(body: &Body) -> impl Iterator<Item = (String, Value)> {
    body.iter().map(|structure| match structure {
        Structure::Attribute(attribute) => (attribute.key.to_string(), of_expression(&attribute.value)),
        Structure::Block(block) => (block.ident.to_string(), Value::Null),
    })
}

/// A value, as far as policies need one: what is computed is nothing.
fn of_expression(expression: &Expression) -> Value {
    match expression {
        Expression::String(text) => Value::String(text.to_string()),
        Expression::Array(items) => items.iter().map(of_expression).collect(),
        Expression::Object(object) => of_object(object),
        _ => Value::Null,
    }
}

/// An object whose keys are texts; another is nothing.
fn of_object(object: &Object) -> Value {
    let member = |(key, value): (&ObjectKey, &ObjectValue)| {
        let key = match key {
            ObjectKey::Ident(name) => name.to_string(),
            ObjectKey::Expression(Expression::String(name)) => name.to_string(),
            ObjectKey::Expression(_) => return None,
        };
        Some((key, of_expression(value.expr())))
    };
    object.iter().map(member).collect::<Option<_>>().map_or(Value::Null, Value::Object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(path: &str, capabilities: &[&str], bounds: &[&str]) -> Stanza {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Stanza { path: path.to_owned(), capabilities: owned(capabilities), bounds: owned(bounds) }
    }

    #[test]
    fn hcl_and_json_say_the_same() {
        let expected = [stanza("kv/data/a/*", &["read", "list"], &[]), stanza("sys/mounts", &["read", "list"], &[])];
        let hcl = "# A comment.\nname = \"x\"\npath \"kv/data/a/*\" { capabilities = [\"read\", \"list\"] }\n\
                   path \"/sys/mounts\" {\n  // Old.\n  policy = \"read\"\n  comment = \"y\"\n}\n";
        let objects = "path = {\n \"kv/data/a/*\" = { capabilities = [\"read\", \"list\"] }\n \"sys/mounts\" = { policy = \"read\" }\n}";
        let json = r#"{"path": {"kv/data/a/*": {"capabilities": ["read", "list"]}, "sys/mounts": {"policy": "read"}}}"#;
        for text in [hcl, objects, json] {
            assert_eq!(read(text).as_deref(), Ok(&expected[..]), "{text}");
        }
        assert_eq!(read(""), Ok(Vec::new()));
    }

    #[test]
    fn all_else_of_a_path_is_a_bound() {
        let text = "path \"a\" {\n capabilities = [\"update\"]\n allowed_parameters = { \"*\" = [] }\n min_wrapping_ttl = \"1s\"\n\
                    control_group = {}\n mfa { x = 1 }\n}\npath \"a\" { policy = \"write\" }";
        let bounds = ["allowed_parameters", "min_wrapping_ttl", "control_group", "mfa"];
        let write = ["create", "read", "update", "delete", "list"];
        assert_eq!(read(text), Ok(vec![stanza("a", &["update"], &bounds), stanza("a", &write, &[])]));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for (text, told) in [
            ("{", "not JSON"),
            ("path \"a\" {", "line 1, column"),
            ("path \"a\" { \"capabilities\" = [\"read\"] }", "no quotes"),
            ("path \"a\" \"b\" {}", "`path` is nothing"),
            ("rule \"a\" {}", "`rule` is nothing"),
            ("x = 1", "`x` is nothing"),
            ("path = [1]", "`path` is nothing"),
            (r#"{"path": {"a": 1}}"#, "is no object"),
            ("path \"a\" { capabilities = \"read\" }", "`capabilities` of the path"),
            ("path \"a\" { capabilities = [1] }", "`capabilities` of the path"),
            ("path \"a\" { policy = \"all\" }", "`policy` of the path"),
        ] {
            let problem = read(text).unwrap_err();
            assert!(problem.contains(told), "{text}: {problem}");
        }
    }
}
