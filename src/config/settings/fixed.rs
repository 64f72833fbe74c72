//! Settings that a reload cannot change.

use std::mem::{Discriminant, discriminant};
use std::net::SocketAddr;

use tracing::Level;

use super::{Admin, Audit, Kms, Logging, Login, Server, Settings, Traces, Upstream};

/// The settings of the process's start, which stay whatever is read later.
#[derive(Debug)]
pub struct Fixed {
    /// Where it listens, in the order of the configuration, by which a listener is known.
    pub sockets: Vec<Socket>,
    admin: Admin,
    server: Server,
    logging: Logging,
    audit: Option<Audit>,
    traces: Option<Traces>,
    upstream: Upstream,
    /// Its method; what it presents is read anew.
    login: Discriminant<Login>,
    kms: Option<Kms>,
    child_tokens: u64,
}

/// A listening socket, and what its connections begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    address: SocketAddr,
    tls: bool,
    proxy_protocol: bool,
}

impl Fixed {
    /// Of these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let socket = |listener: &super::Listener| Socket {
            address: listener.address,
            tls: listener.tls.is_some(),
            proxy_protocol: listener.proxy_protocol,
        };
        Self {
            sockets: settings.listeners.iter().map(socket).collect(),
            admin: Admin { hosts: Vec::new(), ..settings.admin.clone() },
            server: settings.server.clone(),
            logging: Logging { level: Level::INFO, ..settings.logging.clone() },
            audit: settings.audit.clone(),
            traces: settings.traces.clone(),
            upstream: settings.upstream.clone(),
            login: discriminant(&settings.login),
            kms: settings.kms.clone(),
            child_tokens: settings.child_tokens.capacity,
        }
    }

    /// The parts in which `other` differs, but for the sockets: the names of sections, or of an option.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differences = [
            ("admin", self.admin != other.admin),
            ("server", self.server != other.server),
            ("logging", self.logging != other.logging),
            ("audit", self.audit != other.audit),
            ("otel", self.traces != other.traces),
            ("upstream", self.upstream != other.upstream),
            ("login", self.login != other.login),
            ("aws_kms", self.kms != other.kms),
            ("child_tokens.capacity", self.child_tokens != other.child_tokens),
        ];
        differences.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}
