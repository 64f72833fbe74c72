//! Requests that the gate makes to Vault for itself.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{CERTIFICATES, Layout, Method, VaultRequest, errors, is_success, post};
use crate::names::{AgentId, Namespace};
use crate::path::{PathProblem, VaultPath};
use crate::secret::Secret;

/// The description of a child token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChildToken {
    /// The agent it is for.
    pub agent: AgentId,
    /// Where it is made: it holds there, by that namespace's policies.
    pub namespace: Namespace,
    /// Its policies.
    pub policies: Vec<Arc<str>>,
    /// True where the agent's name is its entity alias, which templated policies go by.
    pub alias: bool,
    /// A batch token, or a service token that can be revoked.
    pub batch: bool,
    /// Seconds it lives.
    pub ttl: u32,
}

/// Logs in by AppRole.
///
/// # Errors
/// A bad mount.
pub fn login_approle(mount: &str, role_id: &str, secret_id: &Secret) -> Result<VaultRequest, PathProblem> {
    let path = VaultPath::render(&["auth", mount, "login"])?;
    Ok(post(path, &json!({"role_id": role_id, "secret_id": secret_id.expose()}), true))
}

/// Logs in by a signed token (JWT): the auth methods `jwt` and `kubernetes`.
/// The one copy of the token that this makes is wiped with the request.
///
/// # Errors
/// A bad mount.
pub fn login_jwt(mount: &str, role: Option<&str>, jwt: &Secret) -> Result<VaultRequest, PathProblem> {
    #[derive(Serialize)]
    struct Login<'a> {
        jwt: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'a str>,
    }
    let path = VaultPath::render(&["auth", mount, "login"])?;
    let jwt = jwt.expose();
    // With room for all of it: what grows leaves copies behind.
    let room = jwt.len() + role.map_or(0, |role| role.len() * 2) + 32;
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    // Writing texts to memory does not fail.
    let _ = serde_json::to_writer(&mut *body, &Login { jwt, role });
    Ok(VaultRequest::new(Method::Post, path, Some(Bytes::from_owner(body)), true))
}

/// Logs in by the certificate that the connection was made with.
///
/// # Errors
/// A bad mount.
pub fn login_certificate(mount: &str, role: Option<&str>) -> Result<VaultRequest, PathProblem> {
    let path = VaultPath::render(&["auth", mount, "login"])?;
    Ok(post(path, &role.map_or_else(|| json!({}), |role| json!({"name": role})), true))
}

/// The meaning of a login whose token Vault does not know.
pub const UNKNOWN_TOKEN: &str = "it is unknown or has ended";

/// The words of Vault's auth methods for a login that they refuse, and their meaning.
const REFUSED: [(&str, &str); 17] = [
    ("invalid token", UNKNOWN_TOKEN),
    ("invalid audience", "its audience is not the one that is wanted"),
    ("invalid issuer", "its issuer is another"),
    ("token is expired", "it has expired"),
    ("token not yet valid", "it is not valid yet, or says neither `iat` nor `nbf`"),
    ("error validating claims", "a claim is not what the role wants"),
    ("verifying token signature", "its signature is of no key that Vault knows"),
    ("service account name not authorized", "the role is not for this service account"),
    ("namespace not authorized", "the role is not for this namespace"),
    ("invalid role name", "there is no such role"),
    ("could not be found", "there is no such role"),
    ("failed to match all constraints", "no role fits the certificate"),
    ("no chain matching all constraints", "no role fits the certificate"),
    ("no certificate was matched", "no role fits the certificate"),
    ("invalid certificate or no client certificate", "no role fits the certificate, or it was shown none"),
    ("client certificate must be supplied", "it was shown no certificate"),
    ("invalid role or secret ID", "role id or secret id is wrong"),
];

