//! From checked fields to [`Settings`]: what no single value can tell, such as
//! clashes between two.
//!
//! Each function makes something of whatever it finds, so that all problems
//! are found in one pass; what it makes is used only where there were none.

mod absolute;
mod agents;
mod audit;
mod identity;
mod jwt;
mod keys;
mod kms;
mod limits;
mod listeners;
mod rate_limit;
mod login;
mod namespaces;
mod otel;
mod roles;
mod unknown;
mod upstream;
mod values;
mod vault;

use std::path::PathBuf;

use filters::gate_token::Way;
use filters::mcp::ToolNames;
use filters::secret::Digest;
use tracing::Level;

use super::fields::{Fields, Sited};
use super::node::Node;
use super::outline::Outline;
use super::sections as section;
use super::settings::{
    Admin, Development, Docs, Listener, LogFiles, Logging, Names, Server, Settings, Surfaces, VaultApi,
};
use super::source::Source;

/// Most listening sockets.
const HANDED_OVER: usize = 32;

/// Makes settings of everything the layers say; `None` only where a problem
/// was noted.
pub(super) fn settings(source: &Source<'_>, file: Option<&Node>) -> Option<Settings> {
    let top = Fields::new(source, &source.table.top, file);
    let listeners = listeners::listeners(&top);
    let admin = listeners::admin(&top, &listeners);
    let layout = vault::layout(&top);
    let roles = roles::roles(&top, &layout);
    let public_url = identity::public_url(&top);
    let issuers = jwt::issuers(&top, &roles, public_url.as_deref());
    let (agents, mut api_keys) = agents::agents(&top, &roles, &issuers);
    keys::from_json(&top, &mut api_keys);
    let bounds = top.table("limits", &section::LIMITS);
    let server = server(&top, &listeners, &admin);
    let limits = limits::limits(&bounds, server.threads);
    let upstream = upstream::upstream(&top, roles.namespace.clone());
    let development = development(&top);
    let (traces, trace_context) = otel::otel(&top);
    let settings = Settings {
        catalog: source.table.catalog,
        admin,
        server,
        logging: logging(&top),
        audit: audit::audit(&top),
        traces,
        login: login::login(&top, &upstream),
        upstream,
        vault_identity: vault::identity(&top, &issuers),
        child_tokens: vault::child_tokens(&top),
        leases: vault::leases(&top),
        wrap_ttl: vault::wrap_ttl(&top),
        layout,
        kms: kms::kms(&top),
        identity: identity::identity(&top, (&agents, &api_keys), &listeners, issuers, &roles.namespace),
        roles: roles.list,
        agents: agents.into_iter().map(|agent| agent.entry).collect(),
        api_keys: keys::finish(&top, api_keys),
        rate: limits::default_rate(&top),
        rate_limited: top.flag("rate_limit_enabled").unwrap_or(true),
        shared_limits: rate_limit::shared(&top),
        global_rate: limits::global_rate(&bounds),
        operation_rates: limits::operation_rates(&bounds),
        limits: limits?,
        surfaces: Surfaces {
            rest: top.flag("expose_rest_routes").unwrap_or(true),
            vault_api: top.flag("expose_vault_api").unwrap_or(true).then(|| vault_api(&top)),
            tool_names: tool_names(&top),
            keep_alive: top.table("mcp", &section::MCP).time("keep_alive"),
            docs: docs(&top),
            public_url,
            echo: development.is_some(),
            trace_context,
            origins: identity::origins(&top),
        },
        agent_metrics: top.table("metrics", &section::METRICS).flag("agents").unwrap_or(false),
        development,
        listeners: listeners.into_iter().map(|listener| listener.value).collect(),
        files: Vec::new(),
        warnings: Vec::new(),
        digest: Digest::of(b""),
        outline: Outline::default(),
    };
    roles::doubt_kms(&top, &settings.roles, &settings.agents, &settings.identity);
    Some(settings)
}

fn vault_api(top: &Fields<'_>) -> VaultApi {
    let fields = top.table("vault_api", &section::VAULT_API);
    let mounts = |name, way: Way, usual: &[&str]| -> Vec<(Box<str>, Way)> {
        let given: Vec<Box<str>> =
            fields.words(name).into_iter().map(|word| word.text.trim_matches('/').into()).collect();
        let mounts = if fields.given(name) { given } else { usual.iter().map(|mount| Box::from(*mount)).collect() };
        mounts.into_iter().map(|mount| (mount, way)).collect()
    };
    let logins = [
        mounts("cert_logins", Way::Certificate, &["cert"]),
        mounts("jwt_logins", Way::Jwt, &["jwt", "kubernetes"]),
        mounts("approle_logins", Way::AppRole, &["approle"]),
    ];
    VaultApi { logins: logins.concat(), token_ttl: fields.time("token_ttl") }
}

