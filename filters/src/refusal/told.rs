//! Refusals as callers are told of them: the error body, the sentence, and the time to wait.

use std::borrow::Cow;

use serde::Serialize;

use super::{Misfit, Public, Refusal};

/// The error body: the one form of every refusal in JSON.
#[derive(Serialize)]
struct Told<'a> {
    error: &'static str,
    detail: &'static str,
    #[serde(flatten)]
    misfit: Option<&'a Misfit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted: Option<&'a str>,
    request_id: &'a str,
}

impl Refusal {
    /// Seconds after which to try again, where waiting alone may help.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        if let Self::RateLimited(exceeded) | Self::TooManyFailures(exceeded) = self {
            return Some(exceeded.retry_after);
        }
        let lasts =
            matches!(self, Self::TooManyStreams | Self::TooManyConnections | Self::LeaseBudget | Self::KmsDisabled);
        if !lasts && matches!(self.public().status.as_u16(), 429 | 503) { Some(1) } else { None }
    }

    /// The text for a language model: the sentence, and what follows from it.
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        let detail = self.public().detail;
        if let Self::Ungranted(granted) = self {
            return format!("{detail} {granted}").into();
        }
        let Self::Arguments(Misfit { pointer, expected }) = self else { return detail.into() };
        let place = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
        format!("{detail} Expected{place}: {expected}.").into()
    }

    /// The error body (DESIGN section 9), with the id of the request.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        // Its members are texts, which always serialize.
        serde_json::to_vec(&self.told(request_id)).unwrap_or_default()
    }

    /// The members of the error body.
    pub(crate) fn told<'a>(&'a self, request_id: &'a str) -> impl Serialize + 'a {
        let Public { code, detail, .. } = self.public();
        let misfit = if let Self::Arguments(misfit) = self { Some(misfit) } else { None };
        let granted = if let Self::Ungranted(granted) = self { Some(&**granted) } else { None };
        Told { error: code, detail, misfit, granted, request_id }
    }
}
