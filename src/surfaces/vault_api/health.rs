//! Health and seal of Vault, which its clients ask for before they log in.

use std::time::{SystemTime, UNIX_EPOCH};

use filters::refusal::Refusal;
use serde_json::{Value, json};

use crate::service::Context;
use crate::surfaces::Reply;

/// Answers `sys/health`. The query may name the status for each health.
/// Source: <https://developer.hashicorp.com/vault/api-docs/system/health>
///
/// # Errors
/// [`Refusal::UpstreamUnavailable`] where Vault does not answer.
pub fn health(context: &Context<'_>, query: &str) -> Result<Reply, Refusal> {
    let Known { initialised, sealed, standby, version } = known(context)?;
    let given = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
    let status = |name: &str, usual: u16| given(name).and_then(|(_, value)| value.parse().ok()).unwrap_or(usual);
    let stands_in = given("standbyok").is_some_and(|(_, value)| value == "true");
    let status = if !initialised {
        status("uninitcode", 501)
    } else if sealed {
        status("sealedcode", 503)
    } else if standby && !stands_in {
        status("standbycode", 429)
    } else {
        status("activecode", 200)
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let body = json!({
        "initialized": initialised,
        "sealed": sealed,
        "standby": standby,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": now,
        "version": version,
    });
    Ok(Reply::json(if (200..600).contains(&status) { status } else { 400 }, body.to_string()))
}

/// Answers `sys/seal-status`, of which the number of keys stays Vault's.
///
/// # Errors
/// As [`health`].
pub fn seal_status(context: &Context<'_>) -> Result<Reply, Refusal> {
    let Known { initialised, sealed, version, .. } = known(context)?;
    let body = json!({
        "type": "portcullis",
        "initialized": initialised,
        "sealed": sealed,
        "t": 0,
        "n": 0,
        "progress": 0,
        "nonce": "",
        "version": version,
        "build_date": "",
        "migration": false,
        "recovery_seal": false,
        "storage_type": "portcullis",
    });
    Ok(Reply::json(200, body.to_string()))
}

/// Answers `sys/leader`: to its callers the gate is the one server there is.
#[must_use]
pub fn leader() -> Reply {
    let body = json!({
        "ha_enabled": false,
        "is_self": true,
        "active_time": "0001-01-01T00:00:00Z",
        "leader_address": "",
        "leader_cluster_address": "",
        "performance_standby": false,
        "performance_standby_last_remote_wal": 0,
    });
    Reply::json(200, body.to_string())
}

/// Vault's health as it was found last, and its version.
struct Known {
    initialised: bool,
    sealed: bool,
    standby: bool,
    version: Value,
}

fn known(context: &Context<'_>) -> Result<Known, Refusal> {
    let monitor = &context.state.vault.monitor;
    let health = monitor.health();
    if !health.is_told() {
        return Err(Refusal::UpstreamUnavailable);
    }
    Ok(Known {
        initialised: health.is_initialised(),
        sealed: health.is_sealed(),
        standby: health.is_standby(),
        version: monitor.version().as_deref().map_or(Value::Null, |version| Value::from(&**version)),
    })
}