fn server(top: &Fields<'_>, listeners: &[Sited<Listener>], admin: &Admin) -> Server {
    let fields = top.table("server", &section::SERVER);
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Server {
        threads: fields.size("threads").unwrap_or_else(cores),
        drain: fields.time("drain"),
        reload: top.flag("reload").unwrap_or(false),
        upgrade_socket: upgrade_socket(&fields, listeners, admin),
    }
}

/// Where listening sockets are handed over; as many as one message carries, their names apart by spaces.
fn upgrade_socket(fields: &Fields<'_>, listeners: &[Sited<Listener>], admin: &Admin) -> Option<PathBuf> {
    let Sited { place, value } = fields.text("upgrade_socket")?;
    let problem = |problem, mend| fields.problem("upgrade_socket", &place, problem, mend);
    if !value.starts_with('/') || value.contains(char::is_whitespace) || value.len() > listeners::SOCKET_PATH {
        problem("is not the path of a Unix socket", "write an absolute path of at most 107 bytes, without spaces");
    }
    if listeners.len() + usize::from(admin.address.is_some()) + usize::from(admin.socket.is_some()) > HANDED_OVER {
        problem("cannot take so many listeners", "configure 32 at most, the admin listener's two among them");
    }
    if admin.socket.as_ref().is_some_and(|path| path.to_string_lossy().contains(char::is_whitespace)) {
        problem("cannot take an admin socket with a space in its path", "choose another `admin.socket`");
    }
    Some(value.into())
}

fn development(top: &Fields<'_>) -> Option<Development> {
    let text = |name| top.text(name).map(|text| text.value);
    (text("environment")? == "development").then(|| Development {
        issuer: text("jwt_issuer").unwrap_or_default(),
        audience: text("jwt_audience").unwrap_or_default(),
        secret: top.secret("jwt_hs256_secret").map(|secret| secret.value),
    })
}

fn tool_names(top: &Fields<'_>) -> ToolNames {
    let names = top.table("mcp", &section::MCP).text("tool_names");
    match names.as_ref().map(|names| names.value.as_str()) {
        Some("dotted") => ToolNames::Dotted,
        _ => ToolNames::Underscored,
    }
}

fn docs(top: &Fields<'_>) -> Docs {
    match top.text("docs").map(|docs| docs.value).as_deref() {
        Some("public") => Docs::Public,
        Some("off") => Docs::Off,
        _ => Docs::Agents,
    }
}

fn logging(top: &Fields<'_>) -> Logging {
    let fields = top.table("logging", &section::LOGGING);
    let level = top.text("log_level").map(|level| level.value);
    let folder = top.text("log_dir").map(|path| path.value).filter(|folder| folder != "off");
    let bytes = |name| fields.size(name).and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX);
    let files = folder.map(|folder| LogFiles {
        folder: folder.into(),
        size: bytes("rotate_size"),
        every: Some(fields.time("rotate_every")).filter(|every| !every.is_zero()),
        keep: fields.number("keep").and_then(|keep| u32::try_from(keep).ok()).unwrap_or(1),
        keep_size: bytes("keep_size"),
    });
    Logging {
        level: match level.as_deref() {
            Some("trace") => Level::TRACE,
            Some("debug") => Level::DEBUG,
            Some("warn" | "warning") => Level::WARN,
            Some("error" | "critical") => Level::ERROR,
            _ => Level::INFO,
        },
        // Somewhere they have to go.
        stdout: fields.flag("stdout").unwrap_or(files.is_none()),
        files,
        requests: fields.flag("requests").unwrap_or(true),
        responses: fields.flag("responses").unwrap_or(true),
        server: fields.flag("server").unwrap_or(true),
        names: names(top, &fields),
    }
}

/// The form of names in the log of operations.
fn names(top: &Fields<'_>, fields: &Fields<'_>) -> Names {
    let given = fields.text("names");
    match given.as_ref().map(|names| names.value.as_str()) {
        Some("off") => Names::Off,
        Some("hmac") => audit::name_key_of(top).map_or_else(
            || {
                let mend = "give `audit.name_key` or `audit.name_transit_key`";
                fields.problem("names", &fields.place_of("names"), "needs a key", mend);
                Names::Off
            },
            Names::Hmac,
        ),
        _ => Names::Clear,
    }
}
