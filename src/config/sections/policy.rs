//! Sections of roles, agents and their credentials.

use crate::config::kind::Kind;
use crate::config::options::{DAYS_30, KIB, MIB, Opt, Section, choice, number, size, table, text, time, words};

const fn grants(name: &'static str, about: &'static str) -> Opt {
    Opt::file(name, Kind::Grants, "", about)
}

section! {
    ROLE, "roles.*", "[roles.NAME]",
    words("scopes", "Of `read`, `write`, `delete`, `list`; required."),
    text("about", "", "What it is for, which its agents are told by `whoami` and `access.list`: at most 200 characters, none of them invisible."),
    grants("kv", "Paths in the agent's own namespace: literal segments, `*` for one, `**` for the rest."),
    grants("shared", "Paths below the shared prefix."),
    Opt::file("vault", Kind::Tables, "", "Vault's own paths, of whichever engine, for clients that speak Vault's API."),
    words("deny", "Paths of the own namespace that are refused whatever else says."),
    words("ssh_principals", "User names that SSH may log in as, of which a request names some; where absent, what Vault's role allows."),
    words("ssh_extensions", "Extensions that SSH certificates may carry, and do where a request names none; where absent, what Vault's role allows."),
    time("max_ttl", (1000, DAYS_30 * 1000), "", "Longest life of SSH and PKI certificates, in whole seconds, and theirs where a request names none."),
    choice("wrap", &["optional", "required"], "optional", "Whether secret material is answered as a handle only."),
    choice("mode", &["enforce", "observe"], "enforce", "`observe`: it is asked after all roles that enforce, and what it alone allows is recorded as observed."),
    words("tools", "Tools that MCP shows of those that it gives, such as `kv_read` or `kv.*`; where absent, all. It bounds no call."),
    words("confirm", "Operations that change something, such as `kv.destroy`, and over MCP are confirmed by the client's user first."),
    Opt::file("observe", Kind::Flag, "false", "Whether its agents may look at what operators look at, on any listener: every agent's logs, `/admin/agents`, `/admin/config`."),
    table("rate", "The role's own limit."),
    size("body", (KIB, 64 * MIB), " `limits.body`", "Most bytes of a request's body, on MCP of a tool's arguments; not more than `limits.body`."),
    words("sources", "Networks, such as `10.0.0.0/8`, from which the role holds; where absent, from anywhere."),
    table("hours", "When the role holds; where absent, always."),
    text("namespace", " its family's", "Vault's namespace of the agents that have it, by its whole path; two roles of an agent may not name two."),
}

section! {
    GRANT, "grant", "kv = [{…}]",
    text("name", "", "What would stand in its place alone: a path, or the name of a key or role; required."),
    text("about", "", "What it is for, instead of what the role's `about` says; as there."),
}

section! {
    ABSOLUTE, "roles.*.vault", "vault = [{…}]",
    text("path", "", "Vault's own path, as its policies write it: `+` for one whole segment, `*` at the end for the rest; required. Of the paths of one role that fit, the most specific decides, as in a policy."),
    words("capabilities", "Of `create`, `read`, `update`, `patch`, `delete`, `list`, each within the role's scopes; or `deny` alone, which wins over every other role. Required."),
    Opt::file("dangerous", Kind::Flag, "false", "Whether it may reach `sys/`, `auth/`, `identity/`, agents' own namespaces or the gate's own records; it is told at each start."),
}

section! {
    HOURS, "roles.*.hours", "hours = {…}",
    text("from", "00:00", "Time of the day at which the role begins to hold."),
    text("to", "24:00", "Time of the day from which it no longer does; where earlier than `from`, of the next day."),
    words("days", "Days on which it begins to: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`; where absent, every day."),
    text("zone", "", "Time zone of these, by its name in the tz database, such as `Europe/Berlin`; required."),
}

section! {
    AGENT, "agents.*", "[agents.NAME]",
    number("generation", (1, 4_000_000_000), "1", "Raise it when the name is given to somebody else: what was issued before is not theirs."),
    Opt::file("suspended", Kind::Flag, "false", "Whether it may do nothing for now; see `portcullis suspend` too."),
    Opt::file("roles", Kind::Words, " the built-in `own-namespace`", "Its roles, in the order in which they are asked; `[]` for none."),
    text("namespace", " that of its roles", "Vault's namespace that all of its own is in, by its whole path; VAULT_NAMESPACE or one below."),
    table("rate", "Its own limit, instead of `RATE_LIMIT_*`."),
    number("concurrent", (1, 100_000), " `limits.concurrent`", "Most of its requests that are served at once."),
    Opt::file("certificate", Kind::Tables, "", "The certificates it presents."),
    Opt::file("jwt", Kind::Tables, "", "The subjects of its JWTs."),
    Opt::file("api_keys", Kind::Tables, "", "Its API keys, by digest."),
}

section! {
    RATE, "rate", "rate = {…}",
    number("requests", (1, 10_000_000), "", "Requests per period; required."),
    time("per", (1, DAYS_30 * 1000), "60s", "The period."),
    number("burst", (1, 10_000_000), " the requests", "How many may come at once."),
}

section! {
    PRINCIPAL, "agents.*.certificate", "certificate = {…}",
    text("spiffe", "", "SPIFFE ID."),
    text("uri", "", "URI SAN."),
    text("dns", "", "DNS SAN."),
    text("email", "", "Email SAN."),
    text("cn", "", "Common name."),
    text("fingerprint", "", "SHA-256 of the certificate, 64 hexadecimal digits."),
}

section! {
    SUBJECT, "agents.*.jwt", "jwt = {…}",
    text("subject", "", "What the claim `sub` says; required."),
    text("issuer", " the only one", "Its issuer."),
}

section! {
    API_KEY, "agents.*.api_keys", "api_keys = [{…}]",
    text("sha256", "", "SHA-256 of the key, 64 hexadecimal digits; required."),
    text("expires", "", "Until when it is valid (RFC 3339)."),
}
