//! The operators' application: who is suspended, which configuration is in force, readiness with its
//! details. Agents' secrets are not reached from here.

use filters::names::AgentId;
use filters::refusal::Refusal;
use http::Method;
use serde_json::{Value, json};

use crate::service::Context;
use crate::surfaces::Reply;
use crate::vault::Health;

/// A request of an operator's.
pub struct Asked<'a> {
    /// The context it is served in.
    pub context: &'a Context<'a>,
    /// Its method; `GET` for a `HEAD`.
    pub method: &'a Method,
    /// The gate's id of it.
    pub request_id: &'a str,
    /// True for one that came by the Unix socket, which has an owner: anybody on the machine can
    /// connect to the address.
    pub by_socket: bool,
}

/// The operation that an operator asks for.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Suspensions,
    Configuration,
    Reload,
}

/// A route of operators'.
#[derive(Debug)]
pub struct Route {
    /// The path.
    pub path: &'static str,
    /// The method by which metrics and log name it.
    pub label: &'static str,
    allowed: &'static str,
    verb: Verb,
}

/// Every route of operators'.
pub static ROUTES: [Route; 3] = [
    Route { path: "/admin/suspensions", label: "POST", allowed: "GET, POST", verb: Verb::Suspensions },
    Route { path: "/admin/config", label: "GET", allowed: "GET", verb: Verb::Configuration },
    Route { path: "/admin/reload", label: "POST", allowed: "POST", verb: Verb::Reload },
];

/// Serves a request for such a route. A change is asked for by the Unix socket only.
///
/// # Errors
/// [`Refusal::SocketOnly`], [`Refusal::MethodNotAllowed`], and why what was asked for cannot be done.
pub async fn serve(asked: &Asked<'_>, route: &Route) -> Result<Reply, Refusal> {
    if !asked.by_socket && !asked.method.is_safe() {
        return Err(Refusal::SocketOnly);
    }
    match (route.verb, asked.method) {
        (Verb::Configuration, &Method::GET) => Ok(configuration(asked.context)),
        (Verb::Reload, &Method::POST) => reload(asked).await,
        (Verb::Suspensions, &Method::GET) => Ok(suspended(asked.context)),
        (Verb::Suspensions, &Method::POST) => {
            asked.context.state.vault.suspensions.look().await?;
            Ok(suspended(asked.context))
        }
        _ => Err(Refusal::MethodNotAllowed(route.allowed.into())),
    }
}

fn suspended(context: &Context<'_>) -> Reply {
    let agents = context.state.vault.suspensions.agents();
    let names: Vec<&str> = agents.iter().map(AgentId::as_str).collect();
    Reply::json(200, json!({"suspended": names}).to_string())
}

/// Which configuration is in force.
fn configuration(context: &Context<'_>) -> Reply {
    let snapshot = &context.snapshot;
    let body = json!({
        "snapshot": snapshot.about.version,
        "digest": snapshot.about.digest.to_hex(),
        "agents": snapshot.agents.policy().entries().len(),
        "pending": snapshot.about.pending,
    });
    Reply::json(200, body.to_string())
}

/// Has the configuration read again, and tells what is wrong with it; no value is in that.
async fn reload(asked: &Asked<'_>) -> Result<Reply, Refusal> {
    match asked.context.state.reloads.ask().await {
        Some(Ok(version)) => Ok(Reply::json(200, json!({"snapshot": version}).to_string())),
        Some(Err(report)) => {
            let body = json!({"error": "configuration_refused", "detail": report, "request_id": asked.request_id});
            Ok(Reply::json(422, body.to_string()))
        }
        None => Err(Refusal::Overloaded),
    }
}

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
            "child_tokens": state.vault.tokens.held(),
            "suspended": suspensions.agents().iter().map(AgentId::as_str).collect::<Vec<_>>(),
            "suspensions": {"ok": suspensions.are_current(), "problems": suspensions.problems()},
        },
        "issuers": issuers.collect::<Vec<_>>(),
        "kms": kms(context),
        "audit": {"ok": state.sinks.problem().is_none(), "problem": state.sinks.problem()},
    })
}
