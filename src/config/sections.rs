//! The sections of the file, as part of the one table of options.

use super::kind::Kind;
use super::options::{DAYS_30, KIB, MIB, Opt, Section, choice, number, size, table, text, time, words};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

macro_rules! section {
    ($name:ident, $label:literal, $title:literal, $($option:expr),* $(,)?) => {
        pub(in crate::config) static $name: Section = Section { label: $label, title: $title, options: &[$($option),*] };
    };
}

mod otel;
mod policy;

pub(super) use otel::{OTEL, PROPAGATORS};
pub(super) use policy::{ABSOLUTE, AGENT, API_KEY, GRANT, HOURS, PRINCIPAL, RATE, ROLE, SUBJECT};

section! {
    LISTENER, "listeners", "[[listeners]]",
    text("address", "", "Address and port; required. Without `tls` a loopback address."),
    table("tls", "The server's own certificate; without it plain HTTP."),
    choice("client_certificates", &["off", "optional", "required"], "off", "Whether clients present certificates."),
    words("client_ca", "PEM files of the authorities that may issue them."),
    Opt::file("trust_domains", Kind::Tables, "", "The SPIFFE trust domains that are accepted; any where absent."),
    words("client_crl", "PEM or DER files of revocation lists; once there is one, every issuer in a client's chain needs its own."),
    choice("client_crl_expired", &["refuse", "warn"], "refuse", "Past a list's `nextUpdate`: refuse all that its issuer issued, or go on by it with a warning."),
    Opt::file("metrics", Kind::Flag, "false", "Whether `/metrics` is served here."),
    Opt::file("vault_api", Kind::Flag, "true", "Whether Vault's own API is served here, where `expose_vault_api` has it at all."),
    Opt::file("proxy_protocol", Kind::Flag, "false", "Whether connections of `trusted_proxies` begin with the client's address: the PROXY protocol, version 2, required of them and read from nobody else."),
}

section! {
    TLS, "listeners.tls", "[listeners.tls]",
    text("certificate", "", "PEM file of the certificate chain; required."),
    text("key", "", "PEM file of the private key; required."),
}

section! {
    TRUST_DOMAIN, "listeners.trust_domains", "[[listeners.trust_domains]]",
    text("name", "", "Its name, such as `corp.example`; required."),
    words("client_ca", "PEM files of the authorities that may issue its certificates, and nothing else; where absent, those of the listener may."),
}

section! {
    ADMIN, "admin", "[admin]",
    text("address", "127.0.0.1:9901", "Loopback address at which the gate's state is shown and nothing is changed, or `off`."),
    words("hosts", "Names by which that is asked (`Host`), besides `localhost` and loopback addresses; others are refused, since a page in a browser may have any."),
    text("socket", "", "Unix socket, mode 0600, for what changes state; at most 107 bytes, in a folder that is there."),
}

section! {
    SERVER, "server", "[server]",
    number("threads", (1, 1024), " the number of cores", "Worker threads."),
    time("drain", (0, HOUR), "30s", "How long open requests may take to end after SIGTERM."),
    text("upgrade_socket", "", "Unix socket by which a new gate, started with `--upgrade`, gets the listening sockets after SIGQUIT; in a folder of mode 0700. Without it SIGQUIT is as SIGTERM."),
}

section! {
    UPSTREAM, "upstream", "[upstream]",
    text("server_name", " the host of VAULT_ADDR", "The name Vault's certificate must carry."),
    text("ca_file", " the system's authorities", "PEM file of the authorities that may have issued it.").or_variable("VAULT_CACERT"),
    text("client_certificate", "", "PEM file of the certificate chain that the gate presents to Vault; read again every `resolve_interval`.").or_variable("VAULT_CLIENT_CERT"),
    text("client_key", "", "PEM file of its private key.").or_variable("VAULT_CLIENT_KEY"),
    time("connect_timeout", (10, MINUTE), "2s", "Longest time to connect, TLS included."),
    time("timeout", (100, 10 * MINUTE), "30s", "Longest time for an answer, from the first byte sent to the last one read; of one that is sent on as it arrives, the longest silence, and a twentieth of its whole time."),
    time("idle_timeout", (1000, 290_000), "90s", "How long an idle connection is kept; below Vault's own 5 minutes."),
    time("resolve_interval", (1000, HOUR), "10s", "How often the host name is looked up again."),
}

