//! The engines that a caller may use, as clients ask for them before they ask for anything else.

use filters::catalog::CATALOG;
use filters::grants::Engine;
use filters::refusal::Refusal;
use filters::vault_api::mount_of;
use serde_json::{Map, Value, json};

use crate::surfaces::{Asked, Reply};

use super::form::answer;

/// Tells of all engines of which the caller has a grant, or of the one that is mounted at this path.
pub(super) fn serve(asked: &Asked<'_>, path: Option<&str>) -> Result<Reply, Refusal> {
    let layout = &asked.context.snapshot.vault.layout;
    let is_granted = |engine| asked.context.may_use_any(asked.caller, engine);
    let data = match path {
        None => {
            let granted = CATALOG.engines().filter(|engine| is_granted(*engine));
            let mounts = granted.filter_map(|engine| Some((engine, layout.mount(engine)?)));
            let mounts: Map<_, _> = mounts.map(|(engine, at)| (format!("{at}/"), mounted(engine, at))).collect();
            json!({"auth": {}, "secret": mounts})
        }
        Some(path) => {
            let path = filters::path::decode(path.as_bytes())?;
            let (engine, _) =
                mount_of(&path, layout).filter(|(engine, _)| is_granted(*engine)).ok_or(Refusal::Forbidden)?;
            mounted(engine, layout.mount(engine).ok_or(Refusal::Internal)?)
        }
    };
    Ok(answer(data, asked.caller.request_id))
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
