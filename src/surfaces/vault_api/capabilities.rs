//! Capabilities of a caller at paths, told from its grants.
//! Source: <https://developer.hashicorp.com/vault/api-docs/system/capabilities-self>,
//! <https://developer.hashicorp.com/vault/api-docs/system/capabilities>

use filters::catalog::absolute;
use filters::credential::vault_token;
use filters::grants::{Access, Role};
use filters::operation::Capability;
use filters::refusal::Refusal;
use filters::vault_api::{self, Match, is_absolute};
use filters::verdict::About;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::surfaces::{Asked, Reply};

use super::form::{self, answer};

/// Most paths of one question.
const MOST: usize = 100;

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    paths: Vec<String>,
    path: Option<String>,
    token: Option<String>,
}

/// Tells the capabilities at each path; those of a path that is alone by the name that older clients read too. Where
/// the body names the token, it must be the one that the caller shows: no other's capabilities are told.
pub(super) fn serve(asked: &Asked<'_>, named: bool) -> Result<Reply, Refusal> {
    let Body { mut paths, path, token } = form::read(&asked.body)?;
    if named && (token.is_none() || token.as_deref() != vault_token(asked.headers)?) {
        return Err(Refusal::Forbidden);
    }
    paths.extend(path);
    if paths.is_empty() || paths.len() > MOST {
        return Err(Refusal::Malformed("The body must name 1 to 100 paths."));
    }
    let mut told: Map<_, _> = paths.iter().map(|path| (path.clone(), capabilities(asked, path))).collect();
    if let [only] = paths.as_slice() {
        told.insert("capabilities".into(), capabilities(asked, only));
    }
    Ok(answer(told.into(), asked.caller.request_id))
}

/// True where a role of the caller's gives that at one of Vault's own paths, and none denies it.
fn has(asked: &Asked<'_>, path: &str, may: Capability) -> bool {
    let (access, path) = (Access::by(may), path.trim_end_matches('/'));
    let holds = |role: &Role| role.vault.decides(path, access).is_some_and(|grant| grant.may.contains(&may));
    let kind = absolute::asking(access);
    asked.context.may_use(asked.caller, kind, About { name: path, ..About::default() })
        && asked.caller.agent().roles.iter().any(|(role, _)| holds(role))
}

fn capabilities(asked: &Asked<'_>, path: &str) -> Value {
    let layout = &asked.context.snapshot.vault.layout;
    let may = |matched: &Match| {
        let (name, shared) = matched.about();
        asked.context.may_use(asked.caller, matched.kind(), About { name, shared, ..About::default() })
    };
    let allowed = vault_api::every(path, layout).filter(may);
    let mut names: Vec<_> = allowed.flat_map(|matched| matched.kind().spec.reach.may).copied().collect();
    let agent = asked.caller.agent();
    if [Access::Read, Access::List].into_iter().any(|access| is_absolute(agent, path, access)) {
        names = Capability::ALL.into_iter().filter(|may| has(asked, path, *may)).collect();
    }
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { vec!["deny"].into() } else { names.into_iter().map(|may| may.name()).collect() }
}
