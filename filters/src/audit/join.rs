//! One call in two audits: a record of the gate's, and a request in Vault's. Nothing here reads files; lines come in.
//!
//! Source of Vault's form: <https://developer.hashicorp.com/vault/docs/audit/schema>.

use std::str::FromStr as _;

use serde::Deserialize;

use super::Naming;
use super::activity::NAMED;
use super::naming::{PREFIX, UNTOLD};
use crate::catalog;
use crate::operation::OperationSpec;

/// The OCSF class of records of operations.
const CLASS: u32 = 6003;

/// A record of an agent's call in the gate's audit.
#[derive(Debug)]
pub struct RecordedCall {
    /// The correlation id.
    pub correlation: Box<str>,
    /// The chain and the number of the record.
    pub record: Box<str>,
    /// The id of the request, and the place of the message in its batch.
    pub request: (Box<str>, Option<u64>),
    /// Milliseconds since the epoch when it was recorded.
    pub time: u64,
    /// The time when the call began.
    pub began: u64,
    /// True where it has ended.
    pub ended: bool,
    /// The agent.
    pub agent: Box<str>,
    /// The operation's name.
    pub operation: Box<str>,
    /// `allow`, or the code of the refusal.
    pub decision: Box<str>,
    /// The HTTP status, once it has ended.
    pub status: Option<u16>,
    resources: Vec<NamedResource>,
}

#[derive(Debug, Deserialize)]
struct NamedResource {
    #[serde(rename = "type")]
    engine: Box<str>,
    name: Option<Box<str>>,
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    labels: Vec<Box<str>>,
}

/// A line of Vault's audit.
#[derive(Debug)]
pub struct HeardRequest {
    /// Vault's id of the request; empty for some that Vault makes itself.
    pub request: Box<str>,
    /// True for the line of the answer, which says what the line of the request does too.
    pub answered: bool,
    /// Milliseconds since the epoch.
    pub time: u64,
    /// The correlation id; `None` where Vault did not write one down.
    pub correlation: Option<Box<str>>,
    /// `read`, `create`, `update`, `delete`, `list` or another.
    pub operation: Box<str>,
    /// The path, with its mount.
    pub path: Box<str>,
    mount: Box<str>,
    /// The namespace, without slashes around it; empty for the root.
    pub namespace: Box<str>,
    /// The agent that the token was made for by a gate.
    pub agent: Option<Box<str>>,
    /// The name that Vault has for the token.
    pub holder: Box<str>,
    /// The HMAC of the token's accessor.
    pub accessor: Box<str>,
    /// The client's address; empty for what Vault asks itself.
    pub address: Box<str>,
    /// Vault's words for a refusal.
    pub error: Option<Box<str>>,
}

/// The relation of a request to a record that has its correlation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The request is the one that the record tells of.
    Same,
    /// The request may be that one: the record has an HMAC in place of the name, and its key is not here.
    Unproved,
    /// The gate made the request for the same call, such as for a token.
    Beside,
    /// The request is another.
    Differs(Difference),
}

/// The first thing in which a request is not what a record tells of; what is nearest to fitting comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// The name in the path.
    Path,
    /// The operation on that path.
    Operation,
    /// The part of Vault's API.
    Kind,
    /// The agent whose token it is.
    Agent,
}

impl Difference {
    /// As it is told.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Path => "the path is another",
            Self::Operation => "the operation is another",
            Self::Kind => "the path is of something else",
            Self::Agent => "the token is another agent's",
        }
    }
}

