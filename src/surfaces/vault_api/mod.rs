//! Vault's own API, below `/v1`: clients of Vault's speak to the gate as they are.

mod capabilities;
mod form;
mod health;
mod held;
mod login;
mod mounts;
mod namespace;
mod refused;
mod tokens;
mod wanted;

pub use health::{health, leader, seal_status};
pub use login::Login;
pub use refused::refused;
pub use wanted::{Asking, Own, Wanted};

use filters::catalog::absolute;
use filters::gate_token::LoggedIn;
use filters::headers::{VAULT_FORWARD, VAULT_INCONSISTENT, VAULT_INDEX};
use filters::operation::Operation;
use filters::refusal::Refusal;
use filters::rest::Carried;
use filters::vault_api::{self, Match, is_absolute};
use http::HeaderName;

use crate::service::{Called, Performed};

use super::{Asked, Reply, Served};

use form::Vaults;

/// The headers that go on to Vault with a request at one of its own paths.
const PASSED: [HeaderName; 3] = [VAULT_INDEX, VAULT_INCONSISTENT, VAULT_FORWARD];
/// Most bytes of one of them.
const MOST_PASSED: usize = 1024;

/// Serves a request at a path, and sends the answer on as it arrives, where it may be `framed` so. Where a role of the
/// caller's says something of the path as Vault has it, it is that path; else it is one of the caller's own view.
pub async fn serve(asked: &Asked<'_>, asking: &Asking, framed: bool) -> Served {
    let form = Vaults::new(framed);
    let (name, operation) = match &asking.matched {
        _ if is_absolute(asked.caller.agent(), &asking.path, asking.access) => {
            (absolute::asking(asking.access).spec.name, passed(asked, asking))
        }
        Ok(matched) => (matched.kind().spec.name, operation(asked, matched)),
        Err(refusal) => return Served::decided(Err(refusal.clone())),
    };
    let Called { answer, outcome } = match operation {
        Ok(operation) => asked.context.call(asked.caller, operation, &form).await,
        Err(refusal) => Called::refused(name, refusal),
    };
    let reply = match (answer, form.gone()) {
        (Ok(Performed::Whole(formed)), _) if formed.body.is_empty() => Ok(Reply::empty(204)),
        (Ok(Performed::Whole(formed)), _) => Ok(Reply::json(200, formed.body).of_type(formed.media)),
        (Ok(Performed::Streaming(streaming)), _) => {
            let media = streaming.media();
            Ok(Reply::streaming(200, streaming).of_type(media))
        }
        (Err(Refusal::Absent(_)), Some(answer)) => Ok(Reply::json(404, answer)),
        (Err(refusal), _) => Err(refusal),
    };
    Served { reply, outcomes: outcome.into() }
}

/// Serves what names no operation.
pub async fn serve_own(asked: &Asked<'_>, own: &Own) -> Served {
    let reply = match (namespace::check(asked), own) {
        (Ok(()), Own::Held(held, handle)) => return Box::pin(held::serve(asked, *held, handle.as_deref())).await,
        (Ok(()), Own::Mounts(path)) => return Box::pin(mounts::serve(asked, path.as_deref())).await,
        (Ok(()), Own::LookUpToken) => tokens::look_up(asked),
        (Ok(()), Own::RenewToken) => tokens::renew(),
        (Ok(()), Own::RevokeToken) => tokens::revoke(asked),
        (Ok(()), Own::Capabilities(named)) => capabilities::serve(asked, *named),
        (Err(refusal), _) => Err(refusal),
    };
    Served::decided(reply)
}

/// Makes a token for a caller who has `shown` what it can stand for.
pub fn create(asked: &Asked<'_>, shown: Option<LoggedIn>) -> Served {
    Served::decided(namespace::check(asked).and_then(|()| tokens::create(asked, shown)))
}

fn operation(asked: &Asked<'_>, matched: &Match) -> Result<Operation, Refusal> {
    namespace::check(asked)?;
    vault_api::operation(matched, carried(asked))
}

/// The request at one of Vault's own paths.
fn passed(asked: &Asked<'_>, asking: &Asking) -> Result<Operation, Refusal> {
    namespace::check(asked)?;
    let headers = PASSED.into_iter().filter_map(|name| Some((asked.headers.get(&name)?, name)));
    let headers = headers.map(|(value, name)| {
        let text = value.to_str().ok().filter(|text| text.len() <= MOST_PASSED);
        text.map(|text| (name, Box::from(text))).ok_or(Refusal::Malformed("A header for Vault is not plain text."))
    });
    vault_api::passed(asking.access, &asking.path, carried(asked), headers.collect::<Result<_, _>>()?)
}

fn carried<'a>(asked: &'a Asked<'_>) -> Carried<'a> {
    let bounds = asked.context.snapshot.limits.bounds.json;
    Carried { query: asked.query, wrap_ttl: asked.wrap_ttl, body: &asked.body, bounds }
}