section! {
    APPROLE, "approle", "[approle]",
    text("mount", "approle", "Mount of the auth method."),
}

section! {
    LOGIN, "login", "[login]",
    table("jwt", "By a signed token (JWT) in a file."),
    table("kubernetes", "By the service account of the gate's pod."),
    table("certificate", "By `upstream.client_certificate`."),
}

section! {
    LOGIN_JWT, "login.jwt", "[login.jwt]",
    text("token_file", "", "File of the JWT, read at each login; required."),
    text("role", " the auth method's own default", "The role to log in as."),
    text("mount", "jwt", "Mount of the auth method."),
}

section! {
    LOGIN_KUBERNETES, "login.kubernetes", "[login.kubernetes]",
    text("role", "", "The role to log in as; required."),
    text("token_file", "/var/run/secrets/kubernetes.io/serviceaccount/token", "File of the service account's token, read at each login."),
    text("mount", "kubernetes", "Mount of the auth method."),
}

section! {
    LOGIN_CERTIFICATE, "login.certificate", "[login.certificate]",
    text("role", " any that the certificate fits", "The role to log in as."),
    text("mount", "cert", "Mount of the auth method."),
}

section! {
    VAULT, "vault", "[vault]",
    choice("identity", &["child", "jwt"], "child", "As whom Vault is asked: by agents' child tokens, or by what it gives for the JWT that each brings."),
    table("jwt", "Vault's auth method that takes those."),
}

section! {
    VAULT_JWT, "vault.jwt", "[vault.jwt]",
    text("role", " the auth method's own default", "The role to log in as."),
    text("mount", "jwt", "Mount of the auth method."),
}

section! {
    CHILD_TOKENS, "child_tokens", "[child_tokens]",
    choice("policies", &["per-agent", "templated"], "per-agent", "One policy per agent, or one templated policy for all."),
    Opt::file("entity_alias", Kind::Flag, " `true` with templated policies, else `false`", "Whether a token is of the agent's own entity in Vault, by its name as alias."),
    text("templated_policy", "portcullis-agent", "The templated policy."),
    text("role", " `portcullis`; `portcullis-templated` with templated policies", "The token role they are made through."),
    choice("type", &["batch", "service"], "batch", "Service tokens can be revoked and cost Vault more."),
    number("capacity", (1, 1_000_000), "10000", "Most tokens kept."),
}

section! {
    KV, "kv", "[kv]",
    text("shared_prefix", "shared", "What precedes shared paths in the KV tree; apart from DEFAULT_PREFIX."),
}

section! {
    HANDLES, "handles", "[handles]",
    text("key", "portcullis-handles", "Transit key that the keys of handles are derived from; made where it is missing."),
}

section! {
    LEASES, "leases", "[leases]",
    time("ttl", (60_000, DAYS_30 * 1000), "24h", "Longest life of a lease, renewals included; in whole seconds."),
    number("per_agent", (1, 10_000), "100", "Most live leases of one agent."),
    text("role", "portcullis-leases", "The token role that the leases' tokens are made through."),
    text("prefix", "portcullis", "What precedes the gate's record of leases in the KV tree; apart from agents' and shared paths."),
}

section! {
    WRAPPING, "wrapping", "[wrapping]",
    time("default_ttl", (1000, 24 * HOUR), "5m", "How long a wrapped answer waits where only the role asks for wrapping; in whole seconds."),
}

section! {
    VAULT_API, "vault_api", "[vault_api]",
    Opt::file("cert_logins", Kind::Words, " `cert`", "Mounts below `auth/` at which a client logs in with its certificate."),
    Opt::file("jwt_logins", Kind::Words, " `jwt`, `kubernetes`", "Mounts at which it logs in with a JWT that the gate takes as a bearer token."),
    Opt::file("approle_logins", Kind::Words, " `approle`", "Mounts at which it logs in with an agent's name as `role_id` and its API key as `secret_id`."),
    time("token_ttl", (MINUTE, 24 * HOUR), "1h", "How long a token lasts that such a login gives, unless its credential ends before."),
}

section! {
    MCP, "mcp", "[mcp]",
    choice("tool_names", &["dotted", "underscored"], "underscored", "How tools are shown: `kv_read`, which every model and client takes, or `kv.read`, as REST names the operation; both may be called."),
    time("keep_alive", (1000, 5 * MINUTE), "15s", "How often an open stream of events is sent a comment.").or_variable("SSE_KEEPALIVE_SECONDS"),
}

