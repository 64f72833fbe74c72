//! Requests for agents: each is sent with its own agent's token and in its own agent's namespace.
//!
//! Nobody pairs the two by hand. Whoever has a token may send what the gate asks for itself:
//!
//! ```
//! use filters::{secret::Secret, vault::VaultRequest};
//! use portcullis::exchange::{Answer, Broken, Envelope, Upstream};
//! async fn send(upstream: &Upstream, request: VaultRequest, token: &Secret) -> Result<Answer, Broken> {
//!     upstream.ask(request, Envelope { token: Some(token), ..Envelope::default() }).await
//! }
//! ```
//!
//! but not what is made for an agent, with whichever token:
//!
//! ```compile_fail
//! use filters::{decide::AgentRequest, secret::Secret};
//! use portcullis::exchange::{Answer, Broken, Envelope, Upstream};
//! async fn send(upstream: &Upstream, request: AgentRequest, token: &Secret) -> Result<Answer, Broken> {
//!     upstream.ask(request, Envelope { token: Some(token), ..Envelope::default() }).await
//! }
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use filters::decide::AgentRequest;
use filters::identity::Actor;
use filters::refusal::Refusal;
use filters::secret::Secret;

use crate::telemetry::{Step, Timed};

use super::{Answer, Arrival, Broken, Envelope, Upstream};

/// Most bytes of an answer that are held before it is sent on.
const HELD: usize = 64 << 10;

/// Gives the tokens that Vault is asked with for agents.
pub trait Tokens: Sync {
    /// A token, as it is kept.
    type Token: Send + Sync;

    /// The token that Vault is asked with for `actor`.
    ///
    /// # Errors
    /// Why there is none.
    fn token_of(&self, actor: &Actor) -> impl Future<Output = Result<Self::Token, Refusal>> + Send;

    /// The secret of a token.
    fn secret<'t>(&self, token: &'t Self::Token) -> &'t Secret;

    /// Forgets a token that Vault does not know; true where there may be another.
    fn forget(&self, actor: &Actor, token: &Self::Token) -> impl Future<Output = bool> + Send;
}

/// The reason why an agent's request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// There is no token to ask with.
    NoToken(Refusal),
    /// Vault did not answer.
    Broken(Broken),
}

impl From<Broken> for Unanswered {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NoToken(refusal) => refusal,
            Unanswered::Broken(broken) => broken.into(),
        }
    }
}

/// The amount of an answer that is held.
#[derive(Clone, Copy)]
enum Holds {
    /// All of it, within the limit.
    Whole,
    /// Little: the rest of what is larger is read as it arrives.
    Little,
}

/// An answer, or the beginning of one.
pub enum Opened {
    /// All of it.
    Whole(Answer),
    /// A success, of which the rest is still to arrive.
    Part(Box<Arrival>),
}

impl Upstream {
    /// Asks Vault for an agent and reads the whole answer. The envelope's token and namespace are the
    /// agent's, whatever it says.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask_for(
        self: &Arc<Self>,
        request: AgentRequest,
        tokens: &impl Tokens,
        envelope: Envelope<'_>,
    ) -> Result<Answer, Unanswered> {
        match self.with_token(request, tokens, envelope, Holds::Whole).await? {
            Opened::Whole(answer) => Ok(answer),
            Opened::Part(_) => Err(Broken::TooLarge.into()),
        }
    }

    /// Asks Vault for an agent in the same way, and gives an answer that is too large to be held as it
    /// arrives.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn open_for(
        self: &Arc<Self>,
        request: AgentRequest,
        tokens: &impl Tokens,
        envelope: Envelope<'_>,
    ) -> Result<Opened, Unanswered> {
        self.with_token(request, tokens, envelope, Holds::Little).await
    }

    /// Asks with the agent's token, and once more with another where Vault does not know the first. A
    /// token that is not known has done nothing, so that any request may be asked again.
    async fn with_token(
        self: &Arc<Self>,
        request: AgentRequest,
        tokens: &impl Tokens,
        envelope: Envelope<'_>,
        holds: Holds,
    ) -> Result<Opened, Unanswered> {
        let actor = request.actor();
        let mut again = false;
        loop {
            let finding = Timed::begin(envelope.traced.map(|(recording, _)| recording), Step::Token);
            let token = finding.over(tokens.token_of(actor).await, |refusal| refusal).map_err(Unanswered::NoToken)?;
            let (secret, namespace) = (tokens.secret(&token), &actor.agent().namespace);
            let envelope = Envelope { token: Some(secret), namespace: Some(namespace), ..envelope };
            let opened = self.open(&request, envelope, holds).await?;
            let denied = match &opened {
                Opened::Whole(answer) if answer.status == 403 && !again => self.denies_token(envelope, answer).await,
                Opened::Whole(_) | Opened::Part(_) => false,
            };
            if !denied || !tokens.forget(actor, &token).await {
                return Ok(opened);
            }
            again = true;
        }
    }

    async fn open(
        self: &Arc<Self>,
        request: &AgentRequest,
        envelope: Envelope<'_>,
        holds: Holds,
    ) -> Result<Opened, Broken> {
        let request = request.rendered();
        let opened = match holds {
            Holds::Whole => Opened::Whole(self.answer(request, envelope).await?),
            Holds::Little => self.arrive(request, envelope).await?.begin(envelope.limit).await?,
        };
        if let Opened::Whole(answer) = &opened {
            self.tell_rejection(request, envelope, true, answer);
        }
        Ok(opened)
    }
}

impl Arrival {
    /// Reads until the answer has ended, or there is enough of it. What is no success is read whole,
    /// within `limit`.
    async fn begin(mut self, limit: usize) -> Result<Opened, Broken> {
        let success = self.is_success();
        let (mut parts, mut held) = (VecDeque::new(), 0);
        while let Some(part) = self.next().await? {
            held += part.len();
            parts.push_back(part);
            match success {
                true if held >= HELD => {
                    self.arrived = parts;
                    return Ok(Opened::Part(Box::new(self)));
                }
                false if held > limit => return Err(Broken::TooLarge),
                _ => {}
            }
        }
        let (status, media) = (self.status, self.media());
        self.end().await;
        let body =
            if parts.len() > 1 { Vec::from(parts).concat().into() } else { parts.pop_back().unwrap_or_default() };
        Ok(Opened::Whole(Answer { status, media, body }))
    }
}
