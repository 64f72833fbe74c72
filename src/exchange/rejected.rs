//! Lines for the operators' log about requests that Vault rejects.

use filters::refusal::Refusal;
use filters::vault::reason::{reason, told};
use filters::vault::{Trouble, VaultRequest, trouble};

use super::{Answer, Envelope, Lane, Upstream};

/// Why Vault's policy denies what the gate allows.
const UNSYNCED: &str = "the agent's policy in Vault does not have what its grants allow: `portcullis policy --sync` was \
                        most likely not run since they were changed; or what is named is not in Vault";
/// Why Vault knows no such path.
const UNMOUNTED: &str = "nothing is mounted there, or another engine than the configuration says";

impl Upstream {
    /// Says in the log why Vault rejects a request of a caller's, one with an agent's token where it is
    /// `for_agent`. A warning is written seldom, since any caller can have it written; the others are
    /// for `debug`.
    pub(super) fn tell_rejection(
        &self,
        request: &VaultRequest,
        envelope: Envelope<'_>,
        for_agent: bool,
        answer: &Answer,
    ) {
        if envelope.lane != Lane::Requests || answer.status < 400 {
            return;
        }
        let Some(vault) = told(request, &answer.body) else { return };
        let (status, correlation_id) = (answer.status, envelope.correlation.unwrap_or_default());
        let known = reason(&answer.body).unwrap_or_default();
        let reason = match trouble(status, &answer.body) {
            Trouble::Refused(Refusal::DeniedByVault) if for_agent => UNSYNCED,
            Trouble::Refused(Refusal::NotProvisioned) => UNMOUNTED,
            _ => known,
        };
        match self.rejections.due() {
            Some(left_out) => {
                tracing::warn!(status, correlation_id, reason, vault, left_out, "Vault rejected a caller's request");
            }
            None => tracing::debug!(status, correlation_id, reason, vault, "Vault rejected a caller's request"),
        }
    }
}
