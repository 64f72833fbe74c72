//! The record of suspended agents. An entry with an agent's name suspends that agent, whatever else
//! is wrong with it: somebody meant it.

use std::collections::BTreeMap;

use filters::names::AgentId;
use filters::path::PathProblem;
use filters::vault::{Layout, VaultRequest, control};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exchange::Envelope;
use crate::vault::record::SharedRecord;

/// One suspension, as the gate writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// The time it began, in seconds since the epoch.
    pub since: u64,
    /// The reason, for people.
    #[serde(default)]
    pub reason: String,
}

/// The entry of the record under an agent's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SuspensionEntry {
    /// The form that the gate writes.
    Suspended(Suspension),
    /// Another form, which is kept as it is.
    Malformed(Value),
}

/// The record: agents by name.
pub type SuspendedAgents = BTreeMap<String, SuspensionEntry>;

/// The record as it lies in Vault.
#[derive(Deserialize)]
pub(in crate::vault) struct StoredSuspensions {
    agents: Agents,
}

/// The forms of the agents: whoever writes the record by hand may write names alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Agents {
    Entries(SuspendedAgents),
    Names(Vec<AgentName>),
    Text(Names),
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct AgentName(AgentId);

impl TryFrom<String> for AgentName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        AgentId::parse(&text).map(Self).ok_or("no agent can have that name")
    }
}

/// Names in one text, separated by commas or spaces.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Names(Vec<AgentName>);

impl TryFrom<String> for Names {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let names = text.split([',', ' ']).filter(|name| !name.is_empty());
        let names: Vec<_> = names.map(|name| AgentName::try_from(name.to_owned())).collect::<Result<_, _>>()?;
        if names.is_empty() { Err("it names nobody") } else { Ok(Self(names)) }
    }
}

/// The record of suspended agents.
pub(super) struct SuspensionRecord<'a>(pub(super) &'a Layout);

impl SharedRecord for SuspensionRecord<'_> {
    type Stored = StoredSuspensions;
    type Entries = SuspendedAgents;

    fn reading(&self) -> Result<VaultRequest, PathProblem> {
        control::read_suspensions(self.0)
    }

    fn writing(&self, version: u64, agents: &SuspendedAgents) -> Result<VaultRequest, PathProblem> {
        control::write_suspensions(self.0, version, agents)
    }

    fn entries(&self, stored: Option<StoredSuspensions>) -> SuspendedAgents {
        stored.map(StoredSuspensions::record).unwrap_or_default()
    }

    fn envelopes(&self) -> (Envelope<'_>, Envelope<'_>) {
        (Envelope::default(), Envelope::default())
    }
}

impl StoredSuspensions {
    fn record(self) -> SuspendedAgents {
        let bare = |AgentName(agent): AgentName| (agent.as_str().to_owned(), SuspensionEntry::Malformed(Value::Null));
        match self.agents {
            Agents::Entries(record) => record,
            Agents::Names(names) | Agents::Text(Names(names)) => names.into_iter().map(bare).collect(),
        }
    }
}

/// The agents that the record suspends.
pub(super) fn agents(record: &SuspendedAgents) -> impl Iterator<Item = AgentId> {
    record.keys().filter_map(|name| AgentId::parse(name))
}

/// The names of entries with a fault, and the fault.
pub(super) fn problems(record: &SuspendedAgents) -> impl Iterator<Item = (&str, &'static str)> {
    record.iter().filter_map(|(name, entry)| match (AgentId::parse(name), entry) {
        (None, _) => Some((name.as_str(), "no agent can have that name")),
        (Some(_), SuspensionEntry::Malformed(_)) => {
            Some((name.as_str(), "it is not as the gate writes it; the agent is suspended"))
        }
        (Some(_), SuspensionEntry::Suspended(_)) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<SuspendedAgents> {
        serde_json::from_str::<StoredSuspensions>(text).ok().map(StoredSuspensions::record)
    }

    fn suspended(text: &str) -> Vec<String> {
        agents(&read(text).unwrap()).map(|agent| agent.to_string()).collect()
    }

    #[test]
    fn whoever_can_be_named_is_suspended() {
        let text = r#"{"agents":{"a":{"since":1,"reason":"x"},"b":{"since":"yesterday"},"c":null,"d":[],"No Name":{"since":1}}}"#;
        assert_eq!(suspended(text), ["a", "b", "c", "d"]);
        let record = read(text).unwrap();
        let named: Vec<_> = problems(&record).map(|(name, _)| name).collect();
        assert_eq!(named, ["No Name", "b", "c", "d"]);
        // What cannot be read is written back as it was.
        let again = serde_json::json!({"agents": record}).to_string();
        assert_eq!(read(&again), read(text));
        assert_eq!(suspended(r#"{"agents":["a","b"]}"#), ["a", "b"]);
        assert_eq!(suspended(r#"{"agents":"a, b"}"#), ["a", "b"]);
        assert_eq!(suspended(r#"{"agents":{}}"#), [""; 0]);
    }

    #[test]
    fn what_names_nobody_is_no_record() {
        for text in [
            "{}",
            r#"{"agent":{"a":{"since":1}}}"#,
            r#"{"agents":null}"#,
            r#"{"agents":7}"#,
            r#"{"agents":" "}"#,
            r#"{"agents":["a",7]}"#,
            r#"{"agents":["No Name"]}"#,
            r#"{"agents":"{\"a\":{\"since\":1}}"}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