/// Why Vault refuses a login. The words are ours, since Vault's may quote what
/// it was given.
#[must_use]
pub fn login_refused(body: &[u8]) -> Option<&'static str> {
    let told = errors(body)?;
    let says = |phrase: &str| told.iter().any(|error| error.contains(phrase));
    REFUSED.iter().find(|(phrase, _)| says(phrase)).map(|(_, meaning)| *meaning)
}

/// Looks up the token it is sent with.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn lookup_self() -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, VaultPath::render(&["auth/token/lookup-self"])?, None, true))
}

/// Renews the token it is sent with.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn renew_self() -> Result<VaultRequest, PathProblem> {
    Ok(post(VaultPath::render(&["auth/token/renew-self"])?, &json!({}), true))
}

/// Revokes a lease, at once.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn revoke_lease(id: &str) -> Result<VaultRequest, PathProblem> {
    Ok(post(VaultPath::render(&["sys/leases/revoke"])?, &json!({"lease_id": id, "sync": true}), true))
}

/// Revokes the token it is sent with, and with it what hangs on it.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn revoke_self() -> Result<VaultRequest, PathProblem> {
    Ok(post(VaultPath::render(&["auth/token/revoke-self"])?, &json!({}), true))
}

/// Makes a child token through a token role.
///
/// # Errors
/// A bad role name.
pub fn create_child(role: &str, child: &ChildToken) -> Result<VaultRequest, PathProblem> {
    let path = VaultPath::render(&["auth/token/create", role])?;
    let alias = child.alias.then(|| child.agent.as_str());
    let body = json!({
        "policies": child.policies.iter().map(|policy| &**policy).collect::<Vec<_>>(),
        "no_default_policy": true,
        "type": if child.batch { "batch" } else { "service" },
        "ttl": format!("{}s", child.ttl),
        "renewable": false,
        "display_name": child.agent.as_str(),
        "meta": {"agent": child.agent.as_str()},
        "entity_alias": alias.unwrap_or_default(),
    });
    Ok(post(path, &body, true))
}

/// Revokes a service token by its accessor.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn revoke_accessor(accessor: &str) -> Result<VaultRequest, PathProblem> {
    Ok(post(VaultPath::render(&["auth/token/revoke-accessor"])?, &json!({"accessor": accessor}), true))
}

/// True where a token is no more after this answer to [`revoke_accessor`]: revoked now, unknown to
/// Vault, revoked by somebody else meanwhile, or gone with its namespace.
#[must_use]
pub fn is_revoked(status: u16, body: &[u8]) -> bool {
    let gone = |error: &str| {
        ["invalid accessor", "token not found", "namespace not found"].iter().any(|known| error.contains(known))
    };
    let unknown = || errors(body).is_some_and(|errors| errors.iter().any(|error| gone(error)));
    match status {
        400 | 403 | 404 => unknown(),
        _ => is_success(status),
    }
}

/// Revokes a certificate that was issued from the gate's PKI mount.
///
/// # Errors
/// A bad mount.
pub fn revoke_certificate(layout: &Layout, serial: &str) -> Result<VaultRequest, PathProblem> {
    let path = VaultPath::render(&[layout.mount_of(CERTIFICATES), "revoke"])?;
    Ok(post(path, &json!({"serial_number": serial}), true))
}

/// Asks whether Vault is initialised, unsealed and active; 200 if so.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn health() -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, VaultPath::render(&["sys/health"])?, None, true))
}

/// The facts of a Vault that do not change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// Its version.
    pub version: Cow<'a, str>,
    /// True for OpenBao, and the Enterprise edition of HashiCorp's. Another takes no notice of namespaces.
    pub has_namespaces: bool,
}

/// The facts of the Vault that gives this answer to [`health`]; `None` where it is no such answer.
#[must_use]
pub fn about(body: &[u8]) -> Option<About<'_>> {
    #[derive(Deserialize)]
    struct Health<'a> {
        #[serde(borrow)]
        version: Cow<'a, str>,
        enterprise: Option<bool>,
    }
    let told: Health<'_> = serde_json::from_slice(body).ok()?;
    // Before 1.17 HashiCorp's tells the edition in its version only; OpenBao's begin with 2.
    let community = || told.version.starts_with("1.") && !told.version.contains("+ent");
    let has_namespaces = told.enterprise.unwrap_or_else(|| !community());
    Some(About { version: told.version, has_namespaces })
}

