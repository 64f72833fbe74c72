//! By what agents are asked for in Vault: tokens, and leases.

use std::sync::Arc;

/// As whom Vault is asked for agents.
#[derive(Clone, Debug)]
pub enum VaultIdentity {
    /// By tokens of theirs that the gate makes.
    Child,
    /// By what Vault gives for the JWT that each brings: of each issuer, where Vault takes its tokens.
    Jwt(Vec<Arc<TokenLogin>>),
}

/// Where Vault takes the JWTs of an issuer's agents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenLogin {
    /// Mount of the auth method.
    pub mount: String,
    /// The role to log in as; the auth method's own default where absent.
    pub role: Option<String>,
}

/// The settings of agents' tokens.
#[derive(Clone, Debug)]
pub struct ChildTokens {
    /// Off: every agent acts with the gate's own token.
    pub enabled: bool,
    /// Seconds a token lives.
    pub ttl: u32,
    /// Which policies it carries.
    pub policies: ChildPolicies,
    /// True where it has the agent's name as entity alias.
    pub entity_alias: bool,
    /// The token role it is made through.
    pub role: String,
    /// Batch tokens, or service tokens, which can be revoked and cost Vault more.
    pub batch: bool,
    /// Most tokens kept.
    pub capacity: u64,
}

/// Which policies a child token carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildPolicies {
    /// One per agent: this prefix and the agent's name.
    PerAgent(String),
    /// One templated policy for all, which goes by the entity alias.
    Templated(String),
}

/// The settings of leases.
#[derive(Clone, Debug)]
pub struct Leases {
    /// Seconds that a lease lives at most, renewals included.
    pub ttl: u32,
    /// Most live leases of one agent.
    pub per_agent: usize,
    /// The token role that their tokens are made through.
    pub role: String,
    /// Seconds that a one-time SSH password lasts at most.
    pub password_ttl: u32,
}
