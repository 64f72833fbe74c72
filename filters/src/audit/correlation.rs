//! The correlation ids that the gate gives to its own requests.

use std::fmt;

use super::ChainId;

/// The correlation id of a request to Vault that no agent's call caused. No caller can send one through the gate, since
/// `:` may not stand in an id of theirs. Who asks Vault directly can: an id proves nothing about who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnId {
    /// Asked by the gate whose audit has this chain: `gate:` and the chain.
    Gate(ChainId),
    /// Asked by a command such as `portcullis policy --sync`: `command:` and a number.
    Command(ChainId),
}

impl OwnId {
    const GATE: &str = "gate:";
    const COMMAND: &str = "command:";

    /// Reads an id; `None` for one of a caller's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let gate = text.strip_prefix(Self::GATE).and_then(ChainId::parse).map(Self::Gate);
        gate.or_else(|| text.strip_prefix(Self::COMMAND).and_then(ChainId::parse).map(Self::Command))
    }
}

impl fmt::Display for OwnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(chain) => write!(f, "{}{chain}", Self::GATE),
            Self::Command(number) => write!(f, "{}{number}", Self::COMMAND),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::is_correlation_id;

    #[test]
    fn an_id_of_the_gates_is_read_back_and_is_none_of_a_callers() {
        for id in [OwnId::Gate(ChainId::new(7)), OwnId::Command(ChainId::new(u64::MAX))] {
            assert_eq!(OwnId::parse(&id.to_string()), Some(id));
            assert!(!is_correlation_id(id.to_string().as_bytes()));
        }
        for other in ["gate", "gate:", "gate:7", "command:x", "trace-7"] {
            assert_eq!(OwnId::parse(other), None, "{other}");
        }
    }
}
