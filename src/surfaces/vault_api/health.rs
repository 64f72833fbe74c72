//! Whether Vault is well, as its clients ask for it before they log in.

use std::time::{SystemTime, UNIX_EPOCH};

use filters::refusal::Refusal;
use serde_json::{Value, json};

use crate::state::State;
use crate::surfaces::Reply;
use crate::vault::Health;

/// Answers `sys/health`. The query may name the status for each health.
/// Source: <https://developer.hashicorp.com/vault/api-docs/system/health>
///
/// # Errors
/// [`Refusal::UpstreamUnavailable`] where Vault does not answer.
pub fn health(state: &State, query: &str) -> Result<Reply, Refusal> {
    let (health, version) = known(state)?;
    let given = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
    let status = |name: &str, usual: u16| given(name).and_then(|(_, value)| value.parse().ok()).unwrap_or(usual);
    let stands_in = given("standbyok").is_some_and(|(_, value)| value == "true");
    let status = match health {
        Health::Standby if !stands_in => status("standbycode", 429),
        Health::Sealed => status("sealedcode", 503),
        Health::Uninitialised => status("uninitcode", 501),
        Health::Active | Health::Standby | Health::Unknown | Health::Unreachable => status("activecode", 200),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let body = json!({
        "initialized": health != Health::Uninitialised,
        "sealed": health == Health::Sealed,
        "standby": health == Health::Standby,
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
pub fn seal_status(state: &State) -> Result<Reply, Refusal> {
    let (health, version) = known(state)?;
    let body = json!({
        "type": "portcullis",
        "initialized": health != Health::Uninitialised,
        "sealed": health == Health::Sealed,
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
fn known(state: &State) -> Result<(Health, Value), Refusal> {
    let monitor = &state.vault.monitor;
    match monitor.health() {
        Health::Unknown | Health::Unreachable => Err(Refusal::UpstreamUnavailable),
        health => Ok((health, monitor.version().as_deref().map_or(Value::Null, |version| Value::from(&**version)))),
    }
}
