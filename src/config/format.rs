//! Formats of configuration files.

use std::path::Path;

use super::node::{Fault, Node};
use super::{from_toml, from_yaml};

/// A format of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Toml,
    Json,
    Yaml,
}

impl Format {
    /// The format that the extension of the file's name stands for.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// Reads `text`, whose top is a table.
    ///
    /// # Errors
    /// Every [`Fault`] found, at least one.
    pub(super) fn parse(self, text: &str) -> Result<Node, Vec<Fault>> {
        match self {
            Self::Toml => from_toml::parse(text),
            Self::Json => from_yaml::parse_json(text).map_err(|fault| vec![fault]),
            Self::Yaml => from_yaml::parse(text).map_err(|fault| vec![fault]),
        }
    }
}
