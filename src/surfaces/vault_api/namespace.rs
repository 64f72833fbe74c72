//! The namespace of Vault's that a client names, by a header or at the beginning of the path.
//! Source: <https://developer.hashicorp.com/vault/api-docs#namespaces>

use filters::headers::VAULT_NAMESPACE;
use filters::path::{below, decode};
use filters::refusal::Refusal;
use filters::vault_api::PREFIX;
use http::HeaderValue;

use crate::snapshot::Snapshot;
use crate::surfaces::Asked;

/// The namespace of agents that a path begins with, empty for none, and the path in it.
pub(super) fn of_path<'p, 's>(path: &'p str, snapshot: &'s Snapshot) -> (&'s str, &'p str) {
    let known = snapshot.vault.namespaces.iter().map(|namespace| namespace.as_str());
    let named = known.filter_map(|namespace| Some((namespace, below(path, namespace)?)));
    named.min_by_key(|(_, rest)| rest.len()).unwrap_or(("", path))
}

/// The namespace that the path names, empty for none.
fn in_path<'s>(asked: &'s Asked<'_>) -> Result<&'s str, Refusal> {
    let snapshot = &asked.context.snapshot;
    if snapshot.vault.namespaces.is_empty() {
        return Ok("");
    }
    let path = decode(asked.path.strip_prefix(PREFIX).unwrap_or_default().as_bytes())?;
    Ok(of_path(&path, snapshot).0)
}

/// Checks that it is the agent's, which each answer is from. As Vault has it, the path goes on from the header's.
///
/// # Errors
/// [`Refusal::Forbidden`] for another; [`Refusal::Path`].
pub(super) fn check(asked: &Asked<'_>) -> Result<(), Refusal> {
    let own = asked.caller.agent().namespace.as_str();
    let in_path = in_path(asked)?;
    let names_it = |value: &HeaderValue| {
        let Ok(named) = value.to_str() else { return false };
        let outer = named.trim_matches('/');
        let outer = if outer == "root" { "" } else { outer };
        named.is_empty() || if in_path.is_empty() { outer == own } else { outer.is_empty() }
    };
    let named = asked.headers.get_all(VAULT_NAMESPACE);
    let is_own = in_path.is_empty() || in_path == own;
    if is_own && named.iter().all(names_it) { Ok(()) } else { Err(Refusal::Forbidden) }
}
