//! Records of what the gate and its operators do themselves: Application Lifecycle (OCSF class 6002) and Account
//! Change (class 3001).

use super::{member, number};
use crate::names::AgentId;
use crate::secret::Digest;

/// Something that no agent asked for.
#[derive(Clone, Copy, Debug)]
pub enum Occurrence<'a> {
    /// The gate starts, and with it a chain.
    Started {
        /// The gate's version.
        version: &'a str,
        /// Digest of the configuration.
        configuration: Digest,
    },
    /// The gate ends, and with it the chain.
    Ended,
    /// Records were lost: more waited than may.
    Lost {
        /// The number of lost records.
        records: u64,
    },
    /// The chain up to here, signed.
    Checkpoint {
        /// The signed note.
        note: &'a str,
    },
    /// Another configuration is in force.
    Reloaded {
        /// Digest of the one before.
        old: Digest,
        /// Its own.
        new: Digest,
        /// The version of the snapshot.
        version: u64,
    },
    /// An agent is suspended.
    Suspended(&'a AgentId),
    /// An agent is suspended no longer.
    Resumed(&'a AgentId),
}

impl Occurrence<'_> {
    /// Writes the body of the record; `time` is in milliseconds since the epoch.
    pub fn write(&self, time: u64, out: &mut Vec<u8>) {
        let (class, activity, name) = match self {
            Self::Started { .. } => (6002, 3, "start"),
            Self::Ended => (6002, 4, "stop"),
            Self::Lost { .. } => (6002, 99, "lost"),
            Self::Checkpoint { .. } => (6002, 99, "checkpoint"),
            Self::Reloaded { .. } => (6002, 8, "reload"),
            Self::Suspended(_) => (3001, 5, "suspend"),
            Self::Resumed(_) => (3001, 2, "resume"),
        };
        number("},\"class_uid\":", class, out);
        number(",\"category_uid\":", class / 1000, out);
        number(",\"activity_id\":", activity, out);
        number(",\"type_uid\":", class * 100 + activity, out);
        number(",\"time\":", time, out);
        number(",\"severity_id\":", if matches!(self, Self::Lost { .. }) { 4 } else { 1 }, out);
        out.extend_from_slice(b",\"status_id\":1");
        match self {
            Self::Suspended(agent) | Self::Resumed(agent) => {
                member(",\"user\":{\"type_id\":99,\"type\":\"Agent\",\"name\":", agent.as_str(), out);
                out.push(b'}');
            }
            Self::Started { .. }
            | Self::Ended
            | Self::Lost { .. }
            | Self::Checkpoint { .. }
            | Self::Reloaded { .. } => {
                out.extend_from_slice(b",\"app\":{\"name\":\"Portcullis\"");
                if let Self::Started { version, .. } = self {
                    member(",\"version\":", version, out);
                }
                out.push(b'}');
            }
        }
        member(",\"unmapped\":{\"event\":", name, out);
        match self {
            Self::Started { configuration, .. } => member(",\"configuration\":", &configuration.to_hex(), out),
            Self::Reloaded { old, new, version } => {
                member(",\"old\":", &old.to_hex(), out);
                member(",\"new\":", &new.to_hex(), out);
                number(",\"snapshot\":", *version, out);
            }
            Self::Lost { records } => number(",\"records\":", *records, out),
            Self::Checkpoint { note } => member(",\"checkpoint\":", note, out),
            Self::Ended | Self::Suspended(_) | Self::Resumed(_) => {}
        }
    }
}
