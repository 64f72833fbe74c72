//! Who is asking: exactly one credential, or two that name the same agent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use filters::credential::Offered;
use filters::grants::Agent;
use filters::identity::{Bearer, Identity, Principal, Proof};
use filters::jwt::{Asked, ProofId, Refused, Verified};
use filters::refusal::Refusal;
use filters::scope::Scopes;
use filters::secret::{Digest, Secret};

use crate::issuers::{Disbelief, Wait};
use crate::limits::{KEPT, Used};

use super::refused_login::{Failure, Rejected};
use super::{Context, Offer, Target, Verdict};

/// An identity whose proof of possession may have been used before; [`Context::use_up`] tells.
pub(super) struct Claimed {
    pub(super) identity: Identity,
    proof: Option<ProofId>,
}

/// Why there is no identity.
enum Stop {
    /// Nothing is counted against anybody.
    Refused(Refusal, Option<Failure>),
    /// A credential does not hold, which is counted against its source.
    Failed(Refusal, Failure),
    /// A token's issuer may have a key that is not known here yet.
    UnknownKey(Wait),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, None)
    }
}

impl Stop {
    const fn failed(failure: Failure) -> Self {
        Self::Failed(Refusal::Unauthenticated, failure)
    }

    const fn unproven(failure: Failure) -> Self {
        Self::Failed(Refusal::InvalidProof, failure)
    }
}

