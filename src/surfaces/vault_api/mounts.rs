//! The engines that a caller may use, as clients ask for them before they ask for anything else.

use filters::catalog::{CATALOG, absolute};
use filters::grants::{Access, Engine};
use filters::refusal::Refusal;
use filters::vault_api::{may_know_mount, mount_at, mount_of};
use serde_json::{Map, Value, json};

use crate::service::{Called, Performed};
use crate::surfaces::{Asked, Reply, Served};

use super::form::{Vaults, answer};

/// Tells of all engines of which the caller has a grant, or of the one that is mounted at this path. Of mounts that the
/// gate knows nothing of Vault is asked, who tells whoever may do something there.
pub(super) async fn serve(asked: &Asked<'_>, path: Option<&str>) -> Served {
    let (layout, agent) = (&asked.context.snapshot.vault.layout, asked.caller.agent());
    match path {
        Some(path) if mount_of(path, layout).is_none() && may_know_mount(agent, path) => {
            let form = Vaults::default();
            let Called { answer, outcome } = match mount_at(path) {
                Ok(operation) => asked.context.call(asked.caller, operation, &form).await,
                Err(refusal) => Called::refused(absolute::asking(Access::Mount).spec.name, refusal),
            };
            let reply = answer.and_then(|performed| match performed {
                Performed::Whole(formed) => Ok(Reply::json(200, formed.body)),
                Performed::Streaming(_) => Err(Refusal::Internal),
            });
            Served { reply, outcomes: outcome.into() }
        }
        path => Served::decided(tell(asked, path)),
    }
}

/// Tells what the gate itself knows.
fn tell(asked: &Asked<'_>, path: Option<&str>) -> Result<Reply, Refusal> {
    let (layout, agent) = (&asked.context.snapshot.vault.layout, asked.caller.agent());
    let is_granted = |engine| {
        let absolutely = |mount| may_know_mount(agent, mount);
        asked.context.may_use_any(asked.caller, engine) || layout.mount(engine).is_some_and(absolutely)
    };
    let data = match path {
        None => {
            let granted = CATALOG.engines().filter(|engine| is_granted(*engine));
            let mounts = granted.filter_map(|engine| Some((engine, layout.mount(engine)?)));
            let mounts: Map<_, _> = mounts.map(|(engine, at)| (format!("{at}/"), mounted(engine, at))).collect();
            json!({"auth": {}, "secret": mounts})
        }
        Some(path) => {
            let (engine, _) =
                mount_of(path, layout).filter(|(engine, _)| is_granted(*engine)).ok_or(Refusal::Forbidden)?;
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
