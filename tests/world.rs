//! A real Vault, provisioned, and the authority of the gates' certificates.

use local_vault::{Options, Provisioned, Storage, Tls, Vault, binary};

use std::path::Path;

use crate::process::root;

/// The agents that have a policy of their own in Vault.
pub const AGENTS: [&str; 8] = ["agent_api", "agent_jwt", "agent_mtls", "alice", "archive", "bob", "lodger", "tenant"];

/// The servers and certificates that gates are started with.
pub struct World {
    /// Vault itself.
    pub vault: Vault,
    /// The credentials that the gate logs in with.
    provisioned: Provisioned,
    /// Issues the gates' server certificates.
    pub authority: certs::Authority,
    /// The authority of Vault's own certificate, PEM, where it is behind TLS.
    ca: Option<String>,
}

impl World {
    /// Starts and provisions a Vault. With `keeps`, it keeps its data over a
    /// restart.
    pub fn start(keeps: bool) -> Self {
        let storage = if keeps { Storage::Disk } else { Storage::Memory };
        Self::with(Options { storage, ..Options::default() })
    }

    /// Starts and provisions a Vault behind TLS, with these PEM files.
    pub fn start_tls(certificate: &Path, key: &Path, ca: &Path) -> Self {
        let tls = Tls { certificate: certificate.into(), key: key.into(), ca: ca.into() };
        Self::with(Options { storage: Storage::Disk, tls: Some(tls), ..Options::default() })
    }

    /// Starts and provisions a Vault with these options.
    pub fn with(options: Options) -> Self {
        let ca = options.tls.as_ref().map(|tls| std::fs::read_to_string(&tls.ca).expect("PEM"));
        let binary = binary(&root()).expect("a Vault to run");
        let vault = Vault::start(&binary, options).expect("Vault starts");
        let provisioned = vault.provision(&AGENTS).expect("Vault is provisioned");
        let authority = certs::Authority::new("gates").expect("an authority");
        Self { vault, provisioned, authority, ca }
    }

    pub fn vault_address(&self) -> String {
        self.vault.address()
    }

    /// The dialect of the Vault of this run.
    pub fn dialect(&self) -> crate::Dialect {
        crate::Dialect(self.vault.product())
    }

    pub fn role_id(&self) -> &str {
        &self.provisioned.role_id
    }

    pub fn secret_id(&self) -> &str {
        &self.provisioned.secret_id
    }

    /// The id of the entity that has this alias at an auth method.
    pub fn entity(&self, method: &str, alias: &str) -> String {
        let method = self.ask("GET", &format!("sys/auth/{method}"), &serde_json::Value::Null).1;
        let body = serde_json::json!({"alias_name": alias, "alias_mount_accessor": method["data"]["accessor"]});
        let found = self.ask("POST", "identity/lookup/entity", &body).1;
        found["data"]["id"].as_str().unwrap_or_else(|| panic!("no entity of {alias}: {found}")).to_owned()
    }

    /// Asks Vault directly, with the root token.
    pub fn ask(&self, method: &str, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        self.ask_as(self.vault.root_token(), method, path, body)
    }

    /// Asks Vault directly with any token; the path goes out as it is given.
    pub fn ask_as(&self, token: &str, method: &str, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
        let address = self.vault.address();
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let client = match &self.ca {
            Some(ca) => crate::Client::tls(port, ca, None),
            None => crate::Client::plain(port),
        };
        let client = client.with("X-Vault-Token", token);
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let response = client.send(method, &format!("/v1/{path}"), &[], text.as_bytes());
        (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
    }
}
