//! The gate's own policy: what it asks of Vault with its own token.

use std::fmt::Write as _;

use filters::vault::{CERTIFICATES, HANDLES};

use super::vault_policy::tenants;
use crate::config::{Settings, VaultIdentity};

/// Paths of the gate's own namespace, each with its capabilities.
type Paths = Vec<(String, &'static [&'static str])>;

const UPDATE: &[&str] = &["update"];
/// Vault asks for `sudo` where a token is made in a namespace below the maker's.
const BELOW: &[&str] = &["sudo", "update"];
const RECORD: &[&str] = &["create", "read", "update"];

/// The policy that the gate needs in its own namespace, where it logs in.
#[must_use]
pub(super) fn of_gate(settings: &Settings) -> String {
    let mut text = String::from("# The gate's own rights, printed by `portcullis policy --gate`.\n");
    for (path, capabilities) in own(settings).into_iter().chain(of_agents(settings)) {
        let capabilities: Vec<String> = capabilities.iter().map(|capability| format!("{capability:?}")).collect();
        let _ = write!(text, "\npath {path:?} {{\n  capabilities = [{}]\n}}\n", capabilities.join(", "));
    }
    text
}

/// Its login, the keys of handles and of the audit, and its records.
fn own(settings: &Settings) -> Paths {
    let layout = &settings.layout;
    let transit = layout.mount_of(HANDLES);
    let (kv, prefix, key) = (&layout.kv_mount, &layout.gate_prefix, &layout.handle_key);
    let [names, checkpoints] = settings.audit_transit_keys();
    let of_audit =
        [names.map(|key| (key, format!("hmac/{key}/sha2-256"))), checkpoints.map(|key| (key, format!("sign/{key}")))];
    let of_audit = of_audit
        .into_iter()
        .flatten()
        .flat_map(|(key, used)| [(format!("{transit}/keys/{key}"), RECORD), (format!("{transit}/{used}"), UPDATE)]);
    let always: Paths = vec![
        ("auth/token/lookup-self".to_owned(), &["read"]),
        ("auth/token/renew-self".to_owned(), UPDATE),
        ("auth/token/revoke-self".to_owned(), UPDATE),
        (format!("{transit}/keys/{key}"), RECORD),
        (format!("{transit}/hmac/{key}/sha2-256"), UPDATE),
        (format!("{kv}/data/{prefix}/leases/*"), RECORD),
        (format!("{kv}/data/{prefix}/suspended"), RECORD),
        (format!("{kv}/data/{prefix}/gates"), RECORD),
    ];
    always.into_iter().chain(of_audit).collect()
}

/// Tokens, and the end of what was issued, in each namespace that has agents.
fn of_agents(settings: &Settings) -> Paths {
    let mut paths = Vec::new();
    for namespace in tenants(settings).into_keys() {
        let Some(below) = namespace.below(&settings.upstream.namespace) else { continue };
        let (below, create) = if below.is_empty() { (String::new(), UPDATE) } else { (format!("{below}/"), BELOW) };
        if matches!(settings.vault_identity, VaultIdentity::Child) {
            for role in [&settings.child_tokens.role, &settings.leases.role] {
                paths.push((format!("{below}auth/token/create/{role}"), create));
            }
        }
        let pki = format!("{}/revoke", settings.layout.mount_of(CERTIFICATES));
        for path in [
            "auth/token/revoke-accessor",
            "sys/leases/lookup",
            "sys/leases/renew",
            "sys/leases/revoke",
            "sys/wrapping/wrap",
            "sys/wrapping/rewrap",
            "sys/wrapping/lookup",
            &pki,
        ] {
            paths.push((format!("{below}{path}"), UPDATE));
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Flags};

    fn settings(text: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        config::load(&Flags { config: Some(file), ..Flags::default() }, &|_| None).unwrap()
    }

    /// Each path with its capabilities in their order.
    fn paths(policy: &str) -> Vec<(String, Vec<String>)> {
        let quoted = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let blocks = policy.split("path ").skip(1).map(quoted);
        let path = |mut block: Vec<String>| {
            let capabilities = block.split_off(1);
            (block.remove(0), capabilities)
        };
        blocks.map(path).collect()
    }

    #[test]
    fn the_example_of_the_gates_policy_says_no_less() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/local-vault/policies/portcullis-gate.hcl");
        let example = paths(&std::fs::read_to_string(file).unwrap());
        let printed = paths(&of_gate(&settings("")));
        assert_eq!(printed.len(), 18);
        for path in &printed {
            assert!(example.contains(path), "{path:?}");
        }
        // Those of the other ways to make tokens are in the example only.
        let beside: Vec<&str> =
            example.iter().filter(|path| !printed.contains(path)).map(|(path, _)| path.as_str()).collect();
        assert_eq!(beside, ["auth/token/create/portcullis-templated", "sys/health"]);
    }

    #[test]
    fn keys_of_the_audit_that_vault_has_need_rights_of_their_own() {
        let text = "[audit]\nstdout = true\nname_transit_key = \"names\"\ncheckpoint_transit_key = \"notes\"\n";
        let printed = paths(&of_gate(&settings(text)));
        assert_eq!(printed.len(), 22);
        let of = |path: &str| printed.iter().find(|(known, _)| known == path).map(|(_, known)| known.join(" "));
        assert_eq!(of("transit/keys/names").as_deref(), Some("create read update"));
        assert_eq!(of("transit/hmac/names/sha2-256").as_deref(), Some("update"));
        assert_eq!(of("transit/keys/notes").as_deref(), Some("create read update"));
        assert_eq!(of("transit/sign/notes").as_deref(), Some("update"));
    }

    #[test]
    fn tokens_in_other_namespaces_need_more_than_those_in_its_own() {
        let text = "vault_namespace = \"admin\"\n[agents.a]\nnamespace = \"admin/team-a\"\n[agents.b]\n";
        let printed = paths(&of_gate(&settings(text)));
        let of = |path: &str| printed.iter().find(|(known, _)| known == path).map(|(_, known)| known.join(" "));
        assert_eq!(of("auth/token/create/portcullis").as_deref(), Some("update"));
        assert_eq!(of("team-a/auth/token/create/portcullis").as_deref(), Some("sudo update"));
        assert_eq!(of("team-a/auth/token/create/portcullis-leases").as_deref(), Some("sudo update"));
        assert_eq!(of("team-a/sys/leases/revoke").as_deref(), Some("update"));
        assert_eq!(of("team-a/secret/data/portcullis/gates"), None, "its records are in its own");
        assert!(printed.iter().all(|(path, _)| !path.starts_with("admin")), "{printed:?}");
    }
}
