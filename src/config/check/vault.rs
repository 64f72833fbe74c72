//! The settings of agents' tokens and leases, and the layout in Vault.

use filters::catalog::SSH;
use filters::grants::Engine;
use filters::vault::Layout;

use super::super::fields::{Fields, Sited};
use super::super::options::Section;
use super::super::report::Place;
use super::super::sections as section;
use super::super::settings::{ChildPolicies, ChildTokens, Leases, VaultIdentity};
use super::jwt::Issuers;
use super::values::{plain_name, plain_path, whole_seconds};

/// As whom Vault is asked for agents.
pub(super) fn identity(top: &Fields<'_>, issuers: &Issuers) -> VaultIdentity {
    let fields = top.table("vault", &section::VAULT);
    if !is_by_jwt(top) {
        if fields.given("jwt") {
            let text = "`vault.jwt` is not used while `vault.identity` is `child`";
            top.source.findings.warning(&fields.place_of("jwt"), text);
        }
        return VaultIdentity::Child;
    }
    if issuers.list.is_empty() {
        let mend = "configure an issuer and leave AUTH_JWT_ENABLED on, or use `child`";
        fields.problem("identity", &fields.place_of("identity"), "needs JWTs, and none would be believed", mend);
    }
    VaultIdentity::Jwt(issuers.logins.clone())
}

fn is_by_jwt(top: &Fields<'_>) -> bool {
    top.table("vault", &section::VAULT).text("identity").is_some_and(|identity| identity.value == "jwt")
}

/// The settings of agents' tokens.
pub(super) fn child_tokens(top: &Fields<'_>) -> ChildTokens {
    let fields = top.table("child_tokens", &section::CHILD_TOKENS);
    let enabled = top.flag("child_token_enabled").unwrap_or(true);
    if !enabled {
        let text = match is_by_jwt(top) {
            true => "`child_token_enabled` is not used while `vault.identity` is `jwt`",
            false => "child tokens are off: every agent acts in Vault with the gate's own rights",
        };
        top.source.findings.warning(&top.place_of("child_token_enabled"), text);
    }
    let templated = fields.text("policies").is_some_and(|text| text.value == "templated");
    let prefix = policy_prefix(top);
    let policy = policy_name(&fields);
    let role = plain_name(&fields, "role").map(|role| role.value);
    let default_role = if templated { "portcullis-templated" } else { "portcullis" };
    ChildTokens {
        enabled,
        ttl: whole_seconds(top, "child_token_ttl"),
        entity_alias: entity_alias(&fields, templated),
        policies: if templated { ChildPolicies::Templated(policy) } else { ChildPolicies::PerAgent(prefix) },
        role: role.unwrap_or_else(|| default_role.to_owned()),
        batch: fields.text("type").is_none_or(|text| text.value == "batch"),
        capacity: fields.number("capacity").unwrap_or(0),
    }
}

fn entity_alias(fields: &Fields<'_>, templated: bool) -> bool {
    match fields.flag("entity_alias") {
        Some(false) if templated => {
            let mend = "leave it out, or use `per-agent` policies";
            fields.problem(
                "entity_alias",
                &fields.place_of("entity_alias"),
                "is what a templated policy goes by",
                mend,
            );
            true
        }
        given => given.unwrap_or(templated),
    }
}

/// The settings of leases.
pub(super) fn leases(top: &Fields<'_>) -> Leases {
    let fields = top.table("leases", &section::LEASES);
    Leases {
        ttl: whole_seconds(&fields, "ttl"),
        per_agent: fields.size("per_agent").unwrap_or(0),
        role: plain_name(&fields, "role").map(|role| role.value).unwrap_or_default(),
        password_ttl: password_ttl(top),
    }
}

fn password_ttl(top: &Fields<'_>) -> u32 {
    let mut engines = top.source.table.engines.iter();
    let ssh = engines.find(|(engine, _)| *engine == SSH);
    ssh.map_or(0, |(_, section)| whole_seconds(&top.table(SSH.name(), section), "otp_ttl"))
}

