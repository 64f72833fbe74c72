//! The namespace of Vault's that a client names.
//! Source: <https://developer.hashicorp.com/vault/api-docs#namespaces>

use filters::headers::VAULT_NAMESPACE;
use filters::refusal::Refusal;
use http::HeaderValue;

use crate::surfaces::Asked;

/// Checks that it is the agent's, which each answer is from.
///
/// # Errors
/// [`Refusal::Forbidden`] for another.
pub(super) fn check(asked: &Asked<'_>) -> Result<(), Refusal> {
    let own = asked.caller.agent().namespace.as_str();
    let is_own = |value: &HeaderValue| {
        value.to_str().is_ok_and(|named| {
            let path = named.trim_matches('/');
            named.is_empty() || path == own || path == "root" && own.is_empty()
        })
    };
    let named = asked.headers.get_all(VAULT_NAMESPACE);
    if named.iter().all(is_own) { Ok(()) } else { Err(Refusal::Forbidden) }
}
