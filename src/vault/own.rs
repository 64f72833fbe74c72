//! Calls to Vault with the gate's own token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use filters::names::Namespace;
use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::{VaultRequest, control, words};

use crate::exchange::{Answer, Envelope, Patience, Upstream};

use super::login::LoginState;

/// Longest time of a look, so that its result counts within a second or two.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// Longest time of a change; Vault may make several writes for one.
const SOON: Duration = Duration::from_secs(5);

impl Envelope<'_> {
    /// The envelope of a question in the background, which no hung connection may delay.
    pub(super) fn look() -> Self {
        Self { patience: Patience::Look(LOOK), ..Self::default() }
    }

    /// The envelope of a change in the background, which may be made twice; no hung connection may
    /// delay it either.
    pub(super) fn soon() -> Self {
        Self { patience: Patience::Look(SOON), ..Self::default() }
    }
}

/// The accessor by which a token is revoked, in the namespace it was made in and in no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accessor {
    /// The accessor, as Vault gave it.
    pub text: Box<str>,
    /// The token's namespace.
    pub namespace: Namespace,
}

/// A call that was not done: the refusal for a caller, and Vault's words for whoever runs a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The refusal.
    pub refusal: Refusal,
    /// Vault's words, where it answered.
    said: Option<String>,
}

impl Undone {
    /// A refusal, with Vault's words.
    pub(super) const fn new(refusal: Refusal, said: String) -> Self {
        Self { refusal, said: Some(said) }
    }
}

impl From<Refusal> for Undone {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, said: None }
    }
}

impl From<Undone> for Refusal {
    fn from(undone: Undone) -> Self {
        undone.refusal
    }
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.said.as_deref().unwrap_or(self.refusal.public().detail))
    }
}

/// Asks Vault with the gate's own token.
#[derive(Clone)]
pub struct OwnCalls {
    upstream: Arc<Upstream>,
    login: Arc<LoginState>,
}

impl OwnCalls {
    /// Calls over `upstream`, with the token of `login`.
    #[must_use]
    pub const fn new(upstream: Arc<Upstream>, login: Arc<LoginState>) -> Self {
        Self { upstream, login }
    }

    /// The upstream that these calls go to.
    pub(super) const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The login whose token these calls carry.
    pub(super) const fn login(&self) -> &Arc<LoginState> {
        &self.login
    }

    /// The gate's own namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        self.upstream.namespace()
    }

    /// True where there is a login.
    #[must_use]
    pub fn is_logged_in(&self) -> bool {
        self.login.current().is_some()
    }

    /// Asks Vault; an answer of any status is given.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] and the like where there is none.
    pub async fn ask(
        &self,
        request: Result<VaultRequest, PathProblem>,
        envelope: Envelope<'_>,
    ) -> Result<Answer, Refusal> {
        let login = self.login.current().ok_or(Refusal::UpstreamUnavailable)?;
        let envelope = Envelope { token: Some(&login.token), ..envelope };
        let answer = self.upstream.ask(request?, envelope).await?;
        if self.upstream.denies_token(envelope, &answer).await {
            self.login.reject(login.generation);
            return Err(Refusal::UpstreamUnavailable);
        }
        Ok(answer)
    }

    /// Asks Vault; only a success is given.
    ///
    /// # Errors
    /// As [`OwnCalls::ask`], and the meaning of an answer without success. A policy in Vault that
    /// denies the call is the gate's trouble, not the caller's.
    pub async fn succeed(
        &self,
        request: Result<VaultRequest, PathProblem>,
        envelope: Envelope<'_>,
    ) -> Result<Answer, Undone> {
        let answer = self.ask(request, envelope).await?;
        if answer.is_success() { Ok(answer) } else { Err(refused(&answer)) }
    }

    /// Revokes a token by its accessor. A token that Vault no longer has counts as revoked.
    ///
    /// # Errors
    /// As [`OwnCalls::succeed`]; an answer that is not Vault's revokes nothing.
    pub async fn revoke(&self, accessor: &Accessor, envelope: Envelope<'_>) -> Result<(), Undone> {
        let envelope = Envelope { namespace: Some(&accessor.namespace), ..envelope };
        let answer = self.ask(control::revoke_accessor(&accessor.text), envelope).await?;
        if control::is_revoked(answer.status, &answer.body) { Ok(()) } else { Err(refused(&answer)) }
    }
}

/// Vault's answer in words, for whoever runs a command.
fn said(answer: &Answer) -> String {
    let status = answer.status;
    match words(&answer.body) {
        // They may quote somebody's text, which must not control the terminal.
        Some(words) => format!("Vault answers {status}, {}", words.escape_debug()),
        None => format!("the answer is {status}, and not in Vault's form"),
    }
}

/// The meaning of an answer without success.
fn refused(answer: &Answer) -> Undone {
    let refusal = match answer.refusal() {
        Refusal::DeniedByVault => {
            tracing::error!("Vault's policy denies the gate what it needs for itself; see `portcullis-gate.hcl`");
            Refusal::NotProvisioned
        }
        refusal => refusal,
    };
    Undone::new(refusal, said(answer))
}
