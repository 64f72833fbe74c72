//! From a principal, which a credential proves, to an agent, which is a closed
//! name that the configuration gives it (DESIGN section 6).

mod family;

pub use family::Family;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::certificate::{PeerCertificate, Svid};
use crate::grants::{Agent, Role};
use crate::names::{AgentId, Namespace};
use crate::scope::Scopes;
use crate::secret::Secret;

/// The part of a credential that a principal was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The SPIFFE ID of an X.509-SVID.
    Spiffe,
    /// The one URI SAN.
    Uri,
    /// The one DNS SAN.
    Dns,
    /// The one email SAN.
    Email,
    /// The one common name.
    CommonName,
    /// The SHA-256 fingerprint of the certificate, lower-case hexadecimal.
    Fingerprint,
    /// The subject of a JWT, by the place of its issuer in the configuration.
    Jwt(usize),
}

impl Source {
    /// Every source in a certificate, in the default order.
    pub const OF_CERTIFICATES: [Self; 6] =
        [Self::Spiffe, Self::Uri, Self::Dns, Self::Email, Self::CommonName, Self::Fingerprint];

    /// The source's name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spiffe => "spiffe",
            Self::Uri => "uri",
            Self::Dns => "dns",
            Self::Email => "email",
            Self::CommonName => "cn",
            Self::Fingerprint => "fingerprint",
            Self::Jwt(_) => "jwt",
        }
    }

    /// The fault of a certificate that has several of it, which makes it ambiguous.
    const fn several(self) -> &'static str {
        match self {
            Self::Spiffe | Self::Uri => "it has several URIs",
            Self::Dns => "it has several DNS names",
            Self::Email => "it has several email addresses",
            Self::CommonName => "it has several common names",
            Self::Fingerprint | Self::Jwt(_) => "it is ambiguous",
        }
    }

    /// A bit for each kind of source; one for all issuers: an agent is reached
    /// through one of them.
    const fn kind(self) -> u8 {
        match self {
            Self::Spiffe => 1,
            Self::Uri => 2,
            Self::Dns => 4,
            Self::Email => 8,
            Self::CommonName => 16,
            Self::Fingerprint => 32,
            Self::Jwt(_) => 64,
        }
    }

    /// The source of that name in a certificate.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::OF_CERTIFICATES.into_iter().find(|source| source.name() == name)
    }
}

/// Who a credential says its holder is, before anybody has mapped it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Where it was read.
    pub source: Source,
    /// The text as it stood there.
    pub value: String,
}

impl Principal {
    /// The principal of the first of `sources` that finds one; a source that finds several
    /// makes the certificate ambiguous, and then there is none. There is none
    /// either of a certificate that claims to be an X.509-SVID and is not.
    ///
    /// # Errors
    /// Why there is none, for the log.
    pub fn of_certificate(certificate: &PeerCertificate, sources: &[Source]) -> Result<Self, &'static str> {
        let svid = certificate.svid();
        if let Svid::Broken(why) = svid {
            return Err(why);
        }
        for &source in sources {
            let fingerprint;
            let found: &[String] = match source {
                Source::Spiffe if svid == Svid::None => &[],
                Source::Spiffe => &certificate.uris,
                Source::Uri => &certificate.uris,
                Source::Dns => &certificate.dns,
                Source::Email => &certificate.emails,
                Source::CommonName => certificate.common_names.as_ref().ok_or("its common name is no text")?,
                Source::Fingerprint => {
                    fingerprint = [certificate.fingerprint.to_hex()];
                    &fingerprint
                }
                Source::Jwt(_) => &[],
            };
            match found {
                [] => {}
                [value] => return Ok(Self { source, value: value.clone() }),
                _ => return Err(source.several()),
            }
        }
        Err("it has no name that `identity.certificate` looks for")
    }

    /// From the distinguished name that a trusted proxy forwards: the value of
    /// its one attribute that begins with `prefix` (`CN=`), or the whole text
    /// where the prefix is empty. A name with an escape, a quote, a multi-valued
    /// part or two such attributes is ambiguous: `None`.
    #[must_use]
    pub fn of_distinguished_name(name: &str, prefix: &str) -> Option<Self> {
        if name.is_empty() || name.contains(['\\', '"', '+', '\0']) {
            return None;
        }
        let separator = if name.starts_with('/') { '/' } else { ',' };
        let mut found = name.split(separator).filter_map(|part| part.trim().strip_prefix(prefix));
        let value = if prefix.is_empty() { name } else { found.next()? };
        if value.is_empty() || (!prefix.is_empty() && found.next().is_some()) {
            return None;
        }
        Some(Self { source: Source::CommonName, value: value.to_owned() })
    }
}