section! {
    IDENTITY, "identity", "[identity]",
    Opt::file("certificate", Kind::Words, "spiffe,uri,dns,email,cn,fingerprint", "Where a certificate's principal is looked for, in this order."),
    choice("unknown_agents", &["refuse", "own-namespace"], " `refuse`; `own-namespace` where no file names agents, roles or families", "What becomes of a principal that nothing maps."),
    text("unknown_source", " the only one there is", "Whose own names unknown agents have: `cn` (common names), `jwt` (subjects), or of several issuers one's name.").or_variable("UNKNOWN_SOURCE"),
    Opt::file("families", Kind::Tables, "", "Rules that map many principals."),
    Opt::file("issuers", Kind::Tables, "", "Whose JWTs are believed, beside the one of `JWT_*`."),
}

section! {
    ISSUER, "identity.issuers", "[[identity.issuers]]",
    text("name", "", "What `iss` says; required."),
    words("audiences", "Of which `aud` must name one; required."),
    text("jwks_url", "", "URL of its public keys (JWKS); exactly one of these three and `hs256_secret`."),
    text("jwks_file", "", "File of its public keys."),
    Opt::file("discovery", Kind::Flag, "false", "Whether the URL is asked of `name` (OpenID Connect Discovery)."),
    Opt::file("hs256_secret", Kind::Secret, "", "Shared secret of HS256 signatures, 32 bytes at least; fewer are a warning in development."),
    text("ca", "", "PEM file of the authorities of the server that keys are fetched from, instead of the system's."),
    time("refresh", (1000, 24 * HOUR), "5m", "How often keys are fetched; at once for a token of an unknown key."),
    time("keep", (MINUTE, DAYS_30 * 1000), "24h", "How long fetched keys are used while their server is away."),
    time("leeway", (0, 10 * MINUTE), "60s", "By how much clocks may differ, in whole seconds."),
    Opt::file("require_kid", Kind::Flag, "false", "Whether a token must name its key."),
    choice("binding", &["optional", "required", "certificate", "dpop"], "optional", "Whether a token must be bound to its sender (`cnf`): to a certificate or a DPoP key, or to one of these."),
    words("default_scopes", "Scopes of a token that has none of `scope`, `scopes` and `scp`."),
    text("subject_claim", "sub", "The claim that names the subject."),
    text("roles_claim", "groups", "The claim by which `roles` go: its name, or a JSON pointer into the claims."),
    Opt::file("roles", Kind::Tables, "", "Roles of agents without an entry; the first rule that fits decides."),
    text("vault_mount", " `vault.jwt.mount`", "Mount of Vault's auth method that takes its tokens, with `vault.identity = \"jwt\"`."),
    text("vault_role", " `vault.jwt.role`, but for a mount of its own", "The role to log in as there."),
}

section! {
    ROLE_RULE, "identity.issuers.roles", "[[identity.issuers.roles]]",
    text("value", "", "What the claim says, or one of a list that it has; required."),
    words("roles", "The roles, in the order in which they are asked; required."),
}

section! {
    FAMILY, "identity.families", "[[identity.families]]",
    text("spiffe", "", "SPIFFE ID with one `{name}`; exactly one of these six."),
    text("uri", "", "URI SAN with one `{name}`."),
    text("dns", "", "DNS SAN with one `{name}`."),
    text("email", "", "Email SAN with one `{name}`."),
    text("cn", "", "Common name with one `{name}`."),
    text("jwt", "", "Subject of a JWT with one `{name}`."),
    text("issuer", " the only one", "Of `jwt`: its issuer."),
    text("agent", "{name}", "The agent, with one `{name}`."),
    text("namespace", " VAULT_NAMESPACE", "Vault's namespace of these agents, where neither their entries nor their roles name one."),
}

