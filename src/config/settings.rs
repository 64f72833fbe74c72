//! Configuration that has been checked: what the rest of the gate reads.

mod audit;
mod fixed;
mod limits;
mod login;
mod otel;
mod surfaces;
mod vault;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use filters::catalog::Catalog;
use filters::credential::{KeyEntry, ProxyHeaders};
use filters::grants::Role;
use filters::identity::{Directory, Source};
use filters::jwt::{self, KeySet};
use filters::names::{AgentId, Namespace};
use filters::quota::Rate;
use filters::secret::{Digest, Secret};
use filters::spiffe::TrustDomain;
use filters::vault::Layout;
use ipnet::IpNet;
use tracing::Level;

use super::outline::Outline;
pub use audit::{Audit, AuditKey, Rotation, Syslog, SyslogTransport};
pub use filters::policy::AgentEntry;
pub use fixed::Fixed;
pub use limits::{Bounds, ConnectionLimits, Limits, Queue};
pub use login::{Login, SignedToken};
pub use otel::{Otlp, Traces};
pub use surfaces::{Docs, Surfaces, VaultApi};
pub use vault::{ChildPolicies, ChildTokens, Leases, TokenLogin, VaultIdentity};

/// A whole configuration, every value of which was checked.
#[derive(Debug)]
pub struct Settings {
    /// Engines and operations that it is about.
    pub catalog: &'static Catalog,
    /// Where callers connect.
    pub listeners: Vec<Listener>,
    /// Where operators connect.
    pub admin: Admin,
    /// Threads, draining, reloading.
    pub server: Server,
    /// The logs, and their places.
    pub logging: Logging,
    /// The audit; `None` where it is off.
    pub audit: Option<Audit>,
    /// Traces; `None` where they are off.
    pub traces: Option<Traces>,
    /// Where Vault is.
    pub upstream: Upstream,
    /// The gate's login to Vault.
    pub login: Login,
    /// As whom Vault is asked for agents.
    pub vault_identity: VaultIdentity,
    /// The settings of agents' tokens.
    pub child_tokens: ChildTokens,
    /// The settings of leases.
    pub leases: Leases,
    /// Seconds that a wrapped answer waits where only the role asks for wrapping.
    pub wrap_ttl: u32,
    /// Where things lie in Vault.
    pub layout: Layout,
    /// AWS KMS, where it is enabled.
    pub kms: Option<Kms>,
    /// Who is who.
    pub identity: Identity,
    /// Every role.
    pub roles: Vec<Role>,
    /// Every agent that has an entry.
    pub agents: Vec<AgentEntry>,
    /// API keys; empty where they are switched off.
    pub api_keys: Vec<KeyEntry<AgentId>>,
    /// The rate of an agent that has no other; `None` where limits are off.
    pub rate: Option<Rate>,
    /// True where rate limits are on at all.
    pub rate_limited: bool,
    /// Where limits are counted together with other gates; `None` where each gate counts for itself.
    pub shared_limits: Option<Redis>,
    /// The rate of all agents together.
    pub global_rate: Option<Rate>,
    /// The rate of each operation that has one, for each agent.
    pub operation_rates: Vec<(&'static str, Rate)>,
    /// The bounds of invariant 10.
    pub limits: Limits,
    /// Everything that callers are shown.
    pub surfaces: Surfaces,
    /// True where metrics tell agents apart.
    pub agent_metrics: bool,
    /// Settings that only a gate for development has.
    pub development: Option<Development>,
    /// The files this was read from, watched when reloading is on.
    pub files: Vec<PathBuf>,
    /// Warnings about settings that are allowed.
    pub warnings: Vec<String>,
    /// Of the files it was read from, in their order; what files they name is not in it, but for texts.
    pub digest: Digest,
    /// The configuration file by its names; the files it names are not in it.
    pub outline: Outline,
}

/// The defaults of development tokens.
#[derive(Clone, Debug)]
pub struct Development {
    /// Whom the gate believes.
    pub issuer: String,
    /// For whom tokens are to be.
    pub audience: String,
    /// The secret that HS256 signs with.
    pub secret: Option<Secret>,
}

/// One listening address.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where it listens; without TLS a loopback address only.
    pub address: SocketAddr,
    /// TLS, or plain HTTP.
    pub tls: Option<Tls>,
    /// True where `/metrics` is served here.
    pub metrics: bool,
    /// True where Vault's own API is served here, if it is at all.
    pub vault_api: bool,
    /// True where trusted proxies begin with the PROXY protocol, version 2.
    pub proxy_protocol: bool,
}

