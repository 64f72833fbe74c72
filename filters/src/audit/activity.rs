//! Records of operations: API Activity (OCSF class 6003).

use std::net::IpAddr;

use super::{Naming, closed, member, number, of_trace, source, text};
use crate::catalog::{self, KV};
use crate::decide::Concern;
use crate::grants::{Engine, Resource, Space};
use crate::operation::OperationSpec;
use crate::path::SecretPath;
use crate::scope::Scope;
use crate::trace::TraceId;

/// Most resources that one record names, where an operation made many calls.
pub(super) const NAMED: usize = 32;

/// The moment of an operation that a record is made at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After the operation was permitted, before Vault is asked.
    Permitted,
    /// After the operation has ended.
    Ended {
        /// The HTTP status.
        status: u16,
        /// Milliseconds from head to answer.
        took: u64,
    },
}

/// The facts of one operation. Its texts are `T`, mostly `&str`.
#[derive(Clone, Copy, Debug)]
pub struct Activity<T> {
    /// Milliseconds since the epoch.
    pub time: u64,
    /// The moment.
    pub stage: Stage,
    /// The id that Vault's own audit has too.
    pub correlation_id: T,
    /// The gate's id of the request.
    pub request_id: T,
    /// The trace that the request is in.
    pub trace: Option<TraceId>,
    /// The place of a message in its batch.
    pub message: Option<usize>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The HTTP method, and the route's template.
    pub asked: (&'static str, &'static str),
    /// The agent; empty where an operator asks, or nobody is known.
    pub agent: T,
    /// The agent's namespace in Vault.
    pub namespace: T,
    /// The kind of proof of its identity.
    pub proof: &'static str,
    /// The operation's name; empty where there is none in the catalog.
    pub operation: &'static str,
    /// `allow`, or the code of the refusal.
    pub decision: &'static str,
    /// The role that allowed.
    pub role: T,
    /// True where only a role that observes allowed it.
    pub observed: bool,
    /// The reason of a refusal, or of what would be one, where one is known; without names of secrets.
    pub why: T,
    /// True where an operator asks.
    pub by_operator: bool,
}

/// A resource that an operation touched. Its name is a `T`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touched<T> {
    engine: Engine,
    /// True where it is no agent's own.
    shared: bool,
    name: Option<T>,
    version: Option<u64>,
}

impl<T> Activity<T> {
    /// The same with other texts, which are made of these in the order of the members.
    pub(super) fn map<U>(self, mut other: impl FnMut(T) -> U) -> Activity<U> {
        Activity {
            time: self.time,
            stage: self.stage,
            correlation_id: other(self.correlation_id),
            request_id: other(self.request_id),
            trace: self.trace,
            message: self.message,
            client: self.client,
            asked: self.asked,
            agent: other(self.agent),
            namespace: other(self.namespace),
            proof: self.proof,
            operation: self.operation,
            decision: self.decision,
            role: other(self.role),
            observed: self.observed,
            why: other(self.why),
            by_operator: self.by_operator,
        }
    }
}

impl<T> Touched<T> {
    /// The same with another name.
    pub(super) fn map<U>(self, other: impl FnOnce(T) -> U) -> Touched<U> {
        Touched { engine: self.engine, shared: self.shared, name: self.name.map(other), version: self.version }
    }
}

impl<'a> Touched<&'a str> {
    /// The resource that an operation was about; `None` where it was about none.
    pub(super) fn by(concern: &'a Concern) -> Option<Self> {
        let (engine, shared, name) = match concern.resource.as_ref()? {
            Resource::Secret(space, path) => (KV, *space == Space::Shared, Some(path.as_str())),
            Resource::Names(space, prefix) => {
                (KV, *space == Space::Shared, Some(prefix.as_ref().map_or("", SecretPath::as_str)))
            }
            Resource::Key(engine, name) => (*engine, false, Some(name.as_ref())),
            Resource::Nameless(engine) => (*engine, false, None),
        };
        Some(Self { engine, shared, name, version: concern.version })
    }
}

