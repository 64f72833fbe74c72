//! Requests at Vault's own paths, which go on as they came.

use bytes::Bytes;

use crate::catalog::absolute::asking;
use crate::grants::{Access, Agent};
use crate::json::judge;
use crate::lifetime::WrapTtl;
use crate::notes::Notes;
use crate::operation::{About, Ask, Entry, Operation, Passed, Touched};
use crate::refusal::Refusal;
use crate::rest::{Carried, pairs};
use crate::vault::PassedHeaders;

/// True where a role of the agent's says something of this path, whatever that is: then it is Vault's own path, and not
/// one of the agent's view.
#[must_use]
pub fn is_absolute(agent: &Agent, path: &str, access: Access) -> bool {
    agent.roles.iter().any(|(role, _)| role.vault.decides(path, access).is_some())
}

/// True where a role of the agent's gives something at a path that begins as this one does.
#[must_use]
pub fn may_know_mount(agent: &Agent, path: &str) -> bool {
    agent.roles.iter().any(|(role, _)| role.vault.give(path, Access::Mount).is_some())
}

/// The request for `path`, without a slash at its end.
///
/// # Errors
/// [`Refusal::Path`], [`Refusal::Malformed`] for a body that is no JSON object or that the method does not take, and for
/// an answer that is not wrapped.
pub fn passed(access: Access, path: &str, carried: Carried<'_>, headers: PassedHeaders) -> Result<Operation, Refusal> {
    let Carried { query, body, wrap_ttl, bounds } = carried;
    let kind = asking(access);
    let body = match body.trim_ascii() {
        [] | b"null" => None,
        _ if !kind.spec.takes_body => return Err(Refusal::Malformed("This method takes no body.")),
        object if object.starts_with(b"{") => {
            judge(object, &bounds).map_err(|fault| crate::operation::misjudged(kind, &fault, &bounds))?;
            Some(Bytes::copy_from_slice(object))
        }
        _ => return Err(Refusal::Malformed("The body must be a JSON object.")),
    };
    let parameters = pairs(query).filter(|pair| !pair.as_ref().is_ok_and(|(name, _)| name == "list"));
    let query =
        parameters.map(|pair| pair.map(|(name, value)| (name.into(), value.into()))).collect::<Result<_, _>>()?;
    let wrap = match wrap_ttl {
        Some(_) if !kind.spec.secret => {
            return Err(Refusal::Malformed("The answer of this operation cannot be wrapped."));
        }
        Some(ttl) => {
            Some(WrapTtl::parse(ttl).ok_or(Refusal::Malformed("The time of wrapping is none, or is above a day."))?)
        }
        None => None,
    };
    Ok(Operation { wrap, ..operation(kind, path, Passed { query, body, headers })? })
}

/// The question which engine is mounted at `path`.
///
/// # Errors
/// [`Refusal::Path`].
pub fn mount_at(path: &str) -> Result<Operation, Refusal> {
    operation(asking(Access::Mount), path.trim_end_matches('/'), Passed::default())
}

fn operation(kind: &'static Entry, path: &str, passed: Passed) -> Result<Operation, Refusal> {
    let touch = kind.spec.touch.ok_or(Refusal::Internal)?;
    let Touched { resource, demand } = touch(About::named(path))?;
    let size = passed.body.as_ref().map_or(0, Bytes::len);
    Ok(Operation {
        kind,
        resource: Some(resource),
        ask: Ask::Pass(passed),
        demand,
        wrap: None,
        size,
        notes: Notes::default(),
    })
}