/// The treatment of a principal that nothing maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnknownAgents {
    /// The principal is nobody.
    #[default]
    Refuse,
    /// Where it is of this source and itself a valid [`AgentId`] that nothing
    /// else gives, it is that agent, with the built-in role. Of one source at
    /// most: by another way nobody comes to a name that somebody may have.
    OwnNamespace(Option<Source>),
}

/// The mapping of principals to agents: one principal to one agent.
#[derive(Debug, Default)]
pub struct Directory {
    exact: HashMap<Principal, AgentId>,
    /// Names that the configuration gives, and the kinds of source from which
    /// principals of their own reach them.
    named: HashMap<AgentId, u8>,
    families: Vec<Family>,
    unknown: UnknownAgents,
}

/// Why a mapping would not be one-to-one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// Two agents claim one principal.
    Principal(AgentId),
    /// Two families could map to one agent, or match one principal.
    Families(usize),
}

impl Directory {
    /// An empty mapping.
    #[must_use]
    pub fn new(unknown: UnknownAgents) -> Self {
        Self { unknown, ..Self::default() }
    }

    /// Keeps the name from principals that nothing maps.
    pub fn keep(&mut self, agent: AgentId) {
        self.named.entry(agent).or_default();
    }

    /// Maps one principal, and keeps the agent's name from those that nothing maps.
    ///
    /// # Errors
    /// [`Clash::Principal`] with the agent that has it already.
    pub fn add(&mut self, principal: Principal, agent: AgentId) -> Result<(), Clash> {
        match self.exact.get(&principal) {
            Some(owner) if *owner != agent => Err(Clash::Principal(owner.clone())),
            _ => {
                *self.named.entry(agent.clone()).or_default() |= principal.source.kind();
                self.exact.insert(principal, agent);
                Ok(())
            }
        }
    }

    /// Maps a family.
    ///
    /// # Errors
    /// [`Clash::Families`] with the index of the family it could meet.
    pub fn add_family(&mut self, family: Family) -> Result<(), Clash> {
        match self.families.iter().position(|other| other.may_meet(&family)) {
            Some(index) => Err(Clash::Families(index)),
            None => {
                self.families.push(family);
                Ok(())
            }
        }
    }

    /// The agent of `principal`. An agent whose own entry names a principal
    /// of the same source is reached by that principal only, and one that the
    /// configuration names at all by nobody that it does not map.
    #[must_use]
    pub fn agent_of(&self, principal: &Principal) -> Option<AgentId> {
        if let Some(agent) = self.exact.get(principal) {
            return Some(agent.clone());
        }
        match self.families.iter().find_map(|family| family.agent_of(principal)) {
            Some(agent) => {
                let pinned = self.named.get(&agent).is_some_and(|kinds| kinds & principal.source.kind() != 0);
                (!pinned).then_some(agent)
            }
            None => self.unknown_agent(principal),
        }
    }

