//! What is asked about something that the caller was given a handle of: a lease, a certificate, a wrapped answer.
//! Source: <https://developer.hashicorp.com/vault/api-docs/system/leases>,
//! <https://developer.hashicorp.com/vault/api-docs/system/wrapping-unwrap>

use filters::catalog;
use filters::credential::vault_token;
use filters::grants::{Resource, VAULT};
use filters::handle::{Claims, Purpose};
use filters::operation::Entry;
use filters::refusal::Refusal;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::service::{Called, Form, Performed};
use crate::surfaces::{Asked, Json, Reply, Served};

use super::form::{self, Unwrapped, Vaults};
use super::wanted::Held;

#[derive(Default, Deserialize)]
struct Body {
    lease_id: Option<String>,
    token: Option<String>,
    increment: Option<Value>,
}

/// Serves it; the handle may stand in the path.
pub(super) async fn serve(asked: &Asked<'_>, held: Held, in_path: Option<&str>) -> Served {
    let (increment, handle) = match read(asked, in_path) {
        Ok(read) => read,
        Err(refusal) => return Served::decided(Err(refusal)),
    };
    let (kind, arguments) = match held {
        Held::LookUp if is_absolute(asked, &handle) => operation("vault.lookup", "lease_id", &handle, None),
        Held::LookUp => operation("db.lookup", "lease_id", &handle, None),
        Held::Renew if is_absolute(asked, &handle) => operation("vault.renew", "lease_id", &handle, increment),
        Held::Renew => operation("db.renew", "lease_id", &handle, increment),
        Held::Revoke if is_certificate(asked, &handle) => operation("pki.revoke", "handle", &handle, None),
        Held::Revoke if is_absolute(asked, &handle) => operation("vault.revoke", "lease_id", &handle, None),
        Held::Revoke => operation("db.revoke", "lease_id", &handle, None),
        Held::Unwrap => operation("wrap.unwrap", "handle", &handle, None),
        Held::Rewrap => operation("wrap.rewrap", "handle", &handle, None),
        Held::LookUpWrapped => operation("wrap.lookup", "handle", &handle, None),
    };
    let Some(kind) = kind else { return Served::decided(Err(Refusal::Internal)) };
    let vaults = Vaults::about(handle.clone());
    let form: &dyn Form = match held {
        Held::Unwrap => &Unwrapped,
        Held::LookUp => &Json::Whole,
        Held::Renew | Held::Revoke | Held::Rewrap | Held::LookUpWrapped => &vaults,
    };
    let Called { answer, outcome } = match kind.parse(arguments.to_string().as_bytes()) {
        Ok(operation) => asked.context.call(asked.caller, operation, form).await,
        Err(refusal) => Called::refused(kind.spec.name, refusal),
    };
    let reply = answer.and_then(|performed| match (performed, held) {
        (Performed::Whole(_), Held::Revoke) => Ok(Reply::empty(204)),
        (Performed::Whole(answer), Held::LookUp) => looked_up(asked, &handle, &answer),
        (Performed::Whole(answer), _) => Ok(Reply::json(200, answer)),
        (Performed::Streaming(streaming), _) => Ok(Reply::streaming(200, streaming)),
    });
    Served { reply, outcomes: outcome.into() }
}

/// The time for which a lease is to last, and the handle that a request names: in its path, in its body, or as the
/// token.
fn read(asked: &Asked<'_>, in_path: Option<&str>) -> Result<(Option<String>, String), Refusal> {
    let body: Body = form::read(&asked.body)?;
    let by_header = vault_token(asked.headers)?;
    let handle = in_path.or(body.lease_id.as_deref()).or(body.token.as_deref()).or(by_header);
    let handle = handle.filter(|handle| !handle.is_empty());
    let handle = handle.ok_or(Refusal::Malformed("The request names no lease and no wrapping token."))?;
    let increment = form::seconds(body.increment.as_ref())?.map(|seconds| format!("{seconds}s"));
    Ok((increment, handle.to_owned()))
}

fn operation(name: &str, argument: &str, handle: &str, increment: Option<String>) -> (Option<&'static Entry>, Value) {
    let mut arguments = Map::from_iter([(argument.to_owned(), handle.into())]);
    arguments.extend(increment.map(|increment| ("increment".to_owned(), increment.into())));
    (catalog::find(name), arguments.into())
}

fn is_certificate(asked: &Asked<'_>, handle: &str) -> bool {
    let opened = asked.context.open::<Claims>(asked.caller.agent(), Purpose::Certificate, handle, Refusal::Forbidden);
    opened.is_ok()
}

/// True for a lease that was given out at one of Vault's own paths.
fn is_absolute(asked: &Asked<'_>, handle: &str) -> bool {
    let opened = asked.context.open::<Claims>(asked.caller.agent(), Purpose::Lease, handle, Refusal::Forbidden);
    opened.is_ok_and(|claims| matches!(claims.resource, Resource::Key(engine, _) if *engine == *VAULT.name()))
}

/// The times of a lease, as Vault tells them.
fn looked_up(asked: &Asked<'_>, handle: &str, answer: &[u8]) -> Result<Reply, Refusal> {
    #[derive(Deserialize)]
    struct Times {
        lease_duration: u64,
        renewable: bool,
        issue_time: String,
        last_renewal: Option<String>,
    }
    let times: Times = serde_json::from_slice(answer).map_err(|_| Refusal::Internal)?;
    let data = json!({
        "id": handle,
        "issue_time": times.issue_time,
        "expire_time": form::time(asked.context.now() + times.lease_duration),
        "last_renewal": times.last_renewal,
        "renewable": times.renewable,
        "ttl": times.lease_duration,
    });
    Ok(form::answer(data, asked.caller.request_id))
}
