//! The resources, by the URIs that the suite reads them by.

use serde_json::{Value, json};

use super::tools::PNG;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
/// The URI of the one template.
pub(super) const TEMPLATE: &str = "test://template/{id}/data";

/// All but those of the template.
pub(super) fn listed() -> [Value; 2] {
    [TEXT, BINARY].map(|uri| json!({"uri": uri, "name": uri}))
}

pub(super) fn template() -> Value {
    json!({"uriTemplate": TEMPLATE, "name": "template"})
}

/// The content of a resource.
pub(super) fn read(uri: &str) -> Option<Value> {
    match uri {
        TEXT => Some(json!({"uri": uri, "mimeType": "text/plain", "text": "A text."})),
        BINARY => Some(json!({"uri": uri, "mimeType": "image/png", "blob": PNG})),
        _ => {
            let (before, after) = TEMPLATE.split_once("{id}")?;
            let id = uri.strip_prefix(before)?.strip_suffix(after)?;
            Some(json!({"uri": uri, "mimeType": "application/json", "text": json!({"id": id}).to_string()}))
        }
    }
}
