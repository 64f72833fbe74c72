//! The plan of an operation: the resource it touches, the bounds of grants that apply beside the
//! resource's name, and the request that is made once it is allowed.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Body, Redemption};
use crate::grants::{Agent, Demand, Login, Resource};
use crate::identity::Presented;
use crate::kms::KmsCall;
use crate::lifetime::WrapTtl;
use crate::notes::{Note, Notes};
use crate::refusal::Refusal;
use crate::vault::PassedHeaders;

/// The part of a request that grants are compared with: read from an operation's arguments, or
/// named by a person who asks for an explanation.
#[derive(Clone, Debug, Default)]
pub struct About<'a> {
    /// A path, or the name of a key or role; empty for a root, the default key, or nothing.
    pub name: &'a str,
    /// True where the path is below the shared prefix.
    pub shared: bool,
    /// Seconds that the issued credential is to live; `None` where the request does not say.
    pub ttl: Option<u32>,
    /// User names and extensions of an SSH login; of a password the names alone.
    pub login: Login,
}

impl<'a> About<'a> {
    /// A request that says nothing but a name.
    pub(crate) fn named(name: &'a str) -> Self {
        Self { name, ..Self::default() }
    }
}

/// A resource, and the bounds of grants that apply beside its name.
#[derive(Debug)]
pub struct Touched {
    pub(crate) resource: Resource,
    pub(crate) demand: Demand,
}

impl From<Resource> for Touched {
    /// A resource whose name alone is judged.
    fn from(resource: Resource) -> Self {
        Self { resource, demand: Demand::default() }
    }
}

/// Reads a resource and its bounds, the same way for a request and for a question about one.
pub type Touch = fn(About<'_>) -> Result<Touched, Refusal>;

/// The resource that an operation's arguments name, and the request they make.
#[derive(Debug)]
pub struct Plan {
    pub(crate) touched: Option<Touched>,
    pub(crate) ask: Ask,
    pub(crate) wrap: Option<WrapTtl>,
    pub(crate) notes: Notes,
}

impl Plan {
    /// An answer of the gate's own.
    pub(crate) fn own(answer: Own) -> Self {
        Self::of(None, Ask::Own(answer))
    }

    /// A request about a resource.
    pub(crate) fn about(touched: Touched, ask: Ask) -> Self {
        Self::of(Some(touched), ask)
    }

    /// A request about the lease, certificate or wrapped answer that a handle stands for.
    pub(crate) fn held(handle: &str, redemption: Redemption) -> Self {
        Self::of(None, Ask::Held(handle.into(), redemption))
    }

    fn of(touched: Option<Touched>, ask: Ask) -> Self {
        Self { touched, ask, wrap: None, notes: Notes::default() }
    }

    /// The same plan, its answer wrapped.
    pub(crate) fn wrapped(mut self, wrap: Option<WrapTtl>) -> Self {
        self.wrap = wrap;
        self
    }

    /// The same plan, of which records tell this.
    pub(crate) fn noting(mut self, name: &'static str, note: Note) -> Self {
        self.notes.add(name, note);
        self
    }
}

/// Writes the gate's own answer to an agent, a JSON object.
pub type Own = fn(&Agent, Presented, &mut Vec<u8>);

/// The request of an operation, complete but for the agent.
#[derive(Debug)]
pub enum Ask {
    /// Vault is asked with the agent's token.
    Vault(Call),
    /// Vault is asked with the agent's token as the caller asks, at the path that is the resource.
    Pass(Passed),
    /// Vault is asked with the agent's token, and the agent gets a handle for the result.
    Issue(IssuedKind, Call),
    /// Vault is asked about what a handle stands for.
    Held(Box<str>, Redemption),
    /// AWS KMS is asked with the gate's own credentials.
    Kms(KmsCall),
    /// The gate answers itself.
    Own(Own),
}

/// The parts of a request that go on to Vault as they came, beside method and path.
#[derive(Debug, Default)]
pub struct Passed {
    /// The parameters of its query, decoded.
    pub query: Vec<(Box<str>, Box<str>)>,
    /// The JSON body.
    pub body: Option<Bytes>,
    /// Headers that ask for a state of Vault's, or for one of its nodes.
    pub headers: PassedHeaders,
}

/// The kind of credential that an operation issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuedKind {
    /// A lease, which has a token of its own and ends with it.
    Lease,
    /// A certificate.
    Certificate,
    /// A password that is used once, soon; there is no handle of it.
    Password,
}

/// A request of Vault's API below a mount, but for its method: that of the operation's [`Reach`](super::Reach), or
/// `POST` where a handle says what it is about.
#[derive(Debug)]
pub struct Call {
    /// The part between mount and resource: `data`, `metadata`, `random/32`.
    pub api: Cow<'static, str>,
    /// A numeric query parameter.
    pub query: Option<(&'static str, u64)>,
    /// The JSON body.
    pub body: Option<Body>,
    /// True where it may be sent again.
    pub repeatable: bool,
}
