//! The tools, each rendered once from its description.

mod brief;

use std::borrow::Cow;
use std::sync::LazyLock;

use brief::brief;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::params;
use crate::catalog::{CATALOG, Catalog};
use crate::identity::Identity;
use crate::operation::{Annotations, Entry};

/// The spelling of tools' names where they are shown; both spellings
/// are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolNames {
    /// `kv.read`, as REST and the log name the operation.
    Dotted,
    /// `kv_read`, since the interfaces of models take `[A-Za-z0-9_-]{1,64}`.
    #[default]
    Underscored,
}

impl ToolNames {
    /// The tool of the operation `name`.
    #[must_use]
    pub fn spell(self, name: &'static str) -> Cow<'static, str> {
        match self {
            Self::Dotted => name.into(),
            Self::Underscored => name.replace('.', "_").into(),
        }
    }

    /// The catalog's tools.
    fn rendered(self) -> &'static Tools {
        static DOTTED: LazyLock<Tools> = LazyLock::new(|| Tools::of(&CATALOG, ToolNames::Dotted));
        static UNDERSCORED: LazyLock<Tools> = LazyLock::new(|| Tools::of(&CATALOG, ToolNames::Underscored));
        match self {
            Self::Dotted => &DOTTED,
            Self::Underscored => &UNDERSCORED,
        }
    }
}

/// The operation behind a tool, in either spelling.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    CATALOG.iter().find(|entry| is_called(entry, name))
}

fn is_called(entry: &Entry, name: &str) -> bool {
    is_spelled(entry.spec.name, name) && !entry.spec.rest_only
}

fn is_spelled(dotted: &str, name: &str) -> bool {
    dotted.len() == name.len() && dotted.bytes().zip(name.bytes()).all(|(a, b)| a == b || (a, b) == (b'.', b'_'))
}

/// The operations whose tools a pattern of a profile names, in the catalog's order: one tool in either spelling, or
/// with a `*` at the end all whose names begin so.
#[must_use]
pub fn matching(catalog: &Catalog, pattern: &str) -> Vec<&'static str> {
    let stem = pattern.strip_suffix('*');
    let matches = |entry: &&Entry| match stem {
        None => is_called(entry, pattern),
        Some(stem) => {
            let begins = entry.spec.name.get(..stem.len()).is_some_and(|beginning| is_spelled(beginning, stem));
            begins && !entry.spec.rest_only
        }
    };
    catalog.iter().filter(matches).map(|entry| entry.spec.name).collect()
}

