//! Who is asking: exactly one credential, or two that name the same agent.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use filters::credential::{Offered, offered};
use filters::grants::Agent;
use filters::identity::{Identity, Principal, Proof};
use filters::refusal::Refusal;
use filters::scope::Scopes;
use filters::secret::Secret;
use pingora_core::protocols::http::ServerSession;

use crate::listener::{Peer, Verdict};

use super::{Request, Side};

impl Request<'_> {
    /// The identity of the request's caller.
    pub(super) fn authenticate(&self, session: &ServerSession) -> Result<Identity, Refusal> {
        let now = now();
        let certificate = self.certificate(session, now);
        let headers = &session.req_header().headers;
        let proxy = self.snapshot.proxy_headers_from(self.head.client);
        let (agent, proof) = match (offered(headers, proxy)?, &certificate) {
            (Offered::Nothing, Some(Verdict::Agent(agent))) => (Arc::clone(agent), Proof::Certificate),
            (Offered::Nothing, None) => return Err(Refusal::Unauthenticated),
            (Offered::Nothing, Some(Verdict::Nobody)) => return Err(self.failed()),
            (Offered::ApiKey(key), _) => (self.key_owner(&key, now)?, Proof::ApiKey),
            (Offered::Bearer(_), _) => {
                self.may_guess()?;
                return Err(self.failed());
            }
            (Offered::DistinguishedName(name), _) => (self.named(&name)?, Proof::TrustedProxy),
        };
        match certificate {
            None => {}
            Some(Verdict::Agent(other)) if other.id == agent.id => {}
            Some(Verdict::Agent(_) | Verdict::Nobody) => return Err(self.failed()),
        }
        Ok(Identity { agent, scopes: Scopes::ALL, proof })
    }

    /// Charges the agent's own limit.
    pub(super) fn charge(&self, identity: &Identity) -> Result<(), Refusal> {
        match &identity.agent.limit {
            Some(limit) => limit.cell.charge(&limit.rate, self.state.now()).map_err(Refusal::RateLimited),
            None => Ok(()),
        }
    }

    fn certificate(&self, session: &ServerSession, now: i64) -> Option<Verdict> {
        let Side::Edge { index, .. } = self.side else { return None };
        let tls = session.digest()?.ssl_digest.as_ref()?;
        Some(tls.extension.get::<Peer>()?.verdict(&self.snapshot, index, now))
    }

    fn key_owner(&self, key: &Secret, now: i64) -> Result<Arc<Agent>, Refusal> {
        self.may_guess()?;
        self.snapshot.api_keys.owner(key, now).cloned().ok_or_else(|| self.failed())
    }

    fn named(&self, name: &str) -> Result<Arc<Agent>, Refusal> {
        let prefix = self.snapshot.proxy_headers_from(self.head.client).map_or("", |headers| &headers.prefix);
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
