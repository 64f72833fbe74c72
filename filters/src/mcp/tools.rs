//! The tools, each rendered once from its description.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::catalog::CATALOG;
use crate::identity::Identity;
use crate::operation::Entry;

/// The JSON of every tool, in the order of the catalog.
static TOOLS: LazyLock<Vec<String>> = LazyLock::new(|| CATALOG.iter().map(|entry| tool(entry).to_string()).collect());

/// Writes the array of the tools that `identity` may use.
pub(super) fn write(identity: &Identity, out: &mut Vec<u8>) {
    out.push(b'[');
    let mut first = true;
    for (entry, json) in CATALOG.iter().zip(TOOLS.iter()) {
        if may_use(identity, entry) {
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(json.as_bytes());
        }
    }
    out.push(b']');
}

fn may_use(identity: &Identity, entry: &Entry) -> bool {
    match (entry.facts.scope, entry.facts.engine) {
        _ if entry.facts.rest_only => false,
        (Some(scope), Some(engine)) => {
            identity.scopes.contains(scope) && identity.agent.reaches(scope, engine, entry.facts.named)
        }
        _ => true,
    }
}

fn tool(entry: &Entry) -> Value {
    let facts = entry.facts;
    json!({
        "name": facts.name,
        "title": facts.title,
        "description": facts.summary,
        "inputSchema": entry.input_schema(),
        "outputSchema": output(entry.output_schema()),
        "annotations": {
            "title": facts.title,
            "readOnlyHint": facts.hints.read_only,
            "destructiveHint": facts.hints.destructive,
            "idempotentHint": facts.hints.idempotent,
            "openWorldHint": false,
        },
    })
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
            ("detail", "What failed, in one sentence."),
            ("request_id", "The failed call's id in the gate's log."),
        ] {
            properties.insert(name.into(), json!({"type": "string", "description": text}));
        }
    }
    schema
}
