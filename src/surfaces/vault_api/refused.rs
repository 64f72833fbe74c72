//! Refusals as Vault tells them.

use filters::refusal::Refusal;
use serde_json::json;

use crate::surfaces::{Body, Reply};

/// The words of Vault for whom it does not know, and for whom it does not let.
const DENIED: &str = "permission denied";

/// The answer that tells of a refusal: `{"errors": […], "request_id": …}`. Where there is nothing there are no errors.
/// Source: <https://developer.hashicorp.com/vault/api-docs#error-response>
#[must_use]
pub fn refused(refusal: &Refusal, request_id: &str) -> Reply {
    let public = refusal.public();
    let detail = match refusal {
        Refusal::Arguments(misfit) if misfit.pointer.is_empty() => format!("expected {}", misfit.expected),
        Refusal::Arguments(misfit) => format!("{}: expected {}", misfit.pointer, misfit.expected),
        Refusal::Ungranted(held) => format!("{} {held}", public.detail),
        _ => public.detail.to_owned(),
    };
    let (status, errors) = match (refusal, public.status.as_u16()) {
        (Refusal::NotFound | Refusal::Absent(_), status) => (status, Vec::new()),
        (Refusal::MethodNotAllowed(_), status) => (status, vec!["unsupported operation", &detail]),
        (_, 401 | 403) => (403, vec![DENIED, &detail]),
        // Vault's clients know these as bad requests.
        (_, 409 | 415 | 422) => (400, vec![&*detail]),
        (_, status) => (status, vec![&*detail]),
    };
    let body = json!({ "errors": errors, "request_id": request_id }).to_string();
    let mut reply = Reply::refused(refusal, request_id);
    (reply.status, reply.body) = (status, Body::Whole(body.into()));
    reply
}