/// The TLS side of a listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file of the server's certificate chain.
    pub certificate: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// True where clients present certificates.
    pub clients: ClientCertificates,
    /// PEM files of the authorities that may issue them.
    pub client_authorities: Vec<PathBuf>,
    /// The SPIFFE trust domains that are accepted; any where empty.
    pub trust_domains: Vec<AcceptedDomain>,
    /// PEM or DER files of what those have revoked; without one, nothing is.
    pub client_crls: Vec<PathBuf>,
    /// The meaning of an expired revocation list.
    pub expired_crls: ExpiredCrls,
}

/// A SPIFFE trust domain that a listener accepts.
#[derive(Clone, Debug)]
pub struct AcceptedDomain {
    /// Its name.
    pub name: TrustDomain,
    /// PEM files of the authorities that may issue its certificates, and nothing else; where
    /// empty, those of the listener may.
    pub authorities: Vec<PathBuf>,
}

/// The meaning of a revocation list after its `nextUpdate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiredCrls {
    /// Nothing that its issuer issued is believed.
    Refuse,
    /// Certificates that it revokes are revoked, and the rest is believed.
    Warn,
}

/// True where clients present certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for one.
    Off,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// The operators' listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// A loopback address, which shows and changes nothing.
    pub address: Option<SocketAddr>,
    /// A Unix socket, created with mode 0600.
    pub socket: Option<PathBuf>,
    /// Names by which the address is asked, besides `localhost` and itself.
    pub hosts: Vec<String>,
}

/// The process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads.
    pub threads: usize,
    /// The time that open requests have to end after SIGTERM.
    pub drain: Duration,
    /// True where files are watched and reloaded.
    pub reload: bool,
    /// Where listening sockets are handed over to a new gate.
    pub upgrade_socket: Option<PathBuf>,
}

/// Logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// The least severe level of the server log.
    pub level: Level,
    /// The folder of the logs, and when a file is set aside; `None` for no files.
    pub files: Option<LogFiles>,
    /// True where requests and operations are told on standard output too.
    pub stdout: bool,
    /// True where one line per request is written.
    pub requests: bool,
    /// True where one line per operation is written.
    pub responses: bool,
    /// The form in which that names secrets, keys and roles.
    pub names: Names,
    /// True where the server log has a file too.
    pub server: bool,
}

impl Settings {
    /// The names of the transit keys that the audit's keys are in: that of names, also where the audit itself is off,
    /// and that of checkpoints.
    #[must_use]
    pub fn audit_transit_keys(&self) -> [Option<&str>; 2] {
        let audit = self.audit.as_ref();
        let of_log = match &self.logging.names {
            Names::Hmac(key) => Some(key),
            Names::Clear | Names::Off => None,
        };
        let names = audit.and_then(|audit| audit.name_key.as_ref()).or(of_log);
        [names, audit.and_then(|audit| audit.checkpoint_key.as_ref())].map(|key| match key? {
            AuditKey::Transit(name) => Some(&**name),
            AuditKey::File(_) => None,
        })
    }
}

/// The form of names in the log of operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// As they are.
    Clear,
    /// As HMACs by the audit's key.
    Hmac(AuditKey),
    /// Nothing is named.
    Off,
}

