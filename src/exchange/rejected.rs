//! What Vault says of requests that it rejects, for the operators' log.

use filters::vault::VaultRequest;
use filters::vault::reason::{reason, told};

use super::{Answer, Envelope, Lane, Upstream};

impl Upstream {
    /// Says in the log why Vault rejects a request of a caller's. A warning is written seldom, since
    /// any caller can have it written; the others are for `debug`.
    pub fn tell_rejection(&self, request: &VaultRequest, envelope: Envelope<'_>, answer: &Answer) {
        if envelope.lane != Lane::Requests || answer.status < 400 {
            return;
        }
        let Some(vault) = told(request, &answer.body) else { return };
        let (status, correlation_id) = (answer.status, envelope.correlation.unwrap_or_default());
        let reason = reason(&answer.body).unwrap_or_default();
        match self.rejections.due() {
            Some(left_out) => {
                tracing::warn!(status, correlation_id, reason, vault, left_out, "Vault rejected a caller's request");
            }
            None => tracing::debug!(status, correlation_id, reason, vault, "Vault rejected a caller's request"),
        }
    }
}
