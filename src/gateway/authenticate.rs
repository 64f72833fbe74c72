//! Who is asking: exactly one credential, or two that name the same agent.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use filters::credential::{Offered, offered};
use filters::grants::Agent;
use filters::identity::{Bearer, Identity, Principal, Proof};
use filters::jwt::{Asked, ProofId, Refused, Verified};
use filters::refusal::Refusal;
use filters::scope::Scopes;
use filters::secret::{Digest, Secret};
use pingora_core::protocols::http::ServerSession;

use crate::issuers::{Disbelief, Wait};
use crate::listener::{Peer, Verdict};
use crate::proofs::{self, Used};

use super::{Request, Side};

/// Who is asking, unless the proof of it was used before: [`Request::use_up`] tells.
pub(super) struct Claimed {
    pub(super) identity: Identity,
    proof: Option<ProofId>,
}

/// Why there is no identity.
pub(super) enum Stop {
    Refused(Refusal),
    /// A token's issuer may have a key that is not known here yet.
    UnknownKey(Wait),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Request<'_> {
    /// Who the request's caller is.
    ///
    /// # Errors
    /// [`Stop::UnknownKey`] where waiting may help, which the caller does once.
    pub(super) fn authenticate(&self, session: &ServerSession) -> Result<Claimed, Stop> {
        let now = now();
        let certificate = self.certificate(session, now);
        let headers = &session.req_header().headers;
        let proxy = self.snapshot.proxy_headers_from(self.head.peer);
        let (mut scopes, mut possession, mut bearer) = (Scopes::ALL, None, None);
        let (agent, proof) = match (offered(headers, proxy)?, &certificate) {
            (Offered::Nothing, Some(Verdict::Agent(agent))) => (Arc::clone(agent), Proof::Certificate),
            (Offered::Nothing, None) => return Err(Refusal::Unauthenticated.into()),
            (Offered::Nothing, Some(Verdict::Nobody)) => return Err(self.failed().into()),
            (Offered::ApiKey(key), _) => (self.key_owner(&key, now)?, Proof::ApiKey),
            (Offered::Bearer(token), _) => {
                let (issuer, verified) = self.verified(session, &token, now)?;
                // Stripped of its proof (RFC 9449, section 7.2).
                if verified.bound.key.is_some() {
                    return Err(self.failed().into());
                }
                scopes = verified.scopes;
                let agent = self.token_owner(issuer, &verified)?;
                bearer = self.goes_on(token, issuer, &verified);
                (agent, Proof::Jwt)
            }
            (Offered::Dpop(token, proof), _) => {
                let (issuer, verified) = self.verified(session, &token, now)?;
                let key = verified.bound.key.ok_or_else(|| self.failed())?;
                possession = Some(self.proven(session, &token, key, &proof, now)?);
                scopes = verified.scopes;
                let agent = self.token_owner(issuer, &verified)?;
                bearer = self.goes_on(token, issuer, &verified);
                (agent, Proof::Jwt)
            }
            (Offered::DistinguishedName(name), _) => (self.named(&name)?, Proof::TrustedProxy),
        };
        match certificate {
            None => {}
            Some(Verdict::Agent(other)) if other.id == agent.id => {}
            Some(Verdict::Agent(_) | Verdict::Nobody) => return Err(self.failed().into()),
        }
        Ok(Claimed { identity: Identity { agent, scopes, proof, bearer }, proof: possession })
    }

    /// The identity; its proof, where it has one, is used up by that.
    ///
    /// # Errors
    /// [`Refusal::InvalidProof`] where it was used before, [`Refusal::Overloaded`] where no more can
    /// be remembered.
    pub(super) async fn use_up(&self, claimed: Claimed) -> Result<Identity, Refusal> {
        let Some(proof) = claimed.proof else { return Ok(claimed.identity) };
        match self.state.proofs.use_up(proof, now()) {
            Err(Used::Before) => return Err(self.unproven()),
            Err(Used::TooMany) => return Err(Refusal::Overloaded),
            Ok(()) => {}
        }
        if let Some(shared) = &self.snapshot.shared_limits
            && shared.use_up(proof, proofs::KEPT, &self.state.metrics).await == Some(false)
        {
            return Err(self.unproven());
        }
        Ok(claimed.identity)
    }

