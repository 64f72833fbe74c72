//! The engines that a caller may use, as clients ask for them before they ask for anything else.

use filters::catalog::CATALOG;
use filters::grants::Engine;
use filters::refusal::Refusal;
use serde_json::{Map, Value, json};

use crate::surfaces::{Asked, Reply};

use super::form::answer;

/// Tells of all engines of which the caller has a grant, or of the one that is mounted at this path.
pub(super) fn serve(asked: &Asked<'_>, path: Option<&str>) -> Result<Reply, Refusal> {
    let layout = &asked.context.snapshot.vault.layout;
    let granted = CATALOG.engines().filter(|engine| asked.context.may_use_any(asked.caller, *engine));
    let mut mounts = granted.filter_map(|engine| Some((engine, layout.mount(engine)?)));
    let Some(path) = path else {
        let mounts: Map<_, _> = mounts.map(|(engine, mount)| (format!("{mount}/"), mounted(engine, mount))).collect();
        return Ok(answer(&json!({"auth": {}, "secret": mounts}), asked.caller.request_id));
    };
    let path = filters::path::decode(path.as_bytes())?;
    let here = |mount: &str| path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let (engine, mount) = mounts.find(|(_, mount)| here(mount)).ok_or(Refusal::Forbidden)?;
    Ok(answer(&mounted(engine, mount), asked.caller.request_id))
}

/// What Vault tells of a mount, as far as its clients read it.
fn mounted(engine: Engine, mount: &str) -> Value {
    let options = engine.names().is_none().then(|| json!({"version": "2"}));
    json!({
        "path": format!("{mount}/"),
        "type": engine.name(),
        "description": engine.spec().about,
        "accessor": format!("{}_portcullis", engine.name()),
        "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": false},
        "options": options,
        "local": false,
        "seal_wrap": false,
        "external_entropy_access": false,
        "uuid": "",
    })
}