    /// The namespace that an agent's roles name, else a family that may give it. Those of one rank
    /// name the same; see [`crate::grants::torn`] and [`Family::is_torn_from`].
    #[must_use]
    pub fn namespace_of<'a>(
        &'a self,
        agent: &AgentId,
        mut roles: impl Iterator<Item = &'a Role>,
    ) -> Option<&'a Namespace> {
        let pins = self.named.get(agent).copied().unwrap_or_default();
        let gives = |family: &&Family| family.could_be(agent) && pins & family.source.kind() == 0;
        let of_families = || self.families.iter().filter(gives).find_map(Family::namespace);
        roles.find_map(|role| role.namespace.as_ref()).or_else(of_families)
    }

    fn unknown_agent(&self, principal: &Principal) -> Option<AgentId> {
        if self.unknown != UnknownAgents::OwnNamespace(Some(principal.source)) {
            return None;
        }
        let name = AgentId::parse(&principal.value)?;
        let taken = self.named.contains_key(&name) || self.families.iter().any(|family| family.could_be(&name));
        (!taken).then_some(name)
    }

    /// The kinds of proof by which some principal may come to be this agent; those of forwarded names are
    /// certificates'.
    pub fn proofs_of(&self, agent: &AgentId) -> impl Iterator<Item = Proof> {
        let pins = self.named.get(agent).copied();
        let kinds = self.families.iter().filter(|family| family.could_be(agent)).map(|family| family.source.kind());
        let mut kinds = kinds.fold(pins.unwrap_or_default(), |all, kind| all | kind);
        if let (None, 0, UnknownAgents::OwnNamespace(Some(source))) = (pins, kinds, self.unknown) {
            kinds = source.kind();
        }
        let token = Source::Jwt(0).kind();
        let proofs = [(Proof::Certificate, kinds & !token != 0), (Proof::Jwt, kinds & token != 0)];
        proofs.into_iter().filter_map(|(proof, is_one)| is_one.then_some(proof))
    }

    /// Every principal that is mapped by itself, and its agent.
    pub fn principals(&self) -> impl Iterator<Item = (&Principal, &AgentId)> {
        self.exact.iter()
    }

    /// The rules for all others.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// The treatment of agents that have no entry of their own.
    #[must_use]
    pub const fn unknown(&self) -> UnknownAgents {
        self.unknown
    }
}

/// The kind of credential that proved an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A client certificate of this connection.
    Certificate,
    /// An API key.
    ApiKey,
    /// A bearer token.
    Jwt,
    /// The identity header of a trusted proxy.
    TrustedProxy,
    /// The word of whoever started the process.
    Process,
}

impl Proof {
    /// The name in logs and in `/whoami`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::TrustedProxy => "trusted_proxy",
            Self::Process => "process",
        }
    }
}

/// The token (JWT) that proved an identity, where Vault is to be asked with
/// what it gives for it. It lives as long as its request.
#[derive(Debug)]
pub struct Bearer {
    /// The token.
    pub token: Secret,
    /// The place of its issuer in the configuration.
    pub issuer: usize,
    /// Seconds since the epoch from which it does not hold, leeway included.
    pub expires: i64,
}

/// Who is asking, and what the credential allows them to ask.
#[derive(Clone)]
pub struct Identity {
    /// The agent.
    pub agent: Arc<Agent>,
    /// The scopes that the credential carries.
    pub scopes: Scopes,
    /// The kind of proof.
    pub proof: Proof,
    /// Seconds since the epoch from which the credential does not hold; `None` where it has no end.
    pub expires: Option<i64>,
    /// The token it was proved by, where Vault is to be asked with it.
    pub bearer: Option<Arc<Bearer>>,
}

/// The agent that Vault is asked for, and the token by which Vault gives one for it, where Vault is to
/// be asked with that.
#[derive(Clone, Debug)]
pub struct Actor {
    agent: Arc<Agent>,
    bearer: Option<Arc<Bearer>>,
}

impl Actor {
    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// The token of its credential, where Vault is to be asked with what it gives for it.
    #[must_use]
    pub fn bearer(&self) -> Option<&Bearer> {
        self.bearer.as_deref()
    }
}

/// The facts of a credential that are told to its holder.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// The scopes it carries.
    pub scopes: Scopes,
    /// The kind of proof.
    pub proof: Proof,
    /// Seconds since the epoch from which it does not hold; `None` where it has no end.
    pub expires: Option<i64>,
}

impl Identity {
    /// The agent and the token that Vault is asked for it with.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor { agent: Arc::clone(&self.agent), bearer: self.bearer.clone() }
    }

    /// The facts of the credential, without the credential.
    #[must_use]
    pub const fn presented(&self) -> Presented {
        Presented { scopes: self.scopes, proof: self.proof, expires: self.expires }
    }

    /// One without an end, that no token goes to Vault for.
    #[must_use]
    pub const fn new(agent: Arc<Agent>, scopes: Scopes, proof: Proof) -> Self {
        Self { agent, scopes, proof, expires: None, bearer: None }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.agent.id, self.proof.name())
    }
}

#[cfg(test)]
mod tests;
