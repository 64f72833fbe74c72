//! What the gate answers of itself, whoever asks: health, readiness, metrics, the metadata of the
//! resource, a browser's preflight, and the documentation where it is public.

use filters::refusal::Refusal;
use http::{HeaderValue, Method};
use pingora_core::protocols::http::ServerSession;
use serde_json::json;

use crate::admin;
use crate::config::Docs;
use crate::surfaces::docs::Page;
use crate::surfaces::{Reply, metadata};
use crate::telemetry::RouteId;

use super::{Request, Side, Visit};

impl Request<'_> {
    /// The answer, where nobody asks who wants it.
    pub(super) fn own(&self, session: &ServerSession, visit: &mut Visit) -> Result<Option<Reply>, Refusal> {
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
            _ => return self.public(session, visit),
        };
        if self.head.method != Method::GET {
            return Err(Refusal::MethodNotAllowed("GET".into()));
        }
        visit.route = Some(route);
        Ok(Some(reply(self)))
    }

    fn public(&self, session: &ServerSession, visit: &mut Visit) -> Result<Option<Reply>, Refusal> {
        if let Some(resource) = metadata::resource(&self.context.snapshot, &self.head.path) {
            visit.route = Some(RouteId::METADATA);
            if self.head.method != Method::GET {
                return Err(Refusal::MethodNotAllowed("GET".into()));
            }
            let base = self.base(session).ok_or(Refusal::Malformed("The request's host cannot be read."))?;
            return Ok(Some(metadata::serve(&self.context.snapshot, &format!("{base}{resource}"))));
        }
        if self.context.snapshot.docs != Docs::Public {
            return Ok(None);
        }
        Ok(self.docs_page(visit)?.map(|page| page.serve(self.context.snapshot.rest)))
    }

    /// The page of the documentation that is asked for, where there are any.
    pub(super) fn docs_page(&self, visit: &mut Visit) -> Result<Option<Page>, Refusal> {
        let Some(page) = Page::at(&self.head.path).filter(|_| self.context.snapshot.docs != Docs::Off) else {
            return Ok(None);
        };
        visit.route = Some(match page {
            Page::Document => RouteId::OPENAPI,
            Page::Swagger => RouteId::DOCS,
            Page::Redoc => RouteId::REDOC,
            Page::Asset(..) => RouteId::ASSET,
        });
        if self.head.method == Method::GET { Ok(Some(page)) } else { Err(Refusal::MethodNotAllowed("GET".into())) }
    }

    /// Answers operators' own routes.
    pub(super) async fn of_operators(&self, visit: &mut Visit) -> Result<Option<Reply>, Refusal> {
        let Some(route) = admin::route(&self.head.path).filter(|_| matches!(self.side, Side::Admin)) else {
            return Ok(None);
        };
        self.check_origin()?;
        visit.route = Some(route.0);
        let (method, request_id) = (&self.head.method, self.head.request_id.as_str());
        let asked = admin::Asked { context: &self.context, method, request_id, by_socket: self.head.by_socket };
        admin::serve(&asked, route).await.map(Some)
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

    fn metrics(&self) -> Reply {
        let state = self.context.state;
        state.metrics.streams.set(i64::try_from(state.streams.held()).unwrap_or(i64::MAX));
        Reply::of("text/plain; version=0.0.4", state.metrics.render())
    }
}

fn alive() -> Reply {
    Reply::json(200, "{\"ok\":true}")
}

/// Answers `OPTIONS *` (RFC 9110, section 9.3.7).
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
