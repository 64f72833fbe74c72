//! Readiness, with its reasons.

use filters::names::AgentId;
use serde_json::{Value, json};

use crate::service::Context;
use crate::vault::Health;

/// The state of AWS KMS: its problem refuses its own operations alone, and does not make the gate unready.
fn kms(context: &Context<'_>) -> Value {
    let problem = context.state.kms.as_ref().map(|kms| kms.problem());
    match problem {
        None => json!({"enabled": false}),
        Some(problem) => json!({"enabled": true, "ok": problem.is_none(), "problem": problem}),
    }
}

/// Readiness with its details.
#[must_use]
pub fn readiness(context: &Context<'_>, ready: bool) -> Value {
    let state = context.state;
    let health = state.vault.monitor.health();
    let login = state.vault.login.current().is_some();
    let (suspensions, provision) = (&state.vault.suspensions, &state.vault.provision);
    let draining = state.is_draining();
    let issuers = context.snapshot.credentials.issuers.keys().map(|(name, keys)| json!({"name": name, "keys": keys}));
    json!({
        "ok": ready,
        "draining": draining,
        "duties_down": state.duties_down.names(),
        "snapshot": context.snapshot.about.version,
        "vault": {
            "ok": health == Health::Active && login,
            "health": health.name(),
            "detail": state.vault.login.detail(),
            "provisioned": {"ok": provision.is_whole(), "problem": provision.problem()},
            "handles": !state.vault.handles.keyring().is_empty(),
            "handles_are_current": state.vault.handles.are_current(),
            "child_tokens": state.vault.tokens.held(),
            "suspended": suspensions.agents().iter().map(AgentId::as_str).collect::<Vec<_>>(),
            "suspensions": {"ok": suspensions.are_current(), "problems": suspensions.problems()},
        },
        "issuers": issuers.collect::<Vec<_>>(),
        "kms": kms(context),
        "audit": {"ok": state.sinks.problem().is_none(), "problem": state.sinks.problem()},
    })
}