/// Where logs are written, and when one is set aside: under its name with `.1` at the end, those before it with
/// higher numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFiles {
    /// The folder.
    pub folder: PathBuf,
    /// Bytes from which a file is set aside.
    pub size: u64,
    /// The age from which it is; `None` for none.
    pub every: Option<Duration>,
    /// Most files of one log that are kept aside.
    pub keep: u32,
    /// Most bytes of them together.
    pub keep_size: u64,
}

/// Vault's address and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// True where it is `https://`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The name its certificate must carry; the host unless configured.
    pub server_name: String,
    /// PEM file of the authorities that may have issued it; the system's where absent.
    pub authority: Option<PathBuf>,
    /// PEM files of the certificate that the gate presents, and of its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The gate's own namespace in Vault.
    pub namespace: Namespace,
    /// Longest time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Longest time from the first byte sent to the last one read.
    pub timeout: Duration,
    /// The time that an idle connection is kept; below Vault's own 5 minutes.
    pub idle: Duration,
    /// The time between two lookups of the host name.
    pub resolve: Duration,
}

/// The address of AWS KMS and the credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kms {
    /// The region; where AWS's own configuration has it where absent.
    pub region: Option<String>,
    /// Where KMS is, instead of the region's.
    pub endpoint: Option<String>,
    /// The gate's own keys; found where AWS's own clients do where absent.
    pub keys: Option<AwsKeys>,
}

/// Credentials of AWS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKeys {
    /// The access key's id.
    pub id: Secret,
    /// Its other half.
    pub secret: Secret,
    /// The session token of temporary credentials.
    pub session: Option<Secret>,
}

/// Who is who.
#[derive(Debug)]
pub struct Identity {
    /// Where a certificate's principal is looked for, in this order.
    pub sources: Vec<Source>,
    /// Principals to agents.
    pub directory: Directory,
    /// TCP peers whose word on their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// True where their `X-Forwarded-For` tells the client's address.
    pub forwarded_for: bool,
    /// That header, where it is switched on.
    pub proxy_headers: Option<ProxyHeaders>,
    /// True where client certificates of the gate's own listeners are believed.
    pub certificates: bool,
    /// The issuers whose bearer tokens are believed.
    pub issuers: Vec<Issuer>,
    /// Of each issuer and each of its role rules the roles, as indices into [`Settings::roles`].
    pub role_rules: Vec<Vec<Vec<usize>>>,
}

/// An issuer whose bearer tokens are believed, and the source of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The rules that its tokens must keep.
    pub rules: jwt::Issuer,
    /// Its keys.
    pub keys: KeySource,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The configuration holds them.
    Given(KeySet),
    /// They are fetched while the gate runs.
    Fetched(Fetched),
}

/// Keys that are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// From where.
    pub place: KeyPlace,
    /// The shared secret beside them, where there is one.
    pub shared: KeySet,
    /// Authorities (DER) of the server's certificate, instead of the system's.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// The time between two fetches.
    pub refresh: Duration,
    /// The time that they are used while they cannot be fetched.
    pub keep: Duration,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// The URL of a JWKS (RFC 7517).
    Jwks(String),
    /// The URL of a provider's configuration (OpenID Connect Discovery 1.0) that names it.
    Discovery {
        /// Where it is.
        url: String,
        /// The issuer that it must name.
        issuer: String,
    },
}

impl KeyPlace {
    /// The address that is fetched first.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Jwks(url) | Self::Discovery { url, .. } => url,
        }
    }
}

/// The Redis or Valkey in which gates count their limits together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// True where it is `rediss://`.
    pub tls: bool,
    /// Host name or address, without brackets; also the name its certificate must carry.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Number of its database.
    pub database: i64,
    /// User name; its default user where absent.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// Authorities (DER) that may have issued its certificate; the system's where absent.
    pub authorities: Option<Vec<Vec<u8>>>,
    /// The text before the names of limits.
    pub prefix: String,
    /// Longest time for it to answer, before this gate counts for itself.
    pub timeout: Duration,
}