impl Activity<&str> {
    /// Writes the body of the record; `concerns` are the resources that the operation was about.
    pub fn write<'c>(&self, concerns: impl Iterator<Item = &'c Concern>, naming: &Naming, out: &mut Vec<u8>) {
        self.write_about(concerns.filter_map(Touched::by).take(NAMED), naming, out);
    }

    pub(super) fn write_about<'c>(
        &self,
        resources: impl Iterator<Item = Touched<&'c str>>,
        naming: &Naming,
        out: &mut Vec<u8>,
    ) {
        closed(",\"correlation_uid\":", self.correlation_id, out);
        let id = self.activity();
        number("},\"class_uid\":6003,\"category_uid\":6,\"activity_id\":", id, out);
        number(",\"type_uid\":", 600_300 + id, out);
        number(",\"time\":", self.time, out);
        out.extend_from_slice(match (self.decision, self.stage) {
            ("allow", Stage::Permitted) => b",\"severity_id\":1,\"status_id\":0",
            ("allow", Stage::Ended { .. }) => b",\"severity_id\":1,\"status_id\":1",
            (_, Stage::Permitted) => b",\"severity_id\":2,\"status_id\":0",
            (_, Stage::Ended { .. }) => b",\"severity_id\":2,\"status_id\":2",
        });
        member(",\"status_detail\":", self.why, out);
        self.actor(out);
        let operation = if self.operation.is_empty() { self.asked.1 } else { self.operation };
        out.extend_from_slice(b",\"api\":{\"operation\":");
        text(operation, out);
        closed(",\"request\":{\"uid\":", self.request_id, out);
        out.extend_from_slice(if self.request_id.is_empty() { b"}" } else { b"}}" });
        if let (method, Stage::Ended { status, took }) = (self.asked.0, self.stage) {
            closed(",\"http_request\":{\"http_method\":", method, out);
            let before =
                if method.is_empty() { ",\"http_response\":{\"code\":" } else { "},\"http_response\":{\"code\":" };
            number(before, status.into(), out);
            number("},\"duration\":", took, out);
        }
        self.resources(resources, naming, out);
        self.unmapped(out);
    }

    fn actor(&self, out: &mut Vec<u8>) {
        match (self.agent, self.by_operator) {
            ("", true) => out.extend_from_slice(b",\"actor\":{\"user\":{\"type_id\":2,\"type\":\"Operator\""),
            ("", false) => out.extend_from_slice(b",\"actor\":{\"user\":{\"type_id\":0"),
            (agent, _) => {
                closed(",\"actor\":{\"user\":{\"type_id\":99,\"type\":\"Agent\",\"name\":", agent, out);
            }
        }
        out.extend_from_slice(b"}}");
        source(self.client, out);
    }

    fn resources<'c>(&self, resources: impl Iterator<Item = Touched<&'c str>>, naming: &Naming, out: &mut Vec<u8>) {
        let mut first = true;
        for resource in resources {
            out.extend_from_slice(if first { b",\"resources\":[" } else { b"," });
            first = false;
            self.resource(&resource, naming, out);
        }
        if !first {
            out.push(b']');
        }
    }

    fn resource(&self, resource: &Touched<&str>, naming: &Naming, out: &mut Vec<u8>) {
        let Touched { engine, shared, name, version } = resource;
        closed("{\"type\":", engine.name(), out);
        if let Some(name) = name {
            out.extend_from_slice(b",\"name\":");
            naming.write(name, out);
        }
        member(",\"namespace\":", self.namespace, out);
        if let Some(version) = version {
            number(",\"version\":\"", *version, out);
            out.push(b'"');
        }
        if *shared {
            out.extend_from_slice(b",\"labels\":[\"shared\"]");
        }
        out.push(b'}');
    }

    fn unmapped(&self, out: &mut Vec<u8>) {
        closed(",\"unmapped\":{\"decision\":", self.decision, out);
        out.extend_from_slice(match self.stage {
            Stage::Permitted => b",\"stage\":\"permitted\"",
            Stage::Ended { .. } => b",\"stage\":\"ended\"",
        });
        member(",\"role\":", self.role, out);
        out.extend_from_slice(if self.observed { b",\"observed\":true" } else { b"" });
        closed(",\"proof\":", self.proof, out);
        closed(",\"route\":", self.asked.1, out);
        if let Some(message) = self.message {
            number(",\"message\":", message as u64, out);
        }
        of_trace(self.trace, out);
    }

    /// The activity: 1 create, 2 read, 3 update, 4 delete, 99 another.
    fn activity(&self) -> u64 {
        match catalog::find(self.operation) {
            Some(entry) => activity(entry.spec),
            None if self.by_operator && self.asked.0 != "GET" => 3,
            None if self.by_operator => 2,
            None => 99,
        }
    }
}

/// The activity of an operation of the catalog's.
fn activity(spec: &OperationSpec) -> u64 {
    // A secret that is written anew is updated, though what was there may be lost.
    let of_kv = spec.engine == Some(KV);
    let ends = spec.scope == Some(Scope::Delete) || spec.annotations.destructive && !of_kv;
    let of_handle = spec.reach.apis.is_empty() && !spec.engine.is_some_and(Engine::is_kms);
    match (spec.annotations.read_only, ends) {
        (true, _) => 2,
        (false, true) => 4,
        (false, false) if of_kv || of_handle => 3,
        (false, false) => 1,
    }
}
