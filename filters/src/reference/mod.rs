//! The reference of operations and errors, as Markdown tables.

mod errors;

use std::fmt::Write as _;

pub use errors::errors;

use crate::grants::{Holds, Service};
use crate::operation::{Entry, Facts};

/// One row per operation, in the order of the catalog.
#[must_use]
pub fn operations(catalog: &[Entry]) -> String {
    let mut text = String::from(
        "| operation | REST | MCP tool | scope | Vault: capability | annotations |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for entry in catalog {
        row(entry.facts, &mut text);
    }
    text
}

fn row(facts: &Facts, text: &mut String) {
    let tool = if facts.rest_only { "no".to_owned() } else { format!("`{}`", facts.name) };
    let scope = facts.scope.map_or("none", |scope| scope.name());
    let queries: Vec<_> = facts.query.iter().map(|(name, _)| format!("{name}=")).collect();
    let query = if queries.is_empty() { String::new() } else { format!("?{}", queries.join("&")) };
    let (route, vault) = (format!("{} {}{query}", facts.method, facts.template), vault(facts));
    let annotations = annotations(facts);
    let name = facts.name;
    let _ = writeln!(text, "| `{name}` | `{route}` | {tool} | {scope} | {vault} | {annotations} |");
}

fn vault(facts: &Facts) -> String {
    let Some(engine) = facts.engine else { return "the gate itself".to_owned() };
    if let Service::Other(name) = engine.facts().service {
        return name.to_owned();
    }
    if facts.reach.apis.is_empty() {
        return "the gate itself, by handle".to_owned();
    }
    let below = match engine.facts().holds {
        Holds::Paths => "/{prefix}/{agent}/…",
        Holds::Names(_) => "/…",
    };
    let paths = facts.reach.apis.iter().map(|api| format!("`{{{}}}/{api}{below}`", engine.name()));
    let may: Vec<_> = facts.reach.may.iter().map(|capability| capability.name()).collect();
    format!("{}: {}", paths.collect::<Vec<_>>().join(", "), may.join(", "))
}

fn annotations(facts: &Facts) -> String {
    let hints = facts.hints;
    let all = [
        (hints.read_only, "read-only"),
        (hints.destructive, "destructive"),
        (hints.idempotent, "idempotent"),
        (facts.secret, "may be wrapped"),
    ];
    let held: Vec<_> = all.into_iter().filter_map(|(held, name)| held.then_some(name)).collect();
    held.join(", ")
}

#[cfg(test)]
mod tests;
