//! The gate as an OAuth 2.0 protected resource: where its metadata is
//! (RFC 9728), and the challenges that lead there (RFC 6750, section 3; RFC 9449, section 7.1).

use filters::jwt::ALGORITHMS;
use filters::refusal::Refusal;
use filters::scope::Scope;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use http::{HeaderValue, Method};
use pingora_core::protocols::http::ServerSession;
use serde_json::{Map, Value};

use crate::telemetry::RouteId;

use super::reply::Reply;
use super::{Request, Side, Visit};

/// Where the metadata of the whole gate is; that of `/mcp` is below it.
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// The path of the MCP endpoint.
const MCP: &str = "/mcp";

impl Request<'_> {
    /// The metadata, where they are asked for and tokens are believed at all.
    pub(super) fn metadata(&self, session: &ServerSession, visit: &mut Visit) -> Result<Option<Reply>, Refusal> {
        let path = match self.head.path.strip_prefix(METADATA) {
            Some(path @ ("" | MCP)) if !self.context.snapshot.issuers.is_empty() => path,
            _ => return Ok(None),
        };
        visit.route = Some(RouteId::METADATA);
        if self.head.method != Method::GET {
            return Err(Refusal::MethodNotAllowed("GET".into()));
        }
        let base = self.base(session).ok_or(Refusal::Malformed("The request's host cannot be read."))?;
        Ok(Some(Reply::json(200, self.document(&format!("{base}{path}")).to_string())))
    }

    fn document(&self, resource: &str) -> Value {
        let mut document = Map::new();
        let servers: Vec<&str> = self.context.snapshot.issuers.urls().collect();
        let scopes: Vec<&str> = Scope::ALL.into_iter().map(Scope::name).collect();
        document.insert("resource".into(), resource.into());
        if !servers.is_empty() {
            document.insert("authorization_servers".into(), servers.into());
        }
        document.insert("scopes_supported".into(), scopes.into());
        document.insert("bearer_methods_supported".into(), vec!["header"].into());
        document.insert("resource_name".into(), "Portcullis".into());
        document.insert("tls_client_certificate_bound_access_tokens".into(), self.context.snapshot.certificates.into());
        if self.context.snapshot.issuers.take_dpop() {
            let algorithms: Vec<&str> = ALGORITHMS.split(' ').collect();
            document.insert("dpop_signing_alg_values_supported".into(), algorithms.into());
            document.insert(
                "dpop_bound_access_tokens_required".into(),
                self.context.snapshot.issuers.require_dpop().into(),
            );
        }
        Value::Object(document)
    }

    /// Scheme and authority by which the gate is reached: as configured, else as the request has them.
    pub(super) fn base(&self, session: &ServerSession) -> Option<String> {
        if let Some(base) = &self.context.snapshot.public_url {
            return Some(base.to_string());
        }
        let Side::Edge { index, .. } = self.side else { return None };
        let tls = self.context.snapshot.tls.get(index).is_some_and(Option::is_some);
        let request = session.req_header();
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority: Authority =
            request.uri.authority().map_or(host, |authority| Some(authority.as_str()))?.parse().ok()?;
        let plain = !authority.as_str().contains('@') && !authority.host().is_empty();
        plain.then(|| format!("{}://{authority}", if tls { "https" } else { "http" }))
    }

    /// Adds the challenges of a refusal that a credential, or one with another scope, would help: what
    /// is wrong stands in that of the scheme by which a token came.
    pub(super) fn challenge(&self, session: &ServerSession, refusal: &Refusal, reply: &mut Reply) {
        let authorization = session.req_header().headers.get(AUTHORIZATION);
        let error = match refusal {
            Refusal::Unauthenticated if authorization.is_some() => ", error=\"invalid_token\"".to_owned(),
            Refusal::Unauthenticated => String::new(),
            Refusal::InvalidProof => ", error=\"invalid_dpop_proof\"".to_owned(),
            Refusal::InsufficientScope(scope) => format!(", error=\"insufficient_scope\", scope=\"{scope}\""),
            _ => return,
        };
        let dpop = self.context.snapshot.issuers.take_dpop();
        let by_dpop = dpop && authorization.is_some_and(is_dpop);
        let (of_bearer, of_dpop) = if by_dpop { ("", error.as_str()) } else { (error.as_str(), "") };
        let metadata = self.metadata_url(session);
        let mut add = |scheme: &str, error: &str| {
            if let Ok(challenge) = HeaderValue::try_from(format!("{scheme}{error}{metadata}")) {
                reply.add("www-authenticate", challenge);
            }
        };
        // The same token has no other scopes by the other scheme.
        let both = !matches!(refusal, Refusal::InsufficientScope(_));
        if both || !by_dpop {
            add("Bearer realm=\"portcullis\"", of_bearer);
        }
        if dpop && (both || by_dpop) {
            add(&format!("DPoP algs=\"{ALGORITHMS}\""), of_dpop);
        }
    }

    /// The parameter by which a challenge leads to the metadata; empty where there are none.
    fn metadata_url(&self, session: &ServerSession) -> String {
        let base = self.base(session).filter(|_| !self.context.snapshot.issuers.is_empty());
        let path = if self.head.is_mcp() { MCP } else { "" };
        base.map(|base| format!(", resource_metadata=\"{base}{METADATA}{path}\"")).unwrap_or_default()
    }
}

fn is_dpop(authorization: &HeaderValue) -> bool {
    authorization.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"dpop "))
}
