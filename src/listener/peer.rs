//! The TLS peer of a connection: facts once, a verdict per snapshot.

use std::any::Any;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use filters::certificate::PeerCertificate;
use filters::grants::Agent;
use filters::identity::Principal;
use filters::secret::Digest;
use pingora_core::listeners::TlsAccept;
use pingora_core::protocols::tls::TlsRef;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::snapshot::Snapshot;

/// What a connection keeps of the certificate its peer presented.
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    /// `None` where the leaf cannot be read.
    facts: Option<PeerCertificate>,
    verdict: ArcSwapOption<Judged>,
}

struct Judged {
    snapshot: u64,
    verdict: Verdict,
}

/// What a snapshot says of a peer.
#[derive(Clone)]
pub enum Verdict {
    /// It is this agent, until its certificate ends.
    Agent(Arc<Agent>),
    /// It presented a certificate that is nobody's, or that is not trusted.
    Nobody,
}

/// Reads the facts when the handshake is complete.
pub(super) struct Facts;

#[async_trait]
impl TlsAccept for Facts {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let chain = tls.peer_cert_chain_der()?;
        let leaf = chain.first()?;
        Some(Arc::new(Peer {
            facts: PeerCertificate::parse(leaf),
            chain: chain.to_vec(),
            verdict: ArcSwapOption::empty(),
        }))
    }
}

impl Peer {
    /// The verdict of `snapshot` on the peer of listener `index`, at `now`
    /// seconds since the epoch. Made once per snapshot; validity is looked at
    /// every time.
    #[must_use]
    pub fn verdict(&self, snapshot: &Snapshot, index: usize, now: i64) -> Verdict {
        let Some(facts) = &self.facts else { return Verdict::Nobody };
        if !facts.is_valid_at(now) {
            return Verdict::Nobody;
        }
        let judged = self.verdict.load();
        if let Some(judged) = judged.as_ref().filter(|judged| judged.snapshot == snapshot.version) {
            return judged.verdict.clone();
        }
        let verdict = self.judge(facts, snapshot, index, now);
        let judged = Judged { snapshot: snapshot.version, verdict: verdict.clone() };
        self.verdict.store(Some(Arc::new(judged)));
        verdict
    }

    /// The SHA-256 of the certificate it presented.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Digest> {
        self.facts.as_ref().map(|facts| facts.fingerprint)
    }

    fn judge(&self, facts: &PeerCertificate, snapshot: &Snapshot, index: usize, now: i64) -> Verdict {
        let material = snapshot.tls.get(index).and_then(Option::as_ref);
        let trusted = material.is_some_and(|material| {
            let seconds = u64::try_from(now).unwrap_or(0);
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            material.trusts(&self.chain, now)
        });
        if !snapshot.certificates || !facts.client_auth || !trusted {
            return Verdict::Nobody;
        }
        let principal = Principal::of_certificate(facts, &snapshot.sources);
        let agent = principal.and_then(|principal| snapshot.directory().agent_of(&principal));
        match agent.and_then(|id| snapshot.agent(&id)) {
            Some(agent) => Verdict::Agent(agent),
            None => Verdict::Nobody,
        }
    }
}
