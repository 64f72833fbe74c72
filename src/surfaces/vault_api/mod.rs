//! Vault's own API, below `/v1`: clients of Vault's speak to the gate as they are.

mod form;
mod health;
mod login;
mod mounts;
mod refused;
mod tokens;

pub use health::{health, leader, seal_status};
pub use login::{Login, Way};
pub use refused::refused;
pub use tokens::Own;

use filters::operation::Operation;
use filters::refusal::Refusal;
use filters::rest::Carried;
use filters::vault_api::{self, Match};

use crate::service::{Called, Context, Performed};

use super::{Asked, Reply, Served};

use form::Vaults;

/// What is asked below `/v1`.
#[derive(Debug)]
pub enum Wanted {
    /// An operation of the catalog.
    Operation(Match),
    /// Which engines the caller may use: all, or the one at this path.
    Mounts(Option<Box<str>>),
    /// To log in.
    Login(Way),
    /// Something of the caller's own token.
    Own(Own),
}

/// Finds what a request asks for: by its method, its raw path and its query.
///
/// # Errors
/// As [`vault_api::route`].
pub fn route(context: &Context<'_>, method: &str, path: &str, query: &str) -> Result<Wanted, Refusal> {
    let below = path.strip_prefix(vault_api::PREFIX).ok_or(Refusal::NotFound)?;
    let method = vault_api::method(method, query);
    for own in [mounts::wanted, login::wanted, tokens::wanted] {
        if let Some(wanted) = own(method, below)? {
            return Ok(wanted);
        }
    }
    vault_api::route(method, below, &context.snapshot.vault.layout).map(Wanted::Operation)
}

/// Serves an operation, and sends the answer on as it arrives, where it may be `framed` so.
pub async fn serve(asked: &Asked<'_>, matched: &Match, framed: bool) -> Served {
    let form = Vaults::new(framed);
    let Called { answer, outcome } = match operation(asked, matched) {
        Ok(operation) => asked.context.call(asked.caller, operation, &form).await,
        Err(refusal) => Called::refused(matched.kind().spec.name, refusal),
    };
    let reply = match (answer, form.gone()) {
        (Ok(Performed::Whole(answer)), _) if answer.is_empty() => Ok(Reply::empty(204)),
        (Ok(Performed::Whole(answer)), _) => Ok(Reply::json(200, answer)),
        (Ok(Performed::Streaming(streaming)), _) => Ok(Reply::streaming(200, streaming)),
        (Err(Refusal::Absent(_)), Some(answer)) => Ok(Reply::json(404, answer)),
        (Err(refusal), _) => Err(refusal),
    };
    Served { reply, outcomes: outcome.into() }
}

/// Tells which engines the caller may use.
#[must_use]
pub fn mounts(asked: &Asked<'_>, path: Option<&str>) -> Served {
    Served::decided(mounts::serve(asked, path))
}

/// Serves what is asked of the caller's own token.
#[must_use]
pub fn own(asked: &Asked<'_>, own: Own) -> Served {
    tokens::serve(asked, own)
}

fn operation(asked: &Asked<'_>, matched: &Match) -> Result<Operation, Refusal> {
    let (query, wrap_ttl, body) = (asked.query, asked.wrap_ttl, &*asked.body);
    let bounds = asked.context.snapshot.limits.bounds.json;
    vault_api::operation(matched, Carried { query, wrap_ttl, body, bounds })
}