/// The tools of a catalog, each with its JSON, in the catalog's order.
pub struct Tools(Vec<(&'static Entry, Box<RawValue>)>);

impl Tools {
    /// Renders every tool.
    #[must_use]
    pub fn of(catalog: &Catalog, names: ToolNames) -> Self {
        let tools = catalog.iter().filter(|entry| !entry.spec.rest_only);
        Self(tools.filter_map(|entry| Some((entry, tool(entry, catalog, names)?))).collect())
    }

    /// The tools that `identity` is shown.
    pub fn shown<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a RawValue> {
        self.0.iter().filter(|(entry, _)| shows(identity, entry)).map(|(_, json)| &**json)
    }

    /// Every tool and its JSON, whoever asks.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Entry, &str)> {
        self.0.iter().map(|(entry, json)| (*entry, json.get()))
    }
}

/// The tools of the catalog that `identity` is shown.
pub(super) fn shown(identity: &Identity, names: ToolNames) -> impl Iterator<Item = &RawValue> {
    names.rendered().shown(identity)
}

/// True for a tool that `identity` may use on anything by a role whose profile shows it. A tool that is not shown may
/// be called all the same: grants alone decide.
#[must_use]
pub fn shows(identity: &Identity, entry: &Entry) -> bool {
    let spec = entry.spec;
    if spec.rest_only {
        return false;
    }
    let mut showing = identity.agent.roles.iter().map(|(role, _)| role).filter(|role| role.shows(spec.name));
    match (spec.scope, spec.engine) {
        (Some(scope), Some(engine)) => {
            identity.scopes.contains(scope) && showing.any(|role| role.reaches(scope, engine, spec.named))
        }
        _ => identity.agent.roles.is_empty() || showing.next().is_some(),
    }
}

/// The JSON of a tool. There is no schema of its answer, which would be as long as all the rest, nor a title, which would
/// say what the name does; the OpenAPI document has both.
fn tool(entry: &Entry, catalog: &Catalog, names: ToolNames) -> Option<Box<RawValue>> {
    let mut input = entry.input_schema().to_value();
    params::mark(&mut input);
    let tool = json!({
        "name": entry.spec.name,
        "description": entry.spec.summary,
        "inputSchema": brief(&input),
        "annotations": annotations(entry.spec.annotations),
    });
    // Texts name other tools, as they are shown too.
    let spelled = catalog
        .iter()
        .fold(tool.to_string(), |json, other| json.replace(other.spec.name, &names.spell(other.spec.name)));
    RawValue::from_string(spelled).ok()
}

/// The hints, without those that mean nothing for a tool that only reads.
fn annotations(annotations: Annotations) -> Value {
    let Annotations { read_only, destructive, idempotent } = annotations;
    match read_only {
        true => json!({"readOnlyHint": true, "openWorldHint": false}),
        false => json!({"destructiveHint": destructive, "idempotentHint": idempotent, "openWorldHint": false}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Describe, OperationSpec, Plan};
    use crate::refusal::Refusal;
    use crate::shape::Shape;

    /// An operation that is on REST only.
    struct Hidden;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Nothing {}

    impl Describe for Hidden {
        type Arguments<'a> = Nothing;
        const SHAPE: &'static Shape = &Shape::DONE;
        const SPEC: OperationSpec = OperationSpec { name: "a.hidden_one", rest_only: true, ..OperationSpec::POST };

        fn plan(_: Nothing) -> Result<Plan, Refusal> {
            Err(Refusal::Internal)
        }
    }

    /// The same on every surface.
    struct Shown;

    impl Describe for Shown {
        type Arguments<'a> = Nothing;
        const SHAPE: &'static Shape = &Shape::DONE;
        const SPEC: OperationSpec = OperationSpec { rest_only: false, ..Hidden::SPEC };

        fn plan(_: Nothing) -> Result<Plan, Refusal> {
            Err(Refusal::Internal)
        }
    }

    #[test]
    fn a_tool_is_found_in_both_spellings_and_in_no_other() {
        for entry in CATALOG.iter().filter(|entry| !entry.spec.rest_only) {
            for names in [ToolNames::Dotted, ToolNames::Underscored] {
                let found = find(&names.spell(entry.spec.name)).unwrap();
                assert_eq!(found.spec.name, entry.spec.name);
            }
        }
        for name in ["", "kv", "kv-read", "kv/read", "kv.rea", "kv.reads", "KV.READ", "transit.generate.data.key"] {
            assert!(find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_profile_names_tools_in_both_spellings_and_by_their_beginning() {
        for (pattern, expected) in [
            ("kv.read", &["kv.read"][..]),
            ("kv_read", &["kv.read"]),
            ("transit.generate_data_key", &["transit.generate_data_key"]),
            ("ssh.*", &["ssh.sign", "ssh.otp"]),
            ("ssh_*", &["ssh.sign", "ssh.otp"]),
            ("db.re*", &["db.renew", "db.revoke"]),
            ("whoami*", &["whoami"]),
            ("wrap.*", &["wrap.lookup"]),
            ("wrap.unwrap", &[]),
            ("kv", &[]),
            ("kv.rea", &[]),
            ("kv.reads*", &[]),
            ("*.read", &[]),
            ("kv.**", &[]),
            ("Kv.*", &[]),
            ("transit.generate.*", &[]),
            ("", &[]),
        ] {
            assert_eq!(matching(&CATALOG, pattern), expected, "{pattern}");
        }
        assert_eq!(matching(&CATALOG, "*").len(), CATALOG.iter().filter(|entry| !entry.spec.rest_only).count());
    }

    /// Most bytes of the tools of an agent that may use all of them, without the frame of the answer.
    const MOST: usize = 16_000;

    #[test]
    fn all_tools_together_are_short_and_named_as_models_take_names() {
        for names in [ToolNames::Dotted, ToolNames::Underscored] {
            let tools = Tools::of(&CATALOG, names);
            let bytes: usize = tools.iter().map(|(_, json)| json.len() + 1).sum();
            assert!(bytes <= MOST, "{names:?}: {bytes}");
        }
        let shown = Tools::of(&CATALOG, ToolNames::default());
        for (entry, json) in shown.iter() {
            let tool: Value = serde_json::from_str(json).unwrap();
            let name = tool["name"].as_str().unwrap();
            assert!(
                name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)),
                "{name}"
            );
            let dotted = CATALOG.iter().find(|entry| entry.spec.name.contains('.') && json.contains(entry.spec.name));
            assert!(dotted.is_none(), "{name} speaks of {dotted:?}");
            plain(&tool["inputSchema"], entry.spec.name);
        }
    }

    /// Fails unless every value in the schema has one type, and none is null.
    fn plain(schema: &Value, name: &str) {
        assert!(schema["type"].is_string() && schema["type"] != "null", "{name}: {schema}");
        assert!(!schema.to_string().contains("null"), "{name}: {schema}");
        for nested in schema["properties"].as_object().into_iter().flat_map(|members| members.values()) {
            plain(nested, name);
        }
        for nested in [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|nested| !nested.is_null())
        {
            plain(nested, name);
        }
    }

    #[test]
    fn what_is_on_rest_only_is_no_tool() {
        let (hidden, shown) = (Entry::of::<Hidden>(), Entry::of::<Shown>());
        for name in ["a.hidden_one", "a_hidden_one"] {
            assert!(is_called(&shown, name) && !is_called(&hidden, name), "{name}");
        }
    }
}
