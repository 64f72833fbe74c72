//! The settings that agents' tokens are obtained by.

use std::sync::Arc;

use filters::grants::Agent;
use filters::identity::Bearer;
use filters::names::Namespace;
use filters::refusal::Refusal;
use filters::secret::Digest;
use filters::vault::control;
use filters::vault::provision::Making;

use crate::config::{ChildPolicies, ChildTokens, TokenLogin, VaultIdentity};

/// The profile that a token is obtained by, and the agent's call that it is obtained for.
#[derive(Clone, Copy)]
pub(super) struct Occasion<'a> {
    pub(super) profile: &'a Profile,
    /// The call's correlation id.
    pub(super) correlation: Option<&'a str>,
}

/// The settings that tokens are obtained by, and one text that stands for those of child tokens.
#[derive(Clone, Debug)]
pub struct Profile {
    identity: VaultIdentity,
    settings: ChildTokens,
    fingerprint: Arc<str>,
}

impl Profile {
    /// The profile of `settings`.
    #[must_use]
    pub fn new(identity: VaultIdentity, settings: ChildTokens) -> Self {
        let fingerprint = Digest::of(format!("{settings:?}").as_bytes()).to_hex().into();
        Self { identity, settings, fingerprint }
    }

    /// A text that two profiles share only where they make the same child tokens.
    pub(super) fn fingerprint(&self) -> Arc<str> {
        Arc::clone(&self.fingerprint)
    }

    /// The settings of child tokens.
    pub(super) const fn settings(&self) -> &ChildTokens {
        &self.settings
    }

    /// Seconds that a child token lives; `None` where Vault is asked with other tokens.
    #[must_use]
    pub fn token_ttl(&self) -> Option<u32> {
        self.minting().map(|settings| settings.ttl)
    }

    /// True where Vault is asked with tokens that it gives for agents' own JWTs.
    #[must_use]
    pub const fn is_by_jwt(&self) -> bool {
        matches!(self.identity, VaultIdentity::Jwt(_))
    }

    /// The role and policies of child tokens in a namespace, with the policies of `agent` as an
    /// example; `None` where the gate makes no child tokens.
    #[must_use]
    pub fn making(&self, namespace: &Namespace, agent: Option<&Agent>) -> Option<Making> {
        let settings = self.minting()?;
        let policies = agent.map(|agent| self.policies_of(agent)).unwrap_or_default();
        let (role, namespace) = (settings.role.as_str().into(), namespace.clone());
        Some(Making { role, policies, batch: settings.batch, namespace })
    }

    /// The JWT to log in by and the login that takes it; `None` where a child token is wanted.
    ///
    /// # Errors
    /// [`Refusal::TokenRequired`] where there is no JWT, or none that Vault takes.
    pub(super) fn jwt_login<'a>(
        &'a self,
        bearer: Option<&'a Bearer>,
    ) -> Result<Option<(&'a Bearer, &'a Arc<TokenLogin>)>, Refusal> {
        let VaultIdentity::Jwt(logins) = &self.identity else { return Ok(None) };
        let bearer = bearer.ok_or(Refusal::TokenRequired)?;
        let login = logins.get(bearer.issuer).ok_or(Refusal::TokenRequired)?;
        Ok(Some((bearer, login)))
    }

    /// The description of a child token of `agent`.
    pub(super) fn child_token(&self, agent: &Agent, batch: bool, ttl: u32) -> control::ChildToken {
        let (policies, namespace) = (self.policies_of(agent), agent.namespace.clone());
        let alias = self.settings.entity_alias;
        control::ChildToken { agent: agent.id.clone(), namespace, policies, alias, batch, ttl }
    }

    fn minting(&self) -> Option<&ChildTokens> {
        Some(&self.settings).filter(|settings| settings.enabled && !self.is_by_jwt())
    }

    fn policies_of(&self, agent: &Agent) -> Vec<Arc<str>> {
        match &self.settings.policies {
            ChildPolicies::PerAgent(prefix) => vec![format!("{prefix}{}", agent.id).into()],
            ChildPolicies::Templated(policy) => vec![policy.as_str().into(), Arc::clone(&agent.roles_policy)],
        }
    }
}
