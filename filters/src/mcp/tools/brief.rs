//! Schemas of arguments as tools show them: brief, since a model reads all of them before its first
//! call. The gate judges by the whole ones, which the OpenAPI document has.

use serde_json::{Map, Value, json};

/// Most values of an argument that are listed.
const MOST_VALUES: usize = 10;
/// The keywords that are kept as they are.
const KEPT: [&str; 6] = ["type", "enum", "minimum", "maximum", "required", "x-mcp-header"];

/// The brief form of a schema. Of the descriptions it has the titles, which say in a few words what a name and a type
/// do not; of several forms of a value it has the text.
pub(super) fn brief(schema: &Value) -> Value {
    let Some(members) = schema.as_object() else { return schema.clone() };
    let mut brief: Map<String, Value> = members.iter().filter(|(name, _)| KEPT.contains(&&***name)).map(own).collect();
    match (members.get("anyOf"), members.get("oneOf")) {
        (Some(Value::Array(forms)), _) if forms.iter().any(|form| form["type"] == "string") => {
            brief.insert("type".into(), "string".into());
        }
        (_, Some(Value::Array(values))) => {
            let values: Vec<&Value> = values.iter().filter_map(|value| value.get("const")).collect();
            brief.extend([("type".into(), "string".into()), ("enum".into(), json!(values))]);
        }
        _ => {}
    }
    if brief.get("enum").and_then(Value::as_array).is_some_and(|values| values.len() > MOST_VALUES) {
        brief.remove("enum");
    }
    if let Some(text) = members.get("title") {
        brief.insert("description".into(), text.clone());
    }
    if let Some(Value::Object(properties)) = members.get("properties") {
        let properties: Map<_, _> =
            properties.iter().map(|(name, schema)| (name.clone(), self::brief(schema))).collect();
        brief.insert("properties".into(), properties.into());
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below @ Value::Object(_)) = members.get(name) {
            brief.insert(name.into(), self::brief(below));
        }
    }
    brief.into()
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}
