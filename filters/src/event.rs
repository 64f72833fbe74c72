//! Events: a change that was done, as those hear of it who may see it (DESIGN section 14). An event says
//! who did what to which resource, never a value; who may see it is judged when it is told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::condition::Circumstances;
use crate::grants::{Agent, Demand, Need, Resource, Space};
use crate::identity::Identity;
use crate::names::{AgentId, Namespace};
use crate::path::SecretPath;
use crate::scope::Scope;
use crate::vault::Layout;
use crate::verdict::judge;

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A secret was written, patched, deleted, brought back or destroyed.
    #[serde(rename = "resource.changed")]
    Changed,
    /// A credential was issued.
    #[serde(rename = "credential.issued")]
    Issued,
    /// A lease was renewed.
    #[serde(rename = "credential.renewed")]
    Renewed,
    /// A lease or certificate was revoked.
    #[serde(rename = "credential.revoked")]
    Revoked,
    /// An answer was wrapped.
    #[serde(rename = "answer.wrapped")]
    Wrapped,
    /// A wrapped answer was given out.
    #[serde(rename = "answer.unwrapped")]
    Unwrapped,
    /// The agent was suspended.
    #[serde(rename = "agent.suspended")]
    Suspended,
    /// The agent is suspended no longer.
    #[serde(rename = "agent.resumed")]
    Resumed,
    /// Something was done that changes nothing.
    #[serde(rename = "operation.completed")]
    Completed,
}

impl EventKind {
    /// The kind as it is told: `resource.changed`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changed => "resource.changed",
            Self::Issued => "credential.issued",
            Self::Renewed => "credential.renewed",
            Self::Revoked => "credential.revoked",
            Self::Wrapped => "answer.wrapped",
            Self::Unwrapped => "answer.unwrapped",
            Self::Suspended => "agent.suspended",
            Self::Resumed => "agent.resumed",
            Self::Completed => "operation.completed",
        }
    }
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its kind.
    pub kind: EventKind,
    /// The agent that did it, or that it was done to.
    pub agent: AgentId,
    /// The generation of that agent's name.
    pub generation: u32,
    /// The namespace of Vault's that it was done in.
    pub namespace: Namespace,
    /// The operation's name; empty where an operator did it.
    pub operation: Box<str>,
    /// The resource, its engine by name; `None` where there is none.
    pub resource: Option<Resource<Box<str>>>,
    /// The version of the secret that was written, where Vault told it.
    pub version: Option<u64>,
}

impl Event {
    /// An operation that changed nothing.
    #[must_use]
    pub fn completed(agent: AgentId, namespace: Namespace, operation: &str) -> Self {
        let (kind, operation) = (EventKind::Completed, operation.into());
        Self { kind, agent, generation: 0, namespace, operation, resource: None, version: None }
    }

    /// Something that an operator did to `agent`.
    #[must_use]
    pub fn of_operator(kind: EventKind, agent: &Agent) -> Self {
        Self {
            kind,
            agent: agent.id.clone(),
            generation: agent.generation,
            namespace: agent.namespace.clone(),
            operation: "".into(),
            resource: None,
            version: None,
        }
    }

    /// The secret that changed: told to all who may read it. Anything else is told to its agent alone.
    #[must_use]
    pub fn secret(&self) -> Option<(Space, &SecretPath)> {
        match (self.kind, &self.resource) {
            (EventKind::Changed, Some(Resource::Secret(space, path))) => Some((*space, path)),
            _ => None,
        }
    }

    /// True where others than its agent may be told of it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.secret().is_some_and(|(space, _)| space == Space::Shared)
    }

    /// True where `identity` may see it now.
    #[must_use]
    pub fn is_seen_by(&self, identity: &Identity, layout: &Layout, circumstances: Circumstances) -> bool {
        let agent = &identity.agent;
        if self.namespace != agent.namespace {
            return false;
        }
        let own = self.agent == agent.id;
        let Some((space, path)) = self.secret() else {
            // What changed nothing is told at once or never.
            return own && (self.kind == EventKind::Completed || self.generation == agent.generation);
        };
        let resource = Resource::Secret(space, path.clone());
        let need = Need { scope: Scope::Read, resource: &resource, demand: &Demand::default(), circumstances };
        (own || space == Space::Shared) && judge(identity, &need, layout).is_ok()
    }
}

/// The id of an event. Those of one gate grow, and begin anew nowhere: they are made of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventId {
    /// Milliseconds since the epoch, in the upper 44 bits; below, a number.
    time: u64,
    /// The gate, by a number that it drew when it started.
    gate: u32,
}

/// Bits of the number below the time.
const NUMBER: u32 = 20;

impl EventId {
    /// The first id of the gate with this number.
    #[must_use]
    pub const fn first(gate: u32) -> Self {
        Self { time: 0, gate }
    }

    /// The next one, at `now` in milliseconds since the epoch; it is greater wherever the clock stands.
    #[must_use]
    pub fn next(self, now: u64) -> Self {
        Self { time: (now << NUMBER).max(self.time + 1), ..self }
    }

    /// The time at which it was made, in milliseconds since the epoch.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        self.time >> NUMBER
    }

    /// The gate's number.
    #[must_use]
    pub const fn gate(self) -> u32 {
        self.gate
    }

    /// Reads an id as it is told; `None` for what is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (time, gate) = text.split_once('-')?;
        let plain = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        if !(plain(time, 16) && plain(gate, 8)) {
            return None;
        }
        Some(Self { time: u64::from_str_radix(time, 16).ok()?, gate: u32::from_str_radix(gate, 16).ok()? })
    }
}

/// 16 hexadecimal digits, which grow, and 8 of the gate.
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}", self.time, self.gate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_whatever_the_clock_says_and_are_read_back() {
        let mut last = EventId::first(0xC0FFEE);
        for now in [1_700_000_000_000, 1_700_000_000_000, 1_600_000_000_000, 1_700_000_000_001] {
            let next = last.next(now);
            assert!(next > last, "{last} {next}");
            assert_eq!(EventId::parse(&next.to_string()), Some(next));
            last = next;
        }
        assert_eq!(last.milliseconds(), 1_700_000_000_001);
        for text in ["", "1-2", "+000000000000001-00000001", "0000000000000001-0000000g", "0000000000000001_00000001"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_kind_is_written_as_it_is_told() {
        for kind in [EventKind::Changed, EventKind::Issued, EventKind::Suspended, EventKind::Completed] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
