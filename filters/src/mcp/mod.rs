//! The MCP surface (Model Context Protocol over Streamable HTTP): JSON-RPC
//! messages in, [`Call`]s out, results back.
//!
//! Sources: <https://modelcontextprotocol.io/specification/2025-06-18> and
//! <https://modelcontextprotocol.io/specification/2026-07-28>. The first needs
//! no session here, the second has none: every message stands by itself.

mod complete;
mod events;
mod failure;
mod features;
mod input;
mod message;
mod method;
mod notices;
mod params;
mod prompts;
mod resources;
mod result;
mod session;
mod subscription;
mod tools;

pub use complete::{Completing, Sought, completed};
pub use events::{Feed, KEEP_ALIVE, Shown, has_streams, message_event, plain};
pub use failure::Failure;
pub use features::{Features, PromptArguments, Reference, Vault};
pub use input::{Input, input_required};
pub use message::{Body, Call, Headers, Message, Request, Understood, read, spoken, understand};
pub use notices::{CallRecord, Level, progress, record};
pub use params::Params;
pub use prompts::{Prompted, listed_prompts, prompted};
pub use resources::{
    Folder, ListPlace, Listed, Page, Step, Walk, is_there, listed_resources, listed_templates, metadata, names,
    no_cursor, secret, target, told,
};
pub use result::{
    TTL, answer, discovered, done, initialized, listed, refused, write, write_input_required, write_kept,
};
pub use session::{SESSION, Session};
pub use subscription::{Filter, MOST_WATCHED, Wanted, Watched};
pub use tools::{ToolNames, Tools, matching, shows};

/// A revision of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// The first; its clients that speak Streamable HTTP do so as those of the next.
    V2024_11_05,
    /// The first with Streamable HTTP; it had batches and no version header.
    V2025_03_26,
    /// Structured content; no batches.
    V2025_06_18,
    /// Arguments that do not fit are results, not errors.
    V2025_11_25,
    /// Stateless: every request says its revision itself.
    V2026_07_28,
}

impl Revision {
    /// Every revision spoken, newest first.
    pub const ALL: [Self; 5] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];

    /// The revision as it stands in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.name() == name)
    }

    /// True where several messages may come in one array (JSON-RPC 2.0, section 6).
    #[must_use]
    pub const fn has_batches(self) -> bool {
        matches!(self, Self::V2024_11_05 | Self::V2025_03_26)
    }

    /// True where requests carry their own revision and capabilities.
    #[must_use]
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::V2026_07_28)
    }
}

#[cfg(test)]
mod tests;
