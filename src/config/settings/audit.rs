//! The audit, as configured.

use std::path::PathBuf;
use std::time::Duration;

use super::Otlp;

/// The audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file of records.
    pub file: Option<PathBuf>,
    /// True where records go to standard output too.
    pub stdout: bool,
    /// The syslog server that records go to.
    pub syslog: Option<Syslog>,
    /// The collector that records go to.
    pub otlp: Option<Otlp>,
    /// True where nothing is done without a record in the file.
    pub required: bool,
    /// True where each record is synced, instead of all of a twentieth of a second together.
    pub sync_each: bool,
    /// The key of names' HMACs; `None` where names are in clear.
    pub name_key: Option<AuditKey>,
    /// The key that signs checkpoints; without it there are none.
    pub checkpoint_key: Option<AuditKey>,
    /// The time between two checkpoints.
    pub checkpoint_every: Duration,
    /// The rotation of the file.
    pub rotation: Rotation,
}

/// The place of a key of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditKey {
    /// In this file.
    File(PathBuf),
    /// A key of this name in Vault's transit engine.
    Transit(Box<str>),
}

/// The rotation of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes from which it is set aside.
    pub size: u64,
    /// The time after which it is set aside; `None` for never.
    pub every: Option<Duration>,
    /// Most files that are kept aside; the oldest is removed.
    pub keep: u32,
}

/// A syslog server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// The way to it.
    pub transport: SyslogTransport,
    /// Host name or address, without brackets; also the name its certificate must carry.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Authorities (DER) that may have issued its certificate, where TLS is the way.
    pub authorities: Option<Vec<Vec<u8>>>,
}

/// The way to a syslog server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyslogTransport {
    /// A datagram for each record (RFC 5426).
    Udp,
    /// A stream with counted octets (RFC 6587, section 3.4.1).
    Tcp,
    /// The same in TLS (RFC 5425).
    Tls,
}
