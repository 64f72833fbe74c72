//! The reference of operations and errors, as Markdown tables.

mod errors;

use std::fmt::Write as _;

pub use errors::errors;

use crate::catalog::Catalog;
use crate::grants::Service;
use crate::operation::OperationSpec;

/// One row per operation, in the order of the catalog.
#[must_use]
pub fn operations(catalog: &Catalog) -> String {
    let mut text = String::from(
        "| operation | REST | MCP tool | scope | Vault: capability | annotations |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for entry in catalog.iter() {
        row(entry.spec, &mut text);
    }
    text
}

fn row(spec: &OperationSpec, text: &mut String) {
    let tool = if spec.rest_only { "no".to_owned() } else { format!("`{}`", spec.name) };
    let scope = spec.scope.map_or("none", |scope| scope.name());
    let queries: Vec<_> = spec.query.iter().map(|(name, _)| format!("{name}=")).collect();
    let query = if queries.is_empty() { String::new() } else { format!("?{}", queries.join("&")) };
    let (route, vault) = (format!("{} {}{query}", spec.method, spec.template), vault(spec));
    let annotations = annotations(spec);
    let name = spec.name;
    let _ = writeln!(text, "| `{name}` | `{route}` | {tool} | {scope} | {vault} | {annotations} |");
}

fn vault(spec: &OperationSpec) -> String {
    let Some(engine) = spec.engine else { return "the gate itself".to_owned() };
    if engine.spec().service == Service::Kms {
        return Service::Kms.name().to_owned();
    }
    if spec.reach.apis.is_empty() {
        return "the gate itself, by handle".to_owned();
    }
    let paths = spec.vault_paths().map(|path| format!("`{path}`"));
    let may: Vec<_> = spec.reach.may.iter().map(|capability| capability.name()).collect();
    format!("{}: {}", paths.collect::<Vec<_>>().join(", "), may.join(", "))
}

fn annotations(spec: &OperationSpec) -> String {
    let annotations = spec.annotations;
    let all = [
        (annotations.read_only, "read-only"),
        (annotations.destructive, "destructive"),
        (annotations.idempotent, "idempotent"),
        (spec.secret, "may be wrapped"),
    ];
    let held: Vec<_> = all.into_iter().filter_map(|(held, name)| held.then_some(name)).collect();
    held.join(", ")
}

#[cfg(test)]
mod tests;
