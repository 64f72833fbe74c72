//! Vault, asked with the gate's own token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use filters::names::Namespace;
use filters::path::PathProblem;
use filters::refusal::Refusal;
use filters::vault::{Trouble, VaultRequest, control, trouble, words};

use crate::exchange::{Answer, Envelope, Patience, Upstream};

use super::LoginState;
use super::record::Unread;

/// How long a look may take, so that what it looks for counts within a second or two.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How long a change may take, of which Vault may make several.
const SOON: Duration = Duration::from_secs(5);

impl Envelope<'_> {
    /// A question of the background's own that no hung connection may hold up.
    pub(super) fn look() -> Self {
        Self { patience: Patience::Look(LOOK), ..Self::default() }
    }

    /// A change that the background makes and may make twice, by the same rule.
    pub(super) fn soon() -> Self {
        Self { patience: Patience::Look(SOON), ..Self::default() }
    }
}

/// By which a token is ended, in the namespace that it was made in and in no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accessor {
    /// As Vault gave it.
    pub text: Box<str>,
    /// The token's namespace.
    pub namespace: Namespace,
}

/// What was asked is not done: what that means to a caller, and what Vault said, for whoever runs a
/// command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// What it means.
    pub refusal: Refusal,
    /// What Vault answered, where it did.
    said: Option<String>,
}

impl From<Refusal> for Undone {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, said: None }
    }
}

/// A record that cannot be read is the gate's trouble, whatever stands there.
impl From<Unread> for Undone {
    fn from(unread: Unread) -> Self {
        let refusal = if unread == Unread::Denied { Refusal::NotProvisioned } else { Refusal::UpstreamUnavailable };
        Self { refusal, said: Some(unread.to_string()) }
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

/// Vault, asked with the gate's own token.
#[derive(Clone)]
pub struct OwnCalls {
    upstream: Arc<Upstream>,
    login: Arc<LoginState>,
}

impl OwnCalls {
    /// By this way and login.
    #[must_use]
    pub const fn new(upstream: Arc<Upstream>, login: Arc<LoginState>) -> Self {
        Self { upstream, login }
    }

    /// The gate's own namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        self.upstream.namespace()
    }

    /// Whether there is a login.
    #[must_use]
    pub fn is_logged_in(&self) -> bool {
        self.login.current().is_some()
    }

    /// Asks; any status is an answer.
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

    /// Asks, and takes nothing but a success.
    ///
    /// # Errors
    /// As [`OwnCalls::ask`], and what Vault's answer means. What Vault denies
    /// the gate is the gate's trouble, not the caller's.
    pub async fn succeed(
        &self,
        request: Result<VaultRequest, PathProblem>,
        envelope: Envelope<'_>,
    ) -> Result<Answer, Undone> {
        let answer = self.ask(request, envelope).await?;
        if matches!(answer.status, 200..=299) { Ok(answer) } else { Err(refused(&answer)) }
    }

    /// Ends a token by its accessor; one that is no more is as good as ended.
    ///
    /// # Errors
    /// As [`OwnCalls::succeed`]: what is no word of Vault's ends nothing.
    pub async fn revoke(&self, accessor: &Accessor, envelope: Envelope<'_>) -> Result<(), Undone> {
        let envelope = Envelope { namespace: Some(&accessor.namespace), ..envelope };
        let answer = self.ask(control::revoke_accessor(&accessor.text), envelope).await?;
        if control::is_revoked(answer.status, &answer.body) { Ok(()) } else { Err(refused(&answer)) }
    }
}

/// What Vault answered, for whoever runs a command.
fn said(answer: &Answer) -> String {
    let status = answer.status;
    match words(&answer.body) {
        // It may quote what somebody wrote, which may not write to the terminal.
        Some(words) => format!("Vault answers {status}, {}", words.escape_debug()),
        None => format!("the answer is {status}, and not in Vault's form"),
    }
}

/// What an answer that is no success means.
fn refused(answer: &Answer) -> Undone {
    let refusal = match trouble(answer.status, &answer.body) {
        Trouble::Refused(Refusal::DeniedByVault) => {
            tracing::error!("Vault's policy denies the gate what it needs for itself; see `portcullis-gate.hcl`");
            Refusal::NotProvisioned
        }
        Trouble::Refused(refusal) => refusal,
        Trouble::InvalidToken => Refusal::UpstreamUnavailable,
    };
    Undone { refusal, said: Some(said(answer)) }
}