/// Seconds that a wrapped answer waits where only the role asks for wrapping.
pub(super) fn wrap_ttl(top: &Fields<'_>) -> u32 {
    whole_seconds(&top.table("wrapping", &section::WRAPPING), "default_ttl")
}

/// With a prefix of `root`, an agent could come to be named after Vault's root policy.
fn policy_prefix(top: &Fields<'_>) -> String {
    let name = "child_token_policy_prefix";
    let Some(Sited { place, value }) = top.text(name) else { return String::new() };
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if !value.bytes().all(fits) {
        top.problem(name, &place, "cannot begin a policy's name", "use lower-case letters, digits, `.`, `_` and `-`");
    } else if ["root", "default"].into_iter().any(|builtin| builtin.starts_with(&value)) {
        top.problem(name, &place, "begins a policy of Vault's own", "use another, such as `mcp-agent-`");
    }
    value
}

fn policy_name(fields: &Fields<'_>) -> String {
    let Some(Sited { place, value }) = plain_name(fields, "templated_policy") else { return String::new() };
    if ["root", "default"].contains(&value.to_ascii_lowercase().as_str()) {
        fields.problem(
            "templated_policy",
            &place,
            "is a policy of Vault's own",
            "use another, such as `portcullis-agent`",
        );
    }
    value
}

/// Where things lie in Vault: nothing inside something else.
pub(super) fn layout(top: &Fields<'_>) -> Layout {
    let kv = top.table("kv", &section::KV);
    let own = plain_path(top, "default_prefix");
    let shared = plain_path(&kv, "shared_prefix");
    apart(&kv, "shared_prefix", shared.as_ref(), own.as_ref(), "`default_prefix`");
    let leases = top.table("leases", &section::LEASES);
    let gate = plain_path(&leases, "prefix");
    apart(&leases, "prefix", gate.as_ref(), own.as_ref(), "`default_prefix`");
    apart(&leases, "prefix", gate.as_ref(), shared.as_ref(), "`kv.shared_prefix`");
    Layout {
        kv_mount: text(plain_path(top, "kv_mount")),
        mounts: mounts(top),
        own_prefix: text(own),
        shared_prefix: text(shared),
        gate_prefix: text(gate),
        handle_key: text(plain_name(&top.table("handles", &section::HANDLES), "key")),
        audit_keys: super::audit::transit_keys(top),
        kms_default_key: super::kms::default_key(top),
    }
}

/// The mounts of the engines beside KV, apart from each other and from it.
fn mounts(top: &Fields<'_>) -> Vec<(Engine, Box<str>)> {
    let mut before = vec![("`kv_mount`".to_owned(), top.text("kv_mount"))];
    let mut mount = |(engine, section): &'static (Engine, Section)| {
        let fields = top.table(engine.name(), section);
        let mount = plain_path(&fields, "mount");
        for (label, other) in &before {
            apart(&fields, "mount", mount.as_ref(), other.as_ref(), label);
        }
        before.push((fields.label("mount"), fields.text("mount")));
        (*engine, text(mount))
    };
    top.source.table.engines.iter().map(&mut mount).collect()
}

fn text(found: Option<Sited<String>>) -> Box<str> {
    found.map(|text| text.value).unwrap_or_default().into_boxed_str()
}

fn apart(fields: &Fields<'_>, name: &str, one: Option<&Sited<String>>, other: Option<&Sited<String>>, label: &str) {
    let (Some(one), Some(other)) = (one, other) else { return };
    if is_within(&one.value, &other.value) || is_within(&other.value, &one.value) {
        let place = if one.place == Place::Nowhere { &other.place } else { &one.place };
        let mend = format!("choose another, or another {label}");
        fields.problem(name, place, &format!("is the same as {label}, or one lies within the other"), &mend);
    }
}

fn is_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