impl RecordedCall {
    /// Reads a line, without its end; `None` where it is no record of an agent's call.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            metadata: Metadata,
            class_uid: u32,
            time: u64,
            #[serde(default)]
            duration: u64,
            actor: Actor,
            api: Api,
            http_response: Option<Response>,
            #[serde(default)]
            resources: Vec<NamedResource>,
            unmapped: Unmapped,
        }
        #[derive(Deserialize)]
        struct Metadata {
            uid: Box<str>,
            correlation_uid: Box<str>,
        }
        #[derive(Deserialize)]
        struct Actor {
            user: User,
        }
        #[derive(Deserialize)]
        struct User {
            name: Box<str>,
        }
        #[derive(Deserialize)]
        struct Api {
            operation: Box<str>,
            request: Option<Uid>,
        }
        #[derive(Default, Deserialize)]
        struct Uid {
            uid: Box<str>,
        }
        #[derive(Deserialize)]
        struct Response {
            code: u16,
        }
        #[derive(Deserialize)]
        struct Unmapped {
            decision: Box<str>,
            stage: Box<str>,
            message: Option<u64>,
        }
        let Line { metadata, class_uid, time, duration, actor, api, http_response, resources, unmapped } =
            serde_json::from_slice(line).ok()?;
        (class_uid == CLASS).then(|| Self {
            correlation: metadata.correlation_uid,
            record: metadata.uid,
            request: (api.request.unwrap_or_default().uid, unmapped.message),
            time,
            began: time.saturating_sub(duration),
            ended: &*unmapped.stage == "ended",
            agent: actor.user.name,
            operation: api.operation,
            decision: unmapped.decision,
            status: http_response.map(|response| response.code),
            resources,
        })
    }

    /// True where Vault must have been asked: it was allowed and done, and Vault does it.
    #[must_use]
    pub fn needs_vault(&self) -> bool {
        let asks = self.spec().is_some_and(|spec| !spec.reach.apis.is_empty());
        self.ended && &*self.decision == "allow" && asks
    }

    /// True where a resource is called `name`, in the form of the records.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.resources.iter().any(|resource| resource.name.as_deref() == Some(name))
    }

    /// The names of its resources, in the form of the records.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().filter_map(|resource| resource.name.as_deref())
    }

    /// The relation of a request that has the same correlation id; records name things in one of these forms.
    #[must_use]
    pub fn fit(&self, heard: &HeardRequest, namings: &[Naming]) -> Fit {
        if heard.agent.as_ref().is_some_and(|agent| *agent != self.agent) {
            return Fit::Differs(Difference::Agent);
        }
        let Some(spec) = self.spec().filter(|spec| !spec.reach.apis.is_empty()) else { return Fit::Same };
        let is_gates = ["auth/", "sys/"].iter().any(|prefix| heard.path.starts_with(prefix));
        let within = heard.within_mount();
        let rests = spec.reach.apis.iter().filter_map(|api| within.strip_prefix(api));
        let mut rests = rests.filter_map(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') });
        match rests.next() {
            _ if is_gates => Fit::Beside,
            // The gate's bookkeeping is asked with its own token.
            None if heard.agent.is_none() => Fit::Beside,
            None => Fit::Differs(Difference::Kind),
            Some(_) if !spec.reach.may.iter().any(|may| may.name() == &*heard.operation) => {
                Fit::Differs(Difference::Operation)
            }
            Some(rest) => self.compare(rest, &heard.namespace, namings),
        }
    }

    /// Compares the part of Vault's path that names something.
    fn compare(&self, rest: &str, namespace: &str, namings: &[Naming]) -> Fit {
        // A listing names no more than some of what it was about.
        if self.resources.is_empty() || self.resources.len() == NAMED {
            return Fit::Unproved;
        }
        let mut unproved = false;
        for resource in &self.resources {
            if resource.namespace.trim_matches('/') != namespace {
                continue;
            }
            let Some(name) = &resource.name else { return Fit::Same };
            let is_name = |candidate| namings.iter().any(|naming| naming.of(candidate) == **name);
            let has_no_key = || namings.iter().all(|naming| matches!(naming, Naming::Clear));
            if **name == *UNTOLD || name.starts_with(PREFIX) && has_no_key() {
                unproved = true;
            } else if self.candidates(resource, rest).any(is_name) {
                return Fit::Same;
            }
        }
        if unproved { Fit::Unproved } else { Fit::Differs(Difference::Path) }
    }

    /// The names that the rest of a path may be of: what stands behind a prefix, which for an agent's own secrets ends
    /// with the agent; of other engines the first segment.
    fn candidates<'p>(&self, resource: &NamedResource, rest: &'p str) -> impl Iterator<Item = &'p str> {
        let is_path = &*resource.engine == catalog::KV.name();
        let shared = resource.labels.iter().any(|label| &**label == "shared");
        let rest = rest.trim_end_matches('/');
        let first = (!is_path).then(|| rest.split('/').next().unwrap_or(rest));
        let borders = rest.match_indices('/').map(|(at, _)| at).chain([rest.len()]).filter(move |_| is_path);
        let behind = borders.filter_map(move |at| {
            let (before, name) = rest.split_at_checked(at)?;
            let owner = before.rsplit('/').next().unwrap_or(before);
            (shared || *owner == *self.agent).then(|| name.strip_prefix('/').unwrap_or(name))
        });
        first.into_iter().chain(behind)
    }

    fn spec(&self) -> Option<&'static OperationSpec> {
        catalog::find(&self.operation).map(|entry| entry.spec)
    }
}

