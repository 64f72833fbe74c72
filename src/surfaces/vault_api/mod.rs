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
pub use wanted::{Own, Wanted};

use filters::gate_token::LoggedIn;
use filters::operation::Operation;
use filters::refusal::Refusal;
use filters::rest::Carried;
use filters::vault_api::{self, Match};

use crate::service::{Called, Performed};

use super::{Asked, Reply, Served};

use form::Vaults;

/// Serves an operation, and sends the answer on as it arrives, where it may be `framed` so.
pub async fn serve(asked: &Asked<'_>, matched: &Match, framed: bool) -> Served {
    let form = Vaults::new(framed);
    let Called { answer, outcome } = match operation(asked, matched) {
        Ok(operation) => asked.context.call(asked.caller, operation, &form).await,
        Err(refusal) => Called::refused(matched.kind().spec.name, refusal),
    };
    let reply = match (answer, form.gone()) {
        (Ok(Performed::Whole(formed)), _) if formed.body.is_empty() => Ok(Reply::empty(204)),
        (Ok(Performed::Whole(formed)), _) => Ok(Reply::json(200, formed.body)),
        (Ok(Performed::Streaming(streaming)), _) => Ok(Reply::streaming(200, streaming)),
        (Err(Refusal::Absent(_)), Some(answer)) => Ok(Reply::json(404, answer)),
        (Err(refusal), _) => Err(refusal),
    };
    Served { reply, outcomes: outcome.into() }
}

/// Serves what names no operation.
pub async fn serve_own(asked: &Asked<'_>, own: &Own) -> Served {
    let reply = match (namespace::check(asked), own) {
        (Ok(()), Own::Held(held, handle)) => return Box::pin(held::serve(asked, *held, handle.as_deref())).await,
        (Ok(()), Own::Mounts(path)) => mounts::serve(asked, path.as_deref()),
        (Ok(()), Own::LookUpToken) => tokens::look_up(asked),
        (Ok(()), Own::RenewToken) => tokens::renew(),
        (Ok(()), Own::RevokeToken) => tokens::revoke(asked),
        (Ok(()), Own::Capabilities) => capabilities::serve(asked),
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
    let (query, wrap_ttl, body) = (asked.query, asked.wrap_ttl, &*asked.body);
    let bounds = asked.context.snapshot.limits.bounds.json;
    vault_api::operation(matched, Carried { query, wrap_ttl, body, bounds })
}
