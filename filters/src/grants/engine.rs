//! The table of engines. Grants, mounts, policies and documents are told by its rows, so that a new
//! engine is one row here and one file in the catalog.

use serde::{Deserialize, Serialize};

/// The engines that an operation may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Key/value secrets, version 2.
    Kv,
    /// Cryptography as a service.
    Transit,
    /// Logins of databases.
    Database,
    /// SSH keys and one-time passwords.
    Ssh,
    /// Certificates.
    Pki,
    /// AWS KMS, which is not Vault's.
    Kms,
}

/// One engine, as configuration and documents know it.
#[derive(Debug)]
pub struct EngineSpec {
    /// The key in a role of the configuration, and the tag in documents.
    pub name: &'static str,
    /// One sentence for people.
    pub about: &'static str,
    /// The kind of names that grants hold.
    pub holds: Holds,
    /// The service that is asked.
    pub service: Service,
    /// True where a role bounds the lifetime of what is issued (`max_ttl`).
    pub bounds_ttl: bool,
    /// True where a role bounds user names and extensions.
    pub bounds_login: bool,
}

/// The kind of names that the grants of an engine hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Paths of secrets.
    Paths,
    /// Names of keys or roles: the word for several of them.
    Names(&'static str),
}

/// The service behind an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Vault, at the engine's mount.
    Vault,
    /// Another service, by its name.
    Other(&'static str),
}

const VAULT: EngineSpec = EngineSpec {
    name: "",
    about: "",
    holds: Holds::Names("roles"),
    service: Service::Vault,
    bounds_ttl: false,
    bounds_login: false,
};

impl Engine {
    /// Every engine, in the order of the catalog.
    pub const ALL: [Self; 6] = [Self::Kv, Self::Transit, Self::Database, Self::Ssh, Self::Pki, Self::Kms];

    /// The engines of Vault whose resources are names, each at a mount of its own.
    pub const NAMED: [Self; 4] = [Self::Transit, Self::Database, Self::Ssh, Self::Pki];

    /// The row of the engine.
    #[must_use]
    pub const fn spec(self) -> &'static EngineSpec {
        match self {
            Self::Kv => {
                &EngineSpec { name: "kv", about: "Key/value secrets, version 2.", holds: Holds::Paths, ..VAULT }
            }
            Self::Transit => &EngineSpec {
                name: "transit",
                about: "Cryptography as a service.",
                holds: Holds::Names("keys"),
                ..VAULT
            },
            Self::Database => &EngineSpec { name: "database", about: "Logins of databases.", ..VAULT },
            Self::Ssh => &EngineSpec {
                name: "ssh",
                about: "SSH keys and one-time passwords.",
                bounds_ttl: true,
                bounds_login: true,
                ..VAULT
            },
            Self::Pki => &EngineSpec { name: "pki", about: "Certificates.", bounds_ttl: true, ..VAULT },
            Self::Kms => &EngineSpec {
                name: "kms",
                about: "AWS KMS.",
                holds: Holds::Names("keys"),
                service: Service::Other("AWS KMS"),
                ..VAULT
            },
        }
    }

    /// The key in a role of the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.spec().name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_has_a_row_of_its_own() {
        for (number, engine) in Engine::ALL.into_iter().enumerate() {
            let spec = engine.spec();
            assert_eq!(number, engine as usize, "{engine:?}");
            let named = spec.service == Service::Vault && spec.holds != Holds::Paths;
            assert_eq!(Engine::NAMED.contains(&engine), named, "{engine:?}");
            assert_eq!(serde_json::to_value(engine).unwrap(), spec.name);
            assert!(spec.about.ends_with('.') && !Engine::ALL[..number].iter().any(|other| other.name() == spec.name));
        }
    }
}
