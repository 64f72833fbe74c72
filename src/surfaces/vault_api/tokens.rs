//! What a token tells of itself, and its end.
//! Source: <https://developer.hashicorp.com/vault/api-docs/auth/token>

use filters::credential::vault_token;
use filters::refusal::Refusal;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::events::SessionChange;
use crate::surfaces::{Asked, Reply, Served};

use super::form::answer;
use super::login::{accessor, policies};
use super::wanted::Own;

/// Serves it.
pub(super) fn serve(asked: &Asked<'_>, own: Own) -> Served {
    Served::decided(match own {
        Own::LookUp => look_up(asked),
        Own::Renew => Err(Refusal::Malformed("A token of the gate's is not renewable: log in again.")),
        Own::Revoke => revoke(asked),
    })
}

fn look_up(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let identity = &asked.caller.identity;
    let text = vault_token(asked.headers)?.unwrap_or_default();
    let token = asked.context.gate_token(text)?;
    let now = asked.context.now();
    let ends = identity.expires.and_then(|ends| u64::try_from(ends).ok());
    let (issued, expires, accessor, path) = match &token {
        Some(token) => (token.issued, Some(token.expires), accessor(token), &*token.login),
        None => (now, ends, String::new(), identity.proof.name()),
    };
    let data = json!({
        "id": text,
        "accessor": accessor,
        "creation_time": issued,
        "creation_ttl": expires.map_or(0, |expires| expires.saturating_sub(issued)),
        "display_name": identity.agent.id.as_str(),
        "entity_id": "",
        "expire_time": expires.and_then(time_of),
        "explicit_max_ttl": 0,
        "issue_time": time_of(issued),
        "meta": {"agent": identity.agent.id.as_str()},
        "num_uses": 0,
        "orphan": true,
        "path": path,
        "policies": policies(identity),
        "renewable": false,
        "ttl": expires.map_or(0, |expires| expires.saturating_sub(now)),
        "type": "service",
    });
    Ok(answer(&data, asked.caller.request_id))
}

/// A time as Vault writes it (RFC 3339).
fn time_of(seconds: u64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?.format(&Rfc3339).ok()
}

/// Ends a token of the gate's own, on every gate; any other credential is its owner's to end.
fn revoke(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let text = vault_token(asked.headers)?.unwrap_or_default();
    if let Some(token) = asked.context.gate_token(text)? {
        // There is always room for an end.
        let _ = asked.context.state.events.change_session(SessionChange::End { number: token.number });
    }
    Ok(Reply::empty(204))
}
