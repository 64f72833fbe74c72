//! Who is asking: exactly one credential, or two that name the same agent.

use std::borrow::Cow;
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
use crate::limits::{KEPT, Used};
use crate::listener::{Peer, Verdict};

use super::login::Failure;
use super::{Request, Side};

/// Who is asking, unless the proof of it was used before: [`Request::use_up`] tells.
pub(super) struct Claimed {
    pub(super) identity: Identity,
    proof: Option<ProofId>,
}

/// Why there is no identity.
pub(super) enum Stop {
    Refused(Refusal),
    /// A credential does not hold.
    Failed(Failure),
    /// A token's issuer may have a key that is not known here yet.
    UnknownKey(Wait),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Stop {
    fn failed(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Failed(Failure::new(why))
    }

    /// What it comes to where nothing is waited for.
    pub(super) fn refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Failed(_) | Self::UnknownKey(_) => Refusal::Unauthenticated,
        }
    }
}

impl Request<'_> {
    /// Who the request's caller is; a credential that does not hold is counted.
    ///
    /// # Errors
    /// [`Stop::UnknownKey`] where waiting may help, which the caller does once.
    pub(super) fn authenticate(&self, session: &ServerSession) -> Result<Claimed, Stop> {
        let offered = self.offered(session)?;
        match &offered {
            Offered::ApiKey(_) | Offered::Bearer(_) | Offered::Dpop(..) => self.may_guess()?,
            Offered::Nothing | Offered::DistinguishedName(_) => {}
        }
        let (identity, key) = self.recognise(&offered).map_err(|stop| match stop {
            Stop::Failed(failure) => self.failed(failure).into(),
            stop => stop,
        })?;
        let proof = match (&offered, key) {
            (Offered::Dpop(token, proof), Some(key)) => Some(self.proven(session, token, key, proof)?),
            _ => None,
        };
        Ok(Claimed { identity, proof })
    }

    /// The identity of the caller by the snapshot of the request, as of now, and
    /// the key that its token is bound to. A proof is not looked at: it is of the
    /// moment in which it was sent.
    ///
    /// # Errors
    /// [`Stop`]; nothing is counted.
    pub(super) fn recognise(&self, offered: &Offered) -> Result<(Identity, Option<Digest>), Stop> {
        let now = now();
        let certificate = self.certificate(now);
        let (mut scopes, mut bearer, mut key, mut expires) = (Scopes::ALL, None, None, None);
        let (agent, proof) = match (offered, &certificate) {
            (Offered::Nothing, Some(Verdict::Agent(agent))) => (Arc::clone(agent), Proof::Certificate),
            (Offered::Nothing, None) => {
                self.note(Failure::new("there is no credential"));
                return Err(Refusal::Unauthenticated.into());
            }
            (Offered::Nothing, Some(Verdict::Nobody(why))) => return Err(Stop::failed(*why)),
            (Offered::ApiKey(key), _) => {
                let entry = self.snapshot.api_keys.find(key, now);
                let entry = entry.ok_or_else(|| Stop::failed("the key is unknown, or has expired"))?;
                expires = entry.expires;
                (Arc::clone(&entry.agent), Proof::ApiKey)
            }
            (Offered::Bearer(token) | Offered::Dpop(token, _), _) => {
                let (issuer, verified) = self.verified(token, now)?;
                key = verified.bound.key;
                // Stripped of its proof (RFC 9449, section 7.2), or with one that proves nothing.
                if key.is_some() != matches!(offered, Offered::Dpop(..)) {
                    let failure = Failure::new("a bound token came without its proof, or a proof without such a token");
                    return Err(Stop::Failed(failure.of(&verified.subject)));
                }
                (scopes, expires) = (verified.scopes, Some(verified.expires));
                let goes_on = self.snapshot.child_tokens.is_by_jwt();
                bearer = goes_on.then(|| Bearer { token: token.clone(), issuer, expires: verified.expires });
                let unmapped = || Stop::Failed(Failure::new("the subject is mapped to no agent").of(&verified.subject));
                (self.snapshot.agent_of_token(issuer, &verified).ok_or_else(unmapped)?, Proof::Jwt)
            }
            (Offered::DistinguishedName(name), _) => (self.named(name).map_err(Stop::Failed)?, Proof::TrustedProxy),
        };
        match certificate {
            None => {}
            Some(Verdict::Agent(other)) if other.id == agent.id => {
                let ends = self.peer().and_then(|(peer, _)| peer.expires());
                expires = ends.into_iter().chain(expires).min();
            }
            Some(Verdict::Agent(_) | Verdict::Nobody(_)) => {
                let failure = Failure::new("the certificate beside the credential is not its agent's");
                return Err(Stop::Failed(failure.of(agent.id.as_str())));
            }
        }
        Ok((Identity { agent, scopes, proof, expires, bearer }, key))
    }

    /// The identity; its proof, where it has one, is used up by that.
    ///
    /// # Errors
    /// [`Refusal::InvalidProof`] where it was used before, [`Refusal::Overloaded`] where no more can
    /// be remembered.
    pub(super) async fn use_up(&self, claimed: Claimed) -> Result<Identity, Refusal> {
        let Some(proof) = claimed.proof else { return Ok(claimed.identity) };
        match self.state.proofs.use_up(proof, now()) {
            Err(Used::Before) => return Err(self.unproven(Failure::new("the proof was used before"))),
            Err(Used::TooMany) => return Err(Refusal::Overloaded),
            Ok(()) => {}
        }
        if let Some(shared) = &self.snapshot.shared_limits
            && shared.use_up(proof, KEPT, &self.state.metrics).await == Some(false)
        {
            return Err(self.unproven(Failure::new("the proof was used before")));
        }
        Ok(claimed.identity)
    }

    /// What the head offers as credentials.
    pub(super) fn offered(&self, session: &ServerSession) -> Result<Offered, Refusal> {
        offered(&session.req_header().headers, self.snapshot.proxy_headers_from(self.head.peer))
    }

    fn certificate(&self, now: i64) -> Option<Verdict> {
        let (peer, index) = self.peer()?;
        let verdict = peer.verdict(&self.snapshot, index, now);
        if let Verdict::Nobody(why) = verdict {
            peer.tell(why, &self.snapshot, self.head.client);
        }
        Some(verdict)
    }

    /// Who presented a certificate to the edge, and the listener's index.
    pub(super) fn peer(&self) -> Option<(&Peer, usize)> {
        let Side::Edge { index, .. } = self.side else { return None };
        Some((self.connection.peer()?, index))
    }

    /// What a token says, where it holds and is bound to no other certificate
    /// than the one presented; and the place of its issuer.
    fn verified(&self, token: &Secret, now: i64) -> Result<(usize, Arc<Verified>), Stop> {
        let (issuer, verified) = self.snapshot.issuers.verify(token, now).map_err(|disbelief| match disbelief {
            Disbelief::UnknownKey(wait) => Stop::UnknownKey(wait),
            Disbelief::Refused(refused) => {
                tracing::debug!(%refused, "a token does not hold");
                Stop::failed(format!("the token: {refused}"))
            }
        })?;
        let presented = || self.peer().and_then(|(peer, _)| peer.fingerprint());
        match verified.bound.certificate {
            Some(bound) if presented() != Some(bound) => {
                Err(Stop::Failed(Failure::new("the token is bound to another certificate").of(&verified.subject)))
            }
            _ => Ok((issuer, verified)),
        }
    }

    /// Checks the proof that the sender of `token` has the key it is bound to.
    fn proven(&self, session: &ServerSession, token: &Secret, key: Digest, proof: &Secret) -> Result<ProofId, Refusal> {
        let base = self.base(session).unwrap_or_default();
        let method = session.req_header().method.as_str();
        let asked = Asked { method, base: &base, path: &self.head.path, token, key };
        asked.proven_by(proof, now()).map_err(|refused| {
            tracing::debug!(%refused, "a DPoP proof does not hold");
            let failure = Failure::new(format!("the proof: {refused}"));
            if refused == Refused::Key { self.failed(failure) } else { self.unproven(failure) }
        })
    }

    /// Counts a proof that did not hold.
    fn unproven(&self, failure: Failure) -> Refusal {
        self.failed(failure);
        Refusal::InvalidProof
    }

    /// What is said of a token of no known key. Where not all keys are known, that is nobody's failure.
    pub(super) fn without_key(&self, all_known: bool) -> Refusal {
        if all_known {
            return self.failed(Failure::new("the token: no key of its issuer's fits"));
        }
        self.note(Failure::new("the token's issuer does not give its keys"));
        Refusal::IssuerUnavailable
    }

    fn named(&self, name: &str) -> Result<Arc<Agent>, Failure> {
        let prefix = self.snapshot.proxy_headers_from(self.head.peer).map_or("", |headers| &headers.prefix);
        let principal = Principal::of_distinguished_name(name, prefix)
            .ok_or_else(|| Failure::new("the forwarded name has no common name, or is ambiguous"))?;
        let agent = self.snapshot.directory().agent_of(&principal).and_then(|id| self.snapshot.agent(&id));
        agent.ok_or_else(|| Failure::new("the forwarded name is mapped to no agent").of(&principal.value))
    }

    /// Whether a credential that could be guessed may be looked at.
    fn may_guess(&self) -> Result<(), Refusal> {
        let Some(client) = self.head.client else { return Ok(()) };
        let rate = &self.snapshot.limits.failures;
        self.state.failures.check(client, rate, self.state.now()).map_err(|exceeded| {
            self.note(Failure::new("too many logins from there have failed"));
            Refusal::TooManyFailures(exceeded)
        })
    }

    /// Keeps the first reason for the log.
    fn note(&self, failure: Failure) {
        let _ = self.failure.set(failure);
    }

    /// Counts a credential that did not hold.
    fn failed(&self, failure: Failure) -> Refusal {
        self.note(failure);
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
