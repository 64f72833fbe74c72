//! The one table of options: the readers of the file, the environment and the
//! flags are made from it, and so is the reference.
//!
//! [`TOP`] lies here; the file's sections are in [`super::sections`], and what follows from the
//! engines of a catalog is added in [`super::table`].

use super::kind::Kind;

/// One option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opt {
    /// Its key in the file; upper case is accepted too.
    pub(super) name: &'static str,
    /// Its variable in the environment.
    pub(super) variable: Option<&'static str>,
    /// Its flag on the command line.
    pub(super) flag: Option<&'static str>,
    /// The kind of value that it takes.
    pub(super) kind: Kind,
    /// Its default, read as a variable's text would be; shown only where it
    /// begins with a space; empty for none.
    pub(super) default: &'static str,
    /// One line of the reference.
    pub(super) text: &'static str,
}

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// As it stands before a dot: `upstream`, `roles.*`; empty for the top.
    pub(super) label: &'static str,
    /// As it stands in a TOML file.
    pub(super) title: &'static str,
    /// Its options.
    pub(super) options: &'static [Opt],
}

impl Opt {
    /// An option of the file.
    pub(super) const fn file(name: &'static str, kind: Kind, default: &'static str, text: &'static str) -> Self {
        Self { name, variable: None, flag: None, kind, default, text }
    }

    /// The same, from the environment too.
    pub(super) const fn or_variable(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    /// The same, from the command line too.
    const fn or_flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }
}

/// An option of the environment and the file.
const fn both(
    variable: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    text: &'static str,
) -> Opt {
    Opt::file(name, kind, default, text).or_variable(variable)
}

/// An option of the file that takes a text.
pub(super) const fn text(name: &'static str, default: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Text, default, about)
}

/// An option of the file that takes a list of words.
pub(super) const fn words(name: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Words, "", about)
}

/// An option of the file that takes a time, within bounds in milliseconds.
pub(super) const fn time(name: &'static str, bounds: (u64, u64), default: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Time(bounds.0, bounds.1), default, about)
}

/// An option of the file that takes a number, within bounds.
pub(super) const fn number(name: &'static str, bounds: (u64, u64), default: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Number(bounds.0, bounds.1), default, about)
}

/// An option of the file that takes a number of bytes, within bounds.
pub(super) const fn size(name: &'static str, bounds: (u64, u64), default: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Size(bounds.0, bounds.1), default, about)
}

/// An option of the file that takes one of some words.
pub(super) const fn choice(
    name: &'static str,
    of: &'static [&'static str],
    default: &'static str,
    about: &'static str,
) -> Opt {
    Opt::file(name, Kind::Choice(of), default, about)
}

/// An option of the file that takes a table.
pub(super) const fn table(name: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Table, "", about)
}

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const DAYS_30: u64 = 30 * 86_400;
const PORT: Kind = Kind::Number(1, 65_535);
const LEVELS: Kind = Kind::Choice(&["trace", "debug", "info", "warn", "warning", "error", "critical"]);

const DOCS: Kind = Kind::Choice(&["agents", "public", "off"]);

/// The top of the file, and the environment, but for what follows from engines.
pub(super) static TOP: Section = Section { label: "", title: "Top level", options: &OPTIONS };

