//! The features of a server, of which messages speak: tools, prompts, and arguments that are completed. Messages are
//! read and answered alike whichever features they are about; [`Vault`] has those of the gate.
//!
//! Source: <https://modelcontextprotocol.io/specification/2026-07-28/server>.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Deserialize;

use super::complete::Completing;
use super::prompts::{self, Prompted};
use super::{Failure, Params, params, tools};
use crate::operation::Entry;

/// The features of a server, found by the names that messages call them by.
pub trait Features: Debug {
    /// A tool.
    type Tool: Copy + Debug;
    /// A prompt, filled in.
    type Prompt: Debug;
    /// An argument of a prompt or template, whose value is being typed.
    type Completing: Debug;

    /// The tool of that name.
    fn tool(name: &str) -> Option<Self::Tool>;

    /// Compares a tool's arguments, a JSON object, with the headers that repeat some of them.
    ///
    /// # Errors
    /// [`Failure::HeaderMismatch`].
    fn check(tool: Self::Tool, arguments: &[u8], headers: &Params<'_>) -> Result<(), Failure>;

    /// The prompt of that name, filled in.
    ///
    /// # Errors
    /// [`Failure::Parameters`] for a prompt that is not there, an argument that it does not take or lacks;
    /// [`Failure::Arguments`] too for one that its tool cannot use.
    fn prompt(name: &str, arguments: &PromptArguments<'_>) -> Result<Self::Prompt, Failure>;

    /// The argument of that name, of which `typed` is there.
    ///
    /// # Errors
    /// [`Failure::Parameters`] for a prompt that is not there, and an argument that it or a template does not have.
    fn completing(reference: &Reference<'_>, argument: &str, typed: &str) -> Result<Self::Completing, Failure>;
}

/// The arguments that a prompt is given, by their names; one that is `null` has no value.
pub type PromptArguments<'a> = BTreeMap<Cow<'a, str>, Option<Cow<'a, str>>>;

/// The owner of an argument that is completed (`PromptReference`, `ResourceTemplateReference`).
#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
pub enum Reference<'a> {
    /// A prompt.
    #[serde(rename = "ref/prompt")]
    Prompt {
        /// Its name.
        #[serde(borrow)]
        name: Cow<'a, str>,
    },
    /// A template of resources.
    #[serde(rename = "ref/resource")]
    Resource {
        /// Its URI, or one of a resource.
        #[serde(borrow)]
        uri: Cow<'a, str>,
    },
}

/// The features of the gate: the operations of the catalog as tools, prompts that suggest their calls, and paths of
/// secrets, keys and roles as values.
#[derive(Debug)]
pub enum Vault {}

impl Features for Vault {
    type Tool = &'static Entry;
    type Prompt = Prompted;
    type Completing = Completing;

    fn tool(name: &str) -> Option<&'static Entry> {
        tools::find(name)
    }

    fn check(tool: &'static Entry, arguments: &[u8], headers: &Params<'_>) -> Result<(), Failure> {
        params::check(tool, arguments, headers)
    }

    fn prompt(name: &str, arguments: &PromptArguments<'_>) -> Result<Prompted, Failure> {
        prompts::fill(name, arguments)
    }

    fn completing(reference: &Reference<'_>, argument: &str, typed: &str) -> Result<Completing, Failure> {
        Completing::find(reference, argument, typed)
    }
}