fn leases_of(layout: &Layout, agent: &AgentId) -> Result<VaultPath, PathProblem> {
    VaultPath::render(&[&layout.kv_mount, "data", &layout.gate_prefix, "leases", agent.as_str()])
}

/// Reads the record of an agent's live leases.
///
/// # Errors
/// A bad mount or prefix.
pub fn read_leases(layout: &Layout, agent: &AgentId) -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, leases_of(layout, agent)?, None, true))
}

/// Writes it, if its version is still `version`; 0 where there was none.
///
/// # Errors
/// A bad mount or prefix.
pub fn write_leases(
    layout: &Layout,
    agent: &AgentId,
    version: u64,
    leases: &impl Serialize,
) -> Result<VaultRequest, PathProblem> {
    let body = json!({"options": {"cas": version}, "data": {"leases": leases}});
    Ok(post(leases_of(layout, agent)?, &body, false))
}

fn suspended(layout: &Layout) -> Result<VaultPath, PathProblem> {
    VaultPath::render(&[&layout.kv_mount, "data", &layout.gate_prefix, "suspended"])
}

/// Reads the record of suspended agents.
///
/// # Errors
/// A bad mount or prefix.
pub fn read_suspensions(layout: &Layout) -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, suspended(layout)?, None, true))
}

/// Writes it, if its version is still `version`; 0 where there was none.
///
/// # Errors
/// A bad mount or prefix.
pub fn write_suspensions(layout: &Layout, version: u64, agents: &impl Serialize) -> Result<VaultRequest, PathProblem> {
    let body = json!({"options": {"cas": version}, "data": {"agents": agents}});
    Ok(post(suspended(layout)?, &body, false))
}

fn gates(layout: &Layout) -> Result<VaultPath, PathProblem> {
    VaultPath::render(&[&layout.kv_mount, "data", &layout.gate_prefix, "gates"])
}

/// Reads the record of what each gate has seen.
///
/// # Errors
/// A bad mount or prefix.
pub fn read_gates(layout: &Layout) -> Result<VaultRequest, PathProblem> {
    Ok(VaultRequest::new(Method::Get, gates(layout)?, None, true))
}

/// Writes it, if its version is still `version`; 0 where there was none.
///
/// # Errors
/// A bad mount or prefix.
pub fn write_gates(layout: &Layout, version: u64, seen: &impl Serialize) -> Result<VaultRequest, PathProblem> {
    let body = json!({"options": {"cas": version}, "data": {"gates": seen}});
    Ok(post(gates(layout)?, &body, false))
}

/// Wraps `answer`, a JSON object, for as long as the request's header says.
///
/// # Errors
/// Never in practice: the path is fixed.
pub fn wrap(answer: &[u8]) -> Result<VaultRequest, PathProblem> {
    let body = [b"{\"answer\":", answer, b"}"].concat();
    Ok(VaultRequest::new(Method::Post, VaultPath::render(&["sys/wrapping/wrap"])?, Some(body.into()), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_have_namespaces() {
        for (body, has) in [
            (r#"{"version":"2.7.2"}"#, Some(true)),
            (r#"{"version":"1.21.0","enterprise":false}"#, Some(false)),
            (r#"{"version":"1.21.0+ent","enterprise":true}"#, Some(true)),
            (r#"{"version":"1.15.4"}"#, Some(false)),
            (r#"{"version":"1.15.4+ent.hsm"}"#, Some(true)),
            (r#"{"errors":["operation unavailable in namespaces"]}"#, None),
            ("<html>", None),
            ("{}", None),
        ] {
            assert_eq!(about(body.as_bytes()).map(|about| about.has_namespaces), has, "{body}");
        }
    }
}