#[rustfmt::skip]
static OPTIONS: [Opt; 79] = [
    both("VAULT_ADDR", "vault_addr", Kind::Text, "http://localhost:8200", "Where Vault or OpenBao is: `http://` or `https://`, host, port."),
    both("VAULT_NAMESPACE", "vault_namespace", Kind::Text, "", "The gate's own namespace in Vault (Enterprise, OpenBao), and that of agents for which no other is named."),
    both("VAULT_TOKEN", "vault_token", Kind::Secret, "", "The gate's own Vault token; AppRole goes first where both are given."),
    both("VAULT_TOKEN_FILE", "vault_token_file", Kind::Text, "", "File of the gate's own Vault token, as Vault Agent writes it; read at each login and when it changes."),
    both("VAULT_ROLE_ID", "vault_role_id", Kind::Text, "", "AppRole: role id."),
    both("VAULT_SECRET_ID", "vault_secret_id", Kind::Secret, "", "AppRole: secret id."),
    both("KV_MOUNT", "kv_mount", Kind::Text, "secret", "Mount of the KV version 2 engine."),
    both("DEFAULT_PREFIX", "default_prefix", Kind::Text, "mcp", "What precedes the agent's name in the KV tree."),
    both("AUTH_API_KEY_ENABLED", "auth_api_key_enabled", Kind::Flag, "true", "Whether API keys are accepted (`X-API-Key`)."),
    both("AUTH_JWT_ENABLED", "auth_jwt_enabled", Kind::Flag, "true", "Whether JWTs are accepted (`Authorization: Bearer` or `DPoP`)."),
    both("AUTH_MTLS_ENABLED", "auth_mtls_enabled", Kind::Flag, "false", "Whether the identity header of a trusted proxy is accepted."),
    both("API_KEYS_JSON", "api_keys_json", Kind::Keys, "", "JSON map `{\"<api key>\": \"<agent>\"}`; prefer digests in `[agents.NAME]`."),
    both("JWT_ISSUER", "jwt_issuer", Kind::Text, "mcp-auth", "The issuer that a JWT must name (`iss`)."),
    both("JWT_AUDIENCE", "jwt_audience", Kind::Text, "mcp-agents", "The audience that a JWT must name (`aud`)."),
    both("JWT_HS256_SECRET", "jwt_hs256_secret", Kind::Secret, "", "Shared secret of HS256 signatures, 32 bytes at least; fewer are a warning in development."),
    both("JWT_DEFAULT_SCOPES", "jwt_default_scopes", Kind::Words, "", "Scopes of a token that has none of `scope`, `scopes` and `scp`."),
    both("JWT_JWKS_URL", "jwt_jwks_url", Kind::Text, "", "URL of the issuer's public keys (JWKS)."),
    both("JWT_JWKS_FILE", "jwt_jwks_file", Kind::Text, "", "File of the issuer's public keys (JWKS): RSA, P-256, P-384, Ed25519; not together with the URL."),
    both("JWT_JWKS_CACHE_SECONDS", "jwt_jwks_cache_seconds", Kind::Number(1, 86_400), "300", "How often they are fetched; at once for a token of an unknown key."),
    both("JWT_REQUIRE_KID", "jwt_require_kid", Kind::Flag, "false", "Whether a JWT must name its key."),
    both("JWT_VALIDATE_ISSUER", "jwt_validate_issuer", Kind::Flag, "true", "Whether the issuer is checked."),
    both("JWT_VALIDATE_AUDIENCE", "jwt_validate_audience", Kind::Flag, "true", "Whether the audience is checked."),
    both("MTLS_IDENTITY_HEADER", "mtls_identity_header", Kind::Text, "x-ssl-client-s-dn", "Header in which a trusted proxy names its client."),
    both("MTLS_VERIFY_HEADER", "mtls_verify_header", Kind::Text, "x-ssl-client-verify", "Header in which it says `SUCCESS`."),
    both("MTLS_SUBJECT_CN_PREFIX", "mtls_subject_cn_prefix", Kind::Text, "CN=", "What precedes the common name in the distinguished name."),
    both("TRUSTED_PROXIES", "trusted_proxies", Kind::Words, "", "Networks of proxies that are believed, such as `10.0.0.0/8`: their identity header, their `X-Forwarded-For`, their PROXY protocol."),
    both("FORWARDED_FOR", "forwarded_for", Kind::Flag, "false", "Whether trusted proxies tell the client's address in `X-Forwarded-For`; each must add to it what it was asked from."),
    both("CHILD_TOKEN_ENABLED", "child_token_enabled", Kind::Flag, "true", "Whether each agent acts with a short-lived token of its own."),
    both("CHILD_TOKEN_TTL", "child_token_ttl", Kind::Time(5_000, 86_400_000), "90s", "How long such a token lives, in whole seconds."),
    both("CHILD_TOKEN_POLICY_PREFIX", "child_token_policy_prefix", Kind::Text, "mcp-agent-", "What precedes the agent's name in the name of its policy."),
    both("RATE_LIMIT_ENABLED", "rate_limit_enabled", Kind::Flag, "true", "Whether requests are limited at all."),
    both("RATE_LIMIT_REQUESTS", "rate_limit_requests", Kind::Number(1, 10_000_000), "60", "Requests of one agent per window."),
    both("RATE_LIMIT_WINDOW_SECONDS", "rate_limit_window_seconds", Kind::Number(1, DAYS_30), "60", "The window, in seconds."),
    both("HOST", "host", Kind::Text, "127.0.0.1", "Loopback address of the plain-HTTP listener.").or_flag("--host"),
    both("PORT", "port", PORT, "8089", "Port of the plain-HTTP listener.").or_flag("--port"),
    Opt::file("plain", Kind::Flag, " `true` without listeners, or with HOST or PORT", "Whether HOST:PORT is listened on."),
    Opt::file("plain_metrics", Kind::Flag, "false", "Whether `/metrics` is served on HOST:PORT."),
    both("TLS_PORT", "tls_port", PORT, "", "Port of the first TLS listener, instead of the one in its address."),
    both("ADMIN_PORT", "admin_port", PORT, "", "Port of the admin listener, instead of the one in its address."),
    both("APP_ENV", "environment", Kind::Choice(&["production", "development"]), "production", "What this gate is for; `portcullis jwt` mints tokens where it is `development`."),
    both("RELOAD", "reload", Kind::Flag, "false", "Whether the files are watched and reloaded.").or_flag("--reload"),
    both("LOG_LEVEL", "log_level", LEVELS, "info", "Least severe level of the server log.").or_flag("--log-level"),
    both("LOG_DIR", "log_dir", Kind::Text, "./logs", "Folder of `requests.log`, `responses.log` and `server.log`; made where it is missing. `off` for none: to standard output and standard error alone."),
    both("EXPOSE_VAULT_API", "expose_vault_api", Kind::Flag, "true", "Whether Vault's own API is there, below /v1, for unchanged clients of Vault."),
    both("EXPOSE_REST_ROUTES", "expose_rest_routes", Kind::Flag, "true", "Whether the REST surface is there; MCP, health and metadata always are."),
    both("DOCS", "docs", DOCS, "agents", "Who sees `/openapi.json`, `/docs` and `/redoc`: agents with a credential, anyone, or nobody."),
    both("PUBLIC_URL", "public_url", Kind::Text, "", "How callers reach the gate, such as `https://gate.example`: an audience that tokens may name, it and its `/mcp`, what OAuth clients are told, and what DPoP proofs must name; as requests have it where absent."),
    both("CORS_ALLOW_ORIGINS", "cors_allow_origins", Kind::Words, "", "Origins whose pages may call beside the gate's own, such as `https://inspector.example`."),
    both("AWS_KMS_ENABLED", "aws_kms_enabled", Kind::Flag, "false", "Whether AWS KMS is offered; without, its operations answer 503."),
    both("AWS_REGION", "aws_region", Kind::Text, "", "AWS region; of AWS's own configuration where absent."),
    both("AWS_KMS_DEFAULT_KEY_ID", "aws_kms_default_key_id", Kind::Text, "", "Key of requests that name none."),
    both("AWS_KMS_ENDPOINT", "aws_kms_endpoint", Kind::Text, "", "KMS endpoint, instead of the region's."),
    both("AWS_ACCESS_KEY_ID", "aws_access_key_id", Kind::Secret, "", "AWS credentials; where absent, they are found as AWS's own tools find them."),
    both("AWS_SECRET_ACCESS_KEY", "aws_secret_access_key", Kind::Secret, "", "AWS credentials."),
    both("AWS_SESSION_TOKEN", "aws_session_token", Kind::Secret, "", "AWS credentials, where they are temporary."),
    Opt::file("listeners", Kind::Tables, "", "Where callers connect."),
    Opt::file("admin", Kind::Table, "", "Where operators connect."),
    Opt::file("server", Kind::Table, "", "The process."),
    Opt::file("upstream", Kind::Table, "", "How Vault is reached."),
    Opt::file("approle", Kind::Table, "", "The gate's own login by AppRole."),
    Opt::file("login", Kind::Table, "", "Other ways to log in: exactly one of all is configured."),
    Opt::file("vault", Kind::Table, "", "As whom Vault is asked for agents."),
    Opt::file("child_tokens", Kind::Table, "", "What agents' tokens are like."),
    Opt::file("kv", Kind::Table, "", "The KV engine."),
    Opt::file("handles", Kind::Table, "", "What agents get instead of leases' ids and the like."),
    Opt::file("leases", Kind::Table, "", "Leases of agents."),
    Opt::file("wrapping", Kind::Table, "", "Wrapped answers."),
    Opt::file("vault_api", Kind::Table, "", "Vault's own API."),
    Opt::file("mcp", Kind::Table, "", "The MCP surface."),
    Opt::file("identity", Kind::Table, "", "From principals to agents."),
    Opt::file("include", Kind::Words, "", "Folders, from where this file is, whose `.toml`, `.yaml`, `.yml` and `.json` files hold more `roles`, `agents` and `identity.families`."),
    Opt::file("roles", Kind::Named, "", "What may be done."),
    Opt::file("agents", Kind::Named, "", "Who may do it."),
    Opt::file("rate_limit", Kind::Table, "", "Where rate limits are counted."),
    Opt::file("limits", Kind::Table, "", "Bounds."),
    Opt::file("metrics", Kind::Table, "", "Metrics."),
    Opt::file("logging", Kind::Table, "", "Logs."),
    Opt::file("otel", Kind::Table, "", "Traces, and where collectors are, by OpenTelemetry's variables: no traces unless an endpoint is given."),
    Opt::file("audit", Kind::Table, "", "The audit: off unless it is told where records go."),
];
