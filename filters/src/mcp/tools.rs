//! The tools, each rendered once from its description.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::params;
use crate::catalog::{CATALOG, Catalog};
use crate::identity::Identity;
use crate::operation::Entry;

/// The spelling of tools' names where they are shown; both spellings
/// are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolNames {
    /// `kv.read`.
    #[default]
    Dotted,
    /// `kv_read`, for clients that allow no dot in a name.
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
    let dotted = entry.spec.name.bytes();
    let spelled = dotted.len() == name.len() && dotted.zip(name.bytes()).all(|(a, b)| a == b || (a, b) == (b'.', b'_'));
    spelled && !entry.spec.rest_only
}

/// The tools of a catalog, each with its JSON, in the catalog's order.
pub struct Tools(Vec<(&'static Entry, Box<RawValue>)>);

impl Tools {
    /// Renders every tool.
    #[must_use]
    pub fn of(catalog: &Catalog, names: ToolNames) -> Self {
        let tools = catalog.iter().filter(|entry| !entry.spec.rest_only);
        // A tool is a value, which always serializes.
        Self(tools.filter_map(|entry| Some((entry, to_raw_value(&tool(entry, names)).ok()?))).collect())
    }

    /// The tools that `identity` may use.
    pub fn usable<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a RawValue> {
        self.0.iter().filter(|(entry, _)| may_use(identity, entry)).map(|(_, json)| &**json)
    }

    /// Every tool and its JSON, whoever asks.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Entry, &str)> {
        self.0.iter().map(|(entry, json)| (*entry, json.get()))
    }
}

/// The tools of the catalog that `identity` may use.
pub(super) fn usable(identity: &Identity, names: ToolNames) -> impl Iterator<Item = &RawValue> {
    names.rendered().usable(identity)
}

/// True for a tool that `identity` may use on anything.
pub(super) fn may_use(identity: &Identity, entry: &Entry) -> bool {
    if entry.spec.rest_only {
        return false;
    }
    match (entry.spec.scope, entry.spec.engine) {
        (Some(scope), Some(engine)) => {
            identity.scopes.contains(scope) && identity.agent.reaches(scope, engine, entry.spec.named)
        }
        _ => true,
    }
}

fn tool(entry: &Entry, names: ToolNames) -> Value {
    let spec = entry.spec;
    json!({
        "name": names.spell(spec.name),
        "title": spec.title,
        "description": spec.summary,
        "inputSchema": input(entry.input_schema().to_value()),
        "outputSchema": output(entry.output_schema()),
        "annotations": {
            "title": spec.title,
            "readOnlyHint": spec.annotations.read_only,
            "destructiveHint": spec.annotations.destructive,
            "idempotentHint": spec.annotations.idempotent,
            "openWorldHint": false,
        },
    })
}

/// The arguments' schema, with the marks of those that headers repeat.
fn input(mut schema: Value) -> Value {
    params::mark(&mut schema);
    schema
}

/// The answer's schema, widened by the members of an error, since clients
/// check the structured content of failed calls too.
fn output(mut schema: Value) -> Value {
    let Some(members) = schema.as_object_mut() else { return schema };
    let mut forms = match (members.remove("anyOf"), members.remove("required")) {
        (Some(Value::Array(forms)), _) => forms,
        (_, required) => vec![json!({"required": required.unwrap_or_else(|| json!([]))})],
    };
    forms.push(json!({"required": ["error"]}));
    members.insert("anyOf".into(), forms.into());
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, text) in [
            ("error", "Stable code of a failed call."),
            ("detail", "The failure, in one sentence."),
            ("request_id", "The failed call's id in the gate's log."),
        ] {
            properties.insert(name.into(), json!({"type": "string", "description": text}));
        }
    }
    schema
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
    fn what_is_on_rest_only_is_no_tool() {
        let (hidden, shown) = (Entry::of::<Hidden>(), Entry::of::<Shown>());
        for name in ["a.hidden_one", "a_hidden_one"] {
            assert!(is_called(&shown, name) && !is_called(&hidden, name), "{name}");
        }
    }
}
