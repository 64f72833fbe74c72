//! The settings that go along with one request to Vault.

use std::time::Duration;

use filters::names::Namespace;
use filters::operation::Entry;
use filters::secret::Secret;

use crate::telemetry::{Recording, Timed};

/// Most bytes of an answer where nothing else is said.
const LIMIT: usize = 1 << 20;

/// The pool of connections that a request takes one of. A connection is driven by the thread
/// that made it, so requests never take one of the background's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// The gate's own, beside the requests.
    #[default]
    Background,
    /// The requests'.
    Requests,
}

/// The settings that go along with one request.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    /// The pool of connections it takes one of.
    pub lane: Lane,
    /// The token it acts with.
    pub token: Option<&'a Secret>,
    /// The namespace it is asked in; the gate's own where absent.
    pub namespace: Option<&'a Namespace>,
    /// Seconds that Vault wraps the answer for: `X-Vault-Wrap-TTL`.
    pub wrap_ttl: Option<u32>,
    /// The id of the agent's call that this is asked for, which goes to Vault as `X-Correlation-Id`; the gate's own
    /// where absent.
    pub correlation: Option<&'a str>,
    /// The notes for the trace of the request that it is asked for, and the operation.
    pub traced: Option<(&'a Recording, &'static Entry)>,
    /// The step of the trace that this is.
    pub span: Option<&'a Timed<'a>>,
    /// Most bytes of the answer.
    pub limit: usize,
    /// The time that the answer is waited for.
    pub patience: Patience,
}

/// The time that an answer is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub enum Patience {
    /// As long as `upstream.timeout` says.
    #[default]
    Usual,
    /// At most this long.
    For(Duration),
    /// At most this long. After a part of it another connection is asked too, so that one that
    /// hangs holds nothing up.
    Look(Duration),
}

impl Default for Envelope<'_> {
    fn default() -> Self {
        Self {
            lane: Lane::default(),
            token: None,
            namespace: None,
            wrap_ttl: None,
            correlation: None,
            traced: None,
            span: None,
            limit: LIMIT,
            patience: Patience::default(),
        }
    }
}