section! {
    RATE_LIMIT, "rate_limit", "[rate_limit]",
    choice("backend", &["memory", "redis"], "memory", "Where rate limits are counted, used DPoP proofs known and events told: by each gate for itself, or by all of them together in Redis or Valkey.").or_variable("RATE_LIMIT_BACKEND"),
    text("url", "", "Where that is: `redis://` or `rediss://`, host, port, and the number of a database.").or_variable("REDIS_URL"),
    text("username", "", "Its user.").or_variable("REDIS_USERNAME"),
    Opt::file("password", Kind::Secret, "", "Its password.").or_variable("REDIS_PASSWORD"),
    text("ca", "", "PEM file of the authorities of its certificate, instead of the system's."),
    text("prefix", "portcullis", "What precedes the names of limits there: gates of one prefix share them."),
    time("timeout", (1, 5000), "50ms", "Longest time for it to answer; then this gate counts for itself until it is back."),
}

section! {
    LIMITS, "limits", "[limits]",
    size("body", (KIB, 64 * MIB), "1MiB", "Most bytes of a request's body."),
    size("answer", (KIB, 256 * MIB), " `body` and 1MiB", "Most bytes of an answer of Vault's that is held whole: tools', wrapped and issued ones."),
    size("head", (KIB, 256 * KIB), "16KiB", "Most bytes of a request's head."),
    time("head_timeout", (100, 5 * MINUTE), "10s", "Longest time for a TLS handshake, for the preface of HTTP/2 and for a head to arrive."),
    time("body_timeout", (100, 10 * MINUTE), "30s", "Longest time for a body to arrive."),
    size("body_rate", (1, MIB), "1KiB", "Least bytes a second of a body, after its first five seconds; what is slower gets 408."),
    time("idle_timeout", (1000, HOUR), "60s", "How long a connection is kept on which nothing is asked, in whole seconds; before the first request of HTTP/1.1 `head_timeout` counts instead."),
    number("connections", (1, 1_000_000), "10000", "Most open connections of callers; at most three quarters of the files that the process may open. The one that has been idle longest gives way to a new one, and one on which nobody has proved an identity before all others."),
    number("connections_per_source", (1, 1_000_000), " half of `connections`", "Most of them from one source address, trusted proxies excepted; its own idle ones give way."),
    number("connections_per_agent", (1, 1_000_000), " a quarter of `connections`", "Most of them that one agent asks on; what is above gets 429."),
    number("http2_streams", (1, 1000), "32", "Most requests at once on one HTTP/2 connection."),
    number("requests", (1, 1_000_000), "4096", "Most requests that are worked on at once; what is above gets 503."),
    number("requests_per_source", (1, 1_000_000), " half of `requests`", "Most of them from one source address, trusted proxies excepted; what is above gets 429."),
    number("concurrent", (1, 100_000), " 4 for each of `server.threads`", "Most requests of one agent that are served at once."),
    number("queue", (0, 100_000), "256", "Most requests of one agent that wait for others of its own; what is above gets 429."),
    time("queue_timeout", (10, 5 * MINUTE), "10s", "Longest time for a request to wait so."),
    size("bodies_in_flight", (KIB, 64 << 30), "64MiB", "Most bytes of request bodies held at once, as they arrive; what is above gets 503."),
    size("bodies_per_agent", (KIB, 64 << 30), " a quarter of `bodies_in_flight`, at least `body`", "Most of them of one agent; what is above gets 429."),
    number("json_depth", (1, 120), "100", "Most levels of objects and lists in a request's JSON; what is above this and the next three gets 422. Below Vault's `max_json_*`, which answer 500."),
    number("json_members", (1, 1_000_000), "10000", "Most members of one object, or items of one list, in it."),
    size("json_text", (KIB, 64 * MIB), "1MiB", "Most bytes of one text, name or number in it."),
    number("json_tokens", (100, 100_000_000), "499000", "Most names, values, brackets, commas and colons in it, together."),
    number("batch", (1, 1000), "32", "Most messages in one MCP batch."),
    number("streams", (1, 1_000_000), "4096", "Most open streams of events; what is above gets 503."),
    number("streams_per_agent", (1, 10_000), "8", "Most of them of one agent; what is above gets 429."),
    table("rate", "Of all agents together; none where absent."),
    Opt::file("operations", Kind::Named, "", "Of one operation, for each agent: `\"db.issue_creds\" = { requests = 10, per = \"1h\" }`."),
    table("failed_authentications", "Failures of one source address; `{ requests = 30, per = \"60s\" }` where absent."),
}

section! {
    METRICS, "metrics", "[metrics]",
    Opt::file("agents", Kind::Flag, "false", "Whether `/metrics` counts the requests of each agent that has an entry, of the first 1,000 by name; those of all others are counted together."),
}

