//! Refused logins, as the operator's log names them.

use std::borrow::Cow;
use std::sync::Arc;

use filters::credential::Offered;
use filters::grants::Agent;
use filters::identity::Proof;
use filters::refusal::Refusal;

use super::{Context, Offer, Peer};

/// Hexadecimal digits of an API key's digest that are told.
const DIGITS: usize = 8;

/// Why a credential does not hold.
#[derive(Debug)]
pub(super) struct Failure {
    why: Cow<'static, str>,
    /// Whom it was of, where it proved that, or the agent it would have been.
    principal: String,
}

/// A caller that is not admitted.
#[derive(Debug)]
pub struct Rejected {
    /// The refusal it is answered with.
    pub refusal: Refusal,
    /// The login for the log, where its credential is at fault.
    pub login: Option<Box<RefusedLogin>>,
    /// The agent and the kind of its proof, where they are known.
    pub of: Option<(Arc<Agent>, Proof)>,
}

/// A login that was refused. Nothing in it is part of a secret: of an API key it has the beginning of
/// the digest, of a token the issuer's configured name.
#[derive(Debug, Default)]
pub struct RefusedLogin {
    /// The reason.
    pub why: Cow<'static, str>,
    /// The kind of credential that did not hold; empty where none was judged.
    pub judged: &'static str,
    /// The principal, where it was proved.
    pub principal: String,
    /// The first digits of the SHA-256 of its API key.
    pub key: String,
    /// SHA-256 of its certificate.
    pub certificate: String,
    /// Configured name of its token's issuer.
    pub issuer: String,
}

impl Failure {
    /// One of nobody in particular.
    pub(super) fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), principal: String::new() }
    }

    /// The same, of this principal, of which [`Peer::NAME`] characters are kept.
    pub(super) fn of(self, principal: &str) -> Self {
        Self { principal: principal.chars().take(Peer::NAME).collect(), ..self }
    }
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, login: None, of: None }
    }
}

impl RefusedLogin {
    /// One of a head whose credentials cannot be told apart, with a certificate of this peer's.
    #[must_use]
    pub fn unreadable(peer: Option<&Peer>) -> Self {
        let why = "the head has several credentials, or one that cannot be read".into();
        Self { why, certificate: fingerprint(peer), ..Self::default() }
    }
}

impl Context<'_> {
    /// The login that was refused; `judged` where its credential did not hold.
    pub(super) fn refused_login(&self, judged: bool, offer: &Offer<'_>, failure: Option<Failure>) -> RefusedLogin {
        let peer = offer.peer.map(|(peer, _)| peer);
        let judged = if judged { kind(&offer.credential) } else { "" };
        let mut login = RefusedLogin { judged, certificate: fingerprint(peer), ..RefusedLogin::default() };
        match &offer.credential {
            Offered::ApiKey(key) => login.key = key.digest().to_hex().chars().take(DIGITS).collect(),
            Offered::Bearer(token) | Offered::Dpop(token, _) => {
                login.issuer = self.snapshot.credentials.issuers.name_of(token).unwrap_or_default().to_owned();
            }
            Offered::Nothing => {
                login.principal = peer.and_then(|peer| peer.principal(&self.snapshot)).unwrap_or_default();
            }
            Offered::DistinguishedName(_) | Offered::Process(_) => {}
        }
        if let Some(failure) = failure {
            login.why = failure.why;
            if !failure.principal.is_empty() {
                login.principal = failure.principal;
            }
        }
        login
    }
}

/// The kind of a credential.
const fn kind(offered: &Offered) -> &'static str {
    match offered {
        Offered::Nothing => "certificate",
        Offered::ApiKey(_) => "api_key",
        Offered::Bearer(_) => "bearer",
        Offered::Dpop(..) => "dpop",
        Offered::DistinguishedName(_) => "trusted_proxy",
        Offered::Process(_) => "process",
    }
}

fn fingerprint(peer: Option<&Peer>) -> String {
    peer.and_then(Peer::fingerprint).map(|digest| digest.to_hex()).unwrap_or_default()
}