    fn certificate(&self, session: &ServerSession, now: i64) -> Option<Verdict> {
        let (peer, index) = self.peer(session)?;
        Some(peer.verdict(&self.snapshot, index, now))
    }

    /// Who presented a certificate to the edge, and the listener's index.
    fn peer<'a>(&self, session: &'a ServerSession) -> Option<(&'a Peer, usize)> {
        let Side::Edge { index, .. } = self.side else { return None };
        let tls = session.digest()?.ssl_digest.as_ref()?;
        Some((tls.extension.get::<Peer>()?, index))
    }

    /// What a token says, where it holds and is bound to no other certificate
    /// than the one presented; and the place of its issuer.
    fn verified(&self, session: &ServerSession, token: &Secret, now: i64) -> Result<(usize, Arc<Verified>), Stop> {
        self.may_guess()?;
        let (issuer, verified) = self.snapshot.issuers.verify(token, now).map_err(|disbelief| match disbelief {
            Disbelief::UnknownKey(wait) => Stop::UnknownKey(wait),
            Disbelief::Refused(refused) => {
                tracing::debug!(%refused, "a token does not hold");
                self.failed().into()
            }
        })?;
        let presented = || self.peer(session).and_then(|(peer, _)| peer.fingerprint());
        match verified.bound.certificate {
            Some(bound) if presented() != Some(bound) => Err(self.failed().into()),
            _ => Ok((issuer, verified)),
        }
    }

    /// The token that Vault is asked with, where agents' own are.
    fn goes_on(&self, token: Secret, issuer: usize, verified: &Verified) -> Option<Bearer> {
        let goes_on = self.snapshot.child_tokens.is_by_jwt();
        goes_on.then_some(Bearer { token, issuer, expires: verified.expires })
    }

    fn token_owner(&self, issuer: usize, verified: &Verified) -> Result<Arc<Agent>, Refusal> {
        self.snapshot.agent_of_token(issuer, verified).ok_or_else(|| self.failed())
    }

    /// Checks the proof that the sender of `token` has the key it is bound to.
    fn proven(
        &self,
        session: &ServerSession,
        token: &Secret,
        key: Digest,
        proof: &Secret,
        now: i64,
    ) -> Result<ProofId, Refusal> {
        let base = self.base(session).unwrap_or_default();
        let asked = Asked { method: self.head.method.as_str(), base: &base, path: &self.head.path, token, key };
        asked.proven_by(proof, now).map_err(|refused| {
            tracing::debug!(%refused, "a DPoP proof does not hold");
            if refused == Refused::Key { self.failed() } else { self.unproven() }
        })
    }

    /// Counts a proof that did not hold.
    fn unproven(&self) -> Refusal {
        self.failed();
        Refusal::InvalidProof
    }

    /// What is said of a token whose issuer has no such key, though it was asked.
    pub(super) fn without_key(&self, wait: &Wait) -> Refusal {
        if wait.has_keys() { self.failed() } else { Refusal::IssuerUnavailable }
    }

    fn key_owner(&self, key: &Secret, now: i64) -> Result<Arc<Agent>, Refusal> {
        self.may_guess()?;
        self.snapshot.api_keys.owner(key, now).cloned().ok_or_else(|| self.failed())
    }

    fn named(&self, name: &str) -> Result<Arc<Agent>, Refusal> {
        let prefix = self.snapshot.proxy_headers_from(self.head.peer).map_or("", |headers| &headers.prefix);
        let principal = Principal::of_distinguished_name(name, prefix);
        let agent = principal.and_then(|principal| self.snapshot.directory().agent_of(&principal));
        agent.and_then(|id| self.snapshot.agent(&id)).ok_or_else(|| self.failed())
    }

    /// Whether a credential that could be guessed may be looked at.
    fn may_guess(&self) -> Result<(), Refusal> {
        let Some(client) = self.head.client else { return Ok(()) };
        let rate = &self.snapshot.limits.failures;
        self.state.failures.check(client, rate, self.state.now()).map_err(Refusal::TooManyFailures)
    }

    /// Counts a credential that did not hold.
    fn failed(&self) -> Refusal {
        self.state.metrics.failed_authentications.inc();
        if let Some(client) = self.head.client {
            self.state.failures.charge(client, &self.snapshot.limits.failures, self.state.now());
        }
        Refusal::Unauthenticated
    }
}

/// Seconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
