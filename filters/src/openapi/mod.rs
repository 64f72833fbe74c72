//! The OpenAPI surface: one document (OpenAPI 3.1) of every REST route.
//! Source: <https://spec.openapis.org/oas/v3.1.1>

mod answers;
mod operation;
mod own;

use serde_json::{Map, Value, json};

use crate::catalog::Catalog;
use crate::grants::Engine;

/// The document of the catalog's operations and of the gate's own routes.
#[must_use]
pub fn document(catalog: &Catalog) -> Value {
    let mut paths = own::paths();
    for entry in catalog.iter() {
        add(&mut paths, entry.spec.template, entry.spec.method, operation::describe(entry));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis",
            "summary": "Operations that agents can use on Vault and AWS KMS.",
            "description": "Each route is an operation that MCP tools call by the same name with the same arguments, \
                but for those that only REST has.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags(catalog),
        "paths": paths,
        "components": {
            "schemas": {"Error": answers::error_schema()},
            "responses": answers::refusals(),
            "securitySchemes": {
                "certificate": {"type": "mutualTLS", "description": "The agent's client certificate."},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    })
}

/// Adds one method of one path.
fn add(paths: &mut Map<String, Value>, path: &str, method: &str, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| json!({}));
    if let Some(item) = item.as_object_mut() {
        item.insert(method.to_ascii_lowercase(), operation);
    }
}

/// The credentials that prove an agent: any one of these.
fn credentials(scopes: &[&str]) -> Value {
    json!([{"certificate": scopes}, {"bearer": scopes}, {"key": scopes}])
}

/// The short name of an engine, and what it is.
pub(crate) const fn tag(engine: Option<Engine>) -> (&'static str, &'static str) {
    match engine {
        Some(engine) => (engine.spec().name, engine.spec().about),
        None => ("gate", "The gate itself."),
    }
}

/// A tag for each engine, in the order of the catalog; the gate's own comes last.
fn tags(catalog: &Catalog) -> Vec<Value> {
    let tags = catalog.engines().map(Some).chain([None]).map(tag);
    tags.map(|(name, text)| json!({"name": name, "description": text})).collect()
}
