//! The operators' application: the agents and who of them is suspended, which configuration is in force, readiness
//! with its details, the ends of logs. Agents' secrets are not reached from here.

mod agents;
mod observe;
mod query;
mod readiness;

pub use readiness::readiness;

use filters::names::AgentId;
use filters::refusal::Refusal;
use http::{HeaderMap, Method};
use serde_json::json;

use crate::service::Context;
use crate::surfaces::Reply;

/// The proof of an operator: the Unix socket, which has an owner, or the address, which has none.
pub const BY_SOCKET: &str = "admin_socket";
/// See [`BY_SOCKET`].
pub const BY_ADDRESS: &str = "admin_address";

/// A request of an operator's.
pub struct Asked<'a> {
    /// The context it is served in.
    pub context: &'a Context<'a>,
    /// Its method; `GET` for a `HEAD`.
    pub method: &'a Method,
    /// Its query, as it came.
    pub query: &'a str,
    /// Its headers.
    pub headers: &'a HeaderMap,
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
    Summary,
    Log(&'static str),
    Echo,
    Agents,
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

impl Route {
    const fn get(path: &'static str, verb: Verb) -> Self {
        Self { path, label: "GET", allowed: "GET", verb }
    }
}

/// Every route of operators'.
pub static ROUTES: [Route; 9] = [
    Route { path: "/admin/suspensions", label: "POST", allowed: "GET, POST", verb: Verb::Suspensions },
    Route::get("/admin/config", Verb::Configuration),
    Route { path: "/admin/reload", label: "POST", allowed: "POST", verb: Verb::Reload },
    Route::get("/admin/agents", Verb::Agents),
    Route::get("/observability/summary", Verb::Summary),
    Route::get("/observability/logs/requests", Verb::Log("requests")),
    Route::get("/observability/logs/responses", Verb::Log("responses")),
    Route::get("/observability/logs/server", Verb::Log("server")),
    Route::get("/echo-headers", Verb::Echo),
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
        (Verb::Summary, &Method::GET) => Ok(observe::summary(asked.context)),
        (Verb::Log(name), &Method::GET) => observe::log(asked.context, name, asked.query).await,
        (Verb::Echo, &Method::GET) => observe::echo(asked.context, asked.headers),
        (Verb::Agents, &Method::GET) => agents::page(asked.context, asked.query),
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

/// The configuration in force, and the outcome of the last reload.
fn configuration(context: &Context<'_>) -> Reply {
    let snapshot = &context.snapshot;
    let last = context
        .state
        .last_reload
        .get()
        .map(|(at, outcome)| json!({"at": agents::text(at), "ok": outcome.is_ok(), "problem": outcome.err()}));
    let body = json!({
        "snapshot": snapshot.about.version,
        "loaded": agents::text(snapshot.about.loaded),
        "last_reload": last,
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
