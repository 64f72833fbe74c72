//! One operation of the catalog as a route.

use serde_json::{Map, Value, json};

use super::{answers, credentials, tag};
use crate::operation::{Entry, OperationSpec};

/// The operation object.
pub(super) fn describe(entry: &Entry) -> Value {
    let spec = entry.spec;
    let scopes: Vec<&str> = spec.scope.iter().map(|scope| scope.name()).collect();
    let arguments = Arguments::of(entry);
    let mut operation = json!({
        "operationId": spec.name,
        "summary": spec.title,
        "description": spec.summary,
        "tags": [tag(spec.engine).0],
        "security": credentials(&scopes),
        "parameters": parameters(spec, &arguments),
        "responses": responses(entry, &arguments),
        "x-scope": spec.scope.map(|scope| scope.name()),
        "x-mcp-tool": !spec.rest_only,
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    if spec.takes_body {
        members.insert("requestBody".into(), arguments.body(spec));
    }
    if let (Some(engine), false) = (spec.engine, spec.reach.apis.is_empty()) {
        let paths: Vec<_> = spec.reach.apis.iter().map(|api| format!("{{{}}}/{api}", tag(Some(engine)).0)).collect();
        let may: Vec<_> = spec.reach.may.iter().map(|capability| capability.name()).collect();
        members.insert("x-vault".into(), json!({"paths": paths, "capabilities": may}));
    }
    operation
}

/// The arguments that the operation's schema names.
struct Arguments {
    properties: Map<String, Value>,
    required: Vec<Value>,
    rest: Map<String, Value>,
}

impl Arguments {
    fn of(entry: &Entry) -> Self {
        let Value::Object(mut rest) = entry.input_schema().to_value() else {
            return Self { properties: Map::new(), required: Vec::new(), rest: Map::new() };
        };
        let mut properties = match rest.remove("properties") {
            Some(Value::Object(properties)) => properties,
            _ => Map::new(),
        };
        // The titles are what tools say instead of the descriptions.
        properties.values_mut().filter_map(Value::as_object_mut).for_each(|members| _ = members.remove("title"));
        let required = match rest.remove("required") {
            Some(Value::Array(required)) => required,
            _ => Vec::new(),
        };
        Self { properties, required, rest }
    }

    /// The body: every argument but the path's, those of the query too, which
    /// may stand in either.
    fn body(&self, spec: &OperationSpec) -> Value {
        let outside = |name: &str| path_parameter(spec) == Some(name);
        let properties = self.properties.iter().filter(|(name, _)| !outside(name));
        let properties: Map<_, _> = properties.map(|(name, schema)| (name.clone(), schema.clone())).collect();
        let required = self.required.iter().filter(|name| !name.as_str().is_some_and(outside));
        let required: Vec<_> = required.cloned().collect();
        let needed = !required.is_empty();
        let mut schema = self.rest.clone();
        schema.insert("properties".into(), properties.into());
        if needed {
            schema.insert("required".into(), required.into());
        }
        json!({"required": needed, "content": {"application/json": {"schema": schema}}})
    }

    /// The schema of a parameter, and what it means.
    fn parameter(&self, name: &str) -> (Value, Value) {
        let mut schema = self.properties.get(name).cloned().unwrap_or_else(|| json!({"type": "string"}));
        let Some(members) = schema.as_object_mut() else { return (Value::Null, schema) };
        (members.remove("description").unwrap_or_default(), schema)
    }
}

/// The name of the template's parameter.
fn path_parameter(spec: &OperationSpec) -> Option<&'static str> {
    Some(spec.template.split_once('{')?.1.split_once('}')?.0)
}

fn parameters(spec: &OperationSpec, arguments: &Arguments) -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |place: &str, name: &str, argument: &str, required: bool| {
        let (text, schema) = arguments.parameter(argument);
        let mut parameter = json!({"name": name, "in": place, "required": required, "schema": schema});
        if let (Some(members), false) = (parameter.as_object_mut(), text.is_null()) {
            members.insert("description".into(), text);
        }
        all.push(parameter);
    };
    if let Some(name) = path_parameter(spec) {
        add("path", name, name, true);
    }
    for (name, _) in spec.query {
        let required = arguments.required.iter().any(|needed| needed == name) && !spec.takes_body;
        add("query", name, name, required);
    }
    if spec.secret {
        add("header", "X-Vault-Wrap-TTL", "wrap_ttl", false);
    }
    all
}

fn responses(entry: &Entry, arguments: &Arguments) -> Value {
    let spec = entry.spec;
    let success = match spec.success {
        204 => json!({"description": "The operation succeeded."}),
        _ => {
            let schema = entry.output_schema();
            let about = schema.get("description").and_then(Value::as_str).unwrap_or(spec.title).to_owned();
            answers::json_body(&about, schema)
        }
    };
    let mut statuses = answers::ANY.to_vec();
    statuses.extend([401, 405, 406, 422, 429]);
    // What the gate answers itself has neither absence nor an upstream.
    if !spec.takes_body && spec.engine.is_none() {
        return answers::responses((spec.success, success), statuses);
    }
    statuses.extend([404, 502]);
    if spec.takes_body {
        statuses.extend([413, 415]);
    }
    if arguments.properties.contains_key("cas") {
        statuses.push(409);
    }
    answers::responses((spec.success, success), statuses)
}
