//! The TLS peer of a connection: facts once, a verdict per snapshot.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use filters::certificate::PeerCertificate;
use filters::grants::Agent;
use filters::identity::Principal;
use filters::secret::Digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::snapshot::Snapshot;

/// What a connection keeps of the certificate its peer presented.
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    /// `None` where the leaf, or what it presented with it, cannot be read.
    facts: Option<PeerCertificate>,
    /// When each certificate that it presented with the leaf ends, in seconds
    /// since the epoch.
    ends: Vec<i64>,
    verdict: ArcSwapOption<Judged>,
}

struct Judged {
    snapshot: u64,
    /// Seconds since the epoch from which on time may have changed the verdict.
    until: i64,
    verdict: Verdict,
}

/// What a snapshot says of a peer.
#[derive(Clone)]
pub enum Verdict {
    /// It is this agent, until its certificate ends.
    Agent(Arc<Agent>),
    /// It presented a certificate that is nobody's, not trusted, or revoked.
    Nobody,
}

impl Peer {
    /// Reads the facts of the chain that was presented, the leaf first; `None` where it is empty.
    #[must_use]
    pub fn of_chain(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let (leaf, others) = chain.split_first()?;
        let ends: Option<Vec<_>> = others.iter().map(end).collect();
        Some(Self {
            facts: PeerCertificate::parse(leaf).filter(|_| ends.is_some()),
            ends: ends.unwrap_or_default(),
            chain: chain.to_vec(),
            verdict: ArcSwapOption::empty(),
        })
    }

    /// The verdict of `snapshot` on the peer of listener `index`, at `now`
    /// seconds since the epoch. Made once per snapshot, and again when an
    /// intermediate certificate or a revocation list has ended meanwhile; the
    /// leaf's validity is looked at every time.
    #[must_use]
    pub fn verdict(&self, snapshot: &Snapshot, index: usize, now: i64) -> Verdict {
        let Some(facts) = &self.facts else { return Verdict::Nobody };
        if !facts.is_valid_at(now) {
            return Verdict::Nobody;
        }
        let judged = self.verdict.load();
        if let Some(judged) = judged.as_ref().filter(|judged| judged.snapshot == snapshot.version && now < judged.until)
        {
            return judged.verdict.clone();
        }
        let verdict = self.judge(facts, snapshot, index, now);
        let until = self.next_change(snapshot, index, now);
        let judged = Judged { snapshot: snapshot.version, until, verdict: verdict.clone() };
        self.verdict.store(Some(Arc::new(judged)));
        verdict
    }

    /// The SHA-256 of the certificate it presented.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Digest> {
        self.facts.as_ref().map(|facts| facts.fingerprint)
    }

    fn judge(&self, facts: &PeerCertificate, snapshot: &Snapshot, index: usize, now: i64) -> Verdict {
        let Some(material) = snapshot.tls.get(index).and_then(Option::as_ref) else { return Verdict::Nobody };
        let Some((leaf, others)) = self.chain.split_first() else { return Verdict::Nobody };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
        if let Err(error) = material.verify(leaf, others, time) {
            tracing::debug!(%error, "a client certificate does not hold");
            return Verdict::Nobody;
        }
        if !snapshot.certificates || !facts.client_auth {
            return Verdict::Nobody;
        }
        let principal = Principal::of_certificate(facts, &snapshot.sources);
        let agent = principal.and_then(|principal| snapshot.directory().agent_of(&principal));
        match agent.and_then(|id| snapshot.agent(&id)) {
            Some(agent) => Verdict::Agent(agent),
            None => Verdict::Nobody,
        }
    }

    /// When time alone may make the verdict another.
    fn next_change(&self, snapshot: &Snapshot, index: usize, now: i64) -> i64 {
        let material = snapshot.tls.get(index).and_then(Option::as_ref);
        let crl = material.and_then(|material| material.next_change(now));
        // A certificate holds for the whole of its last second.
        let ends = self.ends.iter().map(|end| end.saturating_add(1)).filter(|end| *end > now);
        ends.chain(crl).min().unwrap_or(i64::MAX)
    }
}

/// When a certificate ends, where it can be read.
fn end(der: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
