//! How the gate logs in to Vault, what agents' tokens are like, where things lie.

use filters::vault::Layout;

use super::super::fields::{Fields, Sited};
use super::super::report::Place;
use super::super::sections as section;
use super::super::settings::{ChildPolicies, ChildTokens, Login};
use super::{plain_name, plain_path};

/// How the gate logs in; AppRole goes before a token that happens to be exported.
pub(super) fn login(top: &Fields<'_>) -> Login {
    let findings = &top.source.findings;
    let mount = plain_path(&top.table("approle", &section::APPROLE), "mount");
    let (role, secret, token) = (top.text("vault_role_id"), top.secret("vault_secret_id"), top.secret("vault_token"));
    match (role, secret, token) {
        (Some(role), Some(secret), token) => {
            if let Some(token) = token {
                findings.warning(&token.place, "`vault_token` is not used: the gate logs in by AppRole");
            }
            let mount = mount.map(|mount| mount.value).unwrap_or_default();
            Login::AppRole { mount, role_id: role.value, secret_id: secret.value }
        }
        (Some(role), None, _) => one_half(top, "vault_secret_id", &role.place),
        (None, Some(secret), _) => one_half(top, "vault_role_id", &secret.place),
        (None, None, Some(token)) => Login::Token(token.value),
        (None, None, None) => {
            let given = ["vault_role_id", "vault_secret_id", "vault_token"].into_iter().any(|name| top.given(name));
            if !given {
                let text =
                    "no credentials for Vault: the gate starts and answers 503; set VAULT_ROLE_ID and VAULT_SECRET_ID";
                findings.warning(&Place::Nowhere, text);
            }
            Login::None
        }
    }
}

fn one_half(top: &Fields<'_>, missing: &str, place: &Place) -> Login {
    if !top.given(missing) {
        top.problem(
            missing,
            place,
            "is missing",
            "AppRole needs both VAULT_ROLE_ID and VAULT_SECRET_ID; give both or neither",
        );
    }
    Login::None
}

/// What agents' tokens are like.
pub(super) fn child_tokens(top: &Fields<'_>) -> ChildTokens {
    let fields = top.table("child_tokens", &section::CHILD_TOKENS);
    let enabled = top.flag("child_token_enabled").unwrap_or(true);
    if !enabled {
        let text = "child tokens are off: every agent acts in Vault with the gate's own rights";
        top.source.findings.warning(&top.place_of("child_token_enabled"), text);
    }
    let templated = fields.text("policies").is_some_and(|text| text.value == "templated");
    let prefix = policy_prefix(top);
    let policy = policy_name(&fields);
    let role = plain_name(&fields, "role").map(|role| role.value);
    let default_role = if templated { "portcullis-templated" } else { "portcullis" };
    ChildTokens {
        enabled,
        ttl: ttl(top),
        policies: if templated { ChildPolicies::Templated(policy) } else { ChildPolicies::PerAgent(prefix) },
        role: role.unwrap_or_else(|| default_role.to_owned()),
        batch: fields.text("type").is_none_or(|text| text.value == "batch"),
        capacity: fields.number("capacity").unwrap_or(0),
    }
}

fn ttl(top: &Fields<'_>) -> u32 {
    let ttl = top.time("child_token_ttl");
    if ttl.subsec_millis() != 0 {
        top.problem(
            "child_token_ttl",
            &top.place_of("child_token_ttl"),
            "is not a whole number of seconds",
            "write such as `90s`",
        );
    }
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
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
    let (kv, transit) = (top.table("kv", &section::KV), top.table("transit", &section::TRANSIT));
    let kv_mount = plain_path(top, "kv_mount");
    let transit_mount = plain_path(&transit, "mount");
    let own = plain_path(top, "default_prefix");
    let shared = plain_path(&kv, "shared_prefix");
    apart(&kv, "shared_prefix", shared.as_ref(), own.as_ref(), "`default_prefix`");
    apart(&transit, "mount", transit_mount.as_ref(), kv_mount.as_ref(), "`kv_mount`");
    let text = |found: Option<Sited<String>>| found.map(|text| text.value).unwrap_or_default().into_boxed_str();
    Layout {
        kv_mount: text(kv_mount),
        transit_mount: text(transit_mount),
        own_prefix: text(own),
        shared_prefix: text(shared),
    }
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
