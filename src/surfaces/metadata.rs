//! The gate as an OAuth 2.0 protected resource: where its metadata is
//! (RFC 9728), and the challenges that lead there (RFC 6750, section 3; RFC 9449, section 7.1).

use filters::jwt::ALGORITHMS;
use filters::refusal::Refusal;
use filters::scope::Scope;
use http::HeaderValue;
use serde_json::{Map, Value};

use crate::snapshot::Snapshot;

use super::Reply;

/// Where the metadata of the whole gate is; that of `/mcp` is below it.
pub const PATH: &str = "/.well-known/oauth-protected-resource";

/// The path of the MCP endpoint.
const MCP: &str = "/mcp";

/// The metadata of a resource, by its URL.
#[must_use]
pub fn serve(snapshot: &Snapshot, resource: &str) -> Reply {
    let mut document = Map::new();
    let servers: Vec<&str> = snapshot.credentials.issuers.urls().collect();
    let scopes: Vec<&str> = Scope::ALL.into_iter().map(Scope::name).collect();
    document.insert("resource".into(), resource.into());
    if !servers.is_empty() {
        document.insert("authorization_servers".into(), servers.into());
    }
    document.insert("scopes_supported".into(), scopes.into());
    document.insert("bearer_methods_supported".into(), vec!["header"].into());
    document.insert("resource_name".into(), "Portcullis".into());
    document.insert("tls_client_certificate_bound_access_tokens".into(), snapshot.credentials.certificates.into());
    if snapshot.credentials.issuers.take_dpop() {
        let algorithms: Vec<&str> = ALGORITHMS.split(' ').collect();
        document.insert("dpop_signing_alg_values_supported".into(), algorithms.into());
        document.insert("dpop_bound_access_tokens_required".into(), snapshot.credentials.issuers.require_dpop().into());
    }
    Reply::json(200, Value::Object(document).to_string())
}

/// Adds the challenges of a refusal that a credential, or one with another scope, would help: what
/// is wrong stands in that of the scheme by which a token came. `base` is scheme and authority of the
/// gate, where they are known.
pub fn challenge(
    snapshot: &Snapshot,
    refusal: &Refusal,
    authorization: Option<&HeaderValue>,
    at: (Option<String>, bool),
    reply: &mut Reply,
) {
    let error = match refusal {
        Refusal::Unauthenticated if authorization.is_some() => ", error=\"invalid_token\"".to_owned(),
        Refusal::Unauthenticated => String::new(),
        Refusal::InvalidProof => ", error=\"invalid_dpop_proof\"".to_owned(),
        Refusal::InsufficientScope(scope) => format!(", error=\"insufficient_scope\", scope=\"{scope}\""),
        _ => return,
    };
    let dpop = snapshot.credentials.issuers.take_dpop();
    let by_dpop = dpop && authorization.is_some_and(is_dpop);
    let (of_bearer, of_dpop) = if by_dpop { ("", error.as_str()) } else { (error.as_str(), "") };
    let metadata = url(snapshot, at);
    let mut add = |scheme: &str, error: &str| {
        if let Ok(challenge) = HeaderValue::try_from(format!("{scheme}{error}{metadata}")) {
            reply.add("www-authenticate", challenge);
        }
    };
    // The same token has no other scopes by the other scheme.
    let both = !matches!(refusal, Refusal::InsufficientScope(_));
    if both || !by_dpop {
        add("Bearer realm=\"portcullis\"", of_bearer);
    }
    if dpop && (both || by_dpop) {
        add(&format!("DPoP algs=\"{ALGORITHMS}\""), of_dpop);
    }
}

/// The parameter by which a challenge leads to the metadata; empty where there are none.
fn url(snapshot: &Snapshot, (base, is_mcp): (Option<String>, bool)) -> String {
    let base = base.filter(|_| !snapshot.credentials.issuers.is_empty());
    let path = if is_mcp { MCP } else { "" };
    base.map(|base| format!(", resource_metadata=\"{base}{PATH}{path}\"")).unwrap_or_default()
}

fn is_dpop(authorization: &HeaderValue) -> bool {
    authorization.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"dpop "))
}
