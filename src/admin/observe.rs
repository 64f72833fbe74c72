//! Pages that tell how the gate is: a summary, the ends of its logs, and the headers of the request itself.

use std::collections::BTreeMap;
use std::time::Duration;

use filters::credential::may_be_secret;
use filters::refusal::Refusal;
use http::HeaderMap;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::service::Context;
use crate::surfaces::Reply;
use crate::telemetry::{Tail, tail};

use super::query::parameters;
use super::readiness::readiness;

/// Lines that are told where no number is asked for, and most of any.
const LINES: (usize, usize) = (100, 1000);
/// Logs that are read at once, and the wait for a turn.
static READERS: Semaphore = Semaphore::const_new(2);
const PATIENCE: Duration = Duration::from_secs(5);
/// Members of lines by which they are chosen.
const MEMBERS: [&str; 15] = [
    "agent",
    "client",
    "correlation_id",
    "decision",
    "key",
    "logger",
    "lvl",
    "method",
    "msg",
    "operation",
    "path",
    "request_id",
    "role",
    "status",
    "subject",
];
const PARAMETERS: Refusal = Refusal::Malformed(
    "The query may have `limit`, a number from 1 to 1000, and members of lines with the value that they are to have: \
     agent, client, correlation_id, decision, key, logger, lvl, method, msg, operation, path, request_id, role, status, \
     subject; each once.",
);

/// Readiness, and the load of the moment.
pub(super) fn summary(context: &Context<'_>) -> Reply {
    let state = context.state;
    let ready = state.is_ready();
    let body = json!({
        "ok": ready,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": state.uptime().as_secs(),
        "in_flight": {
            "requests": state.load.requests.held(),
            "body_bytes": state.load.bodies.held(),
            "streams": state.streams.held(),
            "connections": state.metrics.connections.open.get(),
        },
        "readiness": readiness(context, ready),
    });
    Reply::json(200, body.to_string())
}

/// The last lines of a log, as the query asks for them.
///
/// # Errors
/// [`Refusal::Malformed`] for another query, [`Refusal::Absent`] where there are no files,
/// [`Refusal::Overloaded`] where others read.
pub(super) async fn log(context: &Context<'_>, name: &'static str, query: &str) -> Result<Reply, Refusal> {
    let asked = asked(query)?;
    let folder = context.state.host.logs.clone();
    let folder = folder.ok_or(Refusal::Absent("LOG_DIR is off: logs go to standard output, and have no files."))?;
    let reading = timeout(PATIENCE, READERS.acquire()).await.ok().and_then(Result::ok).ok_or(Refusal::Overloaded)?;
    let read = tokio::task::spawn_blocking(move || tail(&folder, name, &asked)).await;
    drop(reading);
    let lines = read.map_err(|_| Refusal::Internal)?.map_err(|error| {
        tracing::error!(%error, "{name}.log cannot be read");
        Refusal::Internal
    })?;
    Ok(Reply::json(200, json!({"log": name, "lines": lines}).to_string()))
}

fn asked(query: &str) -> Result<Tail, Refusal> {
    let mut tail = Tail { limit: LINES.0, members: Vec::new() };
    for (name, value) in parameters(query).ok_or(PARAMETERS)? {
        if name == "limit" {
            tail.limit = value.parse().ok().filter(|limit| (1..=LINES.1).contains(limit)).ok_or(PARAMETERS)?;
        } else if MEMBERS.contains(&name) {
            tail.members.push((name.to_owned(), value.into_owned()));
        } else {
            return Err(PARAMETERS);
        }
    }
    Ok(tail)
}

/// The headers of the request as the gate has them, without values that may be secret: in development only.
///
/// # Errors
/// [`Refusal::NotFound`] elsewhere.
pub(super) fn echo(context: &Context<'_>, headers: &HeaderMap) -> Result<Reply, Refusal> {
    if !context.snapshot.surfaces.echo {
        return Err(Refusal::NotFound);
    }
    let mut told = BTreeMap::<&str, Vec<_>>::new();
    for (name, value) in headers {
        let value = if may_be_secret(name) { "[redacted]".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        told.entry(name.as_str()).or_default().push(value);
    }
    Ok(Reply::json(200, json!({"headers": told}).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_lines() {
        let told = asked("limit=5&path=%2Fsecrets%2F%7Bpath%7D&status=403").unwrap();
        assert_eq!(told.limit, 5);
        let members: Vec<_> = told.members.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(members, [("path", "/secrets/{path}"), ("status", "403")]);
        assert_eq!(asked("").unwrap().limit, 100);
        for broken in ["limit=0", "limit=1001", "limit", "x=1", "agent=a&agent=b", "agent=%ff"] {
            assert_eq!(asked(broken).unwrap_err(), PARAMETERS, "{broken}");
        }
        let Refusal::Malformed(text) = PARAMETERS else { panic!() };
        assert!(text.contains(&MEMBERS.join(", ")), "the refusal names them all");
    }
}
