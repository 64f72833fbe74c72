//! Tokens of the gate's own: made at a login, and taken for the credential that was logged in with.

use filters::credential::Offered;
use filters::gate_token::{GateToken, LoggedIn};
use filters::grants::Agent;
use filters::handle::PREFIX;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::secret::{Digest, Secret};

use super::Context;

/// Whose token was sent: whoever its credential proves must be that agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOf {
    agent: AgentId,
    generation: u32,
}

impl TokenOf {
    pub(super) fn is(&self, agent: &Agent) -> bool {
        self.agent == agent.id && self.generation == agent.generation
    }
}

impl Context<'_> {
    /// The credential that is offered by a head, and by the token that a client of Vault's sends beside it. Where
    /// another credential is there, `fingerprint`'s certificate or a header's, a text that cannot be one is passed
    /// over: such clients send what an earlier login has left.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for two credentials, and for a token that has ended.
    pub fn offered_beside(
        &self,
        offered: Offered,
        token: &str,
        fingerprint: Option<Digest>,
    ) -> Result<(Offered, Option<TokenOf>), Refusal> {
        let alone = offered == Offered::Nothing;
        let (meant, of) = match self.gate_token(token)? {
            Some(token) => {
                let of = TokenOf { agent: token.agent.clone(), generation: token.generation };
                (Some(self.logged_in(token, fingerprint)?), Some(of))
            }
            None => (Offered::by_form(token), None),
        };
        match meant {
            Some(meant) if alone => Ok((meant, of)),
            Some(_) => Err(Refusal::Unauthenticated),
            None if alone && fingerprint.is_none() => Ok((Offered::ApiKey(Secret::new(token.to_owned())), None)),
            None => Ok((offered, None)),
        }
    }

    /// The token of the gate's own that this text is; `None` where it is none.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] where none can be opened.
    pub fn gate_token(&self, text: &str) -> Result<Option<GateToken>, Refusal> {
        if !text.starts_with(PREFIX) {
            return Ok(None);
        }
        let keyring = self.state.vault.handles.keyring();
        if keyring.is_empty() {
            return Err(self.state.vault.handles.without());
        }
        Ok(keyring.open_for_bearer(text).ok())
    }

    /// The credential behind a token, while that holds.
    fn logged_in(&self, token: GateToken, fingerprint: Option<Digest>) -> Result<Offered, Refusal> {
        let mut numbers = token.above.iter().chain([&token.number]);
        if self.now() >= token.expires || numbers.any(|number| self.state.events.has_ended(*number)) {
            return Err(Refusal::Unauthenticated);
        }
        match token.stands_for {
            LoggedIn::Jwt(jwt) => Ok(Offered::Bearer(Secret::new(jwt.into()))),
            LoggedIn::ApiKey(key) => Ok(Offered::ApiKey(Secret::new(key.into()))),
            bound if fingerprint.is_some_and(|presented| bound == LoggedIn::certificate(&presented)) => {
                Ok(Offered::Nothing)
            }
            LoggedIn::Certificate(_) => Err(Refusal::Unauthenticated),
        }
    }

    /// Seals a token.
    ///
    /// # Errors
    /// [`Refusal::UpstreamUnavailable`] where nothing can be sealed.
    pub fn seal_token(&self, token: &GateToken) -> Result<String, Refusal> {
        self.state.vault.handles.keyring().seal_for_bearer(token).map_err(|_| self.state.vault.handles.without())
    }
}
