//! What the gate tells of itself: health, readiness, metrics; and a browser's
//! preflight.

use filters::names::AgentId;
use filters::refusal::Refusal;
use http::{HeaderValue, Method};
use serde_json::{Value, json};

use crate::telemetry::RouteId;
use crate::vault::Health;

use super::reply::Reply;
use super::{Request, Side, Visit};

impl Request<'_> {
    /// The answer, where nobody asks who wants it.
    pub(super) fn own(&self, visit: &mut Visit) -> Result<Option<Reply>, Refusal> {
        self.check_origin()?;
        if self.head.method == Method::OPTIONS && self.head.origin.is_some() {
            visit.route = Some(RouteId::PREFLIGHT);
            return Ok(Some(preflight()));
        }
        if self.head.path == "*" {
            visit.route = Some(RouteId::PREFLIGHT);
            return Ok(Some(capabilities()));
        }
        let metrics = match self.side {
            Side::Admin => true,
            Side::Edge { index, .. } => self.context.snapshot.metrics.get(index).is_some_and(|served| *served),
        };
        let (route, reply): (_, fn(&Self) -> Reply) = match self.head.path.as_str() {
            "/healthz" => (RouteId::HEALTHZ, |_| alive()),
            "/livez" => (RouteId::LIVEZ, |_| alive()),
            "/readyz" => (RouteId::READYZ, Self::ready),
            "/metrics" if metrics => (RouteId::METRICS, Self::metrics),
            _ if matches!(self.side, Side::Admin) => return Err(Refusal::NotFound),
            _ => return Ok(None),
        };
        if self.head.method != Method::GET {
            return Err(Refusal::MethodNotAllowed("GET".into()));
        }
        visit.route = Some(route);
        Ok(Some(reply(self)))
    }

    /// Answers operators' own routes. A change is asked for by their Unix socket only, which has an
    /// owner: anybody on the machine can connect to the address.
    pub(super) async fn of_operators(&self, visit: &mut Visit) -> Result<Option<Reply>, Refusal> {
        if !matches!(self.side, Side::Admin) {
            return Ok(None);
        }
        let (route, allowed) = match self.head.path.as_str() {
            "/admin/suspensions" => (RouteId::SUSPENSIONS, "GET, POST"),
            "/admin/config" => (RouteId::CONFIG, "GET"),
            "/admin/reload" => (RouteId::RELOAD, "POST"),
            _ => return Ok(None),
        };
        self.check_origin()?;
        visit.route = Some(route);
        if !self.head.by_socket && !self.head.method.is_safe() {
            return Err(Refusal::SocketOnly);
        }
        match (route, &self.head.method) {
            (RouteId::CONFIG, &Method::GET) => Ok(Some(self.configuration())),
            (RouteId::RELOAD, &Method::POST) => self.reload().await.map(Some),
            (RouteId::SUSPENSIONS, &Method::GET) => Ok(Some(self.suspended())),
            (RouteId::SUSPENSIONS, &Method::POST) => {
                self.context.state.vault.suspensions.look().await?;
                Ok(Some(self.suspended()))
            }
            _ => Err(Refusal::MethodNotAllowed(allowed.into())),
        }
    }

    fn suspended(&self) -> Reply {
        let agents = self.context.state.vault.suspensions.agents();
        let names: Vec<&str> = agents.iter().map(AgentId::as_str).collect();
        Reply::json(200, json!({"suspended": names}).to_string())
    }

    /// Which configuration is in force.
    fn configuration(&self) -> Reply {
        let snapshot = &self.context.snapshot;
        let body = json!({
            "snapshot": snapshot.version,
            "digest": snapshot.digest.to_hex(),
            "agents": snapshot.entries(),
            "pending": snapshot.pending,
        });
        Reply::json(200, body.to_string())
    }

    /// Has the configuration read again, and tells what is wrong with it; no value is in that.
    async fn reload(&self) -> Result<Reply, Refusal> {
        match self.context.state.reloads.wish().await {
            Some(Ok(version)) => Ok(Reply::json(200, json!({"snapshot": version}).to_string())),
            Some(Err(report)) => {
                let id = &self.head.request_id;
                let body = json!({"error": "configuration_refused", "detail": report, "request_id": id});
                Ok(Reply::json(422, body.to_string()))
            }
            None => Err(Refusal::Overloaded),
        }
    }

    /// A page may call from the configured origins only (invariant 11).
    pub(super) fn check_origin(&self) -> Result<(), Refusal> {
        match &self.head.origin {
            Some(origin) if !self.context.snapshot.origins.contains(origin) => Err(Refusal::OriginNotAllowed),
            _ => Ok(()),
        }
    }

    /// Answers whether the gate can serve: with a detail where operators look, to anyone else as of a
    /// second ago.
    fn ready(&self) -> Reply {
        let (ready, body) = match self.side {
            Side::Edge { .. } => {
                let ready = self.context.state.was_ready();
                (ready, json!({"ok": ready}))
            }
            Side::Admin => {
                let ready = self.context.state.is_ready();
                (ready, self.readiness(ready))
            }
        };
        let mut reply = Reply::json(if ready { 200 } else { 503 }, body.to_string());
        if !ready {
            reply.add("retry-after", 1.into());
        }
        reply
    }

    fn readiness(&self, ready: bool) -> Value {
        let health = self.context.state.vault.monitor.health();
        let login = self.context.state.vault.login.current().is_some();
        let (suspensions, provision) = (&self.context.state.vault.suspensions, &self.context.state.vault.provision);
        let draining = self.context.state.is_draining();
        let issuers = self.context.snapshot.issuers.keys().map(|(name, keys)| json!({"name": name, "keys": keys}));
        json!({
            "ok": ready,
            "draining": draining,
            "duties_down": self.context.state.duties_down.names(),
            "snapshot": self.context.snapshot.version,
            "vault": {
                "ok": health == Health::Active && login,
                "health": health.name(),
                "detail": self.context.state.vault.login.detail(),
                "provisioned": {"ok": provision.is_whole(), "problem": provision.problem()},
                "handles": !self.context.state.vault.handles.keyring().is_empty(),
                "child_tokens": self.context.state.vault.children.held(),
                "suspended": suspensions.agents().iter().map(AgentId::as_str).collect::<Vec<_>>(),
                "suspensions": {"ok": suspensions.are_current(), "problems": suspensions.problems()},
            },
            "issuers": issuers.collect::<Vec<_>>(),
            "kms": {"enabled": self.context.state.kms.is_some()},
        })
    }

    fn metrics(&self) -> Reply {
        self.context.state.metrics.streams.set(i64::try_from(self.context.state.streams.held()).unwrap_or(i64::MAX));
        Reply::of("text/plain; version=0.0.4", self.context.state.metrics.render())
    }
}

fn alive() -> Reply {
    Reply::json(200, "{\"ok\":true}")
}

/// What `OPTIONS *` is answered (RFC 9110, section 9.3.7).
fn capabilities() -> Reply {
    let mut reply = Reply::empty(204);
    reply.add("allow", HeaderValue::from_static("GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"));
    reply
}

fn preflight() -> Reply {
    let mut reply = Reply::empty(204);
    reply.add("access-control-allow-methods", HeaderValue::from_static("GET, PUT, POST, PATCH, DELETE"));
    reply.add(
        "access-control-allow-headers",
        HeaderValue::from_static(
            "authorization, dpop, content-type, x-api-key, x-correlation-id, x-vault-wrap-ttl, \
             mcp-protocol-version, mcp-method, mcp-name",
        ),
    );
    reply.add("access-control-max-age", 600.into());
    reply
}