section! {
    LOGGING, "logging", "[logging]",
    Opt::file("requests", Kind::Flag, "true", "Whether one line per request is written: `requests.log`."),
    Opt::file("responses", Kind::Flag, "true", "Whether one line per operation is written: `responses.log`."),
    Opt::file("server", Kind::Flag, "true", "Whether the server log goes to `server.log` beside standard error."),
    Opt::file("stdout", Kind::Flag, " `false`; `true` where LOG_DIR is `off`", "Whether requests and operations are told on standard output too."),
    choice("names", &["clear", "hmac", "off"], "clear", "How lines of operations name secrets, keys and roles: as they are, by their HMAC-SHA256 with the audit's key, or not at all."),
    size("rotate_size", (64 * KIB, 1 << 40), "64MiB", "Size from which a file is set aside, as its name with `.1` behind it."),
    time("rotate_every", (MINUTE, 366 * 24 * HOUR), " no time", "Age from which it is set aside."),
    number("keep", (1, 100_000), "5", "Most files of one log that are kept aside."),
    size("keep_size", (64 * KIB, 1 << 50), "1GiB", "Most bytes of them together."),
}

section! {
    AUDIT, "audit", "[audit]",
    text("file", "", "File of records; made where it is missing, in a folder that is there."),
    Opt::file("stdout", Kind::Flag, "false", "Whether records go to standard output."),
    text("syslog", "", "Syslog server that records go to (RFC 5424): `udp://`, `tcp://` or `tls://`, host, port."),
    text("syslog_ca", "", "PEM file of the authorities of its certificate; needed for `tls://`."),
    Opt::file("otlp", Kind::Flag, "false", "Whether records go to a collector, by OTLP over HTTP: the one that `[otel]` or its variables name."),
    Opt::file("required", Kind::Flag, "false", "Whether an operation is refused where its record cannot be written to the file first."),
    choice("sync", &["batch", "each"], "batch", "When records are synced to the disk: every 200 ms, or each before it counts as written."),
    choice("names", &["hmac", "clear"], "hmac", "How secrets, keys and roles are named: by their HMAC-SHA256, or as they are."),
    text("name_key", "", "File of the HMACs' key; needed for `hmac`, or the next one."),
    text("name_transit_key", "", "Transit key in Vault that the HMACs' key is derived from; made where it is missing."),
    text("checkpoint_key", "", "File of the Ed25519 key that signs checkpoints; without it or the next one there are none."),
    text("checkpoint_transit_key", "", "Transit key in Vault that signs them, which is their name too; made, as an Ed25519 key, where it is missing."),
    time("checkpoint_every", (1000, 24 * HOUR), "1m", "How often a checkpoint is written, where there are new records; also when the file is set aside, and at the end."),
    size("rotate_size", (64 * KIB, 1 << 40), "256MiB", "Size from which the file is set aside, as its name with `.1` behind it."),
    time("rotate_every", (MINUTE, 366 * 24 * HOUR), " no time", "Age from which it is set aside."),
    number("keep", (1, 100_000), "10", "Most files that are kept aside; the oldest is removed."),
}

/// Every section but for those of engines, in the order of the reference.
pub(super) static ALL: [&Section; 40] = [
    &super::options::TOP,
    &LISTENER,
    &TLS,
    &TRUST_DOMAIN,
    &ADMIN,
    &SERVER,
    &UPSTREAM,
    &APPROLE,
    &LOGIN,
    &LOGIN_JWT,
    &LOGIN_KUBERNETES,
    &LOGIN_CERTIFICATE,
    &VAULT,
    &VAULT_JWT,
    &CHILD_TOKENS,
    &KV,
    &HANDLES,
    &LEASES,
    &WRAPPING,
    &VAULT_API,
    &MCP,
    &IDENTITY,
    &FAMILY,
    &ISSUER,
    &ROLE_RULE,
    &ROLE,
    &GRANT,
    &ABSOLUTE,
    &HOURS,
    &AGENT,
    &PRINCIPAL,
    &SUBJECT,
    &API_KEY,
    &RATE,
    &RATE_LIMIT,
    &LIMITS,
    &METRICS,
    &LOGGING,
    &AUDIT,
    &OTEL,
];
