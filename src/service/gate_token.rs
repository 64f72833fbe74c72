//! Tokens of the gate's own: made at a login, and taken for the credential that was logged in with.

use filters::credential::Offered;
use filters::gate_token::{GateToken, LoggedIn};
use filters::grants::Agent;
use filters::handle::PREFIX;
use filters::names::AgentId;
use filters::refusal::Refusal;
use filters::secret::{Digest, Secret};

use super::Context;

/// The holder of a token that was sent, whom its credential must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOf {
    pub(super) agent: AgentId,
    generation: u32,
    /// Why the token is no credential any more, or not here.
    pub(super) void: Option<&'static str>,
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
    /// [`Refusal::Unauthenticated`] for two credentials, and as [`Context::gate_token`].
    pub fn offered_beside(
        &self,
        offered: Offered,
        token: &str,
        fingerprint: Option<Digest>,
    ) -> Result<(Offered, Option<TokenOf>), Refusal> {
        let alone = offered == Offered::Nothing;
        let (meant, of) = match self.gate_token(token)? {
            Some(token) => {
                let void = self.void(&token, fingerprint);
                let of = TokenOf { agent: token.agent, generation: token.generation, void };
                (Some(token.stands_for.offered()), Some(of))
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
    /// That its key is not known yet, or none is.
    pub fn gate_token(&self, text: &str) -> Result<Option<GateToken>, Refusal> {
        if text.starts_with(PREFIX) { self.opened(|keyring| keyring.open_for_bearer(text)) } else { Ok(None) }
    }

    /// Why a token is no credential on a connection that presents the certificate of this fingerprint.
    fn void(&self, token: &GateToken, fingerprint: Option<Digest>) -> Option<&'static str> {
        let mut numbers = token.above.iter().chain([&token.number]);
        let presents = |bound: &str| fingerprint.is_some_and(|presented| presented.to_hex() == bound);
        match &token.stands_for {
            _ if self.now() >= token.expires => Some("the token of the gate's own has expired"),
            _ if numbers.any(|number| self.state.events.has_ended(*number)) => {
                Some("the token of the gate's own was revoked")
            }
            LoggedIn::Certificate(bound) if !presents(bound) => {
                Some("the token of the gate's own is bound to another certificate")
            }
            LoggedIn::Certificate(_) | LoggedIn::Jwt(_) | LoggedIn::ApiKey(_) => None,
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
