//! Responses of routes.

use serde_json::{Map, Value, json};

/// The statuses of refusals, and what they mean.
const REFUSALS: [(u16, &str); 15] = [
    (400, "The request, or its path, is not well formed, or Vault rejected it."),
    (401, "A valid credential is required."),
    (403, "The credential lacks the scope, the agent a grant, or Vault denied it."),
    (404, "There is nothing here."),
    (405, "The route has no such method."),
    (406, "The Accept header excludes the media type of the answer."),
    (408, "The request took too long to arrive."),
    (409, "The current version is not the one given as cas."),
    (413, "The body is over the configured limit."),
    (415, "The body is not declared as application/json."),
    (422, "An argument does not fit the schema."),
    (429, "Too many requests, in a period or at once, failed authentications, live leases, or open streams."),
    (431, "The request's head is over the configured limit."),
    (502, "Vault's answer could not be understood, or is over the configured limit."),
    (503, "Vault is not available, or the gate is at its limit of concurrent work."),
];

/// Of refusals that any request may meet.
pub(super) const ANY: [u16; 5] = [400, 403, 408, 431, 503];

/// The one form of every refusal.
pub(super) fn error_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a request was not served.",
        "properties": {
            "error": {"type": "string", "pattern": "^[a-z_]+$", "description": "The stable code."},
            "detail": {"type": "string", "description": "One sentence."},
            "request_id": {"type": "string", "description": "The request's id in the gate's log."},
            "granted": {"type": "string", "description": "With 403: the grants of that kind that the agent's roles hold."},
            "pointer": {"type": "string", "description": "With 422: a JSON pointer to the argument."},
            "expected": {"type": "string", "description": "With 422: the value that was expected there."},
        },
        "required": ["error", "detail", "request_id"],
        "additionalProperties": false,
    })
}

/// Every refusal, as a component named by its status.
pub(super) fn refusals() -> Value {
    let mut all = Map::new();
    for (status, text) in REFUSALS {
        let schema = json!({"$ref": "#/components/schemas/Error"});
        let mut response = json!({"description": text, "content": {"application/json": {"schema": schema}}});
        if let (429 | 503, Some(members)) = (status, response.as_object_mut()) {
            let schema = json!({"type": "integer", "minimum": 0});
            let header = json!({"description": "Seconds after which to try again, where known.", "schema": schema});
            members.insert("headers".into(), json!({"Retry-After": header}));
        }
        all.insert(name(status), response);
    }
    all.into()
}

fn name(status: u16) -> String {
    format!("Refused{status}")
}

/// A success, and refusals of these statuses.
pub(super) fn responses(success: (u16, Value), statuses: impl IntoIterator<Item = u16>) -> Value {
    let mut all = Map::new();
    all.insert(success.0.to_string(), success.1);
    let mut statuses: Vec<u16> = statuses.into_iter().collect();
    statuses.sort_unstable();
    for status in statuses {
        all.insert(status.to_string(), json!({"$ref": format!("#/components/responses/{}", name(status))}));
    }
    all.into()
}

/// A success with a JSON body.
pub(super) fn json_body(text: &str, schema: Value) -> Value {
    json!({"description": text, "content": {"application/json": {"schema": schema}}})
}
