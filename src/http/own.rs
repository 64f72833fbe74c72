//! The gate's own answers to anyone: health, readiness, metrics, the metadata of the
//! resource, a browser's preflight, and the documentation where it is public.

use std::str::FromStr as _;

use filters::headers::MCP_PARAM;
use filters::refusal::Refusal;
use filters::vault_api::PREFIX;
use http::header::{ACCEPT, ACCESS_CONTROL_REQUEST_HEADERS};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora_core::protocols::http::ServerSession;
use serde_json::json;

use crate::admin;
use crate::config::Docs;
use crate::surfaces::{Reply, metadata, text, vault_api};
use crate::telemetry::{MetricsForm, RouteId};

use super::request::{Request, Visit};
use super::routes::{self, Audience, Route, Serves};
use super::side::Side;

/// The headers that any allowed page may send.
const PAGE_HEADERS: &str = "authorization, dpop, x-api-key, content-type, last-event-id, mcp-method, mcp-name, \
     mcp-protocol-version, mcp-session-id, traceparent, tracestate, x-correlation-id, x-vault-wrap-ttl";

impl Request<'_> {
    /// The route that is asked for, where the configuration and the listener have it.
    pub(super) fn own_route(&self) -> Option<(RouteId, &'static Route)> {
        let snapshot = &self.context.snapshot;
        let found = routes::find(&self.head.path, &self.head.method);
        found.filter(|(_, route)| match (route.audience, self.side) {
            (Audience::Anyone, _) | (Audience::Metrics, Side::Admin) => true,
            (Audience::Nobody, _) | (_, Side::Admin) => false,
            (Audience::Callers, Side::Edge { .. }) => true,
            (Audience::Metrics, Side::Edge { index, .. }) => {
                snapshot.listeners.get(index).is_some_and(|listener| listener.metrics)
            }
            (Audience::Documentation, Side::Edge { .. }) => snapshot.surfaces.docs != Docs::Off,
            (Audience::VaultClients, Side::Edge { .. }) => self.serves_vault_api(),
            (Audience::Metadata, Side::Edge { .. }) => !snapshot.credentials.issuers.is_empty(),
        })
    }

    /// True for a request of Vault's own API, where that is served.
    pub(super) fn is_vault_api(&self) -> bool {
        self.head.path.starts_with(PREFIX) && self.serves_vault_api()
    }

    fn serves_vault_api(&self) -> bool {
        let Side::Edge { index, .. } = self.side else { return false };
        let snapshot = &self.context.snapshot;
        let here = snapshot.listeners.get(index).is_some_and(|listener| listener.vault_api);
        here && snapshot.surfaces.vault_api.is_some()
    }

    /// True where a route is served to callers without a credential.
    fn is_public(&self, route: &Route) -> bool {
        match route.audience {
            Audience::Anyone | Audience::Metrics | Audience::Metadata | Audience::VaultClients => true,
            Audience::Documentation => self.context.snapshot.surfaces.docs == Docs::Public,
            Audience::Callers | Audience::Nobody => false,
        }
    }

    /// The answer to a request for which no credential is needed, if this is one.
    pub(super) fn own(
        &self,
        session: &ServerSession,
        found: Option<(RouteId, &Route)>,
        visit: &mut Visit,
    ) -> Result<Option<Reply>, Refusal> {
        self.check_origin()?;
        if self.head.method == Method::OPTIONS && self.head.origin.is_some() {
            visit.route = Some(routes::PREFLIGHT);
            return Ok(Some(preflight(&session.req_header().headers)));
        }
        if self.head.path == "*" {
            visit.route = Some(routes::PREFLIGHT);
            return Ok(Some(capabilities()));
        }
        let Some((id, route)) = found.filter(|(_, route)| self.is_public(route)) else {
            return if matches!(self.side, Side::Admin) { Err(Refusal::NotFound) } else { Ok(None) };
        };
        visit.route = Some(id);
        self.check_method(route)?;
        Ok(Some(match route.serves {
            Serves::Life => Reply::json(200, "{\"ok\":true}"),
            Serves::Readiness => self.ready(),
            Serves::Metrics => {
                let accept = text(&session.req_header().headers, ACCEPT).unwrap_or_default();
                let form = MetricsForm::wanted(accept);
                Reply::of(form.media(), self.context.state.metrics_text(form))
            }
            Serves::Page(page) => page.serve(self.context.snapshot.surfaces.rest),
            Serves::Metadata(resource) => {
                let base = self.base(session).ok_or(Refusal::Malformed("The request's host cannot be read."))?;
                metadata::serve(&self.context.snapshot, &format!("{base}{resource}"))
            }
            Serves::VaultHealth => vault_api::health(&self.context, &self.head.query)?,
            Serves::VaultSealStatus => vault_api::seal_status(&self.context)?,
            Serves::VaultLeader => vault_api::leader(),
            Serves::Events(_)
            | Serves::RecentEvents
            | Serves::EndOfSession
            | Serves::AnsweredOnStream
            | Serves::Mcp
            | Serves::Nothing => {
                return Ok(None);
            }
        }))
    }

    /// A route is asked by its methods only.
    pub(super) fn check_method(&self, route: &Route) -> Result<(), Refusal> {
        match route.allowed.split(", ").any(|method| method == self.head.method.as_str()) {
            true => Ok(()),
            false => Err(Refusal::MethodNotAllowed(route.allowed.into())),
        }
    }

    /// Answers operators' own routes.
    pub(super) async fn of_operators(&self, headers: &HeaderMap, visit: &mut Visit) -> Result<Option<Reply>, Refusal> {
        let Some((id, route)) = routes::of_operators(&self.head.path).filter(|_| matches!(self.side, Side::Admin))
        else {
            return Ok(None);
        };
        self.check_origin()?;
        visit.route = Some(id);
        visit.proof = if self.head.by_socket { admin::BY_SOCKET } else { admin::BY_ADDRESS };
        self.operators(headers, route).await.map(Some)
    }

    /// Serves a route of operators'.
    pub(super) async fn operators(&self, headers: &HeaderMap, route: &admin::Route) -> Result<Reply, Refusal> {
        let asked = admin::Asked {
            context: &self.context,
            method: &self.head.method,
            query: &self.head.query,
            headers,
            request_id: &self.head.request_id,
            by_socket: self.head.by_socket && matches!(self.side, Side::Admin),
        };
        admin::serve(&asked, route).await
    }

    /// A page may call from the configured origins and the gate's own only (invariant 11).
    pub(super) fn check_origin(&self) -> Result<(), Refusal> {
        match &self.head.origin {
            Some(origin) if !self.head.is_own_page && !self.context.snapshot.surfaces.origins.contains(origin) => {
                Err(Refusal::OriginNotAllowed)
            }
            _ => Ok(()),
        }
    }

    /// Answers whether the gate can serve: with a detail where operators look, to anyone else as of a
    /// second ago.
    fn ready(&self) -> Reply {
        let state = self.context.state;
        let (ready, body) = match self.side {
            Side::Edge { .. } => {
                let ready = state.was_ready();
                (ready, json!({"ok": ready}))
            }
            Side::Admin => {
                let ready = state.is_ready();
                (ready, admin::readiness(&self.context, ready))
            }
        };
        let mut reply = Reply::json(if ready { 200 } else { 503 }, body.to_string());
        if !ready {
            reply.add("retry-after", 1.into());
        }
        reply
    }
}

/// Answers `OPTIONS *` (RFC 9110, section 9.3.7).
fn capabilities() -> Reply {
    let mut reply = Reply::empty(204);
    reply.add("allow", HeaderValue::from_static("GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"));
    reply
}

/// Answers a browser that asks if a page may send `asked` (Fetch, section 4.8). Headers of a tool's
/// arguments have names of the tool's own, and are allowed where they are asked for.
fn preflight(asked: &HeaderMap) -> Reply {
    let mut reply = Reply::empty(204);
    reply.add("access-control-allow-methods", HeaderValue::from_static("GET, PUT, POST, PATCH, DELETE"));
    let mut allowed = PAGE_HEADERS.to_owned();
    let asked = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    for name in asked.flat_map(|value| value.split(',')).map(str::trim) {
        if let Some(name) = HeaderName::from_str(name).ok().filter(|name| name.as_str().starts_with(MCP_PARAM)) {
            allowed.push_str(", ");
            allowed.push_str(name.as_str());
        }
    }
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        reply.add("access-control-allow-headers", allowed);
    }
    reply.add("access-control-max-age", 600.into());
    reply
}
