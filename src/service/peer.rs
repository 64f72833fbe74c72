//! The TLS peer of a connection: facts once, a verdict per snapshot.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use filters::certificate::PeerCertificate;
use filters::grants::Agent;
use filters::identity::Principal;
use filters::secret::Digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::snapshot::Snapshot;

/// The certificate that a connection's peer presented, as far as it is kept.
pub struct Peer {
    chain: Vec<CertificateDer<'static>>,
    /// `None` where the leaf, or what it presented with it, cannot be read.
    facts: Option<PeerCertificate>,
    /// When each certificate that it presented with the leaf ends, in seconds
    /// since the epoch.
    ends: Vec<i64>,
    verdict: ArcSwapOption<Judged>,
    /// Why it is nobody, as the log was last told.
    told: Mutex<&'static str>,
}

struct Judged {
    snapshot: u64,
    /// Seconds since the epoch from which on time may have changed the verdict.
    until: i64,
    verdict: Verdict,
}

/// The verdict of a snapshot on a peer.
#[derive(Clone)]
pub enum Verdict {
    /// It is this agent, until its certificate ends.
    Agent(Arc<Agent>),
    /// It presented a certificate that is nobody's, not trusted, or revoked: why, for the log.
    Nobody(&'static str),
}

impl Peer {
    /// Most characters of a name that are told in a log.
    pub const NAME: usize = 256;

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
            told: Mutex::default(),
        })
    }

    /// The verdict of `snapshot` on the peer of listener `index`, at `now`
    /// seconds since the epoch. Made once per snapshot, and again when an
    /// intermediate certificate or a revocation list has ended meanwhile; the
    /// leaf's validity is looked at every time.
    #[must_use]
    pub fn verdict(&self, snapshot: &Snapshot, index: usize, now: i64) -> Verdict {
        let Some(facts) = &self.facts else { return Verdict::Nobody("it cannot be read") };
        if !facts.is_valid_at(now) {
            return Verdict::Nobody("it has expired, or is not valid yet");
        }
        let judged = self.verdict.load();
        if let Some(judged) =
            judged.as_ref().filter(|judged| judged.snapshot == snapshot.about.version && now < judged.until)
        {
            return judged.verdict.clone();
        }
        let verdict = self.judge(facts, snapshot, index, now);
        let until = self.next_change(snapshot, index, now);
        let judged = Judged { snapshot: snapshot.about.version, until, verdict: verdict.clone() };
        self.verdict.store(Some(Arc::new(judged)));
        verdict
    }

    /// The SHA-256 of the certificate it presented.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Digest> {
        self.chain.first().map(|leaf| self.facts.as_ref().map_or_else(|| Digest::of(leaf), |facts| facts.fingerprint))
    }

    /// Seconds since the epoch from which the first certificate of the chain does not hold.
    #[must_use]
    pub fn expires(&self) -> Option<i64> {
        let leaf = self.facts.as_ref()?.not_after;
        // A certificate holds for the whole of its last second.
        self.ends.iter().copied().chain([leaf]).min().map(|end| end.saturating_add(1))
    }

    fn judge(&self, facts: &PeerCertificate, snapshot: &Snapshot, index: usize, now: i64) -> Verdict {
        self.agent(facts, snapshot, index, now).map_or_else(Verdict::Nobody, Verdict::Agent)
    }

    /// The agent, or why there is none.
    fn agent(
        &self,
        facts: &PeerCertificate,
        snapshot: &Snapshot,
        index: usize,
        now: i64,
    ) -> Result<Arc<Agent>, &'static str> {
        if !snapshot.credentials.certificates {
            return Err("certificates are no credentials here");
        }
        let material = snapshot.tls_of(index).ok_or("the listener has no TLS")?;
        let (leaf, others) = self.chain.split_first().ok_or("there is none")?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
        material.verify(leaf, others, time).map_err(|error| flaw(&error))?;
        if !facts.client_auth {
            return Err("its extended key usage is not client authentication");
        }
        let principal = Principal::of_certificate(facts, &snapshot.credentials.sources)?;
        let id = snapshot.agents.policy().directory().agent_of(&principal).ok_or("its name is mapped to no agent")?;
        snapshot.agents.find(&id).ok_or("the agent of its name is none here")
    }

    /// Logs once why the peer is nobody, and again where that changes.
    pub fn tell(&self, why: &'static str, snapshot: &Snapshot, client: Option<IpAddr>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *told, why) == why {
            return;
        }
        drop(told);
        let serial = self.facts.as_ref().map_or("", |facts| &facts.serial);
        let fingerprint = self.fingerprint().map(|fingerprint| fingerprint.to_hex()).unwrap_or_default();
        let client = client.map(tracing::field::display);
        let principal = self.principal(snapshot).unwrap_or_default();
        tracing::warn!(fingerprint, serial, principal, client, why, "a client certificate is nobody's");
    }

    /// The name that it would be mapped by, at most [`Peer::NAME`] characters of it.
    #[must_use]
    pub fn principal(&self, snapshot: &Snapshot) -> Option<String> {
        let principal = Principal::of_certificate(self.facts.as_ref()?, &snapshot.credentials.sources).ok()?;
        Some(principal.value.chars().take(Self::NAME).collect())
    }

    /// When time alone may make the verdict another.
    fn next_change(&self, snapshot: &Snapshot, index: usize, now: i64) -> i64 {
        let material = snapshot.tls_of(index);
        let crl = material.and_then(|material| material.next_change(now));
        // A certificate holds for the whole of its last second.
        let ends = self.ends.iter().map(|end| end.saturating_add(1)).filter(|end| *end > now);
        ends.chain(crl).min().unwrap_or(i64::MAX)
    }
}

/// Text for the log on what is wrong with a chain.
#[expect(clippy::wildcard_enum_match_arm, reason = "rustls may add kinds of errors")]
fn flaw(error: &Error) -> &'static str {
    let Error::InvalidCertificate(error) = error else { return "its chain does not hold" };
    match error {
        CertificateError::Revoked => "it is revoked",
        CertificateError::UnknownRevocationStatus => "no revocation list tells of it",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "the revocation list of its issuer has expired"
        }
        CertificateError::UnknownIssuer => "no client authority vouches for it",
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "its chain is not valid now",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its extended key usage is not client authentication"
        }
        _ => "its chain does not hold",
    }
}

/// When a certificate ends, where it can be read.
fn end(der: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
