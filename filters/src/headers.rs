//! The names of the headers that are not HTTP's own: those that callers send
//! and get, and those that Vault gets.

use http::HeaderName;

/// An API key.
pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The proof of having a token's key (RFC 9449, section 4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");
/// Whom proxies were asked by.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The gate's id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The id by which callers, the gate and Vault's audit know a request.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// The revision that an MCP message speaks.
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The method of an MCP message, repeated (revision 2026-07-28).
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The tool, prompt or resource of an MCP message, repeated (revision 2026-07-28).
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The session of an MCP message (revisions 2025-03-26 to 2025-11-25).
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The id of the last event that a client of a stream has had.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The headers that repeat the arguments `key`, `path` and `role` of a tool (revision 2026-07-28).
pub const MCP_PARAMS: [HeaderName; 3] = [
    HeaderName::from_static("mcp-param-key"),
    HeaderName::from_static("mcp-param-path"),
    HeaderName::from_static("mcp-param-role"),
];
/// The trace that a request belongs to (W3C Trace Context, section 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Facts about that trace that tracing systems add (W3C Trace Context, section 3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// The id of the trace that a request belongs to.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
/// The beginning of the names of headers that repeat an argument of a tool (revision 2026-07-28).
pub const MCP_PARAM: &str = "mcp-param-";
/// The time for which an answer is wrapped.
pub const VAULT_WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
/// A mark that Vault asks of its clients, which a forged request would lack.
pub const VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
/// The token that Vault is asked with.
pub const VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
/// The namespace of Vault that is asked.
pub const VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// The state of Vault's that an answer is to have seen.
/// Source: <https://developer.hashicorp.com/vault/docs/enterprise/consistency>
pub const VAULT_INDEX: HeaderName = HeaderName::from_static("x-vault-index");
/// Whoever answers where the node that is asked has not seen that state.
pub const VAULT_INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");
/// The node that a request is forwarded to.
pub const VAULT_FORWARD: HeaderName = HeaderName::from_static("x-vault-forward");
