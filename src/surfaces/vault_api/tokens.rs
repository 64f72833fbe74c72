//! What a token tells of itself, what is made with it, and its end.
//! Source: <https://developer.hashicorp.com/vault/api-docs/auth/token>

use filters::credential::vault_token;
use filters::gate_token::LoggedIn;
use filters::refusal::Refusal;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::events::SessionChange;
use crate::surfaces::{Asked, Reply};

use super::form::{self, answer};
use super::login::{Made, accessor, lasts, policies};

/// Tells whose the caller's token is, and how long it lasts.
pub(super) fn look_up(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let identity = &asked.caller.identity;
    let text = vault_token(asked.headers)?.unwrap_or_default();
    let token = asked.context.gate_token(text)?;
    let now = asked.context.now();
    let (issued, expires, accessor, path) = match &token {
        Some(token) => (token.issued, Some(token.expires), accessor(token), &*token.login),
        None => (now, form::ends(identity), String::new(), identity.proof.name()),
    };
    let data = json!({
        "id": text,
        "accessor": accessor,
        "creation_time": issued,
        "creation_ttl": expires.map_or(0, |expires| expires.saturating_sub(issued)),
        "display_name": identity.agent.id.as_str(),
        "entity_id": "",
        "expire_time": expires.and_then(form::time),
        "explicit_max_ttl": 0,
        "issue_time": form::time(issued),
        "meta": {"agent": identity.agent.id.as_str()},
        "num_uses": 0,
        "orphan": token.as_ref().is_none_or(|token| token.above.is_empty()),
        "path": path,
        "policies": policies(identity),
        "renewable": false,
        "ttl": expires.map_or(0, |expires| expires.saturating_sub(now)),
        "type": "service",
    });
    Ok(answer(data, asked.caller.request_id))
}

/// Most tokens of which each was made with the one before.
const DEEPEST: usize = 8;

/// The life of a token that is to be made, and what would give it to another or bound its use, which no token of the
/// gate's is. The other members say what the gate does anyway.
#[derive(Default, Deserialize)]
struct Body {
    ttl: Option<Value>,
    explicit_max_ttl: Option<Value>,
    num_uses: Option<u64>,
    #[serde(default, deserialize_with = "filled")]
    policies: bool,
    #[serde(default, deserialize_with = "filled")]
    id: bool,
    #[serde(default, deserialize_with = "filled")]
    entity_alias: bool,
}

/// True for a text or list that is not empty.
fn filled<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        List(Vec<IgnoredAny>),
        Text(String),
    }
    Ok(match Option::<Given>::deserialize(deserializer)? {
        Some(Given::List(list)) => !list.is_empty(),
        Some(Given::Text(text)) => !text.is_empty(),
        None => false,
    })
}

/// Makes a token for the caller that ends with the one that is shown, and answers with it.
pub(super) fn create(asked: &Asked<'_>, shown: Option<LoggedIn>) -> Result<Reply, Refusal> {
    let body: Body = form::read(&asked.body)?;
    if body.policies || body.id || body.entity_alias || body.num_uses.unwrap_or_default() > 0 {
        return Err(Refusal::Malformed(
            "A token of the gate's has all that its agent may do: no policies, id, entity_alias or num_uses.",
        ));
    }
    let by = asked.context.gate_token(vault_token(asked.headers)?.unwrap_or_default())?;
    if by.as_ref().is_some_and(|token| token.above.len() >= DEEPEST) {
        return Err(Refusal::Malformed("The token was made with too many others: log in again."));
    }
    let stands_for = shown.ok_or(Refusal::Malformed("No token stands for this credential."))?;
    let lives = [form::seconds(body.ttl.as_ref())?, form::seconds(body.explicit_max_ttl.as_ref())?];
    let lasts = lives.into_iter().flatten().fold(lasts(asked), u64::min);
    Made { login: "auth/token/create".into(), lasts, stands_for }.give(asked, by.as_ref())
}

/// Refuses to make a token last longer.
pub(super) fn renew() -> Result<Reply, Refusal> {
    Err(Refusal::Malformed("A token of the gate's is not renewable: log in again."))
}

/// Ends a token of the gate's own, on every gate; any other credential is its owner's to end.
pub(super) fn revoke(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    let text = vault_token(asked.headers)?.unwrap_or_default();
    if let Some(token) = asked.context.gate_token(text)? {
        // There is always room for an end.
        let _ = asked.context.state.events.change_session(SessionChange::End { number: token.number });
    }
    Ok(Reply::empty(204))
}
