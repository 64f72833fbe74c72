//! Surfaces, as configured.

use std::time::Duration;

use filters::gate_token::Way;
use filters::mcp::ToolNames;

/// Everything that callers are shown.
#[derive(Clone, Debug)]
pub struct Surfaces {
    /// True where the REST surface is shown.
    pub rest: bool,
    /// Vault's own API; `None` where it is not shown.
    pub vault_api: Option<VaultApi>,
    /// The spelling of MCP tools' names.
    pub tool_names: ToolNames,
    /// The time between two comments on an open stream of events.
    pub keep_alive: Duration,
    /// Who sees the documentation.
    pub docs: Docs,
    /// Scheme and authority by which callers reach the gate, where it is told.
    pub public_url: Option<Box<str>>,
    /// True where the headers of a request are shown to those who may look: in development only.
    pub echo: bool,
    /// True where the trace of a request is taken over from its caller, and Vault is told of it (W3C Trace Context).
    pub trace_context: bool,
    /// Origins (RFC 6454) whose pages may call; `*` is refused.
    pub origins: Vec<String>,
}

/// Vault's own API as a surface.
#[derive(Clone, Debug)]
pub struct VaultApi {
    /// The mounts below `auth/` at which clients log in, each with the way.
    pub logins: Vec<(Box<str>, Way)>,
    /// The time that a token lasts which a login gives.
    pub token_ttl: Duration,
}

/// Who sees the OpenAPI document and its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Docs {
    /// Whoever has a credential.
    Agents,
    /// Anyone.
    Public,
    /// Nobody: there is no such route.
    Off,
}
