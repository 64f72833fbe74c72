//! Refusals as Vault tells them.

use filters::refusal::Refusal;
use serde_json::json;

use crate::surfaces::Reply;

/// Vault's status of a refusal, and its words for it.
fn told(refusal: &Refusal) -> (u16, Option<&'static str>) {
    match refusal {
        // Vault has one answer for whom it does not know, and whom it does not let.
        Refusal::Unauthenticated | Refusal::InvalidProof => (403, Some("permission denied")),
        Refusal::NotFound | Refusal::Absent(_) => (404, None),
        Refusal::MethodNotAllowed(_) => (405, Some("unsupported operation")),
        // Its clients know these three as bad requests.
        Refusal::Arguments(_) | Refusal::CheckAndSet | Refusal::UnsupportedMediaType => (400, Some("")),
        refusal => match refusal.public().status.as_u16() {
            403 => (403, Some("permission denied")),
            status => (status, Some("")),
        },
    }
}

/// The answer that tells of a refusal: `{"errors": […], "request_id": …}`. Where there is nothing there are no errors.
/// Source: <https://developer.hashicorp.com/vault/api-docs#error-response>
#[must_use]
pub fn refused(refusal: &Refusal, request_id: &str) -> Reply {
    let (status, words) = told(refusal);
    let detail = match refusal {
        Refusal::Arguments(misfit) if misfit.pointer.is_empty() => format!("expected {}", misfit.expected),
        Refusal::Arguments(misfit) => format!("{}: expected {}", misfit.pointer, misfit.expected),
        Refusal::Ungranted(held) => format!("{} {held}", refusal.public().detail),
        refusal => refusal.public().detail.to_owned(),
    };
    let errors: Vec<&str> = match words {
        None => Vec::new(),
        Some("") => vec![&detail],
        Some(words) => vec![words, &detail],
    };
    let body = json!({ "errors": errors, "request_id": request_id }).to_string();
    let mut reply = Reply::refused(refusal, request_id);
    (reply.status, reply.body) = (status, crate::surfaces::Body::Whole(body.into()));
    reply
}