impl Context<'_> {
    /// The identity that the offer proves. A token of an unknown key is looked at once more when its
    /// issuer was asked.
    ///
    /// # Errors
    /// [`Rejected`]; a credential that does not hold is counted.
    pub(super) async fn claimed(&self, offer: &Offer<'_>) -> Result<Claimed, Rejected> {
        let stop = match self.authenticate(offer) {
            Ok(claimed) => return Ok(claimed),
            Err(Stop::UnknownKey(wait)) => {
                let all_known = wait.over().await;
                match self.authenticate(offer) {
                    Ok(claimed) => return Ok(claimed),
                    Err(Stop::UnknownKey(_)) => without_key(all_known),
                    Err(stop) => stop,
                }
            }
            Err(stop) => stop,
        };
        Err(self.reject(offer, stop))
    }

    fn authenticate(&self, offer: &Offer<'_>) -> Result<Claimed, Stop> {
        match &offer.credential {
            Offered::ApiKey(_) | Offered::Bearer(_) | Offered::Dpop(..) => self.may_guess(offer.client)?,
            Offered::Nothing | Offered::DistinguishedName(_) | Offered::Process(_) => {}
        }
        if let Some((of, why)) = offer.of_token.as_ref().and_then(|of| Some((of, of.void?))) {
            return Err(Stop::failed(Failure::new(why).of(of.agent.as_str())));
        }
        let (identity, key) = self.recognised(offer)?;
        if offer.of_token.as_ref().is_some_and(|of| !of.is(&identity.agent)) {
            let failure = Failure::new("the token is another agent's, or of an earlier generation");
            return Err(Stop::failed(failure.of(identity.agent.id.as_str())));
        }
        let proof = match (&offer.credential, key) {
            (Offered::Dpop(token, proof), Some(key)) => Some(proven(&offer.target, token, key, proof)?),
            _ => None,
        };
        Ok(Claimed { identity, proof })
    }

    /// The identity that the offer proves now, by the snapshot of the context. A proof of possession
    /// is not looked at: it is of the moment in which it was sent.
    ///
    /// # Errors
    /// Why it is nobody; nothing is counted.
    pub fn recognise(&self, offer: &Offer<'_>) -> Result<Identity, Refusal> {
        match self.recognised(offer) {
            Ok((identity, _)) => Ok(identity),
            Err(Stop::Refused(refusal, _) | Stop::Failed(refusal, _)) => Err(refusal),
            Err(Stop::UnknownKey(_)) => Err(Refusal::Unauthenticated),
        }
    }

    /// The identity, and the key that its token is bound to.
    fn recognised(&self, offer: &Offer<'_>) -> Result<(Identity, Option<Digest>), Stop> {
        let now = now();
        let certificate = self.certificate(offer, now);
        let (mut scopes, mut bearer, mut key, mut expires) = (Scopes::ALL, None, None, None);
        let (agent, proof) = match (&offer.credential, &certificate) {
            (Offered::Nothing, Some(Verdict::Agent(agent))) => (Arc::clone(agent), Proof::Certificate),
            (Offered::Nothing, None) => {
                let failure = Failure::new("there is no credential");
                return Err(Stop::Refused(Refusal::Unauthenticated, Some(failure)));
            }
            (Offered::Nothing, Some(Verdict::Nobody(why))) => return Err(Stop::failed(Failure::new(*why))),
            (Offered::ApiKey(key), _) => {
                let entry = self.snapshot.credentials.api_keys.find(key, now);
                let entry = entry.ok_or_else(|| Stop::failed(Failure::new("the key is unknown, or has expired")))?;
                expires = entry.expires;
                (Arc::clone(&entry.agent), Proof::ApiKey)
            }
            (Offered::Bearer(token) | Offered::Dpop(token, _), _) => {
                let (issuer, verified) = self.verified(offer, token, now)?;
                key = verified.bound.key;
                // Stripped of its proof (RFC 9449, section 7.2), or with one that proves nothing.
                if key.is_some() != matches!(offer.credential, Offered::Dpop(..)) {
                    let failure = Failure::new("a bound token came without its proof, or a proof without such a token");
                    return Err(Stop::failed(failure.of(&verified.subject)));
                }
                (scopes, expires) = (verified.scopes, Some(verified.expires));
                let goes_on = self.snapshot.vault.child_tokens.is_by_jwt();
                bearer = goes_on.then(|| Arc::new(Bearer { token: token.clone(), issuer, expires: verified.expires }));
                let unmapped = || Stop::failed(Failure::new("the subject is mapped to no agent").of(&verified.subject));
                (self.snapshot.agents.find_by_token(issuer, &verified).ok_or_else(unmapped)?, Proof::Jwt)
            }
            (Offered::DistinguishedName(name), _) => {
                (self.named(offer.proxy, name).map_err(Stop::failed)?, Proof::TrustedProxy)
            }
            (Offered::Process(id), _) => {
                let agent = self.snapshot.agents.find(id);
                let failure = || Stop::failed(Failure::new("no agent has that name").of(id.as_str()));
                (agent.ok_or_else(failure)?, Proof::Process)
            }
        };
        match certificate {
            None => {}
            Some(Verdict::Agent(other)) if other.id == agent.id => {
                let ends = offer.peer.and_then(|(peer, _)| peer.expires());
                expires = ends.into_iter().chain(expires).min();
            }
            Some(Verdict::Agent(_) | Verdict::Nobody(_)) => {
                let failure = Failure::new("the certificate beside the credential is not its agent's");
                return Err(Stop::failed(failure.of(agent.id.as_str())));
            }
        }
        Ok((Identity { agent, scopes, proof, expires, bearer }, key))
    }

    /// The identity; its proof, where it has one, is used up by that.
    ///
    /// # Errors
    /// [`Refusal::InvalidProof`] where it was used before, [`Refusal::Overloaded`] where no more can
    /// be remembered.
    pub(super) async fn use_up(&self, claimed: Claimed, offer: &Offer<'_>) -> Result<Identity, Rejected> {
        let Some(proof) = claimed.proof else { return Ok(claimed.identity) };
        let before = || Stop::unproven(Failure::new("the proof was used before"));
        let used = match self.state.proofs.use_up(proof, now()) {
            Err(Used::Before) => Err(before()),
            Err(Used::TooMany) => Err(Refusal::Overloaded.into()),
            Ok(()) => match &self.snapshot.limits.shared {
                Some(shared)
                    if shared.use_up(("dpop", &proof.to_hex()), KEPT, &self.state.metrics).await == Some(false) =>
                {
                    Err(before())
                }
                _ => Ok(()),
            },
        };
        used.map(|()| claimed.identity).map_err(|stop| self.reject(offer, stop))
    }

    fn certificate(&self, offer: &Offer<'_>, now: i64) -> Option<Verdict> {
        let (peer, index) = offer.peer?;
        let verdict = peer.verdict(&self.snapshot, index, now);
        if let Verdict::Nobody(why) = verdict {
            peer.tell(why, &self.snapshot, offer.client);
        }
        Some(verdict)
    }

    /// The place of the token's issuer and the token's claims, where it holds and is bound to no other
    /// certificate than the one presented.
    fn verified(&self, offer: &Offer<'_>, token: &Secret, now: i64) -> Result<(usize, Arc<Verified>), Stop> {
        let (issuer, verified) =
            self.snapshot.credentials.issuers.verify(token, now).map_err(|disbelief| match disbelief {
                Disbelief::UnknownKey(wait) => Stop::UnknownKey(wait),
                Disbelief::Refused(refused) => {
                    tracing::debug!(%refused, "a token does not hold");
                    Stop::failed(Failure::new(format!("the token: {refused}")))
                }
            })?;
        let presented = || offer.peer.and_then(|(peer, _)| peer.fingerprint());
        match verified.bound.certificate {
            Some(bound) if presented() != Some(bound) => {
                Err(Stop::failed(Failure::new("the token is bound to another certificate").of(&verified.subject)))
            }
            _ => Ok((issuer, verified)),
        }
    }

    fn named(&self, proxy: Option<IpAddr>, name: &str) -> Result<Arc<Agent>, Failure> {
        let prefix = self.snapshot.credentials.proxies.headers_from(proxy).map_or("", |headers| &headers.prefix);
        let principal = Principal::of_distinguished_name(name, prefix)
            .ok_or_else(|| Failure::new("the forwarded name has no common name, or is ambiguous"))?;
        let agent = self
            .snapshot
            .agents
            .policy()
            .directory()
            .agent_of(&principal)
            .and_then(|id| self.snapshot.agents.find(&id));
        agent.ok_or_else(|| Failure::new("the forwarded name is mapped to no agent").of(&principal.value))
    }

    /// Lets a credential that could be guessed be looked at, unless too many from there have failed.
    fn may_guess(&self, client: Option<IpAddr>) -> Result<(), Stop> {
        let Some(client) = client else { return Ok(()) };
        let rate = &self.snapshot.limits.bounds.failures;
        self.state.failures.check(client, rate, self.state.now()).map_err(|exceeded| {
            let failure = Failure::new("too many logins from there have failed");
            self.state.metrics.limits.refused(exceeded.kind);
            Stop::Refused(Refusal::TooManyFailures(exceeded), Some(failure))
        })
    }

    /// The refusal of a caller without an identity, and the line for the log. A credential that did
    /// not hold is counted.
    fn reject(&self, offer: &Offer<'_>, stop: Stop) -> Rejected {
        let (refusal, failure, judged) = match stop {
            Stop::Refused(refusal, failure) => (refusal, failure, false),
            Stop::Failed(refusal, failure) => {
                self.count_failure(offer);
                (refusal, Some(failure), true)
            }
            Stop::UnknownKey(_) => (Refusal::Unauthenticated, None, false),
        };
        Rejected { refusal, login: Some(Box::new(self.refused_login(judged, offer, failure))), of: None }
    }

    fn count_failure(&self, offer: &Offer<'_>) {
        let failed = &self.state.metrics.failed_authentications;
        let failed = match &offer.credential {
            Offered::Nothing => &failed.certificate,
            Offered::ApiKey(_) => &failed.api_key,
            Offered::Bearer(_) => &failed.jwt,
            Offered::Dpop(..) => &failed.dpop,
            Offered::DistinguishedName(_) => &failed.trusted_proxy,
            Offered::Process(_) => &failed.process,
        };
        failed.inc();
        if let Some(client) = offer.client {
            self.state.failures.charge(client, &self.snapshot.limits.bounds.failures, self.state.now());
        }
    }
}

/// Checks the proof that the sender of `token` has the key it is bound to.
fn proven(target: &Target<'_>, token: &Secret, key: Digest, proof: &Secret) -> Result<ProofId, Stop> {
    let Target { method, base, path } = target;
    Asked { method, base, path, token, key }.proven_by(proof, now()).map_err(|refused| {
        tracing::debug!(%refused, "a DPoP proof does not hold");
        let failure = Failure::new(format!("the proof: {refused}"));
        if refused == Refused::Key { Stop::failed(failure) } else { Stop::unproven(failure) }
    })
}

/// The stop for a token of no known key. Where not all keys are known, that is nobody's failure.
fn without_key(all_known: bool) -> Stop {
    if all_known {
        return Stop::failed(Failure::new("the token: no key of its issuer's fits"));
    }
    Stop::Refused(Refusal::IssuerUnavailable, Some(Failure::new("the token's issuer does not give its keys")))
}

/// Seconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
