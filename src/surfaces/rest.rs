//! The REST surface.

use filters::operation::Operation;
use filters::refusal::Refusal;
use filters::rest::{self, Carried, Match};
use http::HeaderMap;

use crate::service::{Called, Performed};

use super::{Asked, Json, Reply, Served, accepts_json};

/// Tells if the request has a body to be read.
///
/// # Errors
/// [`Refusal::NotAcceptable`] where the caller takes no JSON.
pub fn takes_body(matched: &Match<'_>, headers: &HeaderMap) -> Result<bool, Refusal> {
    if accepts_json(headers) { Ok(matched.kind.spec.takes_body) } else { Err(Refusal::NotAcceptable) }
}

/// Serves one request, and answers in this form.
pub async fn serve(asked: &Asked<'_>, matched: &Match<'_>, form: Json) -> Served {
    let spec = matched.kind.spec;
    let Called { answer, outcome } = match operation(asked, matched) {
        Ok(operation) => asked.context.call(asked.caller, operation, &form).await,
        Err(refusal) => Called::refused(spec.name, refusal),
    };
    let reply = answer.map(|performed| match (spec.success, performed) {
        (204, _) => Reply::empty(204),
        (status, Performed::Whole(formed)) => Reply::json(status, formed.body),
        (status, Performed::Streaming(streaming)) => Reply::streaming(status, streaming),
    });
    Served { reply, outcomes: outcome.into() }
}

fn operation(asked: &Asked<'_>, matched: &Match<'_>) -> Result<Operation, Refusal> {
    let (query, wrap_ttl, body) = (asked.query, asked.wrap_ttl, &*asked.body);
    let bounds = asked.context.snapshot.limits.bounds.json;
    rest::operation(matched, Carried { query, wrap_ttl, body, bounds })
}