impl HeardRequest {
    /// Reads a line, without its end; `None` where it is none of Vault's audit.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line {
            #[serde(rename = "type")]
            kind: Box<str>,
            time: Box<str>,
            auth: Option<Auth>,
            request: Request,
            error: Option<Box<str>>,
        }
        #[derive(Default, Deserialize)]
        struct Auth {
            #[serde(default)]
            display_name: Box<str>,
            #[serde(default)]
            accessor: Box<str>,
            metadata: Option<Metadata>,
        }
        #[derive(Deserialize)]
        struct Metadata {
            agent: Option<Box<str>>,
        }
        #[derive(Deserialize)]
        struct Request {
            #[serde(default)]
            id: Box<str>,
            #[serde(default)]
            operation: Box<str>,
            path: Box<str>,
            #[serde(default)]
            mount_point: Box<str>,
            namespace: Option<Namespace>,
            #[serde(default)]
            remote_address: Box<str>,
            headers: Option<Headers>,
        }
        #[derive(Default, Deserialize)]
        struct Namespace {
            #[serde(default)]
            path: Box<str>,
        }
        #[derive(Deserialize)]
        struct Headers {
            #[serde(rename = "x-correlation-id", default)]
            correlation: Vec<Box<str>>,
        }
        let Line { kind, time, auth, request, error } = serde_json::from_slice(line).ok()?;
        let answered = match &*kind {
            "request" => false,
            "response" => true,
            _ => return None,
        };
        let (auth, namespace) = (auth.unwrap_or_default(), request.namespace.unwrap_or_default());
        let time = jiff::Timestamp::from_str(&time).ok()?.as_millisecond();
        Some(Self {
            request: request.id,
            answered,
            time: u64::try_from(time).ok()?,
            correlation: request.headers.and_then(|headers| headers.correlation.into_iter().next()),
            operation: request.operation,
            path: request.path,
            mount: request.mount_point,
            namespace: namespace.path.trim_matches('/').into(),
            agent: auth.metadata.and_then(|metadata| metadata.agent),
            holder: auth.display_name,
            accessor: auth.accessor,
            address: request.remote_address,
            error,
        })
    }

    /// The path behind its mount; behind its first segment where Vault did not tell the mount.
    fn within_mount(&self) -> &str {
        let behind = self.path.strip_prefix(&*self.mount).filter(|_| !self.mount.is_empty());
        behind.unwrap_or_else(|| self.path.split_once('/').map_or("", |(_, behind)| behind))
    }

    /// True where the path ends with `name`, whole segments of it.
    #[must_use]
    pub fn ends_with(&self, name: &str) -> bool {
        let path = self.path.trim_end_matches('/');
        path.strip_suffix(name.trim_end_matches('/')).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    }
}

#[cfg(test)]
mod tests;
