//! What the operator's log is told of a login that was refused.

use std::borrow::Cow;

use filters::credential::Offered;
use pingora_core::protocols::http::ServerSession;

use crate::listener::Peer;

use super::Request;

/// Hexadecimal digits of an API key's digest that are told.
const DIGITS: usize = 8;

/// Why a credential does not hold.
pub(super) struct Failure {
    why: Cow<'static, str>,
    /// Whom it was of, where it proved that, or the agent it would have been.
    principal: String,
}

/// A login that was refused. Nothing in it is part of a secret: of an API key it has the beginning of
/// the digest, of a token the issuer's configured name.
#[derive(Default)]
pub(super) struct RefusedLogin {
    pub(super) why: Cow<'static, str>,
    pub(super) principal: String,
    pub(super) key: String,
    pub(super) certificate: String,
    pub(super) issuer: String,
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

impl Request<'_> {
    /// The login that was refused, for the log.
    pub(super) fn refused_login(&self, session: &ServerSession) -> RefusedLogin {
        let mut login = RefusedLogin::default();
        let peer = self.peer().map(|(peer, _)| peer);
        login.certificate = peer.and_then(Peer::fingerprint).map(|digest| digest.to_hex()).unwrap_or_default();
        match self.offered(session) {
            Ok(Offered::ApiKey(key)) => login.key = key.digest().to_hex().chars().take(DIGITS).collect(),
            Ok(Offered::Bearer(token) | Offered::Dpop(token, _)) => {
                login.issuer = self.snapshot.issuers.name_of(&token).unwrap_or_default().to_owned();
            }
            Ok(Offered::Nothing) => {
                login.principal = peer.and_then(|peer| peer.principal(&self.snapshot)).unwrap_or_default();
            }
            Ok(Offered::DistinguishedName(_)) => {}
            Err(_) => login.why = "the head has several credentials, or one that cannot be read".into(),
        }
        if let Some(failure) = self.failure.get() {
            login.why = failure.why.clone();
            if !failure.principal.is_empty() {
                login.principal.clone_from(&failure.principal);
            }
        }
        login
    }
}
